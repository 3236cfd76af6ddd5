package launch

import (
	"errors"
	"fmt"
	"strings"

	"porthole/abi"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// ErrGone says that the child ended before it came as far as asked: neither a failing step nor a
// signal is known.
var ErrGone = errors.New("the container's first process is gone")

// StepError is the step at which a plan ended.
type StepError struct {
	Index  int // in the plan's list; -1: a call of launch's own
	Of     int // steps in that list; 0 for launch's own
	Step   plan.Step
	Errno  abi.Errno
	Signal unix.Signal // where not 0, this ended the child during the step, and Errno says nothing
	Parent bool        // the parent's list (before the clone, or at a gate), not the child's

	text string // the step as plan prints it
}

// at fills in the step, which is the one at e.Index of list; names are the slots'.
func (e *StepError) at(list []plan.Step, index int, names []string) *StepError {
	e.Step = list[index]
	e.text = (&plan.Plan{Child: list, Names: names}).Describe(index)
	return e
}

// Error says what was to be done, what the kernel said, and on a line of its own which call it was.
func (e *StepError) Error() string {
	var b strings.Builder
	what := e.Step.Refer
	if what == "" {
		what = e.Step.Why
	}
	if what == "" {
		what = e.Step.Call
	}
	if what != "" {
		b.WriteString(what + ": ")
	}
	if e.Signal != 0 {
		fmt.Fprintf(&b, "killed by %s", unix.SignalName(e.Signal))
	} else {
		b.WriteString(e.Errno.Error())
	}
	b.WriteString("\n  ")
	if e.Parent && e.Index >= 0 {
		b.WriteString("parent's ")
	}
	if e.Index >= 0 {
		fmt.Fprintf(&b, "step %d of %d", e.Index+1, e.Of)
	} else {
		b.WriteString("between the steps")
	}
	if e.text != "" {
		b.WriteString(": " + e.text)
	}
	return b.String()
}

// Unwrap returns the errno, as ours and as the standard library's (so that errors.Is knows fs.ErrNotExist).
func (e *StepError) Unwrap() []error {
	if e.Signal != 0 {
		return nil
	}
	return []error{e.Errno, unix.Errno(e.Errno)}
}
