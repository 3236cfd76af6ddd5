package filter_test

import (
	"fmt"
	"testing"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// constAllow does what the kernel does for each number when a filter is installed
// (seccomp_is_const_allow, kernel/seccomp.c): where it says true, the call is never
// filtered again.
func constAllow(p filter.Program, arch, nr uint32) bool {
	a := uint32(0)
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		var yes bool
		switch in.Code {
		case 0x20: // ld word
			switch in.K {
			case 0:
				a = nr
			case 4:
				a = arch
			default:
				return false
			}
			continue
		case 0x54: // and
			a &= in.K
			continue
		case 0x06: // ret
			return seccomp.Action(in.K) == seccomp.Allow
		case 0x05: // ja
			pc += int(in.K)
			continue
		case 0x15:
			yes = a == in.K
		case 0x25:
			yes = a > in.K
		case 0x35:
			yes = a >= in.K
		case 0x45:
			yes = a&in.K != 0
		default:
			return false
		}
		if yes {
			pc += int(in.JT)
		} else {
			pc += int(in.JF)
		}
	}
	return false
}

// bitmapped asks about every call of every architecture, and returns how many
// the kernel would allow without running the program.
func bitmapped(t *testing.T, name string, p seccomp.Policy) (allowed int) {
	t.Helper()
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, a := range abi.All {
		if a == abi.X32 { // the kernel keeps no bitmap for it, but x86-64's table is asked about it
			continue
		}
		table := p.Table(a)
		var numbers []uint32
		for nr := range uint32(a.Newest() + 20) {
			numbers = append(numbers, nr)
			if a == abi.X86_64 {
				numbers = append(numbers, nr|abi.X32Bit)
			}
		}
		for _, nr := range numbers {
			always := true
			s := table.At(nr)
			for args := range s.Probes(20000) {
				if table.Decide(nr, args).Action != seccomp.Allow {
					always = false
					break
				}
			}
			kept := constAllow(prog, a.Audit(), nr)
			if kept != always {
				t.Errorf("%s: %v %#x: always allowed by the policy %v, by number and architecture alone %v: %v", name, a, nr, always, kept, s.Clauses)
			}
			if kept {
				allowed++
			}
		}
	}
	return allowed
}

func TestAlwaysAllowedIsDecidedByNumberAlone(t *testing.T) {
	allowed := 0
	for seed := range uint64(10) {
		for _, kind := range kinds {
			allowed += bitmapped(t, fmt.Sprintf("%s %d", kind, seed), random(seed, kind))
		}
	}
	if allowed < 1000 {
		t.Errorf("only %d calls were always allowed", allowed)
	}
}

func TestRulesThatTogetherAllowAll(t *testing.T) {
	arg := func(op seccomp.Op, v uint64) seccomp.Cond { return seccomp.Cond{Op: op, Value: v} }
	for name, p := range map[string]seccomp.Policy{
		"equal or not":    one(when(seccomp.Allow, arg(seccomp.EQ, 5)), when(seccomp.Allow, arg(seccomp.NE, 5))),
		"above and below": one(when(seccomp.Allow, arg(seccomp.GT, 5<<32)), when(seccomp.Allow, arg(seccomp.LE, 5<<32))),
		"a bit, set or not": one(when(seccomp.Allow, seccomp.Cond{Op: seccomp.MaskedEQ, Mask: 4, Value: 4}),
			when(seccomp.Allow, seccomp.Cond{Op: seccomp.MaskedEQ, Mask: 4})),
	} {
		if n := bitmapped(t, name, p); n != 2 { // on x86-64 and on x86
			t.Errorf("%s: %d calls are always allowed", name, n)
		}
	}
}
