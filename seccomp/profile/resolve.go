package profile

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

// Conditions are what a profile's entries may depend on.
type Conditions struct {
	Caps   caps.Set      // granted to the container: its bounding set
	Arch   abi.Arch      // the machine's own
	Kernel facts.Version // the machine's; zero fulfils no minKernel
}

// ociArches are the architectures that runc knows (libcontainer/seccomp/config.go).
var ociArches = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64,
	specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32,
	specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchRISCV64, specs.ArchS390, specs.ArchS390X,
	specs.ArchPARISC, specs.ArchPARISC64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}

// dockerArches are the names that conditions use: libseccomp's (moby/profiles/seccomp, goToNative;
// containers/common asks libseccomp-golang itself).
var dockerArches = []string{
	"amd64", "x86", "x32", "arm", "arm64", "mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32", "mips3l64n32",
	"ppc", "ppc64", "ppc64le", "riscv64", "s390", "s390x", "parisc", "parisc64", "loongarch64",
}

// DockerArch is the machine's name in a condition: "amd64" for X86_64, "" for none.
func DockerArch(a abi.Arch) string {
	switch a {
	case 0:
		return ""
	case abi.X86_64:
		return "amd64"
	case abi.ARM64:
		return "arm64"
	}
	return a.String()
}

// nearArch suggests the name that conditions use for what another tool calls an architecture.
func nearArch(s string) string {
	if a, err := abi.ParseArch(s); err == nil {
		return didYouMean([]string{DockerArch(a)})
	}
	return didYouMean(closest(s, dockerArches, 1))
}

// flags are those that OCI knows, with the kernel's bits (include/uapi/linux/seccomp.h).
var flags = map[specs.LinuxSeccompFlag]uint32{
	"SECCOMP_FILTER_FLAG_TSYNC":            1 << 0,
	specs.LinuxSeccompFlagLog:              1 << 1,
	specs.LinuxSeccompFlagSpecAllow:        specAllow,
	specs.LinuxSeccompFlagWaitKillableRecv: 1 << 5,
}

// specAllow is what runc sets where a document says nothing of flags (specconv, SetupSeccomp):
// without it the kernel would slow the process down against speculative store bypass.
const specAllow = 1 << 2

// Unmet lists the conditions of e that c does not fulfil; an entry with none is in effect.
func (e *Entry) Unmet(c Conditions) []Condition {
	var out []Condition
	arch := DockerArch(c.Arch)
	if ex := e.Excludes; !ex.empty() {
		if slices.Contains(ex.Arches, arch) {
			out = append(out, Condition{Kind: NeedsArch, Not: true, Arches: ex.Arches})
		}
		if held := ex.Caps & c.Caps; held != 0 {
			out = append(out, Condition{Kind: NeedsCap, Not: true, Caps: held})
		}
		if fulfils(c.Kernel, ex.MinKernel) {
			out = append(out, Condition{Kind: NeedsKernel, Not: true, Kernel: ex.MinKernel})
		}
	}
	if in := e.Includes; !in.empty() {
		if len(in.Arches) > 0 && !slices.Contains(in.Arches, arch) {
			out = append(out, Condition{Kind: NeedsArch, Arches: in.Arches})
		}
		if lacks := in.Caps &^ c.Caps; lacks != 0 {
			out = append(out, Condition{Kind: NeedsCap, Caps: lacks})
		}
		if in.MinKernel != (facts.Version{}) && !fulfils(c.Kernel, in.MinKernel) {
			out = append(out, Condition{Kind: NeedsKernel, Kernel: in.MinKernel})
		}
	}
	return out
}

// holds is len(e.Unmet(c)) == 0.
func (e *Entry) holds(c Conditions) bool {
	return e.Includes.empty() && e.Excludes.empty() || len(e.Unmet(c)) == 0
}

// fulfils compares major and minor only: "4.8.0-rc3" is 4.8 (moby/profiles, kernelGreaterEqualThan).
func fulfils(have, least facts.Version) bool {
	have.Patch = 0
	return least != facts.Version{} && have.AtLeast(least)
}

