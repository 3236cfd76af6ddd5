package plan

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
)

// device is a node in /dev.
type device struct {
	path         string
	kind         uint64
	major, minor int64
	mode         uint32
	uid, gid     uint32
	refer        string
	index        int // in linux.devices, from 1; 0: a standard one
}

// The nodes that every container has (OCI runtime-spec, config-linux.md, "Default Devices").
var standardDevices = []device{
	{path: "/dev/null", kind: sIFCHR, major: 1, minor: 3, mode: 0o666},
	{path: "/dev/zero", kind: sIFCHR, major: 1, minor: 5, mode: 0o666},
	{path: "/dev/full", kind: sIFCHR, major: 1, minor: 7, mode: 0o666},
	{path: "/dev/random", kind: sIFCHR, major: 1, minor: 8, mode: 0o666},
	{path: "/dev/urandom", kind: sIFCHR, major: 1, minor: 9, mode: 0o666},
	{path: "/dev/tty", kind: sIFCHR, major: 5, minor: 0, mode: 0o666},
}

var devLinks = [][2]string{{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}}

// devices fills /dev, unless the spec binds one of the host's there.
func (b *builder) devices() error {
	for i, m := range b.s.Mounts {
		if b.options[i].bind && path.Clean(m.Destination) == "/dev" {
			return nil
		}
	}
	list, err := b.deviceList()
	if err != nil {
		return err
	}
	dev := b.devDir()
	own := b.fsAt["/dev"].kind == "tmpfs"
	for _, d := range list {
		b.refer("%s", d.refer)
		if err := b.node(dev, d, own && !b.mountedOver(d.path)); err != nil {
			return err
		}
	}
	b.from = ""

	b.why = "names that programs expect"
	for _, l := range devLinks {
		b.call("symlinkat", l[1], dev, l[0]).or(eexist)
	}
	var none label
	b.call("faccessat", atFDCWD, "/proc/kcore", 0).because("does this kernel have it?").orTo(&none, abi.ENOENT, abi.EACCES)
	b.call("symlinkat", "/proc/kcore", dev, "core").or(eexist)
	b.land(&none)
	if !own {
		b.call("unlinkat", dev, "ptmx", 0).because("the image's own would be the host's").or(abi.ENOENT)
	}
	b.call("symlinkat", "pts/ptmx", dev, "ptmx").because("terminals come from the container's own devpts").or(eexist)
	b.why = ""
	return nil
}

// devDir is the directory /dev: the tmpfs that was just mounted there, or the image's.
func (b *builder) devDir() Slot {
	if fs, ok := b.fsAt["/dev"]; ok && fs.kind == "tmpfs" {
		return fs.mount
	}
	return b.open("/dev", "dev")
}

// deviceList is the standard nodes and the spec's; one of the spec's replaces a standard one.
func (b *builder) deviceList() ([]device, error) {
	list := standardDevices[:len(standardDevices):len(standardDevices)]
	for i, d := range b.s.Linux.Devices {
		n := device{path: path.Clean("/" + d.Path), major: d.Major, minor: d.Minor, mode: 0o666, refer: fmt.Sprintf("linux.devices[%d]", i), index: i + 1}
		switch d.Type {
		case "c", "u":
			n.kind = sIFCHR
		case "b":
			n.kind = sIFBLK
		case "p":
			n.kind = sIFIFO
		default:
			return nil, fmt.Errorf("linux.devices[%d].type: %q is none of c, u, b, p", i, d.Type)
		}
		if !strings.HasPrefix(d.Path, "/") {
			return nil, fmt.Errorf("linux.devices[%d].path: %q is not an absolute path", i, d.Path)
		}
		if n.path == "/dev/ptmx" || n.path == "/dev/console" || n.path == "/" {
			continue // they lead to the container's own devpts, as in runc (createDevices)
		}
		if d.Major < 0 || d.Major > 0xfff || d.Minor < 0 || d.Minor > 0xfffff {
			return nil, fmt.Errorf("linux.devices[%d]: %d:%d is no device number", i, d.Major, d.Minor)
		}
		if d.FileMode != nil {
			n.mode = uint32(*d.FileMode) & 0o7777
		}
		if d.UID != nil {
			n.uid = *d.UID
		}
		if d.GID != nil {
			n.gid = *d.GID
		}
		same := -1
		for k := range list {
			if list[k].path == n.path {
				same = k
			}
		}
		if same >= 0 {
			list = append([]device(nil), list...)
			list[same] = n
		} else {
			list = append(list, n)
		}
	}
	return list, nil
}

// mountedOver says that the spec mounts something at p.
func (b *builder) mountedOver(p string) bool {
	return slices.ContainsFunc(b.s.Mounts, func(m specs.Mount) bool { return path.Clean("/"+m.Destination) == p })
}

