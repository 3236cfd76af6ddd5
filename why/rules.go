package why

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
)

// Rule is one check of the kernel's.
//
// Args are tests of arguments, all of which must hold: "0=A|B" (is one of), "0!=A", "0&A|B" (has
// any of these bits), "0!&A" (has none), "1/15=A" (of these bits), "@GLOB|GLOB" (the path that the
// call names; a last ** matches any depth), "s2=A|B*" (a string argument).
//
// If are conditions on the scene, all of which must hold: a sysctl ("kernel.dmesg_restrict>=1"), a
// limit that is finite or zero ("rlimit:memlock", "rlimit:memlock=0"), one that is known to be finite
// ("limited:as"), "yama>=1", "kernel<5.11", or a
// word of conditions. "?word" is one that neither arguments nor scene can show; the language files
// say it as when.word.
//
// Caps lift the check: any of "A|B", all of "A+B".
type Rule struct {
	Calls  string // by name
	Args   string
	If     string
	Caps   string
	In     Where  // the user namespace in which Caps are asked for
	Errno  string // what the kernel answers; several where paths differ; none: nothing fails
	Layer  Layer  // who is named for it
	Code   Code
	Gates  string // what else may say no there
	Since  string // the first release that checks it; "": older than 3.0, or always
	Source string
}

// Where is the user namespace in which the kernel looks for a capability.
type Where uint8

// The places. One who holds a capability in a user namespace holds it in all that descend from it.
const (
	InInit   Where = 1 + iota // the machine's first: no container in a user namespace has it
	InOwn                     // the caller's
	InMnt                     // the one that owns the mount namespace
	InNet                     // … the network namespace
	InUTS                     // … the UTS namespace
	InIPC                     // … the IPC namespace
	InPID                     // … the pid namespace
	InTarget                  // that of the process, or namespace, that it is done to
	InParent                  // the parent of the one that is set up
	InInode                   // the caller's, and the file's owner must be mapped there
	InSB                      // the one that the filesystem was mounted in
)

var whereNames = [...]string{
	InInit: "init", InOwn: "own", InMnt: "mnt", InNet: "net", InUTS: "uts", InIPC: "ipc", InPID: "pid",
	InTarget: "target", InParent: "parent", InInode: "inode", InSB: "sb",
}

// String is a short word for it, which the language files explain as where.WORD.
func (w Where) String() string { return whereNames[w] }

// Rules returns the table of what the kernel checks. It must not be changed.
func Rules() []Rule { return rules }

// A truth is yes, no, or not known.
type truth int8

const (
	no      truth = -1
	unknown truth = 0
	yes     truth = 1
)

func (t truth) and(u truth) truth { return min(t, u) }

func (t truth) not() truth { return -t }

func known(b bool) truth {
	if b {
		return yes
	}
	return no
}

// question is a call as the rules are asked about it: which, with what arguments, by whom.
type question struct {
	call    string
	arch    abi.Arch
	args    [6]uint64
	known   [6]bool
	strings map[int]string
	file    *event.File
	path    string
	errno   abi.Errno // 0: not known
	who     *caps.State
	port    int  // bind: 0 if not known
	seen    bool // strings are what a watcher read: structs, too
}

// names are the words of a space-separated list.
func names(s string) []string { return strings.Fields(s) }

// about lists the rules of a call, in the table's order.
func about(call string) []*Rule {
	var out []*Rule
	for i := range rules {
		if hasWord(rules[i].Calls, call) {
			out = append(out, &rules[i])
		}
	}
	return out
}

func hasWord(list, w string) bool {
	for list != "" {
		i := strings.Index(list, w)
		if i < 0 {
			return false
		}
		end := i + len(w)
		if (i == 0 || list[i-1] == ' ') && (end == len(list) || list[end] == ' ') {
			return true
		}
		list = list[end:]
	}
	return false
}

// answers says whether the rule can answer with an errno; 0 is any.
func (r *Rule) answers(e abi.Errno) bool { return e == 0 || hasWord(r.Errno, e.String()) }

