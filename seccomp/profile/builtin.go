package profile

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// builtin is every profile that a release came with, in the form of text.go. A block is
//
//	@ ENGINE DATE VERSION… [< ENGINE:VERSION]
//
// and the lines of its document. After "<" they are edits of that other block's lines, which
// stands before it:
//
//	=5       the next five, as they are
//	-2       without the next two
//	~ +a -b  the next one, with the call a and without b
//	other    a line of its own
//
// Blocks stand so that the newest needs no other. internal/gen/profiles adds to it.
//
//go:embed builtin.txt
var builtin string

// Release is a version of an engine, and the day its profile was made.
type Release struct {
	Engine  string // "docker", "podman", "containerd", "moby/profiles"
	Version string // as tagged, without v: "29.7.2", "18.06.0-ce"
	Date    string // of the first release that had this profile: "2018-11-06"
	Since   string // that release; those between may have had another: see Releases
}

// String is what Builtin takes: "docker:29.7.2".
func (r Release) String() string { return r.Engine + ":" + r.Version }

// Releases lists every release whose default profile is here, each engine's newest first.
// A profile is not what a lower version had and more: engines port fixes back.
func Releases() []Release {
	var out []Release
	for b := range blocks {
		for _, v := range b.versions {
			out = append(out, Release{b.engine, v, b.date, b.versions[0]})
		}
	}
	slices.SortStableFunc(out, func(a, b Release) int {
		if a.Engine != b.Engine {
			return engine(a.Engine) - engine(b.Engine)
		}
		return compareVersions(b.Version, a.Version)
	})
	return out
}

var engines = []string{"docker", "podman", "containerd", "moby/profiles"}

func engine(name string) int { return slices.Index(engines, name) }

// block is a part of builtin.
type block struct {
	engine, date string
	versions     []string
	base         string // "ENGINE:VERSION" of the block that this one edits, or ""
	body         string
}

func blocks(yield func(block) bool) {
	_, rest, _ := strings.Cut(builtin, "\n@ ")
	for rest != "" {
		var text, head string
		text, rest, _ = strings.Cut(rest, "\n@ ")
		head, text, _ = strings.Cut(text, "\n")
		head, base, _ := strings.Cut(head, " < ")
		f := strings.Fields(head)
		if !yield(block{f[0], f[1], f[2:], base, strings.TrimSuffix(text, "\n")}) {
			return
		}
	}
}

// Builtin returns the default profile of a release: "docker" (the newest), "docker:18.09" (the
// newest 18.09), "docker:18.09.9"; also "podman", "containerd" and "moby/profiles". A version may
// carry its tag's spelling: "v20.10.24", "docker-v29.4.2", "18.06.0" for 18.06.0-ce. For one that is
// not here the error names the nearest.
func Builtin(ref string) (*Profile, error) {
	r, err := FindRelease(ref)
	if err != nil {
		return nil, err
	}
	lines, err := releaseLines(r.String())
	if err != nil {
		return nil, err
	}
	p := &Profile{Name: r.String()}
	for _, s := range lines {
		if err := p.line(s); err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
	}
	return p, nil
}

// FindRelease returns the release that a reference means, in the ways of Builtin.
func FindRelease(ref string) (Release, error) {
	name, version, _ := strings.Cut(ref, ":")
	if engine(name) < 0 {
		return Release{}, fmt.Errorf("no default profile is known of %q%s", short(name), cmp.Or(didYouMean(closest(name, engines, 1)), "; there are "+strings.Join(engines, ", ")))
	}
	want := normal(version)
	if want != "" && (want[0] < '0' || '9' < want[0]) {
		r, _ := FindRelease(name)
		return Release{}, fmt.Errorf("no default profile of %s %s is known; a version is numbers: %s", name, short(version), r.Version)
	}
	var best, below, above Release
	for b := range blocks {
		if b.engine != name {
			continue
		}
		for _, v := range b.versions {
			r := Release{name, v, b.date, b.versions[0]}
			switch n := normal(v); {
			case want == "" || n == want || strings.HasPrefix(n, want+"."):
				best = newer(best, r)
			case compareVersions(n, want) < 0:
				below = newer(below, r)
			case above.Version == "" || compareVersions(v, above.Version) < 0:
				above = r
			}
		}
	}
	if best.Version == "" {
		var like []string
		for _, r := range []Release{below, above} {
			if r.Version != "" {
				like = append(like, r.Version)
			}
		}
		return best, fmt.Errorf("no default profile of %s %s is known; the nearest is of %s", name, short(version), strings.Join(like, " and of "))
	}
	return best, nil
}

func newer(a, b Release) Release {
	if a.Version == "" || compareVersions(a.Version, b.Version) < 0 {
		return b
	}
	return a
}

// normal strips a version of what tags add to it.
func normal(v string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(v, "docker-"), "v"), "-ce")
}

// compareVersions compares number by number.
func compareVersions(a, b string) int {
	for a, b = normal(a), normal(b); a != "" || b != ""; {
		var x, y int
		x, a = component(a)
		y, b = component(b)
		if x != y {
			return x - y
		}
	}
	return 0
}

// component splits the first number off a version; where none is left it is -1.
func component(v string) (int, string) {
	if v == "" {
		return -1, ""
	}
	first, rest, _ := strings.Cut(v, ".")
	n, _ := strconv.Atoi(first)
	return n, rest
}

// releaseLines returns the lines of the block that has a release, its edits applied.
func releaseLines(ref string) ([]string, error) {
	for b := range blocks {
		name, version, _ := strings.Cut(ref, ":")
		if b.engine != name || !slices.Contains(b.versions, version) {
			continue
		}
		lines := strings.Split(b.body, "\n")
		if b.base == "" {
			return lines, nil
		}
		base, err := releaseLines(b.base)
		if err != nil {
			return nil, err
		}
		return edit(base, lines)
	}
	return nil, fmt.Errorf("builtin.txt: no %s", ref)
}

// edit applies a block's lines to those of the block it is based on.
func edit(base, edits []string) ([]string, error) {
	var out []string
	for _, s := range edits {
		n := 1
		if s != "" && (s[0] == '=' || s[0] == '-') {
			n, _ = strconv.Atoi(s[1:])
		}
		if s == "" || n < 1 || strings.ContainsAny(s[:1], "=-~") && n > len(base) {
			return nil, fmt.Errorf("builtin.txt: edit %q with %d lines left", s, len(base))
		}
		switch s[0] {
		case '=':
			out = append(out, base[:n]...)
		case '-':
		case '~':
			out = append(out, editNames(base[0], s[1:]))
		default:
			out = append(out, s)
			continue
		}
		base = base[n:]
	}
	if len(base) != 0 {
		return nil, fmt.Errorf("builtin.txt: %d lines without an edit", len(base))
	}
	return out, nil
}

// editNames adds and removes calls of an entry's line; the calls stay sorted.
func editNames(line, changes string) string {
	head, rest, _ := strings.Cut(line, ": ")
	rest, tests, has := strings.Cut(rest, " if ")
	names := strings.Fields(rest)
	for c := range strings.FieldsSeq(changes) {
		i, there := slices.BinarySearch(names, c[1:])
		switch {
		case c[0] == '+' && !there:
			names = slices.Insert(names, i, c[1:])
		case c[0] == '-' && there:
			names = slices.Delete(names, i, i+1)
		}
	}
	line = head + ": " + strings.Join(names, " ")
	if has {
		line += " if " + tests
	}
	return line
}
