// Package filter turns a seccomp.Policy into the BPF program that the kernel runs
// before each system call, and can run it too. It installs nothing: see internal/host/launch.
package filter

// Insn is one instruction of classic BPF (struct sock_filter, linux/filter.h).
type Insn struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// Program is a whole filter, at most 4096 instructions.
type Program []Insn

// Data is what a filter sees of a call (struct seccomp_data, linux/seccomp.h).
type Data struct {
	Nr   uint32
	Arch uint32 // audit value
	IP   uint64
	Args [6]uint64
}
