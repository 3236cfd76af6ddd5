package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
	"porthole/internal/host/sys"
	"porthole/seccomp"
)

// Six lists of programs are run on a container's way (runtime-spec, config.md, "POSIX-platform Hooks"), each
// with the container's state as standard input:
//
//	create   mounts are there, the root is not yet "/"
//	  prestart, createRuntime   among the host's namespaces
//	  createContainer           among the container's, where the host's files are still to be seen
//	start    the program waits
//	  startContainer            in the container, as the program's user
//	  poststart                 the program runs; among the host's namespaces
//	delete   nothing is left
//	  poststop                  among the host's namespaces; its failures are only told
//
// Nothing but the program itself ever runs in the child: hooks inside are processes that join it, as exec's do.

// OCI is the container's state as the runtime spec has it.
func (s *State) OCI(status Status) specs.State {
	st := specs.State{ID: s.ID, Status: specs.ContainerState(status), Pid: s.Pid}
	if status == Stopped {
		st.Pid = 0
	}
	if s.Bundle != nil {
		st.Version, st.Bundle, st.Annotations = s.Bundle.OCIVersion, s.Bundle.Dir, s.Bundle.Annotations
	}
	return st
}

// runCreateHooks runs what belongs to create, while the child waits.
func (c *Container) runCreateHooks(ctx context.Context) error {
	if !hooked(c.hooks) {
		return nil
	}
	if err := c.State.save(c.Dir); err != nil { // a hook may ask for the container's state
		return err
	}
	ctx, cancel := c.whileAlive(ctx)
	defer cancel()
	//lint:ignore SA1019 engines still use prestart
	if err := c.State.runOutside(ctx, "prestart", c.hooks.Prestart, Creating); err != nil {
		return err
	}
	if err := c.State.runOutside(ctx, "createRuntime", c.hooks.CreateRuntime, Creating); err != nil {
		return err
	}
	all := func(set caps.Set) (names []string) {
		for _, c := range set.List() {
			names = append(names, c.String())
		}
		return names
	}
	own := all(c.facts.Caps.Permitted)
	// The root filesystem, the container's by now: as under runc a hook need not ask where that is. In a user namespace
	// the way there may be closed to it.
	cwd := "/"
	if spaces, err := apart(c.State.Pid); err == nil && spaces&unix.CLONE_NEWUSER == 0 && spaces&unix.CLONE_NEWNS != 0 && c.State.Bundle != nil {
		cwd = c.State.Bundle.Rootfs
	}
	p := specs.Process{Cwd: cwd, Env: os.Environ(), Capabilities: &specs.LinuxCapabilities{Bounding: own, Effective: own, Permitted: own}}
	return c.State.runInside(ctx, "createContainer", c.hooks.CreateContainer, Creating, p, nil, c.facts)
}

