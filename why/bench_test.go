package why

import (
	"testing"

	"porthole/abi"
	"porthole/event"
	"porthole/workload"
)

// A whole inquiry into a program of which a hundred different calls were refused: what porthole adds to
// the runs themselves.
func BenchmarkInquiry(b *testing.B) {
	s := defaultScene(b, workload.Workload{As: "docker:18.06"})
	var events []event.Event
	for nr, name := range abi.X86_64.Calls() {
		if act, ok := s.decide(abi.X86_64, nr, [6]uint64{}); ok && !act.Permits() && len(events) < 100 {
			events = append(events, event.Event{Kind: event.Refused, Comm: name, Arch: abi.X86_64, Nr: nr, Errno: abi.EPERM, Filtered: true, Time: int64(nr)})
		}
	}
	if len(events) < 60 {
		b.Fatal(len(events))
	}
	for b.Loop() {
		q := Begin(s, Outcome{Exit: 1, Events: events, Sight: sees}, Options{})
		for x, ok := q.Next(); ok; x, ok = q.Next() {
			if len(x.Lift) > 2 {
				q.Tell(x, Outcome{Sight: sees})
				continue
			}
			q.Tell(x, Outcome{Exit: 1, Events: events, Sight: sees})
		}
		if len(q.Explain().JSON("en")) == 0 {
			b.Fatal("nothing")
		}
	}
}
