package abi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"porthole/abi"
)

// Numbers that everybody who knows the ABI knows, legacy and private ones among them.
func TestAnchors(t *testing.T) {
	for _, c := range []struct {
		arch abi.Arch
		name string
		nr   uint32
	}{
		{abi.X86_64, "read", 0}, {abi.X86_64, "ptrace", 101}, {abi.X86_64, "clone3", 435}, {abi.X86_64, "fchroot", 472},
		{abi.X86, "exit", 1}, {abi.X86, "break", 17}, {abi.X86, "umount", 22}, {abi.X86, "socketcall", 102}, {abi.X86, "ipc", 117}, {abi.X86, "_llseek", 140}, {abi.X86, "socket", 359},
		{abi.X32, "read", abi.X32Bit}, {abi.X32, "execve", abi.X32Bit | 520}, {abi.X32, "ptrace", abi.X32Bit | 521}, {abi.X32, "openat", abi.X32Bit | 257},
		{abi.ARM64, "openat", 56}, {abi.ARM64, "execve", 221}, {abi.ARM64, "ptrace", 117},
		{abi.ARM, "ptrace", 26}, {abi.ARM, "breakpoint", 0xf0001}, {abi.ARM, "cacheflush", 0xf0002}, {abi.ARM, "set_tls", 0xf0005}, {abi.ARM, "get_tls", 0xf0006}, {abi.ARM, "arm_fadvise64_64", 270},
		{abi.RISCV64, "riscv_flush_icache", 259}, {abi.RISCV64, "execve", 221},
		{abi.PPC64LE, "socketcall", 102}, {abi.PPC64LE, "switch_endian", 363}, {abi.PPC64LE, "sync_file_range2", 308},
		{abi.S390X, "s390_runtime_instr", 342}, {abi.S390X, "execve", 11}, {abi.S390X, "getuid", 199},
	} {
		if nr, ok := c.arch.Nr(c.name); !ok || nr != c.nr {
			t.Errorf("%s %s: %d, %t, want %d", c.arch, c.name, nr, ok, c.nr)
		}
	}
	for _, c := range []struct {
		arch abi.Arch
		name string
	}{
		{abi.X86_64, "socketcall"}, {abi.ARM64, "open"}, {abi.X32, "uselib"}, {abi.RISCV64, "renameat"}, {abi.S390X, "chown32"}, {abi.X86_64, ""}, {0, "read"}, {99, "read"},
	} {
		if nr, ok := c.arch.Nr(c.name); ok {
			t.Errorf("%s has no %s, and yet it is %d", c.arch, c.name, nr)
		}
	}
	// The kernel's header gives this number of arm a second name.
	if nr, ok := abi.ARM.Nr("sync_file_range2"); !ok || nr != 341 {
		t.Errorf("arm sync_file_range2: %d, %t", nr, ok)
	}
	if name, _ := abi.ARM.Name(341); name != "arm_sync_file_range" {
		t.Errorf("arm 341: %s", name)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, a := range abi.All {
		last, n := -1, 0
		for nr, name := range a.Calls() {
			if int(nr) <= last {
				t.Errorf("%s: %d after %d", a, nr, last)
			}
			last = int(nr)
			if got, ok := a.Nr(name); !ok || got != nr || !abi.Known(name) {
				t.Errorf("%s %s: %d, %t, want %d", a, name, got, ok, nr)
			}
			if got, ok := a.Name(nr); !ok || got != name {
				t.Errorf("%s %d: %s, %t, want %s", a, nr, got, ok, name)
			}
			if x32 := nr&abi.X32Bit != 0; x32 != (a == abi.X32) {
				t.Errorf("%s %s: %#x", a, name, nr)
			}
			n++
		}
		if n < 320 {
			t.Errorf("%s has %d calls only", a, n)
		}
		for nr := range uint32(2000) {
			if name, ok := a.Name(nr); ok {
				if got, _ := a.Nr(name); got != nr {
					t.Errorf("%s %d: %s, which is %d", a, nr, name, got)
				}
			}
		}
		if name, ok := a.Name(a.Newest()); !ok {
			t.Errorf("%s: the newest, %d, has no name", a, a.Newest())
		} else if _, ok := a.Name(a.Newest() + 1); ok {
			t.Errorf("%s: something is newer than %s", a, name)
		}
	}
	if got := abi.ARM.Newest(); got >= 0xf0000 {
		t.Errorf("arm's newest is a private call: %#x", got)
	}
}

func TestArch(t *testing.T) {
	for names, want := range map[string]abi.Arch{
		"x86_64 amd64 SCMP_ARCH_X86_64 X86_64": abi.X86_64,
		"x86 386 i686 SCMP_ARCH_X86":           abi.X86,
		"x32 SCMP_ARCH_X32":                    abi.X32,
		"aarch64 arm64 SCMP_ARCH_AARCH64":      abi.ARM64,
		"arm armv7l armhf SCMP_ARCH_ARM":       abi.ARM,
		"riscv64 SCMP_ARCH_RISCV64":            abi.RISCV64,
		"ppc64le ppc64el SCMP_ARCH_PPC64LE":    abi.PPC64LE,
		"s390x SCMP_ARCH_S390X":                abi.S390X,
	} {
		for _, name := range strings.Fields(names) {
			if got, err := abi.ParseArch(name); err != nil || got != want {
				t.Errorf("%s: %s, %v, want %s", name, got, err, want)
			}
		}
	}
	for _, name := range []string{"", " ", "x", "SCMP_ARCH_MIPS", "SCMP_ARCH_", "mips", "86", "SCMP_ARCH_ppc64le", "amd64 x64"} {
		if got, err := abi.ParseArch(name); err == nil {
			t.Errorf("%q: %s", name, got)
		}
	}
	for _, a := range abi.All {
		if a.Siblings()[0] != a {
			t.Errorf("%s is not its own first sibling", a)
		}
		nr := a.Newest()
		if got, ok := abi.ParseAudit(a.Audit(), nr); !ok || got != a {
			t.Errorf("%s: audit %#x, number %#x is of %s", a, a.Audit(), nr, got)
		}
		if want := strings.Contains(" x86 x32 arm ", " "+a.String()+" "); (a.Bits() == 32) != want {
			t.Errorf("%s has %d bits", a, a.Bits())
		}
	}
	if got, _ := abi.ParseAudit(abi.X86_64.Audit(), ^uint32(0)); got != abi.X86_64 {
		t.Errorf("number -1 is of %s", got)
	}
	if _, ok := abi.ParseAudit(1, 0); ok {
		t.Error("audit 1 is nobody's")
	}
}

func TestNearest(t *testing.T) {
	for typo, want := range map[string]string{"opnat": "openat", "ptrcae": "ptrace", "Clone": "clone", "procesvm_readv": "process_vm_readv", "qqqqqq": ""} {
		got := ""
		if near := abi.Nearest(typo, 1); len(near) > 0 {
			got = near[0]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", typo, got, want)
		}
	}
}

// sys is where golang.org/x/sys/unix lies: the same facts, taken from the kernel by others.
func sys(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		t.Skip("needs the source of golang.org/x/sys/unix: ", err)
	}
	return strings.TrimSpace(string(out))
}

