package document

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"porthole/abi"
	"porthole/caps"
	"porthole/seccomp/compare"
	"porthole/seccomp/profile"
	"porthole/spec"
	"porthole/workload"
	"porthole/workload/dialect"
)

// nobody is a caller with files, and without variables, so that a name alone stays one.
var nobody = Options{Outside: dialect.Outside{Dir: "/home/u", ReadFile: func(name string) ([]byte, error) {
	if name == "/p/a.json" || name == kubeletProfiles+"p/a.json" {
		return []byte(profileText), nil
	}
	return nil, errors.New("open " + name + ": no such file or directory")
}}}

// somewhere is where every file is there.
var somewhere = Options{Outside: dialect.Outside{Dir: "/home/u", ReadFile: func(name string) ([]byte, error) {
	if data, err := nobody.Outside.ReadFile(name); err == nil {
		return data, nil
	}
	return []byte("{}"), nil
}}}

const profileText = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}]}`

const unitProfile = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["ptrace","mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}`

// sameFilter says whether two documents are the same filter.
func sameFilter(t *testing.T, a, b []byte) bool {
	p, _, err := profile.Parse("want", a)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := profile.Parse("got", b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := compare.Diff(compare.Side{Name: "want", Profile: p}, compare.Side{Name: "got", Profile: q}, compare.Options{Machine: abi.X86_64})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same() {
		t.Log(r.Text())
	}
	return r.Same()
}

// made generates workloads: what any dialect can say.
type made struct{ *rand.Rand }

func (g made) yes() bool { return g.IntN(3) == 0 }

func one[T any](g made, from ...T) T { return from[g.IntN(len(from))] }

func (g made) word() string {
	letters := []rune("abcXYZ019_-. ,=:;'\"\\é/$%{}#@!|~*\t$$((")
	var b strings.Builder
	b.WriteByte("abcd1"[g.IntN(5)])
	for range g.IntN(9) {
		b.WriteRune(letters[g.IntN(len(letters))])
	}
	return b.String()
}

func (g made) words() (out []string) {
	for range g.IntN(4) {
		out = append(out, g.word())
	}
	return out
}

func (g made) maybe(s string) string {
	if g.yes() {
		return s
	}
	return ""
}

func (g made) caps() (out []string) {
	for range g.IntN(4) {
		out = append(out, one(g, "ALL", "SYS_PTRACE", "CAP_NET_ADMIN", "chown", "cap_sys_admin", "MKNOD", "KILL", "SETUID"))
	}
	return out
}

func (g made) mount(i int) workload.Mount {
	m := workload.Mount{Target: "/t" + string(rune('a'+i)) + one(g, "", "/x", "/a b", "/a,b", `/q"q`, "/c:d", "/$e%f"), ReadOnly: g.yes(), Refer: "-v"}
	switch g.IntN(3) {
	case 0:
		m.Type, m.Source, m.CreateSource = workload.Bind, "/s"+one(g, "", "/y", "/c,d", "/e:f", "/g h", "/$i%j"), g.yes()
		m.Propagation = g.maybe(one(g, "private", "rprivate", "shared", "rshared", "slave", "rslave"))
		m.NonRecursive = g.yes()
		if m.ReadOnly && !m.NonRecursive {
			m.SubReadOnly = one(g, "", "no", "yes")
		}
		m.Relabel = g.maybe(one(g, "z", "Z"))
		if g.yes() {
			m.Options = []string{"nosuid", "noexec"}
		}
	case 1:
		m.Type, m.NoCopy = workload.Volume, g.yes()
		m.Source = g.maybe(one(g, "vol", "data.1", "Big_Vol"))
	default:
		m.Type = workload.Tmpfs
		if g.yes() {
			m.Size = 1 + g.Int64N(1<<40)
		}
		if g.yes() {
			m.Mode = ptr(uint32(g.IntN(0o10000)))
		}
		if g.yes() {
			m.Options = one(g, []string{"exec"}, []string{"size=1m", "uid=5"}, []string{"exec", "mode=755"})
		}
	}
	return m
}

func (g made) workload() workload.Workload {
	w := workload.Workload{
		Image: one(g, "host", "ubuntu:18.04", "quay.io/a/b@sha256:00", "dir:/x/y", "dir:/x y", "scratch"),
		As:    g.maybe(one(g, "docker:18.09", "docker:20.10.9", "podman", "containerd", "kubernetes")),
		Name:  g.maybe(one(g, "web", "x", "n-1", "Big_One", "a.b")),
		Args:  append([]string{"/bin/" + one(g, "sh", "true", "a b")}, g.words()...),
		Dir:   g.maybe(one(g, "/w", "/w w", "/$w%")), User: g.maybe(one(g, "0", "1000", "1000:5", "0:0", "ana", "ana:users", "7:users")),
		Groups: one(g, nil, []string{"5"}, []string{"44", "7"}, []string{"audio", "9"}), Hostname: g.maybe(one(g, "box", "Box.example", "a-b")),
		TTY: g.yes(), Stdin: g.yes(), Init: g.yes(), StopSignal: g.maybe(one(g, "SIGTERM", "INT", "SIGRTMIN+3", "9")),
		Root: workload.Root{ReadOnly: g.yes()},
		NS: workload.Namespaces{PID: g.maybe("host"), IPC: one(g, "", "", "host", "none", "private"), UTS: g.maybe("host"), User: one(g, "", "", "host", "private"),
			Cgroup: one(g, "", "", "host", "private"), Network: one(g, "", "", "host", "none")},
	}
	if w.NS.UTS == "host" || w.NS.Network == "host" {
		w.Hostname = ""
	}
	s := &w.Security
	s.CapAdd, s.CapDrop, s.Privileged = g.caps(), g.caps(), g.IntN(6) == 0
	s.Seccomp = g.maybe(one(g, "unconfined", "builtin", "/p/a.json", kubeletProfiles+"p/a.json", "SystemCallFilter"))
	switch {
	case strings.HasSuffix(s.Seccomp, ".json"):
		s.SeccompDoc = []byte(profileText)
	case s.Seccomp == "SystemCallFilter":
		s.SeccompDoc = []byte(unitProfile)
	}
	s.AppArmor = g.maybe(one(g, "unconfined", "mine"))
	s.Labels = one(g, nil, nil, []string{"disable"}, []string{"type:t_t"}, []string{"user:u", "level:s0:c1,c2"})
	switch g.IntN(4) {
	case 0:
		s.SystemPaths = "unconfined"
	case 1:
		s.MaskedPaths, s.ReadonlyPaths = one(g, nil, []string{}, []string{"/proc/kcore", "/a b"}), one(g, nil, []string{}, []string{"/proc/sys"})
	}
	for _, b := range []**bool{&s.NoNewPrivs, &s.WritableCgroups} {
		if g.yes() {
			*b = ptr(g.yes())
		}
	}
	if g.yes() {
		w.Entrypoint = one(g, []string{}, []string{"/bin/e"}, []string{"/bin/e", "-x", g.word()})
	}
	if g.yes() {
		w.StopWait = ptr(time.Duration(g.IntN(100)-1) * time.Second)
		w.Labels = map[string]string{"a": g.word(), "org.example/b": "", "c d": "x", "tier": "web"}
	}
	if g.yes() {
		w.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.sem": "1 2 3 4"}
	}
	for i := range g.IntN(4) {
		e := workload.EnvVar{Name: fmt.Sprintf("N%d%s", i, one(g, "", "_x", "a.b"))}
		if !g.yes() {
			e.Value = ptr(g.maybe(g.word()))
		}
		w.Env = append(w.Env, e)
	}
	for i := range g.IntN(4) {
		w.Mounts = append(w.Mounts, g.mount(i))
	}
	for i := range g.IntN(3) {
		w.Devices = append(w.Devices, one(g, workload.Device{Rule: fmt.Sprintf("c %d:* rm", 100+i)},
			workload.Device{Source: "/dev/a", Target: one(g, "/dev/a", "/dev/c d"), Access: one(g, "r", "rw", "mwr")}))
	}
	l := &w.Limits
	if g.yes() {
		l.Memory = 6<<20 + one(g, 0, g.Int64N(1<<40), 64<<20)
		l.MemorySwap = one(g, 0, -1, l.Memory+g.Int64N(1<<20))
	}
	if g.yes() {
		l.NanoCPUs = one(g, 15e8, 1e7+g.Int64N(1e11))
	}
	if g.yes() {
		l.CPUShares = uint64(2 + g.IntN(3000))
	}
	if g.yes() {
		l.PidsLimit, l.OOMScoreAdj = ptr(g.Int64N(100)-1), ptr(g.IntN(2001)-1000)
		l.Ulimits = []workload.Ulimit{{Name: "core", Soft: -1, Hard: -1}, {Name: one(g, "cpu", "as"), Soft: 7, Hard: 7}, {Name: "nofile", Soft: 5, Hard: 5 + g.Int64N(9)}}
	}
	l.CpusetCpus, l.CpusetMems, l.ShmSize = g.maybe("0-1"), g.maybe("0"), one(g, 0, 0, 1+g.Int64N(1<<40))
	return w
}

// less takes out of a workload, in which some mounts, devices and variables are gone already, what was lost. at says where
// each of them stood before.
func less(t *testing.T, w workload.Workload, losses []Loss, at map[string][]int) workload.Workload {
	t.Helper()
	w = clone(w)
	for _, l := range losses {
		if wholeElement.MatchString(l.Path) {
			continue
		}
		v := reflect.ValueOf(&w).Elem()
		for _, step := range steps.FindAllStringSubmatch(l.Path, -1) {
			name, index := step[1], step[2]
			if f := v.FieldByName(name); f.IsValid() {
				v = f
			} else {
				t.Fatalf("the loss %s names no member", l.Path)
			}
			if index == "" {
				continue
			}
			key := index[1 : len(index)-1]
			if v.Kind() == reflect.Map {
				if v.Len() > 0 {
					v.SetMapIndex(reflect.ValueOf(key), reflect.Value{})
				}
				v = reflect.Value{}
				break
			}
			n, err := strconv.Atoi(key)
			if err != nil {
				t.Fatalf("the loss %s", l.Path)
			}
			n = slices.Index(at[name], n)
			if n < 0 || n >= v.Len() {
				v = reflect.Value{}
				break
			}
			v = v.Index(n)
		}
		if v.IsValid() {
			v.SetZero()
		}
	}
	return w
}

var (
	steps        = regexp.MustCompile(`([A-Za-z]+)(\[[^\]]*\])?\.?`)
	wholeElement = regexp.MustCompile(`^(Mounts|Devices|Env)\[\d+\]$`)
)

// without takes out those elements that were lost whole, and says where the others stood.
func without(w workload.Workload, losses []Loss) (workload.Workload, map[string][]int) {
	gone := map[string]bool{}
	for _, l := range losses {
		gone[l.Path] = true
	}
	at := map[string][]int{}
	w = clone(w)
	w.Mounts = those(w.Mounts, "Mounts", gone, at)
	w.Devices = those(w.Devices, "Devices", gone, at)
	w.Env = those(w.Env, "Env", gone, at)
	return w, at
}

func those[T any](all []T, name string, gone map[string]bool, at map[string][]int) (out []T) {
	for i, e := range all {
		if !gone[fmt.Sprintf("%s[%d]", name, i)] {
			out = append(out, e)
			at[name] = append(at[name], i)
		}
	}
	return out
}

// plainly says the same thing in one way, where a dialect has one way alone to say two that mean the same.
func plainly(d string, w workload.Workload) workload.Workload {
	s := &w.Security
	if s.Seccomp == "builtin" {
		s.Seccomp = "" // what it is when nothing is said
	}
	if d == "systemd" || d == "bwrap" || d == "oci" || d == "kube" {
		// Capabilities are said as the set that they come to.
		set := capSet(w)
		s.CapAdd, s.CapDrop = set.Names(), nil
		for _, at := range []*string{&w.NS.IPC, &w.NS.Cgroup} {
			if *at == "private" {
				*at = ""
			}
		}
		if w.NS.User == "host" {
			w.NS.User = ""
		}
	}
	if d == "compose" {
		s.CapAdd, s.CapDrop = once(s.CapAdd), once(s.CapDrop)
	}
	switch d {
	case "systemd", "bwrap", "oci":
		if w.NS.Network == "none" {
			w.NS.Network = "" // of its own with loopback, both
		}
		if w.Entrypoint == nil {
			w.Entrypoint = []string{}
		}
	}
	if d == "oci" {
		if b := s.NoNewPrivs; b != nil && !*b {
			s.NoNewPrivs = nil
		}
		if b := s.WritableCgroups; b != nil && !*b {
			s.WritableCgroups = nil
		}
		if n := w.Limits.OOMScoreAdj; n != nil && *n == 0 {
			w.Limits.OOMScoreAdj = nil
		}
	}
	for i := range w.Mounts {
		w.Mounts[i].Refer = ""
	}
	return w
}

func capSet(w workload.Workload) caps.Set {
	if w.Security.Privileged {
		return caps.All
	}
	set, err := spec.Capabilities("", w.Security.CapAdd, w.Security.CapDrop)
	if err != nil {
		panic(err)
	}
	return set
}

// asSets leaves the order of what has none out of a comparison.
var asSets = cmp.Options{
	cmpopts.SortSlices(func(a, b workload.Mount) bool { return a.Target < b.Target }),
	cmpopts.SortSlices(func(a, b workload.Device) bool { return a.Source+a.Target+a.Rule < b.Source+b.Target+b.Rule }),
	cmpopts.SortSlices(func(a, b workload.Ulimit) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b workload.EnvVar) bool { return a.Name < b.Name }),
	cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "Groups") }, cmpopts.SortSlices(func(a, b string) bool { return a < b })),
	cmp.FilterPath(func(p cmp.Path) bool { return p.String() != "Entrypoint" && !strings.HasSuffix(p.String(), "Paths") }, cmpopts.EquateEmpty()),
}

