package ocicli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestEnviron(t *testing.T) {
	home := func() string { return "/h" }
	for _, c := range []struct{ in, want []string }{
		{nil, []string{"HOME=/h"}},
		{[]string{"A=1", "HOME=/own"}, []string{"A=1", "HOME=/own"}},
		{[]string{"HOME=", "A=1"}, []string{"A=1", "HOME=/h"}},
		{[]string{"HOME=/own", "HOME="}, []string{"HOME=/h"}},
		{[]string{"A=1", "B=", "A=2=3", "C=\n"}, []string{"B=", "A=2=3", "C=\n", "HOME=/h"}},
	} {
		if got, err := environ(c.in, home); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"A", "=1", "A=\x00"} {
		if got, err := environ([]string{"B=1", bad}, home); err == nil || !strings.Contains(err.Error(), "process.env[1]") {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

// The user database is the one that the container will see.
func TestHome(t *testing.T) {
	rootfs, other := t.TempDir(), t.TempDir()
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(rootfs+"/usr/passwd", "root:x:0:0:root:/root:/bin/sh\nshort:x:7\nu:x:7:7::/home/u:/bin/sh\nbare:x:8:8:::\n")
	if err := os.Mkdir(rootfs+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/passwd", rootfs+passwd); err != nil { // inside, not the host's
		t.Fatal(err)
	}
	write(other+"/passwd", "o:x:7:7::/other:/bin/sh\n")
	bind := func(from, to string) specs.Mount {
		return specs.Mount{Source: from, Destination: to, Options: []string{"rbind"}}
	}
	for _, c := range []struct {
		name   string
		uid    uint32
		mounts []specs.Mount
		want   string
	}{
		{"root", 0, nil, "/root"},
		{"by number, past a line that is cut short", 7, nil, "/home/u"},
		{"no home", 8, nil, "/"},
		{"nobody", 9, nil, "/"},
		{"a file over it", 7, []specs.Mount{bind(other+"/passwd", passwd)}, "/other"},
		{"a directory over it", 7, []specs.Mount{bind(other, "/etc/")}, "/other"},
		{"the last counts", 7, []specs.Mount{bind(other, "/etc"), {Type: "tmpfs", Source: "tmpfs", Destination: "/etc"}}, "/"},
		{"elsewhere", 7, []specs.Mount{bind(other, "/etc/passwd.d"), bind(other, "/et")}, "/home/u"},
	} {
		s := &specs.Spec{Root: &specs.Root{Path: rootfs}, Mounts: c.mounts, Process: &specs.Process{User: specs.User{UID: c.uid}}}
		if got := homeBefore(s); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := homeIn(rootfs, 7); got != "/home/u" {
		t.Errorf("in the container: %q", got)
	}
}

// Engines leave HOME to the runtime.
func TestHomeInContainers(t *testing.T) {
	h := newHouse(t)
	if err := os.WriteFile(h.bundle+"/rootfs"+passwd, []byte("root:x:0:0::/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := func(s *specs.Spec) { s.Process.Env = []string{"PATH=/bin", "A=1", "A=2"} }
	h.config(env, "sh", "-c", "echo $HOME $A")
	if out := h.must("run", "c"); out != "/root 2\n" {
		t.Errorf("run: %q", out)
	}
	h.config(env, "sleep", "100")
	h.must("run", "-d", "c")
	process := filepath.Join(t.TempDir(), "process.json")
	if err := os.WriteFile(process, []byte(`{"args":["sh","-c","echo $HOME $A"],"cwd":"/","env":["PATH=/bin","HOME="],"user":{"uid":7}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"/root 2\n":   {"exec", "c", "sh", "-c", "echo $HOME $A"},
		"/home/u 2\n": {"exec", "-u", "7", "c", "sh", "-c", "echo $HOME $A"},
		"/x 3\n":      {"exec", "-e", "HOME=/x", "-e", "A=3", "c", "sh", "-c", "echo $HOME $A"},
		"/home/u\n":   {"exec", "-p", process, "c"},
		"/ 2\n":       {"exec", "-u", "9", "c", "sh", "-c", "echo $HOME $A"},
	} {
		if out := h.must(args...); out != want {
			t.Errorf("%q: %q, want %q", args, out, want)
		}
	}
	h.must("delete", "-f", "c")
	h.empty()
}
