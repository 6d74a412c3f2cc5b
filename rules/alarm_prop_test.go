package rules

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

const propTags = 4

// drawAlarms makes a set of alarms with everything that an alarm can have but,
// if plain, conditions of its own beside the first.
func drawAlarms(t *rapid.T, plain bool) Set {
	delay := rapid.Custom(func(t *rapid.T) time.Duration { return s * time.Duration(rapid.IntRange(0, 4).Draw(t, "s")) })
	cond := func(most int) Condition {
		return Condition{tag.ID(rapid.IntRange(1, propTags).Draw(t, "tag")), Op(rapid.IntRange(0, most).Draw(t, "op")), float64(rapid.IntRange(0, 4).Draw(t, "limit"))}
	}
	chance := func(n int) bool { return rapid.IntRange(1, n).Draw(t, "chance") == 1 }
	set := Set{Tags: tagsOf("a", "b", "c", "d"), Settle: s * time.Duration(rapid.IntRange(1, 8).Draw(t, "settle"))}
	set.Tags[1].OverRange, set.Tags[2].OverRange = true, true
	n := rapid.IntRange(1, 5).Draw(t, "alarms")
	for i := range n {
		a := Alarm{
			Name: fmt.Sprintf("A%d", i), Cond: cond(3), Priority: Low, OnDelay: delay.Draw(t, "on"), OffDelay: delay.Draw(t, "off"),
			Deadband: float64(rapid.IntRange(0, 2).Draw(t, "deadband")), Realarm: delay.Draw(t, "again"), NotWatched: !plain && chance(5),
		}
		switch rapid.IntRange(0, 2).Draw(t, "how it ends") {
		case 0:
			a.Latch = true
		case 1:
			a.AutoAck = true
		}
		if a.LatchOver = a.Cond.Op <= GT && a.Cond.Tag <= 2 && !a.AutoAck && !a.NotWatched && chance(2); a.NotWatched && chance(2) {
			a.Except = InTest
		}
		if chance(2) {
			a.Group = "g"
		}
		if i+1 < n && chance(3) {
			a.Under = fmt.Sprintf("A%d", rapid.IntRange(i+1, n-1).Draw(t, "under"))
		}
		if i+1 < n && chance(3) {
			a.Beyond = fmt.Sprintf("A%d", rapid.IntRange(i+1, n-1).Draw(t, "beyond"))
		}
		if !plain && chance(4) {
			a.Suppress = cond(5)
		}
		for k := range rapid.IntRange(0, 2).Draw(t, "modes") {
			if m := (Mode{Name: fmt.Sprintf("m%d", k), When: cond(5), Limit: float64(rapid.IntRange(0, 4).Draw(t, "limit")), Off: chance(3)}); !plain && (m.Off || !a.NotWatched) {
				a.Modes = append(a.Modes, m)
			}
		}
		set.Alarms = append(set.Alarms, a)
	}
	for _, x := range []struct {
		name string
		only DetectorState
	}{{"ready", WarmingUp}, {"test", InTest}} {
		if plain || chance(2) {
			continue // a gap is not in test: what ran on was told so by its readings
		}
		w := Alarm{Name: x.name, Cond: Condition{Tag: 1}, NotWatched: true, Only: x.only, Priority: High, OnDelay: 5 * s}
		set.Alarms = append(set.Alarms, w)
	}
	return set
}

var propQualities = append([]tag.Quality{
	tag.MakeQuality(tag.Uncertain, tag.Initial, 0), tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), tag.GoodQuality | tag.LimitHigh, tag.BadRange | tag.LimitHigh,
}, modelQualities...)

// A course is what happens to a set: readings, then a command, each at its time.
type course []struct {
	at  time.Duration
	put []tag.Reading
	do  *Command // its occurrence is added to the present one
}

