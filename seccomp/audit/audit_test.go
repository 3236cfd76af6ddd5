package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
)

var update = flag.Bool("update", false, "write the table in docs/audit.md anew")

var given = profile.Conditions{Caps: 0xa80425fb, Kernel: facts.Version{Major: 6, Minor: 18}}

func audit(t *testing.T, doc string) []Finding {
	t.Helper()
	d, err := format.Read("p.json", []byte(doc), "")
	var bad *profile.SyntaxError
	if errors.As(err, &bad) {
		return []Finding{Syntax(bad)}
	}
	if err != nil {
		t.Fatal(err)
	}
	fs, err := Profile(d.Profile, Options{Given: given, Place: d.Place})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func deny(entries ...string) string {
	return "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"architectures\": [\"SCMP_ARCH_X86_64\"], \"syscalls\": [\n" + strings.Join(entries, ",\n") + "\n]}"
}

func allow(entries ...string) string { return strings.Replace(deny(entries...), "ERRNO", "ALLOW", 1) }

func entry(call, action, more string) string {
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf(`{"names": [%q], "action": "SCMP_ACT_%s"%s}`, call, action, more)
}

func arg(op string, i int, v ...uint64) string {
	two := ""
	if len(v) > 1 {
		two = fmt.Sprintf(`, "valueTwo": %d`, v[1])
	}
	return fmt.Sprintf(`"args": [{"index": %d, "op": "SCMP_CMP_%s", "value": %d%s}]`, i, op, v[0], two)
}

// TestFindings has documents and what is found in them: rule, severity, place, call.
func TestFindings(t *testing.T) {
	const statx = `{"names": ["statx", "faccessat2", "fchmodat2"], "action": "SCMP_ACT_ALLOW"}, {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}`
	for _, c := range []struct{ story, doc, want string }{
		{"nothing", deny(statx, entry("read", "ALLOW", "")), ""},
		{"not a family", deny(statx, entry("socket", "ALLOW", arg("NE", 0, 40))), "S0002 error 3:60 socket"},
		{"families above", deny(statx, entry("socket", "ALLOW", arg("GT", 0, 40))), "S0002 error 3:60 socket"},
		{"families below", deny(statx, entry("socket", "ALLOW", arg("LT", 0, 40))), ""},
		{"one family", deny(statx, entry("socket", "ALLOW", arg("EQ", 0, 2))), ""},
		{"low half alone", deny(statx, entry("socket", "ALLOW", arg("MASKED_EQ", 0, 0xffffffff, 2))), ""},
		{"one family refused", allow(entry("socket", "ERRNO", arg("EQ", 0, 40))), "S0005 warning 2:12 socket;S0002 error 2:60 socket"},
		{"one family refused, low half", allow(entry("socket", "ERRNO", arg("MASKED_EQ", 0, 0xffffffff, 40)), entry("io_uring_setup", "ERRNO", "")), ""},
		{"flags are 64 bits wide", deny(statx, entry("clone", "ALLOW", arg("NE", 0, 40))), ""},

		{"less than 0", deny(statx, entry("read", "ALLOW", arg("LT", 0, 0))), "S0003 warning 3:1 read"},
		{"decided before", deny(statx, entry("read", "ALLOW", ""), entry("read", "ALLOW", arg("EQ", 0, 1))), "S0003 note 4:1 read"},
		{"never in effect", deny(statx, entry("bpf", "ALLOW", `"includes": {"caps": ["CAP_BPF"]}, "excludes": {"caps": ["CAP_BPF"]}`)), "S0003 warning 3:48 "},
		{"under a capability only", deny(statx, entry("bpf", "ALLOW", `"includes": {"caps": ["CAP_BPF"]}`)), ""},
		{"for another machine only", deny(statx, entry("cacheflush", "ALLOW", `"includes": {"arches": ["arm64"]}`)), ""},
		{"skipped, and not decided", deny(statx, entry("read", "ERRNO", ""), entry("read", "LOG", "")), "S0003 note 3:1 read"},

		{"tests and then none", deny(statx, entry("personality", "ALLOW", arg("EQ", 0, 8)), entry("personality", "LOG", "")), "S0004 error 4:1 personality"},
		{"none and then tests", deny(statx, entry("personality", "LOG", ""), entry("personality", "ALLOW", arg("EQ", 0, 8))), "S0004 warning 4:1 personality"},
		{"the same tests", deny(statx, entry("personality", "LOG", arg("EQ", 0, 8)), entry("personality", "ALLOW", arg("EQ", 0, 8))), "S0004 error 4:1 personality"},
		{"tests that overlap", deny(statx, entry("personality", "LOG", arg("LE", 0, 8)), entry("personality", "ALLOW", arg("EQ", 0, 8))), "S0004 warning 4:1 personality"},
		{"tests that do not", deny(statx, entry("personality", "LOG", arg("LT", 0, 8)), entry("personality", "ALLOW", arg("EQ", 0, 8))), ""},
		{"never together", deny(statx, entry("bpf", "ALLOW", `"includes": {"caps": ["CAP_BPF"]}`), entry("bpf", "LOG", `"excludes": {"caps": ["CAP_BPF"]}`)), ""},

		{"clone3 beside clone", deny(`{"names": ["clone3", "statx", "faccessat2", "fchmodat2"], "action": "SCMP_ACT_ALLOW"}`, entry("clone", "ALLOW", arg("MASKED_EQ", 0, 0x7e020000, 0))), "S0005 warning 2:12 clone"},
		{"io_uring beside socket", deny(statx, entry("socket", "ALLOW", arg("LT", 0, 3)), entry("io_uring_setup", "ALLOW", "")), "S0005 warning 4:12 socket"},
		{"a handle beside a path", allow(entry("openat", "ERRNO", ""), entry("openat2", "ERRNO", ""), entry("io_uring_setup", "ERRNO", "")), "S0005 warning 2:12 openat"},

		{"a wider call of 32-bit programs", strings.Replace(allow(entry("mmap", "ERRNO", arg("MASKED_EQ", 2, 4, 4)), entry("clock_settime", "ERRNO", "")), `"SCMP_ARCH_X86_64"`, `"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"`, 1),
			"S0006 warning 2:12 mmap;S0005 warning 3:12 clock_settime;S0006 warning 3:12 clock_settime"},
		{"killed with its ABI", allow(entry("mmap", "ERRNO", arg("MASKED_EQ", 2, 4, 4))), ""},
		{"restricted in both", strings.Replace(allow(entry("mmap", "ERRNO", ""), entry("mmap2", "ERRNO", "")), `"SCMP_ARCH_X86_64"`, `"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"`, 1), ""},

		{"threads of glibc", deny(entry("statx", "ALLOW", ""), entry("mseal", "ALLOW", "")), "S0007 warning 1:2 clone3;S0007 warning 1:2 faccessat2;S0007 warning 1:2 fchmodat2"},
		{"newer than all named", deny(entry("statx", "ALLOW", "")), ""},
		{"a typo", deny(statx, entry("opnat", "ALLOW", "")), "S0008 warning 3:12 opnat"},
		{"a name of nothing", deny(statx, entry("frobnicatorings", "ALLOW", "")), "S0008 note 3:12 frobnicatorings"},
		{"errno 0", deny(statx, entry("read", "ERRNO", `"errnoRet": 0`)), "S0009 warning 3:49 "},
		{"errno 5000", deny(statx, entry("read", "ERRNO", `"errnoRet": 5000`)), "S0009 error 3:49 "},
		{"errno 70000", deny(statx, entry("read", "ERRNO", `"errnoRet": 70000`)), "S0009 error 3:61 "},
		{"an errno for nothing", deny(statx, entry("read", "ALLOW", `"errnoRet": 1`)), "S0009 note 3:49 "},
		{"no profile", `{"defaultAction": "SCMP_ACT_ALOW"}`, "S0001 error 1:19 "},
	} {
		var got []string
		for _, f := range audit(t, c.doc) {
			got = append(got, fmt.Sprintf("%s %v %d:%d %s", f.Rule, f.Severity, f.Line, f.Column, f.Call))
			if f.Msg == "" || f.Rule != "S0001" && f.Remedy == "" {
				t.Errorf("%s: %+v lacks words", c.story, f)
			}
		}
		if s := strings.Join(got, ";"); s != c.want {
			t.Errorf("%s: %q, want %q", c.story, s, c.want)
		}
	}
}

// TestSocketFamily holds the rule that porthole was taught by: which default profiles compare socket's family
// as 64 bits.
func TestSocketFamily(t *testing.T) {
	for ref, want := range map[string]bool{
		"docker:29.4.2": true, "docker:29.4.3": true, "docker:29.7.2": true, "podman": true,
		"moby/profiles:0.2.4": false, "docker:18.09": false, "docker:20.10.17": false, "containerd": false,
	} {
		p, err := profile.Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := Profile(p, Options{Given: given})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range fs {
			if f.Rule == "S0002" {
				found = true
				if f.Call != "socket" || !strings.Contains(f.Evidence, "says ALLOW; on socket(") || !strings.Contains(f.Evidence, "it says ERRNO(") {
					t.Errorf("%s: %v", ref, f)
				}
			}
		}
		if found != want {
			t.Errorf("%s: found: %v", ref, found)
		}
	}
}

// TestRows walks the tables: every name is a call, and every row has its source.
func TestRows(t *testing.T) {
	for _, s := range siblings {
		if s.why == "" || s.source == "" {
			t.Errorf("%v: no reason or no source", s.calls)
		}
		for _, n := range slices.Concat(s.calls, s.around) {
			if !abi.Known(n) {
				t.Errorf("%s is no call", n)
			}
		}
	}
	for _, f := range fallbacks {
		if !abi.Known(f.call) || !strings.Contains(f.who, "(sysdeps/") {
			t.Errorf("%+v", f)
		}
	}
}

// TestLibseccomp holds what is said of libseccomp against libseccomp itself.
func TestLibseccomp(t *testing.T) {
	compiler := filepath.Join(t.TempDir(), "order")
	if out, err := exec.Command("cc", "-o", compiler, "testdata/order.c", "-lseccomp").CombinedOutput(); err != nil {
		t.Skipf("needs cc and libseccomp-dev: %s", out)
	}
	for _, c := range []struct{ story, rules, want string }{
		{"none, and none", "L A", "L"},
		{"none, and then tests", "L A=8", "L"},
		{"tests, and then none", "A=8 L", "L"},
		{"the same tests", "A=8 L=8", "EEXIST"},
		{"tests that overlap, one order", "A>4 L=8", "L"},
		{"tests that overlap, the other", "L=8 A>4", "L"},
		{"a later one that decides", "L<9 A>7", "L"},
		{"and an earlier one that does not", "A>7 L<9", "L"},
	} {
		out, err := exec.Command(compiler, strings.Fields(c.rules)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", c.story, err, out)
		}
		if got := strings.TrimSpace(string(out)); got != c.want {
			t.Errorf("%s (%s): personality(8) gets %s, want %s", c.story, c.rules, got, c.want)
		}
	}
}

// TestSARIF holds what is written against the members that the standard requires (SARIF 2.1.0, sections 3.13
// to 3.30).
func TestSARIF(t *testing.T) {
	fs := audit(t, deny(entry("socket", "ALLOW", arg("NE", 0, 40)), entry("opnat", "ALLOW", "")))
	var doc map[string]any
	if err := json.Unmarshal(SARIF([]Report{{"a b/p.json", fs}}, "1"), &doc); err != nil {
		t.Fatal(err)
	}
	get := func(v any, path ...any) any {
		for _, p := range path {
			switch p := p.(type) {
			case string:
				v = v.(map[string]any)[p]
			case int:
				v = v.([]any)[p]
			}
			if v == nil {
				t.Fatalf("no %v", path)
			}
		}
		return v
	}
	if get(doc, "version") != "2.1.0" || get(doc, "runs", 0, "tool", "driver", "name") != "porthole" || get(doc, "runs", 0, "columnKind") != "unicodeCodePoints" {
		t.Errorf("%v", doc)
	}
	rules := get(doc, "runs", 0, "tool", "driver", "rules").([]any)
	results := get(doc, "runs", 0, "results").([]any)
	if len(results) != len(fs) || len(results) < 2 {
		t.Fatalf("%d results of %d findings", len(results), len(fs))
	}
	for _, r := range results {
		if get(r, "message", "text") == "" || !slices.Contains([]any{"note", "warning", "error"}, get(r, "level")) {
			t.Errorf("%v", r)
		}
		rule := rules[int(get(r, "ruleIndex").(float64))]
		if get(rule, "id") != get(r, "ruleId") || get(rule, "shortDescription", "text") == "" || get(rule, "fullDescription", "text") == "" {
			t.Errorf("%v has the rule %v", r, rule)
		}
		place := get(r, "locations", 0, "physicalLocation")
		if get(place, "artifactLocation", "uri") != "a%20b/p.json" || get(place, "region", "startLine").(float64) < 1 || get(place, "region", "startColumn").(float64) < 1 {
			t.Errorf("%v", place)
		}
	}
	if err := json.Unmarshal(SARIF(nil, ""), &doc); err != nil || get(doc, "runs", 0, "results") == nil {
		t.Errorf("%v", err)
	}
}

// What programs get says all that people read, and rules and severities are found by their names.
func TestJSON(t *testing.T) {
	f := []Finding{
		{Rule: "S0008", Severity: Note, Path: "syscalls[0].names[1]", Line: 3, Column: 5, Call: "raed", Msg: "no such <call>", Remedy: "perhaps read"},
		{Rule: "S0002", Severity: Error, Line: 1, Column: 1, Msg: "m", Evidence: "e"},
	}
	var got []struct {
		File     string
		Findings []map[string]any
	}
	if err := json.Unmarshal(JSON([]Report{{"p.json", f}, {"empty.json", nil}}), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].Findings == nil || len(got[0].Findings) != 2 {
		t.Fatalf("%+v", got)
	}
	want := map[string]any{"rule": "S0008", "name": RuleOf("S0008").Name, "severity": "note", "line": 3.0, "column": 5.0, "path": "syscalls[0].names[1]",
		"call": "raed", "message": "no such <call>", "remedy": "perhaps read"}
	if d := cmp.Diff(want, got[0].Findings[0]); d != "" {
		t.Error(d)
	}
	if Worst(f) != Error || Worst(f[:1]) != Note || Worst(nil) != 0 || RuleOf("S9999") != (Rule{}) {
		t.Error("the worst of findings, or a rule that is none")
	}
	for _, s := range []Severity{Note, Warning, Error} {
		if got, err := ParseSeverity(s.String()); got != s || err != nil {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("wrong"); err == nil {
		t.Error("a severity that is none")
	}
}

// TestDocs holds the tables in docs/audit.md against what is found. -update writes them.
func TestDocs(t *testing.T) {
	const file = "../../docs/audit.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, table := range map[string]string{"rules": rulesTable(), "example": example(t), "releases": releasesTable(t)} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end "+name+" -->\n"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no place for %s", file, name)
		}
		text = text[:i+len(begin)] + table + text[j:]
	}
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(data) {
		t.Errorf("%s is not up to date: go test ./seccomp/audit -run TestDocs -update", file)
	}
}

// example is what is found in one release, its longest lines broken.
func example(t *testing.T) string {
	t.Helper()
	p, err := profile.Builtin("docker:29.7.2")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := p.Write(&text, profile.Docker); err != nil {
		t.Fatal(err)
	}
	d, err := format.Read(p.Name, text.Bytes(), "docker")
	if err != nil {
		t.Fatal(err)
	}
	fs, err := Profile(d.Profile, Options{Given: given, Place: d.Place})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("```\n$ porthole profile audit docker:29.7.2\n")
	for _, f := range fs {
		for line := range strings.SplitSeq(p.Name+":"+f.String(), "\n") {
			for len(line) > 125 {
				i := strings.LastIndexByte(line[:125], ' ')
				b.WriteString(line[:i] + "\n")
				line = "      " + line[i+1:]
			}
			b.WriteString(line + "\n")
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("| | | |\n| --- | --- | --- |\n")
	for _, r := range Rules {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.ID, r.Short, r.Why)
	}
	return b.String()
}

// releasesTable is a row for each distinct profile of Docker's, the oldest first, and one for each other engine's.
func releasesTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| profile | since | found |\n| --- | --- | --- |\n")
	seen := map[string]bool{}
	releases := profile.Releases()
	docker := 0
	row := func(r profile.Release, label string) {
		p, err := profile.Builtin(r.String())
		if err != nil {
			t.Fatal(err)
		}
		if seen[r.Engine+p.String()] {
			return
		}
		seen[r.Engine+p.String()] = true
		if r.Engine == "docker" {
			docker++
		}
		fs, err := Profile(p, Options{Given: given, Machines: []abi.Arch{abi.X86_64}})
		if err != nil {
			t.Fatal(err)
		}
		calls := map[string][]string{}
		for _, f := range fs {
			if f.Severity > Note && !slices.Contains(calls[f.Rule], f.Call) {
				calls[f.Rule] = append(calls[f.Rule], f.Call)
			}
		}
		var parts []string
		for _, rule := range Rules {
			if list := calls[rule.ID]; len(list) > 0 {
				slices.Sort(list)
				parts = append(parts, rule.ID+" `"+strings.Join(list, "` `")+"`")
			}
		}
		if parts == nil {
			parts = []string{"nothing"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", label, r.Date, strings.Join(parts, ", "))
	}
	for _, r := range slices.Backward(releases) {
		if r.Engine == "docker" && r.Version == r.Since {
			row(r, r.String())
		}
	}
	if docker != 31 {
		t.Errorf("%d distinct profiles of Docker, want 31", docker)
	}
	for _, name := range []string{"podman", "containerd", "moby/profiles"} {
		r, err := profile.FindRelease(name)
		if err != nil {
			t.Fatal(err)
		}
		row(r, r.String())
	}
	return b.String()
}

// FuzzProfile looks for documents that make an audit panic, or say something without a place or words.
func FuzzProfile(f *testing.F) {
	f.Add([]byte(deny(entry("socket", "ALLOW", arg("NE", 0, 40)), entry("socket", "LOG", ""), entry("bpf", "ERRNO", `"errnoRet": 0, "includes": {"caps": ["CAP_BPF"]}`))))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > 4000 { // what is too much is told, and takes its time
			return
		}
		d, err := format.Read("p", doc, "docker")
		if err != nil {
			return
		}
		fs, err := Profile(d.Profile, Options{Given: given, Place: d.Place})
		if err != nil {
			return
		}
		for _, x := range fs {
			if x.Line < 1 || x.Column < 1 || x.Msg == "" || x.Severity == 0 || RuleOf(x.Rule).Name == "" {
				t.Errorf("%+v", x)
			}
		}
		if len(SARIF([]Report{{"p", fs}}, "")) == 0 {
			t.Error("no SARIF")
		}
	})
}
