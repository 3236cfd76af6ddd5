package fast

import (
	"errors"
	"slices"
	"testing"
)

func TestGlobals(t *testing.T) {
	for _, tt := range []struct {
		args    []string
		root    string
		verbose bool
		rest    []string
		ok      bool
	}{
		{nil, DefaultRoot(), false, nil, true},
		{[]string{"run", "--root", "/x", "host"}, DefaultRoot(), false, []string{"run", "--root", "/x", "host"}, true},
		{[]string{"--root", "/a", "--verbose", "run"}, "/a", true, []string{"run"}, true},
		{[]string{"--root=/a=b", "ps"}, "/a=b", false, []string{"ps"}, true},
		{[]string{"--root"}, DefaultRoot(), false, nil, false},
		{[]string{"--help"}, DefaultRoot(), false, nil, false},
		{[]string{"", "x"}, DefaultRoot(), false, []string{"", "x"}, true},
	} {
		a, rest, ok := globals(tt.args)
		if a.Root != tt.root || a.Verbose != tt.verbose || !slices.Equal(rest, tt.rest) || ok != tt.ok {
			t.Errorf("%q: %+v %q %v", tt.args, a, rest, ok)
		}
	}
}

// What is a mistake, or another's, is left to the whole program before anything is done.
func TestLeft(t *testing.T) {
	for _, args := range [][]string{
		{"ps"}, {"run"}, {"run", "--nosuch"}, {"run", "--help"}, {"run", "--why", "host", "true"}, {"run", "-v", "relative:x", "host"},
		{"run", "--env-file", "-", "host"}, {"exec"}, {"exec", "--nosuch", "x", "y"}, {"monitor"}, {"monitor", "a", "b"}, {""},
	} {
		a := &App{Root: t.TempDir()}
		if err := a.carry(args[0], args[1:]); !errors.Is(err, errWhole) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
