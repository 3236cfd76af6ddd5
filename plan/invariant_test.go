package plan

import (
	"encoding/binary"
	"encoding/json"
	"math/rand"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
)

func itoa(n int) string { return strconv.Itoa(n) }

// checkPlan holds what is true of every plan.
func checkPlan(t testing.TB, p *Plan, s *specs.Spec, g given) {
	t.Helper()
	if p.Slots != len(p.Names) || p.Slots < int(FirstFree) {
		t.Errorf("%d slots, %d names", p.Slots, len(p.Names))
	}
	filled := map[Slot]bool{SlotPID: true, SlotPidfd: true, SlotArrive: true, SlotPass: true, SlotStdin: true, SlotStdout: true, SlotStderr: true, SlotInit: true, SlotTarget: true}
	checkSlots(t, "before", p, p.Before, filled)
	for _, step := range p.Before {
		if step.Into != NoSlot {
			filled[step.Into] = true
		}
	}
	checkSlots(t, "after", p, p.After, filled)
	checkSlots(t, "child", p, p.Child, filled)
	checkGates(t, p)
	checkEnd(t, p)
	if g.Join == nil {
		checkStart(t, p, g)
	}
	checkNames(t, p, s, g)
	for _, list := range [][]Step{p.Before, p.Child} {
		for i, step := range list {
			checkStep(t, p, i, step)
		}
	}
	lines := strings.Split(p.String(), "\n")
	for i, k := 0, 0; i < len(p.Child); i++ {
		for k < len(lines) && !strings.HasPrefix(strings.TrimLeft(lines[k], " "), strconv.Itoa(i+1)+"  ") {
			k++
		}
		if d := p.Describe(i); d == "" || k == len(lines) || !strings.Contains(lines[k], d) {
			t.Fatalf("step %d: String does not have %q", i+1, d)
		}
	}
}

// checkSlots follows every way through the list: whatever a step reads has been written on each of
// them, and every jump lands inside.
func checkSlots(t testing.TB, name string, p *Plan, list []Step, filled map[Slot]bool) {
	t.Helper()
	// known[i] are the slots written on every way to step i; nil: none leads there yet.
	known := make([]map[Slot]bool, len(list)+1)
	if len(list) == 0 {
		return
	}
	known[0] = filled
	reach := func(i, skip int, have map[Slot]bool) {
		to := i + 1 + skip
		if skip < 0 || to > len(list) {
			t.Errorf("%s step %d skips %d of %d", name, i+1, skip, len(list))
			return
		}
		if known[to] == nil {
			known[to] = map[Slot]bool{}
			for s := range have {
				known[to][s] = true
			}
			return
		}
		for s := range known[to] {
			if !have[s] {
				delete(known[to], s)
			}
		}
	}
	for i, s := range list {
		have := known[i]
		if have == nil {
			t.Errorf("%s step %d is never reached: %s", name, i+1, p.step(s, i, ""))
			continue
		}
		after := map[Slot]bool{}
		for k := range have {
			after[k] = true
		}
		for _, a := range s.Args {
			if int(a.Slot) >= p.Slots {
				t.Errorf("%s step %d: slot %d of %d", name, i+1, a.Slot, p.Slots)
			}
			switch {
			case a.Kind == ArgSlot && !have[a.Slot]:
				t.Errorf("%s step %d reads %s, which not every way to it has written: %s", name, i+1, p.name(a.Slot), p.step(s, i, ""))
			case a.Kind == ArgSlotAt:
				for n := Slot(0); n < 18; n++ { // struct stat
					after[a.Slot+n] = true
				}
			case a.Kind == ArgMem && a.Mem == nil:
				t.Errorf("%s step %d: an address of nothing", name, i+1)
			}
		}
		for _, e := range s.Errs {
			reach(i, e.Steps, have)
		}
		if s.Zero > 0 {
			reach(i, s.Zero, have)
		}
		if s.Into != NoSlot {
			after[s.Into] = true
		}
		if s.Call != "exit_group" {
			reach(i, s.OK, after)
		}
	}
}

