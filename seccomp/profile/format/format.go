// Package format reads and writes the texts in which programs write down a seccomp profile, and says
// what each cannot hold: Docker's, Podman's and OCI's documents, containerd's and Kubernetes' Localhost
// files, the Security Profiles Operator's SeccompProfile, the policies of Elastic Beats, systemd's
// SystemCallFilter and Firejail's seccomp lists.
//
// Each form is one file; Read and Write are the way in. What a form knows and a profile does not, or the
// other way round, is a Loss: it names the place and what becomes of it. It reads YAML, which costs a
// program's start, so it stands apart from package profile.
package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"porthole/near"
	"porthole/seccomp/profile"
)

// MaxBytes is the longest text that Read takes.
const MaxBytes = 4 << 20

// Loss is something that a text says and a profile does not, or the other way round.
type Loss struct {
	Path, Msg    string
	Line, Column int // in the text; 0 where there is none
}

// String is "spec.baseProfileName: …".
func (l Loss) String() string {
	if l.Path == "" {
		return l.Msg
	}
	return l.Path + ": " + l.Msg
}

// Document is a profile as it was read.
type Document struct {
	Profile  *profile.Profile
	Form     string
	Warnings []profile.Warning
	Losses   []Loss
	Open     bool // the program whose form this is lets calls of other ABIs through, whatever the text says

	places map[string]place                              // of an entry's parts, by path in Profile's terms
	locate func(path string) (line, column int, ok bool) // of JSON, in its place
}

type place struct{ line, column int }

// Place is where in the text a part of the profile stands, given as profile's paths have it
// ("syscalls[3].args[0]"), or the nearest thing around it that is known; 1, 1 at least.
func (d *Document) Place(path string) (line, column int) {
	if d.locate != nil {
		if line, column, ok := d.locate(path); ok {
			return line, column
		}
		return 1, 1
	}
	for path != "" {
		if p, ok := d.places[path]; ok {
			return p.line, p.column
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1, 1
}

// Form is one way to write a profile.
type Form struct {
	Name, Title string
	Source      string   // where it is defined
	Keeps       []string // what it holds beside calls and their actions, for its page
	Loses       []string // and what it does not, or means otherwise

	guess func(name string, text []byte) bool
	read  func(name string, text []byte) (*Document, error)
	write func(p *profile.Profile) ([]byte, []Loss, error)
}

// Forms lists every form.
func Forms() []*Form {
	return []*Form{docker, podman, oci, containerd, kubernetes, operator, beats, systemd, firejail}
}

// Names lists the forms' names.
func Names() []string {
	var out []string
	for _, f := range Forms() {
		out = append(out, f.Name)
	}
	return out
}

// Find returns the form of a name.
func Find(name string) (*Form, error) {
	i := slices.IndexFunc(Forms(), func(f *Form) bool { return f.Name == name })
	if i < 0 {
		hint := meant(near.Names(name, Names(), 1))
		if hint == "" {
			hint = "; there are " + strings.Join(Names(), ", ")
		}
		return nil, fmt.Errorf("no form of profiles is called %q%s", name, hint)
	}
	return Forms()[i], nil
}

// Read reads a text in a form; "" guesses it from the text. name stands in messages and in Profile.Name.
// An error about the text is a *profile.SyntaxError.
func Read(name string, text []byte, form string) (*Document, error) {
	if len(text) > MaxBytes {
		return nil, &profile.SyntaxError{Name: name, Line: 1, Column: 1, Msg: fmt.Sprintf("%d bytes long; the most is %d (MaxBytes)", len(text), MaxBytes)}
	}
	f := docker
	if form == "" {
		for _, g := range Forms() {
			if g.guess != nil && g.guess(name, text) {
				f = g
				break
			}
		}
	} else {
		var err error
		if f, err = Find(form); err != nil {
			return nil, err
		}
	}
	d, err := f.read(name, text)
	if err != nil {
		return nil, err
	}
	d.Form = f.Name
	d.Profile.Name = name
	return d, nil
}

// Write writes a profile in a form, and names what is lost. It fails for a profile that the form cannot
// hold even in part.
func Write(p *profile.Profile, form string) ([]byte, []Loss, error) {
	f, err := Find(form)
	if err != nil {
		return nil, nil, err
	}
	return f.write(p)
}

// meant is the end of a message about a word: what may have been meant by it.
func meant(like []string) string {
	if len(like) == 0 {
		return ""
	}
	return "; did you mean " + like[0] + "?"
}

// isJSON says that a text begins as an object of JSON does.
func isJSON(text []byte) bool {
	t := bytes.TrimLeft(text, " \t\r\n")
	return len(t) > 0 && t[0] == '{'
}

// hasLine says that some line of a text, less blanks and "- " before it, begins so.
func hasLine(text []byte, begins ...string) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimLeft(line, " \t-")
		for _, b := range begins {
			if bytes.HasPrefix(line, []byte(b)) {
				return true
			}
		}
	}
	return false
}
