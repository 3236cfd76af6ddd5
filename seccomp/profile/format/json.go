package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/seccomp/profile"
)

var docker = &Form{
	Name: "docker", Title: "Docker", Source: "github.com/moby/profiles, seccomp.Seccomp",
	Keeps: []string{"conditions: capabilities, architectures, least kernel", "tests of arguments", "comments", "flags, listener"},
	read:  readJSON, write: jsonWriter(profile.Docker),
}

var podman = &Form{
	Name: "podman", Title: "Podman", Source: "containers/common, pkg/seccomp",
	Keeps: []string{"what Docker's holds, each errno by name and number"},
	read:  readJSON, write: writePodman,
}

var oci = &Form{
	Name: "oci", Title: "OCI runtime specification", Source: "runtime-spec, config-linux.md: linux.seccomp",
	Keeps: []string{"tests of arguments", "flags, listener"},
	Loses: []string{"conditions: decide them first (`porthole profile resolve`)", "comments"},
	read:  readJSON, write: writeOCI("a runtime"),
}

var containerd = &Form{
	Name: "containerd", Title: "containerd (ctr --seccomp-profile)", Source: "containerd, contrib/seccomp: WithProfile",
	Keeps: []string{"tests of arguments", "flags, listener"},
	Loses: []string{"conditions: containerd skips them in silence, so that the entry holds always", "comments"},
	read:  readPlain("containerd"), write: writeOCI("containerd"),
}

var kubernetes = &Form{
	Name: "kubernetes", Title: "Kubernetes, seccompProfile Localhost", Source: "the file that the kubelet names to containerd (contrib/seccomp) or CRI-O (containers/common)",
	Keeps: []string{"tests of arguments", "flags"},
	Loses: []string{"conditions: CRI-O reads them, containerd skips them in silence, so that the entry holds always", "comments"},
	read:  readPlain("containerd, as a pod's runtime,"), write: writeOCI("containerd, as a pod's runtime,"),
}

func readJSON(name string, text []byte) (*Document, error) {
	p, warnings, err := profile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	locate := profile.Locator(string(text))
	within := ""
	for _, prefix := range []string{"linux.seccomp.", "seccomp.", "linux."} {
		if _, _, ok := locate(prefix + "defaultAction"); ok {
			within = prefix
			break
		}
	}
	return &Document{Profile: p, Warnings: warnings, locate: func(path string) (line, column int, ok bool) { return locate(within + path) }}, nil
}

// readPlain is for readers that know no conditions: one would be skipped, and its entry always hold.
func readPlain(reader string) func(string, []byte) (*Document, error) {
	return func(name string, text []byte) (*Document, error) {
		d, err := readJSON(name, text)
		if err != nil {
			return nil, err
		}
		for i, e := range d.Profile.Entries {
			for _, c := range conditionsOf(e) {
				path := fmt.Sprintf("syscalls[%d].%s", i, c)
				line, column := d.Place(path)
				return nil, &profile.SyntaxError{Name: name, Line: line, Column: column, Path: path,
					Msg: reader + " skips conditions, so this entry would always hold; write it out with `porthole profile resolve`"}
			}
		}
		if len(d.Profile.ArchMap) > 0 {
			line, column := d.Place("archMap")
			return nil, &profile.SyntaxError{Name: name, Line: line, Column: column, Path: "archMap",
				Msg: reader + " skips it, so calls of other ABIs would be killed; list them as architectures"}
		}
		return d, nil
	}
}

// conditionsOf names the conditions that an entry has.
func conditionsOf(e profile.Entry) (out []string) {
	for i, f := range []profile.Filter{e.Includes, e.Excludes} {
		if f.Caps != 0 || len(f.Arches) > 0 || f.MinKernel.Major+f.MinKernel.Minor > 0 {
			out = append(out, []string{"includes", "excludes"}[i])
		}
	}
	return out
}

