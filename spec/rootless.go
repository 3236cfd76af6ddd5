package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
	"porthole/facts"
)

// ids are a user namespace to be made: who may not set up a container in the namespace he is
// in makes one in which he is root (user_namespaces(7)).
type ids struct {
	private    bool
	uids, gids []facts.IDRange
	setgroups  bool // supplementary groups can be set: the map was written with privilege
}

func (m *maker) rootless() error {
	if m.f.Caps.Effective.Has(caps.CAP_SYS_ADMIN) {
		if m.w.NS.User == "private" {
			m.ownUsers()
		}
		return nil
	}
	if !m.f.Features.UserNSCreate {
		return errors.New("without CAP_SYS_ADMIN a container needs a user namespace, and this machine lets us make none")
	}
	i := &m.ids
	i.private = true
	i.uids = []facts.IDRange{{Inside: 0, Outside: uint32(m.f.UID), Size: 1}}
	i.gids = []facts.IDRange{{Inside: 0, Outside: uint32(m.f.GID), Size: 1}}
	if m.f.NewUIDMap != "" && m.f.NewGIDMap != "" && len(m.f.SubUID) > 0 && len(m.f.SubGID) > 0 {
		i.uids = append(i.uids, m.f.SubUID...)
		i.gids = append(i.gids, m.f.SubGID...)
		i.setgroups = true
	}
	m.spec.Linux.UIDMappings, m.spec.Linux.GIDMappings = mappings(i.uids), mappings(i.gids)
	// Whoever makes a user namespace has all capabilities in it, whatever he had (set_cred_user_ns, kernel/user_namespace.c).
	for c := caps.Cap(0); c <= caps.Last; c++ {
		m.give = m.give.Add(c)
	}
	return nil
}

// ownUsers makes a user namespace with the ids of ours, which root can map one to one: only what
// its root may do to the machine is less.
func (m *maker) ownUsers() {
	same := func(have []facts.IDRange) (out []facts.IDRange) {
		for _, r := range have {
			out = append(out, facts.IDRange{Inside: r.Inside, Outside: r.Inside, Size: r.Size})
		}
		return out
	}
	i := &m.ids
	i.private, i.setgroups = true, true
	i.uids, i.gids = same(m.f.UserNS.UIDs), same(m.f.UserNS.GIDs)
	m.spec.Linux.UIDMappings, m.spec.Linux.GIDMappings = mappings(i.uids), mappings(i.gids)
}

// nested reports whether the container's user namespace is not the machine's first: what
// belongs to that one is then out of reach, device nodes and shared namespaces among it.
func (m *maker) nested() bool { return m.ids.private || !m.f.UserNS.Initial }

func mappings(rs []facts.IDRange) (out []specs.LinuxIDMapping) {
	for _, r := range rs {
		out = append(out, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Size})
	}
	return out
}

func mapped(rs []facts.IDRange, id uint32) bool {
	for _, r := range rs {
		if id >= r.Inside && id-r.Inside < r.Size {
			return true
		}
	}
	return false
}

// check holds a user against the map. Groups that cannot be set are left out: a warning names
// those that would have given the user something.
func (i ids) check(m *maker, u User, groups []uint32) ([]uint32, error) {
	if !i.private {
		return groups, nil
	}
	const help = "give yourself a range in /etc/subuid and /etc/subgid, and install newuidmap (package uidmap)"
	if !mapped(i.uids, u.UID) {
		return nil, fmt.Errorf("user %d is not mapped in this user namespace; %s", u.UID, help)
	}
	if !mapped(i.gids, u.GID) {
		return nil, fmt.Errorf("group %d is not mapped in this user namespace; %s", u.GID, help)
	}
	var have []uint32
	var lost []string
	for _, g := range groups {
		if i.setgroups && mapped(i.gids, g) {
			have = append(have, g)
		} else if g != u.GID {
			lost = append(lost, fmt.Sprint(g))
		}
	}
	if lost != nil {
		m.warn("groups", "left out, since this user namespace cannot have them: %s; %s", strings.Join(lost, ", "), help)
	}
	return have, nil
}

// rootlessMounts changes the system's mounts where the kernel refuses them to whoever does
// not own the namespace that they show.
func (m *maker) rootlessMounts(ms []specs.Mount) []specs.Mount {
	if !m.nested() {
		return ms
	}
	gids := m.f.UserNS.GIDs
	if m.ids.private {
		gids = m.ids.gids
	}
	over := func(s *specs.Mount, options ...string) {
		if slices.Contains(options, "ro") && m.f.Features.MountSetattr { // and so are the control groups beneath, some of which are the user's
			options = append(slices.Clone(options), "rro")
		}
		*s = mount(s.Destination, "bind", s.Destination, append([]string{"rbind"}, options...)...)
	}
	for i := range ms {
		s := &ms[i]
		switch s.Destination {
		case "/proc": // proc_fs_context: the pid namespace's owner
			if !m.makes(specs.PIDNamespace) {
				over(s, "nosuid", "noexec", "nodev", "rprivate")
			}
		case "/sys": // sysfs_init_fs_context: the network namespace's owner
			if !m.makes(specs.NetworkNamespace) {
				over(s, append(s.Options, "rprivate")...)
			}
		case "/sys/fs/cgroup": // cgroup_init_fs_context: the cgroup namespace's owner
			if !m.makes(specs.CgroupNamespace) {
				over(s, append(s.Options, "rprivate")...)
			}
		case "/dev/pts": // an unmapped gid= is EINVAL (devpts, parse_mount_options)
			if !mapped(gids, 5) {
				s.Options = s.Options[:len(s.Options)-1]
			}
		}
	}
	// mqueue_init_fs_context wants the IPC namespace's owner. The host's may not be mounted, and
	// queues are opened by name without it (mq_overview(7)), so there is none then.
	if !m.makes(specs.IPCNamespace) {
		ms = slices.DeleteFunc(ms, func(s specs.Mount) bool { return s.Type == "mqueue" })
	}
	return ms
}
