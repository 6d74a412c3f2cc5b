// Package tag breaks nothing. It is what the others import.
package tag

// Name is a name.
type Name string
