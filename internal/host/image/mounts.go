package image

import (
	"cmp"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// fresh are directories that every container starts with empty, whatever this machine has there.
var fresh = map[string]bool{"/dev": true, "/proc": true, "/run": true, "/sys": true, "/lost+found": true}

// disks are the filesystems that hold a machine's files, as mountinfo names them. Kernel
// interfaces (proc, cgroup2, …), tmpfs, autofs and what users mount with FUSE are none.
var disks = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "zfs": true, "bcachefs": true,
	"f2fs": true, "jfs": true, "reiserfs": true, "nilfs2": true,
	"vfat": true, "exfat": true, "ntfs3": true, "fuseblk": true, "hfsplus": true,
	"iso9660": true, "udf": true, "squashfs": true, "erofs": true,
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "ceph": true, "gfs2": true, "ocfs2": true, "lustre": true,
	"9p": true, "virtiofs": true,
}

// strange are directories beneath which other container engines, package managers and the
// firmware keep mounts: dozens of them on some machines, and nothing a program looks for.
var strange = []string{
	"/dev", "/proc", "/run", "/sys",
	"/boot/efi", "/efi", "/snap", "/var/snap", "/var/lib/snapd",
	"/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/rancher",
	"/var/lib/lxc", "/var/lib/lxd", "/var/lib/incus", "/var/lib/machines", "/var/lib/flatpak",
}

// kept says whether a mount below "/" is part of the machine's files.
func kept(m *mountinfo.Info) bool {
	for _, dir := range strange {
		if under(m.Mountpoint, dir) {
			return false
		}
	}
	if m.FSType == "overlay" {
		// A system extension over /usr or /opt; deeper ones are other containers' roots.
		return strings.Count(m.Mountpoint, "/") == 1
	}
	return disks[m.FSType]
}

// visible returns the mounts that a path can reach, those above before those below.
func visible(all []*mountinfo.Info) []*mountinfo.Info {
	byID := make(map[int]*mountinfo.Info, len(all))
	for _, m := range all {
		byID[m.ID] = m
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *mountinfo.Info) int {
		return cmp.Or(cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Mountpoint+"/", b.Mountpoint+"/"))
	})
	hidden := make(map[int]bool)
	var brother *mountinfo.Info
	for _, m := range sorted {
		// A mount covers the one it stands on, if it is at the same place, and what was
		// mounted on that one further below.
		if p := byID[m.Parent]; p != nil && p != m && p.Mountpoint == m.Mountpoint {
			hidden[p.ID] = true
		}
		if brother != nil && brother.Parent == m.Parent && m.Parent != m.ID && under(m.Mountpoint, brother.Mountpoint) {
			hidden[m.ID] = true
		} else {
			brother = m
		}
	}
	seen := slices.DeleteFunc(sorted, func(m *mountinfo.Info) bool { return !reachable(m, byID, hidden) })
	slices.SortStableFunc(seen, func(a, b *mountinfo.Info) int {
		return cmp.Compare(strings.TrimSuffix(a.Mountpoint, "/")+"/", strings.TrimSuffix(b.Mountpoint, "/")+"/")
	})
	return seen
}

// reachable follows m's parents: what stands on a hidden mount is hidden, unless it is what hides it.
func reachable(m *mountinfo.Info, byID map[int]*mountinfo.Info, hidden map[int]bool) bool {
	if hidden[m.ID] {
		return false
	}
	for child := m; ; {
		parent := byID[child.Parent]
		if parent == nil || parent == child {
			return true
		}
		if hidden[parent.ID] && parent.Mountpoint != child.Mountpoint {
			return false
		}
		child = parent
	}
}

// flags are the attributes of a mount that keep programs from using what stands on it.
func flags(m *mountinfo.Info) (kept []string) {
	for _, o := range strings.Split(m.Options, ",") {
		switch o {
		case "nosuid", "nodev", "noexec":
			kept = append(kept, o)
		}
	}
	return kept
}
