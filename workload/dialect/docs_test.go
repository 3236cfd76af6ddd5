package dialect

import (
	"errors"
	goflag "flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var update = goflag.Bool("update", false, "write docs/flags.md anew")

const page = "../../docs/flags.md"

// flagsPage is docs/flags.md, from the tables.
func flagsPage() string {
	var b strings.Builder
	b.WriteString(`# Docker's flags, and what porthole does with them

<!-- made from workload/dialect/flags.go by ` + "`go test ./workload/dialect -update`" + ` -->

A ` + "`docker run` or `docker exec`" + ` line works with ` + "`porthole`" + ` in its place. Values are written as for
Docker; what porthole does not do it refuses by name, and nothing is ignored. Exit codes are Docker's: the program's own (128 and the
signal's number, if one ended it), 127 where there is no such program, 126 where it cannot be run, and 125 where porthole itself
fails or refuses. Three things differ:

- **What our own bounding set lacks is left out**, with a warning that names it. Docker 29 does so for
  ` + "`--cap-add ALL` and `--privileged`" + `, and refuses to start for a capability asked for by name.
- **` + "`exec`" + ` takes ` + "`--cap-add`, `--cap-drop`, `--privileged` and `--security-opt seccomp=…`" + ` for that one session.**
  A privileged session has no filter; with Docker it keeps the container's.
- **` + "`run` and `exec`" + ` exit with 125 for whatever is not the program's doing.** Docker's exit with 1 for a container that is not
  there, a command line without an image, and a terminal that is none; its ` + "`exec`" + ` with 126 for a program that is not there.

`)
	for _, t := range []struct {
		title string
		rows  []flag
	}{{"run", runFlags()}, {"exec", execFlags()}} {
		fmt.Fprintf(&b, "## porthole %s\n\n| flag | value | |\n| --- | --- | --- |\n", t.title)
		var refused []flag
		for _, f := range sorted(t.rows) {
			if f.bind == nil {
				refused = append(refused, f)
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", spelled(f), f.kind, cell(f.use))
		}
		fmt.Fprintf(&b, "\n### Refused\n\n| flag | because | but for |\n| --- | --- | --- |\n")
		for _, f := range refused {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", spelled(f), cell(f.refused), cell(strings.Join(f.same, ", ")))
		}
		b.WriteString("\n")
	}
	b.WriteString(`Of flags that are taken, these values are refused: ` + "`--network` other than `none` and `host`" + `;
` + "`container:NAME`" + ` and ` + "`shareable`" + ` of any namespace; ` + "`--mount` of the types `image`, `npipe` and `cluster`" + `;
` + "`--device`" + ` by CDI name.
`)
	return b.String()
}

// others begins what internal/cli writes behind it: the flags of every other command.
const others = "\n## The other commands\n"

func sorted(rows []flag) []flag {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b flag) int { return strings.Compare(a.name, b.name) })
	return rows
}

