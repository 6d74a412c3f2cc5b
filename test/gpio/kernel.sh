#!/usr/bin/env bash
# kernel.sh DIR: puts Debian's arm64 kernel into DIR, once: vmlinuz and its
# version. What the guest needs is built in (the PL061, the console). It asks apt
# with settings and lists of its own, so that the machine itself learns of no
# other architecture. As any user; needs apt-get, dpkg-deb and the machine's own
# sources and keys.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd) # apt takes no relative paths
[ -e "$dir/vmlinuz" ] && [ -e "$dir/version" ] && exit 0
for c in apt-get apt-cache dpkg-deb; do
  command -v "$c" >/dev/null || { echo "kernel.sh: there is no $c here: a Debian is needed to fetch the guest's kernel" >&2; exit 1; }
done

mkdir -p "$dir"
tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp"/{lists/partial,cache/archives/partial,sources}
: >"$tmp/status"
# Of the machine's sources only Debian's own: others may not have arm64.
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  [ -f "$f" ] && grep -qsE 'deb(ian)?\.debian\.org|/debian/? ' "$f" && cp "$f" "$tmp/sources/"
done
[ -n "$(ls -A "$tmp/sources")" ] || { echo "kernel.sh: no source of this machine is Debian's" >&2; exit 1; }
cat >"$tmp/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State::lists "$tmp/lists";
Dir::State::status "$tmp/status";
Dir::Cache "$tmp/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$tmp/sources";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
export APT_CONFIG=$tmp/apt.conf

log=$tmp/log
apt-get update >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
meta=linux-image-arm64
image=$(apt-cache depends "$meta" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$image" ] || { echo "kernel.sh: $meta depends on no kernel" >&2; exit 1; }
(cd "$tmp" && apt-get download "$image") >>"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
mkdir "$tmp/root"
dpkg-deb -x "$tmp"/"${image}"_*.deb "$tmp/root"
version=${image#linux-image-}

cp "$tmp/root/boot/vmlinuz-$version" "$dir/vmlinuz"
echo "$version" >"$dir/version"
