package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/compare"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

var update = flag.Bool("update", false, "write parts of docs/profiles.md anew")

var here = profile.Conditions{Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}}

func read(t *testing.T, form, text string) *Document {
	t.Helper()
	d, err := Read("p", []byte(text), form)
	if err != nil {
		t.Fatalf("%s: %v\n%s", form, err, text)
	}
	return d
}

// decide is what a document does with a call.
func decide(t *testing.T, p *profile.Profile, text string) string {
	t.Helper()
	call, err := profile.ParseCall(text)
	if err != nil {
		t.Fatal(err)
	}
	x, err := p.Explain(call, here)
	if err != nil {
		t.Fatal(err)
	}
	a, sure := x.Verdict()
	if !sure {
		return "depends"
	}
	return a.String()
}

// TestForms reads one text of each form, and asks it about calls.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		story, form, text string
		asks              string // call=answer, ; between
		losses            string // their places
	}{
		{"Docker", "docker", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`, "read=ALLOW;write=ERRNO(EPERM)", ""},
		{"Podman's names", "podman", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM"}]}`, "bpf=ERRNO(EPERM);read=ERRNO(ENOSYS)", ""},
		{"Kubernetes", "kubernetes", `{"defaultAction": "SCMP_ACT_LOG"}`, "read=LOG", ""},
		{"the operator", "operator", `apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: web, namespace: a}
spec:
  baseProfileName: runc-v1.0.0
  defaultAction: SCMP_ACT_ERRNO
  architectures: [SCMP_ARCH_X86_64]
  syscalls:
  - action: SCMP_ACT_ALLOW
    names: [read, write]
  - action: SCMP_ACT_ALLOW
    names: [personality]
    args:
    - {index: 0, value: 0x8, op: SCMP_CMP_EQ}
  - {action: SCMP_ACT_ERRNO, errnoRet: 0, names: [bpf]}
  - {action: SCMP_ACT_ERRNO, errnoRet: 38, names: [clone3]}
`, "read=ALLOW;personality(8)=ALLOW;personality(9)=ERRNO(EPERM);bpf=ERRNO(EPERM);clone3=ERRNO(ENOSYS)", "spec.baseProfileName spec.syscalls[2].errnoRet"},
		{"a Beat", "beats", `filebeat.inputs: []
seccomp:
  default_action: allow
  syscalls:
  - action: errno
    names: [execve, fork]
    names_with_args:
    - name: clone
      arguments:
      - {argument: 0, operation: BitsSet, value: 0x30000000}
  - action: kill_process
    names: [ptrace]
`, "read=ALLOW;execve=ERRNO(EPERM);clone(0x10000000)=ERRNO(EPERM);clone(0x20000001)=ERRNO(EPERM);clone(1)=ALLOW;ptrace=KILL_PROCESS", ""},
		{"a Beat, flat keys", "beats", "seccomp.default_action: errno\nseccomp.syscalls:\n- action: allow\n  names:\n  - read\nother: 1\n", "read=ALLOW;write=ERRNO(EPERM)", ""},
		{"systemd, what is allowed", "systemd", "[Unit]\nDescription=x\n[Service]\nSystemCallFilter=@basic-io \\\n  getpid\nSystemCallFilter=~write\nSystemCallErrorNumber=EACCES\nPrivateDevices=yes\n",
			"read=ALLOW;write=ERRNO(EACCES);getpid=ALLOW;execve=ALLOW;mount=ERRNO(EACCES)", "PrivateDevices"},
		{"systemd, kill", "systemd", "SystemCallFilter=@default\n", "exit=ALLOW;read=KILL_PROCESS", ""},
		{"systemd, what is not", "systemd", "SystemCallFilter=~@mount bpf:ENOSYS ptrace:kill\nSystemCallFilter=umount2\nSystemCallErrorNumber=1\n",
			"read=ALLOW;mount=ERRNO(EPERM);umount2=ALLOW;bpf=ERRNO(ENOSYS);ptrace=KILL_PROCESS", ""},
		{"systemd, started anew", "systemd", "SystemCallFilter=~mount\nSystemCallFilter=\nSystemCallFilter=read\n", "read=ALLOW;mount=KILL_PROCESS", ""},
		{"systemd, an errno in a list of what is allowed", "systemd", "SystemCallFilter=@system-service\nSystemCallFilter=~mbind:ENOSYS\n", "read=ALLOW;mbind=ERRNO(ENOSYS)", ""},
		{"Firejail, its default list", "firejail", "include x.inc\nseccomp !chroot\n", "read=ALLOW;chroot=ALLOW;mount=ERRNO(EPERM);ptrace=ERRNO(EPERM)", "seccomp"},
		{"Firejail, drop", "firejail", "seccomp.drop unlinkat:ENOENT,@clock,!adjtimex,$300\nseccomp-error-action EACCES\nprotocol unix\n", "unlinkat=ERRNO(ENOENT);adjtimex=ALLOW;settimeofday=ERRNO(EACCES);fanotify_init=ERRNO(EACCES);ptrace=ALLOW", "protocol seccomp"},
		{"Firejail, keep", "firejail", "seccomp.keep read,write\nseccomp-error-action kill\nseccomp.block-secondary\n", "read=ALLOW;execve=ALLOW;mount=KILL_PROCESS", ""},
	} {
		d := read(t, c.form, c.text)
		for ask := range strings.SplitSeq(c.asks, ";") {
			call, want, _ := strings.Cut(ask, "=")
			if got := decide(t, d.Profile, call); got != want {
				t.Errorf("%s: %s gets %s, want %s", c.story, call, got, want)
			}
		}
		var losses []string
		for _, l := range d.Losses {
			losses = append(losses, l.Path)
			if l.Line == 0 {
				t.Errorf("%s: %s has no line", c.story, l)
			}
		}
		if got := strings.Join(losses, " "); got != c.losses {
			t.Errorf("%s: lost %q, want %q", c.story, got, c.losses)
		}
		if g, err := Read("p", []byte(c.text), ""); err != nil || g.Form != c.form && c.form != "podman" && c.form != "kubernetes" {
			t.Errorf("%s: guessed as %+v, %v", c.story, g, err)
		}
	}
}

