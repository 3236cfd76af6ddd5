package abi

import (
	"cmp"
	"slices"
	"strings"
)

// kindOf says what an argument means: by a row for that very argument, else by its type,
// else by its name, which the kernel uses alike in most calls.
func kindOf(call string, p Param) (Kind, string) {
	i, ok := slices.BinarySearchFunc(kinds[:], call, func(k meaning, call string) int { return cmp.Compare(k.call, call) })
	for ; ok && i < len(kinds) && kinds[i].call == call; i++ {
		if kinds[i].param == p.Name {
			return kinds[i].kind, kinds[i].group
		}
	}
	switch typ := strings.TrimPrefix(p.Type, "const "); typ {
	case "pid_t":
		return KindPID, ""
	case "uid_t", "qid_t":
		return KindUID, ""
	case "gid_t":
		return KindGID, ""
	case "umode_t":
		return KindMode, ""
	case "size_t":
		return KindSize, ""
	case "loff_t", "off_t":
		return KindOffset, ""
	case "struct sockaddr *":
		return KindSockaddr, ""
	case "char *":
		switch {
		case typ == p.Type: // not const: the kernel writes there
			return KindBuffer, ""
		case slices.Contains(paths, p.Name):
			return KindPath, ""
		}
		return KindString, ""
	default:
		switch {
		case strings.HasPrefix(typ, "struct ") && strings.Count(typ, "*") == 1, strings.HasPrefix(typ, "union "):
			return KindStruct, ""
		case strings.Contains(typ, "*"), typ == "cap_user_header_t", typ == "cap_user_data_t", typ == "__sighandler_t":
			return KindPointer, ""
		}
	}
	switch {
	case slices.Contains(dirFDs, p.Name):
		return KindDirFD, ""
	case slices.Contains(fds, p.Name):
		return KindFD, ""
	case p.Name == "sig":
		return KindSignal, ""
	}
	unsigned := strings.Contains(p.Type, "unsigned") || strings.HasSuffix(p.Type, "u32") || strings.HasSuffix(p.Type, "u64")
	switch {
	case p.Bits() < 64 && unsigned:
		return KindUint, ""
	case p.Bits() < 64:
		return KindInt, ""
	case unsigned:
		return KindUlong, ""
	}
	return KindLong, ""
}

// The names that mean the same in every call (include/linux/syscalls.h).
var (
	paths  = []string{"filename", "pathname", "path", "oldname", "newname", "specialfile", "new_root", "put_old", "from_pathname", "to_pathname"}
	dirFDs = []string{"dfd", "olddfd", "newdfd"}
	fds    = []string{
		"fd", "epfd", "fildes", "oldfd", "newfd", "in_fd", "out_fd", "fd_in", "fd_out", "fdin", "fdout", "pidfd", "ufd",
		"mqdes", "fs_fd", "group_fd", "ruleset_fd", "fanotify_fd", "mountdirfd",
	}
)

// A meaning is what one argument of one call means. Flags are those that the call's man
// page (section 2) lists, with the constants of the header that it names.
type meaning struct {
	call, param string
	kind        Kind
	group       string
}

