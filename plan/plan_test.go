package plan

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rogpeppe/go-internal/txtar"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine is a root user's Linux 6.12 on x86-64 with v1 control groups.
func machine() facts.Facts {
	all := caps.State{Permitted: caps.All, Effective: caps.All, Bounding: caps.All}
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 12}, Arch: abi.X86_64, Caps: all, UserNS: facts.UserNS{Initial: true},
		Cgroup: facts.Cgroup{Mode: facts.CgroupV1, Hierarchies: []facts.Hierarchy{
			{Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}, Own: "/"},
			{Mount: "/sys/fs/cgroup/memory", Controllers: []string{"memory"}, Own: "/"},
			{Mount: "/sys/fs/cgroup/systemd", Controllers: []string{"name=systemd"}, Own: "/"},
		}},
		Features: facts.Features{
			Seccomp: true, NewMountAPI: true, MountSetattr: true, Openat2: true, CloneIntoCgroup: true, PidfdGetfd: true,
			CloseRangeCloexec: true, TimeNS: true, CgroupNS: true, UserNSCreate: true, Overlay: true, OverlayUserNS: true,
		},
	}
}

// hostRoot is what package image makes of this machine's root, in short.
func hostRoot() Root {
	return Root{Layers: []Layer{{Target: "/", Lower: []string{"/"}}}, Scratch: "/state/scratch"}
}

var v1Groups = []string{"/sys/fs/cgroup/cpu,cpuacct/docker/a0c9", "/sys/fs/cgroup/memory/docker/a0c9", "/sys/fs/cgroup/systemd/docker/a0c9"}

// given is a case's options as its file has them.
type given struct {
	Options
	Deny     []string // calls that the filter refuses; nil: no filter
	Notify   []string // calls that it hands to a listener
	Join     []string // namespaces to enter; nil: a new container
	JoinInto string
	NoGroups bool
}

// filterOf refuses some calls and allows the rest.
func filterOf(t testing.TB, g given) *Seccomp {
	t.Helper()
	if g.Deny == nil && g.Notify == nil {
		return nil
	}
	p := seccomp.Policy{Default: seccomp.Allow, Arches: []abi.Arch{abi.X86_64}}
	for _, name := range g.Deny {
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Errno.With(1)})
	}
	for _, name := range g.Notify {
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Notify})
	}
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return &Seccomp{Program: prog, Policy: p, Listener: g.Notify != nil}
}

// compile carries out a case.
func compile(t testing.TB, s *specs.Spec, g given, f facts.Facts) (*Plan, error) {
	t.Helper()
	sc := filterOf(t, g)
	if g.Join == nil {
		g.Options.Seccomp = sc
		return Compile(s, g.Options, f)
	}
	opt := JoinOptions{ID: g.ID, Seccomp: sc, DenyGroups: g.NoGroups, IntoCgroup: g.JoinInto, DieWithParent: g.DieWithParent, Inherit: g.Inherit, NoFile: g.NoFile}
	for _, n := range g.Join {
		opt.Namespaces |= spaceFlags[specs.LinuxNamespaceType(n)]
	}
	return Join(s.Process, opt, f)
}

// mergePatch applies a JSON merge patch (RFC 7396); a key with + in front appends to an array.
func mergePatch(to, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	m, ok := to.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	for k, v := range p {
		switch key, more := strings.CutPrefix(k, "+"); {
		case v == nil:
			delete(m, k)
		case more:
			old, _ := m[key].([]any)
			m[key] = append(old, v.([]any)...)
		default:
			m[k] = mergePatch(m[k], v)
		}
	}
	return m
}

