package document

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/caps"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
	"porthole/spec"
	"porthole/tree"
	"porthole/workload"
)

func systemd() *Dialect {
	return &Dialect{
		Name: "systemd", Also: []string{"unit", "service"}, Title: "systemd", File: "web.service",
		Source: "systemd 258: systemd.exec(5), systemd.service(5), systemd.resource-control(5)",
		About: `A service unit. A service shares all with the machine but what the unit takes away, so what is silent is read as shared
namespaces, every capability, no filter and nothing masked; and a workload's own namespaces are written out. SystemCallFilter
and its kin become the workload's seccomp document and back (package seccomp/profile/format); what a filter comes to is that
of x86-64, Linux 6.18 and the workload's capabilities. The bounding set is written whole, from the defaults of the release
that the workload names.`,
		Kept: systemdKept, Lost: systemdLost, Wordless: systemdWordless,
		guess: func(text string, root *tree.Node) bool {
			return regexp.MustCompile(`(?m)^\[(Service|Unit)\]\s*$`).MatchString(text)
		},
		read: readSystemd, write: writeSystemd,
	}
}

// setting is one line of a unit.
type setting struct {
	section, key, value string
	line                int
}

// unit reads a unit file (systemd.syntax(7)): sections, KEY=value, lines that go on behind a \, comments.
func unit(text string) (out []setting, err error) {
	section := ""
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		at := i + 1
		line := strings.TrimSpace(lines[i])
		if strings.HasSuffix(line, `\`) {
			parts := []string{line}
			for last := line; strings.HasSuffix(last, `\`) && i+1 < len(lines); {
				i++
				next := strings.TrimSpace(lines[i])
				if next != "" && (next[0] == '#' || next[0] == ';') {
					continue // a comment may stand between
				}
				parts[len(parts)-1] = last[:len(last)-1]
				parts, last = append(parts, next), next
			}
			line = strings.Join(parts, " ")
		}
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		default:
			k, v, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				return nil, fmt.Errorf("line %d: want [Section] or KEY=value, not %q", at, short(line))
			}
			if len(out) >= tree.MaxValues {
				return nil, fmt.Errorf("more than %d values (MaxValues)", tree.MaxValues)
			}
			out = append(out, setting{section, strings.TrimSpace(k), strings.TrimSpace(v), at})
		}
	}
	return out, nil
}

// serving is a unit being read.
type serving struct {
	*reading
	all   map[string][]setting
	seen  map[string]bool
	bound caps.Set
	err   error
}

func (s *serving) fail(at setting, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("line %d: %s=%s: %s", at.line, at.key, short(at.value), fmt.Sprintf(format, args...))
	}
}

// values are a key's, an empty one having taken back those before it.
func (s *serving) values(key string) (out []setting) {
	s.seen[key] = true
	for _, v := range s.all[key] {
		if v.value == "" {
			out = nil
			continue
		}
		v.value = s.specifiers(v)
		out = append(out, v)
	}
	return out
}

// specifiers puts a % in for %%; what only systemd knows is lost.
func (s *serving) specifiers(v setting) string {
	if !strings.Contains(v.value, "%") || v.key == "CPUQuota" {
		return v.value
	}
	if strings.Contains(strings.ReplaceAll(v.value, "%%", ""), "%") {
		s.lose(v.section+"."+v.key, v.value, "a % specifier is filled in by systemd alone, and stays as it is")
	}
	return strings.ReplaceAll(v.value, "%%", "%")
}

// last is the one that counts of a key with one value.
func (s *serving) last(key string) (v setting, ok bool) {
	all := s.values(key)
	if len(all) == 0 {
		return setting{}, false
	}
	return all[len(all)-1], true
}

func (s *serving) text(key string) string { v, _ := s.last(key); return v.value }

// yes reads a boolean; what else a key may be is in other.
func (s *serving) yes(key string, other ...string) (is bool, word string) {
	v, ok := s.last(key)
	if !ok {
		return false, ""
	}
	switch strings.ToLower(v.value) {
	case "1", "yes", "y", "true", "t", "on":
		return true, ""
	case "0", "no", "n", "false", "f", "off":
		return false, ""
	}
	if slices.Contains(other, v.value) {
		return true, v.value
	}
	s.fail(v, "want yes or no")
	return false, ""
}

func (s *serving) words(key string) (out []string) {
	for _, v := range s.values(key) {
		words, err := unitWords(v.value)
		if err != nil {
			s.fail(v, "%v", err)
		}
		out = append(out, words...)
	}
	return out
}

// unitWords takes a value apart: blanks, "…" and '…' around a word or within, and \ as C has it.
func unitWords(v string) (words []string, err error) {
	var b strings.Builder
	in, quoted := false, byte(0)
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\':
			if i+1 == len(v) {
				return nil, errors.New(`a \ stands at the end`)
			}
			n, text, err := unescape(v[i+1:])
			if err != nil {
				return nil, err
			}
			in = true
			b.WriteString(text)
			i += n
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted == 0 && (c == '"' || c == '\''):
			in, quoted = true, c
		case quoted == 0 && (c == ' ' || c == '\t'):
			if in {
				words = append(words, b.String())
			}
			b.Reset()
			in = false
		default:
			in = true
			b.WriteByte(c)
		}
	}
	if quoted != 0 {
		return nil, fmt.Errorf("a %c has no end", quoted)
	}
	if in {
		words = append(words, b.String())
	}
	return words, nil
}

// unescape reads what follows a \ (cunescape_one, src/basic/escape.c).
func unescape(s string) (n int, text string, err error) {
	if i := strings.IndexByte(`abfnrtv\"'s`, s[0]); i >= 0 {
		return 1, "\a\b\f\n\r\t\v\\\"' "[i : i+1], nil
	}
	size, base := 0, 16
	switch {
	case s[0] == 'x':
		size = 2
	case s[0] == 'u':
		size = 4
	case s[0] == 'U':
		size = 8
	case '0' <= s[0] && s[0] <= '7':
		size, base, s = 3, 8, " "+s
	}
	if size > 0 && len(s) > size {
		v, err := strconv.ParseUint(s[1:1+size], base, 32)
		if err == nil && v > 0 && v <= 0x10ffff {
			if base == 8 {
				size--
			}
			return size + 1, string(rune(v)), nil
		}
	}
	return 0, "", fmt.Errorf(`\%c is no escape`, s[0])
}

