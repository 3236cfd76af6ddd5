package probe

import (
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// lsmNames are the kernel's names by LSM_ID_* (include/uapi/linux/lsm.h, from 100 on).
var lsmNames = []string{
	"capability", "selinux", "smack", "tomoyo", "apparmor", "yama", "loadpin",
	"safesetid", "lockdown", "bpf", "landlock", "ima", "evm", "ipe",
}

// lsms fills in the active security modules. Linux 6.8 tells by a system call; before that securityfs
// does, where it is mounted; else the modules that show elsewhere are named.
func (r *reader) lsms(f *facts.Facts) {
	f.LSMs = listLSMs()
	if f.LSMs == nil {
		if text, err := r.read("/sys/kernel/security/lsm"); err == nil {
			f.LSMs = strings.Split(strings.TrimSpace(text), ",")
		}
	}
	if f.Deep {
		if text, err := r.read("/sys/kernel/security/lockdown"); err == nil { // "[none] integrity confidentiality"
			_, rest, _ := strings.Cut(text, "[")
			f.Sysctl["lockdown"], _, _ = strings.Cut(rest, "]")
		}
	}
	told := f.LSMs != nil
	may := func(name string) bool { return !told || slices.Contains(f.LSMs, name) }
	if may("yama") {
		if text, err := r.read("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
				f.Yama = n
			}
		}
	}
	if may("apparmor") {
		text, err := r.read("/sys/module/apparmor/parameters/enabled")
		f.AppArmor = err == nil && strings.HasPrefix(text, "Y")
	}
	f.SELinux = may("selinux") && exists("/sys/fs/selinux/enforce")
	if told {
		return
	}
	unsure(&f.Features, "LSMs")
	f.LSMs = []string{"capability"}
	for _, m := range []struct {
		name string
		on   bool
	}{{"selinux", f.SELinux}, {"apparmor", f.AppArmor}, {"yama", f.Yama >= 0}} {
		if m.on {
			f.LSMs = append(f.LSMs, m.name)
		}
	}
}

// listLSMs asks lsm_list_modules (6.8); nil where there is no such call.
func listLSMs() []string {
	var ids [32]uint64
	size := uint32(unsafe.Sizeof(ids))
	n, _, errno := unix.RawSyscall(unix.SYS_LSM_LIST_MODULES, uintptr(unsafe.Pointer(&ids)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || int(n) > len(ids) {
		return nil
	}
	names := make([]string, 0, n)
	for _, id := range ids[:n] {
		if i := int(id) - 100; 0 <= i && i < len(lsmNames) {
			names = append(names, lsmNames[i])
		} else {
			names = append(names, "lsm-"+strconv.FormatUint(id, 10))
		}
	}
	return names
}
