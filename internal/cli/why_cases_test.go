package cli

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"porthole/abi"
	"porthole/why"
)

//go:embed testdata/why/cases.txt
var whyCases string

//go:embed testdata/why/own.txt
var ownCases string

//go:embed testdata/why/threads.txt
var threadCases string

// whyCase is a recorded refusal: what it was, and how to have it.
type whyCase struct {
	name, call string
	errnos     []string
	layers     [][]string
	least      string
	args       []string
	skip       string
}

// score is what came of one.
type score struct {
	first, all, errno, least bool
	wrong                    string // a layer that was stated as proved and is not one of the case's
	got                      string
	took                     time.Duration
}

// The cases are walked by `make test-why`, which takes minutes and is not a part of every test.
func TestWhyCases(t *testing.T) {
	if os.Getenv("PORTHOLE_WHY") == "" {
		t.Skip("walked by make test-why (PORTHOLE_WHY=1)")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := whyFixtures(t)
	bin := buildPorthole(t)
	for _, set := range []struct{ title, cases string }{{"recorded", whyCases}, {"our own", ownCases}, {"from further threads", threadCases}} {
		n := walkAll(t, bin, dir, set.title, readWhyCases(t, bin, dir, set.cases))
		if n == 0 && os.Getenv("PORTHOLE_WHY_CASE") == "" {
			t.Fatal("no case was walked")
		}
	}
}

// walkAll walks some cases, prints how they came out, and returns how many could be had here.
func walkAll(t *testing.T, bin, dir, title string, cases []whyCase) (n int) {
	want := regexp.MustCompile(os.Getenv("PORTHOLE_WHY_CASE"))
	tab := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tab, "case\tfirst\tall\terrno\tleast\ttook\tanswer")
	var first, all, errno, least, wrong int
	mark := map[bool]string{true: "yes", false: "NO"}
	for _, c := range cases {
		if !want.MatchString(c.name) {
			continue
		}
		if c.skip != "" {
			fmt.Fprintf(tab, "%s\t\t\t\t\t\tnot here: %s\n", c.name, c.skip)
			continue
		}
		s := walk(t, bin, dir, c)
		n++
		for _, x := range []struct {
			ok  bool
			sum *int
		}{{s.first, &first}, {s.all, &all}, {s.errno, &errno}, {s.least, &least}, {s.wrong != "", &wrong}} {
			if x.ok {
				*x.sum++
			}
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%.1f s\t%s\n", c.name, mark[s.first], mark[s.all], mark[s.errno], mark[s.least], s.took.Seconds(), s.got)
		if s.wrong != "" {
			t.Errorf("%s: %s is stated as proved, and is not a cause", c.name, s.wrong)
		}
	}
	tab.Flush()
	percent := func(k int) string { return fmt.Sprintf("%d of %d (%d %%)", k, n, 100*k/max(n, 1)) }
	fmt.Printf("%s: %d of %d here; first layer %s, all layers %s, errno %s, least grant %s, wrong layers stated as proved: %d\n\n",
		title, n, len(cases), percent(first), percent(all), percent(errno), percent(least), wrong)
	if os.Getenv("PORTHOLE_WHY_CASE") == "" && (first*10 < n*9 || least*10 < n*8) {
		t.Error("want 90 % of the first layers and 80 % of the least grants")
	}
	return n
}

// walk has porthole explain a case.
func walk(t *testing.T, bin, dir string, c whyCase) (s score) {
	out := filepath.Join(dir, "out.json")
	os.Remove(out)
	args := append([]string{"--root", filepath.Join(dir, "root"), "why", "--yes", "--json=" + out}, c.args...)
	begun := time.Now()
	said, _ := exec.Command(bin, args...).CombinedOutput() // its exit code is the program's
	s.took = time.Since(begun)
	data, err := os.ReadFile(out)
	if err != nil {
		s.got = "no answer: " + strings.ReplaceAll(strings.TrimSpace(string(said)), "\n", "; ")
		return s
	}
	var d struct {
		Refusals []struct {
			Call, Errno string
			Layers      []struct {
				Name  why.Layer
				Proof why.Proof
			}
			Grants []struct {
				Flags, With []string
				What        string
			}
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if os.Getenv("PORTHOLE_WHY_CASE") != "" {
		t.Logf("%s\n%s\n%s", strings.Join(args, " "), said, data)
	}
	if len(d.Refusals) == 0 {
		s.got = "nothing refused"
		return s
	}
	r := d.Refusals[0]
	name, _, _ := strings.Cut(r.Call, "(")
	if name == "" {
		name = "-" // nobody made a call
	}
	grant := ""
	if len(r.Grants) > 0 {
		grant = strings.Join(append(r.Grants[0].Flags, r.Grants[0].With...), " ") + " " + r.Grants[0].What
	}
	var layers []string
	for _, l := range r.Layers {
		layers = append(layers, l.Name.String())
		known := slices.ContainsFunc(c.layers, func(alt []string) bool { return slices.Contains(alt, l.Name.String()) })
		if l.Proof == why.Proved && !known {
			s.wrong = l.Name.String()
		}
	}
	right := slices.Contains(strings.Split(c.call, "/"), name)
	s.first = right && len(layers) > 0 && slices.Contains(c.layers[0], layers[0])
	s.all = right
	for _, alt := range c.layers {
		if !slices.ContainsFunc(alt, func(one string) bool { return slices.Contains(layers, one) }) {
			s.all = false
		}
	}
	s.errno = right && (r.Errno == "" && slices.Contains(c.errnos, "-") || slices.Contains(c.errnos, r.Errno))
	s.least = c.least == "" && grant == "" || c.least != "" && regexp.MustCompile(c.least).MatchString(grant)
	s.got = fmt.Sprintf("%s %s: %s; %s", name, r.Errno, strings.Join(layers, ","), strings.TrimSpace(grant))
	return s
}

func readWhyCases(t *testing.T, bin, dir, cases string) (out []whyCase) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(cases) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " | ", 2)
		c := whyCase{name: f[0]}
		if seen[c.name] {
			t.Fatalf("%s is there twice", c.name)
		}
		seen[c.name] = true
		if reason, ok := strings.CutPrefix(f[1], "- needs"); ok {
			c.skip = "needs" + reason
		} else if reason, ok := strings.CutPrefix(f[1], "- would"); ok {
			c.skip = "would" + reason
		}
		if c.skip != "" {
			out = append(out, c)
			continue
		}
		if path, rest, ok := strings.Cut(strings.TrimPrefix(f[1], "["), "] "); ok && f[1][0] == '[' {
			f[1] = rest
			if _, err := os.Stat(path); err != nil {
				c.skip = "needs " + path
				out = append(out, c)
				continue
			}
		}
		m := regexp.MustCompile(`^(\S+) (\S+) \| (\S+) \| (.*?) ?\| ((?:--\S+|host) .*)$`).FindStringSubmatch(f[1])
		if m == nil {
			t.Fatalf("%s: five fields are wanted: %s", c.name, line)
		}
		c.errnos, c.call, c.least = strings.Split(m[1], "/"), m[2], strings.TrimSpace(m[4])
		for l := range strings.SplitSeq(m[3], ",") {
			c.layers = append(c.layers, strings.Split(l, "/"))
		}
		c.args = whyArgs(t, bin, dir, m[5])
		out = append(out, c)
	}
	return out
}

