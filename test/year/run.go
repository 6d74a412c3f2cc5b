package year

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Options of a run.
type Options struct {
	Seed uint64
	Span time.Duration
	Set  rules.Set
	Tags []Tag // by tag.ID
}

// Tally is what a run came to.
type Tally struct {
	Steps, Events, Trips, Raised, Leaks, Faults, Commands, Refused, Restarts, Cuts, Applies, Tests int
	Past                                                                                           time.Duration // of the plant
}

// Bounds of a run.
const (
	began    = int64(1000 * time.Second) // the first instant
	trail    = 40                        // lines that are kept for a failure
	patience = 1000                      // turns at one instant
	viewEach = 500                       // steps between two looks at everything that is shown
)

// year is a run.
type year struct {
	o     Options
	r     *rand.Rand
	w     *World
	set   *rules.Set
	e     *rules.Engine
	img   *rules.Image
	out   rules.Outcome
	book  *book
	tally Tally

	now      int64 // true time
	base     int64 // true time less the engine's Mono
	wall     int64 // wall less true time
	aged     int64 // true time at which readings may be too old; 0 never
	next     [8]int64
	saved    []save // the newest last
	first    bool   // the next step is the first of this engine
	standing bool   // a reset is refused, for votes stand
	idle     int    // turns since time went on
	lost     bool   // it starts as one whose memory is lost
	read     []look // what the book knows, by tag
	came     []came // what came last, by tag

	names map[string]int // of alarms, for all plans
	decl  []*rules.Alarm // by that number; nil: the engine's own, or not in this plan
	on    [][]int        // tag → alarms of the set
	lines []string
	bag   []expect
}

// came is a reading of a tag's source.
type came struct {
	look
	at int64 // 0 never
}

// save is what was handed to the disk.
type save struct {
	at   int64
	snap []byte
	book *book
}

// What happens from time to time, as year.next has it.
const (
	poll = iota
	leaks
	upsets
	fails
	rounds
	restarts
	applies
	clocks
)

// Run simulates. The error is the first difference, with what led to it.
func Run(o Options) (tally Tally, err error) {
	y := &year{o: o, r: rand.New(rand.NewPCG(o.Seed, 4)), now: began, names: map[string]int{}, wall: 1_790_000_000e9}
	set := o.Set
	set.Tags = slices.Clone(set.Tags)
	for i := range set.Tags {
		if set.Tags[i].TTL > 0 {
			set.Tags[i].TTL = life
		}
	}
	y.o.Set = set
	y.w = NewWorld(y.r, &set, o.Tags)
	y.book = newBook(&set, y.now, y.sees)
	if err = y.begin(set, nil, 0, nil); err != nil {
		return y.tally, err
	}
	y.book.fit(&set)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		y.tally.Past = time.Duration(y.now - began)
		tally = y.tally
		if err != nil {
			text := fmt.Sprintf("seed %d, after %v and %d steps: %v", o.Seed, y.tally.Past, y.tally.Steps, err)
			for _, l := range y.lines {
				text += "\n  " + l
			}
			err = errors.New(text)
		}
	}()
	if err = y.step(nil); err != nil {
		return tally, err
	}
	for i := range y.next {
		y.later(i)
	}
	for end := began + int64(o.Span); y.now < end; {
		if err = y.turn(); err != nil {
			return tally, err
		}
	}
	return tally, nil
}

// mean time between two of what happens.
func (y *year) later(i int) {
	mean := [...]time.Duration{pollCalm, 5 * time.Hour, 4 * time.Hour, 4 * time.Hour, 25 * time.Minute, 17 * time.Hour, 60 * time.Hour, 200 * time.Hour}[i]
	if i == poll && y.w.busy(y.now) {
		mean = pollQuick
	}
	d := int64(mean)/4 + y.r.Int64N(int64(mean)*3/2)
	switch y.r.IntN(3) {
	case 0: // people and clocks like round numbers: things fall on one instant
		d = max(d/int64(time.Second), 1) * int64(time.Second)
	case 1:
		d = max(d/int64(100*time.Millisecond), 1) * int64(100*time.Millisecond)
	}
	y.next[i] = y.now + d
}

