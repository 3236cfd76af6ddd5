package probe

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// mount is what of a line of mountinfo counts here (proc_pid_mountinfo(5)).
type mount struct {
	root, point   string
	options       string // of the mount
	fstype, super string // and of the file system
}

// mounts reads the mount table once for what is found there: control groups, and what covers /proc.
func (r *reader) mounts(f *facts.Facts) error {
	table, err := r.read("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var cgroups []mount
	for line := range strings.Lines(table) {
		m, ok := parse(line)
		switch {
		case !ok:
		case m.fstype == "cgroup" || m.fstype == "cgroup2":
			cgroups = append(cgroups, m)
		case m.point == "/proc" && has(m.options, "ro"), strings.HasPrefix(m.point, "/proc/") && !emptyForGood[m.point]:
			if !slices.Contains(f.Masked, m.point) {
				f.Masked = append(f.Masked, m.point)
			}
		}
	}
	own, err := r.read("/proc/self/cgroup")
	if err != nil {
		return nil // a kernel without CONFIG_CGROUPS
	}
	f.Cgroup = r.cgroup(cgroups, own)
	return nil
}

// emptyForGood are the directories of procfs that exist to be mounted upon and hide nothing
// (proc_create_mount_point in fs/nfsd and fs/proc/root.c; sysctl_mount_point of fs/binfmt_misc).
var emptyForGood = map[string]bool{"/proc/sys/fs/binfmt_misc": true, "/proc/fs/nfsd": true, "/proc/openprom": true}

// parse reads one line of mountinfo, "36 35 98:0 /root /point rw shared:1 - type source rw,super", and
// gives up early (false) on those that nobody here asks about: most lines of a machine full of containers.
func parse(line string) (m mount, ok bool) {
	line = strings.TrimSuffix(line, "\n")
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return m, false
	}
	m.fstype, right, _ = strings.Cut(right, " ")
	for i := 0; i < 3; i++ { // mount id, parent id, device
		_, left, _ = strings.Cut(left, " ")
	}
	m.root, left, _ = strings.Cut(left, " ")
	m.point, left, _ = strings.Cut(left, " ")
	if !strings.HasPrefix(m.point, "/proc") && !(strings.HasPrefix(m.fstype, "cgroup") && strings.HasPrefix(m.point, "/")) {
		return m, false
	}
	m.options, _, _ = strings.Cut(left, " ")
	m.super = right[strings.LastIndexByte(right, ' ')+1:]
	m.root, m.point = unescape(m.root), unescape(m.point)
	return m, true
}

// unescape turns the kernel's \040 and its like (mangle, fs/proc_namespace.c) back into bytes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && strings.Trim(s[i+1:i+4], "01234567") == "" {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// has says whether a comma-separated list holds a word.
func has(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// cgroup puts together where each hierarchy is mounted and where we are in it: own is
// /proc/self/cgroup, "4:memory:/user.slice" a line, "0::/path" for the v2 hierarchy.
func (r *reader) cgroup(mounts []mount, own string) facts.Cgroup {
	var g facts.Cgroup
	var v1, v2 bool
	for line := range strings.Lines(own) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		isV2 := id == "0"
		first, _, _ := strings.Cut(names, ",")
		var at *mount
		for i, m := range mounts {
			if (m.fstype == "cgroup2") != isV2 || !isV2 && !has(m.super, first) {
				continue
			}
			// The same hierarchy may be mounted elsewhere too; the usual place comes first.
			if at == nil || strings.HasPrefix(m.point, "/sys/fs/cgroup") && !strings.HasPrefix(at.point, "/sys/fs/cgroup") {
				at = &mounts[i]
			}
		}
		if at == nil {
			continue
		}
		h := facts.Hierarchy{Mount: at.point, V2: isV2, Own: beneath(path, at.root)}
		v1, v2 = v1 || !isV2, v2 || isV2
		if isV2 {
			// At the top, for whoever may make groups there, stands all there is; others have what was delegated to them.
			dir := h.Mount
			if h.Own != "" && unix.Access(dir, unix.W_OK) != nil {
				dir += h.Own
			}
			text, _ := r.read(dir + "/cgroup.controllers")
			h.Controllers = strings.Fields(text)
		} else {
			h.Controllers = strings.Split(names, ",")
		}
		if !g.Writable {
			g.Writable = unix.Access(h.Mount, unix.W_OK) == nil || h.Own != "" && unix.Access(h.Mount+h.Own, unix.W_OK) == nil
		}
		g.Hierarchies = append(g.Hierarchies, h)
	}
	g.SwapLimit = swapLimit(g)
	slices.SortStableFunc(g.Hierarchies, func(a, b facts.Hierarchy) int {
		switch {
		case a.V2 == b.V2:
			return 0
		case a.V2:
			return 1
		}
		return -1
	})
	switch {
	case v1 && v2:
		g.Mode = facts.CgroupHybrid
	case v1:
		g.Mode = facts.CgroupV1
	case v2:
		g.Mode = facts.CgroupV2
	}
	return g
}

// swapLimit looks for the file that limits swap. The top of v2 has none, and there a kernel that
// can swap at all is taken to account for it (always since 6.1; before, unless booted with swapaccount=0).
func swapLimit(g facts.Cgroup) bool {
	h, ok := g.Find("memory")
	switch {
	case !ok:
		return false
	case !h.V2:
		return exists(h.Mount + "/memory.memsw.limit_in_bytes")
	case h.Own != "/" && exists(h.Mount+h.Own+"/memory.max"):
		return exists(h.Mount + h.Own + "/memory.swap.max")
	}
	return exists("/proc/swaps")
}

// beneath returns path as seen under a mount of root: "" if it is not beneath it. In a container
// without a cgroup namespace the mount's root is the container's group, and path begins with it.
func beneath(path, root string) string {
	if root == "/" {
		return path
	}
	rest, ok := strings.CutPrefix(path, root)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return ""
	case rest == "":
		return "/"
	}
	return rest
}
