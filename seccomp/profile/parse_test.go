package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
)

// TestSyntaxError has a document and what is said of it.
func TestSyntaxError(t *testing.T) {
	entry := func(s string) string { return `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [` + s + `]}` }
	for _, c := range []struct{ story, doc, want string }{
		{"nothing", ``, `1:1: the document ends here; expected a value`},
		{"no object", `[]`, `1:1: a list; expected a profile, an object`},
		{"null", `null`, `1:1: null; expected a profile, an object`},
		{"empty object", `{}`, `1:1: no defaultAction: Docker would take this document to mean no filter at all`},
		{"half a document", "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [\n  {\"names\": [\"read\"", `3:20: syscalls[0].names: the document ends here; expected ',' or ']'`},
		{"half a text", "{\"defaultAction\": \"SCMP", `1:24: defaultAction: the document ends here; expected the end of a text that began earlier`},
		{"half a key", `{"defa`, `1:7: the document ends here; expected the end of a text that began earlier`},
		{"no colon", `{"defaultAction" "x"}`, `1:18: defaultAction: '"'; expected ':'`},
		{"comma at the end", `{"defaultAction": "SCMP_ACT_ALLOW",}`, `1:36: '}'; expected a key in quotes`},
		{"comma at the end of a list", entry(`{"names": ["read",]}`), `1:68: syscalls[0].names[1]: ']'; expected a value`},
		{"two documents", `{} {}`, `1:4: the document ends before this`},
		{"a bare word", `{"defaultAction": yes}`, `1:19: defaultAction: 'y'; expected a value`},
		{"a byte order mark", "\ufeff{}", `1:1: '\ufeff'; expected a value`},
		{"a number like 01", entry(`{"errnoRet": 01}`), `1:64: syscalls[0]: '1'; expected ',' or '}'`},
		{"a control character", "{\"a\nb\": 1}", `1:4: '\n'; expected no control character inside a text`},
		{"a bad escape", `{"a\x": 1}`, `1:5: 'x'; expected one of "\/bfnrt, or u and four hexadecimal digits, after a backslash`},
		{"too deep", strings.Repeat("[", 100), `1:66: ` + strings.Repeat("[0]", 65) + `: nested deeper than 64`},
		{"too long", strings.Repeat(" ", maxSize+1), `1:1: 4194305 bytes long; the most is 4194304`},

		{"unknown default", `{"defaultAction": "ALLOW"}`, `1:19: defaultAction: unknown action "ALLOW"; there are SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_ALLOW`},
		{"default NOTIFY", `{"defaultAction": "SCMP_ACT_NOTIFY"}`, `1:19: defaultAction: SCMP_ACT_NOTIFY cannot be the default: the runtime's own calls would wait for an answer`},
		{"number for a text", `{"defaultAction": 3}`, `1:19: defaultAction: a number; expected a text`},
		{"unknown action", entry(`{"names": ["read"], "action": "SCMP_ACT_ALOW"}`), `1:80: syscalls[0].action: unknown action "SCMP_ACT_ALOW"; did you mean SCMP_ACT_ALLOW?`},
		{"no action", entry(`{"names": ["read"]}`), `1:50: syscalls[0]: no action in it`},
		{"unknown operator", "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [\n  {\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 0,\n      \"op\": \"SCMP_CMP_EQUAL\"}]}]}", `3:13: syscalls[0].args[0].op: unknown operator "SCMP_CMP_EQUAL"; did you mean SCMP_CMP_EQ?`},
		{"no operator", entry(`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]}`), `1:107: syscalls[0].args[0]: no op in it`},
		{"argument 6", entry(`{"args": [{"index": 6}]}`), `1:70: syscalls[0].args[0].index: 6; expected a whole number from 0 to 5`},
		{"a negative value", entry(`{"args": [{"value": -1}]}`), `1:70: syscalls[0].args[0].value: -1; expected a whole number from 0 to 18446744073709551615`},
		{"a value with a point", entry(`{"args": [{"value": 1.0}]}`), `1:70: syscalls[0].args[0].value: 1.0; expected a whole number from 0 to 18446744073709551615`},
		{"a value too large", entry(`{"args": [{"value": 18446744073709551616}]}`), `1:70: syscalls[0].args[0].value: 18446744073709551616; expected a whole number from 0 to 18446744073709551615`},
		{"an errno too large", entry(`{"errnoRet": 65536}`), `1:63: syscalls[0].errnoRet: 65536; expected a whole number from 0 to 65535`},
		{"unknown errno", entry(`{"errno": "EPERMM"}`), `1:60: syscalls[0].errno: unknown error "EPERMM"; did you mean EPERM?`},
		{"errno against errnoRet", entry(`{"errno": "EPERM", "errnoRet": 2}`), `1:60: syscalls[0].errno: "EPERM" is 1, but the number given beside it is 2: Podman reads the one, Docker the other`},
		{"unknown architecture", `{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86-64"]}`, `1:54: architectures[0]: unknown architecture "SCMP_ARCH_X86-64"; did you mean SCMP_ARCH_X86_64?`},
		{"both lists of architectures", `{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}`, `1:36: both architectures and archMap are given; use one`},
		{"archMap without its key", `{"defaultAction": "SCMP_ACT_KILL", "archMap": [{}]}`, `1:48: archMap[0]: no architecture in it`},
		{"unknown flag", `{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_LOGG"]}`, `1:46: flags[0]: unknown flag "SECCOMP_FILTER_FLAG_LOGG"; did you mean SECCOMP_FILTER_FLAG_LOG?`},
		{"condition for uname's architecture", entry(`{"includes": {"arches": ["x86_64"]}}`), `1:75: syscalls[0].includes.arches[0]: unknown architecture "x86_64"; did you mean amd64?`},
		{"unknown capability", entry(`{"includes": {"caps": ["CAP_SYS_ADMN"]}}`), `1:73: syscalls[0].includes.caps[0]: unknown capability "CAP_SYS_ADMN"; did you mean CAP_SYS_ADMIN?`},
		{"capability that Docker would never match", entry(`{"includes": {"caps": ["sys_admin"]}}`), `1:73: syscalls[0].includes.caps[0]: "sys_admin"; Docker compares letter by letter: write "CAP_SYS_ADMIN"`},
		{"kernel with three numbers", entry(`{"includes": {"minKernel": "4.8.1"}}`), `1:77: syscalls[0].includes.minKernel: "4.8.1"; expected a kernel version of two numbers, as "4.8"`},
		{"kernel 0.0", entry(`{"includes": {"minKernel": "0.0"}}`), `1:77: syscalls[0].includes.minKernel: "0.0"; expected a kernel version of two numbers, as "4.8"`},
		{"name and names", entry(`{"name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW"}`), `1:51: syscalls[0]: both name and names are given; use names`},
		{"an empty name", entry(`{"names": [""]}`), `1:61: syscalls[0].names[0]: an empty name`},
		{"null among names", entry(`{"names": [null]}`), `1:61: syscalls[0].names[0]: null in a list`},
		{"write for a listener", entry(`{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}`), `1:50: syscalls[0]: SCMP_ACT_NOTIFY for write: the runtime could not hand its listener over`},
		{"a key twice", entry("{\"names\": [\"read\"],\n\"action\": \"SCMP_ACT_ALLOW\", \"names\": []}"), `2:29: syscalls[0].names: given twice, first at 1:51: which one counts depends on the reader`},
		{"a key twice in other letters", `{"defaultAction": "SCMP_ACT_KILL", "DefaultAction": "SCMP_ACT_ALLOW"}`, `1:36: DefaultAction: given twice, first at 1:2: which one counts depends on the reader`},

		{"args mistyped", entry(`{"names": ["read"], "arg": []}`), `1:70: syscalls[0].arg: unknown key; did you mean args?`},
		{"condition mistyped", entry(`{"include": {"caps": ["CAP_SYS_ADMIN"]}}`), `1:51: syscalls[0].include: unknown key; did you mean includes?`},
		{"condition out of place", entry(`{"minKernel": "4.8"}`), `1:51: syscalls[0].minKernel: unknown key`},
		{"unknown condition", entry(`{"includes": {"kernel": "4.8"}}`), `1:64: syscalls[0].includes.kernel: unknown key; did you mean minKernel?`},
		{"unknown part of a test", entry(`{"args": [{"mask": 3}]}`), `1:61: syscalls[0].args[0].mask: unknown key`},
		{"an object that may be a condition", entry(`{"when": {}}`), `1:51: syscalls[0].when: unknown key`},
		{"syscalls mistyped", `{"defaultAction": "SCMP_ACT_ALLOW", "syscall": []}`, `1:37: syscall: unknown key; did you mean syscalls?`},

		{"a config.json without a filter", `{"ociVersion": "1.0.2", "linux": {}}`, `1:34: linux: no "seccomp" in it: such a container runs without a filter`},
		{"a config.json without linux", `{"ociVersion": "1.0.2"}`, `1:1: no "linux" in it: such a container runs without a filter`},
		{"linux is null", `{"linux": null}`, `1:11: linux: null; expected an object`},
		{"conditions in a config.json", `{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}]}}}`, `1:131: linux.seccomp.syscalls[0].includes: a config.json holds no conditions: a runtime would skip this one`},
	} {
		t.Run(c.story, func(t *testing.T) {
			p, _, err := Parse("p.json", []byte(c.doc))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || p != nil {
				t.Fatalf("%v, %v", p, err)
			}
			got := err.Error()
			if got != "p.json:"+c.want {
				t.Errorf("\n got %s\nwant p.json:%s", got, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	p, warnings, err := Parse("p.json", []byte(`{"DefaultAction": "SCMP_ACT_ERRNO", "$schema": "x", "flagz": [],
"syscalls": [
	{"names": ["read", "opnat", "writeee"], "action": "SCMP_ACT_ALLOW", "note": "why"},
	{"action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": null}
]}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprintf("%d:%d: %v", w.Line, w.Column, w))
	}
	want := []string{
		`1:2: DefaultAction: read as "defaultAction"`,
		`1:37: $schema: unknown key, skipped`,
		`1:53: flagz: unknown key, skipped; did you mean flags?`,
		`3:21: syscalls[0].names[1]: no system call is called "opnat", skipped; did you mean openat?`,
		`3:30: syscalls[0].names[2]: no system call is called "writeee", skipped; did you mean write?`,
		`3:70: syscalls[0].note: unknown key, taken for a comment`,
		`4:2: syscalls[1]: names no system call`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if p.Default != "SCMP_ACT_ERRNO" || len(p.Entries) != 2 || p.Entries[1].Names != nil {
		t.Errorf("%+v", p)
	}
}

// TestForms reads one profile from each form that it may come in.
func TestForms(t *testing.T) {
	const bare = `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"], "flags": [],
		"listenerPath": "/s", "listenerMetadata": "m",
		"syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 18446744073709551615, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
			{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}`
	enosys := uint(38)
	want := &Profile{
		Default: specs.ActErrno, DefaultErrno: &enosys, Arches: []specs.Arch{specs.ArchX86_64}, Flags: []specs.LinuxSeccompFlag{},
		ListenerPath: "/s", ListenerMetadata: "m",
		Entries: []Entry{
			{LinuxSyscall: specs.LinuxSyscall{Names: []string{"read", "write"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 1, Value: 1<<64 - 1, ValueTwo: 2, Op: specs.OpMaskedEqual}}}},
			{LinuxSyscall: specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys}},
		},
	}
	for story, doc := range map[string]string{
		"bare":              bare,
		"linux and seccomp": `{"linux": {"seccomp": ` + bare + `}}`,
		"a config.json":     `{"ociVersion": "1.0.2", "process": {"a": [1, 2.5e3, true, null, {"a": 1, "a": 2}]}, "linux": {"namespaces": [], "seccomp": ` + bare + `}}`,
		"podman's words":    strings.NewReplacer(`"defaultErrnoRet": 38`, `"defaultErrno": "ENOSYS"`, `"errnoRet": 38`, `"errno": "38", "errnoRet": 38`).Replace(bare),
		"escapes":           strings.NewReplacer(`"read"`, `"re\u0061d"`, `"/s"`, `"\/s"`).Replace(bare),
	} {
		got, warnings, err := Parse(story, []byte(doc))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", story, warnings, err)
			continue
		}
		want.Name = story
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", story, d)
		}
	}
	one, _, err := Parse("one", []byte(`{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": []}]}`))
	if err != nil || one.Flags != nil || one.Entries[0].Names[0] != "read" {
		t.Errorf("the old name: %+v, %v", one, err)
	}
}

// TestRoundTrip writes and reads back every builtin profile, as Docker's document and resolved as OCI's.
func TestRoundTrip(t *testing.T) {
	for _, r := range Releases() {
		if r.Version != r.Since {
			continue
		}
		p, err := Builtin(r.String())
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, p)
		if err := p.Write(new(bytes.Buffer), OCI); err == nil && r.Version != "1.11.0" && len(p.ArchMap) > 0 {
			t.Errorf("%s has conditions and is written as OCI", r)
		}
		oci := p.OCI(Conditions{Caps: dockerCaps, Arch: abi.ARM64, Kernel: facts.Version{Major: 5, Minor: 10}})
		q, err := FromOCI(oci)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, q)
		if d := cmp.Diff(oci, q.OCI(Conditions{})); d != "" {
			t.Errorf("%s: OCI of FromOCI: %s", r, d)
		}
	}
}

func roundTrip(t *testing.T, p *Profile) {
	t.Helper()
	for _, f := range []Format{Docker, OCI} {
		var b bytes.Buffer
		if err := p.Write(&b, f); err != nil {
			if f == Docker {
				t.Error(err)
			}
			continue
		}
		again, _, err := Parse(p.Name, b.Bytes())
		if err != nil {
			t.Errorf("%v\n%s", err, b.Bytes())
			continue
		}
		if d := cmp.Diff(p, again); d != "" {
			t.Errorf("format %d: %s", f, d)
		}
	}
}

func TestFromOCI(t *testing.T) {
	big := uint(1 << 16)
	for want, s := range map[string]*specs.LinuxSeccomp{
		`linux.seccomp.defaultAction: unknown action ""`:                                           {},
		`linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default`:                       {DefaultAction: specs.ActNotify},
		`linux.seccomp.defaultAction: errno 65536 does not fit the 16 bits of a filter's answer`:   {DefaultAction: specs.ActErrno, DefaultErrnoRet: &big},
		`linux.seccomp.architectures[0]: unknown architecture "x86"`:                               {DefaultAction: specs.ActErrno, Architectures: []specs.Arch{"x86"}},
		`linux.seccomp.flags[0]: unknown flag "LOG"`:                                               {DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{"LOG"}},
		`linux.seccomp.syscalls[0].action: unknown action "ALLOW"; there are SCMP_ACT_KILL_THREAD`: {DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Action: "ALLOW"}}},
		`linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY for write`:                                     {DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"write"}, Action: specs.ActNotify}}},
		`linux.seccomp.syscalls[0].args[0].op: unknown operator "EQ"`:                              {DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "EQ"}}}}},
		`linux.seccomp.syscalls[0].args[0].index: 6; a system call has arguments 0 to 5`:           {DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}},
	} {
		if p, err := FromOCI(s); err == nil || !strings.HasPrefix(err.Error(), want) || p != nil {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestText holds the one-line form of entries.
func TestText(t *testing.T) {
	p, _, err := Parse("p", []byte(odd))
	if err != nil {
		t.Fatal(err)
	}
	want := `default kill
arches: x86_64 ppc
flags: LOG
listener "/s" "m"
allow: read
allow [CAP_SYS_ADMIN CAP_BPF]: a1
allow [!CAP_SYS_PTRACE !CAP_BPF]: a2
allow [kernel>=255.0]: a3
allow [kernel<255.0]: a4
allow [kernel<3.10]: a5
allow [amd64|arm64 kernel>=3.10]: a6
allow [!amd64 !arm64]: a7
errno 0: a8
trace 7: a9 if arg5 != 0xffffffffffffffff # c
`
	var b bytes.Buffer
	if err := p.Write(&b, Text); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, b.String()))
	}
}

