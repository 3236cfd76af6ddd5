package abi

import "porthole/near"

// Nearest returns at most n names of system calls that name may have been meant for, the
// most likely first.
func Nearest(name string, n int) []string {
	names := make([]string, len(calls))
	for i, c := range calls {
		names[i] = c.name
	}
	return near.Names(name, names, n)
}

// Near is near.Names, for callers that have this package already.
func Near(name string, names []string, n int) []string { return near.Names(name, names, n) }

// NearestConst does for the constants that Const knows what Nearest does for the system calls.
func NearestConst(name string, n int) []string {
	names := make([]string, len(consts))
	for i, c := range consts {
		names[i] = c.name
	}
	return near.Names(name, names, n)
}
