package ocicli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// environ is the environment that a process gets: of a name that comes several times the last, where it stands; and HOME,
// where it is missing or empty. Docker and containerd leave that one to their runtime.
func environ(env []string, home func() string) ([]string, error) {
	seen, hasHome := map[string]bool{}, false
	out := make([]string, 0, len(env)+1)
	for i, kv := range slices.Backward(env) {
		name, value, is := strings.Cut(kv, "=")
		switch {
		case !is:
			return nil, fmt.Errorf("process.env[%d]: %q: want NAME=VALUE", i, kv)
		case name == "":
			return nil, fmt.Errorf("process.env[%d]: %q: the name is empty", i, kv)
		case strings.ContainsRune(kv, 0):
			return nil, fmt.Errorf("process.env[%d]: %q: no text with a NUL byte can be handed on", i, name)
		case seen[name]:
			continue
		}
		seen[name] = true
		if name == "HOME" {
			if hasHome = value != ""; !hasHome {
				continue
			}
		}
		out = append(out, kv)
	}
	slices.Reverse(out)
	if !hasHome {
		out = append(out, "HOME="+home())
	}
	return out, nil
}

// passwd is the user database.
const passwd = "/etc/passwd"

// homeIn is the home directory of a user as a process would find it whose root directory is root; "/" where the
// user database does not say.
func homeIn(root string, uid uint32) string {
	data, _ := readIn(root, passwd) // a container may well have none, or one that is not to be read
	return homeOf(data, uid)
}

// homeBefore is homeIn for a container that is still to be made: where a mount is to cover the database, it is read from there.
func homeBefore(s *specs.Spec) string {
	root, name := s.Root.Path, passwd
	for _, m := range s.Mounts {
		over := filepath.Clean("/" + m.Destination)
		beneath, err := filepath.Rel(over, passwd)
		if err != nil || beneath == ".." || strings.HasPrefix(beneath, "../") {
			continue
		}
		switch {
		case m.Type != "bind" && !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind"):
			if !slices.Contains(m.Options, "tmpcopyup") {
				root = "" // a new file system
			}
		case beneath == ".":
			root, name = filepath.Dir(m.Source), filepath.Base(m.Source)
			if real, err := filepath.EvalSymlinks(m.Source); err == nil {
				root, name = filepath.Dir(real), filepath.Base(real)
			}
		default:
			root, name = m.Source, beneath
		}
	}
	if root == "" {
		return "/"
	}
	data, _ := readIn(root, name)
	return homeOf(data, s.Process.User.UID)
}

// homeOf looks in the lines of a user database (passwd(5)).
func homeOf(passwd []byte, uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	for line := range bytes.Lines(passwd) {
		if f := strings.Split(strings.TrimSpace(string(line)), ":"); len(f) >= 6 && f[2] == id {
			if f[5] == "" {
				break
			}
			return f[5]
		}
	}
	return "/"
}

// readIn reads a small file as a process would find it whose root directory is root: links stay inside, and what is no
// file of bytes is not opened for long.
func readIn(root, name string) ([]byte, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, unix.EINVAL)
	}
	return io.ReadAll(io.LimitReader(f, 1<<20))
}
