package profile

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
)

//go:embed testdata/history.txt
var history string

//go:embed testdata/others.txt
var others string

//go:embed testdata/docker29.txt
var docker29 string

// dockerCaps are what Docker grants without flags.
const dockerCaps caps.Set = 0xa80425fb

func amd64(set caps.Set, kernel string) Conditions {
	v, err := facts.ParseVersion(kernel)
	if err != nil {
		panic(err)
	}
	return Conditions{Caps: set, Arch: abi.X86_64, Kernel: v}
}

func hash(lines []string) string {
	slices.Sort(lines)
	lines = slices.Compact(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	return hex.EncodeToString(sum[:])[:12]
}

// said is what an OCI object says, a line for each name of each entry.
func said(s *specs.LinuxSeccomp) []string {
	var out []string
	for _, e := range s.Syscalls {
		errno := ""
		if e.ErrnoRet != nil {
			errno = fmt.Sprint(*e.ErrnoRet)
		}
		var tests []string
		for _, a := range e.Args {
			tests = append(tests, fmt.Sprintf("%d %s %d %d", a.Index, a.Op, a.Value, a.ValueTwo))
		}
		for _, n := range e.Names {
			out = append(out, n+"|"+string(e.Action)+"|"+errno+"|"+strings.Join(tests, ";"))
		}
	}
	return out
}

// allowed are the calls of x86-64 that an OCI object allows whatever their arguments, as said.
func allowed(s *specs.LinuxSeccomp) []string {
	return slices.DeleteFunc(said(s), func(line string) bool {
		name, rest, _ := strings.Cut(line, "|")
		_, here := abi.X86_64.Nr(name)
		return !here || rest != "SCMP_ACT_ALLOW||"
	})
}

// TestHistory holds every release against what another program made of the released documents.
func TestHistory(t *testing.T) {
	blocks := strings.Split(strings.TrimSpace(history), "\n\n")[1:]
	if len(blocks) != 35 {
		t.Fatalf("%d blocks, want 35", len(blocks))
	}
	blocks = append(blocks, strings.Split(strings.TrimSpace(others), "\n\n")[1:]...)
	for _, b := range blocks {
		lines := strings.Split(b, "\n")
		releases := strings.Fields(lines[0])
		for _, v := range releases[1:] {
			ref := releases[0] + ":" + v
			p, err := Builtin(ref)
			if err != nil {
				t.Error(err)
				continue
			}
			if p.Name != ref {
				t.Errorf("%s: is called %s", ref, p.Name)
			}
			checkRelease(t, p, lines[1:])
		}
	}
}

func checkRelease(t *testing.T, p *Profile, lines []string) {
	t.Helper()
	special := caps.Set(0) // a capability with a line of its own
	plain := ""
	expect := func(what, want string, lines []string) {
		if got := hash(lines); got != want {
			t.Errorf("%s: %s: %s, want %s", p.Name, what, got, want)
		}
	}
	every := caps.Set(caps.All)
	for _, line := range lines {
		what, want, _ := strings.Cut(line, " ")
		c, n := amd64(dockerCaps, "4.8"), 0
		switch {
		case what == "head":
			o := p.OCI(c)
			head := []string{string(o.DefaultAction), ""}
			if o.DefaultErrnoRet != nil {
				head[1] = fmt.Sprint(*o.DefaultErrnoRet)
			}
			for _, a := range o.Architectures {
				head = append(head, string(a))
			}
			expect(what, want, head)
			continue
		case what == "every", what == "x86_64":
			if what == "every" {
				c.Caps = every
			}
			a := allowed(p.OCI(c))
			if _, err := fmt.Sscanf(want, "%d %s", &n, &want); err != nil {
				t.Fatal(err)
			}
			if a = slices.Compact(slices.Sorted(slices.Values(a))); len(a) != n {
				t.Errorf("%s: %s: %d calls allowed, want %d", p.Name, what, len(a), n)
			}
			expect(what, want, a)
			continue
		case what == "default":
			plain = want
		case what == "4.7":
			c.Kernel = facts.Version{Major: 4, Minor: 7, Patch: 99}
		default:
			k, err := caps.Parse(what[1:])
			if err != nil {
				t.Fatal(err)
			}
			c.Caps ^= caps.Of(k)
			special |= caps.Of(k)
		}
		expect(what, want, said(p.OCI(c)))
	}
	for _, k := range caps.Set(caps.All).List() {
		if !special.Has(k) {
			expect("other than "+k.String(), plain, said(p.OCI(amd64(dockerCaps^caps.Of(k), "6.18"))))
		}
	}
}

// TestReleases holds the list of releases against the facts: all of theirs, and none of ours twice.
func TestReleases(t *testing.T) {
	want := map[string]bool{}
	for _, b := range strings.Split(strings.TrimSpace(history), "\n\n")[1:] {
		first, _, _ := strings.Cut(b, "\n")
		f := strings.Fields(first)
		for _, v := range f[1:] {
			want[f[0]+":"+v] = true
		}
	}
	seen := map[string]bool{}
	var last Release
	for _, r := range Releases() {
		if seen[r.String()] {
			t.Errorf("%s is there twice", r)
		}
		seen[r.String()] = true
		if (r.Engine == "docker" || r.Engine == "moby/profiles") && !want[r.String()] {
			t.Errorf("%s is not among the facts", r)
		}
		if last.Engine == r.Engine && compareVersions(last.Version, r.Version) <= 0 {
			t.Errorf("%s stands before %s", last, r)
		}
		if len(r.Date) != len("2006-01-02") || compareVersions(r.Since, r.Version) > 0 {
			t.Errorf("odd release: %+v", r)
		}
		last = r
	}
	for ref := range want {
		if !seen[ref] {
			t.Errorf("%s is missing", ref)
		}
	}
}

// TestRealDocker holds OCI against what Docker 29.7.2 handed its runtime.
func TestRealDocker(t *testing.T) {
	p, err := Builtin("docker:29.7.2")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(docker29) {
		f := strings.Fields(line)
		switch {
		case f[0] == "#":
		case f[0] == "plain":
			if got := hash(said(p.OCI(amd64(dockerCaps, "6.18")))); got != f[1] {
				t.Errorf("plain run: %s, want %s", got, f[1])
			}
		default:
			set, err := strconv.ParseUint(f[0], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			rows++
			o := p.OCI(amd64(caps.Set(set), "6.18"))
			if got := fmt.Sprintf("%d %d", len(o.Syscalls), len(said(o))); got != f[1]+" "+f[2] {
				t.Errorf("bounding set %s: %s entries and names, want %s %s", f[0], got, f[1], f[2])
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d containers were compared", rows)
	}
}

// TestDocuments holds the builtin profiles against the documents themselves, where a directory of
// them is named; testdata/history.txt holds their gist.
func TestDocuments(t *testing.T) {
	dir := os.Getenv("PORTHOLE_PROFILES")
	if dir == "" {
		t.Skip("PORTHOLE_PROFILES names no directory with docker-v18.09.9.json and its like")
	}
	files, err := filepath.Glob(filepath.Join(dir, "docker-v*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents in %s: %v", dir, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		theirs, warnings, err := Parse(f, data)
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		ours, err := Builtin("docker:" + strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "docker-v"), ".json"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, ours, theirs)
	}
}

// same compares profiles but for their names, comments and the order of calls within an entry.
func same(t *testing.T, a, b *Profile) {
	t.Helper()
	x, y := plain(t, a), plain(t, b)
	if x != y {
		t.Errorf("%s and %s differ:\n%s\n%s", a.Name, b.Name, x, y)
	}
}

func plain(t *testing.T, p *Profile) string {
	t.Helper()
	q := *p
	q.Name = ""
	q.Entries = slices.Clone(p.Entries)
	for i := range q.Entries {
		q.Entries[i].Comment = ""
		q.Entries[i].Names = slices.Sorted(slices.Values(q.Entries[i].Names))
	}
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
