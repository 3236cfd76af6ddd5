package lab

import (
	"testing"

	"porthole/event"
)

// Whose container a process is in, by its control groups as each engine names them.
func TestOwner(t *testing.T) {
	const id = "24f13cd2bc19cbe748f745bb64d0d8e3b78fd239add3d4cde5123a4e0bb8a1dd"
	for cgroup, want := range map[string]string{
		"12:pids:/docker/" + id + "\n0::/docker/" + id + "\n":                                               "docker",
		"0::/system.slice/docker-" + id + ".scope\n":                                                        "docker",
		"0::/machine.slice/libpod-" + id + ".scope/container\n":                                             "podman",
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n":                          "kubernetes",
		"0::/default/" + id + "\n":                                                                          "containerd",
		"4:memory:/porthole/" + id + "\n":                                                                   "porthole",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1234.scope\n1:name=systemd:/": "",
	} {
		owner, got := ownerOf(cgroup)
		if owner != want || (got == id) != (want != "") {
			t.Errorf("%q: %q, %q; want %q", cgroup, owner, got, want)
		}
	}
}

func TestDevices(t *testing.T) {
	ds := parseDevices("a *:* rwm\nc 1:3 rw\nb 7:* m\nnonsense\n")
	if len(ds) != 4 || ds[0].Allow || *ds[2].Major != 1 || *ds[2].Minor != 3 || ds[2].Access != "rw" || ds[3].Minor != nil {
		t.Errorf("%+v", ds)
	}
}

// What differs from run to run by nature does not count, and what a program says does.
func TestPlain(t *testing.T) {
	for _, same := range [][2]string{
		{"at 0x7fff12345678: done", "at 0x7ffe00000010: done"},
		{"process 123 ended", "process 4567 ended"},
		{"took 0.123 s", "took 12.7 s"},
		{"12:30:01.5 started", "09:01:59.123 started"},
		{"/tmp/cc.AbC12345", "/tmp/cc.zZz99999"},
		{"1,234,567   cycles", "98,765 cycles"},
	} {
		if a, b := plain([]byte(same[0])), plain([]byte(same[1])); string(a) != string(b) {
			t.Errorf("%q and %q differ: %q, %q", same[0], same[1], a, b)
		}
	}
	for _, other := range [][2]string{{"uid=0(root)", "uid=1(daemon)"}, {"1 passed, 0 failed", "0 passed, 1 failed"}, {"works", "fails"}} {
		if a, b := plain([]byte(other[0])), plain([]byte(other[1])); string(a) == string(b) {
			t.Errorf("%q and %q are the same", other[0], other[1])
		}
	}
}

// A watcher's event learns of the file what the laboratory knows.
func TestWithExec(t *testing.T) {
	e := event.Event{Kind: event.Refused, Nr: 59, Errno: 1, File: &event.File{Path: "/p"}, Strings: map[int]string{0: "/p"}}
	if got := withExec(nil, e); len(got) != 1 || got[0].File.Path != "/p" {
		t.Errorf("alone: %+v", got)
	}
	seen := []event.Event{{Kind: event.Refused, Nr: 59, Errno: 13}, {Kind: event.Refused, Nr: 59, Errno: 1, PID: 7}}
	if got := withExec(seen, e); len(got) != 2 || got[0].File != nil || got[1].PID != 7 || got[1].File == nil {
		t.Errorf("beside others: %+v", got)
	}
}
