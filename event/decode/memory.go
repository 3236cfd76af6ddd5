package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
)

// behind writes what the i'th argument points at, where that was read, else the address.
func (c call) behind(i int) string {
	data, ok := c.Strings[i]
	if !ok {
		return pointer(c.Args[i])
	}
	var p abi.Param
	if i < len(c.params) {
		p = c.params[i]
	}
	switch p.Kind {
	case abi.KindSockaddr:
		return c.sockaddr([]byte(data))
	case abi.KindBuffer:
		if c.name == "write" && c.Args[2] > uint64(len(data)) {
			return quote(data) + "..."
		}
		return quote(data)
	case abi.KindStruct, abi.KindPointer:
		if f := shapes()[c.name][i]; f != nil {
			if s := f(c, words(data)); s != "" {
				return s
			}
			return pointer(c.Args[i])
		}
		if c.name != "mount" { // whose data is text
			return pointer(c.Args[i])
		}
	}
	return quote(data)
}

// words are the bytes of a struct. What was not read is zero.
type words string

func (w words) u32(off int) uint64 {
	var b [4]byte
	if off < len(w) {
		copy(b[:], w[off:])
	}
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

func (w words) u64(off int) uint64 { return w.u32(off) | w.u32(off+4)<<32 }

// shapes are the structs that are known, by call and argument, as the kernel's headers
// (include/uapi/linux) and clone(2), openat2(2), … lay them out. "" is one that is too short.
var shapes = sync.OnceValue(func() map[string]map[int]func(c call, w words) string {
	return map[string]map[int]func(c call, w words) string{
		"clone3": {0: func(c call, w words) string {
			s := "{flags=" + c.flags("clone3", w.u64(0))
			if sig := w.u64(32); sig != 0 {
				s += ", exit_signal=" + c.flags("signal", sig)
			} else {
				s += ", exit_signal=0"
			}
			return s + ", stack=" + pointer(w.u64(40)) + ", stack_size=" + hex(w.u64(48)) + "}"
		}},
		"openat2": {2: func(c call, w words) string {
			s := "{flags=" + c.flags("open", w.u64(0))
			if w.u64(0)&(0x40|0o20000000) != 0 {
				s += ", mode=" + octal(w.u64(8))
			}
			return s + ", resolve=" + c.flags("resolve", w.u64(16)) + "}"
		}},
		"perf_event_open": {0: perfAttr},
		"bpf":             {1: bpfAttr},
		"setrlimit":       {1: limits},
		"prlimit64":       {2: limits},
		"capset":          {0: capHeader, 1: capData},
		"capget":          {0: capHeader},
		"clock_settime":   {1: timespec},
		"settimeofday": {0: func(_ call, w words) string {
			return fmt.Sprintf("{tv_sec=%d, tv_usec=%d}", int64(w.u64(0)), int64(w.u64(8)))
		}},
		"sched_setscheduler": {2: func(_ call, w words) string { return fmt.Sprintf("[%d]", int32(w.u32(0))) }},
		"sched_setparam":     {1: func(_ call, w words) string { return fmt.Sprintf("[%d]", int32(w.u32(0))) }},
		"mount_setattr": {3: func(c call, w words) string {
			return fmt.Sprintf("{attr_set=%s, attr_clr=%s, propagation=%s, userns_fd=%d}",
				c.flags("mount_attr", w.u64(0)), c.flags("mount_attr", w.u64(8)), c.flags("mount", w.u64(16)), int64(w.u64(24)))
		}},
		"setsockopt": {3: func(c call, w words) string {
			if c.Args[4] != 4 {
				return ""
			}
			return fmt.Sprintf("[%d]", int32(w.u32(0)))
		}},
	}
})

func timespec(_ call, w words) string {
	return fmt.Sprintf("{tv_sec=%d, tv_nsec=%d}", int64(w.u64(0)), int64(w.u64(8)))
}

func limits(_ call, w words) string {
	one := func(v uint64) string {
		switch {
		case v == ^uint64(0):
			return "RLIM64_INFINITY"
		case v > 1024 && v%1024 == 0:
			return strconv.FormatUint(v/1024, 10) + "*1024"
		}
		return strconv.FormatUint(v, 10)
	}
	return "{rlim_cur=" + one(w.u64(0)) + ", rlim_max=" + one(w.u64(8)) + "}"
}

func capHeader(_ call, w words) string {
	version := map[uint64]string{0x19980330: "_LINUX_CAPABILITY_VERSION_1", 0x20071026: "_LINUX_CAPABILITY_VERSION_2", 0x20080522: "_LINUX_CAPABILITY_VERSION_3"}[w.u32(0)]
	if version == "" {
		version = hex(w.u32(0))
	}
	return fmt.Sprintf("{version=%s, pid=%d}", version, int32(w.u32(4)))
}

func capData(_ call, w words) string {
	if len(w) < 24 {
		return ""
	}
	set := func(off int) string {
		var names []string
		for _, c := range caps.Set(w.u32(off) | w.u32(off+12)<<32).List() {
			names = append(names, "1<<"+c.String())
		}
		if names == nil {
			return "0"
		}
		return strings.Join(names, "|")
	}
	return "{effective=" + set(0) + ", permitted=" + set(4) + ", inheritable=" + set(8) + "}"
}

// bpfAttr writes the fields of union bpf_attr that say what is asked for.
func bpfAttr(c call, w words) string {
	switch c.flags("bpf", c.num(0)) {
	case "BPF_MAP_CREATE":
		return fmt.Sprintf("{map_type=%s, key_size=%d, value_size=%d, max_entries=%d, ...}", c.flags("bpf_map", w.u32(0)), w.u32(4), w.u32(8), w.u32(12))
	case "BPF_PROG_LOAD":
		return fmt.Sprintf("{prog_type=%s, insn_cnt=%d, ...}", c.flags("bpf_prog", w.u32(0)), w.u32(4))
	}
	return ""
}

// The bits of struct perf_event_attr at byte 40 that permissions hang on, and the names of its
// configurations (include/uapi/linux/perf_event.h).
const excludeUser, excludeKernel, excludeHV = 1 << 4, 1 << 5, 1 << 6

var perfHardware = []string{
	"PERF_COUNT_HW_CPU_CYCLES", "PERF_COUNT_HW_INSTRUCTIONS", "PERF_COUNT_HW_CACHE_REFERENCES", "PERF_COUNT_HW_CACHE_MISSES",
	"PERF_COUNT_HW_BRANCH_INSTRUCTIONS", "PERF_COUNT_HW_BRANCH_MISSES", "PERF_COUNT_HW_BUS_CYCLES",
	"PERF_COUNT_HW_STALLED_CYCLES_FRONTEND", "PERF_COUNT_HW_STALLED_CYCLES_BACKEND", "PERF_COUNT_HW_REF_CPU_CYCLES",
}

var perfSoftware = []string{
	"PERF_COUNT_SW_CPU_CLOCK", "PERF_COUNT_SW_TASK_CLOCK", "PERF_COUNT_SW_PAGE_FAULTS", "PERF_COUNT_SW_CONTEXT_SWITCHES",
	"PERF_COUNT_SW_CPU_MIGRATIONS", "PERF_COUNT_SW_PAGE_FAULTS_MIN", "PERF_COUNT_SW_PAGE_FAULTS_MAJ", "PERF_COUNT_SW_ALIGNMENT_FAULTS",
	"PERF_COUNT_SW_EMULATION_FAULTS", "PERF_COUNT_SW_DUMMY", "PERF_COUNT_SW_BPF_OUTPUT", "PERF_COUNT_SW_CGROUP_SWITCHES",
}

func perfAttr(c call, w words) string {
	config := hex(w.u64(8))
	switch w.u32(0) {
	case 0:
		config = pick(w.u64(8), perfHardware...)
	case 1:
		config = pick(w.u64(8), perfSoftware...)
	}
	s := "{type=" + c.flags("perf_type", w.u32(0)) + ", config=" + config
	for _, b := range []struct {
		bit  uint64
		name string
	}{{excludeUser, "exclude_user"}, {excludeKernel, "exclude_kernel"}, {excludeHV, "exclude_hv"}} {
		if w.u64(40)&b.bit != 0 {
			s += ", " + b.name + "=1"
		}
	}
	return s + ", ...}"
}

// sockaddr writes an address by its family (unix(7), ip(7), ipv6(7), netlink(7), packet(7)).
func (c call) sockaddr(b []byte) string {
	if len(b) < 2 {
		return hex(0)
	}
	family := uint64(binary.LittleEndian.Uint16(b))
	port := func() uint16 { return binary.BigEndian.Uint16(b[2:]) }
	s := "{sa_family=" + c.flags("family", family)
	switch {
	case family == 1: // AF_UNIX
		path := string(b[2:])
		if strings.HasPrefix(path, "\x00") && len(path) > 1 {
			return s + ", sun_path=@" + quote(path[1:]) + "}"
		}
		path, _, _ = strings.Cut(path, "\x00")
		return s + ", sun_path=" + quote(path) + "}"
	case family == 2 && len(b) >= 8: // AF_INET
		addr, _ := netip.AddrFromSlice(b[4:8])
		return s + fmt.Sprintf(", sin_port=htons(%d), sin_addr=inet_addr(%q)}", port(), addr)
	case family == 10 && len(b) >= 28: // AF_INET6
		addr, _ := netip.AddrFromSlice(b[8:24])
		return s + fmt.Sprintf(", sin6_port=htons(%d), sin6_flowinfo=htonl(%d), inet_pton(AF_INET6, %q, &sin6_addr), sin6_scope_id=%d}",
			port(), binary.BigEndian.Uint32(b[4:]), addr, binary.LittleEndian.Uint32(b[24:]))
	case family == 16 && len(b) >= 12: // AF_NETLINK
		return s + fmt.Sprintf(", nl_pid=%d, nl_groups=0x%06x}", binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]))
	}
	return s + ", sa_data=" + quote(string(b[2:])) + "}"
}

// message names a request of rtnetlink (include/uapi/linux/rtnetlink.h): each kind of object has
// four, to make, delete, get and set.
func message(n event.Netlink) string {
	protocol := abi.Flags("netlink", uint64(n.Protocol))
	if n.Protocol != 0 || n.Type < 16 {
		return fmt.Sprintf("%s message %d", protocol, n.Type)
	}
	objects := [...]string{
		"LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "TCLASS", "TFILTER", "ACTION", "PREFIX", "MULTICAST", "ANYCAST", "NEIGHTBL", "NDUSEROPT",
		"ADDRLABEL", "DCB", "NETCONF", "MDB", "NSID", "STATS", "CACHEREPORT", "CHAIN", "NEXTHOP", "LINKPROP", "VLAN", "NEXTHOPBUCKET", "TUNNEL",
	}
	verbs := [...]string{"NEW", "DEL", "GET", "SET"}
	i := int(n.Type-16) / 4
	if i >= len(objects) {
		return fmt.Sprintf("%s message %d", protocol, n.Type)
	}
	return "RTM_" + verbs[(n.Type-16)%4] + objects[i]
}
