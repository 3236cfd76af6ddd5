package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/event"
	"porthole/internal/engine/container"
)

// onHost is where a path of a container that has not begun yet is to be found; "" where it is not
// there. What an upper layer hides is found all the same.
func onHost(cfg container.Config, p string) string {
	if i := mountOf(cfg.Spec, p); i >= 0 {
		m := cfg.Spec.Mounts[i]
		if m.Type != "bind" {
			return ""
		}
		return existing(m.Source, strings.TrimPrefix(path.Clean(p), m.Destination))
	}
	best := -1
	for i, l := range cfg.Root.Layers {
		if covers(l.Target, p) && (best < 0 || len(l.Target) >= len(cfg.Root.Layers[best].Target)) {
			best = i
		}
	}
	if best < 0 {
		return existing(cfg.Root.Path, p)
	}
	l := cfg.Root.Layers[best]
	rest := strings.TrimPrefix(path.Clean(p), strings.TrimSuffix(l.Target, "/"))
	switch {
	case l.Link != "":
		if !path.IsAbs(l.Link) {
			return onHost(cfg, path.Join(path.Dir(l.Target), l.Link, rest))
		}
		return onHost(cfg, path.Join(l.Link, rest))
	case l.Bind != "":
		return existing(l.Bind, rest)
	}
	for _, dir := range l.Lower {
		if at := existing(dir, rest); at != "" {
			return at
		}
	}
	return ""
}

func existing(root, p string) string {
	if root == "" {
		return ""
	}
	at, err := securejoin.SecureJoin(root, p)
	if err != nil {
		return ""
	}
	if _, err := os.Lstat(at); err != nil {
		return ""
	}
	return at
}

// lookup finds a program as execvp does, by the PATH that it will have.
func lookup(cfg container.Config, program string) string {
	if strings.Contains(program, "/") {
		return path.Join("/", cfg.Spec.Process.Cwd, program)
	}
	for _, kv := range cfg.Spec.Process.Env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			if at := onHost(cfg, path.Join("/", dir, program)); at != "" {
				return path.Join("/", dir, program)
			}
		}
	}
	return ""
}

// fileIn describes a program that is in a container's image; nil where it can't be found.
func fileIn(cfg container.Config, program string) *event.File {
	inside := program
	if !path.IsAbs(program) {
		inside = lookup(cfg, program)
	}
	at := onHost(cfg, inside)
	if at == "" {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat(at, &st) != nil {
		return nil
	}
	f := &event.File{Path: inside, Mode: st.Mode, UID: int(st.Uid), GID: int(st.Gid), Dev: st.Rdev}
	value := make([]byte, 64)
	if n, err := unix.Getxattr(at, "security.capability", value); err == nil {
		f.Caps, _ = caps.ParseXattr(value[:n])
	}
	if i := mountOf(cfg.Spec, inside); i >= 0 {
		m := cfg.Spec.Mounts[i]
		f.Mount, f.FS = m.Destination, m.Type
		for _, o := range m.Options {
			if unflag[o] != "" {
				f.Flags = append(f.Flags, o)
			}
		}
	} else {
		f.Mount, f.FS = "/", "overlay"
	}
	return f
}

// fileCapsOff covers a program with a copy of it that has no file capabilities.
func (l *Lab) fileCapsOff(program string) (change, error) {
	at := onHost(l.base, program)
	if at == "" {
		return change{}, fmt.Errorf("%s is not to be found in the image", program)
	}
	copied, err := copyProgram(at)
	if err != nil {
		return change{}, err
	}
	ch, _ := config(func(c *container.Config) {
		c.Spec.Mounts = append(slices.Clone(c.Spec.Mounts), specs.Mount{
			Destination: path.Clean(program), Type: "bind", Source: copied, Options: []string{"bind", "ro"},
		})
	})
	ch.undo = func() { os.RemoveAll(filepath.Dir(copied)) }
	return ch, nil
}

// copyProgram copies a file and its permissions into a directory of its own. Extended attributes, file
// capabilities among them, stay behind, and so do the setuid bits.
func copyProgram(from string) (to string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "porthole-lab-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	to = filepath.Join(dir, filepath.Base(from))
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, st.Mode().Perm())
	if err == nil {
		_, err = io.Copy(out, in)
		err = errors.Join(err, out.Chmod(st.Mode().Perm()), out.Close())
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return to, nil
}
