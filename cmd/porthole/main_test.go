package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"porthole/internal/cli/fast"
)

// The program becomes the whole one: from beside it, from behind its own end; and says so where there is neither.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	build := func(pkg, name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	plain, whole := build("porthole/cmd/porthole", "porthole"), build("porthole/cmd/porthole-full", fast.WholeName)
	run := func(program string, args ...string) (out, errs string, code int) {
		t.Helper()
		var o, e bytes.Buffer
		cmd := exec.Command(program, args...)
		cmd.Stdout, cmd.Stderr = &o, &e
		cmd.Run()
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	want, _, _ := run(whole, "profile", "decide", "read(0)", "--kernel", "6.1", "--arch", "x86_64")
	if !strings.Contains(want, "ALLOW") {
		t.Fatalf("the whole program says %q", want)
	}
	check := func(program, how string) {
		t.Helper()
		if out, errs, code := run(program, "profile", "decide", "read(0)", "--kernel", "6.1", "--arch", "x86_64"); out != want || code != 0 {
			t.Errorf("%s: %q, %q, exit code %d; want %q", how, out, errs, code, want)
		}
		if _, errs, code := run(program, "nosuch"); code != fast.ExitOurs || !strings.Contains(errs, `unknown command "nosuch"`) {
			t.Errorf("%s: %q, exit code %d", how, errs, code)
		}
	}
	check(plain, "beside")

	one, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "porthole")
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(alone, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(bytes.Join([][]byte{one, all, fmt.Appendf(nil, "%016d%s", len(all), fast.Mark)}, nil))
	check(alone, "behind its end")

	// One that stands beside it, and is another build, is not taken.
	stranger := filepath.Join(filepath.Dir(alone), fast.WholeName)
	if err := os.WriteFile(stranger, []byte("#!/bin/sh\necho stranger\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	check(alone, "beside a stranger")
	if err := os.Remove(stranger); err != nil {
		t.Fatal(err)
	}

	// Nor does it become itself for ever.
	put(one)
	if err := os.Link(alone, stranger); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := run(alone, "version"); code != fast.ExitOurs || out != "" || !strings.Contains(errs, "this program again") {
		t.Errorf("beside itself: %q, %q, exit code %d", out, errs, code)
	}
	if err := os.Remove(stranger); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := run(alone, "version"); code != fast.ExitOurs || out != "" || !strings.Contains(errs, stranger) {
		t.Errorf("alone: %q, %q, exit code %d", out, errs, code)
	}
	put(bytes.Join([][]byte{one, all, fmt.Appendf(nil, "%016d%s", 1<<40, fast.Mark)}, nil))
	if out, errs, code := run(alone, "version"); code != fast.ExitOurs || out != "" || !strings.Contains(errs, "damaged") {
		t.Errorf("with a wrong length: %q, %q, exit code %d", out, errs, code)
	}
}
