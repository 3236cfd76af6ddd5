package launch

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"porthole/abi"
	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// A step becomes a record of one cache line, which the loop reads as it stands:
//
//	 0 args [6]uint64   numbers and addresses; for a slot's value its cell's address
//	48 nr   uint16
//	50 slot uint8       bit i: argument i is a slot's value
//	52 into uint16      slot of the result; 0 is a cell that nobody reads
//	54 ok   uint16      records to skip after success
//	56 zero uint16      the same where the result is 0; 0xffff: that is EPIPE. Where it differs
//	                    from ok a 0 is not stored
//	58 errs uint16      first entry in the table of tolerated errors
//	60 step uint32      its number in the plan; or own, and its number among launch's own steps
//
// An entry of that table is {errno, records to skip uint16}; errno 0 ends a step's entries.
const (
	recSize = 64
	entSize = 4
	own     = 1 << 31
)

// The page that parent and child share, and that Reattach maps again:
//
//	 0 step  uint32     as in the record at hand
//	 8 fail  uint64     errno, and in the upper half the step that it ended
//	16 pid   uint32     the child's, as its parent sees it
//	20 of    uint32     steps in the plan
//	24 slots uint32     how many
//	28 gates uint32     how many
//	32 start uint64     CLOCK_MONOTONIC, nanoseconds, just before the clone
//	40 times uint32     0, or where the step's start times lie, a timespec each
//	44 heir uint32      0, or the slot with the heir's pid: see plan.Plan
//	64 cells of the slots, then {id, at uint32} of each gate, then the times
const (
	pageStep  = 0
	pageFail  = 8
	pagePID   = 16
	pageOf    = 20
	pageSlots = 24
	pageGates = 28
	pageStart = 32
	pageTimes = 40
	pageHeir  = 44
	pageCells = 64
)

var order = binary.LittleEndian // amd64 and arm64 alike

// raft is the memory that the child stands on: its code, its data, and the shared page
// last, so that everything else can be unmapped around it.
//
//	code | records, tolerated errors, Mem | page
type raft struct {
	all  []byte
	code []byte
	data []byte
	page []byte

	used int // of data
	errs int // where in data the table of tolerated errors starts
	nerr int // entries used
	mems map[*plan.Mem]int
	arch abi.Arch

	given map[int]plan.Slot // where in data values of slots stand that are known before the first step
}

// budget counts what lists of steps will take of a raft.
type budget struct {
	records, errs, bytes int
	mems                 map[*plan.Mem]int
}

func (b *budget) add(steps []plan.Step) {
	for i := range steps {
		b.records++
		b.errs += len(steps[i].Errs) + 1
		for j := range steps[i].Args {
			if a := &steps[i].Args[j]; a.Kind == plan.ArgMem {
				b.mem(a.Mem)
			}
		}
	}
}

// mem makes room for m and what it points at.
func (b *budget) mem(m *plan.Mem) {
	if m == nil {
		return
	}
	if _, ok := b.mems[m]; ok {
		return
	}
	b.mems[m] = b.bytes
	b.bytes += (len(m.Bytes) + 8) &^ 7 // one byte more at least: no two share an address
	for _, p := range m.Ptrs {
		b.mem(p.To)
	}
}

// newRaft maps a raft with room for b and a page of pageSize bytes: of fd, or of nothing where fd is -1.
func newRaft(b budget, pageSize, fd int) (*raft, error) {
	if b.records >= 0xffff || b.errs >= 0xffff {
		return nil, fmt.Errorf("plan: %d steps with %d tolerated errors are too many", b.records, b.errs)
	}
	r := &raft{mems: b.mems}
	r.arch, _ = abi.ParseArch(runtime.GOARCH)
	code := loopImage()
	size := unix.Getpagesize()
	round := func(n int) int { return (n + size - 1) &^ (size - 1) }
	nc, nd, np := round(len(code)), round(b.records*recSize+(b.errs+1)*entSize+8+b.bytes), round(pageSize)

	var err error
	if r.all, err = sys.Map(0, nc+nd+np, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE, -1); err != nil {
		return nil, fmt.Errorf("memory for the child: %w", err)
	}
	r.code, r.data = r.all[:nc:nc], r.all[nc:nc+nd:nc+nd]
	copy(r.code, code)
	if err := unix.Mprotect(r.code, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		r.close()
		return nil, fmt.Errorf("memory for the child's code: %w", err)
	}
	flags := unix.MAP_SHARED | unix.MAP_FIXED
	if fd < 0 {
		flags |= unix.MAP_ANONYMOUS
	}
	if r.page, err = sys.Map(sys.Addr(r.all)+uintptr(nc+nd), np, unix.PROT_READ|unix.PROT_WRITE, flags, fd); err != nil {
		r.close()
		return nil, fmt.Errorf("memory shared with the child: %w", err)
	}

	// Mem lies after the records and the errors; lay it out.
	r.errs = b.records * recSize
	base := (r.errs + (b.errs+1)*entSize + 7) &^ 7
	for m, off := range r.mems {
		off += base
		r.mems[m] = off
		copy(r.data[off:], m.Bytes)
	}
	for m, off := range r.mems {
		for _, p := range m.Ptrs {
			if p.Off < 0 || p.Off+8 > len(m.Bytes) {
				r.close()
				return nil, fmt.Errorf("plan: pointer at %d of %d bytes", p.Off, len(m.Bytes))
			}
			if p.Slot != plan.NoSlot {
				if r.given == nil {
					r.given = map[int]plan.Slot{}
				}
				r.given[off+p.Off] = p.Slot
			}
			order.PutUint64(r.data[off+p.Off:], uint64(r.addr(p.To)))
		}
	}
	return r, nil
}