// What is written is read back to the same workload, less what was named as lost.
func TestRoundTrips(t *testing.T) {
	for _, d := range All() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			g := made{rand.New(rand.NewPCG(1, 2))}
			seen, refused := map[string]int{}, 0
			for range 500 {
				w := g.workload()
				before := fmt.Sprintf("%#v", w)
				text, losses, err := d.Write(w, nobody)
				if fmt.Sprintf("%#v", w) != before {
					t.Fatal("writing changed the workload")
				}
				if err != nil {
					refused++
					if !strings.Contains(err.Error(), ": ") {
						t.Fatalf("%+v: %v", w, err)
					}
					continue
				}
				for _, l := range losses {
					seen[shapeOf(l.Path)]++
				}
				got, readLosses, err := d.Read(text, somewhere)
				if err != nil {
					t.Fatalf("read back: %v\n%s", err, text)
				}
				for _, l := range readLosses {
					if slices.ContainsFunc(losses, func(l Loss) bool { return l.Path == "As" }) {
						break // another engine's defaults are no docker's
					}
					t.Fatalf("of what was written, reading lost %s\n%s", l, text)
				}
				want, at := without(w, losses)
				if want.As == "" || want.As == d.Engine {
					want.As = d.Engine
				}
				if len(want.Mounts) != len(got.Mounts) || len(want.Devices) != len(got.Devices) || len(want.Env) != len(got.Env) {
					t.Fatalf("mounts, devices or variables:\nwant %+v\ngot  %+v\nlost %v\n%s", want, got, losses, text)
				}
				// The elements stand in the same order, but for those that the dialect sorts.
				got = reorder(got, want)
				a, b := less(t, want, losses, at), less(t, got, losses, at)
				a, b = plainly(d.Name, a), plainly(d.Name, b)
				for _, l := range losses {
					if l.Path == "Security.CapAdd" || l.Path == "As" {
						a.Security.CapAdd, b.Security.CapAdd, a.Security.CapDrop, b.Security.CapDrop = nil, nil, nil, nil
					}
					if l.Path == "As" {
						a.As, b.As = "", ""
					}
				}
				if x, y := &a.Security.SeccompDoc, &b.Security.SeccompDoc; len(*x) > 0 && len(*y) > 0 && string(*x) != string(*y) && sameFilter(t, *x, *y) {
					*x = *y
				}
				if diff := cmp.Diff(a, b, asSets); diff != "" {
					t.Fatalf("(-want +got):\n%s\nlost %v\n%s", diff, losses, text)
				}
			}
			t.Logf("%d refused; lost: %v", refused, seen)
			if refused > 100 {
				t.Errorf("%d of 500 were refused", refused)
			}
			for member := range seen {
				if _, ok := find(d.Wordless, member); !ok {
					t.Errorf("%s is lost, and its table has no row for it", member)
				}
			}
			for _, row := range d.Wordless {
				if seen[row.Member] == 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(m string) bool {
					return strings.HasPrefix(m, row.Member+".") || strings.HasPrefix(m, row.Member+"[")
				}) {
					t.Errorf("the table says that %s is lost, and it never was", row.Member)
				}
			}
		})
	}
}

