package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
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
	return q.write(func(why.Lang) string { return liveText(l) }, func(why.Lang) []byte {
		data, _ := json.MarshalIndent(l, "", "    ") // values that were read as text or numbers
		return append(data, '\n')
	}, os.Stdout)
}

// liveText is what `porthole why --pid` says of a process.
func liveText(l *lab.Live) string {
	var b strings.Builder
	b.WriteString(capsText(l.Process))
	row := func(name, text string) { fmt.Fprintf(&b, "  %-12s %s\n", name, text) }
	if l.Owner != "" {
		row("container", l.Owner+" "+l.ID[:12])
	}
	row("command", quoted(l.Command))
	own := "none: it shares all of this machine's"
	if len(l.Namespaces) > 0 {
		own = strings.Join(l.Namespaces, " ")
	}
	row("namespaces", "its own: "+own)
	for i, p := range l.Filters {
		row("filter", fmt.Sprintf("%d of %d: %d instructions", i+1, len(l.Filters), len(p)))
	}
	label := "none"
	if l.LSM != "" {
		label = l.LSM
	}
	row("label", label)
	root := "writable"
	if l.RootRO {
		root = "read-only"
	}
	row("root", root)
	list := func(name string, paths []string) {
		if len(paths) == 0 {
			row(name, "nothing beneath /proc and /sys")
			return
		}
		sort.Strings(paths)
		row(name, strings.Join(brief(paths, 12), " "))
	}
	list("masked", slices.Clone(l.Masked))
	list("read-only", slices.Clone(l.ReadOnly))
	for _, d := range deviceTexts(l) {
		row("devices", d)
	}
	var names []string
	for k := range l.Sysctls {
		if gates[k] != "" {
			names = append(names, k)
		}
	}
	sort.Strings(names)
	for _, k := range names {
		row("sysctl", fmt.Sprintf("%s = %s (%s)", k, l.Sysctls[k], gates[k]))
	}
	for _, u := range l.Unseen {
		row("not seen", u)
	}
	return b.String()
}

// gates are the sysctls that decide what a program may do, and what about (proc_sys_kernel(5) and its neighbours).
var gates = map[string]string{
	"kernel.perf_event_paranoid":                   "what perf may see without CAP_PERFMON",
	"kernel.unprivileged_bpf_disabled":             "bpf without CAP_BPF",
	"kernel.yama.ptrace_scope":                     "whom a process may trace",
	"kernel.io_uring_disabled":                     "io_uring",
	"kernel.dmesg_restrict":                        "the kernel's log without CAP_SYSLOG",
	"kernel.kptr_restrict":                         "kernel addresses",
	"kernel.modules_disabled":                      "kernel modules",
	"kernel.unprivileged_userns_clone":             "user namespaces without root",
	"kernel.apparmor_restrict_unprivileged_userns": "user namespaces without root",
	"user.max_user_namespaces":                     "user namespaces",
	"vm.unprivileged_userfaultfd":                  "userfaultfd without CAP_SYS_PTRACE",
	"vm.mmap_min_addr":                             "mapping low addresses",
	"net.ipv4.ping_group_range":                    "ping without CAP_NET_RAW: these groups",
	"net.ipv4.ip_unprivileged_port_start":          "ports from here on without CAP_NET_BIND_SERVICE",
	"fs.protected_hardlinks":                       "links to others' files",
	"fs.protected_symlinks":                        "following others' links in /tmp",
}

func brief(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], fmt.Sprintf("and %d more", len(list)-n))
}

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
	return []string{strings.Join(yes, ", ")}
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
