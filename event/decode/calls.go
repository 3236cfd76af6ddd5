package decode

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"porthole/abi"
	"porthole/caps"
)

// meanings are arguments that mean more than their kind says, by call and argument.
var meanings = sync.OnceValue(func() map[string]map[int]func(c call, v uint64) string {
	return map[string]map[int]func(c call, v uint64) string{
		"mknod":    {1: fileType},
		"mknodat":  {2: fileType},
		"socket":   {2: protocol},
		"ioctl":    {2: func(_ call, v uint64) string { return pointer(v) }},
		"fcntl":    {2: fcntlArg},
		"reboot":   {0: magic, 1: magic, 2: reboot},
		"quotactl": {0: func(c call, v uint64) string { return quota(c, v) }},
		"syslog": {0: func(c call, v uint64) string {
			return fmt.Sprintf("%d /* %s */", int32(v), c.flags("syslog", v))
		}},
		"ioprio_set": {2: func(_ call, v uint64) string {
			class := [...]string{"IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"}
			if v>>13 < uint64(len(class)) {
				return fmt.Sprintf("IOPRIO_PRIO_VALUE(%s, %d)", class[v>>13], v&0x1fff)
			}
			return hex(v)
		}},
		"seccomp": {1: func(c call, v uint64) string {
			if c.Args[0] == 1 { // SECCOMP_SET_MODE_FILTER
				return c.flags("seccomp_flags", v)
			}
			return hex(v)
		}},
		"setsockopt": {2: socketOption},
		"getsockopt": {2: socketOption},
		"unlinkat":   {2: func(c call, v uint64) string { return c.flags("unlinkat", v) }},
		"fsconfig":   {3: fsValue},
		"delete_module": {1: func(c call, v uint64) string { // O_NONBLOCK and O_TRUNC, but nothing is opened
			return strings.TrimPrefix(c.flags("open", v), "O_RDONLY|")
		}},
		"fanotify_init": {0: func(c call, v uint64) string {
			const class = 0xc // FAN_ALL_CLASS_BITS
			s := pick(v&class>>2, "FAN_CLASS_NOTIF", "FAN_CLASS_CONTENT", "FAN_CLASS_PRE_CONTENT")
			if v&^class != 0 {
				s += "|" + c.flags("fanotify_init", v&^class)
			}
			return s
		}},
		"iopl": {0: func(_ call, v uint64) string { return strconv.Itoa(int(int32(v))) }},
		"init_module": {2: func(c call, v uint64) string {
			return c.behind(2)
		}},
	}
})

func fileType(c call, v uint64) string { return c.flags("filetype", v) }

func protocol(c call, v uint64) string {
	switch c.num(0) {
	case 2, 10: // AF_INET, AF_INET6
		return c.flags("ipproto", v)
	case 16: // AF_NETLINK
		return c.flags("netlink", v)
	case 17: // AF_PACKET: an Ethernet type in network order
		return fmt.Sprintf("htons(%#x)", v>>8&0xff|v<<8&0xff00)
	}
	return strconv.Itoa(int(int32(v)))
}

// What reboot wants to be called with (include/uapi/linux/reboot.h).
func magic(_ call, v uint64) string {
	switch v {
	case 0xfee1dead:
		return "LINUX_REBOOT_MAGIC1"
	case 672274793:
		return "LINUX_REBOOT_MAGIC2"
	}
	return hex(v)
}

func reboot(c call, v uint64) string { return c.flags("reboot", v) }

func quota(c call, v uint64) string {
	kind := [...]string{"USRQUOTA", "GRPQUOTA", "PRJQUOTA"}
	if v&0xff < uint64(len(kind)) {
		return fmt.Sprintf("QCMD(%s, %s)", c.flags("quota", v>>8&0xffffff), kind[v&0xff])
	}
	return hex(v)
}

func socketOption(c call, v uint64) string {
	if c.num(1) == 1 { // SOL_SOCKET
		return c.flags("sockopt", v)
	}
	return hex(v)
}

func fsValue(c call, v uint64) string {
	if cmd := c.num(1); cmd == 1 || cmd == 3 || cmd == 4 { // SET_STRING, SET_PATH, SET_PATH_EMPTY
		if s, ok := c.Strings[3]; ok {
			return quote(s)
		}
	}
	return pointer(v)
}

func fcntlArg(c call, v uint64) string {
	switch c.num(1) {
	case 2: // F_SETFD
		if v == 1 {
			return "FD_CLOEXEC"
		}
	case 4: // F_SETFL
		return c.flags("open", v)
	case 0, 1030: // F_DUPFD, F_DUPFD_CLOEXEC
		return strconv.Itoa(int(int32(v)))
	}
	return hex(v)
}

// special writes the arguments of calls that take more or fewer of them, or in another order,
// than their list of parameters says; nil for all others.
func (c call) special() []string {
	switch c.name {
	case "open", "openat":
		at := len(c.params) - 2               // the flags
		if c.num(at)&(0x40|0o20000000) == 0 { // neither O_CREAT nor O_TMPFILE: no mode
			return c.upTo(at + 1)
		}
	case "execve":
		return []string{c.behind(0), "..."}
	case "fcntl":
		switch c.num(1) {
		case 1, 3, 9, 11, 1025, 1032, 1034: // those that only ask
			return c.upTo(2)
		}
	case "clone":
		stack := "child_stack=" + pointer(c.Args[1])
		return []string{stack, "flags=" + c.flags("clone", c.Args[0])}
	case "reboot":
		if c.num(2) != 0xa1b2c3d4 { // LINUX_REBOOT_CMD_RESTART2 has a command line
			return c.upTo(3)
		}
	case "prctl":
		return c.prctl()
	case "ptrace":
		return c.ptrace()
	case "keyctl":
		return c.keyctl()
	}
	return nil
}

