package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/launch"
	"porthole/plan"
	"porthole/seccomp"
)

// ExecConfig is one more process for a running container.
type ExecConfig struct {
	Process *specs.Process
	File    string // what is executed, where that is not process.args[0]
	Facts   facts.Facts
	Policy  *seccomp.Policy // nil: no filter
	Filters Filters         // as in Config
	Linux   *specs.Linux    // the container's, of which personality and memoryPolicy count; may be nil
	Watch   func(listener *os.File)
	Agent   func(pid int, listener *os.File) // as Watch, for whoever wants to know of which process

	Stdin, Stdout, Stderr *os.File // as in Config
	ChownStdio            [3]bool
	Refer                 map[string]string // as in Config
	Inherit               int
	Cgroup                []string // groups beneath the container's to put it into: see cgroup.Group.Sub
	Owned                 bool     // it dies with us
	NoKeyring             bool
	NoFile                [2]uint64
	Sealed                bool // see launch.Options
	Times                 bool
	PauseAfter            int // for tests: see launch.Options
}

// Process is one that Exec added: our child, in the container.
type Process struct {
	Notes []string

	proc    *launch.Process
	plan    *plan.Plan
	console *os.File
	apart   bool // in a group of its own
	loose   bool // it may run where its group may
}

// namespaces are those that a process can enter, with the name of their file in /proc/PID/ns.
var namespaces = []struct {
	name string
	flag uint64
}{
	{"user", unix.CLONE_NEWUSER}, {"mnt", unix.CLONE_NEWNS}, {"pid", unix.CLONE_NEWPID}, {"net", unix.CLONE_NEWNET},
	{"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"cgroup", unix.CLONE_NEWCGROUP}, {"time", unix.CLONE_NEWTIME},
}

// apart are the namespaces in which process pid differs from ours.
func apart(pid int) (flags uint64, err error) {
	for _, n := range namespaces {
		var ours, theirs unix.Stat_t
		if unix.Stat("/proc/self/ns/"+n.name, &ours) != nil {
			continue // this kernel has no such thing
		}
		if err := unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/"+n.name, &theirs); err != nil {
			return 0, fmt.Errorf("/proc/%d/ns/%s: %w", pid, n.name, err)
		}
		if ours.Ino != theirs.Ino || ours.Dev != theirs.Dev {
			flags |= n.flag
		}
	}
	return flags, nil
}

