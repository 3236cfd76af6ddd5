// Package profile reads and writes the documents in which Docker, Podman, containerd and
// OCI runtimes write down a seccomp profile, keeps those that their releases come with, and
// decides their conditions.
//
// Start here, then parse.go (document → Profile), resolve.go (Profile → seccomp.Policy),
// explain.go (which entry decided, or which is missing) and builtin.go (the releases).
package profile

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
	"porthole/facts"
	"porthole/near"
)

// Profile is a document as it was written: what it says, under which conditions, in its own
// order. Names of actions, operators and architectures are kept as the document spells them
// and are known to be valid; what they mean is Resolve's business.
type Profile struct {
	Name string // where it came from, for messages: a file's name, "docker:29.7.2"

	Default      specs.LinuxSeccompAction
	DefaultErrno *uint // nil: EPERM

	// A document has one of these two, or none, which means the machine's own alone.
	Arches  []specs.Arch // whatever the machine
	ArchMap []ArchMap    // of the machine's own, those beneath it

	Flags                          []specs.LinuxSeccompFlag // nil: the runtime's choice; empty: none
	ListenerPath, ListenerMetadata string

	Entries []Entry // the list called syscalls, in the document's order
}

// ArchMap says which other ABIs a machine of one architecture covers.
type ArchMap struct {
	Arch specs.Arch
	Sub  []specs.Arch
}

// Entry is one element of a document's syscalls: an action for some calls, for their
// arguments, under conditions.
type Entry struct {
	specs.LinuxSyscall
	Comment            string
	Includes, Excludes Filter
}

// Filter is a condition on the container and its machine. The zero Filter is none.
type Filter struct {
	Caps      caps.Set      // in Includes every one must be granted, in Excludes none may be
	Arches    []string      // Docker's names: "amd64", "arm64", "s390x"
	MinKernel facts.Version // major and minor; zero: any kernel
}

func (f Filter) empty() bool {
	return f.Caps == 0 && len(f.Arches) == 0 && f.MinKernel == facts.Version{}
}

// Warning is something in a document that was skipped or read in a way that its author may
// not have meant. Line and Column count from 1 and are 0 where no text is at hand.
type Warning struct {
	Path, Msg    string
	Line, Column int
}

// String is "syscalls[3].names[2]: no system call is called \"fo\"".
func (w Warning) String() string { return join(w.Path, w.Msg) }

// SyntaxError says where a document is not one. Column counts characters.
type SyntaxError struct {
	Name         string
	Line, Column int
	Path, Msg    string
}

// Error is "web.json:12:7: syscalls[12].args[0].op: unknown operator …".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, join(e.Path, e.Msg))
}

func join(path, msg string) string {
	if path == "" {
		return msg
	}
	return path + ": " + msg
}

// path is the place of entry i in its document.
func path(i int) string { return fmt.Sprintf("syscalls[%d]", i) }

// short is a name as messages quote it: none that is known comes near its length.
func short(name string) string {
	const most = 80
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// closest returns at most n names that one may have been meant for.
func closest(name string, names []string, n int) []string { return near.Names(short(name), names, n) }

// didYouMean ends a message about a name that is not known.
func didYouMean(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "; did you mean " + names[0] + "?"
	}
	last := len(names) - 1
	return "; did you mean " + strings.Join(names[:last], ", ") + " or " + names[last] + "?"
}
