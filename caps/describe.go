package caps

// Info is what a person may want to know of one capability.
type Info struct {
	Name    string // the kernel's
	Permits string // what its holder may do
	Source  string // the kernel function that asks for it, or a man page
}

// Describe returns what is known of c, or a bare name for a capability newer than the table.
func Describe(c Cap) Info {
	if c > Last {
		return Info{Name: c.String()}
	}
	return infos[c]
}

// infos has a row for each capability. Every right holds for objects of the user namespace
// that the capability is held in; those that reach the machine itself (time, modules, the
// kernel log, boot) are asked for in the first one.
var infos = [Last + 1]Info{
	CAP_CHOWN:              {"CAP_CHOWN", "Give files to another owner or to a group one is not in.", "setattr_prepare, fs/attr.c"},
	CAP_DAC_OVERRIDE:       {"CAP_DAC_OVERRIDE", "Read, write and search whatever the permission bits and ACLs say; execute what has an x bit for anybody.", "generic_permission, fs/namei.c"},
	CAP_DAC_READ_SEARCH:    {"CAP_DAC_READ_SEARCH", "Read any file and list or enter any directory; open files by handle (open_by_handle_at), so reach files outside the root.", "generic_permission, fs/namei.c; may_decode_fh, fs/fhandle.c"},
	CAP_FOWNER:             {"CAP_FOWNER", "Do to any file what its owner may: chmod, utimes, ACLs, delete in sticky directories, O_NOATIME.", "inode_owner_or_capable, fs/inode.c"},
	CAP_FSETID:             {"CAP_FSETID", "Keep the setuid and setgid bits when a file is written to or its group changes; set setgid for a group one is not in.", "setattr_should_drop_sgid, fs/attr.c; mode_strip_sgid, fs/inode.c"},
	CAP_KILL:               {"CAP_KILL", "Send signals to processes of other users.", "kill_ok_by_cred, kernel/signal.c"},
	CAP_SETGID:             {"CAP_SETGID", "Take any group id and any list of supplementary groups; write gid_map.", "setgid, setgroups, kernel/sys.c, kernel/groups.c; new_idmap_permitted, kernel/user_namespace.c"},
	CAP_SETUID:             {"CAP_SETUID", "Take any user id; write uid_map.", "setuid, kernel/sys.c; new_idmap_permitted, kernel/user_namespace.c"},
	CAP_SETPCAP:            {"CAP_SETPCAP", "Drop from the bounding set, add to the inheritable set what the bounding set has, change securebits.", "cap_task_prctl, cap_capset, security/commoncap.c"},
	CAP_LINUX_IMMUTABLE:    {"CAP_LINUX_IMMUTABLE", "Set and clear the immutable and append-only attributes of files.", "fileattr_set_prepare, fs/file_attr.c"},
	CAP_NET_BIND_SERVICE:   {"CAP_NET_BIND_SERVICE", "Bind to ports below net.ipv4.ip_unprivileged_port_start (1024).", "__inet_bind, net/ipv4/af_inet.c"},
	CAP_NET_BROADCAST:      {"CAP_NET_BROADCAST", "Nothing that the kernel still checks: broadcasts and multicasts were meant.", "capabilities(7)"},
	CAP_NET_ADMIN:          {"CAP_NET_ADMIN", "Configure interfaces, addresses, routes, firewalls and queues; promiscuous mode; socket marks; tun devices.", "rtnetlink_rcv_msg, net/core/rtnetlink.c; capabilities(7)"},
	CAP_NET_RAW:            {"CAP_NET_RAW", "Open raw and packet sockets, so send forged packets and read the network's traffic.", "inet_create, net/ipv4/af_inet.c; packet_create, net/packet/af_packet.c"},
	CAP_IPC_LOCK:           {"CAP_IPC_LOCK", "Lock memory beyond RLIMIT_MEMLOCK; use huge pages by shmget and mmap.", "can_do_mlock, mm/mlock.c"},
	CAP_IPC_OWNER:          {"CAP_IPC_OWNER", "Use System V shared memory, semaphores and queues whatever their permissions.", "ipcperms, ipc/util.c"},
	CAP_SYS_MODULE:         {"CAP_SYS_MODULE", "Load and unload kernel modules, so run any code in the kernel.", "may_init_module, kernel/module/main.c"},
	CAP_SYS_RAWIO:          {"CAP_SYS_RAWIO", "Use I/O ports, /dev/mem, /proc/kcore and raw SCSI commands.", "ioperm, arch/x86/kernel/ioport.c; open_port, drivers/char/mem.c"},
	CAP_SYS_CHROOT:         {"CAP_SYS_CHROOT", "chroot; enter a mount or time namespace by setns.", "chroot, fs/open.c; mntns_install, fs/namespace.c"},
	CAP_SYS_PTRACE:         {"CAP_SYS_PTRACE", "Trace and inspect processes that hold more or are of another user: ptrace, process_vm_readv, kcmp, most of /proc/PID; userfaultfd on kernel faults.", "__ptrace_may_access, kernel/ptrace.c"},
	CAP_SYS_PACCT:          {"CAP_SYS_PACCT", "Switch process accounting on and off.", "acct, kernel/acct.c"},
	CAP_SYS_ADMIN:          {"CAP_SYS_ADMIN", "Mount and unmount, make and enter namespaces, set the host name, quotas, swap, ioctls of many devices, trusted.* attributes, and much else; install a seccomp filter without no_new_privs.", "may_mount, fs/namespace.c; capabilities(7)"},
	CAP_SYS_BOOT:           {"CAP_SYS_BOOT", "Reboot and power off; load another kernel by kexec.", "reboot, kernel/reboot.c; kexec_load_permitted, kernel/kexec.c"},
	CAP_SYS_NICE:           {"CAP_SYS_NICE", "Raise priority, use realtime scheduling, set CPU affinity and I/O class of other users' processes, move their memory between nodes.", "can_nice, kernel/sched/syscalls.c; capabilities(7)"},
	CAP_SYS_RESOURCE:       {"CAP_SYS_RESOURCE", "Raise hard limits; exceed quotas, reserved disk space and limits on queues, pipes, keys; lower oom_score_adj.", "do_prlimit, kernel/sys.c; capabilities(7)"},
	CAP_SYS_TIME:           {"CAP_SYS_TIME", "Set the system clock and the hardware clock.", "cap_settime, security/commoncap.c"},
	CAP_SYS_TTY_CONFIG:     {"CAP_SYS_TTY_CONFIG", "Hang up a terminal (vhangup) and configure virtual terminals.", "vhangup, fs/open.c; vt_ioctl, drivers/tty/vt/vt_ioctl.c"},
	CAP_MKNOD:              {"CAP_MKNOD", "Make device nodes.", "vfs_mknod, fs/namei.c"},
	CAP_LEASE:              {"CAP_LEASE", "Take leases on files of other owners.", "vfs_setlease, fs/locks.c"},
	CAP_AUDIT_WRITE:        {"CAP_AUDIT_WRITE", "Write records to the kernel's audit log.", "audit_netlink_ok, kernel/audit.c"},
	CAP_AUDIT_CONTROL:      {"CAP_AUDIT_CONTROL", "Switch auditing on and off, change its rules, read its state, set a login uid anew.", "audit_netlink_ok, audit_set_loginuid_perm, kernel/audit.c"},
	CAP_SETFCAP:            {"CAP_SETFCAP", "Give files capabilities; map uid 0 of the parent into a new user namespace.", "cap_convert_nscap, security/commoncap.c; verify_root_map, kernel/user_namespace.c"},
	CAP_MAC_OVERRIDE:       {"CAP_MAC_OVERRIDE", "Ignore Smack's rules.", "smack_privileged, security/smack/smack_access.c"},
	CAP_MAC_ADMIN:          {"CAP_MAC_ADMIN", "Change Smack's and AppArmor's policy and labels.", "smack_privileged, security/smack/smack_access.c; aa_may_manage_policy, security/apparmor/policy.c"},
	CAP_SYSLOG:             {"CAP_SYSLOG", "Read and clear the kernel log where dmesg_restrict is on; see kernel addresses where kptr_restrict is 1.", "check_syslog_permissions, kernel/printk/printk.c; kallsyms_show_value, kernel/ksyms_common.c"},
	CAP_WAKE_ALARM:         {"CAP_WAKE_ALARM", "Set timers that wake the machine (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM).", "alarm_timer_create, kernel/time/alarmtimer.c"},
	CAP_BLOCK_SUSPEND:      {"CAP_BLOCK_SUSPEND", "Keep the machine from suspending (EPOLLWAKEUP, /sys/power/wake_lock).", "epoll_ctl, fs/eventpoll.c"},
	CAP_AUDIT_READ:         {"CAP_AUDIT_READ", "Read the audit log through a multicast netlink socket.", "audit_multicast_bind, kernel/audit.c"},
	CAP_PERFMON:            {"CAP_PERFMON", "Measure and trace beyond what perf_event_paranoid lets everybody do; BPF programs that read kernel memory.", "perfmon_capable, include/linux/capability.h"},
	CAP_BPF:                {"CAP_BPF", "Load BPF programs, make maps, and read other users' (Linux 5.8; before, CAP_SYS_ADMIN).", "bpf_capable, include/linux/capability.h; __sys_bpf, kernel/bpf/syscall.c"},
	CAP_CHECKPOINT_RESTORE: {"CAP_CHECKPOINT_RESTORE", "Choose pids (clone3 set_tid, ns_last_pid), follow /proc/PID/map_files (Linux 5.9; before, CAP_SYS_ADMIN).", "checkpoint_restore_ns_capable, include/linux/capability.h"},
}
