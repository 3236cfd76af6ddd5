package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
)

// Compile returns the plan of a new container. It fails, naming the part of the spec, where the
// spec asks for what this machine, the kernel or porthole cannot do, and where the filter would
// refuse the steps that follow its installation. The paths of the host in s and opt are trusted;
// the files of the root filesystem are not.
//
// The order of the last part is runc's: finalizeNamespace in libcontainer/init_linux.go and Init in
// libcontainer/standard_init_linux.go, release 1.2.
func Compile(s *specs.Spec, opt Options, f facts.Facts) (*Plan, error) {
	p, err := arrange(s, opt, f, false)
	var refused *FilterError
	if errors.As(err, &refused) {
		return arrange(s, opt, f, true)
	}
	return p, err
}

// arrange is Compile; with gateFirst the filter need not let the start gate pass.
func arrange(s *specs.Spec, opt Options, f facts.Facts, gateFirst bool) (*Plan, error) {
	b := newBuilder(f)
	b.s, b.o, b.denyGroups, b.gateFirst = s, &opt, opt.DenyGroups, gateFirst
	if err := b.check(); err != nil {
		return nil, err
	}
	for _, stage := range []func() error{
		b.begin, b.openPaths, b.waitIDs, b.enter,
		b.makeRoot, b.mounts, b.devices, b.workdir, b.waitNetwork, b.sysctls, b.protect, b.pivot,
		b.console, b.lock, b.names, b.joinFirst, b.labelInside, b.process, b.scheduler, b.finish,
	} {
		if err := stage(); err != nil {
			return nil, err
		}
	}
	return b.done(opt.Seccomp, s.Process.NoNewPrivileges)
}

// done closes the plan.
func (b *builder) done(sc *Seccomp, nnp bool) (*Plan, error) {
	b.p.Slots = len(b.p.Names)
	if b.p.Slots > maxSlots {
		return nil, fmt.Errorf("the plan needs %d results of earlier steps at once and may have %d: too many mounts", b.p.Slots, maxSlots)
	}
	if err := b.checkFilter(sc, nnp); err != nil {
		return nil, err
	}
	return b.p, nil
}

// maxSlots bounds a plan: each slot may be an open file.
const maxSlots = 4000

// spaces says what becomes of the namespaces: made anew, or entered where they have a path.
type spaces struct {
	fresh  uint64 // CLONE_NEW* bits
	joined []joined
}

type joined struct {
	flag       uint64
	name, path string
	refer      string
	slot       Slot
	early      bool // entered by the parent before the clone
}

// has says whether the container has its own namespace of this kind, new or entered.
func (s spaces) has(flag uint64) bool {
	for _, j := range s.joined {
		if j.flag == flag {
			return true
		}
	}
	return s.fresh&flag != 0
}

var spaceFlags = map[specs.LinuxNamespaceType]uint64{
	specs.MountNamespace: newNS, specs.PIDNamespace: newPID, specs.NetworkNamespace: newNet, specs.IPCNamespace: newIPC,
	specs.UTSNamespace: newUTS, specs.UserNamespace: newUser, specs.CgroupNamespace: newCgroup, specs.TimeNamespace: newTime,
}

