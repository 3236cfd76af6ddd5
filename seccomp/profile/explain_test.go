package profile

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestExplain holds whole explanations against testdata/explain.txt, where each begins with
//
//	$ PROFILE ARCH KERNEL [+CAP…] CALL
func TestExplain(t *testing.T) {
	const golden = "testdata/explain.txt"
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	n := 0
	for line := range strings.Lines(string(data)) {
		ask, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if strings.HasPrefix(line, "#") || line == "\n" {
				out.WriteString(line)
			}
			continue
		}
		n++
		out.WriteString(line)
		out.WriteString(explain(t, strings.TrimSpace(ask)))
	}
	if n < 20 {
		t.Errorf("only %d explanations", n)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if out.String() != string(data) {
		t.Errorf("explanations differ from %s:\n%s", golden, out.String())
	}
}

func explain(t *testing.T, ask string) string {
	t.Helper()
	f := strings.SplitN(ask, " ", 4)
	p, err := Builtin(f[0])
	if err != nil {
		t.Fatal(err)
	}
	c := amd64(dockerCaps, f[2])
	if c.Arch, err = abi.ParseArch(f[1]); err != nil {
		t.Fatal(err)
	}
	text := f[3]
	for strings.HasPrefix(text, "+") {
		name, rest, _ := strings.Cut(text[1:], " ")
		k, err := caps.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		c.Caps, text = c.Caps|caps.Of(k), rest
	}
	call, err := ParseCall(text)
	if err != nil {
		return err.Error() + "\n"
	}
	x, err := p.Explain(call, c)
	if err != nil {
		return err.Error() + "\n"
	}
	return x.String()
}

// TestExplainAgrees holds explanations against Policy.Decide, for every call of every builtin
// profile: the outcome for given arguments is Decide's, and for none given it is among them.
func TestExplainAgrees(t *testing.T) {
	for _, ref := range []string{"docker", "podman"} {
		p, err := Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []Conditions{
			amd64(dockerCaps, "6.18"),
			amd64(caps.Set(caps.All), "4.4"),
			{Arch: abi.X86, Kernel: facts.Version{Major: 5, Minor: 10}},
			{Arch: abi.S390X, Caps: dockerCaps},
		} {
			pol, _ := p.Resolve(c)
			tab := pol.Table(c.Arch)
			for nr, name := range c.Arch.Calls() {
				open, err := p.Explain(Call{Name: name}, c)
				if err != nil {
					t.Fatal(err)
				}
				for args := range tab.At(nr).Probes(6) {
					call := Call{Name: name}
					for i, a := range args {
						call.Args[i] = Arg{true, a}
					}
					x, err := p.Explain(call, c)
					if err != nil {
						t.Fatal(err)
					}
					want := tab.Decide(nr, args)
					if len(x.Outcomes) != 1 || x.Outcomes[0].Action != want.Action || x.Outcomes[0].Why != want.Why {
						t.Errorf("%s, %v: %v is %+v, Decide says %+v", ref, c.Arch, call, x.Outcomes, want)
					}
					if !slices.ContainsFunc(open.Outcomes, func(o Outcome) bool { return o.Entry == x.Outcomes[0].Entry && o.Why == want.Why }) {
						t.Errorf("%s, %v: %v is not among the outcomes of %s: %+v", ref, c.Arch, want, name, open.Outcomes)
					}
				}
			}
		}
	}
}

