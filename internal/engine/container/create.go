package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// Create makes the container of cfg in claim's directory, up to the point where nothing is
// left but to start the user's program. A failure leaves nothing behind but the directory,
// which stays its caller's.
func Create(ctx context.Context, claim *Claim, cfg Config) (*Container, error) {
	c := &Container{Claim: claim, State: &State{
		Version: stateVersion, ID: claim.ID, Status: Creating, Owned: cfg.Owned,
		Made: time.Now(), Boot: bootID(), Cgroup: cfg.Spec.Linux.CgroupsPath, Unit: cfg.OCI != nil && cfg.OCI.Systemd,
	}, oci: cfg.OCI}
	if cfg.OCI != nil {
		c.State.Bundle = &cfg.OCI.Bundle
	}
	opt, err := planOptions(claim.ID, cfg)
	if err != nil {
		return nil, err
	}
	c.ready = cfg.Ready
	// From here on there may be something to sweep.
	if err := c.State.first(claim.Dir); err != nil {
		return nil, err
	}
	if err := c.create(ctx, cfg, opt); err != nil {
		return nil, c.fail(err)
	}
	return c, nil
}

// planOptions is what the plan needs to know beside the spec, except for its control groups.
func planOptions(id string, cfg Config) (plan.Options, error) {
	sec, err := seccompOption(cfg.Policy, cfg.Filters, cfg.Watch != nil || cfg.Agent != nil, cfg.Answers)
	if err != nil {
		return plan.Options{}, err
	}
	opt := plan.Options{
		ID: id, Root: cfg.Root, Seccomp: sec, Init: cfg.Init, Inherit: cfg.Inherit,
		DieWithParent: cfg.Owned, NoFile: cfg.NoFile, Refer: cfg.Refer, ChownStdio: cfg.ChownStdio,
	}
	cfg.OCI.option(&opt, cfg.Spec)
	return opt, nil
}

// Plan compiles what Create would carry out, and does nothing. The control groups in it are
// those that would be made.
func Plan(id string, cfg Config) (*plan.Plan, error) {
	opt, err := planOptions(id, cfg)
	if err != nil {
		return nil, err
	}
	if groups, err := cgroup.Would(groupConfig(cfg), cfg.Facts.Cgroup); err == nil {
		opt.Groups = groupDirs(groups, cfg.Facts.Cgroup)
	}
	return plan.Compile(cfg.Spec, opt, cfg.Facts)
}

func groupConfig(cfg Config) cgroup.Config {
	c := cgroup.Config{
		Path: cfg.Spec.Linux.CgroupsPath, Resources: cfg.Spec.Linux.Resources, Rootless: rootless(cfg.Facts),
		Everywhere: cfg.OCI != nil,
	}
	if cfg.OCI != nil && cfg.OCI.Systemd {
		c.Unit = &cgroup.Unit{Path: c.Path, Annotations: cfg.Spec.Annotations}
	}
	return c
}

// leaveRoom takes a limit of one process out of r, to be set when that one is all there is: it may be made by another in
// its group, or beside one that holds a place there.
func leaveRoom(r *specs.LinuxResources) (*specs.LinuxResources, *specs.LinuxPids) {
	if r == nil || r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit < 0 || *r.Pids.Limit > 1 {
		return r, nil
	}
	rest := *r
	rest.Pids = nil
	return &rest, r.Pids
}

// rootless says that we are not the machine's root.
func rootless(f facts.Facts) bool { return f.UID != 0 || !f.UserNS.Initial }

