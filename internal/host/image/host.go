package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/sys"
	"porthole/plan"
)

// HostOptions say for what kind of container this machine's root is composed.
type HostOptions struct {
	// NewUser says that the container gets a user namespace of its own, in which every
	// mount of this machine is locked.
	NewUser bool
	// Own are porthole's own directories: what is mounted beneath them is left out.
	Own []string
	// Scratch and ScratchSize are handed on in the plan.Root.
	Scratch     string
	ScratchSize int64
}

// Host returns this machine's own root filesystem, to be mounted copy-on-write and thrown
// away: one overlay of "/" and one more for each further disk, since an overlay doesn't show
// what is mounted beneath its lower directory. Where the container has its own user namespace
// the kernel refuses "/" (has_locked_children in clone_private_mount, fs/namespace.c), so the
// root is put together from the directories that have no mounts of their own.
//
// Notes are what the user may want to know: parts that are read-only or left out.
func Host(f facts.Facts, o HostOptions) (root plan.Root, c Config, notes []string, err error) {
	text, err := sys.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return root, c, nil, err
	}
	all, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return root, c, nil, fmt.Errorf("/proc/self/mountinfo: %w", err)
	}

	h := host{mounts: visible(all), own: o.Own, scratch: o.Scratch, mappedRoot: f.UID == 0 && o.NewUser}
	switch apart := o.NewUser || !f.UserNS.Initial; {
	case !apart && f.Features.Overlay:
		h.whole()
	case !apart:
		h.layers = []plan.Layer{{Target: "/", Bind: "/", ReadOnly: true}}
		h.note("this kernel has no overlay: the host's files are read-only")
	default:
		h.overlay = f.Features.OverlayUserNS
		if !h.overlay {
			h.note("this kernel has no overlay in user namespaces (Linux 5.11): the host's files are read-only")
		}
		if err := h.compose(); err != nil {
			return root, c, nil, err
		}
	}
	root = plan.Root{Layers: h.layers, Scratch: o.Scratch, ScratchSize: o.ScratchSize}
	return root, hostConfig(), h.notes, nil
}

// hostConfig is the image config of this machine.
func hostConfig() Config {
	shell := "/bin/sh"
	if fi, err := os.Stat("/bin/bash"); err == nil && fi.Mode().IsRegular() {
		shell = "/bin/bash"
	}
	return Config{Env: []string{defaultPath}, Cmd: []string{shell}, WorkingDir: "/"}
}

// host collects the layers of this machine's root.
type host struct {
	mounts     []*mountinfo.Info // visible ones
	own        []string
	scratch    string
	overlay    bool // pieces may be overlays
	mappedRoot bool // root is to be mapped to some other user, whose rights count

	layers []plan.Layer
	notes  []string
}

func (h *host) note(format string, a ...any) { h.notes = append(h.notes, fmt.Sprintf(format, a...)) }

// at returns what is mounted at path, or nil.
func (h *host) at(path string) *mountinfo.Info {
	for _, m := range h.mounts {
		if m.Mountpoint == path {
			return m
		}
	}
	return nil
}

