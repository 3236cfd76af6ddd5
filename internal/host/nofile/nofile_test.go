package nofile

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "say" {
		var now syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now)
		fmt.Println(Limit(), now.Cur)
		return
	}
	os.Exit(m.Run())
}

func TestLimit(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/bin/sh", "-c", "ulimit -H -n 777; ulimit -S -n 99; exec "+exe+" say").CombinedOutput()
	// The process itself has been raised to 777: that is why this package is there.
	if strings.TrimSpace(string(out)) != "[99 777] 777" {
		t.Errorf("%s %v", out, err)
	}
}
