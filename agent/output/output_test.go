package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

type coil string

func (c coil) String() string { return string(c) }

// device is a link that notes what is written, and answers as it is told.
type device struct {
	drivers.Link
	wrote []string
	write func(at string, v tag.Value) error
}

func (d *device) Write(_ context.Context, p drivers.Point, v tag.Value) error {
	d.wrote = append(d.wrote, fmt.Sprintf("%s=%v", p.Address, v.True()))
	if d.write != nil {
		return d.write(p.Address.String(), v)
	}
	return nil
}

// stand is a driver with a fan and a siren on one link, and a clock that a test moves.
type stand struct {
	*Driver
	device
	now  int64
	told []string
}

func newStand(armed bool) *stand {
	s := &stand{now: int64(time.Hour)}
	on, off := tag.BoolValue(true), tag.BoolValue(false)
	p := &config.Plan{
		Links: make([]config.Link, 2), Rules: rules.Set{Tags: make([]rules.Tag, 8)},
		Outputs: []config.Output{
			{Name: "fan", Point: drivers.Point{Address: coil("c0")}, Idle: off, Protective: on, IdleName: "stop", ProtectiveName: "run", ReadBack: 7, AfterRestart: config.Stays},
			{Name: "siren", Point: drivers.Point{Address: coil("c1")}, Idle: off, Protective: on, IdleName: "off", ProtectiveName: "on", ReadBack: 6, AfterRestart: config.Stays},
		},
	}
	s.Driver = New(p, armed, func() tag.Stamp { return tag.Stamp{Mono: s.now} },
		func(code string, on bool) { s.told = append(s.told, fmt.Sprintf("%s=%v", code, on)) }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return s
}

// drive lets time pass and the link's goroutine look; it returns what was written.
func (s *stand) drive(after time.Duration) string {
	s.now += int64(after)
	s.wrote = nil
	s.Lane(0).Drive(context.Background(), &s.device)
	return fmt.Sprint(s.wrote)
}

// stands returns the conditions that were set and not cleared.
func (s *stand) stands() string {
	on := []string{}
	for _, told := range s.told {
		code, set, _ := strings.Cut(told, "=")
		on = slices.DeleteFunc(on, func(o string) bool { return o == code })
		if set == "true" {
			on = append(on, code)
		}
	}
	return fmt.Sprint(on)
}

func (s *stand) seen(quality tag.Quality, v bool) {
	s.Observe([]tag.Reading{{Tag: 7, Quality: quality, Value: tag.BoolValue(v), Received: tag.Stamp{Mono: s.now}}})
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestWritten(t *testing.T) {
	s := newStand(true)
	equal(t, "nobody demands", s.drive(time.Second), "[]")
	s.Demand(0, true, s.now-int64(3*time.Millisecond))
	select {
	case <-s.Lane(0).Wake():
	default:
		t.Error("the link was not woken")
	}
	if s.Lane(0).Next() == 0 || s.Lane(1).Next() != 0 {
		t.Errorf("due: %d and %d", s.Lane(0).Next(), s.Lane(1).Next())
	}
	equal(t, "demanded", s.drive(0), "[c0=true]")
	equal(t, "once", s.drive(time.Minute), "[]")
	if v := s.View()[0]; v.Last != 3*time.Millisecond || !v.Demanded || v.Pending || v.Seen != "unknown" {
		t.Errorf("%+v", v)
	}
	s.Demand(0, true, 1) // again: nothing new
	equal(t, "demanded twice", s.drive(0), "[]")
	s.Demand(0, false, 0)
	s.Demand(1, true, 0)
	equal(t, "two at once", s.drive(0), "[c0=false c1=true]")
	s.Demand(1, false, 0)
	s.Demand(1, true, 0)
	s.Demand(1, false, 0)
	equal(t, "the newest wins", s.drive(0), "[c1=false]")
}

// A write of which nobody knows is repeated, no faster than Repeat, until it
// is confirmed; the other outputs of the link do not wait for it.
func TestRepeated(t *testing.T) {
	s := newStand(true)
	answer := fmt.Errorf("no answer: %w", drivers.ErrUnknown)
	s.write = func(at string, _ tag.Value) error {
		if at == "c0" {
			return answer
		}
		return nil
	}
	s.Demand(0, true, s.now)
	s.Demand(1, true, s.now)
	equal(t, "first", s.drive(0), "[c0=true c1=true]")
	equal(t, "too early", s.drive(Repeat-1), "[]")
	equal(t, "again", s.drive(1), "[c0=true]")
	if v := s.View()[0]; !v.Pending || v.Error == "" || v.Last != 0 {
		t.Errorf("%+v", v)
	}
	s.Check(tag.Stamp{Mono: s.now})
	equal(t, "told early", s.stands(), "[]")
	s.Observe([]tag.Reading{{Tag: 6, Quality: tag.GoodQuality, Value: tag.BoolValue(true), Received: tag.Stamp{Mono: s.now}}})
	s.now += int64(Unconfirmed)
	s.Check(tag.Stamp{Mono: s.now})
	s.Check(tag.Stamp{Mono: s.now})
	equal(t, "told", s.stands(), "[output.fan.unconfirmed]")
	answer = nil
	equal(t, "at last", s.drive(0), "[c0=true]")
	if v := s.View()[0]; v.Pending || v.Error != "" || v.Last == 0 {
		t.Errorf("%+v", v)
	}
	// The write is confirmed; whether the fan stands so is what the read-back says.
	s.seen(tag.GoodQuality, true)
	s.Check(tag.Stamp{Mono: s.now})
	equal(t, "seen", s.stands(), "[]")
}

// A demand that comes while the one before is on the wire is written after it.
func TestADemandDuringAWrite(t *testing.T) {
	s := newStand(true)
	s.Demand(0, true, s.now)
	s.write = func(string, tag.Value) error {
		s.write = nil
		s.Demand(0, false, s.now)
		return nil
	}
	equal(t, "first", s.drive(0), "[c0=true]")
	if v := s.View()[0]; !v.Pending || v.Demanded {
		t.Errorf("%+v", v)
	}
	equal(t, "then", s.drive(0), "[c0=false]")
	equal(t, "done", s.drive(time.Minute), "[]")
}

// A trip that comes while the release before it is being written, and a
// read-back from before that write: the demand is driven all the same.
func TestADemandWhileItsReleaseIsWritten(t *testing.T) {
	s := newStand(true)
	s.Demand(0, true, 1)
	equal(t, "demanded", s.drive(0), "[c0=true]")
	s.seen(tag.GoodQuality, true)
	s.Demand(0, false, 2)
	s.device.write = func(string, tag.Value) error { // the release is on its way
		s.Demand(0, true, 3)
		s.seen(tag.GoodQuality, true) // read before it arrived
		return nil
	}
	equal(t, "released", s.drive(0), "[c0=false]")
	s.device.write = nil
	equal(t, "demanded again", s.drive(time.Millisecond), "[c0=true]")
}

// A release that was not confirmed may still arrive: a demand after it is
// written, whatever the read-back says until then.
func TestADemandAfterAnUnknownRelease(t *testing.T) {
	s := newStand(true)
	s.Demand(0, true, 1)
	equal(t, "demanded", s.drive(0), "[c0=true]")
	s.Demand(0, false, 2)
	s.device.write = func(string, tag.Value) error { return drivers.ErrUnknown }
	equal(t, "released", s.drive(0), "[c0=false]")
	s.Demand(0, true, 3)
	s.seen(tag.GoodQuality, true)
	s.device.write = nil
	equal(t, "demanded again", s.drive(time.Millisecond), "[c0=true]")
}

func TestHeld(t *testing.T) {
	s := newStand(true)
	s.seen(tag.GoodQuality, true)
	equal(t, "a hand start is not fought", s.drive(time.Minute), "[]")
	s.Demand(0, true, s.now)
	equal(t, "demanded", s.drive(0), "[c0=true]")
	s.now += int64(time.Second)
	s.seen(tag.BadNoComm, false)
	equal(t, "not seen", s.drive(0), "[]") // not known is not off: the condition says it
	s.seen(tag.GoodQuality, false)
	equal(t, "somebody switched it off", s.drive(0), "[c0=true]")
	s.seen(tag.GoodQuality, false)
	equal(t, "no faster than Repeat", s.drive(0), "[]")
	equal(t, "again", s.drive(Repeat), "[c0=true]")
	s.seen(tag.GoodQuality, true)
	equal(t, "held", s.drive(time.Minute), "[]")
	s.Demand(0, false, 0)
	equal(t, "released once", s.drive(0), "[c0=false]")
	s.seen(tag.GoodQuality, true)
	equal(t, "and left alone", s.drive(time.Minute), "[]")
}

func TestDisarmed(t *testing.T) {
	s := newStand(false)
	s.Demand(0, true, s.now)
	s.now += int64(time.Minute)
	s.Check(tag.Stamp{Mono: s.now})
	equal(t, "disarmed", s.drive(0), "[]")
	equal(t, "and not told", s.stands(), "[]")
	if s.Lane(0).Next() != 0 {
		t.Error("something is due")
	}
	s.Arm(true)
	equal(t, "armed", s.drive(0), "[c0=true]")
	s.Arm(false)
	s.Demand(0, false, 0)
	equal(t, "disarmed again", s.drive(time.Minute), "[]")
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ended)
	s.Arm(true)
	s.wrote = nil
	s.Lane(0).Drive(ctx, &s.device)
	equal(t, "after the end", fmt.Sprint(s.wrote), "[]")
}

type scanned struct{ points []drivers.Point }

func (r scanned) Points() []drivers.Point { return r.points }
func (scanned) Cost() time.Duration       { return 0 }
func (scanned) String() string            { return "scan" }

// row is eight outputs of a silent station and one of another on the same line.
func row(dead func(at string) bool) (*stand, *config.Plan) {
	s := &stand{now: int64(time.Hour)}
	on, off := tag.BoolValue(true), tag.BoolValue(false)
	p := &config.Plan{Links: []config.Link{{Scans: []config.Scan{
		{Request: scanned{[]drivers.Point{{Station: 1}}}}, {Request: scanned{[]drivers.Point{{Station: 2}}}},
	}}}, Rules: rules.Set{Tags: make([]rules.Tag, 16)}}
	for i := range 9 {
		station := 1
		if i == 8 {
			station = 2
		}
		p.Outputs = append(p.Outputs, config.Output{
			Name: fmt.Sprint("o", i), Point: drivers.Point{Address: coil(fmt.Sprint("c", i)), Station: station}, Idle: off, Protective: on,
			ReadBack: tag.ID(i + 1), AfterRestart: config.Stays,
		})
	}
	s.Driver = New(p, true, func() tag.Stamp { return tag.Stamp{Mono: s.now} }, func(string, bool) {}, slog.New(slog.DiscardHandler))
	s.write = func(at string, _ tag.Value) error {
		if dead(at) {
			s.now += int64(WriteLimit)
			return drivers.ErrUnknown
		}
		return nil
	}
	return s, p
}

// A station that takes no write costs its line a fifth at most; the others'
// outputs do not wait behind it; when it is heard of it is tried at once.
func TestASilentStationKeepsItsPlace(t *testing.T) {
	dead := true
	s, p := row(func(at string) bool { return dead && at != "c8" })
	for i := range p.Outputs {
		s.Demand(i, true, s.now)
	}
	s.Observe([]tag.Reading{{Tag: 3, Quality: tag.BadNoComm, Received: tag.Stamp{Mono: s.now}}})
	equal(t, "first", s.drive(0), "[c0=true c8=true]")
	tried := map[string]int{"[c0=true c8=true]": 1}
	for range 7 { // every demand is tried once
		tried[s.drive(0)]++
	}
	if len(tried) != 8 {
		t.Errorf("tried %v", tried)
	}
	equal(t, "then the line is the others'", s.drive(Repeat), "[]")
	if next, want := s.Lane(0).Next(), s.now-int64(Repeat)+writeShare*int64(WriteLimit); next != want {
		t.Errorf("due in %v", time.Duration(next-s.now))
	}
	began, busy := s.now, 0
	seen := map[string]bool{}
	for time.Duration(s.now-began) < 2*time.Minute {
		if w := s.drive(50 * time.Millisecond); w != "[]" {
			busy++
			seen[w] = true
		}
	}
	if share := float64(busy) * WriteLimit.Seconds() / time.Duration(s.now-began).Seconds(); share > 0.2 || len(seen) != 8 {
		t.Errorf("a silent station took %.2f of its line; %d outputs of 8 had their turn", share, len(seen))
	}
	s.now += int64(Repeat)
	s.drive(writeShare * WriteLimit) // a try in vain: now it is spared again
	dead = false
	equal(t, "spared", s.drive(Repeat), "[]")
	s.Observe([]tag.Reading{{Tag: 3, Quality: tag.GoodQuality, Value: tag.BoolValue(false), Received: tag.Stamp{Mono: s.now}}})
	select {
	case <-s.Lane(0).Wake():
	default:
		t.Error("the link was not woken")
	}
	if w := s.drive(0); strings.Count(w, "=true") != 8 {
		t.Errorf("heard of: %s", w)
	}
}

// A device that reads well and takes no write is spared all the same, and a
// new demand never waits.
func TestAStationThatReadsAndTakesNoWrite(t *testing.T) {
	s, _ := row(func(at string) bool { return at == "c0" })
	s.seen(tag.GoodQuality, false)
	s.Observe([]tag.Reading{{Tag: 1, Quality: tag.GoodQuality, Value: tag.BoolValue(false), Received: tag.Stamp{Mono: s.now}}})
	s.Demand(0, true, s.now)
	equal(t, "first", s.drive(0), "[c0=true]")
	s.Observe([]tag.Reading{{Tag: 1, Quality: tag.GoodQuality, Value: tag.BoolValue(false), Received: tag.Stamp{Mono: s.now}}})
	equal(t, "spared", s.drive(Repeat), "[]")
	s.Demand(0, false, s.now)
	equal(t, "a new demand", s.drive(0), "[c0=false]")
}

// What is written is said, also at a stop and again after disarming; what is
// put off is no write, and shows why it waits.
func TestWritesAreSaid(t *testing.T) {
	s := newStand(true)
	said := func() string {
		var out []string
		for _, w := range s.TakeWrites(nil) {
			out = append(out, fmt.Sprintf("%s=%v %q %v", w.Name, w.Value.True(), w.Err, w.Unknown))
		}
		return fmt.Sprint(out)
	}
	s.outs[0].cfg.DavyDead = config.Idle
	s.Demand(0, true, 1)
	s.device.write = func(string, tag.Value) error {
		return &drivers.Later{Until: s.now + int64(time.Second), Why: errors.New("another master")}
	}
	s.drive(0)
	equal(t, "put off", said(), "[]")
	if v := s.View()[0]; v.Error == "" || !v.Pending {
		t.Errorf("%+v", v)
	}
	s.device.write = nil
	equal(t, "too early", s.drive(time.Second-1), "[]")
	s.drive(1)
	equal(t, "written", said(), `[fan=true "" false]`)
	if v := s.View()[0]; v.Error != "" {
		t.Errorf("%+v", v)
	}
	s.Arm(false)
	s.Arm(true)
	s.drive(0)
	equal(t, "armed again", said(), `[fan=true "" false]`)
	s.Demand(0, false, 2)
	s.drive(0)
	said()
	s.Arm(false)
	s.Arm(true)
	s.Lane(0).Stop(context.Background(), &s.device)
	equal(t, "left as declared", said(), `[fan=false "" false]`)
}
