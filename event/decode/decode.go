// Package decode writes an event as one line, a system call as strace writes it.
//
// Line is the way in. What an argument is comes from package abi; calls.go knows the arguments
// whose meaning hangs on another, memory.go what pointers pointed at.
package decode

import (
	"fmt"
	"strconv"
	"strings"

	"porthole/abi"
	"porthole/event"
)

// Line writes e:
//
//	mount("none", "/mnt", "tmpfs", 0, NULL) = -1 EPERM (Operation not permitted)
//	mount("none", "/mnt", "tmpfs", 0, NULL) asks for CAP_SYS_ADMIN: not held
//	execve("/usr/bin/su", ...) = 0
//	+++ exited with 1 +++
//	netlink RTM_NEWLINK answered EPERM (Operation not permitted)
//	read /proc/sys/kernel/perf_event_paranoid
//	killed for want of memory
//
// Who did it is not part of the line.
func Line(e event.Event) string {
	switch e.Kind {
	case event.Refused:
		return Call(e) + " = " + Result(e)
	case event.Denied:
		return Call(e) + " asks for " + e.Cap.String() + ": not held"
	case event.Exec:
		s := fmt.Sprintf("execve(%s, ...) = 0", path(e))
		if e.Secure {
			s += " (AT_SECURE)"
		}
		return s
	case event.Exit:
		return exit(e.Status)
	case event.Nack:
		return "netlink " + message(e.Netlink) + " answered " + e.Errno.String() + " (" + sentence(e.Errno) + ")"
	case event.Read:
		if e.File != nil {
			return "read " + e.File.Path
		}
		return Call(e)
	case event.Starved:
		return "killed for want of memory"
	}
	return ""
}

// Result is what the call returned: "-1 EPERM (Operation not permitted)", "0" where it did not fail.
func Result(e event.Event) string {
	if e.Errno == 0 {
		return "0"
	}
	return "-1 " + e.Errno.String() + " (" + sentence(e.Errno) + ")"
}

// Call writes the call itself, with the arguments that it takes. A number that is no call's
// is written as syscall_0x1a7.
func Call(e event.Event) string {
	name, ok := e.Arch.Name(e.Nr)
	if !ok {
		name = fmt.Sprintf("syscall_0x%x", e.Nr)
	}
	c := call{e, name, abi.Params(name)}
	var args []string
	if !ok || !abi.KnownParams(name) {
		for i := range e.Args {
			args = append(args, hex(e.Args[i]))
		}
	} else if args = c.special(); args == nil {
		for i := range c.params {
			args = append(args, c.arg(i))
		}
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// call is a call that is being written.
type call struct {
	event.Event
	name   string
	params []abi.Param
}

// num is the i'th argument, cut to what the kernel takes of it. Registers of 32-bit
// calls have nothing above.
func (c call) num(i int) uint64 {
	v := c.Args[i]
	if i < len(c.params) {
		if bits := c.params[i].Bits(); bits < 64 {
			v &= 1<<bits - 1
		}
	}
	return v
}

// arg writes the i'th argument for what its kind is.
func (c call) arg(i int) string {
	if f := meanings()[c.name][i]; f != nil {
		return f(c, c.num(i))
	}
	p, v := c.params[i], c.num(i)
	switch p.Kind {
	case abi.KindInt, abi.KindFD, abi.KindPID, abi.KindUID, abi.KindGID:
		if p.Kind == abi.KindPID && p.Bits() == 64 {
			return strconv.FormatInt(int64(v), 10)
		}
		return strconv.Itoa(int(int32(v)))
	case abi.KindDirFD:
		return dirFD(v)
	case abi.KindLong, abi.KindOffset:
		return strconv.FormatInt(int64(v), 10)
	case abi.KindUlong:
		if addresses[p.Name] {
			return pointer(v)
		}
		return strconv.FormatUint(v, 10)
	case abi.KindMode:
		return octal(v)
	case abi.KindSignal:
		return c.flags("signal", v)
	case abi.KindDevice:
		return fmt.Sprintf("makedev(%s, %s)", hex(v>>8&0xfff), hex(v&0xff|v>>12&0xfff00))
	case abi.KindFlags:
		return c.flags(p.Group, v)
	}
	if p.Kind.Pointer() {
		return c.behind(i)
	}
	return strconv.FormatUint(v, 10)
}

// addresses are the parameters of the kind of a number that are places in memory.
var addresses = map[string]bool{"addr": true, "start": true, "brk": true, "newsp": true, "tls": true, "new_addr": true}

func (c call) flags(group string, v uint64) string { return c.Arch.Flags(group, v) }

func dirFD(v uint64) string {
	if int32(v) == -100 {
		return "AT_FDCWD"
	}
	return strconv.Itoa(int(int32(v)))
}

func octal(v uint64) string {
	if v < 0o1000 {
		return fmt.Sprintf("%04o", v) // strace has a leading zero, and three digits
	}
	return "0" + strconv.FormatUint(v, 8)
}

func hex(v uint64) string {
	if v == 0 {
		return "0"
	}
	return "0x" + strconv.FormatUint(v, 16)
}

func pointer(v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return hex(v)
}

func path(e event.Event) string {
	if e.File != nil && e.File.Path != "" {
		return quote(e.File.Path)
	}
	return quote(e.Strings[0])
}

// exit writes what wait(2) tells of a process that ended.
func exit(status int) string {
	sig := status & 0x7f
	if sig == 0 {
		return fmt.Sprintf("+++ exited with %d +++", status>>8&0xff)
	}
	dumped := ""
	if status&0x80 != 0 {
		dumped = " (core dumped)"
	}
	return "+++ killed by " + abi.Flags("signal", uint64(sig)) + dumped + " +++"
}

// sentence is an errno's text as strerror has it.
func sentence(e abi.Errno) string {
	text := e.Error()
	if text != "" && text[0] >= 'a' && text[0] <= 'z' {
		text = string(text[0]-'a'+'A') + text[1:]
	}
	return text
}

// quote writes bytes as a C string.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := range len(s) {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case b == '\n':
			out.WriteString(`\n`)
		case b == '\t':
			out.WriteString(`\t`)
		case b == '\r':
			out.WriteString(`\r`)
		case b == '\v':
			out.WriteString(`\v`)
		case b == '\f':
			out.WriteString(`\f`)
		case b >= ' ' && b < 0x7f:
			out.WriteByte(b)
		case i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9': // the digit is not part of it
			fmt.Fprintf(&out, `\%03o`, b)
		default:
			fmt.Fprintf(&out, `\%o`, b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
