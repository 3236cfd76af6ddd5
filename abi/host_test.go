//go:build linux && amd64

package abi_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"porthole/abi"
)

// TestParamsAgreeWithThisKernel compares argument types with what the running kernel's own
// tracepoints say. Kernels change a type now and then: calls that differ are counted, and
// on the release that the facts are from none may.
func TestParamsAgreeWithThisKernel(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount tracefs")
	}
	dir := t.TempDir()
	if err := unix.Mount("trace", dir, "tracefs", unix.MS_RDONLY, ""); err != nil {
		t.Skip("needs to mount tracefs: ", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	same := strings.HasPrefix(release, "6.18.")
	field := regexp.MustCompile(`(?m)^\tfield:(.*\S)\s*\b(\w+);\toffset:\d+;\tsize:8;`)

	found, differ := 0, 0
	for _, name := range abi.X86_64.Calls() {
		text, err := os.ReadFile(filepath.Join(dir, "events/syscalls/sys_enter_"+name, "format"))
		if err != nil {
			continue // not built into this kernel, or its entry has another name
		}
		found++
		var theirs, ours []string
		for _, m := range field.FindAllStringSubmatch(string(text), -1) {
			theirs = append(theirs, m[1]+" "+m[2])
		}
		for _, p := range abi.Params(name) {
			ours = append(ours, p.Type+" "+p.Name)
		}
		if a, b := strings.Join(theirs, ", "), strings.Join(ours, ", "); a != b {
			differ++
			t.Logf("%s(%s), here (%s)", name, b, a)
		}
	}
	if found == 0 {
		t.Skip("this kernel has no system call tracepoints")
	}
	t.Logf("%d calls compared on %s, %d differ", found, release, differ)
	if same && differ > 0 || differ > found/10 {
		t.Errorf("%d of %d calls differ", differ, found)
	}
}
