// Package ruletest runs the stories that the people who write the rules write
// with them, against the very engine that decides in the plant.
//
// A story is data (agent/config makes it); Run plays it in no time at all:
// time passes only as the story says. It promises the same outcome on every
// run and every architecture, and names what it expected, what it got and
// where that stands.
//
// Imports: rules, drivers/tag.
package ruletest

import (
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Story is one test of the rules.
type Story struct {
	Name  rules.Text
	Steps []Step
	Where string // "rules.yaml:31:5"
}

// Step of a story: at At (from the start of the story) set, do, then expect.
type Step struct {
	At     time.Duration
	Set    []Set
	Do     []Do
	Expect []Expect
	Where  string
}

// Set gives a tag a value or a quality that holds until set again; with By it
// ramps from the present value to Value, reaching it at By.
type Set struct {
	Tag     tag.ID
	Value   tag.Value
	Quality tag.Quality // GoodQuality unless the story says `bad`, `test`, …
	By      time.Duration
	Where   string
}

// Do is a person's act: "ack comp1-discharge.high", "reset NH3-150".
type Do struct {
	Verb   rules.Verb
	Rule   string
	Refuse bool // the story expects a refusal
	Where  string
}

// Expect is one expectation: Key is a rule, an output, "first_out" or "votes",
// Want its words ("armed degraded", "run", "nh3-1.gas").
type Expect struct {
	Key   string
	Want  string
	Where string
}
