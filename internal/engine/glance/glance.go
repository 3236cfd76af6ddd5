// Package glance is what every run sees of what it was refused, at next to no cost, and what it keeps of a run that
// failed, so that it can be explained afterwards.
package glance

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/internal/engine/container"
	"porthole/internal/host/sys"
	"porthole/seccomp"
)

// Glance is what an ordinary run may spend on seeing what is refused: next to nothing. Where the filter
// would answer EPERM it asks us (SECCOMP_RET_USER_NOTIF), and we answer that. A call that it lets through,
// or answers otherwise (clone3's ENOSYS, at each new thread), costs what it did. What the kernel
// refuses by itself is not seen.
//
// Nothing that sees more comes so cheap: eBPF programs take a hundred milliseconds to load,
// SECCOMP_RET_LOG answers with no errno and writes to the machine's log, and a filter keeps no count.
type Glance struct {
	mu   sync.Mutex
	seen []event.Event
	done chan struct{}
}

// maxSeen bounds what a Glance keeps: each call once, by its first argument.
const maxSeen = 64

// Adjust has the container of cfg glanced at. Where that can't be, it changes nothing: without a
// filter, with one that has a listener of its own, or where a filter judges porthole itself, since that
// may have a listener, and there is only one to a process (has_duplicate_listener, kernel/seccomp.c).
func (g *Glance) Adjust(cfg *container.Config) {
	p := cfg.Policy
	if p == nil || cfg.Watch != nil || HasListener(*p) || filtered() || !slices.Contains(cfg.Facts.Features.SeccompActions, "user_notif") {
		return
	}
	asking := askFor(*p, refusal)
	cfg.Policy, cfg.Answers = &asking, p
	cfg.Watch = func(listener *os.File) {
		g.done = make(chan struct{})
		go func() {
			defer close(g.done)
			g.answer(listener)
		}()
	}
}

// HasListener says that a policy has a listener of its own: there is only one to a process.
func HasListener(p seccomp.Policy) bool {
	return p.Default == seccomp.Notify || slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return r.Action == seccomp.Notify })
}

// refusal is the answer that a Glance gives in the filter's place.
const refusal = seccomp.Errno | seccomp.Action(unix.EPERM)

// filtered says whether a filter judges our own calls.
func filtered() bool {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return err != nil || mode != 0
}

// answer refuses until nobody uses the filter any more.
func (g *Glance) answer(listener *os.File) {
	defer listener.Close()
	fd := int(listener.Fd())
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err == unix.EINTR {
			continue
		} else if err != nil || ready[0].Revents&unix.POLLIN == 0 {
			return
		}
		n, err := sys.NotifRecv(fd)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // the caller was killed or interrupted
		}
		if err != nil {
			return
		}
		g.note(n) // while the caller waits: afterwards it may be gone
		if err := sys.NotifAnswer(fd, n.ID, int(unix.EPERM)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

func (g *Glance) note(n sys.Notification) {
	arch, ok := abi.ParseAudit(n.Arch, n.Nr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !ok || len(g.seen) == maxSeen || slices.ContainsFunc(g.seen, func(e event.Event) bool {
		return e.Nr == n.Nr && e.Arch == arch && e.Args[0] == n.Args[0]
	}) {
		return
	}
	comm, _ := os.ReadFile("/proc/" + strconv.Itoa(int(n.PID)) + "/comm")
	g.seen = append(g.seen, event.Event{
		Kind: event.Refused, PID: int(n.PID), TID: int(n.PID), Comm: string(bytes.TrimSpace(comm)), Arch: arch, Nr: n.Nr, Args: n.Args,
		Errno: abi.Errno(unix.EPERM), Filtered: true,
	})
}

// Seen returns what was refused, once the container is gone; where something outlives it, so far.
func (g *Glance) Seen() []event.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// askFor is p with one answer left to a listener.
func askFor(p seccomp.Policy, answer seccomp.Action) seccomp.Policy {
	swap := func(a seccomp.Action) seccomp.Action {
		if a == answer {
			return seccomp.Notify
		}
		return a
	}
	q := p
	q.Default = swap(p.Default)
	q.Rules = slices.Clone(p.Rules)
	for i := range q.Rules {
		q.Rules[i].Action = swap(q.Rules[i].Action)
	}
	return q
}
