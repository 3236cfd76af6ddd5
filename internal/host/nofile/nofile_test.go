package nofile_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"porthole/internal/host/nofile"
)

// An external test package: one inside would give the package imports, and another place in the order.

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "say" {
		var now syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now)
		fmt.Println(nofile.Limit(), now.Cur)
		return
	}
	os.Exit(m.Run())
}

func TestLimit(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/bin/sh", "-c", "ulimit -S -n 99; ulimit -H -n 777; exec "+exe+" say").CombinedOutput()
	// The process itself has been raised, to one below the hard limit: that is why this package is there.
	if strings.TrimSpace(string(out)) != "[99 777] 776" {
		t.Errorf("%s %v", out, err)
	}
}
