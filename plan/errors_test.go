package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp"
)

// What no plan can be made of is refused before anything runs, and named.
func TestRefused(t *testing.T) {
	add := func(m specs.Mount) func(*specs.Spec, *given, *facts.Facts) {
		return func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Mounts = append(s.Mounts, m) }
	}
	sysctl := func(key string) func(*specs.Spec, *given, *facts.Facts) {
		return func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Linux.Sysctl = map[string]string{key: "1"} }
	}
	drop := func(s *specs.Spec, typ specs.LinuxNamespaceType) {
		for i, n := range s.Linux.Namespaces {
			if n.Type == typ {
				s.Linux.Namespaces = append(s.Linux.Namespaces[:i:i], s.Linux.Namespaces[i+1:]...)
				return
			}
		}
	}
	for _, c := range []struct {
		name string
		edit func(*specs.Spec, *given, *facts.Facts)
		want string
	}{
		{"no command", func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Process.Args = nil }, "process.args: empty"},
		{"a zero byte", func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Process.Env = []string{"A=\x00B"} }, "process.env: \"A=\\x00B\" has a zero byte"},
		{"a relative working directory", func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Process.Cwd = "x" }, "process.cwd: \"x\" is not an absolute path"},
		{"no root", func(s *specs.Spec, g *given, _ *facts.Facts) { g.Root, s.Root = Root{}, nil }, "root.path: missing"},
		{"no mount namespace", func(s *specs.Spec, _ *given, _ *facts.Facts) { drop(s, specs.MountNamespace) }, "no \"mount\" namespace of the container's own: this kernel (6.12)"},
		{"two pid namespaces", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
		}, "linux.namespaces[6]: a second \"pid\""},
		{"the host's name", func(s *specs.Spec, _ *given, _ *facts.Facts) { drop(s, specs.UTSNamespace) }, "hostname: would change the host's"},
		{"the host's clocks", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			drop(s, specs.TimeNamespace)
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}}
		}, "linux.timeOffsets: would change"},
		{"a user namespace without ids", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		}, "linux.uidMappings: missing"},
		{"a directory as /proc", add(specs.Mount{Destination: "/proc", Type: "bind", Source: "/evil"}), "mounts[10]: /proc: only procfs may be mounted at /proc"},
		{"a mount inside /proc", add(specs.Mount{Destination: "/proc/self/attr", Type: "tmpfs"}), "nothing may be mounted there: it is inside /proc"},
		{"a mount over the root", add(specs.Mount{Destination: "/..", Type: "tmpfs"}), "the root filesystem stands there"},
		{"an id-mapped mount", add(specs.Mount{Destination: "/x", Type: "bind", Source: "/x", Options: []string{"idmap"}}), "mounts[10]: /x: options: \"idmap\": no mapping to use"},
		{"tmpcopyup", add(specs.Mount{Destination: "/x", Type: "ramfs", Options: []string{"tmpcopyup"}}), "\"tmpcopyup\" is for a tmpfs"},
		{"an option too long", add(specs.Mount{Destination: "/x", Type: "overlay", Options: []string{"lowerdir=/" + strings.Repeat("a", 255)}}), "lowerdir: 256 bytes, and fsconfig(2) takes 255"},
		{"a sysctl of the machine", sysctl("kernel.panic"), "linux.sysctl: \"kernel.panic\": belongs to the whole machine"},
		{"a sysctl with slashes", sysctl("vm/overcommit_memory"), "belongs to the whole machine"},
		{"a sysctl that climbs", sysctl("net/../kernel/panic"), "is no parameter's name"},
		{"a sysctl of the host's network", func(s *specs.Spec, _ *given, _ *facts.Facts) { drop(s, specs.NetworkNamespace) }, "needs an own network namespace"},
		{"a limit above the hard one", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}}
		}, "process.rlimits[0]: RLIMIT_CORE: soft limit 2 is above the hard one, 1"},
		{"a device of no type", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "q"}}
		}, "linux.devices[0].type: \"q\""},
		{"a device whose owner has no id", func(s *specs.Spec, _ *given, _ *facts.Facts) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1000, Size: 10}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
			owner := uint32(10)
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", UID: &owner}}
		}, "linux.devices[0]: its owner, 10:0, has no id in the container's user namespace"},
		{"AppArmor where there is none", func(s *specs.Spec, _ *given, _ *facts.Facts) { s.Process.ApparmorProfile = "docker-default" }, "this machine has no AppArmor"},
		{"an old kernel", func(_ *specs.Spec, _ *given, f *facts.Facts) {
			f.Kernel, f.Features.Openat2 = facts.Version{Major: 5, Minor: 4}, false
		}, "this kernel (5.4) has no openat2, which porthole needs (Linux 5.6)"},
		{"no time namespaces", func(_ *specs.Spec, _ *given, f *facts.Facts) { f.Features.TimeNS = false }, "no time namespaces"},
		{"exec without a mount namespace", func(_ *specs.Spec, g *given, _ *facts.Facts) { g.Join = []string{"pid"} }, "the container has no mount namespace of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, f := dockerSpec(t), machine()
			g := given{Options: Options{Root: hostRoot(), Groups: v1Groups}}
			c.edit(s, &g, &f)
			p, err := compile(t, s, g, f)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if p != nil {
				t.Error("and a plan")
			}
		})
	}
}

