# cgroup v2: one more process for a container that has made groups beneath its own.
fail=0
expect() { # NAME WANT GOT
	if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: want '$2', got '$3'"; fail=1; fi
}
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/dev /b/rootfs/sys && cp /bin/busybox /b/rootfs/bin/busybox
for a in sh cat mkdir grep sleep true; do ln -s busybox /b/rootfs/bin/$a; done
cd /b
cat >config.json <<'J'
{"ociVersion":"1.0.2","root":{"path":"rootfs"},
 "process":{"cwd":"/","args":["sh","-c","while :; do sleep 100 & wait; done"],"user":{"uid":0,"gid":0},"env":["PATH=/bin"],"capabilities":{}},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"}],
 "linux":{"cgroupsPath":"/suite/c","namespaces":[{"type":"pid"},{"type":"mount"},{"type":"cgroup"}]}}
J
r=porthole-oci
$r run -d c </dev/null >/dev/null 2>&1
at() { $r exec "$@" </dev/null 2>&1; }
expect "beside the first" "0::/" "$(at c cat /proc/self/cgroup)"
expect "nowhere" 1 "$(at --cgroup nowhere c true | grep -c 'no such file or directory')"
expect "above" 1 "$(at --cgroup ../other c true | grep -c 'bad sub cgroup path')"
at c sh -c 'cd /sys/fs/cgroup && mkdir in && echo 1 >in/cgroup.procs && for p in $(cat cgroup.procs); do echo $p >in/cgroup.procs; done 2>/dev/null; echo 0 >in/cgroup.procs; echo +memory >cgroup.subtree_control'
expect "where the first is, since its group takes none any more" "0::/in" "$(at c cat /proc/self/cgroup)"
expect "by name" "0::/in" "$(at --cgroup in c cat /proc/self/cgroup)"
expect "the group itself, which takes none" 1 "$(at --cgroup / c true | grep -c 'adding pid .* to cgroups.*busy')"
$r delete -f c
expect "nothing is left" "" "$(ls -d /sys/fs/cgroup/suite/c 2>/dev/null)"
# A group that is frozen holds whatever comes into it.
mkdir -p /sys/fs/cgroup/suite/c; echo 1 >/sys/fs/cgroup/suite/c/cgroup.freeze
expect "frozen before" 1 "$($r run -d c 2>&1 </dev/null | grep -c 'unexpectedly frozen')"
exit $fail
