package abi

import (
	"cmp"
	"slices"
	"strings"
)

// Param is one argument of a system call.
type Param struct {
	Name  string // the kernel's
	Type  string // the C type that the kernel's entry declares, less __user: "int", "const char *"
	Kind  Kind
	Group string // the Flags group of a KindFlags; "" for other kinds
}

// Kind is what an argument means.
type Kind uint8

// The kinds. Those from KindPointer on are addresses in the caller's memory, which a
// filter cannot look into.
const (
	KindInt    Kind = iota // a signed number, 32 bits
	KindUint               // an unsigned number, 32 bits
	KindLong               // a signed number, 64 bits
	KindUlong              // an unsigned number, 64 bits: also addresses of memory that is mapped, not read
	KindSize               // bytes
	KindOffset             // a position in a file
	KindFD                 // a file descriptor
	KindDirFD              // a file descriptor, or AT_FDCWD
	KindPID
	KindUID
	KindGID
	KindMode   // permissions, and for mknod a file type
	KindSignal // a signal's number
	KindDevice // major and minor numbers, packed
	KindFlags  // one of a list, or bits: see Group

	KindPointer
	KindPath     // to a string that names a file
	KindString   // to another string
	KindStrings  // to a list of strings that ends in nil
	KindSockaddr // to a struct sockaddr
	KindStruct   // to some other struct
	KindBuffer   // to bytes
)

// Pointer says whether the argument is an address in the caller's memory.
func (k Kind) Pointer() bool { return k >= KindPointer }

// Bits returns how many of a 64-bit register's low bits the kernel's entry looks at: 64,
// 32, or 16 (umode_t). A filter compares all 64: a test of an argument with fewer can be
// passed by setting bits that the kernel throws away.
func (p Param) Bits() int {
	switch strings.TrimPrefix(p.Type, "const ") {
	case "umode_t":
		return 16
	case "int", "unsigned int", "unsigned", "u32", "__u32", "__s32", "pid_t", "uid_t", "gid_t",
		"qid_t", "key_t", "key_serial_t", "timer_t", "mqd_t", "clockid_t", "rwf_t",
		"enum landlock_rule_type":
		return 32
	}
	return 64
}

// signature is a row of the generated tables.
type signature struct {
	name   string
	params []Param
}

// Params returns the arguments of the call named name as x86-64 takes them (a 32-bit
// call of that name may differ), or nil if none are known or it has none.
// Types are those of the kernel's own tracepoints, or of its source where it has no
// tracepoint; see KnownParams for telling an empty list from an unknown one.
func Params(name string) []Param {
	s, ok := signatureOf(name)
	if !ok || len(s.params) == 0 {
		return nil
	}
	params := slices.Clone(s.params)
	for i := range params {
		params[i].Kind, params[i].Group = kindOf(name, params[i])
	}
	return params
}

// KnownParams says whether the arguments of the call named name are known.
func KnownParams(name string) bool {
	_, ok := signatureOf(name)
	return ok
}

func signatureOf(name string) (signature, bool) {
	byName := func(s signature, name string) int { return cmp.Compare(s.name, name) }
	if i, ok := slices.BinarySearchFunc(traced[:], name, byName); ok {
		return traced[i], true
	}
	if i, ok := slices.BinarySearchFunc(defined[:], name, byName); ok {
		return defined[i], true
	}
	return signature{}, false
}