func (c *Container) create(ctx context.Context, cfg Config, opt plan.Options) error {
	var alone *specs.LinuxPids
	if cfg.Spec.Linux.CgroupsPath != "" {
		gc := groupConfig(cfg)
		gc.Resources, alone = leaveRoom(gc.Resources)
		if gc.Unit != nil {
			pid, release, err := holdScope()
			if err != nil {
				return err
			}
			defer release()
			gc.Unit.Pid = pid
		}
		group, err := cgroup.Create(gc, cfg.Facts.Cgroup)
		switch {
		case errors.Is(err, cgroup.ErrUnavailable):
			c.Notes = append(c.Notes, fmt.Sprintf("no control group: nothing bounds or counts what the container uses (%v)", err))
		case err != nil:
			var limit *cgroup.LimitError
			if cfg.OCI != nil && !errors.As(err, &limit) {
				err = fmt.Errorf("linux.cgroupsPath: %w", err)
			}
			return err
		default:
			c.group = group
			c.State.Cgroups = group.Paths()
			opt.Groups = groupDirs(group.Paths(), cfg.Facts.Cgroup)
		}
	}
	p, err := plan.Compile(cfg.Spec, opt, cfg.Facts)
	if err != nil {
		return err
	}
	c.plan, c.watch, c.command, c.cwd = p, cfg.Watch, cfg.Spec.Process.Args[0], cfg.Spec.Process.Cwd
	c.facts, c.hooks = cfg.Facts, cfg.Spec.Hooks
	if cfg.Agent != nil {
		c.watch = func(l *os.File) { cfg.Agent(c.State, l) }
	}
	c.Notes = append(c.Notes, p.Notes...)

	fds, done, err := stdio(cfg)
	if err != nil {
		return err
	}
	defer done()
	mapped, err := idMaps(p.IDMaps, fds)
	if err != nil {
		return err
	}
	defer mapped()
	keep := ""
	if cfg.OCI != nil && cfg.OCI.Keep {
		keep = c.Dir
	}
	c.proc, err = launch.Start(p, launch.Options{Fds: fds, Keep: keep, Times: cfg.Times, PauseAfter: cfg.PauseAfter})
	if err != nil {
		return explain(p, c.command, err)
	}
	c.State.Pid = c.proc.Pid()
	if c.State.Start, _, err = startTime(c.State.Pid); err != nil {
		return fmt.Errorf("the container's first process: %w", err)
	}
	if p.Gates[0].ID != plan.GateIDs {
		// The child works on meanwhile: it only must be in its group before the user's program is.
		if err := c.join(); err != nil {
			return err
		}
	}
	if err := c.lead(ctx, plan.GateStart); err != nil {
		return err
	}
	if alone != nil && c.group != nil {
		if err := c.group.Set(&specs.LinuxResources{Pids: alone}); err != nil {
			return err
		}
	}
	c.State.Status = Created
	return c.keepState()
}

// lead takes the child through its gates, one after the other. It returns when the child stands at
// the one named, or with noGate when it has executed its program.
func (c *Container) lead(ctx context.Context, to plan.GateID) error {
	for ; c.passed < len(c.plan.Gates); c.passed++ {
		g, err := c.proc.Arrived(ctx)
		if err != nil {
			return explain(c.plan, c.command, err)
		}
		if pid := c.proc.Pid(); pid != c.State.Pid { // the plan's heir
			c.State.Pid = pid
			if c.State.Start, _, err = startTime(pid); err != nil {
				return fmt.Errorf("the container's first process: %w", err)
			}
		}
		if g.ID == plan.GateIDs {
			if err := c.join(); err != nil {
				return err
			}
		}
		if err := serve(c.proc, g, c.watch); err != nil {
			return explain(c.plan, c.command, err)
		}
		if c.oci != nil {
			if err := c.oblige(ctx, g.ID); err != nil {
				return err
			}
		}
		if g.ID == to {
			c.passed++
			return nil
		}
		if err := c.proc.Pass(); err != nil {
			return explain(c.plan, c.command, err)
		}
	}
	if to != noGate {
		return fmt.Errorf("plan: the child has not come to the gate %q", to)
	}
	return explain(c.plan, c.command, c.proc.Executed(ctx))
}

const noGate plan.GateID = 0

// join puts the child into its control group.
func (c *Container) join() error {
	if c.oci != nil {
		defer unpin(c.State.Pid)
	}
	switch {
	case c.group == nil:
		return nil
	case c.plan.IntoCgroup != plan.NoSlot:
		return c.group.AddBorn(c.State.Pid)
	}
	return c.group.Add(c.State.Pid)
}

