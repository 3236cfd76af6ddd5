package seccomp

import (
	"slices"

	"porthole/abi"
)

// Verdict is what a policy says of one call.
type Verdict struct {
	Action Action
	Rule   int // index in Policy.Rules of the rule that decided; -1: no rule did
	Why    Why
}

// Why says what decided a call.
type Why uint8

const (
	ByRule    Why = 1 + iota // the first rule that matches
	ByDefault                // no rule matches
	ByArch                   // the policy does not cover the call's architecture
	ByAge                    // the number is newer than the newest that the policy names
)

func (w Why) String() string {
	switch w {
	case ByRule:
		return "rule"
	case ByDefault:
		return "default"
	case ByArch:
		return "architecture not covered"
	case ByAge:
		return "newer than every call that the policy names"
	}
	return "undecided"
}

// Decide says what becomes of a call, as the written rules have it:
//
//   - On x86-64 a number from X32Bit up, but for 0xffffffff, is one of x32; so a is
//     the machine's architecture, and X32 means the same as X86_64.
//   - With NewerENOSYS, a number newer than the newest that the policy names gets ENOSYS.
//   - An ABI that is not among Arches gets BadArch.
//   - Then the first rule that matches decides; one that would only say the
//     default is not counted. See Clause for socketcall and ipc.
//
// To ask about many calls make a Table once.
func (p Policy) Decide(a abi.Arch, nr uint32, args [6]uint64) Verdict {
	return p.Table(a).Decide(nr, args)
}

// Clause is a rule as the calls of one number meet it, with what it takes for granted
// removed: conditions that always hold, and clauses that never can.
//
// The 32-bit socket and System V IPC calls came as one call each, socketcall and ipc,
// whose first argument says which is meant, and on x86, s390x and ppc64le they still
// exist. There a rule for such a call has a twin for the common one, in which the test
// of the first argument gives way to a test for the call. As in libseccomp (abi_rule_add,
// src/syscalls.c) tests of other arguments stay, although those are now in memory,
// where no filter sees them.
type Clause struct {
	Conds   []Cond // all must hold; none: always
	Verdict Verdict
}

// Span is a run of system call numbers that share their clauses.
type Span struct {
	Lo, Hi  uint32   // both within
	Bits    int      // how much of an argument counts: 64 or 32
	Clauses []Clause // the first that matches decides; the last, and only the last, always does
}

// Table is a policy looked up by number, for all calls whose audit architecture is one:
// x86-64's holds x32 as well.
type Table struct {
	Arch  abi.Arch
	Spans []Span // ascending, from 0 to 0xffffffff without a gap
}

// Decide is Policy.Decide for the table's architecture.
func (t Table) Decide(nr uint32, args [6]uint64) Verdict {
	s := t.At(nr)
	for _, c := range s.Clauses {
		if c.match(args, s.Bits) {
			return c.Verdict
		}
	}
	panic("seccomp: a span without a last clause")
}

func (c Clause) match(args [6]uint64, bits int) bool {
	for _, d := range c.Conds {
		if !d.Match(args[d.Arg], bits) {
			return false
		}
	}
	return true
}

// At is the span that holds nr.
func (t Table) At(nr uint32) Span {
	i, _ := slices.BinarySearchFunc(t.Spans, nr, func(s Span, nr uint32) int {
		switch {
		case s.Hi < nr:
			return -1
		case s.Lo > nr:
			return 1
		}
		return 0
	})
	return t.Spans[i]
}

// Tables returns the tables of all architectures that the policy covers, the machine's own
// first; x32 is in x86-64's.
func (p Policy) Tables() []Table {
	var out []Table
	index := p.index()
	for _, a := range p.Arches {
		a = audited(a)
		if !slices.ContainsFunc(out, func(t Table) bool { return t.Arch == a }) {
			out = append(out, p.table(a, index))
		}
	}
	return out
}

// Table returns the policy by number for calls whose audit architecture is a's.
func (p Policy) Table(a abi.Arch) Table { return p.table(audited(a), p.index()) }

func audited(a abi.Arch) abi.Arch {
	if a == abi.X32 {
		return abi.X86_64
	}
	return a
}

// index has the rules of each call, by its row in package abi. (By name, in a map, it took a third of the time
// in which a filter is compiled.)
type index struct {
	first [abi.Names]int32 // a rule's number and 1; 0: none names the call
	next  []int32          // by rule: the same of the next one that names it
}

func (p Policy) index() *index {
	x := &index{next: make([]int32, len(p.Rules))}
	for i := len(p.Rules) - 1; i >= 0; i-- {
		if row, ok := abi.Row(p.Rules[i].Name); ok { // a name that no ABI has counts for nothing
			x.next[i], x.first[row] = x.first[row], int32(i+1)
		}
	}
	return x
}

// A claim is a rule's on a number: the number, the rule, and the word of socketcall or ipc
// that stands for the call meant (0: the call itself). In the order of numbers, claims
// are in document order, but for those of twins, which come last: a rule that names socketcall
// says more of it than one that does not. So Docker 29.4.2, which has ENOSYS for socketcall
// and allows setsockopt, refuses socketcall(SYS_SETSOCKOPT), as libseccomp does.
type claim uint64

const twin claim = 1 << 31

