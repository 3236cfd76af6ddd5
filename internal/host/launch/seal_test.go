package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	roles["seal"] = func(args []string) {
		if !Sealed() && len(args) > 0 && args[0] == "copy" { // as without privilege
			if fd, err := sealedCopy(); err == nil {
				err = unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), os.Args, os.Environ())
				fmt.Println(err)
			}
		}
		if err := Seal(); err != nil {
			fmt.Println(err)
		}
		exe, _ := os.Readlink("/proc/self/exe")
		fmt.Println(Sealed(), exe)
		io.Copy(io.Discard, os.Stdin)
	}
}

// Whoever keeps a handle on the image cannot write to it, not even once nobody runs it.
func TestSeal(t *testing.T) {
	if Sealed() {
		t.Error("this test is not sealed")
	}
	// A copy, which nobody runs in the end: no ETXTBSY.
	exe := filepath.Join(t.TempDir(), "porthole")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		says  string
		errno unix.Errno
	}{
		{[]string{"seal"}, "true /\n", unix.EROFS},
		{[]string{"seal", "copy"}, "true /memfd:porthole (deleted)\n", unix.EPERM},
	} {
		if os.Getuid() != 0 && len(c.args) == 1 {
			continue
		}
		cmd := exec.Command(exe, c.args...)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var b [256]byte
		n, _ := out.Read(b[:])
		if got := string(b[:n]); got != c.says {
			t.Errorf("%v: %q", c.args, got)
		}
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		cmd.Wait()
		w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil { // a memfd opens, and takes nothing
			_, err = unix.Write(w, []byte("x"))
			unix.Close(w)
		}
		if !errors.Is(err, c.errno) {
			t.Errorf("%v: writing to the image: %v", c.args, err)
		}
		unix.Close(fd)
	}
}

// BenchmarkSeal is what either image costs to make; a start of porthole comes on top.
func BenchmarkSeal(b *testing.B) {
	for name, make := range map[string]func() (int, error){"mount": readOnlyMount, "copy": sealedCopy} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fd, err := make()
				if err != nil {
					b.Skip(err)
				}
				unix.Close(fd)
			}
		})
	}
}
