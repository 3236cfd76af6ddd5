package spec

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/workload/dialect"
)

// recorded is one run in testdata/docker.txt.
type recorded struct {
	release, flags string
	facts          map[string]string
	err            string
}

// manyOf are the facts of which a spec has several, told apart by their next word.
var manyOf = []string{"rlimit", "masked", "readonly", "mount", "device", "sysctl", "env"}

func keyed(line string) (key, value string) {
	key, value, _ = strings.Cut(line, " ")
	if slices.Contains(manyOf, key) {
		which, rest, _ := strings.Cut(value, " ")
		if key == "sysctl" || key == "env" {
			which, rest, _ = strings.Cut(value, "=")
		}
		return key + " " + which, rest
	}
	return key, value
}

func readRecorded(t *testing.T) (host []string, runs []recorded) {
	t.Helper()
	data, err := os.ReadFile("testdata/docker.txt")
	if err != nil {
		t.Fatal(err)
	}
	release, first := "", map[string]string(nil)
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		line := s.Text()
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || word == "#":
		case word == "host":
			host = append(host, rest)
		case word == "release":
			release, first = rest, nil
		case word == "run":
			r := recorded{release: release, flags: rest, facts: map[string]string{}}
			for k, v := range first {
				if k != "cwd" && k != "args" && k != "hostname" && !strings.HasPrefix(k, "env ") {
					r.facts[k] = v
				}
			}
			runs = append(runs, r)
			if first == nil {
				first = r.facts
			}
		case word == "error":
			runs[len(runs)-1].err = rest
		default:
			k, v := keyed(line)
			if v == "-" {
				delete(runs[len(runs)-1].facts, k)
			} else {
				runs[len(runs)-1].facts[k] = v
			}
		}
	}
	return host, runs
}

// told is a spec in the same words.
func told(s *specs.Spec, host []string) map[string]string {
	m := map[string]string{}
	say := func(format string, args ...any) {
		k, v := keyed(fmt.Sprintf(format, args...))
		m[k] = v
	}
	p, l := s.Process, s.Linux
	say("user %d:%d %v", p.User.UID, p.User.GID, p.User.AdditionalGids)
	short := func(names []string) string { return strings.ReplaceAll(strings.Join(names, " "), "CAP_", "") }
	for _, set := range []struct {
		name string
		caps []string
	}{
		{"bounding", p.Capabilities.Bounding}, {"effective", p.Capabilities.Effective}, {"permitted", p.Capabilities.Permitted},
		{"inheritable", p.Capabilities.Inheritable}, {"ambient", p.Capabilities.Ambient},
	} {
		switch {
		case len(set.caps) == 0:
		case set.name != "bounding" && slices.Equal(set.caps, p.Capabilities.Bounding):
			say("%s =", set.name)
		default:
			say("%s %s", set.name, short(set.caps))
		}
	}
	if p.NoNewPrivileges {
		say("nonewprivs")
	}
	if p.ApparmorProfile != "" {
		say("apparmor %s", p.ApparmorProfile)
	}
	for _, r := range p.Rlimits {
		say("rlimit %s %d %d", r.Type, r.Soft, r.Hard)
	}
	if p.OOMScoreAdj != nil {
		say("oom %d", *p.OOMScoreAdj)
	}
	var kinds []string
	for _, n := range l.Namespaces {
		kinds = append(kinds, string(n.Type))
	}
	say("namespaces %s", strings.Join(kinds, " "))
	for _, x := range l.MaskedPaths {
		say("masked %s", x)
	}
	for _, x := range l.ReadonlyPaths {
		say("readonly %s", x)
	}
	var order []string
	for _, x := range s.Mounts {
		order = append(order, x.Destination)
		say("mount %s %s %s", x.Destination, x.Type, strings.Join(x.Options, ","))
	}
	say("order %s", strings.Join(order, " "))
	var devs []string
	for _, d := range l.Devices {
		devs = append(devs, deviceLine(d))
	}
	if slices.Equal(devs, host) {
		say("devices host")
	} else {
		for _, d := range devs {
			say("device %s", d)
		}
	}
	if l.Resources != nil {
		var rules []string
		for _, r := range l.Resources.Devices {
			verb, kind, n := "deny", "a", [2]string{"*", "*"}
			if r.Allow {
				verb = "allow"
			}
			if r.Type != "" {
				kind = r.Type
			}
			for i, v := range []*int64{r.Major, r.Minor} {
				if v != nil {
					n[i] = fmt.Sprint(*v)
				}
			}
			rules = append(rules, fmt.Sprintf("%s %s %s:%s %s", verb, kind, n[0], n[1], r.Access))
		}
		say("rules %s", strings.Join(rules, "; "))
	}
	for k, v := range l.Sysctl {
		say("sysctl %s=%s", k, v)
	}
	if s.Root.Readonly {
		say("rootro")
	}
	if c := l.Seccomp; c != nil {
		errno, arches, names, ptrace := "None", []string(nil), 0, false
		if c.DefaultErrnoRet != nil {
			errno = fmt.Sprint(*c.DefaultErrnoRet)
		}
		for _, a := range c.Architectures {
			arches = append(arches, strings.TrimPrefix(string(a), "SCMP_ARCH_"))
		}
		for _, r := range c.Syscalls {
			names += len(r.Names)
			ptrace = ptrace || slices.Contains(r.Names, "ptrace")
		}
		say("seccomp %s errno=%s %s rules=%d names=%d ptrace=%t", strings.TrimPrefix(string(c.DefaultAction), "SCMP_ACT_"),
			errno, strings.Join(arches, " "), len(c.Syscalls), names, ptrace)
	}
	for _, e := range p.Env {
		say("env %s", e)
	}
	say("cwd %s", p.Cwd)
	say("args %s", strings.Join(p.Args, " "))
	say("hostname %s", s.Hostname)
	return m
}

