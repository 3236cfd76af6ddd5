package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
)

// process sets what the process is to have and can be set while we still are privileged and not
// yet told to start.
func (b *builder) process() error {
	pr := b.s.Process
	if pr.NoNewPrivileges {
		b.call("prctl", prSetNoNewPrivs, 1, 0, 0, 0).because("set-id files give nothing from here on")
	}
	if err := b.persona(); err != nil {
		return err
	}
	return b.memory()
}

// labelInside is label for all who are in their own procfs.
func (b *builder) labelInside() error {
	if b.joinsLate() {
		return nil
	}
	return b.label()
}

// label has the LSM change the process's label at execve. The file is one of our own procfs: a
// label written to what only looks like procfs would be lost (CVE-2019-16884).
func (b *builder) label() error {
	pr := b.s.Process
	switch {
	case pr.ApparmorProfile != "" && pr.ApparmorProfile != "unconfined" && !b.f.AppArmor:
		return fmt.Errorf("process.apparmorProfile: %q: this machine has no AppArmor", pr.ApparmorProfile)
	case pr.SelinuxLabel != "" && !b.f.SELinux:
		return fmt.Errorf("process.selinuxLabel: %q: this machine has no SELinux", pr.SelinuxLabel)
	}
	apparmor := pr.ApparmorProfile != "" && b.f.AppArmor
	if !apparmor && pr.SelinuxLabel == "" {
		return nil
	}
	open := func(file string) *builder { // from a child that is still outside
		return b.call("openat", atFDCWD, "/proc/thread-self/attr/"+file, oWronly|oCloexec).because("the label that execve changes to")
	}
	if b.root != NoSlot {
		proc, ok := b.fsAt["/proc"]
		if !ok || proc.kind != "proc" {
			return fmt.Errorf("process: a label needs a /proc of the container's own to be written to")
		}
		open = func(file string) *builder {
			// What was mounted by a link of the image's somewhere in there is on another filesystem (CVE-2025-52881).
			return b.call("openat2", proc.mount, "thread-self/attr/"+file, openHow(oWronly|oCloexec, resolveBeneath|resolveNoMagiclinks|resolveNoXdev), 24).
				because("the label that execve changes to")
		}
	}
	if apparmor {
		var done label
		open("apparmor/exec").or(abi.ENOENT).thenTo(&done)
		fd, text := b.to("attr"), "exec "+pr.ApparmorProfile
		open("exec").because("older kernels have one file for all").last().Into = fd
		b.land(&done)
		b.call("write", fd, &Mem{Bytes: []byte(text)}, len(text)).because(text)
	}
	if text := pr.SelinuxLabel; text != "" {
		open("exec")
		b.call("write", b.to("attr"), &Mem{Bytes: []byte(text)}, len(text)).because(text)
	}
	return nil
}

// finish makes the child what its program is to be, and has it wait for its start as that: whoever shares its pid
// namespace and may trace it (CAP_SYS_PTRACE in its user namespace: ptrace_may_access, kernel/ptrace.c) gets no more
// of it than of the program. What fails is told when the container is made. Only execve follows, and with
// no_new_privs the filter, unless others see the process wait:
//
//	filter, credentials, start gate, execve
//	credentials, start gate, filter, execve             with no_new_privs
//	filter, credentials, birth, start gate, execve      where the process is born late: joinsLate
//	credentials, filter, birth, start gate, execve      likewise, with no_new_privs
//
// Birth and gate take some calls. A filter that refuses them comes behind, and without no_new_privs the credentials too.
func (b *builder) finish() error {
	if err := b.closeAndLimit(); err != nil {
		return err
	}
	b.standardFiles()
	b.chdir()
	born := !b.joinsLate() || b.bornFirst()
	if born {
		b.terminal()
	}
	late := b.filterLast()
	waited := !late && b.gateFirst || b.outOfReach()
	if waited {
		b.waitStart()
	}
	if !late {
		b.filter("while it still holds CAP_SYS_ADMIN, which installing takes without no_new_privs")
	}
	b.credentials()
	if !b.shielded && !waited && b.f.UID != 0 && b.s.Process.User.UID != 0 {
		b.call("prctl", prSetDumpable, 1, 0, 0, 0).because("while it waits porthole may look at it: changing ids gave its files in /proc to the host's root")
	}
	if late && !waited && b.sharesPIDs() && !b.gateFirst {
		b.filter("with no_new_privs installing takes no privilege; others are not to see it without")
		late = false
	}
	if !born {
		b.join()
		b.terminal()
	}
	b.dieWithParent()
	if !waited {
		b.waitStart()
	}
	if b.sharesPIDs() && !b.shielded {
		b.shield() // the parent has fetched what it wants
	}
	if late {
		b.filter("as late as can be: with no_new_privs installing takes no privilege")
	}
	b.exec()
	return nil
}

