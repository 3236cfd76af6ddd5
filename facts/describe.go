package facts

import (
	"fmt"
	"slices"
	"strings"

	"porthole/caps"
)

// Offer is one thing that a machine may have to give, and what porthole cannot do without it.
type Offer struct {
	Name    string // as a reader knows it
	There   bool
	Sure    bool   // tried; else derived from the version or from sysctls
	Since   string // the release of Linux that brought it
	Without string // what porthole cannot do for want of it
	Source  string // the kernel's file or function
}

// offer is a row of the table: Field is that of Features that Unsure may name.
type offer struct {
	name, field    string
	there          func(Facts) bool
	since, without string
	source         string
}

// flagNewListener is SECCOMP_FILTER_FLAG_NEW_LISTENER (include/uapi/linux/seccomp.h).
const flagNewListener = 1 << 3

var offers = []offer{
	{"seccomp filters", "Seccomp", func(f Facts) bool { return f.Features.Seccomp }, "3.5",
		"containers run only with --security-opt seccomp=unconfined", "kernel/seccomp.c"},
	{"seccomp notification", "SeccompFlags", func(f Facts) bool {
		return f.Features.SeccompFlags&flagNewListener != 0 && slices.Contains(f.Features.SeccompActions, "user_notif")
	}, "5.0", "no refused call can be seen without eBPF: none at all when rootless", "kernel/seccomp.c"},
	{"seccomp logging", "SeccompLog", func(f Facts) bool { return f.Features.SeccompLog }, "4.14",
		"profiles with SCMP_ACT_LOG cannot be installed", "kernel/seccomp.c"},
	{"new mount API", "NewMountAPI", func(f Facts) bool { return f.Features.NewMountAPI }, "5.2",
		"no container starts: every mount is made on a file descriptor", "fs/fsopen.c"},
	{"openat2", "Openat2", func(f Facts) bool { return f.Features.Openat2 }, "5.6",
		"no container starts: paths inside a root could be led outside it", "fs/open.c"},
	{"mount_setattr", "MountSetattr", func(f Facts) bool { return f.Features.MountSetattr }, "5.12",
		"a read-only bind mount leaves the mounts beneath it writable", "fs/namespace.c"},
	{"mounts with mapped ids", "IDMapMounts", func(f Facts) bool { return f.Features.IDMapMounts }, "5.12",
		"a container in a user namespace sees files as nobody's, unless they are given to its ids", "fs/namespace.c"},
	{"overlayfs", "Overlay", func(f Facts) bool { return f.Features.Overlay }, "3.18",
		"images in layers, and host, must be copied", "fs/overlayfs"},
	{"overlayfs in a user namespace", "OverlayUserNS", func(f Facts) bool { return f.Features.OverlayUserNS }, "5.11",
		"rootless containers must have their image copied", "fs/overlayfs/super.c"},
	{"user namespaces", "UserNSCreate", func(f Facts) bool { return f.Features.UserNSCreate }, "3.8",
		"no rootless containers, and no --userns", "kernel/user_namespace.c"},
	{"cgroup namespaces", "CgroupNS", func(f Facts) bool { return f.Features.CgroupNS }, "4.6",
		"--cgroupns=private is refused: a container sees where its group stands", "kernel/cgroup/namespace.c"},
	{"time namespaces", "TimeNS", func(f Facts) bool { return f.Features.TimeNS }, "5.6",
		"a container's boot time cannot be its own", "kernel/time/namespace.c"},
	{"birth in a control group", "CloneIntoCgroup", func(f Facts) bool { return f.Features.CloneIntoCgroup }, "5.7",
		"a container is moved into its group after its first steps", "kernel/fork.c"},
	{"killing a control group", "CgroupKill", func(f Facts) bool { return f.Features.CgroupKill }, "5.14",
		"a container is frozen to be killed whole", "kernel/cgroup/cgroup.c"},
	{"fetching a child's descriptors", "PidfdGetfd", func(f Facts) bool { return f.Features.PidfdGetfd }, "5.6",
		"-t and seccomp notification are refused", "kernel/pid.c"},
	{"closing ranges of descriptors on exec", "CloseRangeCloexec", func(f Facts) bool { return f.Features.CloseRangeCloexec }, "5.11",
		"inherited descriptors must be closed one by one", "fs/file.c"},
	{"eBPF programs of ours", "BPF", func(f Facts) bool { return !f.Deep || f.Features.BPF }, "5.8",
		"why watches by seccomp notification: it sees what the filter refuses, and not what other layers do", "kernel/bpf/syscall.c"},
	{"raw tracepoints", "RawTracepoints", func(f Facts) bool { return !f.Deep || f.Features.RawTracepoints }, "4.17",
		"why watches by seccomp notification: it sees what the filter refuses, and not what other layers do", "kernel/trace/bpf_trace.c"},
	{"the tracepoint cap_capable", "CapCapable", func(f Facts) bool { return !f.Deep || f.Features.CapCapable }, "6.14",
		"why finds a missing capability by experiment: the kernel does not say which one it asked for", "include/trace/events/capability.h"},
	{"the kernel's type information", "BTF", func(f Facts) bool { return !f.Deep || f.Features.BTF }, "4.18",
		"filters that others installed cannot be read", "/sys/kernel/btf/vmlinux"},
	{"control groups that are ours to make", "", func(f Facts) bool { return f.Cgroup.Writable }, "2.6.24",
		"no limits (--memory, --cpus, --pids-limit), no pause, no statistics", "kernel/cgroup/cgroup.c"},
	{"memory limits", "", func(f Facts) bool { return f.has("memory") }, "2.6.25", "--memory and its like are refused", "mm/memcontrol.c"},
	{"processor limits", "", func(f Facts) bool { return f.has("cpu") }, "3.2", "--cpus and --cpu-shares are refused", "kernel/sched/core.c"},
	{"process limits", "", func(f Facts) bool { return f.has("pids") }, "4.3", "--pids-limit is refused", "kernel/cgroup/pids.c"},
	{"processor and node sets", "", func(f Facts) bool { return f.has("cpuset") }, "2.6.12", "--cpuset-cpus and --cpuset-mems are refused", "kernel/cgroup/cpuset.c"},
	{"a whole /proc", "", func(f Facts) bool { return len(f.Masked) == 0 }, "4.3",
		"a container in a new user namespace gets no /proc of its own (mount_too_revealing); --pid=host does without", "fs/namespace.c"},
}

