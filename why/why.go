// Package why says which layer refused a call, how sure that is, and the least grant that
// lets it through. It runs nothing: internal/engine/lab carries its experiments out.
//
// Start here, then scene.go (where it happened), gather.go (events → refusals), rules.go (what
// the kernel itself checks), suspects.go (refusal + scene → who may have said no), inquiry.go
// (suspects → experiments → who did), explain.go and text.go (what a person reads), ask.go (the
// same questions about a machine that is not here).
package why

import (
	"fmt"
	"slices"
)

// Layer is who can say no. The names that String gives are those of the JSON output.
type Layer uint8

// The layers, in the order in which they come in the output's documentation; which answers
// first is decided call by call: see Suspects.
const (
	Seccomp Layer = 1 + iota
	Capability
	UserNS
	NNP
	LSM
	Yama
	Mount
	DeviceCgroup
	Sysctl
	Rlimit
	File
	Kernel
	None // nobody: not a permission problem
)

var layerNames = [...]string{
	Seccomp: "seccomp", Capability: "capability", UserNS: "userns", NNP: "nnp", LSM: "lsm", Yama: "yama",
	Mount: "mount", DeviceCgroup: "device-cgroup", Sysctl: "sysctl", Rlimit: "rlimit", File: "file",
	Kernel: "kernel", None: "none",
}

// String is the layer's name in JSON: "device-cgroup".
func (l Layer) String() string {
	if int(l) < len(layerNames) && l > 0 {
		return layerNames[l]
	}
	return fmt.Sprintf("layer %d", uint8(l))
}

// Layers lists every layer.
func Layers() []Layer {
	var all []Layer
	for l := Seccomp; l <= None; l++ {
		all = append(all, l)
	}
	return all
}

// MarshalText is String.
func (l Layer) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Layer) UnmarshalText(b []byte) error {
	i := slices.Index(layerNames[:], string(b))
	if i < 1 {
		return fmt.Errorf("no layer is called %q", b)
	}
	*l = Layer(i)
	return nil
}

// Proof is how sure a statement is.
type Proof uint8

// The degrees, from the least. Proved is given by an Inquiry alone, and only where controls
// agreed, the layer's factor lifted the refusal and its absence brought it back.
const (
	Likely  Proof = 1 + iota // it fits, and so may something else
	ByRules                  // it follows from the kernel's rules and what is known of the scene
	Seen                     // the kernel was seen doing it
	Proved                   // by experiment
)

var proofNames = [...]string{Likely: "likely", ByRules: "follows from the kernel's rules", Seen: "seen in the kernel", Proved: "proved by experiment"}

// String is the proof as JSON has it: "proved by experiment".
func (p Proof) String() string {
	if int(p) < len(proofNames) && p > 0 {
		return proofNames[p]
	}
	return fmt.Sprintf("proof %d", uint8(p))
}

// MarshalText is String.
func (p Proof) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Proof) UnmarshalText(b []byte) error {
	i := slices.Index(proofNames[:], string(b))
	if i < 1 {
		return fmt.Errorf("no proof is called %q", b)
	}
	*p = Proof(i)
	return nil
}
