package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"porthole/abi"
	"porthole/caps"
)

// String prints the plan: the parent's steps before the clone, the child's by number, and at
// each gate what the parent does meanwhile. Slots print by name, $root; what a step leaves in one
// stands after an arrow; errors that don't end the plan stand in brackets, with the number of the
// step to go on at where that is not the next.
func (p *Plan) String() string {
	var out strings.Builder
	line := func(n, text, why string) {
		if why == "" {
			fmt.Fprintf(&out, "%4s  %s\n", n, text)
			return
		}
		fmt.Fprintf(&out, "%4s  %-62s  # %s\n", n, text, why)
	}
	if len(p.Before) > 0 {
		out.WriteString("parent, before the clone\n")
		for i, s := range p.Before {
			line("p"+strconv.Itoa(i+1), p.step(s, i, "p"), s.Why)
		}
	}
	into := ""
	if p.IntoCgroup != NoSlot {
		into = ", born in " + p.name(p.IntoCgroup)
	}
	fmt.Fprintf(&out, "child of clone3(%s)%s\n", abi.Flags("clone3", p.Clone), into)
	gates := p.Gates
	for i, s := range p.Child {
		line(strconv.Itoa(i+1), p.step(s, i, ""), s.Why)
		if len(gates) == 0 || gates[0].At != i {
			continue
		}
		g := gates[0]
		gates = gates[1:]
		fmt.Fprintf(&out, "---- gate %d, %s: %s\n", g.ID, g.ID, g.Why)
		for _, h := range g.Helpers {
			line("p", "run "+h.Program+" PID "+strings.Join(h.Args, " "), h.Why)
		}
		for _, w := range g.Writes {
			line("p", fmt.Sprintf("write /proc/PID/%s %q", w.File, w.Data), w.Why)
		}
		for _, s := range g.Steps {
			line("p", p.step(s, 0, "p"), s.Why)
		}
	}
	if len(p.After) > 0 {
		out.WriteString("parent, after the clone\n")
		for i, s := range p.After {
			line("p"+strconv.Itoa(i+1), p.step(s, i, "p"), s.Why)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&out, "note: %s\n", n)
	}
	return out.String()
}

// Describe prints the child's step i (counted from 0) as String does, without number and reason.
func (p *Plan) Describe(i int) string {
	if i < 0 || i >= len(p.Child) {
		return ""
	}
	return p.step(p.Child[i], i, "")
}

// name is a slot's, with the dollar.
func (p *Plan) name(s Slot) string {
	if int(s) < len(p.Names) {
		return "$" + p.Names[s]
	}
	return "$" + strconv.Itoa(int(s))
}

// step prints a step; i is its index and prefix what stands before the numbers of its list.
func (p *Plan) step(s Step, i int, prefix string) string {
	var out strings.Builder
	out.WriteString(s.Call)
	out.WriteByte('(')
	for k, a := range s.Args {
		if k > 0 {
			out.WriteString(", ")
		}
		out.WriteString(p.arg(s, k, a))
	}
	out.WriteByte(')')
	if s.Into != NoSlot {
		out.WriteString(" → " + p.name(s.Into))
	}
	at := func(skip int) string { return prefix + strconv.Itoa(i+skip+2) }
	var notes []string
	if s.OK > 0 {
		notes = append(notes, "then "+at(s.OK))
	}
	switch {
	case s.Zero == ZeroFails:
	case s.Zero != 0:
		notes = append(notes, "0: "+at(s.Zero))
	}
	for _, e := range s.Errs {
		text := e.Errno.String()
		if e.Errno == Any {
			text = "any error"
		}
		if e.Steps > 0 {
			text += ": " + at(e.Steps)
		}
		notes = append(notes, text)
	}
	if len(notes) > 0 {
		out.WriteString(" [" + strings.Join(notes, ", ") + "]")
	}
	return out.String()
}

func (p *Plan) arg(s Step, k int, a Arg) string {
	if a.Text != "" {
		return a.Text
	}
	switch a.Kind {
	case ArgSlot:
		return p.name(a.Slot)
	case ArgSlotAt:
		return "&" + p.name(a.Slot)
	case ArgMem:
		return showMem(p.Arch, a.Mem, memory()[s.Call][k])
	}
	if name := enums()[s.Call][k]; name != nil {
		return name(s, a.Num)
	}
	var param abi.Param
	if list := abi.Params(s.Call); k < len(list) {
		param = list[k]
	}
	return showNum(p.Arch, param, a.Num)
}

// showNum prints a number as what the call takes it for.
func showNum(arch abi.Arch, param abi.Param, v uint64) string {
	switch param.Kind {
	case abi.KindDirFD:
		if int32(v) == atFDCWD {
			return "AT_FDCWD"
		}
	case abi.KindMode:
		if v&^0o7777 != 0 {
			return abi.Flags("filetype", v)
		}
		return fmt.Sprintf("%#o", v)
	case abi.KindDevice:
		return fmt.Sprintf("%d:%d", v>>8&0xfff, v&0xff|v>>12&0xfff00)
	case abi.KindUID, abi.KindGID:
		return strconv.FormatInt(int64(int32(v)), 10)
	case abi.KindFlags:
		return flags(arch, param.Group, v)
	}
	if strings.Contains(param.Type, "*") && v == 0 {
		return "NULL"
	}
	return strconv.FormatUint(v, 10)
}

