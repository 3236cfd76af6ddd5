package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxRead bounds what ReadFile reads.
const maxRead = 16 << 20

// ReadFile reads a small file of the image, such as etc/passwd, as a process in it would find
// it: through its layers, their whiteouts and its own symbolic links. It returns nil if there is no such file.
func (i *Image) ReadFile(name string) ([]byte, error) {
	fd, st, _, err := i.resolve(name)
	if fd < 0 || err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil
	}
	// Opened anew: the descriptor in hand is a mere name.
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// resolve finds a path of the image, through links. It returns an O_PATH descriptor, or -1, and
// the path without links.
func (i *Image) resolve(name string) (fd int, st unix.Stat_t, at string, err error) {
	for range 40 { // as many links as the kernel follows (MAXSYMLINKS, linux/namei.h)
		name = path.Clean("/" + name)[1:]
		if name == "" {
			name = "."
		}
		var next string
		if fd, st, next, err = i.walk(name); next == "" {
			return fd, st, name, err
		}
		name = next
	}
	return -1, st, name, &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

// ReadIn reads a small file as a process would find it whose root directory is root, of a
// running container for instance: links stay inside. It returns nil if there is no such file.
func ReadIn(root, name string) ([]byte, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.ENXIO {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root + "/" + name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// walk goes down a path to its end, or to the first link in it, and then returns where that leads.
func (i *Image) walk(name string) (fd int, st unix.Stat_t, next string, err error) {
	parts := strings.Split(name, "/")
	for n := range parts {
		at := strings.Join(parts[:n+1], "/")
		if fd, st, err = i.lookup(at); fd < 0 || err != nil {
			return -1, st, "", err
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFLNK {
			text := make([]byte, unix.PathMax)
			l, err := unix.Readlinkat(fd, "", text)
			unix.Close(fd)
			if err != nil {
				return -1, st, "", err
			}
			to := string(text[:l])
			if !path.IsAbs(to) {
				to = path.Join("/", path.Dir(at), to)
			}
			return -1, st, path.Join("/", to, path.Join(parts[n+1:]...)), nil
		}
		if n == len(parts)-1 {
			return fd, st, "", nil
		}
		unix.Close(fd)
		if kind != unix.S_IFDIR {
			break
		}
	}
	return -1, st, "", nil
}

// lookup finds a path, no link before its end, in the topmost layer that has it and isn't
// hidden by one above. It returns an O_PATH descriptor, or -1.
func (i *Image) lookup(at string) (fd int, st unix.Stat_t, err error) {
	for n := len(i.Layers) - 1; n >= 0; n-- {
		dir, err := unix.Open(i.Layers[n], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, st, &os.PathError{Op: "open", Path: i.Layers[n], Err: err}
		}
		fd, err := beneath(dir, at)
		if err == unix.ENOENT && !hides(dir, path.Dir(at)) {
			unix.Close(dir)
			continue
		}
		unix.Close(dir)
		if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
			return -1, st, nil // a layer that has something else there hides the lower ones
		}
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil {
			return -1, st, &os.PathError{Op: "open", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 { // whiteout
			unix.Close(fd)
			return -1, st, nil
		}
		return fd, st, nil
	}
	return -1, st, nil
}

// beneath opens a path of a layer without following any link.
func beneath(dir int, at string) (int, error) {
	return unix.Openat2(dir, at, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// hides says whether a layer's directory, or one above it, is opaque.
func hides(dir int, at string) bool {
	for ; at != "."; at = path.Dir(at) {
		fd, err := beneath(dir, at)
		if err != nil {
			continue
		}
		hidden := isOpaque(fd)
		unix.Close(fd)
		if hidden {
			return true
		}
	}
	return false
}

func isOpaque(dir int) bool {
	var y [1]byte
	_, trusted := unix.Lgetxattr(procPath(dir, "."), "trusted.overlay.opaque", y[:])
	_, user := unix.Lgetxattr(procPath(dir, "."), "user.overlay.opaque", y[:])
	return trusted == nil || user == nil
}

// CopyTo copies what the image has beneath a directory into dir, which becomes like it; nothing if the
// image has no such directory. Owners need root, as in unpacking.
func (i *Image) CopyTo(target, dir string) error {
	fd, st, at, err := i.resolve(target)
	if fd < 0 || err != nil {
		return err
	}
	unix.Close(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	to, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(to)
	for _, layer := range i.Layers {
		from, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: layer, Err: err}
		}
		err = copyLayer(from, at, to)
		unix.Close(from)
		if err != nil {
			return fmt.Errorf("copying /%s of the image: %w", at, err)
		}
	}
	return nil
}

// copyLayer puts what one layer has at a path over what the lower ones had there.
func copyLayer(layer int, at string, to int) error {
	fd, err := beneath(layer, at)
	if err != nil && err != unix.ENOENT && err != unix.ENOTDIR && err != unix.ELOOP {
		return err
	}
	var st unix.Stat_t
	if err == nil {
		defer unix.Close(fd)
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
	}
	there := err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	if err != unix.ENOENT && !there || hides(layer, path.Dir(at)) {
		if err := clear(to); err != nil { // something else stood here, and no layer beneath shows
			return err
		}
	}
	if !there {
		return nil
	}
	from, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return copyDir(from, to)
}

func clear(dir int) error {
	names, err := namesIn(dir)
	for _, n := range names {
		err = errors.Join(err, removeAt(dir, n))
	}
	return err
}

func namesIn(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

// copyDir merges a layer's directory into another.
func copyDir(from, to int) error {
	if isOpaque(from) {
		if err := clear(to); err != nil {
			return err
		}
	}
	names, err := namesIn(from)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := copyEntry(from, to, n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	return copyAttributes(from, to, ".", st)
}

func copyEntry(from, to int, name string) error {
	var st, old unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	there := unix.Fstatat(to, name, &old, unix.AT_SYMLINK_NOFOLLOW) == nil
	merge := there && kind == unix.S_IFDIR && old.Mode&unix.S_IFMT == unix.S_IFDIR
	if there && !merge {
		if err := removeAt(to, name); err != nil {
			return err
		}
	}
	switch {
	case kind == unix.S_IFCHR && st.Rdev == 0: // whiteout
		return nil
	case kind == unix.S_IFDIR:
		if !merge {
			if err := unix.Mkdirat(to, name, 0o700); err != nil {
				return err
			}
		}
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		in, err := unix.Openat(from, name, flags, 0)
		if err != nil {
			return err
		}
		defer unix.Close(in)
		out, err := unix.Openat(to, name, flags, 0)
		if err != nil {
			return err
		}
		defer unix.Close(out)
		return copyDir(in, out)
	case kind == unix.S_IFREG:
		in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r := os.NewFile(uintptr(in), name)
		defer r.Close()
		out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		w := os.NewFile(uintptr(out), name)
		_, err = io.Copy(w, r)
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
	case kind == unix.S_IFLNK:
		text := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(from, name, text)
		if err == nil {
			err = unix.Symlinkat(string(text[:n]), to, name)
		}
		if err != nil {
			return err
		}
	default:
		if err := unix.Mknodat(to, name, kind|0o600, int(st.Rdev)); err != nil {
			return err
		}
	}
	return copyAttributes(from, to, name, st)
}

// copyAttributes gives an entry the owner, attributes, mode and times of another of that name.
func copyAttributes(from, to int, name string, st unix.Stat_t) error {
	if os.Geteuid() == 0 {
		if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(procPath(from, name), list)
	if err != nil && err != unix.ENOTSUP {
		return err
	}
	for _, attr := range strings.Split(strings.TrimRight(string(list[:max(n, 0)]), "\x00"), "\x00") {
		if attr == "" || strings.Contains(attr, ".overlay.") {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX, linux/limits.h
		n, err := unix.Lgetxattr(procPath(from, name), attr, value)
		if err == nil {
			err = unix.Lsetxattr(procPath(to, name), attr, value[:n], 0)
		}
		if err != nil && err != unix.EPERM && err != unix.ENOTSUP {
			return fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	// Last: it may take away the rights that the above needs.
	return unix.Fchmodat(to, name, st.Mode&0o7777, 0)
}
