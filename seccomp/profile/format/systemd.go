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

var systemd = &Form{
	Name: "systemd", Title: "systemd, SystemCallFilter= and its kin", Source: "systemd.exec(5) and src/shared/seccomp-util.c, v252",
	Keeps: []string{
		"SystemCallFilter=, as a list of what is allowed or, with ~, of what is not; @groups; an errno or kill after a colon",
		"SystemCallErrorNumber=, SystemCallArchitectures=, SystemCallLog=",
	},
	Loses: []string{
		"names that are no system call's; tests of arguments, conditions, comments, flags, a listener: systemd has none of them here",
		"calls that are not in @known: systemd answers ENOSYS to them in a list of what is allowed; here that goes for numbers newer than all that are named",
		"the filters that other settings bring along (RestrictAddressFamilies=, RestrictNamespaces=, MemoryDenyWriteExecute=, LockPersonality=, RestrictRealtime=, RestrictSUIDSGID=, ProtectClock=, ProtectKernelModules=, ProtectKernelLogs=, ProtectHostname=, PrivateDevices=)",
		"all settings of a unit that are not about system calls",
	},
	guess: func(_ string, text []byte) bool {
		return !isJSON(text) && hasLine(text, "SystemCallFilter=", "SystemCallLog=")
	},
	read: readSystemd, write: writeSystemd,
}

// bringing are the settings that install filters of their own (systemd.exec(5)).
var bringing = []string{
	"RestrictAddressFamilies", "RestrictNamespaces", "MemoryDenyWriteExecute", "LockPersonality", "RestrictRealtime",
	"RestrictSUIDSGID", "ProtectClock", "ProtectKernelModules", "ProtectKernelLogs", "ProtectHostname", "PrivateDevices",
}

// listed is a call of a filter: where it stands, and what was said after its colon.
type listed struct {
	call  string
	errno int // -1: nothing; kill: -2
	at    place
}

const killed = -2

// unit is what the lines of a unit come to.
type unit struct {
	listing
	allow     bool // the first list says what is allowed
	begun     bool
	calls     []listed
	errno     int // SystemCallErrorNumber
	log       []listed
	logAllow  bool
	logBegun  bool
	arches    []specs.Arch
	firstLine place
}

