package workload

import "testing"

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": false, "ab": true, "A0": true, "0_": true, "a.b-c_d": true,
		"-a": false, "_a": false, ".a": false, "a/": false, "a b": false, "aé": false, "ab\n": false, "a\x00": false,
	} {
		if got := ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
	}
}
