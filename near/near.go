// Package near finds the names that a mistyped one may have been meant for.
package near

import (
	"cmp"
	"slices"
)

// Names returns at most n of names that word may have been meant for, the most likely
// first. It counts the letters to insert, drop, change or swap with their neighbour, case
// aside; more than a third of the word's length and one is too far.
func Names(word string, names []string, n int) []string {
	type candidate struct {
		name string
		dist int
	}
	var found []candidate
	for _, name := range names {
		if d := distance(word, name); d <= len(word)/3+1 && d < len(name) {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.dist, b.dist) })
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
