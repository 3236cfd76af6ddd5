package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"porthole/workload/dialect"
)

// busyRoot makes a root directory with busybox in it.
func busyRoot(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	dir := t.TempDir()
	for p := dir; len(p) > len(os.TempDir()); p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	put(t, dir, "bin/busybox", data, 0o755)
	for _, name := range []string{"sh", "true", "ls", "cat", "readlink", "pwd", "sleep", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t *testing.T, dir, name string, data []byte, mode os.FileMode) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, mode); err != nil {
		t.Fatal(err)
	}
}

// snapshot is all there is to know of the files beneath dirs: a line for each.
func snapshot(t *testing.T, deep bool, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %o %d %d %d %v", path, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim)
			switch {
			case d.Type() == fs.ModeSymlink:
				to, _ := os.Readlink(path)
				fmt.Fprintf(&b, " %s", to)
			case d.Type().IsRegular() && deep:
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, " %x", sha256.Sum256(data))
			case d.IsDir() && !deep && path != dir:
				b.WriteByte('\n')
				return fs.SkipDir
			}
			b.WriteByte('\n')
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// hostMounts are this mount namespace's beneath the tests' directory, and at the places that containers
// have mounts at.
func hostMounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && (strings.HasPrefix(f[4], os.TempDir()) || strings.HasPrefix(f[4], "/dev") || strings.HasPrefix(f[4], "/etc") || f[4] == "/proc" || f[4] == "/root") {
			fmt.Fprintln(&b, f[2], f[3], f[4])
		}
	}
	return b.String()
}

// canary is a directory outside, with what a deceived start would write to or mount over.
func canary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"file", "null", "dir/inner", "etc/hosts", "etc/passwd", "etc/resolv.conf", "pts/0", "shm/x", "self/attr/exec", "fs/cgroup/x"} {
		put(t, dir, name, []byte("canary "+name+"\n"), 0o644)
	}
	return dir
}

// run runs a docker command line in this process, and returns what it wrote.
func (e *Engine) line(t *testing.T, args ...string) (out string, code int, err error) {
	t.Helper()
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SetInterspersed(false)
	flags := dialect.RunFlags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	r, err := flags.Read(set.Args(), dialect.Outside{Env: os.LookupEnv, ReadFile: os.ReadFile, Dir: "/"})
	if err != nil {
		return "", 125, err
	}
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	said := make(chan string)
	go func() {
		b, _ := io.ReadAll(rd)
		said <- string(b)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code, err = e.Run(ctx, r.Workload, RunOptions{Remove: r.Remove, Streams: Streams{Out: wr, Err: wr}})
	wr.Close()
	out = <-said
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		code = coded.ExitCode()
	} else if err != nil {
		code = 125
	}
	return out, code, err
}

