package filter_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// compiler is testdata/libseccomp.c, built.
type compiler string

// libseccomp builds it, or skips.
func libseccomp(t testing.TB) compiler {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	if err := exec.Command(cc, "-x", "c", "-include", "seccomp.h", "-E", "/dev/null").Run(); err != nil {
		t.Skip("no libseccomp-dev")
	}
	exe := filepath.Join(t.TempDir(), "libseccomp")
	if out, err := exec.Command(cc, "-O1", "-o", exe, "testdata/libseccomp.c", "-lseccomp").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return compiler(exe)
}

// BenchmarkLibseccomp is what BenchmarkCompile is, by libseccomp: a process of it, for all that a policy takes.
func BenchmarkLibseccomp(b *testing.B) {
	c := libseccomp(b)
	policy := c.known(b, docker(b))
	var p filter.Program
	for b.Loop() {
		var err error
		if p, err = c.compile(policy); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(p)), "insns")
}

func (c compiler) run(input string, args ...string) ([]byte, error) {
	cmd := exec.Command(string(c), args...)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

func (c compiler) compile(p seccomp.Policy) (filter.Program, error) {
	out, err := c.run(text(p))
	if err != nil {
		return nil, err
	}
	return filter.Read(out)
}

var compared = []abi.Arch{abi.X86_64, abi.X86, abi.X32, abi.ARM64}

// known is the policy without the rules for names that this libseccomp does not know, or
// numbers otherwise than the kernel: its table is as old as it is.
func (c compiler) known(t testing.TB, p seccomp.Policy) seccomp.Policy {
	t.Helper()
	var names, arches []string
	for _, r := range p.Rules {
		names = append(names, r.Name)
	}
	for _, a := range compared {
		arches = append(arches, a.String())
	}
	out, err := c.run(strings.Join(names, "\n"), arches...)
	if err != nil {
		t.Fatal(err)
	}
	var rules []seccomp.Rule
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		same := true
		for j, field := range strings.Fields(line)[1:] {
			theirs, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			ours, ok := compared[j].Nr(names[i])
			muxed := theirs <= -100 && theirs > -300 // socket calls and the like: both ways are tried
			same = same && (muxed || ok == (theirs >= 0) && (!ok || uint32(theirs) == ours)) && theirs != -1
		}
		if same {
			rules = append(rules, p.Rules[i])
		}
	}
	p.Rules = rules
	return p
}

// text is a policy as testdata/libseccomp.c reads it.
func text(p seccomp.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default %x\n", uint32(p.Default))
	for _, a := range p.Arches {
		fmt.Fprintf(&b, "arch %s\n", a)
	}
	for _, r := range p.Rules {
		if r.Action == p.Default {
			continue
		}
		fmt.Fprintf(&b, "rule %x %s", uint32(r.Action), r.Name)
		for _, c := range r.Conds {
			fmt.Fprintf(&b, " %d %d %x %x", c.Arg, c.Op, c.Value, c.Mask)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// differences counts the calls that libseccomp's program decides otherwise than the policy.
func differences(p seccomp.Policy, theirs filter.Program, most int) (tried, differ int, first string) {
	for _, a := range []abi.Arch{abi.X86_64, abi.X86, abi.ARM64} {
		table := p.Table(a)
		for _, s := range table.Spans {
			for args := range s.Probes(most) {
				for _, nr := range []uint32{s.Lo, s.Hi} {
					tried++
					want := table.Decide(nr, args).Action
					got, _ := theirs.Run(filter.Data{Nr: nr, Arch: a.Audit(), Args: args})
					if got == want {
						continue
					}
					if differ++; differ == 1 {
						first = fmt.Sprintf("%v %#x %#x: libseccomp says %v, the rules %v: %v", a, nr, args, got, want, s.Clauses)
					}
				}
			}
		}
	}
	return tried, differ, first
}

func TestLibseccompAgreesOnReleases(t *testing.T) {
	c := libseccomp(t)
	for _, ref := range []string{"docker:18.09.9", "docker:20.10.24", "docker:24.0.9", "docker:28.2.2", "docker", "podman", "containerd"} {
		for _, granted := range []caps.Set{dockerCaps, 0, caps.All} {
			all := release(t, ref, abi.X86_64, granted)
			p := c.known(t, all)
			if left := len(all.Rules) - len(p.Rules); left > 40 {
				t.Errorf("%s: %d of %d rules are unknown to this libseccomp", ref, left, len(all.Rules))
			}
			p.NewerENOSYS = false // runc's, not libseccomp's
			theirs, err := c.compile(p)
			if err != nil {
				t.Fatal(err)
			}
			if tried, differ, first := differences(p, theirs, 5000); differ > 0 {
				t.Errorf("%s %v: %d of %d differ, first %s", ref, granted, differ, tried, first)
			}
		}
	}
}

// On rules like Docker's, each for some values or one mask of one argument, libseccomp is
// right. On others it is a second opinion: see docs/filter.md for where it departs from
// its rules.
func TestLibseccompAgreesOnRandomPolicies(t *testing.T) {
	c := libseccomp(t)
	for _, kind := range kinds[:3] {
		sets, apart, refused := 0, 0, 0
		for seed := range uint64(8) {
			p := c.known(t, random(seed, kind))
			p.NewerENOSYS = false
			theirs, err := c.compile(p)
			if err != nil {
				refused++
				continue
			}
			sets++
			if tried, differ, first := differences(p, theirs, 300); differ > 0 {
				apart++
				if kind == "docker" {
					t.Errorf("%s %d: %d of %d differ, first %s", kind, seed, differ, tried, first)
				}
			}
		}
		t.Logf("%s: libseccomp departs from its rules on %d of %d sets, and refuses %d", kind, apart, sets, refused)
		if sets < 6 {
			t.Errorf("%s: libseccomp took only %d sets", kind, sets)
		}
	}
}

// Where libseccomp 2.5.4 departs from its own rules: two comparisons of one argument's
// order, in two rules, with different high words. The filter here must not.
func TestWhereLibseccompDeparts(t *testing.T) {
	arg := func(op seccomp.Op, v uint64) seccomp.Cond { return seccomp.Cond{Op: op, Value: v} }
	for _, c := range []struct {
		story string
		p     seccomp.Policy
		value uint64
	}{
		{"2 is allowed by neither rule", one(when(seccomp.Allow, arg(seccomp.GT, 1<<32)), when(seccomp.Allow, arg(seccomp.LE, 1))), 2},
		{"1 is allowed by neither rule", one(when(seccomp.Allow, arg(seccomp.LT, 1)), when(seccomp.Allow, arg(seccomp.GE, 1<<32))), 1},
		{"1 is allowed by the second rule", one(when(seccomp.Allow, arg(seccomp.LT, 1)), when(seccomp.Allow, arg(seccomp.LT, 1<<32))), 1},
	} {
		agree(t, c.story, c.p, 1000)
		ours, err := filter.Compile(c.p)
		if err != nil {
			t.Fatal(err)
		}
		nr, _ := abi.X86_64.Nr("ioctl")
		d := filter.Data{Nr: nr, Arch: abi.X86_64.Audit(), Args: [6]uint64{c.value}}
		want := c.p.Decide(abi.X86_64, nr, d.Args).Action
		if got, _ := ours.Run(d); got != want {
			t.Errorf("%s: the filter says %v", c.story, got)
		}
		theirs, err := libseccomp(t).compile(c.p)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := theirs.Run(d); got != want {
			t.Logf("%s: this libseccomp says %v", c.story, got)
		}
	}
}
