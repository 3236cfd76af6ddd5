package launch

import (
	"maps"
	"slices"

	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// ownSteps are the calls that launch itself puts between those of a plan, because they
// concern the machinery and not the container. The loop knows no difference.
type ownSteps struct {
	list []plan.Step // by number
	put  [][]ownStep // before which step of the plan

	exe   int       // the file that becomes /proc/PID/exe; -1: none
	mm    *plan.Mem // struct prctl_mm_map
	title *plan.Mem // what ps shows
	byte1 *plan.Mem
	zero  *plan.Mem // SIG_DFL, the empty mask
	whole bool      // the child has all of our memory: see watched
}

type ownStep struct {
	plan.Step
	nr int
}

func num(v uint64) plan.Arg       { return plan.Arg{Num: v} }
func mem(m *plan.Mem) plan.Arg    { return plan.Arg{Kind: plan.ArgMem, Mem: m} }
func slot(s plan.Slot) plan.Arg   { return plan.Arg{Kind: plan.ArgSlot, Slot: s} }
func slotAt(s plan.Slot) plan.Arg { return plan.Arg{Kind: plan.ArgSlotAt, Slot: s} }

func step(call string, args ...plan.Arg) plan.Step { return plan.Step{Call: call, Args: args} }

// tolerant goes on with the next step, whatever the kernel says.
func tolerant(s plan.Step) plan.Step { s.Errs = []plan.Skip{{Errno: plan.Any}}; return s }

func (o *ownSteps) add(before int, s plan.Step) {
	if before < len(o.put) {
		o.put[before] = append(o.put[before], ownStep{s, len(o.list)})
		o.list = append(o.list, s)
	}
}

// before is the step of the plan that own step nr was put in front of; -1: it has no such step.
func (o *ownSteps) before(nr int) int {
	for i, put := range o.put {
		for _, s := range put {
			if s.nr == nr {
				return i
			}
		}
	}
	return -1
}

// newOwn makes all of them but the first ones, which need addresses and the file table: see first.
func newOwn(p *plan.Plan, opt Options, exe int) *ownSteps {
	o := &ownSteps{
		put:   make([][]ownStep, len(p.Child)),
		exe:   exe,
		mm:    &plan.Mem{Bytes: make([]byte, 104)},
		title: &plan.Mem{Bytes: []byte("porthole\x00")},
		byte1: &plan.Mem{Bytes: make([]byte, 1)},
		zero:  &plan.Mem{Bytes: make([]byte, 32)},
	}

	// Until it has passed the start gate, a child whose parent dies is of no use to anybody. The kernel
	// forgets PR_SET_PDEATHSIG when a process changes its identity (commit_creds, kernel/cred.c).
	start, passed := len(p.Child), len(p.Child)
	for _, g := range p.Gates {
		if g.ID == plan.GateStart {
			start, passed = arrival(p, g), g.At+1
		}
	}
	lasting := false // the plan has it die with its parent for good
	for i, s := range p.Child {
		switch {
		case s.Call == "prctl" && len(s.Args) > 1 && s.Args[0].Num == unix.PR_SET_PDEATHSIG:
			lasting = s.Args[1].Num != 0
		case changesIdentity(s.Call) || s.Call == "clone":
			lasting = false
		}
		switch {
		case i < start && changesIdentity(s.Call):
			o.add(i+1, dieWithParent(unix.SIGKILL))
		case i < start && s.Call == "clone": // the heir, which goes on behind the exit of the one that made it
			o.add(i+2, dieWithParent(unix.SIGKILL))
		}
	}
	switch {
	case opt.Keep != "":
		o.add(start, dieWithParent(0))
	case !lasting:
		o.add(passed, dieWithParent(0))
	}
	if n := opt.PauseAfter; n > 0 {
		o.add(n, plan.Step{Call: "read", Args: []plan.Arg{slot(plan.SlotPass), mem(o.byte1), num(1)}, Zero: plan.ZeroFails})
	}
	return o
}

// stamp has the child note when each step begins, in the page at times, until a filter might object.
func (o *ownSteps) stamp(p *plan.Plan, times uint64) {
	for i, s := range p.Child {
		o.add(i, tolerant(step("clock_gettime", num(unix.CLOCK_MONOTONIC), num(times+16*uint64(i)))))
		if s.Tag == "seccomp" || s.Call == "seccomp" {
			return
		}
	}
}

// budget makes room for them, those of first included.
func (o *ownSteps) budget(b *budget, slots int) {
	b.add(o.list)
	for _, m := range []*plan.Mem{o.mm, o.title, o.byte1, o.zero} {
		b.mem(m)
	}
	const fixed = sys.Signals + 16
	b.records += fixed + 2*(slots+4)
	b.errs += 2 * 16
}

// first puts the child's first steps in front of the plan's: signals as a new program expects
// them, only the files it was given, no other memory than its raft, and an /proc/PID/exe that
// is not ours.
func (o *ownSteps) first(r *raft, p *plan.Plan, clone3 bool) error {
	o.whole = watched(r.data[r.used:][:32])
	late := o.put[0]
	o.put[0] = nil
	o.add(0, dieWithParent(unix.SIGKILL))
	// SIG_IGN would outlive execve; and where clone3 has not done so (CLONE_CLEAR_SIGHAND), Go's
	// handlers must go before a signal can come.
	reset := sys.Ignored()
	if !clone3 {
		reset = allSignals()
	}
	for _, sig := range reset {
		o.add(0, step("rt_sigaction", num(uint64(sig)), mem(o.zero), num(0), num(8)))
	}
	// An init starts with all signals blocked, as the child is born: one that came before it waits
	// for them would else be lost, as process 1 has no default actions (sig_ignored, kernel/signal.c).
	if r.slot(plan.SlotInit) < 0 {
		o.add(0, step("rt_sigprocmask", num(unix.SIG_SETMASK), mem(o.zero), num(0), num(8)))
	}

	keep := map[int]bool{0: true, 1: true, 2: true}
	for fd := 3; fd < 3+p.Inherit; fd++ {
		keep[fd] = true
	}
	for s := range plan.Slot(r.slots()) {
		if fd := r.slot(s); s != plan.NoSlot && s != plan.SlotPID && s != plan.SlotPidfd && fd >= 0 && fd < 1<<30 {
			keep[int(fd)] = true
		}
	}
	if o.exe >= 0 {
		keep[o.exe] = true
	}
	next := 0
	for _, fd := range slices.Sorted(maps.Keys(keep)) {
		if fd > next {
			o.add(0, step("close_range", num(uint64(next)), num(uint64(fd-1)), num(0)))
		}
		next = fd + 1
		if p.CloexecFrom > 0 && fd >= p.CloexecFrom {
			o.add(0, tolerant(step("fcntl", num(uint64(fd)), num(unix.F_SETFD), num(unix.FD_CLOEXEC))))
		}
	}
	o.add(0, step("close_range", num(uint64(next)), num(1<<32-1), num(0)))

	o.put[0] = append(o.put[0], late...)
	return o.shed(r, p)
}

func allSignals() []unix.Signal {
	var list []unix.Signal
	for sig := unix.Signal(1); sig <= sys.Signals; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			list = append(list, sig)
		}
	}
	return list
}

