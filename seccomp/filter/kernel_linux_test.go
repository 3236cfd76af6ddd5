package filter_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// The victim is this test binary again, told by an environment variable: it reads a program
// and calls from its input, installs the one and makes the others, and prints what became
// of each. It does so on one thread and uses no other calls in between than read, write and
// what Go's runtime cannot do without; the policies below leave those alone.
const victimVar = "PORTHOLE_FILTER_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victimVar) != "" {
		victim()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attempt is a call for the victim to make.
type attempt struct {
	nr   uint32
	args [6]uint64
	x86  bool // by int 0x80
}

// gate is a Go function value made by hand: a pointer to it is a func, called with itself
// in rdx. Its code takes x86's call from the fields and leaves the answer there.
type gate struct {
	code uintptr
	nr   uint32
	args [6]uint32
	ret  int32
}

var gateCode = []byte{
	0x55,             // push rbp
	0x52,             // push rdx
	0x8b, 0x42, 0x08, // mov eax, [rdx+8]   nr
	0x8b, 0x5a, 0x0c, // mov ebx, [rdx+12]  args
	0x8b, 0x4a, 0x10, // mov ecx, [rdx+16]
	0x8b, 0x72, 0x18, // mov esi, [rdx+24]
	0x8b, 0x7a, 0x1c, // mov edi, [rdx+28]
	0x8b, 0x6a, 0x20, // mov ebp, [rdx+32]
	0x8b, 0x52, 0x14, // mov edx, [rdx+20]
	0xcd, 0x80, // int 0x80
	0x5a,             // pop rdx
	0x5d,             // pop rbp
	0x89, 0x42, 0x24, // mov [rdx+36], eax  ret
	0xc3, // ret
}

// x86Call makes a call as 32-bit programs do, and returns its errno.
func x86Call(page []byte, c [8]uint64) uint64 {
	g := &gate{code: uintptr(unsafe.Pointer(unsafe.SliceData(page))), nr: uint32(c[0])}
	for i := range g.args {
		g.args[i] = uint32(c[1+i])
	}
	(*(*func())(unsafe.Pointer(&g)))()
	if g.ret < 0 && g.ret > -4096 {
		return uint64(-g.ret)
	}
	return 0
}

func victim() {
	runtime.LockOSThread()
	in := bufio.NewReader(os.Stdin)
	var prog, calls uint32
	check := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	check(binary.Read(in, binary.LittleEndian, &prog))
	insns := make([]unix.SockFilter, prog)
	check(binary.Read(in, binary.LittleEndian, insns))
	check(binary.Read(in, binary.LittleEndian, &calls))
	tries := make([][8]uint64, calls)
	check(binary.Read(in, binary.LittleEndian, tries))
	results := make([]uint64, calls)

	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	check(err)
	copy(page, gateCode)
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fprog := unix.SockFprog{Len: uint16(len(insns)), Filter: unsafe.SliceData(insns)}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(insns)
	if errno != 0 {
		fmt.Println("refused:", int(errno))
		return
	}
	for i, c := range tries {
		if c[7] != 0 {
			results[i] = x86Call(page, c)
			continue
		}
		_, _, errno := syscall.RawSyscall6(uintptr(c[0]), uintptr(c[1]), uintptr(c[2]), uintptr(c[3]), uintptr(c[4]), uintptr(c[5]), uintptr(c[6]))
		results[i] = uint64(errno)
	}
	for _, r := range results {
		fmt.Println(r)
	}
}

// ask has a victim make calls under a filter. It returns the errno of each, and how the
// victim ended.
func ask(t *testing.T, p filter.Program, tries []attempt) (errnos []int, end error) {
	t.Helper()
	return askFor(t, time.Minute, p, tries)
}

// askFor waits no longer than that: a victim whose one thread is killed stays for ever.
func askFor(t *testing.T, patience time.Duration, p filter.Program, tries []attempt) (errnos []int, end error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var in strings.Builder
	binary.Write(&in, binary.LittleEndian, uint32(len(p)))
	in.Write(p.Bytes())
	binary.Write(&in, binary.LittleEndian, uint32(len(tries)))
	for _, c := range tries {
		binary.Write(&in, binary.LittleEndian, uint64(c.nr))
		binary.Write(&in, binary.LittleEndian, c.args)
		x86 := uint64(0)
		if c.x86 {
			x86 = 1
		}
		binary.Write(&in, binary.LittleEndian, x86)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), victimVar+"=1", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	cmd.Stdin = strings.NewReader(in.String())
	out, end := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for line := range strings.Lines(string(out)) {
		var n int
		if _, err := fmt.Sscanf(line, "refused: %d", &n); err == nil {
			return nil, syscall.Errno(n)
		}
		if _, err := fmt.Sscan(line, &n); err != nil {
			t.Fatalf("the victim says %q", line)
		}
		errnos = append(errnos, n)
	}
	return errnos, end
}

