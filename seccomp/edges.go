package seccomp

import (
	"iter"
	"slices"
)

// enough is how many values of one argument are kept when masks make them multiply.
const enough = 1000

// Edges returns for each argument that a clause tests the values at which an answer may
// change: every value named, one less and one more, the same with another high word, and
// for a mask each of its bits set and cleared, and all of those with what each mask
// asks for, and the contrary, in its place. nil: no clause tests that argument.
func (s Span) Edges() [6][]uint64 {
	var out [6][]uint64
	each := func(do func(c Cond)) {
		for _, clause := range s.Clauses {
			for _, c := range clause.Conds {
				do(c)
				slices.Sort(out[c.Arg])
				out[c.Arg] = slices.Compact(out[c.Arg])
			}
		}
	}
	each(func(c Cond) {
		v := c.Value
		vs := append(out[c.Arg], 0, 1, 1<<31-1, 1<<31, low, low+1, 1<<63, ^uint64(0),
			v, v-1, v+1,
			v^1<<32, v&low, v|low<<32, v-1|low<<32, v-1<<32, v+1<<32, (v-1)&low, (v+1)&low)
		if c.Op == MaskedEQ {
			vs = append(vs, v&c.Mask, v|^c.Mask, c.Mask, ^c.Mask, v^c.Mask)
			for m := c.Mask; m != 0; m &= m - 1 {
				vs = append(vs, v^m&-m)
			}
		}
		out[c.Arg] = vs
	})
	each(func(c Cond) {
		if c.Op != MaskedEQ {
			return
		}
		for _, v := range out[c.Arg] {
			if len(out[c.Arg]) < enough {
				contrary := c.Value ^ c.Mask&-c.Mask
				out[c.Arg] = append(out[c.Arg], v&^c.Mask|c.Value&c.Mask, v&^c.Mask|contrary&c.Mask)
			}
		}
	})
	return out
}

// Probes yields argument vectors worth trying on the span's numbers: Edges in every
// combination, or, where those are more than most, that many picked evenly. Arguments
// that no clause tests are odd constants.
func (s Span) Probes(most int) iter.Seq[[6]uint64] {
	return func(yield func([6]uint64) bool) {
		edges, all := s.Edges(), 1
		for _, e := range edges {
			if len(e) > 0 && all <= most {
				all *= len(e)
			}
		}
		state := uint64(1)
		for n := range min(all, most) {
			args := [6]uint64{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5}
			pick := uint64(n)
			if all > most { // a linear congruential generator (Knuth, MMIX)
				state = state*6364136223846793005 + 1442695040888963407
				pick = state >> 11
			}
			for i, e := range edges {
				if size := uint64(len(e)); size > 0 {
					args[i] = e[pick%size]
					pick /= size
				}
			}
			if !yield(args) {
				return
			}
		}
	}
}
