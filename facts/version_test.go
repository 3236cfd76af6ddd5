package facts

import "testing"

func TestParseVersion(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Version
		out  string
	}{
		{"5.10.0-28-amd64", Version{5, 10, 0}, "5.10"},
		{"6.18", Version{6, 18, 0}, "6.18"},
		{"4.4", Version{4, 4, 0}, "4.4"},
		{"6.18.44-fc-v669", Version{6, 18, 44}, "6.18.44"},
		{"3.10.0-1160.el7.x86_64", Version{3, 10, 0}, "3.10"},
		{"6.1-rc3+", Version{6, 1, 0}, "6.1"},
		{"6.1.", Version{6, 1, 0}, "6.1"},
		{"4.19.rc1", Version{4, 19, 0}, "4.19"},
		{"5.15.167.4-microsoft-standard-WSL2", Version{5, 15, 167}, "5.15.167"},
		{"2147483647.0", Version{2147483647, 0, 0}, "2147483647.0"},
	} {
		v, err := ParseVersion(c.in)
		if err != nil || v != c.want || v.String() != c.out {
			t.Errorf("ParseVersion(%q) = %v (%+v), %v; want %+v, %q", c.in, v, v, err, c.want, c.out)
		}
	}
	for _, bad := range []string{"", "6", "6.", ".1", "six", "6.x", "-6.1", "6.-1", "v6.1", "99999999999.1", "1.1.99999999999"} {
		if v, err := ParseVersion(bad); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", bad, v)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	order := []Version{{3, 10, 0}, {4, 4, 0}, {4, 8, 0}, {4, 10, 0}, {5, 10, 0}, {5, 10, 3}, {6, 1, 0}}
	for i, v := range order {
		for j, w := range order {
			if v.Less(w) != (i < j) {
				t.Errorf("%v.Less(%v) = %v", v, w, v.Less(w))
			}
			if v.AtLeast(w) != (i >= j) {
				t.Errorf("%v.AtLeast(%v) = %v", v, w, v.AtLeast(w))
			}
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add("5.10.0-28-amd64")
	f.Add("4.4")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersion(s)
		if err != nil {
			return
		}
		if again, err := ParseVersion(v.String()); err != nil || again != v {
			t.Errorf("%q is %v, which reads back as %v, %v", s, v, again, err)
		}
	})
}