// begin makes an engine; from, if any, is what it restores, passed what it is told.
func (y *year) begin(set rules.Set, snap []byte, passed int64, img *rules.Image) error {
	e, err := rules.New(set)
	if err != nil {
		return err
	}
	if snap != nil {
		if err := e.Restore(snap, time.Duration(passed)); err != nil {
			return err
		}
	}
	y.set, y.e, y.img, y.first = &set, e, img, true
	if img == nil {
		y.img = rules.NewImage(set)
		y.read, y.came = make([]look, len(set.Tags)), make([]came, len(set.Tags))
		y.aged = 0
	}
	clear(y.decl)
	for len(y.book.alarms) < len(y.names) {
		y.book.alarms = append(y.book.alarms, alarm0())
	}
	y.on = make([][]int, len(set.Tags))
	for i := range set.Alarms {
		n := y.name(set.Alarms[i].Name)
		y.decl[n] = &y.set.Alarms[i]
		y.on[set.Alarms[i].Cond.Tag] = append(y.on[set.Alarms[i].Cond.Tag], n)
	}
	return nil
}

func (y *year) name(alarm string) int {
	n, ok := y.names[alarm]
	if !ok {
		n = len(y.names)
		y.names[alarm] = n
		y.decl = append(y.decl, nil)
	}
	for len(y.book.alarms) <= n {
		y.book.alarms = append(y.book.alarms, alarm0())
	}
	return n
}

func alarm0() alarm { return alarm{since: -1, clear: -1, credit: -1} }

func (y *year) say(format string, args ...any) {
	if len(y.lines) == trail {
		y.lines = y.lines[:copy(y.lines, y.lines[1:])]
	}
	y.lines = append(y.lines, fmt.Sprintf("%v ", time.Duration(y.now-began))+fmt.Sprintf(format, args...))
}

func (y *year) stamp() tag.Stamp { return tag.Stamp{Wall: y.now + y.wall, Mono: y.now - y.base} }

// turn goes to the next instant and lets happen what happens then.
func (y *year) turn() error {
	due := slices.Index(y.next[:], slices.Min(y.next[:]))
	at := y.next[due]
	mine := true
	if n := y.out.Next; n != 0 && n+y.base < at && y.r.IntN(4) > 0 { // sometimes nobody looks at the timers
		at, mine = n+y.base, false
	}
	if y.aged != 0 && y.aged <= at {
		at, mine = y.aged, false
	}
	if at > y.now {
		y.idle = 0
	}
	if y.idle++; y.idle > patience {
		return fmt.Errorf("a timer that is due is never done: the engine asks for %v again and again", time.Duration(y.out.Next))
	}
	y.now = max(at, y.now)
	if !mine {
		return y.step(nil)
	}
	y.later(due)
	w := y.w
	switch due {
	case poll:
		if y.r.IntN(1500) == 0 && w.busy(y.now) { // while something happens
			return y.restart()
		}
		return y.scan()
	case leaks:
		if n := len(y.set.Interlocks); n > 0 {
			i := y.r.IntN(n)
			y.say("leak at %s", y.set.Interlocks[i].Name)
			w.Leak(&y.set.Interlocks[i], y.now)
			y.tally.Leaks++
			if y.r.IntN(3) == 0 { // and in the middle of it an instrument fails
				id := pick(y.r, y.set.Interlocks[i].Channels).Cond.Tag
				from := y.now + w.span(time.Minute, 10*time.Minute)
				w.faults = append(w.faults, fault{tags: []tag.ID{id}, from: from, to: from + w.span(time.Minute, time.Hour), quality: tag.BadNoComm})
			}
		}
	case upsets:
		if n := len(y.set.Alarms); n > 0 {
			if a := &y.set.Alarms[y.r.IntN(n)]; !a.NotWatched {
				w.Push(a.Cond.Tag, w.Beyond(&a.Cond, y.r.IntN(5) > 0), y.now)
			}
		}
		id := tag.ID(1 + y.r.IntN(len(w.sensors)-1)) // modes, arming and the like
		if s := &w.sensors[id]; !s.number() && y.r.IntN(3) == 0 {
			w.Push(id, float64(y.r.IntN(4)), y.now)
		}
	case fails:
		w.fail(y.now)
		y.say("fault %+v", w.faults[len(w.faults)-1])
		y.tally.Faults++
	case rounds:
		return y.round()
	case restarts:
		return y.restart()
	case applies:
		return y.apply()
	case clocks:
		y.wall += w.span(-48*time.Hour, 48*time.Hour)
	}
	w.Tidy(y.now)
	y.next[poll] = min(y.next[poll], y.now+int64(pollQuick))
	return nil
}