// patched is base with a patch, as a T.
func patched[T any](t testing.TB, base any, patch []byte) T {
	t.Helper()
	var from, change any
	text, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	read := func(text []byte, to *any) {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber() // limits use all 64 bits
		if err := dec.Decode(to); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	read(text, &from)
	if len(patch) > 0 {
		read(patch, &change)
		from = mergePatch(from, change)
	}
	text, _ = json.Marshal(from)
	var out T
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func dockerSpec(t testing.TB) *specs.Spec {
	t.Helper()
	data, err := os.ReadFile("testdata/docker.json")
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestGolden reads what was asked, as changes to Docker's default container, and compares the
// plan. "from" and "to" in a file's head cut out a part: lines that contain what follows.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string][]byte{}
			for _, f := range ar.Files {
				in[f.Name] = f.Data
			}
			s := patched[specs.Spec](t, dockerSpec(t), in["spec"])
			f := patched[facts.Facts](t, machine(), in["facts"])
			g := patched[given](t, given{Options: Options{ID: "a0c9", Root: hostRoot(), Groups: v1Groups}}, in["options"])
			p, err := compile(t, &s, g, f)
			got := ""
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				checkPlan(t, p, &s, g)
				got = cut(p.String(), string(ar.Comment))
			}
			if *update {
				if _, ok := in["plan"]; !ok {
					ar.Files = append(ar.Files, txtar.File{Name: "plan"})
				}
				for i := range ar.Files {
					if ar.Files[i].Name == "plan" {
						ar.Files[i].Data = []byte(got)
					}
				}
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(in["plan"]); got != want {
				t.Errorf("%s", firstDifference(got, want))
			}
		})
	}
}

// cut keeps the lines between the marks in a file's head.
func cut(text, head string) string {
	var from, to string
	for _, l := range strings.Split(head, "\n") {
		if v, ok := strings.CutPrefix(l, "from "); ok {
			from = v
		}
		if v, ok := strings.CutPrefix(l, "to "); ok {
			to = v
		}
	}
	var out []string
	in := from == ""
	for _, l := range strings.SplitAfter(text, "\n") {
		in = in || strings.Contains(l, from)
		if in {
			out = append(out, l)
		}
		if in && to != "" && strings.Contains(l, to) {
			break
		}
	}
	return strings.Join(out, "")
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			was := "(the end)"
			if i < len(w) {
				was = w[i]
			}
			return "line " + itoa(i+1) + ":\n got " + g[i] + "\nwant " + was + "\n(go test ./plan -update rewrites the file)"
		}
	}
	return "it ends early; want " + w[len(g)]
}

// TestDocs holds the plans in docs/start.md against the golden files that they are cut from:
// "```plan NAME" begins such a part. With -update steps get their new numbers.
func TestDocs(t *testing.T) {
	const file = "../docs/start.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	digits := regexp.MustCompile(`[0-9]+`)
	plain := func(l string) string { return strings.Join(strings.Fields(digits.ReplaceAllString(l, "#")), " ") }
	lines, checked := strings.Split(string(text), "\n"), 0
	var golden []string
	for i, l := range lines {
		if name, ok := strings.CutPrefix(l, "```plan "); ok {
			ar, err := txtar.ParseFile("testdata/" + name + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			golden = strings.Split(string(ar.Files[len(ar.Files)-1].Data), "\n")
			continue
		}
		if strings.HasPrefix(l, "```") {
			golden = nil
		}
		if golden == nil {
			continue
		}
		checked++
		at := slices.Index(golden, l)
		if at < 0 && *update {
			if at = slices.IndexFunc(golden, func(g string) bool { return plain(g) == plain(l) }); at >= 0 {
				lines[i] = golden[at]
			}
		}
		if at < 0 {
			t.Errorf("docs/start.md:%d: no such line in the plan: %s", i+1, l)
			continue
		}
		golden = golden[at+1:] // in their order
	}
	if checked < 50 {
		t.Errorf("only %d lines were checked", checked)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	s, f := dockerSpec(b), machine()
	g := given{Options: Options{ID: "a0c9", Root: hostRoot(), Groups: v1Groups}, Deny: []string{"reboot"}}
	g.Options.Seccomp = filterOf(b, g)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(s, g.Options, f); err != nil {
			b.Fatal(err)
		}
	}
}
