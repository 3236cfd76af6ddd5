package profile

import (
	"fmt"
	"strings"

	"porthole/abi"
)

// Each walks the default profiles of an engine, a profile that several releases share once, with all
// of them: what Builtin gives for each, at the cost of one reading. It stops where see returns false.
func Each(engine string, see func([]Release, *Profile) bool) error {
	read := map[string][]string{} // the lines of a release's block
	for b := range blocks {
		lines := strings.Split(b.body, "\n")
		if b.base != "" {
			base, ok := read[b.base]
			if !ok {
				return fmt.Errorf("builtin.txt: %s stands before its base", b.versions[0])
			}
			var err error
			if lines, err = edit(base, lines); err != nil {
				return err
			}
		}
		p := &Profile{Name: b.engine + ":" + b.versions[0]}
		var rs []Release
		for _, v := range b.versions {
			read[b.engine+":"+v] = lines
			rs = append(rs, Release{b.engine, v, b.date, b.versions[0]})
		}
		if b.engine != engine {
			continue
		}
		for _, s := range lines {
			if err := p.line(s); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		if !see(rs, p) {
			return nil
		}
	}
	return nil
}

// Compare orders releases of one engine by their versions, number by number.
func (r Release) Compare(o Release) int { return compareVersions(r.Version, o.Version) }

// About returns what of a profile decides one call in c.Arch's own ABI under c: the entries that name it,
// and one that names the newest call of those in effect, which says how newer ones are answered.
func (p *Profile) About(call string, c Conditions) *Profile {
	q := *p
	q.Entries = nil
	newest, newestNr := "", uint32(0)
	for i := range p.Entries {
		e := p.Entries[i]
		in := e.holds(c)
		names := false
		for _, n := range e.Names {
			if n == call {
				names = true
			} else if in {
				if nr, ok := c.Arch.Nr(n); ok && (newest == "" || nr&^abi.X32Bit > newestNr) {
					newest, newestNr = n, nr&^abi.X32Bit
				}
			}
		}
		if names {
			e.Names = []string{call}
			q.Entries = append(q.Entries, e)
		}
	}
	if newest != "" {
		q.Entries = append(q.Entries, Entry{LinuxSyscall: p.Entries[0].LinuxSyscall})
		last := &q.Entries[len(q.Entries)-1]
		last.Names, last.Args, last.Action = []string{newest}, nil, "SCMP_ACT_ALLOW"
	}
	return &q
}
