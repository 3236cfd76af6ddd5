// Package seccomp holds the values that every seccomp document and filter is about:
// actions, comparisons, rules, and the Policy that decides a call.
//
// Policy is one of the house's narrow waists: documents become one
// (package profile), filters are made from one (package filter).
package seccomp

import "porthole/abi"

// Action is what the kernel does with a call, in the kernel's own encoding:
// SECCOMP_RET_* in the upper half, its datum (an errno, a trace message) in the lower.
type Action uint32

// The kernel's actions (include/uapi/linux/seccomp.h).
const (
	KillThread  Action = 0x00000000
	Trap        Action = 0x00030000
	Errno       Action = 0x00050000 // | errno
	Notify      Action = 0x7fc00000
	Trace       Action = 0x7ff00000 // | message
	Log         Action = 0x7ffc0000
	Allow       Action = 0x7fff0000
	KillProcess Action = 0x80000000
)

// Op compares one argument with a value, unsigned.
type Op uint8

// The comparisons, spelled SCMP_CMP_* in documents.
const (
	NE Op = 1 + iota
	LT
	LE
	EQ
	GE
	GT
	MaskedEQ // argument & Mask == Value & Mask
)

// Cond is a test of one argument (Arg is 0 to 5). Mask counts for MaskedEQ only.
type Cond struct {
	Arg   uint8
	Op    Op
	Value uint64
	Mask  uint64
}

// Rule gives one system call, by name, an action when all its conditions hold.
type Rule struct {
	Name   string
	Action Action
	Conds  []Cond // all must hold; none: whatever the arguments
	From   int    // index of the document's entry that it came from, for explanations
}

// Policy says for every call, on every architecture it covers, which action it gets.
// Names that an architecture does not have are no rule there.
type Policy struct {
	Default Action
	Arches  []abi.Arch // covered; the first is the machine's own
	BadArch Action     // for calls made on any other; KillThread unless a document says otherwise
	Rules   []Rule     // document order: the first that matches decides
	Flags   uint32     // SECCOMP_FILTER_FLAG_* for the installation

	// NewerENOSYS answers ENOSYS, as runc does, to numbers newer than the
	// newest that a rule names on that architecture, so that a C library falls back.
	// It has no say where the default permits calls. (runc leaves it out for a
	// document that lists no architectures.)
	NewerENOSYS bool

	ListenerPath, ListenerMetadata string // for Notify, from OCI documents
}
