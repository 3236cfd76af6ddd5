package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/sys"
)

// Status is where a container stands in its life (runtime-spec, "Lifecycle").
type Status string

// The statuses; Creating is written before anything is made, so that a sweep
// knows what may have been.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// State is what a container's directory remembers of it, for users, later commands and sweeps.
type State struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Status  Status    `json:"status"`
	Owned   bool      `json:"owned"` // may not outlive the process that holds its lock
	Made    time.Time `json:"made"`
	Boot    string    `json:"boot"` // the machine's boot that Pid and Cgroups belong to

	Pid   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks after boot; with Pid it names one process for ever

	Cgroup  string            `json:"cgroup,omitempty"`  // path asked for
	Cgroups map[string]string `json:"cgroups,omitempty"` // directories by controller
	Unit    bool              `json:"unit,omitempty"`    // systemd has made them: Cgroup is a cgroup.Unit's path

	Exit     *Exit     `json:"exit,omitempty"`
	Finished time.Time `json:"finished,omitzero"`

	Bundle *Bundle `json:"bundle,omitempty"` // where an engine calls us as its runtime: see OCI
}

// stateVersion is raised when an older porthole could misread a state.
const stateVersion = 1

// Exit is how a container's first process ended.
type Exit struct {
	Code   int  `json:"code"`             // as a shell tells it: 128+n for signal n
	Signal int  `json:"signal,omitempty"` // that ended it, or 0
	OOM    bool `json:"oom,omitempty"`    // the kernel killed something in it for want of memory
}

const (
	stateFile = "state.json"
	lockFile  = "lock"
)

