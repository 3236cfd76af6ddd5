package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
)

// mapIDs says at the gate just made how the parent fills the user namespace: by itself where it
// may (CAP_SETUID and CAP_SETGID, or its own id alone with setgroups denied: new_idmap_permitted,
// kernel/user_namespace.c), else with the set-id helpers of shadow.
func (b *builder) mapIDs() error {
	g := &b.p.Gates[len(b.p.Gates)-1]
	uids, gids := b.s.Linux.UIDMappings, b.s.Linux.GIDMappings
	if len(gids) == 0 {
		return fmt.Errorf("linux.gidMappings: missing: a new user namespace needs them")
	}
	why := "ids inside and what they are outside"
	switch {
	case b.f.Caps.Effective.Has(caps.CAP_SETUID) && b.f.Caps.Effective.Has(caps.CAP_SETGID):
		g.Writes = append(g.Writes, Write{"gid_map", idLines(gids), why}, Write{"uid_map", idLines(uids), why})
	case onlyOwn(uids, b.f.UID) && onlyOwn(gids, b.f.GID):
		g.Writes = append(g.Writes,
			Write{"setgroups", "deny", "a condition for mapping one's own group without a privilege"},
			Write{"gid_map", idLines(gids), why}, Write{"uid_map", idLines(uids), why})
	default:
		g.Helpers = append(g.Helpers,
			Helper{"newuidmap", idArgs(uids), "more than one's own id takes a helper, which /etc/subuid allows"},
			Helper{"newgidmap", idArgs(gids), "and for groups, /etc/subgid"})
	}
	if n := b.s.Process.OOMScoreAdj; n != nil && b.mappedRoot() {
		g.Writes = append(g.Writes, Write{"oom_score_adj", fmt.Sprint(*n), "the child may not lower it any more"})
	}
	return nil
}

// groupsDenied says whether setgroups(2) is forbidden in the container's user namespace.
func (b *builder) groupsDenied() bool {
	return b.denyGroups || b.spaces.fresh&newUser != 0 &&
		slices.ContainsFunc(b.p.Gates[0].Writes, func(w Write) bool { return w.File == "setgroups" })
}

func onlyOwn(m []specs.LinuxIDMapping, id int) bool {
	return len(m) == 1 && m[0].Size == 1 && int64(m[0].HostID) == int64(id)
}

func idLines(ms []specs.LinuxIDMapping) string {
	var out strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&out, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return out.String()
}

func idArgs(ms []specs.LinuxIDMapping) (args []string) {
	for _, m := range ms {
		args = append(args, fmt.Sprint(m.ContainerID), fmt.Sprint(m.HostID), fmt.Sprint(m.Size))
	}
	return args
}

// becomeRoot takes id 0 of the user namespace, where it has one and we are not it already.
func (b *builder) becomeRoot() {
	b.why = "root of the user namespace, whom files made from here on belong to"
	defer func() { b.why = "" }()
	ours := func(ms []specs.LinuxIDMapping, own int) (known, same bool) {
		for _, m := range ms {
			if m.ContainerID == 0 && m.Size > 0 {
				return true, int64(m.HostID) == int64(own)
			}
		}
		return b.spaces.fresh&newUser == 0, false // one that is entered has a root
	}
	uid, sameUID := ours(b.s.Linux.UIDMappings, b.f.UID)
	gid, sameGID := ours(b.s.Linux.GIDMappings, b.f.GID)
	if b.spaces.fresh&newUser == 0 {
		uid, gid, sameUID, sameGID = true, true, false, false
	}
	if uid && gid && !(sameUID && sameGID) {
		if !b.groupsDenied() && !b.o.KeepGroups {
			b.call("setgroups", 0, nil)
			if b.spaces.fresh&newUser == 0 {
				b.or(abi.EPERM) // denied there
			}
		}
		b.call("setresgid", 0, 0, 0)
		b.call("setresuid", 0, 0, 0)
		if b.spaces.fresh&newPID != 0 {
			b.call("prctl", prSetDumpable, 1, 0, 0, 0).because("its files in /proc are its own again: changing ids gave them to the host's root")
		}
	}
}
