package ocicli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What cannot be honoured is refused by create with the member's place in config.json, and nothing is left: no state, no
// process, no control group, no mount.
func TestRefused(t *testing.T) {
	h := newHouse(t)
	type change = func(*specs.Spec)
	mount := func(m specs.Mount) change { return func(s *specs.Spec) { s.Mounts = append(s.Mounts, m) } }
	bind := func(options ...string) change {
		return mount(specs.Mount{Destination: "/m", Source: "/etc", Options: append([]string{"bind"}, options...)})
	}
	space := func(n specs.LinuxNamespace) change {
		return func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, n) }
	}
	process := func(f func(*specs.Process)) change { return func(s *specs.Spec) { f(s.Process) } }
	linux := func(f func(*specs.Linux)) change { return func(s *specs.Spec) { f(s.Linux) } }
	sysctl := func(key, value string) change {
		return func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{key: value} }
	}
	resources := func(r specs.LinuxResources) change { return func(s *specs.Spec) { s.Linux.Resources = &r } }
	filter := func(sc specs.LinuxSeccomp) change { return func(s *specs.Spec) { s.Linux.Seccomp = &sc } }
	rule := func(r specs.LinuxSyscall) change {
		return filter(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno}, r}})
	}
	hooks := func(k specs.Hooks) change { return func(s *specs.Spec) { s.Hooks = &k } }
	ids := func(c, h, n uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: c, HostID: h, Size: n}}
	}
	user := func(uids, gids []specs.LinuxIDMapping) change {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings = uids, gids
		}
	}
	drop := func(t specs.LinuxNamespaceType) change {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = remove(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
		}
	}
	both := func(a, b change) change { return func(s *specs.Spec) { a(s); b(s) } }
	many := int64(1 << 40)
	h.open()

	for _, c := range []struct {
		where  string
		change change
	}{
		{"ociVersion", func(s *specs.Spec) { s.Version = "2.0.0" }},
		{"ociVersion", func(s *specs.Spec) { s.Version = "1.x" }},
		{"root.path", func(s *specs.Spec) { s.Root = nil }},
		{"root.path", func(s *specs.Spec) { s.Root.Path = "" }},
		{"root.path", func(s *specs.Spec) { s.Root.Path = "nowhere" }},
		{"root.path", func(s *specs.Spec) { s.Root.Path = "/etc/passwd" }},
		{"root.path", func(s *specs.Spec) { s.Root.Path = "root\x00fs" }},
		{"linux", func(s *specs.Spec) { s.Linux = nil }},
		{"hostname", both(drop(specs.UTSNamespace), func(s *specs.Spec) { s.Hostname = "x" })},
		{"hostname", func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) }},
		{"domainname", both(drop(specs.UTSNamespace), func(s *specs.Spec) { s.Hostname, s.Domainname = "", "x" })},
		{"domainname", func(s *specs.Spec) { s.Domainname = strings.Repeat("x", 65) }},

		{"process.args", process(func(p *specs.Process) { p.Args = nil })},
		{"process.args", process(func(p *specs.Process) { p.Args = []string{"a\x00b"} })},
		{"process.env", process(func(p *specs.Process) { p.Env = []string{"A=\x00"} })},
		{"process.cwd", process(func(p *specs.Process) { p.Cwd = "tmp" })},
		{"process.cwd", process(func(p *specs.Process) { p.Cwd = "" })},
		{"process.cwd", process(func(p *specs.Process) { p.Cwd = "/bin/busybox" })},
		{"process.capabilities.permitted[1]", func(s *specs.Spec) {
			s.Version, s.Process.Capabilities.Permitted = "1.0.2", []string{"CAP_KILL", "CAP_FLY"}
		}},
		{"process.rlimits[1].type", process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_WINGS"}}
		})},
		{"process.rlimits[0]", process(func(p *specs.Process) { p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}} })},
		{"process.rlimits[1]", process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CORE", Soft: 1, Hard: 1}}
		})},
		{"process.apparmorProfile", process(func(p *specs.Process) { p.ApparmorProfile = "no-such-profile" })},
		{"process.selinuxLabel", process(func(p *specs.Process) { p.SelinuxLabel = "system_u:system_r:x_t:s0" })},
		{"process.oomScoreAdj", process(func(p *specs.Process) { p.OOMScoreAdj = new(1001) })},
		{"process.scheduler.policy", process(func(p *specs.Process) { p.Scheduler = &specs.Scheduler{Policy: "SCHED_LUCKY"} })},
		{"process.scheduler.flags[0]", process(func(p *specs.Process) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"SCHED_FLAG_RED"}}
		})},
		{"process.scheduler.nice", process(func(p *specs.Process) { p.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: 20} })},
		{"process.scheduler", process(func(p *specs.Process) { p.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 100} })},
		{"process.scheduler", process(func(p *specs.Process) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 2, Deadline: 1}
		})},
		{"process.ioPriority.class", process(func(p *specs.Process) { p.IOPriority = &specs.LinuxIOPriority{Class: "IOPRIO_CLASS_FIRST"} })},
		{"process.ioPriority.priority", process(func(p *specs.Process) {
			p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}
		})},
		{"process.execCPUAffinity.initial", process(func(p *specs.Process) { p.ExecCPUAffinity = &specs.CPUAffinity{Initial: "one"} })},
		{"process.execCPUAffinity.final", process(func(p *specs.Process) { p.ExecCPUAffinity = &specs.CPUAffinity{Final: "3-1"} })},

		{"mounts[7]", mount(specs.Mount{Destination: "/", Type: "tmpfs"})},
		{"mounts[7]", mount(specs.Mount{Type: "tmpfs"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "bind"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "nofs"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "bind", Source: "/no/such/thing"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{"size=huge"}})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{"nosuchword"}})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m\x00", Type: "tmpfs"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/proc/sys", Type: "tmpfs"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/bin/busybox/m", Type: "tmpfs"})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "ramfs", Options: []string{"tmpcopyup"}})},
		{"mounts[7]", bind("idmap")},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Type: "tmpfs", UIDMappings: ids(0, 1, 1), GIDMappings: ids(0, 1, 1)})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Source: "/etc", Options: []string{"bind"}, UIDMappings: ids(0, 1, 1)})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Source: "/etc", Options: []string{"bind"}, UIDMappings: ids(0, 1, 0), GIDMappings: ids(0, 1, 1)})},
		{"mounts[7]", mount(specs.Mount{Destination: "/m", Source: "/proc", Options: []string{"bind", "idmap"}, UIDMappings: ids(0, 1, 9), GIDMappings: ids(0, 1, 9)})},

		{"linux.namespaces[6].type", space(specs.LinuxNamespace{Type: "space"})},
		{"linux.namespaces[6]", space(specs.LinuxNamespace{Type: specs.PIDNamespace})},
		{"linux.namespaces[6]", space(specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/no/such/ns"})},
		{"linux.namespaces[6]", space(specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/proc/self/ns/uts"})},
		{"linux.namespaces[6]", space(specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/etc/passwd"})},
		{"linux.uidMappings", user(nil, ids(0, 1, 9))},
		{"linux.gidMappings", user(ids(0, 1, 9), nil)},
		{"linux.uidMappings[0]", user(ids(0, 1, 0), ids(0, 1, 9))},
		{"linux.gidMappings[1]", user(ids(0, 1, 9), append(ids(0, 1, 9), ids(5, 20, 9)...))},
		{"linux.uidMappings", linux(func(l *specs.Linux) { l.UIDMappings, l.GIDMappings = ids(0, 1, 9), ids(0, 1, 9) })},
		{"process.user", both(user(ids(0, 100000, 9), ids(0, 100000, 9)), process(func(p *specs.Process) { p.User.UID = 77 }))},
		{"process.user", both(user(ids(0, 100000, 9), ids(0, 100000, 9)), process(func(p *specs.Process) { p.User.GID = 77 }))},
		{"linux.devices[0].type", linux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "q"}} })},
		{"linux.devices[0]", linux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: -1}} })},
		{"linux.devices[0].path", linux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "x", Type: "c"}} })},
		{"linux.sysctl", sysctl("kernel.panic", "1")},
		{"linux.sysctl", sysctl("net.no.such", "1")},
		{"linux.sysctl", sysctl("net.ipv4.ip_forward", "many")},
		{"linux.sysctl", sysctl("kernel.hostname", "x")},
		{"linux.sysctl", both(drop(specs.NetworkNamespace), sysctl("net.ipv4.ip_forward", "1"))},
		{"linux.cgroupsPath", linux(func(l *specs.Linux) { l.CgroupsPath = "/a/../../b" })},
		{"linux.resources.memory.limit", resources(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(-7))}})},
		{"linux.resources.memory", resources(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &many, Swap: new(int64(1))}})},
		//lint:ignore SA1019 it is refused
		{"linux.resources.memory.kernel", resources(specs.LinuxResources{Memory: &specs.LinuxMemory{Kernel: &many}})},
		{"linux.resources.cpu", resources(specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(1)), Period: new(uint64(1))}})},
		{"linux.resources.cpu.cpus", resources(specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "9000"}})},
		{"linux.resources.cpu.mems", resources(specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "x"}})},
		{"linux.resources.devices[0]", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "q"}}})},
		{"linux.resources.devices[0]", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "rx"}}})},
		{"linux.resources.hugepageLimits[0]", resources(specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}})},
		{"linux.resources.network", resources(specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: new(uint32(1))}})},
		{"linux.resources.rdma", resources(specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: new(uint32(1))}}})},
		{"linux.resources.unified", resources(specs.LinuxResources{Unified: map[string]string{"../x": "1"}})},
		{"linux.rootfsPropagation", linux(func(l *specs.Linux) { l.RootfsPropagation = "public" })},
		{"linux.maskedPaths", linux(func(l *specs.Linux) { l.MaskedPaths = []string{"/"} })},
		{"linux.intelRdt", linux(func(l *specs.Linux) { l.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x"} })},
		{"linux.memoryPolicy.mode", linux(func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "MPOL_ANY"} })},
		{"linux.memoryPolicy.flags[0]", linux(func(l *specs.Linux) {
			l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{"MPOL_F_X"}}
		})},
		{"linux.memoryPolicy.nodes", linux(func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-"} })},
		{"linux.memoryPolicy", linux(func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "999"} })},
		{"linux.personality.domain", linux(func(l *specs.Linux) { l.Personality = &specs.LinuxPersonality{Domain: "BSD"} })},
		{"linux.personality.flags[0]", linux(func(l *specs.Linux) {
			l.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"ADDR_NO_RANDOMIZE"}}
		})},
		{"linux.timeOffsets", linux(func(l *specs.Linux) { l.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} })},
		{"linux.timeOffsets", both(space(specs.LinuxNamespace{Type: specs.TimeNamespace}), linux(func(l *specs.Linux) {
			l.TimeOffsets = map[string]specs.LinuxTimeOffset{"noontime": {Secs: 1}}
		}))},
		{"linux.timeOffsets", both(space(specs.LinuxNamespace{Type: specs.TimeNamespace}), linux(func(l *specs.Linux) {
			l.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: -1 << 40}}
		}))},
		{"linux.netDevices", both(drop(specs.NetworkNamespace), linux(func(l *specs.Linux) { l.NetDevices = map[string]specs.LinuxNetDevice{"lo": {}} }))},
		{"linux.netDevices", linux(func(l *specs.Linux) { l.NetDevices = map[string]specs.LinuxNetDevice{"nosuchdev0": {}} })},

		{"linux.seccomp.defaultAction", filter(specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_MAYBE"})},
		{"linux.seccomp.defaultAction", filter(specs.LinuxSeccomp{DefaultAction: specs.ActNotify})},
		{"linux.seccomp.architectures[0]", filter(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_PDP11"}})},
		{"linux.seccomp.flags[0]", filter(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"X"}})},
		{"linux.seccomp.syscalls[1].action", rule(specs.LinuxSyscall{Names: []string{"read"}, Action: "SCMP_ACT_MAYBE"})},
		{"linux.seccomp.syscalls[1]", rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: new(uint(1 << 17))})},
		{"linux.seccomp.syscalls[1].args[0].index", rule(specs.LinuxSyscall{Names: []string{"dup"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}})},
		{"linux.seccomp.syscalls[1].args[0].op", rule(specs.LinuxSyscall{Names: []string{"dup"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_LIKE"}}})},
		{"linux.seccomp.listenerPath", rule(specs.LinuxSyscall{Names: []string{"dup"}, Action: specs.ActNotify})},
		{"linux.seccomp", rule(specs.LinuxSyscall{Names: []string{"execve"}, Action: specs.ActErrno})},
		//lint:ignore SA1019 engines still use prestart
		{"hooks.prestart[0].path", hooks(specs.Hooks{Prestart: []specs.Hook{{Path: "hook"}}})},
		{"hooks.createRuntime[0].path", hooks(specs.Hooks{CreateRuntime: []specs.Hook{{}}})},
		{"hooks.createContainer[0].timeout", hooks(specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/true", Timeout: new(0)}}})},
		{"hooks.startContainer[0].timeout", hooks(specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true", Timeout: new(-1)}}})},
		{"hooks.poststart[0].path", hooks(specs.Hooks{Poststart: []specs.Hook{{Path: "x"}}})},
		{"hooks.poststop[0].path", hooks(specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}})},
	} {
		before := mountsNow(t)
		h.config(c.change, "sleep", "100")
		r := h.try("create", "c")
		if r.code == 0 {
			t.Errorf("%s: created", c.where)
			h.must("delete", "-f", "c")
			continue
		}
		if msg := lastError(t, r.err); !strings.Contains(msg, c.where) {
			t.Errorf("%s: the error says %q", c.where, msg)
		}
		if r := h.try("run", "c"); r.code != 1 || !strings.Contains(lastError(t, r.err), c.where) {
			t.Errorf("%s: run: %+v", c.where, r)
		}
		if now := mountsNow(t); now != before {
			t.Errorf("%s: the mounts have changed: %s", c.where, now)
		}
		h.empty()
	}
	// Text that is no configuration at all.
	for text, where := range map[string]string{
		"": "config.json", "{\n \"process\": {": "line 2, column 13: unexpected end", "{\n \"process\": {\"args\": \"x\"}}": "line 2, column 24: process.args: a JSON string", `{"process": {"args": "sh"}}`: "process.args", `{"linux": {"resources": {"pids": {"limit": "x"}}}}`: "linux.resources.pids.limit",
		`{"mounts": [{"options": [1]}]}`: "mounts.options", `[]`: "line 1",
	} {
		if err := os.WriteFile(filepath.Join(h.bundle, configFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h.fails(where, "create", "c")
		h.empty()
	}
	os.Remove(filepath.Join(h.bundle, configFile))
	h.fails("config.json not found", "create", "c")
	h.empty()
}

// Without a process there may be a container, which cannot be started (runtime-spec, config.md, "Process").
func TestBare(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { s.Process = nil })
	h.fails("process: missing", "run", "c")
	h.must("create", "c")
	if s := h.stands("c"); s.Status != "created" {
		t.Errorf("%+v", s)
	}
	h.fails("process: missing", "start", "c")
	if s := h.stands("c"); s.Status != "stopped" {
		t.Errorf("%+v", s)
	}
	h.must("delete", "c")
	h.empty()
}

// lastError is the message of the last record of level error in what a command has said.
func lastError(t *testing.T, text string) (msg string) {
	t.Helper()
	for line := range strings.Lines(text) {
		at := strings.Index(line, "msg=")
		if !strings.Contains(line, "level=error") || at < 0 {
			continue
		}
		var err error
		if msg, err = strconv.Unquote(strings.TrimSpace(line[at+len("msg="):])); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return msg
}

// What the features document lists is honoured, and what it does not list is not known.
func TestFeatures(t *testing.T) {
	h := newHouse(t)
	var f struct {
		MountOptions []string
		Linux        struct {
			Namespaces, Capabilities []string
			Seccomp                  struct{ Actions, Operators, Archs, KnownFlags, SupportedFlags []string }
			MemoryPolicy             struct{ Modes, Flags []string }
			MountExtensions          struct{ IDMap struct{ Enabled bool } }
			NetDevices, IntelRdt     struct{ Enabled bool }
			Cgroup                   struct{ V1, V2, Systemd, SystemdUser, Rdma *bool }
		}
		OCIVersionMin, OCIVersionMax string
		Hooks                        []string
	}
	if err := json.Unmarshal([]byte(h.must("features")), &f); err != nil {
		t.Fatal(err)
	}
	made := func(what string, change func(*specs.Spec)) {
		t.Helper()
		h.config(change, "true")
		if r := h.try("create", "c"); r.code != 0 {
			t.Errorf("%s is listed, and refused: %s", what, r.err)
		}
		h.must("delete", "-f", "c")
	}
	for _, v := range []string{f.OCIVersionMin, f.OCIVersionMax} {
		made(v, func(s *specs.Spec) { s.Version = v })
	}
	for _, v := range f.Linux.Namespaces {
		made(v, func(s *specs.Spec) {
			if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return string(n.Type) == v }) && v != "user" {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(v)})
			}
		})
	}
	made("all actions", func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/x"}
		for i, v := range f.Linux.Seccomp.Actions {
			s.Linux.Seccomp.Syscalls = append(s.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"acct"}, Action: specs.LinuxSeccompAction(v),
				Args: []specs.LinuxSeccompArg{{Value: uint64(i), Op: specs.OpEqualTo}}})
		}
	})
	made("all operators", func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		for _, v := range f.Linux.Seccomp.Operators {
			s.Linux.Seccomp.Syscalls = append(s.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"acct"}, Action: specs.ActErrno,
				Args: []specs.LinuxSeccompArg{{Value: 7, Op: specs.LinuxSeccompOperator(v)}}})
		}
	})
	made("all architectures and flags", func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		for _, v := range f.Linux.Seccomp.Archs {
			s.Linux.Seccomp.Architectures = append(s.Linux.Seccomp.Architectures, specs.Arch(v))
		}
		for _, v := range f.Linux.Seccomp.SupportedFlags {
			s.Linux.Seccomp.Flags = append(s.Linux.Seccomp.Flags, specs.LinuxSeccompFlag(v))
		}
	})
	for _, v := range f.Linux.MemoryPolicy.Modes {
		made(v, func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(v)}
			if v != "MPOL_DEFAULT" && v != "MPOL_LOCAL" {
				s.Linux.MemoryPolicy.Nodes = "0"
			}
		})
	}
	for _, v := range f.Linux.MemoryPolicy.Flags {
		made(v, func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MemoryPolicyFlagType(v)}}
		})
	}
	for _, v := range f.MountOptions {
		if v == "idmap" || v == "ridmap" || v == "tmpcopyup" { // each has a test of its own
			continue
		}
		made(v, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Type: "none", Source: "/etc", Options: []string{"rbind", v}})
		})
	}
	h.config(func(s *specs.Spec) { s.Version = "1.0.2"; s.Process.Capabilities.Bounding = f.Linux.Capabilities }, "true")
	h.must("create", "c")
	h.must("delete", "-f", "c")
	if !f.Linux.MountExtensions.IDMap.Enabled || f.Linux.IntelRdt.Enabled || len(f.Hooks) != 6 || len(f.Linux.Capabilities) < 41 {
		t.Errorf("%+v", f)
	}
	h.empty()
}
