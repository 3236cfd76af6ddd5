package filter_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

func TestReadGivesBack(t *testing.T) {
	p, err := filter.Compile(random(1, "wild"))
	if err != nil {
		t.Fatal(err)
	}
	back, err := filter.Read(p.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p, back) {
		t.Error("the program changed on the way")
	}
}

var ret = filter.Insn{Code: 0x06, K: uint32(seccomp.Allow)}

// refusals are programs that the kernel answers with EINVAL; kernel_test.go asks it.
var refusals = []struct {
	story string
	prog  filter.Program
	says  string
}{
	{"no instruction", nil, "empty"},
	{"one too many", slices.Repeat(filter.Program{ret}, 4097), "4097 instructions"},
	{"no return at the end", filter.Program{{Code: 0x20}}, "no return"},
	{"a jump past the end", filter.Program{{Code: 0x15, JT: 1}, ret}, "past the end"},
	{"a long jump past the end", filter.Program{{Code: 0x05, K: 1}, ret}, "past the end"},
	{"a long jump that wraps", filter.Program{{Code: 0x05, K: ^uint32(0)}, ret}, "past the end"},
	{"a load beyond the arguments", filter.Program{{Code: 0x20, K: 64}, ret}, "seccomp_data"},
	{"a load between words", filter.Program{{Code: 0x20, K: 2}, ret}, "seccomp_data"},
	{"a load of a byte", filter.Program{{Code: 0x30}, ret}, "no instruction"},
	{"a remainder", filter.Program{{Code: 0x94, K: 1}, ret}, "no instruction"},
	{"a code of 16 bits", filter.Program{{Code: 0x120}, ret}, "no instruction"},
	{"division by zero", filter.Program{{Code: 0x34}, ret}, "division"},
	{"a shift by 32", filter.Program{{Code: 0x64, K: 32}, ret}, "shift"},
	{"scratch word 16", filter.Program{{Code: 0x02, K: 16}, ret}, "scratch"},
	{"a scratch word never set", filter.Program{{Code: 0x60, K: 3}, ret}, "not set"},
	{"a scratch word set on one way", filter.Program{{Code: 0x15, JF: 1}, {Code: 0x02, K: 3}, {Code: 0x60, K: 3}, ret}, "not set"},
}

// accepted are programs with what Compile never makes; want is what they say of number 7.
var accepted = []struct {
	story string
	prog  filter.Program
	want  seccomp.Action
	steps int
}{
	{"arithmetic", filter.Program{
		{Code: 0x20}, {Code: 0x04, K: 3}, {Code: 0x24, K: 10}, {Code: 0x14, K: 1}, // (7+3)*10-1 = 99
		{Code: 0x34, K: 2}, {Code: 0x44, K: 0x40}, {Code: 0x54, K: 0x73}, {Code: 0xa4, K: 1}, // 49|64 = 113 & 0x73 = 0x71 ^ 1 = 0x70
		{Code: 0x64, K: 4}, {Code: 0x74, K: 8}, {Code: 0x84}, {Code: 0x84}, // 0x700 >> 8 = 7
		{Code: 0x16}}, 7, 13},
	{"arithmetic with X", filter.Program{
		{Code: 0x01, K: 3}, {Code: 0x20}, {Code: 0x0c}, {Code: 0x2c}, {Code: 0x1c}, {Code: 0x3c}, // ((7+3)*3-3)/3 = 9
		{Code: 0x4c}, {Code: 0x5c}, {Code: 0xac}, {Code: 0x87}, // 11&3 = 3 ^ 3 = 0; A = X
		{Code: 0x6c}, {Code: 0x7c}, {Code: 0x16}}, 3, 13},
	{"a shift counts modulo 32", filter.Program{{Code: 0x01, K: 33}, {Code: 0x20}, {Code: 0x6c}, {Code: 0x16}}, 14, 4},
	{"division by an X of zero kills", filter.Program{{Code: 0x20}, {Code: 0x3c}, ret}, seccomp.KillThread, 2},
	{"scratch words", filter.Program{{Code: 0x20}, {Code: 0x02, K: 15}, {Code: 0x61, K: 15}, {Code: 0x00}, {Code: 0x03, K: 0}, {Code: 0x60, K: 0}, {Code: 0x16}}, 7, 7},
	{"the length", filter.Program{{Code: 0x80}, {Code: 0x07}, {Code: 0x81}, {Code: 0x87}, {Code: 0x16}}, 64, 5},
	{"tests with X", filter.Program{{Code: 0x01, K: 7}, {Code: 0x20}, {Code: 0x1d, JF: 4}, {Code: 0x2d, JT: 3}, {Code: 0x3d, JF: 2}, {Code: 0x4d, JF: 1},
		ret, {Code: 0x06}}, seccomp.Allow, 7},
	{"jumps", filter.Program{{Code: 0x20}, {Code: 0x05, K: 1}, {Code: 0x06}, {Code: 0x45, K: 8, JT: 1}, {Code: 0x25, K: 6, JF: 0, JT: 1}, {Code: 0x06}, ret}, seccomp.Allow, 5},
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range refusals {
		if _, err := filter.Read(c.prog.Bytes()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.story, err)
		}
		if err := c.prog.Check(); err == nil {
			t.Errorf("%s: Check lets it pass", c.story)
		}
	}
	if _, err := filter.Read(make([]byte, 12)); err == nil || !strings.Contains(err.Error(), "12 bytes") {
		t.Errorf("half an instruction: %v", err)
	}
}

