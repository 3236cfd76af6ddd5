package why

import (
	"slices"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/workload"
)

// What stands one behind the other in different calls is granted together, and told from the front.
func TestTogether(t *testing.T) {
	lacks := func(c caps.Cap) []blocker { return []blocker{{Capability, abi.EPERM, c, holding(c)}} }
	filtered := func(call string) []blocker { return []blocker{{Seccomp, abi.EPERM, 0, allowing(call)}} }
	for _, c := range []struct {
		story string
		steps []step
		first string
		flags string
	}{
		{"an entry point that becomes somebody else",
			[]step{{call: "setresgid(1000, 1000, 1000)", blockers: lacks(caps.CAP_SETGID)}, {call: "setresuid(1000, 1000, 1000)", blockers: lacks(caps.CAP_SETUID)}},
			"setresgid", "--cap-add SETGID --cap-add SETUID"},
		{"two calls that only a rule opens",
			[]step{{call: "pivot_root", blockers: filtered("pivot_root")}, {call: "keyctl(0)", blockers: filtered("keyctl")}},
			"pivot_root", "porthole profile allow pivot_root keyctl > p.json"},
		{"two calls that one capability opens",
			[]step{{call: "mbind", blockers: filtered("mbind")}, {call: "set_mempolicy", blockers: filtered("set_mempolicy")}},
			"mbind", "porthole profile allow mbind set_mempolicy > p.json"},
	} {
		w := &world{scene: defaultScene(t, workload.Workload{Security: workload.Security{CapDrop: []string{"SETGID", "SETUID"}}}), sight: sees, steps: c.steps}
		_, e := w.inquire(t, Options{})
		if len(e.Cause) != 2 {
			t.Fatalf("%s: cause %v", c.story, e.Cause)
		}
		if name := callOf(e.Refusals[0].Refusal.Event).Name; name != c.first {
			t.Errorf("%s: %s is told first", c.story, name)
		}
		if len(e.Grants) == 0 || strings.Join(e.Grants[0].Flags, " ") != c.flags {
			t.Errorf("%s: grants %+v, want %s", c.story, e.Grants, c.flags)
		}
		if slices.ContainsFunc(e.Grants, func(g Grant) bool {
			return g.factor.Kind == CapGranted && g.factor.Caps != caps.Of(caps.CAP_SYS_NICE) || g.factor.Kind == FilterRule
		}) {
			t.Errorf("%s: a part alone is among the grants: %+v", c.story, e.Grants)
		}
	}
}

// A refusal that only a tolerated one was lifted for does not hide the one that ended the program.
func TestToleratedIsNotTheCause(t *testing.T) {
	w := &world{scene: defaultScene(t, workload.Workload{}), sight: sees, steps: []step{
		{call: "personality(ADDR_NO_RANDOMIZE)", blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("personality")}}, tolerated: true},
		{call: "clone(SIGCHLD)", blockers: []blocker{{Rlimit, eagain, 0, has(RlimitSet)}}},
	}}
	_, e := w.inquire(t, Options{})
	if name := callOf(e.Refusals[0].Refusal.Event).Name; name != "clone" || e.Refusals[0].Layers[0].Layer != Rlimit || e.Refusals[0].Layers[0].Proof != Proved {
		t.Errorf("first is %s: %+v", name, e.Refusals[0].Layers)
	}
	if len(e.Grants) == 0 || strings.Join(e.Grants[0].Flags, " ") != "--pids-limit MORE" {
		t.Errorf("grants: %+v", e.Grants)
	}
}

// Memory that ran out is told, though no call failed, and nothing that was read.
func TestStarved(t *testing.T) {
	s := defaultScene(t, workload.Workload{})
	events := []event.Event{
		{Kind: event.Read, PID: 7, TID: 7, Comm: "prog", Arch: abi.X86_64, File: &event.File{Path: "/proc/sys/vm/max_map_count"}},
		{Kind: event.Starved, PID: 1, TID: 1, Comm: "prog"},
	}
	q := Begin(s, Outcome{Exit: 137, Events: events, Sight: sees}, Options{NoRun: true})
	e := q.Explain()
	first := e.Refusals[0]
	if first.Code != "P0805" || first.Layers[0].Proof != Seen || !strings.Contains(e.Text("en"), "--memory MORE") {
		t.Errorf("%+v\n%s", first, e.Text("en"))
	}
	if got := Begin(s, Outcome{Events: events[:1], Sight: sees}, Options{NoRun: true}).Explain(); len(got.Refusals) != 0 {
		t.Errorf("a program that ended well gave up over what it read: %+v", got.Refusals)
	}
}

// What the audit subsystem answers is no matter of CAP_NET_ADMIN.
func TestAudit(t *testing.T) {
	s := defaultScene(t, workload.Workload{As: "podman"})
	for kind, want := range map[uint16]caps.Cap{1112: caps.CAP_AUDIT_WRITE, 1000: caps.CAP_AUDIT_CONTROL} {
		e := event.Event{Kind: event.Nack, Comm: "sshd", Arch: abi.X86_64, Nr: 45, Errno: abi.EPERM, Netlink: event.Netlink{Protocol: 9, Type: kind}}
		sus := Suspects(Refusal{Event: e, Silent: true}, s)
		if sus[0].Layer != Capability || sus[0].Factors[0].Caps != caps.Of(want) {
			t.Errorf("message %d: %+v, want %v", kind, sus, want)
		}
	}
}
