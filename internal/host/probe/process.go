package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
)

// ProcessInfo is what a process may do, as its /proc files tell it.
type ProcessInfo struct {
	Pid    int
	Name   string     // of its first thread, at most 15 bytes
	Caps   caps.State // without securebits, which only the process itself can ask for
	GID    int
	Groups []int

	UserNS     facts.UserNS // the one that its capabilities hold in
	UserNSName string       // "user:[4026531837]", as ls -l /proc/PID/ns prints it

	// Seccomp is its mode: 0 none, 1 strict, 2 filter. Filters is how many, -1 where the kernel
	// does not tell (before Linux 5.9).
	Seccomp, Filters int
}

// Process returns what process pid may do. It fails with fs.ErrNotExist where there is none.
func Process(pid int) (ProcessInfo, error) {
	p := ProcessInfo{Pid: pid}
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return p, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if err != nil {
		return p, err
	}
	s, err := parseStatus(string(text))
	if err != nil {
		return p, fmt.Errorf("%s/status: %w", dir, err)
	}
	p.Name, p.Caps, p.GID, p.Groups, p.Seccomp, p.Filters = s.name, s.caps, s.gid, s.groups, s.seccomp, s.filters
	var st unix.Stat_t
	switch err := unix.Stat(dir+"/ns/user", &st); err {
	case nil:
		p.UserNS.Initial = st.Ino == initialUserNS
		p.UserNSName = fmt.Sprintf("user:[%d]", st.Ino)
	case unix.ENOENT:
		p.UserNS.Initial = true // a kernel without CONFIG_USER_NS has only the first
	case unix.EACCES, unix.EPERM:
		p.UserNSName = "" // another user's process: it is not for us to know
	default:
		return p, fmt.Errorf("%s/ns/user: %w", dir, err)
	}
	var r reader
	if p.UserNS.UIDs, err = r.idMap(dir + "/uid_map"); err != nil {
		return p, err
	}
	p.UserNS.GIDs, err = r.idMap(dir + "/gid_map")
	return p, err
}

// SeccompText says in words whether filters judge its calls.
func (p ProcessInfo) SeccompText() string {
	switch {
	case p.Seccomp == 0:
		return "none: no filter judges its calls"
	case p.Seccomp == 1:
		return "strict: read, write, exit and sigreturn are all it may call"
	case p.Filters < 0:
		return "filtered"
	case p.Filters == 1:
		return "one filter judges its calls"
	}
	return fmt.Sprintf("%d filters judge its calls; the strictest answer counts", p.Filters)
}
