package ruletest

import (
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Sight is a story at one instant, for who watches it from outside: after a
// step of the engine, or, with Step, after what a step of the story sets and
// does and before what it expects is looked at. Nothing of it may be kept or
// changed.
type Sight struct {
	At       time.Duration
	Step     *Step // of the story; nil between its steps
	Engine   *rules.Engine
	Readings []tag.Reading // by tag.ID
	Now      tag.Stamp
}

// Observe plays a story as Run does, and shows it.
func Observe(set rules.Set, s Story, word Word, see func(*Sight)) Result {
	return watched(set, s, word, maxSteps, nil, see).result
}

// shown lets who watches look; st is nil between the story's steps.
func (r *runner) shown(st *Step) {
	if r.see != nil && r.engine != nil {
		r.see(&Sight{At: r.at, Step: st, Engine: r.engine, Readings: r.image.Readings(), Now: r.stamp(r.at)})
	}
}
