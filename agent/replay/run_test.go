package replay

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/agent/config"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

const (
	wall0 = int64(1_800_000_000e9)
	mono0 = int64(time.Hour)
)

func at(d time.Duration) tag.Stamp { return tag.Stamp{Wall: wall0 + int64(d), Mono: mono0 + int64(d)} }

// memory is a history of one epoch, or several.
type memory struct {
	epochs   []Epoch
	events   [][]wire.Event
	readings [][]tag.Reading
	cut      map[int]uint64
	damaged  []string
}

func (m *memory) Epochs() []Epoch   { return m.epochs }
func (m *memory) Damaged() []string { return m.damaged }
func (m *memory) Events(i int) Blocks[wire.Event] {
	return &list[wire.Event]{all: m.events[i], wall: func(e *wire.Event) int64 { return e.At.Wall }}
}

func (m *memory) Readings(i int) Blocks[tag.Reading] {
	return &list[tag.Reading]{all: m.readings[i], wall: func(r *tag.Reading) int64 { return r.Received.Wall }, lost: m.cut[i]}
}

// list gives its records three by three; after the first block lost numbers are not there.
type list[T any] struct {
	all  []T
	wall func(*T) int64
	next uint64
	lost uint64
}

func (l *list[T]) Next(after int64) (b Block[T], err error) {
	for len(l.all) > 0 {
		n := min(3, len(l.all))
		b = Block[T]{First: l.next + 1, From: l.wall(&l.all[0]), To: l.wall(&l.all[n-1]), Records: l.all[:n]}
		l.next += uint64(n)
		if l.lost > 0 {
			l.next, l.lost = l.next+l.lost, 0
		}
		l.all = l.all[n:]
		if b.To >= after {
			return b, nil
		}
	}
	return b, io.EOF
}

// planOf is a plan of the tags a.gas (every change recorded), b.gas (a deadband)
// and c.gas (never recorded), each with an alarm above a limit.
func planOf(hash byte, limit float64) *config.Plan {
	p := &config.Plan{Hash: [32]byte{hash}, Tags: make([]config.Tag, 1), Rules: rules.Set{Tags: make([]rules.Tag, 1)}}
	for i, r := range []config.Record{{Every: time.Minute}, {Every: time.Minute, Change: 2}, {Never: true}} {
		name := tag.Name(string(rune('a'+i)) + ".gas")
		p.Tags = append(p.Tags, config.Tag{ID: tag.ID(i + 1), Name: name, Unit: "ppm", Kind: tag.Float64, Period: time.Second, Record: r})
		p.Rules.Tags = append(p.Rules.Tags, rules.Tag{Name: name, TTL: 3 * time.Second})
		p.Rules.Alarms = append(p.Rules.Alarms, rules.Alarm{Name: string(name) + ".high", Cond: rules.Condition{Tag: tag.ID(i + 1), Op: rules.GE, Limit: limit}, Priority: rules.High})
	}
	return p
}

// record is what the agent with p would have recorded of a.gas and b.gas at those
// values, a second apart, with all that it said.
func record(t *testing.T, p *config.Plan, values ...float64) *memory {
	t.Helper()
	m := &memory{epochs: []Epoch{{ID: wire.Epoch{1}, From: wall0, To: wall0 + int64(len(values))*1e9}}, cut: map[int]uint64{}}
	events := []wire.Event{
		{Kind: uint32(ring.EpochStarted), At: at(0), Start: &wire.Start{Clean: true, Boot: "b"}},
		tableOf(p),
		{Kind: uint32(ring.AgentStarted), At: at(0), Serial: 1},
	}
	var readings []tag.Reading
	e, err := rules.New(p.Rules)
	if err != nil {
		t.Fatal(err)
	}
	image, out := rules.NewImage(p.Rules), rules.Outcome{}
	step := func(now tag.Stamp) {
		rules.Step(e, image, now, &out)
		for _, x := range out.Events {
			events = append(events, wire.Event{Kind: uint32(x.Kind), At: x.At, Rule: x.Rule, Occurrence: x.Occurrence, Serial: uint64(len(events))})
		}
	}
	step(at(0))
	for i, v := range values {
		now := at(time.Duration(i+1) * time.Second)
		for id := tag.ID(1); id <= 2; id++ {
			r := tag.Reading{Tag: id, Quality: tag.GoodQuality, Received: now}
			r.Value, _ = tag.Float64Value(v)
			image.Put(r)
			readings = append(readings, r)
		}
		step(now)
	}
	m.events, m.readings = [][]wire.Event{events}, [][]tag.Reading{readings}
	return m
}

