//go:build linux

package caps_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/caps"
)

// The tests in this file ask the kernel that runs them whether it agrees. Every walk has a
// thread of its own, locked to its goroutine and thrown away at the end: credentials
// belong to threads, and raw system calls change them for one thread alone.

// needRoot skips where we may not do to ourselves what the tests do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it changes uids and capability sets")
	}
	s, err := current()
	if err != nil {
		t.Fatal(err)
	}
	if need := caps.Of(caps.CAP_SETUID, caps.CAP_SETPCAP, caps.CAP_SETFCAP, caps.CAP_CHOWN); !s.Effective.Includes(need) {
		t.Skipf("needs %s; this process has %s", need, s.Effective)
	}
}

// onThread runs f on a thread that ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// current reads the calling thread's state.
func current() (caps.State, error) {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return caps.State{}, err
	}
	s, err := parseStatus(text)
	if err != nil {
		return s, err
	}
	bits, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS, 0, 0)
	if errno != 0 {
		return s, errno
	}
	s.Securebits = caps.Securebits(bits)
	return s, nil
}

// parseStatus reads all but the securebits, which /proc does not show.
func parseStatus(text []byte) (caps.State, error) {
	var s caps.State
	sets := map[string]*caps.Set{
		"CapInh": &s.Inheritable, "CapPrm": &s.Permitted, "CapEff": &s.Effective, "CapBnd": &s.Bounding, "CapAmb": &s.Ambient,
	}
	seen := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		var err error
		switch set := sets[key]; {
		case set != nil:
			*set, err = caps.ParseHex(value)
		case key == "Uid":
			_, err = fmt.Sscan(value, &s.UID, &s.EUID, &s.SUID, &s.FSUID)
		case key == "NoNewPrivs":
			s.NoNewPrivs = value == "1"
		default:
			continue
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
		seen++
	}
	if seen != 7 {
		return s, fmt.Errorf("%d of 7 lines in %q", seen, text)
	}
	return s, nil
}

// A step is one call: what it is, what we say it does, and the call itself.
type step struct {
	name    string
	predict func(caps.State) (caps.State, error)
	do      func() unix.Errno
}

func raw(nr uintptr, a, b, c uintptr) func() unix.Errno {
	return func() unix.Errno {
		_, _, errno := unix.RawSyscall6(nr, a, b, c, 0, 0, 0)
		return errno
	}
}

// universe is small, so that random sets meet.
var universe = []caps.Cap{
	caps.CAP_CHOWN, caps.CAP_DAC_OVERRIDE, caps.CAP_FOWNER, caps.CAP_KILL, caps.CAP_SETUID, caps.CAP_SETPCAP,
	caps.CAP_NET_RAW, caps.CAP_SYS_ADMIN, caps.CAP_SYS_RESOURCE, caps.CAP_MKNOD, caps.CAP_CHECKPOINT_RESTORE,
}

type chance struct{ *rand.Rand }

func (r chance) oneOf(n int) bool { return r.IntN(n) == 0 }

func (r chance) cap() caps.Cap { return universe[r.IntN(len(universe))] }

// part is a random subset of s, mostly all of it but a few.
func (r chance) part(s caps.Set) caps.Set {
	switch r.IntN(6) {
	case 0:
		return 0
	case 1:
		return s
	case 2:
		return s & caps.Of(r.cap(), r.cap(), r.cap())
	}
	return s.Remove(r.cap(), r.cap())
}

func (r chance) uid() int { return []int{0, 0, 1000, 1001, 1002}[r.IntN(5)] }

func (r chance) uidOrKeep() int {
	if r.oneOf(4) {
		return caps.Keep
	}
	return r.uid()
}

