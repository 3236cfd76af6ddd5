package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unpacker writes a layer into a directory of its own, as a lower directory for overlay:
// a whiteout is a character device 0:0, an opaque directory has an extended attribute.
//
// Every path is resolved by the kernel beneath that directory (openat2, RESOLVE_IN_ROOT), so
// that no name and no symbolic link in the archive leads out of it.
type unpacker struct {
	root int
	// plain leaves out owners, for a process that can't give files away. In the user namespace
	// that maps its user to root, all is root's.
	plain bool

	parent   int    // directory of the last entry, or -1
	parentIs string // its name
	dirs     []entry
	whited   map[string]bool
	size     int64
	notes    map[string]int
}

// entry is a directory whose mode and times are set when nothing will be written to it any more.
type entry struct {
	name string
	mode uint32
	time [2]unix.Timespec
}

// unpack reads a tar archive into dir, which should be empty. It returns the bytes of its files,
// and what could not be kept. It stops at the first entry that can't be made.
func unpack(dir string, r io.Reader, plain bool) (size int64, notes []string, err error) {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	u := &unpacker{root: root, plain: plain, parent: -1, whited: map[string]bool{}, notes: map[string]int{}}
	defer u.close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return u.size, nil, err
		}
		if err := u.entry(h, tr); err != nil {
			return u.size, nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
	if err := u.finish(); err != nil {
		return u.size, nil, err
	}
	for what, n := range u.notes {
		notes = append(notes, fmt.Sprintf("%s (%d files)", what, n))
	}
	slices.Sort(notes)
	return u.size, notes, nil
}

func (u *unpacker) close() {
	u.forget()
	unix.Close(u.root)
}

func (u *unpacker) note(what string) { u.notes[what]++ }

// Names with a meaning in layers (OCI image-spec, layer.md).
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	aufs     = ".wh..wh." // aufs's own business
)

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := local(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeDir, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return fmt.Errorf("unknown kind of entry %q", h.Typeflag)
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root is no directory")
		}
		return u.attributes(u.root, ".", name, h)
	}
	dir, base := path.Split(name)
	if err := u.enter(path.Clean(dir)); err != nil {
		return err
	}
	switch {
	case base == opaque:
		return u.opaque(u.parent, ".")
	case strings.HasPrefix(base, aufs):
		return nil
	case strings.HasPrefix(base, whiteout):
		return u.whiteout(name, strings.TrimPrefix(base, whiteout))
	}

	var st unix.Stat_t
	there := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	if there && st.Mode&unix.S_IFMT == unix.S_IFDIR && h.Typeflag == tar.TypeDir {
		return u.attributes(u.parent, base, name, h)
	}
	if there {
		if err := removeAt(u.parent, base); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(u.parent, base, 0o700); err != nil {
			return err
		}
		// Deleted and made anew in one layer: what the lower ones have there is gone.
		if u.whited[name] {
			if err := u.opaque(u.parent, base); err != nil {
				return err
			}
		}
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if err := u.file(base, h, content); err != nil {
			return err
		}
	case tar.TypeLink:
		return u.link(base, h.Linkname)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, u.parent, base); err != nil {
			return err
		}
	default:
		made, err := u.node(base, h)
		if !made {
			return err
		}
	}
	return u.attributes(u.parent, base, name, h)
}

// local cleans an entry's name: relative to the root, and within it.
func local(name string) (string, error) {
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return "", errors.New("leads out of the image")
	}
	return name, nil
}