// check refuses what no plan can be made of, before any is.
func (b *builder) check() error {
	s := b.s
	switch {
	case s == nil || s.Linux == nil:
		return errors.New("linux: missing: this is not a Linux container")
	case s.Process == nil || len(s.Process.Args) == 0:
		return errors.New("process.args: empty: there is nothing to run")
	case !strings.HasPrefix(s.Process.Cwd, "/"):
		return fmt.Errorf("process.cwd: %q is not an absolute path", s.Process.Cwd)
	case len(b.o.Root.Layers) == 0 && b.o.Root.Path == "" && (s.Root == nil || s.Root.Path == ""):
		return errors.New("root.path: missing")
	case s.Linux.IntelRdt != nil:
		return errors.New("linux.intelRdt: not supported")
	}
	if err := b.checkStrings(); err != nil {
		return err
	}
	if r := &b.o.Root; len(r.Layers) == 0 && r.Path == "" {
		r.Path = s.Root.Path
	}
	if r := b.o.Root; len(r.Layers) > 0 && (r.Scratch == "" || path.Clean("/"+r.Layers[0].Target) != "/") {
		return errors.New("root: layers need a scratch directory, and the first is \"/\"")
	} else if len(r.Layers) == 0 && len(r.Files) > 0 {
		return errors.New("root: files are written where the layers' private space is, and there are no layers")
	}
	for i, n := range s.Linux.Namespaces {
		where := fmt.Sprintf("linux.namespaces[%d]", i)
		flag := spaceFlags[n.Type]
		switch {
		case flag == 0:
			return fmt.Errorf("%s.type: %q is no kind of namespace", where, n.Type)
		case b.spaces.has(flag):
			return fmt.Errorf("%s: a second %q", where, n.Type)
		case n.Path == "":
			b.spaces.fresh |= flag
		default:
			b.spaces.joined = append(b.spaces.joined, joined{flag: flag, name: string(n.Type), path: n.Path, refer: where})
		}
	}
	if err := b.checkForeign(); err != nil {
		return err
	}
	if err := b.checkMounts(); err != nil {
		return err
	}
	switch {
	case len(s.Linux.NetDevices) == 0:
	case !b.o.Network:
		return errors.New("linux.netDevices: nobody is there to move them")
	case !b.spaces.has(newNet):
		return errors.New("linux.netDevices: needs a \"network\" namespace of the container's own")
	case b.f.UID != 0 || !b.f.UserNS.Initial:
		return errors.New("linux.netDevices: moving them takes root of the machine")
	}
	if p := s.Linux.RootfsPropagation; p != "" && propagations[p] == 0 {
		return fmt.Errorf("linux.rootfsPropagation: %q: want private, slave, shared or unbindable, or one of them with an r in front", p)
	}
	if a := s.Process.ExecCPUAffinity; a != nil { // of those that join it, and wrong already now
		for where, list := range map[string]string{"initial": a.Initial, "final": a.Final} {
			if _, err := bitList(list); err != nil {
				return fmt.Errorf("process.execCPUAffinity.%s: %w", where, err)
			}
		}
	}
	if b.spaces.fresh&newUser != 0 && len(s.Linux.UIDMappings) == 0 {
		return errors.New("linux.uidMappings: missing: a new user namespace needs them")
	}
	return errors.Join(b.checkNames(), b.checkUser(), b.checkFeatures())
}

// checkNames refuses names for the wrong machine.
func (b *builder) checkNames() error {
	for _, n := range [][2]string{{"hostname", b.s.Hostname}, {"domainname", b.s.Domainname}} {
		switch {
		case n[1] != "" && !b.spaces.has(newUTS):
			return fmt.Errorf("%s: would change the host's: it needs a \"uts\" namespace", n[0])
		case len(n[1]) > 64: // __NEW_UTS_LEN
			return fmt.Errorf("%s: %d bytes long, and the kernel takes 64", n[0], len(n[1]))
		}
	}
	for clock := range b.s.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("linux.timeOffsets.%s: want monotonic or boottime", clock)
		}
	}
	if n := b.s.Process.OOMScoreAdj; n != nil && (*n < -1000 || *n > 1000) {
		return fmt.Errorf("process.oomScoreAdj: %d: want -1000 to 1000", *n)
	}
	return nil
}

// checkUser refuses mappings that the kernel does not take, and a user whom they do not have.
func (b *builder) checkUser() error {
	l, u := b.s.Linux, b.s.Process.User
	for _, m := range []struct {
		where string
		list  []specs.LinuxIDMapping
	}{{"linux.uidMappings", l.UIDMappings}, {"linux.gidMappings", l.GIDMappings}} {
		if len(m.list) > 0 && !b.spaces.has(newUser) {
			return fmt.Errorf("%s: there is no \"user\" namespace to map", m.where)
		}
		if err := checkIDs(m.where, m.list); err != nil {
			return err
		}
	}
	if b.spaces.fresh&newUser == 0 {
		return nil
	}
	mapped := func(id uint32, ms []specs.LinuxIDMapping) bool {
		return slices.ContainsFunc(ms, func(m specs.LinuxIDMapping) bool { return id >= m.ContainerID && id-m.ContainerID < m.Size })
	}
	switch {
	case !mapped(u.UID, l.UIDMappings):
		return fmt.Errorf("process.user.uid: %d is not among linux.uidMappings", u.UID)
	case len(l.GIDMappings) > 0 && !mapped(u.GID, l.GIDMappings):
		return fmt.Errorf("process.user.gid: %d is not among linux.gidMappings", u.GID)
	}
	return nil
}

