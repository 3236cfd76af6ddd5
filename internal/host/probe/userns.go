package probe

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"porthole/facts"
)

// initialUserNS is the first user namespace's inode (PROC_USER_INIT_INO, include/linux/proc_ns.h).
const initialUserNS = 0xEFFFFFFD

func (r *reader) userNS(f *facts.Facts) error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &st); err == nil {
		f.UserNS.Initial = st.Ino == initialUserNS
	} else if err == unix.ENOENT {
		f.UserNS.Initial = true // a kernel without CONFIG_USER_NS has only the first
	} else {
		return fmt.Errorf("/proc/self/ns/user: %w", err)
	}
	if f.UserNS.Initial { // where ids are themselves (init_user_ns, kernel/user.c)
		whole := facts.IDRange{Size: 1<<32 - 1}
		f.UserNS.UIDs, f.UserNS.GIDs = []facts.IDRange{whole}, []facts.IDRange{whole}
		return nil
	}
	var err error
	if f.UserNS.UIDs, err = r.idMap("/proc/self/uid_map"); err != nil {
		return err
	}
	f.UserNS.GIDs, err = r.idMap("/proc/self/gid_map")
	return err
}

// idMap reads a uid_map or gid_map.
func (r *reader) idMap(path string) ([]facts.IDRange, error) {
	text, err := r.read(path)
	if err != nil {
		return nil, err
	}
	var ranges []facts.IDRange
	for line := range strings.Lines(text) {
		var n [3]uint32
		fields := strings.Fields(line)
		if len(fields) != len(n) {
			return nil, fmt.Errorf("%s: %q: want three numbers", path, line)
		}
		for i, s := range fields {
			v, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			n[i] = uint32(v)
		}
		ranges = append(ranges, facts.IDRange{Inside: n[0], Outside: n[1], Size: n[2]})
	}
	return ranges, nil
}

// subIDs fills in the ranges that /etc/subuid and /etc/subgid give us, by our name or number
// (subuid(5)), and the helpers that apply them. A file that is missing or malformed gives none, as it does for newuidmap.
func subIDs(f *facts.Facts) {
	id := strconv.Itoa(f.UID)
	name := id
	if u, err := user.LookupUid(f.UID); err == nil {
		name = u.Name
	}
	ours := func(path string) []facts.IDRange {
		subs, err := user.ParseSubIDFileFilter(path, func(s user.SubID) bool { return s.Name == name || s.Name == id })
		if err != nil {
			return nil
		}
		var ranges []facts.IDRange
		next := uint32(1) // 0 is ourselves
		for _, s := range subs {
			if s.SubID < 0 || s.Count <= 0 || s.SubID+s.Count > 1<<32-1 || int64(next)+s.Count > 1<<32-1 {
				continue
			}
			ranges = append(ranges, facts.IDRange{Inside: next, Outside: uint32(s.SubID), Size: uint32(s.Count)})
			next += uint32(s.Count)
		}
		return ranges
	}
	f.SubUID, f.SubGID = ours("/etc/subuid"), ours("/etc/subgid")
	helper := func(name string) string {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, dir := range []string{"/usr/bin/", "/bin/"} {
			if st, err := os.Stat(dir + name); err == nil && st.Mode()&0o111 != 0 {
				return dir + name
			}
		}
		return ""
	}
	f.NewUIDMap, f.NewGIDMap = helper("newuidmap"), helper("newgidmap")
}
