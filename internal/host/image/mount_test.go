package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/plan"
)

// A root is tried by mounting it for real: the test binary starts itself again in namespaces
// of its own, mounts the layers with mount(2), enters the result and runs a shell there.

// trial is what the second process is told, on its standard input.
type trial struct {
	Root      plan.Root
	Host      bool // compose Root from the machine as the second process sees it
	NoOverlay bool
	Before    string // a script run on the machine, before anything is mounted
	UserNS    bool
	Script    string // run inside
}

func TestMain(m *testing.M) {
	if len(os.Args) >= 2 {
		if child := children[os.Args[1]]; child != nil {
			if err := child(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(125)
			}
			os.Exit(0)
		}
	}
	before := leftovers()
	code := m.Run()
	if after := leftovers(); after != before {
		fmt.Fprintf(os.Stderr, "left behind: before\n%s\nafter\n%s\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// children are the parts that this binary plays in processes of their own.
var children = map[string]func() error{
	"enter-root": enterRoot,
	"pull": func() error {
		s, err := Open(os.Args[2])
		if err == nil {
			s.Registry = openRegistry
			_, err = s.Pull(bg, os.Args[3], anyPlatform, Quiet{})
		}
		return err
	},
	"load": func() error {
		s, err := Open(os.Args[2])
		if err != nil {
			return err
		}
		f, err := os.Open(os.Args[3])
		if err != nil {
			return err
		}
		var p noted
		_, err = s.Load(bg, f, &p)
		fmt.Print(strings.Join(p.lines, "\n"))
		return err
	},
	"remove": func() error {
		s, err := Open(os.Args[2])
		if err == nil {
			_, err = s.Remove(bg, os.Args[3], true, nil)
		}
		return err
	},
	"list": func() error { return list(os.Args[2]) },
	"root": func() error {
		s, err := Open(os.Args[2])
		if err != nil {
			return err
		}
		i, err := s.Resolve(os.Args[3])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(i.Root("", ""))
	},
}

// command starts this binary again in another part, as another user.
func command(t *testing.T, uid int, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	argv := append([]string{"/proc/self/fd/3"}, args...)
	if uid != 0 {
		if os.Getuid() != 0 {
			t.Skip("needs root to become other users")
		}
		argv = append([]string{"setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", uid), "--clear-groups"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.ExtraFiles = []*os.File{self}
	return cmd
}

func again(t *testing.T, uid int, args ...string) (string, error) {
	t.Helper()
	out, err := command(t, uid, args...).CombinedOutput()
	return string(out), err
}

// leftovers lists open files, mounts and children.
func leftovers() string {
	runtime.GC()
	var b strings.Builder
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.Contains(to, "/proc/") {
			fmt.Fprintln(&b, fd.Name(), to)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	fmt.Fprintln(&b, strings.Count(string(mounts), "porthole-image-test"), "mounts")
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	fmt.Fprintf(&b, "children %q\n", kids)
	return b.String()
}

// enterRoot mounts the layers of the trial on its standard input and becomes a shell in them.
func enterRoot() error {
	var t trial
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private: %w", err)
	}
	if t.Host {
		f := rooted
		if t.UserNS {
			f = rootless
		}
		f.Features.OverlayUserNS = f.Features.OverlayUserNS && !t.NoOverlay
		root, _, notes, err := Host(f, HostOptions{NewUser: t.UserNS, Scratch: t.Root.Scratch})
		if err != nil {
			return err
		}
		t.Root = root
		fmt.Printf("notes %q\n%s", notes, show(root))
	}
	if err := mountRoot(t); err != nil {
		return err
	}
	if t.Script == "" {
		return list("/")
	}
	return unix.Exec("/bin/sh", []string{"sh", "-ec", t.Script}, []string{defaultPath})
}

func mountRoot(t trial) error {
	scratch := t.Root.Scratch
	if err := unix.Mount("tmpfs", scratch, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	root := filepath.Join(scratch, "root")
	os.Mkdir(root, 0o755)
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	unix.Umask(0)
	for i, l := range t.Root.Layers {
		if err := mountLayer(l, filepath.Join(root, l.Target), filepath.Join(scratch, fmt.Sprint(i)), t.UserNS); err != nil {
			return fmt.Errorf("layer %d of %s: %w", i, l.Target, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}

func mountLayer(l plan.Layer, target, private string, userNS bool) error {
	var attrs uintptr
	for _, f := range l.Flags {
		attrs |= map[string]uintptr{"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC}[f]
	}
	mode := l.Mode
	if mode == 0 {
		mode = 0o755
	}
	switch {
	case l.Lower != nil:
		upper, work := l.Upper, l.Work
		if upper == "" {
			upper, work = private+"u", private+"w"
			os.Mkdir(work, 0o700)
			if err := unix.Mkdir(upper, mode); err != nil {
				return err
			}
			if err := os.Chown(upper, int(l.UID), int(l.GID)); err != nil {
				return err
			}
			if err := unix.Chmod(upper, mode); err != nil { // mkdir leaves out setuid and setgid
				return err
			}
		}
		opt := "lowerdir=" + strings.Join(l.Lower, ":") + ",upperdir=" + upper + ",workdir=" + work
		if userNS {
			opt += ",userxattr"
		}
		return unix.Mount("overlay", target, "overlay", attrs, opt)
	case l.Bind != "":
		if err := unix.Mount(l.Bind, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		return unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	case l.Link != "":
		return os.Symlink(l.Link, target)
	case l.Cover:
		if err := unix.Mkdir(private, mode); err != nil {
			return err
		}
		return unix.Mount(private, target, "", unix.MS_BIND, "")
	case l.Dir:
		if err := unix.Mkdir(target, mode); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	default:
		return os.WriteFile(target, l.File, os.FileMode(mode))
	}
}

// alone lets go of what other programs have mounted in temporary directories, in the trial's namespace.
const alone = `awk '$5 ~ "^(/var)?/tmp/" {print $5}' /proc/self/mountinfo | tac | xargs -r -n1 umount -l
`

// inRoot runs a trial's script in its root and returns what it prints. A uid other than 0 makes
// it rootless: an ordinary user's process, mapped to root in a user namespace of its own.
func inRoot(t *testing.T, uid int, tr trial) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to become other users")
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	tr.UserNS = uid != 0
	in, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	become := "exec "
	if uid != 0 {
		become = fmt.Sprintf("exec setpriv --reuid=%d --regid=%d --clear-groups unshare -Urm ", uid, uid)
	}
	cmd := exec.Command("unshare", "-m", "/bin/sh", "-ec", alone+tr.Before+"\n"+become+"/proc/self/fd/3 enter-root")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in root as %d: %v\n%s", uid, err, out)
	}
	return string(out)
}

// scratch is an empty directory on a disk, of this user's.
func scratch(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "porthole-image-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	return dir
}

// rooted and rootless are the machines that the tests compose for.
var (
	rooted   = facts.Facts{UserNS: facts.UserNS{Initial: true}, Features: facts.Features{Overlay: true}}
	rootless = facts.Facts{UID: 1000, UserNS: facts.UserNS{Initial: true}, Features: facts.Features{Overlay: true, OverlayUserNS: true}}
)
