package ocicli

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// flags are a verb's options, and what the command line has for them.
type flags struct {
	*flag.FlagSet
	usage, short string
	args         []string
}

func newFlags(name, usage string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	f.SetOutput(io.Discard)
	return f
}

// alias gives an option a second name.
func (f *flags) alias(name, short string) {
	o := f.Lookup(name)
	f.Var(o.Value, short, "`--"+name+"`")
}

// many collects the values of an option that may come several times.
type many []string

func (m *many) String() string { return strings.Join(*m, ",") }

func (m *many) Set(s string) error { *m = append(*m, s); return nil }

func (f *flags) list(name, usage string) *many {
	m := &many{}
	f.Var(m, name, usage)
	return m
}

// parse reads args and returns those that are no options. mixed lets options follow them.
func (f *flags) parse(args []string, mixed bool) (rest []string, err error) {
	for {
		if err := f.FlagSet.Parse(args); err != nil {
			return nil, err
		}
		left := f.FlagSet.Args()
		if !mixed || len(left) == 0 {
			return append(rest, left...), nil
		}
		if n := len(args) - len(left); n > 0 && args[n-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// ids parses the verb's own arguments, options among them, and wants at least least and at most most.
func (f *flags) ids(least, most int) ([]string, error) {
	rest, err := f.parse(f.args, true)
	if err != nil {
		return nil, err
	}
	if len(rest) < least || len(rest) > most {
		return nil, fmt.Errorf("%s: got %d arguments, want: %s %s %s", f.Name(), len(rest), name, f.Name(), f.usage)
	}
	return rest, nil
}

// id is ids for verbs with one container and nothing else.
func (f *flags) id() (string, error) {
	ids, err := f.ids(1, 1)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}
