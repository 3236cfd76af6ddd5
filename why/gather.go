package why

import (
	"slices"
	"strconv"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/seccomp/profile"
)

// Gather makes refusals of what was seen, in the order of their first appearance: capability checks
// join the call that they failed in, the same call refused again is counted, programs that gained
// nothing from their setuid bit or capabilities are found, and errors that are no refusals (a file
// that is not there, a full disk) are left out.
func Gather(events []event.Event, s Scene) []Refusal {
	var out []Refusal
	denied := map[int][]event.Event{} // by thread, of the call it is in
	for _, e := range events {
		var r Refusal
		switch e.Kind {
		case event.Denied:
			denied[e.TID] = append(denied[e.TID], e)
			continue
		case event.Refused:
			r.Event = e
			for _, d := range denied[e.TID] {
				if d.Nr == e.Nr && !noise(d) {
					r.Denied = append(r.Denied, d)
				}
			}
			delete(denied, e.TID)
			if !counts(e, s.of(e, events)) {
				continue
			}
		case event.Exec:
			delete(denied, e.TID)
			if _, silenced := gained(e, &s); !silenced {
				continue
			}
			r = Refusal{Event: e, Silent: true}
		case event.Nack:
			if e.Errno != abi.EPERM && e.Errno != abi.EACCES {
				continue // it was understood, and cannot be done
			}
			r = Refusal{Event: e, Silent: true}
		case event.Read:
			if idle(pathOf(e)) || writes(e) {
				continue
			}
			r = Refusal{Event: e, Silent: true}
		case event.Starved:
			r = Refusal{Event: e, Silent: true}
		default:
			continue
		}
		if i := slices.IndexFunc(out, func(o Refusal) bool { return alike(o.Event, r.Event) }); i >= 0 {
			out[i].Count++
			continue
		}
		r.Count = 1
		out = append(out, r)
	}
	return out
}

// writes says that a file was opened to be written to.
func writes(e event.Event) bool {
	const accessMode, readOnly = 3, 0
	switch name, _ := e.Arch.Name(e.Nr); name {
	case "open":
		return e.Args[1]&accessMode != readOnly
	case "openat":
		return e.Args[2]&accessMode != readOnly
	}
	return false
}

// idle says that a sysctl is read for its value, by libraries for the most part, and nobody gives up over it.
func idle(path string) bool {
	name := strings.TrimPrefix(path, "/proc/sys/")
	return strings.HasPrefix(name, "kernel/random/") || slices.Contains([]string{
		"kernel/cap_last_cap", "kernel/pid_max", "kernel/osrelease", "kernel/ostype", "kernel/version", "kernel/hostname",
		"kernel/domainname", "kernel/ngroups_max", "kernel/threads-max", "vm/overcommit_memory", "vm/nr_hugepages",
		"net/core/somaxconn", "fs/nr_open", "fs/file-max", "crypto/fips_enabled", "net/ipv6/conf/all/disable_ipv6",
	}, name)
}

// noise says that a failed capability check decided nothing: the kernel asks for CAP_SYS_ADMIN
// whenever memory is reserved, to say how much may be left (__vm_enough_memory, mm/util.c).
func noise(d event.Event) bool {
	name, _ := d.Arch.Name(d.Nr)
	return d.Cap == caps.CAP_SYS_ADMIN && slices.Contains([]string{"execve", "execveat", "mmap", "brk", "mremap", "mprotect", "clone", "clone3", "fork", "vfork", "shmat", "exit", "exit_group"}, name)
}

// counts says whether an error is a refusal at all.
func counts(e event.Event, s *Scene) bool {
	switch {
	case e.Filtered:
		return true
	case e.Errno == abi.EPERM, e.Errno == abi.EACCES, e.Errno == erofs:
		return true
	}
	if name, _ := e.Arch.Name(e.Nr); strings.HasPrefix(name, "execve") && e.File != nil && e.File.Mode != 0 {
		return true // it is there, and does not start
	}
	q := questionOf(Refusal{Event: e}, s)
	return slices.ContainsFunc(refusing(q, s), func(f finding) bool {
		return f.rule.Layer != None && (f.rule.Layer != Kernel || f.rule.Calls == "socket") && q.plausible(f)
	})
}

// plausible says that an errno which ordinary failures share points at a rule: ENOENT of a device,
// EAGAIN of a fork, EINVAL of a setuid.
func (q *question) plausible(f finding) bool {
	switch q.errno.String() {
	case "ENOENT":
		return strings.HasPrefix(q.path, "/dev/") && f.rule.Layer == DeviceCgroup || f.rule.Code == "P0409"
	case "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT":
		return true
	case "EAGAIN", "ENOMEM", "ENOSPC", "EDQUOT", "EINVAL", "EMFILE", "EIO", "EFBIG":
		return f.rule.matches(q) == yes || !strings.Contains(f.rule.Args, "=")
	}
	return false
}

const (
	eagain abi.Errno = 11
	erofs  abi.Errno = 30
)