// kinds are in the order of the calls' names.
var kinds = [...]meaning{
	{"_llseek", "whence", KindFlags, "seek"},
	{"accept4", "flags", KindFlags, "sockflags"},
	{"access", "mode", KindFlags, "access"},
	{"acct", "name", KindPath, ""},
	{"add_key", "_description", KindString, ""},
	{"add_key", "_payload", KindBuffer, ""},
	{"add_key", "_type", KindString, ""},
	{"add_key", "ringid", KindFlags, "keyring"},
	{"arch_prctl", "option", KindFlags, "arch_prctl"},
	{"bind", "umyaddr", KindSockaddr, ""},
	{"bpf", "cmd", KindFlags, "bpf"},
	{"brk", "brk", KindUlong, ""},
	{"chroot", "filename", KindPath, ""},
	{"clock_adjtime", "which_clock", KindFlags, "clock"},
	{"clock_getres", "which_clock", KindFlags, "clock"},
	{"clock_gettime", "which_clock", KindFlags, "clock"},
	{"clock_nanosleep", "flags", KindFlags, "timer"},
	{"clock_nanosleep", "which_clock", KindFlags, "clock"},
	{"clock_settime", "which_clock", KindFlags, "clock"},
	{"clone", "clone_flags", KindFlags, "clone"},
	{"clone", "tls", KindUlong, ""},
	{"clone3", "uargs", KindStruct, ""},
	{"close_range", "flags", KindFlags, "close_range"},
	{"connect", "uservaddr", KindSockaddr, ""},
	{"creat", "pathname", KindPath, ""},
	{"delete_module", "name_user", KindString, ""},
	{"epoll_create1", "flags", KindFlags, "epoll"},
	{"epoll_ctl", "op", KindFlags, "epoll_ctl"},
	{"eventfd2", "flags", KindFlags, "eventfd"},
	{"execve", "argv", KindStrings, ""},
	{"execve", "envp", KindStrings, ""},
	{"execveat", "argv", KindStrings, ""},
	{"execveat", "envp", KindStrings, ""},
	{"execveat", "flags", KindFlags, "at"},
	{"faccessat", "mode", KindFlags, "access"},
	{"faccessat2", "flags", KindFlags, "faccessat"},
	{"faccessat2", "mode", KindFlags, "access"},
	{"fallocate", "mode", KindFlags, "fallocate"},
	{"fanotify_init", "event_f_flags", KindFlags, "open"},
	{"fanotify_init", "flags", KindFlags, "fanotify_init"},
	{"fanotify_mark", "flags", KindFlags, "fanotify_mark"},
	{"fchmodat2", "flags", KindFlags, "at"},
	{"fchownat", "flag", KindFlags, "at"},
	{"fcntl", "arg", KindUlong, ""},
	{"fcntl", "cmd", KindFlags, "fcntl"},
	{"fcntl64", "cmd", KindFlags, "fcntl"},
	{"file_getattr", "at_flags", KindFlags, "at"},
	{"file_setattr", "at_flags", KindFlags, "at"},
	{"finit_module", "flags", KindFlags, "module"},
	{"finit_module", "uargs", KindString, ""},
	{"flock", "cmd", KindFlags, "flock"},
	{"fsconfig", "_key", KindString, ""},
	{"fsconfig", "_value", KindPointer, ""},
	{"fsconfig", "cmd", KindFlags, "fsconfig"},
	{"fsetxattr", "flags", KindFlags, "xattr"},
	{"fsmount", "attr_flags", KindFlags, "mount_attr"},
	{"fsmount", "flags", KindFlags, "fsmount"},
	{"fsopen", "_fs_name", KindString, ""},
	{"fsopen", "flags", KindFlags, "fsopen"},
	{"fspick", "flags", KindFlags, "fspick"},
	{"fstatat64", "flag", KindFlags, "at"},
	{"futex", "op", KindFlags, "futex"},
	{"getcwd", "buf", KindBuffer, ""},
	{"getitimer", "which", KindFlags, "itimer"},
	{"getpriority", "which", KindFlags, "priority"},
	{"getrandom", "flags", KindFlags, "getrandom"},
	{"getrlimit", "resource", KindFlags, "rlimit"},
	{"getrusage", "who", KindFlags, "rusage"},
	{"getsockopt", "level", KindFlags, "sol"},
	{"getxattrat", "at_flags", KindFlags, "at"},
	{"init_module", "uargs", KindString, ""},
	{"init_module", "umod", KindBuffer, ""},
	{"inotify_add_watch", "mask", KindFlags, "inotify"},
	{"inotify_init1", "flags", KindFlags, "inotify_init"},
	{"io_uring_enter", "flags", KindFlags, "io_uring_enter"},
	{"ioctl", "arg", KindUlong, ""},
	{"ioctl", "cmd", KindFlags, "ioctl"},
	{"ioprio_get", "which", KindFlags, "ioprio"},
	{"ioprio_set", "which", KindFlags, "ioprio"},
	{"ipc", "call", KindFlags, "ipc"},
	{"kcmp", "type", KindFlags, "kcmp"},
	{"kexec_file_load", "cmdline_ptr", KindString, ""},
	{"kexec_file_load", "flags", KindFlags, "kexec_file"},
	{"kexec_file_load", "initrd_fd", KindFD, ""},
	{"kexec_file_load", "kernel_fd", KindFD, ""},
	{"kexec_load", "flags", KindFlags, "kexec"},
	{"keyctl", "option", KindFlags, "keyctl"},
	{"kill", "sig", KindSignal, ""},
	{"landlock_add_rule", "rule_type", KindFlags, "landlock_rule"},
	{"landlock_create_ruleset", "flags", KindFlags, "landlock"},
	{"landlock_restrict_self", "flags", KindFlags, "landlock_restrict"},
	{"linkat", "flags", KindFlags, "at"},
	{"listxattrat", "at_flags", KindFlags, "at"},
	{"lseek", "whence", KindFlags, "seek"},
	{"lsetxattr", "flags", KindFlags, "xattr"},
	{"madvise", "behavior", KindFlags, "madvise"},
	{"mbind", "mode", KindFlags, "mempolicy"},
	{"membarrier", "cmd", KindFlags, "membarrier"},
	{"memfd_create", "flags", KindFlags, "memfd"},
	{"memfd_create", "uname", KindString, ""},
	{"mknod", "dev", KindDevice, ""},
	{"mknodat", "dev", KindDevice, ""},
	{"mlock2", "flags", KindFlags, "mlock"},
	{"mlockall", "flags", KindFlags, "mlockall"},
	{"mmap", "fd", KindFD, ""},
	{"mmap", "flags", KindFlags, "mmap"},
	{"mmap", "prot", KindFlags, "prot"},
	{"mmap2", "flags", KindFlags, "mmap"},
	{"mmap2", "prot", KindFlags, "prot"},
	{"mount", "data", KindPointer, ""},
	{"mount", "dev_name", KindPath, ""},
	{"mount", "dir_name", KindPath, ""},
	{"mount", "flags", KindFlags, "mount"},
	{"mount", "type", KindString, ""},
	{"mount_setattr", "flags", KindFlags, "at"},
	{"move_mount", "flags", KindFlags, "move_mount"},
	{"move_mount", "from_dfd", KindDirFD, ""},
	{"move_mount", "to_dfd", KindDirFD, ""},
	{"mprotect", "prot", KindFlags, "prot"},
	{"mq_open", "oflag", KindFlags, "open"},
	{"mq_open", "u_name", KindString, ""},
	{"mq_unlink", "u_name", KindString, ""},
	{"mremap", "flags", KindFlags, "mremap"},
	{"msgctl", "cmd", KindFlags, "ipcctl"},
	{"msgget", "msgflg", KindFlags, "ipcget"},
	{"msync", "flags", KindFlags, "msync"},
	{"name_to_handle_at", "flag", KindFlags, "at"},
	{"newfstatat", "flag", KindFlags, "at"},
	{"open", "flags", KindFlags, "open"},
	{"open_by_handle_at", "flags", KindFlags, "open"},
	{"open_tree", "flags", KindFlags, "open_tree"},
	{"open_tree_attr", "flags", KindFlags, "open_tree"},
	{"openat", "flags", KindFlags, "open"},
	{"perf_event_open", "flags", KindFlags, "perf"},
	{"personality", "personality", KindFlags, "personality"},
	{"pidfd_open", "flags", KindFlags, "pidfd_open"},
	{"pidfd_send_signal", "flags", KindFlags, "pidfd_signal"},
	{"pidfd_send_signal", "sig", KindSignal, ""},
	{"pipe2", "flags", KindFlags, "open"},
	{"pkey_mprotect", "prot", KindFlags, "prot"},
	{"prctl", "option", KindFlags, "prctl"},
	{"pread64", "buf", KindBuffer, ""},
	{"preadv2", "flags", KindFlags, "rwf"},
	{"prlimit64", "resource", KindFlags, "rlimit"},
	{"process_madvise", "behavior", KindFlags, "madvise"},
	{"ptrace", "request", KindFlags, "ptrace"},
	{"pwrite64", "buf", KindBuffer, ""},
	{"pwritev2", "flags", KindFlags, "rwf"},
	{"quotactl", "special", KindPath, ""},
	{"read", "buf", KindBuffer, ""},
	{"readlink", "buf", KindBuffer, ""},
	{"readlinkat", "buf", KindBuffer, ""},
	{"reboot", "cmd", KindFlags, "reboot"},
	{"recv", "flags", KindFlags, "msg"},
	{"recvfrom", "flags", KindFlags, "msg"},
	{"recvfrom", "ubuf", KindBuffer, ""},
	{"recvmmsg", "flags", KindFlags, "msg"},
	{"recvmsg", "flags", KindFlags, "msg"},
	{"removexattrat", "at_flags", KindFlags, "at"},
	{"renameat2", "flags", KindFlags, "rename"},
	{"request_key", "_callout_info", KindString, ""},
	{"request_key", "_description", KindString, ""},
	{"request_key", "_type", KindString, ""},
	{"request_key", "destringid", KindFlags, "keyring"},
	{"rt_sigprocmask", "how", KindFlags, "sigmask"},
	{"sched_get_priority_max", "policy", KindFlags, "sched"},
	{"sched_get_priority_min", "policy", KindFlags, "sched"},
	{"sched_setscheduler", "policy", KindFlags, "sched"},
	{"seccomp", "flags", KindFlags, "seccomp_flags"},
	{"seccomp", "op", KindFlags, "seccomp"},
	{"semctl", "cmd", KindFlags, "ipcctl"},
	{"semget", "semflg", KindFlags, "ipcget"},
	{"send", "flags", KindFlags, "msg"},
	{"sendmmsg", "flags", KindFlags, "msg"},
	{"sendmsg", "flags", KindFlags, "msg"},
	{"sendto", "buff", KindBuffer, ""},
	{"sendto", "flags", KindFlags, "msg"},
	{"set_mempolicy", "mode", KindFlags, "mempolicy"},
	{"setdomainname", "name", KindString, ""},
	{"sethostname", "name", KindString, ""},
	{"setitimer", "which", KindFlags, "itimer"},
	{"setns", "flags", KindFlags, "setns"},
	{"setpriority", "which", KindFlags, "priority"},
	{"setrlimit", "resource", KindFlags, "rlimit"},
	{"setsockopt", "level", KindFlags, "sol"},
	{"setxattr", "flags", KindFlags, "xattr"},
	{"setxattrat", "at_flags", KindFlags, "at"},
	{"shmat", "shmflg", KindFlags, "shmat"},
	{"shmctl", "cmd", KindFlags, "ipcctl"},
	{"shmget", "shmflg", KindFlags, "shmget"},
	{"shutdown", "how", KindFlags, "shutdown"},
	{"signalfd4", "flags", KindFlags, "signalfd"},
	{"sigprocmask", "how", KindFlags, "sigmask"},
	{"socket", "family", KindFlags, "family"},
	{"socket", "type", KindFlags, "socktype"},
	{"socketcall", "call", KindFlags, "socketcall"},
	{"socketpair", "family", KindFlags, "family"},
	{"socketpair", "type", KindFlags, "socktype"},
	{"splice", "flags", KindFlags, "splice"},
	{"statx", "flags", KindFlags, "at"},
	{"statx", "mask", KindFlags, "statx_mask"},
	{"swapoff", "specialfile", KindPath, ""},
	{"swapon", "specialfile", KindPath, ""},
	{"syslog", "type", KindFlags, "syslog"},
	{"tee", "flags", KindFlags, "splice"},
	{"timer_create", "which_clock", KindFlags, "clock"},
	{"timer_settime", "flags", KindFlags, "timer"},
	{"timerfd_create", "clockid", KindFlags, "clock"},
	{"timerfd_create", "flags", KindFlags, "timerfd"},
	{"timerfd_settime", "flags", KindFlags, "timer"},
	{"umount", "name", KindPath, ""},
	{"umount2", "flags", KindFlags, "umount"},
	{"umount2", "name", KindPath, ""},
	{"unlinkat", "flag", KindFlags, "unlinkat"},
	{"unlinkat", "pathname", KindPath, ""},
	{"unshare", "unshare_flags", KindFlags, "unshare"},
	{"userfaultfd", "flags", KindFlags, "userfaultfd"},
	{"utimensat", "flags", KindFlags, "at"},
	{"vmsplice", "flags", KindFlags, "splice"},
	{"wait4", "options", KindFlags, "wait"},
	{"waitid", "options", KindFlags, "wait"},
	{"waitid", "which", KindFlags, "waitid"},
	{"waitpid", "options", KindFlags, "wait"},
	{"write", "buf", KindBuffer, ""},
}
