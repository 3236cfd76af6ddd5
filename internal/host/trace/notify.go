// Package trace watches what is refused inside a container, without ptrace, since the
// workload may itself be a debugger.
package trace

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/internal/host/sys"
	"porthole/seccomp"
)

// Notifier turns p into a policy that lets a watcher see each refusal: where p answers with an
// errno, the result asks the listener, which is Watch, and that answers with the same errno.
// What p allows stays allowed without asking. Answers for numbers newer than the profile's
// newest (Policy.NewerENOSYS) are left to the filter: they are no refusals.
func Notifier(p seccomp.Policy) seccomp.Policy {
	ask := func(a seccomp.Action) seccomp.Action {
		if a.Kind() == seccomp.Errno {
			return seccomp.Notify
		}
		return a
	}
	q := p
	q.Default = ask(p.Default)
	q.Rules = make([]seccomp.Rule, len(p.Rules))
	for i, r := range p.Rules {
		r.Action = ask(r.Action)
		q.Rules[i] = r
	}
	return q
}

// Watch answers a seccomp listener until its last process is gone, as policy would have
// answered itself, and hands each refusal to see, on the goroutine that calls Watch.
// It owns listener, and closes it. The error is nil at the ordinary end.
func Watch(listener *os.File, policy seccomp.Policy, see func(event.Event)) error {
	defer listener.Close()
	fd := int(listener.Fd())
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return err
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			return nil // POLLHUP: nobody uses the filter any more
		}
		n, err := sys.NotifRecv(fd)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // the caller was killed or interrupted before we looked
		}
		if err != nil {
			return err
		}
		arch := archOf(n.Arch, n.Nr)
		v := policy.Decide(arch, n.Nr, n.Args)
		errno := abi.Errno(v.Action.Data())
		// Read who called before answering: afterwards it may be gone.
		ev := event.Event{
			Kind: event.Refused, Time: monotonic(), TID: int(n.PID), PID: tgid(int(n.PID)), Comm: comm(int(n.PID)),
			Exe: exe(int(n.PID)), Arch: arch, Nr: n.Nr, Args: n.Args, Errno: errno, Filtered: true,
		}
		if err := sys.NotifAnswer(fd, n.ID, int(errno)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		see(ev)
	}
}

// archOf tells x32 from x86-64, which share an audit value.
func archOf(audit, nr uint32) abi.Arch {
	for _, a := range abi.All {
		if a.Audit() == audit && (a == abi.X32) == (a.Audit() == abi.X86_64.Audit() && nr&abi.X32Bit != 0 && nr != ^uint32(0)) {
			return a
		}
	}
	return 0
}

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return time.Now().UnixNano()
	}
	return ts.Nano()
}

func proc(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

func comm(pid int) string {
	data, err := os.ReadFile(proc(pid, "comm"))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(data))
}

func exe(pid int) string {
	name, err := os.Readlink(proc(pid, "exe"))
	if err != nil {
		return ""
	}
	return filepath.Clean(name)
}

// tgid is the process that a thread belongs to; the thread itself where it cannot be told.
func tgid(tid int) int {
	data, err := os.ReadFile(proc(tid, "status"))
	if err != nil {
		return tid
	}
	_, rest, ok := bytes.Cut(data, []byte("\nTgid:\t"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if n, err := strconv.Atoi(string(line)); ok && err == nil {
		return n
	}
	return tid
}