// needMachine skips where the victim could not be asked.
func needMachine(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the victim makes x86-64's calls")
	}
	if _, err := ask(t, filter.Program{ret}, nil); err != nil {
		t.Skipf("no filter can be installed here: %v", err)
	}
}

// errnoPolicy is a random policy of which every verdict is an errno that no call gives by
// itself, so that a victim can tell them apart and nothing is ever carried out. Calls that
// Go's runtime makes on its own are left alone.
func errnoPolicy(seed uint64) seccomp.Policy {
	p := random(seed, "wild")
	p.Arches = abi.X86_64.Siblings()
	p.NewerENOSYS = false
	p.Default = seccomp.Allow
	p.BadArch = seccomp.Errno | 999
	p.Rules = slices.DeleteFunc(p.Rules, func(r seccomp.Rule) bool { return !harmless(r.Name) })
	for i := range p.Rules {
		p.Rules[i].Action = seccomp.Errno | seccomp.Action(1000+i%2000)
	}
	return p
}

// harmless says that a victim can do without the call.
func harmless(name string) bool {
	switch name {
	case "read", "write", "exit", "exit_group", "futex", "mmap", "munmap", "madvise", "rt_sigaction", "rt_sigprocmask",
		"rt_sigreturn", "sigaltstack", "gettid", "getpid", "tgkill", "nanosleep", "sched_yield", "clone", "clone3", "epoll_pwait",
		"epoll_ctl", "close", "fcntl", "mprotect", "newfstatat", "fstat", "restart_syscall", "seccomp":
		return false
	}
	return true
}

