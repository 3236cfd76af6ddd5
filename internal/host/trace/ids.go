package trace

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// idMaps translates the kernel's user and group ids into those of user namespaces. What a namespace
// maps is read while one of its processes lives, and never changes once it is written.
type idMaps struct {
	mu  sync.Mutex
	all map[uint64][2][]idRange
}

type idRange struct{ inside, outside, size uint32 }

// initialUserNS is the inode of the machine's first user namespace (PROC_USER_INIT_INO, include/linux/proc_ns.h).
const initialUserNS = 0xEFFFFFFD

// learn reads the ids of a process's user namespace. They are ours to the kernel only in the initial
// namespace, which is where eBPF is allowed.
func (ids *idMaps) learn(pid int) (ns uint64, ok bool) {
	var st unix.Stat_t
	if unix.Stat(proc(pid, "ns/user"), &st) != nil {
		return 0, false
	}
	var maps [2][]idRange
	for i, file := range []string{"uid_map", "gid_map"} {
		data, err := os.ReadFile(proc(pid, file))
		if err != nil {
			return 0, false
		}
		for line := range strings.Lines(string(data)) {
			var r idRange
			if _, err := fmt.Sscan(line, &r.inside, &r.outside, &r.size); err == nil {
				maps[i] = append(maps[i], r)
			}
		}
	}
	if len(maps[0]) == 0 || len(maps[1]) == 0 {
		return st.Ino, false // not written yet
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ids.all == nil {
		ids.all = map[uint64][2][]idRange{}
	}
	ids.all[st.Ino] = maps
	return st.Ino, true
}

// inside are a user's and a group's id in the namespace ns, of which pid is a process; -1 where they have none there,
// or where what the namespace maps could not be read any more.
func (ids *idMaps) inside(ns uint64, pid int, uid, gid uint32) (int, int) {
	if ns == initialUserNS {
		return int(uid), int(gid)
	}
	ids.mu.Lock()
	maps, ok := ids.all[ns]
	ids.mu.Unlock()
	if !ok {
		if at, ok := ids.learn(pid); !ok || at != ns {
			return -1, -1
		}
		ids.mu.Lock()
		maps = ids.all[ns]
		ids.mu.Unlock()
	}
	return mapped(maps[0], uid), mapped(maps[1], gid)
}

func mapped(rs []idRange, id uint32) int {
	for _, r := range rs {
		if id >= r.outside && id-r.outside < r.size {
			return int(r.inside + (id - r.outside))
		}
	}
	return -1
}
