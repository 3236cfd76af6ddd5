package facts

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// machines are three that differ in everything that is described.
func machines() map[string]Facts {
	all := Features{
		Seccomp: true, SeccompActions: []string{"kill_process", "errno", "user_notif", "log", "allow"}, SeccompLog: true, SeccompFlags: 0x3f,
		NewMountAPI: true, MountSetattr: true, IDMapMounts: true, Openat2: true, CloneIntoCgroup: true, CgroupKill: true, PidfdGetfd: true,
		CloseRangeCloexec: true, TimeNS: true, CgroupNS: true, UserNSCreate: true, OverlayUserNS: true, Overlay: true,
		BPF: true, BTF: true, CapCapable: true, RawTracepoints: true,
	}
	rootless := all
	rootless.BPF, rootless.RawTracepoints, rootless.UserNSCreate = false, false, false
	rootless.Unsure = []string{"OverlayUserNS", "RawTracepoints"}
	return map[string]Facts{
		"root": {
			Kernel: Version{6, 12, 117}, Arch: abi.X86_64, Deep: true, Yama: 1, AppArmor: true,
			Caps:   caps.State{Permitted: caps.All, Effective: caps.All, Bounding: caps.All},
			UserNS: UserNS{Initial: true, UIDs: []IDRange{{0, 0, 1<<32 - 1}}},
			LSMs:   []string{"capability", "yama", "apparmor"},
			Cgroup: Cgroup{Mode: CgroupV2, Writable: true, Hierarchies: []Hierarchy{{
				Mount: "/sys/fs/cgroup", V2: true, Own: "/", Controllers: []string{"cpuset", "cpu", "io", "memory", "pids"}}}},
			Features: all,
		},
		"rootless": {
			Kernel: Version{6, 8, 0}, Arch: abi.ARM64, UID: 1000, GID: 1000, Deep: true, Yama: 2, AppArmor: true,
			Caps:   caps.State{Bounding: caps.All, NoNewPrivs: true},
			UserNS: UserNS{Initial: true, UIDs: []IDRange{{0, 0, 1<<32 - 1}}},
			SubUID: []IDRange{{1, 100000, 65536}}, SubGID: []IDRange{{1, 100000, 65536}}, NewUIDMap: "/usr/bin/newuidmap",
			LSMs:     []string{"capability", "yama", "apparmor"},
			Cgroup:   Cgroup{Mode: CgroupV2, Hierarchies: []Hierarchy{{Mount: "/sys/fs/cgroup", V2: true, Own: "/user.slice"}}},
			Features: rootless,
			Sysctl:   map[string]string{"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "96365"},
		},
		"container": {
			Kernel: Version{5, 10, 0}, Arch: abi.X86_64, Yama: -1,
			Caps:     caps.State{Permitted: caps.Of(caps.CAP_CHOWN, caps.CAP_KILL), Effective: caps.Of(caps.CAP_CHOWN, caps.CAP_KILL), Bounding: caps.Of(caps.CAP_CHOWN, caps.CAP_KILL)},
			UserNS:   UserNS{UIDs: []IDRange{{0, 1000, 1}, {1, 100000, 65536}}},
			LSMs:     []string{"capability"},
			Masked:   []string{"/proc/kcore", "/proc/sys"},
			Features: Features{Seccomp: true, SeccompActions: []string{"errno", "allow"}, NewMountAPI: true, Openat2: true, Unsure: []string{"LSMs"}},
		},
	}
}

func TestDescription(t *testing.T) {
	for name, f := range machines() {
		file := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(f.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.String(); got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// A machine that nobody described offers nothing, and every row says what that costs.
func TestOffers(t *testing.T) {
	full := machines()["root"]
	none := Facts{Deep: true, Masked: []string{"/proc/kcore"}}
	for i, o := range none.Offers() {
		if o.There {
			t.Errorf("%s is there on a machine without anything", o.Name)
		}
		if o.Since == "" || o.Without == "" || o.Source == "" {
			t.Errorf("%s: a field is empty: %+v", o.Name, o)
		}
		if _, err := ParseVersion(o.Since); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
		if !full.Offers()[i].There {
			t.Errorf("%s is not there on a machine with everything", o.Name)
		}
	}
	if got := len(Facts{}.Offers()); got != len(offers)-4 {
		t.Errorf("facts that are not deep have %d offers, want %d", got, len(offers)-4)
	}
}

// Each row's field is one of Features, and each of Features that says yes or no has a row.
func TestOffersKnowTheFeatures(t *testing.T) {
	rows := map[string]bool{}
	features := reflect.TypeFor[Features]()
	for _, o := range offers {
		rows[o.field] = true
		if _, ok := features.FieldByName(o.field); !ok && o.field != "" {
			t.Errorf("%s: Features has no field %s", o.name, o.field)
		}
	}
	for i := range features.NumField() {
		if f := features.Field(i); f.Type.Kind() == reflect.Bool && !rows[f.Name] {
			t.Errorf("no offer is about Features.%s", f.Name)
		}
	}
}

func TestFind(t *testing.T) {
	hybrid := Cgroup{Mode: CgroupHybrid, Hierarchies: []Hierarchy{
		{Mount: "/c/systemd", Controllers: []string{"name=systemd"}},
		{Mount: "/c/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}},
		{Mount: "/c/blkio", Controllers: []string{"blkio"}},
		{Mount: "/c/unified", V2: true, Controllers: []string{"hugetlb"}},
	}}
	v2 := Cgroup{Mode: CgroupV2, Hierarchies: []Hierarchy{{Mount: "/c", V2: true, Controllers: []string{"io", "cpu"}}}}
	for _, c := range []struct {
		of         Cgroup
		controller string
		mount      string
	}{
		{hybrid, "cpuacct", "/c/cpu,cpuacct"}, {hybrid, "io", "/c/blkio"}, {hybrid, "blkio", "/c/blkio"},
		{hybrid, "hugetlb", "/c/unified"}, {hybrid, "", "/c/unified"}, {hybrid, "name=systemd", "/c/systemd"},
		{hybrid, "memory", ""}, {v2, "blkio", "/c"}, {v2, "", "/c"}, {v2, "cpu", "/c"}, {v2, "pids", ""}, {Cgroup{}, "", ""},
	} {
		h, ok := c.of.Find(c.controller)
		if h.Mount != c.mount || ok != (c.mount != "") {
			t.Errorf("%v: Find(%q) = %q, %v; want %q", c.of.Mode, c.controller, h.Mount, ok, c.mount)
		}
	}
	if got := strings.Join(hybrid.Controllers(), " "); got != "blkio cpu cpuacct hugetlb" {
		t.Errorf("controllers: %s", got)
	}
}
