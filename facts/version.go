package facts

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// ParseVersion reads a kernel version as uname prints it or a profile writes it: "6.18",
// "4.4", "5.10.0-28-amd64", "6.1.0-rc3+". At least two numbers must be there; what follows
// the third, or stands after the numbers behind anything but a digit, is a distribution's own.
func ParseVersion(s string) (Version, error) {
	var n [3]int
	rest := s
	for i := range n {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		v, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil {
			if i == 2 && digits == 0 { // "5.10.rc1", "6.1."
				break
			}
			return Version{}, fmt.Errorf("kernel version %q: want numbers as in \"5.10\" or \"5.10.0-28-amd64\"", s)
		}
		n[i] = int(v)
		var more bool
		if rest, more = strings.CutPrefix(rest[digits:], "."); !more {
			if i == 0 {
				return Version{}, fmt.Errorf("kernel version %q: want numbers as in \"5.10\" or \"5.10.0-28-amd64\"", s)
			}
			break
		}
	}
	return Version{n[0], n[1], n[2]}, nil
}

// Compare returns a negative number, zero or a positive one as v is older than w, the same or newer.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

// Less says whether v is older than w.
func (v Version) Less(w Version) bool { return v.Compare(w) < 0 }

// AtLeast says whether v is w or newer.
func (v Version) AtLeast(w Version) bool { return !v.Less(w) }

// String is "6.18", or "5.10.3" where there is a patch; ParseVersion reads it back.
func (v Version) String() string {
	if v.Patch == 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}
