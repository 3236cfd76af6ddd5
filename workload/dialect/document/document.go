// Package document holds the dialects as texts, docker's command line among them: each reads a text into a
// workload.Workload and writes one, and names what is lost on the way. (Reading YAML costs a program's start more than
// `porthole run` may pay, so this stands apart from package dialect, which has docker's flags alone.)
//
// Start here; loss.go has how losses are found, and each dialect is one file: a further one is a file of its own and its
// line in All.
package document

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"porthole/near"
	"porthole/tree"
	"porthole/workload"
	"porthole/workload/dialect"
)

// Dialect is one way to say a workload.
type Dialect struct {
	Name   string   // "kube"
	Also   []string // its other names
	Title  string   // "Kubernetes"
	File   string   // what its files are called: "pod.yaml"
	Engine string   // whose defaults hold where the text is silent, as Workload.As says it; "" is Docker's newest
	Source string   // where its words are defined
	About  string   // what else there is to know, for its page

	// What a text can say, what of it is not kept, and what a workload can say that has no word here. The first two
	// are by shapes of paths ("spec.containers[].tty"), the last by members of Workload ("Mounts[].NoCopy").
	Kept, Lost, Wordless []Row

	guess func(text string, root *tree.Node) bool // root: the text's first document, nil where it is no YAML and no JSON
	read  func(r *reading, text string) error
	write func(w *writing) ([]byte, error)
}

// Row is a member and what becomes of it.
type Row struct {
	Member string
	To     string // of what is kept: what it is in docker's words
	Why    string // of what is lost
}

// Options are what reading and writing may refer to beyond the text.
type Options struct {
	Container string          // which of several; "" where there is one
	Outside   dialect.Outside // the caller's environment, directory and files
	// NamesOnly leaves unread the seccomp documents that a text names: for who converts, and has no need of them. What
	// was read so is not fit to be run.
	NamesOnly bool
	// File is where a workload's own seccomp document will be found by whoever reads what is written; "" is nowhere.
	File string

	kept *[]string // for tests: what was looked at
}

// All returns every dialect, docker's first.
func All() []*Dialect {
	return []*Dialect{docker(), compose(), kube(), marathon(), systemd(), oci(), bubblewrap()}
}

// Names lists the dialects' names.
func Names() (names []string) {
	for _, d := range All() {
		names = append(names, d.Name)
	}
	return names
}

// Find returns the dialect of a name.
func Find(name string) (*Dialect, error) {
	for _, d := range All() {
		if strings.EqualFold(name, d.Name) {
			return d, nil
		}
		for _, also := range d.Also {
			if strings.EqualFold(name, also) {
				return d, nil
			}
		}
	}
	hint := "; there are " + strings.Join(Names(), ", ")
	if best := near.Names(name, Names(), 1); len(best) > 0 {
		hint = "; did you mean " + best[0] + "?"
	}
	return nil, fmt.Errorf("no dialect is called %q%s", name, hint)
}

// Guess returns the dialect that a text is in. It fails where the text does not say.
func Guess(text []byte) (*Dialect, error) {
	docs, err := tree.Parse(text)
	var root *tree.Node
	if err == nil && docs[0].Kind != tree.Text {
		root = docs[0]
	}
	for _, d := range All() {
		if d.guess(string(text), root) {
			return d, nil
		}
	}
	if err != nil && len(text) > tree.MaxBytes {
		return nil, err
	}
	msg := "the text does not say in which dialect it is: name one of " + strings.Join(Names(), ", ")
	if err != nil { // perhaps it would, were it whole
		return nil, fmt.Errorf("%s; as YAML or JSON: %w", msg, err)
	}
	return nil, errors.New(msg)
}

// Read returns what a text says, and every member of it that is not kept.
func (d *Dialect) Read(text []byte, o Options) (workload.Workload, []Loss, error) {
	if len(text) > tree.MaxBytes {
		return workload.Workload{}, nil, fmt.Errorf("%s: %d bytes long; the most is %d (MaxBytes)", d.Name, len(text), tree.MaxBytes)
	}
	if !utf8.Valid(text) {
		return workload.Workload{}, nil, fmt.Errorf("%s: the text is not UTF-8", d.Name)
	}
	r := &reading{d: d, o: o}
	r.w.As = d.Engine
	err := d.read(r, string(text))
	if r.filled > MaxFilled {
		err = fmt.Errorf("its variables come to more than %d bytes (MaxFilled)", MaxFilled)
	}
	if err != nil {
		return workload.Workload{}, nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	if o.kept != nil {
		*o.kept = append(*o.kept, r.kept...)
	}
	return r.w, r.losses, nil
}

// Write returns w as a text of the dialect, and every member of w that it does not say.
func (d *Dialect) Write(w workload.Workload, o Options) ([]byte, []Loss, error) {
	if bad := notUTF8(w); bad != "" {
		return nil, nil, fmt.Errorf("%s: %s is not UTF-8", d.Name, bad)
	}
	out := &writing{d: d, o: o, Workload: clone(w)}
	if out.As == d.Engine {
		out.As = ""
	}
	for i := range out.Mounts {
		out.Mounts[i].Refer = ""
	}
	text, err := d.write(out)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	out.left()
	return text, out.losses, nil
}