// serve does what the parent has to do while the child stands at g.
func serve(proc *launch.Process, g *plan.Gate, watch func(*os.File)) error {
	if err := runHelpers(g.Helpers, proc.Pid()); err != nil {
		return err
	}
	for _, w := range g.Writes {
		if err := writeProc(proc.Pid(), w); err != nil {
			return err
		}
	}
	if g.ID == plan.GateListener {
		fd, err := proc.Fetch(plan.SlotListener)
		if err != nil {
			return err
		}
		watch(os.NewFile(uintptr(fd), "seccomp listener"))
	}
	return proc.Attend(g)
}

func writeProc(pid int, w plan.Write) error {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/"+w.File, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(w.Data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.Why, err)
	}
	return nil
}

// groupDirs puts a group's directories into the order of the machine's hierarchies.
func groupDirs(paths map[string]string, f facts.Cgroup) []string {
	dirs := make([]string, len(f.Hierarchies))
	for i, h := range f.Hierarchies {
		switch {
		case h.V2:
			dirs[i] = paths[""]
		case len(h.Controllers) > 0:
			dirs[i] = paths[h.Controllers[0]]
		}
	}
	return dirs
}

// stdio are the fds that become 0, 1 and 2, and the small init where one is wanted.
func stdio(cfg Config) (fds map[plan.Slot]int, done func(), err error) {
	fds = map[plan.Slot]int{}
	var ours []*os.File
	done = func() {
		for _, f := range ours {
			f.Close()
		}
	}
	null := func() (*os.File, error) {
		if len(ours) == 0 {
			f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return nil, err
			}
			ours = append(ours, f)
		}
		return ours[0], nil
	}
	for slot, f := range map[plan.Slot]*os.File{plan.SlotStdin: cfg.Stdin, plan.SlotStdout: cfg.Stdout, plan.SlotStderr: cfg.Stderr} {
		if f == nil {
			if f, err = null(); err != nil {
				done()
				return nil, nil, err
			}
		}
		fds[slot] = int(f.Fd())
	}
	if cfg.Init {
		fd, err := launch.InitFD()
		if err != nil {
			done()
			return nil, nil, err
		}
		ours = append(ours, os.NewFile(uintptr(fd), "init"))
		fds[plan.SlotInit] = fd
	}
	return fds, done, nil
}

// runHelpers runs the set-id programs that map ids for an ordinary user.
func runHelpers(hs []plan.Helper, pid int) error {
	for _, h := range hs {
		out, err := exec.Command(h.Program, append([]string{strconv.Itoa(pid)}, h.Args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", h.Program, err, out)
		}
	}
	return nil
}

// explain adds to a failing step why it failed, where the plan knows, and what would help. command is
// the program's name as the user gave it.
func explain(p *plan.Plan, command string, err error) error {
	var step *launch.StepError
	if !errors.As(err, &step) {
		return err
	}
	e := &SetupError{Step: step, Command: command}
	e.Because, e.Try = plan.Hint(step.Step, step.Errno)
	return e
}

// SetupError is a container that could not be set up: which step failed, why, and what helps.
type SetupError struct {
	Step         *launch.StepError
	Command      string // what was to be run
	Because, Try string // "" where nothing certain can be said
}

func (e *SetupError) Error() string {
	s := e.Step.Error()
	if e.execve() {
		// Docker's words for what users meet most.
		s = fmt.Sprintf("exec: %q: %v", e.Command, e.Step.Errno)
		if e.ExitCode() == 127 && !strings.Contains(e.Command, "/") {
			s = fmt.Sprintf("exec: %q: executable file not found in $PATH", e.Command)
		}
	}
	if e.Because != "" {
		s += "\n  because: " + e.Because
	}
	if e.Try != "" {
		s += "\n  try: " + e.Try
	}
	return s
}

func (e *SetupError) Unwrap() error { return e.Step }

func (e *SetupError) execve() bool { return e.Step.Step.Tag == "execve" && e.Step.Signal == 0 }

// ExitCode is 127 where the program was not found and 126 where it could not be run, as a shell
// has it; 125 for every other step.
func (e *SetupError) ExitCode() int {
	if !e.execve() {
		return 125
	}
	switch unix.Errno(e.Step.Errno) {
	case unix.ENOENT, unix.ENOTDIR:
		return 127
	}
	return 126
}
