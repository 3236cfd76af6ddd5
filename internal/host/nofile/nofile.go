// Package nofile remembers the limit on open files that this process was started with.
//
// Go's package syscall raises the soft limit to the hard one when it is initialised
// (syscall/rlimit.go) and puts it back only in the programs that it executes itself.
// A container must get the original, so it is read before that: packages are
// initialised in the order of their import paths, those without imports first (Go 1.21
// release notes), and this one imports nothing and comes before "syscall". Hence its
// own system call, and the one variable that is set at start; its test starts a
// process to see that it holds.
package nofile

var soft, hard uint64

func init() {
	var lim [2]uint64
	if prlimit(&lim) == 0 {
		soft, hard = lim[0], lim[1]
	}
}

// Limit returns RLIMIT_NOFILE as it was at start, soft and hard; 0 and 0 where it cannot be read.
func Limit() [2]uint64 { return [2]uint64{soft, hard} }

// prlimit is prlimit64(0, RLIMIT_NOFILE, NULL, lim); it returns 0 or a negative errno.
//
//go:noescape
func prlimit(lim *[2]uint64) int64
