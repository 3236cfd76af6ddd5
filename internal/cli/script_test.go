package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"porthole/internal/cli/fast"
	"porthole/internal/leaktest"
)

// Scripts run the test program itself as porthole, and as the whole program that porthole becomes, with its
// things in the directory $ROOT.
func TestMain(m *testing.M) {
	as := func(main func([]string) int) func() {
		return func() {
			args := os.Args[1:]
			if root := os.Getenv("ROOT"); root != "" {
				args = append([]string{"--root", root}, args...)
			}
			os.Exit(main(args))
		}
	}
	testscript.Main(leaktest.M{M: m}, map[string]func(){"porthole": as(fast.Main), fast.WholeName: as(Main)})
}

// Each script in testdata/script is named after the command that it is about. Beside testscript's own
// commands there are
//
//	exits CODE PROGRAM ARG…    runs it, and fails unless it exits so
//	poll PROGRAM ARG…          runs it again and again until it succeeds, for ten seconds at most
//	tty TEXT PROGRAM ARG…      runs it on a terminal of 30 rows and 101 columns, types TEXT there, and
//	                           has what the terminal showed as stdout
//
// and the conditions [root], [user:UID], [file:PATH], [cgroup1]. $ROOTFS is a root filesystem's archive, $ARCHIVE
// an image as docker save writes it, box:1, and $REGISTRY/box:1 the same image in a registry.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { // other users read the archives
			t.Fatal(err)
		}
	}
	rootfs, archive := filepath.Join(dir, "rootfs.tar"), filepath.Join(dir, "box.tar")
	img := makeImage(t, rootfs)
	tag, err := name.NewTag("box:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/box:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", filepath.Join(env.WorkDir, "root"))
			env.Setenv("ROOTFS", rootfs)
			env.Setenv("ARCHIVE", archive)
			env.Setenv("REGISTRY", host)
			// A script that fails must not leave what it started.
			root, bin := env.Getenv("ROOT"), strings.SplitN(env.Getenv("PATH"), ":", 2)[0]
			env.Defer(func() {
				for _, root := range []string{root, filepath.Join(env.WorkDir, "mine/root")} {
					if _, err := os.Stat(root); err != nil {
						continue
					}
					cmd := exec.Command("sh", "-c", `c=$(porthole ps -aq 2>/dev/null) && [ -z "$c" ] || porthole rm -f $c`)
					cmd.Env = append(os.Environ(), "ROOT="+root)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %v: %s", filepath.Base(env.WorkDir), err, out)
					}
				}
			})
			// Other users go through these, to the program and to their own directories.
			for _, d := range []string{env.WorkDir, filepath.Dir(env.WorkDir), filepath.Dir(bin), bin} {
				if err := os.Chmod(d, 0o755); err != nil {
					return err
				}
			}
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "poll": poll, "tty": tty,
		},
	})
}

func condition(c string) (bool, error) {
	kind, arg, _ := strings.Cut(c, ":")
	switch kind {
	case "root":
		return os.Geteuid() == 0, nil
	case "user":
		passwd, err := os.ReadFile("/etc/passwd")
		return strings.Contains(string(passwd), ":x:"+arg+":"), err
	case "file":
		_, err := os.Stat(arg)
		return err == nil, nil
	case "cgroup1":
		_, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes")
		return err == nil, nil
	}
	return false, fmt.Errorf("no condition is called %q", c)
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d", got)
	}
}

func poll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: poll PROGRAM ARG…")
	}
	for end := time.Now().Add(10 * time.Second); ts.Exec(args[0], args[1:]...) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("not within ten seconds")
		}
	}
}

func tty(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: tty TEXT PROGRAM ARG…")
	}
	master, path, err := console.NewPty()
	ts.Check(err)
	defer master.Close()
	ts.Check(master.Resize(console.WinSize{Height: 30, Width: 101}))
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	ts.Check(err)
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(program, args[2:]...)
	cmd.Env = append(os.Environ(), "ROOT="+ts.Getenv("ROOT"), "TERM=vt100")
	cmd.Dir = ts.Getenv("WORK")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	ts.Check(err)
	shown := make(chan []byte)
	go func() {
		data, _ := io.ReadAll(master) // ends with EIO when nobody has the terminal any more
		shown <- data
	}()
	_, err = io.WriteString(master, args[0])
	ts.Check(err)
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	ts.Stdout().Write(<-shown)
	if (err != nil) != neg {
		ts.Fatalf("%v", err)
	}
}

// makeImage makes an image of busybox alone, whose root filesystem's archive goes to path.
func makeImage(t *testing.T, path string) v1.Image {
	t.Helper()
	const busybox = "/bin/busybox"
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Skip("needs busybox-static")
	}
	names, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, data string) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "home/", "tmp/"} {
		add(tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, string(data))
	for _, n := range strings.Fields(string(names)) {
		if n != "busybox" {
			add(tar.Header{Name: "bin/" + n, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, "")
		}
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nana:x:1234:1235:Ana:/home:/bin/sh\n")
	add(tar.Header{Name: "etc/group", Mode: 0o644}, "root:x:0:\nana:x:1235:\nclub:x:2000:ana\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	config.Config = v1.Config{
		Cmd: []string{"sh", "-c", "echo from the image; pwd; echo $BOX"}, Env: []string{"PATH=/bin", "BOX=yes"}, WorkingDir: "/home",
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}