func drawCourse(t *rapid.T, set Set) course {
	c := make(course, rapid.IntRange(1, 30).Draw(t, "steps"))
	at := time.Duration(0)
	for i := range c {
		x := &c[i]
		at += s * time.Duration(rapid.IntRange(0, 5).Draw(t, "dt"))
		x.at = at
		for id := tag.ID(1); id <= propTags; id++ {
			if rapid.Bool().Draw(t, "put") {
				v := tag.IntValue(int64(rapid.IntRange(0, 5).Draw(t, "v")))
				x.put = append(x.put, tag.Reading{Tag: id, Quality: rapid.SampledFrom(propQualities).Draw(t, "q"), Value: v})
			}
		}
		if rapid.Bool().Draw(t, "command") {
			x.do = &Command{
				Verb: rapid.SampledFrom([]Verb{Ack, Ack, Reset, Shelve, Shelve, Unshelve, Silence, Remove, Restore}).Draw(t, "verb"),
				Rule: rapid.SampledFrom(set.Alarms).Draw(t, "rule").Name, For: s * time.Duration(rapid.IntRange(1, 12).Draw(t, "for")),
				Who: "li", Note: "n", Proved: true,
			}
		}
	}
	return c
}

// player plays a course on an engine, which may be replaced on the way.
type player struct {
	t      *rapid.T
	set    Set
	e      *Engine
	img    *Image
	out    Outcome
	events [][]Event // of each step and its command
}

func newPlayer(t *rapid.T, set Set) *player {
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	return &player{t: t, set: set, e: e, img: NewImage(set)}
}

func (p *player) step(at time.Duration) []Event {
	in := Input{Now: rigStamp(at), Image: p.img.Readings(), Changed: p.img.TakeChanged()}
	p.e.Step(&in, &p.out)
	return slices.Clone(p.out.Events)
}

func (p *player) play(c course, before func(i int) []Event, after func(i int)) {
	for i, x := range c {
		var all []Event
		if before != nil {
			all = append(all, before(i)...)
		}
		for _, r := range x.put {
			p.img.Put(r)
		}
		all = append(all, p.step(x.at)...)
		if x.do != nil {
			do := *x.do
			if a, ok := p.e.Alarm(do.Rule); ok {
				do.Occurrence = a.Occurrence
			}
			in := Input{Now: rigStamp(x.at), Image: p.img.Readings()}
			if p.e.Do(&in, do, &p.out) == nil {
				all = append(all, p.out.Events...)
			}
		}
		p.events = append(p.events, all)
		if after != nil {
			after(i)
		}
	}
}

// views shows all alarms; of what is over, a snapshot keeps neither time nor value.
func (p *player) views(at time.Duration) map[string]AlarmView {
	all := map[string]AlarmView{}
	for _, a := range p.set.Alarms {
		v, _ := p.e.Alarm(a.Name)
		all[a.Name] = v
	}
	for _, v := range p.e.Alarms(nil, rigStamp(at)) {
		all[v.Name] = v
	}
	for name, v := range all {
		if v.State == Normal || v.State > LatchedAcked && !v.Standing {
			v.Raised, v.Value = tag.Stamp{}, tag.Value{}
			all[name] = v
		}
	}
	return all
}

func show(events []Event) (all []string) {
	for _, v := range events {
		all = append(all, fmt.Sprintf("%v %d %s#%d hidden%d first%v limit%g value%v q%x who=%s note=%s for=%v",
			time.Duration(v.At.Mono-rigBase), v.Kind, v.Rule, v.Occurrence, v.Hidden, v.First, v.Limit, v.Value, v.Quality, v.Who, v.Note, v.For))
	}
	return all
}

