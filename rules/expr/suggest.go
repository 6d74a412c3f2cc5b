package expr

import "strings"

// maxSuggest is the longest name that another is suggested for, in bytes.
const maxSuggest = 192

// Nearest returns the name that s is most likely meant to be, "" where none is
// near: at most a third of its letters differ, and at most three.
func Nearest(s string, names []string) string {
	if len(s) > maxSuggest {
		return ""
	}
	s = strings.ToLower(s)
	best, least := "", max(1, min(3, len(s)/3))+1
	for _, n := range names {
		if d := distance(s, strings.ToLower(n), least); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the bytes to put in, take out, change or swap between a and
// b; limit if it is that or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(b) > maxSuggest {
		return limit
	}
	var rows [3][maxSuggest + 1]int
	prev2, prev, row := &rows[0], &rows[1], &rows[2]
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev2, prev, row = prev, row, prev2
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