func deviceLine(d specs.LinuxDevice) string {
	return fmt.Sprintf("%s %s %d:%d %o %d:%d", d.Path, d.Type, d.Major, d.Minor, *d.FileMode, *d.UID, *d.GID)
}

// recordedMachine is the one that the facts were recorded on.
func recordedMachine(host []string) (Image, Options, facts.Facts) {
	bounding, _ := caps.ParseHex("000001fffeffffff")
	devices := func() (all []specs.LinuxDevice, err error) {
		for _, h := range host {
			d := specs.LinuxDevice{FileMode: new(os.FileMode), UID: new(uint32), GID: new(uint32)}
			if _, err := fmt.Sscanf(h, "%s %s %d:%d %o %d:%d", &d.Path, &d.Type, &d.Major, &d.Minor, d.FileMode, d.UID, d.GID); err != nil {
				return nil, err
			}
			all = append(all, d)
		}
		return all, nil
	}
	return Image{
			Cmd:    []string{"probe.sh"},
			Passwd: []byte("root:x:0:0:root:/root:/bin/sh\n"), Group: []byte("root:x:0:\n"),
		}, Options{
			ID: "a0c949b6f75e6f52e993524a435f7571791f729a9a55a658876fb8bc3192a7ee", CgroupsPath: "/docker/a0c949b6f75e",
			ResolvConf: "/r", HostNameFile: "/n", Hosts: "/h", Init: "/i", HostName: "box",
			HostDevices: devices,
			Device: func(path string) ([]specs.LinuxDevice, error) {
				all, err := devices()
				all = slices.DeleteFunc(all, func(d specs.LinuxDevice) bool { return d.Path != path })
				if err == nil && len(all) == 0 {
					err = errors.New("no such file or directory")
				}
				return all, err
			},
		}, facts.Facts{
			Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64,
			Caps:     caps.State{Bounding: bounding, Permitted: bounding, Effective: bounding},
			UserNS:   facts.UserNS{Initial: true},
			Cgroup:   facts.Cgroup{Mode: facts.CgroupHybrid, Writable: true, SwapLimit: true},
			Features: facts.Features{Seccomp: true, TimeNS: true, CgroupNS: true, MountSetattr: true, UserNSCreate: true},
		}
}

var profileFile = regexp.MustCompile(`^PROFILES/docker-v(.*)\.json$`)

// readProfile gives the profile of a release, as its document.
func readProfile(name string) ([]byte, error) {
	m := profileFile.FindStringSubmatch(name)
	if m == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
	}
	p, err := profile.Builtin("docker:" + m[1])
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = p.Write(&buf, profile.Docker)
	return buf.Bytes(), err
}

