package plan

import (
	"path"
	"strings"

	"porthole/abi"
)

// place is where a mount goes: an open file or directory, or a name in a directory that we made.
type place struct {
	dir  Slot
	name string
	at   string // its path, as far as known
}

// rules are how a path inside the root filesystem is resolved: links lead to places inside only;
// those of procfs that lead anywhere (magic links) are refused; and in /proc and /sys, and for
// /dev itself, all are (CVE-2019-19921, CVE-2025-52565).
func rules(p string) uint64 {
	for _, top := range []string{"/proc", "/sys"} {
		if p == top || strings.HasPrefix(p, top+"/") {
			return resolveInRoot | resolveNoMagiclinks | resolveNoSymlinks
		}
	}
	if p == "/dev" {
		return resolveInRoot | resolveNoMagiclinks | resolveNoSymlinks
	}
	return resolveInRoot | resolveNoMagiclinks
}

func rel(p string) string {
	if p == "/" {
		return "."
	}
	return p[1:]
}

// find opens p in the new root, as a path only.
func (b *builder) find(p string, flags uint64) *builder {
	return b.call("openat2", b.root, rel(p), openHow(oPath|oCloexec|flags, rules(p)), 24)
}

// place returns where to mount tree: what stands at p, and where there is nothing, a new
// directory or empty file as suits the source. Without a source it is a directory.
func (b *builder) place(p string, tree Slot) place { return b.placeFor(p, tree, nil) }

// dirPlace is place for a directory; found, which may be nil, adds what is to be done where one was there.
func (b *builder) dirPlace(p string, found func(Slot)) place { return b.placeFor(p, NoSlot, found) }

func (b *builder) placeFor(p string, tree Slot, found func(Slot)) place {
	name := path.Base(p)
	if fs, ok := b.fsAt[path.Dir(p)]; ok && fs.kind == "tmpfs" {
		b.make(fs.mount, name, tree)
		return place{fs.mount, name, p}
	}
	if b.kernelMade(p) {
		b.find(p, 0).because("the place for " + p)
		dest := b.to("at-" + name)
		if found != nil {
			found(dest)
		}
		return place{dest, "", p}
	}
	var done, made label
	b.find(p, 0).because("the place for " + p).or(abi.ENOENT).thenTo(&done)
	dest := b.to("at-" + name)
	dir := b.parents(p)
	b.make(dir, name, tree)
	b.find(p, 0).because("the place for " + p)
	b.last().Into = dest
	if found != nil {
		b.thenTo(&made)
	}
	if tree != NoSlot {
		b.or(abi.ENOENT).thenTo(&done)
		b.call("openat", dir, name, oPath|b.nofollow|oCloexec).because("a link that leads nowhere is itself mounted over")
		b.last().Into = dest
	}
	b.land(&done)
	if found != nil {
		found(dest)
		b.land(&made)
	}
	return place{dest, "", p}
}

// kernelMade says that p lies in a procfs, sysfs or cgroup2 of ours, where no place for a mount can be made.
func (b *builder) kernelMade(p string) bool {
	for p = path.Dir(p); p != "/"; p = path.Dir(p) {
		if fs, ok := b.fsAt[p]; ok {
			return fs.kind == "proc" || fs.kind == "sysfs" || fs.kind == "cgroup2"
		}
	}
	return false
}

// make makes the directory, or the file where tree is one, unless it is there.
func (b *builder) make(dir Slot, name string, tree Slot) {
	if tree == NoSlot {
		b.call("mkdirat", dir, name, 0o755).because("the place for it").or(eexist)
		return
	}
	var file, done label
	b.call("openat", tree, ".", oPath|b.directory|oCloexec).because("is it a directory?").orTo(&file, enotdir)
	b.call("mkdirat", dir, name, 0o755).because("the place for it").orTo(&done, eexist).thenTo(&done)
	b.land(&file)
	b.call("openat", dir, name, oCreat|oExcl|b.nofollow|oCloexec, 0o755).because("the place for it").or(eexist)
	b.land(&done)
}

// parents makes the directories above p where they are missing, and returns the last of them.
func (b *builder) parents(p string) Slot {
	dir, at := b.root, ""
	for _, name := range strings.Split(path.Dir(p)[1:], "/") {
		if name == "" {
			break
		}
		at += "/" + name
		b.call("mkdirat", dir, name, 0o755).because("on the way to " + p).or(eexist)
		b.find(at, b.directory).because("on the way to " + p)
		dir = b.to("dir")
	}
	return dir
}

// parent opens the directory above p, which is there.
func (b *builder) parent(p string) Slot {
	if dir := path.Dir(p); dir != "/" {
		b.find(dir, b.directory).because("the directory of " + p)
		return b.to("dir")
	}
	return b.root
}

// open opens the directory at p into a new slot, made where it is missing.
func (b *builder) open(p, slot string) Slot {
	if p == "/" {
		return b.root
	}
	var done label
	b.find(p, b.directory).because("the directory " + p).or(abi.ENOENT).thenTo(&done)
	d := b.to(slot)
	dir := b.parents(p)
	b.call("mkdirat", dir, path.Base(p), 0o755).or(eexist)
	b.find(p, b.directory)
	b.last().Into = d
	b.land(&done)
	return d
}

// covered forgets what the plan knew of the files at and beneath dest.
func (b *builder) covered(dest string) {
	for at := range b.fsAt {
		if at == dest || strings.HasPrefix(at, dest+"/") {
			delete(b.fsAt, at)
		}
	}
}