// checkGates: each is a read that fails at the end of the pipe, right after the child has said that it is there.
func checkGates(t testing.TB, p *Plan) {
	t.Helper()
	last := -1
	for _, g := range p.Gates {
		if g.At <= last || g.At >= len(p.Child) {
			t.Fatalf("gate %v at %d", g.ID, g.At)
		}
		last = g.At
		read, write := p.Child[g.At], p.Child[g.At-1]
		if read.Call != "read" || read.Args[0].Slot != SlotPass || read.Zero != ZeroFails || len(read.Errs) > 0 {
			t.Errorf("gate %v waits with %s", g.ID, p.Describe(g.At))
		}
		if write.Call != "write" || write.Args[0].Slot != SlotArrive {
			t.Errorf("gate %v is announced with %s", g.ID, p.Describe(g.At-1))
		}
	}
	if !slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.ID == GateStart }) {
		t.Error("no start gate")
	}
}

// checkEnd: the plan ends in execve, nothing follows it but other execves, and nothing else follows
// a filter with no_new_privs.
func checkEnd(t testing.TB, p *Plan) {
	t.Helper()
	first := slices.IndexFunc(p.Child, func(s Step) bool { return strings.HasPrefix(s.Call, "execve") })
	if first < 0 {
		t.Fatal("no execve")
	}
	for _, s := range p.Child[first:] {
		if s.Tag != "execve" || !strings.HasPrefix(s.Call, "execve") {
			t.Errorf("%s after execve", s.Call)
		}
	}
	if s := p.Child[len(p.Child)-1]; len(s.Errs) > 0 || s.OK > 0 {
		t.Error("the last step tolerates an error")
	}
	nnp := slices.ContainsFunc(p.Child, func(s Step) bool { return s.Call == "prctl" && s.Args[0].Num == prSetNoNewPrivs })
	at := slices.IndexFunc(p.Child, func(s Step) bool { return s.Call == "seccomp" })
	capset := slices.IndexFunc(p.Child, func(s Step) bool { return s.Call == "capset" })
	switch {
	case at < 0:
	case nnp && at < capset && !slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.ID == GateListener }):
		t.Error("with no_new_privs the filter is to come last")
	case !nnp && at > capset:
		t.Error("without no_new_privs the filter is to come before capabilities are dropped")
	}
}

// checkStart: who waits for its start is what its program will be, unless the filter would not let it wait.
func checkStart(t testing.TB, p *Plan, g given) {
	t.Helper()
	start := p.Gates[slices.IndexFunc(p.Gates, func(g Gate) bool { return g.ID == GateStart })].At
	shared := slices.ContainsFunc(p.Child[:start], func(s Step) bool {
		return s.Call == "prctl" && s.Args[0].Num == prSetDumpable && s.Args[1].Num == 0
	})
	for _, s := range p.Child[start+1:] {
		switch {
		case s.Tag == "execve", s.Call == "prctl" && s.Args[0].Num == prSetDumpable:
		case s.Tag == "seccomp" && !shared, atGate(s):
		case len(g.Deny)+len(g.Notify) == 0:
			t.Errorf("after the start gate: %s", s.Call)
		}
	}
}

// checkStep: what opens a file has it closed at execve, and no more than six arguments.
func checkStep(t testing.TB, p *Plan, i int, s Step) {
	t.Helper()
	if len(s.Args) > 6 {
		t.Errorf("step %d has %d arguments", i+1, len(s.Args))
	}
	if !abi.Known(s.Call) {
		t.Errorf("step %d: no such call: %s", i+1, s.Call)
	}
	flag := func(k int, bit uint64) {
		if s.Args[k].Num&bit == 0 {
			t.Errorf("step %d stays open: %s", i+1, p.step(s, i, ""))
		}
	}
	switch s.Call {
	case "openat", "open_tree":
		flag(2, oCloexec)
	case "openat2":
		if binary.LittleEndian.Uint64(s.Args[2].Mem.Bytes)&oCloexec == 0 {
			t.Errorf("step %d stays open: %s", i+1, p.step(s, i, ""))
		}
	case "fsopen":
		flag(1, fsopenCloexec)
	case "fsmount":
		flag(1, fsmountCloexec)
	case "socket":
		flag(1, sockCloexec)
	}
}