// TestGuess has texts that look like more than one form.
func TestGuess(t *testing.T) {
	p, err := profile.Builtin("docker")
	if err != nil {
		t.Fatal(err)
	}
	decided, err := profile.FromOCI(p.OCI(here))
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"operator", "beats", "systemd", "firejail", "docker"} {
		text, _, err := Write(decided, form) // seccomp is a call, too
		if err != nil {
			t.Fatal(err)
		}
		if d, err := Read("p", text, ""); err != nil || d.Form != form {
			t.Errorf("%s is taken for %+v, %v", form, d, err)
		}
	}
}

// TestMistakes has texts and where they are told to be wrong.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"kubernetes", "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n \"syscalls\": [{\"names\": [\"bpf\"], \"action\": \"SCMP_ACT_ALLOW\",\n  \"includes\": {\"caps\": [\"CAP_BPF\"]}}]}", "p:3:3: syscalls[0].includes: containerd, as a pod's runtime, skips conditions"},
		{"operator", "kind: SeccompProfile\nspec:\n  defaultAction: SCMP_ACT_ALOW\n", "p:3:18: defaultAction: unknown action \"SCMP_ACT_ALOW\"; did you mean SCMP_ACT_ALLOW?"},
		{"operator", "kind: SeccompProfile\nspec:\n  defaultAction: SCMP_ACT_ALLOW\n  syscals: []\n", "p:4:12: spec.syscals: unknown key"},
		{"operator", "kind: SeccompProfile\nspec:\n  defaultAction: SCMP_ACT_ALLOW\n  syscalls:\n  - names: [read]\n    action: SCMP_ACT_ERRNO\n    errnoRet: 70000\n", "p:7:15: syscalls[0].errnoRet: 70000; expected a whole number from 0 to 65535"},
		{"operator", "kind: Pod\n", "want kind SeccompProfile"},
		{"operator", "kind: SeccompProfile\nspec: {defaultAction: SCMP_ACT_LOG}\n---\nkind: Pod\n", "a second document"},
		{"beats", "seccomp:\n  default_action: alow\n", "p:2:19: seccomp.default_action: unknown action \"alow\"; did you mean allow?"},
		{"beats", "seccomp:\n  syscalls: []\n", "no default_action in it"},
		{"beats", "seccomp:\n  default_action: allow\n  syscall: []\n  typo: 1\n", "p:4:9: seccomp.typo: unknown key"},
		{"beats", "default_action: allow\nsyscalls:\n- action: errno\n  names_with_args:\n  - name: clone\n    arguments: [{argument: 0, operation: GreaterThan, value: 1}, {argument: 0, operation: LessThan, value: 9}]\n", "a second test of argument 0"},
		{"systemd", "[Service]\nSystemCallFilter=@system-servce\n", "p:2:18: no group of calls is called @system-servce; did you mean @system-service?"},
		{"systemd", "SystemCallFilter=read:EFOO\n", "p:1:18: \"read:EFOO\": want an error's name"},
		{"systemd", "SystemCallErrorNumber=EPERM\n", "no SystemCallFilter= in it"},
		{"firejail", "seccomp.drop @clok\n", "p:1:14: no group of calls is called @clok; did you mean @clock?"},
		{"firejail", "net none\n", "no seccomp command in it"},
		{"firejail", "seccomp.frop read\n", "unknown command \"seccomp.frop\""},
	} {
		_, err := Read("p", []byte(c.text), c.form)
		var bad *profile.SyntaxError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.form, err, c.want)
		}
	}
}

