#!/usr/bin/env bash
# Makes ready what `make test` needs beside Go: a C compiler (for the race detector), a Docker engine that answers, journalctl and
# systemd-journald (each test of the journal runs one of its own; systemd need not be at work), mkfs.ext4 and losetup, and on Debian Prometheus and
# node_exporter to compare with. With FAIRLEAD_CHROMIUM=1 also Chromium, which shows the status page (290 MB); tests skip what is not there.
# What is there is left as it is. Installing needs root or sudo without a password; Debian and Amazon Linux are known.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

die() { echo "test/setup.sh: $*" >&2; exit 1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo && sudo -n true 2>/dev/null; then sudo -n "$@"; else
		die "needs root to run: $*"
	fi
}

refreshed=
install() {
	echo "installing $*" >&2
	if have apt-get; then
		[ -n "$refreshed" ] || as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
		refreshed=1
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
	elif have dnf; then as_root dnf -q install -y "$@"
	elif have yum; then as_root yum -q install -y "$@"
	else die "no apt-get, dnf or yum here: install $* by hand"; fi
}

# The engine answers if its API says OK. DOCKER_HOST is respected, as the tests do.
socket=/var/run/docker.sock
case "${DOCKER_HOST:-}" in unix://*) socket=${DOCKER_HOST#unix://} ;; esac
answers() {
	[ -S "$socket" ] || return 1
	if have curl; then [ "$(curl -s -m 5 --unix-socket "$socket" http://docker/_ping 2>/dev/null)" = OK ]
	else docker -H "unix://$socket" version >/dev/null 2>&1; fi
}

wait_for_engine() {
	for _ in $(seq 40); do
		answers && return 0
		sleep 0.5
	done
	return 1
}

# start_engine starts it as a service where there is systemd, else by itself; the second time without what a container may
# not be allowed: the tests need neither network nor a layered file system.
start_engine() {
	if [ -d /run/systemd/system ]; then
		as_root systemctl start docker && wait_for_engine && return 0
	fi
	local log=/tmp/fairlead-test-dockerd.log
	echo "starting dockerd, its log is $log" >&2
	as_root sh -c "setsid dockerd >$log 2>&1 </dev/null &"
	wait_for_engine && return 0
	as_root sh -c "setsid dockerd --iptables=false --bridge=none --storage-driver=vfs >>$log 2>&1 </dev/null &"
	wait_for_engine && return 0
	tail -n 5 "$log" >&2
	return 1
}

have gcc || { if have apt-get; then install gcc libc6-dev; else install gcc; fi; }
if ! answers; then
	[ -z "${DOCKER_HOST:-}" ] || die "the engine of DOCKER_HOST=$DOCKER_HOST does not answer, or is not on this machine"
	have dockerd || { if have apt-get; then install docker.io; else install docker; fi; }
	answers || start_engine || die "no Docker engine answers on $socket and none could be started"
fi

if have apt-get; then
	missing=
	have promtool || missing="$missing prometheus"
	have prometheus-node-exporter || missing="$missing prometheus-node-exporter"
	[ -z "${FAIRLEAD_CHROMIUM:-}" ] || have chromium || missing="$missing chromium"
	# shellcheck disable=SC2086 # names of packages
	[ -z "$missing" ] || install $missing || echo "test/setup.sh: not installed:$missing; the tests that need it are left out" >&2
fi

# The package brings the two programs; what starts the machine stays what it is (that would be systemd-sysv).
journald() { have journalctl && { [ -x /usr/lib/systemd/systemd-journald ] || [ -x /lib/systemd/systemd-journald ]; }; }
journald || install systemd
[ -s /etc/machine-id ] || as_root systemd-machine-id-setup >/dev/null
have mkfs.ext4 || install e2fsprogs
have losetup || { if have apt-get; then install mount util-linux; else install util-linux; fi; }
