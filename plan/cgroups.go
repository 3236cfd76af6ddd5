package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// cgroup mounts the control groups as a container sees them. With v2 that is the one hierarchy;
// with v1 a tmpfs with a directory for each hierarchy, showing the container's own group: mounted
// anew in a cgroup namespace, else bound from the host.
func (b *builder) cgroup(dest string, m specs.Mount, o mountOptions) error {
	if b.f.Cgroup.Mode == facts.CgroupV2 || m.Type == "cgroup2" {
		if b.spaces.has(newUser) && !b.spaces.has(newCgroup) {
			b.note("%s is the host's: a user namespace may not mount one without a cgroup namespace", dest)
			o.recursive, o.data, o.unknown, m.Source = true, nil, nil, "/sys/fs/cgroup"
			tree := b.bindSource(m, o, false)
			b.attach(tree, b.place(dest, NoSlot), "bind "+m.Source)
			return nil
		}
		m.Type = "cgroup2"
		mnt := b.newFS(m, o)
		b.attach(mnt, b.place(dest, NoSlot), "cgroup2 at "+dest)
		b.fsAt[dest] = filesystem{m.Type, mnt, o.set}
		return nil
	}

	top := m
	top.Type, top.Source = "tmpfs", "tmpfs"
	dir := b.newFS(top, mountOptions{set: o.set &^ attrRdonly, data: [][2]string{{"mode", "755"}}})
	b.attach(dir, b.place(dest, NoSlot), "a directory for each hierarchy")
	b.fsAt[dest] = filesystem{"tmpfs", dir, o.set &^ attrRdonly}
	for i, h := range b.f.Cgroup.Hierarchies {
		name := path.Base(h.Mount)
		if h.V2 || i >= len(b.o.Groups) || b.o.Groups[i] == "" {
			continue
		}
		own := m
		own.Destination = dest + "/" + name
		var tree Slot
		if b.spaces.has(newCgroup) {
			own.Type, own.Source = "cgroup", "cgroup"
			words := mountOptions{set: o.set}
			for _, c := range h.Controllers {
				if key, value, ok := strings.Cut(c, "="); ok {
					words.unknown, words.data = append(words.unknown, "none"), append(words.data, [2]string{key, value})
				} else {
					words.unknown = append(words.unknown, c)
				}
			}
			tree = b.newFS(own, words)
		} else {
			own.Source = b.o.Groups[i]
			tree = b.bindSource(own, mountOptions{set: o.set, recursive: true}, false)
		}
		b.call("mkdirat", dir, name, 0o755)
		b.attach(tree, place{dir: dir, name: name}, "the container's own group")
		if strings.Contains(name, ",") {
			for _, c := range strings.Split(name, ",") {
				if slices.Contains(h.Controllers, c) {
					b.call("symlinkat", name, dir, c).because("each controller by its own name")
				}
			}
		}
	}
	return nil
}