// TestLimits has texts that would take memory without end.
func TestLimits(t *testing.T) {
	bomb := "kind: SeccompProfile\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 9))
	}
	deep := strings.Repeat("[", 100000)
	for story, c := range map[string]struct{ form, text, want string }{
		"a bomb of aliases":       {"operator", bomb, "MaxValues"},
		"deep nesting":            {"operator", "kind: SeccompProfile\nspec: " + deep, "MaxDepth"},
		"deep JSON":               {"docker", `{"syscalls": ` + deep, "nested deeper than 64"},
		"five megabytes":          {"systemd", "SystemCallFilter=" + strings.Repeat("read ", 1<<20), "MaxBytes"},
		"a group again and again": {"systemd", "SystemCallFilter=" + strings.Repeat("@known ", 1<<19), "more than 100000 calls"},
		"another's group":         {"firejail", "seccomp.drop " + strings.Repeat("@default,", 1<<18), "more than 100000 calls"},
		"words":                   {"systemd", "SystemCallFilter=" + strings.Repeat("nosuch ", 1<<19), "after 1000 warnings"},
		"names":                   {"beats", "default_action: allow\nsyscalls:\n- action: errno\n  names:\n" + strings.Repeat("  - nosuch\n", 1100), "after 1000 warnings"},
		"ways beside ways":        {"beats", "default_action: allow\nsyscalls:\n- action: errno\n  names_with_args:\n" + strings.Repeat("  - {name: clone, arguments: [{argument: 0, operation: BitsSet, value: 1023}, {argument: 1, operation: BitsSet, value: 1023}]}\n", 2000), "100000 with all before"},
		"many ways":               {"beats", "default_action: allow\nsyscalls:\n- action: errno\n  names_with_args:\n  - name: clone\n    arguments: [{argument: 0, operation: BitsSet, value: 0xffffffffffffffff}, {argument: 1, operation: BitsSet, value: 0xffffffffffffffff}]\n", "more than 1000 ways"},
	} {
		if _, err := Read("p", []byte(c.text), c.form); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v", story, err)
		}
	}
}

// What is a name in one form is nothing else in another: no line, no item, no setting.
func TestNames(t *testing.T) {
	p := &profile.Profile{Name: "p", Default: specs.ActErrno}
	var e profile.Entry
	e.Action, e.Names = specs.ActAllow, []string{"close", "read\nExecStart=/bin/sh", "read,!write", "read write", "@known", "~read", "$0", "read:kill"}
	p.Entries = []profile.Entry{e}
	for _, f := range Forms() {
		text, losses, err := Write(p, f.Name)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		d, err := Read("p", text, f.Name)
		if err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, text)
			continue
		}
		pol, _ := d.Profile.Resolve(profile.Conditions{Arch: abi.X86_64})
		for call, want := range map[string]bool{"close": true, "read": false, "write": false} {
			nr, _ := abi.X86_64.Nr(call)
			if got := pol.Decide(abi.X86_64, nr, [6]uint64{}).Action.Permits(); got != want {
				t.Errorf("%s: %s is let through: %t\n%s", f.Name, call, got, text)
			}
		}
		if strings.Contains(string(text), "\nExecStart") {
			t.Errorf("%s: a name is a line of its own:\n%s", f.Name, text)
		}
		if lists := f == systemd || f == firejail; lists && len(losses) < len(e.Names)-1 {
			t.Errorf("%s: %v", f.Name, losses)
		}
	}
}

