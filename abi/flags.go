package abi

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Const returns the value of one of the kernel's constants: "CLONE_NEWUSER",
// "PTRACE_TRACEME", "AF_UNIX", …, as x86-64 has it. Negative ones (AT_FDCWD) come back
// sign-extended to 64 bits.
func Const(name string) (uint64, bool) {
	i, ok := slices.BinarySearchFunc(consts[:], name, func(c struct {
		name  string
		value uint64
	}, name string) int {
		return cmp.Compare(c.name, name)
	})
	if !ok {
		return 0, false
	}
	return consts[i].value, true
}

// Groups returns the names that Flags knows.
func Groups() []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	return names
}

// A shape is how the values of a group are written. A group without one is of bits alone.
type shape struct {
	mask  uint64 // the bits that are one of a list
	list  string // the group that has the list
	bits  string // the group of the other bits
	after bool   // the list's name is written last, and not at all for 0
}

const whole = ^uint64(0)

func shapeOf(group string) shape {
	switch group {
	case "clone":
		return shape{0xff, "signal", "clone", true} // CSIGNAL
	case "open":
		return shape{3, "accmode", "open", false} // O_ACCMODE
	case "mmap":
		return shape{0xf, "maptype", "mmap", false} // MAP_TYPE
	case "socktype":
		return shape{0xf, "socktype", "sockflags", false} // SOCK_TYPE_MASK
	case "personality":
		return shape{0xff, "persona", "personality", false} // PER_MASK
	case "futex":
		return shape{0x7f, "futex", "futex_flags", false} // FUTEX_CMD_MASK
	case "filetype":
		return shape{0xf000, "filetype", "modebits", false} // S_IFMT
	case "sched":
		return shape{0xff, "sched", "sched", false}
	case "accmode", "arch_prctl", "bpf", "bpf_map", "bpf_prog", "cap_ambient", "clock", "dirfd",
		"epoll_ctl", "family", "fcntl", "fsconfig", "ioctl", "ioprio", "ipc", "ipcctl", "ipproto",
		"itimer", "kcmp", "keyctl", "keyring", "landlock_rule", "madvise", "maptype", "membarrier",
		"mempolicy", "netlink", "perf_type", "persona", "prctl", "prctl_mm", "prctl_ptracer",
		"prctl_vma", "priority", "ptrace", "ptrace_event", "quota", "reboot", "rlimit", "rusage",
		"seccomp", "seccomp_mode", "seccomp_ret", "seek", "shutdown", "sigmask", "signal",
		"socketcall", "sockopt", "sol", "speculation", "syslog", "waitid":
		return shape{whole, group, "", false}
	}
	return shape{0, "", group, false}
}

// Flags writes v as strace does, with the names of a group (see Groups): "clone" gives
// "CLONE_NEWUSER|SIGCHLD". Bits without a name follow in hexadecimal; so does a value
// that is none of its list, and every value of an unknown group.
// The names stand for x86-64's values; Arch.Flags knows the few that other ABIs number
// otherwise.
func Flags(group string, v uint64) string {
	if group == "personality" && uint32(v) == ^uint32(0) {
		return "0xffffffff" // asks, and sets nothing
	}
	s := shapeOf(group)
	var parts []string
	rest := v
	if s.mask != 0 {
		rest = v &^ s.mask
		if !s.after {
			parts = append(parts, listed(s.list, v&s.mask))
		}
	}
	set, zero := names(s.bits)
	// The most bits first, so that O_SYNC is not written as O_DSYNC and something else.
	byBits := slices.Clone(set)
	slices.SortStableFunc(byBits, func(a, b uint16) int {
		return bits.OnesCount64(consts[b].value) - bits.OnesCount64(consts[a].value)
	})
	var found []uint16
	for _, i := range byBits {
		if c := consts[i].value; c&^s.mask == c && rest&c == c {
			found = append(found, i)
			rest &^= c
		}
	}
	slices.SortFunc(found, func(a, b uint16) int { return cmp.Compare(consts[a].value, consts[b].value) })
	for _, i := range found {
		parts = append(parts, consts[i].name)
	}
	if s.after && v&s.mask != 0 {
		parts = append(parts, listed(s.list, v&s.mask))
	}
	switch {
	case rest != 0 && group == "filetype":
		parts = append(parts, "0"+strconv.FormatUint(rest, 8)) // permissions
	case rest != 0:
		parts = append(parts, hex(rest))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "|")
	case zero != "":
		return zero
	}
	return "0"
}

// names returns the rows of a group that have bits, and the name that stands for none.
func names(group string) (set []uint16, zero string) {
	i, ok := slices.BinarySearchFunc(groups[:], group, func(g struct {
		name string
		rows []uint16
	}, name string) int {
		return cmp.Compare(g.name, name)
	})
	if !ok {
		return nil, ""
	}
	set = groups[i].rows
	if len(set) > 0 && consts[set[0]].value == 0 {
		return set[1:], consts[set[0]].name
	}
	return set, ""
}

// listed names the one constant of a group that v is. A negative constant is also met by
// its low half: most such arguments are ints.
func listed(group string, v uint64) string {
	set, zero := names(group)
	if v == 0 && zero != "" {
		return zero
	}
	for _, i := range set {
		if c := consts[i].value; c == v || int64(c) < 0 && c>>32 == whole>>32 && uint64(uint32(c)) == v {
			return consts[i].name
		}
	}
	// SIGRTMIN is 32 to the kernel; strace counts from there.
	if group == "signal" && v >= 32 && v <= 64 {
		if v == 32 {
			return "SIGRTMIN"
		}
		return "SIGRT_" + strconv.FormatUint(v-32, 10)
	}
	return hex(v)
}

func hex(v uint64) string {
	if v == 0 {
		return "0"
	}
	return "0x" + strconv.FormatUint(v, 16)
}

// Flags writes v as the function Flags does, for a call made on a, whose flags of open,
// mmap and mlockall may be other bits than x86-64's (arch/*/include/uapi/asm/fcntl.h and mman.h).
func (a Arch) Flags(group string, v uint64) string {
	var theirs []string // names of bits, from the lowest of those that differ on
	var low uint64
	switch {
	case group == "open" && (a == ARM || a == ARM64):
		theirs, low = []string{"O_DIRECTORY", "O_NOFOLLOW", "O_DIRECT", "O_LARGEFILE"}, 0x4000
	case group == "open" && a == PPC64LE:
		theirs, low = []string{"O_DIRECTORY", "O_NOFOLLOW", "O_LARGEFILE", "O_DIRECT"}, 0x4000
	case group == "mmap" && a == PPC64LE:
		theirs, low = []string{"MAP_NORESERVE", "MAP_LOCKED"}, 0x40
	case group == "mlockall" && a == PPC64LE:
		theirs, low = []string{"MCL_CURRENT", "MCL_FUTURE", "MCL_ONFAULT"}, 0x2000
	}
	as := v
	for i := range theirs {
		as &^= low << i
	}
	for i, name := range theirs {
		if ours, _ := Const(name); v&(low<<i) != 0 {
			as |= ours
		}
	}
	return Flags(group, as)
}
