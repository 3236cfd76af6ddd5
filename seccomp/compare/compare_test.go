package compare

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

var (
	someCaps    = []caps.Cap{caps.CAP_SYS_ADMIN, caps.CAP_BPF, caps.CAP_SYS_PTRACE}
	someKernels = []facts.Version{{Major: 4, Minor: 8}, {Major: 5, Minor: 12}}
	someCalls   = []string{"read", "personality", "clone", "socket", "socketcall", "ipc", "shmat", "ioctl", "statx", "clone3", "mseal", "stime", "mmap2"}
	values      = []uint64{0, 1, 2, 8, 38, 40, 0xff, 0x7e020000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<32 | 40, 1 << 63, ^uint64(0)}
)

// random makes a profile with conditions, tests and actions of every kind.
func random(r *rand.Rand) *profile.Profile {
	errnos := []uint{1, 2, 38}
	pick := func(list ...specs.LinuxSeccompAction) (specs.LinuxSeccompAction, *uint) {
		a := list[r.IntN(len(list))]
		if a == specs.ActErrno && r.IntN(2) == 0 {
			return a, &errnos[r.IntN(len(errnos))]
		}
		return a, nil
	}
	p := &profile.Profile{Name: "random"}
	p.Default, p.DefaultErrno = pick(specs.ActErrno, specs.ActErrno, specs.ActAllow, specs.ActLog)
	if r.IntN(3) > 0 {
		p.ArchMap = []profile.ArchMap{
			{Arch: specs.ArchX86_64, Sub: []specs.Arch{specs.ArchX86, specs.ArchX32}[:r.IntN(3)]},
			{Arch: specs.ArchAARCH64, Sub: []specs.Arch{specs.ArchARM}},
		}
	}
	ops := []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual, specs.OpMaskedEqual}
	for range 2 + r.IntN(8) {
		var e profile.Entry
		for range 1 + r.IntN(3) {
			e.Names = append(e.Names, someCalls[r.IntN(len(someCalls))])
		}
		e.Action, e.ErrnoRet = pick(specs.ActAllow, specs.ActAllow, specs.ActErrno, specs.ActLog, specs.ActKillProcess)
		for range r.IntN(3) {
			e.Args = append(e.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(2)), Op: ops[r.IntN(len(ops))],
				Value: values[r.IntN(len(values))], ValueTwo: values[r.IntN(len(values))]})
		}
		for i, f := range []*profile.Filter{&e.Includes, &e.Excludes} {
			if r.IntN(4) > i {
				continue
			}
			f.Caps |= caps.Of(someCaps[r.IntN(len(someCaps))])
			if r.IntN(3) == 0 {
				f.Caps |= caps.Of(someCaps[r.IntN(len(someCaps))])
			}
			if r.IntN(3) == 0 {
				f.MinKernel = someKernels[r.IntN(len(someKernels))]
			}
			if r.IntN(6) == 0 {
				f.Arches = []string{[]string{"amd64", "arm64"}[r.IntN(2)]}
			}
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// near is p with something changed, or nothing.
func near(r *rand.Rand, p *profile.Profile) *profile.Profile {
	q := *p
	q.Entries = slices.Clone(p.Entries)
	switch i := r.IntN(len(q.Entries)); r.IntN(5) {
	case 0:
		q.Entries = slices.Delete(q.Entries, i, i+1)
	case 1:
		q.Entries[i].Action = specs.ActAllow
	case 2:
		q.Entries[i].Includes.Caps = caps.Of(someCaps[0])
	case 3:
		r.Shuffle(len(q.Entries), func(i, j int) { q.Entries[i], q.Entries[j] = q.Entries[j], q.Entries[i] })
	}
	return &q
}

func everyCondition(machine abi.Arch, see func(profile.Conditions)) {
	kernels := []facts.Version{{}, {Major: 4, Minor: 7}, {Major: 4, Minor: 8}, {Major: 5, Minor: 11}, {Major: 5, Minor: 12}, {Major: 6, Minor: 18}}
	for bits := range 1 << len(someCaps) {
		var set caps.Set
		for i, c := range someCaps {
			if bits>>i&1 != 0 {
				set |= caps.Of(c)
			}
		}
		for _, k := range kernels {
			see(profile.Conditions{Caps: set, Arch: machine, Kernel: k})
		}
	}
}

func (c Conditions) hold(at profile.Conditions) bool {
	k := at.Kernel
	return at.Caps.Includes(c.With) && at.Caps&c.Without == 0 &&
		(c.Since == facts.Version{} || k.AtLeast(c.Since)) && (c.Before == facts.Version{} || !k.AtLeast(c.Before))
}

// TestDiffIsExact holds Diff against Decide, for pairs of random profiles: under every capability and kernel,
// in every ABI, at every number, with arguments at the edges of both.
func TestDiffIsExact(t *testing.T) {
	tried, differing := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := random(r)
		q := near(r, p)
		if seed%4 == 0 {
			q = random(r)
		}
		machine := abi.X86_64
		if seed%5 == 4 {
			machine = []abi.Arch{abi.ARM64, abi.S390X, abi.RISCV64, abi.PPC64LE}[seed/5%4]
		}
		n, m := exact(t, fmt.Sprint("seed ", seed), machine, p, q, 300)
		tried += n
		differing += m
	}
	t.Logf("%d calls, %d of them answered otherwise", tried, differing)
	if tried < 3e5 || differing < 1000 {
		t.Errorf("%d calls were tried, %d of them differ: too few", tried, differing)
	}
}

