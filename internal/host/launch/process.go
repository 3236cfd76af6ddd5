package launch

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"porthole/abi"
	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// Process is a plan's child. One goroutine at a time uses it, but for Signal and Kill, which
// any may call until Close.
type Process struct {
	plan *plan.Plan // nil after Reattach
	raft *raft
	own  *ownSteps
	keep bool

	pid    int
	pidfd  int
	pass   int // where a byte passes a gate; POLLERR: nobody reads it any more
	arrive int // eventfd; -1 after Reattach
	wake   int

	heir   bool // pid and pidfd are the heir's already
	reaped bool
	status unix.WaitStatus
	usage  unix.Rusage
	done   chan struct{} // closed to end the thread that cloned
}

// Pid is the process's number as this process sees it.
func (p *Process) Pid() int { return p.pid }

// Pidfd is a pidfd of the process; it stays p's.
func (p *Process) Pidfd() int { return p.pidfd }

// Slot is a slot's value: -1 where nothing has filled it yet. The child may have written anything.
func (p *Process) Slot(s plan.Slot) int64 {
	if p.raft == nil || int(s) >= p.nslots() {
		return -1
	}
	return p.raft.slot(s)
}

// Arrived waits until the child stands at a gate, and says at which. It fails with *StepError where a
// step of the child fails, with ErrGone where the child ends or executes its program without having
// come to another gate, and with ctx's error.
func (p *Process) Arrived(ctx context.Context) (*plan.Gate, error) {
	what, err := p.wait(ctx)
	if err != nil {
		return nil, err
	}
	if what != atGate {
		return nil, p.why()
	}
	at := p.standing()
	for i := range p.plan.Gates {
		if g := &p.plan.Gates[i]; g.At >= at {
			return g, nil
		}
	}
	return nil, fmt.Errorf("plan: step %d tells of a gate that there is not", at+1)
}

// Attend carries out the parent's Steps at g; g's Helpers and Writes are the caller's. It fails with *StepError.
func (p *Process) Attend(g *plan.Gate) error {
	p.inherit()
	return p.run(g.Steps)
}

// Pass lets the child through the gate at which it stands.
func (p *Process) Pass() error {
	// A reader that is gone gives SIGPIPE, which Go's runtime turns into this error.
	if _, err := unix.Write(p.pass, []byte{1}); err != nil {
		if err == unix.EPIPE {
			return p.why()
		}
		return fmt.Errorf("pass a gate: %w", err)
	}
	return nil
}

// Executed waits until the child has become its program. It fails as Arrived does.
func (p *Process) Executed(ctx context.Context) error {
	what, err := p.wait(ctx)
	switch {
	case err != nil:
		return err
	case what == atGate:
		return fmt.Errorf("plan: the child waits at a gate in step %d", p.standing()+1)
	case p.failure() == nil && p.executed():
		return nil
	}
	return p.why()
}

// What wait has seen.
const (
	atGate = iota
	gone   // the child's end of the pass pipe is closed: executed, or dead
)

// wait waits for the child to come to a gate, to execute or to end.
func (p *Process) wait(ctx context.Context) (int, error) {
	timeout := time.Duration(-1)
	if ctx.Done() != nil {
		if d, ok := ctx.Deadline(); ok {
			timeout = time.Until(d)
		}
		if p.wake < 0 {
			var err error
			if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
				return 0, fmt.Errorf("eventfd: %w", err)
			}
		}
		woken := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			close(woken)
		})
		defer func() {
			if !stop() {
				<-woken // not after Close, when the number may be another file's
			}
		}()
	}
	fds := []unix.PollFd{
		{Fd: int32(p.pass)}, // POLLERR comes unasked
		{Fd: int32(p.arrive), Events: unix.POLLIN},
		{Fd: int32(p.wake), Events: unix.POLLIN},
	}
	for {
		some, err := sys.Poll(fds, timeout)
		if err != nil {
			return 0, fmt.Errorf("poll: %w", err)
		}
		if !some {
			return 0, context.DeadlineExceeded
		}
		var count [8]byte
		if fds[1].Revents&unix.POLLIN != 0 {
			unix.Read(p.arrive, count[:])
			p.inherit()
			return atGate, nil
		}
		if fds[0].Revents != 0 {
			p.inherit()
			return gone, nil
		}
		if fds[2].Revents&unix.POLLIN != 0 {
			unix.Read(p.wake, count[:])
			if err := ctx.Err(); err != nil {
				return 0, err
			}
		}
	}
}

// standing is the plan's step that the child has begun last, or stands before.
func (p *Process) standing() int {
	return p.step(sys.Load32(p.raft.page, pageStep))
}

func (p *Process) step(n uint32) int {
	if n&own == 0 {
		return int(n)
	}
	if p.own == nil {
		return -1
	}
	return p.own.before(int(n &^ own))
}

// failure is the step that the child says it failed at.
func (p *Process) failure() *StepError {
	f := sys.Load64(p.raft.page, pageFail)
	if f == 0 {
		return nil
	}
	e := p.stepError(uint32(f >> 32))
	e.Errno = abi.Errno(f)
	return e
}

// stepError names a step by the number that the child has for it.
func (p *Process) stepError(n uint32) *StepError {
	e := &StepError{Index: int(n), Of: int(order.Uint32(p.raft.page[pageOf:]))}
	switch {
	case n&own != 0:
		e.Index, e.Of = -1, 0
		if i := int(n &^ own); p.own != nil && i < len(p.own.list) {
			e.at(p.own.list, i, nil)
		}
	case p.plan != nil && e.Index < len(p.plan.Child):
		e.at(p.plan.Child, e.Index, p.plan.Names)
	}
	return e
}

