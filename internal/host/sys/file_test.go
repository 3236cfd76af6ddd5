package sys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, n := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		want := bytes.Repeat([]byte("x"), n)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
	if got, err := ReadFile("/proc/self/stat"); err != nil || !bytes.HasPrefix(got, []byte(strconv.Itoa(os.Getpid())+" ")) {
		t.Errorf("%q, %v", got, err)
	}
	var lost *fs.PathError
	if _, err := ReadFile(path + "/none"); !errors.As(err, &lost) || lost.Path != path+"/none" {
		t.Error(err)
	}
	if _, err := ReadFile(t.TempDir()); !errors.As(err, &lost) || lost.Op != "read" {
		t.Error(err)
	}
}

func BenchmarkReadFile(b *testing.B) {
	for name, read := range map[string]func(string) ([]byte, error){"sys": ReadFile, "os": os.ReadFile} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := read("/proc/self/mountinfo"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
