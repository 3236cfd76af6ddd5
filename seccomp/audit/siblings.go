package audit

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// sibling is a way around a call: what the call does the others do as well.
type sibling struct {
	calls  []string // of which one is restricted
	around []string // and one of these is open
	why    string
	source string
}

// siblings are ways around calls. Where an ABI lacks a name the row says nothing there.
var siblings = []sibling{
	{[]string{"clone"}, []string{"clone3"}, "clone3 makes processes and namespaces too, and has its flags in memory, where no filter sees them", "clone(2); kernel/fork.c"},
	{[]string{"clone3"}, []string{"clone"}, "clone makes processes and namespaces too", "clone(2)"},
	{[]string{"unshare"}, []string{"clone", "clone3"}, "clone and clone3 make the same namespaces", "unshare(2); kernel/nsproxy.c"},
	{[]string{"socket", "bind", "connect", "listen", "accept4", "sendto", "sendmsg", "setsockopt"}, []string{"socketcall"},
		"32-bit programs make it through socketcall, whose arguments are in memory", "socketcall(2); net/socket.c"},
	{[]string{"msgget", "msgsnd", "semget", "semop", "shmget", "shmat"}, []string{"ipc"}, "32-bit programs make it through ipc, whose arguments are in memory", "ipc(2); ipc/syscall.c"},
	{[]string{"socket", "connect", "accept", "accept4", "bind", "listen", "sendmsg", "recvmsg", "sendto", "recvfrom"}, []string{"io_uring_setup"},
		"io_uring does it as an operation in memory, which no filter sees (IORING_OP_SOCKET, _CONNECT, _SENDMSG …)", "io_uring_enter(2); io_uring/opdef.c"},
	{[]string{"open", "openat", "openat2", "unlinkat", "renameat2", "mkdirat", "symlinkat", "linkat", "statx", "setxattr", "fsetxattr"}, []string{"io_uring_setup"},
		"io_uring does it as an operation in memory, which no filter sees (IORING_OP_OPENAT, _UNLINKAT …)", "io_uring_enter(2); io_uring/opdef.c"},
	{[]string{"openat", "openat2"}, []string{"open_by_handle_at"}, "open_by_handle_at opens files without a path", "open_by_handle_at(2); fs/fhandle.c"},
	{[]string{"open"}, []string{"openat", "openat2", "creat"}, "they open the same files", "open(2)"},
	{[]string{"openat"}, []string{"openat2"}, "openat2 opens the same files, and has its flags in memory", "openat2(2)"},
	{[]string{"execve"}, []string{"execveat"}, "execveat starts the same programs", "execveat(2)"},
	{[]string{"execveat"}, []string{"execve"}, "execve starts the same programs", "execve(2)"},
	{[]string{"ptrace"}, []string{"process_vm_writev"}, "process_vm_writev writes another process's memory under the same check", "process_vm_readv(2); mm/process_vm_access.c"},
	{[]string{"kill"}, []string{"tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo"}, "it sends the same signals", "kill(2), pidfd_send_signal(2)"},
	{[]string{"mount"}, []string{"fsopen", "fsmount", "move_mount", "open_tree", "mount_setattr"}, "the newer calls mount too", "fsopen(2), move_mount(2)"},
	{[]string{"umount2"}, []string{"umount"}, "umount unmounts too", "umount(2)"},
	{[]string{"umount"}, []string{"umount2"}, "umount2 unmounts too", "umount(2)"},
	{[]string{"settimeofday", "clock_settime"}, []string{"settimeofday", "clock_settime", "stime"}, "it sets the same clock", "clock_settime(2), stime(2)"},
	{[]string{"init_module"}, []string{"finit_module"}, "finit_module loads modules too", "init_module(2)"},
	{[]string{"finit_module"}, []string{"init_module"}, "init_module loads modules too", "init_module(2)"},
	{[]string{"kexec_load"}, []string{"kexec_file_load"}, "kexec_file_load loads a kernel too", "kexec_load(2)"},
	{[]string{"chmod", "fchmodat"}, []string{"chmod", "fchmod", "fchmodat", "fchmodat2"}, "it changes the same modes", "chmod(2)"},
	{[]string{"chown", "fchownat"}, []string{"chown", "chown32", "lchown", "fchown", "fchownat"}, "it changes the same owners", "chown(2)"},
	{[]string{"mknod"}, []string{"mknodat"}, "mknodat makes the same nodes", "mknod(2)"},
	{[]string{"setxattr"}, []string{"lsetxattr", "fsetxattr", "setxattrat"}, "it sets the same attributes", "setxattr(2)"},
	{[]string{"quotactl"}, []string{"quotactl_fd"}, "quotactl_fd does the same", "quotactl(2)"},
}

