package ocicli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// noting is a hook that appends what it sees to a file: its name, an argument, its environment, its namespaces, the
// state on its standard input.
func noting(kind, file string, inside bool) []specs.Hook {
	shell, readlink := "/bin/sh", "/usr/bin/readlink"
	if inside {
		readlink = "/bin/readlink"
	}
	script := `echo "` + kind + ` $1 $VAR $HOME $(` + readlink + ` /proc/self/ns/mnt) $(` + readlink + ` /proc/self/ns/uts) $(cat)" >> ` + file
	return []specs.Hook{{Path: shell, Args: []string{"sh", "-c", script, "sh", "arg"}, Env: []string{"VAR=val", "PATH=/usr/bin:/bin"}}}
}

func TestHooks(t *testing.T) {
	h := newHouse(t)
	// The same file for all: in the container it is bound.
	file := filepath.Join(h.bundle, "said")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	h.config(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/said", Source: "said", Options: []string{"bind"}})
		s.Annotations = map[string]string{"k": "v"}
		s.Hooks = &specs.Hooks{
			//lint:ignore SA1019 engines still use prestart
			Prestart:        noting("prestart", file, false),
			CreateRuntime:   noting("createRuntime", file, false),
			CreateContainer: noting("createContainer", file, false),
			StartContainer:  noting("startContainer", "/said", true),
			Poststart:       noting("poststart", file, false),
			Poststop:        noting("poststop", file, false),
		}
	}, "sh", "-c", "echo program >> /said; sleep 100")
	h.must("create", "c")
	pid := h.stands("c").Pid
	mnt, _ := os.Readlink("/proc/self/ns/mnt")
	theirMnt, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	theirUTS, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/uts")
	h.must("start", "c")
	eventually(t, "the program has begun", func() bool { text, _ := os.ReadFile(file); return strings.Contains(string(text), "program\n") })
	h.must("delete", "--force", "c")

	text, _ := os.ReadFile(file)
	var kinds []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		kinds = append(kinds, words[0])
		if words[0] == "program" {
			continue
		}
		var st specs.State
		at := strings.Index(line, "{")
		if at < 0 || json.Unmarshal([]byte(line[at:]), &st) != nil {
			t.Fatalf("no state: %s", line)
		}
		want := specs.State{Version: specs.Version, ID: "c", Bundle: h.bundle, Annotations: map[string]string{"k": "v"}}
		switch words[0] {
		case "prestart", "createRuntime":
			want.Status, want.Pid = specs.StateCreating, pid
		case "createContainer":
			want.Status, want.Pid = specs.StateCreating, 1
		case "startContainer":
			want.Status, want.Pid = specs.StateCreated, 1
		case "poststart":
			want.Status, want.Pid = specs.StateRunning, pid
		case "poststop":
			want.Status = specs.StateStopped
		}
		if st.ID != want.ID || st.Version != want.Version || st.Bundle != want.Bundle || st.Annotations["k"] != "v" || st.Status != want.Status || st.Pid != want.Pid {
			t.Errorf("%s: state %+v, want %+v", words[0], st, want)
		}
		if !strings.HasPrefix(line, words[0]+" arg val  ") { // HOME is not handed on: the environment is the hook's own
			t.Errorf("arguments or environment: %s", line)
		}
		inside := strings.Contains(line, theirMnt) && strings.Contains(line, theirUTS)
		if outside := strings.Contains(line, mnt); inside == outside || inside != strings.HasSuffix(words[0], "Container") {
			t.Errorf("namespaces: %s (ours %s, theirs %s %s)", line, mnt, theirMnt, theirUTS)
		}
	}
	want := []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "program", "poststop"}
	slices.Sort(kinds[4:6]) // poststart and the program run side by side
	if !slices.Equal(kinds, want) {
		t.Errorf("order: %v", kinds)
	}
	h.empty()
}

// A hook that fails ends the container, and poststop ones run; a failure of those is only told.
func TestHooksFail(t *testing.T) {
	h := newHouse(t)
	bad := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo complaint >&2; exit 3"}, Env: []string{"PATH=/bin"}}}
	said := filepath.Join(h.bundle, "said")
	for _, kind := range []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} {
		os.Remove(said)
		h.config(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Poststop: noting("poststop", said, false)}
			//lint:ignore SA1019 engines still use prestart
			lists := map[string]*[]specs.Hook{"prestart": &s.Hooks.Prestart, "createRuntime": &s.Hooks.CreateRuntime,
				"createContainer": &s.Hooks.CreateContainer, "startContainer": &s.Hooks.StartContainer, "poststart": &s.Hooks.Poststart, "poststop": &s.Hooks.Poststop}
			*lists[kind] = append(slices.Clone(bad), *lists[kind]...)
		}, "sleep", "100")
		switch want := "error running " + kind + " hook #0"; kind {
		case "prestart", "createRuntime", "createContainer":
			h.fails(want, "create", "c")
			h.fails("complaint", "create", "c")
		case "startContainer", "poststart":
			h.must("create", "c")
			h.fails(want, "start", "c")
			if s := h.stands("c"); s.Status != "stopped" {
				t.Errorf("%s: %+v", kind, s)
			}
			h.must("delete", "c")
			h.fails(want, "run", "c")
		case "poststop":
			h.must("create", "c")
			if r := h.try("delete", "c"); r.code != 0 || !strings.Contains(r.err, want) || !strings.Contains(r.err, "level=warning") {
				t.Errorf("%+v", r)
			}
		}
		if text, _ := os.ReadFile(said); !strings.Contains(string(text), "poststop arg") {
			t.Errorf("%s: poststop has not run: %q", kind, text)
		}
		h.empty()
	}
	h.config(func(s *specs.Spec) {
		s.Version, s.Hooks = "1.0.2", &specs.Hooks{Poststart: append(slices.Clone(bad), noting("poststart", said, false)...)}
	}, "sleep", "100")
	h.must("create", "c")
	if r := h.try("start", "c"); r.code != 0 || !strings.Contains(r.err, "level=warning") || !strings.Contains(r.err, "poststart hook #0") {
		t.Errorf("a failure is to be told by the rules of 1.0: %+v", r)
	}
	if s := h.stands("c"); s.Status != "running" {
		t.Errorf("%+v", s)
	}
	if text, _ := os.ReadFile(said); !strings.Contains(string(text), "poststart arg") {
		t.Errorf("the next hook has not run: %q", text)
	}
	h.must("delete", "-f", "c")
	one := 1
	h.config(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Timeout: &one}}}
	}, "true")
	h.fails("killed after its 1 seconds", "create", "c")
	h.config(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Timeout: &one}}}
	}, "true")
	h.fails("killed after its 1 seconds", "run", "c")
	h.empty()
}
