package spec

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/workload"
)

func ptr[T any](v T) *T { return &v }

// allCaps is every capability.
func allCaps() (s caps.Set) {
	for c := caps.Cap(0); c <= caps.Last; c++ {
		s = s.Add(c)
	}
	return s
}

// rootMachine is one on cgroup v2 where we are root; userMachine the same as an ordinary user
// with ranges in /etc/subuid.
func rootMachine() facts.Facts {
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64,
		Caps:     caps.State{Bounding: allCaps(), Permitted: allCaps(), Effective: allCaps()},
		UserNS:   facts.UserNS{Initial: true},
		Cgroup:   facts.Cgroup{Mode: facts.CgroupV2, Writable: true, SwapLimit: true},
		Features: facts.Features{Seccomp: true, TimeNS: true, CgroupNS: true, MountSetattr: true, UserNSCreate: true},
	}
}

func userMachine() facts.Facts {
	f := rootMachine()
	f.UID, f.GID, f.Groups = 1000, 1000, []int{1000}
	f.Caps = caps.State{Bounding: allCaps()}
	f.Cgroup.Writable = false
	f.NewUIDMap, f.NewGIDMap = "/usr/bin/newuidmap", "/usr/bin/newgidmap"
	f.SubUID = []facts.IDRange{{Inside: 1, Outside: 100000, Size: 65536}}
	f.SubGID = f.SubUID
	return f
}

var shell = Image{
	Cmd: []string{"sh"}, Env: []string{"PATH=/bin", "LANG=C"}, WorkingDir: "/srv",
	Passwd: []byte("root:x:0:0::/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n"),
	Group:  []byte("root:x:0:\naudio:x:29:ana\nana:x:1000:\n"),
}

var plain = Options{ID: "0123456789abcdef", CgroupsPath: "/porthole/x", HostName: "box",
	ResolvConf: "/r", Hosts: "/h", HostNameFile: "/n"}

func mustMake(t *testing.T, w workload.Workload, img Image, opt Options, f facts.Facts) (*specs.Spec, []Warning) {
	t.Helper()
	s, warns, err := Make(w, img, opt, f)
	if err != nil {
		t.Fatal(err)
	}
	return s, warns
}

func warned(warns []Warning) string {
	var out []string
	for _, w := range warns {
		out = append(out, w.String())
	}
	return strings.Join(out, "\n")
}

// mountAt is "type source options" of what is mounted at target.
func mountAt(s *specs.Spec, target string) string {
	for _, m := range s.Mounts {
		if m.Destination == target {
			return m.Type + " " + m.Source + " " + strings.Join(m.Options, ",")
		}
	}
	return ""
}

