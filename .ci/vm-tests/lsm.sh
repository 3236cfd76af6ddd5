# What AppArmor and Yama refuse, explained: both are on Debian's kernel and may not be on this machine.
fail=0
has() { # NAME PATTERN TEXT
	if echo "$3" | grep -q "$2"; then echo "ok   $1"; else echo "FAIL $1: no '$2' in:"; echo "$3"; fail=1; fi
}
cat >/tmp/profile <<'P'
profile docker-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal,
  ptrace (trace,read,tracedby,readby) peer=docker-default,
  deny mount,
}
P
apparmor_parser -r -K /tmp/profile || { echo "FAIL apparmor_parser"; exit 1; }
# The label of a process that is born last, in a pid namespace that it shares.
mkdir -p /b/rootfs/bin && cp /bin/busybox /b/rootfs/bin/ && cd /b || exit 1
joined() { # PID NAMESPACE'S PATH, MOUNTS
	cat >config.json <<J
{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":["busybox","sleep","100"],"user":{"uid":0,"gid":0},"env":["PATH=/bin"],
  "apparmorProfile":"docker-default","capabilities":{}},"mounts":[$2],"linux":{"namespaces":[{"type":"pid"$1},{"type":"mount"}]}}
J
}
first() { porthole-oci state $1 | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'; }
joined "" '{"destination":"/proc","type":"proc","source":"proc"}'; porthole-oci run -d one </dev/null 2>&1
joined ',"path":"/proc/'$(first one)'/ns/pid"' ""; porthole-oci run -d two </dev/null 2>&1
for n in one two; do has "the label of $n" "docker-default" "$(cat /proc/$(first $n)/attr/current)"; done
for n in two one; do porthole-oci delete --force $n; done
cd /
has "info names them" "apparmor" "$(porthole info 2>&1 | head -n 6)"
out=$(porthole why --cap-add SYS_ADMIN --security-opt apparmor=docker-default host mount -t tmpfs none /mnt 2>&1)
has "AppArmor refuses the mount" "P07" "$out"
has "and is proved to" "proved by experiment" "$out"
echo 2 >/proc/sys/kernel/yama/ptrace_scope
out=$(porthole why --security-opt apparmor=unconfined host sh -c 'sleep 3 & strace -o /dev/null -p $!' 2>&1)
has "Yama refuses the attach" "[Yy]ama" "$out"
exit $fail