// checkFeatures refuses by name what this kernel lacks.
func (b *builder) checkFeatures() error {
	ft := b.f.Features
	lacks := func(what, since string) error {
		return fmt.Errorf("this kernel (%v) has no %s, which porthole needs (Linux %s)", b.f.Kernel, what, since)
	}
	switch {
	case !ft.NewMountAPI:
		return lacks("fsopen, open_tree and move_mount", "5.2")
	case !ft.Openat2:
		return lacks("openat2", "5.6")
	case b.spaces.fresh&newTime != 0 && !ft.TimeNS:
		return lacks("time namespaces", "5.6, CONFIG_TIME_NS")
	case b.spaces.fresh&newCgroup != 0 && !ft.CgroupNS:
		return lacks("cgroup namespaces", "4.6")
	case b.o.Seccomp != nil && !ft.Seccomp:
		return lacks("seccomp filters", "3.5, CONFIG_SECCOMP_FILTER")
	case len(b.s.Linux.TimeOffsets) > 0 && b.spaces.fresh&newTime == 0:
		return errors.New("linux.timeOffsets: would change a time namespace that others use: it needs a new one")
	}
	return nil
}

// checkStrings refuses strings that the kernel would cut short.
func (b *builder) checkStrings() error {
	bad := func(where string, list ...string) error {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fmt.Errorf("%s: %q has a zero byte in it", where, s)
			}
		}
		return nil
	}
	s := b.s
	errs := []error{bad("process.args", s.Process.Args...), bad("process.env", s.Process.Env...), bad("process.cwd", s.Process.Cwd),
		bad("hostname", s.Hostname, s.Domainname), bad("process", s.Process.ApparmorProfile, s.Process.SelinuxLabel, s.Linux.MountLabel),
		bad("linux.maskedPaths", s.Linux.MaskedPaths...), bad("linux.readonlyPaths", s.Linux.ReadonlyPaths...)}
	for i, m := range s.Mounts {
		errs = append(errs, bad(fmt.Sprintf("mounts[%d]", i), append([]string{m.Destination, m.Source, m.Type}, m.Options...)...))
	}
	for k, v := range s.Linux.Sysctl {
		errs = append(errs, bad("linux.sysctl", k, v))
	}
	for i, d := range s.Linux.Devices {
		errs = append(errs, bad(fmt.Sprintf("linux.devices[%d]", i), d.Path))
	}
	for i, n := range s.Linux.Namespaces {
		errs = append(errs, bad(fmt.Sprintf("linux.namespaces[%d]", i), n.Path))
	}
	if s.Root != nil {
		errs = append(errs, bad("root.path", s.Root.Path))
	}
	return errors.Join(errs...)
}

// mappedRoot says that the container's ids are others' than ours, and given by us as root: paths
// of the host are then opened while we still are who we are.
func (b *builder) mappedRoot() bool {
	return b.spaces.fresh&newUser != 0 && b.f.UID == 0
}

// inUserNS says whether the container's user namespace is not the machine's first.
func (b *builder) inUserNS() bool { return b.spaces.has(newUser) || !b.f.UserNS.Initial }

