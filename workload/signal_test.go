package workload

import "testing"

func TestSignal(t *testing.T) {
	for s, want := range map[string]int{
		"TERM": 15, "SIGTERM": 15, "sigterm": 15, "15": 15, "KILL": 9, "RTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "64": 64,
		"": 0, "0": 0, "65": 0, "-1": 0, "NOPE": 0, "RTMIN-1": 0, "RTMAX+1": 0, "RTMIN3": 0, "RTMIN+x": 0, "SIG": 0,
	} {
		got, err := Signal(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("Signal(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
}
