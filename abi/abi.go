// Package abi knows the system calls of every architecture that porthole handles:
// numbers, names, argument names and kinds, error numbers and flag constants.
//
// The tables are generated (z*.go); this file is the way in.
package abi

// Arch is a system call ABI, as the kernel's seccomp and audit know it.
// X32 is an Arch of its own, although it shares x86-64's audit value.
type Arch uint8

// The ABIs, in the order in which tables list them. The zero Arch is none.
const (
	X86_64 Arch = 1 + iota
	X86
	X32
	ARM64
	ARM
	RISCV64
	PPC64LE
	S390X
)

// X32Bit marks a system call number of the x32 ABI (__X32_SYSCALL_BIT, asm/unistd.h).
const X32Bit = 0x40000000