// random makes a profile without conditions.
func random(r *rand.Rand) *profile.Profile {
	calls := []string{"read", "write", "bpf", "clone", "personality", "execve", "ptrace", "exit", "socket", "prctl", "mount", "execveat"}
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActLog, specs.ActKillThread, specs.ActTrace}
	errno := func(a specs.LinuxSeccompAction) *uint {
		if n := []uint{1, 2, 38}[r.IntN(3)]; a == specs.ActErrno && r.IntN(2) == 0 {
			return &n
		}
		return nil
	}
	p := &profile.Profile{Name: "p", Default: actions[r.IntN(4)]}
	p.DefaultErrno = errno(p.Default)
	if r.IntN(2) == 0 {
		p.Arches = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}[:1+r.IntN(3)]
	}
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpGreaterEqual, specs.OpMaskedEqual}
	for range 1 + r.IntN(5) {
		var e profile.Entry
		e.Action = actions[r.IntN(len(actions))]
		e.ErrnoRet = errno(e.Action)
		for range 1 + r.IntN(3) {
			e.Names = append(e.Names, calls[r.IntN(len(calls))])
		}
		if r.IntN(3) == 0 {
			e.Args = append(e.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(3)), Op: ops[r.IntN(len(ops))], Value: uint64(r.IntN(9)), ValueTwo: uint64(r.IntN(9))})
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// about says that a loss is about ABIs other than the machine's own alone.
func about(l Loss) bool { return l.Path == "architectures" }

// TestRoundTrip writes 500 profiles in each form and reads them back: they decide alike, or a loss is named.
func TestRoundTrip(t *testing.T) {
	whole := map[string]int{}
	for seed := range uint64(500) {
		p := random(rand.New(rand.NewPCG(seed, 5)))
		for _, f := range Forms() {
			text, losses, err := Write(p, f.Name)
			if err != nil {
				continue
			}
			d, err := Read("p", text, f.Name)
			if err != nil {
				t.Fatalf("seed %d: %s: %v\n%s", seed, f.Name, err, text)
			}
			lost := slices.DeleteFunc(slices.Clone(losses), about)
			if len(lost) > 0 {
				continue
			}
			whole[f.Name]++
			if d.Profile.String() == p.String() {
				continue
			}
			r, err := compare.Diff(compare.Side{Profile: p}, compare.Side{Profile: d.Profile}, compare.Options{Machine: abi.X86_64})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Changes {
				if c.Call != "" && (c.Arch == abi.X86_64 || len(losses) == 0 && f.Name != "firejail") {
					t.Fatalf("seed %d: %s: %s: %v became %v and no loss says so\n%s\n%s", seed, f.Name, c.Call, c.From, c.To, p, text)
				}
			}
		}
	}
	for _, f := range Forms() {
		t.Logf("%s: %d of 500 without a loss", f.Name, whole[f.Name])
		if whole[f.Name] < 5 {
			t.Errorf("%s: only %d were written without a loss", f.Name, whole[f.Name])
		}
	}
}

// TestBuiltin writes the default profiles in the forms with conditions, and reads them back.
func TestBuiltin(t *testing.T) {
	for _, ref := range []string{"docker", "docker:18.09", "podman", "containerd"} {
		p, err := profile.Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{"docker", "podman"} {
			text, losses, err := Write(p, form)
			if err != nil || len(losses) > 0 {
				t.Fatal(ref, form, err, losses)
			}
			if form == "podman" && ref == "podman" && !bytes.Contains(text, []byte(`"errno": "EINVAL"`)) {
				t.Errorf("%s as podman names no errno", ref)
			}
			d := read(t, form, string(text))
			if d.Profile.String() != p.String() {
				t.Errorf("%s as %s reads back otherwise", ref, form)
			}
		}
		if _, _, err := Write(p, "operator"); err == nil || !strings.Contains(err.Error(), "knows no conditions") && !strings.Contains(err.Error(), "archMap") {
			t.Errorf("%s as operator: %v", ref, err)
		}
		decided, err := profile.FromOCI(p.OCI(here))
		if err != nil {
			t.Fatal(err)
		}
		text, losses, err := Write(decided, "operator")
		if err != nil {
			t.Fatal(err)
		}
		d := read(t, "operator", string(text))
		r, err := compare.Diff(compare.Side{Profile: decided}, compare.Side{Profile: d.Profile}, compare.Options{Machine: abi.X86_64})
		if err != nil || !r.Same() && len(losses) == 0 {
			t.Errorf("%s as operator: %v %v\n%s", ref, err, losses, r.Text())
		}
	}
}

