package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// A child that outlives its parent stands at the start gate with everything another process needs
// in a directory (Options.Keep): the page, which says how it stands and why it failed, and a FIFO
// for the byte that passes it on. It reads that FIFO, and has it open for writing too, so that it
// waits on although nobody else has. Whoever opens it for writing sees POLLERR once the child has
// executed its program or died, and cannot open it at all after that. No permission to trace the
// child is needed, which Yama or a user namespace might refuse.
const (
	pageFile = "page"
	passFile = "pass"
)

// makePass makes the FIFO and returns the child's and the parent's end.
func makePass(dir string) (child, parent int, err error) {
	name := filepath.Join(dir, passFile)
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return -1, -1, &os.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	if child, err = unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
		return -1, -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if parent, err = unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
		unix.Close(child)
		return -1, -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return child, parent, nil
}

// makePage makes the file behind the shared page.
func makePage(dir string, size int) (int, error) {
	name := filepath.Join(dir, pageFile)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		// Whole pages, so that no access beyond the end is a SIGBUS.
		page := unix.Getpagesize()
		size := int64((size + page - 1) &^ (page - 1))
		if err = unix.Ftruncate(fd, size); err == nil {
			// And on a disk that is full now and not later, when we write to them.
			if err = unix.Fallocate(fd, 0, 0, size); err == nil || err == unix.EOPNOTSUPP {
				return fd, nil
			}
		}
		unix.Close(fd)
	}
	return -1, &os.PathError{Op: "create", Path: name, Err: err}
}

// Reattach returns the child that a Start with Options.Keep = dir left at its start gate, for this
// process to Pass on and see Executed. It fails with ErrGone where the child has executed its program,
// or died, or was never cloned. The plan is not known here: a StepError has Index and Of, and no Step.
func Reattach(dir string) (*Process, error) {
	p := &Process{pidfd: -1, pass: -1, arrive: -1, wake: -1, keep: true}
	if err := p.reattach(dir); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Process) reattach(dir string) error {
	name := filepath.Join(dir, pageFile)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Size < pageCells || st.Size > 1<<24 {
		return fmt.Errorf("%s: %d bytes are not a page of ours", name, st.Size)
	}
	r := &raft{}
	if r.all, err = sys.Map(0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd); err != nil {
		return &os.PathError{Op: "map", Path: name, Err: err}
	}
	r.page, p.raft = r.all, r
	if p.pid = int(order.Uint32(r.page[pagePID:])); p.pid == 0 && r.slots() > int(plan.SlotPID) {
		p.pid = int(r.slot(plan.SlotPID)) // the kernel's own note, where the parent died before it made one
	}
	if heir := int(order.Uint32(r.page[pageHeir:])); heir > 0 && heir < r.slots() {
		if pid := r.slot(plan.Slot(heir)); pid > 0 && pid <= 1<<22 {
			p.pid = int(pid)
		}
	}
	if p.pid == 0 {
		return ErrGone
	}
	// First the pidfd, then the proof that the child is still there: so the number is its own.
	if p.pidfd, err = unix.PidfdOpen(p.pid, 0); err != nil {
		p.pidfd = -1
		return ErrGone
	}
	name = filepath.Join(dir, passFile)
	if p.pass, err = unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
		p.pass = -1
		if err == unix.ENXIO || err == unix.ENOENT {
			return ErrGone
		}
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	return nil
}

// Ahead says whether a gate of this kind lies behind the one at which the child stands.
func (p *Process) Ahead(id plan.GateID) bool {
	page, at := p.raft.page, p.standing()
	n := int(order.Uint32(page[pageGates:]))
	for i := range n {
		off := pageCells + 8*p.nslots() + 8*i
		if off+8 > len(page) {
			break
		}
		if int(order.Uint32(page[off+4:])) > at && plan.GateID(order.Uint32(page[off:])) == id {
			return true
		}
	}
	return false
}

// Waiting says at which gate the child stands, or is about to: the first that lies ahead of it.
func (p *Process) Waiting() (plan.GateID, bool) {
	page, at := p.raft.page, p.standing()
	n := int(order.Uint32(page[pageGates:]))
	for i := range n {
		off := pageCells + 8*p.nslots() + 8*i
		if off+8 > len(page) {
			break
		}
		if int(order.Uint32(page[off+4:])) >= at {
			return plan.GateID(order.Uint32(page[off:])), true
		}
	}
	return 0, false
}
