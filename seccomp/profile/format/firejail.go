package format

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/seccomp/profile"
)

var firejail = &Form{
	Name: "firejail", Title: "Firejail, seccomp lists", Source: "firejail-profile(5) and firejail(1), 0.9.72; src/fseccomp",
	Keeps: []string{
		"seccomp, seccomp LIST, seccomp.drop, seccomp.keep with @groups, !exceptions, call:ERRNO, $NUMBER; seccomp-error-action, seccomp.block-secondary, allow-debuggers",
	},
	Loses: []string{
		"names that are no system call's; tests of arguments, conditions, comments, flags, a listener: Firejail's lists have none",
		"calls of other architectures: without seccomp.block-secondary Firejail allows 32-bit ones and refuses x32's with EPERM; here they are treated as the document says",
		"seccomp.32 lists, which are filters of their own",
		"filters that other commands bring along (protocol, memory-deny-write-execute, restrict-namespaces)",
		"numbers newer than the newest that is named: Firejail refuses them like any other; here they get ENOSYS where the default refuses",
		"in seccomp.keep: execve, execveat and prctl, which Firejail always keeps; in seccomp.drop they are refused only after it has started the program",
	},
	guess: func(_ string, text []byte) bool {
		if isJSON(text) || hasLine(text, "seccomp:", "seccomp.default_action", "default_action:") {
			return false
		}
		for line := range strings.Lines(string(text)) { // from the first column, as nothing is indented there
			rest, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "--"), "seccomp")
			if ok && line[0] != ' ' && line[0] != '\t' && line[:2] != "- " && (rest == "" || strings.ContainsRune(" .=", rune(rest[0]))) {
				return true
			}
		}
		return false
	},
	read: readFirejail, write: writeFirejail,
}

func readFirejail(name string, text []byte) (*Document, error) {
	u := newListing(name)
	d, p := u.d, u.d.Profile
	errno, kill, log := uint(1), false, false
	type list struct {
		kind  string // "", "drop", "keep"
		value string
		at    place
	}
	var lists []list
	debuggers := false
	secondary := false
	for i, line := range strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") {
		t := strings.TrimSpace(line)
		t, flag := strings.CutPrefix(t, "--")
		if t == "" || t[0] == '#' {
			continue
		}
		sep := " "
		if flag {
			sep = "="
		}
		key, value, _ := strings.Cut(t, sep)
		at := place{i + 1, strings.Index(line, value) + 1}
		if value == "" {
			at.column = strings.Index(line, key) + 1
		}
		switch key {
		case "seccomp", "seccomp.drop", "seccomp.keep":
			lists = append(lists, list{strings.TrimPrefix(strings.TrimPrefix(key, "seccomp"), "."), value, at})
		case "seccomp.block-secondary":
			secondary = true
		case "allow-debuggers":
			debuggers = true
		case "seccomp-error-action":
			switch value {
			case "kill":
				kill, log = true, false
			case "log":
				kill, log = false, true
			default:
				e, err := abi.ParseErrno(value)
				if err != nil {
					return nil, u.fail(at, "seccomp-error-action: %v; or kill, or log", err)
				}
				kill, log, errno = false, false, uint(e)
			}
		case "seccomp.32", "seccomp.32.drop", "seccomp.32.keep", "protocol", "memory-deny-write-execute", "restrict-namespaces":
			d.Losses = append(d.Losses, Loss{key, "a filter of its own, which is not in this profile", at.line, at.column})
		default:
			if strings.HasPrefix(key, "seccomp") {
				return nil, u.fail(at, "unknown command %q", key)
			}
		}
	}
	if len(lists) == 0 {
		return nil, u.fail(place{1, 1}, "no seccomp command in it")
	}
	l := lists[len(lists)-1] // each replaces the one before
	for _, other := range lists[:len(lists)-1] {
		d.Losses = append(d.Losses, Loss{"seccomp", "a later list replaces this one", other.at.line, other.at.column})
	}
	refuse := specs.LinuxSeccompAction(specs.ActErrno)
	switch {
	case kill:
		refuse = specs.ActKillProcess
	case log:
		refuse = specs.ActLog
	}
	number := func() *uint {
		if refuse != specs.ActErrno {
			return nil
		}
		n := errno
		return &n
	}
	keep := l.kind == "keep"
	if keep {
		p.Default, p.DefaultErrno = refuse, number()
	} else {
		p.Default = specs.ActAllow
	}
	d.places["defaultAction"] = l.at
	items := words(l.value, ", \t")
	for i := range items {
		items[i].column += l.at.column - 1
	}
	if l.kind == "" {
		def := "@default-nodebuggers"
		if debuggers {
			def = "@default"
		}
		items = append([]word{{def, l.at.column}}, items...)
	}
	if keep {
		items = append(items, word{"@default-keep", l.at.column})
	}
	// Exceptions stand first in the filter (fseccomp, seccomp_drop and seccomp_keep).
	seen := map[string]bool{}
	for _, exceptions := range []bool{true, false} {
		for _, w := range items {
			item, not := strings.CutPrefix(w.text, "!")
			if not != exceptions {
				continue
			}
			at := place{l.at.line, w.column}
			item, tail, has := strings.Cut(item, ":")
			act, ret := specs.LinuxSeccompAction(specs.ActAllow), (*uint)(nil)
			if keep == not {
				act, ret = refuse, number()
			}
			if has {
				e, err := abi.ParseErrno(tail)
				switch {
				case tail == "kill":
					act, ret = specs.ActKillProcess, nil
				case tail == "log":
					act, ret = specs.ActLog, nil
				case err != nil:
					return nil, u.fail(at, "%q: %v", w.text, err)
				default:
					n := uint(e)
					act, ret = specs.ActErrno, &n
				}
			}
			if number, ok := strings.CutPrefix(item, "$"); ok {
				n, err := strconv.ParseUint(number, 10, 31)
				if item, ok = abi.X86_64.Name(uint32(n)); err != nil || !ok {
					return nil, u.fail(at, "no system call of x86-64 has the number %s", number)
				}
			}
			names, err := u.named(item, firejailGroups, "seccomp", at)
			if err != nil {
				return nil, err
			}
			for _, n := range names {
				if !seen[n] { // the first that matches decides
					seen[n] = true
					u.add(n, at, act, ret)
				}
			}
		}
	}
	if !secondary {
		d.Open = true
		p.ArchMap = []profile.ArchMap{{Arch: specs.ArchX86_64, Sub: []specs.Arch{specs.ArchX86}}, {Arch: specs.ArchAARCH64, Sub: []specs.Arch{specs.ArchARM}}}
		d.Losses = append(d.Losses, Loss{Path: "seccomp", Msg: "Firejail allows every 32-bit call and refuses x32's; here 32-bit calls are filtered alike, and x32's kill", Line: l.at.line, Column: l.at.column})
	}
	return d, nil
}

