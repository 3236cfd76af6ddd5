package lab

import (
	"os"
	"slices"
	"sync"
	"time"

	"porthole/event"
	"porthole/internal/engine/container"
	"porthole/internal/host/trace"
	"porthole/seccomp"
)

// Sort is a way of watching.
type Sort string

// The ways. Best takes eBPF where it can be had, and the filter's own notifications otherwise.
const (
	Best   Sort = ""
	EBPF   Sort = "ebpf"
	Notify Sort = "notify"
)

// watch looks on while a container runs.
type watch interface {
	adjust(*container.Config)
	// finish returns what was seen, once the container is gone.
	finish() ([]event.Event, event.Sight)
}

func newWatch(s Sort) watch { return &notified{} }

// notified has the filter tell of what it refuses (SECCOMP_RET_USER_NOTIF), and answers in its place.
type notified struct {
	mu     sync.Mutex
	events []event.Event
	sight  event.Sight
	done   chan struct{}
	err    error
}

func (n *notified) adjust(cfg *container.Config) {
	p := cfg.Policy
	if p == nil || usesListener(*p) || !slices.Contains(cfg.Facts.Features.SeccompActions, "user_notif") {
		return
	}
	asking := trace.Notifier(*p)
	cfg.Policy = &asking
	cfg.Watch = func(listener *os.File) {
		n.sight.Filtered = true
		n.done = make(chan struct{})
		go func() {
			defer close(n.done)
			n.err = trace.Watch(listener, *p, func(e event.Event) {
				n.mu.Lock()
				defer n.mu.Unlock()
				if len(n.events) == maxEvents {
					n.sight.Lost++
					return
				}
				n.events = append(n.events, e)
			})
		}()
	}
}

// maxEvents bounds what a run may make us remember.
const maxEvents = 1 << 16

// usesListener says that a policy has a listener of its own: there is only one to a process.
func usesListener(p seccomp.Policy) bool {
	return p.Default == seccomp.Notify || slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return r.Action == seccomp.Notify })
}

func (n *notified) finish() ([]event.Event, event.Sight) {
	if n.done != nil {
		select {
		case <-n.done:
		case <-time.After(time.Second): // something outlives the container: it shares the host's pids
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events), n.sight
}