// next is a random step for a thread in state s: mostly one that may succeed.
func (r chance) next(s caps.State) step {
	switch r.IntN(17) {
	case 0:
		uid := r.uid()
		return step{fmt.Sprintf("setuid(%d)", uid), func(s caps.State) (caps.State, error) { return s.SetUID(uid) }, raw(unix.SYS_SETUID, uintptr(uid), 0, 0)}
	case 1:
		a, b := r.uidOrKeep(), r.uidOrKeep()
		return step{fmt.Sprintf("setreuid(%d, %d)", a, b), func(s caps.State) (caps.State, error) { return s.SetREUID(a, b) }, raw(unix.SYS_SETREUID, uintptr(a), uintptr(b), 0)}
	case 2, 3:
		a, b, c := r.uidOrKeep(), r.uidOrKeep(), r.uidOrKeep()
		return step{fmt.Sprintf("setresuid(%d, %d, %d)", a, b, c), func(s caps.State) (caps.State, error) { return s.SetRESUID(a, b, c) }, raw(unix.SYS_SETRESUID, uintptr(a), uintptr(b), uintptr(c))}
	case 4:
		uid := r.uid()
		return step{fmt.Sprintf("setfsuid(%d)", uid), func(s caps.State) (caps.State, error) { return s.SetFSUID(uid), nil }, raw(unix.SYS_SETFSUID, uintptr(uid), 0, 0)}
	case 5:
		c := r.cap()
		if r.oneOf(12) {
			c = caps.Last + 1
		}
		return step{fmt.Sprintf("drop %s from bounding", c), func(s caps.State) (caps.State, error) { return s.DropBounding(c) }, raw(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0)}
	case 6, 13, 14, 15:
		c := r.cap()
		if both := (s.Permitted & s.Inheritable).List(); len(both) > 0 && !r.oneOf(3) {
			c = both[r.IntN(len(both))]
		}
		return step{fmt.Sprintf("raise ambient %s", c), func(s caps.State) (caps.State, error) { return s.RaiseAmbient(c) }, raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c))}
	case 7:
		c := r.cap()
		return step{fmt.Sprintf("lower ambient %s", c), func(s caps.State) (caps.State, error) { return s.LowerAmbient(c) }, raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, uintptr(c))}
	case 8:
		if !r.oneOf(4) {
			return r.next(s)
		}
		return step{"clear ambient", func(s caps.State) (caps.State, error) { return s.ClearAmbient(), nil }, raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0)}
	case 9:
		bits := s.Securebits ^ 1<<r.IntN(12)
		switch r.IntN(12) {
		case 0:
			bits = s.Securebits
		case 1, 2:
			bits = caps.Securebits(r.IntN(1 << 13))
		}
		return step{fmt.Sprintf("securebits %#x", bits), func(s caps.State) (caps.State, error) { return s.SetSecurebits(bits) }, raw(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uintptr(bits), 0)}
	case 10:
		keep := r.IntN(2)
		return step{fmt.Sprintf("keepcaps %d", keep), func(s caps.State) (caps.State, error) { return s.SetKeepCaps(keep == 1) }, raw(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, uintptr(keep), 0)}
	case 11:
		if !r.oneOf(3) {
			return r.next(s)
		}
		return step{"no_new_privs", func(s caps.State) (caps.State, error) { return s.SetNoNewPrivs(), nil }, raw(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)}
	default:
		p := r.part(s.Permitted)
		e := r.part(p)
		i := r.part(s.Inheritable | s.Permitted)
		switch r.IntN(10) {
		case 0:
			i = i.Add(r.cap())
		case 1:
			p = p.Add(r.cap())
		case 2:
			e = e.Add(r.cap())
		case 3:
			i |= 1 << 50 // unknown to the kernel
		}
		return step{fmt.Sprintf("capset e=%s p=%s i=%s", e.Hex(), p.Hex(), i.Hex()),
			func(s caps.State) (caps.State, error) { return s.SetCaps(e, p, i) },
			func() unix.Errno { return capset(e, p, i) }}
	}
}

func capset(e, p, i caps.Set) unix.Errno {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(e), Permitted: uint32(p), Inheritable: uint32(i)},
		{Effective: uint32(e >> 32), Permitted: uint32(p >> 32), Inheritable: uint32(i >> 32)},
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	return errno
}

