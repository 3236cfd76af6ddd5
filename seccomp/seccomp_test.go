package seccomp_test

import (
	"strings"
	"testing"

	"porthole/abi"
	. "porthole/seccomp"
)

func TestActionNames(t *testing.T) {
	for _, c := range []struct {
		token string
		data  uint16
		str   string
	}{
		{"SCMP_ACT_ALLOW", 0, "ALLOW"},
		{"SCMP_ACT_ERRNO", 1, "ERRNO(EPERM)"},
		{"SCMP_ACT_ERRNO", 38, "ERRNO(ENOSYS)"},
		{"SCMP_ACT_ERRNO", 0, "ERRNO(0)"},
		{"SCMP_ACT_TRACE", 7, "TRACE(7)"},
		{"SCMP_ACT_TRAP", 0, "TRAP"},
		{"SCMP_ACT_TRAP", 3, "TRAP(3)"},
		{"SCMP_ACT_LOG", 0, "LOG"},
		{"SCMP_ACT_NOTIFY", 0, "NOTIFY"},
		{"SCMP_ACT_KILL_PROCESS", 0, "KILL_PROCESS"},
		{"SCMP_ACT_KILL_THREAD", 0, "KILL_THREAD"},
	} {
		a, err := ParseAction(c.token)
		if err != nil {
			t.Fatal(err)
		}
		a = a.With(c.data)
		if a.String() != c.str || a.Token() != c.token || a.Data() != c.data {
			t.Errorf("%s with %d: %q, token %q, datum %d", c.token, c.data, a, a.Token(), a.Data())
		}
	}
	if a, err := ParseAction("SCMP_ACT_KILL"); err != nil || a != KillThread {
		t.Errorf("SCMP_ACT_KILL is %v, %v", a, err)
	}
	if s := Action(0x12340005).String(); s != "0x12340005" {
		t.Errorf("no action at all is printed as %q", s)
	}
}

func TestMisspeltNames(t *testing.T) {
	if _, err := ParseAction("SCMP_ACT_ALOW"); err == nil || !strings.Contains(err.Error(), "did you mean SCMP_ACT_ALLOW?") {
		t.Errorf("error is %v", err)
	}
	if _, err := ParseOp("SCMP_CMP_EQUAL"); err == nil || !strings.Contains(err.Error(), "did you mean SCMP_CMP_EQ?") {
		t.Errorf("error is %v", err)
	}
	if _, err := ParseOp("="); err == nil || !strings.Contains(err.Error(), "there are SCMP_CMP_NE, ") {
		t.Errorf("error is %v", err)
	}
}

