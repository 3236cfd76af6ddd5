package trace

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/event/decode"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// calling makes this test program install a filter that refuses all of calls, and make them.
const calling = "PORTHOLE_TRACE_CALLING"

// calls are made under a filter that refuses each of them, so that none has an effect. A string
// is passed as a pointer to it, with a zero at its end, bytes as they are.
var calls = []struct {
	name string
	args []any
}{
	{"bind", []any{-1, sockaddr(1, "/run/x.sock\x00"), 14}},
	{"bind", []any{-1, sockaddr(16, "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"), 12}},
	{"connect", []any{-1, sockaddr(2, "\x00\x50\x0a\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00"), 16}},
	{"connect", []any{-1, sockaddr(10, "\x01\xbb\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"), 28}},
	{"socket", []any{16, 0x80003, 9}},
	{"socket", []any{2, 3, 1}},
	{"socket", []any{38, 5, 0}},
	{"clone3", []any{quads(unix.CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0), 64}},
	{"openat2", []any{-100, "/x", quads(2, 0, 8), 24}},
	{"prlimit64", []any{0, 7, quads(1, 1<<20), 0}},
	{"setrlimit", []any{8, quads(^uint64(0), ^uint64(0))}},
	{"mount", []any{"a", "/b", "proc", 6, "x=1"}},
	{"mount", []any{"none", "/", 0, 0x44000, 0}},
	{"umount2", []any{"/x", 2}},
	{"pivot_root", []any{"/a", "/b"}},
	{"chroot", []any{"/x\n\x01é"}},
	{"fsopen", []any{"ext4", 1}},
	{"fsconfig", []any{-1, 1, "k", "v", 0}},
	{"move_mount", []any{-1, "", -100, "/x", 4}},
	{"open_tree", []any{-100, "/x", 1}},
	{"mount_setattr", []any{-100, "/x", 0x8000, quads(1, 0, 0, 0), 32}},
	{"capset", []any{words32(0x20080522, 0), words32(0x5, 2, 3, 0, 0, 0)}},
	{"keyctl", []any{0, -3, 1}},
	{"keyctl", []any{1, "x"}},
	{"keyctl", []any{3, 77}},
	{"prctl", []any{unix.PR_SET_DUMPABLE, 1}},
	{"prctl", []any{unix.PR_CAPBSET_DROP, 21}},
	{"prctl", []any{unix.PR_SET_SECCOMP, 2, 0}},
	{"prctl", []any{unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0}},
	{"prctl", []any{unix.PR_CAP_AMBIENT, 2, 13, 0, 0}},
	{"ptrace", []any{0}},
	{"ptrace", []any{16, 1}},
	{"ptrace", []any{0x4206, 1, 0, 0x7f}},
	{"seccomp", []any{1, 1, 0}},
	{"ioctl", []any{-1, 0x5401, 0}},
	{"ioctl", []any{-1, 0x5412, 0}},
	{"mknodat", []any{-100, "/dev/q", 0o20666, 0x501}},
	{"mknod", []any{"/dev/q", 0o60600, 0x700}},
	{"personality", []any{0x40000}},
	{"sched_setscheduler", []any{0, 1, words32(50)}},
	{"setns", []any{-1, unix.CLONE_NEWUSER}},
	{"unshare", []any{unix.CLONE_NEWUSER | unix.CLONE_NEWNS}},
	{"clock_settime", []any{0, quads(1, 2)}},
	{"syslog", []any{3, 0, 0}},
	{"mlock", []any{0x1000, 4096}},
	{"setresuid", []any{-1, 5, 0}},
	{"setuid", []any{70000}},
	{"reboot", []any{0xfee1dead, 672274793, 0x89abcdef}},
	{"kcmp", []any{1, 2, 0, 3, 4}},
	{"process_vm_readv", []any{1, 0, 0, 0, 0, 0}},
	{"sethostname", []any{"abc", 3}},
	{"setdomainname", []any{"d", 1}},
	{"setpriority", []any{0, 0, -5}},
	{"ioprio_set", []any{1, 0, 0x2000}},
	{"chown", []any{"/x", -1, 4}},
	{"fchownat", []any{-100, "/x", 5, -1, 0x100}},
	{"fchmodat", []any{-100, "/x", 0o4755}},
	{"mkdirat", []any{-100, "/x", 0o755}},
	{"kill", []any{1, 9}},
	{"delete_module", []any{"x", 0x800}},
	{"userfaultfd", []any{1}},
	{"iopl", []any{3}},
	{"acct", []any{"/x"}},
	{"acct", []any{0}},
	{"swapon", []any{"/x", 0}},
	{"swapoff", []any{"/x"}},
	{"name_to_handle_at", []any{-100, "/x", 0, 0, 0}},
	{"io_uring_setup", []any{1, 0}},
	{"add_key", []any{"user", "d", 0, 0, -2}},
	{"request_key", []any{"user", "d", 0, 0}},
	{"memfd_create", []any{"m", 1}},
	{"linkat", []any{-100, "/a", -100, "/b", 0x400}},
	{"renameat2", []any{-100, "/a", -100, "/b", 2}},
	{"symlinkat", []any{"a", -100, "/proc/b"}},
	{"unlinkat", []any{-100, "/x", 0x200}},
	{"landlock_create_ruleset", []any{0, 0, 1}},
	{"setgid", []any{5}},
	{"truncate", []any{"/x", 5}},
	{"fanotify_init", []any{0, 0}},
	{"quotactl", []any{0x80000200, "/dev/x", 0, 0}},
}