// agree compares a predicted outcome with what the kernel did.
func agree(wantErr error, errno unix.Errno) error {
	var r *caps.Refusal
	switch {
	case wantErr == nil && errno == 0:
		return nil
	case wantErr == nil:
		return fmt.Errorf("the kernel said %s, we foresaw success", unix.ErrnoName(errno))
	case !errors.As(wantErr, &r):
		return fmt.Errorf("not a Refusal: %w", wantErr)
	case r.Errno != unix.ErrnoName(errno):
		return fmt.Errorf("the kernel said %q, we foresaw %q (%s)", unix.ErrnoName(errno), r.Errno, r.Why)
	}
	return nil
}

// walk does n random steps on the calling thread and compares after each. It returns
// where it ended, and the way there for whoever has to understand a difference.
func walk(r chance, n int, tally map[string]int) (s caps.State, way []string, err error) {
	if s, err = current(); err != nil {
		return s, nil, err
	}
	for range n {
		st := r.next(s)
		way = append(way, st.name)
		want, refused := st.predict(s)
		if err := agree(refused, st.do()); err != nil {
			return s, way, err
		}
		if refused != nil {
			want = s
			tally["refused"]++
		}
		got, err := current()
		if err != nil {
			return s, way, err
		}
		if got != want {
			return s, way, fmt.Errorf("from %+v\n got %+v\nwant %+v", s, got, want)
		}
		tally["steps"]++
		s = got
	}
	return s, way, nil
}

func TestKernelAgreesOnSteps(t *testing.T) {
	needRoot(t)
	tally := map[string]int{}
	for seed := range uint64(400) {
		onThread(func() {
			if _, way, err := walk(chance{rand.New(rand.NewPCG(seed, 1))}, 25, tally); err != nil {
				t.Errorf("seed %d: %s: %v", seed, strings.Join(way, "; "), err)
			}
		})
	}
	t.Logf("%d steps agreed, %d of them refusals", tally["steps"], tally["refused"])
	if tally["refused"] < 100 {
		t.Errorf("only %d refusals were met: the walk has become too tame", tally["refused"])
	}
}

// lab is a folder of executables that everybody may run, on a mount with and without nosuid.
type lab struct{ plain, nosuid, program string }

func newLab(t *testing.T) lab {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat: ", err)
	}
	l := lab{plain: t.TempDir(), nosuid: t.TempDir(), program: cat}
	for d := l.plain; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(l.plain, &fs); err != nil || fs.Flags&(unix.ST_NOSUID|unix.ST_NOEXEC) != 0 {
		t.Skipf("needs a temporary folder without nosuid and noexec: %v", err)
	}
	if err := unix.Mount("lab", l.nosuid, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		t.Skip("needs to mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(l.nosuid, 0); err != nil {
			t.Error(err)
		}
	})
	return l
}

const foreignGroup = 4242

// make writes a copy of cat that has what f says.
func (l lab) make(name string, f caps.File) (string, error) {
	dir := l.plain
	if f.NoSUID {
		dir = l.nosuid
	}
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(l.program)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, text, 0o755); err != nil {
		return "", err
	}
	group, mode := 0, uint32(0o755)
	if f.SetGID {
		group, mode = foreignGroup, mode|unix.S_ISGID
	}
	if f.SetUID {
		mode |= unix.S_ISUID
	}
	if err := os.Chown(path, f.Owner, group); err != nil {
		return "", err
	}
	if err := unix.Chmod(path, mode); err != nil {
		return "", err
	}
	if f.Caps.Present {
		if err := unix.Setxattr(path, "security.capability", f.Caps.Xattr(), 0); err != nil {
			return "", fmt.Errorf("setxattr: %w", err)
		}
	}
	return path, nil
}

func (r chance) file() caps.File {
	f := caps.File{SetUID: r.oneOf(3), Owner: r.uid(), SetGID: r.oneOf(8), NoSUID: r.oneOf(8)}
	if r.oneOf(2) {
		f.Caps = caps.FileCaps{Present: true, Effective: r.oneOf(2)}
		for range r.IntN(4) {
			f.Caps.Permitted = f.Caps.Permitted.Add(r.cap())
		}
		for range r.IntN(4) {
			f.Caps.Inheritable = f.Caps.Inheritable.Add(r.cap())
		}
		if r.oneOf(8) {
			f.Caps.RootID = 1000 // set in the namespace of somebody else
		}
	}
	return f
}

