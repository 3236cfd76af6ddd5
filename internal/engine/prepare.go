package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/image"
	"porthole/internal/host/nofile"
	"porthole/internal/host/sys"
	"porthole/plan"
	"porthole/seccomp"
	"porthole/seccomp/profile"
	"porthole/spec"
	"porthole/workload"
)

// prepared is a container before anything of it is made.
type prepared struct {
	config  container.Config
	volumes []spec.Volume
	id      string // the image's digest, where it has one

	defaults spec.Image // the image's, without its user database
}

// prepare works out the spec, the root filesystem and the filter of a container that is to be kept in dir.
// It makes nothing there.
func (e *Engine) prepare(ctx context.Context, r *Record, dir string) (*prepared, error) {
	w := r.Workload
	p := &prepared{}
	pic, err := e.picture(ctx, r, dir)
	if err != nil {
		return nil, err
	}
	p.id, p.defaults = pic.id, pic.config
	p.defaults.Passwd, p.defaults.Group = nil, nil
	opt := e.specOptions(r, dir)
	p.volumes = spec.Volumes(w, pic.config)
	opt.Volumes = e.volumeDirs(r, p.volumes)
	s, warnings, err := spec.Make(w, pic.config, opt, e.facts)
	if err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		e.warn(warning.String())
	}
	for _, n := range pic.notes {
		e.warn(n)
	}
	pic.root.Files = etcFiles(opt, w, s.Hostname)
	policy, err := e.policy(s.Linux.Seccomp)
	if err != nil {
		return nil, err
	}
	p.config = container.Config{
		Spec: s, Root: pic.root, Facts: e.facts, Policy: policy, Filters: e.filters(), Init: w.Init && w.NS.PID != "host",
		Owned: true, NoFile: nofile.Limit(), Refer: refers(w, s),
	}
	return p, nil
}

// policy is the filter that a spec asks for, on this machine; nil where it asks for none.
func (e *Engine) policy(s *specs.LinuxSeccomp) (*seccomp.Policy, error) {
	if s == nil {
		return nil, nil
	}
	doc, err := profile.FromOCI(s)
	if err != nil {
		return nil, err
	}
	policy, _ := doc.Resolve(profile.Conditions{Arch: e.facts.Arch, Kernel: e.facts.Kernel})
	return &policy, nil
}

// inside is the image of a container that runs, with the user database as it is in there now.
func (e *Engine) inside(r *Record, s *container.State) (spec.Image, error) {
	img := r.Defaults
	now := image.Image{Layers: []string{"/proc/" + strconv.Itoa(s.Pid) + "/root"}}
	var err error
	if img.Passwd, err = now.ReadFile("etc/passwd"); err != nil {
		return img, err
	}
	img.Group, err = now.ReadFile("etc/group")
	return img, err
}

// picture is an image made ready for one container.
type picture struct {
	root   plan.Root
	config spec.Image
	id     string
	notes  []string
}

// picture finds the image that the record names, fetching it where it must.
func (e *Engine) picture(ctx context.Context, r *Record, dir string) (*picture, error) {
	if r.Image == "host" {
		root, c, notes, err := image.Host(e.facts, image.HostOptions{
			NewUser: e.rootless() || r.Workload.NS.User == "private", Own: []string{e.root}, Scratch: e.scratch(),
		})
		if err != nil {
			return nil, err
		}
		p := &picture{root: root, config: imageConfig(c), notes: notes}
		p.config.Passwd, _ = sys.ReadFile("/etc/passwd")
		p.config.Group, _ = sys.ReadFile("/etc/group")
		return p, nil
	}
	img, err := e.image(ctx, r.Image)
	if err != nil {
		return nil, err
	}
	p := &picture{config: imageConfig(img.Config()), id: img.ID}
	if r.Keep {
		p.root = img.Root(filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	} else {
		p.root = img.Root("", "")
	}
	p.root.Scratch = e.scratch()
	if p.config.Passwd, err = img.ReadFile("etc/passwd"); err != nil {
		return nil, err
	}
	p.config.Group, err = img.ReadFile("etc/group")
	return p, err
}

func imageConfig(c image.Config) spec.Image {
	return spec.Image{
		Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, User: c.User, WorkingDir: c.WorkingDir,
		StopSignal: c.StopSignal, Volumes: c.Volumes, Labels: c.Labels,
	}
}

func (e *Engine) rootless() bool { return e.facts.UID != 0 || !e.facts.UserNS.Initial }

func (e *Engine) specOptions(r *Record, dir string) spec.Options {
	host, _ := os.Hostname()
	opt := spec.Options{
		ID: r.ID, CgroupsPath: cgroup.Default(r.ID, e.rootless()), HostName: host,
		ResolvConf:   filepath.Join(dir, "resolv.conf"),
		Hosts:        filepath.Join(dir, "hosts"),
		HostNameFile: filepath.Join(dir, "hostname"),
		Device:       device, HostDevices: hostDevices, CPUs: cpus(),
	}
	if unix.Access("/sys/devices/system/cpu/cpu0/thermal_throttle", unix.F_OK) == nil { // else none has one
		opt.Thermal, _ = filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle")
	}
	if e.facts.AppArmor {
		// Docker's own daemon loads this profile; without it there is none to run under.
		if loaded, err := os.ReadFile("/sys/kernel/security/apparmor/profiles"); err == nil && strings.Contains("\n"+string(loaded), "\ndocker-default ") {
			opt.AppArmor = "docker-default"
		}
	}
	return opt
}

// cpus is how many processors this process may use.
func cpus() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 0
	}
	return set.Count()
}

