package plan

import (
	"errors"
	"fmt"

	"porthole/facts"
)

// A container may have no mount namespace of its own: the spec names none, and it shares its caller's, or one by a
// path. Its root filesystem is then a tree of mounts that is attached nowhere: only the container's processes have it
// as their root, nobody else sees it, and the kernel takes it apart when they are gone (dissolve_on_fput,
// fs/namespace.c). There is nothing above its top, so that no chroot(2) inside leads out of it.
//
// (runc mounts all this in the shared namespace, and leaves it there.)

// checkForeign refuses what such a container cannot have.
func (b *builder) checkForeign() error {
	if b.foreign = b.spaces.fresh&newNS == 0; !b.foreign {
		return nil
	}
	where := "linux.namespaces"
	for i, n := range b.s.Linux.Namespaces {
		if spaceFlags[n.Type] == newNS {
			where = fmt.Sprintf("linux.namespaces[%d].path", i)
		}
	}
	switch {
	case !b.f.Kernel.AtLeast(facts.Version{Major: 6, Minor: 15}): // do_move_mount and may_copy_tree, fs/namespace.c
		return fmt.Errorf("%s: no \"mount\" namespace of the container's own: this kernel (%v) cannot build a root filesystem apart from one (Linux 6.15)", where, b.f.Kernel)
	case len(b.o.Root.Layers) > 0:
		return errors.New("linux.namespaces: \"mount\" is missing: layers are put together in the container's own mount namespace")
	case b.spaces.has(newUser) || !b.f.UserNS.Initial || b.f.UID != 0:
		return fmt.Errorf("%s: the container's root has no rights in a mount namespace that is not its own: it needs a new one", where)
	}
	return nil
}

// foreignRoot clones the root filesystem, and cuts the clone off: what is mounted in it would else show up on the host.
func (b *builder) foreignRoot(dir string) error {
	if b.root == NoSlot { // else it was opened to be a slave of the host's
		b.call("open_tree", atFDCWD, dir, openTreeClone|openTreeCloexec|atRecursive).because("the root filesystem, attached nowhere").tag("root")
		b.root = b.to("root")
		b.propagate(b.root, msPrivate)
	}
	if len(b.s.Linux.MaskedPaths) > 0 {
		b.why = "an empty directory to cover others with"
		b.call("fsopen", "tmpfs", fsopenCloexec)
		fs := b.to("fs")
		for _, o := range [][2]string{{"size", "4k"}, {"nr_inodes", "1"}} {
			b.call("fsconfig", fs, fsconfigString, o[0], o[1], 0)
		}
		b.call("fsconfig", fs, fsconfigCreate, nil, nil, 0)
		b.call("fsmount", fs, fsmountCloexec, attrRdonly)
		b.mask = b.to("mask")
		b.why = ""
	}
	return nil
}

// enterForeign is what pivot does for others.
func (b *builder) enterForeign() {
	for _, j := range b.spaces.joined {
		if j.flag == newNS {
			b.refer("%s", j.refer)
			b.call("setns", j.slot, j.flag).because("share that mount namespace")
			b.from = ""
		}
	}
	b.call("fchdir", b.root).because("into the new root")
	b.call("chroot", ".").because("it becomes /, for this process and those that it starts")
	b.call("chdir", "/")
}

// setOver gives a mount in the tree other attributes, by covering it with a clone that has them: mount_setattr(2) takes
// mounts of the caller's own namespace, and the tops of others (do_mount_setattr).
func (b *builder) setOver(mnt Slot, set uint64, why string) {
	b.call("open_tree", mnt, "", openTreeClone|openTreeCloexec|atEmptyPath|atRecursive).because(why)
	over := b.to("over")
	b.setAttr(over, set, 0, false, why)
	b.call("move_mount", over, "", mnt, "", moveFromFD|moveToFD).because("in its place")
}
