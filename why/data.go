package why

import (
	"encoding/binary"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
)

// What a call's pointers pointed at, where a watcher read it: structs in the layout of x86-64 and arm64, as
// the kernel's headers have them (include/uapi/linux).

// u32 and u64 are fields of what the i'th argument pointed at; ok is false where that was not read so far.
func (q *question) u32(i, off int) (uint64, bool) {
	s := q.strings[i]
	if !q.seen || len(s) < off+4 {
		return 0, false
	}
	return uint64(binary.LittleEndian.Uint32([]byte(s[off : off+4]))), true
}

func (q *question) u64(i, off int) (uint64, bool) {
	lo, _ := q.u32(i, off)
	hi, ok := q.u32(i, off+4)
	return lo | hi<<32, ok
}

// The families of addresses that rules tell apart.
const (
	afUnix, afInet, afInet6, afNetlink, afVsock = 1, 2, 10, 16, 40
)

// family is that of the address that a bind or connect names; 0 if not known.
func (q *question) family() int {
	s := q.strings[1]
	if !q.seen { // somebody wrote it as strace does
		_, name, _ := strings.Cut(s, "sa_family=")
		name, _, _ = strings.Cut(strings.TrimSuffix(name, "}"), ",")
		n, _ := number(name)
		return int(n)
	}
	if len(s) < 2 {
		return 0
	}
	return int(binary.LittleEndian.Uint16([]byte(s[:2])))
}

// portOf is the port of a bind: in an address that was seen, or that somebody wrote as strace does.
func (q *question) portOf() int {
	if f, s := q.family(), q.strings[1]; (f == afInet || f == afInet6) && len(s) >= 4 {
		return int(binary.BigEndian.Uint16([]byte(s[2:4])))
	}
	return portIn(q.strings[1])
}

// toFamily answers for words that are about addresses of one family.
func (q *question) toFamily(f int) truth {
	if have := q.family(); have != 0 && have != f {
		return no
	}
	return unknown
}

// newLimit is the hard limit that a setrlimit or prlimit64 asks for.
func (q *question) newLimit() (uint64, bool) {
	if q.call == "prlimit64" {
		return q.u64(2, 8)
	}
	return q.u64(1, 8)
}

// raised are the capabilities that a capset asks for and its caller may not have: effective and permitted ones are
// bounded by the permitted set, inheritable ones by it and the inheritable set together, and with CAP_SETPCAP by
// the bounding set (cap_capset, security/commoncap.c).
func (q *question) raised() (caps.Set, bool) {
	at := func(off int) (caps.Set, bool) {
		lo, _ := q.u32(1, off)
		hi, ok := q.u32(1, off+12)
		return caps.Set(lo | hi<<32), ok
	}
	effective, _ := at(0)
	permitted, _ := at(4)
	inheritable, ok := at(8)
	most := q.who.Permitted
	if q.who.Effective.Has(caps.CAP_SETPCAP) {
		most |= q.who.Bounding
	}
	return (effective|permitted)&^q.who.Permitted | inheritable&^(most|q.who.Inheritable), ok
}

// Types of BPF programs that want CAP_PERFMON, and CAP_NET_ADMIN, beside CAP_BPF (is_perfmon_prog_type and
// is_net_admin_prog_type, kernel/bpf/syscall.c).
var (
	tracingProgs = []uint64{2, 5, 7, 17, 24, 26, 27, 28, 29}
	networkProgs = []uint64{3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 25}
)

