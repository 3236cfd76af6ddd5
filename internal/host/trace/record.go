package trace

import (
	"bytes"
	"encoding/binary"
	"strings"

	"porthole/abi"
)

// A record is what a program in the kernel hands over, in the machine's byte order:
//
//	  0 kind u32, flags u32, time u64, tgid<<32|tid u64, comm [16]
//	 40 result i64 (of the call; at an exit what wait(2) tells), nr u32, unused u32, args [6]u64
//	104 the caller's user namespace u64, its credentials [88], at exec those before [88]
//	288 failed checks u32, more of them that found no room u32
//	296 netlink: errno i32, message type u16, protocol u16
//	304 the program's file: mode u32, uid u32, gid u32, unused u32
//	320 lengths of what was read from pointers [4]u32, and that [4][256]
//	1360 failed checks [6]: capability u64, target user namespace u64, kernel stack [16]u64
//	2224 the root directory: mount u64, dentry u64; the mount's own root u64, its parent u64, its namespace's root u64
const (
	recKind, recFlags, recTime, recPID, recComm = 0, 4, 8, 16, 24
	recResult, recNr, recArgs                   = 40, 48, 56
	recUserNS, recCred, recCredBefore           = 104, 112, 200
	recChecks, recMore                          = 288, 292
	recNetlink, recFile                         = 296, 304
	recLens, recData                            = 320, 336
	recCheck                                    = recData + maxReads*readSize
	recRoot                                     = recCheck + maxChecks*checkSize
	recHome                                     = recRoot + 16
	recSize                                     = recHome + 24

	maxReads, readSize = 4, 256
	maxChecks          = 6
	stackDepth         = 16
	checkSize          = 16 + 8*stackDepth
	credSize           = 88 // at most, from cred.uid to the end of cred.cap_ambient
)

// The kinds of record, and the flags.
const (
	recordCall = 1 + iota
	recordExec
	recordExit
	recordRead
	recordNack
)

const (
	flagEntered = 1 << iota // the kernel saw the call
	flagCompat              // a 32-bit call
	flagNNP                 // no_new_privs
	flagSecure              // AT_SECURE
)

// What a task's storage holds: which call it is in, as marks do, and which checks failed in it.
const (
	taskCall   = 0 // its number + 1
	taskFailed = 4
	taskChecks = 8
	taskMore   = 12
	taskCred   = 16 // as they were when it called execve
	taskCheck  = taskCred + credSize
	taskSize   = taskCheck + maxChecks*checkSize

	callUnknown = -1 // nobody saw it enter, since it was not watched yet
	sharedMark  = -1 // see builder
)

// A read says which argument points at something that a record is to hold: bits 0 to 2 are the argument,
// bit 3 is set for a string, bits 4 to 12 are how many bytes at most, bit 15 is always set.
type read uint16

const (
	readString read = 1 << 3
	readShift       = 4
	readValid  read = 1 << 15
)

func (r read) arg() int  { return int(r & 7) }
func (r read) size() int { return int(r>>readShift) & 0x1ff }

// reads packs what is read of a call's arguments, the first in the low bits.
func reads(a abi.Arch, nr uint32) uint64 {
	name, ok := a.Name(nr)
	if !ok {
		return 0
	}
	var packed uint64
	n := 0
	for i, p := range abi.Params(name) {
		size, str := extent(name, i, p)
		if size == 0 || n == maxReads || a.Bits() == 32 && !str {
			continue // the structs of 32-bit calls have another shape
		}
		r := read(i) | read(size)<<readShift | readValid
		if str {
			r |= readString
		}
		packed |= uint64(r) << (16 * n)
		n++
	}
	return packed
}

// extent says how many bytes of what an argument points at are read, and whether it is a string.
func extent(call string, i int, p abi.Param) (size int, str bool) {
	if n := structSize(call, i); n > 0 {
		return n, false
	}
	if call == "keyctl" && i == 1 || call == "fsconfig" && i == 3 { // for some operations; others have no address there
		return readSize, true
	}
	switch p.Kind {
	case abi.KindPath, abi.KindString:
		return readSize, true
	case abi.KindSockaddr:
		if call == "bind" || call == "connect" || call == "sendto" {
			return sockaddrSize, false
		}
	case abi.KindPointer:
		if call == "mount" && i == 4 {
			return readSize, true // data: options as text, for most filesystems
		}
	case abi.KindBuffer:
		if call == "write" {
			return 64, false
		}
	}
	return 0, false
}

const sockaddrSize = 112 // struct sockaddr_un has 110

// bounded cuts what was read from an argument to what the call says it is long.
func bounded(call string, i int, args [6]uint64, data string, text bool) string {
	if text {
		return strings.TrimSuffix(data, "\x00")
	}
	length := -1 // the argument that has the length
	switch {
	case i == 1 && (call == "bind" || call == "connect" || call == "write" || call == "bpf"):
		length = 2
	case i == 4 && call == "sendto":
		length = 5
	case i == 3 && call == "setsockopt":
		length = 4
	case i == 0 && call == "clone3", i == 3 && call == "mount_setattr":
		length = map[string]int{"clone3": 1, "mount_setattr": 4}[call]
	case i == 2 && call == "openat2":
		length = 3
	}
	if length >= 0 && args[length] < uint64(len(data)) {
		data = data[:args[length]]
	}
	return data
}

// structSize is how many bytes of a struct explain a refusal; 0 for those that don't. It is no map, since
// every start of porthole would make one.
func structSize(call string, i int) int {
	type arg struct {
		call string
		i    int
	}
	switch (arg{call, i}) {
	case arg{"clone3", 0}:
		return 88
	case arg{"perf_event_open", 0}, arg{"bpf", 1}:
		return 64
	case arg{"sched_setattr", 1}:
		return 48
	case arg{"mount_setattr", 3}:
		return 32
	case arg{"openat2", 2}, arg{"capset", 1}:
		return 24
	case arg{"setrlimit", 1}, arg{"prlimit64", 2}, arg{"clock_settime", 1}, arg{"settimeofday", 0}, arg{"setsockopt", 3}:
		return 16
	case arg{"capset", 0}, arg{"capget", 0}:
		return 8
	case arg{"sched_setscheduler", 2}, arg{"sched_setparam", 1}, arg{"adjtimex", 0}, arg{"clock_adjtime", 1}:
		return 4
	}
	return 0
}

// raw reads the fields of a record.
type raw []byte

func (r raw) u32(off int) uint32 { return binary.NativeEndian.Uint32(r[off:]) }
func (r raw) u64(off int) uint64 { return binary.NativeEndian.Uint64(r[off:]) }
func (r raw) text(off, size int) string {
	b, _, _ := bytes.Cut(r[off:off+size], []byte{0})
	return string(b)
}

// chrooted says that the caller's root is not where its mount namespace begins, as current_chrooted does
// (fs/namespace.c): neither the root of the namespace's first mount, nor of the one that covers that.
func (r raw) chrooted(l *layout) bool {
	mount, dentry := r.u64(recRoot), r.u64(recRoot+8)
	top, parent, first := r.u64(recHome), r.u64(recHome+8), r.u64(recHome+16)
	if mount == 0 || first == 0 {
		return false // not known
	}
	own := mount - uint64(l.Offsets["mount.mnt"]) // the struct mount that holds it
	return dentry != top || own != first && parent != first
}

// cred is where a field of the credentials at off begins.
func (r raw) cred(l *layout, off int, field string) []byte {
	return r[off+l.Offsets["cred."+field]-l.Offsets["cred.uid"]:]
}
