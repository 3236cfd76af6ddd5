package ocicli

import (
	"encoding/json"
	"testing"

	"porthole/internal/engine/container"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// dockers is a configuration as large as Docker's.
func dockers(b *testing.B) []byte {
	s := example()
	doc, err := profile.Builtin("docker")
	if err != nil {
		b.Fatal(err)
	}
	s.Linux.Seccomp = doc.OCI(profile.Conditions{Arch: machine.Arch, Kernel: machine.Kernel})
	data, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// What create works out before it does anything: the configuration, its filter, the plan.
func BenchmarkConfig(b *testing.B) {
	data := dockers(b)
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := parse(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	spec, err := parse(data)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("policy", func(b *testing.B) {
		for b.Loop() {
			if _, err := policy(spec.Linux.Seccomp, machine); err != nil {
				b.Fatal(err)
			}
		}
	})
	p, err := policy(spec.Linux.Seccomp, machine)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("filter", func(b *testing.B) {
		for b.Loop() {
			if _, err := filter.Compile(*p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			if _, err := container.Plan("id", container.Config{Spec: spec, Facts: machine, Policy: p, OCI: &container.OCI{}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
