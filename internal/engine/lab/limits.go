package lab

import "golang.org/x/sys/unix"

// limits are the resource limits by their short names (getrlimit(2)).
var limits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE,
	"locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// hardLimit is our own hard limit: nobody gives more without CAP_SYS_RESOURCE.
func hardLimit(name string) (uint64, bool) {
	n, ok := limits[name]
	if !ok {
		return 0, false
	}
	var r unix.Rlimit
	if unix.Getrlimit(n, &r) != nil {
		return 0, false
	}
	return r.Max, true
}