func spelled(f flag) string {
	s := "`--" + f.name + "`"
	if f.short != "" {
		s = "`-" + f.short + "`, " + s
	}
	return s
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func TestFlagsPage(t *testing.T) {
	want := flagsPage()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got, rest, _ := strings.Cut(string(text), others)
	if *update {
		if err := os.WriteFile(page, []byte(want+others+rest), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("docs/flags.md is not what the tables say; run go test ./workload/dialect -update (-want +got):\n%s", d)
	}
}

// Each row is either taken or refused with a reason, and no name stands twice.
func TestTables(t *testing.T) {
	for title, rows := range map[string][]flag{"run": runFlags(), "exec": execFlags()} {
		seen := map[string]bool{}
		for _, f := range rows {
			if (f.bind == nil) == (f.refused == "") || f.use == "" || f.bind != nil && f.same != nil {
				t.Errorf("%s --%s: taken and refused, or neither", title, f.name)
			}
			for _, name := range []string{f.name, f.short} {
				if name != "" && seen[name] {
					t.Errorf("%s: %s stands twice", title, name)
				}
				seen[name] = true
			}
		}
	}
}

// Every refused flag says so, whatever its value, and its harmless values pass.
func TestRefused(t *testing.T) {
	for _, f := range runFlags() {
		if f.bind != nil {
			continue
		}
		arg := "--" + f.name + "=some"
		if f.kind == "" {
			arg = "--" + f.name + "=" + map[bool]string{true: "false", false: "true"}[slices.Contains(f.same, "true")]
		}
		_, err := Docker([]string{arg, "host"}, outside)
		want := "--" + f.name + " is not supported: " + f.refused
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %q", arg, err, want)
		}
		for _, v := range f.same {
			if _, err := Docker([]string{"--" + f.name + "=" + v, "host"}, outside); err != nil {
				t.Errorf("--%s=%s: %v", f.name, v, err)
			}
		}
	}
}

// The Docker client that is installed, whatever its age, has no flag that is not in the tables,
// and spells those that it has as they are spelled here.
func TestKnowsDockersFlags(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker client is installed")
	}
	row := regexp.MustCompile(`(?m)^ +(?:-(\w), )?--([a-z0-9-]+)`)
	for title, rows := range map[string][]flag{"run": runFlags(), "exec": execFlags()} {
		out, err := exec.Command("docker", title, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		found := row.FindAllStringSubmatch(string(out), -1)
		if len(found) < 8 {
			t.Fatalf("docker %s --help shows %d flags", title, len(found))
		}
		for _, m := range found {
			i := slices.IndexFunc(rows, func(f flag) bool { return f.name == m[2] })
			if m[2] == "help" {
				continue
			}
			if i < 0 || rows[i].short != m[1] {
				t.Errorf("docker %s has -%s --%s", title, m[1], m[2])
			}
		}
	}
}

// What Docker's client refuses by itself is refused here in the same words: ours may go on
// with a hint, or say first which file they are about.
func TestSameWordsAsDocker(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker client is installed")
	}
	dir := t.TempDir()
	for name, doc := range map[string]string{"env.space": "A B=1\n", "env.none": "=1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inDir := Outside{Dir: dir, ReadFile: func(name string) ([]byte, error) {
		if filepath.IsAbs(name) {
			return os.ReadFile(name)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		var path *os.PathError
		if errors.As(err, &path) {
			path.Path = name
		}
		return data, err
	}}
	for _, s := range []string{
		"-m x h", "--shm-size x h", "--memory-swap x h", "--cpus x h", "--cpus 0.0000000001 h", "--pids-limit x h", "--stop-timeout x h", "--oom-score-adj x h", "--init=x h",
		"--ulimit nofile h", "--ulimit nope=1 h", "--ulimit nofile=2:1 h", "--ulimit nofile=-1:1 h", "--ulimit nofile=1:2:3 h", "--sysctl kernel.panic=1 h", "--sysctl net.ipv4.ip_forward h",
		"--device-cgroup-rule 'c 1 rwm' h", "-e =x h", "-l =x h", "--env-file nope h", "--env-file env.space h", "--env-file env.none h",
		"--security-opt seccomp=/nonexistent.json h", "--security-opt nope h", "--security-opt seccomp= h",
		"--pid nope h", "--uts nope h", "--userns nope h", "--cgroupns nope h", "--cap-ad X h", "-Z h", "--user", "--group-add",
		"--mount bind h", "--mount type=bind,src=/a h", "--mount type=bind,src=/a,dst=/b,tmpfs-size=1 h", "--mount type=bind,src=/a,dst=/b,nope=1 h",
		"--mount type=bind,src=/a,dst=/b,bind-recursive=readonly h", "--mount type=bind,src=/a,dst=/b,readonly=x h", "--mount type=bind,src=/a,dst=/b,bind-recursive=x h",
		"--mount type=tmpfs,dst=/b,tmpfs-mode=9 h", "--mount type=tmpfs,dst=/b,tmpfs-size=x h", "--mount 'type=bind, src=/a,dst=/b' h", "--mount type=bind,src=/a,dst=/b,ro, h",
	} {
		cmd := exec.Command("docker", append([]string{"create"}, line(s)...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "DOCKER_HOST=unix:///nonexistent/docker.sock")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("docker create %s: %s", s, out)
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(string(out), "docker: "), "\n")
		_, err = Docker(line(s), inDir)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%s\n\tdocker: %s\n\tours: %v", s, want, err)
		}
	}
}

// Help shows what is taken and nothing else.
func TestHelp(t *testing.T) {
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	RunFlags(fs)
	help := fs.FlagUsages()
	for _, f := range runFlags() {
		if shown := regexp.MustCompile(`--` + f.name + `\s`).MatchString(help); shown != (f.bind != nil && !f.alias) {
			t.Errorf("--%s shown in help: %t", f.name, shown)
		}
	}
}
