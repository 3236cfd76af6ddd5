package why

import (
	"errors"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/workload"
)

func ask(t testing.TB, call string, w workload.Workload, change ...func(*Scene)) Static {
	t.Helper()
	s := defaultScene(t, w)
	for _, do := range change {
		do(&s)
	}
	a, err := Ask(call, s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func kernel(v string) func(*Scene) {
	return func(s *Scene) {
		s.Facts.Kernel, _ = facts.ParseVersion(v)
		s.Conditions.Kernel = s.Facts.Kernel
	}
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		story, call string
		w           workload.Workload
		change      []func(*Scene)
		verdict     Verdict
		errno       abi.Errno
		first       Layer
		change1     string // a change that must be told
	}{
		{"strace's first call, in the days of 18.06", "ptrace(TRACEME)", workload.Workload{As: "docker:18.06"}, nil, Refused, abi.EPERM, Seccomp, "docker 19.03.0"},
		{"and with the capability, as uid 1000", "ptrace(TRACEME)", workload.Workload{As: "docker:18.06", User: "1000", Security: workload.Security{CapAdd: []string{"SYS_PTRACE"}}}, []func(*Scene){kernel("4.4")}, Allowed, 0, 0, ""},
		{"today, on an old kernel", "ptrace(TRACEME)", workload.Workload{}, []func(*Scene){kernel("4.4")}, Refused, abi.EPERM, Seccomp, "4.8"},
		{"today", "ptrace(TRACEME)", workload.Workload{}, nil, Allowed, 0, 0, ""},
		{"the kernel log was everybody's before 18.09", "syslog(10)", workload.Workload{As: "docker:18.06"}, []func(*Scene){func(s *Scene) { s.Facts.Sysctl["kernel.dmesg_restrict"] = "0" }}, Allowed, 0, 0, "docker 18.09.0"},
		{"mount with the capability", `mount("none", "/mnt", "tmpfs", 0)`, workload.Workload{Security: workload.Security{CapAdd: []string{"SYS_ADMIN"}}}, nil, Allowed, 0, 0, ""},
		{"mount with the capability, as uid 1000", `mount("none", "/mnt", "tmpfs", 0)`, workload.Workload{User: "1000", Security: workload.Security{CapAdd: []string{"SYS_ADMIN"}}}, nil, Refused, abi.EPERM, Capability, ""},
		{"gdb's wish", "personality(ADDR_NO_RANDOMIZE)", workload.Workload{}, nil, Refused, abi.EPERM, Seccomp, ""},
		{"an old wish", "personality(0x8)", workload.Workload{}, nil, Allowed, 0, 0, ""},
		{"an unknown wish", "personality", workload.Workload{}, nil, Depends, 0, Seccomp, ""},
		{"the clock of a rootless container", "clock_settime(CLOCK_REALTIME)", workload.Workload{Security: workload.Security{Seccomp: "unconfined", Privileged: true}},
			[]func(*Scene){func(s *Scene) { s.Nest([]facts.IDRange{{Size: 1}}) }}, Refused, abi.EPERM, Capability, ""},
		{"Yama's no", "ptrace(PTRACE_ATTACH, 7)", workload.Workload{User: "1000"}, []func(*Scene){func(s *Scene) { s.Facts.Yama, s.Facts.LSMs = 3, []string{"yama"} }}, Refused, abi.EPERM, Yama, ""},
		{"clone3 in Docker", "clone3", workload.Workload{}, nil, Refused, abi.ENOSYS, Seccomp, ""},
		{"a raw socket, dropped", "socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)", workload.Workload{Security: workload.Security{CapDrop: []string{"NET_RAW"}}}, nil, Refused, abi.EPERM, Capability, "--cap-add NET_RAW"},
	} {
		a := ask(t, c.call, c.w, c.change...)
		var first Layer
		if len(a.Layers) > 0 && a.Verdict != Allowed {
			first = a.Layers[0].Layer
		}
		if a.Verdict != c.verdict || a.Errno != c.errno || first != c.first {
			t.Errorf("%s: %v %v by %v, want %v %v by %v\n%s", c.story, a.Verdict, a.Errno, first, c.verdict, c.errno, c.first, a.Text("en"))
		}
		if c.change1 != "" && !strings.Contains(a.Text("en"), c.change1) {
			t.Errorf("%s: no word of %s:\n%s", c.story, c.change1, a.Text("en"))
		}
		for _, l := range Languages() {
			if s := a.Text(l); strings.Contains(s, "{") {
				t.Errorf("%s in %s: %s", c.story, l, s)
			}
		}
	}
}

// A recorded case that filter and rules can decide is decided as it was recorded.
func TestAskAgreesWithCases(t *testing.T) {
	asked, right, open := 0, 0, 0
	for _, c := range readCases(t) {
		if c.refusal.Event.Filtered || c.refusal.Silent || c.refusal.Event.Arch != abi.X86_64 || c.refusal.Event.File != nil && c.refusal.Event.File.Mode != 0 {
			continue // not to be told from the call alone
		}
		s := c.scene
		a, err := Ask(c.call.String(), s)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		asked++
		switch {
		case a.Verdict == Allowed:
			t.Logf("%s: said to be allowed; it was %v", c.name, c.layers)
		case fits(a.Layers[0].Layer, c.layers[0]):
			right++
		case a.Verdict == Depends:
			open++
		default:
			t.Logf("%s: %v %v, recorded %v %s", c.name, a.Layers[0].Layer, a.Errno, c.layers, c.errno)
		}
	}
	t.Logf("%d asked, %d as recorded, %d left open", asked, right, open)
	if 10*(right+open) < 9*asked {
		t.Errorf("%d of %d agree", right+open, asked)
	}
}

func TestParseCall(t *testing.T) {
	for in, want := range map[string]string{
		`mount("proc", "/a b", "proc", MS_NOSUID)`: `mount("proc", "/a b", "proc", MS_NOSUID)`,
		`write("/proc/self/loginuid")`:             `write("/proc/self/loginuid")`,
		`perf_event_open(_, -1, 0, -1, 0)`:         `perf_event_open(_, -1, 0, -1, 0)`,
		`ptrace(TRACEME)`:                          `ptrace(PTRACE_TRACEME)`,
		`openat(_, "/x", O_RDONLY)`:                `openat(_, "/x", O_RDONLY)`,
	} {
		c, err := ParseCall(in)
		if err != nil || c.String() != want {
			t.Errorf("%s: %s, %v", in, c, err)
			continue
		}
		if again, err := ParseCall(c.String()); err != nil || again.Call != c.Call {
			t.Errorf("%s is read back as %v, %v", c, again, err)
		}
	}
	for in, column := range map[string]int{
		`mount("proc`:             7,
		`mount("a", FROB)`:        12,
		`"mount"`:                 1,
		`moun("a")`:               1,
		`mount("ä", "ü", FROB)`:   17,
		`ptrace(PTRACE_TRACEMEE)`: 8,
	} {
		_, err := ParseCall(in)
		var ce *profile.CallError
		if !errors.As(err, &ce) || ce.Column != column || ce.Text != in {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzParseCall(f *testing.F) {
	for _, s := range []string{`mount("proc", "/", _, 0)`, `ptrace(TRACEME)`, `"`, `a("`, `open("é",)`, `clone(NEWUSER|SIGCHLD)`, `write("`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCall(s)
		if err != nil {
			var ce *profile.CallError
			if !errors.As(err, &ce) || ce.Column < 1 || ce.Column > len([]rune(s))+1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		for _, v := range c.Strings {
			if strings.ContainsAny(v, `"`) {
				t.Fatalf("%q: string %q", s, v)
			}
		}
		again, err := ParseCall(c.String())
		if err != nil || again.Call != c.Call {
			t.Fatalf("%q prints as %q, which is %v, %v", s, c, again, err)
		}
	})
}

func BenchmarkAsk(b *testing.B) {
	s := defaultScene(b, workload.Workload{As: "docker:18.06"})
	for b.Loop() {
		if _, err := Ask("ptrace(TRACEME)", s); err != nil {
			b.Fatal(err)
		}
	}
}

// Docker's documentation has a table of calls that its profile blocks; the computed one has all of
// them that still are, with what they could do and what opens them.
func TestBlocked(t *testing.T) {
	p, err := profile.Builtin("docker")
	if err != nil {
		t.Fatal(err)
	}
	s := defaultScene(t, workload.Workload{})
	list := Blocked(p, s.Conditions)
	byName := map[string]BlockedCall{}
	for _, b := range list {
		byName[b.Name] = b
		if b.Action.Permits() {
			t.Errorf("%s: %v", b.Name, b.Action)
		}
	}
	documented := strings.Fields(`acct add_key bpf clock_adjtime clock_settime clone create_module delete_module finit_module
		get_kernel_syms get_mempolicy init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
		mount move_pages nfsservctl open_by_handle_at perf_event_open personality pivot_root process_vm_readv
		process_vm_writev ptrace query_module quotactl reboot request_key set_mempolicy setns settimeofday stime swapon
		swapoff sysfs _sysctl umount umount2 unshare uselib userfaultfd ustat vm86 vm86old io_uring_enter
		io_uring_register io_uring_setup`)
	if len(documented) != 53 {
		t.Errorf("%d", len(documented))
	}
	// ptrace and process_vm_* are open since Linux 4.8, clock_adjtime is let through to read; the others are not calls of x86-64.
	free := " clock_adjtime ptrace process_vm_readv process_vm_writev stime umount vm86 vm86old clock_settime64 "
	for _, c := range documented {
		if harmOf(c) == "other" {
			t.Errorf("%s: no word of what it could do", c)
		}
		if _, ok := byName[c]; ok == strings.Contains(free, " "+c+" ") {
			t.Errorf("%s: blocked is %v", c, ok)
		}
	}
	if b := byName["mount"]; !b.Opens.Has(caps.CAP_SYS_ADMIN) || !b.Kernel.Has(caps.CAP_SYS_ADMIN) || b.Source == "" {
		t.Errorf("mount: %+v", b)
	}
	if b := byName["perf_event_open"]; !b.Opens.Has(caps.CAP_PERFMON) || !b.Opens.Has(caps.CAP_SYS_ADMIN) {
		t.Errorf("perf_event_open: %+v", b)
	}
	if b := byName["personality"]; len(b.Tests) != 5 || b.Opens != 0 {
		t.Errorf("personality: %+v", b)
	}
	// Whatever the rules say needs a capability that a container lacks has a word on it.
	for _, b := range list {
		if b.Kernel != 0 && harmOf(b.Name) == "other" {
			t.Errorf("%s needs %v and has no word of what it could do", b.Name, b.Kernel)
		}
	}
	for _, l := range Languages() {
		text := ExplainBlocked(p, list, l)
		if strings.Contains(text, "harm.") || strings.Contains(text, "{") {
			t.Errorf("%s:\n%s", l, text)
		}
	}
	if js := string(BlockedJSON(list, "en")); !strings.Contains(js, `"opened_by"`) || strings.Contains(js, "null") {
		t.Error(js)
	}
}

// A scene is told in words: what a user may do, and what stands in the way.
func TestSceneInWords(t *testing.T) {
	for _, c := range []struct {
		w    workload.Workload
		nest bool
		want []string
	}{
		{workload.Workload{}, false, []string{"uid 0", "CAP_CHOWN", "first user namespace", "docker:29.7.2", "/proc/kcore", "no others", "kernel.perf_event_paranoid = 2"}},
		{workload.Workload{User: "1000"}, false, []string{"holds no capability", "without effect for this user: CAP_CHOWN"}},
		{workload.Workload{Security: workload.Security{Privileged: true}}, true, []string{"every capability", "namespace of its own", "no seccomp filter", "every device"}},
	} {
		s := defaultScene(t, c.w)
		if c.nest {
			s.Nest([]facts.IDRange{{Size: 1}})
		}
		for _, w := range c.want {
			if text := strings.Join(strings.Fields(s.Text("en")), " "); !strings.Contains(text, w) {
				t.Errorf("%q is not in:\n%s", w, text)
			}
		}
		for _, l := range Languages() {
			if text := s.Text(l); strings.Contains(text, "{") || strings.Contains(text, "scene.") {
				t.Errorf("%s:\n%s", l, text)
			}
		}
	}
}
