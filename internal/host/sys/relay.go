package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relay has signals come as bytes in a pipe, which can be waited for together with other files and without a
// goroutine. (os/signal hands each signal of Notify to and fro between two threads, at Notify and again
// at Stop: eleven signals cost 120 context switches.)
type Relay struct {
	r, w int
	sigs []unix.Signal
	old  []sigaction // what stood before
}

// The kernel's struct sigaction, on amd64 and arm64 alike.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

var (
	relaying sync.Mutex
	relayFD  atomic.Int32 // read by the handler, in relay_*.s
)

// Catch has sigs come to the Relay that it returns, until Stop. One in a process gets them: as long as it does,
// further ones get none.
func Catch(sigs []unix.Signal) (*Relay, error) {
	c := &Relay{r: -1, w: -1}
	if !relaying.TryLock() {
		return c, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		relaying.Unlock()
		return nil, err
	}
	c.r, c.w, c.sigs, c.old = fds[0], fds[1], sigs, make([]sigaction, len(sigs))
	relayFD.Store(int32(c.w))
	const onStack, restart, restorer = 0x08000000, 0x10000000, 0x04000000 // SA_*, asm/signal.h
	act := sigaction{flags: onStack | restart | restorer, mask: ^uint64(0)}
	act.handler, act.restorer = relayCode()
	for i, sig := range sigs {
		setAction(sig, &act, &c.old[i])
	}
	return c, nil
}

// FD is what to poll for; it stays c's. -1 where this one gets no signals.
func (c *Relay) FD() int { return c.r }

// Next returns the next signal that has come; 0 where there is none.
func (c *Relay) Next() unix.Signal {
	var b [1]byte
	if n, _ := unix.Read(c.r, b[:]); n != 1 {
		return 0
	}
	return unix.Signal(b[0])
}

// Stop puts back what signals did before Catch.
func (c *Relay) Stop() {
	if c.r < 0 {
		return
	}
	for i, sig := range c.sigs {
		setAction(sig, &c.old[i], nil)
	}
	relayFD.Store(-1)
	unix.Close(c.r)
	unix.Close(c.w)
	c.r = -1
	relaying.Unlock()
}

// setAction cannot fail: the kernel takes every signal but SIGKILL and SIGSTOP.
func setAction(sig unix.Signal, act, old *sigaction) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

// relayCode returns the handler's address, and that of the return from it.
func relayCode() (handler, restorer uintptr)
