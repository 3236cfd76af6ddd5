package seccomp

import (
	"slices"

	"porthole/abi"
)

// mux is a call's way through another one.
type mux struct {
	by   string
	word uint32
}

// muxed are the words of socketcall (include/uapi/linux/net.h, SYS_*) and of ipc
// (include/uapi/linux/ipc.h): their first argument names the call meant.
var muxed = map[string]mux{
	"socket":      {"socketcall", 1},
	"bind":        {"socketcall", 2},
	"connect":     {"socketcall", 3},
	"listen":      {"socketcall", 4},
	"accept":      {"socketcall", 5},
	"getsockname": {"socketcall", 6},
	"getpeername": {"socketcall", 7},
	"socketpair":  {"socketcall", 8},
	"send":        {"socketcall", 9},
	"recv":        {"socketcall", 10},
	"sendto":      {"socketcall", 11},
	"recvfrom":    {"socketcall", 12},
	"shutdown":    {"socketcall", 13},
	"setsockopt":  {"socketcall", 14},
	"getsockopt":  {"socketcall", 15},
	"sendmsg":     {"socketcall", 16},
	"recvmsg":     {"socketcall", 17},
	"accept4":     {"socketcall", 18},
	"recvmmsg":    {"socketcall", 19},
	"sendmmsg":    {"socketcall", 20},
	"semop":       {"ipc", 1},
	"semget":      {"ipc", 2},
	"semctl":      {"ipc", 3},
	"semtimedop":  {"ipc", 4},
	"msgsnd":      {"ipc", 11},
	"msgrcv":      {"ipc", 12},
	"msgget":      {"ipc", 13},
	"msgctl":      {"ipc", 14},
	"shmat":       {"ipc", 21},
	"shmdt":       {"ipc", 22},
	"shmget":      {"ipc", 23},
	"shmctl":      {"ipc", 24},
}

// multiplexes says whether an ABI has socketcall and ipc beside the calls themselves.
func multiplexes(a abi.Arch) bool {
	return a == abi.X86 || a == abi.S390X || a == abi.PPC64LE
}

// muxedRows is muxed by the calls' rows in package abi.
func muxedRows() map[int]mux {
	rows := make(map[int]mux, len(muxed))
	for name, m := range muxed {
		if row, ok := abi.Row(name); ok {
			rows[row] = m
		}
	}
	return rows
}

// Multiplexed says through which call another came on an ABI whose socket or System V IPC calls were one
// call each, and by which first argument: socket by socketcall(1, …). Only x86, s390x and ppc64le had them.
func Multiplexed(a abi.Arch, call string) (by string, word uint32, ok bool) {
	m, ok := muxed[call]
	return m.by, m.word, ok && multiplexes(a)
}

// Through lists the calls that come through another one on an ABI, in the order of their words; none for
// calls but socketcall and ipc.
func Through(a abi.Arch, call string) []string {
	var out []string
	for name, m := range muxed {
		if m.by == call && multiplexes(a) {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return int(muxed[a].word) - int(muxed[b].word) })
	return out
}
