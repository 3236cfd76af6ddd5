package document

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const pages = "../../../docs/dialects/"

// members groups rows that have the same word, in the order in which they come.
func members(rows []Row, word func(Row) string) (words []string, of map[string][]string) {
	of = map[string][]string{}
	for _, r := range rows {
		w := word(r)
		if _, ok := of[w]; !ok {
			words = append(words, w)
		}
		of[w] = append(of[w], "`"+r.Member+"`")
	}
	return words, of
}

// page is a dialect's page, from its tables and its texts.
func page(d *Dialect) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n<!-- made from workload/dialect/document by `go test ./workload/dialect/document -update` -->\n\n", d.Title)
	fmt.Fprintf(&b, "`porthole convert --from %s` and `--to %s`", d.Name, d.Name)
	if d.Also != nil {
		fmt.Fprintf(&b, " (also `%s`)", strings.Join(d.Also, "`, `"))
	}
	fmt.Fprintf(&b, ". Source: %s.\n\n%s\n", d.Source, d.About)
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	fmt.Fprintf(&b, "\n## Kept\n\n| member | what it is with `docker run` |\n| --- | --- |\n")
	for _, r := range d.Kept {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Member, cell(r.To))
	}
	fmt.Fprintf(&b, "\n## Lost when it is read\n\nEach is named where a text says it, and so is every member that is not in these tables.\n\n| because | members |\n| --- | --- |\n")
	words, of := members(d.Lost, func(r Row) string { return r.Why })
	for _, w := range words {
		if w != passedOver {
			fmt.Fprintf(&b, "| %s | %s |\n", cell(w), strings.Join(of[w], " "))
		}
	}
	if passed := of[passedOver]; passed != nil {
		fmt.Fprintf(&b, "\nPassed over, as they say nothing of the container: %s.\n", strings.Join(passed, " "))
	}
	fmt.Fprintf(&b, "\n## Lost when it is written\n\nMembers of a workload (package workload) for which there is no word here, at least in some cases.\n\n| because | members |\n| --- | --- |\n")
	rows := slices.Clone(d.Wordless)
	slices.SortStableFunc(rows, func(a, b Row) int { return order(a.Member) - order(b.Member) })
	words, of = members(rows, func(r Row) string { return r.Why })
	for _, w := range words {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(w), strings.Join(of[w], " "))
	}
	return b.String()
}

// index is the pages' first.
func index() string {
	var b strings.Builder
	b.WriteString("# Dialects\n\n<!-- made from workload/dialect/document by `go test ./workload/dialect/document -update` -->\n\n" + `The same few things are said in many ways. porthole reads and writes these; each goes through one type,
` + "`workload.Workload`" + `, so any can be turned into any other, and what is lost on the way is named.

    porthole convert --to docker pod.yaml
    porthole convert --from docker --to kube --strict run.sh   # exit 1 if anything is lost
    porthole run -f pod.yaml --container web                   # the same files, run
    porthole why -f pod.yaml --syscall 'mount("proc", "/proc", "proc")'

A text of more than 4 MiB (MaxBytes), of more than 200000 values with aliases written out (MaxValues), with lists and maps more
than 64 deep in one another (MaxDepth), with keys so long that the paths of its values come to more than 64 MiB (MaxPaths), or with
variables that come to more than 16 MiB (MaxFilled) is refused.

| dialect | | kept, of what is known | defaults |
| --- | --- | --- | --- |
`)
	for _, d := range All() {
		engine := d.Engine
		if engine == "" {
			engine = "docker"
		}
		count := fmt.Sprintf("%d of %d members", len(d.Kept), len(d.Kept)+len(d.Lost))
		if d.Name == "docker" {
			count = "[every flag](../flags.md)"
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | `%s` | %s | %s |\n", d.Title, d.Name, d.File, count, engine)
	}
	b.WriteString("\n## What each can't say\n\nA member of a workload, and where it is lost, at least in some cases (–).\n\n| |")
	all := map[string]map[string]bool{}
	for _, d := range All() {
		fmt.Fprintf(&b, " %s |", d.Name)
		for _, r := range d.Wordless {
			m := strings.TrimSuffix(r.Member, "[]")
			if all[m] == nil {
				all[m] = map[string]bool{}
			}
			all[m][d.Name] = true
		}
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(All())+1) + "\n")
	names := slices.Sorted(maps.Keys(all))
	slices.SortStableFunc(names, func(a, b string) int { return order(a) - order(b) })
	for _, m := range names {
		fmt.Fprintf(&b, "| `%s` |", m)
		for _, d := range All() {
			if all[m][d.Name] {
				b.WriteString(" – |")
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// docs/dialects is what the tables say.
func TestPages(t *testing.T) {
	want := map[string]string{"README.md": index()}
	for _, d := range All() {
		if d.Name != strings.ToLower(d.Name) || d.Title == "" || d.Source == "" || d.About == "" || d.File == "" {
			t.Errorf("%+v lacks something", d.Name)
		}
		want[d.Name+".md"] = page(d)
	}
	for name, text := range want {
		if *update {
			if err := os.MkdirAll(pages, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(pages+name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(pages + name)
		if err != nil || string(got) != text {
			t.Errorf("docs/dialects/%s is not what the tables say (%v): go test ./workload/dialect/document -update", name, err)
		}
	}
	files, err := filepath.Glob(pages + "*")
	if err != nil || len(files) != len(want) {
		t.Errorf("%d pages in docs/dialects, %v; want %d", len(files), err, len(want))
	}
}