// Load reads the state kept in dir. A container that is gone gives fs.ErrNotExist.
// What it says of a running process is checked: Status is Stopped where that process is no more.
func Load(dir string) (*State, error) {
	data, err := sys.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 { // its writer was killed before it wrote
		return nil, fmt.Errorf("%s is empty: %w", filepath.Join(dir, stateFile), fs.ErrNotExist)
	}
	var s State
	if err := json.Unmarshal(lastLine(data), &s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	if s.Version > stateVersion {
		return nil, fmt.Errorf("%s: written by a newer porthole (version %d, this one knows %d)", filepath.Join(dir, stateFile), s.Version, stateVersion)
	}
	if s.ID != strings.TrimPrefix(filepath.Base(dir), buried) || s.Made.IsZero() {
		return nil, fmt.Errorf("%s: not the state of this container", filepath.Join(dir, stateFile))
	}
	if s.Status != Creating && s.Status != Stopped && !s.alive() {
		s.Status = Stopped
	}
	return &s, nil
}

// save makes s the state in dir, at once or not at all. It is one line more of the file, of which the last counts:
// who reads meanwhile sees it whole or not yet, since a file grows after its bytes are there (generic_perform_write,
// mm/filemap.c). A file in its place would cost ten times as much.
func (s *State) save(dir string) error {
	line, err := s.line()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return WriteFile(dir, stateFile, line)
	}
	defer unix.Close(fd)
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil || size > mostState {
		return WriteFile(dir, stateFile, line)
	}
	if n, err := unix.Write(fd, line); n < len(line) {
		if n > 0 {
			unix.Ftruncate(fd, size)
			err = unix.ENOSPC
		}
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// mostState is how many bytes of former states are kept before the file begins anew.
const mostState = 16 << 10

// first writes the state into a new dir, where nobody can have read an older one.
func (s *State) first(dir string) error {
	line, err := s.line()
	if err != nil {
		return err
	}
	return create(filepath.Join(dir, stateFile), line)
}

func (s *State) line() ([]byte, error) {
	data, err := Marshal(s)
	return append(data, '\n'), err
}

// lastLine is the last of the lines that are whole.
func lastLine(data []byte) []byte {
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	return data[bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n')+1:]
}

// WriteFile puts data into dir/name, readable by its owner alone, at once or not at all.
func WriteFile(dir, name string, data []byte) error {
	tmp, path := filepath.Join(dir, "."+name), filepath.Join(dir, name)
	if err := create(tmp, data); err != nil {
		return err
	}
	return rename(tmp, path)
}

func rename(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// create is os.WriteFile in a third of the system calls: without asking what kind of file it is.
func create(path string, data []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	for err == nil && len(data) > 0 {
		var n int
		if n, err = unix.Write(fd, data); err == unix.EINTR {
			err = nil
		}
		data = data[max(n, 0):]
	}
	if e := unix.Close(fd); err == nil {
		err = e
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// alive says that the very process the state names still runs.
func (s *State) alive() bool {
	if s.Pid <= 0 || s.Boot != bootID() {
		return false
	}
	start, zombie, err := startTime(s.Pid)
	return err == nil && start == s.Start && !zombie
}

// startTime reads when a process started, in clock ticks after boot (field 22 of
// /proc/PID/stat, proc_pid_stat(5)), and whether it only waits to be reaped.
func startTime(pid int) (ticks uint64, zombie bool, err error) {
	data, err := sys.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, err
	}
	// The second field is the command's name in brackets and may hold anything.
	_, rest, ok := cutLast(string(data), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return 0, false, errors.New("unreadable /proc/PID/stat")
	}
	ticks, err = strconv.ParseUint(f[19], 10, 64)
	return ticks, f[0] == "Z" || f[0] == "X", err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// bootID names this boot of the machine; "" where the kernel does not say.
func bootID() string {
	data, err := sys.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// gone says that err means the thing is not there (any more).
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// ErrGone says that a container's first process has ended.
var ErrGone = errors.New("the container has ended")

// pidfd opens the process that the state names, and no other. The caller closes it.
func (s *State) pidfd() (int, error) {
	fd, err := unix.PidfdOpen(s.Pid, 0)
	if errors.Is(err, unix.ESRCH) || s.Pid <= 0 {
		return -1, ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("pidfd_open %d: %w", s.Pid, err)
	}
	// First the pidfd, then the proof that the number still means the same process.
	if !s.alive() {
		unix.Close(fd)
		return -1, ErrGone
	}
	return fd, nil
}

// Signal sends the container's first process a signal; ErrGone where it has ended.
func (s *State) Signal(sig unix.Signal) error {
	fd, err := s.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("signal %s to process %d: %w", unix.SignalName(sig), s.Pid, err)
	}
	return nil
}

// WaitEnd waits until the container's first process has ended, at most so long; a negative time
// is for ever. It says whether it has.
func (s *State) WaitEnd(most time.Duration) (bool, error) {
	fd, err := s.pidfd()
	if errors.Is(err, ErrGone) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return sys.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, most)
}

// Destroy ends what is left of a container whose owner is gone: its processes and control groups.
func (s *State) Destroy(f facts.Facts) error {
	if s.Boot != bootID() {
		return nil // nothing survives a reboot
	}
	if err := s.Signal(unix.SIGKILL); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	g, err := s.group(f)
	if err != nil {
		return err
	}
	ended, err := s.WaitEnd(100 * time.Millisecond)
	if err == nil && !ended {
		if g != nil {
			_ = g.Kill() // what is frozen does not die of a signal; End tells of what is left
		}
		_, err = s.WaitEnd(5 * time.Second)
	}
	if err != nil || g == nil {
		return err
	}
	return g.End()
}

// group is the container's control group: where its state says, or, where it was not made far
// enough to be written down, where it was to be.
func (s *State) group(f facts.Facts) (*cgroup.Group, error) {
	if s.Unit && s.Cgroup != "" && (s.Status != Stopped || s.Exit == nil) {
		return cgroup.UnitGroup(s.Cgroups, s.Cgroup, rootless(f), f.Cgroup)
	}
	if len(s.Cgroups) > 0 {
		return cgroup.Open(s.Cgroups, f.Cgroup)
	}
	if s.Cgroup == "" || s.Status == Stopped && s.Exit != nil {
		return nil, nil
	}
	return cgroup.Find(s.Cgroup, rootless(f), f.Cgroup), nil
}
