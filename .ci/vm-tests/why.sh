# What is seen of capability checks on a kernel before 6.14, which has no tracepoint for them: there the return
# of cap_capable is watched.
fail=0
has() { # NAME PATTERN TEXT
	if echo "$3" | grep -q "$2"; then echo "ok   $1"; else echo "FAIL $1: no '$2' in:"; echo "$3"; fail=1; fi
}
lacks() {
	if echo "$3" | grep -q "$2"; then echo "FAIL $1: '$2' in:"; echo "$3"; fail=1; else echo "ok   $1"; fi
}
uname -r
lacks "this kernel has no tracepoint" cap_capable "$(ls /sys/kernel/tracing/events/capability 2>/dev/null)"
out=$(porthole why --cap-drop ALL host chown 1 /tmp 2>&1)
has "the check is seen" "asked for CAP_CHOWN" "$out"
has "and the capability proved" "proved by experiment" "$out"
lacks "nothing is hidden" "not watched\|cannot be seen" "$out"
out=$(porthole why --user 1000 --cap-add NET_ADMIN host hostname x 2>&1)
has "seccomp before the capability" "P0101" "$out"
has "the capability behind it" "behind it: capabilities" "$out"
out=$(porthole why --as docker:18.09 host strace -o /dev/null true 2>&1)
has "strace under Docker 18.09" "seccomp said no to ptrace" "$out"
has "lockdown is known" "lockdown" "$(cat /sys/kernel/security/lockdown /sys/kernel/security/lsm)"
out=$(porthole why --watch-with notify --as docker:18.09 host strace -o /dev/null true 2>&1)
has "without eBPF, too" "seccomp said no to ptrace" "$out"
exit $fail