func matches(t *testing.T, file, expr string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(expr).FindAllStringSubmatch(string(text), -1)
}

func TestCallsAgreeWithXSys(t *testing.T) {
	dir := sys(t)
	for a, goarch := range map[abi.Arch]string{
		abi.X86_64: "amd64", abi.X86: "386", abi.ARM64: "arm64", abi.ARM: "arm", abi.RISCV64: "riscv64", abi.PPC64LE: "ppc64le", abi.S390X: "s390x",
	} {
		theirs := map[string]bool{}
		for _, m := range matches(t, filepath.Join(dir, "zsysnum_linux_"+goarch+".go"), `(?m)^\s+SYS_(\w+)\s+= (\d+)$`) {
			name := strings.ToLower(m[1])
			if name == "arch_specific_syscall" || name == "syscall_mask" {
				continue // limits, not calls
			}
			theirs[name] = true
			if nr, ok := a.Nr(name); !ok {
				t.Errorf("%s lacks %s", a, name)
			} else if fmt.Sprint(nr) != m[2] {
				t.Errorf("%s %s: %d, want %s", a, name, nr, m[2])
			}
		}
		if len(theirs) < 300 {
			t.Errorf("%s: only %d were compared", a, len(theirs))
		}
		for nr, name := range a.Calls() {
			// They leave out arm's private calls, and what their kernel did not have yet.
			if !theirs[name] && nr < 472 {
				t.Errorf("%s: they lack %s (%d)", a, name, nr)
			}
		}
	}
}