// An image may have anything at the places that a start works on: nothing outside of it changes.
func TestHostileImage(t *testing.T) {
	e := open(t)
	root, out := busyRoot(t), canary(t)
	vol := t.TempDir()
	put(t, vol, "file", []byte("a volume"), 0o644)
	climb := strings.Repeat("../", 20) + strings.TrimPrefix(out, "/")

	shapes := map[string]func(string) error{
		"link to a directory":           func(p string) error { return os.Symlink(out, p) },
		"link to a file":                func(p string) error { return os.Symlink(out+"/file", p) },
		"link to nothing yet":           func(p string) error { return os.Symlink(out+"/new", p) },
		"link up and out":               func(p string) error { return os.Symlink(climb, p) },
		"link up and out to nothing":    func(p string) error { return os.Symlink(climb+"/new/new", p) },
		"link through a process's root": func(p string) error { return os.Symlink("/proc/1/root"+out, p) },
		"link through our own root":     func(p string) error { return os.Symlink("/proc/self/root"+out, p) },
		"link to an open file":          func(p string) error { return os.Symlink("/proc/self/fd/3", p) },
		"link to the host's directory":  func(p string) error { return os.Symlink("/etc", p) },
		"link to itself":                func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"link to the top":               func(p string) error { return os.Symlink("/", p) },
		"fifo":                          func(p string) error { return unix.Mkfifo(p, 0o644) },
		"socket":                        func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) },
		"device":                        func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 7))) },
		"file":                          func(p string) error { return os.WriteFile(p, []byte("x"), 0) },
		"directory":                     func(p string) error { return os.Mkdir(p, 0) },
	}
	places := []string{
		"proc", "sys", "sys/fs/cgroup", "dev", "dev/null", "dev/pts", "dev/shm", "dev/mqueue", "dev/console", "dev/ptmx",
		"etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/passwd", "etc/group", "work", "deep/work", "deep",
		"vol", "volfile", "tmpfs", "opt/vol", "opt",
	}
	args := []string{
		"--rm", "-w", "/deep/work/dir", "-v", vol + ":/vol/a", "-v", vol + ":/opt/vol", "-v", vol + "/file:/volfile", "--tmpfs", "/tmpfs",
		"--tmpfs", "/opt/tmp", "--mount", "type=tmpfs,dst=/vol/b", "--device", "/dev/zero:/dev/other/zero", "--network", "host",
	}
	mounts, host := hostMounts(t), snapshot(t, false, "/etc", "/root")
	// In the volume the container's root makes what is missing there, as with Docker.
	for _, name := range []string{"a", "b", "tmp"} {
		if err := os.Mkdir(filepath.Join(vol, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, true, out, vol)
	ran, refused := 0, 0
	for i, place := range places {
		for j, shape := range slices.Sorted(maps.Keys(shapes)) {
			if (i+j)%4 != 0 && os.Getenv(thorough) == "" {
				continue
			}
			make := shapes[shape]
			path := filepath.Join(root, place)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			image := snapshot(t, true, root)
			for _, extra := range [][]string{nil, {"-t"}} {
				if extra != nil && !strings.HasPrefix(place, "dev") {
					continue // a terminal's place is there
				}
				line := append(append(append([]string{}, args...), extra...), "dir:"+root, "/bin/busybox", "true")
				said, code, err := e.line(t, line...)
				switch {
				case err == nil && code == 0:
					ran++
				case err != nil && code == 125 && strings.Count(err.Error(), "\n") <= 4:
					refused++
				default:
					t.Errorf("%s is a %s: exit %d, %v, %q", place, shape, code, err, said)
				}
			}
			for what, is := range map[string]bool{
				"the directories outside": snapshot(t, true, out, vol) == before,
				"the image":               snapshot(t, true, root) == image,
				"the host's mounts":       hostMounts(t) == mounts,
				"the host's own files":    snapshot(t, false, "/etc", "/root") == host,
			} {
				if !is {
					t.Fatalf("%s is a %s: %s changed", place, shape, what)
				}
			}
			if err := os.RemoveAll(filepath.Join(root, strings.Split(place, "/")[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d ran inside, %d were refused", ran, refused)
	if ran == 0 || refused == 0 {
		t.Error("the cases do not tell anything")
	}
	if l := left(e.Root()); len(l) > 0 {
		t.Errorf("left behind: %s", strings.Join(l, "\n"))
	}
}

// While a start looks for the place of a mount, somebody in a shared volume swaps it for a link to
// outside (CVE-2021-30465): it is found once, by the kernel, and never by name again.
func TestMountTargetRace(t *testing.T) {
	e := open(t)
	root, out, vol := busyRoot(t), canary(t), t.TempDir()
	for _, dir := range []string{"sub", "tmp"} {
		if err := os.Mkdir(filepath.Join(vol, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(out, filepath.Join(vol, dir+"-link")); err != nil {
			t.Fatal(err)
		}
	}
	before, mounts := snapshot(t, true, out), hostMounts(t)
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swaps := 0
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, dir := range []string{"sub", "tmp"} {
				a := filepath.Join(vol, dir)
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, a+"-link", unix.RENAME_EXCHANGE)
				swaps++
			}
		}
	})
	ran, refused := 0, 0
	for range 60 {
		said, code, err := e.line(t, "--rm", "-v", vol+":/data", "-v", root+"/bin:/data/sub/deep", "--tmpfs", "/data/tmp/deep/er", "-w", "/data/sub",
			"dir:"+root, "/bin/busybox", "cat", "/file", "/data/sub/file")
		switch {
		case code == 125 && err != nil:
			refused++
		case err == nil && !strings.Contains(said, "canary"):
			ran++
		default:
			t.Errorf("exit %d, %v: %s", code, err, said)
		}
	}
	close(stop)
	swapper.Wait()
	t.Logf("%d swaps; %d ran inside, %d were refused", swaps, ran, refused)
	if snapshot(t, true, out) != before {
		t.Error("the directory outside changed")
	}
	if hostMounts(t) != mounts {
		t.Error("the host's mounts changed")
	}
}

// Whatever an image names as its program, that is never porthole (CVE-2019-5736).
func TestOwnImageAsProgram(t *testing.T) {
	e := open(t)
	root := busyRoot(t)
	for name, to := range map[string]string{"link": "/proc/self/exe", "thread": "/proc/thread-self/exe", "first": "/proc/1/exe"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, root, "script", []byte("#!/proc/self/exe\n"), 0o755)
	put(t, root, "script-link", []byte("#!/link\n"), 0o755)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, true, self)
	shared := [][]string{nil, {"--pid", "host"}}
	for _, program := range []string{"/link", "/thread", "/first", "/script", "/script-link", "/proc/self/exe", "/proc/self/fd/3"} {
		for _, flags := range shared {
			if flags != nil && program == "/first" {
				continue // that is the host's init then
			}
			line := append(append([]string{"--rm", "--cap-add", "ALL"}, flags...), "dir:"+root, program, "-test.list=.")
			said, code, err := e.line(t, line...)
			if code != 126 && code != 127 || strings.Contains(said, "TestOwnImage") {
				t.Errorf("%s %v: exit %d, %v: %s", program, flags, code, err, said)
			}
		}
	}
	if snapshot(t, true, self) != before {
		t.Error("our own image changed")
	}
}

// A working directory cannot be one of the host's that is still open (CVE-2024-21626).
func TestWorkingDirectoryOutside(t *testing.T) {
	e := open(t)
	root := busyRoot(t)
	for fd := range 24 {
		target := fmt.Sprintf("/proc/self/fd/%d", fd)
		link := fmt.Sprintf("w%d", fd)
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{target, "/" + link, target + "/../../../..", "/proc/1/fd/" + fmt.Sprint(fd), "/proc/self/cwd"} {
			said, code, err := e.line(t, "--rm", "-w", dir, "dir:"+root, "/bin/busybox", "sh", "-c", "readlink /proc/self/cwd; ls -d ./etc/machine-id ../../../../root")
			if code == 125 && err != nil {
				continue
			}
			cwd, _, _ := strings.Cut(said, "\n")
			if err != nil || !strings.HasPrefix(cwd, "/") || strings.Contains(said, "\n./etc") || strings.Contains(cwd, os.TempDir()) {
				t.Errorf("-w %s: exit %d, %v: %s", dir, code, err, said)
			}
		}
	}
}

// inherited is a script that prints all that a program can have from whoever started it.
const inherited = `
for f in /proc/$$/fd/*; do l=$(readlink $f) && echo fd ${f##*/} $l; done | grep -v '/script$'
env | sed 's/^/env /'
cat /proc/self/oom_score_adj | sed 's/^/oom /'
sed -n 's/^\(SigBlk\|SigIgn\|CapInh\|CapAmb\|NSsid\):/\1/p' /proc/self/status
cut -d' ' -f6,7 /proc/$$/stat | sed 's/^/session,tty /'
`

// A program starts with what its plan gives it, whatever porthole was started with.
func TestNothingInherited(t *testing.T) {
	needRoot(t)
	root, state := busyRoot(t), ownRoot(t, 0)
	put(t, root, "script", []byte(inherited), 0o755)
	secret, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	for _, verb := range []string{"run", "exec"} {
		v := victim{Root: state, Verb: verb, Args: []string{"--rm", "dir:" + root, "sh", "/script"}}
		if verb == "exec" {
			if err := (victim{Root: state, Verb: "run", Args: []string{"-d", "--name", "it", "dir:" + root, "sleep", "1000"}}).start(t, nil).Wait(); err != nil {
				t.Fatal(err)
			}
			e, err := Open(state, factsOf(t), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Remove("it", true, true)
			v.Args = []string{"it", "sh", "/script"}
		}
		var out strings.Builder
		cmd := v.command(&out)
		cmd.Env = append(cmd.Env, "OUR_SECRET=1")
		cmd.ExtraFiles = []*os.File{secret, secret, secret, secret, secret, secret}
		// What a caller may hand on without knowing: ignored and blocked signals, a score, capabilities.
		wrapped := *cmd
		wrapped.Path = "/bin/sh"
		wrapped.Args = []string{"sh", "-c", `trap "" INT QUIT USR1 PIPE; echo 77 >/proc/self/oom_score_adj; exec /proc/` + fmt.Sprint(os.Getpid()) + `/exe`}
		if err := wrapped.Run(); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
		text := out.String()
		t.Logf("%s: %s", verb, text)
		for _, bad := range []string{"OUR_SECRET", "PORTHOLE_", "passwd", "fd 3", "fd 4", "fd 5", "fd 6", "fd 7", "fd 8", "oom 77", "SigIgn\t0000000000001"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s hands on %q:\n%s", verb, bad, text)
			}
		}
		for _, want := range []string{"oom 0", "SigBlk\t0000000000000000", "SigIgn\t0000000000000000", "CapInh\t0000000000000000", "CapAmb\t0000000000000000", "session,tty "} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", verb, want, text)
			}
		}
	}
}
