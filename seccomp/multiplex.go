package seccomp

import "porthole/abi"

// calls are the words of socketcall (include/uapi/linux/net.h, SYS_*) and of ipc
// (include/uapi/linux/ipc.h): their first argument names the call meant.
var calls = map[string]struct {
	by   string
	word uint32
}{
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

// multiplexed returns the number through which an ABI also makes the named call,
// and the word that means it there.
func multiplexed(a abi.Arch, name string) (nr, word uint32, ok bool) {
	switch a {
	case abi.X86, abi.S390X, abi.PPC64LE:
	default:
		return 0, 0, false
	}
	c, ok := calls[name]
	if !ok {
		return 0, 0, false
	}
	nr, ok = a.Nr(c.by)
	return nr, c.word, ok
}