func claimed(nr uint32, rule int, word uint32) claim {
	c := claim(nr)<<32 | claim(rule)<<8 | claim(word)
	if word != 0 {
		c |= twin
	}
	return c
}

func (c claim) nr() uint32   { return uint32(c >> 32) }
func (c claim) rule() int    { return int(c >> 8 & 0x7fffff) }
func (c claim) word() uint32 { return uint32(c & 0xff) }

// ages has the newest number that the policy names on each ABI; 0: newer ones are nothing special.
type ages [abi.S390X + 1]uint32

func (p Policy) table(a abi.Arch, index *index) Table {
	abis := []abi.Arch{a, abi.X32}
	if a != abi.X86_64 {
		abis = abis[:1]
	}
	claims := make([]claim, 0, 2*len(p.Rules))
	var newest ages
	for _, b := range abis {
		if !slices.Contains(p.Arches, b) {
			continue
		}
		add := func(row int, nr, word uint32) (named bool) {
			n := index.first[row]
			for named = n != 0; n != 0; n = index.next[n-1] {
				if rule := int(n - 1); p.Rules[rule].Action != p.Default {
					claims = append(claims, claimed(nr, rule, word))
				}
			}
			return named
		}
		var muxes map[int]mux
		if multiplexes(b) {
			muxes = muxedRows()
		}
		for nr, row := range b.Rows() {
			if add(row, nr, 0) && muxes[row].word == 0 {
				newest[b] = nr
			}
		}
		for row, m := range muxes {
			if nr, ok := b.Nr(m.by); ok {
				add(row, nr, m.word)
			}
		}
		// The rule is runc's (libcontainer/seccomp/patchbpf, findLastSyscalls): rules that
		// say only the default count here, names that libseccomp multiplexes on that ABI
		// don't, and a default that permits calls is left to answer newer ones.
		if !p.NewerENOSYS || p.Default.Permits() {
			newest[b] = 0
		}
	}
	cuts := make([]uint32, 0, 2*len(claims)+8)
	slices.Sort(claims)
	for _, c := range claims {
		cuts = append(cuts, c.nr(), c.nr()+1)
	}
	cuts = append(cuts, 0, abi.X32Bit, 2*abi.X32Bit, 3*abi.X32Bit, ^uint32(0))
	for _, b := range abis {
		cuts = append(cuts, newest[b]+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)

	t := Table{Arch: a, Spans: make([]Span, len(cuts))}
	clauses := make([]Clause, 0, len(cuts)+len(claims)) // of all spans
	for i, lo := range cuts {
		hi := ^uint32(0)
		if i+1 < len(cuts) {
			hi = cuts[i+1] - 1
		}
		mine := 0
		for mine < len(claims) && claims[mine].nr() == lo {
			mine++
		}
		t.Spans[i] = p.span(a, lo, hi, newest, claims[:mine], clauses)
		used := len(t.Spans[i].Clauses)
		t.Spans[i].Clauses = t.Spans[i].Clauses[:used:used]
		clauses = clauses[:cap(clauses)][used:]
		claims = claims[mine:]
	}
	return t
}

// span decides one run of numbers, of one ABI and of one age. Its clauses begin where room does.
func (p Policy) span(a abi.Arch, lo, hi uint32, newest ages, claims []claim, room []Clause) Span {
	own, age := a, a
	if a == abi.X86_64 && lo >= abi.X32Bit && lo != ^uint32(0) {
		own = abi.X32
	}
	if a == abi.X86_64 && lo&abi.X32Bit != 0 { // runc looks at the bit alone
		age = abi.X32
	}
	s := Span{Lo: lo, Hi: hi, Bits: own.Bits(), Clauses: room[:0]}
	always := func(v Verdict) { s.Clauses = append(s.Clauses, Clause{Verdict: v}) }

	// On s390x the kernel hands the filter number 0 for calls beyond its table, so
	// runc counts it as one (patchbpf, s390xMultiplexSyscall).
	if n := newest[age]; n != 0 && (lo > n || a == abi.S390X && lo == 0) {
		always(Verdict{enosys, -1, ByAge})
		return s
	}
	if !slices.Contains(p.Arches, own) {
		always(Verdict{p.BadArch, -1, ByArch})
		return s
	}
	for _, c := range claims {
		r := &p.Rules[c.rule()]
		conds, possible := reduce(r.Conds, c.word(), s.Bits)
		if !possible {
			continue
		}
		s.Clauses = append(s.Clauses, Clause{conds, Verdict{r.Action, c.rule(), ByRule}})
		if len(conds) == 0 {
			return s
		}
	}
	always(Verdict{p.Default, -1, ByDefault})
	return s
}

const enosys = Errno | 38 // ENOSYS in the generic numbering

// reduce leaves out conditions that always hold, and says whether the rest can.
// With a word it makes them socketcall's or ipc's.
func reduce(conds []Cond, word uint32, bits int) ([]Cond, bool) {
	var out []Cond
	if word != 0 {
		out = append(out, Cond{Arg: 0, Op: EQ, Value: uint64(word)})
	}
	for _, c := range conds {
		if word != 0 && c.Arg == 0 {
			continue
		}
		switch holds, fixed := c.fixed(bits); {
		case fixed && !holds:
			return nil, false
		case !fixed:
			if bits == 32 {
				c.Value, c.Mask = c.Value&low, c.Mask&low
			}
			out = append(out, c)
		}
	}
	return out, true
}
