# init: systemd
# The systemd cgroup driver, beside runc's: what systemd holds of a container's scope, and what is in its group.
fail=0
expect() { # NAME WANT GOT
	if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: want '$2', got '$3'"; fail=1; fi
}
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/dev && cp /bin/busybox /b/rootfs/bin/sh
cd /b
config() { # CGROUPSPATH ANNOTATIONS
	cat >config.json <<J
{"ociVersion":"1.0.2","root":{"path":"rootfs"},"annotations":{$2},
 "process":{"cwd":"/","args":["sh","-c","while :; do sleep 100 & wait; done"],"user":{"uid":0,"gid":0},"env":["PATH=/bin"],"capabilities":{}},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
 "linux":{"cgroupsPath":"$1","namespaces":[{"type":"pid"},{"type":"mount"},{"type":"cgroup"}],
  "resources":{"memory":{"limit":67108864,"reservation":33554432,"swap":134217728},"pids":{"limit":20},
   "cpu":{"quota":12345,"period":50000,"cpus":"0","mems":"0"},
   "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}}}
J
}
show() { # UNIT: what systemd holds
	systemctl show "$1" -p MemoryMax,MemoryLow,MemorySwapMax,TasksMax,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,AllowedCPUs,AllowedMemoryNodes,DevicePolicy,DeviceAllow,Slice,Delegate,DelegateControllers,CollectMode,TimeoutStopUSec,ActiveState,SubState,MemoryAccounting,CPUAccounting,IOAccounting,TasksAccounting,DefaultDependencies,ControlGroup | sed 's/one-[a-z]*/NAME/g; s/two-[a-z]*/NAME/g' | sort
}
files() { # GROUP: what is in it
	for f in memory.max memory.low memory.swap.max pids.max cpu.max cpuset.cpus cpuset.mems cgroup.controllers; do echo "$f $(cat /sys/fs/cgroup/$1/$f)"; done
}
life() { # RUNTIME NAME: a container's life, and what is seen of it
	r="$1 --systemd-cgroup"
	config system.slice:po:one-$2
	$r create one-$2 </dev/null >/dev/null 2>err || { echo "create: $(cat err)"; return; }
	g=system.slice/po-one-$2.scope
	pid=$(cat /sys/fs/cgroup/$g/cgroup.procs)
	echo "in it: $(echo "$pid" | wc -l); its own view: $(cat /proc/$pid/cgroup)" | sed "s/one-$2/NAME/g"
	$r start one-$2
	show po-one-$2.scope
	files $g
	systemctl daemon-reload # systemd writes its own idea of the limits again
	echo "after daemon-reload:"; files $g
	$r update --memory 134217728 --memory-swap 268435456 --pids-limit 30 --cpu-quota 20000 --cpu-period 50000 one-$2 2>&1
	systemctl daemon-reload
	echo "after update:"; show po-one-$2.scope | grep -E 'Memory.*Max|Tasks|Quota'; files $g
	$r exec one-$2 sh -c 'echo exec: $(cat /proc/self/cgroup)' </dev/null
	$r pause one-$2; echo "paused: $(cat /sys/fs/cgroup/$g/cgroup.freeze)"; $r resume one-$2
	$r kill one-$2 KILL
	i=0; while [ $i -lt 50 ] && [ "$($r state one-$2 | grep -o stopped)" != stopped ]; do sleep 0.1; i=$((i + 1)); done
	$r delete one-$2 2>&1
	sleep 0.5
	echo "left: $(systemctl list-units --all --plain --no-legend 'po-*' | wc -l) units; $([ -d /sys/fs/cgroup/$g ] && echo a group)"

	# A slice in a slice, and properties by annotation. It is taken away while it runs.
	config po-a.slice:po:two-$2 '"org.systemd.property.CollectMode":"'"'inactive-or-failed'"'","org.systemd.property.TimeoutStopSec":"uint64 7","org.systemd.property.Description":"'"'mine'"'"'
	
	$r run -d two-$2 </dev/null >/dev/null 2>err || echo "run: $(cat err)"
	show po-two-$2.scope; systemctl show po-two-$2.scope -p Description
	ls -d /sys/fs/cgroup/po.slice/po-a.slice/po-two-$2.scope | sed "s/two-$2/NAME/"
	$r delete --force two-$2 2>&1
	sleep 0.5
	echo "left: $(systemctl list-units --all --plain --no-legend 'po-*.scope' | wc -l) units"
	systemctl stop po-a.slice
}
life runc a >theirs
life porthole-oci b >ours
expect "containers were there" 2 "$(grep -c 'ActiveState=active' ours)"
expect "memory, in the file" 3 "$(grep -c 'memory.max 67108864\|memory.max 134217728' ours)"
expect "the scope is born in" "in it: 1; its own view: 0::/system.slice/po-NAME.scope" "$(grep 'in it' ours)"
# runc 1.1 allows /dev/net/tun always (1.2 does no more), asks /proc/devices for the name of 136, and leaves out what is
# allowed but has no node in /dev.
sed -i '/10:200/d; s/char-pts/char-136/' theirs
expect "a device without a node" 2 "$(grep -c '10:229 rw$' ours)"
sed -i '/10:229/d' ours
if diff theirs ours >diff; then echo "ok   all $(wc -l <ours) lines as with runc"; else echo "FAIL otherwise than runc:"; cat diff; fail=1; fi

# What fails leaves nothing behind, and says why.
r="porthole-oci --systemd-cgroup"
config system.slice:po:three; sed -i 's/"limit":67108864/"limit":67108864,"swappiness":5/' config.json
$r create three </dev/null >/dev/null 2>err; expect "refused" 1 "$(grep -c 'linux.resources.memory.swappiness' err)"
config po--x.slice:po:three
$r create three </dev/null >/dev/null 2>err; expect "no slice's name" 1 "$(grep -c 'po--x.slice' err)"
config /plain/path
$r create three </dev/null >/dev/null 2>err; expect "no unit's path" 1 "$(grep -c 'want slice:prefix:name' err)"
config system.slice:po:three '"org.systemd.property.Nonsense":"true"'
$r create three </dev/null >/dev/null 2>err; expect "no such property" 1 "$(grep -c 'Nonsense' err)"
config system.slice:po:three; sed -i 's/"args":\["sh"/"args":["nonexist"/' config.json
$r run three </dev/null >/dev/null 2>err; expect "no such program" 1 "$(grep -c nonexist err)"
expect "nothing is left of them" "0 0" "$(systemctl list-units --all --plain --no-legend 'po-*.scope' | wc -l) $($r list -q | wc -l)"
# A scope of that name that somebody else has stays theirs.
config system.slice:po:four
$r run -d four </dev/null >/dev/null 2>&1
porthole-oci --root /run/other --systemd-cgroup run -d four </dev/null >/dev/null 2>err; expect "taken" 1 "$(grep -c 'po-four.scope' err)"
expect "it runs on" running "$($r state four | grep -o running)"
kill -9 $($r state four | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'); sleep 0.5 # the unit goes with it
expect "gone before delete" "0 " "$($r delete four 2>&1; echo $?) $(ls -d /sys/fs/cgroup/system.slice/po-four.scope 2>/dev/null)"
# One process and no more: none of those that help to make it counts.
alone() { # NAME
	$r run -d $1 </dev/null >/dev/null 2>err; expect "alone: $1" "" "$(cat err)"
	g=$(find /sys/fs/cgroup -name "po-$1.scope" -o -path "/sys/fs/cgroup/$1")
	systemctl daemon-reload
	expect "$1's limit" "1 1" "$(cat $g/pids.max) $(wc -l <$g/cgroup.procs)"
}
config system.slice:po:five; sed -i 's/"pids":{"limit":20}/"pids":{"limit":1}/; s/"while.*done"/"while :; do read x <\/p; done"/' config.json
mkfifo rootfs/p; alone five
expect "what systemd holds" TasksMax=1 "$(systemctl show po-five.scope -p TasksMax)"
$r exec five sh -c : </dev/null >/dev/null 2>err; expect "no room for another" 1 "$(grep -c 'temporarily unavailable' err)"
pid=$($r state five | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
sed -i 's/po:five/po:six/; s|"type":"pid"|"type":"pid","path":"/proc/'$pid'/ns/pid"|' config.json; alone six
r=porthole-oci; sed -i 's|system.slice:po:six|/seven|' config.json; alone seven
for n in five six; do porthole-oci --systemd-cgroup delete --force $n; done; porthole-oci delete --force seven
exit $fail