// alike says that two events are one refusal, met twice.
func alike(a, b event.Event) bool {
	return a.Kind == b.Kind && a.Arch == b.Arch && a.Nr == b.Nr && a.Errno == b.Errno && a.Filtered == b.Filtered &&
		a.Comm == b.Comm && pathOf(a) == pathOf(b) && sameArgs(a, b)
}

// sameArgs says that two calls were made with the same arguments, but for what differs from run to run: numbers
// of processes, addresses, and what stands in registers that the call does not look at.
func sameArgs(a, b event.Event) bool {
	name, _ := a.Arch.Name(a.Nr)
	for i, p := range abi.Params(name) {
		if i >= len(a.Args) || p.Kind.Pointer() || p.Kind == abi.KindPID {
			continue
		}
		v, w := a.Args[i], b.Args[i]
		if p.Bits() == 32 {
			v, w = uint64(uint32(v)), uint64(uint32(w))
		}
		switch {
		case v == w, v>>32 != 0 && w>>32 != 0:
		case i == len(abi.Params(name))-1 && strings.HasPrefix(name, "open") && a.Args[i-1]&makesFile == 0:
		default:
			return false
		}
	}
	return true
}

// makesFile are the flags with which open(2) looks at a mode: O_CREAT and O_TMPFILE.
const makesFile = 0o100 | 0o20000000

// callOf is an event's call with the arguments that are no addresses.
func callOf(e event.Event) profile.Call {
	name, ok := e.Arch.Name(e.Nr)
	if !ok {
		name = "syscall_" + strconv.FormatUint(uint64(e.Nr), 10)
	}
	c := profile.Call{Name: name}
	for i, p := range abi.Params(name) {
		if i < 6 && !p.Kind.Pointer() {
			c.Args[i] = profile.Arg{Known: true, Value: e.Args[i]}
		}
	}
	return c
}

// pathOf is the path that a call is about, where the watcher read it.
func pathOf(e event.Event) string {
	name, _ := e.Arch.Name(e.Nr)
	if at, ok := socketPath(e.Strings[1]); ok && (name == "connect" || name == "bind") {
		return at
	}
	if e.File != nil && e.File.Path != "" {
		return e.File.Path
	}
	for i, p := range abi.Params(name) {
		if p.Kind == abi.KindPath {
			if name == "mount" && i == 0 {
				continue
			}
			return e.Strings[i]
		}
	}
	return ""
}

// socketPath is the path in an address of the family AF_UNIX, as a watcher read it (struct sockaddr_un, unix(7)).
func socketPath(address string) (string, bool) {
	const family = 2 // bytes
	if len(address) <= family || address[0] != afUnix || address[1] != 0 || address[family] != '/' {
		return "", false
	}
	at, _, _ := strings.Cut(address[family:], "\x00")
	return at, true
}

// questionOf asks the rules about a refusal.
func questionOf(r Refusal, s *Scene) *question {
	e := r.Event
	name, _ := e.Arch.Name(e.Nr)
	q := &question{call: name, arch: e.Arch, args: e.Args, strings: e.Strings, file: e.File, path: pathOf(e), errno: e.Errno, who: &s.Caps}
	if e.Who != nil {
		q.who = e.Who
	}
	for i := range q.known {
		q.known[i] = true
	}
	q.seen = true
	q.port = q.portOf()
	return q
}

// portIn finds the port in a socket address as strace prints it.
func portIn(s string) int {
	_, rest, ok := strings.Cut(s, "htons(")
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ")")
	n, _ := strconv.Atoi(digits)
	return n
}

// silence is why an execve brought less than the file offers.
type silence uint8

const (
	byNNP silence = 1 + iota
	byNoSUID
	byUserNS // the owner of the file is not mapped
	byBounding
)

// gained says whether a program that was started got what its setuid bit or capabilities offer,
// and if not, why.
func gained(e event.Event, s *Scene) (silence, bool) {
	f := e.File
	if f == nil || f.Mode&0o4000 == 0 && !f.Caps.Present {
		return 0, false
	}
	who := s.Caps
	if e.Who != nil {
		who = *e.Who
	}
	nosuid := slices.Contains(f.Flags, "nosuid")
	file := asFile(f)
	free := who
	free.NoNewPrivs, file.NoSUID = false, false
	if file.SetUID && file.Owner < 0 {
		file.Owner = 0
	}
	offer, err := free.Exec(file)
	if err != nil {
		return byBounding, false // the call itself fails, and is seen doing so
	}
	got := e.Became
	if got == nil {
		now, err := who.Exec(asFile(f))
		if err != nil {
			return 0, false
		}
		got = &now
	}
	if got.EUID == offer.EUID && got.Permitted.Includes(offer.Permitted) {
		return 0, false
	}
	switch {
	case who.NoNewPrivs:
		return byNNP, true
	case nosuid:
		return byNoSUID, true
	case f.UID < 0:
		return byUserNS, true
	}
	return 0, false
}

func itoa(n int) string { return strconv.Itoa(n) }
