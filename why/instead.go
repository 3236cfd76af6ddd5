package why

import (
	"path"
	"slices"
	"strings"

	"porthole/caps"
)

// way is what does the same without the privilege: the engine does it at the start, it is done on the host,
// or it need not be done.
type way struct {
	Calls, Args string // as in Rule
	Only        Code   // only where a layer has this code; "": always
	Flags       string // to paste; DIR, SOURCE, NAME, … stand for what the call named
	What        string // key of the language files: instead.WHAT
	Order       int
}

var ways = []way{
	{"mount", "s2=tmpfs|ramfs", "", "--tmpfs DIR", "tmpfs", orderNothing},
	{"mount", "3&MS_BIND", "", "-v SOURCE:DIR", "bind", orderNothing},
	{"mount", "s2=ext2|ext3|ext4|xfs|btrfs|vfat|exfat|ntfs3|iso9660|squashfs|erofs|nfs|nfs4|cifs|smb3|9p|overlay|ceph", "", "-v SOURCE:DIR", "mount", orderNothing},
	{"sethostname", "", "", "--hostname NAME", "hostname", orderNothing},
	{"setdomainname", "", "", "--domainname NAME", "domainname", orderNothing},
	{"write", "@/proc/*/oom_score_adj|/proc/*/oom_adj", "", "--oom-score-adj N", "oom", orderNothing},
	{"clock_settime settimeofday stime adjtimex clock_adjtime", "", "", "", "clock", orderNothing},
	{"init_module finit_module delete_module", "", "", "", "module", orderNothing},
	{"swapon swapoff quotactl quotactl_fd acct kexec_load kexec_file_load", "", "", "", "host", orderNothing},
	{"reboot", "", "", "", "reboot", orderNothing},
	{"mknod", "1/0xf000=S_IFCHR|S_IFBLK", "P0304", "--device DEVICE", "device", orderNothing},
	{"mknodat", "2/0xf000=S_IFCHR|S_IFBLK", "P0304", "--device DEVICE", "device", orderNothing},
	{"setxattr lsetxattr fsetxattr", "s1=trusted.*", "P0304", "", "xattr", orderNothing},
	{"ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp", "", "P0304", "", "outside", orderNothing},
	{"ioctl bpf syslog mount iopl ioperm open_by_handle_at", "", "P0304", "", "host", orderHost - 1},
	{"mlock mlock2 mlockall", "", "P0304", "", "mlock", orderOwn + 1},
}

// instead adds the ways around a refusal by one of layers.
func (g *granter) instead(layers []Suspect) {
	if !slices.ContainsFunc(layers, func(s Suspect) bool { return s.Layer == Capability || s.Layer == UserNS }) {
		return
	}
	for i := range ways {
		w := &ways[i]
		fits := (&Rule{Args: w.Args}).matches(g.q)
		if fits == unknown && w.What == "oom" { // nothing else that is written to asks for this capability
			fits = known(slices.ContainsFunc(layers, func(s Suspect) bool { return strings.Contains(s.Source, "oom_adj") }))
		}
		if !hasWord(w.Calls, g.call.Name) || fits != yes ||
			w.Only != "" && !slices.ContainsFunc(layers, func(s Suspect) bool { return s.Code == w.Only }) {
			continue
		}
		gr := Grant{What: say("instead."+w.What, "call", g.call.Name, "path", g.path), Order: w.Order}
		if w.Flags != "" {
			gr.Flags = strings.Fields(g.filled(w.Flags))
		}
		g.add(gr)
	}
}

// filled puts what the call named into flags.
func (g *granter) filled(flags string) string {
	dir, source, device := g.path, g.call.Strings[0], g.path
	if !path.IsAbs(dir) {
		dir = "DIR"
	}
	if !path.IsAbs(source) {
		source = "SOURCE"
	}
	if !strings.HasPrefix(device, "/dev/") {
		device = "/dev/NAME"
	}
	name := "NAME"
	if s := g.call.Strings[0]; strings.HasSuffix(g.call.Name, "name") && plainWord(s) {
		name = s
	}
	return strings.NewReplacer("DIR", dir, "SOURCE", source, "DEVICE", device, "NAME", name).Replace(flags)
}

func plainWord(s string) bool {
	return s != "" && len(s) < 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// passing are capabilities that somebody who looks for a fault wants, and not the program that he looks at.
var passing = caps.Of(caps.CAP_SYS_PTRACE, caps.CAP_PERFMON, caps.CAP_BPF, caps.CAP_SYSLOG, caps.CAP_NET_RAW, caps.CAP_NET_ADMIN, caps.CAP_SYS_NICE)

// limitGrants are limits with which a call needs no capability.
func (g *granter) limitGrants() {
	arg := func(i int) int { return int(int32(g.call.Args[i].Value)) }
	switch g.call.Name {
	case "setpriority":
		if n := arg(2); n < 0 && n >= -20 { // can_nice: the limit is 20 less the nice value
			limit := itoa(20 - n)
			g.add(Grant{Flags: []string{"--ulimit", "nice=" + limit + ":" + limit}, What: say("grant.nice", "n", itoa(n)), Order: orderOwn})
		}
	case "sched_setscheduler", "sched_setparam", "sched_setattr":
		const deadline = 6 // SCHED_DEADLINE, which no limit opens (sched(7))
		if policy, ok := g.q.u32(1, 4); ok && g.call.Name == "sched_setattr" && policy == deadline {
			return
		}
		prio := uint64(0)
		switch g.call.Name {
		case "sched_setscheduler":
			prio, _ = g.q.u32(2, 0)
		case "sched_setparam":
			prio, _ = g.q.u32(1, 0)
		case "sched_setattr":
			prio, _ = g.q.u32(1, 20)
		}
		if prio == 0 || prio > 99 {
			prio = 99
		}
		limit := itoa(int(prio))
		g.add(Grant{Flags: []string{"--ulimit", "rtprio=" + limit + ":" + limit}, What: say("grant.rtprio", "n", limit), Order: orderOwn})
	}
}
