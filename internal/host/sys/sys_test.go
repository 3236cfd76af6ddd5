package sys

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSealedMemfd(t *testing.T) {
	fd, err := SealedMemfd("sealed", []byte("#!/bin/sh\nexit 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "sealed")
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("written to: %v", err)
	}
	if err := f.Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("cut: %v", err)
	}
}

func TestWait(t *testing.T) {
	for script, want := range map[string]unix.WaitStatus{"exit 3": 3 << 8, "kill -9 $$": 9} {
		cmd := exec.Command("/bin/sh", "-c", "read x; "+script)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if _, _, ok, err := Wait(fd, unix.WNOHANG); ok || err != nil {
			t.Errorf("%s: ended too early: %v", script, err)
		}
		if some, err := Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, time.Millisecond); some || err != nil {
			t.Errorf("%s: %v %v", script, some, err)
		}
		in.Close()
		status, usage, ok, err := Wait(fd, 0)
		if status != want || !ok || err != nil || usage.Maxrss == 0 {
			t.Errorf("%s: %#x %v", script, int(status), err)
		}
		if _, _, _, err := Wait(fd, 0); err != unix.ECHILD {
			t.Errorf("%s: reaped twice: %v", script, err)
		}
		cmd.Process.Release()
	}
}

func TestMapOverAPart(t *testing.T) {
	page := unix.Getpagesize()
	all, err := Map(0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
	if err != nil {
		t.Fatal(err)
	}
	all[0], all[page] = 1, 2
	part, err := Map(Addr(all)+uintptr(page), page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_FIXED, -1)
	if err != nil {
		t.Fatal(err)
	}
	Store64(part, 8, 7)
	if all[0] != 1 || all[page] != 0 || Load64(all, page+8) != 7 || Load32(all, page+8) != 7 {
		t.Error("the second half is not the second mapping")
	}
	if err := Unmap(all); err != nil {
		t.Fatal(err)
	}
}