func tableOf(p *config.Plan) wire.Event {
	t := &wire.Table{Plan: p.Hash[:]}
	for _, x := range p.Tags[1:] {
		t.Tags = append(t.Tags, wire.TableTag{ID: x.ID, Name: string(x.Name), Unit: x.Unit, Kind: x.Kind})
	}
	return wire.Event{Kind: uint32(ring.TagTable), At: at(0), Table: t}
}

func run1(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rule(t *testing.T, rep *Report, name string) Rule {
	t.Helper()
	for _, r := range rep.Rules {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no %s", name)
	return Rule{}
}

// graded is "exact", or the grade with its reasons.
func graded(r Rule) string {
	s := r.Grade.String()
	for _, w := range r.Why {
		s += " " + w.Code
	}
	return s
}

// What keeps a rule from being exact, one thing at a time.
func TestWhatIsNotThereIsNeverExact(t *testing.T) {
	values := []float64{5, 60, 60, 70, 5, 5, 80, 5, 5}
	for name, c := range map[string]struct {
		spoil func(m *memory, o *Options)
		a, b  string // of a.gas.high and b.gas.high
	}{
		"nothing": {func(*memory, *Options) {}, "exact", "approximate deadband"},
		"a gap record": {func(m *memory, _ *Options) {
			m.events[0] = append(m.events[0], wire.Event{Kind: uint32(ring.GapRecorded), At: at(8 * time.Second), Gap: &wire.Gap{
				Stream: wire.ReadingStream, Count: 7, WallFrom: wall0 + 3e9, WallTo: wall0 + 4e9, Cause: "ring-full",
			}})
		}, "approximate gap", "approximate gap deadband"},
		"a gap that was named after the window": {func(m *memory, o *Options) {
			o.To = wall0 + 5e9
			m.events[0] = append(m.events[0], wire.Event{Kind: uint32(ring.GapRecorded), At: at(8 * time.Second), Gap: &wire.Gap{
				Stream: wire.ReadingStream, Count: 7, WallFrom: wall0 + 3e9, WallTo: wall0 + 4e9, Cause: "ring-full",
			}})
		}, "approximate gap", "approximate gap deadband"},
		"a gap before the window": {func(m *memory, _ *Options) {
			m.events[0] = append(m.events[0], wire.Event{Kind: uint32(ring.GapRecorded), At: at(8 * time.Second), Gap: &wire.Gap{
				Stream: wire.ReadingStream, Count: 7, WallFrom: wall0 - 4e9, WallTo: wall0 - 3e9, Cause: "ring-full",
			}})
		}, "exact", "approximate deadband"},
		"a clock that was set forward for a while": {func(m *memory, _ *Options) {
			m.readings[0][4].Received.Wall += int64(24 * time.Hour)
		}, "approximate clock", "approximate clock deadband"},
		"missing numbers": {func(m *memory, _ *Options) { m.cut[0] = 4 }, "approximate hole", "approximate hole deadband"},
		"an unclean end": {func(m *memory, _ *Options) {
			m.events[0][0].Start = &wire.Start{Parent: make([]byte, 16), Boot: "b", MayHaveLost: 5e9}
		}, "approximate unclean", "approximate unclean deadband"},
		"a damaged file": {func(m *memory, _ *Options) { m.damaged = []string{"x.seg"} }, "approximate damaged", "approximate damaged deadband"},
		"another plan":   {func(m *memory, _ *Options) { m.events[0][1].Table.Plan = []byte{9} }, "approximate plan", "approximate plan deadband"},
		"a raise that the rules do not give": {func(m *memory, _ *Options) {
			m.events[0] = append(m.events[0], wire.Event{Kind: uint32(rules.AlarmRaised), At: at(8500 * time.Millisecond), Rule: "a.gas.high", Serial: 99})
		}, "approximate differs", "approximate deadband"},
		"a raise at another time": {func(m *memory, _ *Options) {
			for i := range m.events[0] {
				if e := &m.events[0][i]; rules.Kind(e.Kind) == rules.AlarmRaised && e.Rule == "a.gas.high" {
					e.At = at(time.Duration(e.At.Mono-mono0) + Near + 1)
					break
				}
			}
		}, "approximate differs", "approximate deadband"},
		"a unit that converts": {func(_ *memory, o *Options) { o.New.Tags[1].Unit = "ppb" }, "approximate unit", "approximate deadband"},
		"a unit that does not": {func(_ *memory, o *Options) { o.New.Tags[1].Unit = "°C" }, "unknown not-recorded unit", "approximate deadband"},
		"another kind":         {func(_ *memory, o *Options) { o.New.Tags[1].Kind = tag.Bool }, "unknown kind not-recorded", "approximate deadband"},
		"another name":         {func(_ *memory, o *Options) { o.New.Tags[1].Name, o.New.Rules.Tags[1].Name = "a.nh3", "a.nh3" }, "unknown not-recorded", "approximate deadband"},
		"another name, told": {func(_ *memory, o *Options) {
			o.New.Tags[1].Name, o.New.Rules.Tags[1].Name = "a.nh3", "a.nh3"
			o.Renamed = map[tag.Name]tag.Name{"a.nh3": "a.gas"}
		}, "approximate renamed", "approximate deadband"},
		"an act that is refused": {func(m *memory, _ *Options) {
			m.events[0] = append(m.events[0], wire.Event{Kind: uint32(rules.AlarmUnshelved), At: at(8500 * time.Millisecond), Rule: "a.gas.high", Serial: 99, Who: "zhang"})
		}, "approximate refused", "approximate deadband"},
	} {
		o := Options{Present: planOf(1, 50), New: planOf(1, 50)}
		m := record(t, o.Present, values...)
		o.Source = m
		c.spoil(m, &o)
		slices.SortStableFunc(m.events[0], func(a, b wire.Event) int { return int(min(1, max(-1, a.At.Mono-b.At.Mono))) })
		rep := run1(t, o)
		if a, b := graded(rule(t, rep, "a.gas.high")), graded(rule(t, rep, "b.gas.high")); a != c.a || b != c.b {
			t.Errorf("%s: a is %q and b is %q, want %q and %q", name, a, b, c.a, c.b)
		}
		if got := graded(rule(t, rep, "c.gas.high")); !strings.HasPrefix(got, "unknown") || !strings.Contains(got, "never") {
			t.Errorf("%s: of what is never recorded: %q", name, got)
		}
	}
}

// What came, went and moved, with its times.
func TestDifferences(t *testing.T) {
	o := Options{Present: planOf(1, 50), New: planOf(2, 65)}
	o.Source = record(t, o.Present, 5, 60, 60, 5, 60, 70, 70, 5, 5, 70)
	r := rule(t, run1(t, o), "a.gas.high")
	w := func(s int) int64 { return wall0 + int64(s)*1e9 }
	want := []Difference{
		{Present: Stood{Times: 1, From: w(2), To: w(4), For: 2 * time.Second, Ended: true}},
		{
			Present: Stood{Times: 1, From: w(5), To: w(8), For: 3 * time.Second, Ended: true},
			New:     Stood{Times: 1, From: w(6), To: w(8), For: 2 * time.Second, Ended: true},
		},
	}
	if r.Gone != 1 || r.Moved != 1 || r.Came != 0 || !slices.Equal(r.Differences, want) {
		t.Errorf("%+v", r)
	}
	if f := r.Present; f.Count != 3 || f.First != w(2) || f.Standing != 5*time.Second || f.Longest != 3*time.Second {
		t.Errorf("present %+v", f)
	}
	if f := r.New; f.Count != 2 || f.First != w(6) || f.Standing != 2*time.Second {
		t.Errorf("new %+v", f)
	}
	back := Options{Present: o.Present, New: o.Present, Source: o.Source}
	if r := rule(t, run1(t, back), "a.gas.high"); r.Changed() || r.Record != (Agreement{Agree: 5}) {
		t.Errorf("the same rules: %+v", r)
	}
}

// Persons' words are done again to what stands then; what the rules refuse is told.
func TestActs(t *testing.T) {
	present, higher := planOf(1, 50), planOf(2, 90)
	m := record(t, present, 5, 60, 60, 60, 5)
	for i := range m.events[0] {
		m.events[0][i].Serial = uint64(i)
	}
	m.events[0] = slices.Insert(m.events[0], 5, wire.Event{Kind: uint32(rules.AlarmAcked), At: at(3500 * time.Millisecond), Rule: "a.gas.high", Occurrence: 1, Serial: 4, Who: "zhang"})
	same := run1(t, Options{Present: present, New: present, Source: m})
	if same.Done != 1 || len(same.Acts) > 0 || graded(rule(t, same, "a.gas.high")) != "exact" {
		t.Errorf("%d done, %+v, %s", same.Done, same.Acts, graded(rule(t, same, "a.gas.high")))
	}
	rep := run1(t, Options{Present: present, New: higher, Source: m})
	if len(rep.Acts) != 1 || rep.Acts[0].Code != "wrong-occurrence" || !rep.Acts[0].New || rep.Acts[0].Present || rep.Acts[0].Who != "zhang" {
		t.Errorf("%+v", rep.Acts)
	}
}

// Where nothing is recorded a tag is bad, as it is for the agent that sees nothing.
func TestSilenceIsBad(t *testing.T) {
	p := planOf(1, 50)
	p.Rules.Alarms = append(p.Rules.Alarms, rules.Alarm{Name: "a.gas.not-watched", Cond: rules.Condition{Tag: 1}, Priority: rules.Low, NotWatched: true})
	m := record(t, p, 5, 5, 5, 60)
	late := m.readings[0][len(m.readings[0])-2]
	late.Received = at(10 * time.Minute)
	m.readings[0] = append(m.readings[0], late)
	m.epochs[0].To = late.Received.Wall
	r := rule(t, run1(t, Options{Present: p, New: p, Source: m}), "a.gas.not-watched")
	// The last reading but one is at 4 s; the record may be silent for a minute, a period and the time to live.
	if want := wall0 + int64((4+60+1+3)*time.Second); r.New.Count != 1 || r.New.First != want || r.Grade == Exact {
		t.Errorf("%+v, want it at %v", r, time.Duration(want-wall0))
	}
}

// The window begins where it was asked for, with some time before it; what stood
// then is not counted as raised in it.
func TestTheWindow(t *testing.T) {
	p := planOf(1, 50)
	var values []float64
	for i := range 1500 {
		values = append(values, 60+float64(i%2))
	}
	m := record(t, p, append(values, 5, 5)...)
	rep := run1(t, Options{Present: p, New: planOf(2, 55), Source: m, From: wall0 + 1000e9})
	if want := wall0 + 1000e9 - int64(LeastLead); rep.Began != want || rep.From != wall0+1000e9 {
		t.Errorf("began %v, from %v", time.Duration(rep.Began-wall0), time.Duration(rep.From-wall0))
	}
	r := rule(t, rep, "a.gas.high")
	if r.Present.Count != 0 || r.Present.Standing != 501*time.Second || r.Changed() {
		t.Errorf("%+v", r)
	}
	for from, to := range map[int64]int64{wall0 + 1e15: 0, 1: wall0 - 1} {
		if _, err := Run(Options{Present: p, New: p, Source: m, From: from, To: to}); !errors.Is(err, ErrNone) {
			t.Errorf("from %d to %d: %v", from, to, err)
		}
	}
}

// What is listed is bounded, and what is over is counted.
func TestDifferencesAreBounded(t *testing.T) {
	var values []float64
	for range 100 {
		values = append(values, 60, 5)
	}
	o := Options{Present: planOf(1, 50), New: planOf(2, 65)}
	o.Source = record(t, o.Present, values...)
	rep := run1(t, o)
	r := rule(t, rep, "a.gas.high")
	if r.Gone != 100 || len(r.Differences) != MaxListed || !r.Present.Chatters || r.New.Chatters {
		t.Errorf("%d gone, %d listed, %v %v", r.Gone, len(r.Differences), r.Present.Chatters, r.New.Chatters)
	}
	if rep.Present.Calls != 200 || rep.New.Calls != 0 || !slices.Equal(rep.Present.Chattering, []string{"a.gas.high", "b.gas.high"}) || rep.Present.Floods == 0 {
		t.Errorf("%+v", rep.Present)
	}
	if r.Record.Agree != 200 {
		t.Errorf("%+v", r.Record)
	}
}

// What comes and goes at one instant under both plans is one stretch, not two.
func TestOneInstantIsOneStretch(t *testing.T) {
	c := newCompare(wall0, wall0+1e9)
	say := func(plan int, k rules.Kind, d time.Duration) {
		c.take(plan, &rules.Event{Kind: k, Rule: "a", At: at(d)}, true)
	}
	for _, d := range []time.Duration{0, 5, 9} {
		for plan := range plans {
			say(plan, rules.AlarmRaised, d)
			say(plan, rules.AlarmReturned, d)
		}
	}
	say(fresh, rules.AlarmRaised, 12)
	say(fresh, rules.AlarmReturned, 13)
	say(present, rules.AlarmRaised, 14)
	c.end()
	w := c.rules["a"]
	if w.Came != 1 || w.Gone != 1 || w.Moved != 0 || w.Present.Count != 4 || w.New.Count != 4 {
		t.Errorf("%+v", w.Rule)
	}
}