// checkNames: once the root filesystem is there, no name inside it is looked up but by openat2 beneath
// $root, or as a single component that is not followed; and names of the host are those that the spec
// and the options gave, before the pivot.
func checkNames(t testing.TB, p *Plan, s *specs.Spec, g given) {
	t.Helper()
	trusted := map[string]bool{"/dev/null": true, "/proc/kcore": true, "/proc/self/fd/900": true, "/proc/self/timens_offsets": true, "/proc/self/ns/time_for_children": true, "/sys": true, "/sys/fs/cgroup": true}
	if g.Join == nil {
		for _, m := range s.Mounts {
			trusted[m.Source] = true
		}
		for _, d := range append(standardDevices, device{}) {
			trusted[d.path] = true
		}
		for _, d := range s.Linux.Devices {
			trusted[d.Path] = true
		}
		for _, n := range s.Linux.Namespaces {
			trusted[n.Path] = true
		}
		for _, dir := range g.Groups {
			trusted[dir] = true
		}
		for _, l := range g.Root.Layers {
			trusted[l.Bind] = true
		}
		trusted[g.Root.Path] = true
		if s.Root != nil {
			trusted[s.Root.Path] = true
		}
	}
	root := slices.IndexFunc(p.Child, func(s Step) bool { return s.Into != NoSlot && p.Names[s.Into] == "root" })
	if root < 0 {
		return // the parent opened it, or nothing is mounted
	}
	pivoted := false
	for i, step := range p.Child[root+1:] {
		switch step.Call {
		case "pivot_root", "chroot":
			pivoted = true
			continue
		case "execve", "execveat", "symlinkat", "umount2", "fsopen", "fsconfig", "write", "sethostname", "setdomainname", "keyctl":
			if step.Call != "symlinkat" {
				continue
			}
			step.Args = step.Args[1:] // the first is text
		case "mount":
			step.Args = []Arg{{Num: uint64(0xffffffffffffff9c)}, step.Args[1]}
		}
		for k, a := range step.Args {
			if a.Kind != ArgMem || k == 0 || !strings.HasSuffix(string(a.Mem.Bytes), "\x00") {
				continue
			}
			name := strings.TrimSuffix(string(a.Mem.Bytes), "\x00")
			dir := step.Args[k-1]
			at := p.Describe(root + 1 + i)
			switch {
			case strings.Contains(name, "\x00"): // memory, not a name
			case step.Call == "openat2":
				if how := binary.LittleEndian.Uint64(step.Args[2].Mem.Bytes[16:]); how&(resolveInRoot|resolveBeneath) == 0 {
					t.Errorf("openat2 without bounds: %s", at)
				}
			case dir.Kind == ArgNum && !strings.HasPrefix(name, "/"):
				if strings.Contains(name, "/") || pivoted && name != "." {
					t.Errorf("a name relative to the working directory: %s", at)
				}
			case dir.Kind == ArgNum:
				if !trusted[name] && !(name == "/" && (pivoted || step.Call == "mount" || step.Call == "move_mount")) {
					t.Errorf("%q is no path of the host that was given: %s", name, at)
				}
				if pivoted && name != "/" {
					t.Errorf("a path of the host after the pivot: %s", at)
				}
			case strings.Contains(name, "/") && !strings.HasPrefix(name, "thread-self/attr/"):
				t.Errorf("a name that is looked up: %s", at)
			case step.Call == "openat" && name != "." && !strings.HasPrefix(name, "thread-self/attr/") && name != "ptmx" && step.Args[2].Num&0x20000 == 0:
				t.Errorf("a name that is followed: %s", at)
			}
		}
	}
}

// TestRandomSpecs compiles many containers of all kinds, and holds each plan to what is true of all.
func TestRandomSpecs(t *testing.T) {
	compiled, refused := 0, 0
	for seed := range int64(1000) {
		r := rand.New(rand.NewSource(seed))
		s, g, f := randomCase(t, r)
		if r.Intn(4) == 0 {
			g.Join = []string{"mount", "pid", "network", "user"}[:r.Intn(5)]
		}
		p, err := compile(t, s, g, f)
		if err != nil {
			refused++
			continue
		}
		compiled++
		checkPlan(t, p, s, g)
		again, err := compile(t, s, g, f)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("seed %d: a second plan differs (%v)", seed, err)
		}
		if t.Failed() {
			text, _ := json.Marshal(s)
			t.Fatalf("seed %d: %s\n%s", seed, text, p)
		}
	}
	if compiled < 300 || refused < 50 {
		t.Errorf("%d compiled, %d refused: the cases say too little", compiled, refused)
	}
}

