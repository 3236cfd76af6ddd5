package document

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
	"porthole/spec"
	"porthole/workload"
)

// unitText is a unit being written.
type unitText struct{ strings.Builder }

func (u *unitText) say(key, v string) {
	if v != "" {
		fmt.Fprintf(u, "%s=%s\n", key, v)
	}
}

func (u *unitText) yes(key string, on bool) {
	if on {
		u.say(key, "yes")
	}
}

// unitQuote writes one word of a value.
func unitQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%^$") == "" {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + `"`
}

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = unitQuote(w)
	}
	return strings.Join(out, " ")
}

// oneLine says whether a value can stand as it is, without quotes.
func oneLine(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsAny(s, "\n\r\x00%\\\"'")
}

func writeSystemd(w *writing) ([]byte, error) {
	var u unitText
	u.WriteString("[Service]\n")
	s := &w.Security
	switch {
	case w.Image == "host":
		take(&w.Image)
	case strings.HasPrefix(w.Image, "dir:/") && path.Clean(w.Image[4:]) == w.Image[4:] && oneLine(w.Image[4:]) && w.Image != "dir:/":
		u.say("RootDirectory", take(&w.Image)[4:])
	}
	words := append(slices.Clone(w.Entrypoint), w.Args...)
	if len(words) > 0 && words[0] != "" && !strings.Contains(strings.Join(words, ""), "\x00") {
		if len(w.Entrypoint) > 0 {
			w.lose("Entrypoint", strings.Join(w.Entrypoint, " "), "it begins the command")
			w.lose("Args", strings.Join(w.Entrypoint, " "), "they begin with the entry point")
		} else if w.Entrypoint == nil {
			w.lose("Entrypoint", "the image's", "a unit names its whole command")
		}
		w.Entrypoint, w.Args = nil, nil
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "$", "$$")
		}
		line := quoteAll(words)
		if strings.ContainsAny(words[0][:1], "@-:+!|") || slices.Contains(words, ";") {
			return nil, fmt.Errorf("a unit can't say the command %s: a first word that begins with one of @-:+!| and a ; mean something else there", short(line))
		}
		u.say("ExecStart", line)
	} else {
		return nil, errors.New("a unit needs a command: the image's own is not known here")
	}
	if user, group, both := strings.Cut(w.User, ":"); oneWord(user) && (!both || oneWord(group)) {
		take(&w.User)
		u.say("User", user)
		u.say("Group", group)
	}
	if !slices.ContainsFunc(w.Groups, func(g string) bool { return !oneWord(g) }) {
		u.say("SupplementaryGroups", quoteAll(take(&w.Groups)))
	}
	if path.IsAbs(w.Dir) && oneLine(w.Dir) {
		u.say("WorkingDirectory", take(&w.Dir))
	}
	for i := range w.Env {
		e := &w.Env[i]
		switch {
		case variable(e.Name) != e.Name || e.Name == "" || e.Value != nil && strings.Contains(*e.Value, "\x00"):
		case e.Value == nil:
			u.say("PassEnvironment", take(e).Name)
		default:
			v := take(e)
			u.say("Environment", unitQuote(v.Name+"="+*v.Value))
		}
	}
	if w.TTY && w.Stdin {
		take(&w.TTY)
		take(&w.Stdin)
		u.say("StandardInput", "tty")
		u.say("StandardOutput", "tty")
	}
	if kubeSignals[w.StopSignal] != 0 || kubeSignals["SIG"+w.StopSignal] != 0 {
		u.say("KillSignal", take(&w.StopSignal))
	}
	switch d := w.StopWait; {
	case d == nil:
	case *d == -time.Second:
		take(&w.StopWait)
		u.say("TimeoutStopSec", "infinity")
	case *d > 0 && *d%time.Second == 0: // 0 is no limit there
		u.say("TimeoutStopSec", strconv.Itoa(int(*take(&w.StopWait)/time.Second)))
	}
	if err := systemdSecurity(w, &u); err != nil {
		return nil, err
	}
	systemdNamespaces(w, &u)
	systemdPaths(w, &u, s)
	systemdLimits(w, &u)
	return []byte(u.String()), nil
}

func oneWord(s string) bool { return oneLine(s) && !strings.ContainsAny(s, " \t:") }

func systemdSecurity(w *writing, u *unitText) error {
	s := &w.Security
	have := caps.All
	if !s.Privileged {
		var err error
		if have, err = spec.Capabilities(w.As, s.CapAdd, s.CapDrop); err != nil {
			return err
		}
	}
	take(&s.CapAdd)
	take(&s.CapDrop)
	if have != caps.All {
		var names []string
		for _, c := range allCaps() {
			if have.Has(c) {
				names = append(names, c.String())
			}
		}
		if names == nil {
			u.WriteString("CapabilityBoundingSet=\n")
		}
		u.say("CapabilityBoundingSet", strings.Join(names, " "))
	}
	if s.NoNewPrivs != nil {
		u.say("NoNewPrivileges", map[bool]string{true: "yes", false: "no"}[*take(&s.NoNewPrivs)])
	}
	if oneWord(s.AppArmor) && !strings.HasPrefix(s.AppArmor, "-") {
		u.say("AppArmorProfile", take(&s.AppArmor))
	}
	switch {
	case s.Privileged:
		w.lose("Security.CapAdd", "every capability", "it is all that is kept of privileged")
		w.lose("Security.CapDrop", "", "privileged has every capability, whatever is dropped")
		w.lose("Security.Seccomp", "", "privileged has no filter")
		w.lose("Security.SeccompDoc", "", "privileged has no filter")
		take(&s.Seccomp)
		take(&s.SeccompDoc)
		take(&s.Privileged)
		w.lose("Security.Privileged", "true", "every capability is kept; the devices are the machine's anyway")
	case s.Seccomp == "unconfined":
		take(&s.Seccomp)
	default:
		return writeFilter(w, u, have)
	}
	return nil
}

// writeFilter says what the workload's filter comes to in systemd's words.
func writeFilter(w *writing, u *unitText, have caps.Set) error {
	s := &w.Security
	name, doc := take(&s.Seccomp), take(&s.SeccompDoc)
	lost := func(what, why string) error {
		w.lose("Security.Seccomp", what, why)
		w.lose("Security.SeccompDoc", what, why)
		return nil
	}
	var p *profile.Profile
	var err error
	if name == "" || name == "builtin" {
		engine, version, _ := strings.Cut(cmp.Or(w.As, "docker"), ":")
		if engine == "kubernetes" { // RuntimeDefault is the runtime's
			engine, version = "containerd", ""
		}
		name = strings.TrimSuffix(engine+":"+version, ":")
		p, err = profile.Builtin(name)
	} else if doc == nil {
		return lost(name, "the file was not read")
	} else {
		p, _, err = profile.Parse(name, doc)
	}
	if err != nil {
		return err
	}
	decided, err := json.Marshal(p.OCI(profile.Conditions{Caps: have, Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}}))
	if err != nil {
		return err
	}
	if p, _, err = profile.Parse(name, decided); err != nil {
		return err
	}
	text, losses, err := format.Write(p, "systemd")
	if err != nil {
		return lost(name, err.Error())
	}
	u.Write(bytes.TrimPrefix(text, []byte("[Service]\n")))
	switch {
	case len(losses) > 1:
		return lost(name, fmt.Sprintf("in systemd's words %d things are lost, the first: %s", len(losses), losses[0]))
	case len(losses) == 1:
		return lost(name, "in systemd's words this is lost: "+losses[0].String())
	case name != filterName:
		w.lose("Security.Seccomp", name, "the filter stands in the unit")
	}
	return nil
}

func systemdNamespaces(w *writing, u *unitText) {
	ns := &w.NS
	if v := ns.IPC; v == "" || v == "private" || v == "host" {
		take(&ns.IPC)
		u.yes("PrivateIPC", v != "host")
	}
	switch {
	case ns.UTS == "host":
		take(&ns.UTS)
	case label(w.Hostname):
		u.say("ProtectHostname", "private:"+take(&w.Hostname))
	default:
		u.yes("ProtectHostname", true)
	}
	u.yes("PrivateNetwork", take(&ns.Network) != "host")
	switch ns.User {
	case "private":
		take(&ns.User)
		u.say("PrivateUsers", "identity")
	case "host", "":
		take(&ns.User)
	}
	u.yes("PrivatePIDs", take(&ns.PID) != "host")
	if take(&ns.Cgroup) != "host" {
		u.say("ProtectControlGroups", "private")
	}
}

func systemdPaths(w *writing, u *unitText, s *workload.Security) {
	list := func(key string, paths *[]string) {
		if !slices.ContainsFunc(*paths, func(p string) bool { return !path.IsAbs(p) || strings.ContainsAny(p, "\n\x00") }) {
			if all := take(paths); len(all) > 0 {
				u.say(key, quoteAll(all))
			}
		}
	}
	switch said := s.MaskedPaths != nil || s.ReadonlyPaths != nil; {
	case s.SystemPaths == "unconfined":
		take(&s.SystemPaths)
		if said {
			w.lose("Security.MaskedPaths", strings.Join(take(&s.MaskedPaths), " "), "systempaths=unconfined leaves nothing masked")
			w.lose("Security.ReadonlyPaths", strings.Join(take(&s.ReadonlyPaths), " "), "systempaths=unconfined leaves nothing read-only")
		}
	case said:
		if s.MaskedPaths == nil {
			w.lose("Security.MaskedPaths", "the defaults", "a unit masks what it names alone")
		}
		if s.ReadonlyPaths == nil {
			w.lose("Security.ReadonlyPaths", "the defaults", "a unit makes read-only what it names alone")
		}
		if len(s.MaskedPaths)+len(s.ReadonlyPaths) == 0 {
			w.lose("Security.SystemPaths", "nothing masked", "it is said as unconfined")
			w.lose("Security.MaskedPaths", "", "none is the same as unconfined")
			w.lose("Security.ReadonlyPaths", "", "none is the same as unconfined")
		}
		list("InaccessiblePaths", &s.MaskedPaths)
		list("ReadOnlyPaths", &s.ReadonlyPaths)
	default:
		w.lose("Security.SystemPaths", "the paths that are masked by default", "a unit masks what it names alone")
	}
	if take(&w.Root.ReadOnly) {
		u.say("ProtectSystem", "strict")
	}
	for i := range w.Mounts {
		m := &w.Mounts[i]
		plainPath := func(p string) bool { return !strings.ContainsAny(p, "\n\x00:\\") }
		switch {
		case m.Type == workload.Tmpfs && plainPath(m.Target):
			var opts []string
			if n := take(&m.Size); n != 0 {
				opts = append(opts, "size="+strconv.FormatInt(n, 10))
			}
			if m.Mode != nil {
				opts = append(opts, "mode="+strconv.FormatUint(uint64(*take(&m.Mode)), 8))
			}
			if take(&m.ReadOnly) {
				opts = append(opts, "ro")
			}
			var other []string
			for _, o := range m.Options {
				if k, _, _ := strings.Cut(o, "="); k == "size" || k == "mode" || k == "ro" || strings.ContainsAny(o, ": \t\n\\\x00") {
					other = append(other, o)
				} else {
					opts = append(opts, o)
				}
			}
			if m.Options = nil; other != nil {
				w.lose(fmt.Sprintf("Mounts[%d].Options", i), strings.Join(other, ","), "size, mode and ro are members of their own")
				for _, o := range other {
					if k, v, _ := strings.Cut(o, "="); k == "size" {
						opts = append(opts, "size="+v)
						w.lose(fmt.Sprintf("Mounts[%d].Size", i), v, "it is said as a size")
					}
				}
			}
			v := take(&m.Target)
			if opts != nil {
				v += ":" + strings.Join(opts, ",")
			}
			u.say("TemporaryFileSystem", unitQuote(v))
			take(&m.Type)
		case m.Type == workload.Bind && plainPath(m.Source+m.Target) && path.IsAbs(m.Source):
			key := "BindPaths"
			if take(&m.ReadOnly) {
				key = "BindReadOnlyPaths"
			}
			v := take(&m.Source) + ":" + take(&m.Target)
			if take(&m.NonRecursive) {
				v += ":norbind"
			}
			u.say(key, unitQuote(v))
			take(&m.Type)
		default:
			w.loseMount(i, "a unit binds and mounts tmpfs; StateDirectory= comes near a volume")
		}
	}
	for i := range w.Devices {
		if d := &w.Devices[i]; d.Rule == "" && d.Source == d.Target && strings.HasPrefix(d.Source, "/dev/") && oneWord(d.Source) && d.Access != "" && strings.Trim(d.Access, "rwm") == "" {
			v := take(d)
			u.say("DeviceAllow", v.Source+" "+v.Access)
		} else {
			what := d.Rule
			if what == "" {
				what = d.Source + ":" + d.Target
			}
			take(d)
			w.lose(fmt.Sprintf("Devices[%d]", i), what, "a unit allows a device by its path, where it is")
		}
	}
}

func systemdLimits(w *writing, u *unitText) {
	l := &w.Limits
	memory := take(&l.Memory)
	number := func(key string, n int64) {
		if n != 0 {
			u.say(key, strconv.FormatInt(n, 10))
		}
	}
	number("MemoryMax", memory)
	switch n := l.MemorySwap; {
	case n == -1:
		take(&l.MemorySwap)
		u.say("MemorySwapMax", "infinity")
	case n > 0 && memory > 0 && n >= memory:
		take(&l.MemorySwap)
		u.say("MemorySwapMax", strconv.FormatInt(n-memory, 10))
	}
	if n := take(&l.NanoCPUs); n != 0 {
		u.say("CPUQuota", strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%02d", n/1e7, n%1e7/1e5), "0"), ".")+"%")
		if n%1e5 != 0 {
			w.lose("Limits.NanoCPUs", decimal(n), "a quota is of hundredths of a percent")
		}
	}
	u.say("AllowedCPUs", takeIf(&l.CpusetCpus, !strings.ContainsAny(l.CpusetCpus, " \n\t%\"'\\")))
	u.say("AllowedMemoryNodes", takeIf(&l.CpusetMems, !strings.ContainsAny(l.CpusetMems, " \n\t%\"'\\")))
	if l.PidsLimit != nil {
		if n := *take(&l.PidsLimit); n > 0 {
			u.say("TasksMax", strconv.FormatInt(n, 10))
		} else {
			u.say("TasksMax", "infinity")
			if n != -1 {
				w.lose("Limits.PidsLimit", strconv.FormatInt(n, 10), "no limit is infinity, as -1 is")
			}
		}
	}
	if l.OOMScoreAdj != nil {
		u.say("OOMScoreAdjust", strconv.Itoa(*take(&l.OOMScoreAdj)))
	}
	for i := range l.Ulimits {
		if !slices.Contains(rlimits, l.Ulimits[i].Name) {
			continue
		}
		r := take(&l.Ulimits[i])
		say := func(n int64) string {
			if n < 0 {
				return "infinity"
			}
			return strconv.FormatInt(n, 10)
		}
		u.say("Limit"+strings.ToUpper(r.Name), say(r.Soft)+":"+say(r.Hard))
	}
}

// What a workload says that has no word here, and why.
var systemdWordless = []Row{
	{Member: "Name", Why: "a unit is called as its file is"},
	{Member: "Image", Why: "a unit runs on the machine's own files, or in a RootDirectory"},
	{Member: "As", Why: "its defaults are written out where a unit has words for them"},
	{Member: "Entrypoint", Why: "a unit names its whole command"},
	{Member: "Args", Why: "they begin with the entry point"},
	{Member: "Env[]", Why: "a variable's name is of letters, digits and _"},
	{Member: "Dir", Why: "a working directory with a %, a quote or a backslash is not written"},
	{Member: "Hostname", Why: "a host name is of small letters, digits and -, and wants names of the unit's own"},
	{Member: "Labels[]", Why: "a unit has no labels"},
	{Member: "TTY", Why: "a terminal comes with input alone (StandardInput=tty)"},
	{Member: "Stdin", Why: "input comes with a terminal alone (StandardInput=tty)"},
	{Member: "Init", Why: "systemd reaps"},
	{Member: "StopSignal", Why: "KillSignal takes names alone"},
	{Member: "StopWait", Why: "TimeoutStopSec=0 is no limit"},
	{Member: "Security.CapAdd", Why: "privileged has every capability"},
	{Member: "Security.CapDrop", Why: "privileged has every capability, whatever is dropped"},
	{Member: "Security.Privileged", Why: "every capability is kept; the devices are the machine's anyway"},
	{Member: "Security.Seccomp", Why: "systemd tests no arguments, and its filter stands in the unit"},
	{Member: "Security.SeccompDoc", Why: "systemd tests no arguments"},
	{Member: "Security.SystemPaths", Why: "a unit masks what it names alone"},
	{Member: "Security.MaskedPaths", Why: "a unit masks what it names alone"},
	{Member: "Security.ReadonlyPaths", Why: "a unit makes read-only what it names alone"},
	{Member: "Security.WritableCgroups", Why: "Delegate= is more than that"},
	{Member: "Security.Labels", Why: "SELinuxContext= takes a whole context"},
	{Member: "Mounts[]", Why: "a unit binds and mounts tmpfs; StateDirectory= comes near a volume"},
	{Member: "Mounts[].CreateSource", Why: "what is bound must be there"},
	{Member: "Mounts[].Options", Why: "a bind has none, and a tmpfs's size, mode and ro are members of their own"},
	{Member: "Mounts[].Propagation", Why: "a unit's mounts have the propagation of MountFlags="},
	{Member: "Mounts[].Relabel", Why: "systemd labels nothing"},
	{Member: "Mounts[].Size", Why: "a tmpfs's option size is read as its size"},
	{Member: "Mounts[].SubReadOnly", Why: "mounts beneath are read-only too"},
	{Member: "Devices[]", Why: "a unit allows a device by its path, where it is"},
	{Member: "NS.IPC", Why: "a unit has its own or the machine's"},
	{Member: "Limits.NanoCPUs", Why: "a quota is of hundredths of a percent"},
	{Member: "Limits.CPUShares", Why: "CPUWeight= is not of the same scale"},
	{Member: "Limits.PidsLimit", Why: "no limit is infinity, as -1 is"},
	{Member: "Limits.ShmSize", Why: "/dev/shm is the machine's"},
	{Member: "Sysctls[]", Why: "sysctl.d(5) is for the whole machine"},
}