// begin is what comes before everything else: flags, groups, and protection of the child itself.
func (b *builder) begin() error {
	b.p.Clone = b.spaces.fresh &^ newCgroup // unshared later: it is to be rooted at the group that the child is then in
	if b.spaces.fresh&newTime != 0 && (len(b.s.Linux.TimeOffsets) > 0 || !b.f.Kernel.AtLeast(facts.Version{Major: 6, Minor: 3})) {
		b.p.Clone &^= newTime // clone3 takes it since 6.3 (clone3_args_valid, kernel/fork.c); offsets are set before anyone is in
	}
	if b.mappedRoot() {
		b.p.Clone &^= newIPC // its mqueue filesystem belongs to whoever makes it, who must be root inside (mqueue_get_inode, ipc/mqueue.c)
	}
	if b.joinsUser() {
		b.p.Clone = 0 // all others are to belong to the user namespace that is entered first: bear makes them
	}
	b.intoCgroup()
	b.early()
	if b.sharesPIDs() && b.f.UID == 0 {
		b.shield()
	}
	if n := b.s.Process.OOMScoreAdj; n != nil && !b.mappedRoot() {
		b.oomScore(*n)
	}
	if b.joinsLate() {
		return b.label() // in its own procfs, once that is there, whoever is born last is not to be found yet
	}
	return nil
}

// intoCgroup has the child born in its v2 group.
func (b *builder) intoCgroup() {
	if b.f.Cgroup.Mode != facts.CgroupV2 || !b.f.Features.CloneIntoCgroup || len(b.o.Groups) == 0 || b.o.Groups[0] == "" {
		return
	}
	b.in(&b.p.Before, func() {
		b.call("openat", atFDCWD, b.o.Groups[0], oPath|b.directory|oCloexec).because("the group that the child is born in")
		b.p.IntoCgroup = b.to("cgroup")
	})
	b.in(&b.p.After, func() { b.call("close", b.p.IntoCgroup) })
}

// early has the parent enter what must be entered before the clone: a pid namespace counts for
// later children only, and a namespace of the host could not be entered from a new user namespace.
// Launch does that on a thread that it uses for nothing else.
func (b *builder) early() {
	b.in(&b.p.Before, func() {
		for i := range b.spaces.joined {
			j := &b.spaces.joined[i]
			if j.flag == newNS || b.joinsUser() || b.joinsLate() || j.flag != newPID && !(b.spaces.fresh&newUser != 0 && j.flag != newTime) {
				continue
			}
			j.early = true
			b.refer("%s", j.refer)
			b.call("openat", atFDCWD, j.path, oCloexec).because("the " + j.name + " namespace to share")
			j.slot = b.to(j.name)
			b.call("setns", j.slot, j.flag).because("the child is to be born in it")
			b.from = ""
			b.in(&b.p.After, func() { b.call("close", j.slot) })
		}
	})
}

// joinsLate says that the container's process comes into a pid namespace that exists when everything but the start is
// done. Whoever is in there with CAP_SYS_PTRACE has every process's root, memory and program at hand, dumpable or not
// (ptrace_may_access, kernel/ptrace.c), and before that these are the host's and ours (CVE-2016-9962, CVE-2019-5736).
//
// A procfs shows its maker's pid namespace, unless it is told of another one, which it can be since 6.18. Where the
// kernel is older and one is to be mounted, the process is born in the namespace at once, as runc's and crun's are: with
// a procfs of the machine's the container would see every process.
func (b *builder) joinsLate() bool {
	return !b.spaces.has(newUser) && b.joinedPID() != nil && (b.f.Kernel.AtLeast(facts.Version{Major: 6, Minor: 18}) ||
		!slices.ContainsFunc(b.s.Mounts, func(m specs.Mount) bool { return m.Type == "proc" }))
}

// joinedPID is the pid namespace to share; nil where there is none.
func (b *builder) joinedPID() *joined {
	if i := slices.IndexFunc(b.spaces.joined, func(j joined) bool { return j.flag == newPID }); i >= 0 {
		return &b.spaces.joined[i]
	}
	return nil
}

// join makes the container's own process. Its pid namespace was entered by the one that makes it, for children.
func (b *builder) join() {
	b.bear(0, "the container's own process, born in the pid namespace that it shares")
	b.call("setsid").because("a session of its own")
}

// joinsUser says that the container's user namespace is one that exists.
func (b *builder) joinsUser() bool { return b.spaces.has(newUser) && b.spaces.fresh&newUser == 0 }