// joinFirst makes the container's own process, where it is born late, before it is finished. It is seen in the pid
// namespace that it shares while it has more than its program will have.
func (b *builder) joinFirst() error {
	if b.joinsLate() && b.bornFirst() {
		b.join()
	}
	if b.sharesPIDs() && b.gateFirst {
		b.note("the profile does not let the process come and wait for its start: who shares its pid namespace and has CAP_SYS_PTRACE gets at it before the profile is in force")
	}
	return nil
}

// bornFirst says that the process has to be there before it is finished: its filter does not let it come, its schedule is
// not handed on, whoever is told of its filter is to be told of it and not of the one that makes it, or it waits first.
func (b *builder) bornFirst() bool {
	return b.gateFirst && !b.filterLast() || ownSchedule(b.s.Process.Scheduler) || b.listens() || b.outOfReach()
}

// outOfReach says that the parent, which has something to fetch from the child, could not do so any more when that
// has become another user (ptrace_may_access, kernel/ptrace.c).
func (b *builder) outOfReach() bool {
	return b.f.UID == 0 && b.fetches() && b.s.Process.User.UID != 0 && !b.f.Caps.Effective.Has(caps.CAP_SYS_PTRACE)
}

// filterLast says whether the filter comes after everything else. A listener has to be fetched by
// the parent, which may not without privileges once ids have changed (ptrace_may_access, kernel/ptrace.c).
func (b *builder) filterLast() bool {
	return b.s.Process.NoNewPrivileges && (!b.listens() || b.f.UID == 0)
}

func (b *builder) closeAndLimit() error {
	b.p.Inherit = b.o.Inherit
	if first := 3 + b.o.Inherit; b.f.Features.CloseRangeCloexec {
		b.call("close_range", first, uint64(0xffffffff), closeRangeCloexec).because("nothing of ours stays open after execve")
	} else {
		b.p.CloexecFrom = first
	}
	files := false
	for i, r := range b.s.Process.Rlimits {
		nr := slices.Index(rlimits[:], strings.TrimPrefix(r.Type, "RLIMIT_"))
		switch {
		case nr < 0:
			return fmt.Errorf("process.rlimits[%d].type: %q is unknown", i, r.Type)
		case slices.ContainsFunc(b.s.Process.Rlimits[:i], func(o specs.POSIXRlimit) bool { return o.Type == r.Type }):
			return fmt.Errorf("process.rlimits[%d]: a second %s", i, r.Type)
		case r.Soft > r.Hard:
			return fmt.Errorf("process.rlimits[%d]: %s: soft limit %d is above the hard one, %d", i, r.Type, r.Soft, r.Hard)
		}
		files = files || rlimits[nr] == "NOFILE"
		b.refer("process.rlimits[%d]", i)
		b.call("prlimit64", 0, nr, words(r.Soft, r.Hard), nil).because(r.Type).tag("rlimit")
	}
	b.from = ""
	if n := b.o.NoFile; !files && n != [2]uint64{} {
		b.call("prlimit64", 0, slices.Index(rlimits[:], "NOFILE"), words(n[0], n[1]), nil).because("Go raised the soft limit for itself")
	}
	return nil
}

// rlimits are the resources by number (asm-generic/resource.h).
var rlimits = [...]string{"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}

// standardFiles puts stdin, stdout and stderr in their places, where they are not the terminal already.
func (b *builder) standardFiles() {
	uid := b.s.Process.User.UID
	if b.tty != NoSlot {
		if uid != 0 {
			b.call("fchown", 0, int(uid), -1).because("its user may open the terminal again").or(abi.EPERM, abi.EINVAL)
		}
		return
	}
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		b.call("dup3", SlotStdin+Slot(fd), fd, 0).because(name).or(abi.EINVAL) // it is there already
		if b.o.ChownStdio[fd] && uid != 0 {
			b.call("fchown", fd, int(uid), -1).because("its user may open it again, as /dev/"+name).or(abi.EPERM, abi.EINVAL, erofs)
		}
	}
}

// terminal makes the terminal that of the session, whose leader the process is.
func (b *builder) terminal() {
	if b.tty != NoSlot {
		b.call("ioctl", 0, tiocsctty, 0).because("it is the session's terminal")
	}
}

