package probe

import (
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
	yama, err := r.read("/proc/sys/kernel/yama/ptrace_scope")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(yama)); err == nil {
			f.Yama = n
		}
	}
	enabled, err := r.read("/sys/module/apparmor/parameters/enabled")
	f.AppArmor = err == nil && strings.HasPrefix(enabled, "Y")
	f.SELinux = exists("/sys/fs/selinux/enforce")

	if f.LSMs = listLSMs(); f.LSMs != nil {
		return
	}
	if text, err := r.read("/sys/kernel/security/lsm"); err == nil {
		f.LSMs = strings.Split(strings.TrimSpace(text), ",")
		return
	}
	f.Features.Unsure = append(f.Features.Unsure, "LSMs")
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