// scan reads everything that says something, or one device.
func (y *year) scan() error {
	only := -2
	if y.w.busy(y.now) && y.r.IntN(3) == 0 {
		only = y.r.IntN(len(y.set.Devices) + 1)
	}
	var got []tag.Reading
	for id := 1; id < len(y.w.sensors); id++ {
		s := &y.w.sensors[id]
		if s.Computed || only >= -1 && s.device != only {
			continue
		}
		if v, q, ok := y.w.read(tag.ID(id), y.now); ok {
			got = append(got, tag.Reading{Tag: tag.ID(id), Value: v, Quality: q, Received: y.stamp()})
		}
	}
	y.r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	return y.step(got)
}

// step lets the engine see what was read, and holds it against the book.
func (y *year) step(got []tag.Reading) error {
	y.put(got)
	rules.Step(y.e, y.img, y.stamp(), &y.out)
	if err := y.follow(); err != nil {
		return err
	}
	if y.r.IntN(50) == 0 { // a time that goes backwards is the last one's
		before := y.stamp()
		before.Mono -= y.r.Int64N(int64(time.Hour))
		rules.Step(y.e, y.img, before, &y.out)
		if err := y.follow(); err != nil {
			return err
		}
	}
	if y.tally.Steps++; y.tally.Steps%viewEach == 0 {
		return y.views()
	}
	return nil
}

// put puts readings into the image and lets it age.
func (y *year) put(got []tag.Reading) {
	for i := range got {
		y.img.Put(got[i])
		y.came[got[i].Tag] = came{look{got[i].Value, got[i].Quality}, y.now}
	}
	y.aged = 0
	if at := y.img.Age(y.stamp()); at != 0 {
		y.aged = at + y.base
	}
}

// follow lets the book know what the engine knows, and compares what follows.
func (y *year) follow() error {
	b := y.book
	if y.first {
		b.advance(y.now)
	}
	for i := range y.out.Computed {
		r := &y.out.Computed[i]
		if at := r.Received.Mono + y.base; at < y.now {
			b.advance(at) // nothing where it is the same instant
			y.give(r.Tag, look{r.Value, r.Quality}, at)
			b.judge(at)
		}
	}
	b.advance(y.now)
	for id := 1; id < len(y.read); id++ {
		if y.w.sensors[id].Computed {
			continue
		}
		if r := y.raw(tag.ID(id)); r != y.read[id] {
			y.give(tag.ID(id), r, y.now)
		}
	}
	for i := range y.out.Computed {
		if r := &y.out.Computed[i]; r.Received.Mono+y.base >= y.now {
			y.give(r.Tag, look{r.Value, r.Quality}, y.now)
		}
	}
	if y.first {
		b.end(y.now)
		y.first = false
	}
	b.judge(y.now)
	for i := range y.out.Events {
		if err := y.person(&y.out.Events[i]); err != nil {
			return err
		}
	}
	b.judge(y.now)
	if err := y.compare(); err != nil {
		return err
	}
	y.outputs()
	if y.out.Durable {
		y.save()
	}
	return nil
}

// raw is what came last from a tag's source, or that it is too old.
func (y *year) raw(id tag.ID) look {
	c := &y.came[id]
	if c.at != 0 && y.set.Tags[id].TTL > 0 && y.now-c.at >= int64(y.set.Tags[id].TTL) && !c.q.Bad() {
		return look{c.v, tag.BadStale}
	}
	return c.look
}

// give tells the book what a tag's source says.
func (y *year) give(id tag.ID, r look, at int64) {
	y.read[id] = r
	y.book.raw[id] = r
	y.saw(id, at)
}

// saw lets the book look at a tag anew.
func (y *year) saw(id tag.ID, at int64) { y.sees(y.book, id, at) }

func (y *year) sees(b *book, id tag.ID, at int64) {
	b.glance(id, at)
	for _, n := range y.on[id] {
		b.sees(y.decl[n], &b.alarms[n], at)
	}
}

// save hands the disk what it must keep.
func (y *year) save() {
	if len(y.saved) == 8 {
		y.saved = append(y.saved[:0], y.saved[1:]...)
	}
	y.saved = append(y.saved, save{y.now, y.e.Snapshot(nil, y.stamp()), y.book.clone()})
}

// outputs lets the plant follow what is demanded, after a while, mostly.
func (y *year) outputs() {
	for _, d := range y.out.Demands {
		if y.r.IntN(20) > 0 {
			y.w.Follow[d.Output] = float64(count(d.Protective))
			y.next[poll] = min(y.next[poll], y.now+y.w.span(100*time.Millisecond, 8*time.Second))
		}
	}
	if y.r.IntN(2000) == 0 {
		for o := range y.w.Follow {
			y.w.Follow[o] = float64(count(y.book.driven[o]))
		}
	}
}