// Resolve decides the profile's conditions as Docker and Podman do, and reads what is left as
// runc does:
//
//   - The machine's own architecture is always covered, first; those unknown to porthole cannot
//     call on such a machine and are left out.
//   - An entry becomes a rule for each of its names; one that names an argument twice becomes a rule
//     for each test, of which any suffices (runc issue 2735).
//   - Rules that say the default's action stay in: Policy.Decide skips them as runc does, but they
//     count as naming their call.
//   - Numbers newer than every one named get ENOSYS, unless the default lets calls through or its
//     errno is ENOSYS already (libcontainer/seccomp/patchbpf, generatePatch).
//
// A Warning is about a name that is no system call, or an entry that another makes void.
func (p *Profile) Resolve(c Conditions) (seccomp.Policy, []Warning) {
	pol := seccomp.Policy{
		Default:          action(p.Default, p.DefaultErrno),
		BadArch:          seccomp.KillThread,
		ListenerPath:     p.ListenerPath,
		ListenerMetadata: p.ListenerMetadata,
	}
	pol.NewerENOSYS = !pol.Default.Permits() && (p.DefaultErrno == nil || *p.DefaultErrno != enosys)
	if c.Arch != 0 {
		pol.Arches = append(pol.Arches, c.Arch)
	}
	for _, name := range p.arches(c) {
		if a, err := abi.ParseArch(string(name)); err == nil && !slices.Contains(pol.Arches, a) {
			pol.Arches = append(pol.Arches, a)
		}
	}
	if p.Flags == nil {
		pol.Flags = specAllow
	}
	for _, f := range p.Flags {
		pol.Flags |= flags[f]
	}

	n := 0
	for i := range p.Entries {
		n += len(p.Entries[i].Names)
	}
	pol.Rules = make([]seccomp.Rule, 0, n)
	var warnings []Warning
	for i := range p.Entries {
		e := &p.Entries[i]
		if !e.holds(c) {
			continue
		}
		act, alternatives := action(e.Action, e.ErrnoRet), conditions(e.Args)
		for j, name := range e.Names {
			if !abi.Known(name) {
				if len(warnings) == maxWarnings {
					continue
				}
				warnings = append(warnings, Warning{Path: fmt.Sprintf("%s.names[%d]", path(i), j), Msg: unknownCall(name)})
				continue
			}
			for _, conds := range alternatives {
				pol.Rules = append(pol.Rules, seccomp.Rule{Name: name, Action: act, Conds: conds, From: i})
			}
		}
	}
	return pol, append(warnings, void(pol)...)
}

const enosys = 38 // in the generic numbering

// arches are the architectures that the document lists for a machine (moby/profiles/seccomp,
// setupSeccomp).
func (p *Profile) arches(c Conditions) []specs.Arch {
	for _, m := range p.ArchMap {
		if string(m.Arch) == c.Arch.SCMP() {
			return append([]specs.Arch{m.Arch}, m.Sub...)
		}
	}
	return p.Arches
}

// action gives a document's action its datum, as runc's getAction does. A word that Parse and
// FromOCI would have refused kills.
func action(name specs.LinuxSeccompAction, errno *uint) seccomp.Action {
	a, err := seccomp.ParseAction(string(name))
	switch {
	case err != nil:
		return seccomp.KillProcess
	case a != seccomp.Errno && a != seccomp.Trace:
		return a
	case errno == nil:
		return a.With(1) // EPERM
	}
	return a.With(uint16(*errno))
}

// conditions are the alternatives that an entry's arguments stand for; one without tests where
// there are none.
func conditions(args []specs.LinuxSeccompArg) [][]seccomp.Cond {
	all := make([]seccomp.Cond, len(args))
	var seen [6]bool
	twice := false
	for i, a := range args {
		op, err := seccomp.ParseOp(string(a.Op))
		if err != nil || a.Index > 5 {
			continue
		}
		all[i] = seccomp.Cond{Arg: uint8(a.Index), Op: op, Value: a.Value}
		if op == seccomp.MaskedEQ {
			all[i].Value, all[i].Mask = a.ValueTwo, a.Value
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	if !twice {
		return [][]seccomp.Cond{all}
	}
	out := make([][]seccomp.Cond, len(all))
	for i := range all {
		out[i] = all[i : i+1 : i+1]
	}
	return out
}

// void warns of rules that say the default's action where a later one says another: runc skips
// the first and so the later one decides, against the order in which they are written.
func void(pol seccomp.Policy) []Warning {
	var out []Warning
	if !slices.ContainsFunc(pol.Rules, func(r seccomp.Rule) bool { return r.Action == pol.Default }) {
		return nil
	}
	later := map[string]int{} // the entry that decides a call, of those after rule i
	for i := len(pol.Rules) - 1; i >= 0; i-- {
		r := pol.Rules[i]
		if r.Action != pol.Default {
			later[r.Name] = r.From
		} else if e, ok := later[r.Name]; ok && len(out) < maxWarnings {
			out = append(out, Warning{Path: path(r.From), Msg: fmt.Sprintf(
				"for %s it says what the default says and so is skipped: %s decides", r.Name, path(e))})
		}
	}
	slices.Reverse(out)
	return out
}
