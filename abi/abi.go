// Package abi knows the system calls of every architecture that porthole handles:
// numbers, names, argument names and kinds, error numbers and flag constants.
//
// The tables are generated (z*.go) and cost nothing at start-up; this file is the way in.
package abi

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

//go:generate go run ../internal/gen/abi -o .

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

// All are the ABIs in the order in which tables list them.
var All = []Arch{X86_64, X86, X32, ARM64, ARM, RISCV64, PPC64LE, S390X}

// X32Bit marks a system call number of the x32 ABI (__X32_SYSCALL_BIT, asm/unistd.h).
const X32Bit = 0x40000000

// archs has what is known of each Arch beside its calls. Audit values are those of
// include/uapi/linux/audit.h; names are OCI's (SCMP_ARCH_ is put before scmp), Go's and
// what uname -m prints.
var archs = [...]struct {
	name     string
	audit    uint32
	bits     int
	scmp     string
	also     string // other names, lower case, with a blank on both sides of each
	siblings []Arch
}{
	X86_64:  {"x86_64", 0xC000003E, 64, "X86_64", " amd64 x86-64 x64 ", []Arch{X86_64, X86, X32}},
	X86:     {"x86", 0x40000003, 32, "X86", " 386 i386 i486 i586 i686 ", []Arch{X86}},
	X32:     {"x32", 0xC000003E, 32, "X32", " ", []Arch{X32, X86_64, X86}},
	ARM64:   {"aarch64", 0xC00000B7, 64, "AARCH64", " arm64 armv8 ", []Arch{ARM64, ARM}},
	ARM:     {"arm", 0x40000028, 32, "ARM", " armhf armel armv5l armv6l armv7l armv8l ", []Arch{ARM}},
	RISCV64: {"riscv64", 0xC00000F3, 64, "RISCV64", " ", []Arch{RISCV64}},
	PPC64LE: {"ppc64le", 0xC0000015, 64, "PPC64LE", " ppc64el powerpc64le ", []Arch{PPC64LE}},
	S390X:   {"s390x", 0x80000016, 64, "S390X", " ", []Arch{S390X}},
}

// String returns the ABI's name as libseccomp spells it in lower case: "x86_64", "aarch64".
func (a Arch) String() string {
	if !a.valid() {
		return fmt.Sprintf("arch(%d)", uint8(a))
	}
	return archs[a].name
}

// SCMP returns the ABI's name in OCI and Docker profiles: "SCMP_ARCH_X86_64".
func (a Arch) SCMP() string {
	if !a.valid() {
		return ""
	}
	return "SCMP_ARCH_" + archs[a].scmp
}

// Audit returns the AUDIT_ARCH value that a filter sees in seccomp_data.arch.
// X86_64 and X32 share theirs: the number's X32Bit tells them apart.
func (a Arch) Audit() uint32 {
	if !a.valid() {
		return 0
	}
	return archs[a].audit
}

// Bits returns how wide a register argument is: 64, or 32 for x86, x32 and arm, whose
// callers can set the low halves only.
func (a Arch) Bits() int {
	if !a.valid() {
		return 0
	}
	return archs[a].bits
}

// Siblings returns the ABIs that programs on such a machine may use, a itself first.
func (a Arch) Siblings() []Arch {
	if !a.valid() {
		return nil
	}
	return slices.Clone(archs[a].siblings)
}

func (a Arch) valid() bool { return a >= X86_64 && a <= S390X }

// ParseArch takes the names of Arch.String, of OCI (SCMP_ARCH_…), of Go and of uname -m.
func ParseArch(s string) (Arch, error) {
	name := strings.ToLower(s)
	for _, a := range All {
		if name == archs[a].name || s == a.SCMP() || name != "" && strings.Contains(archs[a].also, " "+name+" ") {
			return a, nil
		}
	}
	return 0, fmt.Errorf("unknown architecture %q", s)
}

// ParseAudit returns the ABI of a call with this seccomp_data.arch and number.
func ParseAudit(audit, nr uint32) (Arch, bool) {
	for _, a := range All {
		if archs[a].audit != audit {
			continue
		}
		// The kernel takes ~0 for no call at all, not for x32 (asm/syscall.h, syscall_get_arch;
		// entry/syscall_64.c, do_syscall_x32).
		if a == X86_64 && nr&X32Bit != 0 && nr != ^uint32(0) {
			a = X32
		}
		return a, true
	}
	return 0, false
}

// call is a row of the generated table: a name and its number on each ABI, X86_64's first.
type call struct {
	name string
	nrs  [len(archs) - 1]uint32
}

// none stands in a call's row for an ABI that lacks it.
const none = ^uint32(0)

// row finds name in calls.
func row(name string) (int, bool) {
	for i := hash(name); ; i++ {
		switch r := hashed[i%len(hashed)]; {
		case r == 0:
			return 0, false
		case calls[r-1].name == name:
			return int(r - 1), true
		}
	}
}

// hash is where a name is looked for first in hashed; the generator puts it there (FNV-1a). A start asks for a
// thousand names, and a binary search takes four times as long.
func hash(name string) int {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h % uint32(len(hashed)))
}

// Nr returns the number of the call named name, as a filter sees it: those of X32 carry X32Bit.
func (a Arch) Nr(name string) (uint32, bool) {
	i, ok := row(name)
	if !ok || !a.valid() {
		return 0, false
	}
	nr := calls[i].nrs[a-1]
	if nr == none {
		return 0, false
	}
	return nr, true
}

// Name returns the name of the call numbered nr, as a filter sees it: those of X32 carry X32Bit.
func (a Arch) Name(nr uint32) (string, bool) {
	if !a.valid() {
		return "", false
	}
	i, ok := slices.BinarySearchFunc(byNr[a-1], nr, func(row uint16, nr uint32) int { return cmp.Compare(calls[row].nrs[a-1], nr) })
	if !ok {
		return "", false
	}
	return calls[byNr[a-1][i]].name, true
}

// armPrivate is where arm's private calls begin: cacheflush, set_tls, …
// (__ARM_NR_BASE, arch/arm/include/uapi/asm/unistd.h).
const armPrivate = 0x0f0000

// Newest returns the highest number in the table, arm's private calls apart.
// A higher one is of a kernel newer than the table, or of none.
func (a Arch) Newest() uint32 {
	if !a.valid() {
		return 0
	}
	rows := byNr[a-1]
	for i := len(rows) - 1; ; i-- {
		if nr := calls[rows[i]].nrs[a-1]; a != ARM || nr < armPrivate {
			return nr
		}
	}
}

// Calls yields the number and the name of every call, in the order of their numbers.
func (a Arch) Calls() iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		if !a.valid() {
			return
		}
		for _, i := range byNr[a-1] {
			if !yield(calls[i].nrs[a-1], calls[i].name) {
				return
			}
		}
	}
}

// Row returns the place of name in the list of all names, below Names: for who looks up many.
func Row(name string) (int, bool) { return row(name) }

// Names is how many names of calls there are, over all ABIs.
const Names = len(calls)

// Rows yields the number and the row of every call, in the order of their numbers.
func (a Arch) Rows() iter.Seq2[uint32, int] {
	return func(yield func(uint32, int) bool) {
		if !a.valid() {
			return
		}
		for _, i := range byNr[a-1] {
			if !yield(calls[i].nrs[a-1], int(i)) {
				return
			}
		}
	}
}

// Known says whether any ABI has a call named name.
func Known(name string) bool {
	_, ok := row(name)
	return ok
}
