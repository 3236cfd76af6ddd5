# Containers on a kernel and control groups that are not this machine's: Debian's kernel, cgroup v2.
fail=0
expect() { # NAME WANT GOT
	if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: want '$2', got '$3'"; fail=1; fi
}
uname -r
expect "exit code" 7 "$(porthole run --rm host sh -c 'exit 7' 2>/dev/null; echo $?)"
expect "memory limit" 67108864 "$(porthole run --rm -m 64m host cat /sys/fs/cgroup/memory.max 2>/dev/null)"
expect "cpu limit" "50000 100000" "$(porthole run --rm --cpus 0.5 host cat /sys/fs/cgroup/cpu.max 2>/dev/null)"
expect "pids limit" 30 "$(porthole run --rm --pids-limit 30 host cat /sys/fs/cgroup/pids.max 2>/dev/null)"
expect "its group is the top it sees" 0::/ "$(porthole run --rm host cat /proc/self/cgroup 2>/dev/null)"
expect "Docker's capabilities" 00000000a80425fb "$(porthole run --rm host grep CapEff /proc/self/status 2>/dev/null | cut -f 2)"
expect "every capability" 000001ffffffffff "$(porthole run --rm --privileged host grep CapEff /proc/self/status 2>/dev/null | cut -f 2)"
expect "strace under Docker 18.09" 1 "$(porthole run --rm --as docker:18.09 host strace -o /dev/null true >/dev/null 2>&1; echo $?)"
expect "strace today" 0 "$(porthole run --rm host strace -o /dev/null true >/dev/null 2>&1; echo $?)"
# The device group says no to what is there but not allowed (EPERM), by its eBPF program.
expect "device refused" 1 "$(porthole run --rm --cap-add SYSLOG --security-opt seccomp=unconfined host sh -c 'mknod /k c 1 11 && cat /k' >/dev/null 2>&1; echo $?)"
expect "device allowed" 0 "$(porthole run --rm --cap-add SYSLOG --device /dev/kmsg:/k host sh -c 'test -c /k && : </k' >/dev/null 2>&1; echo $?)"
porthole run -d --name box host sleep 1000 >/dev/null 2>&1
expect "exec" 0::/ "$(porthole exec box cat /proc/self/cgroup 2>/dev/null)"
porthole rm -f box >/dev/null
expect "nothing left" "" "$(porthole ps -aq)"
expect "no group left" "" "$(find /sys/fs/cgroup/porthole -mindepth 1 -type d 2>/dev/null)"
exit $fail
