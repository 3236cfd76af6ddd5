package profile

import (
	"testing"

	"porthole/abi"
	"porthole/facts"
)

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin("docker"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuiltinOldest(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin("docker:1.11"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	p, err := Builtin("docker")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p.Resolve(Conditions{Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}})
	}
}