func exact(t *testing.T, story string, machine abi.Arch, p, q *profile.Profile, most int) (tried, differing int) {
	t.Helper()
	d, err := Diff(Side{Name: "a", Profile: p}, Side{Name: "b", Profile: q}, Options{Machine: machine})
	if err != nil {
		t.Fatalf("%s: %v", story, err)
	}
	everyCondition(machine, func(at profile.Conditions) {
		x, _ := p.Resolve(at)
		y, _ := q.Resolve(at)
		for _, audit := range audits(machine) {
			tx, ty := x.Table(audit), y.Table(audit)
			var cuts []uint32
			for _, table := range []seccomp.Table{tx, ty} {
				for _, s := range table.Spans {
					cuts = append(cuts, s.Lo, s.Hi)
				}
			}
			slices.Sort(cuts)
			for _, nr := range slices.Compact(cuts) {
				var changes []Change
				for _, c := range d.Changes {
					if c.Lo <= nr && nr <= c.Hi && c.Arch == own(audit, nr) && c.When.hold(at) {
						changes = append(changes, c)
						a, b := tx.Decide(nr, c.Example).Action, ty.Decide(nr, c.Example).Action
						if a != c.From || b != c.To {
							t.Fatalf("%s: %+v: its example gets %v and %v under %+v", story, c, a, b, at)
						}
					}
				}
				check := func(args [6]uint64) {
					tried++
					a, b := tx.Decide(nr, args).Action, ty.Decide(nr, args).Action
					if a != b {
						differing++
					}
					said := 0
					for _, c := range changes {
						if !c.holds(t, args) {
							continue
						}
						said++
						if a != c.From || b != c.To {
							t.Fatalf("%s: %v %d %#x gets %v and %v under %+v; Diff says %+v", story, audit, nr, args, a, b, at, c)
						}
					}
					if want := map[bool]int{true: 1}[a != b]; said != want {
						t.Fatalf("%s: %v %d %#x gets %v and %v under %+v; %d changes say so: %+v", story, audit, nr, args, a, b, at, said, changes)
					}
				}
				for args := range tx.At(nr).Probes(most) {
					check(args)
				}
				for args := range ty.At(nr).Probes(most) {
					check(args)
				}
			}
		}
	})
	return tried, differing
}

// holds reads the texts of a change and says whether one holds.
func (c Change) holds(t *testing.T, args [6]uint64) bool {
	if len(c.Args) == 0 {
		return true
	}
	for i := range args {
		if c.Arch.Bits() == 32 {
			args[i] &= 0xffffffff
		}
	}
	for _, text := range c.Args {
		e := &evaluator{t: t, words: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)), args: args}
		if v := e.or(); len(e.words) > 0 {
			t.Fatalf("%q: left with %q", text, e.words)
		} else if v {
			return true
		}
	}
	return false
}

