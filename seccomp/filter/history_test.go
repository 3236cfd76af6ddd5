package filter_test

import (
	"fmt"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// Every profile that a release came with: with Docker's capabilities, with none, with all;
// for x86-64 and for the other machines. The same policy is tried once.
func TestAgreesWithEveryRelease(t *testing.T) {
	seen := map[string]bool{}
	tried := 0
	for _, r := range profile.Releases() {
		for _, a := range []abi.Arch{abi.X86_64, abi.ARM64, abi.S390X, abi.PPC64LE, abi.RISCV64} {
			for _, granted := range []caps.Set{dockerCaps, caps.Set(0), caps.All} {
				if a != abi.X86_64 && granted != dockerCaps {
					continue
				}
				policy := release(t, r.String(), a, granted)
				id := fmt.Sprint(policy)
				if seen[id] {
					continue
				}
				seen[id] = true
				name := fmt.Sprintf("%v %v %v", r, a, granted)
				tried += agree(t, name, policy, 2000)
				if policy.Default.Kind() == seccomp.Errno {
					if n := bitmapped(t, name, policy); n < 200 {
						t.Errorf("%s: only %d calls are always allowed", name, n)
					}
				}
			}
		}
	}
	t.Logf("%d policies, %d calls tried", len(seen), tried)
	if len(seen) < 50 {
		t.Errorf("only %d policies", len(seen))
	}
}