// shown decides an open word by what the call's memory held.
func (s *Scene) shown(word string, q *question) truth {
	is := func(v uint64, ok, yes bool) truth {
		if !ok {
			return unknown
		}
		return known(yes)
	}
	switch word {
	case "kernel-event":
		v, ok := q.u64(0, 40)
		return is(v, ok, v&(1<<5) == 0) // exclude_kernel
	case "tracepoint-event":
		v, ok := q.u32(0, 0)
		return is(v, ok, v == 2) // PERF_TYPE_TRACEPOINT
	case "tracing-prog":
		v, ok := q.u32(1, 0)
		return is(v, ok && q.call == "bpf" && q.args[0] == 5, slices.Contains(tracingProgs, v))
	case "network-prog":
		v, ok := q.u32(1, 0)
		return is(v, ok && q.call == "bpf" && q.args[0] == 5, slices.Contains(networkProgs, v))
	case "adjust":
		i := 0
		if q.call == "clock_adjtime" {
			i = 1
		}
		v, ok := q.u32(i, 0)
		return is(v, ok, v != 0 && v != 0xa001) // modes; ADJ_OFFSET_SS_READ only reads
	case "new-ns":
		const spaces = 0x7e020080
		const user = 0x10000000
		v, ok := q.u64(0, 0)
		return is(v, ok, v&spaces&^user != 0 && v&user == 0)
	case "set-tid":
		v, ok := q.u64(0, 64)
		return is(v, ok, v != 0)
	case "realtime":
		if q.call == "sched_setparam" {
			v, ok := q.u32(1, 0)
			return is(v, ok, v != 0)
		}
		v, ok := q.u32(1, 4)
		return is(v, ok, v == 1 || v == 2 || v == 6) // SCHED_FIFO, SCHED_RR, SCHED_DEADLINE
	case "fixed-priority": // cpu.rt_runtime_us is nothing to SCHED_DEADLINE (__sched_setscheduler)
		v, ok := q.u32(1, 4)
		return is(v, ok && q.call == "sched_setattr", v == 1 || v == 2)
	case "gives-away":
		if i, ok := map[string]int{"chown": 1, "lchown": 1, "fchown": 1, "fchownat": 2}[q.call]; ok && q.known[i] {
			if id := int(int32(q.args[i])); id != -1 && id != q.who.FSUID {
				return yes
			}
		}
	case "raise-caps":
		set, ok := q.raised()
		return is(0, ok, set != 0)
	case "raise-hard":
		name, named := rlimitName(q)
		limit, there := s.Rlimits[name]
		v, ok := q.newLimit()
		return is(v, ok && named && there, limit.Hard >= 0 && v > uint64(limit.Hard))
	case "above-nr-open":
		most, there := s.sysctl("fs.nr_open")
		n, numeric := number(most)
		v, ok := q.newLimit()
		return is(v, ok && there && numeric, v > n)
	case "mode":
		if q.call == "bind" || q.call == "connect" {
			return q.toFamily(afUnix)
		}
		return q.modeDenies()
	case "netlink-group", "audit-read":
		return q.toFamily(afNetlink)
	case "vsock-port":
		return q.toFamily(afVsock)
	case "sealed":
		if memoryFile(q.path) {
			return yes
		}
	case "immutable":
		if memoryFile(q.path) {
			return no
		}
	case "lower-nice":
		if i := len(abi.Params(q.call)) - 1; i >= 0 && q.known[i] && int32(q.args[i]) < 0 {
			return yes
		}
	case "other-ids":
		return q.otherIDs()
	}
	return unknown
}

// modeDenies says whether a file's mode forbids what open asks for to whom it does not belong, whatever his groups are.
// More than that is not known: a directory on the way may forbid it, too.
func (q *question) modeDenies() truth {
	f := q.file
	i := map[string]int{"open": 1, "openat": 2}[q.call]
	if i == 0 || f == nil || f.Mode == 0 || f.UID == q.who.FSUID || !q.known[i] {
		return unknown
	}
	const read, write = 4, 2
	want := []uint32{read, write, read | write, read | write}[q.args[i]&3]
	if group, others := f.Mode>>3&7, f.Mode&7; group&want != want && others&want != want || others&want != want && f.GID < 0 {
		return yes
	}
	return unknown
}

// memoryFile says that a path is what /proc/PID/fd shows of a memfd_create(2).
func memoryFile(path string) bool { return strings.HasPrefix(path, "/memfd:") }

// otherIDs says whether a call that takes on user ids names one that is not among the caller's.
func (q *question) otherIDs() truth {
	n := map[string]int{"setuid": 1, "setfsuid": 1, "setreuid": 2, "setresuid": 3}[q.call]
	if n == 0 {
		return unknown // of groups the caller's own are not known
	}
	for i := range n {
		if !q.known[i] {
			return unknown
		}
		id := int(int32(q.args[i]))
		if id != -1 && id != q.who.UID && id != q.who.EUID && id != q.who.SUID {
			return yes
		}
	}
	return unknown
}