// reasons are why a spec of ours may differ from what Docker generated. Each must be needed.
var reasons = []struct {
	why string
	fit func(r recorded, key, want, got string) bool
}{
	{"a capability is in a set once, however often it is added", func(_ recorded, key, want, got string) bool {
		return key == "bounding" && once(want) == got
	}},
	{"what our own bounding set lacks is left out with a warning; Docker 20.10 did not look, and its start failed", func(r recorded, key, want, got string) bool {
		return r.release == "docker:20.10.24" && key == "bounding" && strings.Replace(want, " SYS_RESOURCE", "", 1) == got
	}},
	{"what our own bounding set lacks is left out with a warning, named or not; Docker 29 warns of ALL and refuses a name", func(_ recorded, key, want, got string) bool {
		return key == "error" && strings.HasSuffix(want, `capability not supported by your kernel or not available in the current environment: "CAP_SYS_RESOURCE"`) && got == ""
	}},
	{"Docker 29 lists its device rules twice, with the same outcome", func(_ recorded, key, want, got string) bool {
		defaults, added, _ := strings.Cut(got, "; allow c 10:232")
		return key == "rules" && (want == got+"; "+got || added != "" && want == defaults+"; "+got)
	}},
	{"allowing all devices overrules what stands before it", func(_ recorded, key, want, got string) bool {
		return key == "rules" && strings.HasSuffix(want, "; "+got) && got == "allow a *:* rwm"
	}},
	{"HOME is set here; runc sets it where it starts the process", func(_ recorded, key, want, got string) bool {
		return key == "env HOME" && want == "" && got == "/root"
	}},
	{"added capabilities are sorted, as Docker 29 does", func(r recorded, key, want, got string) bool {
		names := strings.Fields(want)
		slices.Sort(names)
		return r.release == "docker:20.10.24" && key == "bounding" && strings.Join(names, " ") == got
	}},
	{"mounts of one depth do not depend on their order", func(r recorded, key, want, got string) bool {
		x, y := strings.Fields(want), strings.Fields(got)
		slices.Sort(x)
		slices.Sort(y)
		return r.release == "docker:20.10.24" && key == "order" && slices.Equal(x, y)
	}},
	{"EPERM is said where 20.10 leaves it to be understood", func(r recorded, key, want, got string) bool {
		return r.release == "docker:20.10.24" && key == "seccomp" && strings.Replace(want, "errno=None", "errno=1", 1) == got
	}},
	{"the newest client's words", func(r recorded, key, want, got string) bool {
		return r.release == "docker:20.10.24" && key == "error" && strings.Replace(want, "whitelisted", "allowed", 1) == got
	}},
}

func brief(s string) string {
	if len(s) > 72 {
		return s[:30] + " … " + s[len(s)-38:]
	}
	return s
}

func once(names string) string {
	var out []string
	for _, n := range strings.Fields(names) {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// Every recorded run whose flags we have makes the spec that Docker made; where it differs the
// reason is known. -v prints the table.
func TestAgreesWithDocker(t *testing.T) {
	host, runs := readRecorded(t)
	img, opt, f := recordedMachine(host)
	used := make([]int, len(reasons))
	same := 0
	for _, r := range runs {
		got, errText := map[string]string{}, ""
		run, err := dialect.Docker(append(words(r.flags), "image"), dialect.Outside{ReadFile: readProfile})
		if err == nil {
			run.Workload.As = r.release
			var s *specs.Spec
			if s, _, err = Make(run.Workload, img, opt, f); err == nil {
				got = told(s, host)
			}
		}
		if err != nil {
			errText = err.Error()
		}
		bad := func(key, want, got string) {
			for i, reason := range reasons {
				if reason.fit(r, key, want, got) {
					used[i]++
					t.Logf("%-15s run %s\n\t%s: Docker %q, porthole %q\n\tbecause %s", r.release, r.flags, key, brief(want), brief(got), reason.why)
					return
				}
			}
			t.Errorf("%s run %s\n\t%s: Docker %q, porthole %q", r.release, r.flags, key, want, got)
		}
		if r.err != "" || errText != "" {
			if errText != r.err && !(r.err != "" && strings.HasPrefix(errText, r.err+";")) {
				bad("error", r.err, errText)
			} else {
				same++
			}
			continue
		}
		for k, v := range r.facts {
			if got[k] != v {
				bad(k, v, got[k])
			} else {
				same++
			}
		}
		_, config := r.facts["cwd"]
		for k, v := range got {
			if _, ok := r.facts[k]; ok || !config && (k == "cwd" || k == "args" || k == "hostname" || strings.HasPrefix(k, "env ")) {
				continue
			}
			bad(k, "", v)
		}
	}
	for i, n := range used {
		if n == 0 {
			t.Errorf("no longer needed: %s", reasons[i].why)
		}
		t.Logf("%3d differences: %s", n, reasons[i].why)
	}
	t.Logf("%d runs, %d facts alike", len(runs), same)
	if len(runs) < 160 || same < 5000 {
		t.Errorf("only %d runs and %d facts were compared", len(runs), same)
	}
}

// words splits a line as a shell does: blanks, and '…' kept together.
func words(s string) (out []string) {
	var b strings.Builder
	quoted, any := false, false
	for _, r := range s {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any {
				out = append(out, b.String())
			}
			b.Reset()
			any = false
		default:
			b.WriteRune(r)
			any = true
		}
	}
	if any {
		out = append(out, b.String())
	}
	return out
}