func TestProcess(t *testing.T) {
	for _, c := range []struct {
		name           string
		w              workload.Workload
		args, env, cwd string
		user           specs.User
	}{
		{"an image's own", workload.Workload{}, "sh", "PATH=/bin HOSTNAME=0123456789ab LANG=C HOME=/root", "/srv", specs.User{AdditionalGids: []uint32{0}}},
		{"a command", workload.Workload{Args: []string{"ls", "-l"}, Dir: "/tmp", TTY: true}, "ls -l", "PATH=/bin HOSTNAME=0123456789ab TERM=xterm LANG=C HOME=/root", "/tmp", specs.User{AdditionalGids: []uint32{0}}},
		{"an entry point drops the image's command", workload.Workload{Entrypoint: []string{"cat"}}, "cat", "PATH=/bin HOSTNAME=0123456789ab LANG=C HOME=/root", "/srv", specs.User{AdditionalGids: []uint32{0}}},
		{"said before the image's, and one taken away", workload.Workload{Env: []workload.EnvVar{{Name: "A", Value: ptr("1")}, {Name: "PATH", Value: ptr("/x")}, {Name: "LANG"}, {Name: "HOME", Value: ptr("/h")}}},
			"sh", "PATH=/x HOSTNAME=0123456789ab A=1 HOME=/h", "/srv", specs.User{AdditionalGids: []uint32{0}}},
		{"a name in the user database", workload.Workload{User: "ana", Groups: []string{"audio", "77"}}, "sh", "PATH=/bin HOSTNAME=0123456789ab LANG=C HOME=/home/ana", "/srv",
			specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{1000, 29, 77}}},
		{"a number that is not there", workload.Workload{User: "7:8"}, "sh", "PATH=/bin HOSTNAME=0123456789ab LANG=C HOME=/", "/srv", specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{8}}},
		{"the host's network has the host's name", workload.Workload{NS: workload.Namespaces{Network: "host"}}, "sh", "PATH=/bin HOSTNAME=box LANG=C HOME=/root", "/srv", specs.User{AdditionalGids: []uint32{0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := mustMake(t, c.w, shell, plain, rootMachine())
			p := s.Process
			if got := strings.Join(p.Args, " "); got != c.args {
				t.Errorf("args %q, want %q", got, c.args)
			}
			if got := strings.Join(p.Env, " "); got != c.env {
				t.Errorf("env %q\nwant %q", got, c.env)
			}
			if p.Cwd != c.cwd || p.Terminal != c.w.TTY {
				t.Errorf("cwd %q, terminal %t", p.Cwd, p.Terminal)
			}
			if d := cmp.Diff(c.user, p.User); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	w := workload.Workload{Root: workload.Root{ReadOnly: true}, Init: true, Mounts: []workload.Mount{
		{Type: workload.Bind, Source: "/deep", Target: "/a/b/c", ReadOnly: true},
		{Type: workload.Bind, Source: "/one", Target: "/one", ReadOnly: true, NonRecursive: true, Propagation: "rslave"},
		{Type: workload.Bind, Source: "/w", Target: "/w", ReadOnly: true, SubReadOnly: "no"},
		{Type: workload.Volume, Source: "vol", Target: "/vol/", NoCopy: true},
		{Type: workload.Tmpfs, Target: "/run", Options: []string{"exec", "size=64m", "size=1m", "rw"}},
		{Type: workload.Tmpfs, Target: "/t", ReadOnly: true, Size: 4096, Mode: ptr(uint32(0o1777))},
		{Type: workload.Bind, Source: "/my/hosts", Target: "/etc/hosts"},
		{Type: workload.Tmpfs, Target: "/dev/shm"},
	}}
	img := shell
	img.Volumes = []string{"/data", "/vol"}
	opt := plain
	opt.Init = "/init"
	opt.Volumes = map[string]string{"/vol": "/v/vol", "/data": "/v/anon"}
	s, _ := mustMake(t, w, img, opt, rootMachine())
	for target, want := range map[string]string{
		"/a/b/c":            "bind /deep rbind,rro,rprivate",
		"/one":              "bind /one bind,ro,rslave",
		"/w":                "bind /w rbind,ro,rprivate",
		"/vol":              "bind /v/vol rbind,rprivate",
		"/data":             "bind /v/anon rbind,rprivate",
		"/run":              "tmpfs tmpfs nosuid,nodev,rprivate,exec,size=1m",
		"/t":                "tmpfs tmpfs noexec,nosuid,nodev,rprivate,ro,mode=1777,size=4096",
		"/dev/shm":          "tmpfs tmpfs noexec,nosuid,nodev,rprivate",
		"/etc/hosts":        "bind /my/hosts rbind,rprivate",
		"/etc/resolv.conf":  "bind /r rbind,rprivate,ro",
		"/sbin/docker-init": "bind /init bind,ro",
		"/proc":             "proc proc nosuid,noexec,nodev",
	} {
		if got := mountAt(s, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if !s.Root.Readonly || s.Linux.RootfsPropagation != "rslave" {
		t.Errorf("root %+v, propagation %q", s.Root, s.Linux.RootfsPropagation)
	}
	if want := []string{InitPath, "--", "sh"}; !slices.Equal(s.Process.Args, want) {
		t.Errorf("args %q", s.Process.Args)
	}
	at := func(target string) int {
		return slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == target })
	}
	if at("/a/b/c") < at("/one") || at("/one") < at("/sys") {
		t.Error("mounts are not in order of their depth")
	}
	wantVolumes := []Volume{{Name: "vol", Target: "/vol"}, {Target: "/data", Copy: true, Refer: "the image's volume /data"}}
	if d := cmp.Diff(wantVolumes, Volumes(w, img)); d != "" {
		t.Error(d)
	}
	// An older release has no recursion, and a user's /dev takes those beneath it away.
	w = workload.Workload{As: "docker:24.0.9", Mounts: []workload.Mount{{Type: workload.Bind, Source: "/dev", Target: "/dev", ReadOnly: true}}}
	s, _ = mustMake(t, w, shell, plain, rootMachine())
	if got := mountAt(s, "/dev"); got != "bind /dev rbind,ro,rprivate" || mountAt(s, "/dev/pts") != "" {
		t.Errorf("/dev: %q, /dev/pts: %q", got, mountAt(s, "/dev/pts"))
	}
}

func TestDevices(t *testing.T) {
	node := func(path string, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: "c", Major: 10, Minor: minor}
	}
	opt := plain
	opt.Device = func(path string) ([]specs.LinuxDevice, error) {
		switch path {
		case "/dev/kvm":
			return []specs.LinuxDevice{node(path, 232)}, nil
		case "/dev/dir":
			return []specs.LinuxDevice{node("/dev/dir/a", 1), node("/dev/dir/b", 2)}, nil
		}
		return nil, errors.New("no such file or directory")
	}
	opt.HostDevices = func() ([]specs.LinuxDevice, error) { return []specs.LinuxDevice{node("/dev/kvm", 232)}, nil }
	w := workload.Workload{Devices: []workload.Device{
		{Source: "/dev/kvm", Target: "/dev/x", Access: "r"}, {Source: "/dev/dir", Target: "/dev/d", Access: "rwm"}, {Rule: "b 8:* rw"}}}
	s, _ := mustMake(t, w, shell, opt, rootMachine())
	var got []string
	for _, d := range s.Linux.Devices {
		got = append(got, d.Path)
	}
	if want := []string{"/dev/x", "/dev/d/a", "/dev/d/b"}; !slices.Equal(got, want) {
		t.Errorf("devices %q", got)
	}
	rules := s.Linux.Resources.Devices
	want := []specs.LinuxDeviceCgroup{rule(true, "c", 10, 232, "r"), rule(true, "c", 10, 1, "rwm"), rule(true, "c", 10, 2, "rwm"), rule(true, "b", 8, -1, "rw")}
	if d := cmp.Diff(want, rules[len(rules)-4:]); d != "" {
		t.Error(d)
	}
	// Without root they are bound, and a rule can do nothing.
	s, warns := mustMake(t, w, shell, opt, userMachine())
	if mountAt(s, "/dev/x") != "bind /dev/kvm rbind,rprivate,nosuid,noexec,ro" || mountAt(s, "/dev/d/b") != "bind /dev/dir/b rbind,rprivate,nosuid,noexec" {
		t.Errorf("bound %q and %q", mountAt(s, "/dev/x"), mountAt(s, "/dev/d/b"))
	}
	if s.Linux.Devices != nil || s.Linux.Resources != nil || !strings.Contains(warned(warns), "--device-cgroup-rule b 8:* rw: in a user namespace") {
		t.Errorf("devices %v, resources %v, warned %q", s.Linux.Devices, s.Linux.Resources, warned(warns))
	}
	s, _ = mustMake(t, workload.Workload{Security: workload.Security{Privileged: true}}, shell, opt, userMachine())
	if mountAt(s, "/dev/kvm") == "" {
		t.Error("--privileged without root has no devices")
	}
}

func TestPrivileged(t *testing.T) {
	w := workload.Workload{Security: workload.Security{Privileged: true, CapDrop: []string{"CHOWN"}}}
	s, warns := mustMake(t, w, shell, plain, rootMachine())
	if len(s.Process.Capabilities.Bounding) != int(caps.Last)+1 || s.Linux.MaskedPaths != nil || s.Linux.ReadonlyPaths != nil || s.Linux.Seccomp != nil {
		t.Errorf("not privileged: %+v", s)
	}
	if mountAt(s, "/sys/fs/cgroup") != "cgroup cgroup nosuid,noexec,nodev" || mountAt(s, "/sys") != "sysfs sysfs nosuid,noexec,nodev" {
		t.Errorf("/sys %q", mountAt(s, "/sys"))
	}
	if !strings.Contains(warned(warns), "--cap-drop CHOWN") {
		t.Errorf("warned %q", warned(warns))
	}
}

func TestRootless(t *testing.T) {
	s, warns := mustMake(t, workload.Workload{Limits: workload.Limits{Memory: 64 << 20}}, shell, plain, userMachine())
	var kinds []specs.LinuxNamespaceType
	for _, n := range s.Linux.Namespaces {
		kinds = append(kinds, n.Type)
	}
	want := []specs.LinuxNamespaceType{"mount", "network", "time", "uts", "pid", "ipc", "user", "cgroup"}
	if !slices.Equal(kinds, want) {
		t.Errorf("namespaces %v", kinds)
	}
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}
	if d := cmp.Diff(maps, s.Linux.UIDMappings); d != "" {
		t.Error(d)
	}
	if s.Linux.Resources != nil || s.Linux.CgroupsPath != "" || s.Process.OOMScoreAdj != nil {
		t.Error("asks for what an ordinary user has not")
	}
	if _, ok := s.Linux.Sysctl["net.ipv4.ping_group_range"]; ok {
		t.Error("ping_group_range cannot be set in a user namespace")
	}
	if len(s.Process.Capabilities.Bounding) != 14 {
		t.Errorf("capabilities %v", s.Process.Capabilities.Bounding)
	}
	if got := warned(warns); got != "-m: no control group can be made here: without effect" {
		t.Errorf("warned %q", got)
	}

	// No ranges: one id, no groups, no group 5 for terminals.
	f := userMachine()
	f.NewUIDMap = ""
	s, warns = mustMake(t, workload.Workload{Groups: []string{"29"}}, shell, plain, f)
	if len(s.Linux.UIDMappings) != 1 || s.Process.User.AdditionalGids != nil || strings.Contains(mountAt(s, "/dev/pts"), "gid=") {
		t.Errorf("maps %v, user %+v, pts %q", s.Linux.UIDMappings, s.Process.User, mountAt(s, "/dev/pts"))
	}
	if !strings.HasPrefix(warned(warns), "groups: left out, since this user namespace cannot have them: 29") {
		t.Errorf("warned %q", warned(warns))
	}
	if _, _, err := Make(workload.Workload{User: "ana"}, shell, plain, f); err == nil || !strings.Contains(err.Error(), "user 1000 is not mapped") {
		t.Errorf("user 1000: %v", err)
	}

	// What shows a namespace of the host's is bound, not mounted.
	s, _ = mustMake(t, workload.Workload{NS: workload.Namespaces{PID: "host", Network: "host", IPC: "host", Cgroup: "host"}}, shell, plain, userMachine())
	for target, want := range map[string]string{
		"/proc":          "bind /proc rbind,nosuid,noexec,nodev,rprivate",
		"/sys":           "bind /sys rbind,nosuid,noexec,nodev,ro,rprivate,rro",
		"/sys/fs/cgroup": "bind /sys/fs/cgroup rbind,ro,nosuid,noexec,nodev,rprivate,rro",
		"/dev/mqueue":    "",
		"/dev/shm":       "bind /dev/shm rbind,rprivate",
	} {
		if got := mountAt(s, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	s, warns = mustMake(t, workload.Workload{User: "ana", NS: workload.Namespaces{PID: "host"}}, shell, plain, userMachine())
	if s.Linux.Sysctl != nil || !strings.Contains(warned(warns), "ports below 1024 stay closed to user 1000") {
		t.Errorf("--pid host: sysctl %v, warned %q", s.Linux.Sysctl, warned(warns))
	}
	// Root in a namespace that somebody else made needs none of his own, and owns no more.
	f = rootMachine()
	f.UserNS = facts.UserNS{UIDs: []facts.IDRange{{Size: 1}}, GIDs: []facts.IDRange{{Size: 1}}}
	s, _ = mustMake(t, workload.Workload{}, shell, plain, f)
	if s.Linux.UIDMappings != nil || strings.Contains(mountAt(s, "/dev/pts"), "gid=") || s.Linux.Sysctl["net.ipv4.ping_group_range"] != "" {
		t.Errorf("nested: maps %v, pts %q, sysctl %v", s.Linux.UIDMappings, mountAt(s, "/dev/pts"), s.Linux.Sysctl)
	}
	f = userMachine()
	f.Features.UserNSCreate = false
	if _, _, err := Make(workload.Workload{}, shell, plain, f); err == nil {
		t.Error("made a user namespace where none can be made")
	}
}

func TestResources(t *testing.T) {
	opt := plain
	opt.CPUs = 4
	w := workload.Workload{Limits: workload.Limits{Memory: 64 << 20, NanoCPUs: 15e8, CPUShares: 512, CpusetCpus: "0-1", PidsLimit: ptr[int64](0)}}
	s, _ := mustMake(t, w, shell, opt, rootMachine())
	r := s.Linux.Resources
	if *r.Memory.Limit != 64<<20 || *r.Memory.Swap != 128<<20 || *r.CPU.Quota != 150000 || *r.CPU.Period != 100000 || *r.CPU.Shares != 512 || r.CPU.Cpus != "0-1" || *r.Pids.Limit != -1 {
		t.Errorf("%+v", r)
	}
	w.Limits.NanoCPUs = 5e9
	if _, _, err := Make(w, shell, opt, rootMachine()); err == nil || err.Error() != "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available" {
		t.Errorf("5 of 4 CPUs: %v", err)
	}
}

func TestErrors(t *testing.T) {
	img := shell
	for _, c := range []struct {
		w    workload.Workload
		want string
	}{
		{workload.Workload{Entrypoint: []string{}, Args: []string{}}, "no command specified"},
		{workload.Workload{User: "nosuch"}, "unable to find user nosuch: no matching entries in passwd file"},
		{workload.Workload{Groups: []string{"nosuch"}}, "unable to find group nosuch"},
		{workload.Workload{As: "rkt"}, "--as rkt: unknown engine"},
		{workload.Workload{As: "docker:new"}, `"new" is no version`},
		{workload.Workload{NS: workload.Namespaces{PID: "container:a"}}, "containers cannot share a namespace yet"},
		{workload.Workload{NS: workload.Namespaces{Network: "host"}, Sysctls: map[string]string{"net.x": "1"}}, `sysctl "net.x" not allowed in host network namespace`},
		{workload.Workload{NS: workload.Namespaces{IPC: "host"}, Sysctls: map[string]string{"kernel.sem": "1"}}, `sysctl "kernel.sem" not allowed in host ipc namespace`},
		{workload.Workload{Hostname: "a", NS: workload.Namespaces{UTS: "host"}}, "conflicting options: hostname and the UTS mode"},
		{workload.Workload{Mounts: []workload.Mount{{Type: "volume", Target: "/v", Refer: "-v /v"}}}, "-v /v: no directory was given for this volume"},
		{workload.Workload{Devices: []workload.Device{{Rule: "x"}}}, "invalid device cgroup format 'x'"},
		{workload.Workload{Security: workload.Security{CapAdd: []string{"SYS_PTRAC"}}}, `invalid CapAdd: unknown capability: "CAP_SYS_PTRAC"; did you mean SYS_PTRACE?`},
		{workload.Workload{Security: workload.Security{Seccomp: "p.json", SeccompDoc: []byte(`{"defaultAction":"NOPE"}`)}}, "NOPE"},
	} {
		_, _, err := Make(c.w, img, plain, rootMachine())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v:\n%v; want %q", c.w, err, c.want)
		}
	}
}

func TestJoin(t *testing.T) {
	w := workload.Workload{
		Env: []workload.EnvVar{{Name: "A", Value: ptr("1")}}, TTY: true, User: "ana", Init: true,
		Security: workload.Security{CapAdd: []string{"net_admin"}, CapDrop: []string{"KILL"}, NoNewPrivs: ptr(true)},
		Mounts:   []workload.Mount{{Type: "volume", Target: "/v"}}, Limits: workload.Limits{Memory: 1},
	}
	e := workload.Exec{Args: []string{"gdb"}, Dir: "/tmp", Env: []workload.EnvVar{{Name: "A", Value: ptr("2")}},
		CapAdd: []string{"SYS_PTRACE", "CAP_KILL"}, CapDrop: []string{"NET_ADMIN"}, NoNewPrivs: ptr(false)}
	p, filter, warns, err := Join(e, w, shell, plain, rootMachine())
	if err != nil || len(warns) != 0 {
		t.Fatal(err, warns)
	}
	if got := strings.Join(p.Args, " "); got != "gdb" || p.Terminal || p.Cwd != "/tmp" || p.User.UID != 1000 || p.NoNewPrivileges || !slices.Contains(p.Env, "A=2") {
		t.Errorf("%+v", p)
	}
	set := setOf(p.Capabilities.Bounding)
	if !set.Has(caps.CAP_SYS_PTRACE) || !set.Has(caps.CAP_KILL) || set.Has(caps.CAP_NET_ADMIN) {
		t.Errorf("capabilities %v", p.Capabilities.Bounding)
	}
	kcmp := func(s *specs.LinuxSeccomp) bool {
		return slices.ContainsFunc(s.Syscalls, func(c specs.LinuxSyscall) bool { return slices.Contains(c.Names, "kcmp") })
	}
	if !kcmp(filter) {
		t.Error("the session's capability did not bring its system calls")
	}
	if _, filter, _, _ = Join(workload.Exec{Args: []string{"sh"}}, w, shell, plain, rootMachine()); kcmp(filter) {
		t.Error("another session has them too")
	}
	if p, filter, _, err = Join(workload.Exec{Args: []string{"sh"}, Privileged: true, User: "0"}, w, shell, plain, rootMachine()); err != nil || filter != nil || len(p.Capabilities.Bounding) != int(caps.Last)+1 {
		t.Errorf("privileged: %v, filter %v", err, filter)
	}
}

func TestReleases(t *testing.T) {
	has := func(as, path string) (masked, readonly bool) {
		d, err := defaultsOf(as)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(d.masked, path), slices.Contains(d.readonly, path)
	}
	for _, c := range []struct {
		as, path         string
		masked, readonly bool
	}{
		{"docker:1.12.6", "/sys/firmware", false, false},
		{"docker:1.12.6", "/proc/timer_list", true, false},
		{"docker:18.03", "/proc/keys", true, false},
		{"docker:18.09.0", "/proc/asound", false, true},
		{"docker:18.09.1", "/proc/asound", true, false},
		{"docker:18.09", "/proc/asound", true, false},
		{"docker:17.12.0-ce", "/proc/scsi", true, false},
		{"docker:20.10.26", "/sys/devices/virtual/powercap", false, false},
		{"docker:20.10.27", "/sys/devices/virtual/powercap", true, false},
		{"docker:23.0.7", "/sys/devices/virtual/powercap", false, false},
		{"docker:v23.0.8", "/sys/devices/virtual/powercap", true, false},
		{"docker:24.0.6", "/sys/devices/virtual/powercap", false, false},
		{"docker:28.0.1", "/proc/interrupts", false, false},
		{"docker:28", "/proc/interrupts", true, false},
		{"docker", "/proc/interrupts", true, false},
		{"podman", "/proc/asound", false, true},
		{"containerd", "/proc/asound", true, false},
	} {
		if m, r := has(c.as, c.path); m != c.masked || r != c.readonly {
			t.Errorf("%s: %s masked %t, read-only %t", c.as, c.path, m, r)
		}
	}
	for as, want := range map[string]string{
		"docker:20.10.13": "inheritable", "docker:20.10.14": "", "docker:20.10.24": "", "docker": "effective", "podman": "ambient",
	} {
		w := workload.Workload{As: as, User: "1000", Security: workload.Security{CapAdd: []string{"NET_ADMIN"}, Seccomp: "unconfined"}}
		s, _ := mustMake(t, w, shell, plain, rootMachine())
		c := s.Process.Capabilities
		got := ""
		switch {
		case c.Ambient != nil:
			got = "ambient"
			if d := cmp.Diff([]string{"CAP_NET_ADMIN"}, c.Ambient); d != "" {
				t.Error(d)
			}
		case c.Effective != nil:
			got = "effective"
		case c.Inheritable != nil:
			got = "inheritable"
		}
		if got != want {
			t.Errorf("%s, uid 1000: %q, want %q: %+v", as, got, want, c)
		}
	}
	for _, as := range []string{"", "docker", "docker:18.09", "podman", "containerd", "kubernetes"} {
		if s, _ := mustMake(t, workload.Workload{As: as}, shell, plain, rootMachine()); s.Linux.Seccomp == nil {
			t.Errorf("--as %q: no filter", as)
		}
	}
	for _, c := range dockerChanges {
		if c.src == "" || !slices.IsSortedFunc(c.since, func(a, b string) int {
			x, _ := parseRelease(a)
			y, _ := parseRelease(b)
			return slices.Compare(x[:], y[:])
		}) {
			t.Errorf("%v: no source, or not in order", c.since)
		}
	}
}

func TestCapabilities(t *testing.T) {
	set, err := Capabilities("docker", []string{"sys_ptrace"}, []string{"CAP_CHOWN"})
	if err != nil || !set.Has(caps.CAP_SYS_PTRACE) || set.Has(caps.CAP_CHOWN) || set.Len() != 14 {
		t.Errorf("%v, %v", set, err)
	}
	if set, _ := Capabilities("docker", []string{"all"}, nil); set != allCaps() {
		t.Errorf("all: %v", set)
	}
	if _, err := Capabilities("docker:20.10.24", []string{"PERFMON"}, nil); err == nil || err.Error() != `invalid CapAdd: unknown capability: "CAP_PERFMON"` {
		t.Errorf("PERFMON for 20.10.24: %v", err)
	}
}

func TestLeftOut(t *testing.T) {
	f := rootMachine()
	f.Caps.Bounding = f.Caps.Bounding.Remove(caps.CAP_SYS_RESOURCE)
	f.Features.Seccomp, f.AppArmor, f.SELinux = false, true, true
	w := workload.Workload{Security: workload.Security{CapAdd: []string{"SYS_RESOURCE", "NET_ADMIN"}}}
	s, warns := mustMake(t, w, shell, plain, f)
	if set := setOf(s.Process.Capabilities.Bounding); set.Has(caps.CAP_SYS_RESOURCE) || !set.Has(caps.CAP_NET_ADMIN) {
		t.Errorf("capabilities %v", s.Process.Capabilities.Bounding)
	}
	want := `capabilities: left out, since our own bounding set lacks them: CAP_SYS_RESOURCE
seccomp: not enabled in this kernel: running without a filter
apparmor: no profile for containers is loaded on this machine: running unconfined
selinux: porthole sets no labels: running under its own`
	if d := cmp.Diff(want, warned(warns)); d != "" {
		t.Error(d)
	}
}

func TestResolveUser(t *testing.T) {
	for _, c := range []struct {
		spec string
		want User
		err  string
	}{
		{"", User{Home: "/root"}, ""},
		{"ana", User{UID: 1000, GID: 1000, Groups: []uint32{29}, Home: "/home/ana"}, ""},
		{"ana:audio", User{UID: 1000, GID: 29, Home: "/home/ana"}, ""},
		{"5", User{UID: 5, Home: "/"}, ""},
		{"nosuch", User{}, "unable to find user nosuch: no matching entries in passwd file"},
		{"0:nosuch", User{}, "unable to find group nosuch: no matching entries in group file"},
		{"4294967296", User{}, ""},
		{"-1", User{}, ""},
	} {
		got, err := ResolveUser(c.spec, shell.Passwd, shell.Group)
		if c.err != "" || strings.ContainsAny(c.spec, "-6") {
			if err == nil || c.err != "" && err.Error() != c.err {
				t.Errorf("%q: %v, want %q", c.spec, err, c.err)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", c.spec, err, d)
		}
	}
	if _, err := ResolveUser("root", nil, nil); err == nil {
		t.Error("found root in no file")
	}
	if u, err := ResolveUser("7", nil, nil); err != nil || u.UID != 7 || u.Home != "/" {
		t.Errorf("7 without files: %+v, %v", u, err)
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add("ana:audio", string(shell.Passwd), string(shell.Group))
	f.Add("0", "root:x:0:0", ":::")
	f.Fuzz(func(t *testing.T, spec, passwd, group string) {
		u, err := ResolveUser(spec, []byte(passwd), []byte(group))
		if err == nil && (u.UID > 1<<31-1 || u.GID > 1<<31-1) {
			t.Errorf("%q gave %+v", spec, u)
		}
		if groups, err := ResolveGroups([]string{spec}, []byte(group)); err == nil && (len(groups) != 1 || groups[0] > 1<<31-1) {
			t.Errorf("%q gave the groups %v", spec, groups)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	f.Add("c 1:3 rwm")
	f.Add("a *:* r")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRule(s)
		if err == nil && (!r.Allow || r.Access == "" || r.Major != nil && *r.Major < 0) {
			t.Errorf("%q gave %+v", s, r)
		}
	})
}

func TestMemoryWithoutSwapAccounting(t *testing.T) {
	f := rootMachine()
	f.Cgroup.SwapLimit = false
	s, warns := mustMake(t, workload.Workload{Limits: workload.Limits{Memory: 64 << 20}}, shell, plain, f)
	m := s.Linux.Resources.Memory
	if m == nil || m.Limit == nil || *m.Limit != 64<<20 || m.Swap != nil || len(warns) != 1 {
		t.Errorf("memory %+v, warnings %v: want the limit without swap, and one warning", m, warns)
	}
}

// Whatever stands for a user or a group is found or refused; nothing of it is taken for granted.
func TestOddUsers(t *testing.T) {
	passwd, group := []byte("root:x:0:0::/root:/bin/sh\n:x:7:7::/:\nana:x:1:2::/:\n"), []byte("root:x:0:\n:x:9:\nclub:x:3:ana\n")
	for _, files := range [][2][]byte{{passwd, group}, {nil, nil}, {[]byte("\n\n"), []byte(":::\n")}} {
		for _, s := range []string{"", ":", "::", "0:", ":0", "root:", ":club", "ana:club:x", "-1", "0:-1", "99999999999", " ", "\n", "ana\n"} {
			if u, err := ResolveUser(s, files[0], files[1]); err == nil && (u.UID > math.MaxInt32 || u.GID > math.MaxInt32) {
				t.Errorf("%q is %+v", s, u)
			}
			if _, err := ResolveGroups([]string{s}, files[1]); (s == "" || s == "-1" || s == "99999999999") && err == nil {
				t.Errorf("%q is a group", s)
			}
		}
	}
}