func readSystemd(name string, text []byte) (*Document, error) {
	u := &unit{listing: newListing(name), errno: -1}
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		n, line := i+1, lines[i]
		t := strings.TrimSpace(line)
		if t == "" || t[0] == '#' || t[0] == ';' || t[0] == '[' {
			continue
		}
		if strings.HasSuffix(line, `\`) { // goes on; columns count on, too
			parts := []string{line}
			for strings.HasSuffix(lines[i], `\`) && i+1 < len(lines) {
				i++
				parts[len(parts)-1] = strings.TrimSuffix(parts[len(parts)-1], `\`)
				parts = append(parts, lines[i])
			}
			line = strings.Join(parts, " ")
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, &profile.SyntaxError{Name: name, Line: n, Column: 1, Msg: "no setting: want Name=value"}
		}
		off := len(key) + 1
		if err := u.setting(strings.TrimSpace(key), value, n, off); err != nil {
			return nil, err
		}
	}
	return u.d, u.finish()
}

func (u *unit) setting(key, value string, line, off int) error {
	at := place{line, off + 1}
	switch key {
	case "SystemCallFilter":
		if !u.begun {
			u.firstLine = at
		}
		return u.list(value, line, off, &u.begun, &u.allow, &u.calls)
	case "SystemCallLog":
		return u.list(value, line, off, &u.logBegun, &u.logAllow, &u.log)
	case "SystemCallErrorNumber":
		v := strings.TrimSpace(value)
		if v == "" || v == "kill" {
			u.errno = -1
			return nil
		}
		e, ok := errnoWord(v)
		if !ok {
			return u.fail(at, "SystemCallErrorNumber=%s: want an error's name, a number to 4095, or kill", v)
		}
		u.errno = e
	case "SystemCallArchitectures":
		if strings.TrimSpace(value) == "" {
			u.arches = nil
		}
		for _, w := range words(value, " \t") {
			if w.text == "native" { // the machine's own is always covered
				u.arches = append(u.arches, "native")
				continue
			}
			a, err := abi.ParseArch(systemdArch(w.text))
			if err != nil {
				return u.fail(place{line, off + w.column}, "SystemCallArchitectures: unknown architecture %q", w.text)
			}
			u.arches = append(u.arches, specs.Arch(a.SCMP()))
		}
	default:
		if slices.Contains(bringing, key) {
			u.d.Losses = append(u.d.Losses, Loss{key, "brings a filter of its own, which is not in this profile", line, 1})
		}
	}
	return nil
}

// systemdArch is an architecture in our words (ConditionArchitecture= has x86-64, arm64, ppc64-le, …).
func systemdArch(s string) string {
	switch s {
	case "ppc64-le":
		return "ppc64le"
	}
	return s
}

func errnoWord(s string) (int, bool) {
	if n, err := strconv.ParseUint(s, 10, 12); err == nil {
		return int(n), true
	}
	e, err := abi.ParseErrno(s)
	return int(e), err == nil
}

// list reads one assignment of a list. The first says what the list is of; later ones of the other kind take
// away (config_parse_syscall_filter, seccomp_parse_syscall_filter).
func (u *unit) list(value string, line, off int, begun, allow *bool, calls *[]listed) error {
	ws := words(value, " \t")
	if len(ws) == 0 {
		*begun, *calls = false, nil
		return nil
	}
	invert := strings.HasPrefix(ws[0].text, "~")
	if invert {
		ws[0].text = ws[0].text[1:]
		ws[0].column++
	}
	if !*begun {
		*begun, *allow = true, !invert
		if *allow && calls == &u.calls { // the calls that every program needs
			basic, _ := group(systemdGroups, "@default")
			for _, c := range basic {
				*calls = append(*calls, listed{c, -1, place{line, off + 1}})
			}
		}
	}
	for _, w := range ws {
		if w.text == "" {
			continue
		}
		at := place{line, off + w.column}
		item, tail, has := strings.Cut(w.text, ":")
		errno := -1
		if has {
			n, ok := errnoWord(tail)
			switch {
			case tail == "kill":
				n = killed
			case !ok:
				return u.fail(at, "%q: want an error's name, a number to 4095, or kill after the colon", w.text)
			}
			errno = n
			if !invert {
				u.d.Warnings = append(u.d.Warnings, profile.Warning{Path: "SystemCallFilter", Msg: fmt.Sprintf("%q: systemd skips what is allowed with an error number; refuse it with ~", w.text), Line: at.line, Column: at.column})
				continue
			}
		}
		names, err := u.named(item, systemdGroups, "SystemCallFilter", at)
		if err != nil {
			return err
		}
		for _, n := range names {
			*calls = slices.DeleteFunc(*calls, func(l listed) bool { return l.call == n })
			if invert != *allow || invert && *allow && errno != -1 {
				*calls = append(*calls, listed{n, errno, at})
			}
		}
	}
	return nil
}

// finish makes the profile of what was read.
func (u *unit) finish() error {
	p := u.d.Profile
	refuse, refusal := specs.LinuxSeccompAction(specs.ActKillProcess), (*uint)(nil)
	if u.errno >= 0 {
		n := uint(u.errno)
		refuse, refusal = specs.ActErrno, &n
	}
	switch {
	case u.begun && u.allow:
		p.Default, p.DefaultErrno = refuse, refusal
	case u.logBegun && u.logAllow && !u.begun:
		p.Default = specs.ActAllow
	case u.logBegun && !u.logAllow && !u.begun:
		p.Default = specs.ActLog
	case u.begun:
		p.Default = specs.ActAllow
	default:
		return u.fail(place{1, 1}, "no SystemCallFilter= in it")
	}
	u.d.places["defaultAction"] = u.firstLine
	for _, l := range u.calls {
		act, errno := specs.LinuxSeccompAction(specs.ActAllow), (*uint)(nil)
		switch {
		case l.errno == killed:
			act = specs.ActKillProcess
		case l.errno >= 0:
			n := uint(l.errno)
			act, errno = specs.ActErrno, &n
		case !u.allow:
			act, errno = refuse, refusal
		}
		u.add(l.call, l.at, act, errno)
	}
	if u.logBegun {
		if u.begun {
			u.d.Losses = append(u.d.Losses, Loss{Path: "SystemCallLog", Msg: "a filter of its own that logs what both let through; one profile has one answer for a call"})
		} else {
			act := specs.LinuxSeccompAction(specs.ActAllow)
			if u.logAllow {
				act = specs.ActLog
			}
			for _, l := range u.log {
				u.add(l.call, l.at, act, nil)
			}
		}
	}
	switch {
	case u.arches == nil: // all that the machine has
		p.ArchMap = []profile.ArchMap{{Arch: specs.ArchX86_64, Sub: []specs.Arch{specs.ArchX86, specs.ArchX32}}, {Arch: specs.ArchAARCH64, Sub: []specs.Arch{specs.ArchARM}}}
	default:
		for _, a := range u.arches {
			if a != "native" {
				p.Arches = append(p.Arches, a)
			}
		}
	}
	return nil
}

func writeSystemd(p *profile.Profile) ([]byte, []Loss, error) {
	archMap := p.ArchMap
	p, losses, err := listable(p, "systemd")
	if err != nil {
		return nil, nil, err
	}
	lose := func(path, format string, args ...any) {
		losses = append(losses, Loss{Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	var b bytes.Buffer
	b.WriteString("[Service]\n")
	allow := false
	number := "" // SystemCallErrorNumber
	switch p.Default {
	case specs.ActAllow:
	case specs.ActErrno:
		allow = true
		number = errnoName(errnoOf(p.Default, p.DefaultErrno))
	case specs.ActKillProcess:
		allow = true
	case specs.ActKill, specs.ActKillThread, specs.ActTrap:
		allow = true
		lose("defaultAction", "systemd kills the process where this says %s", p.Default)
	default:
		return nil, nil, fmt.Errorf("%s: defaultAction: systemd knows no %s", p.Name, p.Default)
	}
	if number != "" {
		fmt.Fprintf(&b, "SystemCallErrorNumber=%s\n", number)
	}
	if len(archMap) == 0 {
		arches := "native"
		for _, a := range p.Arches {
			name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(string(a), "SCMP_ARCH_")), "_", "-")
			if name == "aarch64" {
				name = "arm64"
			}
			if name == "ppc64le" {
				name = "ppc64-le"
			}
			if !strings.Contains(" "+arches+" ", " "+name+" ") {
				arches += " " + name
			}
		}
		fmt.Fprintf(&b, "SystemCallArchitectures=%s\n", arches)
	}
	decided := map[string]bool{}
	var allowed, body []string
	for i, e := range active(p, &losses) {
		path := fmt.Sprintf("syscalls[%d]", i)
		if len(e.Names) == 0 {
			continue
		}
		suffix := ""
		switch e.Action {
		case specs.ActAllow:
		case specs.ActErrno:
			suffix = ":" + errnoName(errnoOf(e.Action, e.ErrnoRet))
		case specs.ActKillProcess, specs.ActKill, specs.ActKillThread, specs.ActTrap:
			suffix = ":kill"
			if e.Action != specs.ActKillProcess {
				lose(path+".action", "systemd kills the process where this says %s", e.Action)
			}
		default:
			lose(path, "systemd knows no %s; the entry is left out", e.Action)
			continue
		}
		if len(e.Args) > 0 {
			lose(path+".args", "systemd tests no arguments; the entry is left out")
			continue
		}
		var names []string
		for _, n := range e.Names {
			if !decided[n] {
				decided[n] = true
				names = append(names, n+suffix)
			}
		}
		if len(names) == 0 {
			continue
		}
		line := strings.Join(names, " ") + "\n"
		if suffix == "" {
			allowed = append(allowed, "SystemCallFilter="+line)
		} else {
			body = append(body, "SystemCallFilter=~"+line)
		}
	}
	if allow && len(allowed) == 0 { // the first list says what all are of
		allowed = append(allowed, "SystemCallFilter=@default\n")
	}
	body = append(allowed, body...)
	if allow {
		basic, _ := group(systemdGroups, "@default")
		var more []string
		for _, c := range basic {
			if !decided[c] {
				more = append(more, c)
			}
		}
		if len(more) > 0 {
			lose("syscalls", "systemd always allows @default, of which this does not: %s", strings.Join(more, " "))
		}
	}
	if len(body) == 0 {
		return nil, nil, fmt.Errorf("%s: no call is refused that systemd could refuse, and a unit without SystemCallFilter= has no filter", p.Name)
	}
	for _, l := range body {
		b.WriteString(l)
	}
	return b.Bytes(), losses, nil
}