// FuzzParse reads anything without a panic, agrees with encoding/json on what JSON is, and reads
// back what it writes.
func FuzzParse(f *testing.F) {
	for _, ref := range []string{"docker", "docker:1.11", "podman"} {
		p, err := Builtin(ref)
		if err != nil {
			f.Fatal(err)
		}
		p.Entries = p.Entries[max(0, len(p.Entries)-20):]
		var b bytes.Buffer
		if err := p.Write(&b, Docker); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(odd))
	f.Add([]byte(`{"ociVersion":"1","linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"read","errno":"5","action":"SCMP_ACT_LOG"}]}}}`))
	f.Add([]byte("{\"a\\ud800\\udc00\\ud800x\": [1e5, -0.1, \"\\\"\\n\xff\"]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := Parse("f", data)
		var syntax *SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Fatalf("%T: %v", err, err)
		}
		v, fault := scan(string(data))
		if fault == nil != json.Valid(data) && (fault == nil || !strings.Contains(fault.msg, "nested deeper")) {
			t.Fatalf("encoding/json says %t, we say %+v", json.Valid(data), fault)
		}
		var theirs any
		if fault == nil && json.Unmarshal(data, &theirs) == nil {
			if s, ok := theirs.(string); ok && (v.kind != text || v.text != s) {
				t.Fatalf("encoding/json reads %q, we read %q", s, v.text)
			}
		}
		if err != nil {
			return
		}
		roundTrip(t, p)
		for _, a := range []abi.Arch{abi.X86_64, abi.S390X} {
			c := Conditions{Arch: a, Caps: dockerCaps, Kernel: facts.Version{Major: 4, Minor: 8}}
			pol, _ := p.Resolve(c)
			pol.Table(a)
			q, err := FromOCI(p.OCI(c))
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := q.Resolve(Conditions{Arch: a}); len(again.Rules) != len(pol.Rules) || again.Default != pol.Default {
				t.Fatalf("resolved %+v, by way of OCI %+v", pol, again)
			}
		}
	})
}