// sharesPIDs says that others see the child: it is not the first of a new pid namespace.
func (b *builder) sharesPIDs() bool { return b.spaces.fresh&newPID == 0 }

// shield lets nobody inside trace the child, read its /proc files or take its files before execve
// makes it the container's own. An ordinary user's child takes it up only once its ids are mapped and
// it is root of its user namespace: its files in /proc are root's from then on (task_dump_owner,
// fs/proc/base.c), and the parent could not write the maps.
func (b *builder) shield() {
	b.call("prctl", prSetDumpable, 0, 0, 0, 0).because("until execve nobody who sees it may trace it or read its /proc files")
	b.shielded = true
}

// fetches says that the parent takes an open file from the child, which an ordinary user may not
// where the child is shielded (pidfd_getfd wants what ptrace does). It is shielded after the start gate then.
func (b *builder) fetches() bool { return b.s.Process.Terminal || b.listens() }

func (b *builder) listens() bool { return b.o.Seccomp != nil && b.o.Seccomp.Listener }

// openPaths opens what is named by a path of the host, as long as we see the host.
func (b *builder) openPaths() error {
	for i := range b.spaces.joined {
		if j := &b.spaces.joined[i]; !j.early {
			b.refer("%s", j.refer)
			b.call("openat", atFDCWD, j.path, oCloexec).because("the " + j.name + " namespace to share")
			j.slot = b.to(j.name)
			b.from = ""
		}
	}
	return b.openSources()
}

// waitIDs is the first gate, where there is need of one.
func (b *builder) waitIDs() error {
	maps := b.spaces.fresh&newUser != 0
	groups := b.spaces.fresh&newCgroup != 0 && b.o.Groups != nil && b.p.IntoCgroup == NoSlot
	switch {
	case maps:
		b.gate(GateIDs, "ids are mapped", "the user namespace is still empty")
	case b.joinsLate() && b.o.Groups != nil && b.p.IntoCgroup == NoSlot:
		b.gate(GateIDs, "it is in its groups", "the process that it makes will be in the same")
	case groups:
		b.gate(GateIDs, "it is in its groups", "the cgroup namespace will be rooted at the group that the child is in")
	}
	if maps {
		return b.mapIDs()
	}
	return nil
}

// enter brings the child into its namespaces, as root of its user namespace.
func (b *builder) enter() error {
	enter := func(want bool) {
		for _, j := range b.spaces.joined {
			if !j.early && j.flag != newNS && (j.flag == newUser) == want {
				b.refer("%s", j.refer)
				b.call("setns", j.slot, j.flag).because("share that " + j.name + " namespace")
				b.from = ""
			}
		}
	}
	enter(true)
	if b.spaces.has(newUser) {
		b.becomeRoot()
	}
	enter(false)
	if b.joinsUser() {
		b.bear(b.spaces.fresh&^(newCgroup|newTime), "the container's own process, with namespaces that belong to that user namespace")
	} else if late := b.spaces.fresh & newIPC &^ b.p.Clone; late != 0 {
		b.call("unshare", late).because("made by root of the user namespace, whom its files then belong to")
	}
	if b.spaces.fresh&newCgroup != 0 {
		b.call("unshare", newCgroup).because("its own group is the top that it sees")
	}
	b.unshareTime()
	if b.sharesPIDs() && b.f.UID != 0 && !b.fetches() { // else as soon as the parent has fetched it
		b.shield()
	}

	b.call("setsid").because("a session of its own: no terminal of ours signals it")
	b.call("umask", 0).because("modes are meant as written")
	if !b.o.NoKeyring {
		b.keyring()
	}
	if b.spaces.fresh&newNet != 0 {
		b.loopback()
	}
	return nil
}