func (f Facts) has(controller string) bool {
	_, ok := f.Cgroup.Find(controller)
	return ok && f.Cgroup.Writable
}

// Offers lists what the machine has to give and what it lacks, in a fixed order. Of facts that
// are not Deep, those about tracing are not among them: nobody asked.
func (f Facts) Offers() []Offer {
	list := make([]Offer, 0, len(offers))
	for _, o := range offers {
		if !f.Deep && slices.Contains([]string{"BPF", "BTF", "CapCapable", "RawTracepoints"}, o.field) {
			continue
		}
		list = append(list, Offer{
			Name: o.name, There: o.there(f), Sure: o.field == "" || !slices.Contains(f.Features.Unsure, o.field),
			Since: o.since, Without: o.without, Source: o.source,
		})
	}
	return list
}

// String says in words what the machine is, what it offers, and what porthole cannot do on it: several lines.
func (f Facts) String() string {
	var b strings.Builder
	line := func(topic, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s %s\n", topic+":", fmt.Sprintf(format, args...))
	}
	line("kernel", "Linux %s on %s", f.Kernel, f.Arch)
	line("we are", "uid %d, gid %d%s", f.UID, f.GID, f.where())
	line("capabilities", "%s", f.capabilities())
	if ids := f.subIDs(); ids != "" {
		line("further ids", "%s", ids)
	}
	line("who can say no", "%s", f.modules())
	line("seccomp", "%s", f.seccomp())
	line("cgroups", "%s", f.cgroups())
	for _, m := range f.Masked {
		line("covered", "%s", m)
	}
	var has, lacks []Offer
	for _, o := range f.Offers() {
		if o.There {
			has = append(has, o)
		} else {
			lacks = append(lacks, o)
		}
	}
	b.WriteString("\noffers:\n")
	for _, o := range has {
		fmt.Fprintf(&b, "  %s%s\n", o.Name, unsure(o))
	}
	if len(lacks) > 0 {
		b.WriteString("\nlacks:\n")
		for _, o := range lacks {
			fmt.Fprintf(&b, "  %s (Linux %s)%s\n      %s\n", o.Name, o.Since, unsure(o), o.Without)
		}
	}
	if len(f.Sysctl) > 0 {
		b.WriteString("\nsysctls:\n")
		keys := make([]string, 0, len(f.Sysctl))
		for k := range f.Sysctl {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintf(&b, "  %s = %s\n", k, f.Sysctl[k])
		}
	}
	return b.String()
}