func readSystemd(r *reading, text string) error {
	lines, err := unit(text)
	if err != nil {
		return err
	}
	s := &serving{reading: r, all: map[string][]setting{}, seen: map[string]bool{}, bound: caps.All}
	for _, l := range lines {
		if l.section == "Service" {
			s.all[l.key] = append(s.all[l.key], l)
		}
	}
	s.read()
	if s.err != nil {
		return s.err
	}
	if len(r.w.Args) == 0 {
		return errors.New("no ExecStart is in it")
	}
	for _, l := range lines {
		if l.section == "Service" && s.seen[l.key] {
			r.kept = append(r.kept, l.section+"."+l.key)
			continue
		}
		if l.value == "" {
			continue
		}
		shape := l.section + "." + l.key
		row, ok := find(r.d.Lost, shape)
		if !ok {
			row.Why = "porthole has no such thing"
		}
		r.losses = append(r.losses, Loss{shape, short(l.value), row.Why, l.line})
	}
	return nil
}

func (s *serving) read() {
	w := &s.w
	s.root()
	s.environment()
	s.exec()
	w.User = s.text("User")
	if g := s.text("Group"); g != "" {
		if w.User == "" {
			w.User = "0"
		}
		w.User += ":" + g
	}
	w.Groups = s.words("SupplementaryGroups")
	if dir := strings.TrimPrefix(s.text("WorkingDirectory"), "-"); dir == "~" {
		s.lose("Service.WorkingDirectory", "~", "the user's home is not known here")
	} else {
		w.Dir = dir
	}
	if v, ok := s.last("KillSignal"); ok {
		if _, err := workload.Signal(v.value); err != nil {
			s.fail(v, "%v", err)
		}
		w.StopSignal = v.value
	}
	if v, ok := s.last("TimeoutStopSec"); ok {
		if d, ok := span(v.value); ok && d%time.Second == 0 && d < 1<<31*time.Second {
			w.StopWait = &d
		} else if v.value == "infinity" {
			w.StopWait = ptr(-time.Second)
		} else {
			s.fail(v, "want whole seconds")
		}
	}
	s.seen["StandardOutput"], s.seen["StandardError"] = true, true // it comes out where porthole's does
	if in := s.text("StandardInput"); in == "tty" || in == "tty-force" || in == "tty-fail" {
		w.TTY, w.Stdin = true, true
	} else if in != "" && in != "null" {
		s.lose("Service.StandardInput", in, "input comes from who runs it, or nowhere")
	}
	s.namespaces()
	s.security()
	s.paths()
	s.limits()
}

func (s *serving) root() {
	w := &s.w
	w.Image = "host"
	if v, ok := s.last("RootDirectory"); ok && v.value != "/" {
		if !path.IsAbs(v.value) {
			s.fail(v, "want an absolute path")
		}
		w.Image = "dir:" + path.Clean(v.value)
	}
}

