package filter_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txtar")

// Each file has a profile and the listing of its program on an x86-64 machine.
func TestListings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no listings: %v", err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(ar.Files) == 0 {
			t.Fatalf("%s has no profile", file)
		}
		p, _, err := profile.Parse(ar.Files[0].Name, ar.Files[0].Data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		policy, _ := p.Resolve(profile.Conditions{Arch: abi.X86_64, Kernel: facts.Version{}})
		prog, err := filter.Compile(policy)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		agree(t, file, policy, 5000)
		listing := prog.Disassemble()
		if *update {
			ar.Files = append(ar.Files[:1], txtar.File{Name: "listing", Data: []byte(listing)})
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if len(ar.Files) != 2 || string(ar.Files[1].Data) != listing {
			t.Errorf("%s: the listing is now\n%s(-update takes it)", file, listing)
		}
	}
}

// What Compile never makes is printed too.
func TestListingOfForeignPrograms(t *testing.T) {
	p := filter.Program{
		{Code: 0x20, K: 4}, {Code: 0x15, K: abi.ARM64.Audit(), JF: 1}, {Code: 0x20}, {Code: 0x20, K: 12}, {Code: 0x02, K: 3},
		{Code: 0x61, K: 3}, {Code: 0x0c}, {Code: 0x84}, {Code: 0x07}, {Code: 0x87}, {Code: 0x80}, {Code: 0x01, K: 9}, {Code: 0x03, K: 1}, {Code: 0x60, K: 1},
		{Code: 0x2d, JT: 1}, {Code: 0x05}, {Code: 0x16},
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
 0  ld   arch
 1  jeq  aarch64                          yes 2  no 3
; aarch64
 2  ld   nr
 3  ld   ip high
 4  st   M[3]
 5  ldx  M[3]
 6  add  X
 7  neg
 8  tax
 9  txa
10  ld   64
11  ldx  0x9
12  stx  M[1]
13  ld   M[1]
14  jgt  X                                yes 16  no 15
15  ja                                    to 16
16  ret  A
`, "\n")
	if got := p.Disassemble(); got != want {
		t.Errorf("the listing is\n%s", got)
	}
}

func Example() {
	p := seccomp.Policy{
		Default: seccomp.Errno | 1,
		Arches:  []abi.Arch{abi.X86_64},
		Rules: []seccomp.Rule{
			{Name: "read", Action: seccomp.Allow},
			{Name: "personality", Action: seccomp.Allow, Conds: []seccomp.Cond{{Arg: 0, Op: seccomp.EQ, Value: 0x40000}}},
		},
	}
	prog, err := filter.Compile(p)
	if err != nil {
		fmt.Println(err)
		return
	}
	call := filter.Data{Arch: abi.X86_64.Audit(), Nr: 135, Args: [6]uint64{0x40000}}
	verdict, steps := prog.Run(call)
	fmt.Println(verdict, "after", steps, "of", len(prog), "instructions")
	call.Args[0]++
	verdict, _ = prog.Run(call)
	fmt.Println(verdict)
	// Output:
	// ALLOW after 10 of 15 instructions
	// ERRNO(EPERM)
}
