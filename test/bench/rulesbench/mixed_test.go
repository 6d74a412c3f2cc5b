package rulesbench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"davy/drivers/tag"
	"davy/rules"
	"davy/test/floor/closures"
	"davy/test/scale"
)

// The reference does what the rules do: on the same readings, good and bad, at
// random, both say the same events at each step, and refuse the same resets.
func TestReferenceDoesTheSame(t *testing.T) {
	const units = 2
	said := map[string]int{}
	for seed := range max(6, uint64(scale.Of(6))) { // fewer say too little
		differs(t, seed, units, 3000, said)
	}
	// It is of no use that both are silent.
	for _, what := range []string{
		"raised low-low", "raised high-high", "returned high-high", "raised rising", "returned rising", "raised apart", "raised odd", "raised stopped",
		"raised level-unseen", "returned level-unseen", "raised gas-1 first", "raised gas-2 second", "tripped pressure-trip by 0", "reset pressure-trip",
		"tripped gas-trip by 0", "tripped gas-trip by 2", "lost gas-trip", "whole gas-trip", "reset gas-trip",
		"raised gas-trip.tripped", "raised gas-trip.degraded", "returned gas-trip.degraded", "demanded valve", "released valve", "demanded fan", "released fan",
	} {
		if said[what] == 0 {
			t.Errorf("never said: %s", what)
		}
	}
}

func differs(t *testing.T, seed uint64, units, steps int, said map[string]int) {
	set, err := mixedSet(units)
	if err != nil {
		t.Fatal(err)
	}
	e, err := rules.New(set)
	if err != nil {
		t.Fatal(err)
	}
	p := closures.NewPlant(units)
	die := rand.New(rand.NewPCG(seed, 1))
	image := make([]tag.Reading, len(set.Tags))
	var out rules.Outcome
	mono := int64(0)
	for step := range steps {
		mono += tenth
		in := rules.Input{Now: tag.Stamp{Wall: mono, Mono: mono}, Image: image}
		for u := range units {
			leak := die.IntN(80) == 0 // something happens to all three
			dark := leak && die.IntN(3) == 0
			for i := range closures.Measured {
				id := tag.ID(1 + u*closures.Tags + i)
				stays := 60 // steps, on the average
				switch {
				case i == closures.Temp:
					stays = 5
				case step == 0 || i >= closures.Gas && leak:
					stays = 1
				case i >= closures.Gas:
					stays = 200
				}
				if die.IntN(stays) > 0 {
					continue
				}
				r := anyReading(die, id, i, &image[id])
				if dark && i >= closures.Gas {
					r = tag.Reading{Tag: id, Quality: tag.BadNoComm}
				}
				if r.Value != image[id].Value || r.Quality != image[id].Quality {
					image[id] = r
					in.Changed = append(in.Changed, id)
				}
			}
		}
		e.Step(&in, &out)
		ours, theirs := engineWords(out.Events), plantWords(p.Step(mono, image))
		if die.IntN(20) == 0 {
			u, which := die.IntN(units), die.IntN(2)
			name := named(u, closures.Votes()[which].Name)
			view, _ := e.Interlock(name, in.Now)
			in.Changed = nil
			err := e.Do(&in, rules.Command{Verb: rules.Reset, Rule: name, Occurrence: view.Occurrence, Who: "op"}, &out)
			if did := p.Reset(u, which); did != (err == nil) {
				t.Fatalf("seed %d, step %d: reset of %s: the rules say %v, the reference %v", seed, step, name, err, did)
			} else if did {
				ours, theirs = append(ours, engineWords(out.Events)...), append(theirs, plantWords(p.Events)...)
			}
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		if !slices.Equal(ours, theirs) {
			t.Fatalf("seed %d, step %d:\n  rules     %s\n  reference %s", seed, step, strings.Join(ours, "; "), strings.Join(theirs, "; "))
		}
		for _, w := range ours {
			_, what, _ := strings.Cut(w, " ")
			what, _, _ = strings.Cut(what, " #")
			said[what]++
		}
	}
}

// anyReading makes a reading of a tag: an ordinary one, one that may be beyond
// every limit, or one that cannot be judged.
func anyReading(die *rand.Rand, id tag.ID, i int, was *tag.Reading) tag.Reading {
	r := *was
	r.Tag = id
	switch die.IntN(20) {
	case 0, 1:
		return tag.Reading{Tag: id, Quality: tag.BadNoComm}
	case 2:
		r.Quality = tag.BadStale // it keeps its value
		return r
	case 3:
		r.Quality = tag.MakeQuality(tag.Uncertain, tag.NotAccurate, 0)
	default:
		r.Quality = tag.GoodQuality
	}
	far := die.IntN(3) == 0
	span := map[int][3]float64{ // an ordinary value, how far it goes by itself, and how far once in a while
		closures.Level: {50, 30, 60}, closures.Temp: {60, 3, 60}, closures.Sibling: {60, 3, 60}, closures.Pressure: {10, 4, 9},
	}[i]
	switch {
	case i == closures.Contact:
		r.Value = tag.BoolValue(die.IntN(2) == 0)
		return r
	case i == closures.Mode:
		r.Value = tag.IntValue(die.Int64N(4))
		return r
	case i >= closures.Gas:
		span = [3]float64{20, 8, 40}
	}
	by := span[1]
	if far {
		by = span[2]
	}
	r.Value, _ = tag.Float64Value(span[0] + by*(2*die.Float64()-1))
	return r
}

// engineWords are the events that the reference has too.
func engineWords(events []rules.Event) (all []string) {
	for i := range events {
		v := &events[i]
		what, end := "", ""
		switch v.Kind {
		case rules.AlarmRaised:
			what = "raised"
			if v.First {
				end = " first"
			} else if strings.Contains(v.Rule, "gas-") && !strings.Contains(v.Rule, "trip") {
				end = " second"
			}
		case rules.AlarmReturned:
			what = "returned"
		case rules.InterlockArmed:
			what = "armed"
		case rules.InterlockTripped:
			what, end = "tripped", " by "+v.FirstOut
		case rules.InterlockReset:
			what = "reset"
		case rules.InterlockDegraded:
			what = "lost"
		case rules.InterlockRestored:
			what = "whole"
		case rules.OutputDemanded, rules.OutputReleased:
			what = "demanded"
			if v.Kind == rules.OutputReleased {
				what = "released"
			}
			unit, name, _ := strings.Cut(v.Output, ".")
			all = append(all, fmt.Sprintf("%s %s %s", unit, what, name))
			continue
		default:
			continue // of a record
		}
		unit, name, _ := strings.Cut(v.Rule, ".")
		all = append(all, fmt.Sprintf("%s %s %s%s #%d", unit, what, name, end, v.Occurrence))
	}
	return all
}

func plantWords(events []closures.Event) (all []string) {
	for i := range events {
		v := &events[i]
		what := []string{"raised", "returned", "armed", "tripped", "reset", "lost", "whole", "demanded", "released"}[v.Kind]
		end := ""
		switch {
		case v.Kind == closures.Demanded || v.Kind == closures.Released:
			all = append(all, fmt.Sprintf("u%d %s %s", v.Unit, what, v.Name))
			continue
		case v.First:
			end = " first"
		case v.Kind == closures.Raised && strings.Contains(v.Name, "gas-") && !strings.Contains(v.Name, "trip"):
			end = " second"
		case v.Kind == closures.Tripped:
			end = fmt.Sprintf(" by %d", v.FirstOut)
		}
		all = append(all, fmt.Sprintf("u%d %s %s%s #%d", v.Unit, what, v.Name, end, v.Occurrence))
	}
	return all
}