// TestMissing holds what is said to help against what happens when it is done.
func TestMissing(t *testing.T) {
	helped := 0
	for _, ref := range []string{"docker", "docker:18.09", "podman", "containerd"} {
		p, err := Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		c := amd64(dockerCaps, "4.4")
		for _, name := range c.Arch.Calls() {
			x, err := p.Explain(Call{Name: name}, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range x.Missing {
				if len(m.Then) == 0 {
					continue
				}
				then := c
				for _, u := range m.Unmet {
					switch u.Kind {
					case NeedsCap:
						then.Caps ^= u.Caps
					case NeedsKernel:
						then.Kernel = u.Kernel
					}
				}
				y, err := p.Explain(Call{Name: name}, then)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.EqualFunc(y.Outcomes, m.Then, func(a, b Outcome) bool { return a.Action == b.Action && a.Entry == b.Entry }) {
					t.Errorf("%s: %s: %v brings %+v, promised was %+v", ref, name, m.Unmet, y.Outcomes, m.Then)
				}
				helped++
			}
		}
	}
	if helped < 100 {
		t.Errorf("only %d promises", helped)
	}
}

func TestParseCall(t *testing.T) {
	known := func(v ...uint64) (a [6]Arg) {
		for i, v := range v {
			a[i] = Arg{true, v}
		}
		return a
	}
	for in, want := range map[string]Call{
		"ptrace":                            {Name: "ptrace"},
		" ptrace ( ) ":                      {Name: "ptrace"},
		"ptrace(PTRACE_TRACEME, 0)":         {"ptrace", known(0, 0)},
		"ptrace(ATTACH)":                    {"ptrace", known(16)},
		"clone(CLONE_NEWUSER|SIGCHLD)":      {"clone", known(0x10000011)},
		"clone(NEWUSER | CHLD)":             {"clone", known(0x10000011)},
		"unshare(NEWNS|0x10000000)":         {"unshare", known(0x10020000)},
		"setns(3, NEWNET)":                  {"setns", known(3, 0x40000000)},
		"personality(ADDR_NO_RANDOMIZE)":    {"personality", known(0x40000)},
		"personality(NO_RANDOMIZE)":         {"personality", known(0x40000)},
		"personality(-1)":                   {"personality", known(0xffffffff)},
		"openat(AT_FDCWD, _, -1)":           {"openat", [6]Arg{{true, 0xffffff9c}, {}, {true, 0xffffffff}}},
		"lseek(0, -1)":                      {"lseek", known(0, ^uint64(0))},
		"socket(INET6, RAW)":                {"socket", known(10, 3)},
		"kill(1, KILL)":                     {"kill", known(1, 9)},
		"open(_, 010, 0b11)":                {"open", [6]Arg{{}, {true, 8}, {true, 3}}},
		"keyctl(_, 18446744073709551615)":   {"keyctl", [6]Arg{{}, {true, ^uint64(0)}}},
		"mount(_,_,_,RDONLY|MS_BIND)":       {"mount", [6]Arg{{}, {}, {}, {true, 0x1001}}},
		"umount2(_, DETACH)":                {"umount2", [6]Arg{{}, {true, 2}}},
		"prctl(SET_NO_NEW_PRIVS,1,0,0,0,0)": {"prctl", known(38, 1, 0, 0, 0, 0)},
	} {
		got, err := ParseCall(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
			continue
		}
		if again, err := ParseCall(got.String()); err != nil || again != got {
			t.Errorf("%q: %q is read as %+v, %v", in, got, again, err)
		}
	}
	for in, want := range map[string]string{
		"":                           `: column 1: expected the name of a system call`,
		"foork":                      `foork: column 1: no system call is called "foork"; did you mean fork or flock?`,
		"ptrace(TRACME)":             `ptrace(TRACME): column 8: unknown constant "TRACME"; did you mean PTRACE_TRACEME?`,
		"clone(é)":                   `clone(é): column 7: 'é'; expected a number, a constant or _`,
		"clone(1":                    `clone(1: column 8: expected '|', ',' or ')'`,
		"clone(1|":                   `clone(1|: column 9: expected a number, a constant or _`,
		"clone(1,)":                  `clone(1,): column 9: ')'; expected a number, a constant or _`,
		"clone(1) x":                 `clone(1) x: column 10: expected nothing after the call`,
		"clone(0x1ffffffffffffffff)": `clone(0x1ffffffffffffffff): column 7: "0x1ffffffffffffffff" is no number of 64 bits`,
		"clone(9z)":                  `clone(9z): column 7: "9z" is no number of 64 bits`,
		"read(0,1,2,3,4,5,6)":        `read(0,1,2,3,4,5,6): column 18: a system call has at most 6 arguments`,
	} {
		if _, err := ParseCall(in); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// TestPrefixes walks the table: each group exists, and each prefix begins a constant.
func TestPrefixes(t *testing.T) {
	for group, list := range prefixes {
		if !slices.Contains(abi.Groups(), group) {
			t.Errorf("no group %q", group)
		}
		var names string
		for i := range 64 {
			names += "|" + abi.Flags(group, uint64(i)) + "|" + abi.Flags(group, 1<<i)
		}
		for _, p := range list {
			if !strings.Contains(names, "|"+p) {
				t.Errorf("%s: no constant begins with %s: %s", group, p, names)
			}
		}
	}
}

// TestManyUnknown asks about more unknown arguments than can be tried.
func TestManyUnknown(t *testing.T) {
	p, _, err := Parse("p", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
		{"names": ["mmap"], "action": "SCMP_ACT_KILL", "args": [
			{"index": 0, "value": 7, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 7, "op": "SCMP_CMP_LT"}, {"index": 2, "value": 8, "op": "SCMP_CMP_EQ"},
			{"index": 3, "value": 9, "op": "SCMP_CMP_NE"}, {"index": 4, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}, {"index": 5, "value": 9, "op": "SCMP_CMP_GE"}]},
		{"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_LE"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	x, err := p.Explain(Call{Name: "mmap"}, amd64(0, "6.1"))
	if err != nil || len(x.Outcomes) != 3 {
		t.Fatalf("%v, %v", x, err)
	}
	if _, sure := x.Verdict(); sure {
		t.Errorf("sure of %v", x)
	}
	x, err = p.Explain(Call{Name: "mmap", Args: [6]Arg{{true, 4}}}, amd64(0, "6.1"))
	if v, sure := x.Verdict(); err != nil || !sure || v != seccomp.Errno|1 {
		t.Errorf("%v, %v", x, err)
	}
}
