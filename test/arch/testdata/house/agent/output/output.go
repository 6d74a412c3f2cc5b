// Package output is of the decider. It breaks nothing itself.
package output
