package document

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porthole/workload/dialect"
)

var update = flag.Bool("update", false, "write the golden files and the pages of docs/dialects anew")

// caller is one with a home, some files and no more.
var caller = Options{Outside: dialect.Outside{
	Dir: "/home/u",
	Env: func(name string) (string, bool) { return "/home/u", name == "HOME" },
	ReadFile: func(name string) ([]byte, error) {
		switch name {
		case "/home/u/p/a.json", kubeletProfiles + "p/a.json":
			return []byte(profileText), nil
		case "/e":
			return []byte("E=1\n"), nil
		}
		return nil, errors.New("open " + name + ": no such file or directory")
	},
}}

// chosen are the containers of texts with several.
var chosen = map[string]string{"pod.yaml": "web", "compose.yaml": "web", "group-old.json": "one", "debug.yaml": "look"}

// each calls f with every text of testdata.
func each(t *testing.T, f func(t *testing.T, d *Dialect, file string, text []byte)) {
	for _, d := range All() {
		files, err := filepath.Glob("testdata/" + d.Name + "/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("no texts for %s: %v", d.Name, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, ".golden") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(d.Name+"/"+path.Base(file), func(t *testing.T) { f(t, d, file, text) })
		}
	}
}

// Each text of testdata is guessed, and says as a docker line and as losses what its golden file holds.
func TestGolden(t *testing.T) {
	each(t, func(t *testing.T, d *Dialect, file string, text []byte) {
		if got, err := Guess(text); err != nil || got.Name != d.Name {
			t.Errorf("guessed as %v, %v", got, err)
		}
		o := caller
		o.Container = chosen[path.Base(file)]
		w, losses, err := d.Read(text, o)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		line, more, err := docker().Write(w, caller)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		for _, l := range losses {
			fmt.Fprintf(&b, "lost reading, line %d: %s\n", l.Line, l)
		}
		for _, l := range more {
			fmt.Fprintf(&b, "lost writing: %s\n", l)
		}
		golden := file + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("want\n%s\ngot\n%s", want, b.String())
		}
	})
}

// What the tables say is kept is looked at in some text, and what is looked at stands there; and what they say is lost is
// lost in some text, for that reason.
func TestTables(t *testing.T) {
	kept, lost := map[string]map[string]bool{}, map[string]map[string]bool{}
	each(t, func(t *testing.T, d *Dialect, file string, text []byte) {
		if kept[d.Name] == nil {
			kept[d.Name], lost[d.Name] = map[string]bool{}, map[string]bool{}
		}
		o := caller
		o.Container = chosen[path.Base(file)]
		var shapes []string
		o.kept = &shapes
		_, losses, err := d.Read(text, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shapes {
			kept[d.Name][s] = true
		}
		for _, l := range losses {
			lost[d.Name][l.Why] = true
		}
	})
	for _, d := range All() {
		for s := range kept[d.Name] {
			if _, ok := find(d.Kept, s); !ok {
				t.Errorf("%s: %s is looked at, and its table has no row for it", d.Name, s)
			}
		}
		for _, row := range d.Kept {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(kept[d.Name])), func(s string) bool { return within(s, row.Member) }) {
				t.Errorf("%s: the table says that %s is kept, and no text shows it", d.Name, row.Member)
			}
			if row.To == "" {
				t.Errorf("%s: %s is kept as nothing", d.Name, row.Member)
			}
		}
		seen := map[string]bool{}
		for _, row := range d.Lost {
			if row.Why != passedOver && !lost[d.Name][row.Why] {
				t.Errorf("%s: the table says that %s is lost: %s; no text shows it", d.Name, row.Member, row.Why)
			}
			if seen[row.Member] {
				t.Errorf("%s: %s stands twice among what is lost", d.Name, row.Member)
			}
			seen[row.Member] = true
		}
	}
}