// on returns the mount on which path stands.
func (h *host) on(path string) (best *mountinfo.Info) {
	for _, m := range h.mounts {
		if under(path, m.Mountpoint) && (best == nil || len(m.Mountpoint) > len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}

// below says whether anything is mounted beneath path.
func (h *host) below(path string) bool {
	for _, m := range h.mounts {
		if m.Mountpoint != path && under(m.Mountpoint, path) {
			return true
		}
	}
	return false
}

// keeps says whether what is mounted here is part of the machine's files.
func (h *host) keeps(m *mountinfo.Info) bool {
	for _, dir := range h.own {
		if under(m.Mountpoint, dir) {
			return false
		}
	}
	return kept(m)
}

// whole is the way of a root user: "/" as one overlay, further filesystems as their own.
func (h *host) whole() {
	h.layers = append(h.layers, h.piece("/", stat("/")))
	for _, m := range h.mounts {
		if m.Mountpoint == "/" || !h.keeps(m) {
			continue
		}
		switch st := stat(m.Mountpoint); st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			h.layers = append(h.layers, h.piece(m.Mountpoint, st))
		case unix.S_IFREG:
			h.layers = append(h.layers, plan.Layer{Target: m.Mountpoint, Bind: m.Mountpoint, ReadOnly: true})
		}
	}
	// /run says what runs here. As a rule it is a tmpfs, and the overlay shows the empty directory beneath.
	if h.at("/run") == nil && !empty("/run") {
		h.layers = append(h.layers, plan.Layer{Target: "/run", Dir: true, Cover: true, Mode: 0o755})
	}
}

// piece is an overlay of a directory without mounts of its own.
func (h *host) piece(path string, st unix.Stat_t) plan.Layer {
	l := plan.Layer{Target: path, Lower: []string{path}, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	if m := h.on(path); m != nil {
		l.Flags = flags(m)
	}
	return l
}

// maxEntries is how many a directory may have, in which something is mounted further below, to be
// put together from its entries: each costs an overlay at every start. Fuller ones are bound as they are,
// read-only, but for those in which everybody writes.
const maxEntries = 64

// compose is the way of a user namespace: an empty root, and in it a piece for each entry of
// "/", and so on down where something is mounted further below.
func (h *host) compose() error {
	h.layers = append(h.layers, plan.Layer{Target: "/", Dir: true, Mode: 0o755})
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	h.entries("/", entries)
	return nil
}

func (h *host) entries(dir string, entries []fs.DirEntry) {
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch e.Type() {
		case fs.ModeSymlink:
			if text, err := os.Readlink(path); err == nil {
				h.layers = append(h.layers, plan.Layer{Target: path, Link: text})
			}
		case fs.ModeDir:
			h.directory(path)
		case 0:
			if m := h.at(path); h.reads(path, stat(path)) && (m == nil || h.keeps(m)) {
				h.layers = append(h.layers, plan.Layer{Target: path, File: []byte{}, Mode: 0o644},
					plan.Layer{Target: path, Bind: path, ReadOnly: true})
			}
		}
	}
}

// directory adds an empty directory, and over it what path holds, as far as that is part of
// the machine's files and can be read.
func (h *host) directory(path string) {
	st := stat(path)
	mode := st.Mode & 0o7777
	h.layers = append(h.layers, plan.Layer{Target: path, Dir: true, Mode: mode})
	if fresh[path] {
		return
	}
	if m := h.at(path); m != nil && !h.keeps(m) {
		return
	}
	if !h.reads(path, st) || empty(path) {
		return
	}
	// Its entries one by one, where there are mounts below, and where a bind would
	// bring our own directory along.
	apart := h.below(path) || !h.overlay && under(h.scratch, path)
	var entries []fs.DirEntry
	if apart {
		entries, _ = os.ReadDir(path)
	}
	switch {
	case !apart && h.overlay:
		// Owners other than the user's own are not mapped: the merged directory is the container's root's.
		p := h.piece(path, st)
		p.UID, p.GID = 0, 0
		h.layers = append(h.layers, p)
	case apart && len(entries) <= maxEntries:
		h.entries(path, entries)
	case mode&unix.S_ISVTX != 0:
		if h.overlay { // else all is read-only, and that was said
			h.note("%s is empty: it is too full to be put together around what is mounted below it", path)
		}
	case under(h.scratch, path):
		h.note("%s is left out: filesystems and porthole's own directory are below it", path)
	default:
		if h.overlay {
			h.note("%s is read-only: filesystems are mounted below it", path)
		}
		h.layers = append(h.layers, plan.Layer{Target: path, Bind: path, ReadOnly: true})
	}
}

// reads says whether the container's root will be able to read path.
func (h *host) reads(path string, st unix.Stat_t) bool {
	if h.mappedRoot {
		bits := uint32(0o4)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			bits = 0o5
		}
		return st.Mode&bits == bits
	}
	bits := uint32(unix.R_OK)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		bits |= unix.X_OK
	}
	return unix.Access(path, bits) == nil
}

// stat is lstat; the zero value, no kind of file, where it fails.
func stat(path string) (st unix.Stat_t) {
	if unix.Lstat(path, &st) != nil {
		return unix.Stat_t{}
	}
	return st
}

// empty says that a directory holds nothing, or isn't there.
func empty(path string) bool {
	d, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer d.Close()
	names, _ := d.Readdirnames(1)
	return len(names) == 0
}

// under says whether path is dir or beneath it.
func under(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
