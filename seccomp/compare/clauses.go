package compare

import (
	"fmt"

	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// A clause gives calls an action when all its literals hold. In a list the first that matches decides,
// and the last always does.
type clause struct {
	lits   []literal
	action seccomp.Action
}

// fromSpan are a policy's clauses in words.
func fromSpan(s seccomp.Span) []clause {
	var out []clause
	for _, c := range s.Clauses {
		all := [][]literal{nil}
		for _, d := range c.Conds {
			var more [][]literal
			for _, alternative := range words(d, s.Bits) {
				for _, lits := range all {
					more = append(more, append(lits[:len(lits):len(lits)], alternative...))
				}
			}
			all = more
		}
		for _, lits := range all {
			out = append(out, clause{lits, c.Verdict.Action})
		}
	}
	return out
}

// words are the ways in which a condition holds, each a list of literals. It neither always holds nor
// never: seccomp.Table has those left out.
func words(c seccomp.Cond, bits int) [][]literal {
	low, high := 2*c.Arg, 2*c.Arg+1
	l, h := uint32(c.Value), uint32(c.Value>>32)
	eq := func(w uint8, k uint32) literal { return literal{atom: atom{word: w, mask: ^uint32(0), k: k}} }
	gt := func(w uint8, k uint32) literal { return literal{atom: atom{word: w, gt: true, mask: ^uint32(0), k: k}} }
	not := func(l literal) literal { l.not = !l.not; return l }
	wide := bits == 64

	switch c.Op {
	case seccomp.EQ:
		if wide {
			return [][]literal{{eq(high, h), eq(low, l)}}
		}
		return [][]literal{{eq(low, l)}}
	case seccomp.NE:
		out := [][]literal{{not(eq(low, l))}}
		if wide {
			out = append(out, []literal{not(eq(high, h))})
		}
		return out
	case seccomp.GE: // c.Value > 0
		c.Op, c.Value = seccomp.GT, c.Value-1
		return words(c, bits)
	case seccomp.LE: // less than the most
		c.Op, c.Value = seccomp.LT, c.Value+1
		return words(c, bits)
	case seccomp.GT:
		if !wide {
			return [][]literal{{gt(low, l)}}
		}
		out := [][]literal{{eq(high, h), gt(low, l)}}
		if h != ^uint32(0) {
			out = append(out, []literal{gt(high, h)})
		}
		return out
	case seccomp.LT:
		if !wide {
			return [][]literal{{not(gt(low, l-1))}}
		}
		var out [][]literal
		if l > 0 {
			out = append(out, []literal{eq(high, h), not(gt(low, l-1))})
		}
		if h > 0 {
			out = append(out, []literal{not(gt(high, h-1))})
		}
		return out
	}
	var lits []literal // MaskedEQ
	mh, ml := uint32(c.Mask>>32), uint32(c.Mask)
	if wide && mh != 0 {
		lits = append(lits, literal{atom: atom{word: high, mask: mh, k: h & mh}})
	}
	if ml != 0 {
		lits = append(lits, literal{atom: atom{word: low, mask: ml, k: l & ml}})
	}
	return [][]literal{lits}
}

// fromProgram are the ways through a program for one number, as clauses.
func fromProgram(p filter.Program, audit, nr uint32) ([]clause, error) {
	var out []clause
	err := p.Paths(audit, nr, func(tests []filter.Test, action seccomp.Action) error {
		if len(out) == maxClasses {
			return errTests
		}
		c := clause{action: action}
		for _, t := range tests {
			l, err := fromTest(t)
			if err != nil {
				return err
			}
			c.lits = append(c.lits, l)
		}
		out = append(out, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// fromTest is a program's test of a word as a literal.
func fromTest(t filter.Test) (literal, error) {
	l := literal{atom{word: t.Word, mask: t.Mask, k: t.K}, t.Not}
	switch {
	case t.Op == filter.Equal:
		return l, nil
	case t.Op == filter.AnyBit: // word & k != 0
		l.mask, l.k, l.not = t.Mask&t.K, 0, !t.Not
		return l, nil
	case t.Op == filter.Above && ^t.Mask&(^t.Mask+1) == 0: // the mask leaves out low bits, if any
		l.gt, l.mask, l.k = true, ^uint32(0), t.K&t.Mask|^t.Mask
		return l, nil
	}
	return l, fmt.Errorf("a program compares bits %#x of word %d by order, which is not followed", t.Mask, t.Word)
}
