package profile

import (
	"encoding/json"
	"runtime"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
)

// TestMoby holds the builtin copy of moby/profiles against the module itself: the document, and
// what the module's own code makes of it on this machine for some sets of capabilities.
func TestMoby(t *testing.T) {
	ours, err := Builtin("moby/profiles:0.2.4")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(moby.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	theirs, warnings, err := Parse("moby", doc)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	same(t, ours, theirs)

	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	kernel, err := facts.ParseVersion(unix.ByteSliceToString(uts.Release[:]))
	if err != nil {
		t.Fatal(err)
	}
	arch, err := abi.ParseArch(runtime.GOARCH)
	if err != nil {
		t.Skip(err)
	}
	for _, doc := range []string{string(doc), odd} {
		p, _, err := Parse("doc", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []caps.Set{0, dockerCaps, dockerCaps | caps.Of(caps.CAP_SYS_PTRACE), dockerCaps | caps.Of(caps.CAP_SYS_ADMIN, caps.CAP_BPF), caps.Set(caps.All)} {
			var names []string
			for _, c := range set.List() {
				names = append(names, c.String())
			}
			want, err := moby.LoadProfile(doc, &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: names}}})
			if err != nil {
				t.Fatal(err)
			}
			got := p.OCI(Conditions{Caps: set, Arch: arch, Kernel: kernel})
			a, _ := json.Marshal(want)
			b, _ := json.Marshal(got)
			if string(a) != string(b) {
				t.Errorf("capabilities %x:\n%s\n%s", uint64(set), a, b)
			}
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
