// Package filter turns a seccomp.Policy into the BPF program that the kernel runs
// before each system call, and can run it too. It installs nothing: see internal/host/launch.
//
// Compile makes a decision tree over system call numbers (tree.go) whose leaves are
// actions or tests of arguments (args.go), and lays it out (emit.go).
package filter

import (
	"encoding/binary"

	"porthole/abi"
)

// Insn is one instruction of classic BPF (struct sock_filter, linux/filter.h).
type Insn struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// MaxInsns is the longest program that the kernel takes (BPF_MAXINSNS, linux/bpf_common.h).
const MaxInsns = 4096

// Program is a whole filter, at most MaxInsns instructions.
type Program []Insn

// Data is what a filter sees of a call (struct seccomp_data, linux/seccomp.h).
type Data struct {
	Nr   uint32
	Arch uint32 // audit value
	IP   uint64
	Args [6]uint64
}

// Offsets in struct seccomp_data. A word of an argument is at offArgs + 8 times its index,
// the high one 4 further; on a big-endian machine, s390x, those two change places.
const (
	offNr   = 0
	offArch = 4
	offIP   = 8
	offArgs = 16
	offEnd  = 64
)

var s390x = abi.S390X.Audit()

// word is the 32-bit word at an offset of struct seccomp_data, on the machine whose call it is.
func (d Data) word(off uint32) uint32 {
	switch {
	case off == offNr:
		return d.Nr
	case off == offArch:
		return d.Arch
	case d.Arch == s390x:
		off ^= 4
	}
	v := d.IP
	if off >= offArgs {
		v = d.Args[(off-offArgs)/8]
	}
	return uint32(v >> (off % 8 * 8))
}

// Bytes is the program as an array of struct sock_filter, eight bytes each, little-endian.
// Read takes it back.
func (p Program) Bytes() []byte {
	b := make([]byte, 0, 8*len(p))
	for _, in := range p {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.JT, in.JF)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

// The parts of an instruction's code (linux/bpf_common.h).
const (
	classLD, classLDX, classST, classSTX   = 0x00, 0x01, 0x02, 0x03
	classALU, classJMP, classRET, classMSC = 0x04, 0x05, 0x06, 0x07

	modeIMM, modeABS, modeMEM, modeLEN = 0x00, 0x20, 0x60, 0x80

	aluADD, aluSUB, aluMUL, aluDIV, aluOR  = 0x00, 0x10, 0x20, 0x30, 0x40
	aluAND, aluLSH, aluRSH, aluNEG, aluXOR = 0x50, 0x60, 0x70, 0x80, 0xa0

	jmpJA, jmpJEQ, jmpJGT, jmpJGE, jmpJSET = 0x00, 0x10, 0x20, 0x30, 0x40

	srcX = 0x08 // the operand is X, not K
	retA = 0x10 // a return's value is A
	txa  = 0x80
)

// The instructions that Compile uses.
const (
	opLoad = classLD | modeABS
	opAnd  = classALU | aluAND
	opJump = classJMP | jmpJA
	opJEQ  = classJMP | jmpJEQ
	opJGT  = classJMP | jmpJGT
	opJGE  = classJMP | jmpJGE
	opJSET = classJMP | jmpJSET
	opRet  = classRET
)