// shed takes another /proc/PID/exe. (An image could have a program that is a link to /proc/self/exe,
// or a script for it: execve would run porthole itself inside the container, and whoever opened the
// result could write to porthole's file: CVE-2019-5736.)
//
// It wants a capability in the child's user namespace, so it waits for the last one that the plan enters.
func (o *ownSteps) shed(r *raft, p *plan.Plan) error {
	if o.exe < 0 {
		return nil
	}
	when := 0
	for i, s := range p.Child {
		if n := len(s.Args); n > 0 && (s.Call == "setns" || s.Call == "unshare") && s.Args[n-1].Num&unix.CLONE_NEWUSER != 0 {
			when = i + 1
		}
	}
	// The kernel refuses as long as the old one is mapped, which it is not but for what a thread of ours
	// has mapped since unshare, or where the child has the whole of our memory.
	gone := around(r.all)
	if o.whole {
		var err error
		if gone, err = ourImage(); err != nil {
			return err
		}
	}
	for _, part := range gone {
		o.add(when, tolerant(step("munmap", num(part[0]), num(part[1]))))
	}
	at := func(b []byte) uint64 { return uint64(sys.Addr(b)) }
	high := at(r.all) + uint64(len(r.all))
	// struct prctl_mm_map (include/uapi/linux/prctl.h). prctl_set_mm_map (kernel/sys.c) wants plausible
	// numbers for all, and CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the child's user namespace.
	title := at(r.data) + uint64(r.mems[o.title])
	fields := []uint64{
		at(r.code), at(r.code) + uint64(len(r.code)), // start_code, end_code
		at(r.data), at(r.data) + uint64(len(r.data)), // start_data, end_data
		high, high, high - 8, // start_brk, brk, start_stack
		title, title + uint64(len(o.title.Bytes)), // arg_start, arg_end
		title + uint64(len(o.title.Bytes)), title + uint64(len(o.title.Bytes)), // env_start, env_end
		0, uint64(o.exe) << 32, // auxv; auxv_size and exe_fd
	}
	for i, v := range fields {
		order.PutUint64(r.data[r.mems[o.mm]+8*i:], v)
	}
	const mmMap = 14 // PR_SET_MM_MAP
	s := step("prctl", num(unix.PR_SET_MM), num(mmMap), mem(o.mm), num(uint64(len(o.mm.Bytes))), num(0))
	s.Why = "hide porthole's image from the container"
	o.add(when, s)
	o.add(when, step("close", num(uint64(o.exe))))
	return nil
}

func dieWithParent(sig unix.Signal) plan.Step {
	return step("prctl", num(unix.PR_SET_PDEATHSIG), num(uint64(sig)))
}

func changesIdentity(call string) bool {
	switch call {
	case "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setns", "unshare":
		return true
	}
	return false
}

// arrival is the step with which the child tells the parent that it has come to g.
func arrival(p *plan.Plan, g plan.Gate) int {
	for i := min(g.At, len(p.Child)-1); i >= 0; i-- {
		s := p.Child[i]
		if len(s.Args) > 0 && s.Args[0].Kind == plan.ArgSlot && s.Args[0].Slot == plan.SlotArrive {
			return i
		}
	}
	return g.At
}
