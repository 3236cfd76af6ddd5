package abi

import "testing"

func TestKindsNameArguments(t *testing.T) {
	for i, k := range kinds {
		if i > 0 && k.call < kinds[i-1].call {
			t.Errorf("kinds: %s comes after %s", k.call, kinds[i-1].call)
		}
		found := false
		for _, p := range Params(k.call) {
			found = found || p.Name == k.param && p.Kind == k.kind && p.Group == k.group
		}
		if !found {
			t.Errorf("kinds: %s has no argument %s (%v)", k.call, k.param, Params(k.call))
		}
		if set, zero := names(k.group); k.kind == KindFlags && len(set) == 0 && zero == "" {
			t.Errorf("kinds: %s.%s: no group %q", k.call, k.param, k.group)
		}
	}
}
