package plan

import "fmt"

// propagate says what becomes of later mounts, on a mount and all beneath it.
func (b *builder) propagate(tree Slot, flag uint64) { b.setPropagation(tree, flag, true) }

func (b *builder) setPropagation(tree Slot, flag uint64, deep bool) {
	why := map[uint64]string{msPrivate: "later mounts of the host stay out", msSlave: "later mounts of the host show up here",
		msShared: "mounts show up on both sides", msUnbindable: "it is not to be bound elsewhere"}[flag]
	if b.f.Features.MountSetattr {
		b.call("mount_setattr", tree, "", emptyPath(deep), mountAttr(0, 0, flag), sizeofMountAttr).because(why)
		return
	}
	if deep {
		flag |= msRec
	}
	b.pending = append(b.pending, pendingAttr{tree, flag, why})
}

// setAttr changes a mount's attributes.
func (b *builder) setAttr(mnt Slot, set, clear uint64, deep bool, why string) {
	if set&attrAtime != 0 {
		clear |= attrAtime // its three values are one field, to be cleared as a whole (mount_setattr(2))
	}
	if b.f.Features.MountSetattr {
		b.call("mount_setattr", mnt, "", emptyPath(deep), mountAttr(set, clear, 0), sizeofMountAttr).because(why)
		return
	}
	flags := uint64(msRemount | msBind)
	for _, w := range []struct{ attr, flag uint64 }{{attrRdonly, msRdonly}, {attrNosuid, msNosuid}, {attrNodev, msNodev}, {attrNoexec, msNoexec},
		{attrNoatime, msNoatime}, {attrNodiratime, msNodiratime}, {attrStrictatime, msStrictatime}} {
		if set&w.attr != 0 {
			flags |= w.flag
		}
	}
	b.pending = append(b.pending, pendingAttr{mnt, flags, why})
}

// pendingAttr is a change that a kernel without mount_setattr (Linux 5.12) makes to a mount that
// has its place: mount(2) by the name that the host's procfs has for its fd.
type pendingAttr struct {
	mount Slot
	flags uint64
	why   string
}

// settleFD is a number that no other file of the child has.
const settleFD = 900

func (b *builder) settle(mnt Slot) {
	keep := b.pending[:0]
	for _, a := range b.pending {
		if a.mount != mnt {
			keep = append(keep, a)
			continue
		}
		b.call("dup3", mnt, settleFD, oCloexec).because("a number to call it by, for want of mount_setattr (Linux 5.12)")
		b.call("mount", nil, fmt.Sprint("/proc/self/fd/", settleFD), nil, a.flags, nil).because(a.why)
	}
	b.pending = keep
}

// setPlaced changes the attributes of a directory's mount that has its place already.
func (b *builder) setPlaced(mnt Slot, set uint64, why string) {
	if b.foreign && mnt != b.root {
		b.setOver(mnt, set, why)
		return
	}
	if b.setAttr(mnt, set, 0, false, why); b.f.Features.MountSetattr {
		return
	}
	flags := b.pending[len(b.pending)-1].flags
	b.pending = b.pending[:len(b.pending)-1]
	b.call("fchdir", mnt).because("to call it \".\", for want of mount_setattr (Linux 5.12)")
	b.call("mount", nil, ".", nil, flags, nil).because(why)
}

func emptyPath(deep bool) int {
	if deep {
		return atEmptyPath | atRecursive
	}
	return atEmptyPath
}