// anyOf and allOf are what Caps asks for.
func (r *Rule) capSet() (set caps.Set, all bool) {
	for _, w := range strings.FieldsFunc(r.Caps, func(c rune) bool { return c == '|' || c == '+' }) {
		if c, err := caps.Parse(w); err == nil {
			set = set.Add(c)
		}
	}
	return set, strings.Contains(r.Caps, "+")
}

// matches says whether a call's arguments are those of the rule.
func (r *Rule) matches(q *question) truth {
	t := yes
	for test := range strings.SplitSeq(r.Args, ",") {
		if test != "" {
			t = t.and(q.test(test))
		}
	}
	return t
}

// test decides one test of arguments.
func (q *question) test(s string) truth {
	switch s[0] {
	case '@':
		// What a descriptor stands for was looked at after the call: it may be another file by now.
		if q.path == "" || q.seen && !strings.HasPrefix(q.path, "/") {
			return unknown
		}
		return known(slices.ContainsFunc(strings.Split(s[1:], "|"), func(g string) bool { return glob(g, q.path) }))
	case 's':
		n, list, _ := strings.Cut(s[1:], "=")
		v, ok := q.strings[int(n[0]-'0')]
		if !ok {
			return unknown
		}
		return known(slices.ContainsFunc(strings.Split(list, "|"), func(w string) bool {
			if p, star := strings.CutSuffix(w, "*"); star {
				return strings.HasPrefix(v, p)
			}
			return v == w
		}))
	}
	i := int(s[0] - '0')
	s = s[1:]
	if !q.known[i] {
		return unknown
	}
	v := q.value(i)
	if rest, ok := strings.CutPrefix(s, "/"); ok {
		mask, list, _ := strings.Cut(rest, "=")
		m, _ := number(mask)
		return known(oneOf(v&m, list))
	}
	op := strings.TrimRight(s[:2], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
	list := s[len(op):]
	switch op {
	case "=":
		return known(oneOf(v, list))
	case "!=":
		return known(!oneOf(v, list))
	case "&":
		return known(v&bits(list) != 0)
	}
	return known(v&bits(list) == 0) // "!&"
}

// value is an argument as the kernel's entry takes it: an int has 32 bits.
func (q *question) value(i int) uint64 {
	v := q.args[i]
	if params := abi.Params(q.call); i < len(params) && params[i].Bits() == 32 {
		v = uint64(uint32(v))
	}
	return v
}

// number reads a constant's name or a number.
func number(s string) (uint64, bool) {
	if v, ok := abi.Const(s); ok {
		return v, true
	}
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v), true
	}
	v, err := strconv.ParseUint(s, 0, 64)
	return v, err == nil
}

func oneOf(v uint64, list string) bool {
	for w := range strings.SplitSeq(list, "|") {
		if n, ok := number(w); ok && (n == v || int64(n) < 0 && uint64(uint32(n)) == v) {
			return true
		}
	}
	return false
}

func bits(list string) (all uint64) {
	for w := range strings.SplitSeq(list, "|") {
		n, _ := number(w)
		all |= n
	}
	return all
}

// glob matches a path; a pattern that ends in /** matches all beneath.
func glob(pattern, name string) bool {
	if dir, deep := strings.CutSuffix(pattern, "/**"); deep {
		return strings.HasPrefix(name, dir+"/")
	}
	ok, _ := path.Match(pattern, name)
	return ok
}

// holds says whether the rule's conditions on the scene are met, and which words were left open.
func (r *Rule) holds(q *question, s *Scene) (t truth, open []string, met int) {
	t = yes
	for _, term := range names(r.If) {
		u := s.term(term, q)
		if u == unknown {
			open = append(open, strings.TrimPrefix(term, "?"))
		}
		if u == yes {
			met++
		}
		t = t.and(u)
	}
	return t, open, met
}

