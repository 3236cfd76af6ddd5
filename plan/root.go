package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"porthole/abi"
)

// makeRoot mounts the root filesystem, in the child's own mount namespace, over a directory of
// the host: Root.Scratch, or Root.Path itself. pivot makes it "/" and lets go of the rest.
//
// With layers the working directory is the scratch tmpfs, so that names in it are short:
//
//	root  the new root        mask  an empty read-only directory
//	u3 w3 upper and work directory of layer 3, mounted at o3 and moved from there to its target
func (b *builder) makeRoot() error {
	r := b.o.Root
	switch {
	case b.foreign:
		return b.foreignRoot(r.Path)
	case b.heeds:
		b.call("mount", nil, "/", nil, msRec|msSlave, nil).because("what the host mounts is still seen, and what is mounted from here on stays in this namespace")
	default:
		b.call("mount", nil, "/", nil, msRec|msPrivate, nil).because("what is mounted from here on stays in this namespace")
	}
	if len(r.Layers) == 0 {
		return b.rootFromPath(r.Path)
	}
	data := "mode=0755"
	if r.ScratchSize > 0 {
		data += fmt.Sprintf(",size=%d", r.ScratchSize)
	}
	b.call("mount", "tmpfs", r.Scratch, "tmpfs", 0, data).because("private space that ends with the container").tag("root")
	b.call("chdir", r.Scratch)
	if len(b.s.Linux.MaskedPaths) > 0 {
		b.call("mkdirat", atFDCWD, "mask", 0o555).because("an empty directory to cover others with")
		b.emptyDir("mask")
	}
	b.files()
	b.call("mkdirat", atFDCWD, "root", 0o755).because("the new root")
	for i, l := range r.Layers {
		b.refer("root.layers[%d]", i)
		if err := b.layer(i, l); err != nil {
			return err
		}
	}
	delete(b.fsAt, "/") // there are links in it now
	b.from = ""
	return nil
}

// files writes Root.Files, and opens them as sources of the mounts that they are for.
func (b *builder) files() {
	for i, f := range b.o.Root.Files {
		name := fmt.Sprintf("f%d", i)
		b.call("openat", atFDCWD, name, oCreat|oExcl|oWronly|oCloexec, 0o644).because(f.Source)
		file := b.to("file")
		if len(f.Data) > 0 {
			b.call("write", file, &Mem{Bytes: f.Data}, len(f.Data))
		}
		b.call("close", file).because("a file open for writing keeps its mount from becoming read-only")
	}
	for i, m := range b.s.Mounts {
		if k := b.o.Root.file(m.Source); k >= 0 && b.options[i].bind {
			b.refer("mounts[%d]", i)
			m.Source = fmt.Sprintf("f%d", k)
			b.clone[i] = b.bindSource(m, b.options[i], false)
		}
	}
	b.from = ""
}

// emptyDir mounts a directory that is and stays empty, for paths that are to be hidden.
func (b *builder) emptyDir(at string) {
	b.call("mount", "tmpfs", at, "tmpfs", msRdonly, "size=4k,nr_inodes=1").because("an empty directory to cover others with")
	b.call("openat", atFDCWD, at, oPath|b.directory|oCloexec)
	b.mask = b.to("mask")
}

func (b *builder) rootFromPath(dir string) error {
	if b.root == NoSlot { // else it was opened while the host's mounts were still shared
		b.call("open_tree", atFDCWD, dir, openTreeClone|openTreeCloexec|atRecursive).because("the root filesystem").tag("root")
		b.root = b.to("root")
		if b.heeds {
			b.propagate(b.root, msPrivate)
		}
	}
	if len(b.s.Linux.MaskedPaths) > 0 {
		b.emptyDir(dir)
		b.call("move_mount", b.root, "", b.mask, "", moveFromFD|moveToFD).because("pivot_root wants a mount point")
	} else {
		b.call("move_mount", b.root, "", atFDCWD, dir, moveFromFD).because("pivot_root wants a mount point")
	}
	b.settle(b.root)
	return nil
}

