#!/usr/bin/env bash
# Makes the file system of the machines that test/systemd boots, a small Debian with systemd, D-Bus, dpkg and rpm: FILE, a tar. It takes a minute and
# the Debian mirror once; afterwards FILE is there.
set -euo pipefail

file=${1:?usage: tree.sh FILE}
[ -s "$file" ] && exit 0

die() { echo "test/systemd/tree.sh: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "needs root, to make a file system (or put one at $file)"
if ! command -v debootstrap >/dev/null; then
	command -v apt-get >/dev/null || die "no debootstrap here, and no apt-get to install it with (or put a file system with systemd at $file)"
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap >/dev/null
fi

mkdir -p "$(dirname "$file")"
work=$(mktemp -d "$(dirname "$file")/tree.XXXXXX")
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,rpm bookworm "$work/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/log" 2>&1 ||
	{ tail -n 5 "$work/log" >&2; die "debootstrap"; }
cd "$work/root"
rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc usr/share/man usr/share/locale usr/share/info
# Of no use in a container, and they make its boot late or degraded.
rm -f usr/lib/systemd/system/*.wants/{systemd-udev*,systemd-firstboot*,systemd-hwdb*,getty*} etc/machine-id
: >etc/machine-id
tar -C "$work/root" -cf "$work/tar" .
mv "$work/tar" "$file"