// randomCase is Docker's container with some things otherwise.
func randomCase(t testing.TB, r *rand.Rand) (*specs.Spec, given, facts.Facts) {
	s, f := dockerSpec(t), machine()
	g := given{Options: Options{ID: "a0c9", Root: hostRoot(), Groups: v1Groups}}
	maybe := func(one int, do func()) {
		if r.Intn(one) == 0 {
			do()
		}
	}
	drop := func(typ specs.LinuxNamespaceType) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == typ })
	}
	number := func(n int) *uint32 { v := uint32(n); return &v }
	pick := func(list ...string) string { return list[r.Intn(len(list))] }

	maybe(3, func() { g.Root = Root{Path: "/store/root"} })
	maybe(4, func() {
		g.Root.Layers = append(g.Root.Layers, Layer{Target: "/boot", Bind: "/boot", ReadOnly: true, Flags: []string{"nosuid"}},
			Layer{Target: "/run", Dir: true, Cover: true}, Layer{Target: "/l", Link: "usr"}, Layer{Target: "/f", File: []byte("x"), UID: 5}, Layer{Target: "/home", Lower: []string{"/home"}})
		if g.Root.Path != "" {
			g.Root = hostRoot()
		}
	})
	maybe(4, func() {
		g.Root = Root{Scratch: "/state/scratch", Layers: []Layer{{Target: "/", Dir: true}, {Target: "/usr", Lower: []string{"/usr"}}, {Target: "/bin", Link: "usr/bin"}}}
	})
	maybe(3, func() { s.Root.Readonly = true })
	maybe(3, func() {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{4}, Umask: number(0o77)}
	})
	maybe(3, func() { s.Process.NoNewPrivileges = true })
	maybe(3, func() { s.Process.Terminal = true; s.Process.ConsoleSize = &specs.Box{Height: 24, Width: 80} })
	maybe(4, func() { s.Process.Cwd = pick("/srv", "/a/b/c", "/proc/self", "/..") })
	maybe(4, func() { s.Process.Args = []string{pick("/bin/true", "./x", "", "a b")} })
	maybe(4, func() { s.Process.Env = nil })
	maybe(4, func() {
		s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"}
		s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"}
	})
	maybe(8, func() { s.Process.Capabilities = nil })
	maybe(4, func() {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: pick("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_WHAT"), Soft: 1, Hard: 2}}
	})
	maybe(6, func() { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 3} })
	for range r.Intn(4) {
		m := specs.Mount{Destination: pick("/data", "/new/a/b", "/dev/x", "/etc/passwd", "/proc/cpuinfo", "/proc/x", "/dev/shm", "/sys/fs/cgroup/x", "/"), Type: "bind", Source: pick("/srv", "/etc/hosts"),
			Options: []string{pick("rbind", "bind"), pick("rprivate", "rslave", "shared", "unbindable"), pick("ro", "rw", "nosuid", "rro", "noatime", "x=y")}}
		maybe(3, func() {
			m.Type, m.Source, m.Options = "tmpfs", "tmpfs", []string{pick("ro", "rw"), pick("mode=700", "size=1m", "sync"), pick("noswap", "noexec")}
		})
		s.Mounts = append(s.Mounts, m)
	}
	maybe(5, func() {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == pick("/dev", "/proc", "/sys", "/dev/pts") })
	})
	maybe(6, func() {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rbind"}})
	})
	maybe(4, func() {
		s.Linux.Devices = []specs.LinuxDevice{{Path: pick("/dev/kvm", "/dev/dri/card0", "/dev/null"), Type: pick("c", "b", "p", "?"), Major: 10, Minor: 232, UID: number(3)}}
	})
	for _, typ := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.TimeNamespace} {
		maybe(6, func() { drop(typ) })
		maybe(8, func() {
			drop(typ)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: typ, Path: "/proc/7/ns/x"})
		})
	}
	maybe(2, func() { s.Linux.Sysctl = nil })
	maybe(3, func() { s.Hostname = "" })
	maybe(3, func() {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	})
	maybe(3, func() {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
		maybe(2, func() { s.Linux.UIDMappings[0] = specs.LinuxIDMapping{HostID: 100000, Size: 65536} })
		s.Linux.GIDMappings = s.Linux.UIDMappings
		maybe(2, func() { f.UID, f.GID, f.Caps.Effective, f.Caps.Permitted = 1000, 1000, 0, 0; g.Groups = nil })
	})
	maybe(6, func() {
		if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace }) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/7/ns/x"})
			g.DenyGroups = r.Intn(2) == 0
		}
	})
	maybe(4, func() { s.Linux.RootfsPropagation = pick("shared", "rslave", "private", "unbindable") })
	maybe(8, func() {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = []string{"/etc/shadow", "/proc/keys"}, []string{"/etc", "/proc/sys/kernel"}
	})
	maybe(8, func() { s.Linux.MaskedPaths = nil })
	maybe(8, func() { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 5}} })
	maybe(3, func() { g.Deny = []string{pick("clone", "setsid", "mount", "execve", "prctl", "ioctl")} })
	maybe(6, func() { g.Notify = []string{pick("mkdir", "write", "prctl")} })
	maybe(6, func() { g.NoPivot = true })
	maybe(6, func() { g.Network = true })
	maybe(6, func() { g.Init = true })
	maybe(6, func() { g.Inherit = 2 })
	maybe(6, func() { g.NoKeyring = true })
	maybe(3, func() { g.DieWithParent = true })
	maybe(3, func() { g.ChownStdio = [3]bool{true, false, true} })
	maybe(5, func() { f.Features.MountSetattr = false })
	maybe(5, func() { f.Features.CloseRangeCloexec = false })
	maybe(8, func() { f.Kernel = facts.Version{Major: 5, Minor: 10} })
	maybe(4, func() {
		f.Cgroup.Mode, f.Cgroup.Hierarchies = facts.CgroupV2, []facts.Hierarchy{{Mount: "/sys/fs/cgroup", V2: true}}
		if g.Groups != nil {
			g.Groups = []string{"/sys/fs/cgroup/a0c9"}
		}
	})
	return s, g, f
}