// layer puts one piece of the root in its place.
func (b *builder) layer(i int, l Layer) error {
	target := path.Clean("/" + l.Target)
	if (target == "/") != (i == 0) {
		return fmt.Errorf("root.layers[%d].target: %q: the first layer, and no other, is \"/\"", i, l.Target)
	}
	if l.Mode == 0 {
		l.Mode = 0o755
	}
	switch {
	case len(l.Lower) > 0:
		from := "root"
		if i > 0 {
			from = fmt.Sprintf("o%d", i)
			b.call("mkdirat", atFDCWD, from, 0o755)
		}
		b.overlay(i, from, l)
		b.layerAt(target, from)
	case l.Bind != "":
		tree, early := b.clone[layerIndex(i)]
		if !early {
			tree = b.layerSource(i, l)
		}
		if i == 0 {
			b.call("move_mount", tree, "", atFDCWD, "root", moveFromFD).because("the new root")
			b.settle(tree)
			b.root = tree
			break
		}
		b.attach(tree, b.place(target, tree), "the image's "+target)
	case l.Link != "":
		b.call("symlinkat", l.Link, b.parent(target), path.Base(target)).because("the image's " + target)
	case l.Dir && i == 0:
		b.call("mount", "tmpfs", "root", "tmpfs", 0, fmt.Sprintf("mode=%04o,uid=%d,gid=%d", l.Mode, l.UID, l.GID)).because("an empty root, to be filled")
		b.layerAt(target, "root")
		b.fsAt["/"] = filesystem{"tmpfs", b.root, 0}
	case l.Dir && l.Cover:
		name := fmt.Sprintf("d%d", i)
		b.makeDir(atFDCWD, name, l)
		b.call("open_tree", atFDCWD, name, openTreeClone|openTreeCloexec).because("an empty directory over " + target)
		tree := b.to("empty")
		b.attach(tree, b.place(target, NoSlot), "hide what the image has there")
	case l.Dir:
		b.makeDir(b.parent(target), path.Base(target), l)
	default:
		b.call("openat", b.parent(target), path.Base(target), oCreat|oExcl|oWronly|b.nofollow|oCloexec, int(l.Mode)).because("the image's " + target)
		file := b.to("file")
		if l.UID != 0 || l.GID != 0 {
			b.call("fchown", file, int(l.UID), int(l.GID))
		}
		if len(l.File) > 0 {
			b.call("write", file, &Mem{Bytes: slices.Clone(l.File)}, len(l.File))
		}
		b.call("close", file).because("a file open for writing keeps its mount from becoming read-only")
	}
	return nil
}

// layerIndex keeps layers apart from mounts in builder.clone.
func layerIndex(i int) int { return -1 - i }

// layerAt opens what was mounted at a name in the scratch tmpfs: as the root, or moved to its target.
func (b *builder) layerAt(target, from string) {
	if target == "/" {
		b.call("openat", atFDCWD, from, oPath|b.directory|oCloexec).because("the new root")
		b.root = b.to("root")
		return
	}
	p := b.place(target, NoSlot)
	flags := 0
	if p.name == "" {
		flags = moveToFD
	}
	b.call("move_mount", atFDCWD, from, p.dir, p.name, flags).because("the image's " + target)
}

func (b *builder) makeDir(dir any, name string, l Layer) {
	b.call("mkdirat", dir, name, int(l.Mode)).because("the image's " + l.Target)
	if l.UID != 0 || l.GID != 0 {
		b.call("fchownat", dir, name, int(l.UID), int(l.GID), atSymlinkNoFollow)
	}
}