func TestKernelAgreesOnExec(t *testing.T) {
	needRoot(t)
	l := newLab(t)
	tally := map[string]int{}
	for seed := range uint64(600) {
		r := chance{rand.New(rand.NewPCG(seed, 2))}
		f := r.file()
		path, err := l.make(strconv.FormatUint(seed, 10), f)
		if err != nil {
			t.Fatal(err)
		}
		onThread(func() {
			s, way, err := walk(r, r.IntN(12), tally)
			if err != nil {
				t.Errorf("seed %d: %s: %v", seed, strings.Join(way, "; "), err)
				return
			}
			want, refused := s.Exec(f)
			got, errno := execStatus(t, path)
			if err := agree(refused, errno); err != nil {
				t.Errorf("seed %d: %s; exec %+v of %+v: %v", seed, strings.Join(way, "; "), s, f, err)
				return
			}
			if refused != nil {
				tally["exec refused"]++
				return
			}
			got.Securebits = want.Securebits // not in /proc: see TestSecurebitsAfterExec
			if got != want {
				t.Errorf("seed %d: %s; exec %+v of %+v:\n got %+v\nwant %+v", seed, strings.Join(way, "; "), s, f, got, want)
			}
			tally["execs"]++
			for name, is := range map[string]bool{
				"gained": want.Permitted&^s.Permitted != 0, "lost": s.Permitted&^want.Permitted != 0,
				"ambient kept": want.Ambient != 0, "uid changed": want.EUID != s.EUID,
				"no_new_privs": s.NoNewPrivs, "noroot": s.Securebits&caps.SECBIT_NOROOT != 0, "file caps": f.Caps.Present,
			} {
				if is {
					tally[name]++
				}
			}
		})
		os.Remove(path)
	}
	t.Log(tally)
	for _, name := range []string{"exec refused", "gained", "lost", "ambient kept", "uid changed", "no_new_privs", "noroot", "file caps"} {
		if tally[name] < 5 {
			t.Errorf("%s was met %d times only", name, tally[name])
		}
	}
}

// execStatus runs the copy of cat at path from the calling thread, and returns what it
// was, or why it could not be executed.
func execStatus(t *testing.T, path string) (caps.State, unix.Errno) {
	cmd := exec.Command(path, "/proc/self/status")
	cmd.Dir = "/"
	out, err := cmd.Output()
	var errno unix.Errno
	var exit *exec.ExitError
	switch {
	case errors.As(err, &errno):
		return caps.State{}, errno
	case errors.As(err, &exit):
		t.Errorf("%s: %v: %s", path, err, exit.Stderr)
	case err != nil:
		t.Errorf("%s: %v", path, err)
	}
	s, err := parseStatus(out)
	if err != nil {
		t.Error(err)
	}
	return s, 0
}

// asVictim, in the environment, makes this test binary print its securebits.
const asVictim = "CAPS_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(asVictim) != "" {
		bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
		fmt.Println(bits, err)
		return
	}
	os.Exit(m.Run())
}

func TestSecurebitsAfterExec(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for bits := range caps.Securebits(256) {
		if bits%7 != 0 && bits != caps.SECBIT_KEEP_CAPS {
			continue
		}
		onThread(func() {
			s, err := current()
			if err != nil {
				t.Error(err)
				return
			}
			s, err = s.SetSecurebits(bits)
			if err := agree(err, raw(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uintptr(bits), 0)()); err != nil {
				t.Errorf("%#x: %v", bits, err)
				return
			}
			want, err := s.Exec(caps.File{})
			if err != nil {
				t.Error(err)
			}
			cmd := exec.Command(self)
			cmd.Env = []string{asVictim + "=1"}
			out, err := cmd.Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(uint16(want.Securebits), " <nil>") {
				t.Errorf("%#x: got %q (%v), want %#x", bits, got, err, want.Securebits)
			}
		})
	}
}
