package abi

import (
	"fmt"
	"strconv"
	"strings"
)

// Errno is an error number of the kernel (the generic numbering, which every
// architecture here shares).
type Errno uint16

// The errors that porthole's own rules speak of.
const (
	EPERM  Errno = 1
	ENOENT Errno = 2
	EACCES Errno = 13
	EINVAL Errno = 22
	ENOSYS Errno = 38
)

// String returns the error's name, "EPERM", or "errno 4095" for a number without one.
func (e Errno) String() string {
	if int(e) < len(errnos) && errnos[e].name != "" {
		return errnos[e].name
	}
	return "errno " + strconv.Itoa(int(e))
}

// Error returns the text that strerror has for it: "operation not permitted".
func (e Errno) Error() string {
	if int(e) < len(errnos) && errnos[e].text != "" {
		return errnos[e].text
	}
	return e.String()
}

// ParseErrno takes a name in any case, "EPERM", second names too (EWOULDBLOCK, ENOTSUP),
// or a decimal number up to 4095, the kernel's MAX_ERRNO.
func ParseErrno(s string) (Errno, error) {
	for i, e := range errnos {
		if e.name != "" && strings.EqualFold(e.name, s) {
			return Errno(i), nil
		}
	}
	for _, e := range secondErrnos {
		if strings.EqualFold(e.name, s) {
			return e.nr, nil
		}
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n <= 4095 {
		return Errno(n), nil
	}
	var names []string
	for _, e := range errnos {
		if e.name != "" {
			names = append(names, e.name)
		}
	}
	if near := Near(s, names, 1); len(near) > 0 {
		return 0, fmt.Errorf("unknown error %q; did you mean %s?", s, near[0])
	}
	return 0, fmt.Errorf("unknown error %q", s)
}
