package sys

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Slack lets Go's watching thread oversleep. It looks round every 20 µs as long as anything runs (sysmon,
// runtime/proc.go), which in a command that lives for milliseconds is for nothing: without this a
// `run` has 30 context switches more, and takes 3 % more CPU. A pause of its gets up to 10 ms longer.
//
// The thread is the second that the process made. Where it cannot be told (that takes CAP_SYS_NICE,
// timerslack_ns_write in fs/proc/base.c), all stays as it was.
func Slack() {
	dir, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var buf [512]byte
	n, _ := unix.ReadDirent(dir, buf[:])
	unix.Close(dir)
	_, _, tids := unix.ParseDirent(buf[:max(n, 0)], -1, nil)
	self := strconv.Itoa(os.Getpid())
	for _, tid := range tids {
		if tid == self {
			continue
		}
		if fd, err := unix.Open("/proc/"+tid+"/timerslack_ns", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			unix.Write(fd, []byte("10000000"))
			unix.Close(fd)
		}
		return
	}
}