// What is left out is said.
func TestNotes(t *testing.T) {
	s, f := dockerSpec(t), machine()
	s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_RESOURCE", "CAP_FLY")
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/x", Options: []string{"rbind", "uid=5"}})
	f.Caps.Bounding = f.Caps.Bounding.Remove(24)
	p, err := Compile(s, Options{Root: hostRoot(), Groups: v1Groups}, f)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(p.Notes, "\n")
	for _, want := range []string{"CAP_SYS_RESOURCE", "CAP_FLY", "/x: uid=5: of no effect on a bind mount"} {
		if !strings.Contains(text, want) {
			t.Errorf("no word of %q in %s", want, text)
		}
	}
	if !strings.Contains(p.String(), "note: ") {
		t.Error("String leaves the notes out")
	}
}

// A step says which part of the spec it serves, or what the user typed for it.
func TestRefer(t *testing.T) {
	s := dockerSpec(t)
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/x"})
	p, err := Compile(s, Options{Root: hostRoot(), Groups: v1Groups, Refer: map[string]string{"mounts[10]": "-v /x:/x"}}, machine())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range p.Child {
		seen[s.Refer] = true
	}
	for _, want := range []string{"mounts[0]", "-v /x:/x", "process.user", "linux.maskedPaths[0]", "linux.sysctl[net.ipv4.ping_group_range]"} {
		if !seen[want] {
			t.Errorf("no step refers to %s", want)
		}
	}
	if seen["mounts[10]"] {
		t.Error("a step refers to the spec where the user's words are known")
	}
}

// The program is told from the answer: not found is ENOENT, and EACCES where one of the candidates
// was there and could not be executed.
func TestSearch(t *testing.T) {
	s := dockerSpec(t)
	s.Process.Env = []string{"PATH=/a:/b::rel:/c/"}
	for _, c := range []struct {
		there map[string]abi.Errno // 0: it runs
		want  string
		errno abi.Errno
	}{
		{nil, "/c/sh", abi.ENOENT},
		{map[string]abi.Errno{"/b/sh": 0}, "/b/sh", 0},
		{map[string]abi.Errno{"/a/sh": abi.EACCES}, "/", abi.EACCES},
		{map[string]abi.Errno{"/b/sh": abi.EACCES}, "/", abi.EACCES},
		{map[string]abi.Errno{"/c/sh": abi.EACCES}, "/c/sh", abi.EACCES},
		{map[string]abi.Errno{"/a/sh": abi.EACCES, "/c/sh": 0}, "/c/sh", 0},
		{map[string]abi.Errno{"/a/sh": enotdir, "/b/sh": enoexec, "/c/sh": 0}, "/b/sh", enoexec},
	} {
		p, err := Compile(s, Options{Root: hostRoot(), Groups: v1Groups}, machine())
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for p.Child[i].Call != "execve" {
			i++
		}
		var file string
		var errno abi.Errno
		for {
			step := p.Child[i]
			file = strings.TrimSuffix(string(step.Args[0].Mem.Bytes), "\x00")
			var ok bool
			if errno, ok = c.there[file]; !ok {
				errno = abi.ENOENT
			}
			if file == "/" {
				errno = abi.EACCES // the kernel's answer for a directory
			}
			skip := -1
			for _, e := range step.Errs {
				if e.Errno == errno {
					skip = e.Steps
				}
			}
			if errno == 0 || skip < 0 {
				break
			}
			i += 1 + skip
		}
		if file != c.want || errno != c.errno {
			t.Errorf("with %v: ends at %s with %v; want %s with %v", c.there, file, errno, c.want, c.errno)
		}
	}
}

