// Package probe asks the machine what it is: kernel, our own credentials, LSMs, control
// groups, and which of the kernel's offers are there.
//
// It runs once, at the top of a command. Offers are tried, by calls whose arguments are
// wrong on purpose, rather than derived from the version: distributions backport. Nothing
// is mounted, made or loaded that outlives the call.
package probe

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/internal/host/sys"
)

// Facts returns what starting a container needs to know, in about a tenth of a millisecond.
// It fails only without a procfs at /proc, or where that is not in the kernel's form.
//
// Left out, and to be had from Deep: sysctls other than those that keep us from making a user namespace,
// eBPF, BTF, tracepoints, whether overlay mounts, and whether a user namespace can really be made
// (here that is derived from sysctls). /etc/subuid and /etc/subgid are read only where we are not root.
func Facts() (facts.Facts, error) { return gather(false) }

// Deep returns all facts. It loads (and drops) small eBPF programs, makes a process in a new
// user namespace that ends at once, and reads some thirty files: a few milliseconds.
func Deep() (facts.Facts, error) { return gather(true) }

var errNoProc = errors.New("facts: /proc is not a procfs\n" +
	"  because: this machine, our own privileges and every container are known from there\n" +
	"  try: mount -t proc proc /proc")

func gather(deep bool) (facts.Facts, error) {
	f := facts.Facts{Arch: native(), Deep: deep, Yama: -1, Sysctl: map[string]string{}}
	var fs unix.Statfs_t
	if err := unix.Statfs("/proc", &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return facts.Facts{}, errNoProc
	}
	var r reader
	if err := errors.Join(
		kernel(&f),
		r.status(&f),
		r.userNS(&f),
		r.mounts(&f),
	); err != nil {
		return facts.Facts{}, fmt.Errorf("facts: %w", err)
	}
	r.sysctls(&f, gates[:1])
	if deep || !f.Caps.Effective.Has(caps.CAP_SYS_ADMIN) {
		r.sysctls(&f, gates[1:])
	}
	r.lsms(&f)
	r.features(&f)
	if deep || f.UID != 0 {
		subIDs(&f)
	}
	if deep {
		r.sysctls(&f, explaining)
		r.deepen(&f)
	}
	slices.Sort(f.Features.Unsure)
	return f, nil
}

// native is the machine's own ABI. A kernel runs our binary either natively or, for
// 386 and arm, as a guest of its 64-bit self; we are built for 64 bits only.
func native() abi.Arch {
	switch runtime.GOARCH {
	case "amd64":
		return abi.X86_64
	case "arm64":
		return abi.ARM64
	case "riscv64":
		return abi.RISCV64
	case "ppc64le":
		return abi.PPC64LE
	case "s390x":
		return abi.S390X
	}
	return 0
}

func kernel(f *facts.Facts) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	var err error
	f.Kernel, err = facts.ParseVersion(unix.ByteSliceToString(u.Release[:]))
	return err
}

// status fills in our ids and capabilities from /proc/self/status: one file for what
// would be fifty system calls (the bounding and ambient sets are asked bit by bit).
func (r *reader) status(f *facts.Facts) error {
	text, err := r.read("/proc/self/status")
	if err != nil {
		return err
	}
	s, err := parseStatus(text)
	if err != nil {
		return fmt.Errorf("/proc/self/status: %w", err)
	}
	f.Caps, f.UID, f.GID, f.Groups = s.caps, s.caps.EUID, s.gid, s.groups
	r.filtered = s.seccomp == 2
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("prctl(PR_GET_SECUREBITS): %w", err)
	}
	f.Caps.Securebits = caps.Securebits(bits)
	return nil
}

// status is what /proc/PID/status says of a process's rights (proc_pid_status(5)).
type status struct {
	name             string
	caps             caps.State // without securebits, which it does not tell
	gid              int        // effective
	groups           []int
	seccomp, filters int // mode; how many filters (Linux 5.9), -1 where it is not told
}