// term decides one word of a condition.
func (s *Scene) term(term string, q *question) truth {
	word, negated := strings.CutPrefix(term, "!")
	if negated {
		return s.term(word, q).not()
	}
	if word[0] == '?' {
		return s.open(word[1:], q)
	}
	if name, ok := strings.CutPrefix(word, "rlimit:"); ok {
		name, zero := strings.CutSuffix(name, "=0")
		l, there := s.Rlimits[name]
		switch {
		case !there:
			return unknown
		case zero:
			return known(l.Soft == 0)
		}
		return known(l.Soft >= 0)
	}
	if name, ok := strings.CutPrefix(word, "limited:"); ok { // only where that is known: any process may meet ENOMEM
		l, there := s.Rlimits[name]
		return known(there && l.Soft >= 0)
	}
	if flag, ok := strings.CutPrefix(word, "flag:"); ok {
		return s.mountFlag(flag, q)
	}
	if v, ok := strings.CutPrefix(word, "kernel<"); ok {
		than, _ := facts.ParseVersion(v)
		if s.Facts.Kernel == (facts.Version{}) {
			return unknown
		}
		return known(s.Facts.Kernel.Less(than))
	}
	if i := strings.IndexAny(word, "=>"); i > 0 {
		return s.compare(word[:i], word[i:i+2], word[i+2:])
	}
	return conditions[word](s, q)
}

// compare holds a sysctl against a number. One that a machine whose sysctls were read does not
// have gates nothing.
func (s *Scene) compare(name, op, want string) truth {
	have := 0
	if name == "yama" {
		if have = s.Facts.Yama; have < 0 {
			return no
		}
		if v, ok := s.sysctl("kernel.yama.ptrace_scope"); ok {
			have, _ = strconv.Atoi(v)
		} else if len(s.Facts.LSMs) == 0 && have == 0 {
			return unknown
		}
	} else {
		v, ok := s.sysctl(name)
		if !ok {
			if s.Facts.Deep {
				return no
			}
			return unknown
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return unknown
		}
		have = n
	}
	n, _ := strconv.Atoi(want)
	if op == "==" {
		return known(have == n)
	}
	return known(have >= n)
}

// mountFlag says whether the mount that holds what the call is about has a flag.
func (s *Scene) mountFlag(flag string, q *question) truth {
	if q.file != nil && q.file.Mount != "" {
		return known(slices.Contains(q.file.Flags, flag))
	}
	if q.path == "" {
		return unknown
	}
	if p, ok := s.place(q.path); ok {
		if slices.Contains(p.Flags, flag) {
			return yes
		}
		return no
	}
	return unknown
}

// place is the mount that holds a path.
func (s *Scene) place(name string) (best Place, ok bool) {
	for _, p := range s.Mounts {
		if (name == p.Path || strings.HasPrefix(name, strings.TrimSuffix(p.Path, "/")+"/")) && len(p.Path) >= len(best.Path) {
			best, ok = p, true
		}
	}
	return best, ok
}

// covered is a mount of the workload's own over part of /proc: a volume does as a mask does.
func (s *Scene) covered() string {
	for _, p := range s.Mounts {
		if strings.HasPrefix(p.Path, "/proc/") {
			return p.Path
		}
	}
	return ""
}

// beneath says whether a path is one of a list or lies beneath one.
func beneath(list []string, name string) string {
	for _, p := range list {
		if name == p || strings.HasPrefix(name, p+"/") {
			return p
		}
	}
	return ""
}