// overlay mounts the layer's directories over each other at a name in the scratch tmpfs.
func (b *builder) overlay(i int, at string, l Layer) {
	lower := make([]string, len(l.Lower))
	for k, dir := range l.Lower {
		lower[k] = overlayPath(dir, true)
	}
	var flags uint64
	var data []string
	if !l.ReadOnly || len(lower) == 1 { // an overlay of one directory must have an upper one (ovl_fill_super, fs/overlayfs/super.c)
		upper, work := l.Upper, l.Work
		if upper == "" {
			upper = fmt.Sprintf("u%d", i)
			b.makeDir(atFDCWD, upper, l)
			b.because("changes go here")
		}
		if work == "" {
			work = fmt.Sprintf("w%d", i)
			b.call("mkdirat", atFDCWD, work, 0o700).because("overlay's own")
		}
		data = []string{"upperdir=" + overlayPath(upper, false), "workdir=" + overlayPath(work, false)}
	}
	if l.ReadOnly {
		flags |= msRdonly
	}
	for _, f := range l.Flags {
		flags |= map[string]uint64{"nosuid": msNosuid, "nodev": msNodev, "noexec": msNoexec}[f]
	}
	data = append([]string{"lowerdir=" + strings.Join(lower, ":")}, data...)
	if b.inUserNS() {
		data = append(data, "userxattr") // trusted.* attributes are the first namespace's alone
	}
	b.call("mount", "overlay", at, "overlay", flags, strings.Join(data, ",")).because("the image's " + l.Target + ", copy-on-write").tag("root")
}

// overlayPath escapes what overlayfs and mount(2) read as separators (ovl_next_opt and
// ovl_unescape, fs/overlayfs/params.c).
func overlayPath(p string, list bool) string {
	p = strings.ReplaceAll(strings.ReplaceAll(p, `\`, `\\`), `,`, `\,`)
	if list {
		p = strings.ReplaceAll(p, ":", `\:`)
	}
	return p
}

// workdir opens the working directory, made where it is missing, as runc and Docker do. The
// process will be put there by fchdir: resolved beneath the new root and never by name again, it
// cannot be a directory of the host (CVE-2024-21626).
func (b *builder) workdir() error {
	b.refer("process.cwd")
	b.cwd = b.open(path.Clean(b.s.Process.Cwd), "cwd")
	b.from = ""
	return nil
}

// pivot makes the new root "/" and detaches the old one with all that was mounted on the way.
func (b *builder) pivot() error {
	if b.foreign {
		b.enterForeign()
		return nil
	}
	b.call("fchdir", b.root).because("into the new root")
	if b.o.NoPivot {
		for _, p := range slices.Backward(b.o.KernelFS) {
			var gone label
			b.call("umount2", p, mntDetach).because("it would let a user namespace mount a whole one").or(abi.EINVAL).thenTo(&gone)
			b.call("mount", "tmpfs", p, "tmpfs", msRdonly, "size=4k,nr_inodes=1").because("locked there: covered")
			b.land(&gone)
		}
		b.call("mount", ".", "/", nil, msMove, nil).because("an initramfs cannot be pivoted away")
		b.call("chroot", ".")
		b.call("chdir", "/")
		return nil
	}
	b.call("pivot_root", ".", ".").because("it becomes /, with the old root stacked upon it")
	b.call("umount2", ".", mntDetach).because("and the host's files are gone")
	return nil
}

// lock makes read-only what had to be written to until now, the root among it.
func (b *builder) lock() error {
	for _, f := range b.late {
		f()
	}
	if b.s.Root != nil && b.s.Root.Readonly {
		b.from = "root.readonly"
		b.setPlaced(b.root, attrRdonly, "the root filesystem is read-only")
		b.from = ""
	}
	if flag := propagations[b.s.Linux.RootfsPropagation]; flag&(msShared|msSlave|msUnbindable) != 0 {
		if b.foreign {
			b.setPropagation(b.root, flag&^msRec, flag&msRec != 0)
			return nil
		}
		b.call("mount", nil, "/", nil, flag, nil).because("linux.rootfsPropagation")
	}
	return nil
}

// names sets what uname(2) says.
func (b *builder) names() error {
	if h := b.s.Hostname; h != "" {
		b.call("sethostname", h, len(h)).because("its own host name")
	}
	if d := b.s.Domainname; d != "" {
		b.call("setdomainname", d, len(d)).because("its own domain name")
	}
	b.call("umask", b.umask()).because("what its process starts with")
	return nil
}

func (b *builder) umask() int {
	if u := b.s.Process.User.Umask; u != nil {
		return int(*u)
	}
	return 0o022
}

var propagations = map[string]uint64{
	"private": msPrivate, "rprivate": msPrivate | msRec,
	"slave": msSlave, "rslave": msSlave | msRec,
	"shared": msShared, "rshared": msShared | msRec,
	"unbindable": msUnbindable, "runbindable": msUnbindable | msRec,
}
