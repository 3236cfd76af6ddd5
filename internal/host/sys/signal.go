package sys

import "golang.org/x/sys/unix"

// Signals is how many signals there are; their numbers run from 1.
const Signals = 64

// BlockSignals blocks every signal on the calling thread, which the caller has locked,
// and returns the mask that RestoreSignals puts back.
func BlockSignals() (unix.Sigset_t, error) {
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	return old, err
}

// RestoreSignals sets the calling thread's signal mask.
func RestoreSignals(mask unix.Sigset_t) error {
	return unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
}
