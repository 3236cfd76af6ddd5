package image

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"porthole/plan"
)

// list prints a tree: a line for each file with all that a program could see of it.
func list(root string) error {
	names := map[uint64]string{}
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st := stat(path)
		line := fmt.Sprintf("%q %o %d:%d", strings.TrimPrefix(strings.TrimPrefix(path, root), "/"), st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(body))[:9]
			if first := names[st.Ino]; st.Nlink > 1 && first != "" {
				line += " = " + first
			}
			names[st.Ino] = e.Name()
			line += fmt.Sprintf(" %d", st.Mtim.Sec)
		case unix.S_IFLNK:
			to, _ := os.Readlink(path)
			line += fmt.Sprintf(" -> %s %d", to, st.Mtim.Sec)
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		buf := make([]byte, 4096)
		n, _ := unix.Llistxattr(path, buf)
		attrs := strings.Split(strings.TrimRight(string(buf[:max(n, 0)]), "\x00"), "\x00")
		slices.Sort(attrs)
		for _, a := range attrs {
			if a == "" || strings.Contains(a, ".overlay.") {
				continue
			}
			n, _ := unix.Lgetxattr(path, a, buf)
			line += fmt.Sprintf(" %s=%q", a, buf[:max(n, 0)])
		}
		fmt.Println(line)
		return nil
	})
}

// byTar unpacks layers over one another with GNU tar, and applies whiteouts by hand.
func byTar(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for n, l := range layers {
		// What the layer takes back goes before it is unpacked: it says so of the lower ones only.
		for _, i := range l {
			parent, base := filepath.Split(i.name)
			switch hidden, ok := strings.CutPrefix(base, ".wh."); {
			case base == ".wh..wh..opq":
				old, _ := filepath.Glob(filepath.Join(dir, parent, "*"))
				for _, o := range old {
					os.RemoveAll(o)
				}
			case ok:
				os.RemoveAll(filepath.Join(dir, parent, hidden))
			}
		}
		file := filepath.Join(t.TempDir(), fmt.Sprint(n))
		if err := os.WriteFile(file, archiveOf(t, l...), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-owner", "-xp", "--keep-directory-symlink",
			"--recursive-unlink", "--exclude=.wh.*", "-f", file, "-C", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("tar: %v\n%s", err, out)
		}
	}
	out, err := again(t, 0, "list", dir)
	if err != nil {
		t.Fatal(out)
	}
	return out
}

// The merged tree, mounted for real, is what GNU tar makes of the same layers.
func TestTreeAsTarHasIt(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners, device nodes, overlay")
	}
	host := serve(t, nil)
	push(t, host+"/app", testImage(t))
	s := newStore(t)
	var p noted
	i, err := s.Pull(bg, host+"/app", anyPlatform, &p)
	if err != nil {
		t.Fatal(err)
	}
	if p.lines != nil {
		t.Errorf("left out: %q", p.lines)
	}
	root := i.Root("", "")
	root.Scratch = scratch(t, 0)
	got := inRoot(t, 0, trial{Root: root})
	if d := cmp.Diff(strings.Split(byTar(t), "\n"), strings.Split(got, "\n")); d != "" {
		t.Error(d)
	}
	if !strings.Contains(got, `security.capability="\x01\x00\x00\x02\x00 \x00`) || !strings.Contains(got, `"usr/bin/su" 104755 0:0`) {
		t.Errorf("not all was compared:\n%s", got)
	}
}

// An ordinary user gets the same tree, but for owners, device nodes and privileged attributes.
func TestTreeRootless(t *testing.T) {
	home := scratch(t, 1000)
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "image.tar")
	tag, err := name.NewTag("test:rootless")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, tag, testImage(t)); err != nil {
		t.Fatal(err)
	}
	os.Chmod(file, 0o644)
	store := filepath.Join(home, "store")
	out, err := again(t, 1000, "load", store, file)
	if err != nil {
		t.Fatal(out)
	}
	want := "device nodes are left out: making them needs root (1 files)\n" + noCaps + " (1 files)"
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if out, err = again(t, 1000, "root", store, "test:rootless"); err != nil {
		t.Fatal(out)
	}
	var root plan.Root
	if err := json.Unmarshal([]byte(out), &root); err != nil {
		t.Fatal(err)
	}
	root.Scratch = filepath.Join(home, "scratch")
	os.Mkdir(root.Scratch, 0o755)
	os.Chown(root.Scratch, 1000, 1000)
	got := strings.Split(inRoot(t, 1000, trial{Root: root}), "\n")
	var expect []string
	for _, line := range strings.Split(byTar(t), "\n") {
		if strings.HasPrefix(line, `"dev/null"`) {
			continue
		}
		for _, id := range []string{" 42:42", " 7:7", " 3:3"} {
			line = strings.Replace(line, id, " 0:0", 1)
		}
		if before, after, ok := strings.Cut(line, ` security.capability="`); ok {
			_, after, _ = strings.Cut(after, `"`)
			line = before + after
		}
		expect = append(expect, line)
	}
	if d := cmp.Diff(expect, got); d != "" {
		t.Error(d)
	}
	// Directories without write permission don't keep it from being removed.
	if out, err := again(t, 1000, "remove", store, "test:rootless"); err != nil {
		t.Fatal(out)
	}
	s, err := Open(store)
	if err != nil {
		t.Fatal(err)
	}
	bare(t, s)
}
