package probe

import (
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// features tries what costs next to nothing: calls with arguments that no kernel takes.
// One that knows the call says EINVAL, EFAULT or EBADF, one that doesn't ENOSYS.
func (r *reader) features(f *facts.Facts) {
	t := &f.Features
	r.seccomp(t)
	t.NewMountAPI = r.knows(t, "NewMountAPI", unix.SYS_OPEN_TREE, 0, 0, 0, 0) && // no path: EFAULT
		r.knows(t, "NewMountAPI", unix.SYS_FSOPEN, 0, 0) // no name: EFAULT, or EPERM where we may not mount
	t.MountSetattr = r.knows(t, "MountSetattr", unix.SYS_MOUNT_SETATTR, 0, 0, 0, 0, 0) // no size: EINVAL
	t.IDMapMounts = t.MountSetattr                                                     // MOUNT_ATTR_IDMAP is of the same release, 5.12
	t.Openat2 = r.knows(t, "Openat2", unix.SYS_OPENAT2, 0, 0, 0, 0)                    // no size: EINVAL
	t.PidfdGetfd = r.knows(t, "PidfdGetfd", unix.SYS_PIDFD_GETFD, none, none, 0)       // no pidfd: EBADF
	// Of all the fds from the highest possible number on, there are none.
	t.CloseRangeCloexec = attempt(unix.SYS_CLOSE_RANGE, 1<<32-1, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC) == 0
	t.CloneIntoCgroup = r.cloneIntoCgroup(t)
	t.TimeNS, t.CgroupNS = exists("/proc/self/ns/time"), exists("/proc/self/ns/cgroup")
	t.Overlay = r.overlay(t)

	// FS_USERNS_MOUNT of a file system type is shown nowhere, and trying would take a process of ours inside a namespace.
	t.OverlayUserNS = t.Overlay && f.Kernel.AtLeast(facts.Version{Major: 5, Minor: 11})
	t.CgroupKill = f.Kernel.AtLeast(facts.Version{Major: 5, Minor: 14})
	t.UserNSCreate = userNSAllowed(f)
	t.Unsure = append(t.Unsure, "OverlayUserNS", "CgroupKill", "UserNSCreate")
}

const none = ^uintptr(0) // -1: no file descriptor

func attempt(nr uintptr, args ...uintptr) unix.Errno {
	var a [6]uintptr
	copy(a[:], args)
	_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return errno
}

// knows says whether the kernel has a call. EPERM is the kernel's own answer, except
// where we are under a filter, which may have given it in the kernel's stead.
func (r *reader) knows(t *facts.Features, field string, nr uintptr, args ...uintptr) bool {
	switch attempt(nr, args...) {
	case unix.ENOSYS:
		return false
	case unix.EPERM:
		if r.filtered {
			unsure(t, field)
			return false
		}
	}
	return true
}

func unsure(t *facts.Features, field string) {
	if !slices.Contains(t.Unsure, field) {
		t.Unsure = append(t.Unsure, field)
	}
}

func sure(t *facts.Features, field string) {
	t.Unsure = slices.DeleteFunc(t.Unsure, func(s string) bool { return s == field })
}

// actions are all that a filter may answer, in the order of sysctl kernel.seccomp.actions_avail.
var actions = []struct {
	name  string
	value uint32
}{
	{"kill_process", unix.SECCOMP_RET_KILL_PROCESS}, {"kill_thread", unix.SECCOMP_RET_KILL_THREAD}, {"trap", unix.SECCOMP_RET_TRAP},
	{"errno", unix.SECCOMP_RET_ERRNO}, {"user_notif", unix.SECCOMP_RET_USER_NOTIF}, {"trace", unix.SECCOMP_RET_TRACE},
	{"log", unix.SECCOMP_RET_LOG}, {"allow", unix.SECCOMP_RET_ALLOW},
}

// seccomp asks for each flag with a filter at address 0: flags are looked at first, EINVAL for
// one that is not known, and then the filter, EFAULT (seccomp_set_mode_filter, kernel/seccomp.c).
func (r *reader) seccomp(t *facts.Features) {
	takes := func(flags uintptr) bool {
		return attempt(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, 0) == unix.EFAULT
	}
	if t.Seccomp = takes(0); !t.Seccomp {
		if r.filtered { // the filter itself is the proof
			t.Seccomp = true
			unsure(t, "SeccompFlags")
		}
		return
	}
	for flag := uint32(1); flag <= 1<<7; flag <<= 1 {
		with := flag
		if flag == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV { // which is for listeners only
			with |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
		if takes(uintptr(with)) {
			t.SeccompFlags |= flag
		}
	}
	for i := range actions { // 4.14
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&actions[i].value)))
		if errno == 0 {
			t.SeccompActions = append(t.SeccompActions, actions[i].name)
		}
	}
	t.SeccompLog = t.SeccompFlags&unix.SECCOMP_FILTER_FLAG_LOG != 0 && slices.Contains(t.SeccompActions, "log")
}

