package compare

import (
	"fmt"
	"slices"
	"strings"

	"porthole/seccomp"
)

// A region is a box in terms of arguments: all terms must hold.
type region []term

// A term is what must hold for one argument: it is within one of the runs, and every text holds.
type term struct {
	arg   uint8
	runs  []run // nil: any value
	texts []string
	masks []seccomp.Cond // the texts as conditions, where each is one
}

// A run are the values from lo to hi, both within.
type run struct{ lo, hi uint64 }

// region writes a box in arguments of 64 bits or 32.
func (b box) region(bits int) region {
	var out region
	for arg := range uint8(6) {
		var low, high *side
		for i := range b.sides {
			switch s := &b.sides[i]; s.part.word {
			case 2 * arg:
				low = s
			case 2*arg + 1:
				high = s
			}
		}
		if low != nil || high != nil {
			out = append(out, termOf(arg, low, high, bits))
		}
	}
	return out
}

func termOf(arg uint8, low, high *side, bits int) term {
	t := term{arg: arg}
	top := uint64(low32)
	if bits == 64 {
		top = ^uint64(0)
	}
	ls, lt := low.set()
	hs, ht := high.set()
	for half, tests := range [][]wordTest{lt, ht} {
		shift := 32 * half
		for _, s := range tests {
			t.texts = append(t.texts, s.text(arg, shift))
			if l := s[0]; len(s) == 1 && len(l) == 1 && !l[0].not && !l[0].gt {
				t.masks = append(t.masks, seccomp.Cond{Arg: arg, Op: seccomp.MaskedEQ, Mask: uint64(l[0].mask) << shift, Value: uint64(l[0].k) << shift})
			}
		}
	}
	slices.Sort(t.texts)
	var runs []run
	if bits == 32 {
		for _, l := range ls {
			runs = append(runs, run{uint64(l.lo), uint64(l.hi)})
		}
		t.setRuns(runs, top)
		return t
	}
	everyLow := len(ls) == 1 && ls[0] == interval{0, low32}
	for _, h := range hs {
		switch {
		case everyLow:
			runs = append(runs, run{uint64(h.lo) << 32, uint64(h.hi)<<32 | low32})
		case h.hi == h.lo:
			for _, l := range ls {
				runs = append(runs, run{uint64(h.lo)<<32 | uint64(l.lo), uint64(h.lo)<<32 | uint64(l.hi)})
			}
		default: // the halves by themselves
			runs = nil
			for _, h := range hs {
				runs = append(runs, run{uint64(h.lo) << 32, uint64(h.hi)<<32 | low32})
			}
			var halves []run
			for _, l := range ls {
				halves = append(halves, run{uint64(l.lo), uint64(l.hi)})
			}
			t.texts = append(t.texts, grouped(runsText(fmt.Sprintf("arg%d & 0xffffffff", arg), halves, low32)))
			t.setRuns(runs, top)
			return t
		}
	}
	t.setRuns(runs, top)
	return t
}

const low32 = 0xffffffff

func (t *term) setRuns(runs []run, top uint64) {
	runs = joined(runs)
	if len(runs) == 1 && runs[0] == (run{0, top}) {
		runs = nil
	}
	t.runs = runs
}

