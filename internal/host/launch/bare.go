package launch

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"porthole/internal/host/sys"

	"golang.org/x/sys/unix"
)

// unshare has the child born without any memory but its raft (MADV_DONTFORK): nothing to copy, and
// none of our pages to be copied when we write to them after the clone. What another thread maps
// meanwhile the child unmaps itself: see shed. (Go's own os/exec shares all memory with its child
// and does not care.)
//
// The caller holds births from here to the clone: another's unshare would take this raft from the child, which would
// end with SIGSEGV before its first step.
func unshare(raft []byte) {
	for _, part := range around(raft) {
		// ENOMEM says that there are holes; the rest is done.
		unix.RawSyscall(unix.SYS_MADVISE, uintptr(part[0]), uintptr(part[1]), unix.MADV_DONTFORK)
	}
	// Another's unshare may have come since it was mapped.
	unix.RawSyscall(unix.SYS_MADVISE, sys.Addr(raft), uintptr(len(raft)), unix.MADV_DOFORK)
}

// births is held while it matters which memory a child is born with.
var births sync.Mutex

// around are the two stretches of address space on either side of b: address and length.
func around(b []byte) [][2]uint64 {
	low, high := uint64(sys.Addr(b)), uint64(sys.Addr(b))+uint64(len(b))
	top := uint64(1)<<47 - uint64(unix.Getpagesize()) // TASK_SIZE on amd64
	if runtime.GOARCH == "arm64" {
		// CONFIG_ARM64_VA_BITS is 36 to 52, of which nobody gets more than 48 who does not ask.
		for _, bits := range []int{36, 39, 42, 47, 48} {
			if top = 1 << bits; high < top {
				break
			}
		}
	}
	return [][2]uint64{{0, low}, {high, top - high}}
}

// watched says whether the kernel writes to memory of the calling thread behind its back: to a restartable
// sequences area, as glibc registers for each thread. Then the child must keep that, and keeps all. Go alone
// registers none. scratch is 32 bytes, aligned to 32, to try it with.
func watched(scratch []byte) bool {
	const unregister, signature = 1, 0x53053053
	try := func(flags uintptr) unix.Errno {
		_, _, e := unix.RawSyscall6(unix.SYS_RSEQ, sys.Addr(scratch), 32, flags, signature, 0, 0)
		return e
	}
	// A second registration is refused (kernel/rseq.c); ENOSYS: nobody can have made a first.
	switch try(0) {
	case 0:
		try(unregister)
		return false
	case unix.ENOSYS:
		return false
	}
	return true
}

// ourImage are the mappings of this program's file: address and length.
func ourImage() ([][2]uint64, error) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list [][2]uint64
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uint64
		if !strings.HasSuffix(s.Text(), " "+exe) {
			continue
		}
		if _, err := fmt.Sscanf(s.Text(), "%x-%x", &from, &to); err != nil {
			return nil, err
		}
		list = append(list, [2]uint64{from, to - from})
	}
	return list, nil
}
