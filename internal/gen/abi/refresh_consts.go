package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// families are the constants that package abi knows: those of a header whose names match.
// A header is one of usr/include, or with a + before it one of the kernel's own include
// folder (what a libc would define otherwise); = has none and says its values. A name may be in
// several groups; "" is none: names that are looked up and not printed.
var families = []struct{ group, header, names, not string }{
	{"clone", "linux/sched.h", `CLONE_\w+`, `CLONE_(ARGS\w*|NEWTIME\w*|CLEAR\w*|INTO\w*|AUTO\w*|NNP\w*|PIDFD_AUTO\w*|EMPTY\w*)`},
	{"clone3", "linux/sched.h", `CLONE_\w+`, `CLONE_ARGS\w*`},
	{"unshare", "linux/sched.h", `CLONE_(NEW\w+|VM|FS|FILES|SIGHAND|SYSVSEM|THREAD)|UNSHARE_\w+`, ``},
	{"setns", "linux/sched.h", `CLONE_NEW\w+`, ``},
	{"sched", "linux/sched.h", `SCHED_(NORMAL|FIFO|RR|BATCH|IDLE|DEADLINE|EXT|RESET_ON_FORK)`, ``},
	{"signal", "asm/signal.h", `SIG[A-Z0-9]+`, `SIG(RTM|STKSZ|IOT|POLL|LOST|UNUSED)[A-Z]*`},
	{"", "asm/signal.h", `SIG(IOT|POLL|UNUSED|RTMIN)`, ``},
	{"mount", "linux/mount.h", `MS_\w+`, `MS_(RMT\w*|MGC_M\w*|NOUSER\w*|ACTIVE\w*|BORN\w*|KERNMOUNT\w*|NOSEC\w*|SUBMOUNT\w*|NOREMOTELOCK\w*|VERBOSE\w*)`},
	{"umount", "+linux/fs.h", `MNT_(FORCE|DETACH|EXPIRE)|UMOUNT_NOFOLLOW`, ``},
	{"open", "asm/fcntl.h", `O_\w+`, `O_(NDELAY|ACCMODE|RDONLY|WRONLY|RDWR)`},
	{"accmode", "asm/fcntl.h", `O_(RDONLY|WRONLY|RDWR)`, ``},
	{"", "asm/fcntl.h", `O_(ACCMODE|NDELAY)`, ``},
	{"resolve", "linux/openat2.h", `RESOLVE_\w+`, ``},
	{"at", "linux/fcntl.h", `AT_(SYMLINK_\w+|NO_AUTOMOUNT|EMPTY_PATH|RECURSIVE|STATX_FORCE_SYNC|STATX_DONT_SYNC)`, ``},
	{"faccessat", "linux/fcntl.h", `AT_(SYMLINK_NOFOLLOW|EACCESS|EMPTY_PATH)`, ``},
	{"unlinkat", "linux/fcntl.h", `AT_REMOVEDIR`, ``},
	{"dirfd", "linux/fcntl.h", `AT_FDCWD`, ``},
	{"fcntl", "linux/fcntl.h", `F_[A-Z]+\w*`, `F_(SEAL_\w+|OWNER_\w+|EXLCK|SHLCK|RDLCK|WRLCK|UNLCK|LINUX_SPECIFIC_BASE|GETLK64|SETLK64|SETLKW64)`},
	{"seal", "linux/fcntl.h", `F_SEAL_\w+`, ``},
	{"access", "=", `F_OK=0 X_OK=1 W_OK=2 R_OK=4`, ``},
	{"ptrace", "linux/ptrace.h", `PTRACE_\w+`, `PTRACE_(O_\w*|EVENT_\w*|EVENTMSG\w*|SYSCALL_INFO\w*|PEEKSIGINFO_SHARED\w*)`},
	{"ptrace", "asm/ptrace-abi.h", `PTRACE_\w+`, ``},
	{"ptrace_options", "linux/ptrace.h", `PTRACE_O_\w+`, `PTRACE_O_(MASK\w*)`},
	{"ptrace_event", "linux/ptrace.h", `PTRACE_EVENT_\w+`, ``},
	{"prctl", "linux/prctl.h", `PR_\w+`, `PR_(UNALIGN|FPEMU|FP_EXC|TIMING|ENDIAN|TSC|MCE_KILL_[CSLED]|SET_MM_|SET_PTRACER_ANY|THP_|FP_MODE|CAP_AMBIENT_|SVE_SET_VL_|SVE_VL|SPEC_|PAC_AP|TAGGED|MTE|PMLEN|SYS_DISPATCH|SCHED_CORE_|SME_SET_VL_|SME_VL|MDWE|SET_VMA_|RISCV_V_VSTATE|RISCV_CTX|RISCV_SCOPE|PPC_DEXCR|SHADOW_STACK|TIMER_CREATE_RESTORE_IDS_|FUTEX_HASH_|RSEQ_SLICE_EXTENSION_|RSEQ_SLICE_EXT_|CFI_)\w*`},
	{"prctl_vma", "linux/prctl.h", `PR_SET_VMA_\w+`, ``},
	{"prctl_ptracer", "linux/prctl.h", `PR_SET_PTRACER_ANY`, ``},
	{"cap_ambient", "linux/prctl.h", `PR_CAP_AMBIENT_\w+`, ``},
	{"prctl_mm", "linux/prctl.h", `PR_SET_MM_\w+`, ``},
	{"speculation", "linux/prctl.h", `PR_SPEC_(?:STORE_BYPASS|INDIRECT_BRANCH|L1D_FLUSH)`, ``},
	{"securebits", "linux/securebits.h", `SECBIT_\w+`, ``},
	{"personality", "linux/personality.h", `UNAME26|ADDR_\w+|FDPIC_FUNCPTRS|MMAP_PAGE_ZERO|READ_IMPLIES_EXEC|SHORT_INODE|WHOLE_SECONDS|STICKY_TIMEOUTS`, ``},
	{"persona", "linux/personality.h", `PER_(LINUX|LINUX32|BSD|RISCOS|OSF4)`, ``},
	{"family", "+linux/socket.h", `AF_\w+`, `AF_(MAX|LOCAL|ROUTE)`},
	{"", "+linux/socket.h", `AF_(LOCAL|ROUTE)`, ``},
	{"socktype", "+linux/net.h", `SOCK_(STREAM|DGRAM|RAW|RDM|SEQPACKET|DCCP|PACKET)`, ``},
	{"sockflags", "+linux/net.h", `SOCK_(CLOEXEC|NONBLOCK)`, ``},
	{"ipproto", "linux/in.h", `IPPROTO_\w+`, `IPPROTO_(MAX\w*)`},
	{"netlink", "linux/netlink.h", `NETLINK_(ROUTE|USERSOCK|FIREWALL|SOCK_DIAG|NFLOG|XFRM|SELINUX|ISCSI|AUDIT|FIB_LOOKUP|CONNECTOR|NETFILTER|IP6_FW|DNRTMSG|KOBJECT_UEVENT|GENERIC|SCSITRANSPORT|ECRYPTFS|RDMA|CRYPTO|SMC)`, ``},
	{"sol", "+linux/socket.h", `SOL_\w+`, `SOL_(SOCKET)`},
	{"sol", "asm/socket.h", `SOL_SOCKET`, ``},
	{"sockopt", "asm/socket.h", `SO_\w+`, `SO_(GET_FILTER|DETACH_BPF|\w+_OLD)`},
	{"msg", "+linux/socket.h", `MSG_\w+`, `MSG_(CMSG_COMPAT|TRYHARD|EOF\w*|NO_SHARED\w*|SENDPAGE\w*|INTERNAL\w*|PROBE\w*)`},
	{"shutdown", "=", `SHUT_RD=0 SHUT_WR=1 SHUT_RDWR=2`, ``},
	{"syslog", "+linux/syslog.h", `SYSLOG_ACTION_\w+`, ``},
	{"socketcall", "linux/net.h", `SYS_\w+`, ``},
	{"ipc", "+linux/../uapi/linux/ipc.h", `SEM(OP|GET|CTL|TIMEDOP)|MSG(SND|RCV|GET|CTL)|SHM(AT|DT|GET|CTL)`, ``},
	{"ipcctl", "linux/ipc.h", `IPC_(RMID|SET|STAT|INFO)`, ``},
	{"ipcget", "linux/ipc.h", `IPC_(CREAT|EXCL|NOWAIT)`, ``},
	{"shmget", "linux/ipc.h", `IPC_(CREAT|EXCL)`, ``},
	{"shmget", "linux/shm.h", `SHM_(HUGETLB|NORESERVE)`, ``},
	{"shmat", "linux/shm.h", `SHM_(RDONLY|RND|REMAP|EXEC)`, ``},
	{"seccomp", "linux/seccomp.h", `SECCOMP_(SET_MODE|GET)_\w+`, ``},
	{"seccomp_flags", "linux/seccomp.h", `SECCOMP_FILTER_FLAG_\w+`, ``},
	{"seccomp_mode", "linux/seccomp.h", `SECCOMP_MODE_\w+`, ``},
	{"seccomp_ret", "linux/seccomp.h", `SECCOMP_RET_(KILL_PROCESS|KILL_THREAD|TRAP|ERRNO|USER_NOTIF|TRACE|LOG|ALLOW)`, ``},
	{"seccomp_notif", "linux/seccomp.h", `SECCOMP_USER_NOTIF_FLAG_\w+`, ``},
	{"seccomp_addfd", "linux/seccomp.h", `SECCOMP_ADDFD_FLAG_\w+`, ``},
	{"keyctl", "linux/keyctl.h", `KEYCTL_\w+`, `KEYCTL_(CAPS\w*|SUPPORTS\w*|MOVE_EXCL\w*)`},
	{"keyring", "linux/keyctl.h", `KEY_SPEC_\w+`, ``},
	{"bpf", "linux/bpf.h", `BPF_(MAP_(CREATE|(LOOKUP|UPDATE|DELETE)_(ELEM|BATCH)|LOOKUP_AND_DELETE_(ELEM|BATCH)|GET_\w+|FREEZE)|PROG_(LOAD|ATTACH|DETACH|TEST_RUN|GET_\w+|QUERY|BIND_MAP|ASSOC\w*|STREAM\w*)|OBJ_(PIN|GET|GET_INFO_BY_FD)|RAW_TRACEPOINT_OPEN|BTF_(LOAD|GET_\w+)|TASK_FD_QUERY|LINK_(CREATE|UPDATE|GET_\w+|DETACH)|ENABLE_STATS|ITER_CREATE|TOKEN_CREATE)`, ``},
	{"bpf_prog", "linux/bpf.h", `BPF_PROG_TYPE_\w+`, ``},
	{"bpf_map", "linux/bpf.h", `BPF_MAP_TYPE_\w+`, `BPF_MAP_TYPE_\w+_DEPRECATED`},
	{"perf", "linux/perf_event.h", `PERF_FLAG_\w+`, ``},
	{"perf_type", "linux/perf_event.h", `PERF_TYPE_\w+`, `PERF_TYPE_(MAX\w*)`},
	{"madvise", "asm/mman.h", `MADV_\w+`, ``},
	{"prot", "asm/mman.h", `PROT_\w+`, ``},
	{"mmap", "asm/mman.h", `MAP_\w+`, `MAP_(TYPE\w*|FILE\w*|HUGE_\w*|SHARED\w*|PRIVATE\w*|DROPPABLE\w*|ABOVE4G\w*)`},
	{"mmap", "linux/mman.h", `MAP_\w+`, `MAP_(TYPE\w*|FILE\w*|HUGE_\w*|SHARED\w*|PRIVATE\w*|DROPPABLE\w*)`},
	{"maptype", "linux/mman.h", `MAP_(SHARED|PRIVATE|SHARED_VALIDATE|DROPPABLE)`, ``},
	{"mremap", "linux/mman.h", `MREMAP_\w+`, ``},
	{"mlock", "asm/mman.h", `MLOCK_\w+`, ``},
	{"mlockall", "asm/mman.h", `MCL_\w+`, ``},
	{"msync", "asm/mman.h", `MS_(ASYNC|INVALIDATE|SYNC)`, ``},
	{"mempolicy", "linux/mempolicy.h", `MPOL_(DEFAULT|PREFERRED|BIND|INTERLEAVE|LOCAL|PREFERRED_MANY|WEIGHTED_INTERLEAVE)`, ``},
	{"membarrier", "linux/membarrier.h", `MEMBARRIER_CMD_\w+`, `MEMBARRIER_CMD_(FLAG\w*|SHARED\w*)`},
	{"memfd", "linux/memfd.h", `MFD_(CLOEXEC|ALLOW_SEALING|HUGETLB|NOEXEC_SEAL|EXEC)`, ``},
	{"fsopen", "linux/mount.h", `FSOPEN_\w+`, ``},
	{"fsmount", "linux/mount.h", `FSMOUNT_\w+`, ``},
	{"fspick", "linux/mount.h", `FSPICK_\w+`, ``},
	{"fsconfig", "linux/mount.h", `FSCONFIG_\w+`, ``},
	{"move_mount", "linux/mount.h", `MOVE_MOUNT_\w+`, `MOVE_MOUNT_(_MASK\w*)`},
	{"open_tree", "linux/mount.h", `OPEN_TREE_\w+`, ``},
	{"open_tree", "linux/fcntl.h", `AT_(EMPTY_PATH|NO_AUTOMOUNT|RECURSIVE|SYMLINK_NOFOLLOW)`, ``},
	{"mount_attr", "linux/mount.h", `MOUNT_ATTR_\w+`, `MOUNT_ATTR_(RELATIME|_ATIME\w*|SIZE\w*)`},
	{"close_range", "linux/close_range.h", `CLOSE_RANGE_\w+`, ``},
	{"ioctl", "linux/termios.h", `(TC|TIO)[A-Z]\w+`, `(TCSA|TIOCPKT|TIOCSER_TEMT|TIOC.ISO7816|TIOCM|TCIFL|TCOFL|TCIOFL|TCOO|TCIO|TCION)\w*`},
	{"ioctl", "linux/fs.h", `FI(BMAP|GETBSZ|FREEZE|THAW|TRIM|CLONE|CLONERANGE|DEDUPERANGE)|FS_IOC_(GET|SET)\w+`, `FS_IOC_(GETLB|SETLB)\w*`},
	{"ioctl", "linux/nsfs.h", `NS_GET_\w+`, ``},
	{"rlimit", "asm/resource.h", `RLIMIT_\w+`, ``},
	{"landlock_fs", "linux/landlock.h", `LANDLOCK_ACCESS_FS_\w+`, ``},
	{"landlock_net", "linux/landlock.h", `LANDLOCK_ACCESS_NET_\w+`, ``},
	{"landlock_rule", "linux/landlock.h", `LANDLOCK_RULE_\w+`, ``},
	{"landlock", "linux/landlock.h", `LANDLOCK_CREATE_\w+`, ``},
	{"landlock_restrict", "linux/landlock.h", `LANDLOCK_RESTRICT_\w+`, ``},
	{"futex", "linux/futex.h", `FUTEX_(WAIT|WAKE|FD|REQUEUE|CMP_REQUEUE|WAKE_OP|LOCK_PI|UNLOCK_PI|TRYLOCK_PI|WAIT_BITSET|WAKE_BITSET|WAIT_REQUEUE_PI|CMP_REQUEUE_PI|LOCK_PI2)`, ``},
	{"futex_flags", "linux/futex.h", `FUTEX_(PRIVATE_FLAG|CLOCK_REALTIME)`, ``},
	{"clock", "linux/time.h", `CLOCK_[A-Z_]+`, `CLOCK_(SGI\w*)`},
	{"timer", "linux/time.h", `TIMER_ABSTIME`, ``},
	{"itimer", "linux/time.h", `ITIMER_\w+`, ``},
	{"epoll_ctl", "linux/eventpoll.h", `EPOLL_CTL_\w+`, ``},
	{"epoll", "linux/eventpoll.h", `EPOLL_CLOEXEC`, ``},
	{"eventfd", "linux/eventfd.h", `EFD_\w+`, ``},
	{"timerfd", "linux/timerfd.h", `TFD_(CLOEXEC|NONBLOCK)`, ``},
	{"signalfd", "linux/signalfd.h", `SFD_\w+`, ``},
	{"inotify_init", "linux/inotify.h", `IN_(CLOEXEC|NONBLOCK)`, ``},
	{"inotify", "linux/inotify.h", `IN_\w+`, `IN_(CLOEXEC\w*|NONBLOCK\w*|CLOSE|MOVE|ALL_\w*)`},
	{"fanotify_init", "linux/fanotify.h", `FAN_(CLOEXEC|NONBLOCK|CLASS_(CONTENT|PRE_CONTENT)|UNLIMITED_\w+|ENABLE_AUDIT|REPORT_(PIDFD|TID|FID|DIR_FID|NAME|TARGET_FID|FD_ERROR|MNT))`, ``},
	{"fanotify_mark", "linux/fanotify.h", `FAN_MARK_(ADD|REMOVE|DONT_FOLLOW|ONLYDIR|MOUNT|IGNORED_MASK|IGNORED_SURV_MODIFY|FLUSH|FILESYSTEM|EVICTABLE|IGNORE|MNTNS)`, ``},
	{"getrandom", "linux/random.h", `GRND_\w+`, ``},
	{"pidfd_open", "linux/pidfd.h", `PIDFD_(NONBLOCK|THREAD)`, ``},
	{"pidfd_signal", "linux/pidfd.h", `PIDFD_SIGNAL_\w+`, ``},
	{"userfaultfd", "linux/userfaultfd.h", `UFFD_USER_MODE_ONLY`, ``},
	{"kexec", "linux/kexec.h", `KEXEC_(ON_CRASH|PRESERVE_CONTEXT|UPDATE_ELFCOREHDR|CRASH_HOTPLUG_SUPPORT)`, ``},
	{"kexec_file", "linux/kexec.h", `KEXEC_FILE_\w+`, ``},
	{"module", "linux/module.h", `MODULE_INIT_\w+`, ``},
	{"splice", "+linux/splice.h", `SPLICE_F_\w+`, `SPLICE_F_(ALL\w*)`},
	{"statx_mask", "linux/stat.h", `STATX_\w+`, `STATX_(ATTR_\w*|_RESERVED\w*|ALL\w*)`},
	{"filetype", "linux/stat.h", `S_IF\w+`, `S_IF(MT\w*)`},
	{"modebits", "linux/stat.h", `S_IS(UID|GID|VTX)`, ``},
	{"xattr", "linux/xattr.h", `XATTR_(CREATE|REPLACE)`, ``},
	{"fallocate", "linux/falloc.h", `FALLOC_FL_\w+`, ``},
	{"rename", "linux/fs.h", `RENAME_\w+`, ``},
	{"seek", "linux/fs.h", `SEEK_\w+`, `SEEK_(MAX\w*)`},
	{"rwf", "linux/fs.h", `RWF_\w+`, `RWF_(SUPPORTED\w*)`},
	{"reboot", "linux/reboot.h", `LINUX_REBOOT_CMD_\w+`, ``},
	{"wait", "linux/wait.h", `W(NOHANG|UNTRACED|EXITED|CONTINUED|NOWAIT)|__W(NOTHREAD|ALL|CLONE)`, ``},
	{"", "linux/wait.h", `WSTOPPED`, ``},
	{"waitid", "linux/wait.h", `P_\w+`, ``},
	{"ioprio", "linux/ioprio.h", `IOPRIO_WHO_\w+`, ``},
	{"priority", "linux/resource.h", `PRIO_(PROCESS|PGRP|USER)`, ``},
	{"rusage", "linux/resource.h", `RUSAGE_\w+`, ``},
	{"sigmask", "asm/signal.h", `SIG_(BLOCK|UNBLOCK|SETMASK)`, ``},
	{"flock", "linux/fcntl.h", `LOCK_(SH|EX|NB|UN)`, ``},
	{"arch_prctl", "asm/prctl.h", `ARCH_\w+`, `ARCH_(VDSO\w*|FORCE\w*)`},
	{"kcmp", "linux/kcmp.h", `KCMP_\w+`, `KCMP_(TYPES\w*)`},
	{"io_uring_setup", "linux/io_uring.h", `IORING_SETUP_\w+`, ``},
	{"io_uring_enter", "linux/io_uring.h", `IORING_ENTER_\w+`, ``},
	{"quota", "linux/quota.h", `Q_\w+`, ``},
}

