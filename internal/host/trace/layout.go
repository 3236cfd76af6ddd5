package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// layout is where the running kernel keeps what the programs read. Finding that out reads the
// kernel's type information and its symbols, some 0.1 s of work, so it is kept in a file for as
// long as this kernel runs.
type layout struct {
	Boot    string            // whose kernel this is: addresses change with every boot
	Offsets map[string]int    // "task_struct.cred" → bytes from the start
	Sizes   map[string]int    // "upid" → bytes
	Types   map[string]uint32 // "btf_trace_sys_enter" → its number in the type information
	Noise   []symbol          // in the order of their addresses
}

// symbol is a function of the kernel and where its text lies.
type symbol struct {
	Name       string
	Start, End uint64
}

const layoutVersion = "7 "

// fields are what the programs read. Those that end in "?" some kernels do not have.
var fields = []string{
	"task_struct.cred", "task_struct.pid", "task_struct.thread_pid", "task_struct.signal", "task_struct.exit_code",
	"task_struct.seccomp", "task_struct.atomic_flags", "task_struct.files", "task_struct.fs", "fs_struct.root",
	"task_struct.thread_info?", "thread_info.status?", "thread_info.flags?",
	"seccomp.filter", "seccomp_filter.prev", "seccomp_filter.prog", "bpf_prog.orig_prog",
	"sock_fprog_kern.len", "sock_fprog_kern.filter",
	"signal_struct.live",
	"pid.level", "pid.numbers", "upid.ns", "pid_namespace.ns", "user_namespace.ns", "ns_common.inum",
	"cred.uid", "cred.gid", "cred.suid", "cred.euid", "cred.fsuid", "cred.securebits",
	"cred.cap_inheritable", "cred.cap_permitted", "cred.cap_effective", "cred.cap_bset", "cred.cap_ambient", "cred.user_ns",
	"linux_binprm.file", "linux_binprm.filename", "linux_binprm.secureexec?",
	"vfsmount.mnt_root?", "mount.mnt?", "mount.mnt_parent?", "mount.mnt_ns?", "mnt_namespace.root?",
	"file.f_inode", "file.private_data", "inode.i_mode", "inode.i_uid", "inode.i_gid",
	"files_struct.fdt", "fdtable.max_fds", "fdtable.fd", "socket.sk", "sock.__sk_common", "sock_common.skc_family", "sock.sk_protocol?",
}

var sizes = []string{"upid"}

// The places that programs attach to: tracepoints, functions, iterators. What is not there is left out.
var (
	tracepoints = []string{"sys_enter", "sys_exit", "sched_process_fork", "sched_process_exec", "sched_process_exit", "cap_capable"}
	functions   = []string{"cap_capable", "bpf_iter_task"}
)

// kernelLayout returns the layout of this kernel: from a file in dir, if it is of this boot, else
// worked out, and kept there. dir may be "".
func kernelLayout(dir string) (*layout, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "kernel-layout.json")
	if dir != "" {
		var l layout
		if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &l) == nil && l.Boot == boot && trusted(path) {
			return &l, nil
		}
	}
	l := &layout{Boot: boot, Offsets: map[string]int{}, Sizes: map[string]int{}, Types: map[string]uint32{}}
	if err := l.types(); err != nil {
		return nil, err
	}
	if l.Noise, err = symbols(noisy); err != nil {
		return nil, err
	}
	if dir != "" {
		l.save(path)
	}
	return l, nil
}

// trusted says that nobody but its owner, who is us or root, could have written the file: its
// numbers become addresses that a program in the kernel reads from.
func trusted(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o022 == 0 &&
		(st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// save keeps the layout for the next watcher. Without that it is worked out again: no failure.
func (l *layout) save(path string) {
	data, err := json.Marshal(l)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".kernel-layout-")
	if err != nil {
		return
	}
	_, werr := f.Write(data)
	if cerr := f.Close(); werr != nil || cerr != nil || os.Rename(f.Name(), path) != nil {
		os.Remove(f.Name())
	}
}

// bootID names this boot of this kernel. A container may see another's boot_id, but its kernel.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return layoutVersion + runtime.GOARCH + " " + strings.TrimSpace(string(release)) + " " + strings.TrimSpace(string(id)), err
}