// cloneIntoCgroup hands clone3 a file descriptor that no process can have. A kernel that
// knows the field says EINVAL, one whose structure ends before it E2BIG
// (copy_clone_args_from_user, kernel/fork.c). No process is made by either.
func (r *reader) cloneIntoCgroup(t *facts.Features) bool {
	args := [11]uint64{0: unix.CLONE_INTO_CGROUP, 10: 1 << 31} // flags, …, cgroup
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	switch errno {
	case unix.EINVAL:
		return true
	case unix.EPERM:
		unsure(t, "CloneIntoCgroup")
	}
	return false
}

// overlay says whether there is overlayfs. A type that is not listed may yet be a module: the kernel loads it when
// a context for such a mount is opened, which mounts nothing.
func (r *reader) overlay(t *facts.Features) bool {
	if text, err := r.read("/proc/filesystems"); err == nil && strings.Contains(text, "\toverlay\n") {
		return true
	}
	name, _ := unix.BytePtrFromString("overlay")
	fd, _, errno := unix.Syscall(unix.SYS_FSOPEN, uintptr(unsafe.Pointer(name)), unix.FSOPEN_CLOEXEC, 0)
	switch errno {
	case 0:
		unix.Close(int(fd))
		return true
	case unix.ENODEV:
		return false
	}
	unsure(t, "Overlay") // we may not mount here
	return false
}

// userNSAllowed derives from the sysctls whether we may make a user namespace.
func userNSAllowed(f *facts.Facts) bool {
	admin := f.Caps.Effective>>unix.CAP_SYS_ADMIN&1 == 1
	limit, there := f.Sysctl["user.max_user_namespaces"]
	return there && limit != "0" && (admin ||
		f.Sysctl["kernel.unprivileged_userns_clone"] != "0" &&
			f.Sysctl["kernel.apparmor_restrict_unprivileged_userns"] != "1")
}

// deepen tries what has a price.
func (r *reader) deepen(f *facts.Facts) {
	t := &f.Features
	t.BTF = unix.Access("/sys/kernel/btf/vmlinux", unix.R_OK) == nil
	r.tracing(t)
	r.cgroupKill(f)
	t.UserNSCreate = r.makeUserNS(t)
}

// makeUserNS clones a process into a new user namespace, where it fails to execute a program that isn't there: ENOENT
// is that process's report, every other error clone's own.
func (r *reader) makeUserNS(t *facts.Features) bool {
	pid, err := syscall.ForkExec("/proc/self/no such program", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}})
	if err == nil { // cannot be; but a child is reaped
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	sure(t, "UserNSCreate")
	return err == unix.ENOENT
}

// cgroupKill looks for the file in a group of the v2 hierarchy: the top one has none.
func (r *reader) cgroupKill(f *facts.Facts) {
	for _, h := range f.Cgroup.Hierarchies {
		if !h.V2 {
			continue
		}
		dirs := []string{}
		if h.Own != "/" && h.Own != "" {
			dirs = append(dirs, h.Mount+h.Own)
		}
		for _, name := range subdirs(h.Mount) {
			dirs = append(dirs, h.Mount+"/"+name)
		}
		for _, dir := range dirs {
			if exists(dir + "/cgroup.procs") {
				f.Features.CgroupKill = exists(dir + "/cgroup.kill")
				sure(&f.Features, "CgroupKill")
				return
			}
		}
	}
}