// Exec runs one more process in the container. It returns once the program has begun.
func (s *State) Exec(ctx context.Context, cfg ExecConfig) (*Process, error) {
	target, err := s.pidfd()
	if err != nil {
		return nil, err
	}
	defer unix.Close(target)
	spaces, err := apart(s.Pid)
	if err != nil {
		return nil, err
	}
	group, err := s.group(cfg.Facts)
	if err != nil {
		return nil, err
	}
	switch {
	case group != nil && len(cfg.Cgroup) > 0:
		if group, err = group.Sub(cfg.Cgroup); err != nil {
			return nil, err
		}
	case group != nil:
		group = group.Beside(s.Pid)
	case len(cfg.Cgroup) > 0:
		return nil, errors.New("the container has no control group, and so none beneath it")
	}
	sec, err := seccompOption(cfg.Policy, cfg.Filters, cfg.Watch != nil || cfg.Agent != nil, nil)
	if err != nil {
		return nil, err
	}
	opt := plan.JoinOptions{
		ID: s.ID, File: cfg.File, Seccomp: sec, Namespaces: spaces, Inherit: cfg.Inherit, DieWithParent: cfg.Owned, NoFile: cfg.NoFile,
		ChownStdio: cfg.ChownStdio, NoKeyring: cfg.NoKeyring, Refer: cfg.Refer,
	}
	if cfg.Linux != nil {
		opt.Personality, opt.MemoryPolicy = cfg.Linux.Personality, cfg.Linux.MemoryPolicy
	}
	if s.Bundle != nil {
		opt.KeepGroups = s.Bundle.keepsGroups()
	}
	if s.Bundle != nil && s.Bundle.SharedMounts {
		opt.Root = "/proc/" + strconv.Itoa(s.Pid) + "/root"
	}
	if data, err := os.ReadFile("/proc/" + strconv.Itoa(s.Pid) + "/setgroups"); err == nil {
		opt.DenyGroups = strings.TrimSpace(string(data)) == "deny"
	}
	if group != nil && len(cfg.Cgroup) == 0 && cfg.Facts.Cgroup.Mode == facts.CgroupV2 && cfg.Facts.Features.CloneIntoCgroup {
		opt.IntoCgroup = group.Paths()[""]
	}
	p, err := plan.Join(cfg.Process, opt, cfg.Facts)
	if err != nil {
		return nil, err
	}
	fds, done, err := stdio(Config{Stdin: cfg.Stdin, Stdout: cfg.Stdout, Stderr: cfg.Stderr})
	if err != nil {
		return nil, err
	}
	defer done()
	fds[plan.SlotTarget] = target
	x := &Process{plan: p, Notes: p.Notes, apart: len(cfg.Cgroup) > 0, loose: s.Bundle != nil && cfg.Process.ExecCPUAffinity == nil}
	if x.proc, err = launch.Start(p, launch.Options{Fds: fds, Sealed: cfg.Sealed, Times: cfg.Times, PauseAfter: cfg.PauseAfter}); err != nil {
		return nil, explain(p, cfg.Process.Args[0], err)
	}
	watch := cfg.Watch
	if cfg.Agent != nil {
		watch = func(l *os.File) { cfg.Agent(x.proc.Pid(), l) }
	}
	if err := x.lead(ctx, group, watch, cfg.Process.Terminal); err != nil {
		if x.console != nil {
			x.console.Close()
		}
		x.proc.Close()
		return nil, explain(p, cfg.Process.Args[0], err)
	}
	return x, nil
}

// lead takes the process through the gates of its plan, up to its program.
func (x *Process) lead(ctx context.Context, group *cgroup.Group, watch func(*os.File), terminal bool) error {
	for range x.plan.Gates {
		g, err := x.proc.Arrived(ctx)
		if err != nil {
			return err
		}
		if g.ID == plan.GateIDs && group != nil {
			if x.plan.IntoCgroup != plan.NoSlot {
				err = group.AddBorn(x.proc.Pid())
			} else {
				err = group.Add(x.proc.Pid())
			}
			switch {
			case err != nil && x.apart:
				err = fmt.Errorf("adding pid %d to cgroups: %w", x.proc.Pid(), err)
			case errors.Is(err, unix.ENOENT):
				err = ErrGone // the container ended meanwhile, and its group with it
			}
			if err != nil {
				return err
			}
		}
		if g.ID == plan.GateIDs && x.loose {
			unpin(x.proc.Pid())
		}
		if g.ID == plan.GateStart && terminal {
			if x.console, err = fetchConsole(x.proc); err != nil {
				return err
			}
		}
		if err := serve(x.proc, g, watch); err != nil {
			return err
		}
		if err := x.proc.Pass(); err != nil {
			return err
		}
	}
	return x.proc.Executed(ctx)
}

// Pid is the process, as we see it.
func (x *Process) Pid() int { return x.proc.Pid() }

// Pidfd is a pidfd of the process; it stays x's.
func (x *Process) Pidfd() int { return x.proc.Pidfd() }

// Console is the master of the process's terminal, for the caller to close; nil where it has none.
func (x *Process) Console() *os.File { return x.console }

// Signal sends the process a signal.
func (x *Process) Signal(sig unix.Signal) error { return x.proc.Signal(sig) }

// Wait returns how the process ended, once it has, and releases what we hold of it.
func (x *Process) Wait() (Exit, error) {
	defer x.proc.Close()
	status, _, err := x.proc.Wait()
	if err != nil {
		return Exit{}, err
	}
	return exitOf(status), nil
}
