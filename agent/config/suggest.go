package config

import "davy/rules/expr"

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
	return expr.Nearest(s, names)
}
