#!/bin/sh
# Puts the npm package sparkplug-payload into .cache/sparkplug, in the exact
# versions of package-lock.json; does nothing where they are there. The Node
# that runs it is that of test/e2e/opcua.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../opcua/setup.sh"
into=$(cd "$here/../../.." && pwd)/.cache/sparkplug
mark=$into/.installed
if [ -f "$mark" ] && cmp -s "$here/package-lock.json" "$mark"; then
	exit 0
fi
mkdir -p "$into"
cp "$here/package.json" "$here/package-lock.json" "$into/"
(cd "$into" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
cp "$here/package-lock.json" "$mark"
