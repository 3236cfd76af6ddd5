package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

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
	fmt.Fprintf(&out, "child of clone3(%s)%s\n", flagNames(cloneFlags, p.Clone), into)
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
	}
	shape := ""
	if list := shapes[s.Call]; k < len(list) {
		shape = list[k]
	}
	if s.Call == "prctl" && k > 0 {
		shape = prctlShapes[s.Args[0].Num]
		if k > 1 && s.Args[0].Num != prCapAmbient {
			shape = ""
		}
		if s.Args[0].Num == prCapAmbient {
			shape = [...]string{"", "ambient", "cap", "", ""}[k]
		}
	}
	if a.Kind == ArgMem {
		return showMem(a.Mem, shape)
	}
	return showNum(a.Num, shape)
}

// shapes say what the arguments of a call are, where a number or a string doesn't say it.
var shapes = map[string][]string{
	"openat":        {"fd", "", "open", "mode"},
	"openat2":       {"fd", "", "how", ""},
	"mkdirat":       {"fd", "", "mode"},
	"mknodat":       {"fd", "", "mode", "dev"},
	"fchmodat":      {"fd", "", "mode"},
	"fchownat":      {"fd", "", "id", "id", "at"},
	"fchown":        {"fd", "id", "id"},
	"symlinkat":     {"", "fd", ""},
	"unlinkat":      {"fd", "", "at"},
	"faccessat":     {"fd", "", "access"},
	"mount":         {"ptr", "ptr", "ptr", "mount", "ptr"},
	"umount2":       {"", "umount"},
	"open_tree":     {"fd", "", "tree"},
	"move_mount":    {"fd", "", "fd", "", "move"},
	"mount_setattr": {"fd", "", "at", "attr", ""},
	"fsopen":        {"", "fsopen"},
	"fsconfig":      {"fd", "fsconfig", "ptr", "ptr", ""},
	"fsmount":       {"fd", "fsmount", "mattr"},
	"setns":         {"fd", "clone"},
	"unshare":       {"clone"},
	"clone":         {"clone", "ptr", "ptr", "ptr", ""},
	"umask":         {"mode"},
	"prctl":         {"prctl"},
	"prlimit64":     {"", "rlimit", "limits", "ptr"},
	"seccomp":       {"seccomp", "filter", "fprog"},
	"keyctl":        {"keyctl", "ptr", "hex"},
	"ioctl":         {"fd", "ioctl"},
	"socket":        {"af", "sock", ""},
	"close_range":   {"", "top", "range"},
	"write":         {"fd", "data", ""},
	"read":          {"fd", "buffer", ""},
	"dup3":          {"fd", "", "open"},
	"capset":        {"caphdr", "capdata"},
	"setgroups":     {"", "ids"},
	"execve":        {"", "argv", "env"},
	"execveat":      {"fd", "", "argv", "env", "at"},
	"personality":   {"hex"},
	"sched_setattr": {"", "hexdata", ""},
	"setresuid":     {"id", "id", "id"},
	"setresgid":     {"id", "id", "id"},
	"exit_group":    {""},
}

var prctlShapes = map[uint64]string{prCapbsetDrop: "cap", prSetPdeathsig: "signal"}

func showNum(v uint64, shape string) string {
	switch shape {
	case "fd":
		if int32(v) == atFDCWD {
			return "AT_FDCWD"
		}
		return strconv.FormatInt(int64(int32(v)), 10)
	case "id":
		if int32(v) == -1 {
			return "-1"
		}
	case "mode":
		return fmt.Sprintf("%#o", v)
	case "dev":
		return fmt.Sprintf("%d:%d", v>>8&0xfff, v&0xff|v>>12&0xfff00)
	case "ptr", "argv", "env", "ids":
		if v == 0 {
			return "NULL"
		}
	case "access":
		return "F_OK"
	case "top":
		if v == 0xffffffff {
			return "~0"
		}
	case "signal":
		if v == sigKill {
			return "SIGKILL"
		}
	case "cap":
		return caps.Cap(v).String()
	case "hex":
		return fmt.Sprintf("%#x", v)
	case "rlimit":
		if v < uint64(len(rlimits)) {
			return "RLIMIT_" + rlimits[v]
		}
	}
	if names := words64[shape]; names != nil {
		return flagNames(names, v)
	}
	if name := enums[shape][v]; name != "" {
		return name
	}
	return strconv.FormatUint(v, 10)
}

