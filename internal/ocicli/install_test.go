package ocicli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What deploy/install.sh makes of a node's configuration, done twice, and taken back.
func TestInstall(t *testing.T) {
	for _, c := range []struct {
		name, engine, before string
		want, not            []string
	}{
		{"containerd, version 2, runc not named", "containerd", "version = 2\n[grpc]\n  address = \"/a\"\n",
			[]string{`[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]`, `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.porthole]`, "SystemdCgroup = false"}, nil},
		{"containerd, version 3, with systemd's groups", "containerd", "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n  [x.options]\n    SystemdCgroup = true\n",
			[]string{`[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.porthole]`, "porthole-oci\"\n    SystemdCgroup = true"}, []string{"SystemdCgroup = false", `"io.containerd.cri.v1.runtime".containerd.runtimes.runc]`}},
		{"containerd without a file", "containerd", "", []string{"version = 2", "runtimes.porthole]"}, nil},
		{"CRI-O", "crio", "", []string{"[crio.runtime.runtimes.porthole]"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := t.TempDir()
			file := map[string]string{"containerd": node + "/etc/containerd/config.toml", "crio": node + "/etc/crio/crio.conf.d/10-porthole.conf"}[c.engine]
			if err := os.MkdirAll(filepath.Join(node, "etc", c.engine), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.before != "" {
				if err := os.WriteFile(file, []byte(c.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			deploy := t.TempDir()
			if out, err := exec.Command("cp", "-r", "../../deploy/.", deploy).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := os.WriteFile(deploy+"/porthole-oci", []byte("program"), 0o755); err != nil {
				t.Fatal(err)
			}
			run := func(args ...string) {
				t.Helper()
				cmd := exec.Command("sh", append([]string{deploy + "/install.sh"}, args...)...)
				cmd.Env = append(os.Environ(), "NODE="+node, "RESTART=no")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			read := func(name string) string {
				data, err := os.ReadFile(name)
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				return string(data)
			}
			run()
			once := read(file)
			for _, want := range c.want {
				if strings.Count(once, want) != 1 {
					t.Errorf("%s: not once in:\n%s", want, once)
				}
			}
			for _, not := range c.not {
				if strings.Contains(once, not) {
					t.Errorf("%s: in:\n%s", not, once)
				}
			}
			if st, err := os.Stat(node + "/usr/local/bin/porthole-oci"); err != nil || st.Mode() != 0o755 {
				t.Errorf("the program: %v, %v", st, err)
			}
			run()
			if twice := read(file); twice != once {
				t.Errorf("again:\n%s\nonce:\n%s", twice, once)
			}
			run("remove")
			if after := read(file); after != c.before && !(c.before == "" && after == "version = 2\n") {
				t.Errorf("taken back:\n%s\nbefore:\n%s", after, c.before)
			}
			if _, err := os.Stat(node + "/usr/local/bin/porthole-oci"); !os.IsNotExist(err) {
				t.Errorf("the program is left: %v", err)
			}
		})
	}
	cmd := exec.Command("sh", "../../deploy/install.sh")
	cmd.Env = append(os.Environ(), "NODE="+t.TempDir(), "RESTART=no")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "neither /etc/containerd nor /etc/crio") {
		t.Errorf("no engine: %v: %s", err, out)
	}
}
