package compare

import (
	"errors"
	"slices"
)

// An atom is a test of one 32-bit word of the arguments: word 2n is the low half of argument n, 2n+1
// the high one.
type atom struct {
	word uint8
	gt   bool   // word > k; otherwise word & mask == k
	mask uint32 // all ones for gt
	k    uint32 // within mask
}

// A literal is an atom or its contrary.
type literal struct {
	atom
	not bool
}

func (a atom) holds(v uint32) bool {
	if a.gt {
		return v > a.k
	}
	return v&a.mask == a.k
}

// A class are the values of a word that a set of atoms does not tell apart: those of an interval for which
// some of the masked atoms hold and the others don't.
type class struct {
	span   interval
	masked []bool // by masked atom
	value  uint32 // the least
}

type interval struct{ lo, hi uint32 }

// A partition is a word's values in classes.
type partition struct {
	word    uint8
	masked  []atom // those with a mask that leaves bits out
	spans   []interval
	classes []class
}

// The most classes of a word, and steps to find one, before comparing gives up. Masks of unlike bits
// multiply; no profile comes near.
const (
	maxClasses = 1 << 12
	maxSteps   = 1 << 16
)

var errTests = errors.New("its arguments are tested in more ways than can be told apart")

// cut makes the partition of a word by the atoms that are about it.
func cut(word uint8, atoms []atom) (partition, error) {
	p := partition{word: word}
	cuts := []uint32{0}
	for _, a := range atoms {
		switch {
		case a.word != word:
		case a.gt && a.k != ^uint32(0):
			cuts = append(cuts, a.k+1)
		case a.gt:
		case a.mask == ^uint32(0):
			cuts = append(cuts, a.k)
			if a.k != ^uint32(0) {
				cuts = append(cuts, a.k+1)
			}
		case !slices.Contains(p.masked, a):
			p.masked = append(p.masked, a)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i, lo := range cuts {
		hi := ^uint32(0)
		if i+1 < len(cuts) {
			hi = cuts[i+1] - 1
		}
		p.spans = append(p.spans, interval{lo, hi})
		s := search{span: interval{lo, hi}}
		if err := p.divide(&s, nil, 0, 0, nil); err != nil {
			return p, err
		}
	}
	return p, nil
}

// divide adds the classes of an interval, one masked atom after the other: those bits that must be so
// (x&fixed == want), and the atoms that must not hold.
func (p *partition) divide(s *search, truth []bool, fixed, want uint32, not []atom) error {
	v, ok := s.find(fixed, want, not)
	if s.steps > maxSteps || len(p.classes) >= maxClasses {
		return errTests
	}
	if !ok {
		return nil
	}
	if len(truth) == len(p.masked) {
		p.classes = append(p.classes, class{s.span, slices.Clone(truth), v})
		return nil
	}
	a := p.masked[len(truth)]
	if both := fixed & a.mask; want&both == a.k&both {
		if err := p.divide(s, append(truth, true), fixed|a.mask, want|a.k, not); err != nil {
			return err
		}
	}
	return p.divide(s, append(truth, false), fixed, want, append(slices.Clip(not), a))
}

// search finds values within an interval.
type search struct {
	span  interval
	steps int
}

// find returns the least value of the interval with x&fixed == want for which none of not holds.
// (Not always the least where several of not are in the way; always one, if there is one.)
func (s *search) find(fixed, want uint32, not []atom) (uint32, bool) {
	if s.steps++; s.steps > maxSteps {
		return 0, false
	}
	x, ok := least(s.span.lo, fixed, want)
	if !ok || x > s.span.hi {
		return 0, false
	}
	i := slices.IndexFunc(not, func(a atom) bool { return a.holds(x) })
	if i < 0 {
		return x, true
	}
	// One of the bits that not[i] asks for, and that are still free, must differ.
	for free := not[i].mask &^ fixed; free != 0; free &= free - 1 {
		bit := free & -free
		if v, ok := s.find(fixed|bit, want|^not[i].k&bit, not); ok {
			return v, true
		}
		fixed, want = fixed|bit, want|not[i].k&bit
	}
	return 0, false
}

// least is the least value from lo up with x&fixed == want.
func least(lo, fixed, want uint32) (uint32, bool) {
	if lo&fixed == want {
		return lo, true
	}
	// It is lo down to some bit where lo has 0 and it has 1, and as little as can be below.
	for i := range 32 {
		bit := uint32(1) << i
		below := bit - 1
		above := ^(bit | below)
		if lo&bit == 0 && (fixed&bit == 0 || want&bit != 0) && (lo^want)&fixed&above == 0 {
			return lo&above | bit | want&below, true
		}
	}
	return 0, false
}