func (s *serving) environment() {
	for _, v := range s.values("EnvironmentFile") {
		name, optional := strings.CutPrefix(v.value, "-")
		data, err := s.o.readFile(name)
		if err != nil {
			if !optional && !s.o.NamesOnly {
				s.fail(v, "%v", err)
			}
			if !optional {
				s.lose("Service.EnvironmentFile", name, "the file is not there")
			}
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			line = strings.TrimSpace(line)
			k, val, ok := strings.Cut(line, "=")
			if line == "" || line[0] == '#' || line[0] == ';' || !ok || k == "" {
				continue
			}
			if words, err := unitWords(val); err == nil && len(words) == 1 {
				val = words[0]
			}
			s.w.Env = append(s.w.Env, workload.EnvVar{Name: k, Value: &val})
		}
	}
	for _, word := range s.words("Environment") {
		k, v, ok := strings.Cut(word, "=")
		if !ok || k == "" {
			s.lose("Service.Environment", word, "it is no NAME=value")
			continue
		}
		s.w.Env = append(s.w.Env, workload.EnvVar{Name: k, Value: &v})
	}
	for _, name := range s.words("PassEnvironment") {
		s.w.Env = append(s.w.Env, workload.EnvVar{Name: name})
	}
}

func (s *serving) exec() {
	all := s.values("ExecStart")
	for i, v := range all {
		if i > 0 {
			s.lose("Service.ExecStart", v.value, "a workload is one command")
			continue
		}
		line, expand := v.value, true
		var argv0 bool
	prefixes:
		for line != "" {
			switch line[0] {
			case '@':
				argv0 = true
			case ':':
				expand = false
			case '-':
			case '+', '!', '|':
				s.lose("Service.ExecStart", line[:1], "the command gets what its service's has, no more and no less")
			default:
				break prefixes
			}
			line = line[1:]
		}
		words, err := unitWords(line)
		if err != nil {
			s.fail(v, "%v", err)
			return
		}
		if i := slices.Index(words, ";"); i >= 0 {
			s.lose("Service.ExecStart", strings.Join(words[i:], " "), "a workload is one command")
			words = words[:i]
		}
		if argv0 && len(words) > 1 {
			s.lose("Service.ExecStart", words[1], "a program is called by its path")
			words = slices.Delete(words, 1, 2)
		}
		if expand {
			words = s.expand(words)
		}
		s.w.Entrypoint, s.w.Args = []string{}, words
	}
}

// expand puts the unit's own variables in: $NAME as a whole word becomes its words, ${NAME} one, $$ is one $.
func (s *serving) expand(words []string) (out []string) {
	env := map[string]string{}
	for _, e := range s.w.Env {
		if e.Value != nil {
			env[e.Name] = *e.Value
		}
	}
	get := func(name string) string {
		v, ok := env[name]
		if !ok {
			s.lose("Service.ExecStart", "$"+name, "the unit does not set it")
		}
		return s.counted(v)
	}
	for i, word := range words {
		if rest, ok := strings.CutPrefix(word, "$"); ok && i > 0 && rest != "" && variable(rest) == rest {
			out = append(out, strings.Fields(get(rest))...)
			continue
		}
		var b strings.Builder
		for j := 0; j < len(word); j++ {
			switch {
			case strings.HasPrefix(word[j:], "$$"):
				b.WriteByte('$')
				j++
			case strings.HasPrefix(word[j:], "${"):
				name := variable(word[j+2:])
				if name != "" && strings.HasPrefix(word[j+2+len(name):], "}") {
					b.WriteString(get(name))
					j += len(name) + 2
					break
				}
				b.WriteByte('$')
			default:
				b.WriteByte(word[j])
			}
		}
		out = append(out, b.String())
	}
	return out
}

func (s *serving) namespaces() {
	ns := &s.w.NS
	*ns = workload.Namespaces{PID: "host", IPC: "host", UTS: "host", User: "host", Cgroup: "host", Network: "host"}
	if yes, _ := s.yes("PrivateIPC"); yes {
		ns.IPC = "private"
	}
	kind, name, named := strings.Cut(s.text("ProtectHostname"), ":")
	if named && (kind == "private" || kind == "yes") {
		ns.UTS, s.w.Hostname = "", name
	} else if yes, _ := s.yes("ProtectHostname", "private"); yes {
		ns.UTS = ""
	}
	if yes, _ := s.yes("PrivateNetwork"); yes {
		ns.Network = "none"
	}
	if yes, word := s.yes("PrivateUsers", "self", "identity", "full", "managed"); yes {
		ns.User = "private"
		if word != "identity" && word != "" {
			s.lose("Service.PrivateUsers", word, "ids are mapped one to one")
		}
	}
	if yes, _ := s.yes("PrivatePIDs"); yes {
		ns.PID = ""
	}
	switch v := s.text("ProtectControlGroups"); v {
	case "private", "strict":
		ns.Cgroup = "private"
	case "", "no", "false", "0", "off":
	default:
		s.lose("Service.ProtectControlGroups", v, "control groups are read-only in a container anyway")
	}
}