type evaluator struct {
	t     *testing.T
	words []string
	args  [6]uint64
}

func (e *evaluator) next() (w string) {
	w, e.words = e.words[0], e.words[1:]
	return w
}

func (e *evaluator) peek(w string) bool { return len(e.words) > 0 && e.words[0] == w }

func (e *evaluator) or() bool {
	v := e.and()
	for e.peek("or") {
		e.next()
		w := e.and()
		v = v || w
	}
	return v
}

func (e *evaluator) and() bool {
	v := e.test()
	for e.peek("and") {
		e.next()
		w := e.test()
		v = v && w
	}
	return v
}

func (e *evaluator) test() bool {
	if e.peek("(") {
		e.next()
		v := e.or()
		e.next()
		return v
	}
	v, left := true, e.value()
	for len(e.words) > 0 && strings.Contains("== != <= >= > <", e.words[0]) {
		op, right := e.next(), e.value()
		v = v && map[string]bool{"==": left == right, "!=": left != right, "<=": left <= right, ">=": left >= right, ">": left > right, "<": left < right}[op]
		left = right
	}
	return v
}

func (e *evaluator) value() uint64 {
	w := e.next()
	v, err := strconv.ParseUint(w, 0, 64)
	if arg, ok := strings.CutPrefix(w, "arg"); ok {
		v, err = e.args[arg[0]-'0'], nil
	}
	if err != nil {
		e.t.Fatal(err)
	}
	if e.peek("&") {
		e.next()
		v &= e.value()
	}
	return v
}

// TestProgramsAreExact compares what two profiles compile to: programs know no conditions, and must show the
// very changes that the profiles do.
func TestProgramsAreExact(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := random(r)
		q := near(r, p)
		at := profile.Conditions{Caps: caps.Of(someCaps[seed%3]), Arch: abi.X86_64, Kernel: facts.Version{Major: 5}}
		compile := func(p *profile.Profile) Side {
			pol, _ := p.Resolve(at)
			prog, err := filter.Compile(pol)
			if err != nil {
				t.Fatal(err)
			}
			return Side{Name: "program", Programs: []filter.Program{prog}}
		}
		o := Options{Machine: abi.X86_64, Only: &at}
		want, err := Diff(Side{Profile: p}, Side{Profile: q}, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range [][2]Side{{compile(p), compile(q)}, {{Profile: p}, compile(q)}, {compile(p), {Profile: q}}} {
			got, err := Diff(pair[0], pair[1], o)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Changes) != len(want.Changes) {
				t.Fatalf("seed %d: %d changes between programs, %d between profiles\n%+v\n%+v", seed, len(got.Changes), len(want.Changes), got.Changes, want.Changes)
			}
			for i, g := range got.Changes {
				if w := want.Changes[i]; g.Arch != w.Arch || g.Lo != w.Lo || g.Hi != w.Hi || g.From != w.From || g.To != w.To {
					t.Errorf("seed %d: %+v, want %+v", seed, g, w)
				}
			}
		}
		if d, err := Diff(compile(p), Side{Profile: p}, o); err != nil || !d.Same() {
			t.Errorf("seed %d: a profile and what it compiles to differ: %v %+v", seed, err, d.Changes)
		}
	}
}

// TestRecover writes down what default profiles compile to, and compares.
func TestRecover(t *testing.T) {
	for _, ref := range []string{"docker", "docker:18.09", "docker:24.0.9", "podman", "containerd", "docker:1.11.0"} {
		p, err := profile.Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		pol, _ := p.Resolve(profile.Conditions{Caps: 0xa80425fb, Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}})
		prog, err := filter.Compile(pol)
		if err != nil {
			t.Fatal(err)
		}
		q, losses, err := Recover("pid:1", []filter.Program{prog}, abi.X86_64)
		if err != nil {
			t.Fatal(err)
		}
		if q.Default != p.Default || len(q.Entries) > 40 {
			t.Errorf("%s: default %s and %d entries:\n%s", ref, q.Default, len(q.Entries), q)
		}
		for _, l := range losses {
			t.Logf("%s: %.200s", ref, l)
			if strings.Contains(l, "ALLOW") && !strings.Contains(l, "by x") {
				t.Errorf("%s: %s", ref, l)
			}
		}
	}
}