func (r *raft) close() error { return sys.Unmap(r.all) }

// addr is where m lies, for parent and child alike; 0 for none.
func (r *raft) addr(m *plan.Mem) uintptr {
	if m == nil {
		return 0
	}
	return sys.Addr(r.data) + uintptr(r.mems[m])
}

func (r *raft) cell(s plan.Slot) int { return pageCells + 8*int(s) }

func (r *raft) slot(s plan.Slot) int64       { return int64(sys.Load64(r.page, r.cell(s))) }
func (r *raft) setSlot(s plan.Slot, v int64) { sys.Store64(r.page, r.cell(s), uint64(v)) }

// slots is how many slots the page has. Like all of the page it may have been written by
// the child, so callers who take it from there bound it.
func (r *raft) slots() int { return int(order.Uint32(r.page[pageSlots:])) }

// lay writes steps as records and returns the address of the first. Before step i come
// those of put[i]: what skips over others to reach step i lands on these too.
func (r *raft) lay(steps []plan.Step, put [][]ownStep) (uintptr, error) {
	first := sys.Addr(r.data) + uintptr(r.used)
	at := make([]int, len(steps)+1) // where each step, with what comes before it, begins
	for i, n := 0, 0; i <= len(steps); i++ {
		at[i] = n
		if i < len(put) {
			n += len(put[i])
		}
		n++
	}
	straight := func(k int) (int, error) { return k, nil }
	self := 0
	for i := range steps {
		if i < len(put) {
			for _, s := range put[i] {
				if err := r.record(s.Step, uint32(s.nr)|own, straight); err != nil {
					return 0, err
				}
				self++
			}
		}
		err := r.record(steps[i], uint32(i), func(k int) (int, error) {
			if k < 0 || i+1+k > len(steps) {
				return 0, fmt.Errorf("plan: step %d skips %d of %d", i+1, k, len(steps))
			}
			return at[i+1+k] - self - 1, nil
		})
		if err != nil {
			return 0, err
		}
		self++
	}
	return first, nil
}

// record writes one step.
func (r *raft) record(s plan.Step, step uint32, jump func(int) (int, error)) error {
	nr, ok := r.arch.Nr(s.Call)
	if !ok {
		return fmt.Errorf("plan: step %d: %s has no system call %q", step&^own+1, r.arch, s.Call)
	}
	if len(s.Args) > 6 {
		return fmt.Errorf("plan: step %d: %s with %d arguments", step&^own+1, s.Call, len(s.Args))
	}
	known := func(slot plan.Slot) error {
		if int(slot) >= r.slots() {
			return fmt.Errorf("plan: step %d: slot %d of %d", step&^own+1, slot, r.slots())
		}
		return nil
	}
	rec := r.data[r.used : r.used+recSize]
	r.used += recSize
	for i, a := range s.Args {
		v := a.Num
		switch a.Kind {
		case plan.ArgMem:
			v = uint64(r.addr(a.Mem))
		case plan.ArgSlot, plan.ArgSlotAt:
			if err := known(a.Slot); err != nil {
				return err
			}
			v = uint64(sys.Addr(r.page)) + uint64(r.cell(a.Slot))
			if a.Kind == plan.ArgSlot {
				rec[50] |= 1 << i
			}
		}
		order.PutUint64(rec[8*i:], v)
	}
	if err := known(s.Into); err != nil {
		return err
	}
	success, err := jump(s.OK)
	if err != nil {
		return err
	}
	zero := success
	switch {
	case s.Zero == plan.ZeroFails:
		zero = 0xffff
	case s.Zero != 0:
		if zero, err = jump(s.Zero); err != nil {
			return err
		}
	}
	order.PutUint16(rec[48:], uint16(nr))
	order.PutUint16(rec[52:], uint16(s.Into))
	order.PutUint16(rec[54:], uint16(success))
	order.PutUint16(rec[56:], uint16(zero))
	order.PutUint32(rec[60:], step)

	// Entry 0 is the empty list; a step without tolerated errors shares it.
	if len(s.Errs) == 0 {
		return nil
	}
	if r.nerr == 0 {
		r.nerr = 1
	}
	order.PutUint16(rec[58:], uint16(r.nerr))
	for _, e := range s.Errs {
		n, err := jump(e.Steps)
		if err != nil {
			return err
		}
		if e.Errno == 0 {
			return fmt.Errorf("plan: step %d tolerates errno 0", step&^own+1)
		}
		ent := r.data[r.errs+r.nerr*entSize:]
		order.PutUint16(ent, uint16(e.Errno))
		order.PutUint16(ent[2:], uint16(n))
		r.nerr++
	}
	r.nerr++ // the 0 that ends them
	return nil
}

// loopImage is the code of loop as it stands in our own text.
func loopImage() []byte {
	return image(loopCode())
}

// image returns the code at addr up to the mark that ends it: two words "END!".
// (The linker promises nothing about which function follows.)
func image(addr uintptr) []byte {
	const mark = 0x21444e45
	b := sys.Bytes(addr, 4096)
	for n := 0; ; n++ {
		if order.Uint32(b[n:]) == mark && order.Uint32(b[n+4:]) == mark {
			return b[:n]
		}
	}
}

// masked is clone with every signal blocked, so that none is handled in the child. Nothing in between lets the
// goroutine change threads, and so nobody has to lock it: for the first to do that, Go makes a thread more.
//
//go:nosplit
func masked(nr, arg0, arg1, arg2, entry, prog, page, errs uintptr) (pid uintptr) {
	all, old := ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid = clone(nr, arg0, arg1, arg2, entry, prog, page, errs)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid
}

func clone(nr, arg0, arg1, arg2, entry, prog, page, errs uintptr) (pid uintptr)

func loopCode() uintptr
