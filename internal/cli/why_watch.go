package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"porthole/event"
	"porthole/event/decode"
	"porthole/internal/cli/fast"
	"porthole/internal/engine/lab"
	"porthole/internal/host/trace"
)

// watch prints what is refused in a container, or to a process and its children, until it is interrupted
// or the process ends.
func (a *app) watch(ctx context.Context, pid int, q answering) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, lab.ErrNotRunning)
	}
	defer unix.Close(fd)
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	w, err := trace.Attach(ctx, trace.Target{Running: pid}, trace.Options{Cache: a.traceCache(), See: func(e event.Event) {
		switch {
		case e.Kind != event.Refused && e.Kind != event.Denied && e.Kind != event.Nack:
		case q.json != "":
			data, _ := json.Marshal(seenJSON(e)) // texts and numbers
			fmt.Println(string(data))
		default:
			fmt.Println(fast.Line(e))
		}
	}})
	if errors.Is(err, trace.ErrUnavailable) {
		return fmt.Errorf("what happens in a process that runs already can only be seen by eBPF: %w", err)
	}
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { // left behind when we are interrupted
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(p, -1); err != unix.EINTR {
				break
			}
		}
		close(ended)
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	err = w.Close()
	if n := w.Sight().Lost; n > 0 {
		fmt.Fprintf(os.Stderr, "%d events were lost\n", n)
	}
	return err
}

// seen is a refusal as `why --watch --json` prints it, one a line.
type seen struct {
	Time       int64  `json:"time"` // nanoseconds on the monotonic clock
	PID        int    `json:"pid"`
	Comm       string `json:"comm"`
	Exe        string `json:"exe,omitempty"`
	Call       string `json:"call"`
	Errno      string `json:"errno,omitempty"`
	By         string `json:"by"` // "seccomp", "capability": one that was asked for and is not held, or "kernel"
	Capability string `json:"capability,omitempty"`
}

func seenJSON(e event.Event) seen {
	s := seen{Time: e.Time, PID: e.PID, Comm: e.Comm, Exe: e.Exe, Call: decode.Call(e), By: "kernel"}
	if e.Errno != 0 {
		s.Errno = e.Errno.String()
	}
	switch {
	case e.Filtered:
		s.By = "seccomp"
	case e.Kind == event.Denied:
		s.By, s.Capability = "capability", e.Cap.String()
	}
	return s
}
