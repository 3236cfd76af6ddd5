package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"porthole/caps"
	"porthole/internal/host/probe"
	"porthole/internal/host/trace"
	"porthole/seccomp/compare"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
)

func bindForm(cmd *cobra.Command, form *string) {
	cmd.Flags().StringVar(form, "from", "", "the `form` that the profile is written in (default: what it looks like): "+strings.Join(format.Names(), ", "))
}

// pidOf reads "pid:N".
func pidOf(args []string) (int, bool) {
	if len(args) == 0 {
		return 0, false
	}
	n, ok := strings.CutPrefix(args[0], "pid:")
	pid, err := strconv.Atoi(n)
	return pid, ok && err == nil && pid > 0
}

// openDocument reads the profile that a user named: a built-in one ("docker:18.09"), "-", or a file, in a form, or
// in whichever it seems to be.
func openDocument(name, form string) (*format.Document, error) {
	if name != "-" {
		if p, err := profile.Builtin(name); err == nil {
			var text bytes.Buffer // as show prints it, so that its places are those
			if err := p.Write(&text, profile.Docker); err != nil {
				return nil, err
			}
			return format.Read(p.Name, text.Bytes(), "docker")
		} else if _, statErr := os.Stat(name); statErr != nil {
			if strings.ContainsAny(name, "/.") && !strings.Contains(name, ":") {
				return nil, fmt.Errorf("%s: no such file", name)
			}
			if strings.HasPrefix(name, "pid:") {
				return nil, fmt.Errorf("%s: want pid: and a process ID", name)
			}
			if !strings.Contains(name, ":") {
				return nil, fmt.Errorf("%s: no such file, and %w", name, err)
			}
			return nil, err
		}
	}
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	return format.Read(name, data, form)
}

// openProfile reads a profile that a user named (default: docker), and tells what is odd in it. That of a process,
// "pid:N", is what its filters do.
func (a *app) openProfile(args []string, form string) (*profile.Profile, error) {
	name := "docker"
	if len(args) > 0 {
		name = args[0]
	}
	pid, isProcess := pidOf([]string{name})
	if form != "" && (isProcess || isRelease(name)) {
		return nil, fmt.Errorf("--from %s: %s is not a text that could be in that form", form, name)
	}
	if isProcess {
		f, err := probe.Facts()
		if err != nil {
			return nil, err
		}
		progs, err := trace.Filters(pid, a.traceCache())
		if err != nil {
			return nil, err
		}
		if len(progs) == 0 {
			return nil, fmt.Errorf("process %d runs under no seccomp filter", pid)
		}
		p, losses, err := compare.Recover(name, progs, f.Arch)
		if err != nil {
			return nil, err
		}
		for _, l := range losses {
			fmt.Fprintln(os.Stderr, "lost:", l)
		}
		return p, nil
	}
	d, err := openDocument(name, form)
	if err != nil {
		return nil, err
	}
	warnProfile(d.Warnings)
	tellLosses(d.Losses)
	return d.Profile, nil
}

func tellLosses(losses []format.Loss) {
	for _, l := range losses {
		at := ""
		if l.Line > 0 {
			at = fmt.Sprintf("%d:%d: ", l.Line, l.Column)
		}
		fmt.Fprintf(os.Stderr, "lost: %s%s\n", at, l)
	}
}

// writeProfile prints a profile in a form, and what that loses on standard error.
func writeProfile(w io.Writer, p *profile.Profile, form string) error {
	text, losses, err := format.Write(p, form)
	if err != nil {
		return err
	}
	tellLosses(losses)
	_, err = w.Write(text)
	return err
}

// isRelease says whether a profile that a user named is a built-in one.
func isRelease(name string) bool {
	_, err := profile.FindRelease(name)
	return err == nil
}

// openSide opens one side of a comparison: a profile, or the filters of a process. Form is that of a text; the other
// side may be none.
func (a *app) openSide(name, form string) (compare.Side, error) {
	if isRelease(name) {
		form = ""
	}
	if pid, ok := pidOf([]string{name}); ok {
		progs, err := trace.Filters(pid, a.traceCache())
		return compare.Side{Name: name, Programs: progs}, err
	}
	p, err := a.openProfile([]string{name}, form)
	if err != nil {
		return compare.Side{}, err
	}
	return compare.Side{Name: p.Name, Profile: p}, nil
}

// given are the conditions that a comparison is made for: those of the flags, or of a process.
func (a *app) given(c *conditions, names ...string) (profile.Conditions, error) {
	at, err := c.resolve()
	if err != nil {
		return at, err
	}
	for _, n := range names {
		if pid, ok := pidOf([]string{n}); ok && len(c.capAdd)+len(c.capDrop) == 0 {
			set, err := bounding(pid)
			if err != nil {
				return at, err
			}
			at.Caps = set
		}
	}
	return at, nil
}

// bounding is a process's bounding set, which a runtime makes of the capabilities that were granted.
func bounding(pid int) (caps.Set, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return caps.Set(n), err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no CapBnd", pid)
}