// unshareTime makes the time namespace where clone could not, or where clocks are shifted: offsets
// can be written only until somebody is in (timens_on_fork, kernel/time/namespace.c).
func (b *builder) unshareTime() {
	if b.spaces.fresh&newTime == 0 || b.p.Clone&newTime != 0 {
		return
	}
	b.call("unshare", newTime).because("clocks of its own")
	if len(b.s.Linux.TimeOffsets) > 0 {
		b.from = "linux.timeOffsets"
		b.writeFile("/proc/self/timens_offsets", timeOffsets(b.s.Linux.TimeOffsets), "its clocks are shifted")
		b.from = ""
	}
	b.call("openat", atFDCWD, "/proc/self/ns/time_for_children", oCloexec).because("unshare made it for children only")
	b.call("setns", b.to("time"), newTime).because("this process has to be in it as well")
}

func timeOffsets(m map[string]specs.LinuxTimeOffset) string {
	var out strings.Builder
	for _, clock := range sorted(m) {
		fmt.Fprintf(&out, "%s %d %d\n", clock, m[clock].Secs, m[clock].Nanosecs)
	}
	return out.String()
}

// writeFile opens a file of the host's procfs, which is trusted, and writes to it; errors that may
// come of that are tolerated.
func (b *builder) writeFile(name, data, why string, may ...abi.Errno) {
	b.call("openat", atFDCWD, name, oWronly|oCloexec).because(why)
	fd := b.to(path.Base(name))
	b.call("write", fd, &Mem{Bytes: []byte(data)}, len(data)).or(may...)
	b.call("close", fd).because("nobody who may trace the child takes a file of the host's from it")
}

func (b *builder) oomScore(n int) {
	var may []abi.Errno
	if b.f.UID != 0 {
		may = append(may, abi.EACCES) // lowering it takes CAP_SYS_RESOURCE (proc_oom_score_adj_write)
	}
	b.from = "process.oomScoreAdj"
	b.writeFile("/proc/self/oom_score_adj", fmt.Sprint(n), "the kernel's killer judges it by its own score", may...)
	b.from = ""
}

// keyring gives the container a session keyring that is not ours. Its permissions are those that
// join_session_keyring (security/keys/process_keys.c) gives a new one, and search for whoever
// enters: the owner, or in a user namespace others.
func (b *builder) keyring() {
	b.why = "no keys of ours reach the container"
	var name any
	if b.o.ID != "" {
		name = "_ses." + b.o.ID
	}
	perm := uint64(0x3f1b0000)
	if b.spaces.has(newUser) {
		perm = 0x3f130008
	}
	var no label
	b.call("keyctl", keyctlJoinSession, name).orTo(&no, abi.ENOSYS)
	b.call("keyctl", keyctlSetPerm, b.to("keyring"), perm)
	b.land(&no)
	b.why = ""
}

// loopback brings lo up: struct ifreq (linux/if.h) with the name, and the flags at 16.
func (b *builder) loopback() {
	req := &Mem{Bytes: make([]byte, 40)}
	copy(req.Bytes, "lo")
	req.Bytes[16] = iffUp
	b.call("socket", afInet, sockDgram|sockCloexec, 0).because("a new network namespace has only lo, and it is down")
	b.call("ioctl", b.to("socket"), Arg{Num: siocsifflags, Text: "SIOCSIFFLAGS"}, Arg{Kind: ArgMem, Mem: req, Text: `{"lo", IFF_UP}`}).because("lo is up")
}

// gate has the child wait for the parent.
func (b *builder) gate(id GateID, until, why string) {
	b.call("write", SlotArrive, words(1), 8).because("tell the parent: " + why)
	b.call("read", SlotPass, &Mem{Bytes: make([]byte, 1)}, 1).because("wait until " + until + "; end if the parent is gone")
	b.last().Zero = ZeroFails
	b.p.Gates = append(b.p.Gates, Gate{ID: id, At: len(b.p.Child) - 1, Why: why})
}

func (b *builder) waitNetwork() error {
	if b.o.Network {
		b.gate(GateNetwork, "the network is ready", "the mounts are there, for hooks to see, and the network is to be furnished")
	}
	return nil
}

func (b *builder) waitStart() { b.gate(GateStart, "it is to start", "everything is set up") }

// refer names the part of the spec that the next steps serve.
func (b *builder) refer(format string, a ...any) {
	b.from = fmt.Sprintf(format, a...)
	if said := b.o.Refer[b.from]; said != "" {
		b.from = said
	}
}
