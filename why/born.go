package why

import "porthole/facts"

// born are the releases of Linux that first had a call, for calls newer than 3.0, and gone those that have it no longer:
// before and after, whoever lets it through, the kernel answers ENOSYS. Source: syscalls(2), and for those newer than its
// list arch/x86/entry/syscalls/syscall_64.tbl of the release.
var born = []calls{
	{3, 0, "setns sendmmsg"},
	{3, 2, "process_vm_readv process_vm_writev"},
	{3, 5, "kcmp"},
	{3, 8, "finit_module"},
	{3, 14, "sched_setattr sched_getattr"},
	{3, 15, "renameat2"},
	{3, 17, "getrandom memfd_create kexec_file_load seccomp"},
	{3, 18, "bpf"},
	{3, 19, "execveat"},
	{4, 3, "userfaultfd membarrier"},
	{4, 4, "mlock2"},
	{4, 5, "copy_file_range"},
	{4, 6, "preadv2 pwritev2"},
	{4, 9, "pkey_mprotect pkey_alloc pkey_free"},
	{4, 11, "statx"},
	{4, 18, "io_pgetevents rseq"},
	{5, 1, "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64 clock_nanosleep_time64 timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64 io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64 rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64"},
	{5, 2, "open_tree move_mount fsopen fsconfig fsmount fspick"},
	{5, 3, "pidfd_open clone3"},
	{5, 6, "openat2 pidfd_getfd"},
	{5, 8, "faccessat2"},
	{5, 9, "close_range"},
	{5, 10, "process_madvise"},
	{5, 11, "epoll_pwait2"},
	{5, 12, "mount_setattr"},
	{5, 13, "landlock_create_ruleset landlock_add_rule landlock_restrict_self"},
	{5, 14, "quotactl_fd memfd_secret"},
	{5, 15, "process_mrelease"},
	{5, 16, "futex_waitv"},
	{5, 17, "set_mempolicy_home_node"},
	{6, 5, "cachestat"},
	{6, 6, "fchmodat2 map_shadow_stack"},
	{6, 7, "futex_wake futex_wait futex_requeue"},
	{6, 8, "statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules"},
	{6, 10, "mseal"},
	{6, 13, "setxattrat getxattrat listxattrat removexattrat"},
	{6, 15, "open_tree_attr"},
	{6, 17, "file_getattr file_setattr"},
}

var gone = []calls{
	{5, 5, "_sysctl"},
	{6, 8, "lookup_dcookie"},
}

// calls are names that stand for one release.
type calls struct {
	major, minor int
	names        string
}

// release is the one of a table's that a call belongs to; the zero value if it is not in it.
func release(table []calls, call string) facts.Version {
	for _, c := range table {
		if hasWord(c.names, call) {
			return facts.Version{Major: c.major, Minor: c.minor}
		}
	}
	return facts.Version{}
}

// absent says that a kernel does not have a call, or has it no longer.
func absent(call string, k facts.Version) (since facts.Version, removed, yes bool) {
	if k == (facts.Version{}) {
		return
	}
	if at := release(born, call); k.Less(at) {
		return at, false, true
	}
	if at := release(gone, call); at != (facts.Version{}) && !k.Less(at) {
		return at, true, true
	}
	return
}

// absentSuspect is a kernel that has no such call, told by its version.
func absentSuspect(q *question, s *Scene) (Suspect, bool) {
	at, removed, ok := absent(q.call, s.Facts.Kernel)
	if !ok {
		return Suspect{}, false
	}
	key := "detail.kernel.older"
	if removed {
		key = "detail.kernel.removed"
	}
	return Suspect{Layer: Kernel, Code: "P0904", Proof: ByRules, Source: "syscalls(2)",
		Detail: say(key, "call", q.call, "version", at.String(), "kernel", s.Facts.Kernel.String())}, true
}
