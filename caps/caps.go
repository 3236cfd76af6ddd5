// Package caps knows Linux capabilities: their names, sets of them, and what
// execve, setuid and prctl do to a process's sets.
package caps

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"porthole/near"
)

// Cap is one capability, by the kernel's number (include/uapi/linux/capability.h).
type Cap uint8

// The capabilities of Linux 5.9 and later, as the kernel numbers and names them.
const (
	CAP_CHOWN Cap = iota
	CAP_DAC_OVERRIDE
	CAP_DAC_READ_SEARCH
	CAP_FOWNER
	CAP_FSETID
	CAP_KILL
	CAP_SETGID
	CAP_SETUID
	CAP_SETPCAP
	CAP_LINUX_IMMUTABLE
	CAP_NET_BIND_SERVICE
	CAP_NET_BROADCAST
	CAP_NET_ADMIN
	CAP_NET_RAW
	CAP_IPC_LOCK
	CAP_IPC_OWNER
	CAP_SYS_MODULE
	CAP_SYS_RAWIO
	CAP_SYS_CHROOT
	CAP_SYS_PTRACE
	CAP_SYS_PACCT
	CAP_SYS_ADMIN
	CAP_SYS_BOOT
	CAP_SYS_NICE
	CAP_SYS_RESOURCE
	CAP_SYS_TIME
	CAP_SYS_TTY_CONFIG
	CAP_MKNOD
	CAP_LEASE
	CAP_AUDIT_WRITE
	CAP_AUDIT_CONTROL
	CAP_SETFCAP
	CAP_MAC_OVERRIDE
	CAP_MAC_ADMIN
	CAP_SYSLOG
	CAP_WAKE_ALARM
	CAP_BLOCK_SUSPEND
	CAP_AUDIT_READ
	CAP_PERFMON
	CAP_BPF
	CAP_CHECKPOINT_RESTORE

	Last = CAP_CHECKPOINT_RESTORE // of the kernels known here (CAP_LAST_CAP)
)

// All are the capabilities known here.
const All Set = 1<<(Last+1) - 1

// String returns the kernel's name, "CAP_CHOWN", or "CAP_41" for a number without one.
func (c Cap) String() string {
	if c <= Last {
		return infos[c].Name
	}
	return "CAP_" + strconv.Itoa(int(c))
}

// Parse returns the capability named name, in any case and with or without CAP_:
// "sys_ptrace", "CAP_SYS_PTRACE". For an unknown name the error tells the nearest known
// one, in the spelling without CAP_. "ALL" is no capability: a caller that gives it a
// meaning looks for it first.
func Parse(name string) (Cap, error) {
	short := strings.ToUpper(name)
	short = strings.TrimPrefix(short, "CAP_")
	for c := range Last + 1 {
		if infos[c].Name[len("CAP_"):] == short {
			return c, nil
		}
	}
	// What String gives for a capability newer than this table.
	if n, err := strconv.ParseUint(short, 10, 8); err == nil && len(short) < len(name) && n > uint64(Last) && n < 64 {
		return Cap(n), nil
	}
	names := make([]string, 0, Last+1)
	for _, i := range infos {
		names = append(names, i.Name[len("CAP_"):])
	}
	if close := near.Names(short, names, 1); len(close) > 0 {
		return 0, fmt.Errorf("unknown capability %q; did you mean %s?", name, close[0])
	}
	return 0, fmt.Errorf("unknown capability %q", name)
}

// Set is a set of capabilities, one bit each, as /proc/PID/status prints it.
type Set uint64

// Of returns the set of cs.
func Of(cs ...Cap) Set {
	var s Set
	for _, c := range cs {
		s |= 1 << c
	}
	return s
}

// Has says whether c is in s.
func (s Set) Has(c Cap) bool { return s&(1<<c) != 0 }

// Includes says whether all of t is in s.
func (s Set) Includes(t Set) bool { return t&^s == 0 }

// Add returns s with cs in it.
func (s Set) Add(cs ...Cap) Set { return s | Of(cs...) }

// Remove returns s without cs.
func (s Set) Remove(cs ...Cap) Set { return s &^ Of(cs...) }

// Union returns what is in s or in t.
func (s Set) Union(t Set) Set { return s | t }

// Intersect returns what is in both s and t.
func (s Set) Intersect(t Set) Set { return s & t }

// Without returns what is in s and not in t.
func (s Set) Without(t Set) Set { return s &^ t }

// Len returns how many capabilities are in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// List returns the capabilities in s in the order of their numbers.
func (s Set) List() []Cap {
	list := make([]Cap, 0, s.Len())
	for ; s != 0; s &= s - 1 {
		list = append(list, Cap(bits.TrailingZeros64(uint64(s))))
	}
	return list
}

// Names returns the names of the capabilities in s, in the order of their numbers.
func (s Set) Names() []string {
	names := make([]string, 0, s.Len())
	for _, c := range s.List() {
		names = append(names, c.String())
	}
	return names
}

// String returns the names in s, "CAP_CHOWN,CAP_KILL", and "" for the empty set.
func (s Set) String() string { return strings.Join(s.Names(), ",") }

// Hex returns s as /proc/PID/status prints it: sixteen digits.
func (s Set) Hex() string { return fmt.Sprintf("%016x", uint64(s)) }

// ParseHex reads what Hex wrote; 0x before it and missing zeros are fine.
func ParseHex(s string) (Set, error) {
	digits := strings.TrimPrefix(strings.TrimSpace(s), "0x")
	v, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("capability set %q: not a hexadecimal number of at most 16 digits", s)
	}
	return Set(v), nil
}
