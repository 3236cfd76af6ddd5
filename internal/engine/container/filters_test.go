package container

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// A kept filter is the one that the compiler makes, and one that is damaged is compiled again.
func TestFilters(t *testing.T) {
	dir := Filters(filepath.Join(t.TempDir(), "filters"))
	p := seccomp.Policy{
		Default: seccomp.Errno | 1, BadArch: seccomp.KillThread, Arches: []abi.Arch{abi.X86_64, abi.X86},
		Rules: []seccomp.Rule{{Name: "read", Action: seccomp.Allow}, {Name: "personality", Action: seccomp.Allow, Conds: []seccomp.Cond{{Op: seccomp.EQ, Value: 8}}}},
	}
	files := func() (all []string) {
		all, err := filepath.Glob(string(dir) + "/*")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	compile := func(p seccomp.Policy) filter.Program {
		t.Helper()
		want, err := filter.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dir.compile(p)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v\n%s\nwant\n%s", err, got.Disassemble(), want.Disassemble())
		}
		return got
	}
	compile(p)
	kept := files()
	if len(kept) != 1 {
		t.Fatalf("kept: %q", kept)
	}
	compile(p)
	good, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		for _, data := range [][]byte{bad, good[:i]} {
			if err := os.WriteFile(kept[0], data, 0o600); err != nil {
				t.Fatal(err)
			}
			compile(p)
			if data, err := os.ReadFile(kept[0]); err != nil || !slices.Equal(data, good) {
				t.Fatalf("byte %d: not written again: %v", i, err)
			}
		}
	}
	// Neither is one taken that somebody else may have written.
	if err := os.Chmod(kept[0], 0o620); err != nil {
		t.Fatal(err)
	}
	key, ok := dir.key(p)
	if prog, taken := keptFilter(kept[0], key); !ok || taken {
		t.Errorf("others may write to it: %d instructions are taken", len(prog))
	}
	if os.Getuid() == 0 {
		if err := errors.Join(os.Chmod(kept[0], 0o600), os.Chown(kept[0], 1, 1)); err != nil {
			t.Fatal(err)
		}
		if prog, taken := keptFilter(kept[0], key); taken {
			t.Errorf("it is another user's: %d instructions are taken", len(prog))
		}
	}
	compile(p)
	if prog, taken := keptFilter(kept[0], key); !taken || len(prog) == 0 {
		t.Error("not written again")
	}
	// Whatever a filter depends on has a file of its own.
	for _, change := range []func(*seccomp.Policy){
		func(p *seccomp.Policy) { p.Default = seccomp.Errno | 38 },
		func(p *seccomp.Policy) { p.BadArch = seccomp.KillProcess },
		func(p *seccomp.Policy) { p.Arches = p.Arches[:1] },
		func(p *seccomp.Policy) { p.NewerENOSYS = true },
		func(p *seccomp.Policy) { p.Rules = p.Rules[:1] },
		func(p *seccomp.Policy) { p.Rules[0].Name = "write" },
		func(p *seccomp.Policy) { p.Rules[0].Action = seccomp.Log },
		func(p *seccomp.Policy) { p.Rules[1].Conds[0].Arg = 1 },
		func(p *seccomp.Policy) { p.Rules[1].Conds[0].Op = seccomp.NE },
		func(p *seccomp.Policy) { p.Rules[1].Conds[0].Value = 9 },
		func(p *seccomp.Policy) { p.Rules[1].Conds[0] = seccomp.Cond{Op: seccomp.MaskedEQ, Value: 8, Mask: 12} },
	} {
		q := p
		q.Arches, q.Rules = slices.Clone(p.Arches), slices.Clone(p.Rules)
		q.Rules[1].Conds = slices.Clone(p.Rules[1].Conds)
		change(&q)
		n := len(files())
		compile(q)
		if got := len(files()); got != n+1 {
			t.Errorf("%d files after another policy, %d before: %+v", got, n, q)
		}
	}
	// Their number has a bound.
	for i := range 2 * mostFilters {
		q := p
		q.Default = seccomp.Errno | seccomp.Action(100+i)
		compile(q)
	}
	if n := len(files()); n > mostFilters {
		t.Errorf("%d are kept", n)
	}
	if prog, err := Filters("").compile(p); err != nil || len(prog) == 0 {
		t.Error(err)
	}
}

func BenchmarkFilters(b *testing.B) {
	p := seccomp.Policy{Default: seccomp.Errno | 1, Arches: []abi.Arch{abi.X86_64, abi.X86, abi.X32}, BadArch: seccomp.KillThread}
	for _, name := range abi.X86_64.Calls() {
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Allow})
	}
	for name, f := range map[string]Filters{"kept": Filters(b.TempDir()), "compiled": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f.compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
