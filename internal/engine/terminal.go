package engine

import (
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/containerd/console"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// terminal joins a container's terminal, whose master we hold, with the caller's.
type terminal struct {
	master  *os.File
	outer   console.Console // the caller's terminal, raw while we run; nil where it has none
	resized chan os.Signal
	done    chan struct{} // everything written has been shown
}

// console is the caller's terminal; nil where it has none.
func (s Streams) console() console.Console {
	for _, f := range []*os.File{s.In, s.Out} {
		if f == nil {
			continue
		}
		if c, err := console.ConsoleFromFile(f); err == nil {
			return c
		}
	}
	return nil
}

// size is that of the caller's terminal; nil where it has none.
func (s Streams) size() *specs.Box {
	if c := s.console(); c != nil {
		if size, err := c.Size(); err == nil {
			return &specs.Box{Height: uint(size.Height), Width: uint(size.Width)}
		}
	}
	return nil
}

// joinTerminal starts passing bytes and window sizes between s and master, which it owns.
// The caller's terminal is raw until restore.
func joinTerminal(s Streams, master *os.File, interactive bool, log *logWriter) (*terminal, error) {
	t := &terminal{master: master, outer: s.console(), resized: make(chan os.Signal, 1), done: make(chan struct{})}
	if t.outer != nil {
		t.resize()
		signal.Notify(t.resized, unix.SIGWINCH)
		go func() {
			for range t.resized {
				t.resize()
			}
		}()
		if interactive {
			if err := t.outer.SetRaw(); err != nil {
				return nil, err
			}
		}
	}
	if interactive && s.In != nil {
		go io.Copy(master, s.In) // nobody waits for it: it ends with the input, or with us
	}
	var to io.Writer = io.Discard
	if s.Out != nil {
		to = s.Out
	}
	if log != nil {
		to = io.MultiWriter(to, log.stream(1))
	}
	go func() {
		defer close(t.done)
		io.Copy(to, master) // ends with EIO when the last user of the terminal is gone
	}()
	return t, nil
}

// resize gives the container's terminal the size of the caller's.
func (t *terminal) resize() {
	size, err := t.outer.Size()
	if err != nil {
		return
	}
	unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
}

// finish waits, at most grace, until all that was written has been shown, gives the caller its
// terminal back and closes the master.
func (t *terminal) finish(grace time.Duration) {
	select {
	case <-t.done:
	case <-time.After(grace):
	}
	if t.outer != nil {
		signal.Stop(t.resized)
		t.outer.Reset()
	}
	t.master.Close()
}