// TestStack holds several programs against what the kernel makes of them: the strictest answer.
func TestStack(t *testing.T) {
	program := func(rules ...seccomp.Rule) filter.Program {
		prog, err := filter.Compile(seccomp.Policy{Default: seccomp.Allow, Arches: []abi.Arch{abi.X86_64}, Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		return prog
	}
	rule := func(name string, a seccomp.Action) seccomp.Rule { return seccomp.Rule{Name: name, Action: a} }
	newest := program(rule("read", seccomp.Errno|2), rule("write", seccomp.Log))
	oldest := program(rule("read", seccomp.Errno|1), rule("write", seccomp.KillProcess), rule("bpf", seccomp.Trap))
	r, err := Diff(Side{Name: "none"}, Side{Name: "both", Programs: []filter.Program{newest, oldest}}, Options{Machine: abi.X86_64})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]seccomp.Action{}
	for _, c := range r.Changes {
		if c.Arch == abi.X86_64 && c.Call != "" {
			got[c.Call] = c.To
		}
	}
	want := map[string]seccomp.Action{"read": seccomp.Errno | 2, "write": seccomp.KillProcess, "bpf": seccomp.Trap}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestWritten holds the three ways to write a result against each other.
func TestWritten(t *testing.T) {
	p, q := &profile.Profile{Name: "<a>", Default: specs.ActErrno}, &profile.Profile{Name: "b", Default: specs.ActErrno}
	entry := func(act specs.LinuxSeccompAction, args []specs.LinuxSeccompArg, names ...string) (e profile.Entry) {
		e.Action, e.Args, e.Names = act, args, names
		return e
	}
	p.Entries = []profile.Entry{entry(specs.ActAllow, nil, "read", "write"), entry(specs.ActAllow, nil, "clone3")}
	q.Entries = []profile.Entry{entry(specs.ActAllow, nil, "read", "clone3"), entry(specs.ActLog, []specs.LinuxSeccompArg{{Op: specs.OpLessThan, Value: 3}}, "write")}
	q.Entries[1].Includes.Caps = caps.Of(caps.CAP_BPF)
	r, err := Diff(Side{Name: p.Name, Profile: p}, Side{Name: q.Name, Profile: q}, Options{Machine: abi.X86_64, Show: profile.Conditions{Kernel: facts.Version{Major: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	const text = `<a> → b, on x86_64

now refused
  ALLOW → ERRNO(EPERM), without CAP_BPF, by x86_64 only
    write
  ALLOW → ERRNO(EPERM), with CAP_BPF, by x86_64 only
    write
      if arg0 >= 0x3
      such as write(3)

answered otherwise
  ALLOW → LOG, with CAP_BPF, by x86_64 only
    write
      if arg0 <= 0x2
      such as write(0)
`
	if got := r.Text(); got != text {
		t.Errorf("%s\nwant\n%s", got, text)
	}
	var doc struct {
		Same    bool
		Changes []struct {
			Change, Call, Before, After string
			Arguments, Example          []string
			When                        struct{ CapabilitiesGranted []string }
		}
	}
	if err := json.Unmarshal(r.JSON(), &doc); err != nil || doc.Same || len(doc.Changes) != 3 {
		t.Fatalf("%v %+v", err, doc)
	}
	if c := doc.Changes[2]; c.Call != "write" || c.Change == "" || c.Before != "ALLOW" || len(c.Arguments) != 1 || len(c.Example) != 6 || c.When.CapabilitiesGranted[0] != "CAP_BPF" {
		t.Errorf("%+v", c)
	}
	page := r.HTML()
	cells := 0
	for _, a := range abi.X86_64.Siblings() {
		for range a.Calls() {
			cells++
		}
	}
	if n := strings.Count(page, `<b class="s`); n != cells {
		t.Errorf("%d cells for %d calls", n, cells)
	}
	for _, want := range []string{"<title>&lt;a&gt; → b</title>", `<b class="s c" tabindex="0" data-n="write" title="write, number 1`, "x86_64 <small>1 of "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(page, "<a>") || strings.Contains(page, "http") {
		t.Error("the page has markup of a name, or needs another page")
	}
}
