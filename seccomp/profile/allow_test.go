package profile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

func today() Conditions {
	return Conditions{Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}}
}

func TestAllowRule(t *testing.T) {
	base, err := Builtin("docker")
	if err != nil {
		t.Fatal(err)
	}
	before := base.String()
	for _, c := range []struct {
		rules          []string
		allows, leaves string // calls that are let through now, and that are not
	}{
		{[]string{"mount"}, "mount(0, 0, 0, 7)", "umount2"},
		{[]string{"personality arg0==0x40000"}, "personality(0x40000)", "personality(0x40001)"},
		{[]string{"personality(ADDR_NO_RANDOMIZE)"}, "personality(0x40000)", "personality(0x80000)"},
		{[]string{"unshare NEWUSER", "clone NEWUSER"}, "unshare(CLONE_NEWUSER|CLONE_NEWNS)", "unshare(CLONE_NEWNS)"},
		{[]string{"unshare NEWUSER", "clone NEWUSER"}, "clone(CLONE_NEWUSER|SIGCHLD)", "clone(CLONE_NEWNS)"},
		{[]string{"bpf arg0==BPF_MAP_CREATE"}, "bpf(0)", "bpf(5)"},
		{[]string{"clone arg0&0x10000000==0x10000000"}, "clone(NEWUSER)", "clone(NEWNET)"},
		{[]string{"syslog arg0<=3, arg2>0"}, "syslog(3, 0, 1)", "syslog(3, 0, 0)"},
		{[]string{"keyctl(1)"}, "keyctl(1)", "keyctl(2)"},
	} {
		p, err := AllowRule(base, c.rules...)
		if err != nil {
			t.Errorf("%q: %v", c.rules, err)
			continue
		}
		verdict := func(p *Profile, text string) seccomp.Action {
			call, err := ParseCall(text)
			if err != nil {
				t.Fatal(err)
			}
			x, err := p.Explain(call, today())
			if err != nil {
				t.Fatal(err)
			}
			return x.Outcomes[0].Action
		}
		if v := verdict(p, c.allows); v != seccomp.Allow {
			t.Errorf("%q: %s gets %v", c.rules, c.allows, v)
		}
		if v := verdict(base, c.allows); v == seccomp.Allow {
			t.Errorf("%s is allowed anyhow", c.allows)
		}
		if v := verdict(p, c.leaves); v == seccomp.Allow {
			t.Errorf("%q: %s is allowed too", c.rules, c.leaves)
		}
		var b strings.Builder
		if err := p.Write(&b, Docker); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Parse("p.json", []byte(b.String())); err != nil {
			t.Errorf("%q: %v", c.rules, err)
		}
	}
	if base.String() != before {
		t.Error("the base was changed")
	}
	for text, want := range map[string]string{
		"":                          "name of a system call",
		"frob":                      "no system call",
		"mount arg7==1":             "arg0 to arg5",
		"mount arg0=1":              "comparison",
		"mount arg0==FROB":          "unknown constant",
		"clone NEWUSR":              "NEWUSER",
		"bpf arg0==1 arg0==2":       "two rules",
		"clone arg0&7":              "expected ==",
		"personality(0x40000) more": "nothing after",
	} {
		if _, err := AllowRule(base, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		} else if ce := (*CallError)(nil); errors.As(err, &ce) && (ce.Column < 1 || ce.Column > len(text)+1) {
			t.Errorf("%q: column %d", text, ce.Column)
		}
	}
}

func TestAllowExpr(t *testing.T) {
	for in, want := range map[string]string{
		"ptrace":                    "ptrace",
		"personality(0x40000)":      "personality arg0==0x40000",
		"unshare(NEWUSER)":          "unshare NEWUSER",
		"clone(NEWUSER|NEWNS|0x11)": "clone NEWNS|NEWUSER",
		"unshare(CLONE_FILES)":      "unshare FILES",
		"socket(AF_ALG)":            "socket arg0==0x26",
		"unshare(0)":                "unshare arg0==0x0",
	} {
		c, err := ParseCall(in)
		if err != nil {
			t.Fatal(err)
		}
		got := AllowExpr(c)
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
		p, err := AllowRule(&Profile{Default: "SCMP_ACT_ERRNO"}, got)
		if err != nil {
			t.Errorf("%q: %v", got, err)
			continue
		}
		if x, err := p.Explain(c, today()); err != nil || x.Outcomes[0].Action != seccomp.Allow {
			t.Errorf("%q does not allow %s: %v %v", got, in, x.Outcomes, err)
		}
	}
}

func TestOpens(t *testing.T) {
	p, err := Builtin("docker:18.09")
	if err != nil {
		t.Fatal(err)
	}
	a := today()
	b := a
	b.Caps = caps.Of(caps.CAP_SYS_PTRACE)
	if got := p.Opens(a, b); !slices.Equal(got, []string{"kcmp", "process_vm_readv", "process_vm_writev", "ptrace"}) {
		t.Errorf("%v", got)
	}
}

// Each gives what Builtin gives, and About decides a call as the whole profile does.
func TestEach(t *testing.T) {
	n := 0
	err := Each("docker", func(rs []Release, p *Profile) bool {
		n++
		want, err := Builtin(rs[0].String())
		if err != nil || want.String() != p.String() {
			t.Errorf("%v: %v", rs[0], err)
		}
		for _, name := range []string{"ptrace", "clone3", "openat2", "mount", "personality", "io_uring_setup", "faccessat2", "futex_waitv", "read"} {
			whole, err := p.Explain(Call{Name: name}, today())
			if err != nil {
				t.Fatal(err)
			}
			part, err := p.About(name, today()).Explain(Call{Name: name}, today())
			if err != nil {
				t.Fatal(err)
			}
			same := slices.EqualFunc(whole.Outcomes, part.Outcomes, func(a, b Outcome) bool { return a.Action == b.Action && a.Why == b.Why })
			if !same {
				t.Errorf("%v: %s: %v, of its own entries %v", rs[0], name, whole.Outcomes, part.Outcomes)
			}
		}
		return true
	})
	if err != nil || n < 30 {
		t.Errorf("%d, %v", n, err)
	}
}
