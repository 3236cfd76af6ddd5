package lab

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"

	"porthole/event"
	"porthole/internal/engine/container"
	"porthole/internal/engine/glance"
	"porthole/internal/host/trace"
)

// Sort is a way of watching.
type Sort string

// The ways. Best takes eBPF where it can be had, and the filter's own notifications otherwise.
const (
	Best   Sort = ""
	EBPF   Sort = "ebpf"
	Notify Sort = "notify"
)

// maxEvents bounds what a run may make us remember.
const maxEvents = 1 << 16

// watch looks on while one container runs.
type watch struct {
	mu     sync.Mutex
	events []event.Event
	over   int // events beyond maxEvents

	watcher *trace.Watcher
	lab     *Lab     // that may keep an eBPF watcher for the next run
	mounts  *os.File // the container's mount namespace: it stays until the watcher has looked at the files that were named
	blind   error    // why nothing is seen
}

// attach has the container of cfg watched from its program's first instruction on. The error says that
// the way asked for cannot be had.
func (l *Lab) attach(cfg *container.Config) (*watch, error) {
	w := &watch{}
	opt := trace.Options{See: w.see, Ring: ring, Cache: l.Cache}
	var err error
	if l.idle != nil && l.With != Notify {
		w.lab, w.watcher, l.idle = l, l.idle, nil
		w.watcher.Again(w.see)
		cfg.Ready = w.begin
		return w, nil
	}
	if l.With != Notify {
		w.lab = l
		w.watcher, err = trace.Attach(context.Background(), trace.Target{}, opt)
		switch {
		case err == nil:
			cfg.Ready = w.begin
			return w, nil
		case l.With == EBPF || !errors.Is(err, trace.ErrUnavailable):
			return w, err
		}
	}
	w.lab = nil
	w.notify(cfg, opt)
	if err != nil && w.blind == nil {
		w.blind = err
	}
	return w, nil
}

// begin watches the container's first process.
func (w *watch) begin(pid int) (err error) {
	if w.mounts, err = os.Open(procFile(pid, "ns/mnt")); err != nil {
		return err
	}
	return w.watcher.Add(pid)
}

// ring is the size of the buffer of one run: much less than a long-lived watcher takes.
const ring = 8 << 20

// notify has the filter tell of what it refuses (SECCOMP_RET_USER_NOTIF), and answers in its place.
func (w *watch) notify(cfg *container.Config, opt trace.Options) {
	p := cfg.Policy
	switch {
	case p == nil:
		w.blind = errors.New("there is no filter that could tell what it refuses")
		return
	case glance.HasListener(*p):
		w.blind = errors.New("the filter has a listener of its own, and there is only one to a process")
		return
	case !slices.Contains(cfg.Facts.Features.SeccompActions, "user_notif"):
		w.blind = errors.New("this kernel's filters cannot notify (Linux 5.0)")
		return
	}
	asking := trace.Notifier(*p)
	cfg.Policy, cfg.Answers = &asking, p
	cfg.Watch = func(listener *os.File) {
		w.watcher, w.blind = trace.Attach(context.Background(), trace.Target{Listener: listener, Policy: *p}, opt)
	}
}

func (w *watch) see(e event.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == maxEvents {
		w.over++
		return
	}
	if e.Kind == event.Exec && e.Nr == 0 { // the call that it was
		e.Nr, _ = e.Arch.Nr("execve")
	}
	w.events = append(w.events, e)
}

// finish returns what was seen, once the container is gone.
func (w *watch) finish() ([]event.Event, event.Sight) {
	if w == nil {
		return nil, event.Sight{}
	}
	var s event.Sight
	if w.watcher != nil {
		if w.lab != nil && w.lab.Keep && w.watcher.Rest() == nil {
			s = w.watcher.Sight()
			w.lab.idle = w.watcher
		} else {
			if err := w.watcher.Close(); err != nil {
				w.blind = err
			}
			s = w.watcher.Sight()
		}
	}
	if w.mounts != nil {
		w.mounts.Close()
	}
	if w.blind != nil {
		s.Notes = append(s.Notes, w.blind.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Lost += w.over
	return slices.Clone(w.events), s
}
