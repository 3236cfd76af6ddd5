package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/launch"
	"porthole/plan"
)

// OCI is what an engine that calls us as its runtime asks for beside the spec. Such a container is
// made by one process (Create), started by another (Begin) and deleted by a third (Delete); each holds
// the container's lock only while it is at work.
type OCI struct {
	Bundle Bundle
	Config []byte // config.json as it was read, kept for exec and for the next commands

	// Keep says that the container, made and not started, is to outlive this process. Without it this
	// same process goes on with Start.
	Keep bool

	NoPivot, NoKeyring bool

	NetDevices map[string]specs.LinuxNetDevice // linux.netDevices

	Systemd bool // the control group is systemd's to make: see cgroup.Unit
}

// Bundle is what a container remembers of where it came from.
type Bundle struct {
	OCIVersion  string            `json:"ociVersion"`
	Dir         string            `json:"dir"`
	Rootfs      string            `json:"rootfs"`
	Annotations map[string]string `json:"annotations,omitempty"`
	UID         int               `json:"uid"` // whose container it is
	SharedPIDs  bool              `json:"sharedPIDs,omitempty"`
	// SharedMounts says that it has no mount namespace of its own: its root is not that of the one that it is in.
	SharedMounts bool         `json:"sharedMounts,omitempty"`
	Listener     bool         `json:"listener,omitempty"` // its filter tells somebody: linux.seccomp.listenerPath
	Bare         bool         `json:"bare,omitempty"`     // its config.json has no process
	Notify       string       `json:"notify,omitempty"`   // the NOTIFY_SOCKET that it was made with
	Hooks        *specs.Hooks `json:"hooks,omitempty"`
}

// KeepGroups is the annotation with which crun leaves a container the further groups of whoever starts it: what is
// shared with a group of theirs is then to be had inside, where such a group has no id. Podman's --group-add=keep-groups.
const KeepGroups = "run.oci.keep_original_groups"

func (b *Bundle) keepsGroups() bool {
	_, is := b.Annotations[KeepGroups]
	return is
}

// option adds to a plan's options what o asks for.
func (o *OCI) option(opt *plan.Options, s *specs.Spec) {
	if o == nil {
		return
	}
	opt.NoPivot, opt.NoKeyring = o.NoPivot, o.NoKeyring
	if o.NoPivot {
		opt.KernelFS = kernelFS(s.Root.Path)
	}
	opt.KeepGroups = o.Bundle.keepsGroups()
	opt.Network = hooked(s.Hooks) || len(s.Linux.NetDevices) > 0
}

// unpin lets a process run on every processor that its control group has, whatever those are that its caller was held to:
// a daemon's own are none of its containers' business, and since Linux 6.2 no move to another group forgets them
// (cpuset_attach, kernel/cgroup/cpuset.c). Where the kernel does not let us, it stays as it is.
func unpin(pid int) {
	var all unix.CPUSet
	for i := range all {
		all[i] = ^all[i]
	}
	_ = unix.SchedSetaffinity(pid, &all)
}

// hooked says that something is to be run while the container's mounts are there and its root is not yet "/".
func hooked(h *specs.Hooks) bool {
	//lint:ignore SA1019 engines still use prestart
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0
}

// keepState writes the state where another command is to find it.
func (c *Container) keepState() error {
	if c.oci == nil {
		return nil
	}
	return c.State.save(c.Dir)
}

// Stand says where the container in dir stands now, whatever its file says: whether its program has
// been started is known by the FIFO at which it waits for that, whether it is paused by its group.
func (s *State) Stand(dir string, f facts.Facts) error {
	if s.Status == Creating && s.Pid == 0 && !held(filepath.Join(dir, lockFile)) {
		s.Status = Stopped // whoever was making it has died
	}
	if s.Status == Creating || s.Status == Stopped {
		return nil
	}
	switch waits, err := waiting(dir); {
	case err != nil:
		return err
	case waits:
		s.Status = Created
	case s.Status == Created && !s.alive(): // it ended meanwhile
		s.Status = Stopped
	case s.Status == Created || s.Status == Paused:
		s.Status = Running
	}
	if s.Status == Stopped {
		return nil
	}
	g, err := s.group(f)
	if err != nil || g == nil {
		return err
	}
	state, err := g.State()
	if err != nil && !gone(err) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if state == cgroup.Frozen || state == cgroup.Freezing {
		s.Status = Paused
	}
	return nil
}