// chdir enters the working directory: as root, and where root may not (NFS, FUSE), as the user.
func (b *builder) chdir() {
	b.refer("process.cwd")
	u := b.s.Process.User
	why := "the working directory, opened beneath the root: it cannot be outside"
	b.call("fchdir", b.cwd).because(why).tag("chdir")
	if u.UID != 0 {
		var in label
		b.or(abi.EACCES, abi.EPERM).thenTo(&in)
		b.call("setfsuid", int(u.UID)).because("root may not enter: see whether its user may")
		b.call("fchdir", b.cwd).because(why).tag("chdir")
		b.call("setfsuid", 0).because("root again")
		b.land(&in)
	}
	b.from = ""
}

// filter installs the seccomp filter.
func (b *builder) filter(why string) {
	sc := b.o.Seccomp
	if sc == nil {
		return
	}
	b.from = "linux.seccomp"
	// Of two flags one asks for a listener, and the other is pointless with one thread and not to be
	// had with a listener (seccomp_set_mode_filter, kernel/seccomp.c).
	flags := uint64(sc.Policy.Flags) &^ (flagTsync | flagWaitKillable)
	if sc.Listener {
		flags |= flagNewListener | uint64(sc.Policy.Flags)&flagWaitKillable
	}
	b.call("seccomp", seccompSetFilter, flags, fprog(sc.Program)).because(why).tag("seccomp")
	b.filtered = len(*b.list)
	b.from = ""
	if sc.Listener {
		b.last().Into = SlotListener
		b.gate(GateListener, "the listener is fetched", "a listener is there")
	}
}

// credentials drops what the process is not to have, and makes it its user. Dropping from the
// bounding set takes CAP_SETPCAP, changing ids takes CAP_SETUID: hence the order.
func (b *builder) credentials() {
	u := b.s.Process.User
	want, bounding := b.capabilities()
	b.bound(bounding)

	keep := u.UID != 0 && want.Permitted|want.Inheritable != 0 // to hand on a capability takes having it (cap_capset)
	if keep {
		b.call("prctl", prSetKeepcaps, 1, 0, 0, 0).because("changing from uid 0 would drop every capability (cap_emulate_setxuid)")
	}
	b.user()
	if keep {
		b.call("prctl", prSetKeepcaps, 0, 0, 0, 0)
	}
	data := halfWords(uint32(want.Effective), uint32(want.Permitted), uint32(want.Inheritable),
		uint32(want.Effective>>32), uint32(want.Permitted>>32), uint32(want.Inheritable>>32))
	b.call("capset", halfWords(capVersion3, 0), data).because("the capabilities that it keeps").tag("capset")
	b.call("prctl", prCapAmbient, ambientClear, 0, 0, 0).because("none pass execve by themselves")
	for _, c := range want.Ambient.List() {
		b.call("prctl", prCapAmbient, ambientRaise, int(c), 0, 0).because(c.String() + " passes execve without being root")
	}
	if b.shielded {
		b.shield() // fs.suid_dumpable may say otherwise of a process that changes ids (commit_creds, kernel/cred.c)
	}
}

// dieWithParent says again what launch said at first: a change of ids undoes it, and a process just
// made starts without (commit_creds, kernel/cred.c; copy_process, kernel/fork.c).
func (b *builder) dieWithParent() {
	if b.o.DieWithParent {
		b.call("prctl", prSetPdeathsig, sigKill, 0, 0, 0).because("it ends with porthole: a change of ids has undone that")
	}
}

// bound drops from the bounding set what is there and not wanted.
func (b *builder) bound(keep caps.Set) {
	have := b.f.Caps.Bounding
	userNS := b.spaces.has(newUser)
	if userNS {
		have = caps.All // a new user namespace begins with all (create_user_ns, kernel/user_namespace.c)
	}
	for c := range caps.Cap(64) {
		if have&^keep&(1<<c) == 0 {
			continue
		}
		b.call("prctl", prCapbsetDrop, int(c), 0, 0, 0).because("never again " + c.String())
		if userNS {
			b.or(abi.EINVAL) // newer than the kernel
		}
	}
}