func shapeOf(path string) string {
	return strings.TrimSuffix(regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(path, "[]"), "")
}

// reorder puts got's elements where want has theirs.
func reorder(got, want workload.Workload) workload.Workload {
	rank := map[string]int{}
	for i, m := range want.Mounts {
		rank[m.Target] = i
	}
	got.Mounts = slices.Clone(got.Mounts)
	sort.SliceStable(got.Mounts, func(i, j int) bool { return rank[got.Mounts[i].Target] < rank[got.Mounts[j].Target] })
	for i, e := range want.Env {
		rank[e.Name] = i
	}
	got.Env = slices.Clone(got.Env)
	sort.SliceStable(got.Env, func(i, j int) bool { return rank[got.Env[i].Name] < rank[got.Env[j].Name] })
	return got
}

// A workload's text is nothing else in another dialect: no line of a unit, no flag, no command. Each member holds what would be
// one if it stood there bare.
func TestNothingElse(t *testing.T) {
	const evil = "x\nExecStart=/evil\n--privileged '\"; /evil $(/evil) `/evil` \x1b[2J"
	v, n := evil, 1
	w := workload.Workload{
		Name: evil, Image: "dir:/" + evil, Args: []string{"/bin/true", evil}, Env: []workload.EnvVar{{Name: evil, Value: &v}, {Name: "A", Value: &v}, {Name: evil}},
		Dir: "/" + evil, User: evil, Groups: []string{evil}, Hostname: evil, Labels: map[string]string{evil: evil}, StopSignal: evil, Entrypoint: []string{},
		Security: workload.Security{AppArmor: evil, Labels: []string{evil}, MaskedPaths: []string{"/" + evil}, ReadonlyPaths: []string{"/" + evil}, Seccomp: "unconfined"},
		Mounts: []workload.Mount{
			{Type: workload.Bind, Source: "/" + evil, Target: "/a" + evil, Propagation: evil, Options: []string{evil}},
			{Type: workload.Tmpfs, Target: "/b" + evil, Options: []string{evil}}, {Type: workload.Volume, Source: evil, Target: "/c"},
		},
		Devices: []workload.Device{{Source: "/dev/null", Target: "/dev/null", Access: "rwm\n" + evil}, {Rule: evil}},
		NS:      workload.Namespaces{PID: evil, Network: evil, IPC: evil},
		Limits:  workload.Limits{CpusetCpus: evil, CpusetMems: evil, Ulimits: []workload.Ulimit{{Name: evil}}, OOMScoreAdj: &n},
		Sysctls: map[string]string{evil: evil},
	}
	// One member at a time, as a dialect may refuse the whole for one of them.
	of := reflect.ValueOf(w)
	for i := range of.NumField() {
		var one workload.Workload
		one.Image, one.Entrypoint, one.Args = "host", []string{}, []string{"/bin/true"}
		reflect.ValueOf(&one).Elem().Field(i).Set(of.Field(i))
		for _, d := range All() {
			text, losses, err := d.Write(one, Options{})
			if err != nil {
				continue // it says that it can't be said
			}
			for _, l := range losses {
				if strings.ContainsAny(l.String(), "\n\x1b") {
					t.Errorf("%s: a loss with control characters: %q", d.Name, l)
				}
			}
			lines := strings.Split(string(text), "\n")
			if d.Name == "systemd" && slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "ExecStart=/evil") }) {
				t.Errorf("%s of %s is a line:\n%s", of.Type().Field(i).Name, d.Name, text)
			}
			if d.Name == "docker" || d.Name == "bwrap" {
				words, err := split(strings.TrimSpace(string(text)), func(string) (string, bool) { return "", false })
				if err != nil || slices.Contains(words, "--privileged") || slices.Contains(words, "/evil") {
					t.Errorf("%s of %s is a command: %v\n%s", of.Type().Field(i).Name, d.Name, err, text)
				}
			}
			back, _, err := d.Read(text, Options{})
			if err == nil && (back.Security.Privileged || len(back.Args) > 0 && back.Args[0] == "/evil") {
				t.Errorf("%s of %s comes back as something else:\n%s", of.Type().Field(i).Name, d.Name, text)
			}
		}
	}
}
