// Package trace watches what is refused inside a container, without ptrace, since the
// workload may itself be a debugger.
//
// As root it does so by eBPF: Attach, whose programs are in program.go, what they hand over in
// record.go, and what becomes of that in events.go. Else by a seccomp listener: notify.go.
// Filters (filters.go) reads the filters that a process runs under.
package trace

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/internal/host/sys"
	"porthole/seccomp"
)

// ErrUnavailable is what Attach's error wraps where eBPF cannot be had: no root, no BTF, a kernel
// before 5.13. The other way needs none of it: see Target.Listener.
var ErrUnavailable = errors.New("calls cannot be watched by eBPF here")

// Target says what is watched.
type Target struct {
	// PID is a process that is about to become the watched program: at its container's start gate.
	// It and all that it brings into the world are watched, from its next execve on. 0: see Watcher.Add.
	PID int
	// Running is a process that runs already: all that is in its pid namespace is watched, or where
	// that is ours, the process and what it brings into the world, from now on. 0: none.
	Running int

	// Listener is a seccomp listener, of a filter that Notifier made of Policy: the way
	// without eBPF. The watcher owns it.
	Listener *os.File
	Policy   seccomp.Policy
}

// Options say how to watch. See must be set.
type Options struct {
	// See is told every event, in order, on one goroutine. While it is busy events wait in the ring.
	See func(event.Event)

	Ring  int    // the ring buffer's size in bytes, rounded up to a power of two; 0: 64 MiB
	Cache string // a directory for what was found out about this kernel; "": none. It must be ours alone

	// Ignore are the errnos of calls that nobody is told of; nil: Noise. A call that a filter answered is
	// always told, and so are an execve of a file that is there, and ENOENT beneath /dev, /proc and /sys.
	Ignore []abi.Errno

	marks uint32 // for tests: how many there are
}

// Noise are the errnos with which calls fail in every healthy program: paths that are searched for,
// answers that are not there yet, descriptors that are no terminals.
var Noise = []abi.Errno{
	abi.Errno(unix.ENOENT), abi.Errno(unix.EAGAIN), abi.Errno(unix.EINTR), abi.Errno(unix.ECHILD), abi.Errno(unix.ENOTTY),
	abi.Errno(unix.ESPIPE), abi.Errno(unix.ETIMEDOUT), abi.Errno(unix.EINPROGRESS), abi.Errno(unix.EEXIST), abi.Errno(unix.ENODATA),
}

// Watcher watches until it is closed.
type Watcher struct {
	opt   Options
	sight event.Sight

	// By eBPF.
	lay     *layout
	maps    *maps
	links   []int
	progs   []*ebpf.Program
	reader  *ringbuf.Reader
	started atomic.Bool // what is seen is the program's and not the set-up's
	ids     idMaps
	views   map[root]*view // the reading goroutine's
	begin   *view          // the first process's, before it is watched

	done   chan struct{}
	err    error // why watching ended early
	mu     sync.Mutex
	closed bool

	listener *listener
}