func TestOpNames(t *testing.T) {
	for o := NE; o <= MaskedEQ; o++ {
		if back, err := ParseOp(o.String()); err != nil || back != o {
			t.Errorf("%v reads back as %v, %v", o, back, err)
		}
	}
	for _, c := range []struct {
		cond Cond
		want string
	}{
		{Cond{Arg: 0, Op: EQ, Value: 0x40000}, "arg0 == 0x40000"},
		{Cond{Arg: 5, Op: GE, Value: 1}, "arg5 >= 0x1"},
		{Cond{Arg: 0, Op: MaskedEQ, Mask: 0x7e020000}, "arg0 & 0x7e020000 == 0x0"},
	} {
		if got := c.cond.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestCondMatch(t *testing.T) {
	const high = 1 << 32
	for _, c := range []struct {
		story string
		cond  Cond
		v     uint64
		bits  int
		want  bool
	}{
		{"the high word counts on 64 bits", Cond{Op: EQ, Value: 8}, high | 8, 64, false},
		{"and not on 32", Cond{Op: EQ, Value: 8}, high | 8, 32, true},
		{"nor does the rule's own", Cond{Op: EQ, Value: high | 8}, 8, 32, true},
		{"less is unsigned", Cond{Op: LT, Value: 1}, ^uint64(0), 64, false},
		{"greater sees the high word first", Cond{Op: GT, Value: 0xffffffff}, high, 64, true},
		{"not less than itself", Cond{Op: LT, Value: 5}, 5, 64, false},
		{"at most itself", Cond{Op: LE, Value: 5}, 5, 64, true},
		{"at least itself", Cond{Op: GE, Value: 5}, 5, 64, true},
		{"not greater than itself", Cond{Op: GT, Value: 5}, 5, 64, false},
		{"unequal", Cond{Op: NE, Value: 40}, high | 40, 64, true},
		{"CLONE_NEWUSER masked", Cond{Op: MaskedEQ, Mask: 0x7e020000}, 0x10000000, 64, false},
		{"a thread's clone flags", Cond{Op: MaskedEQ, Mask: 0x7e020000}, 0x3d0f00, 64, true},
		{"bits of the value outside the mask don't count", Cond{Op: MaskedEQ, Value: 0xff, Mask: 0xf}, 0xf, 64, true},
		{"a comparison that is none", Cond{Value: 5}, 5, 64, false},
	} {
		if got := c.cond.Match(c.v, c.bits); got != c.want {
			t.Errorf("%s: %v for %#x is %v", c.story, c.cond, c.v, got)
		}
	}
}

// story is a small policy with a little of everything.
var story = Policy{
	Default: Errno | 1,
	Arches:  []abi.Arch{abi.X86_64, abi.X86},
	BadArch: KillThread,
	Rules: []Rule{
		{Name: "read", Action: Allow},
		{Name: "read", Action: Log},
		{Name: "personality", Action: Allow, Conds: []Cond{{Op: EQ, Value: 8}}},
		{Name: "personality", Action: Errno | 1, Conds: []Cond{{Op: EQ, Value: 9}}},
		{Name: "personality", Action: Log, Conds: []Cond{{Op: LE, Value: 9}}},
		{Name: "socket", Action: Allow, Conds: []Cond{{Op: LT, Value: 38}}},
		{Name: "accept", Action: Allow},
		{Name: "shmat", Action: Allow, Conds: []Cond{{Arg: 1, Op: EQ}}},
		{Name: "nosuchcall", Action: Allow},
		{Name: "statx", Action: Errno | 1},
	},
}

func TestDecide(t *testing.T) {
	newer := story
	newer.NewerENOSYS = true
	permissive := newer
	permissive.Default = Log
	x32 := newer
	x32.Arches = []abi.Arch{abi.X86_64, abi.X86, abi.X32}

	for _, c := range []struct {
		story string
		p     Policy
		a     abi.Arch
		nr    uint32
		args  [6]uint64
		want  Verdict
	}{
		{"the first of two rules", story, abi.X86_64, 0, [6]uint64{}, Verdict{Allow, 0, ByRule}},
		{"no rule", story, abi.X86_64, 1, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"another number elsewhere", story, abi.X86, 3, [6]uint64{}, Verdict{Allow, 0, ByRule}},
		{"an argument that matches", story, abi.X86_64, 135, [6]uint64{8}, Verdict{Allow, 2, ByRule}},
		{"a rule that says only the default lets later ones speak", story, abi.X86_64, 135, [6]uint64{9}, Verdict{Log, 4, ByRule}},
		{"an argument with a high word", story, abi.X86_64, 135, [6]uint64{1<<32 | 8}, Verdict{Errno | 1, -1, ByDefault}},
		{"which x86 has not", story, abi.X86, 136, [6]uint64{1<<32 | 8}, Verdict{Allow, 2, ByRule}},
		{"an x32 number where x32 is not covered", story, abi.X86_64, 0x40000000, [6]uint64{}, Verdict{KillThread, -1, ByArch}},
		{"the highest number is not x32's", story, abi.X86_64, 0xffffffff, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"another architecture", story, abi.ARM64, 63, [6]uint64{}, Verdict{KillThread, -1, ByArch}},

		{"socketcall(SYS_SOCKET) whatever the family", story, abi.X86, 102, [6]uint64{1, 40}, Verdict{Allow, 5, ByRule}},
		{"socketcall(SYS_BIND)", story, abi.X86, 102, [6]uint64{2}, Verdict{Errno | 1, -1, ByDefault}},
		{"socket itself", story, abi.X86, 359, [6]uint64{40}, Verdict{Errno | 1, -1, ByDefault}},
		{"accept, which x86 has only through socketcall", story, abi.X86, 102, [6]uint64{5}, Verdict{Allow, 6, ByRule}},
		{"ipc(SHMAT) with its own second argument", story, abi.X86, 117, [6]uint64{21, 0}, Verdict{Allow, 7, ByRule}},
		{"and with another", story, abi.X86, 117, [6]uint64{21, 1}, Verdict{Errno | 1, -1, ByDefault}},
		{"x86-64 has no such twin", story, abi.X86_64, 102, [6]uint64{1}, Verdict{Errno | 1, -1, ByDefault}},

		{"newer than statx, though that rule says only the default", newer, abi.X86_64, 333, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"statx itself", newer, abi.X86_64, 332, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"newer on x86, whatever number is newest elsewhere", newer, abi.X86, 384, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"x86's statx", newer, abi.X86, 383, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"x86's shmat is no older for being multiplexed", newer, abi.X86, 397, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"a number without the x32 bit is x86-64's age", newer, abi.X86_64, 0x80000000, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"with it, x32's, which is not covered", newer, abi.X86_64, 0xc0000000, [6]uint64{}, Verdict{KillThread, -1, ByArch}},
		{"and the highest number keeps its default", newer, abi.X86_64, 0xffffffff, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"x32 covered: older", x32, abi.X86_64, 0x40000001, [6]uint64{}, Verdict{Errno | 1, -1, ByDefault}},
		{"x32 covered: newer", x32, abi.X32, 0x40000000 | 600, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"x32 covered: the highest number", x32, abi.X32, 0xffffffff, [6]uint64{}, Verdict{Errno | 38, -1, ByAge}},
		{"x32 compares low words", x32, abi.X32, 0x40000000 | 135, [6]uint64{1<<32 | 8}, Verdict{Allow, 2, ByRule}},
		{"a default that permits covers newer ones", permissive, abi.X86_64, 1000, [6]uint64{}, Verdict{Log, -1, ByDefault}},
		{"no stub for what is not covered", newer, abi.ARM64, 1000, [6]uint64{}, Verdict{KillThread, -1, ByArch}},
	} {
		if got := c.p.Decide(c.a, c.nr, c.args); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.story, got, c.want)
		}
	}
}

