package ocicli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/internal/host/sys"
)

// A program that tells systemd that it is ready (sd_notify(3)) does so at the socket that NOTIFY_SOCKET names. A container
// whose command has that variable gets a socket of ours there, as it does from runc and crun: a service manager wants to
// hear from the processes of its own service alone, and nothing but "ready" from the inside of a container.

// notifySocket is the socket's name in its directory, which is what the container sees: the socket is another one
// for each command that listens at it.
const notifySocket = "notify"

// notified adds to a configuration where the program is to notify. dir is the container's directory on the host.
func notified(s *specs.Spec, host, dir string) {
	if host == "" {
		return
	}
	at := "/run/notify" // of a socket without a file
	if filepath.IsAbs(host) {
		at = filepath.Clean(host)
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: at, Source: filepath.Join(dir, notifySocket), Options: []string{"bind", "ro", "nosuid", "noexec", "nodev"},
	})
	s.Process.Env = append(s.Process.Env, "NOTIFY_SOCKET="+filepath.Join(at, notifySocket))
}

// makeNotify makes the directory that notified has a mount of.
func makeNotify(dir string) error {
	dir = filepath.Join(dir, notifySocket)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) // whatever the umask
}

// listenNotify listens at a container's socket until the caller closes it.
func listenNotify(dir string) (int, error) {
	at, err := unix.Open(filepath.Join(dir, notifySocket), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("notify socket: %w", err)
	}
	defer unix.Close(at)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("notify socket: %w", err)
	}
	unix.Unlinkat(at, notifySocket, 0)                           // another command's, which has ended
	name := fmt.Sprintf("/proc/self/fd/%d/%s", at, notifySocket) // a socket's path is 107 bytes long at most (unix(7))
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err == nil {
		err = unix.Fchmodat(at, notifySocket, 0o777, 0) // whoever the program's user is
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("notify socket: %w", err)
	}
	return fd, nil
}

// ready reads what has come in at a socket, and says whether that the program is ready is among it.
func ready(fd int) bool {
	var buf [4096]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if err != nil {
			return false
		}
		for line := range bytes.Lines(buf[:n]) {
			if string(bytes.TrimSpace(line)) == "READY=1" {
				return true
			}
		}
	}
}

// tellReady tells the service manager; of the process to take for the service's own, too, where pid is not 0.
func tellReady(host string, pid int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrUnix{Name: host} // "@" in front: no file (unix(7))
	err = unix.Sendto(fd, []byte("READY=1"), 0, to)
	if err == nil && pid != 0 {
		err = unix.Sendto(fd, fmt.Appendf(nil, "MAINPID=%d", pid), 0, to)
	}
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET=%s: %w", host, err)
	}
	return nil
}

// awaitReady waits until the program of a container that is left to itself is ready, or has ended. That nobody is
// there any more to be told is no failure of the container's.
func (a *app) awaitReady(s *container.State, fd int, host string) error {
	for {
		if _, err := sys.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50*time.Millisecond); err != nil {
			return err
		}
		if ready(fd) {
			a.log.warn(tellReady(host, s.Pid))
			return nil
		}
		if ended, err := s.WaitEnd(0); ended || err != nil {
			return err
		}
	}
}

// passReady does so for a container that we stay with, and stand for.
func (a *app) passReady(fd int, host string) {
	for !ready(fd) {
		if _, err := sys.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil {
			return
		}
	}
	a.log.warn(tellReady(host, 0))
}