// TestKernelNumbers compares the numbers that plans are made of with those of package abi.
func TestKernelNumbers(t *testing.T) {
	dir, nofollow := openBits(abi.X86_64)
	for name, v := range map[string]uint64{
		"O_DIRECTORY": dir, "O_NOFOLLOW": nofollow, "O_CLOEXEC": oCloexec, "O_PATH": oPath, "O_CREAT": oCreat, "O_EXCL": oExcl, "O_NOCTTY": oNoctty, "O_WRONLY": oWronly, "O_RDWR": oRdwr,
		"AT_SYMLINK_NOFOLLOW": atSymlinkNoFollow, "AT_RECURSIVE": atRecursive, "AT_EMPTY_PATH": atEmptyPath,
		"RESOLVE_NO_XDEV": resolveNoXdev, "RESOLVE_NO_MAGICLINKS": resolveNoMagiclinks, "RESOLVE_NO_SYMLINKS": resolveNoSymlinks, "RESOLVE_BENEATH": resolveBeneath, "RESOLVE_IN_ROOT": resolveInRoot,
		"MS_RDONLY": msRdonly, "MS_NOSUID": msNosuid, "MS_NODEV": msNodev, "MS_NOEXEC": msNoexec, "MS_REMOUNT": msRemount, "MS_BIND": msBind, "MS_MOVE": msMove, "MS_REC": msRec,
		"MS_PRIVATE": msPrivate, "MS_SLAVE": msSlave, "MS_SHARED": msShared, "MS_UNBINDABLE": msUnbindable, "MS_NOATIME": msNoatime, "MS_NODIRATIME": msNodiratime, "MS_STRICTATIME": msStrictatime,
		"MNT_DETACH": mntDetach, "FSOPEN_CLOEXEC": fsopenCloexec, "FSMOUNT_CLOEXEC": fsmountCloexec, "FSCONFIG_SET_STRING": fsconfigString, "FSCONFIG_CMD_CREATE": fsconfigCreate,
		"OPEN_TREE_CLONE": openTreeClone, "OPEN_TREE_CLOEXEC": openTreeCloexec, "MOVE_MOUNT_F_EMPTY_PATH": moveFromFD, "MOVE_MOUNT_T_EMPTY_PATH": moveToFD,
		"MOUNT_ATTR_RDONLY": attrRdonly, "MOUNT_ATTR_NOSUID": attrNosuid, "MOUNT_ATTR_NODEV": attrNodev, "MOUNT_ATTR_NOEXEC": attrNoexec, "MOUNT_ATTR_NOATIME": attrNoatime,
		"MOUNT_ATTR_STRICTATIME": attrStrictatime, "MOUNT_ATTR_NODIRATIME": attrNodiratime, "MOUNT_ATTR_NOSYMFOLLOW": attrNosymfollow, "CLOSE_RANGE_CLOEXEC": closeRangeCloexec,
		"CLONE_NEWNS": newNS, "CLONE_NEWCGROUP": newCgroup, "CLONE_NEWUTS": newUTS, "CLONE_NEWIPC": newIPC, "CLONE_NEWUSER": newUser, "CLONE_NEWPID": newPID, "CLONE_NEWNET": newNet, "CLONE_NEWTIME": newTime,
		"CLONE_PARENT": cloneParent, "SIGKILL": sigKill, "SIGCHLD": sigChld, "PR_SET_PDEATHSIG": prSetPdeathsig, "PR_SET_DUMPABLE": prSetDumpable, "PR_SET_KEEPCAPS": prSetKeepcaps,
		"PR_CAPBSET_DROP": prCapbsetDrop, "PR_SET_NO_NEW_PRIVS": prSetNoNewPrivs, "PR_CAP_AMBIENT": prCapAmbient, "PR_CAP_AMBIENT_RAISE": ambientRaise, "PR_CAP_AMBIENT_CLEAR_ALL": ambientClear,
		"SECCOMP_SET_MODE_FILTER": seccompSetFilter, "SECCOMP_FILTER_FLAG_NEW_LISTENER": flagNewListener, "KEYCTL_JOIN_SESSION_KEYRING": keyctlJoinSession, "KEYCTL_SETPERM": keyctlSetPerm,
		"TIOCSCTTY": tiocsctty, "TIOCSWINSZ": tiocswinsz, "TIOCSPTLCK": tiocsptlck, "TIOCGPTPEER": tiocgptpeer, "AF_INET": afInet, "SOCK_DGRAM": sockDgram, "SOCK_CLOEXEC": sockCloexec,
		"S_IFCHR": sIFCHR, "S_IFBLK": sIFBLK, "S_IFIFO": sIFIFO,
	} {
		if want, ok := abi.Const(name); !ok || want != v {
			t.Errorf("%s is %#x here and %#x (%v) in package abi", name, v, want, ok)
		}
	}
	for i, name := range rlimits {
		if want, ok := abi.Const("RLIMIT_" + name); !ok || want != uint64(i) {
			t.Errorf("RLIMIT_%s is %d here and %d in package abi", name, i, want)
		}
	}
	for e, name := range map[abi.Errno]string{e2big: "E2BIG", enoexec: "ENOEXEC", eagain: "EAGAIN", ebusy: "EBUSY", eexist: "EEXIST", enodev: "ENODEV",
		enotdir: "ENOTDIR", enospc: "ENOSPC", erofs: "EROFS", eloop: "ELOOP"} {
		if e.String() != name {
			t.Errorf("%s is %v", name, e)
		}
	}
	if got := abi.ARM64.Flags("open", func() uint64 { d, n := openBits(abi.ARM64); return d | n }()); got != "O_RDONLY|O_DIRECTORY|O_NOFOLLOW" {
		t.Errorf("on aarch64 O_DIRECTORY and O_NOFOLLOW are %s", got)
	}
}

// FuzzCompile reads any config.json: no plan, or one that holds.
func FuzzCompile(f *testing.F) {
	data, err := os.ReadFile("testdata/docker.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, uint64(0))
	for seed := range int64(20) {
		s, _, _ := randomCase(f, rand.New(rand.NewSource(seed)))
		text, _ := json.Marshal(s)
		f.Add(text, uint64(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte, how uint64) {
		var s specs.Spec
		if json.Unmarshal(data, &s) != nil {
			return
		}
		_, g, m := randomCase(t, rand.New(rand.NewSource(int64(how%64))))
		if p, err := compile(t, &s, g, m); err == nil {
			checkPlan(t, p, &s, g)
		} else if strings.TrimSpace(err.Error()) == "" {
			t.Error("an error without words")
		}
		g.Join = []string{"mount", "pid"}
		if p, err := compile(t, &s, g, m); err == nil {
			checkPlan(t, p, &s, g)
		}
	})
}