// conditions are the words of Rule.If that stand for something a scene can show.
var conditions = map[string]func(*Scene, *question) truth{
	"userns": func(s *Scene, _ *question) truth { return known(!s.UserNS.Initial) },
	"chroot": func(s *Scene, _ *question) truth { return known(s.Chroot) },
	"nnp":    func(s *Scene, q *question) truth { return known(q.who.NoNewPrivs) },
	"masked": func(s *Scene, _ *question) truth {
		return known(len(s.Masked)+len(s.ReadOnly)+len(s.Facts.Masked) > 0 || s.covered() != "")
	},
	"setgroups-denied": func(s *Scene, _ *question) truth {
		if s.SetgroupsDenied {
			return yes
		}
		return known(!s.UserNS.Initial && len(s.UserNS.GIDs) == 0)
	},
	"unmapped": func(s *Scene, _ *question) truth {
		return known(!s.UserNS.Initial && len(s.UserNS.UIDs) == 0)
	},
	"apparmor": func(s *Scene, _ *question) truth {
		switch {
		case s.AppArmor != "" && s.AppArmor != "unconfined":
			return yes
		case s.LSMKnown && (s.AppArmor == "unconfined" || len(s.Facts.LSMs) > 0 && !slices.Contains(s.Facts.LSMs, "apparmor")):
			return no
		}
		return unknown
	},
	"selinux": func(s *Scene, _ *question) truth {
		switch {
		case s.SELinux != "":
			return unknown // its policy is not known here
		case s.LSMKnown && len(s.Facts.LSMs) > 0 && !slices.Contains(s.Facts.LSMs, "selinux"):
			return no
		}
		return unknown
	},
	"lockdown": func(s *Scene, _ *question) truth {
		if v, ok := s.sysctl("lockdown"); ok {
			return known(v != "none" && v != "")
		}
		if len(s.Facts.LSMs) > 0 && !slices.Contains(s.Facts.LSMs, "lockdown") {
			return no
		}
		return unknown
	},
	"rt-group": func(s *Scene, _ *question) truth {
		switch s.Realtime {
		case NoBudget:
			return yes
		case SomeBudget:
			return no
		}
		return unknown
	},
	"in-masked": func(s *Scene, q *question) truth {
		if q.path == "" {
			return unknown
		}
		if at := beneath(s.Masked, q.path); at == "" || at == q.path {
			return no // a file that is masked is there, and empty
		}
		return unknown // it may not be on this machine at all
	},
	"ping-range": pingRange,
	"low-port":   lowPort,
	"device":     deviceDenied,
	"device-file": func(s *Scene, q *question) truth {
		if q.file != nil && q.file.Mode != 0 {
			t := q.file.Mode & 0xf000
			return known(t == 0x2000 || t == 0x6000)
		}
		if strings.HasPrefix(q.path, "/dev/") {
			return yes
		}
		return unknown
	},
	"file-caps": func(s *Scene, q *question) truth {
		if q.file == nil {
			return unknown
		}
		_, err := q.who.Exec(asFile(q.file))
		return known(err != nil)
	},
}

// open decides a word that stands for what nobody can see beforehand, where a watcher has seen it.
func (s *Scene) open(word string, q *question) truth {
	if t := s.shown(word, q); t != unknown {
		return t
	}
	f := q.file
	switch word {
	case "exec-mode":
		if f != nil && f.Mode != 0 && (f.Mode&0xf000 != 0x8000 || f.Mode&0o111 == 0) {
			return yes // a directory, or nobody may execute it
		}
	case "unmapped-id":
		ids := s.UserNS.UIDs
		if strings.Contains(q.call, "gid") {
			ids = s.UserNS.GIDs
		}
		if s.UserNS.Initial {
			return no // every id is mapped there
		}
		if strings.HasPrefix(q.call, "set") && q.call != "setgroups" && q.known[0] {
			id := uint32(q.args[0])
			return known(!slices.ContainsFunc(ids, func(r facts.IDRange) bool { return id >= r.Inside && id-r.Inside < r.Size }))
		}
	case "foreign-ns":
		// Outside any container an ordinary user meets no namespaces but those of user namespaces.
		if q.who.EUID != 0 && q.who.Bounding.Includes(existing(caps.All, s.Facts.Kernel)) {
			return yes
		}
	case "not-namespaced":
		if q.path != "" {
			return known(!namespaced(q.path))
		}
	case "not-owner":
		if f != nil && f.Mode != 0 && f.UID >= 0 {
			return known(f.UID != q.who.FSUID)
		}
	case "not-passed":
		switch made := f != nil && f.Mode != 0; {
		case q.path == "" || s.Privileged || made:
		case s.passed(q.path):
			return no
		case slices.ContainsFunc(s.Mounts, func(p Place) bool { return p.Path == "/dev" && p.Type == "tmpfs" }):
			return yes
		}
	case "on-overlay":
		if f != nil && f.FS != "" {
			return known(f.FS == "overlay")
		}
	case "cpus-outside":
		if s.Cpuset {
			return yes
		}
	case "read-only":
		if s.RootRO || beneath(s.ReadOnly, q.path) != "" {
			return yes
		}
		return s.mountFlag("ro", q)
	}
	return unknown
}