// types looks the fields up in the kernel's type information (BTF).
func (l *layout) types() error {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("the kernel's type information: %w", err)
	}
	for _, f := range slices.Concat(fields, registers.fields) {
		f, optional := strings.CutSuffix(f, "?")
		name, field, _ := strings.Cut(f, ".")
		var s *btf.Struct
		if err := spec.TypeByName(name, &s); err != nil {
			if optional {
				continue
			}
			return fmt.Errorf("the kernel's type information: struct %s: %w", name, err)
		}
		if bit, ok := member(s.Members, field); ok {
			l.Offsets[f] = bit / 8
			if bit%8 != 0 || strings.HasSuffix(f, ".secureexec") {
				l.Offsets[f+" bit"] = bit % 8
			}
		} else if !optional {
			return fmt.Errorf("the kernel's type information: struct %s has no %s", name, field)
		}
	}
	for _, name := range sizes {
		var s *btf.Struct
		if err := spec.TypeByName(name, &s); err != nil {
			return fmt.Errorf("the kernel's type information: struct %s: %w", name, err)
		}
		l.Sizes[name] = int(s.Size)
	}
	for _, name := range tracepoints {
		var t *btf.Typedef
		if spec.TypeByName("btf_trace_"+name, &t) == nil {
			if id, err := spec.TypeID(t); err == nil {
				l.Types["btf_trace_"+name] = uint32(id)
			}
		}
	}
	for _, name := range functions {
		var f *btf.Func
		if spec.TypeByName(name, &f) == nil {
			if id, err := spec.TypeID(f); err == nil {
				l.Types[name] = uint32(id)
			}
		}
	}
	return nil
}

// mounts says that the programs can tell a chroot.
func (l *layout) mounts() bool {
	for _, f := range []string{"vfsmount.mnt_root", "mount.mnt", "mount.mnt_parent", "mount.mnt_ns", "mnt_namespace.root"} {
		if _, ok := l.Offsets[f]; !ok {
			return false
		}
	}
	return true
}

// member finds the bit that a field begins at, also in structs and unions without a name.
func member(ms []btf.Member, name string) (int, bool) {
	for _, m := range ms {
		if m.Name == name {
			return int(m.Offset), true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if off, ok := member(inner, name); ok {
			return off + int(m.Offset), true
		}
	}
	return 0, false
}

// symbols finds functions of the kernel. Those that it does not have, or that its compiler put
// into their callers, are left out.
func symbols(names []string) ([]symbol, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type start struct {
		addr uint64
		name string // "" for a function that is none of ours
	}
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	var starts []start
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// ffffffff81a82a80 T cap_capable
		addr, rest, ok := bytes.Cut(lines.Bytes(), []byte(" "))
		if !ok || len(rest) < 3 || rest[0]|0x20 != 't' || bytes.IndexByte(rest, '\t') > 0 {
			continue // no text, or a module's
		}
		a, err := strconv.ParseUint(string(addr), 16, 64)
		if err != nil || a == 0 {
			continue // zero: kptr_restrict hides them from us
		}
		s := start{addr: a}
		if base, _, _ := bytes.Cut(rest[2:], []byte(".")); want[string(base)] { // name.isra.0, name.cold
			s.name = string(base)
		}
		starts = append(starts, s)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(starts, func(a, b start) int {
		if a.addr < b.addr {
			return -1
		} else if a.addr > b.addr {
			return 1
		}
		return 0
	})
	var found []symbol
	for i, s := range starts {
		if s.name == "" {
			continue
		}
		end := s.addr + 1<<16
		for _, next := range starts[i+1:] {
			if next.addr > s.addr {
				end = next.addr
				break
			}
		}
		found = append(found, symbol{s.name, s.addr, end})
	}
	return found, nil
}

// within names the first of the noisy functions that a stack goes through.
func (l *layout) within(stack []uint64) (string, bool) {
	for _, ip := range stack {
		for _, s := range l.Noise {
			if ip >= s.Start && ip < s.End {
				return s.Name, true
			}
		}
	}
	return "", false
}
