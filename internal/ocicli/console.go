package ocicli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
)

// sendConsole hands the master of a terminal to whoever listens at a unix socket, as runc does: one message with
// the file's name, and the file (utils.SendFd, libcontainer/utils/cmsg.go).
func sendConsole(console func() (*os.File, error), socket string) error {
	master, err := console()
	if err != nil {
		return err
	}
	defer master.Close()
	if err := sendFile(socket, []byte("/dev/ptmx"), master); err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	return nil
}

func sendFile(socket string, text []byte, f *os.File) error { return sendFD(socket, text, int(f.Fd())) }

// sendPidfd hands a pidfd of a process to whoever listens at a unix socket, if that is asked for. kind is runc's word:
// "standard" of a container's first process, "setns" of one more (setupPidfd, libcontainer/init_linux.go).
func sendPidfd(socket, kind string, pidfd int) error {
	if socket == "" {
		return nil
	}
	if err := sendFD(socket, []byte(kind), pidfd); err != nil {
		return fmt.Errorf("pidfd socket: %w", err)
	}
	return nil
}

func sendFD(socket string, text []byte, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect %s: %w", socket, err)
	}
	return unix.Sendmsg(s, text, unix.UnixRights(fd), nil, 0)
}

// notify hands the listener of an installed filter to whoever listens at linux.seccomp.listenerPath, with the
// container's state (runtime-spec, config-linux.md, "The Container Process State").
// pid is the process whose filter it is.
func (a *app) notify(b *bundle, s *container.State, status container.Status, pid int, listener *os.File) error {
	defer listener.Close()
	st := specs.ContainerProcessState{Version: b.spec.Version, Fds: []string{specs.SeccompFdName}, Metadata: b.spec.Linux.Seccomp.ListenerMetadata}
	st.Pid, st.State = pid, s.OCI(status)
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := sendFile(b.spec.Linux.Seccomp.ListenerPath, data, listener); err != nil {
		return fmt.Errorf("linux.seccomp.listenerPath: %w", err)
	}
	return nil
}

// terminal stands between a container's terminal and the caller's.
type terminal struct {
	master *os.File
	outer  int           // the caller's terminal; -1: none
	old    *unix.Termios // its settings
	done   chan struct{} // all that was written has been shown
}

// current is the terminal that a change of size is meant for.
var current *terminal

func resized() {
	if current != nil {
		current.resize()
	}
}

// joinTerminal passes bytes between the caller's standard files and master, which it owns. The caller's
// terminal is raw until close. Output that goes to a file or a pipe has lines as the program wrote them, with no
// carriage return before their ends.
func joinTerminal(master *os.File) (*terminal, error) {
	if _, err := unix.IoctlGetTermios(1, unix.TCGETS); err != nil {
		if err := plainLines(master); err != nil {
			return nil, errors.Join(fmt.Errorf("terminal: %w", err), master.Close())
		}
	}
	t := &terminal{master: master, outer: -1, done: make(chan struct{})}
	for fd := range 3 {
		if old, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			t.outer, t.old = fd, old
			break
		}
	}
	if t.outer >= 0 {
		t.resize()
		raw := *t.old
		// cfmakeraw(3)
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		if err := unix.IoctlSetTermios(t.outer, unix.TCSETS, &raw); err != nil {
			return nil, errors.Join(fmt.Errorf("terminal: %w", err), master.Close())
		}
	}
	current = t
	go io.Copy(master, os.Stdin) // nobody waits for it: it ends with the input, or with us
	go func() {
		defer close(t.done)
		io.Copy(os.Stdout, master) // ends with EIO when the last user of the terminal is gone
	}()
	return t, nil
}

// plainLines has a terminal write a line's end as it comes.
func plainLines(master *os.File) error {
	c, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err == nil {
			t.Oflag &^= unix.ONLCR
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
		}
		failed = err
	})
	return errors.Join(err, failed)
}

// resize gives the container's terminal the size of the caller's.
func (t *terminal) resize() {
	if t.outer < 0 {
		return
	}
	if size, err := unix.IoctlGetWinsize(t.outer, unix.TIOCGWINSZ); err == nil {
		if c, err := t.master.SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
		}
	}
}

// finish waits a while until all that was written has been shown, and closes.
func (t *terminal) finish() {
	select {
	case <-t.done:
	case <-time.After(2 * time.Second):
	}
	t.close()
}

// close gives the caller its terminal back.
func (t *terminal) close() {
	current = nil
	if t.outer >= 0 {
		unix.IoctlSetTermios(t.outer, unix.TCSETS, t.old)
	}
	t.master.Close()
}
