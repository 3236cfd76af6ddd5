// Command profiles adds the default profile of a release to seccomp/profile/builtin.txt.
//
//	go run ./internal/gen/profiles -engine docker -date 2026-05-06 default.json 29.4.3 29.5.0
//
// reads the document that those releases came with and writes the whole table anew, each block
// as edits of the one that makes it shortest. Without arguments it only writes the table anew.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"porthole/seccomp/profile"
)

const table = "seccomp/profile/builtin.txt"

// block is the profile that some releases of an engine share.
type block struct {
	engine, date string
	versions     []string
	lines        []string
}

func main() {
	engine := flag.String("engine", "docker", "whose `releases` they are")
	date := flag.String("date", "", "`day` of the first of them, 2026-05-06")
	flag.Parse()
	if err := run(*engine, *date, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "profiles:", err)
		os.Exit(1)
	}
}

func run(engine, date string, args []string) error {
	blocks, err := known()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		if len(args) < 2 || date == "" {
			return fmt.Errorf("want -date, a document and its versions")
		}
		data, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		p, warnings, err := profile.Parse(args[0], data)
		if err != nil {
			return err
		}
		for _, w := range warnings {
			fmt.Fprintln(os.Stderr, "profiles:", w)
		}
		b := block{engine, date, args[1:], lines(p)}
		i := 0
		for i < len(blocks) && (blocks[i].engine != engine || blocks[i].date > date) {
			i++
		}
		blocks = slices.Insert(blocks, i, b)
	}
	return os.WriteFile(table, []byte(text(blocks)), 0o644)
}

// known returns the blocks that the table has now, in its order.
func known() ([]block, error) {
	var out []block
	for _, r := range profile.Releases() {
		same := func(b block) bool { return b.engine == r.Engine && b.versions[0] == r.Since }
		i := slices.IndexFunc(out, same)
		if i < 0 {
			p, err := profile.Builtin(r.String())
			if err != nil {
				return nil, err
			}
			i = len(out)
			out = append(out, block{r.Engine, r.Date, []string{r.Since}, lines(p)})
		}
		if r.Version != r.Since {
			out[i].versions = slices.Insert(out[i].versions, 1, r.Version)
		}
	}
	return out, nil
}

// lines is a profile as text, without comments and with the names of every entry sorted:
// their order says nothing.
func lines(p *profile.Profile) []string {
	for i := range p.Entries {
		p.Entries[i].Comment = ""
		slices.Sort(p.Entries[i].Names)
	}
	return strings.Split(strings.TrimSuffix(p.String(), "\n"), "\n")
}

const head = `# The default profiles of container engines, by release. Form: builtin.go and text.go.
# docker: profiles/seccomp/default.json of every tag of github.com/moby/moby that changed it, to 28.5;
#   from 29 on default.json of the module github.com/moby/profiles/seccomp that the tag requires.
# podman: pkg/seccomp/seccomp.json of the module go.podman.io/common that the tag requires.
# containerd: contrib/seccomp/seccomp_default.go of the tag, its Go code's cases as conditions.
# moby/profiles: default.json of the module's tag.
`

func text(blocks []block) string {
	out := head
	for i, b := range blocks {
		body, base := b.lines, ""
		for _, other := range blocks[:i] {
			if e := edits(other.lines, b.lines); size(e) < size(body) {
				body, base = e, " < "+other.engine+":"+other.versions[0]
			}
		}
		out += "\n@ " + b.engine + " " + b.date + " " + strings.Join(b.versions, " ") + base + "\n" + strings.Join(body, "\n") + "\n"
	}
	return out
}

func size(lines []string) int { return len(strings.Join(lines, "\n")) }

// edits turns old into new: see builtin.go. Lines that both have, in their order, stay;
// between those an entry that differs in its calls alone is edited.
func edits(old, new []string) []string {
	// common[i][j] is how many lines old[i:] and new[j:] share; an edited entry counts as half.
	common := make([][]int, len(old)+1)
	for i := range common {
		common[i] = make([]int, len(new)+1)
	}
	worth := func(i, j int) int {
		switch {
		case old[i] == new[j]:
			return 4
		case shape(old[i]) == shape(new[j]):
			return 1
		}
		return 0
	}
	for i := len(old) - 1; i >= 0; i-- {
		for j := len(new) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if w := worth(i, j); w > 0 {
				common[i][j] = max(common[i][j], w+common[i+1][j+1])
			}
		}
	}
	var out []string
	count := func(op string, n int) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s%d", op, n))
		}
	}
	same, gone, i, j := 0, 0, 0, 0
	flush := func() { count("=", same); count("-", gone); same, gone = 0, 0 }
	for i < len(old) || j < len(new) {
		w := 0
		if i < len(old) && j < len(new) {
			w = worth(i, j)
		}
		switch {
		case w == 4:
			if gone > 0 {
				flush()
			}
			same++
			i, j = i+1, j+1
		case w > 0 && common[i][j] == w+common[i+1][j+1]:
			flush()
			out = append(out, "~"+renamed(old[i], new[j]))
			i, j = i+1, j+1
		case i < len(old) && (j == len(new) || common[i+1][j] >= common[i][j+1]):
			gone++
			i++
		default:
			flush()
			out = append(out, new[j])
			j++
		}
	}
	flush()
	return out
}

// shape is a line without its calls, empty for one that has none.
func shape(line string) string {
	head, rest, ok := strings.Cut(line, ": ")
	if !ok || strings.HasPrefix(head, "arch") {
		return line
	}
	_, tests, _ := strings.Cut(rest, " if ")
	return head + " if " + tests
}

func renamed(old, new string) string {
	a, b := calls(old), calls(new)
	out := ""
	for _, n := range b {
		if !slices.Contains(a, n) {
			out += " +" + n
		}
	}
	for _, n := range a {
		if !slices.Contains(b, n) {
			out += " -" + n
		}
	}
	return out
}

func calls(line string) []string {
	_, rest, _ := strings.Cut(line, ": ")
	rest, _, _ = strings.Cut(rest, " if ")
	return strings.Fields(rest)
}
