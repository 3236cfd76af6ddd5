package trace

import (
	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
)

// noisy are functions of the kernel that ask for a capability without the call failing for want of it:
// it widens an answer, or saves a look elsewhere. A check that is made inside one of them explains no refusal.
var noisy = []string{
	"cap_vm_enough_memory",         // security/commoncap.c: the last 3 % of memory are root's; asked at every mmap and exec
	"security_vm_enough_memory_mm", // security/security.c: the same, where the compiler took it in
	"oom_badness",                  // mm/oom_kill.c (to 5.x): root's processes were killed a little later
	"kallsyms_show_value",          // kernel/ksyms_common.c: whether addresses are shown or are zeros
	"restricted_pointer",           // lib/vsprintf.c: the same for %pK
	"simple_xattr_list",            // fs/xattr.c: trusted.* names are left out of a list
	"ext4_xattr_trusted_list",      // fs/ext4/xattr_trusted.c: the same
	"ovl_listxattr",                // fs/overlayfs/xattrs.c: the same
	"setattr_copy",                 // fs/attr.c: the setgid bit goes, the call succeeds
	"setattr_should_drop_sgid",     // fs/attr.c: the same on write
	"setattr_should_drop_suidgid",  // fs/attr.c
	"mode_strip_sgid",              // fs/inode.c: the same at creation
	"inode_init_owner",             // fs/inode.c (before mode_strip_sgid)
	"file_remove_privs",            // fs/inode.c
	"cap_bprm_creds_from_file",     // security/commoncap.c: a traced program keeps its ids; execve succeeds
}

// decides says whether a capability that was not there may be why a call failed with e. The kernel
// answers nearly always EPERM or EACCES; the other errnos stand with those capabilities that bring them.
func decides(c caps.Cap, e abi.Errno) bool {
	switch unix.Errno(e) {
	case unix.EPERM, unix.EACCES:
		return true
	case unix.EAGAIN: // fork over RLIMIT_NPROC (kernel/fork.c, copy_process), mlock over its limit, mqueues
		return c == caps.CAP_SYS_RESOURCE || c == caps.CAP_SYS_ADMIN || c == caps.CAP_IPC_LOCK
	case unix.ENOMEM: // mlock, perf and bpf memory over RLIMIT_MEMLOCK (mm/mlock.c, can_do_mlock)
		return c == caps.CAP_IPC_LOCK || c == caps.CAP_SYS_RESOURCE
	case unix.ENOSPC, unix.EDQUOT, unix.EMFILE, unix.ENFILE, unix.ETOOMANYREFS, unix.EMLINK, unix.EUSERS:
		// reserved blocks (ext4_has_free_clusters), quota, file-max (fs/file_table.c), fds in flight (net/core/scm.c)
		return c == caps.CAP_SYS_RESOURCE || c == caps.CAP_SYS_ADMIN
	case unix.ENODATA, unix.EOPNOTSUPP: // trusted.* attributes are not there for others (fs/xattr.c, xattr_permission)
		return c == caps.CAP_SYS_ADMIN
	case unix.EINVAL: // prctl(PR_SET_MM), ids that may not be set, attributes of sched_setattr that are ignored
		return c == caps.CAP_SYS_RESOURCE || c == caps.CAP_SETUID || c == caps.CAP_SETGID || c == caps.CAP_SETPCAP || c == caps.CAP_SYS_ADMIN
	case unix.ENOENT, unix.ESRCH: // hidepid, and objects of namespaces that are not ours
		return c == caps.CAP_SYS_PTRACE || c == caps.CAP_SYS_ADMIN
	}
	return false
}
