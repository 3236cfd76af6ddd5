package container

import (
	"os"
	"strings"
)

// kernelFS lists where procfs and sysfs are mounted in our mount namespace, but for what is beneath rootfs.
func kernelFS(rootfs string) (at []string) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // there is no procfs here
	}
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(table)) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue   (proc_pid_mountinfo(5))
		mount, fs, _ := strings.Cut(line, " - ")
		f := strings.Fields(mount)
		if kind, _, _ := strings.Cut(fs, " "); len(f) < 5 || kind != "proc" && kind != "sysfs" {
			continue
		}
		if p := plain.Replace(f[4]); p != rootfs && !strings.HasPrefix(p, rootfs+"/") {
			at = append(at, p)
		}
	}
	return at
}