// enums print arguments that mean what an earlier one says.
var enums = sync.OnceValue(func() map[string]map[int]func(s Step, v uint64) string {
	return map[string]map[int]func(s Step, v uint64) string{
		"prctl": {
			1: func(s Step, v uint64) string {
				switch s.Args[0].Num {
				case prCapbsetDrop:
					return caps.Cap(v).String()
				case prSetPdeathsig:
					return abi.Flags("signal", v)
				case prCapAmbient:
					return abi.Flags("cap_ambient", v)
				}
				return strconv.FormatUint(v, 10)
			},
			2: func(s Step, v uint64) string {
				if s.Args[0].Num == prCapAmbient && s.Args[1].Num == ambientRaise {
					return caps.Cap(v).String()
				}
				return strconv.FormatUint(v, 10)
			},
		},
		"keyctl":      {1: func(_ Step, v uint64) string { return "NULL" }, 2: func(_ Step, v uint64) string { return fmt.Sprintf("%#x", v) }},
		"close_range": {1: func(_ Step, v uint64) string { return fmt.Sprintf("%#x", v) }},
		"ioctl": {2: func(s Step, v uint64) string {
			if s.Args[1].Num == tiocgptpeer {
				return abi.Flags("open", v)
			}
			return strconv.FormatUint(v, 10)
		}},
		"dup3":  {2: func(_ Step, v uint64) string { return strings.Replace(abi.Flags("open", v), "O_RDONLY", "0", 1) }},
		"umask": {0: func(_ Step, v uint64) string { return fmt.Sprintf("%#o", v) }},
	}
})

// memory says what lies at the address that is an argument, where it is no string.
var memory = sync.OnceValue(func() map[string]map[int]string {
	return map[string]map[int]string{
		"openat2": {2: "how"}, "mount_setattr": {3: "attr"}, "prlimit64": {2: "limits"}, "seccomp": {2: "fprog"},
		"capset": {0: "caphdr", 1: "capdata"}, "setgroups": {1: "ids"}, "read": {1: "buffer"}, "write": {1: "data"},
		"execve": {1: "argv", 2: "env"}, "execveat": {2: "argv", 3: "env"}, "sched_setattr": {1: "hex"},
	}
})

func showMem(arch abi.Arch, m *Mem, shape string) string {
	word := func(i int) uint64 {
		if len(m.Bytes) < 8*i+8 {
			return 0
		}
		return binary.LittleEndian.Uint64(m.Bytes[8*i:])
	}
	half := func(i int) uint64 {
		if len(m.Bytes) < 4*i+4 {
			return 0
		}
		return uint64(binary.LittleEndian.Uint32(m.Bytes[4*i:]))
	}
	switch shape {
	case "how":
		return "{" + flags(arch, "open", word(0)) + ", " + flags(arch, "resolve", word(2)) + "}"
	case "attr":
		var parts []string
		if v := word(0); v != 0 {
			parts = append(parts, "set "+mountAttrs(arch, v))
		}
		if v := word(1); v != 0 {
			parts = append(parts, "clear "+mountAttrs(arch, v))
		}
		if v := word(2); v != 0 {
			parts = append(parts, abi.Flags("mount", v))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case "limits":
		one := func(v uint64) string {
			if v == ^uint64(0) {
				return "unlimited"
			}
			return strconv.FormatUint(v, 10)
		}
		return "{" + one(word(0)) + ", " + one(word(1)) + "}"
	case "fprog":
		return fmt.Sprintf("{%d instructions}", half(0)&0xffff)
	case "caphdr":
		return "{v3}"
	case "capdata":
		set := func(i int) string { return fmt.Sprintf("%#x", half(i)|half(i+3)<<32) }
		return "{effective " + set(0) + ", permitted " + set(1) + ", inheritable " + set(2) + "}"
	case "ids":
		var ids []string
		for i := range len(m.Bytes) / 4 {
			ids = append(ids, strconv.FormatUint(half(i), 10))
		}
		return "{" + strings.Join(ids, " ") + "}"
	case "buffer":
		return "buffer"
	case "env":
		return fmt.Sprintf("env[%d]", len(m.Ptrs))
	case "argv":
		var args []string
		for _, p := range m.Ptrs {
			args = append(args, showMem(arch, p.To, ""))
		}
		return "[" + strings.Join(args, " ") + "]"
	case "data":
		if len(m.Bytes) == 8 && word(0) == 1 {
			return "1"
		}
		return quote(string(m.Bytes))
	}
	if s, ok := strings.CutSuffix(string(m.Bytes), "\x00"); ok && utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return quote(s)
	}
	return fmt.Sprintf("{%x}", m.Bytes)
}

// quote shortens what is long: an overlay's layers, a script.
func quote(s string) string {
	const most = 90
	if len(s) > most {
		cut := most
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}

// prefixes are left out where the call's own name says the same.
var prefixes = strings.NewReplacer("MOUNT_ATTR_", "", "MOVE_MOUNT_", "", "FSCONFIG_", "", "OPEN_TREE_", "", "RESOLVE_", "", "FSMOUNT_", "",
	"FSOPEN_", "", "CLOSE_RANGE_", "", "SECCOMP_FILTER_FLAG_", "")

// flags names bits.
func flags(arch abi.Arch, group string, v uint64) string {
	text := prefixes.Replace(arch.Flags(group, v))
	if group == "open" && v&oPath != 0 {
		return strings.TrimPrefix(text, "O_RDONLY|") // such a file can be neither read nor written
	}
	return text
}

// mountAttrs names those of a mount. The three for access times are values of one field.
func mountAttrs(arch abi.Arch, v uint64) string {
	if v&attrAtime == attrAtime {
		return strings.TrimPrefix(flags(arch, "mount_attr", v&^attrAtime)+"|_ATIME", "0|")
	}
	return flags(arch, "mount_attr", v)
}