// open opens a directory, following links as a process would whose root is u.root.
func (u *unpacker) open(name string) (int, error) {
	for {
		fd, err := unix.Openat2(u.root, name, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
		if err != unix.EAGAIN && err != unix.EINTR { // EAGAIN: something was renamed meanwhile
			return fd, err
		}
	}
}

// enter makes name the parent of what is written next, making it where it is missing.
func (u *unpacker) enter(name string) error {
	if u.parent >= 0 && u.parentIs == name {
		return nil
	}
	fd, err := u.open(name)
	if err == unix.ENOTDIR {
		err = u.revive(name)
	}
	if err == unix.ENOENT {
		fd, err = u.mkdirs(name, 0)
	}
	if err != nil {
		return err
	}
	u.forget()
	u.parent, u.parentIs = fd, name
	return nil
}

// revive makes room for a directory whose whiteout came before: it answers ENOENT if there was one.
func (u *unpacker) revive(name string) error {
	for p := name; p != "."; p = path.Dir(p) {
		if !u.whited[p] {
			continue
		}
		if err := u.enter(path.Dir(p)); err != nil {
			return err
		}
		base := path.Base(p)
		if err := removeAt(u.parent, base); err != nil {
			return err
		}
		if err := unix.Mkdirat(u.parent, base, 0o755); err != nil {
			return err
		}
		delete(u.whited, p)
		if err := u.opaque(u.parent, base); err != nil {
			return err
		}
		return unix.ENOENT
	}
	return unix.ENOTDIR
}

// forget drops the parent that enter keeps.
func (u *unpacker) forget() {
	if u.parent >= 0 {
		unix.Close(u.parent)
		u.parent = -1
	}
}

// mkdirs opens name after making each directory of it that is missing, 0755 and root's,
// and those that a link in the way points to.
func (u *unpacker) mkdirs(name string, links int) (int, error) {
	if links > 40 {
		return -1, unix.ELOOP
	}
	fd, err := u.open(name)
	if err != unix.ENOENT || name == "." {
		return fd, err
	}
	dir, base := path.Split(name)
	parent, err := u.mkdirs(path.Clean("./"+dir), links)
	if err != nil {
		return -1, err
	}
	err = unix.Mkdirat(parent, base, 0o755)
	if err == nil {
		unix.Close(parent)
		return u.open(name)
	}
	text := make([]byte, unix.PathMax)
	n, lerr := unix.Readlinkat(parent, base, text)
	unix.Close(parent)
	if err != unix.EEXIST || lerr != nil {
		return -1, err
	}
	target := string(text[:n])
	if !path.IsAbs(target) {
		target = path.Join(dir, target)
	}
	target = strings.TrimLeft(path.Clean("/"+target), "/")
	if fd, err = u.mkdirs(path.Clean("./"+target), links+1); err != nil {
		return -1, err
	}
	unix.Close(fd)
	return u.open(name)
}

// file writes a regular file; its attributes come after.
func (u *unpacker) file(base string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(u.parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), h.Name)
	n, err := io.Copy(f, content)
	u.size += n
	return errors.Join(err, f.Close())
}

// link makes a hard link to an earlier entry.
func (u *unpacker) link(base, to string) error {
	to, err := local(to)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", to, err)
	}
	dir, toBase := path.Split(to)
	fd, err := u.open(path.Clean("./" + dir))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", to, err)
	}
	defer unix.Close(fd)
	if err := unix.Linkat(fd, toBase, u.parent, base, 0); err != nil {
		return fmt.Errorf("hard link to %q: %w", to, err)
	}
	return nil
}

// node makes a device node or fifo; false without an error leaves it out.
func (u *unpacker) node(base string, h *tar.Header) (bool, error) {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
	var dev uint64
	if h.Typeflag != tar.TypeFifo {
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 { // MKDEV, linux/kdev_t.h
			return false, fmt.Errorf("no device has number %d:%d", h.Devmajor, h.Devminor)
		}
		dev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	}
	err := unix.Mknodat(u.parent, base, kind|0o600, int(dev))
	if err == unix.EPERM && h.Typeflag != tar.TypeFifo {
		u.note("device nodes are left out: making them needs root")
		return false, nil
	}
	return err == nil, err
}

// whiteout hides what lower layers have at the parent's entry base. Not what this one has: there it
// means that only the lower layers' is gone.
func (u *unpacker) whiteout(name, base string) error {
	if base == "" || base == "." || base == ".." {
		return errors.New("a whiteout of nothing")
	}
	u.whited[path.Join(path.Dir(name), base)] = true
	err := unix.Mknodat(u.parent, base, unix.S_IFCHR, 0)
	if err != unix.EEXIST {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return u.opaque(u.parent, base)
	}
	return nil
}

