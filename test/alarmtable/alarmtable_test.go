package alarmtable

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const (
	wallAhead = 1_700_000_000_000_000_000 // of Wall over Mono
	began     = int64(time.Hour)
)

func stamp(mono int64) tag.Stamp { return tag.Stamp{Wall: mono + wallAhead, Mono: mono} }

// world is what one history runs on. Tag ids are from 1.
type world struct {
	alarms []spec
	unit   int64     // all times are multiples of it, in ns
	tags   []float64 // the first value of each tag; entry 0 is no tag

	detector map[tag.ID]bool // tags of detectors
}

type spec struct {
	Options
	tag    tag.ID
	design tag.ID // suppresses while it is not 0; 0 none
}

// op is one entry of a history.
type op struct {
	at    int64
	what  string // "read", "step", "silence", else a verb of the table
	tag   tag.ID
	value float64
	q     quality
	alarm int
	wrong uint64 // is added to the occurrence
	Order        // Occurrence is not used
}

type quality struct {
	tag.Quality
	usable bool
	above  bool
	state  string
}

// qualities that are usable and that are not, as tag.Quality says it.
func qualities() (usable, not []quality) {
	for _, q := range []tag.Quality{
		tag.GoodQuality, tag.GoodQuality | tag.Maintenance, tag.GoodQuality | tag.LimitHigh,
		tag.MakeQuality(tag.Uncertain, tag.UncertainPlain, 0), tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, 0),
	} {
		usable = append(usable, quality{Quality: q, usable: true, above: q == tag.GoodQuality|tag.LimitHigh})
	}
	for _, q := range []tag.Quality{
		tag.BadNoComm, tag.BadSensor, tag.BadStale, tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0), tag.GoodQuality | tag.Forced,
	} {
		not = append(not, quality{Quality: q})
	}
	not = append(
		not, quality{Quality: tag.BadRange | tag.LimitHigh, above: true}, quality{Quality: tag.BadRange | tag.LimitLow},
		quality{Quality: tag.MakeQuality(tag.Uncertain, tag.Initial, 0), state: "warm-up"},
		quality{Quality: tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), state: "test"},
	)
	return usable, not
}

func (o op) String() string {
	s := fmt.Sprintf("%-14v %s", time.Duration(o.at-began), o.what)
	switch o.what {
	case "read":
		return fmt.Sprintf("%s tag %d = %g, %#x usable %v", s, o.tag, o.value, uint32(o.q.Quality), o.q.usable)
	case "step", "silence":
		return s
	}
	s += fmt.Sprintf(" alarm %d, reason %v, proved %v", o.alarm, o.Reason, o.Proved)
	if o.wrong != 0 {
		s += ", wrong occurrence"
	}
	if o.what == sayShelve {
		s += ", for " + time.Duration(o.Length).String()
	}
	return s
}

// pair is the engine and the table side by side.
type pair struct {
	w     world
	e     *rules.Engine
	image *rules.Image
	out   rules.Outcome
	lives []*Life
	got   [][]Word // of each alarm, since the last comparison
	last  int64    // the time of the last event

	letters map[rules.AlarmState]string
	words   map[rules.Kind]string
}

func name(i int) string { return fmt.Sprintf("a%d", i) }

func newPair(w world, tables *Tables) (*pair, error) {
	set := rules.Set{Tags: make([]rules.Tag, len(w.tags))}
	for i := 1; i < len(w.tags); i++ {
		set.Tags[i].Name = tag.Name(fmt.Sprintf("t.%d", i))
		set.Tags[i].OverRange = w.detector[tag.ID(i)]
	}
	ops := map[string]rules.Op{">=": rules.GE, ">": rules.GT, "<=": rules.LE, "<": rules.LT, "=": rules.EQ, "!=": rules.NE}
	p := &pair{w: w, got: make([][]Word, len(w.alarms)), letters: letters(), words: words()}
	for i, s := range w.alarms {
		a := rules.Alarm{
			Name: name(i), Cond: rules.Condition{Tag: s.tag, Op: ops[s.Op], Limit: s.Limit}, Priority: rules.High,
			Deadband: s.Deadband, OnDelay: time.Duration(s.OnDelay), OffDelay: time.Duration(s.OffDelay),
			Latch: s.Latch, AutoAck: s.AutoAck, Realarm: time.Duration(s.Realarm), NoShelve: s.NoShelve,
			ShelveAtMost: time.Duration(s.ShelveMost), NotWatched: s.NotWatched,
			LatchOver: s.LatchAbove, Except: states()[s.Except], Only: states()[s.Only],
		}
		if s.design != 0 {
			a.Suppress = rules.Condition{Tag: s.design, Op: rules.NE}
		}
		set.Alarms = append(set.Alarms, a)
		o := s.Options
		if o.ShelveMost == 0 {
			o.ShelveMost = int64(rules.DefaultShelve)
		}
		p.lives = append(p.lives, NewLife(o, tables))
	}
	var err error
	if p.e, err = rules.New(set); err != nil {
		return nil, err
	}
	p.image = rules.NewImage(set)
	good := quality{Quality: tag.GoodQuality, usable: true}
	for i := 1; i < len(w.tags); i++ {
		p.put(op{at: began, tag: tag.ID(i), value: w.tags[i], q: good})
	}
	rules.Step(p.e, p.image, stamp(began), &p.out)
	return p, p.compare(began)
}