// refreshConsts writes "name value group,group…" for every constant of families.
func refreshConsts(dir, headers, source, linux string) error {
	type constant struct {
		value  uint64
		groups []string
	}
	found := map[string]*constant{}
	include := []string{"-nostdinc", "-I", filepath.Join(headers, "usr/include"), "-I", filepath.Join(headers, "usr/include/x86_64-linux-gnu")}
	for _, f := range families {
		values := map[string]uint64{}
		var err error
		switch {
		case f.header == "=":
			for _, v := range strings.Fields(f.names) {
				name, digits, _ := strings.Cut(v, "=")
				if values[name], err = strconv.ParseUint(digits, 0, 64); err != nil {
					return err
				}
			}
		default:
			values, err = evaluate(f.header, f.names, f.not, source, include)
		}
		if err != nil {
			return fmt.Errorf("%s in %s: %w", f.group, f.header, err)
		}
		for name, v := range values {
			c := found[name]
			if c == nil {
				c = &constant{value: v}
				found[name] = c
			}
			if c.value != v {
				return fmt.Errorf("%s is %#x in %s and %#x before", name, v, f.header, c.value)
			}
			if f.group != "" && !slices.Contains(c.groups, f.group) {
				c.groups = append(c.groups, f.group)
			}
		}
	}
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		rows = append(rows, fmt.Sprintf("%s %#x %s", name, found[name].value, strings.Join(found[name].groups, ",")))
	}
	return write(dir, "consts.txt", linux, "uapi and include/linux headers as x86-64 has them: name, value, groups.", rows)
}