func jsonWriter(f profile.Format) func(*profile.Profile) ([]byte, []Loss, error) {
	return func(p *profile.Profile) ([]byte, []Loss, error) {
		var b bytes.Buffer
		err := p.Write(&b, f)
		return b.Bytes(), nil, err
	}
}

// writeOCI leaves out what reader would skip. An entry with conditions is left out whole where it lets
// calls through, since it would do so always.
func writeOCI(reader string) func(*profile.Profile) ([]byte, []Loss, error) {
	return func(p *profile.Profile) ([]byte, []Loss, error) {
		q, losses, err := plain(p, reader)
		if err != nil {
			return nil, nil, err
		}
		var b bytes.Buffer
		err = q.Write(&b, profile.OCI)
		return b.Bytes(), losses, err
	}
}

// plain is p without what a reader of OCI documents does not know. Conditions that hang on capabilities or
// kernels cannot be guessed: a profile that has them must be resolved first.
func plain(p *profile.Profile, reader string) (*profile.Profile, []Loss, error) {
	q := *p
	q.Entries = slices.Clone(p.Entries)
	var losses []Loss
	for i := range q.Entries {
		e := &q.Entries[i]
		if c := conditionsOf(*e); len(c) > 0 {
			return nil, nil, fmt.Errorf("%s: syscalls[%d].%s: %s knows no conditions; decide them first: porthole profile resolve [--cap-add …]", p.Name, i, c[0], reader)
		}
		if e.Comment != "" {
			losses = append(losses, Loss{Path: fmt.Sprintf("syscalls[%d].comment", i), Msg: "comments are not kept"})
			e.Comment = ""
		}
	}
	if len(q.ArchMap) > 0 {
		return nil, nil, fmt.Errorf("%s: archMap: %s knows none; decide it first: porthole profile resolve", p.Name, reader)
	}
	return &q, losses, nil
}

// writePodman writes Docker's document with the names of errnos beside their numbers, as Podman's own has.
func writePodman(p *profile.Profile) ([]byte, []Loss, error) {
	text, _, err := docker.write(p)
	if err != nil {
		return nil, nil, err
	}
	// Names go in after each number: the document is ours, a member a line.
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		for _, key := range []string{"defaultErrnoRet", "errnoRet"} {
			rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, "\t"), []byte(`"`+key+`": `))
			if !ok {
				continue
			}
			var n uint16
			if err := json.Unmarshal(bytes.TrimRight(rest, ",\n"), &n); err != nil {
				return nil, nil, err
			}
			word := abi.Errno(n).String()
			if back, err := abi.ParseErrno(word); err != nil || back != abi.Errno(n) {
				continue // one without a name
			}
			fmt.Fprintf(&out, "%s\"%s\": %q,\n", line[:bytes.IndexByte(line, '"')], key[:len(key)-len("Ret")], word)
		}
		out.Write(line)
	}
	return out.Bytes(), nil, nil
}

// errnoOf is a document's number, nil for EPERM where that is what nothing says.
func errnoOf(a specs.LinuxSeccompAction, n *uint) uint {
	if a == specs.ActErrno && n == nil {
		return 1
	}
	if n == nil {
		return 0
	}
	return *n
}

// saysDefault says that an entry's answer is the default's: a runtime skips it, so a later one may decide.
func saysDefault(p *profile.Profile, e profile.Entry) bool {
	if e.Action != p.Default {
		return false
	}
	return e.Action != specs.ActErrno && e.Action != specs.ActTrace || errnoOf(e.Action, e.ErrnoRet) == errnoOf(p.Default, p.DefaultErrno)
}

// active are p's entries, those emptied that say what the default says.
func active(p *profile.Profile, losses *[]Loss) []profile.Entry {
	out := slices.Clone(p.Entries)
	for i := range out {
		if saysDefault(p, out[i]) && len(out[i].Names) > 0 {
			out[i].Names = nil
			*losses = append(*losses, Loss{Path: fmt.Sprintf("syscalls[%d]", i), Msg: "it says what the default says, and is left out"})
		}
	}
	return out
}
