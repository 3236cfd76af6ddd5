package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/internal/engine/lab"
	"porthole/internal/host/trace"
	"porthole/seccomp/profile"
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
			line, _ := json.Marshal(e) // values that were read as text or numbers
			fmt.Println(string(line))
		default:
			fmt.Println(line(e))
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

// line is a refusal as strace would print it, with who it was.
func line(e event.Event) string {
	c := profile.Call{Name: "call"}
	if name, ok := e.Arch.Name(e.Nr); ok {
		c.Name = name
	}
	for i := range abi.Params(c.Name) {
		c.Args[i] = profile.Arg{Known: true, Value: e.Args[i]}
	}
	who := fmt.Sprintf("%s[%d]", e.Comm, e.PID)
	switch {
	case e.Kind == event.Denied:
		return fmt.Sprintf("%s %s: %s was asked for and is not held", who, c.Name, e.Cap)
	case e.Filtered:
		return fmt.Sprintf("%s %s = -1 %s (seccomp)", who, c, e.Errno)
	}
	return fmt.Sprintf("%s %s = -1 %s", who, c, e.Errno)
}