// joined sorts runs, and makes one of those that touch.
func joined(runs []run) []run {
	slices.SortFunc(runs, func(a, b run) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	var out []run
	for _, r := range runs {
		if n := len(out); n > 0 && (out[n-1].hi == ^uint64(0) || r.lo <= out[n-1].hi+1) {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// A wordTest is a test of bits of a word: all literals of one of its rows hold.
type wordTest [][]literal

func (w wordTest) text(arg uint8, shift int) string {
	var rows []string
	for _, row := range w {
		var parts []string
		for _, l := range row {
			op := [2][2]string{{"==", "!="}, {">", "<="}}[index(l.gt)][index(l.not)]
			parts = append(parts, fmt.Sprintf("arg%d & %#x %s %#x", arg, uint64(l.mask)<<shift, op, uint64(l.k)<<shift))
		}
		rows = append(rows, strings.Join(parts, " and "))
	}
	if len(rows) == 1 {
		return rows[0]
	}
	return "(" + strings.Join(rows, " or ") + ")"
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// set are a side's values: within one of the intervals, and passing every test. A missing side is any value.
func (s *side) set() ([]interval, []wordTest) {
	if s == nil {
		return []interval{{0, low32}}, nil
	}
	var chosen, every []string // the rows of truth that occur
	rows := map[string][]bool{}
	bySpan := map[interval][2][]string{} // those chosen, and all, of an interval
	var spans []interval
	for i, c := range s.part.classes {
		key := fmt.Sprint(c.masked)
		rows[key] = c.masked
		e := bySpan[c.span]
		e[1] = append(e[1], key)
		every = append(every, key)
		if s.classes[i] {
			e[0] = append(e[0], key)
			chosen = append(chosen, key)
			if !slices.Contains(spans, c.span) {
				spans = append(spans, c.span)
			}
		}
		bySpan[c.span] = e
	}
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	slices.Sort(every)
	every = slices.Compact(every)
	for _, span := range spans {
		for _, key := range bySpan[span][1] {
			if slices.Contains(chosen, key) != slices.Contains(bySpan[span][0], key) {
				return []interval{{0, low32}}, []wordTest{s.mixed()}
			}
		}
	}
	if len(chosen) == len(every) {
		return touching(spans), nil
	}
	// One atom may say it all.
	for i, a := range s.part.masked {
		for _, want := range []bool{true, false} {
			one := func(key string) bool { return rows[key][i] == want }
			if len(chosen) == count(every, one) && len(chosen) == count(chosen, one) {
				return touching(spans), []wordTest{{{literal{a, !want}}}}
			}
		}
	}
	var w wordTest
	for _, key := range chosen {
		w = append(w, s.part.row(rows[key]))
	}
	return touching(spans), []wordTest{w}
}

func count(keys []string, is func(string) bool) (n int) {
	for _, k := range keys {
		if is(k) {
			n++
		}
	}
	return n
}

// row writes out which masked atoms hold; those that follow from another that holds are left out.
func (p *partition) row(masked []bool) (out []literal) {
	for i, a := range p.masked {
		if masked[i] {
			out = append(out, literal{atom: a})
		}
	}
	for i, a := range p.masked {
		follows := slices.ContainsFunc(out, func(l literal) bool {
			both := l.mask & a.mask
			return !l.not && l.k&both != a.k&both // the one that holds rules this one out
		})
		if !masked[i] && !follows {
			out = append(out, literal{a, true})
		}
	}
	return out
}

// mixed writes out every class: its interval and its masked atoms.
func (s *side) mixed() wordTest {
	var w wordTest
	for i, c := range s.part.classes {
		if !s.classes[i] {
			continue
		}
		row := s.part.row(c.masked)
		full := ^uint32(0)
		switch {
		case c.span.lo == c.span.hi:
			row = append(row, literal{atom: atom{mask: full, k: c.span.lo}})
		default:
			if c.span.lo > 0 {
				row = append(row, literal{atom: atom{gt: true, mask: full, k: c.span.lo - 1}})
			}
			if c.span.hi < full {
				row = append(row, literal{atom{gt: true, mask: full, k: c.span.hi}, true})
			}
		}
		w = append(w, row)
	}
	return w
}

// touching makes one interval of neighbours.
func touching(spans []interval) []interval {
	runs := make([]run, len(spans))
	for i, s := range spans {
		runs[i] = run{uint64(s.lo), uint64(s.hi)}
	}
	var out []interval
	for _, r := range joined(runs) {
		out = append(out, interval{uint32(r.lo), uint32(r.hi)})
	}
	return out
}

// union joins regions that differ in the runs of one argument alone, as long as there are any.
func union(list []region) []region {
	for again := true; again; {
		again = false
		for i := 0; i < len(list) && !again; i++ {
			for j := i + 1; j < len(list) && !again; j++ {
				if r, ok := merge(list[i], list[j]); ok {
					list[i] = r
					list = slices.Delete(list, j, j+1)
					again = true
				}
			}
		}
	}
	return list
}

func merge(a, b region) (region, bool) {
	if len(a) != len(b) {
		return nil, false
	}
	at := -1
	for i := range a {
		if a[i].arg != b[i].arg || !slices.Equal(a[i].texts, b[i].texts) {
			return nil, false
		}
		if !slices.Equal(a[i].runs, b[i].runs) {
			if at >= 0 || a[i].runs == nil || b[i].runs == nil {
				return nil, false
			}
			at = i
		}
	}
	out := slices.Clone(a)
	if at >= 0 {
		out[at].setRuns(append(slices.Clone(a[at].runs), b[at].runs...), ^uint64(0))
		if out[at].runs == nil && len(out[at].texts) == 0 {
			out = slices.Delete(out, at, at+1)
		}
	}
	return out, true
}

// text is the region for people: "arg0 == 0x26 and arg1 & 0x4 != 0x0".
func (r region) text(bits int) string {
	top := uint64(low32)
	if bits == 64 {
		top = ^uint64(0)
	}
	var parts []string
	for _, t := range r {
		if t.runs != nil {
			s := runsText(fmt.Sprintf("arg%d", t.arg), t.runs, top)
			if len(r) > 1 || len(t.texts) > 0 {
				s = grouped(s)
			}
			parts = append(parts, s)
		}
		parts = append(parts, t.texts...)
	}
	return strings.Join(parts, " and ")
}

func grouped(s string) string {
	if strings.Contains(s, " or ") {
		return "(" + s + ")"
	}
	return s
}

func runsText(name string, runs []run, top uint64) string {
	if len(runs) == 2 && runs[0].lo == 0 && runs[1].hi == top && runs[0].hi+2 == runs[1].lo {
		return fmt.Sprintf("%s != %#x", name, runs[0].hi+1)
	}
	var out []string
	for _, r := range runs {
		switch {
		case r.lo == r.hi:
			out = append(out, fmt.Sprintf("%s == %#x", name, r.lo))
		case r.lo == 0:
			out = append(out, fmt.Sprintf("%s <= %#x", name, r.hi))
		case r.hi == top:
			out = append(out, fmt.Sprintf("%s >= %#x", name, r.lo))
		default:
			out = append(out, fmt.Sprintf("%#x <= %s <= %#x", r.lo, name, r.hi))
		}
	}
	return strings.Join(out, " or ")
}