var whyToken = regexp.MustCompile(`\{sc [^}]*\}|'[^']*'|\S+`)

// whyArgs splits a case's command and fills in what stands in braces.
func whyArgs(t *testing.T, bin, dir, text string) (args []string) {
	t.Helper()
	text = strings.ReplaceAll(text, "{dir}", dir)
	if strings.Contains(text, "{pid}") {
		text = strings.ReplaceAll(text, "{pid}", strconv.Itoa(sleeper(t)))
	}
	for _, w := range whyToken.FindAllString(text, -1) {
		switch {
		case strings.HasPrefix(w, "{sc "):
			args = append(args, rawCall(t, strings.Fields(strings.Trim(w, "{}"))[1:])...)
		case w[0] == '\'':
			args = append(args, strings.Trim(w, "'"))
		case strings.Contains(w, "{profile:"):
			before, ref, _ := strings.Cut(strings.TrimSuffix(w, "}"), "{profile:")
			doc, err := exec.Command(bin, "profile", "show", ref).Output()
			if err != nil {
				t.Fatalf("profile show %s: %v", ref, err)
			}
			name := filepath.Join(dir, strings.ReplaceAll(ref, ":", "-")+".json")
			if err := os.WriteFile(name, doc, 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, before+name)
		default:
			args = append(args, w)
		}
	}
	return args
}

// rawCall is a command that makes one system call. Perl is on every Debian.
func rawCall(t *testing.T, words []string) []string {
	t.Helper()
	arch, err := abi.ParseArch("amd64")
	if err != nil {
		t.Fatal(err)
	}
	nr, ok := arch.Nr(words[0])
	if !ok {
		t.Fatalf("no system call %s", words[0])
	}
	list := []string{strconv.Itoa(int(nr))}
	for _, w := range words[1:] {
		switch {
		case w == "buf":
			w = `("\0" x 4096)`
		case w == "adj":
			w = `(pack("L", 0x8001) . "\0" x 400)`
		case strings.HasPrefix(w, "s:"):
			w = `("` + w[2:] + `" . "")`
		}
		list = append(list, w)
	}
	// A constant of Perl's is read-only, and so no memory to pass.
	return []string{"perl", "-e", `my ($nr, @a) = (` + strings.Join(list, ", ") + `); my $r = syscall($nr, @a); die "$!\n" if $r < 0;`}
}

// sleeper is a process of ours that runs as long as the test.
func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func whyFixtures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][]string{
		{"cp", "/bin/true", dir + "/admin"}, {"setcap", "cap_sys_admin=ep", dir + "/admin"},
		{"cp", "/bin/true", dir + "/bind"}, {"setcap", "cap_net_bind_service=ep", dir + "/bind"},
		{"cp", "/bin/true", dir + "/dump"}, {"setcap", "cap_net_admin,cap_net_raw=ep", dir + "/dump"},
		{"cp", "/bin/ping", dir + "/ping"},
		{"touch", dir + "/private"}, {"chmod", "600", dir + "/private"}, {"chown", "1000", dir + "/private"},
		{"cp", "/usr/bin/id", dir + "/suid"}, {"chmod", "4755", dir + "/suid"},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", c, err, out)
		}
	}
	return dir
}

func buildPorthole(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("PORTHOLE_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(t.TempDir(), "porthole")
	cmd := exec.Command("go", "build", "-o", bin, "porthole/cmd/porthole-full")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}
