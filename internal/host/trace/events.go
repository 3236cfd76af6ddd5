package trace

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
)

// tell makes events of a record.
func (w *Watcher) tell(r raw) {
	ids := r.u64(recPID)
	e := event.Event{
		Time: int64(r.u64(recTime)), PID: int(ids >> 32), TID: int(uint32(ids)), Comm: r.text(recComm, 16),
		Own: r.u64(recUserNS), Arch: registers.native, Chroot: r.chrooted(w.lay),
	}
	flags := r.u32(recFlags)
	e.Who = w.who(r, recCred, flags, e.PID)
	switch kind := r.u32(recKind); kind {
	case recordExec:
		e.Kind, e.Secure = event.Exec, flags&flagSecure != 0
		e.Became = e.Who
		if e.Who = nil; flags&flagEntered != 0 {
			e.Who = w.who(r, recCredBefore, flags, e.PID)
		}
		if !w.started.Load() { // it is the one that stood at the gate
			w.mu.Lock()
			if w.begin != nil && w.views[rootOf(r)] == nil {
				w.keep(w.begin, rootOf(r))
				w.begin = nil
			}
			w.mu.Unlock()
		}
		w.program(&e, r)
		w.started.Store(true)
		w.opt.See(e)
	case recordExit:
		if w.started.Load() {
			e.Kind, e.Status = event.Exit, int(r.u64(recResult))
			e.Exe = exe(e.PID)
			w.opt.See(e)
		}
	default:
		w.call(e, r, kind, flags)
	}
}

