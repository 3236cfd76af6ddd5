package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/probe"
	"porthole/internal/host/trace"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/why"
)

// Live is a process that runs, whoever started it, as far as we may see it.
type Live struct {
	Process probe.ProcessInfo
	Command []string // its command line
	Owner   string   // whose container it is in: "docker", "podman", "kubernetes", "containerd", "porthole"; "" if in none that is known
	ID      string   // the container's

	Namespaces []string // those that are its own and not this machine's: "pid", "net"
	LSM        string   // its label; "" if none
	Masked     []string // what is covered beneath /proc and /sys
	ReadOnly   []string // what is read-only there
	RootRO     bool
	Devices    []specs.LinuxDeviceCgroup // nil: not known, or nothing restricts them (see Unseen)
	Sysctls    map[string]string         // those that gate, as the process sees them

	Filters []filter.Program // the one installed last first; nil where none, or not readable

	// Unseen says what could not be found out, and why, a sentence each.
	Unseen []string

	spec  *specs.Spec // what its engine handed to its runtime, where that can be read
	scene why.Scene
}

// ErrNotRunning says that no process is there, or not any more.
var ErrNotRunning = errors.New("no such process")

// Look finds out what holds for process pid. f is this machine, known deeply. What could not be seen
// is in Unseen; the error says that there is nothing at all.
func Look(pid int, f facts.Facts, cache string) (*Live, error) {
	p, err := probe.Process(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("process %d: %w", pid, ErrNotRunning)
	}
	if err != nil {
		return nil, err
	}
	l := &Live{Process: p, Command: commandLine(pid)}
	sc := &l.scene
	*sc = why.Scene{
		Facts: f, Caps: p.Caps, UserNS: p.UserNS, Unfiltered: p.Seccomp == 0, Filters: max(p.Filters, 0),
		Owns: map[string]bool{}, Isolated: map[string]bool{}, Rlimits: map[string]why.Limit{}, Sysctls: map[string]string{},
	}
	l.cgroup(pid)
	l.namespaces(pid)
	l.label(pid, f)
	l.mounts(pid)
	l.devices(pid, f)
	l.limits(pid)
	l.sysctls(pid, f)
	if p.Seccomp != 0 {
		if l.Filters, err = trace.Filters(pid, cache); err != nil {
			l.unseen("the filter: %v", err)
		} else if len(l.Filters) == 1 {
			sc.Filter = l.Filters[0]
		}
		sc.Filters = max(len(l.Filters), sc.Filters)
	}
	return l, nil
}

// Scene is the process as package why takes it, for a question about call: of several
// filters the one that answers, which is the strictest.
func (l *Live) Scene(call why.Call) why.Scene {
	s := l.scene
	nr, ok := s.Facts.Arch.Nr(call.Name)
	if !ok || len(l.Filters) < 2 {
		return s
	}
	var args [6]uint64
	for i, a := range call.Args {
		args[i] = a.Value
	}
	d := filter.Data{Nr: nr, Arch: s.Facts.Arch.Audit(), Args: args}
	best := seccomp.Allow
	for i, p := range l.Filters {
		// The kernel asks all and takes the lowest, as signed numbers (seccomp_run_filters).
		if a, _ := p.Run(d); i == 0 || int32(a&0xffff0000) < int32(best&0xffff0000) {
			best, s.Filter = a, p
		}
	}
	return s
}