// etcFiles are the files that tell a container who and where it is, bound over those in the image's /etc.
func etcFiles(opt spec.Options, w workload.Workload, hostname string) []plan.File {
	resolv, err := sys.ReadFile("/etc/resolv.conf")
	if err != nil {
		resolv = nil
	}
	hosts := []byte("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	if w.NS.Network == "host" {
		if own, err := sys.ReadFile("/etc/hosts"); err == nil {
			hosts = own
		}
	}
	if hostname == "" {
		hostname = opt.HostName
	}
	return []plan.File{
		{Source: opt.ResolvConf, Data: resolv}, {Source: opt.Hosts, Data: hosts}, {Source: opt.HostNameFile, Data: []byte(hostname + "\n")},
	}
}

// referDir says what the user typed for a working directory, or where it is.
func referDir(asked, dir string) string {
	if asked != "" {
		return "-w " + asked
	}
	return "working directory " + dir
}

// refers says what the user typed for the parts of a spec that come from it.
func refers(w workload.Workload, s *specs.Spec) map[string]string {
	m := map[string]string{}
	m["process.cwd"] = referDir(w.Dir, s.Process.Cwd)
	for i, made := range s.Mounts {
		m[fmt.Sprintf("mounts[%d]", i)] = "mount " + made.Destination
	}
	for _, asked := range w.Mounts {
		for i, made := range s.Mounts {
			if asked.Refer != "" && made.Destination == filepath.Clean(asked.Target) {
				m[fmt.Sprintf("mounts[%d]", i)] = asked.Refer
			}
		}
	}
	for key, value := range w.Sysctls {
		m["linux.sysctl["+key+"]"] = "--sysctl " + key + "=" + value
	}
	for _, u := range w.Limits.Ulimits {
		for i, r := range s.Process.Rlimits {
			if r.Type == "RLIMIT_"+strings.ToUpper(u.Name) {
				m[fmt.Sprintf("process.rlimits[%d]", i)] = "--ulimit " + u.Name
			}
		}
	}
	return m
}

// device describes a device node, or all those beneath a directory.
func device(path string) ([]specs.LinuxDevice, error) {
	real, err := filepath.EvalSymlinks(path)
	if lost := (*os.PathError)(nil); errors.As(err, &lost) && lost.Path == path {
		return nil, lost.Err // whoever asked names it
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(real, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return devicesBelow(real)
	}
	d, ok := node(path, st)
	if !ok {
		return nil, fmt.Errorf("%s is not a device node", path)
	}
	return []specs.LinuxDevice{d}, nil
}

// hostDevices lists this machine's device nodes, but for those that a container has of its own.
func hostDevices() ([]specs.LinuxDevice, error) { return devicesBelow("/dev") }

func devicesBelow(dir string) ([]specs.LinuxDevice, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []specs.LinuxDevice
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch entry.Name() {
		case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console":
			continue
		}
		if entry.IsDir() {
			below, err := devicesBelow(path)
			if err != nil {
				continue // a directory that went away, or that is not ours to read
			}
			all = append(all, below...)
			continue
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			continue
		}
		if d, ok := node(path, st); ok {
			all = append(all, d)
		}
	}
	return all, nil
}

func node(path string, st unix.Stat_t) (specs.LinuxDevice, bool) {
	d := specs.LinuxDevice{Path: path, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev))}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		d.Type = "c"
	case unix.S_IFBLK:
		d.Type = "b"
	default:
		return d, false
	}
	mode := os.FileMode(st.Mode & 0o7777)
	d.FileMode, d.UID, d.GID = &mode, &st.Uid, &st.Gid
	return d, true
}

// volumeDirs says which directory holds each volume of a container.
func (e *Engine) volumeDirs(r *Record, vs []spec.Volume) map[string]string {
	m := map[string]string{}
	for i, v := range vs {
		name := v.Name
		if name == "" {
			name = r.ID + "-" + strconv.Itoa(i)
		}
		m[v.Target] = filepath.Join(e.root, "volumes", name, "_data")
	}
	return m
}
