package near

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	names := []string{"openat", "openat2", "ptrace", "prctl", "open"}
	for _, c := range []struct {
		story, word string
		n           int
		want        []string
	}{
		{"a letter dropped", "opnat", 1, []string{"openat"}},
		{"two neighbours swapped count one", "ptrcae", 1, []string{"ptrace"}},
		{"case aside", "OPENAT", 1, []string{"openat"}},
		{"the nearest comes first", "openat3", 3, []string{"openat", "openat2", "open"}},
		{"nothing is near", "frobnicate", 2, []string{}},
		{"no word", "", 2, []string{}},
		{"none asked for", "openat", 0, []string{}},
	} {
		if got := Names(c.word, names, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q: got %q, want %q", c.story, c.word, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abcd", "acbd", 1},
	} {
		if got := distance(c.a, c.b); got != c.want || distance(c.b, c.a) != got {
			t.Errorf("%q to %q: %d, want %d (and back %d)", c.a, c.b, got, c.want, distance(c.b, c.a))
		}
	}
}
