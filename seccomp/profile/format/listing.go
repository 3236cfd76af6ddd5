package format

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/near"
	"porthole/seccomp/profile"
)

// What a text may come to before it is refused.
const (
	maxWarnings = 1000    // as for JSON (package profile)
	maxListed   = 100_000 // calls of lists, with groups written out
)

// listing is a profile that comes of lists of calls on a line: systemd's and Firejail's.
type listing struct {
	d      *Document
	name   string
	listed int // calls so far
}

func newListing(name string) listing {
	return listing{d: &Document{Profile: &profile.Profile{}, places: map[string]place{}}, name: name}
}

func (l *listing) fail(at place, format string, args ...any) error {
	return &profile.SyntaxError{Name: l.name, Line: at.line, Column: at.column, Msg: fmt.Sprintf(format, args...)}
}

// named are the calls of an item: those of a group in table, or one. A name that is no call's is none, with a warning
// about path.
func (l *listing) named(item, table, path string, at place) ([]string, error) {
	calls := []string{item}
	isGroup := strings.HasPrefix(item, "@")
	if isGroup {
		var ok bool
		if calls, ok = group(table, item); !ok {
			return nil, l.fail(at, "no group of calls is called %s%s", item, meant(near.Names(item, groupNames(table), 1)))
		}
	}
	if l.listed += len(calls); l.listed > maxListed {
		return nil, l.fail(at, "more than %d calls, with groups written out", maxListed)
	}
	if isGroup || abi.Known(item) {
		return calls, nil
	}
	if len(l.d.Warnings) == maxWarnings {
		return nil, l.fail(at, "after %d warnings: this is no profile", maxWarnings)
	}
	l.d.unknown(item, path, at)
	return nil, nil
}

// unknown warns of a name that is no call's.
func (d *Document) unknown(name, path string, at place) {
	d.Warnings = append(d.Warnings, profile.Warning{Path: path, Line: at.line, Column: at.column,
		Msg: fmt.Sprintf("no system call is called %q, skipped%s", name, meant(abi.Nearest(name, 1)))})
}

// add puts a call to the last entry, if that says the same, or to one of its own.
func (l *listing) add(call string, at place, act specs.LinuxSeccompAction, errno *uint) {
	p := l.d.Profile
	n := len(p.Entries) - 1
	if n < 0 || p.Entries[n].Action != act || !sameNumber(p.Entries[n].ErrnoRet, errno) {
		var e profile.Entry
		e.Action, e.ErrnoRet = act, errno
		p.Entries = append(p.Entries, e)
		n++
		l.d.places[fmt.Sprintf("syscalls[%d]", n)] = at
	}
	e := &p.Entries[n]
	l.d.places[fmt.Sprintf("syscalls[%d].names[%d]", n, len(e.Names))] = at
	e.Names = append(e.Names, call)
}

func sameNumber(a, b *uint) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// listable is p as lists can say it, but for tests of arguments and actions: without conditions, of which it fails,
// and without names that would be something else on a line.
func listable(p *profile.Profile, reader string) (*profile.Profile, []Loss, error) {
	q := *p
	q.ArchMap = nil
	out, losses, err := plain(&q, reader)
	if err != nil {
		return nil, nil, err
	}
	if p.Flags != nil || p.ListenerPath != "" {
		losses = append(losses, Loss{Path: "flags", Msg: "flags and listener have no word"})
	}
	for i := range out.Entries {
		var names []string
		for j, n := range out.Entries[i].Names {
			if abi.Known(n) {
				names = append(names, n)
			} else {
				losses = append(losses, Loss{Path: fmt.Sprintf("syscalls[%d].names[%d]", i, j), Msg: fmt.Sprintf("no system call is called %q: it is left out", n)})
			}
		}
		out.Entries[i].Names = names
	}
	return out, losses, nil
}

// errnoName is an errno as such lists have it: its name, or where it has none its number.
func errnoName(n uint) string {
	word := abi.Errno(n).String()
	if _, err := abi.ParseErrno(word); err != nil {
		return strconv.FormatUint(uint64(n), 10)
	}
	return word
}

type word struct {
	text   string
	column int
}

// words are what stands in a line between the characters of at, with the columns at which they begin.
func words(line, at string) (out []word) {
	start := -1
	for i, r := range line + at[:1] {
		if strings.ContainsRune(at, r) {
			if start >= 0 {
				out = append(out, word{line[start:i], start + 1})
			}
			start = -1
		} else if start < 0 {
			start = i
		}
	}
	return out
}