func writeFirejail(p *profile.Profile) ([]byte, []Loss, error) {
	secondary := len(p.ArchMap) == 0 && len(p.Arches) == 0
	p, losses, err := listable(p, "Firejail")
	if err != nil {
		return nil, nil, err
	}
	lose := func(path, format string, args ...any) {
		losses = append(losses, Loss{Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	var b bytes.Buffer
	keep := true
	action := ""
	switch p.Default {
	case specs.ActAllow:
		keep = false
	case specs.ActErrno:
		if n := errnoOf(p.Default, p.DefaultErrno); n != 1 {
			action = errnoName(n)
		}
	case specs.ActKillProcess, specs.ActKill, specs.ActKillThread, specs.ActTrap:
		action = "kill"
		if p.Default != specs.ActKillProcess {
			lose("defaultAction", "Firejail kills the process where this says %s", p.Default)
		}
	case specs.ActLog:
		action = "log"
	default:
		return nil, nil, fmt.Errorf("%s: defaultAction: Firejail knows no %s", p.Name, p.Default)
	}
	if action != "" {
		fmt.Fprintf(&b, "seccomp-error-action %s\n", action)
	}
	if secondary {
		b.WriteString("seccomp.block-secondary\n")
	} else {
		lose("architectures", "Firejail allows every 32-bit call, whatever the list says")
	}
	var first, items []string
	seen := map[string]bool{}
	for i, e := range active(p, &losses) {
		path := fmt.Sprintf("syscalls[%d]", i)
		if len(e.Names) == 0 {
			continue
		}
		if len(e.Args) > 0 {
			lose(path+".args", "Firejail tests no arguments; the entry is left out")
			continue
		}
		suffix := ""
		switch e.Action {
		case specs.ActAllow:
		case specs.ActErrno:
			suffix = ":" + errnoName(errnoOf(e.Action, e.ErrnoRet))
		case specs.ActKillProcess:
			suffix = ":kill"
		case specs.ActLog:
			suffix = ":log"
		default:
			lose(path, "Firejail knows no %s; the entry is left out", e.Action)
			continue
		}
		for _, n := range e.Names {
			if seen[n] {
				continue
			}
			seen[n] = true
			switch {
			case e.Action == specs.ActAllow:
				items = append(items, n)
			case keep:
				first = append(first, "!"+n+suffix)
			default:
				items = append(items, n+suffix)
			}
		}
	}
	kind := "drop"
	if keep {
		kind = "keep"
		for _, n := range []string{"execve", "execveat", "prctl"} {
			if !slices.Contains(items, n) {
				lose("syscalls", "Firejail always keeps %s", n)
			}
		}
	}
	if len(items)+len(first) == 0 {
		return nil, nil, fmt.Errorf("%s: no call is left to list", p.Name)
	}
	fmt.Fprintf(&b, "seccomp.%s %s\n", kind, strings.Join(append(first, items...), ","))
	return b.Bytes(), losses, nil
}
