package lab

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Reach is one way in which what the program did may have left its container, so that doing it
// again is not the same.
type Reach struct {
	What string // "writes to /data", "the machine's network"
	Seen bool   // it did, and not only might have
}

// maxWalk is how many files are looked at for having been written.
const maxWalk = 20000

// Reaches lists what the first run may have changed outside: what is bound and was written to, and
// what it shares with the machine. Empty: everything it did is gone with its container.
func (l *Lab) Reaches() []Reach {
	var out []Reach
	s := l.base.Spec
	for _, m := range s.Mounts {
		if m.Type != "bind" || slices.Contains(m.Options, "ro") || l.ours(m.Source) {
			continue
		}
		switch written, sure := writtenSince(m.Source, l.began.Add(-10*time.Millisecond)); {
		case written:
			out = append(out, Reach{"it wrote to " + m.Destination, true})
		case !sure:
			out = append(out, Reach{"it may have written to " + m.Destination, false})
		}
	}
	own := func(k specs.LinuxNamespaceType) bool {
		return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == k && n.Path == "" })
	}
	for _, n := range []struct {
		kind specs.LinuxNamespaceType
		what string
	}{
		{specs.NetworkNamespace, "it has the machine's network"},
		{specs.PIDNamespace, "it sees the machine's processes"},
		{specs.IPCNamespace, "it has the machine's shared memory and queues"},
	} {
		if !own(n.kind) {
			out = append(out, Reach{n.what, false})
		}
	}
	if l.Workload.Security.Privileged {
		out = append(out, Reach{"it is privileged", false})
	}
	for _, d := range l.Workload.Devices {
		if d.Source != "" {
			out = append(out, Reach{"it has the device " + d.Source, false})
		}
	}
	return out
}

// ours says that a bind mount's source is a file of the engine's, made for this container alone.
func (l *Lab) ours(source string) bool {
	if l.base.Root.Scratch == "" {
		return false
	}
	return strings.HasPrefix(source, filepath.Dir(l.base.Root.Scratch)+"/") || strings.HasPrefix(filepath.Base(filepath.Dir(source)), filepath.Base(filepath.Dir(l.base.Root.Scratch))+"-")
}

// writtenSince says whether something at or beneath a path changed since t: data, or what an
// inode says. It is not sure where there is too much to look at, or a socket, which keeps no such time.
func writtenSince(p string, t time.Time) (written, sure bool) {
	n := 0
	sure = true
	err := filepath.WalkDir(p, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			sure = false
			return nil
		}
		if n++; n > maxWalk {
			sure = false
			return filepath.SkipAll
		}
		var st unix.Stat_t
		if unix.Lstat(at, &st) != nil {
			sure = false
			return nil
		}
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			sure = false
		}
		if time.Unix(st.Ctim.Unix()).After(t) {
			written = true
			return filepath.SkipAll
		}
		return nil
	})
	return written, sure && err == nil
}
