package why

// Code numbers a kind of refusal: P01xx seccomp, P02xx sysctl, P03xx capabilities, P04xx mounts
// and masks, P05xx no_new_privs, P06xx user namespaces, P07xx LSM and Yama, P08xx limits and
// devices, P09xx not a permission problem.
type Code string

// Kind is a row of the table of codes. Its title and its text are in the language files, as
// CODE.title and CODE.text.
type Kind struct {
	Code   Code
	Layer  Layer
	Source string
}

// Codes returns the table, in the order of the codes. It must not be changed.
func Codes() []Kind { return codes }

var codes = []Kind{
	{"P0101", Seccomp, "seccomp(2); moby/profiles/seccomp, default.json"},
	{"P0102", Seccomp, "seccomp(2); __seccomp_filter, kernel/seccomp.c"},
	{"P0103", Seccomp, "moby/profiles/seccomp, default.json; user_namespaces(7)"},
	{"P0104", Seccomp, "moby/profiles/seccomp, default.json"},
	{"P0105", Seccomp, "runc, libcontainer/seccomp/patchbpf"},
	{"P0106", Seccomp, "moby/profiles/seccomp, default.json (minKernel)"},
	{"P0107", Seccomp, "seccomp(2), SECCOMP_RET_KILL_THREAD"},
	{"P0108", Seccomp, "seccomp_run_filters, kernel/seccomp.c"},
	{"P0109", Seccomp, "seccomp(2), SECCOMP_RET_KILL_PROCESS"},
	{"P0201", Sysctl, "perf_event_open(2); kernel/events/core.c"},
	{"P0202", Sysctl, "icmp(7); ip(7)"},
	{"P0203", Sysctl, "proc_sys_kernel(5), proc_sys_vm(5), proc_sys_fs(5)"},
	{"P0204", Sysctl, "keyrings(7); inotify(7)"},
	{"P0205", Sysctl, "proc(5)"},
	{"P0206", Sysctl, "proc_sys_permission, fs/proc/proc_sysctl.c"},
	{"P0301", Capability, "capabilities(7), capability-dumb binaries"},
	{"P0302", Capability, "capabilities(7)"},
	{"P0303", Capability, "capabilities(7); cap_emulate_setxuid, security/commoncap.c"},
	{"P0304", Capability, "user_namespaces(7); cap_capable, security/commoncap.c"},
	{"P0305", Capability, "netlink(7), NLMSG_ERROR"},
	{"P0401", Mount, "mnt_want_write, fs/namespace.c"},
	{"P0402", Mount, "mount_too_revealing, fs/namespace.c"},
	{"P0403", Mount, "may_open_dev, fs/namei.c"},
	{"P0404", Mount, "path_noexec, fs/exec.c"},
	{"P0405", UserNS, "mount_namespaces(7)"},
	{"P0406", File, "generic_permission, fs/namei.c; path_resolution(7)"},
	{"P0407", Mount, "proc(5), hidepid"},
	{"P0408", Mount, "mnt_may_suid, fs/namespace.c"},
	{"P0409", Mount, "a container's masked paths (runtime-spec, linux.maskedPaths)"},
	{"P0410", Mount, "ovl_mknod, fs/overlayfs/dir.c"},
	{"P0501", NNP, "bprm_fill_uid, fs/exec.c; prctl(2), PR_SET_NO_NEW_PRIVS"},
	{"P0502", NNP, "cap_bprm_creds_from_file, security/commoncap.c"},
	{"P0503", NNP, "seccomp(2); landlock(7)"},
	{"P0601", UserNS, "create_user_ns, kernel/user_namespace.c"},
	{"P0602", UserNS, "user_namespaces(7)"},
	{"P0603", UserNS, "user_namespaces(7), /proc/PID/setgroups"},
	{"P0604", UserNS, "setns(2)"},
	{"P0605", Sysctl, "namespaces(7), /proc/sys/user"},
	{"P0606", UserNS, "new_idmap_permitted, kernel/user_namespace.c"},
	{"P0701", LSM, "security/apparmor/lsm.c"},
	{"P0702", LSM, "security/selinux/hooks.c"},
	{"P0703", Yama, "security/yama/yama_lsm.c"},
	{"P0704", LSM, "kernel_lockdown(7)"},
	{"P0705", LSM, "security/security.c"},
	{"P0801", Rlimit, "getrlimit(2)"},
	{"P0802", Rlimit, "do_prlimit, kernel/sys.c"},
	{"P0803", DeviceCgroup, "devcgroup_check_permission, security/device_cgroup.c"},
	{"P0804", Rlimit, "cgroups(7)"},
	{"P0805", Rlimit, "mem_cgroup_out_of_memory, mm/memcontrol.c; cgroups(7)"},
	{"P0806", DeviceCgroup, "a container's /dev holds only what it was given"},
	{"P0900", None, "the man page of the call"},
	{"P0901", None, "nfs(5)"},
	{"P0902", None, "no single source: see the layers that were excluded"},
	{"P0903", None, "the repeated control"},
	{"P0904", Kernel, "syscalls(2)"},
	{"P0905", Kernel, "the man page of the call"},
}

// FindCode returns the row of a code, in any case: "p0101".
func FindCode(s string) (Kind, bool) {
	for _, k := range codes {
		if equalFold(string(k.Code), s) {
			return k, true
		}
	}
	return Kind{}, false
}