func TestRunAsTheKernelDoes(t *testing.T) {
	for _, c := range accepted {
		if err := c.prog.Check(); err != nil {
			t.Errorf("%s: %v", c.story, err)
			continue
		}
		if got, steps := c.prog.Run(filter.Data{Nr: 7}); got != c.want || steps != c.steps {
			t.Errorf("%s: %#x after %d steps, want %#x after %d", c.story, uint32(got), steps, uint32(c.want), c.steps)
		}
	}
}

func TestRunSeesEveryWord(t *testing.T) {
	d := filter.Data{Nr: 1, Arch: abi.X86_64.Audit(), IP: 3<<32 | 2, Args: [6]uint64{5<<32 | 4, 7<<32 | 6, 9<<32 | 8, 11<<32 | 10, 13<<32 | 12, 15<<32 | 14}}
	big := d
	big.Arch = abi.S390X.Audit()
	for off := uint32(8); off < 64; off += 4 {
		p := filter.Program{{Code: 0x20, K: off}, {Code: 0x16}}
		if got, _ := p.Run(d); uint32(got) != off/4 {
			t.Errorf("the word at %d is %d", off, got)
		}
		if got, _ := p.Run(big); uint32(got) != off/4^1 {
			t.Errorf("the word at %d is %d on s390x", off, got)
		}
	}
}

// FuzzRead reads, runs, prints and writes whatever is taken for a program.
func FuzzRead(f *testing.F) {
	for _, c := range refusals {
		if len(c.prog) < 100 {
			f.Add(c.prog.Bytes(), uint32(0), uint64(0))
		}
	}
	for _, c := range accepted {
		f.Add(c.prog.Bytes(), uint32(7), uint64(1))
	}
	for seed, kind := range kinds {
		p, err := filter.Compile(random(uint64(seed), kind))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Bytes(), uint32(9), ^uint64(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, nr uint32, arg uint64) {
		p, err := filter.Read(b)
		if err != nil {
			return
		}
		for _, arch := range []uint32{0, abi.X86_64.Audit(), abi.X86.Audit()} {
			_, steps := p.Run(filter.Data{Nr: nr, Arch: arch, Args: [6]uint64{arg, arg, arg, arg, arg, arg}})
			if steps < 1 || steps > len(p) {
				t.Errorf("%d steps through %d instructions", steps, len(p))
			}
		}
		if lines := strings.Count(p.Disassemble(), "\n"); lines < len(p) {
			t.Errorf("%d lines for %d instructions", lines, len(p))
		}
		if back, err := filter.Read(p.Bytes()); err != nil || !slices.Equal(p, back) {
			t.Errorf("reads back otherwise: %v", err)
		}
	})
}

// FuzzCompile makes rules for one call out of bytes and holds the program against them.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var rules []seccomp.Rule
		for len(b) >= 20 && len(rules) < 12 {
			rule := seccomp.Rule{Name: "ioctl", Action: seccomp.Errno | seccomp.Action(b[0]%4)}
			for range b[1] % 4 {
				if len(b) < 20 {
					break
				}
				rule.Conds = append(rule.Conds, seccomp.Cond{Arg: b[2] % 6, Op: seccomp.NE + seccomp.Op(b[3]%7),
					Value: binary.LittleEndian.Uint64(b[4:]), Mask: binary.LittleEndian.Uint64(b[12:])})
				b = b[16:]
			}
			rules = append(rules, rule)
			b = b[4:]
		}
		agree(t, "fuzzed", one(rules...), 500)
	})
}
