package engine

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/abi"
)

// probing, in the environment, has the test program make the probing calls instead of testing. It is
// bound into containers for that.
const probing = "PORTHOLE_PROBE"

// attempt is one probing call: its arguments are such that it changes nothing outside its own process,
// and in it nothing that matters.
type attempt struct {
	name string
	nr   uintptr
	args []any // int, string or nil
}

// Bad arguments for the kernel to stumble over once it has decided to look at them.
const (
	badFD    = -1
	badPtr   = 1
	nowhere  = "/nonexistent"
	badFlags = -1
)

// attempts are those whose outcome docker-truth.txt records, with the arguments that lead to it.
// Calls that this machine's architecture does not have are left out.
func attempts() []attempt {
	self, here := os.Getpid(), unix.AT_FDCWD
	file, node := "/tmp/.probe-file", "/tmp/.probe-node"
	os.WriteFile(file, nil, 0o600)
	os.Remove(node)
	arch, _ := abi.ParseArch(runtime.GOARCH)
	const absent = 1 << 31
	call := func(name, syscall string, args ...any) attempt {
		nr, ok := arch.Nr(syscall)
		if !ok {
			nr = absent
		}
		return attempt{name, uintptr(nr), args}
	}
	all := []attempt{
		call("ptrace_peek", "ptrace", unix.PTRACE_PEEKDATA, 0),
		call("ptrace_traceme", "ptrace", unix.PTRACE_TRACEME),
		call("process_vm_readv", "process_vm_readv", self),
		call("process_vm_writev", "process_vm_writev", self),
		call("kcmp", "kcmp", self, self, 99),
		call("personality_0", "personality", 0),
		call("personality_norandom", "personality", 0x40000),
		call("personality_uname26", "personality", 0x20000),
		call("personality_query", "personality", 0xffffffff),
		call("unshare_newuser", "unshare", unix.CLONE_NEWUSER),
		call("unshare_newns", "unshare", unix.CLONE_NEWNS),
		call("unshare_newnet", "unshare", unix.CLONE_NEWNET),
		call("unshare_newcgroup", "unshare", unix.CLONE_NEWCGROUP),
		call("unshare_fs", "unshare", unix.CLONE_FS),
		call("clone_newuser", "clone", unix.CLONE_NEWUSER|int(unix.SIGCHLD)),
		call("clone3_null", "clone3"),
		call("setns", "setns", badFD),
		call("mount", "mount"),
		call("umount2", "umount2", nowhere),
		call("pivot_root", "pivot_root"),
		call("chroot", "chroot", "/"),
		call("fsopen", "fsopen"),
		call("open_tree", "open_tree", here, nowhere),
		call("move_mount", "move_mount", here, nowhere, here, nowhere),
		call("fsmount", "fsmount", badFD),
		call("mount_setattr", "mount_setattr", here, "/"),
		call("name_to_handle_at", "name_to_handle_at", here),
		call("open_by_handle_at", "open_by_handle_at", here),
		call("bpf", "bpf", 9999),
		call("perf_event_open", "perf_event_open", nil, 0, -1, -1),
		call("keyctl", "keyctl", 9999),
		call("add_key", "add_key"),
		call("request_key", "request_key"),
		call("userfaultfd", "userfaultfd", badFlags),
		call("init_module", "init_module"),
		call("finit_module", "finit_module", badFD),
		call("delete_module", "delete_module"),
		call("kexec_load", "kexec_load", 0, 9999),
		call("reboot_badmagic", "reboot"),
		call("swapon", "swapon"),
		call("acct_null_ptr", "acct", badPtr),
		call("quotactl", "quotactl", badFlags),
		call("syslog_sizebuf", "syslog", 10),
		call("clock_settime_bad", "clock_settime", 99),
		call("settimeofday_bad", "settimeofday", badPtr),
		call("clock_adjtime_bad", "clock_adjtime"),
		call("sethostname_bad", "sethostname", badPtr, 5),
		call("iopl0", "iopl"),
		call("ioperm", "ioperm", 0, 1, 0),
		call("uselib", "uselib", nowhere),
		call("sysfs", "sysfs", 99),
		call("ustat", "ustat"),
		call("lookup_dcookie", "lookup_dcookie"),
		call("_sysctl", "_sysctl"),
		call("nfsservctl", "nfsservctl"),
		call("mbind", "mbind", 0, 0, 99),
		call("set_mempolicy", "set_mempolicy", 99),
		call("get_mempolicy", "get_mempolicy"),
		call("move_pages", "move_pages"),
		call("migrate_pages", "migrate_pages"),
		call("fanotify_init", "fanotify_init", badFlags),
		call("io_uring_setup", "io_uring_setup", 1),
		call("pidfd_open", "pidfd_open", self),
		call("pidfd_getfd", "pidfd_getfd", badFD),
		call("landlock_create", "landlock_create_ruleset", 0, 0, 1),
		call("memfd_secret", "memfd_secret", badFlags),
		call("process_madvise", "process_madvise", badFD),
		call("close_range", "close_range", 10, 5),
		call("openat2", "openat2", here, "/"),
		call("faccessat2", "faccessat2", here, nowhere),
		call("epoll_pwait2", "epoll_pwait2", badFD, "room for one event", 1),
		call("futex_waitv", "futex_waitv"),
		call("cachestat", "cachestat", badFD),
		call("fchmodat2", "fchmodat2", here, nowhere, 0o600),
		call("rseq", "rseq"),
		call("statx", "statx", here, nowhere),
		call("seccomp_getnotif", "seccomp", unix.SECCOMP_GET_NOTIF_SIZES),
		call("vhangup", "vhangup"),
		call("mknod_char", "mknod", node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		call("chown_root", "chown", file, 0, 0),
		call("socket_vsock", "socket", unix.AF_VSOCK, unix.SOCK_STREAM),
		call("socket_alg", "socket", unix.AF_ALG, unix.SOCK_SEQPACKET),
		call("socket_raw", "socket", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		call("socket_packet", "socket", unix.AF_PACKET, unix.SOCK_RAW),
		call("socket_netlink", "socket", unix.AF_NETLINK, unix.SOCK_RAW),
		call("setuid_1", "setuid", 1),
		call("setgroups", "setgroups"),
		call("nice_neg", "setpriority", unix.PRIO_PROCESS, 0, -5),
		{name: "unknown_9999", nr: 9999},
	}
	return slices.DeleteFunc(all, func(a attempt) bool { return a.nr == absent })
}

// probe makes every call in a process of its own and prints NAME=ERRNO, or NAME=ok, a line each.
func probe() {
	for _, a := range attempts() {
		errno, err := a.alone()
		switch {
		case err != nil:
			fmt.Printf("%s=%v\n", a.name, err)
		case errno == 0:
			fmt.Printf("%s=ok\n", a.name)
		default:
			fmt.Printf("%s=%s\n", a.name, abi.Errno(errno).String())
		}
	}
}

// alone makes the call in a forked process, whose exit code is the errno.
func (a attempt) alone() (errno int, err error) {
	var args [6]uintptr
	for i, arg := range a.args {
		switch v := arg.(type) {
		case int:
			args[i] = uintptr(v)
		case string:
			s := append([]byte(v), make([]byte, 64)...)
			args[i] = uintptr(unsafe.Pointer(&s[0]))
			defer func() { _ = s[0] }()
		}
	}
	pid, e := a.fork(args)
	if e != 0 {
		return 0, e
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			break
		}
	}
	if err == nil && !status.Exited() {
		err = fmt.Errorf("signal %v", status.Signal())
	}
	return status.ExitStatus(), err
}

// fork clones this thread alone. The child may do nothing but raw calls: no other thread of
// Go's runtime is with it.
//
//go:norace
//go:noinline
func (a attempt) fork(args [6]uintptr) (pid int, errno unix.Errno) {
	r, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if r != 0 || e != 0 {
		return int(r), e
	}
	_, _, e = unix.RawSyscall6(a.nr, args[0], args[1], args[2], args[3], args[4], args[5])
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
}
