package profile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"porthole/caps"
	"porthole/seccomp"
)

// TestDocs holds the generated parts of docs/profiles.md against what is so. -update rewrites them.
func TestDocs(t *testing.T) {
	const file = "../../docs/profiles.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	generated := false // inside a part that is written anew
	for line := range strings.Lines(string(data)) {
		ask, isAsk := strings.CutPrefix(line, "<!-- explain ")
		switch {
		case line == "<!-- end -->\n":
			generated = false
			out.WriteString(line)
		case isAsk:
			out.WriteString(line + "```\n" + explain(t, strings.TrimSuffix(ask, " -->\n")) + "```\n")
			generated = true
		case line == "<!-- history -->\n":
			out.WriteString(line + historyTable(t))
			generated = true
		case generated && line == "\n":
			generated = false
			out.WriteString(line)
		case !generated:
			out.WriteString(line)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if out.String() != string(data) {
		t.Errorf("%s is not up to date: go test ./seccomp/profile -run TestDocs -update", file)
	}
}

// historyTable is a row for each of Docker's profiles, the oldest first.
func historyTable(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("| releases | since | allowed | what changed |\n| --- | --- | --- | --- |\n")
	var before *behaviour
	releases := slices.DeleteFunc(Releases(), func(r Release) bool { return r.Engine != "docker" })
	slices.Reverse(releases)
	for len(releases) > 0 {
		first, n := releases[0], 1
		for n < len(releases) && releases[n].Since == first.Since {
			n++
		}
		name := first.Version
		if n > 1 {
			name += " … " + releases[n-1].Version
		}
		releases = releases[n:]
		b := behaviourOf(t, first.String())
		fmt.Fprintf(&out, "| %s | %s | %d | %s |\n", name, first.Date, b.allowed(), b.since(before))
		before = b
	}
	return out.String()
}

// behaviour is what a profile does: for each call a sign, and what capabilities add.
type behaviour struct {
	calls map[string]string
	caps  map[caps.Cap]map[string]bool
}

func behaviourOf(t *testing.T, ref string) *behaviour {
	t.Helper()
	p, err := Builtin(ref)
	if err != nil {
		t.Fatal(err)
	}
	signs := func(set caps.Set) map[string]string {
		c := amd64(set, "4.8")
		pol, _ := p.Resolve(c)
		tab := pol.Table(c.Arch)
		out := map[string]string{}
		for nr, name := range c.Arch.Calls() {
			clauses := tab.At(nr).Clauses
			switch v := clauses[0].Verdict; {
			case len(clauses) > 1:
				for i := range clauses {
					clauses[i].Verdict.Rule = 0 // where in the document does not matter
				}
				out[name] = fmt.Sprint("~", clauses)
			case v.Action == seccomp.Allow:
				out[name] = "+"
			case v.Why == seccomp.ByRule:
				out[name] = "!"
			}
		}
		return out
	}
	b := &behaviour{signs(dockerCaps), map[caps.Cap]map[string]bool{}}
	for _, k := range caps.Set(caps.All).List() {
		b.caps[k] = map[string]bool{}
		for name, sign := range signs(dockerCaps | caps.Of(k)) {
			if sign == "+" && b.calls[name] != "+" {
				b.caps[k][name] = true
			}
		}
	}
	return b
}

func (b *behaviour) allowed() (n int) {
	for _, sign := range b.calls {
		if sign == "+" {
			n++
		}
	}
	return n
}

// since says what changed after another.
func (b *behaviour) since(a *behaviour) string {
	if a == nil {
		return ""
	}
	var parts []string
	list := func(marks []string) string {
		slices.Sort(marks)
		return "`" + strings.Join(marks, "` `") + "`"
	}
	var marks []string
	for name, sign := range b.calls {
		if a.calls[name] != sign {
			marks = append(marks, sign[:1]+name)
		}
	}
	for name := range a.calls {
		if b.calls[name] == "" {
			marks = append(marks, "-"+name)
		}
	}
	if len(marks) > 0 {
		parts = append(parts, list(marks))
	}
	for _, k := range caps.Set(caps.All).List() {
		var marks []string
		for name := range b.caps[k] {
			if !a.caps[k][name] {
				marks = append(marks, "+"+name)
			}
		}
		for name := range a.caps[k] {
			if !b.caps[k][name] && b.calls[name] != "+" {
				marks = append(marks, "-"+name)
			}
		}
		if len(marks) > 0 {
			parts = append(parts, k.String()+" "+list(marks))
		}
	}
	if len(parts) == 0 {
		return "nothing on x86-64"
	}
	return strings.Join(parts, "; ")
}
