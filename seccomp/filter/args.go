package filter

import (
	"math/bits"
	"slices"

	"porthole/seccomp"
)

// tester makes tests of arguments. A filter sees an argument as two 32-bit words, of which a
// 32-bit ABI's rules count the lower. So a comparison of 64 bits is first one of the high
// words, and where those are equal, one of the low words:
//
//	arg > 0x1_00000005      high > 1, or high = 1 and low > 5
//
// clauses finds the next word to ask, cuts its values where the answer may change, sees what
// is left of the clauses in each piece, and makes a tree of the pieces. What is left is the
// same in many of them, and is made once.
type tester struct {
	*graph
	made map[string]ref
	room int // nodes that may still be made
}

// cond is a seccomp.Cond of which the high word may be dealt with already.
type cond struct {
	arg  uint8
	op   seccomp.Op
	low  bool // the high words are equal: only the low ones count from here on
	v, m uint64
}

type clause struct {
	conds []cond
	act   seccomp.Action
}

// span returns the node that decides the calls of a span.
func (g *graph) span(s seccomp.Span) ref {
	clauses := make([]clause, len(s.Clauses))
	size := 0
	for i, c := range s.Clauses {
		clauses[i].act = c.Verdict.Action
		size += 1 + 4*len(c.Conds)
		for _, d := range c.Conds {
			e := cond{arg: d.Arg, op: d.Op, low: s.Bits == 32, v: d.Value}
			if d.Op == seccomp.MaskedEQ {
				e.v, e.m = d.Value&d.Mask, d.Mask
				e.low = e.low || e.m>>32 == 0
			}
			clauses[i].conds = append(clauses[i].conds, e)
		}
	}
	if len(clauses) == 1 {
		return g.ret(uint32(clauses[0].act))
	}
	t, before := tester{graph: g, made: map[string]ref{}, room: 64 + 2*size}, len(g.nodes)
	r := t.clauses(clauses, none)
	if t.room < 0 || len(g.nodes)-before > 64+2*size {
		r = t.oneByOne(clauses)
	}
	return r
}

// none, as an offset, says that A holds no word of the call.
const none = ^uint32(0)

// clauses returns the node that decides by the first clause that holds, when A holds the
// word at offset a.
func (t *tester) clauses(cs []clause, a uint32) ref {
	for len(cs) > 1 && cs[len(cs)-2].act == cs[len(cs)-1].act {
		cs = slices.Delete(slices.Clone(cs), len(cs)-2, len(cs)-1)
	}
	if len(cs) == 1 {
		return t.ret(uint32(cs[0].act))
	}
	key := string(appendClauses([]byte{byte(a)}, cs))
	if r, ok := t.made[key]; ok {
		return r
	}
	if t.room--; t.room < 0 {
		return 0 // given up; any node will do
	}
	var r ref
	if off, cuts, mask := next(cs); off != a {
		r = t.load(off, t.clauses(cs, off))
	} else if len(cuts) > 0 {
		r = t.pieces(cs, off, cuts)
	} else {
		r = t.masked(cs, off, mask)
	}
	t.made[key] = r
	return r
}