// TestSystemdGroups holds the table against systemd's own.
func TestSystemdGroups(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "syscall-filter").Output()
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	version, _ := exec.Command("systemd-analyze", "--version").Output()
	if !bytes.HasPrefix(version, []byte("systemd 252 ")) {
		t.Skipf("the table is of systemd 252, here is %.20s", version)
	}
	theirs := map[string][]string{}
	at := ""
	for line := range strings.Lines(string(out)) {
		switch w := strings.TrimSpace(line); {
		case w == "" || w[0] == '#':
		case line[0] == '@':
			at = w
			theirs[at] = nil
		default:
			theirs[at] = append(theirs[at], w)
		}
	}
	names := groupNames(systemdGroups)
	if len(names) != len(theirs) || len(names) < 25 {
		t.Errorf("%d groups, systemd has %d", len(names), len(theirs))
	}
	flat := func(get func(string) []string) func(string) []string {
		var walk func(string) []string
		walk = func(name string) (out []string) {
			for _, w := range get(name) {
				if w[0] == '@' {
					out = append(out, walk(w)...)
				} else {
					out = append(out, w)
				}
			}
			return out
		}
		return walk
	}
	for _, name := range names {
		ours, _ := group(systemdGroups, name)
		want := flat(func(n string) []string { return theirs[n] })(name)
		if !slices.Equal(slices.Sorted(slices.Values(ours)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: %v\nsystemd has %v", name, ours, want)
		}
	}
}

