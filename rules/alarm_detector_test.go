package rules

import (
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

// detectorSet has a detector a with level 1 and 2, the alarms of its states, and
// an interlock of it and b.
func detectorSet() Set {
	set := lockSet(1, 2, func(l *Interlock) {
		l.Bad, l.BadAfter, l.ManualReset = LeftOut, 10*s, true
		l.ResetConds = []Condition{{1, LT, 5}, {2, LT, 5}}
	})
	set.Tags[1].OverRange, set.Tags[2].OverRange = true, true
	level := func(name string, at float64) Alarm {
		return Alarm{Name: name, Cond: Condition{1, GE, at}, Priority: High, OnDelay: 2 * s, OffDelay: 3 * s}
	}
	l1, l2 := level("l1", 25), level("l2", 50)
	l1.Beyond, l2.LatchOver, l2.NoShelve = "l2", true, true
	state := func(name string, x Alarm, d time.Duration) Alarm {
		x.Name, x.Cond, x.NotWatched, x.Priority, x.OnDelay = name, Condition{Tag: 1}, true, High, d
		return x
	}
	set.Alarms = []Alarm{
		l1, l2, state("not", Alarm{Except: WarmingUp | InTest}, 10*s),
		state("ready", Alarm{Only: WarmingUp}, 5*time.Minute), state("test", Alarm{Only: InTest}, time.Hour),
	}
	return set
}

func TestDetectorStates(t *testing.T) {
	for name, script := range map[string]string{
		"warm-up raises no gas alarm, and ends in one of its own": `
			0s a=1 b=1 => armed L
			1s a=warm:400
			10s ?l2=normal ?not=normal
			6m => degraded L a!bad@11s; raised ready#1@5m1s
			7m a=1 ?not=normal => returned ready#1; restored L`,
		"what was raised stands while its detector warms up": `
			0s a=60 b=1 => armed L
			2s => raised l1#1; raised l2#1
			3s a=warm:0
			20m ?l1=unacked ?l2=unacked => degraded L a!bad@13s; raised ready#1@5m3s
			21m a=0 => returned ready#1; restored L
			22m => returned l1#1@21m3s; returned l2#1@21m3s`,
		"calibration suppresses by design, and not for ever": `
			0s a=1 b=1 => armed L
			1s a=fc => degraded L a!test; suppress l1#0 under test; suppress l2#0 under test
			50m ?not=normal ??l1=suppressed,in-test
			2h => raised test#1@1h0m1s; unsuppress l1#0@1h0m1s; unsuppress l2#0@1h0m1s
			3h a=1 => returned test#1; restored L`,
		"the gas of a calibration calls nobody, that after it does": `
			0s a=1 b=1 => armed L
			1s a=fc => degraded L a!test; suppress l1#0 under test; suppress l2#0 under test
			10m a=60 => restored L; unsuppress l1#0; unsuppress l2#0
			11m => raised l1#1@10m2s; raised l2#1@10m2s`,
		"what stood before a calibration calls again behind it": `
			0s a=60 b=1 => armed L
			2s => raised l1#1; raised l2#1
			3s a=fc => degraded L a!test; suppress l1#1 under test; suppress l2#1 under test
			4s ??l2=suppressed,standing,in-test
			10m a=60 => restored L; unsuppress l1#1; raised l1#2; unsuppress l2#1; raised l2#2`,
		"a line that drops in between gains a calibration no time": `
			0s a=1 b=1 => armed L
			1s a=fc => degraded L a!test; suppress l1#0 under test; suppress l2#0 under test
			30m a=bad
			30m5s a=fc
			40m a=warm
			44m a=fc ??l1=suppressed,in-test
			2h => raised ready#1@45m0s; raised test#1@1h0m1s; unsuppress l1#0@1h0m1s; unsuppress l2#0@1h0m1s`,
		"a calibration survives a hand-over and a restart with its time": `
			0s a=1 b=1 => armed L
			1s a=fc => degraded L a!test; suppress l1#0 under test; suppress l2#0 under test
			30m handover ??l1=suppressed,in-test
			40m restart:5m ??l1=suppressed,in-test
			40m1s a=fc b=1 => armed L
			2h => raised test#1@1h0m1s; unsuppress l1#0@1h0m1s; unsuppress l2#0@1h0m1s`,
		"above the range is beyond every limit, trips, and latches level 2": `
			0s a=1 b=1 => armed L
			1s a=over:3 => tripped L#1 first=a votes=a; demand fan by L
			5s => raised l1#1@3s; raised l2#1@3s
			6s a=3 ?L=tripped,ready
			10s => returned l1#1@9s; returned l2#1@9s
			11s ?l1=returned ?l2=latched
			12s reset:l2!not-acked
			13s ack:l2 => acked l2#1
			14s reset:l2 => unlatched l2#1
			20s a=60
			30s a=1 => raised l1#2@22s; raised l2#2@22s
			40s ?l2=returned => returned l1#2@33s; returned l2#2@33s`,
		"a number that falls back while it is above clears nothing": `
			0s a=1 b=1 => armed L
			1s a=160 => tripped L#1 first=a votes=a; demand fan by L
			3s => raised l1#1; raised l2#1
			4s a=over:0
			1h ?l1=unacked ?l2=unacked ?L=tripped
			1h1s reset:L!still-standing
			1h2s a=above:0 reset:L!still-standing
			1h3s a=0
			1h10s => returned l1#1@1h0m6s; returned l2#1@1h0m6s`,
		"one reading above the range is enough for level 2": `
			0s a=1 b=1 => armed L
			1s a=above => tripped L#1 first=a votes=a; demand fan by L
			1500ms a=1
			10s ?l2=latched => raised l2#1@3s; returned l2#1@6s`,
		"and survives a hand-over": `
			0s a=1 b=1 => armed L
			1s a=above => tripped L#1 first=a votes=a; demand fan by L
			1500ms a=1 handover
			10s => raised l2#1@3s; returned l2#1@6s
			11s handover ?l2=latched`,
	} {
		t.Run(name, func(t *testing.T) { play(t, detectorSet(), script) })
	}
}

// Whatever a detector says in whatever order: a reading in warm-up or in test
// raises no level; no reading that may not be judged returns one; one that was
// above the range leaves level 2 raised or latched; and who is not measured for
// an hour is an alarm.
func TestDetectorHoweverItSpeaks(t *testing.T) {
	checks(t, 1000)
	state := map[string]tag.Quality{
		"good": tag.GoodQuality, "warm": tag.MakeQuality(tag.Uncertain, tag.Initial, 0), "test": tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0),
		"comm": tag.BadNoComm, "over": tag.GoodQuality | tag.LimitHigh, "above": tag.BadRange | tag.LimitHigh, "under": tag.BadRange | tag.LimitLow,
	}
	rapid.Check(t, func(t *rapid.T) {
		p := newPlayer(t, detectorSet())
		at, judged := time.Duration(0), time.Duration(0) // judged: when there was last a number
		above, since := false, time.Duration(0)          // there was a reading above the range since the last reset
		beyond := false                                  // the last reading that could be judged
		stood := map[string]bool{}
		check := func(events []Event, word string, v int64) {
			for _, x := range events {
				if x.Rule != "l1" && x.Rule != "l2" {
					continue
				}
				if x.Kind == AlarmRaised && !stood[x.Rule] && !beyond && !above {
					t.Fatalf("at %v %s raised by nothing that was measured", at, x.Rule)
				}
				if x.Kind == AlarmReturned && (word != "good" || v >= 50) {
					t.Fatalf("at %v %s returned by %s %d", at, x.Rule, word, v)
				}
			}
			views := p.views(at)
			for _, name := range []string{"l1", "l2"} {
				stood[name] = views[name].Standing
			}
			if above && at-since >= 2*s && views["l2"].State == Normal {
				t.Fatalf("at %v it was above the range at %v, and level 2 is normal", at, since)
			}
			if word != "good" && word != "over" && at-judged > time.Hour && !views["not"].Standing && !views["ready"].Standing && !views["test"].Standing {
				t.Fatalf("at %v nobody has measured since %v, and there is no alarm", at, judged)
			}
		}
		word, v := "good", int64(0)
		numbers := true // the last reading was one
		for range rapid.IntRange(1, 40).Draw(t, "readings") {
			at += rapid.SampledFrom([]time.Duration{0, s, 2 * s, 4 * s, 9 * s, 11 * s, 4 * time.Minute, 20 * time.Minute, 70 * time.Minute}).Draw(t, "time")
			check(p.step(at), word, v) // what was due comes first
			word = rapid.SampledFrom([]string{"good", "good", "warm", "test", "comm", "over", "above", "under"}).Draw(t, "state")
			v = rapid.SampledFrom([]int64{0, 1, 30, 60, 900}).Draw(t, "value")
			over := word == "over" || word == "above"
			if over && !above {
				above, since = true, at
			}
			if word == "good" || over {
				beyond = over || v >= 25
			}
			if numbers {
				judged = at
			}
			numbers = word == "good" || word == "over"
			p.img.Put(tag.Reading{Tag: 1, Quality: state[word], Value: tag.IntValue(v), Received: rigStamp(at)})
			p.img.Put(tag.Reading{Tag: 2, Quality: tag.GoodQuality, Value: tag.IntValue(0), Received: rigStamp(at)})
			check(p.step(at), word, v)
			if lock, _ := p.e.Interlock("L", rigStamp(at)); over && lock.State != Tripped {
				t.Fatalf("at %v above the range, and it is not tripped", at)
			}
			for _, verb := range []Verb{Ack, Reset} {
				a, _ := p.e.Alarm("l2")
				in := Input{Now: rigStamp(at), Image: p.img.Readings()}
				if rapid.Bool().Draw(t, "person") && p.e.Do(&in, Command{Verb: verb, Rule: "l2", Occurrence: a.Occurrence, Who: "li", Note: "n"}, &p.out) == nil && verb == Reset {
					above, since = over || p.e.alarms[1].above&sawAbove != 0, at
				}
			}
		}
	})
}