func same(t *rapid.T, what string, a, b *player, at time.Duration, anyOrder bool) {
	t.Helper()
	var got, want []string
	if !anyOrder {
		got, want = show(slices.Concat(a.events...)), show(slices.Concat(b.events...))
	} else {
		for i := range a.events {
			x, y := show(a.events[i]), show(b.events[i])
			slices.Sort(x)
			slices.Sort(y)
			got, want = append(got, x...), append(want, y...)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s: other events\n got %q\nwant %q", what, got, want)
	}
	if x, y := a.views(at), b.views(at); !maps.Equal(x, y) {
		t.Fatalf("%s: another view\n got %+v\nwant %+v", what, x, y)
	}
}

// More steps, another order of the alarms, and a new engine at any instant change nothing.
func TestAlarmsHoweverPlayed(t *testing.T) {
	checks(t, 1000)
	rapid.Check(t, func(t *rapid.T) {
		set := drawAlarms(t, false)
		c := drawCourse(t, set)
		end := c[len(c)-1].at
		plain := newPlayer(t, set)
		plain.play(c, nil, nil)

		more := newPlayer(t, set)
		more.play(c, func(i int) (all []Event) {
			if i == 0 {
				return nil
			}
			for at := c[i-1].at; at <= c[i].at; at += s / 2 {
				all = append(all, more.step(at)...)
			}
			return all
		}, nil)
		same(t, "more steps", more, plain, end, false)

		shuffled := set
		shuffled.Alarms = rapid.Permutation(set.Alarms).Draw(t, "order")
		other := newPlayer(t, shuffled)
		other.play(c, nil, nil)
		same(t, "another order", other, plain, end, true)

		if slices.ContainsFunc(set.Alarms, func(a Alarm) bool { return a.NotWatched || len(a.Modes) > 0 || a.Suppress.Tag != 0 }) {
			for id := tag.ID(1); id <= propTags; id++ { // the start of the new engine counts for what was never read
				c[0].put = append(c[0].put, tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: tag.IntValue(1)})
			}
			plain = newPlayer(t, set)
			plain.play(c, nil, nil)
		}
		handed := newPlayer(t, set)
		handed.play(c, nil, func(i int) {
			b := handed.e.Snapshot(nil, rigStamp(c[i].at))
			e, err := New(set)
			if err != nil {
				t.Fatal(err)
			}
			if err = e.Restore(b, 0); err != nil {
				t.Fatal(err)
			}
			if again := e.Snapshot(nil, rigStamp(c[i].at)); string(again) != string(b) {
				t.Fatalf("a snapshot of what was restored is another:\n%q\n%q", again, b)
			}
			handed.e = e
			if got := handed.step(c[i].at); len(got) > 0 {
				t.Fatalf("a hand-over brings %q", show(got))
			}
		})
		same(t, "hand-overs", handed, plain, end, false)
	})
}

// told is what somebody knows of an alarm who only reads the events.
type told struct {
	Alarm
	own                 AlarmState // as seen before anything was laid over it
	stood               bool       // and latches
	shelved, by, out    bool
	standing, uncovered bool
	above               bool // it was raised above the range
	occ                 uint64
}

func (m *told) latches() bool { return m.Latch || m.above }

func (m *told) over() AlarmState {
	switch {
	case m.out:
		return OutOfService
	case m.by:
		return Suppressed
	case m.shelved:
		return Shelved
	}
	return Normal
}

// tell takes an event as the table of the standard does; it returns what is wrong with it.
func (m *told) tell(v *Event) string {
	was := m.over()
	flip := func(b *bool, to bool) string {
		if *b == to {
			return "said twice"
		}
		*b = to
		switch now := m.over(); {
		case was == Normal && now != Normal:
			m.stood = m.own != Normal && m.own != ReturnedUnacked
		case was != Normal && now == Normal:
			m.own, m.uncovered = Normal, m.standing
			if m.latches() && m.stood {
				m.own = LatchedUnacked
			}
		}
		return ""
	}
	to := func(m *told, next map[AlarmState]AlarmState) string {
		state, ok := next[m.own]
		if was != Normal || !ok {
			return fmt.Sprintf("from state %d under %d", m.own, was)
		}
		m.own = state
		return ""
	}
	if v.Kind == AlarmReturned && v.Note == OverRangeNote {
		m.above = true
	}
	if m.uncovered && v.Kind != AlarmRaised {
		return "it stands, and was not raised when the last that lay over it was gone"
	}
	switch v.Kind {
	case AlarmRaised:
		if v.Hidden != was || v.Occurrence != m.occ+1 || m.standing && !m.uncovered {
			return "raised"
		}
		m.occ, m.standing, m.uncovered = v.Occurrence, true, false
		if m.stood = true; was == Normal {
			m.own = Unacked
		}
	case AlarmReturned:
		switch {
		case v.Hidden != was || !m.standing || v.Occurrence != m.occ:
			return "returned"
		case !m.NotWatched && !(v.Quality.Usable() && v.Value.Kind() != tag.None):
			return "a bad reading cleared it"
		}
		m.standing = false
		switch {
		case was != Normal:
		case m.latches():
			return to(m, map[AlarmState]AlarmState{Unacked: LatchedUnacked, Acked: LatchedAcked})
		case m.AutoAck:
			return to(m, map[AlarmState]AlarmState{Unacked: Normal, Acked: Normal})
		default:
			return to(m, map[AlarmState]AlarmState{Unacked: ReturnedUnacked, Acked: Normal})
		}
	case AlarmAcked:
		return to(m, map[AlarmState]AlarmState{Unacked: Acked, ReturnedUnacked: Normal, LatchedUnacked: LatchedAcked})
	case AlarmReset:
		m.above = false
		return to(m, map[AlarmState]AlarmState{LatchedAcked: Normal})
	case AlarmRealarmed:
		if m.Realarm == 0 {
			return "without a time"
		}
		return to(m, map[AlarmState]AlarmState{Acked: Unacked})
	case AlarmShelved:
		if was != Normal {
			return "shelved under something"
		}
		return flip(&m.shelved, true)
	case AlarmUnshelved:
		return flip(&m.shelved, false)
	case AlarmSuppressed:
		return flip(&m.by, true)
	case AlarmUnsuppressed:
		return flip(&m.by, false)
	case AlarmRemoved:
		return flip(&m.out, true)
	case AlarmRestored:
		return flip(&m.out, false)
	}
	return ""
}

