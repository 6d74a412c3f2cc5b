package rules

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

func TestNewSaysEverything(t *testing.T) {
	c := Condition{Tag: 1, Limit: 1}
	set := Set{
		Tags:   tagsOf("a"),
		Settle: -1,
		Alarms: []Alarm{
			{Cond: c, Priority: Low},
			{Name: "hi", Cond: Condition{Tag: 2, Op: 6, Limit: math.NaN()}, Priority: 5},
			{Name: "hi", Cond: Condition{Tag: 1, Op: EQ, Limit: math.Inf(1)}, OnDelay: -1, OffDelay: MaxDelay + 1, Deadband: 1},
			{Name: "lo", Cond: c, Priority: Low, Deadband: math.NaN()},
			{Name: "L.degraded", Cond: c, Priority: Low},
			{Name: Fault, Cond: c, Priority: Low},
			{Name: strings.Repeat("x", MaxName+1), Cond: c, Priority: Low},
		},
		Outputs: []Output{{Name: "fan", Proved: true, Within: -1}, {Name: "fan"}},
		Interlocks: []Interlock{
			{Name: "L", Priority: Low, DegradedPriority: 9, DegradedAtMost: -1},
			{
				Name: "M", M: 3, Bad: 3, OnDelay: -1, BadAfter: -1, ResetFor: -1, Channels: []Channel{{Name: "x", Cond: c}, {Name: "x", Cond: Condition{Op: 9}}},
				ResetConds: []Condition{{Tag: 7}},
				Demands:    []Demand{{Output: "fan", Delay: -1}, {Output: "fan"}, {Output: "horn"}},
			},
			{Name: "N", Priority: Low, M: 1, Channels: []Channel{{Cond: c}}, ResetConds: []Condition{{Tag: 2, Limit: math.NaN()}}},
			{Name: "fan", Priority: Low, M: 1, Channels: []Channel{{Name: "x", Cond: c}}},
		},
	}
	_, err := New(set)
	if err == nil {
		t.Fatal("it is taken")
	}
	got := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		"set: settle of -1ns is not within 0 and",
		"alarm: has no name",
		`alarm "hi": tag 2 is not in the set`,
		`alarm "hi": unknown comparison 6`,
		`alarm "hi": the limit is not a number`,
		`alarm "hi": priority 5 is not one`,
		`alarm "hi": the name is already that of an alarm`,
		`alarm "hi": priority 0 is not one`,
		`alarm "hi": on-delay of -1ns`,
		`alarm "hi": off-delay of`,
		`alarm "hi": a deadband has no meaning with =`,
		`alarm "lo": the deadband is not a number from 0`,
		`alarm "L.degraded": the name is already that of an alarm`,
		`alarm "rules.broken": the name is already that of an alarm`,
		`the name has more than 200 bytes`,
		`output "fan": the name is already that of an output`,
		`output "fan" proof: tag 0 is not in the set`,
		`output "fan": time of its proof of -1ns`,
		`interlock "L": 0 of 0 channels is no vote`,
		`interlock "L": priority 9 is not one`,
		`interlock "L": degraded time of -1ns`,
		`interlock "M": priority 0 is not one`,
		`interlock "M": 3 of 2 channels is no vote`,
		`interlock "M": unknown policy 3`,
		`interlock "M": on-delay of -1ns`,
		`interlock "M": delay of bad channels of -1ns`,
		`interlock "M": reset time of -1ns`,
		`interlock "M": 1 reset conditions for 2 channels`,
		`interlock "M" channel "x": the name is empty, longer than 200 bytes, or stands twice`,
		`interlock "M" channel "x": tag 0 is not in the set`,
		`interlock "M" channel "x": unknown comparison 9`,
		`interlock "M" channel "x" reset: tag 7 is not in the set`,
		`interlock "M" channel "x": the reset condition is on another tag`,
		`interlock "M": demands output "fan" twice`,
		`interlock "M": output "horn" is not in the set`,
		`interlock "M" demand: delay of -1ns`,
		`interlock "N" channel "": the name is empty`,
		`interlock "N" channel "" reset: the limit is not a number`,
		`interlock "fan": the name is already that of an output`,
	} {
		i := slices.IndexFunc(got, func(s string) bool { return strings.Contains(s, want) })
		if i < 0 {
			t.Errorf("it does not say: %s", want)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, s := range got {
		// One mistake may be said of several rules; none may be said of a good one.
		if strings.Contains(s, "BUG") {
			t.Error(s)
		}
	}
	if _, err = New(Set{}); err != nil {
		t.Errorf("an empty set: %v", err)
	}
}

// A rule that panics is out with what its policy for bad says; the others go on.
func TestPanic(t *testing.T) {
	over := Condition{1, GE, 100}
	set := lockSet(1, 2, manual)
	set.Alarms = []Alarm{{Name: "p", Cond: over, Priority: Low}, {Name: "q", Cond: over, Priority: Low}, {Name: "r", Cond: over, Priority: Low, OnDelay: 20 * s}}
	broken := func(r *rig, want ...string) {
		t.Helper()
		var notes []string
		for _, v := range r.out.Events {
			if v.Rule == Fault && v.Kind == AlarmRaised {
				notes = append(notes, v.Note)
			}
		}
		if !slices.Equal(notes, want) {
			t.Errorf("%q, want %q", notes, want)
		}
	}
	const word = ": BUG: rules: unknown comparison"

	t.Run("alarm", func(t *testing.T) {
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.alarms[0].op = 99
		r.play(`1s a=100 ?p=normal ?rules.broken=unacked => raised rules.broken#1; raised q#1; tripped L#1 first=a votes=a; demand fan by L`)
		broken(r, "p"+word)
		r.play(`
			2s ack:rules.broken => acked rules.broken#1
			3s a=1 ?p=normal    => returned q#1
			4s a=100            => raised q#2
			30s                 => raised r#1@24s`)
		if v := r.e.Alarms(nil, tag.Stamp{}); !v[len(v)-1].Agent || v[len(v)-1].Of != "broken" || v[len(v)-1].Priority != Critical {
			t.Errorf("%+v", v)
		}
	})
	t.Run("standing alarm", func(t *testing.T) {
		r := play(t, set, `0s a=100 b=1 => raised p#1; raised q#1; armed L; tripped L#1 first=a votes=a; demand fan by L`)
		r.e.alarms[0].op = 99
		r.play(`1s a=1 ?p=unacked => raised rules.broken#1; returned q#1`)
	})
	t.Run("channel is bad", func(t *testing.T) {
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.channels[1].op = 99
		r.play(`
			1s b=500 ?L=armed => raised rules.broken#1
			11s => degraded L b!bad; tripped L#1 first=b votes=b!bad; demand fan by L
			12s b=1 reset:L!still-standing`)
	})
	t.Run("interlock: all its channels are bad", func(t *testing.T) {
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.interlocks[0].seat = 77
		r.play(`
			1s a=2 ?L=armed => raised rules.broken#1
			12s => degraded L a!bad@11s; degraded L b!bad@11s; tripped L#1 first=a votes=a!bad,b!bad@11s; demand fan by L@11s`)
	})
	t.Run("interlock: panics again, and trips", func(t *testing.T) {
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.interlocks[0].n = 77
		r.play(`1s a=2 ?fan=on,by-L => raised rules.broken#1; raised rules.broken#2; tripped L#1; demand fan by L`)
		broken(r, "L: runtime error: slice bounds out of range [:77] with capacity 2", "L: runtime error: slice bounds out of range [:77] with capacity 2")
		r.play(`2s a=100 ?q=unacked => raised p#1; raised q#1`)
	})
	t.Run("interlock: panics again, and holds", func(t *testing.T) {
		set := lockSet(1, 2, func(l *Interlock) { l.AllBadHolds = true })
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.interlocks[0].n = 77
		r.play(`
			1s a=2 ?fan=off => raised rules.broken#1; raised rules.broken#2
			2s a=3 ?fan=off`)
	})
	t.Run("proof", func(t *testing.T) {
		set := set
		set.Outputs = []Output{{Name: "fan", Proved: true, Proof: Condition{4, EQ, 1}, Within: s}, {Name: "horn"}}
		r := play(t, set, `0s a=1 b=1 f=0 => armed L`)
		r.e.outputs[0].op = 99
		r.play(`
			1s f=1 => raised rules.broken#1
			2s b=100 => tripped L#1 first=b votes=b; demand fan by L
			4s ?fan.proof=unacked => raised fan.proof#1@3s`)
	})
	t.Run("in the first step", func(t *testing.T) {
		r := newRig(t, set)
		r.e.alarms[1].op = 99
		r.play(`0s a=100 b=1 => raised p#1; raised rules.broken#1; armed L; tripped L#1 first=a votes=a; demand fan by L`)
		broken(r, "q"+word)
	})
	t.Run("after a restart nothing is broken", func(t *testing.T) {
		r := play(t, set, `0s a=1 b=1 => armed L`)
		r.e.alarms[0].op = 99
		r.play(`
			1s a=100 => raised rules.broken#1; raised q#1; tripped L#1 first=a votes=a; demand fan by L
			2s restart:1s ?rules.broken=returned => returned rules.broken#1`)
	})
}

// An image that is too short, and tags that no rule knows, hurt nobody.
func TestOddInput(t *testing.T) {
	set := lockSet(1, 2, nil)
	e, _ := New(set)
	var out Outcome
	e.Step(&Input{Now: rigStamp(0), Image: make([]tag.Reading, 1), Changed: []tag.ID{0, 1, 3, 4, 99}}, &out)
	e.Step(&Input{Now: rigStamp(s), Changed: []tag.ID{1, 2, 99}}, &out)
	if len(out.Events) != 0 {
		t.Errorf("%+v", out.Events)
	}
}

// limits makes n limit alarms on n tags, and two images that differ in every
// value but raise nothing.
func limits(n int) (set Set, images [2][]tag.Reading, changed []tag.ID) {
	set.Tags = make([]Tag, n+1)
	for k := range images {
		images[k] = make([]tag.Reading, n+1)
	}
	for i := 1; i <= n; i++ {
		set.Alarms = append(set.Alarms, Alarm{
			Name: "a" + time.Duration(i).String(), Cond: Condition{tag.ID(i), GE, 100}, Priority: Low, Deadband: 2, OnDelay: s,
		})
		for k := range images {
			v, _ := tag.Float64Value(float64(i%90 + k))
			images[k][i] = tag.Reading{Tag: tag.ID(i), Quality: tag.GoodQuality, Value: v}
		}
		changed = append(changed, tag.ID(i))
	}
	return set, images, changed
}

// A step in which no alarm changes state allocates nothing, also with timers,
// votes and delays running.
func TestStepAllocatesNothing(t *testing.T) {
	set := lockSet(2, 3, func(l *Interlock) { l.OnDelay = time.Hour })
	set.Outputs[0].Proved, set.Outputs[0].Proof, set.Outputs[0].Within = true, Condition{4, EQ, 1}, s
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 100}, Priority: Low, OnDelay: time.Hour}, {Name: "not", Cond: Condition{Tag: 2}, NotWatched: true, OnDelay: time.Hour, Priority: Low}}
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	img := NewImage(set)
	var in Input
	var out Outcome
	at := time.Duration(0)
	turn := func() {
		for id := tag.ID(1); id <= 4; id++ {
			v, _ := tag.Float64Value(float64((int(at/time.Millisecond)*int(id) + 1) % 150))
			img.Put(tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: v, Received: rigStamp(at)})
		}
		in = Input{Now: rigStamp(at), Image: img.Readings(), Changed: img.TakeChanged()}
		e.Step(&in, &out)
		at += 7 * time.Millisecond
	}
	turn()
	if got := testing.AllocsPerRun(1000, turn); got != 0 || len(out.Events) > 0 {
		t.Errorf("%v allocations, %d events", got, len(out.Events))
	}
}

func BenchmarkStep1000(b *testing.B) {
	set, images, changed := limits(1000)
	e, err := New(set)
	if err != nil {
		b.Fatal(err)
	}
	var out Outcome
	in := Input{Now: rigStamp(0), Image: images[0], Changed: changed}
	e.Step(&in, &out)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in.Image, in.Now.Mono = images[i&1], in.Now.Mono+1000
		e.Step(&in, &out)
	}
	if len(out.Events) > 0 {
		b.Fatal("something was raised")
	}
}
