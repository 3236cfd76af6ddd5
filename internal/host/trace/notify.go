package trace

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/internal/host/sys"
	"porthole/seccomp"
)

// Notifier turns p into a policy that lets a watcher see each refusal: where p answers with an
// errno, the result asks the listener, which is Watch, and that answers with the same errno.
// What p allows stays allowed without asking. Answers for numbers newer than the profile's
// newest (Policy.NewerENOSYS) are left to the filter: they are no refusals.
//
// Answers that differ stay different, in the bits of the action that the kernel passes over
// (SECCOMP_RET_DATA): a rule that says what the default says does not count, and one that comes
// before a rule that allows has to.
func Notifier(p seccomp.Policy) seccomp.Policy {
	ask := func(a seccomp.Action) seccomp.Action {
		if a.Kind() == seccomp.Errno {
			return seccomp.Notify.With(a.Data())
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
//
// A call whose caller is killed, or taken out of it by a signal or a debugger, is not told: it was
// not refused. The kernel makes it again where it may, and then it is.
func Watch(listener *os.File, policy seccomp.Policy, see func(event.Event)) error {
	l := newListener(listener, policy, see)
	return l.run()
}

// listener answers for a filter.
type listener struct {
	file   *os.File
	policy seccomp.Policy
	tables map[abi.Arch]seccomp.Table // of policy, where it was asked for
	see    func(event.Event)
	ids    idMaps
	wake   [2]int // a pipe: what is written to it ends run
}

func newListener(file *os.File, policy seccomp.Policy, see func(event.Event)) *listener {
	return &listener{file: file, policy: policy, tables: map[abi.Arch]seccomp.Table{}, see: see, wake: [2]int{-1, -1}}
}

// listen is Attach for the way without eBPF.
func (w *Watcher) listen(t Target) {
	w.listener = newListener(t.Listener, t.Policy, w.opt.See)
	if err := unix.Pipe2(w.listener.wake[:], unix.O_CLOEXEC); err != nil {
		w.listener.wake = [2]int{-1, -1}
	}
	w.sight = event.Sight{Filtered: true, Notes: []string{
		"calls that the kernel refused, capability checks, and how programs start and end were not watched",
		"a seccomp listener was in use: a program that installs one of its own gets EBUSY for it",
	}}
	go func() {
		defer close(w.done)
		w.err = w.listener.run()
	}()
}

func (l *listener) stop() {
	if l.wake[1] >= 0 {
		unix.Write(l.wake[1], []byte{0})
	}
}

func (l *listener) run() error {
	defer l.file.Close()
	defer func() {
		for _, fd := range l.wake {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	fd := int(l.file.Fd())
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(l.wake[0]), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(ready, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return err
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			return nil // POLLHUP: nobody uses the filter any more; or we are told to stop
		}
		n, err := sys.NotifRecv(fd)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // the caller was killed or interrupted before we looked
		}
		if err != nil {
			return err
		}
		if err := l.answer(fd, n); err != nil {
			return err
		}
	}
}

// answer refuses a call as the policy says.
func (l *listener) answer(fd int, n sys.Notification) error {
	arch, _ := abi.ParseAudit(n.Arch, n.Nr)
	table, ok := l.tables[arch]
	if !ok { // once, and not for every call: making it takes longer than asking it
		table = l.policy.Table(arch)
		l.tables[arch] = table
	}
	v := table.Decide(n.Nr, n.Args)
	errno := abi.Errno(v.Action.Data())
	// Who called is read while it waits: afterwards it may be gone.
	e := event.Event{
		Kind: event.Refused, Time: monotonic(), TID: int(n.PID), PID: int(n.PID),
		Arch: arch, Nr: n.Nr, Args: n.Args, Errno: errno, Filtered: true,
	}
	l.caller(&e)
	// It is said to have been refused only if it was: the answer fails with ENOENT for a caller
	// that is not there any more, whose number may be another's by now.
	switch err := sys.NotifAnswer(fd, n.ID, int(errno)); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	}
	l.see(e)
	return nil
}

// caller reads who called, and what it called with.
func (l *listener) caller(e *event.Event) {
	status, err := os.ReadFile(proc(e.TID, "status"))
	if err != nil {
		return
	}
	if n, err := strconv.Atoi(statusField(status, "Tgid")); err == nil {
		e.PID = n
	}
	e.Comm = statusField(append([]byte("\n"), status...), "Name")
	e.Exe = exe(e.PID)
	e.Who = l.who(status, e)
	name, _ := e.Arch.Name(e.Nr)
	for packed := reads(e.Arch, e.Nr); packed != 0; packed >>= 16 {
		rd := read(packed)
		data, err := memory(e.TID, e.Args[rd.arg()], rd.size(), rd&readString != 0)
		if err != nil {
			continue
		}
		if e.Strings == nil {
			e.Strings = map[int]string{}
		}
		e.Strings[rd.arg()] = bounded(name, rd.arg(), e.Args, data, rd&readString != 0)
	}
}

// who is the caller as /proc tells it, in its own user namespace.
func (l *listener) who(status []byte, e *event.Event) *caps.State {
	var st unix.Stat_t
	if unix.Stat(proc(e.PID, "ns/user"), &st) == nil {
		e.Own = st.Ino
	}
	set := func(name string) caps.Set {
		s, _ := caps.ParseHex(statusField(status, name))
		return s
	}
	s := &caps.State{
		Inheritable: set("CapInh"), Permitted: set("CapPrm"), Effective: set("CapEff"), Bounding: set("CapBnd"), Ambient: set("CapAmb"),
		NoNewPrivs: statusField(status, "NoNewPrivs") == "1", UID: -1, EUID: -1, SUID: -1, FSUID: -1,
	}
	for i, f := range strings.Fields(statusField(status, "Uid")) {
		uid, err := strconv.ParseUint(f, 10, 32)
		if err != nil || i > 3 {
			break
		}
		*[]*int{&s.UID, &s.EUID, &s.SUID, &s.FSUID}[i], _ = l.ids.inside(e.Own, e.PID, uint32(uid), 0)
	}
	return s
}

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