// Who reads only the events knows the state of every alarm: there is never
// another one, nor two, and no bad reading clears any.
func TestAlarmEventsSayAll(t *testing.T) {
	checks(t, 2000)
	rapid.Check(t, func(t *rapid.T) {
		set := drawAlarms(t, false)
		c := drawCourse(t, set)
		all := map[string]*told{}
		for _, a := range set.Alarms {
			all[a.Name] = &told{Alarm: a}
		}
		p := newPlayer(t, set)
		p.play(c, nil, func(i int) {
			for _, v := range p.events[i] {
				m, ok := all[v.Rule]
				if v.Kind == SoundSilenced {
					continue
				}
				if !ok {
					t.Fatalf("an event of nothing: %q", show([]Event{v}))
				}
				if wrong := m.tell(&v); wrong != "" {
					t.Fatalf("%s: %s: %q", v.Rule, wrong, show(p.events[i]))
				}
			}
			views := p.views(c[i].at)
			for name, m := range all {
				v := views[name]
				want := m.over()
				if want == Normal {
					want = m.own
				}
				calls := want == Unacked || want == ReturnedUnacked || want == LatchedUnacked
				switch {
				case m.uncovered || v.State != want || v.Standing != m.standing || v.Occurrence != m.occ:
					t.Fatalf("at %v %s is %+v, and by its events %d %+v", c[i].at, name, v, want, m)
				case v.Sounds && !calls, v.First && (want == Normal || want > LatchedAcked || m.Group == ""):
					t.Fatalf("%s: %+v", name, v)
				case (v.State == Shelved) != (v.Left > 0), v.Left > 12*s, v.Under != "" && !all[v.Under].standing:
					t.Fatalf("%s: %+v", name, v)
				}
			}
		})
	})
}

// After a gap every timer is as if it had run with bad inputs in between.
func TestAlarmsAfterAGap(t *testing.T) {
	checks(t, 1000)
	rapid.Check(t, func(t *rapid.T) {
		set := drawAlarms(t, true)
		c := drawCourse(t, set)
		gap := s * time.Duration(rapid.IntRange(1, 15).Draw(t, "gap"))
		end := c[len(c)-1].at
		ran, down := newPlayer(t, set), newPlayer(t, set)
		ran.play(c, nil, nil)
		down.play(c, nil, nil)
		before := slices.Clone(ran.img.Readings())
		for id := tag.ID(1); id <= propTags; id++ {
			if before[id].Quality != tag.BadNeverRead {
				ran.img.Put(tag.Reading{Tag: id, Quality: tag.BadNoComm, Value: before[id].Value})
			}
		}
		ran.step(end)
		var err error
		b := down.e.Snapshot(nil, rigStamp(end))
		if down.e, err = New(set); err != nil {
			t.Fatal(err)
		}
		if err = down.e.Restore(b, gap); err != nil {
			t.Fatal(err)
		}
		for id := tag.ID(1); id <= propTags; id++ {
			if before[id].Quality != tag.BadNeverRead {
				ran.img.Put(before[id])
			}
		}
		ran.step(end + gap)
		down.step(end + gap)
		x, y := ran.views(end+gap), down.views(end+gap)
		for name, a := range x {
			b := y[name]
			if a.State != b.State || a.Standing != b.Standing || a.Sounds != b.Sounds || a.Left != b.Left || a.Under != b.Under || a.Who != b.Who {
				t.Fatalf("%s\n ran %+v\ndown %+v", name, a, b)
			}
		}
		if x, y := ran.out.Next, down.out.Next; x != y {
			t.Fatalf("next %d, after a gap %d", x, y)
		}
	})
}
