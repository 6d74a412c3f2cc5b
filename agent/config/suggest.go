package config

import "strings"

// maxGuesses is how often something near to a wrong name is looked for in one
// compilation: far more than are shown, and no more, so that a hostile file
// takes no more time than an honest one.
const maxGuesses = 2 * MaxProblems

// nearest is nearest within the bounds of maxGuesses.
func (c *compiler) nearest(s string, names []string) string {
	if c.guesses++; c.guesses > maxGuesses {
		return ""
	}
	return nearest(s, names)
}

// nearest returns the one of names that s most likely means, or "".
func nearest(s string, names []string) string {
	if len(s) > 2*maxNameLen {
		return ""
	}
	s = strings.ToLower(s)
	best, dist := "", max(1, min(3, len(s)/3))+1
	for _, n := range names {
		if d := distance(s, strings.ToLower(n), dist); d < dist {
			best, dist = n, d
		}
	}
	return best
}

// distance counts the letters to put in, take out, change or swap between a
// and b; limit if it is that or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(b) > 4*maxNameLen {
		return limit
	}
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev2, prev, row = prev, row, prev2
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
