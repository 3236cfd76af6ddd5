package seccomp

import (
	"fmt"
	"strings"

	"porthole/abi"
)

// actions are the kernel's actions with their spelling in documents.
// SCMP_ACT_KILL is the old name of SCMP_ACT_KILL_THREAD (runtime-spec, config-linux.md).
var actions = []struct {
	token string
	act   Action
}{
	{"SCMP_ACT_KILL_THREAD", KillThread},
	{"SCMP_ACT_KILL", KillThread},
	{"SCMP_ACT_KILL_PROCESS", KillProcess},
	{"SCMP_ACT_TRAP", Trap},
	{"SCMP_ACT_ERRNO", Errno},
	{"SCMP_ACT_TRACE", Trace},
	{"SCMP_ACT_LOG", Log},
	{"SCMP_ACT_NOTIFY", Notify},
	{"SCMP_ACT_ALLOW", Allow},
}

// ParseAction reads an action as documents spell it ("SCMP_ACT_ERRNO").
// Its datum is 0: see With. The error names the nearest spelling.
func ParseAction(s string) (Action, error) {
	var tokens []string
	for _, a := range actions {
		if a.token == s {
			return a.act, nil
		}
		tokens = append(tokens, a.token)
	}
	return 0, fmt.Errorf("unknown action %q%s", s, meant(s, tokens))
}

// Kind is the action without its datum (SECCOMP_RET_ACTION_FULL, linux/seccomp.h).
func (a Action) Kind() Action { return a & 0xffff0000 }

// Data is the action's datum: the errno of Errno, the message of Trace.
func (a Action) Data() uint16 { return uint16(a) }

// With is the same kind of action with another datum.
func (a Action) With(datum uint16) Action { return a.Kind() | Action(datum) }

// Permits says that the call is carried out, or may be by the tracer's leave.
// It is what runc calls an allowing action (libcontainer/seccomp/patchbpf, isAllowAction).
func (a Action) Permits() bool {
	switch a.Kind() {
	case Allow, Log, Trace:
		return true
	}
	return false
}

// Token is the action as documents spell it, without its datum,
// or "" for a number that is no action.
func (a Action) Token() string {
	for _, k := range actions {
		if k.act == a.Kind() {
			return k.token
		}
	}
	return ""
}

// String is the action as people read it: "ALLOW", "ERRNO(EPERM)", "TRACE(7)".
// The kernel kills the process for a number that is no action (__seccomp_filter,
// kernel/seccomp.c); that number is printed as it is.
func (a Action) String() string {
	name, d := strings.TrimPrefix(a.Token(), "SCMP_ACT_"), a.Data()
	switch {
	case name == "":
		return fmt.Sprintf("%#08x", uint32(a))
	case a.Kind() == Errno && d != 0:
		return "ERRNO(" + abi.Errno(d).String() + ")"
	case a.Kind() == Errno, a.Kind() == Trace, d != 0:
		return fmt.Sprintf("%s(%d)", name, d)
	}
	return name
}

// meant ends an error about s with the candidate that it may have been meant for.
func meant(s string, candidates []string) string {
	for _, c := range abi.Near(s, candidates, 1) {
		return "; did you mean " + c + "?"
	}
	return "; there are " + strings.Join(candidates, ", ")
}