func TestS390xAnswersNumber0(t *testing.T) {
	p := Policy{Default: Errno | 1, Arches: []abi.Arch{abi.S390X}, NewerENOSYS: true,
		Rules: []Rule{{Name: "exit", Action: Allow}}}
	if got := p.Decide(abi.S390X, 0, [6]uint64{}); got != (Verdict{Errno | 38, -1, ByAge}) {
		t.Errorf("number 0 gets %+v", got)
	}
}

func TestTableIsWhole(t *testing.T) {
	for _, a := range abi.All {
		p := story
		p.Arches = a.Siblings()
		next := uint64(0)
		for _, s := range p.Table(a).Spans {
			if uint64(s.Lo) != next || s.Hi < s.Lo {
				t.Fatalf("%v: span %#x-%#x follows %#x", a, s.Lo, s.Hi, next)
			}
			next = uint64(s.Hi) + 1
			for i, c := range s.Clauses {
				if last := i == len(s.Clauses)-1; last != (len(c.Conds) == 0) {
					t.Errorf("%v %#x: clause %d of %d has %d conditions", a, s.Lo, i, len(s.Clauses), len(c.Conds))
				}
			}
		}
		if next != 1<<32 {
			t.Errorf("%v ends at %#x", a, next)
		}
	}
}

// interpret decides straight from the rules, for x86-64 proper and without NewerENOSYS.
func interpret(p Policy, nr uint32, args [6]uint64) Verdict {
rules:
	for i, r := range p.Rules {
		if n, ok := abi.X86_64.Nr(r.Name); !ok || n != nr || r.Action == p.Default {
			continue
		}
		for _, c := range r.Conds {
			if !c.Match(args[c.Arg], 64) {
				continue rules
			}
		}
		return Verdict{r.Action, i, ByRule}
	}
	return Verdict{p.Default, -1, ByDefault}
}

func TestProbesReachEveryClause(t *testing.T) {
	table := story.Table(abi.X86_64)
	reached := map[int]bool{}
	for _, s := range table.Spans {
		if s.Lo >= abi.X32Bit {
			break
		}
		for args := range s.Probes(10000) {
			v := table.Decide(s.Lo, args)
			if want := interpret(story, s.Lo, args); v != want {
				t.Fatalf("%d %x: %+v, the rules say %+v", s.Lo, args, v, want)
			}
			reached[v.Rule] = true
		}
	}
	for _, rule := range []int{-1, 0, 2, 4, 5, 6, 7} {
		if !reached[rule] {
			t.Errorf("no probe reaches rule %d", rule)
		}
	}
}

func TestConditionsThatSayNothing(t *testing.T) {
	p := Policy{Default: Errno | 1, Arches: []abi.Arch{abi.X86_64, abi.X86}, Rules: []Rule{
		{Name: "read", Action: Allow, Conds: []Cond{{Op: GE, Value: 0}, {Arg: 1, Op: MaskedEQ, Value: 7}}},
		{Name: "write", Action: Allow, Conds: []Cond{{Op: LT, Value: 0}}},
		{Name: "close", Action: Allow, Conds: []Cond{{Op: LE, Value: 0xffffffff}}},
	}}
	for _, c := range []struct {
		a       abi.Arch
		nr      uint32
		clauses int
	}{{abi.X86_64, 0, 1}, {abi.X86_64, 1, 1}, {abi.X86_64, 3, 2}, {abi.X86, 6, 1}} {
		if got := p.Table(c.a).At(c.nr).Clauses; len(got) != c.clauses {
			t.Errorf("%v %d: %v", c.a, c.nr, got)
		}
	}
}

func TestARuleForSocketcallComesBeforeTwins(t *testing.T) {
	nr, ok := abi.X86.Nr("socketcall")
	if !ok {
		t.Fatal("x86 has no socketcall")
	}
	p := Policy{
		Default: Errno | 1, Arches: []abi.Arch{abi.X86},
		Rules: []Rule{{Name: "setsockopt", Action: Allow}, {Name: "socketcall", Action: Errno | 38}},
	}
	if v := p.Decide(abi.X86, nr, [6]uint64{14}); v.Action != Errno|38 || v.Rule != 1 {
		t.Errorf("socketcall(SYS_SETSOCKOPT): %v by rule %d, want the rule that names socketcall", v.Action, v.Rule)
	}
	p.Rules = p.Rules[:1]
	if v := p.Decide(abi.X86, nr, [6]uint64{14}); v.Action != Allow {
		t.Errorf("without that rule: %v, want setsockopt's twin", v.Action)
	}
}