// opaque hides what lower layers have in a directory. Overlays that are mounted in a user
// namespace read the attribute of the user's kind (mount option userxattr).
func (u *unpacker) opaque(dir int, base string) error {
	at := procPath(dir, base)
	ours := unix.Lsetxattr(at, "user.overlay.opaque", []byte("y"), 0)
	err := unix.Lsetxattr(at, "trusted.overlay.opaque", []byte("y"), 0)
	if err == unix.EPERM {
		err = ours
	}
	if err != nil {
		return fmt.Errorf("marking the directory opaque: %w", err)
	}
	return nil
}

// procPath names an entry of an open directory for calls that take paths only.
func procPath(dir int, base string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, base) }

const (
	paxXattr = "SCHILY.xattr."
	noCaps   = "file capabilities and other privileged attributes are left out: setting them needs root"
)

// attributes gives an entry its owner, extended attributes, mode and times, in this order: a new owner
// clears the setuid bits and the file capabilities.
func (u *unpacker) attributes(dir int, base, name string, h *tar.Header) error {
	link := h.Typeflag == tar.TypeSymlink
	if !u.plain {
		err := unix.Fchownat(dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.EINVAL {
			u.note("owners that are not mapped in this user namespace are left out")
		} else if err != nil {
			return fmt.Errorf("owner %d:%d: %w", h.Uid, h.Gid, err)
		}
	}
	mode := uint32(h.Mode) & 0o7777
	times := [2]unix.Timespec{timespec(h.AccessTime, h.ModTime), timespec(h.ModTime, h.ModTime)}
	if h.Typeflag == tar.TypeDir {
		u.dirs = append(u.dirs, entry{name, mode, times})
	} else if !link {
		// Nothing is followed: the entry was made a moment ago, in a directory of ours.
		if err := unix.Fchmodat(dir, base, mode, 0); err != nil {
			return err
		}
	}
	if err := u.xattrs(dir, base, h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	return unix.UtimesNanoAt(dir, base, times[:], unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) xattrs(dir int, base string, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		attr, ok := strings.CutPrefix(key, paxXattr)
		if !ok || strings.HasPrefix(attr, "trusted.overlay.") || strings.HasPrefix(attr, "user.overlay.") {
			// Overlay's own would let an archive redirect paths of the lower layers.
			continue
		}
		switch err := unix.Lsetxattr(procPath(dir, base), attr, []byte(value), 0); err {
		case nil:
		case unix.EPERM:
			u.note(noCaps)
		case unix.ENOTSUP:
			u.note("the filesystem keeps no attributes such as " + attr)
		default:
			return fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	return nil
}

// finish sets modes and times of directories, those beneath before those above.
func (u *unpacker) finish() error {
	u.forget()
	last := map[string]entry{} // the last entry of a name counts
	for _, d := range u.dirs {
		last[d.name] = d
	}
	names := slices.SortedFunc(maps.Keys(last), func(a, b string) int {
		return strings.Count("./"+b, "/") - strings.Count("./"+a, "/")
	})
	if i := slices.Index(names, "."); i >= 0 { // above all others
		names = append(slices.Delete(names, i, i+1), ".")
	}
	for _, n := range names {
		d := last[n]
		fd, err := u.open(n)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue // replaced by something else
		}
		if err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
		// In this order: a mode may take away the right to search it, even for times.
		err = unix.UtimesNanoAt(fd, ".", d.time[:], 0)
		if err == nil {
			err = unix.Fchmod(fd, d.mode)
		}
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
	}
	return nil
}

// timespec is t, or where the archive has none, other.
func timespec(t, other time.Time) unix.Timespec {
	if t.IsZero() {
		t = other
	}
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// removeAt removes an entry of an open directory with all beneath it, following no links.
// Directories that their owner may not write to are no obstacle.
func removeAt(dir int, base string) error {
	err := unix.Unlinkat(dir, base, 0)
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	if err := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); err != unix.ENOTEMPTY && err != unix.EACCES {
		return err
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.EACCES {
		// As its owner, not as root: give ourselves the rights first.
		if err = unix.Fchmodat(dir, base, 0o700, 0); err == nil {
			fd, err = unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	if os.Geteuid() != 0 {
		unix.Fchmod(fd, 0o700)
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAt(fd, n); err != nil {
			return err
		}
	}
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}