func unsure(o Offer) string {
	if o.Sure {
		return ""
	}
	return ", likely: not tried"
}

func (f Facts) where() string {
	if f.UserNS.Initial {
		return ", in the machine's first user namespace"
	}
	n := uint64(0)
	for _, r := range f.UserNS.UIDs {
		n += uint64(r.Size)
	}
	return fmt.Sprintf(", in a user namespace of %d uids", n)
}

func (f Facts) capabilities() string {
	held, most := f.Caps.Effective, f.Caps.Bounding
	var s string
	switch missing := caps.All.Without(held); {
	case missing == 0:
		s = "all"
	case held == 0:
		s = "none"
	case missing.Len() <= 5:
		s = "all but " + strings.Join(missing.Names(), ", ")
	default:
		s = strings.Join(held.Names(), ", ")
	}
	if lost := caps.All.Without(most); lost != 0 && lost != caps.All.Without(held) {
		s += "; not in the bounding set, so not for a container either: " + strings.Join(lost.Names(), ", ")
	} else if lost != 0 {
		s += " (the bounding set holds no more, so no container can have more)"
	}
	if f.Caps.NoNewPrivs {
		s += "; no_new_privs is set"
	}
	if f.Caps.Securebits != 0 {
		s += fmt.Sprintf("; securebits %#x", uint(f.Caps.Securebits))
	}
	return s
}

func (f Facts) subIDs() string {
	count := func(rs []IDRange) (n uint64) {
		for _, r := range rs {
			n += uint64(r.Size)
		}
		return n
	}
	uids, gids := count(f.SubUID), count(f.SubGID)
	switch {
	case uids == 0 && gids == 0 && f.UID == 0:
		return ""
	case uids == 0 || gids == 0:
		return "none in /etc/subuid and /etc/subgid: a rootless container has the one uid that is ours"
	case f.UID != 0 && (f.NewUIDMap == "" || f.NewGIDMap == ""):
		return fmt.Sprintf("%d uids, %d gids, of no use without newuidmap and newgidmap (package uidmap)", uids, gids)
	}
	return fmt.Sprintf("%d uids, %d gids from /etc/subuid and /etc/subgid", uids, gids)
}

func (f Facts) modules() string {
	s := strings.Join(f.LSMs, ", ")
	if s == "" {
		s = "not known"
	}
	if slices.Contains(f.Features.Unsure, "LSMs") {
		s += " (and perhaps others: the kernel did not say)"
	}
	switch {
	case f.AppArmor:
		s += "; AppArmor profiles can be applied"
	case slices.Contains(f.LSMs, "apparmor"):
		s += "; AppArmor is switched off"
	}
	if !f.AppArmor && !f.SELinux {
		s += "; neither AppArmor nor SELinux"
	}
	switch f.Yama {
	case -1:
		s += "; no Yama: ptrace is not further restricted"
	case 0:
		s += "; Yama restricts nothing (ptrace_scope 0)"
	case 1:
		s += "; Yama lets ptrace attach to descendants only (ptrace_scope 1)"
	case 2:
		s += "; Yama lets only CAP_SYS_PTRACE attach (ptrace_scope 2)"
	default:
		s += fmt.Sprintf("; Yama lets nobody attach (ptrace_scope %d)", f.Yama)
	}
	return s
}

func (f Facts) seccomp() string {
	if !f.Features.Seccomp {
		return "none"
	}
	return "filters; actions " + strings.Join(f.Features.SeccompActions, " ")
}

func (f Facts) cgroups() string {
	if f.Cgroup.Mode == CgroupNone {
		return "none mounted"
	}
	s := f.Cgroup.Mode.String()
	if list := f.Cgroup.Controllers(); len(list) > 0 {
		s += "; controllers " + strings.Join(list, " ")
	}
	if !f.Cgroup.Writable {
		s += "; none of it is ours to make groups in"
	}
	return s
}
