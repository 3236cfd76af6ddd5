package lab

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
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
	for _, m := range outer(l.base) {
		switch written, sure := writtenSince(m.Source, l.began.Add(-10*time.Millisecond)); {
		case written:
			out = append(out, Reach{"it wrote to " + m.Destination, true})
		case !sure:
			out = append(out, Reach{"it may have written to " + m.Destination, false})
		}
	}
	return append(out, l.shares(l.base)...)
}

// MayReach is Reaches for a container that has not run yet.
func (l *Lab) MayReach(cfg container.Config) []Reach {
	var out []Reach
	for _, m := range outer(cfg) {
		out = append(out, Reach{"it can write to " + m.Destination, false})
	}
	return append(out, l.shares(cfg)...)
}

// outer are the mounts whose files are somebody's, and may be written.
func outer(cfg container.Config) (out []specs.Mount) {
	for _, m := range cfg.Spec.Mounts {
		if m.Type == "bind" && !slices.Contains(m.Options, "ro") && !ours(cfg, m.Source) {
			out = append(out, m)
		}
	}
	return out
}

// shares is what a container shares with the machine.
func (l *Lab) shares(cfg container.Config) (out []Reach) {
	s := cfg.Spec
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
func ours(cfg container.Config, source string) bool {
	files := cfg.Root.Files
	if len(files) == 0 {
		return false
	}
	dir := filepath.Dir(files[0].Source) // containers/ID; an anonymous volume is volumes/ID-N/_data
	return strings.HasPrefix(source, dir+"/") || strings.HasPrefix(filepath.Base(filepath.Dir(source)), filepath.Base(dir)+"-")
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
