package filter_test

import (
	"fmt"
	"slices"
	"testing"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// agree runs the compiled policy against Decide: at every number that a rule names, its
// neighbours, and the ends of each ABI's numbers, with most argument vectors each.
// It returns how many calls it tried.
func agree(t *testing.T, name string, p seccomp.Policy, most int) int {
	t.Helper()
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := prog.Check(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	tried := 0
	for _, a := range abi.All {
		if a == abi.X32 {
			continue
		}
		table := p.Table(a)
		for _, s := range table.Spans {
			for args := range s.Probes(most) {
				for _, nr := range []uint32{s.Lo, s.Lo + (s.Hi-s.Lo)/2, s.Hi} {
					d := filter.Data{Nr: nr, Arch: a.Audit(), IP: 0x7fff12345678, Args: args}
					want := table.Decide(nr, args)
					got, steps := prog.Run(d)
					tried++
					if got != want.Action {
						t.Fatalf("%s: %v %#x %#x: the filter says %v after %d steps, the policy %v (%v %d)",
							name, a, nr, args, got, steps, want.Action, want.Why, want.Rule)
					}
				}
			}
		}
	}
	if got, _ := prog.Run(filter.Data{Arch: 0x1234567}); got != p.BadArch {
		t.Errorf("%s: an unknown architecture gets %v", name, got)
	}
	return tried
}

func TestAgreesWithRandomPolicies(t *testing.T) {
	tried := 0
	for seed := range uint64(60) {
		for _, kind := range kinds {
			tried += agree(t, fmt.Sprintf("%s %d", kind, seed), random(seed, kind), 300)
		}
	}
	t.Logf("%d calls tried", tried)
}

// one is a policy for a single call on x86-64 and x86.
func one(rules ...seccomp.Rule) seccomp.Policy {
	for i := range rules {
		rules[i].Name = "ioctl"
	}
	return seccomp.Policy{Default: seccomp.Errno | 1, Arches: []abi.Arch{abi.X86_64, abi.X86}, Rules: rules}
}

func when(act seccomp.Action, conds ...seccomp.Cond) seccomp.Rule {
	return seccomp.Rule{Action: act, Conds: conds}
}

func TestArgumentTests(t *testing.T) {
	const big = 5<<32 | 7
	arg := func(i uint8, op seccomp.Op, v uint64) seccomp.Cond { return seccomp.Cond{Arg: i, Op: op, Value: v} }
	mask := func(i uint8, m, v uint64) seccomp.Cond {
		return seccomp.Cond{Arg: i, Op: seccomp.MaskedEQ, Value: v, Mask: m}
	}
	cases := map[string]seccomp.Policy{
		"socket families": one(when(seccomp.Allow, arg(0, seccomp.LT, 38)),
			when(seccomp.Allow, arg(0, seccomp.EQ, 39)), when(seccomp.Allow, arg(0, seccomp.GT, 40))),
		"a band in 64 bits": one(when(seccomp.Allow, arg(1, seccomp.GE, big), arg(1, seccomp.LE, big+1<<33))),
		"the same band inside out": one(when(seccomp.Errno|2, arg(1, seccomp.LT, big)),
			when(seccomp.Errno|3, arg(1, seccomp.GT, big+1<<33)), when(seccomp.Allow)),
		"two masks that overlap": one(when(seccomp.Errno|2, mask(0, 0xff, 0x0f)),
			when(seccomp.Errno|3, mask(0, 0xf0, 0x00)), when(seccomp.Allow, mask(0, 0x1f, 0x1f))),
		"masks over both words": one(when(seccomp.Errno|2, mask(0, 3<<31, 1<<32)),
			when(seccomp.Errno|3, mask(0, 3<<31, 1<<31)), when(seccomp.Allow, mask(0, 3<<31, 0))),
		"a mask that cannot match bits outside it": one(when(seccomp.Allow, mask(2, 0xf0, 0xff))),
		"one mask, every value": one(when(seccomp.Errno|2, mask(0, 3, 0)), when(seccomp.Errno|3, mask(0, 3, 1)),
			when(seccomp.Errno|4, mask(0, 3, 2)), when(seccomp.Allow, mask(0, 3, 3))),
		"a mask and a band of one word": one(when(seccomp.Errno|2, mask(0, 1, 1), arg(0, seccomp.LT, 100)),
			when(seccomp.Allow, arg(0, seccomp.GT, 50))),
		"a mask that one value settles": one(when(seccomp.Errno|2, arg(0, seccomp.EQ, 6)), when(seccomp.Allow, mask(0, 2, 2))),
		"the top bit":                   one(when(seccomp.Allow, mask(5, 1<<63, 1<<63)), when(seccomp.Errno|2, mask(5, 1<<63, 0))),
		"the highest value":             one(when(seccomp.Allow, arg(0, seccomp.EQ, ^uint64(0))), when(seccomp.Errno|2, arg(0, seccomp.GE, 0xffffffff))),
		"unequal to each of two":        one(when(seccomp.Allow, arg(0, seccomp.NE, 1), arg(0, seccomp.NE, 1<<32))),
		"conditions that exclude each other": one(when(seccomp.Allow, arg(0, seccomp.EQ, 1), arg(0, seccomp.EQ, 2)),
			when(seccomp.Errno|2, mask(0, 1, 1), mask(0, 1, 0))),
	}
	for name, p := range cases {
		agree(t, name, p, 50000)
	}
}

// Twenty rectangles: asked word by word there are hundreds of ways through them.
func TestManyRulesForOneCall(t *testing.T) {
	var rules []seccomp.Rule
	for i := range uint64(40) {
		r := seccomp.Rule{Action: seccomp.Errno | seccomp.Action(1+i)}
		for arg := range uint8(3) {
			r.Conds = append(r.Conds,
				seccomp.Cond{Arg: arg, Op: seccomp.GE, Value: i * 3 << (16 * arg)},
				seccomp.Cond{Arg: arg, Op: seccomp.LE, Value: (i*5 + 70) << (16 * arg)})
		}
		rules = append(rules, r)
	}
	p := one(rules...)
	agree(t, "forty boxes", p, 20000)
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if n := 40 * 6 * 12; len(prog) > n {
		t.Errorf("%d instructions for 240 conditions on two ABIs", len(prog))
	}
}

func TestTooLong(t *testing.T) {
	p := seccomp.Policy{Default: seccomp.Allow, Arches: abi.X86_64.Siblings()}
	for _, name := range abi.X86_64.Calls() {
		for arg := range uint8(6) {
			p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Errno | seccomp.Action(1+len(p.Rules)%4000),
				Conds: []seccomp.Cond{{Arg: arg, Op: seccomp.EQ, Value: uint64(len(p.Rules))}}})
		}
	}
	prog, err := filter.Compile(p)
	if err == nil || prog != nil {
		t.Fatalf("%d instructions, error %v", len(prog), err)
	}
	var n, most int
	if _, e := fmt.Sscanf(err.Error(), "%d instructions: the kernel takes at most %d", &n, &most); e != nil || n <= 4096 || most != 4096 {
		t.Errorf("error is %q", err)
	}
}

// Targets more than 255 instructions away are reached by returns repeated and by jumps.
func TestLongJumps(t *testing.T) {
	p := seccomp.Policy{Default: seccomp.Errno | 1, Arches: abi.X86_64.Siblings()}
	i := 0
	for _, name := range abi.X86_64.Calls() {
		i++
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Errno | seccomp.Action(2+i%7),
			Conds: []seccomp.Cond{{Arg: uint8(i % 6), Op: seccomp.EQ, Value: uint64(i % 3)}}})
	}
	agree(t, "every call its own test", p, 200)
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if jumps := slices.IndexFunc(prog, func(in filter.Insn) bool { return in.Code == 0x05 }); jumps < 0 {
		t.Errorf("%d instructions and no jump", len(prog))
	}
}