// node makes a device node, or where that is not for us (mknod(2) takes CAP_MKNOD in the first
// user namespace: vfs_mknod, fs/namei.c) binds one of the host's: its own of that path, or where we are root of the
// machine, one made for the spec's.
// empty says that nothing can be there yet.
func (b *builder) node(dev Slot, d device, empty bool) error {
	dir, name := dev, path.Base(d.path)
	if path.Dir(d.path) != "/dev" {
		dir = b.parents(d.path)
	}
	if d.kind != sIFIFO && (b.inUserNS() || !b.f.Caps.Effective.Has(caps.CAP_MKNOD)) {
		b.call("openat", dir, name, oCreat|oExcl|b.nofollow|oCloexec, 0o666).because("a file to bind " + d.path + " over").or(eexist)
		if d.index != 0 && b.mappedRoot() && b.spaces.fresh&newNS != 0 && b.f.UserNS.Initial && b.f.Caps.Effective.Has(caps.CAP_MKNOD) {
			if err := b.makeNode(d); err != nil {
				return err
			}
			b.call("open_tree", b.nodes, strconv.Itoa(d.index), openTreeClone|openTreeCloexec).because("a user namespace makes no devices, but the parent did")
		} else {
			b.call("open_tree", atFDCWD, d.path, openTreeClone|openTreeCloexec).because("the host's: a user namespace makes no devices")
		}
		b.attach(b.to("node"), place{dir: dir, name: name}, d.path)
		return nil
	}
	var done label
	b.call("mknodat", dir, name, d.kind|uint64(d.mode), devNumber(d.major, d.minor)).because(fmt.Sprintf("%s, %d:%d", d.path, d.major, d.minor))
	if !empty {
		b.orTo(&done, eexist)
	}
	if d.uid != 0 || d.gid != 0 {
		b.call("fchownat", dir, name, int(d.uid), int(d.gid), atSymlinkNoFollow).because("its owner")
	}
	b.land(&done)
	return nil
}

// makeNode has the parent make a device, as root of the machine, in b.nodes, which is in no place yet. The child puts that
// over its own "/", where it is seen by nobody and goes with the old root: a piece of what is in no place can be had
// since Linux 6.15 alone.
func (b *builder) makeNode(d device) error {
	uid, uidThere := outside(b.s.Linux.UIDMappings, d.uid)
	gid, gidThere := outside(b.s.Linux.GIDMappings, d.gid)
	if !uidThere || !gidThere {
		return fmt.Errorf("%s: its owner, %d:%d, has no id in the container's user namespace", d.refer, d.uid, d.gid)
	}
	first := b.nodes == NoSlot
	b.in(&b.p.Before, func() {
		if first {
			b.call("fsopen", "tmpfs", fsopenCloexec).because("a filesystem for devices, which a user namespace cannot make")
			fs := b.to("fs")
			b.call("fsconfig", fs, fsconfigCreate, nil, nil, 0).because("the filesystem itself")
			b.call("fsmount", fs, fsmountCloexec, 0).because("a mount of it, in no place")
			b.nodes = b.to("nodes")
			b.in(&b.p.After, func() {
				b.call("close", fs)
				b.call("close", b.nodes).because("the child has it")
			})
		}
		name := strconv.Itoa(d.index)
		b.call("mknodat", b.nodes, name, d.kind|uint64(d.mode), devNumber(d.major, d.minor)).because(fmt.Sprintf("%s, %d:%d", d.path, d.major, d.minor))
		b.call("fchownat", b.nodes, name, int(uid), int(gid), atSymlinkNoFollow).because("its owner, as seen from outside")
		b.call("fchmodat", b.nodes, name, int(d.mode)).because("whatever the parent's umask is")
	})
	if first {
		b.call("move_mount", b.nodes, "", atFDCWD, "/", moveFromFD).because("where pieces of it can be taken; the old root lies beneath, and takes it along")
	}
	return nil
}

// outside is what an id of a user namespace is outside of it.
func outside(ms []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range ms {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

// devNumber is what mknod takes (new_encode_dev, include/linux/kdev_t.h).
func devNumber(major, minor int64) uint64 {
	return uint64(minor&0xff | major<<8 | (minor&^0xff)<<12)
}

// console opens a terminal in the container's own devpts: its master for the parent, its other end
// for the process, and at /dev/console.
func (b *builder) console() error {
	if !b.s.Process.Terminal {
		return nil
	}
	b.from = "process.terminal"
	defer func() { b.from = "" }()
	if pts, ok := b.fsAt["/dev/pts"]; ok {
		b.call("openat", pts.mount, "ptmx", oRdwr|oNoctty|oCloexec).because("a terminal of the container's own")
	} else {
		b.call("openat2", b.root, "dev/pts/ptmx", openHow(oRdwr|oNoctty|oCloexec, resolveInRoot|resolveNoMagiclinks|resolveNoSymlinks), 24).
			because("a terminal of the container's own")
	}
	b.last().Into = SlotConsole
	b.openSlave()
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		// Not only when it starts: whoever has the caller's own may wait for them to be closed.
		b.call("dup3", b.tty, fd, 0).because(name + " is the terminal")
	}
	if b.spaces.fresh&newNS == 0 && !b.foreign {
		return nil // /dev is a running container's
	}
	dev := b.devDir()
	b.call("openat", dev, "console", oCreat|oExcl|b.nofollow|oCloexec, 0o620).because("a file to bind the terminal over").or(eexist)
	b.call("open_tree", b.tty, "", openTreeClone|openTreeCloexec|atEmptyPath).because("the terminal")
	b.attach(b.to("console"), place{dir: dev, name: "console"}, "/dev/console is the terminal")
	return nil
}

// openSlave opens the other end of SlotConsole, and gives it its size.
func (b *builder) openSlave() {
	b.call("ioctl", SlotConsole, uint64(tiocsptlck), Arg{Kind: ArgMem, Mem: halfWords(0), Text: "{0}"}).because("unlock its other end")
	b.call("ioctl", SlotConsole, uint64(tiocgptpeer), oRdwr|oNoctty|oCloexec).because("the other end, from the same devpts")
	b.tty = b.to("tty")
	if z := b.s.Process.ConsoleSize; z != nil && (z.Height != 0 || z.Width != 0) {
		size := &Mem{Bytes: []byte{byte(z.Height), byte(z.Height >> 8), byte(z.Width), byte(z.Width >> 8), 0, 0, 0, 0}} // struct winsize
		b.call("ioctl", SlotConsole, tiocswinsz, Arg{Kind: ArgMem, Mem: size, Text: fmt.Sprintf("{%d, %d}", z.Height, z.Width)}).because("as large as the one it stands for")
	}
}
