package probe

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestProcessIsAsFactsSayOfOurselves(t *testing.T) {
	p, err := Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	f, err := Facts()
	if err != nil {
		t.Fatal(err)
	}
	want := f.Caps
	want.Securebits = 0
	if p.Caps != want || p.UserNS.Initial != f.UserNS.Initial || p.GID != f.GID {
		t.Errorf("Process says %+v, Facts %+v", p.Caps, f.Caps)
	}
	if link, err := os.Readlink("/proc/self/ns/user"); err != nil || link != p.UserNSName {
		t.Errorf("user namespace %q, the kernel says %q (%v)", p.UserNSName, link, err)
	}
}

func TestProcessInAUserNamespace(t *testing.T) {
	cmd := exec.Command("unshare", "-Ur", "sh", "-c", "echo ready; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("unshare:", err)
	}
	defer cmd.Wait()
	defer in.Close()
	var b [6]byte
	if _, err := out.Read(b[:]); err != nil || !strings.HasPrefix(string(b[:]), "ready") {
		t.Skip("no user namespaces here")
	}
	p, err := Process(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if p.UserNS.Initial || len(p.UserNS.UIDs) != 1 || p.UserNS.UIDs[0].Size != 1 {
		t.Errorf("user namespace of unshare -Ur: %+v", p.UserNS)
	}
}

func TestProcessThatIsNot(t *testing.T) {
	if _, err := Process(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
