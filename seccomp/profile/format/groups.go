package format

import (
	_ "embed"
	"strings"
)

//go:embed systemd.txt
var systemdGroups string

//go:embed firejail.txt
var firejailGroups string

// group returns the calls of a group, those of the groups in it too; false if there is none of that name.
func group(table, name string) ([]string, bool) {
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != name {
			continue
		}
		var out []string
		for _, w := range words[1:] {
			if w[0] == '@' {
				inner, _ := group(table, w)
				out = append(out, inner...)
			} else {
				out = append(out, w)
			}
		}
		return out, true
	}
	return nil, false
}

// groupNames lists a table's groups, in its order.
func groupNames(table string) (out []string) {
	for line := range strings.Lines(table) {
		if line[0] == '@' {
			name, _, _ := strings.Cut(line, " ")
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}