func sockaddr(family byte, rest string) []byte { return append([]byte{family, 0}, rest...) }

func quads(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func words32(vs ...uint32) (b []byte) {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// makeCalls makes the calls, on a thread whose filter refuses them.
func makeCalls() error {
	runtime.LockOSThread()
	p := seccomp.Policy{Default: seccomp.Allow, Arches: []abi.Arch{registers.native}}
	for _, c := range calls {
		p.Rules = append(p.Rules, seccomp.Rule{Name: c.name, Action: seccomp.Errno | seccomp.Action(unix.EUSERS)})
	}
	prog, err := filter.Compile(p)
	if err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); e != 0 {
		return e
	}
	for _, c := range calls {
		nr, ok := registers.native.Nr(c.name)
		if !ok {
			continue
		}
		var args [6]uintptr
		for i, a := range c.args {
			switch a := a.(type) {
			case int:
				args[i] = uintptr(a)
			case string:
				s := append([]byte(a), 0)
				args[i] = uintptr(unsafe.Pointer(&s[0]))
				defer runtime.KeepAlive(s)
			case []byte:
				args[i] = uintptr(unsafe.Pointer(&a[0]))
				defer runtime.KeepAlive(a)
			}
		}
		if _, _, e := unix.RawSyscall6(uintptr(nr), args[0], args[1], args[2], args[3], args[4], args[5]); e != unix.EUSERS {
			return fmt.Errorf("%s: %v", c.name, e)
		}
	}
	return nil
}

// Our lines are strace's, on the same calls of the same process.
func TestStraceAgrees(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	out := filepath.Join(t.TempDir(), "out")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen, sight := watched(t, Options{}, "", "strace", "-ff", "-qq", "-s", "200", "-o", out, "env", calling+"=1", self)
	var ours []string
	for _, e := range seen {
		if e.Kind == event.Refused && e.Errno == abi.Errno(unix.EUSERS) {
			if !e.Filtered {
				t.Errorf("%s: not the filter's answer", decode.Line(e))
			}
			ours = append(ours, decode.Line(e))
		}
	}
	files, err := filepath.Glob(out + ".*") // one a thread: all calls are made by one
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, "EUSERS") && !strings.HasPrefix(line, "rt_sigreturn") { // which gives back what was there
				theirs = append(theirs, blanks.ReplaceAllString(comments.ReplaceAllString(strings.TrimSpace(line), ""), " = "))
			}
		}
	}
	if len(ours) != len(theirs) || len(ours) < 70 {
		t.Fatalf("%d lines, strace has %d, sight %+v:\n%s\n\n%s", len(ours), len(theirs), sight, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			t.Errorf("%s\nstrace %s", ours[i], theirs[i])
		}
	}
}

// strace lines results up, and says in comments what it has no name for.
var comments = regexp.MustCompile(` /\* [A-Z_]+\?\?\? \*/`)
var blanks = regexp.MustCompile(` +=  ?`)
