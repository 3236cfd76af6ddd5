package profile

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
	"porthole/seccomp"
)

// Format is a form in which a profile can be written.
type Format uint8

// The forms.
const (
	Docker Format = iota // Docker's and Podman's, with conditions
	OCI                  // linux.seccomp of a config.json, which has none
	Text                 // our own, a line an entry: see text.go
)

// The document as JSON; the order of the fields is Docker's.
type (
	jsonProfile struct {
		Default          specs.LinuxSeccompAction  `json:"defaultAction"`
		DefaultErrno     *uint                     `json:"defaultErrnoRet,omitempty"`
		Arches           []specs.Arch              `json:"architectures,omitempty"`
		ArchMap          []jsonArchMap             `json:"archMap,omitempty"`
		Flags            *[]specs.LinuxSeccompFlag `json:"flags,omitempty"`
		ListenerPath     string                    `json:"listenerPath,omitempty"`
		ListenerMetadata string                    `json:"listenerMetadata,omitempty"`
		Entries          []jsonEntry               `json:"syscalls"`
	}
	jsonArchMap struct {
		Arch specs.Arch   `json:"architecture"`
		Sub  []specs.Arch `json:"subArchitectures"`
	}
	jsonEntry struct {
		specs.LinuxSyscall
		Comment  string      `json:"comment,omitempty"`
		Includes *jsonFilter `json:"includes,omitempty"`
		Excludes *jsonFilter `json:"excludes,omitempty"`
	}
	jsonFilter struct {
		Caps      []string `json:"caps,omitempty"`
		Arches    []string `json:"arches,omitempty"`
		MinKernel string   `json:"minKernel,omitempty"`
	}
)

// Write writes the profile in one of the forms; Parse reads the first two back to the same
// profile, but for its Name. As OCI it fails for a profile that has conditions, naming the
// first: see Profile.OCI, which decides them.
func (p *Profile) Write(w io.Writer, f Format) error {
	switch f {
	case Text:
		_, err := io.WriteString(w, p.String())
		return err
	case OCI:
		if len(p.ArchMap) > 0 {
			return fmt.Errorf("%s: archMap: OCI documents hold no conditions", p.Name)
		}
		for i, e := range p.Entries {
			if !e.Includes.empty() || !e.Excludes.empty() {
				return fmt.Errorf("%s: %s: OCI documents hold no conditions", p.Name, path(i))
			}
			if e.Comment != "" {
				return fmt.Errorf("%s: %s: OCI documents hold no comments", p.Name, path(i))
			}
		}
	}
	out := jsonProfile{
		Default: p.Default, DefaultErrno: p.DefaultErrno, Arches: p.Arches,
		ListenerPath: p.ListenerPath, ListenerMetadata: p.ListenerMetadata,
		Entries: make([]jsonEntry, len(p.Entries)),
	}
	if p.Flags != nil {
		out.Flags = &p.Flags
	}
	for _, m := range p.ArchMap {
		out.ArchMap = append(out.ArchMap, jsonArchMap(m))
	}
	for i, e := range p.Entries {
		out.Entries[i] = jsonEntry{e.LinuxSyscall, e.Comment, e.Includes.json(), e.Excludes.json()}
		if e.Names == nil {
			out.Entries[i].Names = []string{}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

func (f Filter) json() *jsonFilter {
	if f.empty() {
		return nil
	}
	out := &jsonFilter{Arches: f.Arches}
	for _, c := range f.Caps.List() {
		out.Caps = append(out.Caps, c.String())
	}
	if f.MinKernel != (facts.Version{}) {
		out.MinKernel = fmt.Sprintf("%d.%d", f.MinKernel.Major, f.MinKernel.Minor)
	}
	return out
}

// OCI decides the profile's conditions as Docker does, into the object that it hands its
// runtime (moby/profiles/seccomp, setupSeccomp). It shares no memory with the profile.
func (p *Profile) OCI(c Conditions) *specs.LinuxSeccomp {
	out := &specs.LinuxSeccomp{
		DefaultAction:    p.Default,
		DefaultErrnoRet:  clone(p.DefaultErrno),
		Architectures:    slices.Clone(p.arches(c)),
		Flags:            slices.Clone(p.Flags),
		ListenerPath:     p.ListenerPath,
		ListenerMetadata: p.ListenerMetadata,
	}
	for i := range p.Entries {
		if e := &p.Entries[i]; e.holds(c) {
			s := e.LinuxSyscall
			s.Names, s.Args, s.ErrnoRet = slices.Clone(s.Names), slices.Clone(s.Args), clone(s.ErrnoRet)
			out.Syscalls = append(out.Syscalls, s)
		}
	}
	return out
}

func clone(p *uint) *uint {
	if p == nil {
		return nil
	}
	u := *p
	return &u
}

// FromOCI is a runtime's view of its config.json: a profile without conditions. It fails, with the
// path of the place, for words that a runtime does not know. It shares no memory with s.
func FromOCI(s *specs.LinuxSeccomp) (*Profile, error) {
	bad := func(path string, err error) (*Profile, error) {
		return nil, fmt.Errorf("linux.seccomp.%s: %w", path, err)
	}
	p := &Profile{
		Name: "linux.seccomp", Default: s.DefaultAction, DefaultErrno: clone(s.DefaultErrnoRet),
		Arches: slices.Clone(s.Architectures), Flags: slices.Clone(s.Flags),
		ListenerPath: s.ListenerPath, ListenerMetadata: s.ListenerMetadata,
	}
	if err := check(s.DefaultAction, s.DefaultErrnoRet); err != nil {
		return bad("defaultAction", err)
	}
	if s.DefaultAction == specs.ActNotify {
		return bad("defaultAction", errNotify)
	}
	for i, a := range s.Architectures {
		if !slices.Contains(ociArches, a) {
			return bad(fmt.Sprintf("architectures[%d]", i), fmt.Errorf("unknown architecture %q", a))
		}
	}
	for i, f := range s.Flags {
		if _, ok := flags[f]; !ok {
			return bad(fmt.Sprintf("flags[%d]", i), fmt.Errorf("unknown flag %q", f))
		}
	}
	for i, e := range s.Syscalls {
		if err := check(e.Action, e.ErrnoRet); err != nil {
			return bad(path(i)+".action", err)
		}
		if e.Action == specs.ActNotify && slices.Contains(e.Names, "write") {
			return bad(path(i), errNotifyWrite)
		}
		for j, a := range e.Args {
			if _, err := seccomp.ParseOp(string(a.Op)); err != nil {
				return bad(fmt.Sprintf("%s.args[%d].op", path(i), j), err)
			}
			if a.Index > 5 {
				return bad(fmt.Sprintf("%s.args[%d].index", path(i), j), fmt.Errorf("%d; a system call has arguments 0 to 5", a.Index))
			}
		}
		e.Names, e.Args, e.ErrnoRet = slices.Clone(e.Names), slices.Clone(e.Args), clone(e.ErrnoRet)
		p.Entries = append(p.Entries, Entry{LinuxSyscall: e})
	}
	return p, nil
}

func check(a specs.LinuxSeccompAction, errno *uint) error {
	if errno != nil && *errno > 0xffff {
		return fmt.Errorf("errno %d does not fit the 16 bits of a filter's answer", *errno)
	}
	_, err := seccomp.ParseAction(string(a))
	return err
}
