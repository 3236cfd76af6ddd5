package ocicli

import (
	"encoding/json"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/facts"
	"porthole/internal/engine/container"
)

// machine is one on which a configuration may be compiled without any being asked.
var machine = facts.Facts{
	Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64, UserNS: facts.UserNS{Initial: true},
	Cgroup: facts.Cgroup{Mode: facts.CgroupV2, Hierarchies: []facts.Hierarchy{{Mount: "/sys/fs/cgroup", V2: true, Controllers: []string{"cpu", "memory", "pids"}}}},
	Features: facts.Features{
		Seccomp: true, SeccompFlags: 0x3f, NewMountAPI: true, MountSetattr: true, Openat2: true, CloneIntoCgroup: true,
		CgroupKill: true, PidfdGetfd: true, CloseRangeCloexec: true, TimeNS: true, CgroupNS: true, UserNSCreate: true,
	},
}

// FuzzConfig reads a configuration and compiles its plan, or says what is wrong with it.
func FuzzConfig(f *testing.F) {
	s := example()
	for range 2 {
		data, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		forUser(s)
	}
	for _, text := range []string{
		`{}`, `null`, `[]`, `{"process":{"args":["x"]},"root":{"path":"/"},"linux":{}}`,
		`{"process":{"args":[""],"cwd":"/"},"root":{"path":"r"},"linux":{"namespaces":[{"type":"mount"}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":9,"op":"SCMP_CMP_EQ"}]}]}}}`,
		`{"process":{"args":["a"],"cwd":"/","user":{"umask":4294967295}},"root":{"path":"r"},"mounts":[{"destination":"/a","type":"tmpfs","options":["tmpcopyup","mode="]}],"linux":{"namespaces":[{"type":"mount"}],"resources":{"memory":{"limit":-1},"unified":{"a/b":""}},"devices":[{"path":"/dev/x","type":"c"}]}}`,
		`{"ociVersion":"1.0.2","process":{"args":["a"],"cwd":"/","execCPUAffinity":{"initial":"0-3,7"},"scheduler":{"policy":"SCHED_RR"},"ioPriority":{"class":"IOPRIO_CLASS_BE"}},"root":{"path":"r"},"mounts":[{"destination":"/m","source":"s","options":["rbind","ridmap","rro","rslave"],"uidMappings":[{"hostID":1,"size":2}],"gidMappings":[{"size":1}]}],"linux":{"namespaces":[{"type":"mount","path":"/x"},{"type":"network"},{"type":"time"}],"timeOffsets":{"boottime":{"secs":-1}},"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0-1,9"},"netDevices":{"eth0":{"name":"e"}},"personality":{"domain":"LINUX32"},"rootfsPropagation":"rslave"}}`,
		`{"hooks":{"poststop":[{}]},"process":{"args":["a"]},"root":{"path":"r"},"linux":{}}`,
		// What the escapes were tried with: links and volumes where the runtime works, spaces that exist, values that are long.
		`{"process":{"args":["a"],"cwd":"/proc/self/fd/7","terminal":true},"root":{"path":"r"},"mounts":[{"destination":"/tmp/../proc","type":"bind","source":"v"},{"destination":"/proc","type":"proc"}],"linux":{"namespaces":[{"type":"mount"},{"type":"pid","path":"/proc/1/ns/pid"}],"maskedPaths":["/proc/../proc/kcore","/a/b",""],"readonlyPaths":["/proc/sys","proc"]}}`,
		`{"process":{"args":["a"],"cwd":"/","selinuxLabel":"l","capabilities":{"inheritable":["CAP_CHOWN"]}},"root":{"path":"r","readonly":true},"mounts":[{"destination":"/dev","type":"devtmpfs"},{"destination":"/p","source":"v","options":["rbind","ro","rro"]}],"linux":{"sysctl":{"net.ipv4.ip_forward":"1","kernel/core_pattern":"|x"},"namespaces":[{"type":"mount"},{"type":"network"},{"type":"pid","path":"x"},{"type":"user","path":"y"}]}}`,
		`{"process":{"args":["` + strings.Repeat("A", 70000) + `"],"cwd":"/"},"root":{"path":"r"},"hostname":"h","linux":{"cgroupsPath":"/../..","uidMappings":[{"containerID":0,"hostID":4294967295,"size":4294967295}],"gidMappings":[{"size":1},{"size":1}],"namespaces":[{"type":"mount"},{"type":"user"},{"type":"uts"}],"devices":[{"path":"/dev/../../x","type":"b","major":4096,"minor":-1},{"path":"dev/null","type":"p"}]}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := parse(data)
		if err != nil {
			return
		}
		b := &bundle{dir: "/bundle", raw: data, spec: spec}
		if b.settle(machine) != nil {
			return
		}
		cfg := container.Config{Spec: spec, Facts: machine, Policy: b.sec, OCI: &container.OCI{}}
		if p, err := container.Plan("id", cfg); err == nil && len(p.Child) == 0 {
			t.Error("an empty plan")
		}
	})
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]int{
		"9": 9, "KILL": 9, "SIGKILL": 9, "sigterm": 15, "0": 0, "64": 64, "RTMIN": 34, "SIGRTMIN+3": 37, "rtmax-1": 63, "WINCH": 28,
	} {
		if sig, err := signalOf(text); err != nil || int(sig) != want {
			t.Errorf("%s: %d %v", text, sig, err)
		}
	}
	for _, text := range []string{"", "65", "-1", "NONE", "RTMIN+40", "RTMAX+1", "RTMIN-1"} {
		if sig, err := signalOf(text); err == nil {
			t.Errorf("%s: %d", text, sig)
		}
	}
}

func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "1k": 1 << 10, "2M": 2 << 20, "3gb": 3 << 30, "-1": -1} {
		if n, err := amount(text); err != nil || n != want {
			t.Errorf("%s: %d %v", text, n, err)
		}
	}
	for _, text := range []string{"", "k", "1x", "9999999999g"} {
		if n, err := amount(text); err == nil {
			t.Errorf("%s: %d", text, n)
		}
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"a", "A-b_c.d+e", "0", strings.Repeat("x", 254)} {
		if err := checkID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", ".a", "a/b", "a b", "ä", "a\x00", strings.Repeat("x", 255)} {
		if checkID(id) == nil {
			t.Errorf("%q is let pass", id)
		}
	}
}
