package cli

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
	"porthole/spec"
	"porthole/workload/dialect"
)

var update = flag.Bool("update", false, "write the second half of docs/flags.md anew")

// others begins the half of docs/flags.md that is made here; package dialect makes the first.
const others = "\n## The other commands\n"

// TestFlagsPage holds every flag of every command's --help against docs/flags.md.
func TestFlagsPage(t *testing.T) {
	const page = "../../docs/flags.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	first, got, _ := strings.Cut(string(text), others)
	want := otherFlags()
	if *update {
		if err := os.WriteFile(page, []byte(first+others+want), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("docs/flags.md is not what --help says; run go test ./internal/cli -run TestFlagsPage -update (-want +got):\n%s", d)
	}
}

// otherFlags are the tables of the flags that package dialect has not.
func otherFlags() string {
	var b strings.Builder
	b.WriteString(`
<!-- made from internal/cli by ` + "`go test ./internal/cli -run TestFlagsPage -update`" + ` -->

` + "`--root DIR` and `--verbose`" + ` stand before or behind any command. Docker's other flags of the commands that are Docker's are not
known to porthole: they are errors. Where something fails, Docker's exit with 1, as with Docker, and with 125 where a flag is
wrong; porthole's own exit with 125, but for ` + "`profile diff`, `profile audit` and `convert --strict`" + `, whose 1 is an answer.

| command | flag | value | |
| --- | --- | --- | --- |
`)
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	dialect.RunFlags(known)
	type row struct{ flag, value, use string }
	whose := map[row][]string{} // commands
	var rows []row
	add := func(command string, r row) {
		if whose[r] == nil {
			rows = append(rows, r)
		}
		whose[r] = append(whose[r], "`"+command+"`")
	}
	_ = eachCommand((&app{}).command(nil), func(c *cobra.Command) error {
		path := strings.TrimPrefix(c.CommandPath(), "porthole ")
		if slices.Contains([]string{"porthole", "exec"}, path) || strings.HasPrefix(path, "completion") {
			return nil
		}
		runs := slices.Contains([]string{"run", "plan", "why"}, path)
		none := true
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || runs && known.Lookup(f.Name) != nil {
				return
			}
			none = false
			kind, use := pflag.UnquoteUsage(f)
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			add(path, row{name, kind, strings.ReplaceAll(use, "|", "\\|")})
		})
		switch {
		case path == "plan" || path == "why":
			add(path, row{"`run`'s", "", "all of them"})
		case none && !c.HasSubCommands():
			add(path, row{"none", "", ""})
		}
		return nil
	})
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.Join(whose[r], ", "), r.flag, r.value, r.use)
	}
	return b.String()
}

// TestListings holds the lines of programs that docs/filter.md shows against what Docker's default profile compiles to.
func TestListings(t *testing.T) {
	text, err := os.ReadFile("../../docs/filter.md")
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Builtin("docker")
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Capabilities("docker", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	policy, _ := p.Resolve(profile.Conditions{Caps: set, Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}})
	prog, err := filter.Compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	listing := strings.Split(prog.Disassemble(), "\n")
	shown := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if w := strings.Fields(line); len(w) > 2 && strings.Trim(w[0], "0123456789") == "" && slices.Contains([]string{"ld", "jeq", "jge", "jset", "ret"}, w[1]) {
			shown++
			if !slices.Contains(listing, line) {
				t.Errorf("docs/filter.md shows %q, and no such line is in what `porthole profile disasm docker` prints", line)
			}
		}
	}
	if shown < 10 {
		t.Errorf("docs/filter.md shows %d lines of a program", shown)
	}
}