// taken are the capabilities that a switch of systemd's takes away (systemd.exec(5)).
var taken = map[string][]caps.Cap{
	"ProtectKernelModules": {caps.CAP_SYS_MODULE},
	"ProtectKernelLogs":    {caps.CAP_SYSLOG},
	"ProtectClock":         {caps.CAP_SYS_TIME, caps.CAP_WAKE_ALARM},
	"PrivateDevices":       {caps.CAP_MKNOD, caps.CAP_SYS_RAWIO},
}

func (s *serving) security() {
	sec := &s.w.Security
	sec.Seccomp, sec.SystemPaths = "unconfined", "unconfined"
	if yes, _ := s.yes("NoNewPrivileges"); yes {
		sec.NoNewPrivs = ptr(true)
	} else if _, said := s.last("NoNewPrivileges"); said {
		sec.NoNewPrivs = ptr(false)
	}
	s.bounding()
	for _, key := range []string{"ProtectClock", "ProtectKernelLogs", "ProtectKernelModules", "PrivateDevices"} {
		if yes, _ := s.yes(key); yes {
			for _, c := range taken[key] {
				s.bound = s.bound.Remove(c)
			}
			s.lose("Service."+key, "yes", "of it the capabilities that it takes away are kept")
		}
	}
	sec.CapAdd, sec.CapDrop = relative(s.bound)
	if v, ok := s.last("AppArmorProfile"); ok {
		sec.AppArmor = strings.TrimPrefix(v.value, "-")
	}
	s.seccomp()
}

// bounding reads CapabilityBoundingSet: lists that add up, or with ~ take away, from nothing or, if a ~ comes first, from all.
func (s *serving) bounding() {
	first := true
	s.seen["CapabilityBoundingSet"] = true
	for _, v := range s.all["CapabilityBoundingSet"] {
		value, not := strings.CutPrefix(v.value, "~")
		set := caps.Set(0)
		for _, name := range strings.Fields(value) {
			c, err := caps.Parse(name)
			if err != nil {
				s.fail(v, "%v", err)
			}
			set = set.Add(c)
		}
		switch {
		case v.value == "":
			s.bound, first = 0, false
			continue
		case not && strings.TrimSpace(value) == "":
			s.bound = caps.All
		case not:
			s.bound &^= set
		case first:
			s.bound = set
		default:
			s.bound |= set
		}
		first = false
	}
}

// relative says a bounding set as docker's flags do.
func relative(have caps.Set) (add, drop []string) {
	usual, err := spec.Capabilities("", nil, nil)
	if err != nil {
		return nil, nil
	}
	switch {
	case have == 0:
		return nil, []string{"ALL"}
	case have == caps.All:
		return []string{"ALL"}, nil
	}
	for c := caps.Cap(0); c <= caps.Last; c++ {
		switch {
		case have.Has(c) && !usual.Has(c):
			add = append(add, c.String())
		case !have.Has(c) && usual.Has(c):
			drop = append(drop, c.String())
		}
	}
	if !slices.ContainsFunc(allCaps(), func(c caps.Cap) bool { return usual.Has(c) && have.Has(c) }) {
		drop = []string{"ALL"}
	}
	return add, drop
}

func allCaps() (out []caps.Cap) {
	for c := caps.Cap(0); c <= caps.Last; c++ {
		out = append(out, c)
	}
	return out
}

// filterName is where a unit's filter comes from.
const filterName = "SystemCallFilter"

// systemdFilter are the settings that make up a filter.
var systemdFilter = []string{"SystemCallFilter", "SystemCallErrorNumber", "SystemCallArchitectures", "SystemCallLog"}

func (s *serving) seccomp() {
	var text strings.Builder
	for _, key := range systemdFilter {
		s.seen[key] = true
		for _, v := range s.all[key] {
			fmt.Fprintf(&text, "%s=%s\n", key, v.value)
		}
	}
	if text.Len() == 0 {
		return
	}
	doc, err := format.Read(filterName, []byte(text.String()), "systemd")
	if err != nil {
		s.err = cmpErr(s.err, err)
		return
	}
	for _, l := range doc.Losses {
		s.lose("Service."+filterName, l.String(), "a profile has no word for it")
	}
	var b bytes.Buffer
	if err := doc.Profile.Write(&b, profile.Docker); err != nil {
		s.err = cmpErr(s.err, err)
		return
	}
	s.w.Security.Seccomp, s.w.Security.SeccompDoc = filterName, b.Bytes()
}

