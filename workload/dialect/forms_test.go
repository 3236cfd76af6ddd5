package dialect

import (
	"regexp"
	"testing"
)

// The forms as moby and the CDI specification write them down (cli/command/container/opts.go, validateDeviceCgroupRule;
// cdi/pkg/parser).
func FuzzForms(f *testing.F) {
	forms := []struct {
		is func(string) bool
		as *regexp.Regexp
	}{
		{decimal, regexp.MustCompile(`^[+-]?[0-9./]+([eE][+-]?[0-9]{1,2})?$`)},
		{cdi, regexp.MustCompile(`^[a-zA-Z0-9][\w.-]*/[a-zA-Z0-9][\w-]*=[a-zA-Z0-9][\w.:-]*$`)},
		{validRule, regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)},
	}
	for _, s := range []string{
		"", "1", "+1.5", "-3/4", "1e9", "1e", "1e+12", "1e123", "e5", "1e5e5", "+", "--1", "1E-3", ".", "1 ",
		"a/b=c", "nvidia.com/gpu=all", "nvidia.com/gpu=0:1", "-a/b=c", "a/b=", "a/=c", "/b=c", "a/b=c=d", "a/b/c=d", "a_/b_=_c", "a=b/c", "a", "a/b",
		"a *:* rwm", "c 1:3 r", "b 8:* mw", "c 1:3 rwmr", "c 1:3 ", "d 1:1 r", "c 1: r", "c :1 r", "c 1 r", "c 1:2:3 r", "c  1:3 r", "c 1:3 x", " c 1:3 r", "*:* r", "ac 1:1 r", "c 1:3 rrr",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, form := range forms {
			if got, want := form.is(s), form.as.MatchString(s); got != want {
				t.Errorf("form %d: %q: %v, want %v", i, s, got, want)
			}
		}
	})
}