// namespaced says that a file under /proc/sys belongs to a namespace that a container may own.
func namespaced(path string) bool {
	return slices.ContainsFunc(strings.Fields("net/ fs/mqueue/ user/ kernel/shm kernel/msg kernel/sem kernel/domainname kernel/hostname"),
		func(p string) bool { return strings.HasPrefix(path, "/proc/sys/"+p) })
}

// pingRange: nobody's group is in net.ipv4.ping_group_range (ping_init_sock, net/ipv4/ping.c).
func pingRange(s *Scene, q *question) truth {
	v, ok := s.sysctl("net.ipv4.ping_group_range")
	f := strings.Fields(v)
	if !ok || len(f) != 2 {
		return unknown
	}
	lo, _ := strconv.ParseUint(f[0], 10, 32)
	hi, _ := strconv.ParseUint(f[1], 10, 32)
	if lo > hi {
		return yes
	}
	if lo == 0 && hi >= 1<<31-2 {
		return no
	}
	return unknown
}

// lowPort: the port is below net.ipv4.ip_unprivileged_port_start.
func lowPort(s *Scene, q *question) truth {
	start := 1024
	if v, ok := s.sysctl("net.ipv4.ip_unprivileged_port_start"); ok {
		start, _ = strconv.Atoi(v)
		if start == 0 {
			return no
		}
	}
	if q.port == 0 {
		return unknown
	}
	return known(q.port < start)
}

// passed says that a node beneath /dev is there: given to the container, or one of those that every container has
// (default devices and symbolic links, runtime-spec, config-linux.md).
func (s *Scene) passed(path string) bool {
	rest, _ := strings.CutPrefix(path, "/dev/")
	return slices.Contains(s.Passed, path) || beneath([]string{"/dev/shm", "/dev/pts", "/dev/mqueue", "/dev/fd"}, path) != "" ||
		hasWord("null zero full random urandom tty console ptmx core stdin stdout stderr", rest)
}

// deviceDenied: the device rules do not let this node be used.
func deviceDenied(s *Scene, q *question) truth {
	if s.Devices == nil {
		if s.Privileged {
			return no
		}
		return unknown
	}
	kind, dev := "c", uint64(0)
	switch {
	case q.file != nil && q.file.Mode&0xf000 == 0x2000:
		dev = q.file.Dev
	case q.file != nil && q.file.Mode&0xf000 == 0x6000:
		kind, dev = "b", q.file.Dev
	case strings.HasPrefix(q.call, "mknod"):
		i := 1
		if q.call == "mknodat" {
			i = 2
		}
		if !q.known[i] || !q.known[i+1] {
			return unknown
		}
		dev = q.args[i+1]
		if q.args[i]&0xf000 == 0x6000 {
			kind = "b"
		} else if dev == 0 {
			return no // a whiteout of overlayfs is no device (devcgroup_inode_mknod)
		}
		return known(!s.deviceAllowed(kind, dev, 'm'))
	case q.file == nil && strings.HasPrefix(q.path, "/dev/") && s.passed(q.path):
		return no
	default:
		return unknown
	}
	return known(!s.deviceAllowed(kind, dev, 'r') || !s.deviceAllowed(kind, dev, 'w'))
}

