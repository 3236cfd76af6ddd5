package audit

import (
	"fmt"

	"porthole/abi"
	"porthole/seccomp"
)

// fallback is a call for which a C library has an older way, and takes it on ENOSYS alone.
type fallback struct {
	call, who string
}

// fallbacks are known of glibc, each by its file.
var fallbacks = []fallback{
	{"clone3", "glibc 2.34 and newer make threads with it (sysdeps/unix/sysv/linux/clone-internal.c)"},
	{"faccessat2", "glibc 2.33 and newer (sysdeps/unix/sysv/linux/faccessat.c)"},
	{"fchmodat2", "glibc 2.39 and newer (sysdeps/unix/sysv/linux/fchmodat.c)"},
	{"statx", "glibc 2.28 and newer (sysdeps/unix/sysv/linux/statx.c)"},
	{"clock_gettime64", "glibc 2.31 and newer, in 32-bit programs (sysdeps/unix/sysv/linux/clock_gettime.c)"},
	{"clock_nanosleep_time64", "glibc 2.31 and newer, in 32-bit programs (sysdeps/unix/sysv/linux/clock_nanosleep.c)"},
	{"futex_time64", "glibc 2.33 and newer, in 32-bit programs (sysdeps/nptl/futex-internal.c)"},
	{"ppoll_time64", "glibc 2.32 and newer, in 32-bit programs (sysdeps/unix/sysv/linux/ppoll.c)"},
	{"pselect6_time64", "glibc 2.32 and newer, in 32-bit programs (sysdeps/unix/sysv/linux/pselect.c)"},
	{"utimensat_time64", "glibc 2.32 and newer, in 32-bit programs (sysdeps/unix/sysv/linux/utimensat.c)"},
}

// fallbacks looks for calls that are refused with another errno than ENOSYS.
func (a *auditor) fallbacks(m abi.Arch) {
	c := a.Given
	c.Arch = m
	pol, _ := a.p.Resolve(c)
	for _, own := range pol.Arches {
		table := pol.Table(own)
		for _, f := range fallbacks {
			nr, ok := own.Nr(f.call)
			if !ok || own == abi.X32 { // for which nobody builds a C library
				continue
			}
			clauses := table.At(nr).Clauses
			v := clauses[0].Verdict
			if len(clauses) > 1 || v.Action.Kind() != seccomp.Errno || v.Action == seccomp.Errno|38 || v.Why == seccomp.ByArch {
				continue
			}
			path := "defaultAction"
			if v.Rule >= 0 {
				path = a.nameOf(pol.Rules[v.Rule].From, f.call)
			}
			a.add(Finding{
				Rule: "S0007", Severity: Warning, Path: path, Call: f.call,
				Msg:    fmt.Sprintf("%s gets %v (%v), and its caller falls back on ENOSYS alone: %s", f.call, v.Action, own, f.who),
				Remedy: fmt.Sprintf("allow %s, or refuse it with errnoRet 38 (ENOSYS) in an entry of its own", f.call),
			})
		}
	}
}