// evaluate returns the values of a header's constants whose whole names match names and
// not not.
func evaluate(header, names, not, source string, include []string) (map[string]uint64, error) {
	matches, err := regexp.Compile(`^(?:` + names + `)$`)
	if err != nil {
		return nil, err
	}
	drop, err := regexp.Compile(`^(?:` + not + `)$`)
	if err != nil {
		return nil, err
	}
	var c strings.Builder
	var text []byte
	if inner, ok := strings.CutPrefix(header, "+"); ok {
		// The kernel's own headers cannot be included from outside: their definitions are
		// copied, and what they are made of comes from the uapi.
		if text, err = os.ReadFile(filepath.Join(source, "include", inner)); err != nil {
			return nil, err
		}
		c.WriteString("#include <asm/fcntl.h>\n")
		for _, m := range regexp.MustCompile(`(?m)^#\s*define\s+(\w+)[ \t]+(.*)`).FindAllSubmatch(text, -1) {
			if value, _, _ := strings.Cut(string(m[2]), "/*"); !strings.HasSuffix(value, "\\") {
				fmt.Fprintf(&c, "#undef %s\n#define %s %s\n", m[1], m[1], value)
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^\s+(\w+)\s*=\s*(\d+),`).FindAllSubmatch(text, -1) {
			if matches.Match(m[1]) {
				fmt.Fprintf(&c, "#define %s %s\n", m[1], m[2])
			}
		}
		text = []byte(c.String())
	} else {
		fmt.Fprintf(&c, "#include <linux/types.h>\n#include <linux/const.h>\n#include <asm/fcntl.h>\n#include <%s>\n", header)
		cpp := exec.Command("cc", append(slices.Clone(include), "-E", "-dD", "-P", "-")...)
		cpp.Stdin = strings.NewReader(c.String())
		if text, err = cpp.Output(); err != nil {
			return nil, err
		}
	}
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) .|\b([A-Z_]\w+)\s*[=,}]|\b([A-Z_]\w+)\s*$`).FindAllSubmatch(text, -1) {
		name := string(m[1]) + string(m[2]) + string(m[3])
		if matches.MatchString(name) && !(not != "" && drop.MatchString(name)) && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no such name")
	}
	c.WriteString("int printf(const char *, ...);\nint main(void) {\n")
	for _, name := range list {
		fmt.Fprintf(&c, "printf(\"%%llx\\n\", (unsigned long long)(%s));\n", name)
	}
	c.WriteString("}\n")
	lines, err := compileAndRun(c.String(), include...)
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for i, name := range list {
		v, err := strconv.ParseUint(lines[i], 16, 64)
		if err != nil {
			return nil, err
		}
		if v == 0xffffffff80000000 { // 1 << 31, a flag and not a negative number
			v = 1 << 31
		}
		values[name] = v
	}
	return values, nil
}