func (s *serving) paths() {
	w := &s.w
	sec := &w.Security
	mark := func(key string, at *[]string) {
		for _, p := range s.words(key) {
			p = strings.TrimPrefix(strings.TrimPrefix(p, "-"), "+")
			*at = append(*at, p)
		}
	}
	mark("ReadOnlyPaths", &sec.ReadonlyPaths)
	mark("ReadOnlyDirectories", &sec.ReadonlyPaths)
	mark("InaccessiblePaths", &sec.MaskedPaths)
	mark("InaccessibleDirectories", &sec.MaskedPaths)
	switch yes, word := s.yes("ProtectSystem", "full", "strict"); {
	case word == "strict":
		w.Root.ReadOnly = true
	case word == "full":
		sec.ReadonlyPaths = append(sec.ReadonlyPaths, "/usr", "/boot", "/etc")
	case yes:
		sec.ReadonlyPaths = append(sec.ReadonlyPaths, "/usr", "/boot")
	}
	tmpfs := func(target, refer string) {
		w.Mounts = append(w.Mounts, workload.Mount{Type: workload.Tmpfs, Target: target, Refer: refer})
	}
	switch yes, word := s.yes("ProtectHome", "read-only", "tmpfs"); {
	case word == "read-only":
		sec.ReadonlyPaths = append(sec.ReadonlyPaths, "/home", "/root", "/run/user")
	case word == "tmpfs":
		for _, p := range []string{"/home", "/root", "/run/user"} {
			tmpfs(p, "ProtectHome=tmpfs")
		}
	case yes:
		sec.MaskedPaths = append(sec.MaskedPaths, "/home", "/root", "/run/user")
	}
	if yes, word := s.yes("PrivateTmp", "disconnected"); yes || word != "" {
		tmpfs("/tmp", "PrivateTmp=yes")
		tmpfs("/var/tmp", "PrivateTmp=yes")
	}
	if yes, _ := s.yes("ProtectKernelTunables"); yes {
		sec.ReadonlyPaths = append(sec.ReadonlyPaths, "/proc/acpi", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys")
	}
	if sec.MaskedPaths != nil || sec.ReadonlyPaths != nil {
		// Only those named: nothing else is masked.
		sec.SystemPaths = ""
		if sec.MaskedPaths == nil {
			sec.MaskedPaths = []string{}
		}
		if sec.ReadonlyPaths == nil {
			sec.ReadonlyPaths = []string{}
		}
	}
	for _, word := range s.words("TemporaryFileSystem") {
		target, opts, _ := strings.Cut(word, ":")
		m := workload.Mount{Type: workload.Tmpfs, Target: path.Clean(target), Refer: "TemporaryFileSystem=" + word}
		if opts != "" {
			for _, o := range strings.Split(opts, ",") {
				k, v, _ := strings.Cut(o, "=")
				mode, modeErr := strconv.ParseUint(v, 8, 32)
				switch size, err := strconv.ParseInt(v, 10, 64); {
				case k == "size" && err == nil && size > 0:
					m.Size = size
				case k == "mode" && modeErr == nil && mode <= 0o7777:
					m.Mode = ptr(uint32(mode))
				case o == "ro":
					m.ReadOnly = true
				default:
					m.Options = append(m.Options, o)
				}
			}
		}
		w.Mounts = append(w.Mounts, m)
	}
	for _, b := range []struct {
		key string
		ro  bool
	}{{"BindPaths", false}, {"BindReadOnlyPaths", true}} {
		for _, word := range s.words(b.key) {
			word = strings.TrimPrefix(word, "-")
			parts := colons(word)
			m := workload.Mount{Type: workload.Bind, Source: path.Clean(parts[0]), Target: path.Clean(parts[0]), ReadOnly: b.ro, Refer: b.key + "=" + word}
			if len(parts) > 1 {
				m.Target = path.Clean(parts[1])
			}
			if len(parts) > 2 && parts[2] == "norbind" {
				m.NonRecursive = true
			}
			w.Mounts = append(w.Mounts, m)
		}
	}
	for _, m := range w.Mounts {
		if !path.IsAbs(m.Target) || m.Target == "/" {
			s.err = cmpErr(s.err, fmt.Errorf("%s: want an absolute path that is not /", m.Refer))
		}
	}
	for _, v := range s.values("DeviceAllow") {
		f := strings.Fields(v.value)
		access := "rwm"
		if len(f) > 1 {
			access = f[1]
		}
		if !strings.HasPrefix(f[0], "/dev/") || strings.Trim(access, "rwm") != "" || access == "" {
			s.lose("Service.DeviceAllow", v.value, "only a device by its path is kept")
			continue
		}
		w.Devices = append(w.Devices, workload.Device{Source: path.Clean(f[0]), Target: path.Clean(f[0]), Access: access})
	}
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// colons takes source:target:options apart; \: is a colon of a path.
func colons(s string) (parts []string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ':':
			parts = append(parts, b.String())
			b.Reset()
			continue
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return append(parts, b.String())
}

// rlimits are the limits of setrlimit(2) by the ends of their keys.
var rlimits = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack", "as"}

func (s *serving) limits() {
	l := &s.w.Limits
	number := func(key string) (n int64, infinite, ok bool) {
		v, said := s.last(key)
		if !said {
			return 0, false, false
		}
		if v.value == "infinity" {
			return 0, true, true
		}
		n, good := sized(v.value)
		if !good {
			s.lose("Service."+key, v.value, "only a number is kept, not a share of the machine's")
		}
		return n, false, good
	}
	n, _, _ := number("MemoryMax")
	l.Memory = n
	if swap, infinite, ok := number("MemorySwapMax"); ok && infinite {
		l.MemorySwap = -1
	} else if ok && l.Memory > 0 {
		l.MemorySwap = l.Memory + swap
	}
	if v, ok := s.last("CPUQuota"); ok {
		n, good := tree.ParseNumber(strings.TrimSuffix(v.value, "%"))
		if !good || !strings.HasSuffix(v.value, "%") || n.Sign() <= 0 || !times(n, 100).IsInt() || !times(n, 1e7).Num().IsInt64() {
			s.fail(v, "want a percentage, of two decimal places at most")
			return
		}
		l.NanoCPUs = times(n, 1e7).Num().Int64()
	}
	l.CpusetCpus = strings.Join(s.words("AllowedCPUs"), ",")
	l.CpusetMems = strings.Join(s.words("AllowedMemoryNodes"), ",")
	if n, infinite, ok := number("TasksMax"); ok {
		if infinite {
			n = -1
		}
		l.PidsLimit = &n
	}
	if v, ok := s.last("OOMScoreAdjust"); ok {
		n, err := strconv.Atoi(v.value)
		if err != nil || n < -1000 || n > 1000 {
			s.fail(v, "want -1000 to 1000")
		}
		l.OOMScoreAdj = &n
	}
	for _, name := range rlimits {
		v, ok := s.last("Limit" + strings.ToUpper(name))
		if !ok {
			continue
		}
		soft, hard, two := strings.Cut(v.value, ":")
		if !two {
			hard = soft
		}
		one := func(t string) int64 {
			if t == "infinity" {
				return -1
			}
			n, ok := sized(t)
			if !ok {
				s.fail(v, "want a number, or two with a colon")
			}
			return n
		}
		l.Ulimits = append(l.Ulimits, workload.Ulimit{Name: name, Soft: one(soft), Hard: one(hard)})
	}
}

// sized reads a number with K, M, G, T, P or E of 1024.
func sized(s string) (int64, bool) {
	shift := 0
	if i := strings.IndexAny("KMGTPE", s[max(len(s)-1, 0):]); s != "" && i >= 0 {
		shift, s = 10*(i+1), s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n << shift, err == nil && n >= 0 && n < 1<<(62-shift)
}

// span reads a time such as "1min 30s" or "90" (systemd.time(7)).
func span(s string) (time.Duration, bool) {
	total := 0.0
	units := map[string]float64{"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "m": 60, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400}
	all := regexp.MustCompile(`([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*`).FindAllStringSubmatchIndex(s, -1)
	end := 0
	for _, m := range all {
		n, err := strconv.ParseFloat(s[m[2]:m[3]], 64)
		u, ok := units[s[m[4]:m[5]]]
		if err != nil || !ok || m[0] != end {
			return 0, false
		}
		total, end = total+n*u, m[1]
	}
	if all == nil || end != len(s) || total > 1<<31 {
		return 0, false
	}
	return time.Duration(total * float64(time.Second)), true
}

// What of a text is kept, in docker's words.
var systemdKept = []Row{
	{Member: "Service.ExecStart", To: "the command; the unit's own variables are filled in"},
	{Member: "Service.User", To: "--user"},
	{Member: "Service.Group", To: "--user"},
	{Member: "Service.SupplementaryGroups", To: "--group-add"},
	{Member: "Service.WorkingDirectory", To: "--workdir"},
	{Member: "Service.RootDirectory", To: "the image, as a directory; without it host"},
	{Member: "Service.Environment", To: "--env"},
	{Member: "Service.EnvironmentFile", To: "--env-file"},
	{Member: "Service.PassEnvironment", To: "--env NAME"},
	{Member: "Service.KillSignal", To: "--stop-signal"},
	{Member: "Service.TimeoutStopSec", To: "--stop-timeout"},
	{Member: "Service.StandardInput", To: "tty: --tty --interactive"},
	{Member: "Service.StandardOutput", To: "it goes where porthole's does"},
	{Member: "Service.StandardError", To: "it goes where porthole's does"},
	{Member: "Service.CapabilityBoundingSet", To: "--cap-add and --cap-drop, against every capability"},
	{Member: "Service.NoNewPrivileges", To: "--security-opt no-new-privileges"},
	{Member: "Service.AppArmorProfile", To: "--security-opt apparmor="},
	{Member: "Service.SystemCallFilter", To: "--security-opt seccomp="},
	{Member: "Service.SystemCallErrorNumber", To: "the same"},
	{Member: "Service.SystemCallArchitectures", To: "the same"},
	{Member: "Service.SystemCallLog", To: "the same"},
	{Member: "Service.PrivateIPC", To: "no: --ipc host"},
	{Member: "Service.ProtectHostname", To: "no: --uts host"},
	{Member: "Service.PrivateNetwork", To: "yes: --network none, no: host"},
	{Member: "Service.PrivateUsers", To: "a user namespace, or --userns host"},
	{Member: "Service.PrivatePIDs", To: "no: --pid host"},
	{Member: "Service.ProtectControlGroups", To: "private, strict: --cgroupns private"},
	{Member: "Service.ReadOnlyPaths", To: "read-only paths"},
	{Member: "Service.ReadOnlyDirectories", To: "the same"},
	{Member: "Service.InaccessiblePaths", To: "masked paths"},
	{Member: "Service.InaccessibleDirectories", To: "the same"},
	{Member: "Service.ProtectSystem", To: "strict: --read-only; yes, full: read-only paths"},
	{Member: "Service.ProtectHome", To: "masked or read-only paths, or tmpfs"},
	{Member: "Service.PrivateTmp", To: "tmpfs at /tmp and /var/tmp"},
	{Member: "Service.ProtectKernelTunables", To: "read-only paths in /proc and /sys"},
	{Member: "Service.TemporaryFileSystem", To: "--tmpfs"},
	{Member: "Service.BindPaths", To: "--mount type=bind"},
	{Member: "Service.BindReadOnlyPaths", To: "--mount type=bind,readonly"},
	{Member: "Service.DeviceAllow", To: "--device, by its path"},
	{Member: "Service.ProtectKernelModules", To: "its capability is dropped"},
	{Member: "Service.ProtectKernelLogs", To: "its capability is dropped"},
	{Member: "Service.ProtectClock", To: "its capabilities are dropped"},
	{Member: "Service.PrivateDevices", To: "its capabilities are dropped"},
	{Member: "Service.MemoryMax", To: "--memory"},
	{Member: "Service.MemorySwapMax", To: "--memory-swap"},
	{Member: "Service.CPUQuota", To: "--cpus"},
	{Member: "Service.AllowedCPUs", To: "--cpuset-cpus"},
	{Member: "Service.AllowedMemoryNodes", To: "--cpuset-mems"},
	{Member: "Service.TasksMax", To: "--pids-limit"},
	{Member: "Service.OOMScoreAdjust", To: "--oom-score-adj"},
	{Member: "Service.LimitAS", To: "--ulimit"},
	{Member: "Service.LimitCORE", To: "--ulimit"},
	{Member: "Service.LimitCPU", To: "--ulimit"},
	{Member: "Service.LimitDATA", To: "--ulimit"},
	{Member: "Service.LimitFSIZE", To: "--ulimit"},
	{Member: "Service.LimitLOCKS", To: "--ulimit"},
	{Member: "Service.LimitMEMLOCK", To: "--ulimit"},
	{Member: "Service.LimitMSGQUEUE", To: "--ulimit"},
	{Member: "Service.LimitNICE", To: "--ulimit"},
	{Member: "Service.LimitNOFILE", To: "--ulimit"},
	{Member: "Service.LimitNPROC", To: "--ulimit"},
	{Member: "Service.LimitRSS", To: "--ulimit"},
	{Member: "Service.LimitRTPRIO", To: "--ulimit"},
	{Member: "Service.LimitRTTIME", To: "--ulimit"},
	{Member: "Service.LimitSIGPENDING", To: "--ulimit"},
	{Member: "Service.LimitSTACK", To: "--ulimit"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var systemdLost = []Row{
	{Member: "Unit", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Install", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.Type", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.Restart", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.RestartSec", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.TimeoutStartSec", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.TimeoutSec", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.WatchdogSec", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.RemainAfterExit", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.PIDFile", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.BusName", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.NotifyAccess", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.GuessMainPID", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.RuntimeMaxSec", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.Slice", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.Sockets", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.KillMode", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.SendSIGKILL", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.SendSIGHUP", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.FinalKillSignal", Why: "when it starts, and after what, is the manager's affair"},
	{Member: "Service.ExecStartPre", Why: "a workload is one command"},
	{Member: "Service.ExecStartPost", Why: "a workload is one command"},
	{Member: "Service.ExecCondition", Why: "a workload is one command"},
	{Member: "Service.ExecReload", Why: "a workload is one command"},
	{Member: "Service.ExecStop", Why: "a workload is one command"},
	{Member: "Service.ExecStopPost", Why: "a workload is one command"},
	{Member: "Service.AmbientCapabilities", Why: "a process has what its bounding set gives its user"},
	{Member: "Service.SecureBits", Why: "a process has what its bounding set gives its user"},
	{Member: "Service.RestrictAddressFamilies", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.RestrictNamespaces", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.RestrictRealtime", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.RestrictSUIDSGID", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.LockPersonality", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.MemoryDenyWriteExecute", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.Personality", Why: "a rule about arguments: write a seccomp profile for it"},
	{Member: "Service.StateDirectory", Why: "porthole has no such directories"},
	{Member: "Service.CacheDirectory", Why: "porthole has no such directories"},
	{Member: "Service.LogsDirectory", Why: "porthole has no such directories"},
	{Member: "Service.RuntimeDirectory", Why: "porthole has no such directories"},
	{Member: "Service.ConfigurationDirectory", Why: "porthole has no such directories"},
	{Member: "Service.StateDirectoryMode", Why: "porthole has no such directories"},
	{Member: "Service.RuntimeDirectoryMode", Why: "porthole has no such directories"},
	{Member: "Service.RuntimeDirectoryPreserve", Why: "porthole has no such directories"},
	{Member: "Service.ReadWritePaths", Why: "only a path that is named is kept"},
	{Member: "Service.ExecPaths", Why: "only a path that is named is kept"},
	{Member: "Service.NoExecPaths", Why: "only a path that is named is kept"},
	{Member: "Service.ProtectProc", Why: "only a path that is named is kept"},
	{Member: "Service.ProcSubset", Why: "only a path that is named is kept"},
	{Member: "Service.RootImage", Why: "only a path that is named is kept"},
	{Member: "Service.RootHash", Why: "only a path that is named is kept"},
	{Member: "Service.MountFlags", Why: "only a path that is named is kept"},
	{Member: "Service.MountAPIVFS", Why: "only a path that is named is kept"},
	{Member: "Service.PrivateMounts", Why: "only a path that is named is kept"},
	{Member: "Service.DynamicUser", Why: "a user is one that is there already"},
	{Member: "Service.SetLoginEnvironment", Why: "a user is one that is there already"},
	{Member: "Service.PAMName", Why: "a user is one that is there already"},
	{Member: "Service.RemoveIPC", Why: "a user is one that is there already"},
	{Member: "Service.UnsetEnvironment", Why: "a user is one that is there already"},
	{Member: "Service.UMask", Why: "a user is one that is there already"},
	{Member: "Service.CPUWeight", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.MemoryHigh", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.MemoryLow", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.MemoryMin", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IOWeight", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IOReadBandwidthMax", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IOWriteBandwidthMax", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IPAddressAllow", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IPAddressDeny", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.DevicePolicy", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.Delegate", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.Nice", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.CPUSchedulingPolicy", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.IOSchedulingClass", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.OOMPolicy", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.KeyringMode", Why: "porthole limits memory, CPUs, processes and devices by name"},
	{Member: "Service.LoadCredential", Why: "porthole keeps no secrets and no log"},
	{Member: "Service.SetCredential", Why: "porthole keeps no secrets and no log"},
	{Member: "Service.SyslogIdentifier", Why: "porthole keeps no secrets and no log"},
	{Member: "Service.LogLevelMax", Why: "porthole keeps no secrets and no log"},
	{Member: "Service.TTYPath", Why: "porthole keeps no secrets and no log"},
	{Member: "Service.SELinuxContext", Why: "porthole sets no labels"},
	{Member: "Service.SmackProcessLabel", Why: "porthole sets no labels"},
}
