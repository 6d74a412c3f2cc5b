#!/usr/bin/env bash
# Proves that `.ci/run` passes on a machine that has never seen this project:
# a Debian 12 minbase made here by debootstrap, a clone of HEAD, this machine's
# Go toolchain with empty caches, and nothing else.
#
#   test/chroot/run.sh [COMMAND…]    instead of .ci/run
#
# As root. The new system gets a root, mounts and processes of its own (not a
# plain chroot: the kernel allows no user namespace in one, and the ARM step
# wants one). The network is this machine's, and so are its ways to packages:
# apt's sources, keys and proxy, resolv.conf, hosts, certificates, and what
# `go env` says of proxies. KEEP=1 leaves the system for a look.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "chroot: needs root" >&2; exit 1; }
cd "$(dirname "$0")/../.."
here=$PWD
command -v debootstrap >/dev/null || { echo "chroot: apt-get install debootstrap" >&2; exit 1; }
goroot=$(go env GOROOT)
suite=${SUITE:-bookworm}

dir=$(mktemp -d)
new=$dir/new
finish() {
  if [ -n "${KEEP:-}" ]; then echo "chroot: left in $dir"; else rm -rf --one-file-system "$dir"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '#### %s s: %s\n' "$SECONDS" "$*"; }

# The first source that serves the suite itself is the mirror to start from.
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 2>/dev/null | awk -v s="$suite" '$2 == s {print $1; exit}')
say "debootstrap $suite"
debootstrap --variant=minbase "$suite" "$new" ${mirror:+"$mirror"} >"$dir/log" 2>&1 || { tail -n 20 "$dir/log" >&2; exit 1; }

say "ways to packages, Go, a clone of HEAD"
rm -rf "$new/etc/apt/sources.list" "$new/etc/apt/sources.list.d"
for f in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/keyrings /etc/apt/trusted.gpg.d /usr/share/keyrings \
  /etc/apt/apt.conf /etc/apt/apt.conf.d /etc/apt/auth.conf.d /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates; do
  if [ -e "$f" ]; then
    mkdir -p "$new$(dirname "$f")"
    cp -rLT "$f" "$new$f"
  fi
done
mkdir -p "$new/usr/local"
cp -a "$goroot" "$new/usr/local/go"
git -c advice.detachedHead=false clone -q "file://$here" "$new/srv/davy"
say "HEAD is $(git -C "$new/srv/davy" log -1 --format='%h %s')"

# What a login there would have: nothing of ours but the ways out.
{
  env | grep -iE '^(https?|no|all|ftp)_proxy=' || true
  for v in GOPROXY GONOPROXY GOSUMDB GONOSUMDB GOPRIVATE GOINSECURE GOAUTH; do echo "$v=$(go env $v)"; done
} | sed -E "s/^([A-Za-z_]+)=(.*)$/export \1='\2'/" >"$new/srv/ways"

cat >"$new/srv/inside" <<'INSIDE'
. /srv/ways
export HOME=/srv/nobody PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$HOME"
rmdir /old
cd /srv/davy
exec "$@"
INSIDE

[ $# -gt 0 ] || set -- .ci/run
say "$*"
status=0
env -i unshare --mount --pid --uts --ipc --fork --propagation private bash -c '
  set -e
  new=$1
  shift
  mount --bind "$new" "$new"
  mount -t proc proc "$new/proc"
  mount --rbind /sys "$new/sys"
  mount --rbind /dev "$new/dev"
  mkdir -p "$new/old"
  cd "$new"
  pivot_root . old
  umount -l /old
  exec bash /srv/inside "$@"
' inside "$new" "$@" </dev/null || status=$?
say "ended with status $status"
exit $status
