package trace

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
)

// look describes the file that the refused call of e was about: the path that it named, or the file
// behind its descriptor. It opens nothing but handles (O_PATH), and follows the container's paths within
// the container's root. It looks after the call: the file may have changed since.
func (w *Watcher) look(name string, e event.Event, r root) *event.File {
	params := abi.Params(name)
	if len(params) == 0 {
		return nil
	}
	if i := pathArg(name, params); i >= 0 {
		path, ok := e.Strings[i]
		if !ok || path == "" {
			return nil
		}
		dir := unix.AT_FDCWD
		if i > 0 && params[i-1].Kind == abi.KindDirFD {
			dir = int(int32(e.Args[i-1]))
		}
		return w.lookAt(e, absolute(e.TID, dir, path), r)
	}
	if params[0].Kind != abi.KindFD {
		return nil
	}
	link := proc(e.TID, "fd/"+strconv.Itoa(int(int32(e.Args[0]))))
	path, err := os.Readlink(link)
	if err != nil {
		return nil
	}
	f := &event.File{Path: path, UID: -1, GID: -1}
	if fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		w.describe(f, fd, e, r)
		unix.Close(fd)
	}
	return f
}

// pathArg is the argument whose file decides whether a call is allowed; -1 if it names none.
func pathArg(name string, params []abi.Param) int {
	switch name {
	case "mount": // where to
		return 1
	case "symlink": // what it says is free
		return 1
	case "symlinkat":
		return 2
	}
	for i, p := range params {
		if p.Kind == abi.KindPath {
			return i
		}
	}
	return -1
}

func firstPath(name string, strings map[int]string) string {
	return strings[max(0, pathArg(name, abi.Params(name)))]
}

// absolute is a path as the container sees it, from the directory that a call of tid started at.
func absolute(tid, dir int, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	link := proc(tid, "cwd")
	if dir != unix.AT_FDCWD {
		link = proc(tid, "fd/"+strconv.Itoa(dir))
	}
	base, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(base, "/") {
		return path
	}
	return strings.TrimSuffix(base, "/") + "/" + path
}

// lookAt describes what stands at path in the root of the caller. Of a file that is not there
// it says where it would be.
func (w *Watcher) lookAt(e event.Event, path string, r root) *event.File {
	f := &event.File{Path: path, UID: -1, GID: -1}
	v := w.view(e.TID, r)
	if v == nil || !strings.HasPrefix(path, "/") {
		return f
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	path = unself(e, path)
	fd, err := unix.Openat2(v.dir, path, &how)
	if err == nil {
		w.describe(f, fd, e, r)
		unix.Close(fd)
		return f
	}
	parent := strings.TrimRight(path, "/")
	parent = parent[:strings.LastIndexByte(parent, '/')+1]
	if fd, err := unix.Openat2(v.dir, parent, &how); err == nil {
		v.place(f, fd)
		unix.Close(fd)
	}
	return f
}

// unself is path with the caller's own process in place of /proc/self, which is somebody else to us.
func unself(e event.Event, path string) string {
	rest, ok := strings.CutPrefix(path, "/proc/self/")
	if !ok {
		return path
	}
	status, err := os.ReadFile(proc(e.PID, "status"))
	if err != nil {
		return path
	}
	ids := strings.Fields(statusField(status, "NSpid"))
	if len(ids) == 0 {
		return path
	}
	return "/proc/" + ids[len(ids)-1] + "/" + rest
}

// describe fills f with what a handle tells.
func (w *Watcher) describe(f *event.File, fd int, e event.Event, r root) {
	st, err := stat(fd)
	if err != nil {
		return
	}
	f.Mode, f.Dev = st.Mode, st.Rdev
	f.UID, f.GID = w.ids.inside(e.Own, e.PID, st.Uid, st.Gid)
	f.Caps = fileCaps(fd)
	if v := w.view(e.TID, r); v != nil {
		v.place(f, fd)
	}
}

func stat(fd int) (st unix.Stat_t, err error) {
	return st, unix.Fstat(fd, &st)
}

// fileCaps are the capabilities of the file behind a handle.
func fileCaps(fd int) caps.FileCaps {
	var buf [64]byte
	n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(fd), "security.capability", buf[:])
	if err != nil {
		return caps.FileCaps{}
	}
	c, err := caps.ParseXattr(buf[:n])
	if err != nil {
		return caps.FileCaps{}
	}
	return c
}

// root is a root directory as the kernel knows it: the addresses of its mount and its dentry.
type root [2]uint64

// view is a root directory and what is mounted beneath it. It is kept, since a process may be
// gone before we look: many die of what they were refused.
type view struct {
	dir    int // an O_PATH handle
	mounts []byte
}

const maxViews = 64

// view is what tid sees, or saw; nil where that was not looked at in time.
func (w *Watcher) view(tid int, r root) *view {
	now := viewOf(tid)
	if known := w.views[r]; known != nil {
		if now != nil {
			unix.Close(now.dir)
			known.mounts = now.mounts
		}
		return known
	}
	if now == nil {
		return nil
	}
	w.keep(now, r)
	return now
}

func (w *Watcher) keep(v *view, r root) {
	if len(w.views) == maxViews { // programs that make roots by the dozen look out for themselves
		for r, v := range w.views {
			unix.Close(v.dir)
			delete(w.views, r)
		}
	}
	if w.views == nil {
		w.views = map[root]*view{}
	}
	w.views[r] = v
}

// viewOf is what a process sees now; nil if it is gone.
func viewOf(pid int) *view {
	dir, err := unix.Open(proc(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	mounts, err := os.ReadFile(proc(pid, "mountinfo"))
	if err != nil || len(mounts) == 0 { // a process that ends has no namespace
		unix.Close(dir)
		return nil
	}
	return &view{dir, mounts}
}

// forget closes the views.
func (w *Watcher) forget() {
	for _, v := range w.views {
		unix.Close(v.dir)
	}
	w.views = nil
	if w.begin != nil {
		unix.Close(w.begin.dir)
		w.begin = nil
	}
}

// place says which mount a handle is in, and of what kind that is.
func (v *view) place(f *event.File, fd int) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return
	}
	id := statusField(append([]byte("\n"), info...), "mnt_id")
	if id == "" {
		return
	}
	// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue   (proc_pid_mountinfo(5))
	for line := range bytes.Lines(v.mounts) {
		if !bytes.HasPrefix(line, []byte(id+" ")) {
			continue
		}
		before, after, _ := strings.Cut(string(line), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if len(mount) < 6 || len(super) < 3 {
			return
		}
		f.Mount, f.FS, f.Flags = unescape(mount[4]), super[0], nil
		for _, o := range strings.Split(mount[5], ",") {
			switch o {
			case "ro", "nosuid", "nodev", "noexec":
				f.Flags = append(f.Flags, o)
			}
		}
		if strings.HasPrefix(super[2], "ro") && (len(f.Flags) == 0 || f.Flags[0] != "ro") {
			f.Flags = append([]string{"ro"}, f.Flags...)
		}
		return
	}
}

// unescape takes back the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// statusField is the value of a field of /proc/PID/status, or of another file with lines "name:\tvalue".
func statusField(status []byte, name string) string {
	_, rest, ok := bytes.Cut(status, []byte("\n"+name+":"))
	if !ok {
		return ""
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(bytes.TrimSpace(line))
}
