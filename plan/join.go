package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// Join returns the plan of one more process in a running container, whose first process's pidfd
// launch puts into SlotTarget.
//
// The cloned child enters the container's namespaces but stays outside of its pid namespace,
// where nobody inside can see, trace or kill it, until it is all that the process is to be. Only
// then it makes the process itself, as its own sibling (CLONE_PARENT), which is born in the
// container with no privilege left to lose:
//
//	child     setns, ids, capabilities, filter … clone, exit
//	process                                        └─ setsid, terminal, execve
//
// Where the filter does not let clone or setsid through, the process is made before it; and without no_new_privs, where it
// has to come before capabilities are dropped, the process drops them itself, under the eyes of the container. A note says so.
func Join(process *specs.Process, opt JoinOptions, f facts.Facts) (*Plan, error) {
	p, err := join(process, opt, f, false)
	var refused *FilterError
	if errors.As(err, &refused) && opt.Namespaces&newPID != 0 &&
		!slices.ContainsFunc(refused.Calls, func(call string) bool { return !slices.Contains(bornCalls, call) }) {
		return join(process, opt, f, true)
	}
	return p, err
}

// bornCalls are those that a filter may refuse if the process is made before it is installed.
var bornCalls = []string{"clone", "exit_group", "setsid", "ioctl"}

// join is Join; with behind the filter need not let the process be born.
func join(process *specs.Process, opt JoinOptions, f facts.Facts, behind bool) (*Plan, error) {
	b := newBuilder(f)
	b.s = &specs.Spec{Process: process, Linux: &specs.Linux{Personality: opt.Personality, MemoryPolicy: opt.MemoryPolicy}}
	b.o = &Options{ID: opt.ID, File: opt.File, NoKeyring: opt.NoKeyring, KeepGroups: opt.KeepGroups, Seccomp: opt.Seccomp, Inherit: opt.Inherit, DieWithParent: opt.DieWithParent, NoFile: opt.NoFile, ChownStdio: opt.ChownStdio, Refer: opt.Refer}
	b.denyGroups = opt.DenyGroups
	switch {
	case process == nil || len(process.Args) == 0:
		return nil, errors.New("process.args: empty: there is nothing to run")
	case !strings.HasPrefix(process.Cwd, "/"):
		return nil, fmt.Errorf("process.cwd: %q is not an absolute path", process.Cwd)
	case opt.Namespaces&newNS == 0 && opt.Namespaces != 0 && opt.Root == "":
		return nil, errors.New("exec: the container has no mount namespace of its own: its root filesystem cannot be told")
	}
	if err := errors.Join(b.checkStrings(), b.checkFeatures()); err != nil {
		return nil, err
	}
	if opt.Namespaces&newUser != 0 {
		b.spaces.joined = append(b.spaces.joined, joined{flag: newUser})
	}
	if dir := opt.IntoCgroup; dir != "" && f.Features.CloneIntoCgroup {
		b.o.Groups, b.f.Cgroup.Mode = []string{dir}, facts.CgroupV2
		b.intoCgroup()
	}

	// A schedule that is not handed on the process is given itself; and who is told of its filter is told of it,
	// and not of the one that makes it.
	nnp := process.NoNewPrivileges
	bornFirst := behind && !nnp
	if opt.Namespaces&newPID != 0 {
		bornFirst = bornFirst || ownSchedule(process.Scheduler) || opt.Seccomp != nil && opt.Seccomp.Listener && f.UID == 0
	}
	born := func() {
		if opt.Namespaces&newPID != 0 {
			b.shield()
			b.bear(0, "the process itself, born in the container's pid namespace")
		}
		b.call("setsid").because("a session of its own")
		b.terminal()
	}
	if opt.Namespaces&newPID == 0 && f.UID == 0 {
		b.shield()
	}
	if n := process.OOMScoreAdj; n != nil {
		b.oomScore(*n)
	}
	if err := b.label(); err != nil {
		return nil, err
	}
	if a := process.ExecCPUAffinity; a != nil {
		if err := b.affinity("process.execCPUAffinity.initial", a.Initial, "where it runs until it is in its groups"); err != nil {
			return nil, err
		}
	}
	b.gate(GateIDs, "it is in its groups", "it is to be in the container's groups before it is in the container")
	if a := process.ExecCPUAffinity; a != nil {
		if err := b.affinity("process.execCPUAffinity.final", a.Final, "where it runs from now on"); err != nil {
			return nil, err
		}
	}
	b.enterTarget(opt)
	if err := errors.Join(b.console(), b.process()); err != nil {
		return nil, err
	}
	if !bornFirst {
		if err := b.scheduler(); err != nil {
			return nil, err
		}
	}
	b.call("umask", b.umask()).because("what its process starts with")
	b.gate(GateStart, "it is to start", "everything is set up")

	if err := b.closeAndLimit(); err != nil {
		return nil, err
	}
	b.standardFiles()
	b.chdir()
	if bornFirst {
		born()
		if err := b.scheduler(); err != nil {
			return nil, err
		}
	}
	if behind {
		seen := "without it"
		if bornFirst {
			seen = "while it still has privileges"
		}
		b.note("the profile does not allow %s: the process is made before the filter is installed, and seen in the container %s", and(bornCalls), seen)
	}
	late := nnp && (opt.Seccomp == nil || !opt.Seccomp.Listener || bornFirst)
	if !late {
		b.filter("while it still holds CAP_SYS_ADMIN, which installing takes without no_new_privs")
	}
	b.credentials()
	if late && !bornFirst && !behind && opt.Namespaces&newPID != 0 {
		b.filter("with no_new_privs installing takes no privilege; nobody inside is to see it without")
		late = false
	}
	if !bornFirst {
		born()
	}
	b.dieWithParent()
	if late {
		b.filter("as late as can be: with no_new_privs installing takes no privilege")
	}
	b.exec()
	return b.done(opt.Seccomp, nnp)
}

// enterTarget enters the container and opens what is needed of it. The root is that of the mount
// namespace: setns(2) makes it ours.
func (b *builder) enterTarget(opt JoinOptions) {
	top := NoSlot
	if opt.Root != "" {
		b.call("openat", atFDCWD, opt.Root, oPath|b.directory|oCloexec).because("the container's root, which is not that of its mount namespace")
		top = b.to("top")
	}
	if opt.Namespaces != 0 {
		why := "into the container"
		if opt.Namespaces&newPID != 0 {
			why += "; its pid namespace is for children only"
		}
		b.call("setns", SlotTarget, opt.Namespaces).because(why)
	}
	if opt.Namespaces&newUser != 0 {
		b.becomeRoot()
	}
	if !b.o.NoKeyring {
		b.keyring()
	}
	if top != NoSlot {
		b.call("fchdir", top)
		b.call("chroot", ".").because("its root is this one's, too")
	}
	b.call("openat", atFDCWD, "/", oPath|b.directory|oCloexec).because("the container's root")
	b.root = b.to("root")
	b.cwd = b.root
	if dir := path.Clean(b.s.Process.Cwd); dir != "/" {
		b.refer("process.cwd")
		b.find(dir, b.directory).because("the working directory, opened beneath the root").tag("chdir")
		b.cwd = b.to("cwd")
		b.from = ""
	}
}

// bear makes the process, with new namespaces, and ends the one that makes it.
func (b *builder) bear(spaces uint64, why string) {
	heir := b.slot("heir")
	b.p.Heir = heir
	b.call("clone", cloneParent|sigChld|spaces, nil, nil, nil, 0).because(why)
	b.last().Into = heir
	b.last().Zero = 1
	b.call("exit_group", 0).because("this one has done its work")
}
