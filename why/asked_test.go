package why

import (
	_ "embed"
	"slices"
	"strings"
	"testing"
)

//go:embed testdata/asked.txt
var askedCases string

// Each question has its verdict, its errno, the first layer and all layers.
func TestAsked(t *testing.T) {
	n, verdicts, errnos, firsts, alls := 0, 0, 0, 0, 0
	for line := range strings.Lines(askedCases) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		name, verdict, errno := f[0], f[1], f[2]
		c := readCase(t, strings.Join(append([]string{name, "-"}, f[3:]...), " "))
		a, err := Ask(c.call.String(), c.scene)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var layers []string
		for _, l := range a.Layers {
			layers = append(layers, l.Layer.String())
		}
		got := "-"
		if a.Errno != 0 {
			got = a.Errno.String()
		}
		first, all := true, true
		if c.layers[0] != "-" {
			first = len(a.Layers) > 0 && fits(a.Layers[0].Layer, c.layers[0])
			for _, want := range c.layers {
				all = all && slices.ContainsFunc(a.Layers, func(s Suspect) bool { return fits(s.Layer, want) })
			}
		}
		n++
		for _, x := range []struct {
			ok  bool
			sum *int
		}{{a.Verdict.String() == verdict, &verdicts}, {got == errno, &errnos}, {first, &firsts}, {all, &alls}} {
			if x.ok {
				*x.sum++
			}
		}
		if a.Verdict.String() != verdict || got != errno || !first || !all {
			t.Errorf("%s: %v %s by %v, want %s %s by %v", name, a.Verdict, got, layers, verdict, errno, c.layers)
		}
	}
	t.Logf("%d asked: verdict %d, errno %d, first layer %d, all layers %d", n, verdicts, errnos, firsts, alls)
}
