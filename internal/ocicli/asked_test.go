package ocicli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A hook without an environment of its own has that of where it runs: the caller's, or the program's.
func TestHookEnvironment(t *testing.T) {
	h := newHouse(t)
	h.env = []string{"MARK=caller"}
	file := filepath.Join(h.bundle, "said")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	hook := func(kind, file string, env []string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo " + kind + " $MARK. >>" + file}, Env: env}}
	}
	h.config(func(s *specs.Spec) {
		s.Process.Env = append(s.Process.Env, "MARK=program")
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/said", Source: "said", Options: []string{"bind"}})
		s.Hooks = &specs.Hooks{
			CreateRuntime:   append(hook("createRuntime", file, nil), hook("own", file, []string{"MARK=own"})...),
			CreateContainer: hook("createContainer", file, nil),
			StartContainer:  append(hook("startContainer", "/said", nil), hook("none", "/said", []string{"A=b"})...),
			Poststop:        hook("poststop", file, nil),
		}
	}, "true")
	h.must("run", "c")
	want := "createRuntime caller.\nown own.\ncreateContainer caller.\nstartContainer program.\nnone .\npoststop caller.\n"
	if text, _ := os.ReadFile(file); string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	h.must("create", "c") // likewise where another command starts it
	os.WriteFile(file, nil, 0o666)
	h.must("start", "c")
	if text, _ := os.ReadFile(file); string(text) != "startContainer program.\nnone .\n" {
		t.Errorf("after start: %s", text)
	}
	h.must("delete", "-f", "c")
	h.empty()
}

// The caller's groups, which need no id inside, are the program's where an annotation says so.
func TestKeepGroups(t *testing.T) {
	h := newHouse(t)
	groups := func(args ...string) string {
		cmd := h.command(t.Context(), args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4321}}}
		out, err := os.CreateTemp(t.TempDir(), "out") // a pipe would be the container's, too
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Run()
		text, _ := os.ReadFile(out.Name())
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return strings.TrimSpace(string(text))
	}
	keep := func(s *specs.Spec) { s.Annotations = map[string]string{"run.oci.keep_original_groups": "1"} }
	h.config(nil, "id", "-G")
	if got := groups("run", "c"); got != "0" {
		t.Errorf("groups %q", got)
	}
	h.config(keep, "id", "-G")
	if got := groups("run", "c"); got != "0 4321" {
		t.Errorf("kept: groups %q", got)
	}
	h.config(func(s *specs.Spec) {
		keep(s)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}, "id", "-G")
	h.open()
	if got := groups("run", "c"); got != "0 65534" {
		t.Errorf("kept in a user namespace that has no id for them: groups %q", got)
	}
	h.config(keep, "sleep", "100")
	groups("run", "-d", "c")
	if got := groups("exec", "c", "id", "-G"); got != "0 4321" {
		t.Errorf("exec: groups %q", got)
	}
	h.must("delete", "-f", "c")
	h.empty()
}

// Without a control group the container is where its runtime is; what would need one is refused, and the rest goes on.
func TestUngrouped(t *testing.T) {
	h := newHouse(t)
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	none := func(args ...string) []string { return append([]string{"--cgroup-manager=disabled"}, args...) }
	seeing := func(s *specs.Spec) { s.Linux.Namespaces = remove(s.Linux.Namespaces, inCgroupNamespace) }
	h.config(seeing, "cat", "/proc/self/cgroup")
	if out := h.must(none("run", "c")...); out != string(own) {
		t.Errorf("groups\n%s, ours\n%s", out, own)
	}
	h.config(seeing, "sleep", "100")
	h.must(none("create", "c")...)
	h.must("start", "c")
	if out := h.must(none("exec", "c", "cat", "/proc/self/cgroup")...); out != string(own) {
		t.Errorf("exec: groups\n%s, ours\n%s", out, own)
	}
	h.fails("no control group", none("pause", "c")...)
	h.fails("no control group", none("update", "--pids-limit", "5", "c")...)
	h.must(none("kill", "--all", "c", "KILL")...)
	eventually(t, "it has ended", func() bool { return h.stands("c").Status == "stopped" })
	h.must(none("delete", "c")...)

	limit := int64(1 << 30)
	h.config(func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit} }, "true")
	h.fails("linux.resources.memory: needs a control group", none("create", "c")...)
	h.fails("--cgroup-manager=disabled", "--systemd-cgroup", "--cgroup-manager=disabled", "create", "c")
	h.empty()
}

// A user namespace without ids has those of whoever asks for it.
func TestOwnIDs(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		for i := range s.Mounts { // of the groups there is one
			s.Mounts[i].Options = remove(s.Mounts[i].Options, func(o string) bool { return o == "gid=5" })
		}
	}, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
	h.open()
	if out := strings.Fields(h.must("run", "c")); strings.Join(out, " ") != "0 0 1 0 0 1" {
		t.Errorf("ids %v", out)
	}
	h.empty()
}

// What somebody has frozen in a control group of their own can be taken away all the same.
func TestFrozenElsewhere(t *testing.T) {
	h := newHouse(t)
	other := "/sys/fs/cgroup/freezer/" + h.group + "-other"
	if _, err := os.Stat("/sys/fs/cgroup/freezer/cgroup.procs"); err != nil {
		t.Log("there is no such way to freeze: " + err.Error())
		return
	}
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.WriteFile(other+"/freezer.state", []byte("THAWED"), 0)
		eventually(t, "the other group can be removed", func() bool { return os.Remove(other) == nil })
	})
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	for file, text := range map[string]string{"cgroup.procs": h.must("ps", "-f", "json", "c"), "freezer.state": "FROZEN"} {
		if err := os.WriteFile(filepath.Join(other, file), []byte(strings.Trim(text, "[]\n")), 0); err != nil {
			t.Fatal(err)
		}
	}
	if r := h.try("delete", "--force", "c"); r.code != 0 || r.err != "" {
		t.Errorf("%+v", r)
	}
	h.empty()
}

// A device of a user namespace is the one that is asked for, whatever the host has there, and belongs to whom it should.
func TestDeviceInUserNamespace(t *testing.T) {
	h := newHouse(t)
	mode, uid, gid := os.FileMode(0o640), uint32(10), uint32(11)
	h.config(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
		s.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/porthole-none", Type: "c", Major: 1, Minor: 5, FileMode: &mode, UID: &uid, GID: &gid},
			{Path: "/dev/full", Type: "c", Major: 1, Minor: 3}, // the host's is another
		}
	}, "sh", "-c", "ls -ln /dev/porthole-none /dev/full; echo x >/dev/full && echo written")
	h.open()
	out := h.must("run", "c")
	for _, want := range []string{"crw-r-----    1 10       11          1,   5 ", "crw-rw-rw-    1 0        0           1,   3 ", "written"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	h.empty()
}

// A log is named as runc does, or as crun does.
func TestLogKinds(t *testing.T) {
	h := newHouse(t)
	for _, kind := range []string{"", "file:"} {
		file := filepath.Join(t.TempDir(), "log")
		h.fails("does not exist", "--log", kind+file, "state", "c")
		if text, _ := os.ReadFile(file); !strings.Contains(string(text), "level=error") {
			t.Errorf("--log %s: %q", kind, text)
		}
	}
	h.fails("journald is not supported", "--log", "journald:c", "state", "c")
}