func appendClauses(b []byte, cs []clause) []byte {
	word := func(v uint64) {
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	for _, c := range cs {
		b = append(b, byte(len(c.conds)))
		word(uint64(c.act))
		for _, d := range c.conds {
			half := byte(0)
			if d.low {
				half = 1
			}
			b = append(b, d.arg, byte(d.op), half)
			word(d.v)
			word(d.m)
		}
	}
	return b
}

// next says which word to ask now, and the values at which comparisons with it change
// their answers; if there are none of those, a mask to test it under.
func next(cs []clause) (off uint32, cuts []uint32, mask uint32) {
	arg, low := cs[0].conds[0].arg, true
	for _, c := range cs {
		for _, d := range c.conds {
			if d.arg == arg && !d.low {
				low = false
			}
		}
	}
	off = offArgs + 8*uint32(arg)
	if !low {
		off += 4
	}
	for _, c := range cs {
		for _, d := range c.conds {
			if d.arg != arg || d.low != low {
				continue
			}
			v, m := d.word(low)
			switch {
			case d.op == seccomp.MaskedEQ && mask == 0:
				mask = m
			case d.op == seccomp.MaskedEQ:
			case low && (d.op == seccomp.LT || d.op == seccomp.GE):
				cuts = append(cuts, v)
			case low && (d.op == seccomp.LE || d.op == seccomp.GT):
				cuts = append(cuts, v+1)
			default:
				cuts = append(cuts, v, v+1)
			}
		}
	}
	slices.Sort(cuts)
	return off, slices.Compact(cuts), mask
}

// word is the low or the high word of the value and of the mask.
func (d cond) word(low bool) (v, m uint32) {
	if low {
		return uint32(d.v), uint32(d.m)
	}
	return uint32(d.v >> 32), uint32(d.m >> 32)
}

// pieces cuts the values of the word at off, which A holds.
func (t *tester) pieces(cs []clause, off uint32, cuts []uint32) ref {
	var segs []seg
	for i, lo := range append([]uint32{0}, cuts...) {
		if i > 0 && lo == 0 {
			continue // a cut at 0, or beyond the last value
		}
		hi := ^uint32(0)
		for _, c := range cuts[i:] {
			if c > lo {
				hi = c - 1
				break
			}
		}
		left := rest(cs, func(d cond) answer { return d.between(off, lo, hi) })
		segs = append(segs, seg{lo, hi, t.clauses(left, off), 1})
	}
	return t.tree(segs)
}

// masked asks for what the word at off, which A holds, has under a mask.
func (t *tester) masked(cs []clause, off uint32, mask uint32) ref {
	var values []uint32
	for _, c := range cs {
		for _, d := range c.conds {
			if d.at(off) {
				if v, m := d.word(d.low); m == mask {
					values = append(values, v)
				}
			}
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	under := func(has, a uint32) ref {
		return t.clauses(rest(cs, func(d cond) answer { return d.under(off, mask, has) }), a)
	}
	unlike := func(a uint32) ref { // the word has none of the values under the mask
		return t.clauses(rest(cs, func(d cond) answer { return d.unlike(off, mask) }), a)
	}
	switch {
	case bits.OnesCount32(mask) == 1:
		return t.test(opJSET, mask, under(mask, off), under(0, off))
	case len(values) == 1 && values[0] == 0:
		return t.test(opJSET, mask, unlike(off), under(0, off))
	}
	// If every value that fits the mask is asked for, the gaps between them are never met.
	full := bits.OnesCount32(mask) < 16 && len(values) == 1<<bits.OnesCount32(mask)
	var segs []seg
	otherwise := ref(-1)
	gap := func(lo, hi uint32) {
		if full { // so the first value is 0
			segs[len(segs)-1].hi = hi
			return
		}
		if otherwise < 0 {
			otherwise = unlike(none)
		}
		segs = append(segs, seg{lo, hi, otherwise, 1})
	}
	from := uint32(0)
	for _, v := range values {
		if v > from {
			gap(from, v-1)
		}
		segs = append(segs, seg{v, v, under(v, none), 1})
		from = v + 1
	}
	if from != 0 {
		gap(from, ^uint32(0))
	}
	return t.and(mask, t.tree(segs))
}

// answer is what is known of a condition.
type answer uint8

const (
	open answer = iota
	yes
	no
	lowLeft // the high words are equal: the low ones will tell
)

// rest is what is left of the clauses once know has answered what it can.
func rest(cs []clause, know func(cond) answer) []clause {
	var out []clause
clauses:
	for _, c := range cs {
		left := clause{act: c.act}
		for _, d := range c.conds {
			switch know(d) {
			case no:
				continue clauses
			case lowLeft:
				d.low = true
				d.v, d.m = d.v&0xffffffff, d.m&0xffffffff
				left.conds = append(left.conds, d)
			case open:
				left.conds = append(left.conds, d)
			}
		}
		out = append(out, left)
		if len(left.conds) == 0 {
			break
		}
	}
	return out
}

// at says whether the condition is next to be asked of the word at off.
func (d cond) at(off uint32) bool {
	mine := offArgs + 8*uint32(d.arg)
	if !d.low {
		mine += 4
	}
	return mine == off
}

// equal is the answer when a condition's words are equal so far.
func (d cond) equal() answer {
	if !d.low {
		return lowLeft
	}
	switch d.op {
	case seccomp.LE, seccomp.EQ, seccomp.GE:
		return yes
	}
	return no
}

// between answers for a word at off that is from lo to hi; a comparison's value is either
// the only one or outside, since the values were cut there.
func (d cond) between(off, lo, hi uint32) answer {
	if !d.at(off) {
		return open
	}
	v, m := d.word(d.low)
	switch {
	case d.op == seccomp.MaskedEQ && lo == hi:
		return d.under(off, m, lo&m)
	case d.op == seccomp.MaskedEQ:
		return open
	case lo == v && hi == v:
		return d.equal()
	}
	less := hi < v || hi == v && d.low // low, and cut after v: LE or GT
	more := lo > v || lo == v && d.low // low, and cut before v: LT or GE
	switch d.op {
	case seccomp.NE:
		return yes
	case seccomp.LT:
		if hi < v {
			return yes
		}
	case seccomp.LE:
		if less {
			return yes
		}
	case seccomp.GT:
		if lo > v {
			return yes
		}
	case seccomp.GE:
		if more {
			return yes
		}
	}
	return no
}

// under answers for a word at off that has this under a mask.
func (d cond) under(off, mask, has uint32) answer {
	if !d.at(off) || d.op != seccomp.MaskedEQ {
		return open
	}
	switch v, m := d.word(d.low); {
	case v&mask&m != has&m&mask:
		return no // wherever both masks look, they differ
	case m&^mask != 0:
		return open
	case !d.low && uint32(d.m) != 0:
		return lowLeft
	}
	return yes
}

// unlike answers for a word at off that has, under a mask, no value that is asked for.
func (d cond) unlike(off, mask uint32) answer {
	if d.at(off) && d.op == seccomp.MaskedEQ {
		if _, m := d.word(d.low); m == mask {
			return no
		}
	}
	return open
}

// oneByOne asks clause after clause, condition after condition, and forgets what it has
// learnt: longer ways, but never more than some six instructions for a condition.
func (t *tester) oneByOne(cs []clause) ref {
	next := t.ret(uint32(cs[len(cs)-1].act))
	for _, c := range slices.Backward(cs[:len(cs)-1]) {
		here := t.ret(uint32(c.act))
		for _, d := range slices.Backward(c.conds) {
			here = t.alone(d, here, next)
		}
		next = here
	}
	return next
}

// alone goes to y if a condition holds, to n if not.
func (t *tester) alone(d cond, y, n ref) ref {
	switch d.op { // three of them are the others' contraries
	case seccomp.NE:
		d.op, y, n = seccomp.EQ, n, y
	case seccomp.LT:
		d.op, y, n = seccomp.GE, n, y
	case seccomp.LE:
		d.op, y, n = seccomp.GT, n, y
	}
	off := offArgs + 8*uint32(d.arg)
	v, m := d.word(true)
	var low ref
	switch {
	case d.op == seccomp.EQ:
		low = t.load(off, t.test(opJEQ, v, y, n))
	case d.op == seccomp.GT:
		low = t.load(off, t.test(opJGT, v, y, n))
	case d.op == seccomp.GE:
		low = t.load(off, t.test(opJGE, v, y, n))
	case m == 0:
		low = y
	case v == 0:
		low = t.load(off, t.test(opJSET, m, n, y))
	default:
		low = t.load(off, t.and(m, t.test(opJEQ, v, y, n)))
	}
	if d.low {
		return low
	}
	v, m = d.word(false)
	switch {
	case d.op == seccomp.EQ:
		return t.load(off+4, t.test(opJEQ, v, low, n))
	case d.op != seccomp.MaskedEQ:
		return t.load(off+4, t.test(opJGT, v, y, t.test(opJEQ, v, low, n)))
	case m == 0:
		return low
	case v == 0:
		return t.load(off+4, t.test(opJSET, m, n, low))
	}
	return t.load(off+4, t.and(m, t.test(opJEQ, v, low, n)))
}