func FuzzParseCall(f *testing.F) {
	f.Add("clone(CLONE_NEWUSER|SIGCHLD, _, -1)")
	f.Add("personality(0x40000)")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCall(s)
		if err != nil {
			var e *CallError
			if !errors.As(err, &e) || e.Column < 1 || e.Column > len(s)+1 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if again, err := ParseCall(c.String()); err != nil || again != c {
			t.Fatalf("%q is %+v; written %q it is %+v, %v", s, c, c.String(), again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p, err := Builtin("docker")
	if err != nil {
		b.Fatal(err)
	}
	var doc bytes.Buffer
	if err := p.Write(&doc, Docker); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(doc.Len()))
	for b.Loop() {
		if _, _, err := Parse("docker", doc.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHostile reads documents of the largest size that are made to take long.
func TestHostile(t *testing.T) {
	fill := func(head, unit, tail string) []byte {
		n := (maxSize - len(head) - len(tail)) / len(unit)
		return []byte(head + strings.Repeat(unit, n) + tail)
	}
	const head = `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [`
	const rule = `{"names": ["read"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_BPF"]}},`
	for story, doc := range map[string][]byte{
		"one long name":       fill(head+`{"names": ["`, "a", `"], "action": "SCMP_ACT_LOG"}]}`),
		"one long action":     fill(head+`{"names": ["read"], "action": "`, "a", `"}]}`),
		"one long key":        fill(`{"`, "a", `": 1}`),
		"one long number":     fill(head+`{"errnoRet": 1`, "0", `}]}`),
		"unknown names":       fill(head+`{"names": ["x"`, `,"xyzzy"`, `], "action": "SCMP_ACT_LOG"}]}`),
		"unknown keys":        fill(`{"a":1`, `,"defaultFlag":1`, `}`),
		"rules that are void": fill(head, rule, `{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`),
		"no end":              fill("", "[", ""),
		"many tests":          fill(head+`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ"}`, `,{"index": 0, "op": "SCMP_CMP_GT", "value": 7}`, `]}]}`),
	} {
		start := time.Now()
		p, warnings, err := Parse(story, doc)
		if err == nil {
			c := amd64(0, "6.1")
			p.Resolve(c)
			if _, err := p.Explain(Call{Name: "read"}, c); err != nil {
				t.Error(err)
			}
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: %d bytes of error", story, len(err.Error()))
		}
		if len(warnings) > maxWarnings+1 {
			t.Errorf("%s: %d warnings", story, len(warnings))
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", story, took)
		} else {
			t.Logf("%s: %v", story, took)
		}
	}
}

// odd has what Docker's own document has not.
const odd = `{
	"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/s", "listenerMetadata": "m",
	"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_PPC"],
	"syscalls": [
		{"name": "read", "action": "SCMP_ACT_ALLOW", "args": null},
		{"names": ["a1"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
		{"names": ["a2"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_PTRACE", "CAP_BPF"]}},
		{"names": ["a3"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "255.0"}},
		{"names": ["a4"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "255.0"}},
		{"names": ["a5"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "3.10"}},
		{"names": ["a6"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "3.10", "arches": ["amd64", "arm64"]}},
		{"names": ["a7"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64", "arm64"]}},
		{"names": ["a8"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "includes": {}, "excludes": {"caps": []}},
		{"names": ["a9"], "action": "SCMP_ACT_TRACE", "errnoRet": 7, "args": [
			{"index": 5, "value": 18446744073709551615, "valueTwo": 3, "op": "SCMP_CMP_NE"}], "comment": "c"}
	]
}`