// waiting says that a process stands at the start gate in dir (see package launch, keep.go).
func waiting(dir string) (bool, error) {
	fd, err := unix.Open(filepath.Join(dir, "pass"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	switch err {
	case nil:
		unix.Close(fd)
		return true, nil
	case unix.ENXIO, unix.ENOENT:
		return false, nil
	}
	return false, fmt.Errorf("%s: %w", filepath.Join(dir, "pass"), err)
}

// ErrStarted says that a container's program has been started already.
var ErrStarted = errors.New("the container has been started")

// Begin lets the program begin of a container that an earlier process made with OCI.Keep. again makes
// the Config that it was made from once more, to say what failed. watch is as in Config.
func (s *State) Begin(ctx context.Context, dir string, watch func(*os.File), again func() (Config, error)) error {
	p, err := launch.Reattach(dir)
	if errors.Is(err, launch.ErrGone) {
		if s.alive() {
			return ErrStarted
		}
		return ErrGone
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if p.Pid() != s.Pid {
		return fmt.Errorf("%s: process %d waits there, not the container's", dir, p.Pid())
	}
	tell := watch != nil && p.Ahead(plan.GateListener) // else whoever made it has told
	if err := p.Pass(); err != nil {
		return err
	}
	if tell {
		err = handOver(ctx, p, watch)
	}
	if err == nil {
		err = p.Executed(ctx)
	}
	if err == nil || errors.Is(err, launch.ErrGone) {
		return nil // it may have done its work already, and been reaped by its parent, which we are not
	}
	var step *launch.StepError
	if errors.As(err, &step) {
		if cfg, e := again(); e == nil {
			if p, e := s.replan(cfg); e == nil && len(p.Child) == step.Of && step.Index >= 0 {
				step.Step = p.Child[step.Index]
				return explain(p, cfg.Spec.Process.Args[0], err)
			}
		}
	}
	return err
}

// replan compiles the plan that made the container once more.
func (s *State) replan(cfg Config) (*plan.Plan, error) {
	opt, err := planOptions(s.ID, cfg)
	if err != nil {
		return nil, err
	}
	if len(s.Cgroups) > 0 {
		opt.Groups = groupDirs(s.Cgroups, cfg.Facts.Cgroup)
	}
	return plan.Compile(cfg.Spec, opt, cfg.Facts)
}

// handOver fetches the listener of a filter that is installed after the start, and lets the child go on.
// Nothing wakes the process that comes second, so it looks now and then.
func handOver(ctx context.Context, p *launch.Process, watch func(*os.File)) error {
	for p.Slot(plan.SlotListener) < 0 {
		moment, cancel := context.WithTimeout(ctx, time.Millisecond)
		err := p.Executed(moment)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	fd, err := p.Fetch(plan.SlotListener)
	if err != nil {
		return err
	}
	watch(os.NewFile(uintptr(fd), "seccomp listener"))
	return p.Pass()
}

// Missing says whether the program of a container that stands at its start can be found in it: nil, or
// the error that execve would give. What only its user may not execute it does not see.
func (c *Container) Missing() error {
	var bad error
	seen := false
	for i, s := range c.plan.Child {
		if s.Tag != "execve" || s.Call != "execve" || seen {
			continue
		}
		name := string(s.Args[0].Mem.Bytes)
		err := c.runnable(strings.TrimRight(name, "\x00"))
		if err == nil {
			return nil
		}
		if bad == nil || errors.Is(err, unix.EACCES) {
			bad = err
		}
		seen = s.Errs == nil || i == len(c.plan.Child)-1
	}
	if bad == nil {
		return nil
	}
	return &MissingError{c.command, bad.(unix.Errno)}
}

// runnable looks at a file as the container sees it.
func (c *Container) runnable(name string) error {
	root, err := unix.Open("/proc/"+strconv.Itoa(c.State.Pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // ours to ask only where we are root: execve will tell
	}
	defer unix.Close(root)
	if !strings.HasPrefix(name, "/") {
		name = filepath.Join(c.cwd, name)
	}
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return err
		}
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0) {
		return unix.EACCES
	}
	return nil
}

// MissingError is a program that is not there, or cannot be executed.
type MissingError struct {
	Command string
	Errno   unix.Errno
}

func (e *MissingError) Error() string {
	if e.Errno == unix.ENOENT && !strings.Contains(e.Command, "/") {
		return fmt.Sprintf("exec: %q: executable file not found in $PATH", e.Command)
	}
	return fmt.Sprintf("exec: %q: %v", e.Command, e.Errno)
}

func (e *MissingError) Unwrap() error { return e.Errno }

// Group is the container's control group; nil where it has none.
func (s *State) Group(f facts.Facts) (*cgroup.Group, error) { return s.group(f) }

// TakeWithin takes the lock of the container in root, waiting at most so long for whoever is at work on it.
func TakeWithin(root, id string, most time.Duration) (*Claim, error) {
	for until, pause := time.Now().Add(most), 200*time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		c, err := Take(root, id)
		if err == nil {
			// It may have been another's removal that we waited for.
			if _, gone := os.Stat(filepath.Join(c.Dir, lockFile)); gone != nil {
				c.Release()
				return nil, gone
			}
			return c, nil
		}
		if !errors.Is(err, ErrOwned) || time.Now().After(until) {
			return nil, err
		}
		time.Sleep(pause)
	}
}

// Wreck ends what is left of a container whose state may be lost or half written: its process, known by
// its state or by the page that it waits with, and its control group.
func Wreck(dir string, s *State, f facts.Facts) error {
	if p, err := launch.Reattach(dir); err == nil {
		p.Kill()
		p.Close()
	}
	if s == nil {
		return nil
	}
	return s.Destroy(f)
}

// BuriedDir is where Remove puts the container's directory for the time that its removal takes.
func BuriedDir(root, id string) string { return filepath.Join(root, buried+id) }

// Facts is what was known of the machine when the container was made.
func (c *Container) Facts() facts.Facts { return c.facts }