// put gives both the reading of a tag.
func (p *pair) put(o op) {
	v, _ := tag.Float64Value(o.value)
	p.image.Put(tag.Reading{Tag: o.tag, Quality: o.q.Quality, Value: v, Received: stamp(o.at)})
	for i, s := range p.w.alarms {
		if s.tag == o.tag {
			p.lives[i].Read(o.at, Reading{o.value, o.q.usable, o.q.above, o.q.state})
		}
		if s.design == o.tag {
			p.lives[i].Design(o.at, o.q.usable && o.value != 0)
		}
	}
}

// do gives both an entry of the history; the error is where they differ.
func (p *pair) do(o op) error {
	switch o.what {
	case "read":
		p.put(o)
		rules.Step(p.e, p.image, stamp(o.at), &p.out)
	case "step":
		rules.Step(p.e, p.image, stamp(o.at), &p.out)
	case "silence": // acknowledges nothing: the table has no word for it
		if err := p.engine(o.at, rules.Command{Verb: rules.Silence, Who: "w", Note: "n"}); err != nil {
			var refused *rules.RefusedError
			if !errors.As(err, &refused) {
				return err
			}
		}
	default:
		l := p.lives[o.alarm]
		l.Until(o.at) // so that the person is right about the occurrence
		order := o.Order
		order.Verb, order.Occurrence = o.what, l.Occurrence+o.wrong
		c := rules.Command{
			Verb: map[string]rules.Verb{
				sayAck: rules.Ack, sayReset: rules.Reset, sayShelve: rules.Shelve,
				sayUnshelf: rules.Unshelve, sayRemove: rules.Remove, sayReturn: rules.Restore,
			}[o.what],
			Rule: name(o.alarm), Occurrence: order.Occurrence, Who: "w", Proved: o.Proved, For: time.Duration(o.Length),
		}
		if o.Reason || o.what != sayShelve && o.what != sayRemove {
			c.Note = "n"
		}
		err := p.engine(o.at, c)
		var refused *rules.RefusedError
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		if letter := l.Letter; l.Say(o.at, order) != (err == nil) {
			return fmt.Errorf("alarm %d in %s, %s: the engine says %v", o.alarm, letter, o.what, err)
		}
	}
	for _, l := range p.lives {
		l.Until(o.at)
	}
	return p.compare(o.at)
}

// engine gives a command to the engine. What a refused one kept back comes
// with a step.
func (p *pair) engine(at int64, c rules.Command) error {
	err := rules.Do(p.e, p.image, stamp(at), c, &p.out)
	if err != nil {
		if len(p.out.Events) != 0 {
			return errors.New("a refusal has events")
		}
		rules.Step(p.e, p.image, stamp(at), &p.out)
	}
	return err
}

func states() map[string]rules.DetectorState {
	return map[string]rules.DetectorState{"warm-up": rules.WarmingUp, "test": rules.InTest}
}

func letters() map[rules.AlarmState]string {
	return map[rules.AlarmState]string{
		rules.Normal: "A", rules.Unacked: "B", rules.Acked: "C", rules.ReturnedUnacked: "D", rules.LatchedUnacked: "E",
		rules.LatchedAcked: "F", rules.Shelved: "G", rules.Suppressed: "H", rules.OutOfService: "I",
	}
}

func words() map[rules.Kind]string {
	return map[rules.Kind]string{
		rules.AlarmRaised: "raised", rules.AlarmReturned: "returned", rules.AlarmAcked: "acked", rules.AlarmReset: "reset",
		rules.AlarmShelved: "shelved", rules.AlarmUnshelved: "unshelved", rules.AlarmSuppressed: "suppressed",
		rules.AlarmUnsuppressed: "unsuppressed", rules.AlarmRemoved: "removed", rules.AlarmRestored: "restored",
		rules.AlarmRealarmed: "re-alarmed",
	}
}

// compare takes the events of the last outcome and compares everything.
func (p *pair) compare(now int64) error {
	for i := range p.got {
		p.got[i] = p.got[i][:0]
	}
	for i := range p.out.Events {
		v := &p.out.Events[i]
		if v.At.Mono < p.last || v.At.Mono > now || v.At.Wall != v.At.Mono+wallAhead {
			return fmt.Errorf("event %d of %s has the time %v", v.Kind, v.Rule, v.At)
		}
		p.last = v.At.Mono
		if v.Kind == rules.SoundSilenced {
			continue
		}
		w := Word{Says: p.words[v.Kind], At: v.At.Mono, Occurrence: v.Occurrence}
		if v.Hidden != rules.Normal {
			w.Hidden = p.letters[v.Hidden]
		}
		var k int
		if _, err := fmt.Sscanf(v.Rule, "a%d", &k); err != nil || k >= len(p.got) || w.Says == "" {
			return fmt.Errorf("event %d of %q is of no alarm", v.Kind, v.Rule)
		}
		p.got[k] = append(p.got[k], w)
	}
	for i, l := range p.lives {
		if !slices.Equal(p.got[i], l.Said) {
			return fmt.Errorf("alarm %d says\n    engine %+v\n    table  %+v", i, p.got[i], l.Said)
		}
		l.Said = l.Said[:0]
		v, ok := p.e.Alarm(name(i))
		if !ok || p.letters[v.State] != l.Letter || v.Occurrence != l.Occurrence || v.Standing != l.Stands {
			return fmt.Errorf("alarm %d: engine %s occurrence %d standing %v, table %s %d %v",
				i, p.letters[v.State], v.Occurrence, v.Standing, l.Letter, l.Occurrence, l.Stands)
		}
		if d := l.Next(); d != 0 && (p.out.Next == 0 || p.out.Next > d) {
			return fmt.Errorf("alarm %d: the engine wants to be called at %d, the table at %d", i, p.out.Next, d)
		}
	}
	return nil
}