// Attach begins to watch t. What it set up ends with Close or with ctx, and with this process,
// however that ends. Without eBPF and without a listener the error wraps ErrUnavailable.
func Attach(ctx context.Context, t Target, o Options) (*Watcher, error) {
	if o.Ignore == nil {
		o.Ignore = Noise
	}
	w := &Watcher{opt: o, done: make(chan struct{})}
	if t.Listener != nil {
		w.listen(t)
		return w, w.closeWith(ctx)
	}
	if err := w.attach(); err != nil {
		w.release()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	go w.read()
	var err error
	switch {
	case t.PID != 0:
		err = w.Add(t.PID)
	case t.Running != 0:
		err = w.join(t.Running)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, w.closeWith(ctx)
}

func (w *Watcher) closeWith(ctx context.Context) error {
	if ctx.Done() != nil {
		context.AfterFunc(ctx, func() { w.Close() })
	}
	return nil
}

func (w *Watcher) attach() (err error) {
	if registers.native == 0 {
		return errors.New("the registers of this processor are not known")
	}
	if w.lay, err = kernelLayout(w.opt.Cache); err != nil {
		return err
	}
	if err := w.lay.check(); err != nil {
		return err
	}
	if w.maps, err = newMaps(ringSize(w.opt.Ring), cmp.Or(w.opt.marks, 1<<16)); err != nil {
		return err
	}
	if w.reader, err = ringbuf.NewReader(w.maps.ring); err != nil {
		return err
	}
	// Enter before exit: an exit is taken for a filter's answer if nobody saw the call enter.
	for _, p := range []struct {
		tracepoint string
		make       func(*builder) asm.Instructions
	}{
		{"sys_enter", (*builder).enter}, {"sys_exit", (*builder).exit}, {"sched_process_fork", (*builder).fork},
		{"sched_process_exec", (*builder).exec}, {"sched_process_exit", (*builder).gone},
	} {
		if err := w.attachTo("btf_trace_"+p.tracepoint, ebpf.AttachTraceRawTp, p.make); err != nil {
			return err
		}
	}
	w.sight.Filtered, w.sight.Failed = true, true
	// cap_capable(cred, target_ns, capable_ns, cap, ret) is a tracepoint since 6.14; before, the function
	// cap_capable(cred, targ_ns, cap, opts) can be watched where it returns.
	err = w.attachTo("btf_trace_cap_capable", ebpf.AttachTraceRawTp, func(b *builder) asm.Instructions { return b.capable(8, 24, 32) })
	if errors.Is(err, errNoPlace) {
		err = w.attachTo("cap_capable", ebpf.AttachTraceFExit, func(b *builder) asm.Instructions { return b.capable(8, 16, 32) })
	}
	if w.sight.Caps = err == nil; !w.sight.Caps {
		w.sight.Notes = append(w.sight.Notes, fmt.Sprintf("capability checks cannot be seen: the tracepoint cap_capable came with Linux 6.14 (%v)", err))
	}
	return nil
}

func (w *Watcher) builder() *builder { return &builder{lay: w.lay, maps: w.maps, noise: w.opt.Ignore} }

func (w *Watcher) attachTo(place string, how ebpf.AttachType, make func(*builder) asm.Instructions) error {
	prog, err := w.lay.load(place, how, make(w.builder()))
	if err != nil {
		return err
	}
	link, err := sys.AttachTracing(prog.FD())
	if err != nil {
		prog.Close()
		return fmt.Errorf("attach to %s: %w", place, err)
	}
	w.progs, w.links = append(w.progs, prog), append(w.links, link)
	return nil
}

func ringSize(n int) uint32 {
	if n == 0 {
		n = 64 << 20
	}
	n = min(max(n, os.Getpagesize()), 1<<30)
	return 1 << bits.Len(uint(n-1))
}

// Add begins to watch pid and all that it brings into the world, from its next execve on. Whoever
// joins its pid namespace later is watched from an execve on, too.
func (w *Watcher) Add(pid int) error {
	if w.listener != nil {
		return nil // it sees whoever has the filter
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := w.setTarget(pid); err != nil {
		return err
	}
	w.ids.learn(pid)
	w.mu.Lock()
	if w.begin == nil {
		w.begin = viewOf(pid)
	}
	w.mu.Unlock()
	storage := make([]byte, taskSize)
	binary.NativeEndian.PutUint32(storage[taskCall:], ^uint32(0))
	if err := w.maps.tasks.Update(uint32(fd), storage, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	// Where we are in a pid namespace of our own the number is another's. Then the process is seen from
	// its first successful execve on, which looks at the storage.
	return w.maps.marks.Update(uint32(pid)%w.maps.marks.MaxEntries(), [4]uint32{uint32(pid), ^uint32(0)}, ebpf.UpdateAny)
}

// setTarget tells the programs which pid namespace is the container's, if it has one of its own.
func (w *Watcher) setTarget(pid int) error {
	var own, theirs unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &own); err != nil {
		return err
	}
	if err := unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/pid", &theirs); err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	if own.Ino == theirs.Ino {
		theirs.Ino = 0
	}
	return w.maps.target.Update(uint32(0), theirs.Ino, ebpf.UpdateAny)
}

// join begins to watch what runs already.
func (w *Watcher) join(pid int) error {
	w.started.Store(true)
	if err := w.Add(pid); err != nil {
		return err
	}
	prog, err := w.lay.load("bpf_iter_task", ebpf.AttachTraceIter, w.builder().mark())
	if err != nil {
		return fmt.Errorf("find what runs in the container: %w", err)
	}
	defer prog.Close()
	return overTasks(prog)
}

// Sight says what this watcher can see, and how many events found no room so far.
func (w *Watcher) Sight() event.Sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sight
	if !w.closed {
		s.Lost += w.lost()
	}
	return s
}

// lost counts what found no room in the ring, and calls of a program that the kernel left out since
// another run of it had been interrupted.
func (w *Watcher) lost() (n int) {
	if w.maps == nil {
		return 0
	}
	var each []uint64
	if err := w.maps.lost.Lookup(uint32(0), &each); err == nil {
		for _, v := range each {
			n += int(v)
		}
	}
	for _, p := range w.progs {
		if s, err := p.Stats(); err == nil {
			n += int(s.RecursionMisses)
		}
	}
	return n
}

// Close stops watching, once all that happened before has been told. It returns why watching
// ended early, if it did. It may be called again.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		<-w.done
		return w.err
	}
	w.sight.Lost += w.lost()
	w.closed = true
	w.mu.Unlock()
	if w.listener != nil {
		w.listener.stop()
		<-w.done
		return w.err
	}
	w.detach()
	w.reader.Flush()
	<-w.done
	w.release()
	return w.err
}

// Rest ends the watching of what has come to its end, once all that happened has been told; what the watcher
// loaded into the kernel stays for Again. Not for one with a listener.
func (w *Watcher) Rest() error {
	w.reader.Flush()
	<-w.done
	w.forget()
	return w.err
}

// Again begins anew after Rest, to watch what Add names, and tells see.
func (w *Watcher) Again(see func(event.Event)) {
	w.mu.Lock()
	w.opt.See, w.done = see, make(chan struct{})
	w.sight.Lost = -w.lost() // what was lost before is not this time's
	w.mu.Unlock()
	w.ids.mu.Lock()
	w.ids.all = nil // inodes of namespaces are given out again
	w.ids.mu.Unlock()
	w.started.Store(false)
	go w.read()
}

func (w *Watcher) detach() {
	for _, fd := range w.links {
		unix.Close(fd)
	}
	w.links = nil
}

func (w *Watcher) release() {
	w.detach()
	for _, p := range w.progs {
		p.Close()
	}
	if w.reader != nil {
		w.reader.Close()
	}
	if w.maps != nil {
		w.maps.close()
	}
	w.forget()
}

// read tells what comes out of the ring until the watcher is closed.
func (w *Watcher) read() {
	defer close(w.done)
	var rec ringbuf.Record
	for {
		err := w.reader.ReadInto(&rec)
		switch {
		case errors.Is(err, ringbuf.ErrFlushed), errors.Is(err, ringbuf.ErrClosed):
			return
		case err != nil:
			w.err = err
			return
		}
		if len(rec.RawSample) >= recSize {
			w.tell(rec.RawSample)
		}
	}
}