// why says how a child ended that has not executed its program.
func (p *Process) why() error {
	if e := p.failure(); e != nil {
		p.reap(0)
		return e
	}
	if p.executed() {
		return ErrGone
	}
	p.reap(0)
	if p.reaped && p.status.Signaled() {
		e := p.stepError(sys.Load32(p.raft.page, pageStep))
		e.Signal = p.status.Signal()
		return e
	}
	return ErrGone
}

// executed says whether the child, whose end of the pass pipe is closed, has called execve. The
// kernel remembers even of a zombie that it has not: PF_FORKNOEXEC, in field 9 of /proc/PID/stat.
func (p *Process) executed() bool {
	const forkNoExec = 0x40
	f := statFields(p.pid)
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return err == nil && flags&forkNoExec == 0
}

// statFields are the fields of /proc/PID/stat from the third on: proc_pid_stat(5) without pid and name.
// (os.ReadFile would set up the runtime's poller for it.)
func statFields(pid int) []string {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var b [1024]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return nil
	}
	stat := string(b[:n])
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}

// inherit turns p from the cloned child into the plan's heir once there is one.
func (p *Process) inherit() {
	if p.plan == nil || p.plan.Heir == plan.NoSlot || p.heir {
		return
	}
	pid := p.raft.slot(p.plan.Heir)
	if pid <= 0 || pid > 1<<22 {
		return
	}
	// Our own child (CLONE_PARENT) that nobody but us reaps: its number cannot have been taken again.
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return
	}
	// waitid refuses a pidfd that is not our child's, in case the child wrote what it liked.
	if _, _, _, err := sys.Wait(fd, unix.WNOHANG|unix.WNOWAIT); err != nil {
		unix.Close(fd)
		return
	}
	sys.Wait(p.pidfd, 0) // the one in between ends by itself
	unix.Close(p.pidfd)
	p.pid, p.pidfd, p.heir = int(pid), fd, true
	p.raft.setSlot(plan.SlotPID, pid)
	p.raft.setSlot(plan.SlotPidfd, int64(fd))
}

// Fetch returns a copy, close-on-exec, of the open file whose number in the child a slot holds: the
// console's master, the seccomp listener. The caller closes it.
func (p *Process) Fetch(s plan.Slot) (int, error) {
	theirs := p.Slot(s)
	if theirs < 0 {
		return -1, fmt.Errorf("slot %d is empty", s)
	}
	fd, err := unix.PidfdGetfd(p.pidfd, int(theirs), 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd_getfd of the child's %d: %w", theirs, err)
	}
	return fd, nil
}

// Times are how long each of the child's steps took, up to the one it stands at; 0 for those it skipped
// and those after the filter. Start is from just before the clone to the first step. Both are nil and 0
// without Options.Times.
func (p *Process) Times() (start time.Duration, steps []time.Duration) {
	page := p.raft.page
	at := int(order.Uint32(page[pageTimes:]))
	n := int(order.Uint32(page[pageOf:]))
	if at == 0 || at+16*n > len(page) {
		return 0, nil
	}
	last := int64(order.Uint64(page[pageStart:]))
	steps = make([]time.Duration, n)
	prev := -1
	for i := range steps {
		sec, nsec := int64(sys.Load64(page, at+16*i)), int64(sys.Load64(page, at+16*i+8))
		if sec == 0 && nsec == 0 {
			continue
		}
		t := sec*1e9 + nsec
		if prev < 0 {
			start = time.Duration(t - last)
		} else {
			steps[prev] = time.Duration(t - last)
		}
		prev, last = i, t
	}
	return start, steps
}

// Wait waits for the process to end, reaps it, and returns its wait status and what it and the
// children it waited for used. Of one that Reattach found it cannot know either: it fails with
// ECHILD once the process has ended.
func (p *Process) Wait() (unix.WaitStatus, unix.Rusage, error) {
	if err := p.reap(0); err != nil {
		if err == unix.ECHILD {
			sys.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, -1)
		}
		return 0, unix.Rusage{}, fmt.Errorf("wait for %d: %w", p.pid, err)
	}
	return p.status, p.usage, nil
}

func (p *Process) reap(options int) error {
	if p.reaped {
		return nil
	}
	if p.pidfd < 0 {
		return unix.ECHILD
	}
	p.inherit()
	status, usage, ok, err := sys.Wait(p.pidfd, options)
	if err != nil {
		return err
	}
	if ok {
		p.reaped, p.status, p.usage = true, status, usage
	}
	return nil
}

// Signal sends sig to the process. It fails with ESRCH where that has been reaped.
func (p *Process) Signal(sig unix.Signal) error {
	return unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
}

// Kill ends the process, and with it all others of a pid namespace whose first it is.
func (p *Process) Kill() error { return p.Signal(unix.SIGKILL) }

// Close releases what p holds. A child that another process goes on with (Options.Keep) lives on;
// any other that has not been waited for is killed and reaped.
func (p *Process) Close() error {
	if p.pidfd >= 0 && !p.keep && !p.reaped {
		p.inherit()
		p.Kill()
		p.reap(0)
	}
	for _, fd := range []*int{&p.pidfd, &p.pass, &p.arrive, &p.wake} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	var err error
	if p.raft != nil {
		err, p.raft = p.raft.close(), nil
	}
	if p.done != nil {
		close(p.done)
		p.done = nil
	}
	return err
}

func (p *Process) nslots() int {
	return min(p.raft.slots(), (len(p.raft.page)-pageCells)/8)
}
