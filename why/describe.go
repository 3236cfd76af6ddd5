package why

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
)

// Gates are the sysctls that stand between a container and something it may want, of those a scene
// knows: what a description of it lists.
var gates = []string{
	"kernel.yama.ptrace_scope", "kernel.perf_event_paranoid", "kernel.unprivileged_bpf_disabled", "kernel.dmesg_restrict",
	"kernel.io_uring_disabled", "vm.unprivileged_userfaultfd", "kernel.unprivileged_userns_clone",
	"kernel.apparmor_restrict_unprivileged_userns", "user.max_user_namespaces", "net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
}

// SceneDocument is a scene as --json prints it.
type SceneDocument struct {
	User         int               `json:"uid"`
	Effective    []string          `json:"effective"`
	Bounding     []string          `json:"bounding"`
	UserNS       string            `json:"user_namespace"` // "initial" or "own"
	NoNewPrivs   bool              `json:"no_new_privs"`
	Filter       string            `json:"filter"` // a profile's name, "none", "running", "unknown"
	Instructions int               `json:"instructions,omitempty"`
	AppArmor     string            `json:"apparmor,omitempty"`
	SELinux      string            `json:"selinux,omitempty"`
	Masked       []string          `json:"masked"`
	ReadOnly     []string          `json:"read_only"`
	Devices      string            `json:"devices"` // "all", "listed" or "unknown"
	Sysctls      map[string]string `json:"sysctls"`
}

// Document is what is known of the scene.
func (s Scene) Document() SceneDocument {
	d := SceneDocument{
		User: s.Caps.EUID, Effective: orEmptyList(s.Caps.Effective.Names()), Bounding: orEmptyList(s.Caps.Bounding.Names()),
		UserNS: "own", NoNewPrivs: s.Caps.NoNewPrivs, Filter: "unknown", Instructions: len(s.Filter),
		AppArmor: s.AppArmor, SELinux: s.SELinux, Masked: orEmptyList(s.Masked), ReadOnly: orEmptyList(s.ReadOnly),
		Devices: "listed", Sysctls: map[string]string{},
	}
	if s.UserNS.Initial {
		d.UserNS = "initial"
	}
	switch {
	case s.Profile != nil:
		d.Filter = s.Profile.Name
	case s.Filter != nil:
		d.Filter = "running"
	case s.Unfiltered:
		d.Filter = "none"
	}
	if s.Devices == nil && !s.Privileged {
		d.Devices = "unknown"
	} else if s.Devices == nil || slices.ContainsFunc(s.Devices, func(r specs.LinuxDeviceCgroup) bool {
		return r.Allow && r.Major == nil && (r.Type == "a" || r.Type == "")
	}) {
		d.Devices = "all"
	}
	for _, name := range gates {
		if v, ok := s.sysctl(name); ok {
			d.Sysctls[name] = v
		}
	}
	return d
}

// JSON is Document, indented.
func (s Scene) JSON() []byte { return indented(s.Document()) }

// Text says in words how a container, or a process, stands: whom it runs as and what that may do, the
// filter, labels, what it cannot see or write, and the sysctls that gate.
func (s Scene) Text(l Lang) string {
	t := readTable(l)
	w := &writer{t: t}
	d := s.Document()
	say := func(key string, p ...string) { w.wrapped("  ", t.say(Message{key, p})) }
	where := "scene.userns." + d.UserNS
	switch e := s.Caps.Effective; {
	case e == 0:
		say("scene.caps.none", "uid", itoa(d.User))
	case e.Includes(existing(caps.All, s.Facts.Kernel)):
		say("scene.caps.all", "uid", itoa(d.User), "where", where)
	default:
		say("scene.caps", "uid", itoa(d.User), "caps", strings.Join(d.Effective, ", "), "where", where)
	}
	if idle := s.Caps.Bounding.Without(s.Caps.Effective); idle != 0 && s.Caps.Effective == 0 {
		say("scene.caps.idle", "caps", idle.String())
	}
	if d.NoNewPrivs {
		say("scene.nnp.on")
	} else {
		say("scene.nnp.off")
	}
	switch d.Filter {
	case "none":
		say("scene.filter.none")
	case "running":
		say("scene.filter.running", "n", itoa(d.Instructions))
	case "unknown":
		say("scene.filter.unknown")
	default:
		say("scene.filter.profile", "profile", d.Filter)
	}
	for _, label := range []string{d.AppArmor, d.SELinux} {
		if label != "" {
			say("scene.label", "label", label)
		}
	}
	if len(d.Masked) > 0 {
		say("scene.masked", "list", strings.Join(d.Masked, ", "))
	}
	if len(d.ReadOnly) > 0 {
		say("scene.readonly", "list", strings.Join(d.ReadOnly, ", "))
	}
	say("scene.devices." + d.Devices)
	var set []string
	for _, name := range gates {
		if v, ok := d.Sysctls[name]; ok {
			set = append(set, name+" = "+v)
		}
	}
	if set != nil {
		say("scene.sysctls", "list", strings.Join(set, "; "))
	}
	return w.String()
}
