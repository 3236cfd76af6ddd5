package document

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"porthole/tree"
	"porthole/workload"
	"porthole/workload/dialect"
)

func docker() *Dialect {
	return &Dialect{
		Name: "docker", Also: []string{"podman", "porthole"}, Title: "Docker's command line", File: "run.sh",
		Source: "docker run, client 29.7; docs/flags.md has every flag",
		About: `One ` + "`docker run`, `podman run` or `porthole run`" + ` line, which may go on behind a \ and name variables of the environment. What is
written begins with ` + "`porthole run --as`" + ` where another release's defaults are asked for, which docker has no word for, and with
` + "`docker run`" + ` otherwise. A flag that porthole does not support is refused, not lost.`,
		Kept: dockerKept, Lost: dockerLost, Wordless: dockerWordless,
		guess: func(text string, root *tree.Node) bool {
			return root == nil && commandOf(text, "docker", "podman", "porthole") && regexp.MustCompile(`(?s)^\s*(#[^\n]*\n\s*)*(\S+\s+){0,8}?(run|create)\b`).MatchString(text)
		},
		read: readDocker, write: writeDocker,
	}
}

// commandOf says whether a text is a command line of one of these programs, sudo or not.
func commandOf(text string, programs ...string) bool {
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		for len(words) > 1 && (words[0] == "sudo" || words[0] == "exec" || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
		return slices.Contains(programs, path.Base(words[0]))
	}
	return false
}

func readDocker(r *reading, text string) error {
	words, err := split(strings.TrimPrefix(strings.TrimSpace(text), "$ "), r.env)
	if err != nil {
		return err
	}
	engine := ""
	for len(words) > 0 && engine == "" {
		switch base := path.Base(words[0]); base {
		case "docker", "podman", "porthole":
			engine = base
		case "sudo", "exec":
		default:
			if !strings.Contains(base, "=") {
				return fmt.Errorf("want a `docker run` line, not %q", words[0])
			}
		}
		words = words[1:]
	}
	if len(words) > 0 && words[0] == "container" {
		words = words[1:]
	}
	if len(words) == 0 || words[0] != "run" && words[0] != "create" {
		return fmt.Errorf("want a `docker run` line: `run` does not follow %s", engine)
	}
	run, err := dialect.Docker(words[1:], r.outside())
	if err != nil {
		return err
	}
	r.took(run)
	r.kept = []string{"docs/flags.md"}
	if engine == "podman" && r.w.As == "" {
		r.w.As = "podman"
	}
	return nil
}

// took keeps what docker's flags came to.
func (r *reading) took(run dialect.Run) {
	r.w = run.Workload
	if s := &r.w.Security; r.o.NamesOnly && len(s.SeccompDoc) == 0 {
		s.SeccompDoc = nil
	}
	if run.Detach {
		r.lose("--detach", "true", "how it is run is no part of a workload")
	}
	if run.Remove {
		r.lose("--rm", "true", "how it is run is no part of a workload")
	}
}

func writeDocker(w *writing) ([]byte, error) {
	out := dockerable(w)
	engine := "docker"
	switch {
	case out.As == "podman":
		engine, out.As = "podman", ""
	case out.As != "":
		engine = "porthole"
	}
	args := dialect.DockerArgs(dialect.Run{Workload: out})
	// What is not read back is not written.
	check := w.o.Outside
	check.ReadFile = func(string) ([]byte, error) { return []byte{}, nil }
	check.Env = nil
	if _, err := dialect.Docker(args, check); err != nil {
		return nil, fmt.Errorf("docker would not take it: %w", err)
	}
	return []byte(commandLine(append([]string{engine, "run"}, args...), 2)), nil
}