// program is what was executed: its file as the kernel opened it.
func (w *Watcher) program(e *event.Event, r raw) {
	e.Exe = exe(e.PID)
	e.File = &event.File{Path: r.text(recData, readSize), Mode: r.u32(recFile)}
	e.File.UID, e.File.GID = w.ids.inside(e.Own, e.PID, r.u32(recFile+4), r.u32(recFile+8))
	e.Strings = map[int]string{0: e.File.Path}
	v := w.view(e.PID, rootOf(r))
	// It may be gone, or run something else by now; then what stands at that path is looked at.
	for _, open := range []func() (int, error){
		func() (int, error) { return unix.Open(proc(e.PID, "exe"), unix.O_PATH|unix.O_CLOEXEC, 0) },
		func() (int, error) {
			if v == nil || !strings.HasPrefix(e.File.Path, "/") {
				return -1, unix.ENOENT
			}
			return unix.Openat2(v.dir, e.File.Path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		},
	} {
		fd, err := open()
		if err != nil {
			continue
		}
		st, err := stat(fd)
		same := err == nil && st.Mode == e.File.Mode && st.Uid == r.u32(recFile+4)
		if same {
			e.File.Caps = fileCaps(fd)
			if v != nil {
				v.place(e.File, fd)
			}
		}
		unix.Close(fd)
		if same {
			return
		}
	}
}

// call makes events of a call that ended: first the checks that failed in it and may be why.
func (w *Watcher) call(e event.Event, r raw, kind, flags uint32) {
	e.Nr = r.u32(recNr)
	if flags&flagCompat != 0 {
		e.Arch = registers.compat
	} else if e.Arch == abi.X86_64 && e.Nr&abi.X32Bit != 0 && e.Nr != ^uint32(0) {
		e.Arch = abi.X32
	}
	if int32(e.Nr) == -1 {
		return // the way back from a signal handler, which has no number (restore_sigcontext)
	}
	name, _ := e.Arch.Name(e.Nr)
	exec := name == "execve" || name == "execveat"
	if !w.started.Load() && !exec {
		return // set-up
	}
	for i := range e.Args {
		e.Args[i] = r.u64(recArgs + 8*i)
	}
	if result := int64(r.u64(recResult)); result < 0 {
		e.Errno = abi.Errno(-result)
	}
	w.strings(&e, r)
	e.Exe = exe(e.PID)
	switch kind {
	case recordRead:
		e.Kind = event.Read
		e.File = &event.File{Path: firstPath(name, e.Strings)}
		w.opt.See(e)
		return
	case recordNack:
		e.Kind, e.Errno = event.Nack, abi.Errno(-int32(r.u32(recNetlink)))
		e.Netlink = event.Netlink{Type: uint16(r.u32(recNetlink + 4)), Protocol: uint16(r.u32(recNetlink+4) >> 16)}
		w.opt.See(e)
		return
	}
	e.Kind, e.Filtered = event.Refused, flags&flagEntered == 0
	if !e.Filtered {
		e.File = w.look(name, e, rootOf(r))
		absent := (e.Errno == abi.ENOENT || e.Errno == abi.Errno(unix.ENOTDIR)) && (e.File == nil || e.File.Mode == 0)
		if exec && absent && (!w.started.Load() || slices.Contains(w.opt.Ignore, e.Errno)) {
			return // a program is looked for along PATH; one that is there lacks its interpreter
		}
		w.checks(e, r)
	}
	if e.Errno != 0 {
		w.opt.See(e)
	}
}

// checks tells the capability checks that failed in the call of e and may be why that failed, or,
// where it did not, why the netlink request that it sent was.
func (w *Watcher) checks(e event.Event, r raw) {
	n := min(int(r.u32(recChecks)), maxChecks)
	type asked struct {
		cap caps.Cap
		ns  uint64
	}
	told := map[asked]bool{}
	for i := range n {
		at := recCheck + i*checkSize
		q := asked{caps.Cap(r.u32(at)), r.u64(at + 8)}
		var stack [stackDepth]uint64
		for k := range stack {
			if stack[k] = r.u64(at + 16 + 8*k); stack[k] == 0 {
				break
			}
		}
		if _, idle := w.lay.within(stack[:]); idle || told[q] || e.Errno != 0 && !decides(q.cap, e.Errno) {
			continue
		}
		told[q] = true
		d := e
		d.Kind, d.Cap, d.UserNS = event.Denied, q.cap, q.ns
		w.opt.See(d)
	}
	if more := int(r.u32(recMore)); more > 0 {
		w.mu.Lock()
		w.sight.Lost += more
		w.mu.Unlock()
	}
}

// strings are what pointers pointed at, as the program in the kernel read it, or where it could not,
// since that page was not there yet, as it is now.
func (w *Watcher) strings(e *event.Event, r raw) {
	name, _ := e.Arch.Name(e.Nr)
	packed := reads(e.Arch, e.Nr)
	for i := range maxReads {
		rd := read(packed >> (16 * i))
		if rd == 0 {
			break
		}
		size, text := rd.size(), rd&readString != 0
		n := min(int(r.u32(recLens+4*i)), size)
		data, ok := string(r[recData+i*readSize:][:n]), n > 0
		if n == 0 || text && n == size { // not there, or longer
			if later, err := memory(e.TID, e.Args[rd.arg()], size, text); err == nil {
				data, ok = later, true
			}
		}
		if !ok {
			continue
		}
		if e.Strings == nil {
			e.Strings = map[int]string{}
		}
		e.Strings[rd.arg()] = bounded(name, rd.arg(), e.Args, data, text)
	}
}

// who is the caller as its credentials at off say.
func (w *Watcher) who(r raw, off int, flags uint32, pid int) *caps.State {
	le := binary.NativeEndian
	ns := r.u64(recUserNS)
	id := func(field string) int {
		v, _ := w.ids.inside(ns, pid, le.Uint32(r.cred(w.lay, off, field)), 0)
		return v
	}
	set := func(field string) caps.Set { return caps.Set(le.Uint64(r.cred(w.lay, off, field))) }
	s := &caps.State{
		Inheritable: set("cap_inheritable"), Permitted: set("cap_permitted"), Effective: set("cap_effective"),
		Bounding: set("cap_bset"), Ambient: set("cap_ambient"),
		NoNewPrivs: flags&flagNNP != 0, Securebits: caps.Securebits(le.Uint32(r.cred(w.lay, off, "securebits"))),
	}
	s.UID, s.EUID, s.SUID, s.FSUID = id("uid"), id("euid"), id("suid"), id("fsuid")
	return s
}

func rootOf(r raw) root { return root{r.u64(recRoot), r.u64(recRoot + 8)} }

func proc(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

// exe is the program that a process runs now; "" if it is gone.
func exe(pid int) string {
	name, err := os.Readlink(proc(pid, "exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, " (deleted)")
}