// Hundreds of calls with arguments at their edges, x32's numbers among them, and x86's by
// int 0x80: the kernel says what Run says.
func TestKernelAgrees(t *testing.T) {
	needMachine(t)
	arches := []abi.Arch{abi.X86_64}
	if got, err := ask(t, filter.Program{ret}, []attempt{{nr: 20, x86: true}}); err == nil && slices.Equal(got, []int{0}) {
		arches = append(arches, abi.X86)
	} else {
		t.Logf("no x86 here: getpid by int 0x80 gave %v, %v", got, err)
	}
	tried := map[string]int{}
	for seed := range uint64(8) {
		p := errnoPolicy(seed)
		prog, err := filter.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		var tries []attempt
		var want []int
		for _, a := range arches {
			table := p.Table(a)
			for _, s := range table.Spans {
				for args := range s.Probes(40) {
					if a == abi.X86 {
						for i := range args {
							args[i] &= 0xffffffff
						}
					}
					v, _ := prog.Run(filter.Data{Nr: s.Lo, Arch: a.Audit(), Args: args})
					if v.Kind() != seccomp.Errno {
						continue // it would be carried out
					}
					if d := table.Decide(s.Lo, args); d.Action != v {
						t.Fatalf("Run and Decide differ: %v %+v", v, d)
					}
					tries, want = append(tries, attempt{s.Lo, args, a == abi.X86}), append(want, int(v.Data()))
					if s.Lo >= abi.X32Bit {
						tried["x32"]++
					} else {
						tried[a.String()]++
					}
				}
			}
		}
		got, err := ask(t, prog, tries)
		if err != nil {
			t.Fatalf("the victim: %v", err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d answers to %d calls", len(got), len(want))
		}
		for i, c := range tries {
			if got[i] != want[i] {
				t.Errorf("seed %d: %+v: the kernel says errno %d, Run %d", seed, c, got[i], want[i])
			}
		}
	}
	t.Logf("calls tried: %v", tried)
	if tried["x86_64"] < 1000 || tried["x32"] < 1000 || len(arches) > 1 && tried["x86"] < 1000 {
		t.Errorf("calls tried: %v", tried)
	}
}

// Calls that a filter allows give what they give without one. getppid cannot fail, and
// Docker's default asks personality for its argument.
func TestKernelUnderDockersDefault(t *testing.T) {
	needMachine(t)
	p := docker(t)
	prog, err := filter.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	nr := func(name string) uint32 {
		n, ok := abi.X86_64.Nr(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		return n
	}
	const newUser, query = 0x10000000, 0xffffffff
	for _, c := range []struct {
		story string
		try   attempt
		want  int
	}{
		{"getppid is allowed", attempt{nr: nr("getppid")}, 0},
		{"personality(0xffffffff) only asks", attempt{nr: nr("personality"), args: [6]uint64{query}}, 0},
		{"personality(ADDR_NO_RANDOMIZE) is refused", attempt{nr: nr("personality"), args: [6]uint64{0x40000}}, 1},
		{"a high word makes it another value", attempt{nr: nr("personality"), args: [6]uint64{1<<32 | query}}, 1},
		{"clone(CLONE_NEWUSER) is refused", attempt{nr: nr("clone"), args: [6]uint64{newUser}}, 1},
		{"clone3 is answered as if there were none", attempt{nr: nr("clone3")}, 38},
		{"socket(AF_VSOCK) is refused", attempt{nr: nr("socket"), args: [6]uint64{40, 1}}, 1},
		{"an unknown family passes the filter", attempt{nr: nr("socket"), args: [6]uint64{99, 1}}, 97},
		{"x32's getppid passes the filter, and this kernel may lack it", attempt{nr: abi.X32Bit | nr("getppid")}, -1},
		{"x32's personality looks at the low word only", attempt{nr: abi.X32Bit | nr("personality"), args: [6]uint64{1<<32 | 0x40000}}, 1},
		{"mount is refused", attempt{nr: nr("mount")}, 1},
		{"the newest of all is unknown", attempt{nr: 100000}, 38},
	} {
		got, err := ask(t, prog, []attempt{c.try})
		if err != nil || len(got) != 1 {
			t.Errorf("%s: the victim: %v, %v", c.story, got, err)
			continue
		}
		if c.want < 0 { // allowed: the kernel runs it or has no x32
			if got[0] != 0 && got[0] != int(unix.ENOSYS) {
				t.Errorf("%s: errno %d", c.story, got[0])
			}
			continue
		}
		if got[0] != c.want {
			t.Errorf("%s: errno %d, want %d", c.story, got[0], c.want)
		}
	}
}

// Verdicts that end the victim.
func TestKernelKills(t *testing.T) {
	needMachine(t)
	nr, _ := abi.X86_64.Nr("getpgid")
	for _, c := range []struct {
		act  seccomp.Action
		want syscall.Signal // 0: lives
	}{
		{seccomp.KillProcess, unix.SIGSYS},
		{seccomp.Action(0x12340000), unix.SIGSYS}, // no action: as KILL_PROCESS
		{seccomp.Log, 0},
		{seccomp.Allow, 0},
		{seccomp.Trace | 7, 0}, // nobody traces: ENOSYS
		{seccomp.Notify, 0},    // nobody listens: ENOSYS
	} {
		p := seccomp.Policy{Default: seccomp.Allow, Arches: abi.X86_64.Siblings(), Rules: []seccomp.Rule{
			{Name: "getpgid", Action: c.act, Conds: []seccomp.Cond{{Arg: 3, Op: seccomp.EQ, Value: 5 << 32}}}}}
		prog, err := filter.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		got, end := ask(t, prog, []attempt{{nr: nr, args: [6]uint64{0, 0, 0, 5}}, {nr: nr, args: [6]uint64{0, 0, 0, 5 << 32}}})
		if c.want == 0 {
			want := []int{0, 0}
			if c.act.Kind() == seccomp.Trace || c.act == seccomp.Notify {
				want[1] = int(unix.ENOSYS)
			}
			if end != nil || !slices.Equal(got, want) {
				t.Errorf("%v: %v, %v", c.act, got, end)
			}
			continue
		}
		var exit *exec.ExitError
		if !errors.As(end, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != c.want {
			t.Errorf("%v: the victim ended with %v", c.act, end)
		}
	}
}

// The kernel takes what Check takes, and answers the rest with EINVAL.
func TestKernelChecksAlike(t *testing.T) {
	needMachine(t)
	for _, c := range refusals {
		if _, err := ask(t, c.prog, nil); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: the kernel says %v", c.story, err)
		}
	}
	for _, c := range accepted {
		// In front of the program: only calls numbered 7 come to it.
		prog := append(filter.Program{{Code: 0x20}, {Code: 0x15, K: 7, JT: 1}, ret}, c.prog...)
		if c.want.Kind() == seccomp.KillThread { // its answers are small numbers: make them errnos
			last := prog[len(prog)-1]
			if last.Code == 0x16 {
				prog = append(prog[:len(prog)-1], filter.Insn{Code: 0x44, K: uint32(seccomp.Errno)}, last)
			}
		}
		patience := time.Minute
		if c.want == seccomp.KillThread {
			patience = time.Second
		}
		got, err := askFor(t, patience, prog, []attempt{{nr: 7}}) // poll nothing
		switch {
		case c.want == seccomp.KillThread:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, %v", c.story, got, err)
			}
		case err != nil || len(got) != 1:
			t.Errorf("%s: %v, %v", c.story, got, err)
		case c.want == seccomp.Allow && got[0] != 0 || c.want != seccomp.Allow && got[0] != int(c.want):
			t.Errorf("%s: errno %d, want %d", c.story, got[0], c.want)
		}
	}
}
