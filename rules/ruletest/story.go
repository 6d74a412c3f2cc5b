// Package ruletest runs the stories that the people who write the rules write
// with them, against the very engine that decides in the plant.
//
// A story is data (agent/config makes it); Run plays it in no time at all:
// time passes only as the story says. It promises the same outcome on every
// run and every architecture, and names what it expected, what it got and
// where that stands. Explore looks for stories by itself, from a seed.
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
	Start int64 // wall time at 0 s, ns since 1970; 0 is 2026-01-01 00:00 UTC
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

// Do is a person's act: "ack comp1-discharge.high", "reset NH3-150". It speaks
// of the present occurrence of its rule, as a person does who sees it.
type Do struct {
	Verb    rules.Verb
	Rule    string // an alarm or interlock; of some verbs a device or a tag; of Silence ""
	Channel string // of Bypass
	// By is who acts, proved with Roles, in a session of their own; "" is the
	// person "story", proved and without a role.
	By     string
	Roles  []string
	For    time.Duration
	Note   string
	Value  tag.Value    // of Force
	Result rules.Result // of EndTest
	Refuse bool         // the story expects a refusal
	Code   string       // and this one ("already-acked"); "" any
	Where  string
}

// Expect is one expectation: Key is a rule, an output, a tag, "first_out" or
// "votes" of the latest trip, "<interlock>.first_out" or "<interlock>.votes" of
// its latest, or "<rule>.raised", how often it was raised or tripped. Want is
// its words ("armed degraded", "run", "nh3-1.gas"); Tag those of a tag.
type Expect struct {
	Key   string
	Want  string
	Tag   TagWant
	Where string
}

// TagWant is what a tag should read. A zero Tag is none.
type TagWant struct {
	Tag     tag.ID
	Valued  bool    // the value lies within Low and High, both included
	Low     float64 // engineering units of the tag
	High    float64
	Quality string // a word of QualityWords; "" any that is not bad
}