// open looks for a call that is restricted beside one that does the same and is open, in one ABI after the
// other.
func (a *auditor) open(m abi.Arch) {
	c := a.Given
	c.Arch = m
	pol, _ := a.p.Resolve(c)
	for _, own := range pol.Arches {
		table := pol.Table(own)
		restricted := func(call string) (v seccomp.Verdict, is bool) {
			nr, ok := own.Nr(call)
			if !ok {
				return v, false
			}
			for _, cl := range table.At(nr).Clauses {
				// ENOSYS says "take the older call", and that is meant to be open.
				if !cl.Verdict.Action.Permits() && cl.Verdict.Action != seccomp.Errno|38 {
					return cl.Verdict, true
				}
			}
			return v, false
		}
		whole := func(call string) (v seccomp.Verdict, is bool) {
			v.Rule = -1
			nr, ok := own.Nr(call)
			if !ok {
				return v, false
			}
			// Twins of other calls are told by the first argument; what is left over counts.
			cl := table.At(nr).Clauses
			for _, x := range cl {
				if !x.Verdict.Action.Permits() {
					return v, len(cl) > 1 && a.twin(own, call)
				}
			}
			return cl[0].Verdict, true
		}
		for _, s := range siblings {
			var shut, open []string
			path := ""
			for _, call := range s.calls {
				_, is := restricted(call)
				if !is || !a.names(call) {
					continue
				}
				found := false
				for _, other := range s.around {
					v, is := whole(other)
					if !is || other == call || a.twin(own, other) && !a.reaches(table, own, call, other) {
						continue
					}
					found = true
					if !slices.Contains(open, other) {
						open = append(open, other)
					}
					if v.Rule >= 0 && path == "" {
						path = a.nameOf(pol.Rules[v.Rule].From, other, call)
					}
				}
				if found {
					shut = append(shut, call)
				}
			}
			if len(shut) == 0 {
				continue
			}
			if path == "" { // no entry opens it: the place is where the other is restricted
				i := slices.IndexFunc(a.p.Entries, func(e profile.Entry) bool { return slices.Contains(e.Names, shut[0]) })
				path = a.nameOf(i, shut[0])
			}
			a.add(Finding{
				Rule: "S0005", Severity: Warning, Path: path, Call: shut[0],
				Msg:    fmt.Sprintf("%s: restricted (%v); %s: open; %s", strings.Join(shut, ", "), own, strings.Join(open, ", "), s.why),
				Remedy: fmt.Sprintf("refuse %s as well (with ENOSYS, so that programs fall back), or don't count on the restriction of %s", strings.Join(open, ", "), strings.Join(shut, ", ")),
			})
		}
	}
}

// names says that some entry names the call: one that is only left out was not meant in particular.
func (a *auditor) names(call string) bool {
	return slices.ContainsFunc(a.p.Entries, func(e profile.Entry) bool { return slices.Contains(e.Names, call) })
}

// variants are the names under which 32-bit programs make a call with wider arguments, where those are another call
// (arch/x86/entry/syscalls/syscall_32.tbl, arch/arm/tools/syscall.tbl).
func variants(call string) []string {
	out := []string{call + "64", call + "_time64", call + "32"}
	switch call {
	case "mmap":
		out = append(out, "mmap2")
	case "lseek":
		out = append(out, "_llseek")
	case "newfstatat":
		out = append(out, "fstatat64")
	case "umount2":
		out = append(out, "umount")
	case "select":
		out = append(out, "_newselect")
	}
	return out
}

// narrow looks for calls that are restricted for a machine's own programs, and that 32-bit programs make under
// another name, which is open.
func (a *auditor) narrow(m abi.Arch) {
	c := a.Given
	c.Arch = m
	pol, _ := a.p.Resolve(c)
	own := pol.Table(m)
	for i, e := range a.p.Entries {
		for j, call := range e.Names {
			nr, ok := m.Nr(call)
			if !ok || !slices.ContainsFunc(own.At(nr).Clauses, func(c seccomp.Clause) bool {
				return !c.Verdict.Action.Permits() && c.Verdict.Action != seccomp.Errno|38
			}) {
				continue
			}
			for _, other := range pol.Arches {
				if other == m || other == abi.X32 {
					continue
				}
				table := pol.Table(other)
				for _, v := range variants(call) {
					n, ok := other.Nr(v)
					if _, both := m.Nr(v); !ok || both {
						continue
					}
					cl := table.At(n).Clauses
					if slices.ContainsFunc(cl, func(c seccomp.Clause) bool { return !c.Verdict.Action.Permits() }) {
						continue
					}
					a.add(Finding{
						Rule: "S0006", Severity: Warning, Path: fmt.Sprintf("%s.names[%d]", at(i), j), Call: call,
						Msg:    fmt.Sprintf("%s is restricted for programs of %v, and those of %v make it as %s, which is open", call, m, other, v),
						Remedy: fmt.Sprintf("restrict %s as well, or leave %v out of the architectures: its calls are killed then", v, other),
					})
				}
			}
		}
	}
}

// twin says that a call is one that others come through.
func (a *auditor) twin(own abi.Arch, call string) bool { return len(seccomp.Through(own, call)) > 0 }

// reaches says that a restricted call gets through the one that others come through, whatever its arguments.
func (a *auditor) reaches(table seccomp.Table, own abi.Arch, call, by string) bool {
	through, word, ok := seccomp.Multiplexed(own, call)
	nr, has := own.Nr(by)
	return ok && has && through == by && table.Decide(nr, [6]uint64{uint64(word)}).Action.Permits()
}

// nameOf is the path of a name within an entry: of a call, or of the one that it comes for.
func (a *auditor) nameOf(entry int, names ...string) string {
	for _, n := range names {
		if j := slices.Index(a.p.Entries[entry].Names, n); j >= 0 {
			return fmt.Sprintf("%s.names[%d]", at(entry), j)
		}
	}
	return at(entry)
}