// TestFirejail holds lists against the filters that Firejail's own compiler makes of them.
func TestFirejail(t *testing.T) {
	const fseccomp = "/usr/lib/x86_64-linux-gnu/firejail/fseccomp"
	if _, err := os.Stat(fseccomp); err != nil {
		t.Skip("needs firejail")
	}
	compile := func(args ...string) compare.Side {
		file := filepath.Join(t.TempDir(), "filter")
		for i, a := range args {
			if a == "FILE" {
				args[i] = file
			}
			if a == "POST" {
				args[i] = file + ".post"
			}
		}
		if out, err := exec.Command(fseccomp, args...).CombinedOutput(); err != nil {
			t.Fatalf("fseccomp %v: %v\n%s", args, err, out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := filter.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		return compare.Side{Name: "fseccomp", Programs: []filter.Program{p}}
	}
	for list, side := range map[string]compare.Side{
		"seccomp":                  compile("default", "FILE"),
		"seccomp\nallow-debuggers": compile("default", "FILE", "allow-debuggers"),
		"seccomp.drop @clock,!adjtimex,unlinkat:ENOENT,$300": compile("drop", "FILE", "POST", "@clock,!adjtimex,unlinkat:ENOENT,$300"),
		"seccomp.keep @basic-io,getpid,!write":               compile("keep", "FILE", "POST", "@basic-io,getpid,!write"),
		"seccomp utime,!mount":                               compile("default", "drop", "FILE", "POST", "utime,!mount"),
	} {
		d := read(t, "firejail", list+"\n")
		r, err := compare.Diff(side, compare.Side{Profile: d.Profile}, compare.Options{Machine: abi.X86_64})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Changes {
			newer := c.To == seccomp.Errno|38 && !c.From.Permits() // by number: a loss that the form names
			if c.Arch == abi.X86_64 && c.Call != "" && !newer {
				t.Errorf("%s: %s: Firejail says %v, the profile %v", list, c.Call, c.From, c.To)
			}
		}
	}
	for _, name := range groupNames(firejailGroups) {
		if slices.Contains([]string{"@default-keep", "@process", "@system-service"}, name) {
			continue // execve, execveat and prctl are in another file
		}
		ours, _ := group(firejailGroups, name)
		side := compile("drop", "FILE", "POST", name)
		for nr, call := range abi.X86_64.Calls() {
			act, _ := side.Programs[0].Run(filter.Data{Nr: nr, Arch: abi.X86_64.Audit()})
			if refused := !act.Permits(); refused != slices.Contains(ours, call) {
				t.Errorf("%s: %s: refused by Firejail: %v", name, call, refused)
			}
		}
	}
}

// FuzzRead looks for texts that make a reader panic, or give a profile that cannot be resolved, compiled or
// written.
func FuzzRead(f *testing.F) {
	for _, s := range []struct{ form, text string }{
		{"operator", "kind: SeccompProfile\nspec:\n  defaultAction: SCMP_ACT_ERRNO\n  syscalls:\n  - action: SCMP_ACT_ALLOW\n    names: [read]\n    args: [{index: 0, value: 1, op: SCMP_CMP_EQ}]\n"},
		{"beats", "seccomp:\n  default_action: allow\n  syscalls:\n  - action: errno\n    names: [execve]\n    names_with_args:\n    - {name: clone, arguments: [{argument: 0, operation: BitsSet, value: 3}]}\n"},
		{"systemd", "[Service]\nSystemCallFilter=@system-service \\\n ~x\nSystemCallFilter=~@mount:EPERM\nSystemCallErrorNumber=EPERM\nSystemCallArchitectures=native x86-64\nSystemCallLog=~read\n"},
		{"firejail", "seccomp.drop @clock,!adjtimex,unlinkat:ENOENT,$300\n--seccomp.keep=read\nseccomp-error-action kill\n"},
		{"docker", `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}]}`},
		{"", "a: &a [*a]"},
	} {
		f.Add(s.form, []byte(s.text))
	}
	f.Fuzz(func(t *testing.T, form string, text []byte) {
		d, err := Read("p", text, form)
		if err != nil {
			return
		}
		if len(d.Profile.Entries) > 0 {
			d.Place("syscalls[0].args[0]")
		}
		pol, _ := d.Profile.Resolve(here)
		if _, err := filter.Compile(pol); err != nil && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%v", err)
		}
		for _, g := range Names() {
			out, _, err := Write(d.Profile, g)
			if err != nil {
				continue
			}
			if _, err := Read("p", out, g); err != nil {
				t.Errorf("%s wrote what it does not read: %v\n%s", g, err, out)
			}
		}
	})
}

// TestJSONQuotes holds our quotes against a reader of JSON.
func TestJSONQuotes(t *testing.T) {
	for _, s := range []string{"", "a\"b\\c", "tab\tnew\n", "é\u2028\u007f", "\x00"} {
		var back string
		if err := json.Unmarshal([]byte(quoted(s)), &back); err != nil || back != s {
			t.Errorf("%q reads back as %q, %v", s, back, err)
		}
	}
}

// TestDocs holds the generated parts of docs/profiles.md that are about forms and differences. -update writes them.
func TestDocs(t *testing.T) {
	const file = "../../../docs/profiles.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := func(text, begin, end, body string) string {
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no place for %s", file, begin)
		}
		return text[:i+len(begin)] + body + text[j:]
	}
	var forms strings.Builder
	forms.WriteString("| `--from`, `--to` | what it is | is kept | is lost, or means another thing |\n| --- | --- | --- | --- |\n")
	for _, f := range Forms() {
		fmt.Fprintf(&forms, "| %s | %s: %s | %s | %s |\n", f.Name, f.Title, f.Source, strings.Join(f.Keeps, "; "), strings.Join(f.Loses, "; "))
	}
	text := part(string(data), "<!-- forms -->\n", "<!-- end forms -->", forms.String())
	ask := "<!-- diff docker:20.10.24 docker:23.0.0 -->\n"
	var sides [2]compare.Side
	for i, ref := range []string{"docker:20.10.24", "docker:23.0.0"} {
		p, err := profile.Builtin(ref)
		if err != nil {
			t.Fatal(err)
		}
		sides[i] = compare.Side{Name: ref, Profile: p}
	}
	r, err := compare.Diff(sides[0], sides[1], compare.Options{Machine: abi.X86_64})
	if err != nil {
		t.Fatal(err)
	}
	text = part(text, ask, "<!-- end diff -->", "```\n"+r.Text()+"```\n")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(data) {
		t.Errorf("%s is not up to date: go test ./seccomp/profile/format -run TestDocs -update", file)
	}
}
