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
