package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"porthole/internal/engine"
	"porthole/internal/engine/container"
	"porthole/internal/engine/lab"
	"porthole/internal/host/probe"
	"porthole/why"
)

// running finds the first process of a container that runs: one of ours, or another engine's. ok is
// false where nothing is called so, and it may be an image.
func (a *app) running(ref string) (pid int, ok bool, err error) {
	e, err := a.engine()
	if err != nil {
		return 0, false, err
	}
	i, err := e.Inspect(ref)
	switch {
	case err == nil && (i.State.Status == container.Running || i.State.Status == container.Paused):
		return i.State.Pid, true, nil
	case err == nil:
		return 0, false, fmt.Errorf("container %s is not running (%s): `porthole why --last` explains the last run that failed", i.Name, i.State.Status)
	case !errors.Is(err, engine.ErrNotFound):
		return 0, false, err
	}
	pid, err = lab.Find(ref)
	return pid, err == nil, nil
}

// look says what holds for a process that runs, or what one call would get there, or watches it.
func (a *app) look(ctx context.Context, pid int, s asked, q answering) error {
	f, err := probe.Deep()
	if err != nil {
		return err
	}
	if s.watch {
		return a.watch(ctx, pid, q)
	}
	l, err := lab.Look(pid, f, a.traceCache())
	if err != nil {
		return err
	}
	if s.syscall != "" {
		call, err := why.ParseCall(s.syscall)
		if err != nil {
			return err
		}
		answer, err := why.Ask(s.syscall, l.Scene(call))
		if err != nil {
			return err
		}
		if err := q.write(answer.Text, answer.JSON, os.Stdout); err != nil {
			return err
		}
		for _, u := range l.Unseen {
			fmt.Fprintln(os.Stderr, "not seen:", u)
		}
		return nil
	}
	return q.write(func(lang why.Lang) string { return liveText(l, lang) }, func(why.Lang) []byte {
		data, _ := json.MarshalIndent(liveJSON(l), "", "  ") // texts and numbers
		return append(data, '\n')
	}, os.Stdout)
}

// live is what `porthole why --pid --json` prints: how the process stands, and what that is of.
type live struct {
	PID        int      `json:"pid"`
	Command    []string `json:"command"`
	Engine     string   `json:"engine,omitempty"` // whose container it is in
	Container  string   `json:"container,omitempty"`
	Namespaces []string `json:"namespaces"` // its own
	Filters    int      `json:"filters"`    // how many are stacked
	why.SceneDocument
	Rules  []string `json:"device_rules"`
	Unseen []string `json:"not_seen"`
}

func liveJSON(l *lab.Live) live {
	return live{
		PID: l.Process.Pid, Command: l.Command, Engine: l.Owner, Container: l.ID, Namespaces: append([]string{}, l.Namespaces...),
		Filters: max(l.Process.Filters, 0), SceneDocument: l.Scene(why.Call{}).Document(), Rules: append([]string{}, deviceTexts(l)...),
		Unseen: append([]string{}, l.Unseen...),
	}
}

// liveText is what `porthole why --pid` says of a process: what it is, how it stands, and what of that
// could not be seen.
func liveText(l *lab.Live, lang why.Lang) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s\n", l.Process.Pid, quoted(l.Command))
	if l.Owner != "" {
		fmt.Fprintf(&b, "  container: %s %s\n", l.Owner, l.ID[:min(12, len(l.ID))])
	}
	own := "none"
	if len(l.Namespaces) > 0 {
		own = strings.Join(l.Namespaces, " ")
	}
	fmt.Fprintf(&b, "  namespaces of its own: %s\n", own)
	b.WriteString(l.Scene(why.Call{}).Text(lang))
	for i, p := range l.Filters {
		if len(l.Filters) > 1 {
			fmt.Fprintf(&b, "  filter %d of %d: %d instructions\n", i+1, len(l.Filters), len(p))
		}
	}
	if rules := deviceTexts(l); rules != nil {
		fmt.Fprintf(&b, "  devices: %s\n", strings.Join(rules, ", "))
	}
	for _, u := range l.Unseen {
		fmt.Fprintf(&b, "  not seen: %s\n", u)
	}
	return b.String()
}

// deviceTexts are the rules of a process's device cgroup; nil where they are not known.
func deviceTexts(l *lab.Live) []string {
	if l.Devices == nil {
		return nil
	}
	var yes []string
	for _, d := range l.Devices {
		if !d.Allow {
			yes = nil
			if d.Major != nil || d.Type != "" && d.Type != "a" {
				yes = append(yes, "not "+deviceText(d.Type, d.Major, d.Minor, d.Access))
			}
			continue
		}
		yes = append(yes, deviceText(d.Type, d.Major, d.Minor, d.Access))
	}
	if yes == nil {
		yes = []string{"none"}
	}
	return yes
}

func deviceText(kind string, major, minor *int64, access string) string {
	n := func(p *int64) string {
		if p == nil || *p < 0 {
			return "*"
		}
		return fmt.Sprint(*p)
	}
	if kind == "" {
		kind = "a"
	}
	return kind + " " + n(major) + ":" + n(minor) + " " + access
}
