package plan

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
)

// A mount is made on file descriptors alone: the source is a detached mount (fsmount, or
// open_tree's clone), the destination what openat2 finds beneath the new root with the kernel
// itself keeping symbolic links inside (RESOLVE_IN_ROOT), and move_mount joins the two. No
// name inside the root filesystem is looked up twice, so that nobody can change it in between.

// filesystem is a mount that the plan made itself, so that it knows what is in it.
type filesystem struct {
	kind  string
	mount Slot
	attrs uint64
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// mounts makes the mounts of the spec, in its order.
func (b *builder) mounts() error {
	for i, m := range b.s.Mounts {
		b.refer("mounts[%d]", i)
		if err := b.mount(i, m); err != nil {
			return fmt.Errorf("mounts[%d]: %s: %w", i, m.Destination, err)
		}
	}
	b.from = ""
	return nil
}

// checkMounts reads the options of all mounts, and refuses what porthole cannot do and must not leave undone.
func (b *builder) checkMounts() error {
	b.options = make([]mountOptions, len(b.s.Mounts))
	for i, m := range b.s.Mounts {
		b.options[i] = parseOptions(m)
		o := &b.options[i]
		if err := b.checkMount(m, o); err != nil {
			return fmt.Errorf("mounts[%d]: %s: %w", i, m.Destination, err)
		}
		b.heeds = b.heeds || o.bind && o.propagation&(msShared|msSlave) != 0
	}
	// With layers, or where the host is to hear of mounts, or by a mapped root, such sources are opened ahead instead.
	b.heeds = b.heeds && len(b.o.Root.Layers) == 0 && !b.mappedRoot() && propagations[b.s.Linux.RootfsPropagation]&msShared == 0
	return nil
}

func (b *builder) checkMount(m specs.Mount, o *mountOptions) error {
	dest := path.Clean("/" + m.Destination)
	switch {
	case m.Destination == "":
		return errors.New("destination: missing")
	case dest == "/":
		return errors.New("destination: the root filesystem stands there")
	case o.bind && m.Source == "":
		return errors.New("source: missing: what is to be bound?")
	case !o.bind && m.Type == "":
		return errors.New("type: missing: neither a filesystem nor a bind mount")
	case o.copyUp && (m.Type != "tmpfs" || o.bind):
		return errors.New("options: \"tmpcopyup\" is for a tmpfs")
	case o.copyUp && len(b.o.Root.Layers) > 0:
		return errors.New("options: \"tmpcopyup\" is not supported where the root filesystem is made of layers")
	}
	if err := checkProc(dest, m, *o); err != nil {
		return err
	}
	if !o.bind {
		for _, d := range append(o.data, [2]string{"source", m.Source}) {
			if len(d[1]) > maxOption {
				return fmt.Errorf("options: %s: %d bytes, and fsconfig(2) takes %d", d[0], len(d[1]), maxOption)
			}
		}
	}
	return b.checkIDMap(m, o)
}

func (b *builder) mount(i int, m specs.Mount) error {
	o, dest := b.options[i], path.Clean("/"+m.Destination)
	if m = b.substitute(m, &o); o.bind {
		tree, early := b.clone[i]
		if !early {
			tree = b.bindSource(m, o, b.heeds || b.foreign)
		}
		b.attach(tree, b.place(dest, tree), "bind "+m.Source)
		return nil
	}
	if m.Type == "cgroup" || m.Type == "cgroup2" {
		return b.cgroup(dest, m, o)
	}
	late := o.readOnly && (m.Type == "tmpfs" || m.Type == "proc")
	if late {
		o.set &^= attrRdonly
	}
	mnt := b.newFS(m, o)
	if o.propagation&^msRec&(msShared|msUnbindable) != 0 { // it begins as private, of which slave makes no more
		b.setPropagation(mnt, o.propagation&^msRec, o.propagation&msRec != 0)
	}
	var found func(Slot)
	if m.Type == "tmpfs" && !o.mode { // over a directory that we made it has the mode of all tmpfs, 1777
		found = func(dir Slot) {
			b.call("fchmodat", mnt, ".", b.statMode(dir)).because("it has the mode of the directory that it covers")
		}
	}
	p := b.dirPlace(dest, found)
	if o.copyUp {
		b.p.CopyUps = append(b.p.CopyUps, CopyUp{dest, mnt})
		b.gate(GateCopyUp, "it is copied", "what "+dest+" has is to be copied into the "+m.Type)
	}
	b.attach(mnt, p, m.Type+" at "+dest)
	b.fsAt[dest] = filesystem{m.Type, mnt, o.set | o.deepSet}
	if late {
		from := b.from
		b.late = append(b.late, func() {
			b.from = from
			b.setPlaced(mnt, o.set|attrRdonly, dest+" is read-only, now that all is in it")
			b.from = ""
		})
	}
	return nil
}

// maxOption is the longest value of an option (strndup_user in fsconfig, fs/fsopen.c).
const maxOption = 255

// checkProc lets nothing but procfs be mounted at /proc, and beneath it only what emulates
// single files there: a plain directory at /proc has fooled runtimes into writing labels to a
// file of the image's choice (CVE-2019-16884, CVE-2019-19921). The list is runc's
// (checkProcMount, libcontainer/rootfs_linux.go, 1.2).
func checkProc(dest string, m specs.Mount, o mountOptions) error {
	switch dest {
	case "/proc":
		if m.Type == "proc" && !o.bind || o.bind && path.Clean(m.Source) == "/proc" {
			return nil
		}
		return fmt.Errorf("only procfs may be mounted at /proc")
	case "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
		"/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled":
		return nil
	}
	if strings.HasPrefix(dest, "/proc/") {
		return fmt.Errorf("nothing may be mounted there: it is inside /proc")
	}
	return nil
}

// substitute replaces what the kernel would refuse: sysfs belongs to a network namespace, and
// only its owner mounts one (sysfs_init_fs_context and sysfs_get_tree, fs/sysfs/mount.c).
func (b *builder) substitute(m specs.Mount, o *mountOptions) specs.Mount {
	if m.Type == "sysfs" && !o.bind && b.inUserNS() && !b.spaces.has(newNet) {
		b.note("%s is the host's: a user namespace may not mount one for the host's network", m.Destination)
		o.bind, o.recursive, o.data, o.unknown = true, true, nil, nil
		o.deepSet |= o.set // what is mounted beneath the host's comes along
		m.Source = "/sys"
	}
	return m
}

// openSources opens ahead of their turn the sources that could not be opened then: those that
// keep an eye on the host's mounts (shared, slave), before the child cuts itself off from them; those
// to be id-mapped, before it enters a user namespace in which it may not;
// and all of them where the child becomes someone else and could not reach them any more. The
// parent does that for it, with its own rights.
func (b *builder) openSources() error {
	list := b.list
	if b.mappedRoot() {
		list = &b.p.Before
	}
	n := len(*list)
	var err error
	b.in(list, func() { err = b.openSourcesHere() })
	if b.mappedRoot() {
		for _, s := range (*list)[n:] {
			if s.Into != NoSlot {
				b.in(&b.p.After, func() { b.call("close", s.Into).because("the child has it") })
			}
		}
	}
	return err
}

func (b *builder) openSourcesHere() error {
	if r := b.o.Root; len(r.Layers) == 0 {
		if keep := propagations[b.s.Linux.RootfsPropagation]&(msShared|msSlave) != 0; keep || b.mappedRoot() {
			b.call("open_tree", atFDCWD, r.Path, openTreeClone|openTreeCloexec|atRecursive).because("the root filesystem").tag("root")
			b.root = b.to("root")
			b.propagate(b.root, map[bool]uint64{true: msSlave, false: msPrivate}[keep])
		}
	}
	for i, l := range b.o.Root.Layers {
		if l.Bind != "" && b.mappedRoot() {
			b.refer("root.layers[%d]", i)
			b.clone[layerIndex(i)] = b.layerSource(i, l)
			b.propagate(b.clone[layerIndex(i)], msPrivate)
		}
	}
	for i, m := range b.s.Mounts {
		b.refer("mounts[%d]", i)
		o := b.options[i]
		if b.o.Root.file(m.Source) >= 0 {
			continue
		}
		if m = b.substitute(m, &o); o.bind && (b.mappedRoot() || o.idMap && b.joinsUser() || !b.heeds && !b.foreign && o.propagation&(msShared|msSlave) != 0) {
			b.clone[i] = b.bindSource(m, o, true)
		}
	}
	b.from = ""
	return nil
}

func (b *builder) layerSource(i int, l Layer) Slot {
	b.call("open_tree", atFDCWD, l.Bind, openTreeClone|openTreeCloexec|atRecursive).because("the image's " + l.Target).tag("root")
	tree := b.to("layer")
	var set uint64
	if l.ReadOnly {
		set |= attrRdonly
	}
	for _, f := range l.Flags {
		set |= attrs[f].set
	}
	if set != 0 {
		b.setAttr(tree, set, 0, l.ReadOnly, "as the machine has it")
	}
	return tree
}

// bindSource clones the source of a bind mount and gives it its attributes. early says that the
// clone still belongs to the host's peer groups. A word that takes a restriction away (rw, suid, dev,
// exec) does so, and what no word speaks of stays as the host has it. In a user namespace, where the host's
// restrictions are locked (lock_mnt_tree, fs/namespace.c), rw asks for nothing: engines say it of every mount.
func (b *builder) bindSource(m specs.Mount, o mountOptions, early bool) Slot {
	flags := openTreeClone | openTreeCloexec
	if o.recursive {
		flags |= atRecursive
	}
	b.call("open_tree", atFDCWD, m.Source, flags).because("what is to be seen at " + m.Destination).tag("source")
	tree := b.to("tree")
	if early {
		hostShares := propagations[b.s.Linux.RootfsPropagation]&msShared != 0
		switch o.propagation &^ msRec {
		case msSlave:
			b.propagate(tree, msSlave)
		case msShared:
			if !hostShares {
				b.propagate(tree, msSlave)
				b.propagate(tree, msShared)
			}
		default:
			b.propagate(tree, msPrivate)
		}
	}
	if p := o.propagation &^ msRec; p == msUnbindable || p == msShared && !early {
		b.setPropagation(tree, p, o.propagation&msRec != 0)
	}
	clear := o.clear
	if b.spaces.has(newUser) || !b.f.UserNS.Initial {
		clear &^= attrRdonly
	}
	if o.set|clear != 0 {
		b.setAttr(tree, o.set, clear, false, strings.Join(m.Options, ","))
	}
	if o.deepSet|o.deepClear != 0 {
		b.setAttr(tree, o.deepSet, o.deepClear, true, strings.Join(m.Options, ","))
	}
	b.idMap(tree, m, o)
	if extra := append(o.unknown, o.flags...); len(extra)+len(o.data) > 0 {
		for _, d := range o.data {
			extra = append(extra, d[0]+"="+d[1])
		}
		b.note("%s: %s: of no effect on a bind mount", m.Destination, strings.Join(extra, ","))
	}
	return tree
}

// newFS makes a filesystem of the mount's type, in no place yet.
func (b *builder) newFS(m specs.Mount, o mountOptions) Slot {
	b.call("fsopen", m.Type, fsopenCloexec).because("a " + m.Type + " for " + m.Destination)
	fs := b.to("fs")
	if m.Source != "" {
		b.call("fsconfig", fs, fsconfigString, "source", m.Source, 0).because("its name in /proc/mounts")
	}
	if label := b.s.Linux.MountLabel; label != "" && b.f.SELinux && m.Type != "proc" && m.Type != "sysfs" {
		b.call("fsconfig", fs, fsconfigString, "context", label, 0).because("linux.mountLabel")
	}
	if m.Type == "proc" && b.joinsLate() {
		b.call("fsconfig", fs, fsconfigFD, "pidns", nil, b.joinedPID().slot).because("it shows the pid namespace that is shared, in which the child is not yet")
	}
	for _, d := range o.data {
		b.call("fsconfig", fs, fsconfigString, d[0], d[1], 0).because(d[0] + "=" + d[1])
	}
	for _, w := range append(o.flags, o.unknown...) {
		b.call("fsconfig", fs, fsconfigFlag, w, nil, 0).because(w)
	}
	b.call("fsconfig", fs, fsconfigCreate, nil, nil, 0).because("the filesystem itself").tag(m.Type)
	b.call("fsmount", fs, fsmountCloexec, o.set|o.deepSet).because("a mount of it").tag(m.Type)
	return b.to(strings.ReplaceAll(path.Base(m.Destination), " ", ""))
}

// attach puts a detached mount in its place.
func (b *builder) attach(mnt Slot, p place, why string) *builder {
	flags := moveFromFD
	if p.name == "" {
		flags |= moveToFD
	}
	b.call("move_mount", mnt, "", p.dir, p.name, flags).because(why)
	b.settle(mnt)
	if p.at != "" {
		b.covered(p.at)
	}
	return b
}

// statMode leaves a file's mode in the slot returned: struct stat is laid over slots, and the one
// that begins with st_mode is an argument whose upper bits the kernel ignores (umode_t).
func (b *builder) statMode(file Slot) Slot {
	cell := Slot(2) // at 16 (asm-generic/stat.h)
	if b.f.Arch == abi.X86_64 {
		cell = 3 // at 24
	}
	first := b.slot("stat")
	for range 17 { // 144 bytes at most
		b.slot("stat")
	}
	b.call("fstat", file, Arg{Kind: ArgSlotAt, Slot: first}).because("what is there now")
	return first + cell
}