// major and minor take a device number apart as the kernel's user interface has it (new_decode_dev,
// include/linux/kdev_t.h; the two coincide for all small numbers with makedev's).
func major(dev uint64) int64 { return int64(dev >> 8 & 0xfff) }
func minor(dev uint64) int64 { return int64(dev&0xff | dev>>12&0xfff00) }

// deviceAllowed walks the rules as the runtimes do: the last that matches decides.
func (s *Scene) deviceAllowed(kind string, dev uint64, access byte) bool {
	allowed := false
	for _, d := range s.Devices {
		kindFits := d.Type == kind || d.Type == "a" || d.Type == ""
		number := func(want *int64, have int64) bool { return want == nil || *want < 0 || *want == have }
		if kindFits && number(d.Major, major(dev)) && number(d.Minor, minor(dev)) &&
			(d.Access == "" || strings.IndexByte(d.Access, access) >= 0) {
			allowed = d.Allow
		}
	}
	return allowed
}

// asFile is what execve takes from a file.
func asFile(f *event.File) caps.File {
	return caps.File{
		SetUID: f.Mode&0o4000 != 0, SetGID: f.Mode&0o2010 == 0o2010, Owner: f.UID, Caps: f.Caps,
		NoSUID: slices.Contains(f.Flags, "nosuid"),
	}
}

// held says whether the caller has what the rule asks for, where it is asked for. lacking are the
// capabilities that would do and are not effective; foreign says that one is, but not there.
func (r *Rule) held(q *question, s *Scene) (t truth, lacking caps.Set, foreign bool) {
	want, all := r.capSet()
	if want == 0 {
		return no, 0, false
	}
	have := q.who.Effective & want
	lacking = want &^ q.who.Effective
	enough := have != 0
	if all {
		enough = lacking == 0
	}
	if !enough {
		return no, lacking, false
	}
	switch {
	case s.UserNS.Initial || r.In == InOwn:
		return yes, lacking, false
	case r.In == InInit, r.In == InParent:
		return no, lacking, true
	case r.In == InTarget, r.In == InInode, r.In == InSB:
		return unknown, lacking, true
	}
	if s.Owns[r.In.String()] {
		return yes, lacking, false
	}
	return no, lacking, true
}

// since says whether the machine's kernel has the rule.
func (r *Rule) since(v facts.Version) bool {
	if r.Since == "" || v == (facts.Version{}) {
		return true
	}
	least, err := facts.ParseVersion(r.Since)
	return err == nil && v.AtLeast(least)
}

// finding is a rule that may have refused a call.
type finding struct {
	rule    *Rule
	sure    bool     // arguments, conditions and capabilities are all known
	open    []string // conditions that are not
	met     int      // conditions that are known to hold
	lacks   bool     // the capability is known to be missing
	lacking caps.Set
	foreign bool // the capability is held, but not where it is asked for
}

// known is how much of an uncertain finding is known to hold.
func (f finding) known() int {
	if f.sure {
		return 0 // all of it: the kernel's order decides
	}
	n := f.met
	if f.lacks || f.foreign {
		n++
	}
	return n
}

// refusing lists the rules that may refuse a call, certain ones first, then those of whose conditions
// more are met, otherwise in the order in which the kernel asks.
func refusing(q *question, s *Scene) []finding {
	var out []finding
	for _, r := range about(q.call) {
		if !r.answers(q.errno) || !r.since(s.Facts.Kernel) {
			continue
		}
		args := r.matches(q)
		if args == no {
			continue
		}
		cond, open, met := r.holds(q, s)
		if cond == no {
			continue
		}
		held, lacking, foreign := r.held(q, s)
		if held == yes {
			continue
		}
		if args == unknown {
			open = append(open, "arguments")
		}
		want, _ := r.capSet()
		out = append(out, finding{r, args == yes && cond == yes && held == no, open, met, want != 0 && held == no, lacking, foreign})
	}
	slices.SortStableFunc(out, func(a, b finding) int {
		return cmp.Or(cmp.Compare(len(a.open), len(b.open)), cmp.Compare(b.known(), a.known()))
	})
	return out
}