func TestFilterError(t *testing.T) {
	g := given{Options: Options{Root: hostRoot(), Groups: v1Groups}, Deny: []string{"capset"}}
	_, err := compile(t, dockerSpec(t), g, machine())
	var refused *FilterError
	if !errors.As(err, &refused) || len(refused.Calls) != 1 || refused.Calls[0] != "capset" || refused.Rule != 0 || refused.Action != seccomp.Errno.With(1) {
		t.Errorf("got %#v (%v)", refused, err)
	}
	s := dockerSpec(t)
	s.Process.NoNewPrivileges = true
	if _, err := compile(t, s, g, machine()); err != nil {
		t.Errorf("with no_new_privs capset comes before the filter: %v", err)
	}
	g.Deny, g.Notify = nil, []string{"write"}
	if _, err := compile(t, dockerSpec(t), g, machine()); err == nil {
		t.Error("nobody could answer for the write that says that there is a listener")
	}
	g.Notify = []string{"execve"}
	if _, err := compile(t, dockerSpec(t), g, machine()); err != nil {
		t.Errorf("the listener can answer for execve: %v", err)
	}
}

// Hints are for steps that plans have.
func TestHints(t *testing.T) {
	s := dockerSpec(t)
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/x", Options: []string{"rbind", "ro"}})
	one := []specs.LinuxIDMapping{{HostID: 1, Size: 1}}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/y", Type: "bind", Source: "/y", Options: []string{"idmap"}, UIDMappings: one, GIDMappings: one})
	s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}}
	s.Process.Scheduler, s.Process.IOPriority = &specs.Scheduler{Policy: specs.SchedRR, Priority: 1}, &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT}
	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0"}
	g := given{Options: Options{Root: hostRoot(), Groups: v1Groups}, Deny: []string{"reboot"}}
	p, err := compile(t, s, g, machine())
	if err != nil {
		t.Fatal(err)
	}
	g.Join = []string{"mount", "pid"}
	joining, err := compile(t, s, g, machine())
	if err != nil {
		t.Fatal(err)
	}
	steps := append(append([]Step{{Call: "clone3"}}, p.Child...), joining.Child...)
	used := make([]bool, len(hints))
	for _, s := range steps {
		for i, h := range hints {
			because, _ := Hint(s, h.errno)
			used[i] = used[i] || because == h.because
		}
	}
	for i, h := range hints {
		if !used[i] {
			t.Errorf("no step can fail so: %s %s %s %v", h.call, h.tag, h.why, h.errno)
		}
		if h.because == "" {
			t.Errorf("hint %d gives no reason", i)
		}
	}
	because, try := Hint(Step{Call: "fsmount", Tag: "proc"}, abi.EPERM)
	if !strings.Contains(because, "covered") || !strings.Contains(try, "--pid=host") {
		t.Errorf("mounting procfs: %q, %q", because, try)
	}
	if because, try := Hint(Step{Call: "getpid"}, abi.EPERM); because != "" || try != "" {
		t.Errorf("a hint for nothing: %q, %q", because, try)
	}
}
