package plan

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// IDMap is a user namespace that an id-mapped mount takes its mapping from: the container package makes one with
// these ids, or opens the one at Path, and hands it to launch in Slot.
type IDMap struct {
	UIDs, GIDs []specs.LinuxIDMapping
	Path       string
	Slot       Slot
}

const attrIDMap = 0x100000 // MOUNT_ATTR_IDMAP

// checkIDMap says whether an id-mapped mount can be had. The rules are the runtime spec's (config.md, "Mounts"): the
// mount's own mappings, else those of the container's user namespace.
func (b *builder) checkIDMap(m specs.Mount, o *mountOptions) error {
	own := len(m.UIDMappings)+len(m.GIDMappings) > 0
	if o.idMap = o.idMap || own; !o.idMap {
		return nil
	}
	switch {
	case !o.bind:
		return errors.New("uidMappings: only a bind mount can be id-mapped")
	case own && len(m.UIDMappings) == 0:
		return errors.New("uidMappings: missing: there are gidMappings")
	case own && len(m.GIDMappings) == 0:
		return errors.New("gidMappings: missing: there are uidMappings")
	case !own && !b.spaces.has(newUser):
		return errors.New("options: \"idmap\": no mapping to use: the mount has no uidMappings, and the container no user namespace")
	case !b.f.Features.MountSetattr:
		return fmt.Errorf("uidMappings: this kernel (%v) has no id-mapped mounts (Linux 5.12)", b.f.Kernel)
	case b.f.UID != 0 || !b.f.UserNS.Initial:
		return errors.New("uidMappings: id-mapping a mount takes root of the machine, who owns its filesystem")
	}
	if err := checkIDs("uidMappings", m.UIDMappings); err != nil {
		return err
	}
	return checkIDs("gidMappings", m.GIDMappings)
}

// checkIDs refuses what a uid_map does not take (map_write, kernel/user_namespace.c).
func checkIDs(where string, ms []specs.LinuxIDMapping) error {
	if len(ms) > 340 {
		return fmt.Errorf("%s: %d ranges: the kernel takes 340", where, len(ms))
	}
	over := func(a, b, n, m uint32) bool {
		return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
	}
	for i, m := range ms {
		if m.Size == 0 {
			return fmt.Errorf("%s[%d].size: 0", where, i)
		}
		if uint64(m.ContainerID)+uint64(m.Size) > 1<<32-1 || uint64(m.HostID)+uint64(m.Size) > 1<<32-1 {
			return fmt.Errorf("%s[%d]: %d:%d:%d goes beyond the last id", where, i, m.ContainerID, m.HostID, m.Size)
		}
		for k, o := range ms[:i] {
			if over(m.ContainerID, o.ContainerID, m.Size, o.Size) || over(m.HostID, o.HostID, m.Size, o.Size) {
				return fmt.Errorf("%s[%d]: overlaps %s[%d]", where, i, where, k)
			}
		}
	}
	return nil
}

// idMap has a detached mount show other owners than its files have.
func (b *builder) idMap(tree Slot, m specs.Mount, o mountOptions) {
	if !o.idMap {
		return
	}
	own := IDMap{UIDs: m.UIDMappings, GIDs: m.GIDMappings}
	if len(own.UIDs) == 0 {
		own.UIDs, own.GIDs = b.s.Linux.UIDMappings, b.s.Linux.GIDMappings
		for _, j := range b.spaces.joined {
			if j.flag == newUser {
				own = IDMap{Path: j.path}
			}
		}
	}
	own.Slot = b.slot("idmap")
	b.p.IDMaps = append(b.p.IDMaps, own)
	attr := mountAttr(attrIDMap, 0, 0)
	attr.Ptrs = []Ptr{{Off: 24, Slot: own.Slot}}
	b.call("mount_setattr", tree, "", emptyPath(o.idMapDeep), attr, sizeofMountAttr).because("its files are shown with other owners").tag("idmap")
}