// dockerable takes out of w all that docker's flags can say.
func dockerable(w *writing) workload.Workload {
	if w.Security.Seccomp != "" || w.Security.SeccompDoc != nil {
		w.Security.Seccomp = w.seccompName()
	}
	if w.NS.User != "host" && w.NS.User != "" {
		w.lose("NS.User", take(&w.NS.User), "docker run has --userns host alone: the daemon decides the rest")
	}
	if len(w.Entrypoint) > 1 {
		rest := strings.Join(w.Entrypoint[1:], " ")
		w.lose("Entrypoint", rest, "docker's client takes one word: the others begin the command")
		w.lose("Args", rest, "they begin with the entry point's other words")
	}
	mounts := w.Mounts
	w.Mounts = nil
	out := w.Workload
	w.Mounts = mounts
	for i := range w.Mounts {
		m := &w.Mounts[i]
		if m.Type == workload.Volume && m.Source != "" && !workload.ValidName(m.Source) {
			w.loseMount(i, "it is no name of a volume")
			continue
		}
		say := *m
		short := m.SubReadOnly == "" && !m.NonRecursive && !strings.Contains(m.Source+m.Target, ":") && (m.Type == workload.Bind && m.CreateSource || m.Type == workload.Volume && m.Source != "")
		if !short {
			say.Relabel = "" // --mount has no word for it
		}
		if m.Type != workload.Tmpfs || m.Size != 0 || m.Mode != nil || m.ReadOnly || strings.Contains(m.Target, ":") {
			say.Options = nil
		}
		if m.Type != workload.Bind {
			say.Propagation, say.NonRecursive, say.SubReadOnly, say.CreateSource = "", false, "", false
		}
		if m.Type != workload.Volume {
			say.NoCopy = false
		}
		if m.Type != workload.Tmpfs {
			say.Size, say.Mode = 0, nil
		} else {
			say.Relabel = ""
		}
		if say.SubReadOnly == "yes" && say.Propagation != "rprivate" {
			say.SubReadOnly = ""
		}
		out.Mounts = append(out.Mounts, say)
		*m = left(*m, say)
	}
	rest := workload.Workload{Mounts: w.Mounts}
	if w.Name != "" && !workload.ValidName(w.Name) {
		out.Name, rest.Name = "", w.Name
	}
	out.Limits.Ulimits, rest.Limits.Ulimits = ulimits(out.Limits.Ulimits)
	rest.Security.MaskedPaths, rest.Security.ReadonlyPaths = w.Security.MaskedPaths, w.Security.ReadonlyPaths
	if s := w.Security.SystemPaths; s != "unconfined" {
		out.Security.SystemPaths, rest.Security.SystemPaths = "", s
	}
	for _, e := range w.Env {
		if e.Name == "" {
			rest.Env = append(rest.Env, e)
			out.Env = slices.DeleteFunc(slices.Clone(out.Env), func(e workload.EnvVar) bool { return e.Name == "" })
		}
	}
	w.Workload = rest
	return out
}

// ulimits parts those that docker knows from others.
func ulimits(all []workload.Ulimit) (known, others []workload.Ulimit) {
	for _, u := range all {
		if _, err := units.ParseUlimit(u.Name + "=1"); err == nil {
			known = append(known, u)
		} else {
			others = append(others, u)
		}
	}
	return known, others
}

// left is what of m is not in said.
func left(m, said workload.Mount) (rest workload.Mount) {
	if m.Propagation != said.Propagation {
		rest.Propagation = m.Propagation
	}
	if m.Relabel != said.Relabel {
		rest.Relabel = m.Relabel
	}
	if m.SubReadOnly != said.SubReadOnly {
		rest.SubReadOnly = m.SubReadOnly
	}
	if len(m.Options) != len(said.Options) {
		rest.Options = m.Options
	}
	rest.NonRecursive = m.NonRecursive && !said.NonRecursive
	rest.CreateSource = m.CreateSource && !said.CreateSource
	rest.NoCopy = m.NoCopy && !said.NoCopy
	if m.Size != said.Size {
		rest.Size = m.Size
	}
	if m.Mode != nil && said.Mode == nil {
		rest.Mode = m.Mode
	}
	return rest
}

// What docker's words, which compose and Marathon have too, do not say of a workload, and why.
var dockersWordless = []Row{
	{Member: "Limits.Ulimits", Why: "docker has no limit of address space"},
	{Member: "Entrypoint", Why: "docker's client takes one word: the others begin the command"},
	{Member: "Args", Why: "of an entry point of several words, they begin with the others"},
	{Member: "Security.Seccomp", Why: "a document that no file holds can't be named; `convert --seccomp FILE` writes one"},
	{Member: "Security.SeccompDoc", Why: "the line names a file"},
	{Member: "Security.MaskedPaths", Why: "docker masks its own list, or with systempaths=unconfined nothing"},
	{Member: "Security.ReadonlyPaths", Why: "docker has its own list, or with systempaths=unconfined none"},
	{Member: "Mounts[].Options", Why: "a bind's and a volume's can't be said, and a tmpfs's only without a size, mode or ro of its own"},
	{Member: "NS.User", Why: "docker run has --userns host alone: the daemon decides the rest"},
	{Member: "Mounts[].SubReadOnly", Why: "docker takes readonly with the propagation rprivate alone"},
}

// What a workload says that has no word here, and why.
var dockerWordless = append([]Row{
	{Member: "Name", Why: "docker's names have two letters at least"},
	{Member: "Mounts[].Relabel", Why: "-v alone has z and Z, and not every mount can be said so"},
}, dockersWordless...)

// What of a text is kept, in docker's words.
var dockerKept = []Row{
	{Member: "docs/flags.md", To: "every flag that is taken there"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var dockerLost = []Row{
	{Member: "--detach", Why: "how it is run is no part of a workload"},
	{Member: "--rm", Why: "how it is run is no part of a workload"},
}