func showMem(m *Mem, shape string) string {
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
		return "{" + flagNames(openFlags, word(0)) + ", " + flagNames(resolveFlags, word(2)) + "}"
	case "attr":
		var parts []string
		if v := word(0); v != 0 {
			parts = append(parts, "set "+flagNames(attrFlags, v))
		}
		if v := word(1); v != 0 {
			parts = append(parts, "clear "+flagNames(attrFlags, v))
		}
		if v := word(2); v != 0 {
			parts = append(parts, flagNames(mountFlags, v))
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
	case "hexdata":
		return fmt.Sprintf("{%x}", m.Bytes)
	case "env":
		return fmt.Sprintf("env[%d]", len(m.Ptrs))
	case "argv":
		var args []string
		for _, p := range m.Ptrs {
			args = append(args, showMem(p.To, ""))
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
	if s, _, ok := strings.Cut(string(m.Bytes), "\x00"); ok && len(s) > 1 && utf8.ValidString(s) { // struct ifreq
		return "{" + quote(s) + "}"
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

type named struct {
	bit  uint64
	name string
}

// flagNames prints bits by name, what has none as a number.
func flagNames(names []named, v uint64) string {
	var out []string
	for _, n := range names {
		if v&n.bit == n.bit {
			out = append(out, n.name)
			v &^= n.bit
		}
	}
	if v != 0 || len(out) == 0 {
		if v < 10 {
			out = append(out, strconv.FormatUint(v, 10))
		} else {
			out = append(out, fmt.Sprintf("%#x", v))
		}
	}
	return strings.Join(out, "|")
}

var (
	cloneFlags = []named{{cloneParent, "CLONE_PARENT"}, {newNS, "CLONE_NEWNS"}, {newCgroup, "CLONE_NEWCGROUP"}, {newUTS, "CLONE_NEWUTS"}, {newIPC, "CLONE_NEWIPC"},
		{newUser, "CLONE_NEWUSER"}, {newPID, "CLONE_NEWPID"}, {newNet, "CLONE_NEWNET"}, {newTime, "CLONE_NEWTIME"}, {sigChld, "SIGCHLD"}}
	// O_DIRECTORY and O_NOFOLLOW have two numbers each, which stand for nothing else that a plan says.
	openFlags = []named{{oWronly, "O_WRONLY"}, {oRdwr, "O_RDWR"}, {oPath, "O_PATH"}, {oCreat, "O_CREAT"}, {oExcl, "O_EXCL"}, {oNoctty, "O_NOCTTY"},
		{0x10000, "O_DIRECTORY"}, {0x4000, "O_DIRECTORY"}, {0x20000, "O_NOFOLLOW"}, {0x8000, "O_NOFOLLOW"}, {oCloexec, "O_CLOEXEC"}}
	resolveFlags = []named{{resolveInRoot, "RESOLVE_IN_ROOT"}, {resolveBeneath, "RESOLVE_BENEATH"}, {resolveNoMagiclinks, "RESOLVE_NO_MAGICLINKS"},
		{resolveNoSymlinks, "RESOLVE_NO_SYMLINKS"}, {resolveNoXdev, "RESOLVE_NO_XDEV"}}
	mountFlags = []named{{msRdonly, "MS_RDONLY"}, {msNosuid, "MS_NOSUID"}, {msNodev, "MS_NODEV"}, {msNoexec, "MS_NOEXEC"}, {msRemount, "MS_REMOUNT"},
		{msBind, "MS_BIND"}, {msMove, "MS_MOVE"}, {msRec, "MS_REC"}, {msUnbindable, "MS_UNBINDABLE"}, {msPrivate, "MS_PRIVATE"}, {msSlave, "MS_SLAVE"},
		{msShared, "MS_SHARED"}, {msNoatime, "MS_NOATIME"}, {msNodiratime, "MS_NODIRATIME"}, {msStrictatime, "MS_STRICTATIME"}}
	attrFlags = []named{{attrRdonly, "RDONLY"}, {attrNosuid, "NOSUID"}, {attrNodev, "NODEV"}, {attrNoexec, "NOEXEC"}, {attrAtime, "ATIME"},
		{attrNoatime, "NOATIME"}, {attrStrictatime, "STRICTATIME"}, {attrNodiratime, "NODIRATIME"}, {attrNosymfollow, "NOSYMFOLLOW"}}
	atFlags = []named{{atSymlinkNoFollow, "AT_SYMLINK_NOFOLLOW"}, {atEmptyPath, "AT_EMPTY_PATH"}, {atRecursive, "AT_RECURSIVE"}}
)

var words64 = map[string][]named{
	"clone": cloneFlags, "open": openFlags, "mount": mountFlags, "mattr": attrFlags, "at": atFlags,
	"tree":   append([]named{{openTreeClone, "OPEN_TREE_CLONE"}, {openTreeCloexec, "OPEN_TREE_CLOEXEC"}}, atFlags...),
	"move":   {{moveFromFD, "MOVE_MOUNT_F_EMPTY_PATH"}, {moveToFD, "MOVE_MOUNT_T_EMPTY_PATH"}},
	"umount": {{mntDetach, "MNT_DETACH"}}, "fsopen": {{fsopenCloexec, "FSOPEN_CLOEXEC"}}, "fsmount": {{fsmountCloexec, "FSMOUNT_CLOEXEC"}},
	"sock": {{sockDgram, "SOCK_DGRAM"}, {sockCloexec, "SOCK_CLOEXEC"}}, "range": {{closeRangeCloexec, "CLOSE_RANGE_CLOEXEC"}},
	"filter": {{1, "TSYNC"}, {2, "LOG"}, {4, "SPEC_ALLOW"}, {flagNewListener, "NEW_LISTENER"}, {0x10, "TSYNC_ESRCH"}, {0x20, "WAIT_KILLABLE_RECV"}},
}

var enums = map[string]map[uint64]string{
	"prctl": {prSetPdeathsig: "PR_SET_PDEATHSIG", prSetDumpable: "PR_SET_DUMPABLE", prSetKeepcaps: "PR_SET_KEEPCAPS", prCapbsetDrop: "PR_CAPBSET_DROP",
		prSetNoNewPrivs: "PR_SET_NO_NEW_PRIVS", prCapAmbient: "PR_CAP_AMBIENT"},
	"ambient":  {ambientRaise: "PR_CAP_AMBIENT_RAISE", ambientClear: "PR_CAP_AMBIENT_CLEAR_ALL"},
	"fsconfig": {fsconfigFlag: "SET_FLAG", fsconfigString: "SET_STRING", fsconfigCreate: "CMD_CREATE"},
	"seccomp":  {seccompSetFilter: "SECCOMP_SET_MODE_FILTER"},
	"keyctl":   {keyctlJoinSession: "KEYCTL_JOIN_SESSION_KEYRING", keyctlSetPerm: "KEYCTL_SETPERM"},
	"ioctl":    {tiocsctty: "TIOCSCTTY", tiocswinsz: "TIOCSWINSZ", tiocsptlck: "TIOCSPTLCK", tiocgptpeer: "TIOCGPTPEER", siocsifflags: "SIOCSIFFLAGS"},
	"af":       {afInet: "AF_INET"},
}
