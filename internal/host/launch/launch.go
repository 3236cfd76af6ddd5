// Package launch carries out a plan: it clones the child, which runs its list of
// system calls as a loop over data, and runs the parent's lists beside it.
//
// Start in this file is the way in, record.go is how a step looks to the child, and
// loop_*.s is the child. What the child's memory looks like while it works:
//
//	0 … nothing …  [ code | records, strings | page shared with the parent ]  … nothing … top
//
// Nothing else of ours is mapped in it, its file table holds what the plan was given, and
// its /proc/PID/exe is an empty file (own.go): whatever a hostile image or neighbour gets
// hold of, it is not porthole.
//
// Parent and child share one page, a pipe (one byte passes one gate; its end is the other
// side's death, or the child's execve) and an eventfd (the child has come to a gate).
package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"porthole/abi"
	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// Options are what a plan needs of the process that starts it.
type Options struct {
	// Fds fill slots with open file descriptors: SlotStdin, SlotStdout and SlotStderr (0, 1 and 2
	// where absent), directories, the init image. They stay the caller's. All others but 0, 1 and 2
	// are closed in the child before its first step.
	Fds map[plan.Slot]int

	// Keep, where not "", is a directory in which the child's page and its gates' FIFO lie, as
	// "page" and "pass". From the start gate on the child then outlives this process, and another
	// one goes on with Reattach. Without it the child dies with this process as long as it has not
	// passed the start gate, and after that if the plan says so.
	Keep string

	// Sealed says that this process runs from an image that nobody can write to (see Seal), so that
	// the child need not take another one as its /proc/PID/exe.
	Sealed bool

	// Times makes the child note when each step starts; see Process.Times.
	Times bool

	// PauseAfter, for tests, is the number (from 1) of a step of the child after which it waits until
	// it is killed or its parent is.
	PauseAfter int
}

// Start clones p's child and sets it going. The parent's steps at the gates are run by Process.Attend.
//
// It fails with *StepError where one of p.Before or the clone itself fails. Files that p.Before has
// opened into slots stay open; whoever wrote that step closes them. The caller closes the Process.
func Start(p *plan.Plan, opt Options) (*Process, error) {
	pr := &Process{plan: p, pidfd: -1, pass: -1, arrive: -1, wake: -1, keep: opt.Keep != ""}
	if len(p.Before) == 0 {
		if err := pr.start(opt); err != nil {
			pr.Close()
			return nil, err
		}
		return pr, nil
	}
	// These steps alter the thread that clones (its pid namespace, for one), so it must never be used
	// for anything else: its goroutine ends locked, and the runtime ends the thread. Not before Close,
	// because the child asks to die with it.
	started, done := make(chan error), make(chan struct{})
	pr.done = done
	go func() {
		runtime.LockOSThread()
		started <- pr.start(opt)
		<-done
	}()
	if err := <-started; err != nil {
		pr.Close()
		return nil, err
	}
	return pr, nil
}

// start does what Start says.
func (p *Process) start(opt Options) (err error) {
	pl := p.plan
	pass, err := p.connect(opt.Keep)
	if err != nil {
		return err
	}
	defer unix.Close(pass) // the child's end
	exe := -1
	if !opt.Sealed {
		if exe, err = emptyExe(); err != nil {
			return err
		}
		defer unix.Close(exe)
	}
	p.own = newOwn(pl, opt, exe)
	if err := p.furnish(opt); err != nil {
		return err
	}
	r := p.raft
	r.setSlot(plan.SlotPass, int64(pass))
	r.setSlot(plan.SlotArrive, int64(p.arrive))

	defer func() {
		if e := p.run(pl.After); err == nil {
			err = e
		}
	}()
	if err := p.run(pl.Before); err != nil {
		return err
	}
	// A filter on ourselves may refuse clone3, which Linux 5.10 has: then with ENOSYS, whatever its arguments.
	_, _, e := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	clone3 := e != unix.ENOSYS
	if err := p.own.first(r, pl, clone3); err != nil {
		return err
	}
	prog, err := r.lay(pl.Child, p.own.put)
	if err != nil {
		return err
	}
	// Off the end: a plan without execve has done all it was asked to.
	end := plan.Step{Call: "exit_group", Args: []plan.Arg{num(0)}}
	if err := r.record(end, uint32(len(pl.Child)), func(int) (int, error) { return 0, nil }); err != nil {
		return err
	}
	return p.clone(prog, clone3)
}

// connect makes the pipe and the eventfd between parent and child, and returns the child's end of the pipe.
func (p *Process) connect(keep string) (pass int, err error) {
	if keep != "" {
		pass, p.pass, err = makePass(keep)
	} else {
		var fds [2]int
		err = unix.Pipe2(fds[:], unix.O_CLOEXEC)
		pass, p.pass = fds[0], fds[1]
	}
	if err != nil {
		p.pass = -1
		return -1, fmt.Errorf("pipe to the child: %w", err)
	}
	if p.arrive, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(pass)
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return pass, nil
}