// whileAlive is ctx that ends when the container's process does: whoever deletes a container whose hook hangs
// has not to wait for that.
func (c *Container) whileAlive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for ctx.Err() == nil {
			ended, err := sys.Poll([]unix.PollFd{{Fd: int32(c.proc.Pidfd()), Events: unix.POLLIN}}, 20*time.Millisecond)
			if ended || err != nil {
				cancel(ErrGone)
			}
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// StartHooks runs what belongs to the moment before the program begins. process and policy are the program's.
func (s *State) StartHooks(ctx context.Context, h *specs.Hooks, process *specs.Process, policy *seccomp.Policy, f facts.Facts) error {
	if h == nil {
		return nil
	}
	p := *process
	p.Terminal, p.ConsoleSize = false, nil
	return s.runInside(ctx, "startContainer", h.StartContainer, Created, p, policy, f)
}

// StartedHooks runs what belongs to the moment after: up to the first that fails, or all.
func (s *State) StartedHooks(ctx context.Context, h *specs.Hooks, all bool) error {
	if h == nil {
		return nil
	}
	var errs []error
	for i, hook := range h.Poststart {
		err := hookError("poststart", i, s.outside(ctx, hook, Running))
		if errs = append(errs, err); err != nil && !all {
			break
		}
	}
	return errors.Join(errs...)
}

// StoppedHooks runs what belongs to a container that is gone. All are run, whichever fail.
func (s *State) StoppedHooks(ctx context.Context) error {
	if s.Bundle == nil || s.Bundle.Hooks == nil {
		return nil
	}
	var errs []error
	for i, h := range s.Bundle.Hooks.Poststop {
		errs = append(errs, hookError("poststop", i, s.outside(ctx, h, Stopped)))
	}
	return errors.Join(errs...)
}

func hookError(kind string, i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("error running %s hook #%d: %w", kind, i, err)
}

func (s *State) runOutside(ctx context.Context, kind string, hooks []specs.Hook, status Status) error {
	for i, h := range hooks {
		if err := s.outside(ctx, h, status); err != nil {
			return hookError(kind, i, err)
		}
	}
	return nil
}

// outside runs one hook among our own namespaces, in the bundle's directory.
func (s *State) outside(ctx context.Context, h specs.Hook, status Status) error {
	stdin, err := s.told(status, s.Pid)
	if err != nil {
		return err
	}
	defer stdin.Close()
	ctx, cancel := limited(ctx, h)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	cmd.Env = hookEnv(h, os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	cmd.Dir = s.Bundle.Dir
	// One that hangs is not to stay when we are killed for it. The kernel asks the thread that has cloned it (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second // what it has left running may keep its output open
	err = cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fmt.Errorf("killed after its %d seconds", *h.Timeout)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w, stdout: %s, stderr: %s", err, out.String(), errs.String())
}

// hookEnv is the hook's environment: its own where it has one, be it empty, or else that of where it runs. So do runc
// and crun; the runtime spec does not say.
func hookEnv(h specs.Hook, around []string) []string {
	if h.Env == nil {
		return around
	}
	return h.Env
}

// runInside runs hooks in the container, as process says but for the program.
func (s *State) runInside(ctx context.Context, kind string, hooks []specs.Hook, status Status, process specs.Process, policy *seccomp.Policy, f facts.Facts) error {
	for i, h := range hooks {
		if err := hookError(kind, i, s.inside(ctx, h, status, process, policy, f)); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) inside(ctx context.Context, h specs.Hook, status Status, process specs.Process, policy *seccomp.Policy, f facts.Facts) error {
	pid := s.Pid
	if s.Bundle != nil && !s.Bundle.SharedPIDs {
		pid = 1 // as the container sees it
	}
	stdin, err := s.told(status, pid)
	if err != nil {
		return err
	}
	defer stdin.Close()
	process.Args, process.Env = h.Args, hookEnv(h, process.Env)
	if len(h.Args) == 0 {
		process.Args = []string{h.Path}
	}
	ctx, cancel := limited(ctx, h)
	defer cancel()
	said, err := os.CreateTemp("", "porthole-hook")
	if err != nil {
		return err
	}
	defer said.Close()
	os.Remove(said.Name())
	p, err := s.Exec(ctx, ExecConfig{
		Process: &process, File: h.Path, Facts: f, Policy: policy, Owned: true, Stdin: stdin, Stdout: said, Stderr: said,
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-ended:
		default:
			p.Signal(unix.SIGKILL)
		}
	})
	exit, err := p.Wait()
	stop()
	switch {
	case err != nil:
		return err
	case exit.Code == 0:
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fmt.Errorf("killed after its %d seconds", *h.Timeout)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	var text [4096]byte
	n, _ := said.ReadAt(text[:], 0)
	how := fmt.Sprintf("exit status %d", exit.Code)
	if exit.Signal != 0 {
		how = "signal: " + unix.Signal(exit.Signal).String()
	}
	return fmt.Errorf("%s, output: %s", how, strings.TrimSpace(string(text[:n])))
}

func limited(ctx context.Context, h specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
}

// told is a file to be read from its beginning, with the container's state in it.
func (s *State) told(status Status, pid int) (*os.File, error) {
	st := s.OCI(status)
	if status != Stopped {
		st.Pid = pid
	}
	data, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err = f.Write(data); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// CheckHooks refuses hooks that could not be run as they are written.
func CheckHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	type kind struct {
		name  string
		hooks []specs.Hook
	}
	kinds := []kind{
		{"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer}, {"startContainer", h.StartContainer},
		{"poststart", h.Poststart}, {"poststop", h.Poststop},
	}
	//lint:ignore SA1019 engines still use prestart
	kinds = append(kinds, kind{"prestart", h.Prestart})
	for _, k := range kinds {
		for i, hook := range k.hooks {
			switch {
			case !strings.HasPrefix(hook.Path, "/"):
				return fmt.Errorf("hooks.%s[%d].path: %q is not an absolute path", k.name, i, hook.Path)
			case hook.Timeout != nil && *hook.Timeout <= 0:
				return fmt.Errorf("hooks.%s[%d].timeout: %d: want more than no seconds", k.name, i, *hook.Timeout)
			}
		}
	}
	return nil
}
