// Package spell finds the name that was probably meant by one that is not known.
package spell

import "strings"

// Nearest gives the name that was probably meant by one that is not known,
// or "" where none is near.
func Nearest(name string, known []string) string {
	const longest = 160 // no name has more bytes
	if len(name) > longest {
		return ""
	}
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
		if d := Distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Distance is the number of bytes to insert, delete or replace to make b of
// a, where swapping two neighbours counts one.
func Distance(a, b string) int {
	before, row, next := []int{}, make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, make([]int, len(b)+1)
	}
	return row[len(b)]
}