func (c call) upTo(n int) (args []string) {
	for i := range n {
		args = append(args, c.arg(i))
	}
	return args
}

// prctl's arguments, by option (prctl(2)).
func (c call) prctl() []string {
	name := c.flags("prctl", c.num(0))
	a := c.Args
	capability := func(v uint64) string { return capName(v) }
	switch name {
	case "PR_SET_DUMPABLE":
		return []string{name, pick(a[1], "SUID_DUMP_DISABLE", "SUID_DUMP_USER", "SUID_DUMP_ROOT")}
	case "PR_CAPBSET_DROP", "PR_CAPBSET_READ":
		return []string{name, capability(a[1])}
	case "PR_SET_SECCOMP":
		args := []string{name, c.flags("seccomp_mode", a[1])}
		if a[1] == 2 {
			args = append(args, pointer(a[2]))
		}
		return args
	case "PR_CAP_AMBIENT":
		args := []string{name, c.flags("cap_ambient", a[1])}
		if a[1] != 4 { // PR_CAP_AMBIENT_CLEAR_ALL
			args = append(args, capability(a[2]))
		} else {
			args = append(args, hex(a[2]))
		}
		return append(args, hex(a[3]), hex(a[4]))
	case "PR_SET_NO_NEW_PRIVS":
		return []string{name, strconv.FormatUint(a[1], 10), hex(a[2]), hex(a[3]), hex(a[4])}
	case "PR_SET_PTRACER":
		return []string{name, c.flags("prctl_ptracer", a[1])}
	case "PR_SET_PDEATHSIG":
		return []string{name, c.flags("signal", a[1])}
	case "PR_SET_SECUREBITS":
		return []string{name, c.flags("securebits", a[1])}
	case "PR_SET_MM":
		return []string{name, c.flags("prctl_mm", a[1]), hex(a[2]), hex(a[3]), hex(a[4])}
	case "PR_GET_DUMPABLE", "PR_GET_KEEPCAPS", "PR_GET_SECCOMP", "PR_GET_SECUREBITS", "PR_GET_TIMERSLACK":
		return []string{name}
	case "PR_SET_KEEPCAPS", "PR_SET_TIMERSLACK":
		return []string{name, strconv.FormatUint(a[1], 10)}
	case "PR_SET_NAME", "PR_GET_NAME":
		return []string{name, pointer(a[1])}
	}
	return []string{name, hex(a[1]), hex(a[2]), hex(a[3]), hex(a[4])}
}

func pick(v uint64, names ...string) string {
	if v < uint64(len(names)) {
		return names[v]
	}
	return hex(v)
}

func capName(v uint64) string {
	if v <= uint64(caps.Last) {
		return caps.Cap(v).String()
	}
	return hex(v)
}

// ptrace's arguments, by request (ptrace(2)).
func (c call) ptrace() []string {
	name := c.flags("ptrace", c.Args[0])
	pid := strconv.Itoa(int(int32(c.Args[1])))
	addr, data := c.Args[2], c.Args[3]
	switch name {
	case "PTRACE_TRACEME":
		return []string{name}
	case "PTRACE_ATTACH", "PTRACE_KILL", "PTRACE_INTERRUPT", "PTRACE_LISTEN":
		return []string{name, pid}
	case "PTRACE_SEIZE", "PTRACE_SETOPTIONS":
		return []string{name, pid, pointer(addr), c.flags("ptrace_options", data)}
	case "PTRACE_CONT", "PTRACE_SYSCALL", "PTRACE_SINGLESTEP", "PTRACE_DETACH", "PTRACE_SYSEMU":
		sig := "0"
		if data != 0 {
			sig = c.flags("signal", data)
		}
		return []string{name, pid, pointer(addr), sig}
	}
	return []string{name, pid, pointer(addr), pointer(data)}
}

// keyctl's arguments, by operation (keyctl(2)).
func (c call) keyctl() []string {
	name := c.flags("keyctl", c.num(0))
	a := c.Args
	key := func(v uint64) string {
		if int32(v) > 0 {
			return strconv.Itoa(int(int32(v)))
		}
		return abi.Flags("keyring", uint64(int64(int32(v))))
	}
	switch name {
	case "KEYCTL_JOIN_SESSION_KEYRING":
		return []string{name, c.behind(1)}
	case "KEYCTL_GET_KEYRING_ID":
		return []string{name, key(a[1]), strconv.Itoa(int(int32(a[2])))}
	case "KEYCTL_REVOKE", "KEYCTL_CLEAR", "KEYCTL_INVALIDATE", "KEYCTL_ASSUME_AUTHORITY":
		return []string{name, key(a[1])}
	case "KEYCTL_LINK", "KEYCTL_UNLINK":
		return []string{name, key(a[1]), key(a[2])}
	case "KEYCTL_SETPERM":
		return []string{name, key(a[1]), hex(a[2])}
	case "KEYCTL_CHOWN":
		return []string{name, key(a[1]), strconv.Itoa(int(int32(a[2]))), strconv.Itoa(int(int32(a[3])))}
	case "KEYCTL_READ", "KEYCTL_DESCRIBE", "KEYCTL_GET_SECURITY":
		return []string{name, key(a[1]), pointer(a[2]), strconv.FormatUint(a[3], 10)}
	case "KEYCTL_SET_TIMEOUT":
		return []string{name, key(a[1]), strconv.FormatUint(a[2], 10)}
	}
	return []string{name, hex(a[1]), hex(a[2]), hex(a[3]), hex(a[4])}
}
