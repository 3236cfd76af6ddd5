package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The committed tables are what the committed facts make.
func TestTablesAreCurrent(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "abi")
	files, err := generate(func(name string) ([]byte, error) { return committed.ReadFile("facts/" + name) })
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Glob(filepath.Join(dir, "z*.go"))
	if err != nil || len(there) != len(files) {
		t.Errorf("%d tables are made and %d are there (%v)", len(files), len(there), err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the facts make: run `make generate`", name)
		}
	}
}

func TestBadFacts(t *testing.T) {
	const head = "# linux v7.3: test\n"
	for _, c := range []struct{ story, file, text, want string }{
		{"no source", "calls.txt", "read 0 3 0 63 3 63 3 3\n", `calls.txt:1: want "# linux vX.Y: …"`},
		{"nothing", "calls.txt", head, "calls.txt: no rows"},
		{"a column short", "calls.txt", head + "read 0 3 0 63 3 63 3\n", "read: 8 columns, want 9"},
		{"a name twice", "calls.txt", head + "read 0 3 0 63 3 63 3 3\nread 1 - - - - - - -\n", "read: twice"},
		{"a number twice", "calls.txt", head + "read 0 - - - - - - -\nwrite 0 - - - - - - -\n", "x86_64: number 0 is both"},
		{"no number", "calls.txt", head + "read x - - - - - - -\n", "invalid syntax"},
		{"second name of nothing", "errnos.txt", head + "1 EPERM no\n=ENOENT EOTHER\n", "ENOENT: no such error"},
		{"two names for a value", "consts.txt", head + "A 0x1 g\nB 0x1 g\n", "g: B and A are the same"},
		{"no type", "traced.txt", head + "read\tfd\n", `read: argument "fd" has no type`},
		{"out of order", "traced.txt", head + "b\ta x\na\tb y\n", "a: not in order"},
	} {
		_, err := generate(func(name string) ([]byte, error) {
			if name == c.file {
				return []byte(c.text), nil
			}
			return committed.ReadFile("facts/" + name)
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.story, err, c.want)
		}
	}
	gone := errors.New("gone")
	if _, err := generate(func(string) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestDefinition(t *testing.T) {
	for line, want := range map[string]string{
		"#define __NR_read 0":                                        "read 0",
		"#define __NR_read (__X32_SYSCALL_BIT + 0)":                  "read 0",
		"#define __NR_arm_sync_file_range (__NR_SYSCALL_BASE + 341)": "arm_sync_file_range 341",
		"#define __NR_sync_file_range2\t\t__NR_arm_sync_file_range":  "sync_file_range2 =arm_sync_file_range",
		"#define __ARM_NR_cacheflush\t\t(__ARM_NR_BASE+2)":           "cacheflush 2",
		"#define __NR_SYSCALL_MASK\t0x0fffff":                        "",
		"#define __NR_syscalls 472 // not in uapi":                   "",
	} {
		got := ""
		if m := definition.FindStringSubmatch(line); m != nil {
			if got = m[2] + " " + m[4]; m[5] != "" {
				got = m[2] + " =" + m[5]
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestSysDefine(t *testing.T) {
	const source = `
SYSCALL_DEFINE2(umount, char __user *, name, int, flags)
{
}
SYSCALL_DEFINE0(fork)
{
}
`
	found := sysDefine.FindAllStringSubmatch(source, -1)
	if len(found) != 2 || found[0][2] != "umount" || found[1][2] != "fork" {
		t.Errorf("%q", found)
	}
}
