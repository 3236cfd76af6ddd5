package abi

import (
	"cmp"
	"slices"
)

// Nearest returns at most n names of system calls that name may have been meant for, the
// most likely first: those that at most a third of the letters, and one more, tell apart.
func Nearest(name string, n int) []string {
	names := make([]string, len(calls))
	for i, c := range calls {
		names[i] = c.name
	}
	return Near(name, names, n)
}

// Near does for any list what Nearest does for the system calls: it orders by the number
// of letters to insert, drop, change or swap with their neighbour.
func Near(name string, names []string, n int) []string {
	type near struct {
		name string
		dist int
	}
	var found []near
	for _, s := range names {
		if d := distance(name, s); d <= len(name)/3+1 && d < len(s) {
			found = append(found, near{s, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.dist, b.dist) })
	out := make([]string, 0, n)
	for _, f := range found[:min(n, len(found))] {
		out = append(out, f.name)
	}
	return out
}

// distance is the edit distance between a and b, a swap of neighbours counting one
// (optimal string alignment). Case is not told apart.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if lower(a[i-1]) == lower(b[j-1]) {
				differ = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differ)
			if i > 1 && j > 1 && lower(a[i-1]) == lower(b[j-2]) && lower(a[i-2]) == lower(b[j-1]) {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