func TestConstsAgreeWithXSys(t *testing.T) {
	dir := sys(t)
	n := 0
	for _, file := range []string{"zerrors_linux.go", "zerrors_linux_amd64.go"} {
		for _, m := range matches(t, filepath.Join(dir, file), `(?m)^\s+(\w+)\s+= (-?0x[0-9a-f]+|-?\d+)$`) {
			got, ok := abi.Const(m[1])
			if !ok {
				continue
			}
			n++
			want, err := strconv.ParseUint(strings.TrimPrefix(m[2], "-"), 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(m[2], "-") {
				want = -want
			}
			// They have 0 for O_LARGEFILE, as libcs of 64-bit machines do; the kernel does not.
			if got != want && m[1] != "O_LARGEFILE" {
				t.Errorf("%s: %#x, want %#x", m[1], got, want)
			}
		}
	}
	t.Logf("%d constants agree", n)
	if n < 700 {
		t.Errorf("only %d were compared", n)
	}
}

// Every flag of open and mmap is written with its own name on every ABI.
func TestFlagsOfOtherABIs(t *testing.T) {
	dir := sys(t)
	for a, goarch := range map[abi.Arch]string{
		abi.X86_64: "amd64", abi.X86: "386", abi.ARM64: "arm64", abi.ARM: "arm", abi.RISCV64: "riscv64", abi.PPC64LE: "ppc64le", abi.S390X: "s390x",
	} {
		n := 0
		for _, m := range append(
			matches(t, filepath.Join(dir, "zerrors_linux_"+goarch+".go"), `(?m)^\s+((?:O|MAP|MCL)_\w+)\s+= (0x[0-9a-f]+)$`),
			matches(t, filepath.Join(dir, "zerrors_linux.go"), `(?m)^\s+((?:O|MAP|MCL)_\w+)\s+= (0x[0-9a-f]+)$`)...) {
			group := "open"
			if strings.HasPrefix(m[1], "MAP_") {
				group = "mmap"
			} else if strings.HasPrefix(m[1], "MCL_") {
				group = "mlockall"
			}
			v, err := strconv.ParseUint(m[2], 0, 64)
			if _, known := abi.Const(m[1]); err != nil || !known || v == 0 {
				continue
			}
			parts := strings.Split(a.Flags(group, v), "|")
			if !slices.Contains(parts, m[1]) && !slices.Contains([]string{"O_ACCMODE", "O_NDELAY", "O_FSYNC", "O_RSYNC"}, m[1]) {
				t.Errorf("%s %s: %s", a, m[1], parts)
			}
			n++
		}
		if n < 20 {
			t.Errorf("%s: only %d were compared", a, n)
		}
	}
}

func TestErrnosAgreeWithXSys(t *testing.T) {
	n := 0
	for _, m := range matches(t, filepath.Join(sys(t), "zerrors_linux_amd64.go"), `\{(\d+), "(E\w+)", "(.*)"\}`) {
		e, err := abi.ParseErrno(m[2])
		if strings.HasPrefix(m[3], "unknown error") {
			continue // their libc has no text for it
		}
		if err != nil || fmt.Sprint(uint16(e)) != m[1] || e.Error() != m[3] {
			t.Errorf("%s: %d %q, %v; want %s %q", m[2], uint16(e), e.Error(), err, m[1], m[3])
		}
		n++
	}
	if n < 130 {
		t.Errorf("only %d were compared", n)
	}
}

func TestErrno(t *testing.T) {
	for e, want := range map[abi.Errno][2]string{
		1:    {"EPERM", "operation not permitted"},
		11:   {"EAGAIN", "resource temporarily unavailable"},
		38:   {"ENOSYS", "function not implemented"},
		512:  {"ERESTARTSYS", "restarted if the signal's action says so"},
		0:    {"errno 0", "errno 0"},
		4095: {"errno 4095", "errno 4095"},
	} {
		if e.String() != want[0] || e.Error() != want[1] {
			t.Errorf("%d: %q, %q", uint16(e), e.String(), e.Error())
		}
	}
	for name, want := range map[string]abi.Errno{"EPERM": 1, "eperm": 1, "EWOULDBLOCK": 11, "ENOTSUP": 95, "38": 38, "0": 0, "4095": 4095} {
		if got, err := abi.ParseErrno(name); err != nil || got != want {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"EPREM": `unknown error "EPREM"; did you mean EPERM?`, "4096": `unknown error "4096"`, "-1": `unknown error "-1"`, "": `unknown error ""`,
	} {
		if _, err := abi.ParseErrno(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		group string
		v     uint64
		want  string
	}{
		{"clone", 0x10000011, "CLONE_NEWUSER|SIGCHLD"},
		{"clone", 0x01200011, "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"},
		{"clone", 0, "0"},
		{"clone3", 1<<33 | 0x80, "CLONE_NEWTIME|CLONE_INTO_CGROUP"},
		{"unshare", 0x10020000, "CLONE_NEWNS|CLONE_NEWUSER"},
		{"open", 0, "O_RDONLY"},
		{"open", 0x80241, "O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC"},
		{"open", 0x101002, "O_RDWR|O_SYNC"},
		{"open", 0x1001, "O_WRONLY|O_DSYNC"},
		{"open", 0x410002, "O_RDWR|O_TMPFILE"},
		{"open", 3, "0x3"},
		{"mount", 0x5000, "MS_BIND|MS_REC"},
		{"mount", 0xc0ed0001, "MS_RDONLY|MS_MGC_VAL"},
		{"umount", 0x32, "MNT_DETACH|0x30"},
		{"mmap", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"},
		{"prot", 0, "PROT_NONE"},
		{"prot", 7, "PROT_READ|PROT_WRITE|PROT_EXEC"},
		{"socktype", 0x80003, "SOCK_RAW|SOCK_CLOEXEC"},
		{"family", 40, "AF_VSOCK"},
		{"family", 999, "0x3e7"},
		{"ptrace", 0, "PTRACE_TRACEME"},
		{"ptrace", 0x4206, "PTRACE_SEIZE"},
		{"prctl", 38, "PR_SET_NO_NEW_PRIVS"},
		{"personality", 0x40000, "PER_LINUX|ADDR_NO_RANDOMIZE"},
		{"personality", 0xffffffff, "0xffffffff"},
		{"personality", 0x20008, "PER_LINUX32|UNAME26"},
		{"futex", 0x81, "FUTEX_WAKE|FUTEX_PRIVATE_FLAG"},
		{"signal", 9, "SIGKILL"},
		{"signal", 34, "SIGRT_2"},
		{"dirfd", 0xffffff9c, "AT_FDCWD"},
		{"dirfd", 0xffffffffffffff9c, "AT_FDCWD"},
		{"keyring", 0xfffffffd, "KEY_SPEC_SESSION_KEYRING"},
		{"filetype", 0x21b6, "S_IFCHR|0666"},
		{"sched", 0x40000001, "SCHED_FIFO|SCHED_RESET_ON_FORK"},
		{"at", 0, "0"},
		{"move_mount", 4, "MOVE_MOUNT_F_EMPTY_PATH"},
		{"mount_attr", 0x100001, "MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP"},
		{"no such group", 0x11, "0x11"},
		{"no such group", 0, "0"},
	} {
		if got := abi.Flags(c.group, c.v); got != c.want {
			t.Errorf("%s %#x: %s, want %s", c.group, c.v, got, c.want)
		}
	}
}

// Whatever the value, its names and the rest in hexadecimal add up to it again.
func FuzzFlags(f *testing.F) {
	for i := range abi.Groups() {
		f.Add(uint(i), uint64(0x12345), uint64(3))
	}
	f.Fuzz(func(t *testing.T, i uint, a, b uint64) {
		group := abi.Groups()[i%uint(len(abi.Groups()))]
		for _, v := range []uint64{a, a & b, a & 0xffffffff, b} {
			sum := uint64(0)
			for _, part := range strings.Split(abi.Flags(group, v), "|") {
				c, ok := abi.Const(part)
				if n, isRT := strings.CutPrefix(part, "SIGRT_"); isRT {
					nr, err := strconv.ParseUint(n, 10, 64)
					c, ok = nr+32, err == nil
				} else if !ok {
					var err error
					c, err = strconv.ParseUint(part, 0, 64)
					ok = err == nil
				}
				if !ok {
					t.Fatalf("%s %#x: what is %s?", group, v, part)
				}
				sum |= c
			}
			if sum != v && (int64(sum) > 0 || uint64(uint32(sum)) != v) {
				t.Fatalf("%s %#x: %s is %#x", group, v, abi.Flags(group, v), sum)
			}
		}
	})
}

func TestParams(t *testing.T) {
	show := func(name string) string {
		var args []string
		for _, p := range abi.Params(name) {
			args = append(args, fmt.Sprintf("%s %s/%d", p.Type, p.Name, p.Bits()))
		}
		return strings.Join(args, ", ")
	}
	for name, want := range map[string]string{
		"socket":  "int family/32, int type/32, int protocol/32",
		"openat":  "int dfd/32, const char * filename/64, int flags/32, umode_t mode/16",
		"clone":   "unsigned long clone_flags/64, unsigned long newsp/64, int * parent_tidptr/64, int * child_tidptr/64, unsigned long tls/64",
		"stat":    "const char * filename/64, struct stat * statbuf/64",
		"umount2": "char * name/64, int flags/32",
		"fchroot": "int fd/32, unsigned int flags/32",
		"getpid":  "",
	} {
		if got := show(name); got != want || !abi.KnownParams(name) {
			t.Errorf("%s(%s), want (%s)", name, got, want)
		}
	}
	if abi.KnownParams("no_such_call") || abi.Params("no_such_call") != nil {
		t.Error("no_such_call is known")
	}
	openat := abi.Params("openat")
	if k := []abi.Kind{openat[0].Kind, openat[1].Kind, openat[2].Kind, openat[3].Kind}; !slices.Equal(k, []abi.Kind{abi.KindDirFD, abi.KindPath, abi.KindFlags, abi.KindMode}) || openat[2].Group != "open" {
		t.Errorf("openat: %+v", openat)
	}
	openat[0].Name = "changed"
	if abi.Params("openat")[0].Name != "dfd" {
		t.Error("a caller can change the table")
	}
	for _, a := range abi.All {
		for _, name := range a.Calls() {
			if ps := abi.Params(name); len(ps) > 6 {
				t.Errorf("%s has %d arguments", name, len(ps))
			}
		}
	}
	// What amd64 has and nobody implements any more is all that may be unknown there.
	var unknown []string
	for _, name := range abi.X86_64.Calls() {
		if !abi.KnownParams(name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 20 {
		t.Errorf("the arguments of %d calls are unknown: %v", len(unknown), unknown)
	}
	t.Log("unknown: ", unknown)
}

// The tables must cost a program nothing that does not look anything up.
func TestNoInit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "init ") {
		t.Fatalf("no trace: %s", out)
	}
	if i := strings.Index(string(out), "init porthole/abi @"); i >= 0 {
		t.Errorf("%.80s", out[i:])
	}
}

func BenchmarkNr(b *testing.B) {
	for b.Loop() {
		abi.X86_64.Nr("process_vm_readv")
	}
}

func BenchmarkName(b *testing.B) {
	for b.Loop() {
		abi.X86_64.Name(310)
	}
}

func BenchmarkFlags(b *testing.B) {
	for b.Loop() {
		abi.Flags("open", 0x80241)
	}
}
