package why

import (
	"slices"
	"strings"

	"porthole/caps"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// BlockedCall is a call that a profile refuses, or lets through with some arguments only.
type BlockedCall struct {
	Name   string
	Action seccomp.Action // what it gets; with Tests, where they all fail
	Tests  []string       // what lets it through, in the document's order: "arg0 == 0x8"
	Harm   Message        // what it could do to the machine
	Opens  caps.Set       // capabilities of which any one, granted, opens it in the profile
	Kernel caps.Set       // capabilities that the kernel itself asks for, in one use or another
	Gates  []string       // what else may say no: "lsm", "sysctl:kernel.dmesg_restrict"
	Source string         // of the kernel's rule
}

// Blocked is the table of what a profile, under conditions, keeps from a container: every call of the
// machine's own ABI that it refuses or filters by argument, by name.
func Blocked(p *profile.Profile, c profile.Conditions) []BlockedCall {
	pol, _ := p.Resolve(c)
	t := pol.Table(c.Arch)
	var out []BlockedCall
	for nr, name := range c.Arch.Calls() {
		span := t.At(nr)
		b := BlockedCall{Name: name, Harm: say("harm." + harmOf(name))}
		for _, cl := range span.Clauses {
			switch {
			case !cl.Verdict.Action.Permits():
				b.Action = cl.Verdict.Action
			case len(cl.Conds) > 0:
				b.Tests = append(b.Tests, joinTests("", cl.Conds))
			}
		}
		if last := span.Clauses[len(span.Clauses)-1].Verdict.Action; last.Permits() && b.Action == 0 && !refusesSome(span) {
			continue
		}
		b.Opens, b.Kernel, b.Gates, b.Source = opening(p, c, name), 0, nil, ""
		for _, r := range about(name) {
			want, _ := r.capSet()
			b.Kernel |= want
			for _, g := range names(r.Gates) {
				if !slices.Contains(b.Gates, g) {
					b.Gates = append(b.Gates, g)
				}
			}
			if b.Source == "" && want != 0 {
				b.Source = r.Source
			}
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b BlockedCall) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b BlockedCall) bool { return a.Name == b.Name })
}

func refusesSome(s seccomp.Span) bool {
	return slices.ContainsFunc(s.Clauses, func(c seccomp.Clause) bool { return !c.Verdict.Action.Permits() })
}

// opening are the capabilities that, each by itself, bring an entry into effect that permits a call.
func opening(p *profile.Profile, c profile.Conditions, name string) (set caps.Set) {
	for i := range p.Entries {
		e := &p.Entries[i]
		if !slices.Contains(e.Names, name) || e.Action != "SCMP_ACT_ALLOW" {
			continue
		}
		unmet := e.Unmet(c)
		if len(unmet) == 1 && unmet[0].Kind == profile.NeedsCap && !unmet[0].Not && unmet[0].Caps.Len() == 1 {
			set |= unmet[0].Caps
		}
	}
	return set
}

// harms are families of calls that could harm a machine in one way; the text is harm.FAMILY.
var harms = []struct{ family, calls string }{
	{"accounting", "acct"},
	{"keyring", "add_key keyctl request_key"},
	{"bpf", "bpf"},
	{"clock", "clock_adjtime clock_settime clock_settime64 clock_adjtime64 settimeofday stime adjtimex"},
	{"namespaces", "clone clone3 unshare setns"},
	{"modules", "create_module delete_module finit_module init_module"},
	{"symbols", "get_kernel_syms query_module"},
	{"numa", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node move_pages migrate_pages"},
	{"ports", "ioperm iopl pciconfig_read pciconfig_write pciconfig_iobase"},
	{"inspect", "kcmp process_vm_readv process_vm_writev ptrace process_madvise pidfd_getfd process_mrelease"},
	{"kexec", "kexec_load kexec_file_load"},
	{"dcookie", "lookup_dcookie"},
	{"mounts", "mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr"},
	{"mountinfo", "statmount listmount"},
	{"nfsd", "nfsservctl"},
	{"handles", "open_by_handle_at name_to_handle_at"},
	{"perf", "perf_event_open"},
	{"personality", "personality"},
	{"quota", "quotactl quotactl_fd"},
	{"reboot", "reboot"},
	{"swap", "swapon swapoff"},
	{"sysinfo", "sysfs ustat _sysctl"},
	{"uselib", "uselib"},
	{"vm86", "vm86 vm86old modify_ldt"},
	{"uffd", "userfaultfd"},
	{"iouring", "io_uring_setup io_uring_enter io_uring_register"},
	{"syslog", "syslog"},
	{"hostname", "sethostname setdomainname"},
	{"chroot", "chroot"},
	{"fanotify", "fanotify_init fanotify_mark"},
	{"tty", "vhangup"},
	{"socket", "socket socketcall"},
	{"removed", "afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime getpmsg gtty idle lock mpx prof profil putpmsg security stty tuxcall ulimit vserver oldfstat oldlstat oldstat oldolduname olduname"},
}

// harmOf is the family that a call is of: "other" for those that no table of harms has.
func harmOf(name string) string {
	for _, h := range harms {
		if hasWord(h.calls, name) {
			return h.family
		}
	}
	return "other"
}