// capabilities are the sets wanted, less what we don't have to give.
func (b *builder) capabilities() (want caps.State, bounding caps.Set) {
	c := b.s.Process.Capabilities
	if c == nil {
		c = &specs.LinuxCapabilities{}
	}
	own, ownBounding := b.f.Caps.Permitted, b.f.Caps.Bounding
	if b.spaces.has(newUser) {
		own, ownBounding = caps.All, caps.All
	}
	var missing caps.Set
	parse := func(names []string, limit caps.Set) (s caps.Set) {
		for _, n := range names {
			c, err := caps.Parse(n)
			if err != nil {
				b.note("%v: left out", err)
				continue
			}
			s = s.Add(c)
		}
		missing |= s &^ limit
		return s & limit
	}
	bounding = parse(c.Bounding, ownBounding)
	want.Permitted = parse(c.Permitted, own)
	want.Effective = parse(c.Effective, own) & want.Permitted
	want.Inheritable = parse(c.Inheritable, own&ownBounding)
	ambient := parse(c.Ambient, own)
	want.Ambient = ambient & want.Permitted & want.Inheritable // cap_task_prctl, security/commoncap.c
	if lost := ambient &^ want.Ambient; lost != 0 {
		b.note("can't raise ambient capability %v: it is not both permitted and inheritable", lost)
	}
	if missing != 0 {
		b.note("porthole itself does not have %v: left out", missing)
	}
	return want, bounding
}

func (b *builder) note(format string, a ...any) {
	if n := fmt.Sprintf(format, a...); !slices.Contains(b.p.Notes, n) {
		b.p.Notes = append(b.p.Notes, n)
	}
}

// user changes groups, group and user.
func (b *builder) user() {
	u := b.s.Process.User
	b.from = "process.user"
	defer func() { b.from = "" }()
	if b.o.KeepGroups {
		if len(u.AdditionalGids) > 0 {
			b.note("process.user.additionalGids: left out: the process keeps the groups of whoever starts it")
		}
	} else if b.groupsDenied() {
		if slices.ContainsFunc(u.AdditionalGids, func(g uint32) bool { return g != u.GID }) {
			b.note("process.user.additionalGids: left out: a user namespace with no more than one's own id has no setgroups")
		}
	} else {
		var list any
		why := "none of our further groups"
		if len(u.AdditionalGids) > 0 {
			list, why = halfWords(u.AdditionalGids...), "its further groups, and none of ours"
		}
		b.call("setgroups", len(u.AdditionalGids), list).because(why).tag("user")
	}
	b.call("setresgid", int(u.GID), int(u.GID), int(u.GID)).because("its group").tag("user")
	b.call("setresuid", int(u.UID), int(u.UID), int(u.UID)).because("its user").tag("user")
}

// defaultPath is searched where the container's environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// exec starts the program: the first of its candidates that is there. If none could be started
// and one was there but not executable, the last error is EACCES and not ENOENT:
//
//	execve a, b, c         after EACCES on in the second row; the last one ends the plan
//	execve b, c, "/"       and "/" is EACCES always (do_open_execat, fs/exec.c)
func (b *builder) exec() {
	pr := b.s.Process
	env := b.strs(pr.Env)
	if b.o.Init {
		argv := b.strs(append([]string{"/sbin/docker-init", "--"}, pr.Args...))
		b.call("execveat", SlotInit, "", argv, env, atEmptyPath).because("the small init, which starts the rest").tag("execve")
		return
	}
	argv := b.strs(pr.Args)
	list := candidates(pr.Args[0], pr.Env)
	if b.o.File != "" {
		list = []string{b.o.File}
	}
	why := strings.Join(pr.Args, " ")
	row := make([]label, len(list))
	for i, file := range list {
		b.call("execve", file, argv, env).because(why).tag("execve")
		if i < len(list)-1 {
			b.or(abi.ENOENT, enotdir).orTo(&row[i], abi.EACCES)
		}
	}
	if len(list) == 1 {
		return
	}
	for i, file := range list[1:] {
		b.land(&row[i])
		b.call("execve", file, argv, env).because(why+", after one that was there and not to be executed").tag("execve").or(abi.ENOENT, enotdir, abi.EACCES)
	}
	b.call("execve", "/", argv, env).because("the error is \"permission denied\": a file was there").tag("execve")
}

// candidates are the files that a name may mean: PATH counts where it has no slash.
func candidates(name string, env []string) (list []string) {
	if strings.Contains(name, "/") || name == "" {
		return []string{name}
	}
	dirs := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	for _, dir := range strings.Split(dirs, ":") {
		if !strings.HasPrefix(dir, "/") {
			continue // as Go's exec.LookPath, and so runc: nothing is run from the working directory by chance
		}
		if file := strings.TrimSuffix(dir, "/") + "/" + name; !slices.Contains(list, file) {
			list = append(list, file)
		}
	}
	if list == nil {
		list = []string{"/" + name}
	}
	return list
}