func parseStatus(text string) (status, error) {
	s := status{filters: -1}
	c := &s.caps
	seen := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var err error
		seen++
		switch key {
		case "Uid":
			var ids []int
			if ids, err = ints(value, 4); err == nil {
				c.UID, c.EUID, c.SUID, c.FSUID = ids[0], ids[1], ids[2], ids[3]
			}
		case "Gid":
			var ids []int
			if ids, err = ints(value, 4); err == nil {
				s.gid = ids[1]
			}
		case "Groups":
			s.groups, err = ints(value, 0)
		case "CapInh":
			c.Inheritable, err = set(value)
		case "CapPrm":
			c.Permitted, err = set(value)
		case "CapEff":
			c.Effective, err = set(value)
		case "CapBnd":
			c.Bounding, err = set(value)
		case "CapAmb":
			c.Ambient, err = set(value)
		case "NoNewPrivs":
			c.NoNewPrivs = value == "1"
		default:
			seen--
			switch key {
			case "Name":
				s.name = value
			case "Seccomp": // not there without CONFIG_SECCOMP
				s.seccomp, err = strconv.Atoi(value)
			case "Seccomp_filters":
				s.filters, err = strconv.Atoi(value)
			}
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
	}
	if seen != 9 {
		return s, fmt.Errorf("%d of 9 lines about ids and capabilities are there", seen)
	}
	return s, nil
}

// ints reads at least least numbers.
func ints(s string, least int) ([]int, error) {
	var ids []int
	for n := range strings.FieldsSeq(s) {
		id, err := strconv.Atoi(n)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(ids) < least {
		return nil, fmt.Errorf("%q: want %d numbers", strings.TrimSpace(s), least)
	}
	return ids, nil
}

func set(s string) (caps.Set, error) {
	v, err := strconv.ParseUint(strings.TrimSpace(s), 16, 64)
	return caps.Set(v), err
}

// gates are the sysctls that decide whether we may make a user namespace: the first for all, the others
// for those without CAP_SYS_ADMIN.
var gates = []string{
	"user.max_user_namespaces",
	"kernel.unprivileged_userns_clone",                 // Debian's and Arch's kernels
	"kernel.apparmor_restrict_unprivileged_userns",     // Ubuntu 23.10 and later
	"kernel.apparmor_restrict_unprivileged_unconfined", // Ubuntu: aa-exec as a way round the above
}

// explaining are the sysctls that say no to programs, or change what they may do:
// what explanations look at.
var explaining = []string{
	"dev.tty.legacy_tiocsti",
	"fs.mount-max",
	"fs.nr_open",
	"fs.protected_fifos",
	"fs.protected_hardlinks",
	"fs.protected_regular",
	"fs.protected_symlinks",
	"fs.suid_dumpable",
	"kernel.core_pattern",
	"kernel.dmesg_restrict",
	"kernel.io_uring_disabled",
	"kernel.kexec_load_disabled",
	"kernel.kptr_restrict",
	"kernel.modules_disabled",
	"kernel.perf_event_mlock_kb",
	"kernel.perf_event_paranoid",
	"kernel.pid_max",
	"kernel.randomize_va_space",
	"kernel.seccomp.actions_logged",
	"kernel.sysrq",
	"kernel.threads-max",
	"kernel.unprivileged_bpf_disabled",
	"kernel.yama.ptrace_scope",
	"net.core.bpf_jit_enable",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"user.max_cgroup_namespaces",
	"user.max_ipc_namespaces",
	"user.max_mnt_namespaces",
	"user.max_net_namespaces",
	"user.max_pid_namespaces",
	"user.max_time_namespaces",
	"user.max_uts_namespaces",
	"vm.max_map_count",
	"vm.mmap_min_addr",
	"vm.overcommit_memory",
	"vm.unprivileged_userfaultfd",
}

func (r *reader) sysctls(f *facts.Facts, names []string) {
	for _, name := range names {
		if v, err := r.read("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err == nil {
			f.Sysctl[name] = strings.Join(strings.Fields(v), " ")
		}
	}
}

// reader reads small files whole.
type reader struct {
	filtered bool // a seccomp filter stands between us and the kernel
}

// read returns what the file holds.
func (r *reader) read(path string) (string, error) {
	text, err := sys.ReadFile(path)
	return string(text), err
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }
