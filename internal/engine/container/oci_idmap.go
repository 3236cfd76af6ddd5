package container

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/plan"
)

// idMaps opens the user namespaces that id-mapped mounts take their ids from, into fds. done closes them.
func idMaps(maps []plan.IDMap, fds map[plan.Slot]int) (done func(), err error) {
	var open []*os.File
	done = func() {
		for _, f := range open {
			f.Close()
		}
	}
	for _, m := range maps {
		var f *os.File
		if m.Path != "" {
			f, err = os.Open(m.Path)
		} else {
			f, err = userNamespace(m.UIDs, m.GIDs)
		}
		if err != nil {
			done()
			return nil, fmt.Errorf("a user namespace to map a mount's ids: %w", err)
		}
		open = append(open, f)
		fds[m.Slot] = int(f.Fd())
	}
	return done, nil
}

// userNamespace makes a user namespace with these ids and nobody in it. It takes a process to make one: ours, which
// stops before its first instruction, as one that is traced, and is killed there.
func userNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"porthole"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids(uids), GidMappings: ids(gids), GidMappingsEnableSetgroups: true,
		Ptrace: true, Pdeathsig: unix.SIGKILL,
	}})
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/" + strconv.Itoa(p.Pid) + "/ns/user")
	p.Kill()
	p.Wait()
	return f, err
}

func ids(ms []specs.LinuxIDMapping) (list []syscall.SysProcIDMap) {
	for _, m := range ms {
		list = append(list, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return list
}
