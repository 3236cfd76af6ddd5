package seccomp

import "fmt"

// ops are the comparisons in the order of their constants, as documents spell them and as C does.
var ops = [...]struct{ token, symbol string }{
	NE:       {"SCMP_CMP_NE", "!="},
	LT:       {"SCMP_CMP_LT", "<"},
	LE:       {"SCMP_CMP_LE", "<="},
	EQ:       {"SCMP_CMP_EQ", "=="},
	GE:       {"SCMP_CMP_GE", ">="},
	GT:       {"SCMP_CMP_GT", ">"},
	MaskedEQ: {"SCMP_CMP_MASKED_EQ", "=="},
}

// ParseOp reads a comparison as documents spell it ("SCMP_CMP_EQ").
// The error names the nearest spelling.
func ParseOp(s string) (Op, error) {
	var tokens []string
	for i, o := range ops[NE:] {
		if o.token == s {
			return NE + Op(i), nil
		}
		tokens = append(tokens, o.token)
	}
	return 0, fmt.Errorf("unknown operator %q%s", s, meant(s, tokens))
}

// String is the comparison as documents spell it: ParseOp reads it back.
func (o Op) String() string {
	if o < NE || int(o) >= len(ops) {
		return fmt.Sprintf("Op(%d)", uint8(o))
	}
	return ops[o].token
}

// Match says whether the condition holds for an argument's value. On a 32-bit ABI
// (and x32) bits is 32, and only the low words of the value, of Value and of Mask count.
// An Op that is none never holds.
func (c Cond) Match(v uint64, bits int) bool {
	want, mask := c.Value, c.Mask
	if bits == 32 {
		v, want, mask = v&low, want&low, mask&low
	}
	switch c.Op {
	case NE:
		return v != want
	case LT:
		return v < want
	case LE:
		return v <= want
	case EQ:
		return v == want
	case GE:
		return v >= want
	case GT:
		return v > want
	case MaskedEQ:
		return v&mask == want&mask
	}
	return false
}

const low = 0xffffffff

// String is the condition as C would say it: "arg0 & 0x7e020000 == 0x0".
func (c Cond) String() string {
	if c.Op < NE || int(c.Op) >= len(ops) {
		return fmt.Sprintf("arg%d %v %#x", c.Arg, c.Op, c.Value)
	}
	if c.Op == MaskedEQ {
		return fmt.Sprintf("arg%d & %#x == %#x", c.Arg, c.Mask, c.Value)
	}
	return fmt.Sprintf("arg%d %s %#x", c.Arg, ops[c.Op].symbol, c.Value)
}

// fixed says whether the condition holds for every value or for none.
func (c Cond) fixed(bits int) (holds, fixed bool) {
	most := ^uint64(0)
	want, mask := c.Value, c.Mask
	if bits == 32 {
		most, want, mask = low, want&low, mask&low
	}
	switch {
	case c.Op == LT && want == 0, c.Op == GT && want == most:
		return false, true
	case c.Op == GE && want == 0, c.Op == LE && want == most, c.Op == MaskedEQ && mask == 0:
		return true, true
	}
	return false, c.Op < NE || c.Op > MaskedEQ
}