func (l *Live) unseen(format string, a ...any) {
	l.Unseen = append(l.Unseen, fmt.Sprintf(format, a...))
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

func commandLine(pid int) []string {
	data, _ := os.ReadFile(procFile(pid, "cmdline"))
	return strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
}

var containerID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[0-9a-f]{64}`) })

// cgroup finds out whose container a process is in, by the name of its control group.
func (l *Live) cgroup(pid int) {
	data, err := os.ReadFile(procFile(pid, "cgroup"))
	if err != nil {
		return
	}
	l.Owner, l.ID = ownerOf(string(data))
	for _, n := range neighbours() { // its engine's monitor knows better, and what the runtime was given
		if n.id == l.ID && n.id != "" || n.pid == pid {
			l.Owner, l.ID, l.spec = n.owner, n.id, n.spec()
			return
		}
	}
}

func ownerOf(cgroups string) (owner, id string) {
	for line := range strings.Lines(cgroups) {
		id := containerID().FindString(line)
		if id == "" {
			continue
		}
		switch {
		case strings.Contains(line, "kubepods"):
			return "kubernetes", id
		case strings.Contains(line, "libpod"):
			return "podman", id
		case strings.Contains(line, "docker"):
			return "docker", id
		case strings.Contains(line, "porthole"):
			return "porthole", id
		}
		return "containerd", id
	}
	return "", ""
}

// namespaces compares the process's with our own.
func (l *Live) namespaces(pid int) {
	owner := l.Process.UserNSName
	for _, n := range []struct{ file, name string }{
		{"mnt", "mnt"}, {"net", "net"}, {"uts", "uts"}, {"ipc", "ipc"}, {"pid", "pid"}, {"cgroup", "cgroup"}, {"time", "time"}, {"user", "user"},
	} {
		theirs, err := os.Readlink(procFile(pid, "ns/"+n.file))
		if errors.Is(err, fs.ErrPermission) {
			l.unseen("its namespaces: they are another user's to know")
			return
		}
		ours, _ := os.Readlink("/proc/self/ns/" + n.file)
		if err != nil || theirs == ours {
			continue
		}
		l.Namespaces = append(l.Namespaces, n.name)
		if n.name == "user" {
			continue
		}
		l.scene.Isolated[n.name] = true
		if by, err := ownerNS(procFile(pid, "ns/"+n.file)); err == nil {
			l.scene.Owns[n.name] = "user:["+strconv.FormatUint(by, 10)+"]" == owner
		}
	}
	if l.Process.UserNS.Initial {
		for _, n := range []string{"mnt", "net", "uts", "ipc", "pid", "cgroup", "time"} {
			l.scene.Owns[n] = true
		}
	}
	if text, err := os.ReadFile(procFile(pid, "setgroups")); err == nil {
		l.scene.SetgroupsDenied = strings.TrimSpace(string(text)) == "deny"
	}
}

// ownerNS is the inode of the user namespace that owns another (NS_GET_USERNS, ioctl_nsfs(2)).
func ownerNS(file string) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Ino, err
}

func (l *Live) label(pid int, f facts.Facts) {
	l.scene.LSMKnown = true
	for _, name := range []string{"attr/apparmor/current", "attr/current"} {
		data, err := os.ReadFile(procFile(pid, name))
		if errors.Is(err, fs.ErrPermission) {
			l.unseen("its security label: %v", err)
			l.scene.LSMKnown = false
			return
		}
		text := strings.TrimRight(strings.TrimSpace(string(data)), "\x00")
		if err != nil || text == "" {
			continue
		}
		l.LSM = text
		if f.SELinux {
			l.scene.SELinux = text
		} else {
			l.scene.AppArmor, _, _ = strings.Cut(text, " ")
		}
		return
	}
}

// mounts reads what is covered and what is read-only where it matters.
func (l *Live) mounts(pid int) {
	data, err := os.Open(procFile(pid, "mountinfo"))
	if err != nil {
		l.unseen("its mounts: %v", err)
		return
	}
	defer data.Close()
	all, err := mountinfo.GetMountsFromReader(data, nil)
	if err != nil {
		l.unseen("its mounts: %v", err)
		return
	}
	for _, m := range all {
		pl := why.Place{Path: m.Mountpoint, Type: m.FSType}
		for _, o := range strings.Split(m.Options, ",") {
			if unflag[o] != "" {
				pl.Flags = append(pl.Flags, o)
			}
		}
		l.scene.Mounts = append(l.scene.Mounts, pl)
		ro := slices.Contains(pl.Flags, "ro")
		if m.Mountpoint == "/" {
			l.RootRO = ro
			continue
		}
		system := strings.HasPrefix(m.Mountpoint, "/proc/") || strings.HasPrefix(m.Mountpoint, "/sys/")
		switch {
		case !system || m.Mountpoint == "/sys/fs/cgroup":
		case m.FSType == "tmpfs" || strings.HasSuffix(m.Root, "/null") && m.FSType == "devtmpfs":
			l.Masked = append(l.Masked, m.Mountpoint)
		case ro:
			l.ReadOnly = append(l.ReadOnly, m.Mountpoint)
		}
	}
	l.scene.Masked, l.scene.ReadOnly, l.scene.RootRO = l.Masked, l.ReadOnly, l.RootRO
	// A root that is no mount is a chroot(2): user namespaces cannot be made there.
	if root, err := os.Readlink(procFile(pid, "root")); err == nil && !slices.ContainsFunc(all, func(m *mountinfo.Info) bool { return m.Mountpoint == "/" }) {
		l.scene.Chroot = root != ""
	}
}

// devices finds the rules of a process's device cgroup: in its runtime's config.json, or in cgroup v1.
func (l *Live) devices(pid int, f facts.Facts) {
	if s := l.spec; s != nil && s.Linux != nil && s.Linux.Resources != nil {
		l.Devices = s.Linux.Resources.Devices
		l.scene.Devices = l.Devices
		return
	}
	data, err := os.ReadFile(procFile(pid, "cgroup"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || !slices.Contains(strings.Split(parts[1], ","), "devices") {
			continue
		}
		for _, h := range f.Cgroup.Hierarchies {
			if !slices.Contains(h.Controllers, "devices") || h.V2 {
				continue
			}
			list, err := os.ReadFile(filepath.Join(h.Mount, parts[2], "devices.list"))
			if err != nil {
				l.unseen("its device rules: %v", err)
				return
			}
			l.Devices = parseDevices(string(list))
			l.scene.Devices = l.Devices
			return
		}
	}
	if l.Owner != "" {
		l.unseen("its device rules: in cgroup v2 they are a BPF program, which does not say in words what it allows")
	}
}

// parseDevices reads devices.list of cgroup v1: "c 1:3 rwm".
func parseDevices(list string) []specs.LinuxDeviceCgroup {
	out := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	for line := range strings.Lines(list) {
		w := strings.Fields(line)
		if len(w) != 3 {
			continue
		}
		d := specs.LinuxDeviceCgroup{Allow: true, Type: w[0], Access: w[2]}
		major, minor, _ := strings.Cut(w[1], ":")
		if n, err := strconv.ParseInt(major, 10, 64); err == nil {
			d.Major = &n
		}
		if n, err := strconv.ParseInt(minor, 10, 64); err == nil {
			d.Minor = &n
		}
		out = append(out, d)
	}
	return out
}

// limits reads /proc/PID/limits, which asks for less than prlimit(2) of another's process.
func (l *Live) limits(pid int) {
	data, err := os.ReadFile(procFile(pid, "limits"))
	if err != nil {
		l.unseen("its limits: %v", err)
		return
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return -1 // "unlimited"
		}
		return n
	}
	for line := range strings.Lines(string(data)) {
		for title, name := range limitTitles {
			if rest, ok := strings.CutPrefix(line, title); ok {
				if w := strings.Fields(rest); len(w) >= 2 {
					l.scene.Rlimits[name] = why.Limit{Soft: number(w[0]), Hard: number(w[1])}
				}
			}
		}
	}
}

// limitTitles are the names that /proc/PID/limits has for what setrlimit(2) calls otherwise (proc_pid_limits,
// fs/proc/base.c).
var limitTitles = map[string]string{
	"Max cpu time ": "cpu", "Max file size ": "fsize", "Max data size ": "data", "Max stack size ": "stack",
	"Max core file size ": "core", "Max resident set ": "rss", "Max processes ": "nproc", "Max open files ": "nofile",
	"Max locked memory ": "memlock", "Max address space ": "as", "Max file locks ": "locks", "Max pending signals ": "sigpending",
	"Max msgqueue size ": "msgqueue", "Max nice priority ": "nice", "Max realtime priority ": "rtprio", "Max realtime timeout ": "rttime",
}

// sysctls reads those of the process's own namespaces, which the kernel shows to whoever is in
// them, whatever /proc he looks through (net_ctl_header_lookup, net/sysctl_net.c).
func (l *Live) sysctls(pid int, f facts.Facts) {
	l.Sysctls = map[string]string{}
	for k, v := range f.Sysctl {
		l.Sysctls[k] = v
	}
	if slices.Contains(l.Namespaces, "net") {
		got, err := inNamespace(procFile(pid, "ns/net"), unix.CLONE_NEWNET, []string{"net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_forward"})
		if err != nil {
			for k := range l.Sysctls {
				if strings.HasPrefix(k, "net.") {
					delete(l.Sysctls, k)
				}
			}
			l.unseen("its network's sysctls: %v", err)
		}
		for k, v := range got {
			l.Sysctls[k] = v
		}
	}
	l.scene.Sysctls = l.Sysctls
}

// inNamespace reads sysctls as they are in another namespace.
func inNamespace(ns string, kind int, names []string) (map[string]string, error) {
	type answer struct {
		values map[string]string
		err    error
	}
	got := make(chan answer)
	go func() {
		// The thread is not given back: it ends with this goroutine, and its namespace with it.
		runtime.LockOSThread()
		fd, err := unix.Open(ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, kind)
		}
		if err != nil {
			got <- answer{nil, err}
			return
		}
		m := map[string]string{}
		for _, n := range names {
			if data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(n, ".", "/")); err == nil {
				m[n] = strings.Join(strings.Fields(string(data)), " ")
			}
		}
		got <- answer{m, nil}
	}()
	a := <-got
	return a.values, a.err
}