// furnish maps a raft that has room for all steps, and fills in the page.
func (p *Process) furnish(opt Options) (err error) {
	pl := p.plan
	slots := max(pl.Slots, int(plan.FirstFree))
	gates := pageCells + 8*slots
	size := gates + 8*len(pl.Gates)
	times := 0
	b := budget{mems: map[*plan.Mem]int{}}
	if opt.Times {
		times = size
		size += 16 * len(pl.Child)
		b.records += len(pl.Child)
		b.errs += 2 * len(pl.Child)
	}
	b.add(pl.Before)
	b.add(pl.After)
	b.add(pl.Child)
	for _, g := range pl.Gates {
		b.add(g.Steps)
	}
	p.own.budget(&b, slots)
	b.records += 3 // the end, and struct clone_args

	fd := -1
	if opt.Keep != "" {
		if fd, err = makePage(opt.Keep, size); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	if p.raft, err = newRaft(b, size, fd); err != nil {
		return err
	}
	r := p.raft
	order.PutUint32(r.page[pageOf:], uint32(len(pl.Child)))
	order.PutUint32(r.page[pageSlots:], uint32(slots))
	order.PutUint32(r.page[pageGates:], uint32(len(pl.Gates)))
	order.PutUint32(r.page[pageTimes:], uint32(times))
	for i, g := range pl.Gates {
		order.PutUint32(r.page[gates+8*i:], uint32(g.ID))
		order.PutUint32(r.page[gates+8*i+4:], uint32(g.At))
	}
	if times != 0 {
		p.own.stamp(pl, uint64(sys.Addr(r.page))+uint64(times))
	}

	for s := range plan.Slot(slots) {
		r.setSlot(s, -1)
	}
	for i := range 3 {
		r.setSlot(plan.SlotStdin+plan.Slot(i), int64(i))
	}
	for s, fd := range opt.Fds {
		if int(s) >= slots {
			return fmt.Errorf("plan: slot %d of %d", s, slots)
		}
		r.setSlot(s, int64(fd))
	}
	for at, s := range r.given {
		order.PutUint64(r.data[at:], uint64(r.slot(s)))
	}
	// The kernel writes four of these cells' eight bytes.
	r.setSlot(plan.SlotPID, 0)
	r.setSlot(plan.SlotPidfd, 0)
	if pl.Heir != plan.NoSlot && int(pl.Heir) < slots {
		r.setSlot(pl.Heir, 0)
		order.PutUint32(r.page[pageHeir:], uint32(pl.Heir))
	}
	return nil
}

// clone makes the child: by clone3, or by its elder, which makes do with fewer flags.
func (p *Process) clone(prog uintptr, clone3 bool) error {
	r, pl := p.raft, p.plan
	// struct clone_args (include/uapi/linux/sched.h), up to its field cgroup.
	const argsSize = 88
	cell := func(s plan.Slot) uint64 { return uint64(sys.Addr(r.page)) + uint64(r.cell(s)) }
	flags := pl.Clone | unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID | unix.CLONE_CLEAR_SIGHAND
	args := r.data[r.used : r.used+argsSize]
	order.PutUint64(args[0:], flags)
	order.PutUint64(args[8:], cell(plan.SlotPidfd))
	order.PutUint64(args[24:], cell(plan.SlotPID)) // parent_tid
	order.PutUint64(args[32:], uint64(unix.SIGCHLD))
	if pl.IntoCgroup != plan.NoSlot {
		flags |= unix.CLONE_INTO_CGROUP
		order.PutUint64(args[0:], flags)
		order.PutUint64(args[80:], uint64(r.slot(pl.IntoCgroup)))
	}
	order.PutUint64(r.page[pageStart:], uint64(monotonic()))
	entry, errs, page := sys.Addr(r.code), sys.Addr(r.data)+uintptr(r.errs), sys.Addr(r.page)
	births.Lock()
	if !p.own.whole {
		unshare(r.all)
	}
	call := "clone3"
	const elder = 1<<32 - 1 - unix.CSIGNAL - unix.CLONE_PARENT_SETTID - unix.CLONE_PIDFD
	var pid uintptr
	if clone3 || pl.Clone&^elder != 0 || pl.IntoCgroup != plan.NoSlot {
		pid = masked(unix.SYS_CLONE3, sys.Addr(args), argsSize, 0, entry, prog, page, errs)
	} else {
		call = "clone"
		pid = masked(unix.SYS_CLONE, uintptr(flags&elder)|uintptr(unix.SIGCHLD), 0, 0, entry, prog, page, errs)
	}
	births.Unlock()
	if e := unix.Errno(-pid); e < 4096 {
		r.setSlot(plan.SlotPidfd, -1)
		call := plan.Step{Call: call, Args: []plan.Arg{num(flags)}, Why: "create the child"}
		return (&StepError{Index: -1, Parent: true, Errno: abi.Errno(e)}).at([]plan.Step{call}, 0, nil)
	}
	p.pid = int(pid)
	if call == "clone3" {
		p.pidfd = int(r.slot(plan.SlotPidfd))
	} else if fd, err := unix.PidfdOpen(p.pid, 0); err == nil {
		p.pidfd = fd
	} else {
		unix.Kill(p.pid, unix.SIGKILL)
		unix.Wait4(p.pid, nil, 0, nil)
		return fmt.Errorf("pidfd_open: %w", err)
	}
	r.setSlot(plan.SlotPidfd, int64(p.pidfd))
	r.setSlot(plan.SlotPID, int64(pid))
	order.PutUint32(r.page[pagePID:], uint32(pid))
	return nil
}

func monotonic() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

var errMemfdExec = errors.New("vm.memfd_noexec forbids the child an image of its own: seal this process first")

// emptyExe returns an empty executable file, open for reading only.
func emptyExe() (int, error) {
	w, err := sys.Memfd("porthole")
	if err == nil {
		defer unix.Close(w)
		// replace_mm_exe_file (kernel/fork.c) refuses a file that is open for writing.
		var fd int
		if fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", w), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			return fd, nil
		}
	}
	if errors.Is(err, os.ErrPermission) {
		return -1, errMemfdExec
	}
	return -1, fmt.Errorf("memfd: %w", err)
}
