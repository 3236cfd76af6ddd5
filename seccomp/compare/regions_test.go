package compare

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A side's intervals and tests hold for the values of its classes and for no others, whatever masks and bounds cut a word.
func TestSides(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 7))
	few := func() uint32 { return g.Uint32N(16) }
	for range 3000 {
		var atoms []atom
		for range 1 + g.IntN(4) {
			a := atom{word: 2, mask: ^uint32(0), k: few()}
			switch g.IntN(3) {
			case 0:
				a.gt = true
			case 1:
				a.mask = few()
				a.k &= a.mask
			}
			if a.mask != 0 {
				atoms = append(atoms, a)
			}
		}
		p, err := cut(2, atoms)
		if err != nil {
			t.Fatal(err)
		}
		s := &side{&p, make([]bool, len(p.classes))}
		for i := range s.classes {
			s.classes[i] = g.IntN(2) == 0
		}
		if !slices.Contains(s.classes, true) {
			continue
		}
		spans, tests := s.set()
		for v := range uint32(40) {
			if v > 20 {
				v = g.Uint32() // what is beyond every bound
			}
			in := slices.ContainsFunc(spans, func(i interval) bool { return i.lo <= v && v <= i.hi })
			for _, test := range tests {
				in = in && slices.ContainsFunc(test, func(row []literal) bool {
					return !slices.ContainsFunc(row, func(l literal) bool { return l.holds(v) == l.not })
				})
			}
			class := slices.IndexFunc(p.classes, func(c class) bool {
				return c.span.lo <= v && v <= c.span.hi && slices.Equal(c.masked, truths(p.masked, v))
			})
			if class < 0 || in != s.classes[class] {
				t.Fatalf("%#x: class %d of %+v is told as %v %+v", v, class, p.classes, spans, tests)
			}
		}
	}
}

func truths(atoms []atom, v uint32) (out []bool) {
	for _, a := range atoms {
		out = append(out, a.holds(v))
	}
	return out
}
