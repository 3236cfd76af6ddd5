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
	if e.Step.Call != "" {
		b.WriteString(": " + call(e.Step))
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

// call writes a step as strace would.
func call(s plan.Step) string {
	args := make([]string, len(s.Args))
	for i, a := range s.Args {
		switch {
		case a.Text != "":
			args[i] = a.Text
		case a.Kind == plan.ArgMem && a.Mem == nil:
			args[i] = "NULL"
		case a.Kind == plan.ArgMem:
			args[i] = text(a.Mem)
		case a.Kind == plan.ArgSlot:
			args[i] = fmt.Sprintf("$%d", a.Slot)
		case a.Kind == plan.ArgSlotAt:
			args[i] = fmt.Sprintf("&$%d", a.Slot)
		case a.Num < 1024:
			args[i] = fmt.Sprint(a.Num)
		case int64(a.Num) < 0 && int64(a.Num) > -4096:
			args[i] = fmt.Sprint(int64(a.Num))
		default:
			args[i] = fmt.Sprintf("%#x", a.Num)
		}
	}
	return s.Call + "(" + strings.Join(args, ", ") + ")"
}

// text shows memory that is a printable C string, quoted, and the size of any other.
func text(m *plan.Mem) string {
	if n := len(m.Bytes); n > 0 && len(m.Ptrs) == 0 && m.Bytes[n-1] == 0 {
		s := string(m.Bytes[:n-1])
		if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Sprintf("%q", s)
		}
	}
	return fmt.Sprintf("{%d bytes}", len(m.Bytes))
}
