package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// daemon starts Docker's daemon for a test, with all that it owns in one directory, and returns
// a way to run its client.
func daemon(t *testing.T) func(in []byte, args ...string) []byte {
	t.Helper()
	dockerd, err := exec.LookPath("dockerd")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs root and Docker's daemon (Debian: docker.io)")
	}
	dir := t.TempDir()
	socket := "unix://" + filepath.Join(dir, "socket")
	// In mount and pid namespaces of its own, so that all its mounts and processes end with it.
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", dockerd,
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"-H", socket, "--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--oom-score-adjust=0")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	docker := func(in []byte, args ...string) ([]byte, error) {
		c := exec.Command("docker", append([]string{"-H", socket}, args...)...)
		c.Env = append(os.Environ(), "DOCKER_CONFIG="+dir)
		c.Stdin = bytes.NewReader(in)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			return stderr.Bytes(), err
		}
		return out, nil
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := docker(nil, "version"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Skipf("Docker's daemon doesn't start here:\n%s", text)
		}
	}
	return func(in []byte, args ...string) []byte {
		t.Helper()
		out, err := docker(in, args...)
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
}

// What docker save writes becomes the same image here, and its tree is what docker export says.
func TestAsDockerHasIt(t *testing.T) {
	docker := daemon(t)
	docker(twoSaved(t), "load")
	docker(nil, "tag", "app:1", "second/name:x")
	s := newStore(t)
	names, err := s.Load(bg, bytes.NewReader(docker(nil, "save", "app:1", "second/name:x", "other")), Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if d := cmp.Diff([]string{"app:1", "other:latest", "second/name:x"}, names); d != "" {
		t.Error(d)
	}
	for _, n := range names {
		i, err := s.Resolve(n)
		if err != nil {
			t.Fatal(err)
		}
		if id := strings.TrimSpace(string(docker(nil, "image", "inspect", "-f", "{{.Id}}", n))); id != i.ID {
			t.Errorf("%s: %s, and Docker says %s", n, i.ID, id)
		}
	}

	container := strings.TrimSpace(string(docker(nil, "create", "app:1")))
	dir := t.TempDir()
	t.Cleanup(func() { removeAll(dir) })
	tar := exec.Command("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xp", "-C", dir)
	tar.Stdin = bytes.NewReader(docker(nil, "export", container))
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	theirs, err := again(t, 0, "list", dir)
	if err != nil {
		t.Fatal(theirs)
	}
	i, err := s.Resolve("app:1")
	if err != nil {
		t.Fatal(err)
	}
	root := i.Root("", "")
	root.Scratch = scratch(t, 0)
	ours := inRoot(t, 0, trial{Root: root})
	// Docker adds mount points to a container, and its config has two volumes. Directories that an
	// archive only implies are 0600 in Docker 20.10, and since 0755 (ImpliedDirectoryMode, moby/go-archive).
	own := func(tree string) (lines []string) {
		for _, l := range strings.Split(tree, "\n") {
			name, _, _ := strings.Cut(strings.TrimPrefix(l, `"`), `"`)
			top, _, _ := strings.Cut(name, "/")
			if !slices.Contains([]string{"", ".dockerenv", "dev", "etc", "proc", "sys", "data", "long"}, top) {
				// docker export writes user attributes of none but capabilities (archive.ReadSecurityXattrToTarHeader).
				lines = append(lines, strings.Replace(l, ` user.note="kept"`, "", 1))
			}
		}
		return lines
	}
	if d := cmp.Diff(own(theirs), own(ours)); d != "" {
		t.Error(d)
	}
	if len(own(ours)) < 20 {
		t.Errorf("only %d lines were compared", len(own(ours)))
	}
}
