package engine

import (
	"context"
	"fmt"
	"os"
	"testing"

	hostprobe "porthole/internal/host/probe"
	"porthole/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(probing) != "" {
		probe()
		os.Exit(0)
	}
	// A container in the background starts this program again: porthole --root DIR monitor ID.
	if len(os.Args) == 5 && os.Args[0] == "porthole" && os.Args[3] == "monitor" {
		os.Exit(monitor(os.Args[2], os.Args[4]))
	}
	os.Exit(leaktest.M{M: m}.Run())
}

func monitor(root, id string) int {
	f, err := hostprobe.Facts()
	if err != nil {
		return 125
	}
	e, err := Open(root, f, func(string) {})
	if err != nil {
		return 125
	}
	if err := e.Monitor(context.Background(), id); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	return 0
}

// open makes an engine whose things are in a directory of the test's own.
func open(t *testing.T) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	f, err := hostprobe.Facts()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.TempDir(), f, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
