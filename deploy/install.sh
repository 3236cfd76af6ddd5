#!/bin/sh
# Installs porthole-oci on a Kubernetes node whose root is at $NODE (default /), from the directory that this
# script is in, and tells containerd or CRI-O of it as the runtime "porthole". Run again it changes nothing;
# `install.sh remove` takes it all back. A change restarts the engine, which leaves containers running;
# RESTART=no leaves that to you.
set -eu
from=$(cd "$(dirname "$0")" && pwd)
node=${NODE:-}
binary=$node/usr/local/bin/porthole-oci
containerd=$node/etc/containerd/config.toml
crio=$node/etc/crio/crio.conf.d/10-porthole.conf
begin='# begin porthole' end='# end porthole'

restart() {
	[ "${RESTART:-yes}" = yes ] || return 0
	nsenter -t 1 -m -- systemctl try-restart "$1"
}

put() { # FILE TO MODE: at once, for the one that is there may be in use
	cmp -s "$1" "$2" && return 1
	mkdir -p "$(dirname "$2")"
	cp "$1" "$2.new" && chmod "$3" "$2.new" && mv "$2.new" "$2"
}

without() { # what containerd's configuration is without us
	[ ! -e "$containerd" ] || sed "/^$begin\$/,/^$end\$/d" "$containerd"
}

with() { # and with us, in the words of its version
	without
	version=3
	[ ! -e "$containerd" ] || version=$(sed -n 's/^version *= *//p' "$containerd" | head -n 1)
	[ -e "$containerd" ] || { version=2; echo 'version = 2'; }
	case $version in
	2 | 3) ;;
	*) echo "install: $containerd: version \"$version\": want 2 or 3" >&2; exit 1 ;;
	esac
	echo "$begin"
	# A table of runtimes takes the place of containerd's own, in which runc is: it must name that one too.
	without | grep -qE '\.runtimes\.runc\]' || sed -n 's/\(.*\.runtimes\)\.porthole\]$/\1.runc]/p; s/^  *runtime_type/  runtime_type/p' "$from/containerd/version-$version.toml"
	# The kubelet and all runtimes of a node have the same cgroup driver.
	driver=false
	! without | grep -qE '^ *SystemdCgroup *= *true' || driver=true
	sed "s/SystemdCgroup = .*/SystemdCgroup = $driver/" "$from/containerd/version-$version.toml"
	echo "$end"
}

tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
engines=
[ ! -d "$node/etc/containerd" ] || engines=containerd
[ ! -d "$node/etc/crio" ] || engines="$engines crio"
[ -n "$engines" ] || { echo "install: neither /etc/containerd nor /etc/crio is on this node" >&2; exit 1; }
program=$from/porthole-oci
[ -e "$program" ] || program=$from/../bin/porthole-oci

if [ "${1:-}" = remove ]; then
	if [ -e "$containerd" ] && grep -q "^$begin\$" "$containerd"; then
		without >"$tmp/config" && put "$tmp/config" "$containerd" 644 && restart containerd
	fi
	if [ -e "$crio" ]; then rm "$crio" && restart crio; fi
	rm -f "$binary"
	exit
fi
put "$program" "$binary" 755 || true # containers that run do not mind: they have nothing of it
for e in $engines; do
	case $e in
	containerd) with >"$tmp/config" && if put "$tmp/config" "$containerd" 644; then restart containerd; fi ;;
	crio) if put "$from/crio/10-porthole.conf" "$crio" 644; then restart crio; fi ;;
	esac
done
echo "porthole-oci is installed for:" $engines
