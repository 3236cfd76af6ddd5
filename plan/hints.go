package plan

import (
	"strings"

	"porthole/abi"
)

// Hint says for a step that failed why that was, as far as the step and the error tell, and the
// least change that lets it through. Both may be empty.
func Hint(s Step, errno abi.Errno) (because, try string) {
	for _, h := range hints {
		if h.errno == errno && (h.call == s.Call || h.call == "") && (h.tag == "" || h.tag == s.Tag) && (h.why == "" || strings.Contains(s.Why, h.why)) {
			return h.because, h.try
		}
	}
	return "", ""
}

// hints are well-known failures; the first that fits counts. Sources are the kernel's functions.
var hints = []struct {
	call, tag, why string
	errno          abi.Errno
	because, try   string
}{
	// mount_too_revealing, fs/namespace.c
	{"fsmount", "proc", "", abi.EPERM, "part of this machine's own /proc is covered, so a user namespace may not mount a new one", "--pid=host, or start porthole where /proc is whole"},
	{"fsmount", "sysfs", "", abi.EPERM, "part of this machine's own /sys is covered, or its network namespace is not the container's", "--network=host, which binds the host's /sys, or start porthole where /sys is whole"},
	// ovl_get_upper and ovl_make_workdir, fs/overlayfs/super.c
	{"mount", "root", "", abi.EINVAL, "overlay refuses these directories: the upper one may lie on a filesystem that cannot hold it (another overlay, NFS), or the lower one on mounts that a user namespace may not take apart", "a state directory on a local filesystem (ext4, xfs, tmpfs)"},
	{"mount", "root", "", abi.EPERM, "this kernel lets nobody mount overlay inside a user namespace (Linux 5.11 does)", "an image unpacked to a directory: dir:PATH"},
	{"mount", "root", "", enodev, "this kernel has no overlay", "modprobe overlay, or an image unpacked to a directory: dir:PATH"},
	{"open_tree", "source", "", abi.ENOENT, "the source of the bind mount is not there", "make it first; -v makes a missing directory, --mount does not"},
	{"open_tree", "source", "", abi.EINVAL, "something is mounted beneath the source, and a user namespace may not uncover what lies under it (has_locked_children, fs/namespace.c)", "a recursive bind mount (rbind)"},
	{"open_tree", "source", "", abi.EACCES, "the source is not ours to enter", ""},
	{"openat2", "", "the place for", eloop, "the image has a symbolic link there, and /proc, /sys and /dev are taken only as they are", "an image without that link"},
	{"openat2", "", "the place for", abi.ENOENT, "a symbolic link of the image leads nowhere", ""},
	{"mkdirat", "", "", erofs, "the place for a mount is missing, and what it would be made on is read-only", "an image, or a source directory, that has it"},
	{"openat", "", "the place for", erofs, "the place for a mount is missing, and what it would be made on is read-only", "an image, or a source directory, that has it"},
	{"move_mount", "", "", abi.EINVAL, "a file can only be mounted on a file, a directory only on a directory", ""},
	{"mount_setattr", "idmap", "", abi.EINVAL, "this filesystem has no id-mapped mounts, or is id-mapped already (can_idmap_mount, fs/namespace.c)", "a source on ext4, xfs, btrfs or tmpfs"},
	{"mount_setattr", "idmap", "", abi.EPERM, "id-mapping a mount takes CAP_SYS_ADMIN in the user namespace that its filesystem belongs to", "run as root of the machine"},
	{"set_mempolicy", "memory", "", abi.ENOSYS, "this kernel knows no memory nodes (CONFIG_NUMA)", "leave linux.memoryPolicy out"},
	{"set_mempolicy", "memory", "", abi.EINVAL, "the machine has none of these nodes, or the mode or its flags do not go with them (set_mempolicy(2))", ""},
	{"sched_setattr", "sched", "", abi.EPERM, "a schedule above others takes CAP_SYS_NICE on the machine itself (user_check_sched_setscheduler, kernel/sched/syscalls.c)", "leave it out, or run as root of the machine"},
	{"sched_setattr", "sched", "", ebusy, "the machine has not that much time left to promise (sched_dl_overflow, kernel/sched/deadline.c)", ""},
	{"ioprio_set", "sched", "", abi.EPERM, "the realtime class takes CAP_SYS_ADMIN or CAP_SYS_NICE on the machine itself (ioprio_check_cap, block/ioprio.c)", "IOPRIO_CLASS_BE"},
	{"sched_setaffinity", "affinity", "", abi.EINVAL, "none of these processors is there, or in the process's cpuset", ""},
	{"mount_setattr", "", "", abi.EPERM, "the mount has nosuid, nodev, noexec or ro from the host, and a user namespace may not take them away (mount_setattr_prepare, fs/namespace.c)", "leave that option out"},
	{"fsconfig", "", "gid=", abi.EINVAL, "the user namespace has no such group", "map it, or leave the option out"},
	{"fsconfig", "", "", abi.EINVAL, "the filesystem does not know this option, or not this value", ""},
	{"fsopen", "", "", enodev, "this kernel has no such filesystem", ""},
	{"pivot_root", "", "", abi.EINVAL, "the machine runs from an initramfs, which cannot be pivoted away (path_pivot_root, fs/namespace.c)", "--no-pivot"},
	{"openat2", "sysctl", "", abi.ENOENT, "this kernel has no such parameter, or not in a namespace", ""},
	{"write", "sysctl", "", abi.EINVAL, "the kernel does not take that value", ""},
	{"openat2", "sysctl", "", abi.EACCES, "that parameter may not be written in a user namespace", ""},
	{"setns", "", "", abi.EPERM, "entering that namespace takes CAP_SYS_ADMIN in the user namespace that owns it", "run as its owner"},
	{"setgroups", "user", "", abi.EPERM, "the user namespace has setgroups denied, as all have in which an ordinary user mapped no more than its own group", "a range in /etc/subgid"},
	{"setgroups", "user", "", abi.EINVAL, "a group is not mapped in the user namespace", "map it: /etc/subgid"},
	{"setresgid", "user", "", abi.EINVAL, "the group is not mapped in the user namespace", "map it: /etc/subgid"},
	{"setresuid", "user", "", abi.EINVAL, "the user is not mapped in the user namespace", "map it: /etc/subuid"},
	{"prlimit64", "rlimit", "", abi.EPERM, "raising a hard limit takes CAP_SYS_RESOURCE on the machine itself (do_prlimit, kernel/sys.c)", "a limit not above porthole's own"},
	{"capset", "", "", abi.EPERM, "porthole does not have these capabilities itself", "leave them out"},
	{"seccomp", "", "", abi.EACCES, "installing a filter takes CAP_SYS_ADMIN or no_new_privs (seccomp_prepare_filter, kernel/seccomp.c)", "--security-opt no-new-privileges"},
	{"seccomp", "", "", abi.EINVAL, "the kernel does not take this filter or these flags", ""},
	{"seccomp", "", "", ebusy, "a filter with a listener is there already: each process has at most one", "a profile without SCMP_ACT_NOTIFY"},
	{"", "chdir", "", abi.EACCES, "the working directory is not open to its user", "-w DIR"},
	{"", "execve", "", abi.ENOENT, "there is no such file, or not the interpreter that it names", ""},
	{"", "execve", "", abi.EACCES, "the file is not executable, or the mount it lies on is noexec", ""},
	{"", "execve", "", enoexec, "the file is no program for this machine: another architecture, or a script without #!", ""},
	// do_execveat_common: is_rlimit_overlimit
	{"", "execve", "", eagain, "the user has more processes than its limit (RLIMIT_NPROC)", "--ulimit nproc=…"},
	// cap_bprm_creds_from_file, security/commoncap.c
	{"", "execve", "", abi.EPERM, "the file's capabilities, marked effective, are not all in the bounding set", "--cap-add what getcap shows, or a copy of the file without them"},
	{"", "execve", "", e2big, "arguments and environment are too long", ""},
	{"keyctl", "", "", edquot, "the user has as many keys as it may: each container has one until the last of its processes is reaped (keyrings(7))", "sysctl kernel.keys.maxkeys, for root kernel.keys.root_maxkeys"},
	{"clone3", "", "", abi.EPERM, "making these namespaces takes CAP_SYS_ADMIN, or a user namespace with them", "run as root, or allow user namespaces: kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone"},
	{"clone3", "", "", enospc, "a limit on namespaces is used up: user.max_*_namespaces, or pid namespaces nested too deep", "sysctl user.max_user_namespaces"},
	{"clone3", "", "", eagain, "a limit on processes is used up: RLIMIT_NPROC, or pids.max of the control group", ""},
	{"clone3", "", "", abi.EINVAL, "this kernel does not know all of these namespaces", ""},
}
