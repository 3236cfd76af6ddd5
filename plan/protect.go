package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"porthole/abi"
)

// sysctls writes kernel parameters of the container's own namespaces. Others would change the host.
func (b *builder) sysctls() error {
	for _, key := range sorted(b.s.Linux.Sysctl) {
		name, err := b.sysctlPath(key)
		if err != nil {
			return fmt.Errorf("linux.sysctl: %q: %w", key, err)
		}
		proc, ok := b.fsAt["/proc"]
		if !ok || proc.kind != "proc" {
			return fmt.Errorf("linux.sysctl: %q: the container has no /proc of its own to set it in", key)
		}
		b.refer("linux.sysctl[%s]", key)
		value := b.s.Linux.Sysctl[key]
		b.call("openat2", proc.mount, "sys/"+name, openHow(oWronly|oCloexec, resolveBeneath|resolveNoSymlinks|resolveNoXdev), 24).
			because(key).tag("sysctl")
		b.call("write", b.to(path.Base(name)), &Mem{Bytes: []byte(value)}, len(value)).because(key + " = " + value).tag("sysctl")
	}
	b.from = ""
	return nil
}

// sysctlPath checks that the parameter belongs to a namespace that is the container's own (the
// list is runc's, sysctl in libcontainer/configs/validate/validator.go, 1.2), and returns its
// name beneath /proc/sys. As in sysctl(8), where the first separator is a slash, dots are not.
func (b *builder) sysctlPath(key string) (string, error) {
	dots := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		dots = strings.NewReplacer("/", ".", ".", "/").Replace(key)
	}
	name := strings.NewReplacer(".", "/", "/", ".").Replace(dots)
	if name == "" || path.Clean("/"+name) != "/"+name {
		return "", fmt.Errorf("is no parameter's name")
	}
	ipc := []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}
	need := func(flag uint64, space string) (string, error) {
		if !b.spaces.has(flag) {
			return "", fmt.Errorf("would change the host's: it needs an own %s namespace", space)
		}
		return name, nil
	}
	switch {
	case strings.HasPrefix(dots, "net."):
		return need(newNet, "network")
	case slices.Contains(ipc, dots) || strings.HasPrefix(dots, "fs.mqueue."):
		return need(newIPC, "ipc")
	case dots == "kernel.domainname":
		return need(newUTS, "uts")
	case dots == "kernel.hostname":
		return "", fmt.Errorf("is set by hostname")
	case strings.HasPrefix(dots, "user."):
		return need(newUser, "user")
	}
	return "", fmt.Errorf("belongs to the whole machine, not to a namespace")
}

// protect makes paths read-only, then hides others, in runc's order (Init in standard_init_linux.go).
func (b *builder) protect() error {
	for i, p := range b.s.Linux.ReadonlyPaths {
		b.refer("linux.readonlyPaths[%d]", i)
		b.readOnlyPath(path.Clean("/" + p))
	}
	if err := b.maskPaths(); err != nil {
		return err
	}
	b.from = ""
	return nil
}

// inKernelFS returns the mount and the name for a path directly in a procfs or sysfs that the plan
// mounted: nobody can have put a link there.
func (b *builder) inKernelFS(p string) (fs filesystem, name string, ok bool) {
	fs, ok = b.fsAt[path.Dir(p)]
	return fs, path.Base(p), ok && (fs.kind == "proc" || fs.kind == "sysfs")
}

// attrsAt are the attributes of the mount that p lies on, as far as the plan made it.
func (b *builder) attrsAt(p string) uint64 {
	for ; p != "/"; p = path.Dir(p) {
		if fs, ok := b.fsAt[p]; ok {
			return fs.attrs
		}
	}
	return 0
}

func (b *builder) readOnlyPath(p string) {
	var none label
	flags := openTreeClone | openTreeCloexec | atRecursive
	set := attrRdonly | b.attrsAt(p)
	if fs, name, ok := b.inKernelFS(p); ok {
		b.call("open_tree", fs.mount, name, flags|atSymlinkNoFollow).because(p+", to be bound over itself").orTo(&none, abi.ENOENT)
		tree := b.to("ro")
		b.setAttr(tree, set, 0, true, p+" is read-only")
		b.attach(tree, place{dir: fs.mount, name: name, at: p}, p+" is read-only")
	} else {
		b.find(p, 0).because(p).orTo(&none, abi.ENOENT, enotdir)
		dest := b.to("at-" + path.Base(p))
		b.call("open_tree", dest, "", flags|atEmptyPath).because(p + ", to be bound over itself")
		tree := b.to("ro")
		b.setAttr(tree, set, 0, true, p+" is read-only")
		b.attach(tree, place{dir: dest, at: p}, p+" is read-only")
	}
	b.land(&none)
}

// maskPaths hides files under /dev/null and directories under an empty one; which of the two a
// path is, move_mount itself says (EINVAL: do_move_mount, fs/namespace.c).
//
// A clone that found no place is still at hand for the next path:
//
//	clone of null          here where the last one was used
//	move to path           ENOENT: on to the next path's move; EINVAL: next step; used: next path
//	clone of empty
//	move to path           on to the next path's move
func (b *builder) maskPaths() error {
	if len(b.s.Linux.MaskedPaths) == 0 {
		return nil
	}
	null, name := Slot(0), ""
	if fs, ok := b.fsAt["/dev"]; ok && fs.kind == "tmpfs" {
		null, name = fs.mount, "null"
	}
	cover := b.slot("null")
	var next label
	hidden := map[string]bool{}
	for i, raw := range b.s.Linux.MaskedPaths {
		p := path.Clean("/" + raw)
		if hidden[p] {
			continue
		}
		hidden[p] = true
		b.refer("linux.maskedPaths[%d]", i)
		if p == "/" {
			return fmt.Errorf("linux.maskedPaths[%d]: the root itself cannot be hidden", i)
		}
		var done, skip label
		if null != NoSlot {
			b.call("open_tree", null, name, openTreeClone|openTreeCloexec|atSymlinkNoFollow)
		} else {
			b.call("open_tree", atFDCWD, "/dev/null", openTreeClone|openTreeCloexec)
		}
		b.because("an empty file, to hide others").last().Into = cover
		b.land(&next)
		fs, name, ok := b.inKernelFS(p)
		to := place{dir: fs.mount, name: name}
		if !ok {
			b.find(p, 0).because(p).orTo(&skip, abi.ENOENT, enotdir, abi.EACCES)
			to = place{dir: b.to("at-" + path.Base(p))}
		}
		b.attach(cover, to, p+" is hidden").tag("mask")
		b.orTo(&skip, abi.ENOENT).or(abi.EINVAL).thenTo(&done)
		b.call("open_tree", b.mask, "", openTreeClone|openTreeCloexec|atEmptyPath).because("it is a directory")
		b.attach(b.to("mask"), to, p+" is hidden")
		b.thenTo(&skip)
		b.land(&done)
		next = skip // with the clone of null still at hand
	}
	b.land(&next)
	return nil
}
