package launch

import (
	"fmt"

	"porthole/abi"
	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// run carries out steps in this process, on the calling thread, by the rules of the
// child's loop. It fails with *StepError.
func (p *Process) run(steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	r := p.raft
	if r.used+len(steps)*recSize > r.errs {
		return fmt.Errorf("plan: these steps have been run already")
	}
	first, err := r.lay(steps, nil)
	if err != nil {
		return err
	}
	records := r.data[first-sys.Addr(r.data) : r.used]
	errs := r.data[r.errs:]
	for i := 0; i < len(steps); {
		rec := records[i*recSize : (i+1)*recSize]
		var args [6]uintptr
		for j := range args {
			args[j] = uintptr(order.Uint64(rec[8*j:]))
			if rec[50]&(1<<j) != 0 {
				args[j] = uintptr(sys.Load64(r.page, int(args[j]-sys.Addr(r.page))))
			}
		}
		v, _, e := unix.Syscall6(uintptr(order.Uint16(rec[48:])), args[0], args[1], args[2], args[3], args[4], args[5])
		skip, zero := order.Uint16(rec[54:]), order.Uint16(rec[56:])
		switch {
		case e != 0:
		case v == 0 && zero == 0xffff:
			e = unix.EPIPE
		case v == 0 && zero != skip:
			skip = zero
		default:
			r.setSlot(plan.Slot(order.Uint16(rec[52:])), int64(v))
		}
		if e != 0 {
			var ok bool
			if skip, ok = tolerated(errs[entSize*int(order.Uint16(rec[58:])):], abi.Errno(e)); !ok {
				return (&StepError{Index: i, Of: len(steps), Errno: abi.Errno(e), Parent: true}).at(steps, i, p.plan.Names)
			}
		}
		i += 1 + int(skip)
	}
	return nil
}

// tolerated looks errno up in a step's entries.
func tolerated(entries []byte, errno abi.Errno) (skip uint16, ok bool) {
	for ; ; entries = entries[entSize:] {
		switch e := abi.Errno(order.Uint16(entries)); e {
		case 0:
			return 0, false
		case plan.Any, errno:
			return order.Uint16(entries[2:]), true
		}
	}
}
