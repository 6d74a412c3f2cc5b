package expr

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"davy/drivers/tag"
	"davy/rules/shift"
	"davy/test/scale"
	"pgregory.net/rapid"
)

// shiftEnv is the test's tags with shifts; the tag b is the clock in doubt.
func shiftEnv(t testing.TB, zone, at string) *Env {
	z, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	var list []time.Duration
	for _, s := range strings.Fields(at) {
		x, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, time.Duration(x.Hour())*time.Hour+time.Duration(x.Minute())*time.Minute)
	}
	env := testEnv()
	env.Shifts = shift.New(z, list)
	c, _ := env.Tag("c")
	env.ClockInDoubt = c.ID
	return env
}

// worker is a program over a shift; times are wall times of the zone.
type worker struct {
	t     *testing.T
	env   *Env
	zone  *time.Location
	p     *Program
	st    *State
	image []tag.Reading
	skew  int64 // Mono less Wall
}

func works(t *testing.T, src, zone, at string) *worker {
	t.Helper()
	w := &worker{t: t, env: shiftEnv(t, zone, at), skew: -1_699_999_995 * sec}
	w.zone, _ = time.LoadLocation(zone)
	var problems []Problem
	if w.p, problems = Compile(src, w.env); len(problems) > 0 {
		t.Fatal(src, problems)
	}
	w.st, w.image = w.p.NewState(), image(t, "")
	return w
}

func (w *worker) wall(s string) int64 {
	w.t.Helper()
	x, err := time.ParseInLocation("2006-01-02 15:04:05.999999999", s, w.zone)
	if err != nil {
		w.t.Fatal(err)
	}
	return x.UnixNano()
}

// at goes to a wall time, through all that is due on the way, and expects.
func (w *worker) at(s, inputs, want string) {
	w.t.Helper()
	wall := w.wall(s)
	now := tag.Stamp{Wall: wall, Mono: wall + w.skew}
	for next := w.st.Next(); next > 0 && next < now.Mono; next = w.st.Next() {
		w.p.Eval(w.st, w.image, tag.Stamp{Wall: next - w.skew, Mono: next})
	}
	for in := range strings.FieldsSeq(inputs) {
		name, text, _ := strings.Cut(in, "=")
		set(w.t, w.image, name, text)
	}
	v, q := w.p.Eval(w.st, w.image, now)
	if v.Kind() == tag.Float64 {
		v, _ = tag.Float64Value(math.Round(v.Float()*1e6) / 1e6)
	}
	if got := shown(v, q); got != want {
		w.t.Errorf("%s at %s: %s, want %s", w.p, s, got, want)
	}
}

// step puts the wall clock forward or back.
func (w *worker) step(d time.Duration) { w.skew -= int64(d) }

const gas = "nh3-1.gas"

func TestTWA(t *testing.T) {
	w := works(t, "twa(nh3-1.gas)", "Asia/Shanghai", "08:00 20:00")
	w.at("2026-01-05 08:00:00", gas+"=40", "0")
	w.at("2026-01-05 09:00:00", "", "5")
	w.at("2026-01-05 09:00:00", gas+"=80", "5")
	w.at("2026-01-05 12:00:00", "", "35")
	w.at("2026-01-05 12:00:00", gas+"=-3", "35") // less than nothing is nothing
	w.at("2026-01-05 19:59:59.999999999", "", "35")
	w.at("2026-01-05 20:00:00", "", "0")
	w.at("2026-01-05 20:00:00", gas+"=8", "0")
	w.at("2026-01-06 08:00:00", "", "0") // twelve hours of 8 are 12 in 8 hours; now another shift
	w.at("2026-01-06 10:00:00", "", "2")
	w.at("2026-01-06 10:00:00", gas+"=8x", "2") // not seen: what was is still so
	w.at("2026-01-06 10:00:15", "", "2 sub")
	w.at("2026-01-06 11:00:00", gas+"=8", "2 sub")
	w.at("2026-01-06 12:00:00", gas+"=800t", "3 sub") // test gas is not the air
	w.at("2026-01-06 12:05:00", gas+"=8", "3 sub")
	w.at("2026-01-06 20:00:00", gas+"=8x", "0") // at its first instant it was still read
	w.at("2026-01-06 21:00:00", "", "0 sub")
}

func TestTWAOfTheLastShift(t *testing.T) {
	w := works(t, "twa_last(nh3-1.gas)", "Asia/Shanghai", "08:00 20:00")
	w.at("2026-01-05 07:00:00", gas+"=40", "- never")
	w.at("2026-01-05 08:00:00", "", "- never") // of its twelve hours one was seen
	w.at("2026-01-05 20:00:00", "", "60")
	w.at("2026-01-05 21:00:00", gas+"=0x", "60")
	w.at("2026-01-06 00:00:00", gas+"=16", "60") // three hours of twelve were not seen
	w.at("2026-01-06 08:00:00", "", "28 sub")
	w.at("2026-01-06 08:00:00", gas+"=0x", "28 sub")
	w.at("2026-01-06 11:00:01", gas+"=16", "28 sub")
	w.at("2026-01-06 20:00:00", "", "- never") // a second more
	w.at("2026-01-07 08:00:00", "", "24")

	w = works(t, "twa_last(nh3-1.gas, 50 %)", "UTC", "00:00")
	w.at("2026-01-05 12:00:00", gas+"=8", "- never")
	w.at("2026-01-06 00:00:00", gas+"=16u", "24 sub") // half was seen; what was not is as what was
	w.at("2026-01-07 00:00:00", "", "48 sub")
}

func TestShiftMax(t *testing.T) {
	w := works(t, "shift_max(nh3-1.gas)", "UTC", "06:00 18:00")
	w.at("2026-01-05 06:00:00", "", "- never")
	w.at("2026-01-05 06:00:00.5", gas+"=3", "3")
	w.at("2026-01-05 07:00:00", gas+"=9", "9")
	w.at("2026-01-05 07:00:00.000000001", gas+"=2", "9")
	w.at("2026-01-05 18:00:00", "", "2")
	w.at("2026-01-05 19:00:00", gas+"=1x", "2")
	w.at("2026-01-05 19:00:02", "", "2")
	w.at("2026-01-05 19:00:15", gas+"=1", "2 sub")
	w.at("2026-01-06 06:00:00", gas+"=99t", "1")
	w.at("2026-01-06 06:01:00", gas+"=4", "4 sub")

	// An uncertain reading may have been higher: that is said at once, as a higher one is.
	w = works(t, "shift_max(nh3-1.gas)", "UTC", "06:00 18:00")
	w.at("2026-01-05 06:00:00", gas+"=9", "9")
	w.at("2026-01-05 07:00:00.5", gas+"=9u", "9 sub")

	w = works(t, "shift_max_last(nh3-1.gas)", "UTC", "06:00 18:00")
	w.at("2026-01-05 06:00:00", gas+"=3", "- never")
	w.at("2026-01-05 07:00:00", gas+"=9", "- never")
	w.at("2026-01-05 08:00:00", gas+"=2", "- never")
	w.at("2026-01-05 18:00:00", "", "9")
	w.at("2026-01-06 06:00:00", "", "2")
}

func TestShiftSeen(t *testing.T) {
	w := works(t, "shift_seen(nh3-1.gas)", "UTC", "06:00 16:00")
	w.at("2026-01-05 07:00:00", gas+"=3", "90")
	w.at("2026-01-05 08:00:00", gas+"=3x", "90")
	w.at("2026-01-05 12:00:00", gas+"=3", "50")
	w.at("2026-01-05 15:59:00", "", "50")
	w.at("2026-01-05 16:00:00", "", "100")
}

// On the day on which clocks go forward the night is an hour shorter, and all of it was seen.
func TestShiftsOnDaysWhenClocksChange(t *testing.T) {
	w := works(t, "twa_last(nh3-1.gas)", "Europe/Berlin", "06:00 14:00 22:00")
	w.at("2026-03-28 22:00:00", gas+"=8", "- never")
	w.at("2026-03-29 06:00:00", "", "7")
	w.at("2026-03-29 22:00:00", "", "8")
	w = works(t, "twa_last(nh3-1.gas)", "Europe/Berlin", "06:00 14:00 22:00")
	w.at("2026-10-24 22:00:00", gas+"=8", "- never")
	w.at("2026-10-25 06:00:00", "", "9")
}

func TestTheWallClockSteps(t *testing.T) {
	begin := func(src string) *worker {
		w := works(t, src, "UTC", "06:00 14:00 22:00")
		w.at("2026-01-05 06:00:00", gas+"=8", map[bool]string{true: "0", false: "- never"}[src == "twa(nh3-1.gas)"])
		return w
	}
	// Forward within a shift: what it was put forward by was not seen.
	w := begin("twa(nh3-1.gas)")
	w.at("2026-01-05 08:00:00", "", "2")
	w.step(time.Hour)
	w.at("2026-01-05 09:00:15", "", "2.004167 sub") // only 15 s have passed
	w.at("2026-01-05 14:00:00", "", "0")

	w = begin("twa_last(nh3-1.gas)")
	w.at("2026-01-05 08:00:00", "", "- never")
	w.step(time.Hour)
	w.at("2026-01-05 14:00:00", "", "8 sub") // seven hours seen, the eighth as they were

	// Back: it lasts as much longer, and says that it is not sure.
	w = begin("twa(nh3-1.gas)")
	w.at("2026-01-05 08:00:00", "", "2")
	w.step(-time.Hour)
	w.at("2026-01-05 07:00:15", "", "2.004167 sub")
	w.at("2026-01-05 13:59:45", "", "8.995833 sub")

	// Back over its beginning by a little: it goes on. It is not the old one again.
	w = begin("twa_last(nh3-1.gas)")
	w.at("2026-01-05 14:00:05", "", "8")
	w.step(-30 * time.Second)
	w.at("2026-01-05 13:59:50", gas+"=80", "8")
	w.at("2026-01-05 22:00:00", "", "80.033333 sub")

	// Back by a day: another shift, and what was over has not been.
	w = begin("twa_last(nh3-1.gas)")
	w.at("2026-01-05 14:00:05", "", "8")
	w.step(-24 * time.Hour)
	w.at("2026-01-04 14:01:00", "", "- never")

	// Forward over more than one: of the last one nothing was seen.
	w = begin("twa_last(nh3-1.gas)")
	w.at("2026-01-05 14:00:05", "", "8")
	w.step(12 * time.Hour)
	w.at("2026-01-06 02:01:00", "", "- never")
	w = begin("twa(nh3-1.gas)")
	w.at("2026-01-05 13:00:00", "", "7")
	w.step(2 * time.Hour)
	w.at("2026-01-05 15:00:00", "", "0 sub")

	// Less than a second is no step.
	w = begin("twa(nh3-1.gas)")
	w.at("2026-01-05 08:00:00", "", "2")
	w.step(999 * time.Millisecond)
	w.at("2026-01-05 10:00:15.999", "", "4.004167")
	w.step(2 * time.Millisecond)
	w.at("2026-01-05 10:00:31.001", "", "4.008333 sub")

	// While the clock is in doubt nothing is certain, and after it all is.
	w = begin("twa(nh3-1.gas)")
	w.at("2026-01-05 08:00:00", "c=1", "2 sub")
	w.at("2026-01-05 09:00:00", "c=1x", "3")
	w.at("2026-01-05 09:00:00", "c=0", "3")
	w = begin("twa_last(nh3-1.gas)")
	w.at("2026-01-05 14:00:00", "c=1", "8 sub")
}

func TestShortTerm(t *testing.T) {
	w := works(t, "stel(nh3-1.gas)", "UTC", "00:00")
	w.at("2026-01-05 00:00:00", gas+"=10", "- never")
	w.at("2026-01-05 00:11:14.999", "", "- never")
	w.at("2026-01-05 00:11:15", "", "10 sub")
	w.at("2026-01-05 00:15:00", gas+"=40", "10")
	w.at("2026-01-05 00:22:30", "", "25")
	w.at("2026-01-05 00:30:00", gas+"=500t", "40") // a bump test is no exposure
	w.at("2026-01-05 00:31:00", gas+"=-10", "40 sub")
	w.at("2026-01-05 00:46:00", "", "0")
	w.at("2026-01-05 00:46:00", gas+"=0x", "0")
	w.at("2026-01-05 00:49:45", "", "0 sub")
	w.at("2026-01-05 00:50:00", "", "-x")

	w = works(t, "stel(nh3-1.gas, 100 %)", "UTC", "00:00")
	w.at("2026-01-05 00:00:00", gas+"=10", "- never")
	w.at("2026-01-05 00:14:45", "", "- never")
	w.at("2026-01-05 00:15:00", "", "10")
}

// A second reckoning from the words of the package comment: it keeps every
// reading for as long as it was held, shift by shift, and adds them up when asked.
type kept struct {
	dur int64
	f   float64
	q   tag.Quality
}

type aShift struct {
	start, end int64
	list       []kept
	unseen     int64 // that no reading was held in
	back       bool
	doubt      bool // at its end
	never      bool // it has not been, or nobody saw it
}

type ledger struct {
	tab   *shift.Table
	now   *aShift
	last  *aShift
	wall  int64 // as believed
	held  kept
	doubt bool
	off   int64 // how far the clock is from what is believed, while it is not followed
}

func (l *ledger) open(wall int64) {
	l.now = &aShift{list: []kept{l.held}}
	l.now.start, l.now.end = l.tab.Around(wall)
	l.now.unseen = wall - l.now.start
}

func (l *ledger) pass(d int64) {
	for {
		k := l.held
		k.dur = min(d, l.now.end-l.wall)
		l.now.list, l.wall, d = append(l.now.list, k), l.wall+k.dur, d-k.dur
		if l.wall < l.now.end {
			return
		}
		l.over()
		l.open(l.wall)
		if l.off != 0 {
			l.follow(l.wall+l.off, true, true)
		}
	}
}

// follow takes what the clock says; at once where a start brought it.
func (l *ledger) follow(wall int64, atOnce, ended bool) {
	d := wall - l.wall
	switch {
	case !atOnce && d < sec && d > -sec:
		l.off = 0
	case l.doubt && !ended && d < 0 && (l.off != 0 || wall < l.now.start-int64(time.Hour)):
		l.off, l.now.back = d, true
	default:
		l.off = 0
		l.jump(wall)
	}
}

func (l *ledger) over() { l.now.doubt, l.last = l.doubt, l.now }

func (l *ledger) jump(to int64) {
	was := *l.now
	switch {
	case to >= was.end:
		l.now.unseen += was.end - l.wall
		l.over()
		if l.open(to); l.now.start > was.end {
			l.last = &aShift{never: true}
		}
	case to >= l.wall:
		l.now.unseen += to - l.wall
	case to >= was.start-int64(time.Hour):
		l.now.back = true
	default:
		l.open(to)
		if l.now.back = true; !l.doubt {
			l.last = &aShift{never: true}
		}
	}
	l.wall = to
}

func (l *ledger) hold(f float64, q tag.Quality) {
	if q&tag.Test != 0 || !q.Usable() {
		q = tag.BadNeverRead
	}
	l.held = kept{0, f, q}
	l.now.list = append(l.now.list, l.held)
}

// of returns what a shift holds: the exposure in seconds, the highest, what was seen and not, and whether all is plain good.
func (s *aShift) of() (dose, top float64, seen, lost int64, has, plain bool) {
	plain, lost, top = !s.back, s.unseen, math.Inf(-1)
	for _, k := range s.list {
		if !k.q.Usable() {
			lost += k.dur
			continue
		}
		seen, has, top = seen+k.dur, true, max(top, k.f)
		dose += max(k.f, 0) * float64(k.dur) / 1e9
		plain = plain && k.q.Good() && k.q&tag.LimitHigh == 0
	}
	return dose, top, seen, lost, has, plain
}

const none = math.MaxFloat64

// Steps of the clock that no amount says: to 1970, and to the right time.
const (
	lose = math.MinInt64
	find = math.MaxInt64
)

// says what the five functions should say: a value or none, and whether it is plain good.
func (l *ledger) says() (want [5]float64, good [5]bool) {
	dose, top, _, lost, has, plain := l.now.of()
	length := l.now.end - l.now.start
	want, good = [5]float64{none, none, 100 * max(0, 1-float64(lost)/float64(length)), none, none}, [5]bool{2: true}
	if has {
		sure := plain && lost <= sec && !l.doubt
		want[0], want[1], good[0], good[1] = dose/(8*3600), top, sure, sure
	}
	if l.last == nil || l.last.never {
		return want, good
	}
	dose, top, seen, lost, has, plain := l.last.of()
	length = l.last.end - l.last.start
	missed := max(lost, length-seen)
	if 4*missed > length || !has {
		return want, good
	}
	if missed > sec && seen < length {
		dose = dose / float64(seen) * float64(length)
	}
	sure := plain && missed <= sec && !l.last.doubt
	want[3], want[4], good[3], good[4] = dose/(8*3600), top, sure, sure
	return want, good
}

func TestShiftsAgainstALedger(t *testing.T) {
	envs := []*Env{
		shiftEnv(t, "Europe/Berlin", "06:00 14:00 22:00"), shiftEnv(t, "Asia/Shanghai", "08:00 20:00"),
		shiftEnv(t, "America/New_York", "02:30"), shiftEnv(t, "Australia/Lord_Howe", "01:45 02:10 13:00"),
	}
	var programs [][]*Program
	for _, env := range envs {
		var list []*Program
		for _, f := range []string{"twa", "shift_max", "shift_seen", "twa_last", "shift_max_last"} {
			p, problems := Compile(f+"(gas)", env)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			list = append(list, p)
		}
		programs = append(programs, list)
	}
	days := []int64{}
	for _, d := range []string{"2026-03-28", "2026-03-07", "2026-10-24", "2026-10-31", "2026-04-04", "2026-10-03", "2026-07-01"} {
		x, _ := time.Parse(time.DateOnly, d)
		days = append(days, x.UnixNano())
	}
	qualities := []tag.Quality{tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.BadNoComm, subNormal, tag.GoodQuality | tag.Test, tag.GoodQuality | tag.LimitHigh, tag.GoodQuality | tag.Forced}
	steps := []int64{0, 0, 0, 0, 0, sec / 2, -sec / 2, sec, 2 * sec, -2 * sec, 600 * sec, -600 * sec, 7200 * sec, -7200 * sec, 47000 * sec, -47000 * sec, lose, find}
	goods, most := 0, min(max(scale.Of(10), 2), 10)
	property := func(t *rapid.T) {
		which := rapid.IntRange(0, len(envs)-1).Draw(t, "site")
		env, list := envs[which], programs[which]
		gas, _ := env.Tag("gas")
		in := make([]tag.Reading, len(table)+1)
		now := tag.Stamp{Wall: rapid.SampledFrom(days).Draw(t, "day") + rapid.Int64Range(0, 86400).Draw(t, "of day")*sec, Mono: rapid.Int64Range(1, 1e15).Draw(t, "mono")}
		l := &ledger{tab: env.Shifts, wall: now.Wall}
		l.held.q = tag.BadNeverRead
		l.open(now.Wall)
		var states []*State
		for _, p := range list {
			states = append(states, p.NewState())
		}
		eval := func() (v [5]tag.Value, q [5]tag.Quality) {
			for i, p := range list {
				v[i], q[i] = p.Eval(states[i], in, now)
			}
			return v, q
		}
		// until goes to an instant through all that is due, and here and there through what is not.
		until := func(mono int64) {
			extra := rapid.SampledFrom([]int64{13 * sec, 777 * sec, 30000 * sec}).Draw(t, "extra")
			for {
				next := min(mono, now.Mono+extra)
				for _, st := range states {
					if n := st.Next(); n > 0 && n < next {
						next = n
					}
				}
				if next >= mono {
					break
				}
				now.Wall, now.Mono = now.Wall+next-now.Mono, next
				eval()
			}
			now.Wall, now.Mono = now.Wall+mono-now.Mono, mono
		}
		compare := func() {
			v, q := eval()
			want, good := l.says()
			for i := range want {
				switch {
				case want[i] == none:
					if !q[i].Bad() || v[i] != (tag.Value{}) {
						t.Fatalf("%s is %v %#x, want none", list[i], v[i], uint32(q[i]))
					}
				case q[i].Bad() || math.Abs(v[i].Float()-want[i]) > 1e-9*max(1, math.Abs(want[i])):
					t.Fatalf("%s is %v %#x, want %v; shift %+v", list[i], v[i], uint32(q[i]), want[i], *l.now)
				case good[i] && q[i] != tag.GoodQuality || !good[i] && q[i] != subNormal:
					t.Fatalf("%s is %#x, want good %v; shift %+v last %+v", list[i], uint32(q[i]), good[i], *l.now, l.last)
				case good[i] && i == 3:
					goods++
				}
			}
		}
		eval()
		right, doubt := now.Wall-now.Mono, false // the right time less Mono
		for range rapid.IntRange(1, most).Draw(t, "events") {
			// A reading, the clock in doubt or not, the clock put forward or back.
			f := rapid.SampledFrom([]float64{0, 5, 40.5, -2, 1e4}).Draw(t, "gas")
			q := rapid.SampledFrom(qualities).Draw(t, "quality")
			in[gas.ID].Value, _ = tag.Float64Value(f)
			in[gas.ID].Quality = q
			if q.Bad() {
				in[gas.ID].Value = tag.Value{}
			}
			switch rapid.IntRange(0, 7).Draw(t, "doubt") {
			case 0, 1:
				doubt = false
			case 2:
				doubt = true
			}
			in[env.ClockInDoubt] = tag.Reading{Value: tag.BoolValue(doubt), Quality: tag.GoodQuality}
			switch step := rapid.SampledFrom(steps).Draw(t, "step"); step {
			case lose:
				now.Wall = 1e6 * sec // no other steps go back behind 1970 from here
			case find:
				now.Wall = right + now.Mono
			default:
				now.Wall += step
			}
			switch rapid.IntRange(0, 5).Draw(t, "restart") {
			case 0: // a hand-over
				for i, p := range list {
					b := states[i].Append(nil, now.Mono)
					if states[i] = p.NewState(); states[i].Restore(b, 0) != nil {
						t.Fatal("not restored")
					}
					if !bytes.Equal(b, states[i].Append(nil, now.Mono)) {
						t.Fatalf("%s: what was restored is written otherwise", p)
					}
				}
			case 1: // a stop
				down := rapid.SampledFrom([]int64{-1, 1, 5 * sec, 3600 * sec, 80000 * sec, 300000 * sec}).Draw(t, "down")
				if later := rapid.SampledFrom([]int64{0, 0, 14 * sec, 50000 * sec}).Draw(t, "later"); l.off == 0 { // nobody looks until the snapshot
					l.pass(later)
					now.Wall, now.Mono = now.Wall+later, now.Mono+later
				}
				for i, p := range list {
					b := states[i].Append(nil, now.Mono)
					if states[i] = p.NewState(); states[i].Restore(b, time.Duration(down)) != nil {
						t.Fatal("not restored")
					}
				}
				right += now.Mono + max(down, 0)
				now.Wall, now.Mono = now.Wall+max(down, 0), rapid.Int64Range(1, 1e15).Draw(t, "mono")
				right -= now.Mono
				l.hold(0, tag.BadNeverRead)
				l.doubt = doubt
				l.follow(now.Wall, true, false)
			}
			l.doubt = doubt
			l.follow(now.Wall, false, false)
			l.hold(f, q)
			eval()
			for range 2 { // a beat, and later one
				d := rapid.SampledFrom([]int64{1, 15 * sec, 400 * sec, 11000 * sec, 30000 * sec}).Draw(t, "time")
				to := beat(now.Mono+d) + int64(Beat)
				l.pass(to - now.Mono)
				until(to)
				compare()
			}
		}
	}
	for range scale.Of(4) { // of a hundred checks
		rapid.Check(t, property)
	}
	if goods == 0 {
		t.Error("no shift was whole")
	}
}

// exposedOf is a program with every function of exposure.
func exposedOf(t testing.TB) *Program {
	p, problems := Compile("twa(gas) + twa_last(gas, 60 %) + stel(gas, 80 %) > 3 ppm or shift_max(a) + shift_max_last(a) > 2 or shift_seen(a) < 10 %", shiftEnv(t, "Europe/Berlin", "06:00 18:00"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func TestExposureIsPrintedAndRefused(t *testing.T) {
	p := exposedOf(t)
	again, problems := Compile(p.String(), shiftEnv(t, "Europe/Berlin", "06:00 18:00"))
	if len(problems) > 0 || again.String() != p.String() {
		t.Errorf("%s is read as %v %v", p, again, problems)
	}
	if p.Shifts() != 5 || p.Windows() != 1 || p.LookBack() != 13*time.Hour || !slices.Contains(p.Inputs(), idOf(t, "c")) {
		t.Errorf("%d shifts, %d windows, %s, %v", p.Shifts(), p.Windows(), p.LookBack(), p.Inputs())
	}
	for src, want := range map[string]string{
		"twa(t1) > 3":                  "expr-concentration 4",
		"stel(a) > 3":                  "expr-concentration 5",
		"stel(gas, 0 %) > 3 ppm":       "expr-coverage 10",
		"twa_last(gas, 75) > 3 ppm":    "expr-coverage 14",
		"twa_last(gas, 101 %) > 3 ppm": "expr-coverage 14",
		"stel(gas, lel) > 3 ppm":       "expr-coverage 10",
		"twa(gas, 75 %) > 3 ppm":       "expr-arguments 0",
		"shift_max(c) > 3":             "expr-needs-number 10",
		"stel(b) > q":                  "expr-concentration 5; expr-unknown-tag 10",
	} {
		_, problems := Compile(src, shiftEnv(t, "UTC", "06:00"))
		var got []string
		for _, x := range problems {
			got = append(got, fmt.Sprint(x.Code, " ", x.Offset))
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s: %s, want %s", src, s, want)
		}
	}
	_, problems = Compile("twa(gas) > shift_max(gas)", testEnv())
	if len(problems) != 2 || problems[0].Code != "expr-no-shifts" {
		t.Errorf("without shifts: %v", problems)
	}
	if _, problems := Compile("stel(gas) > 3 ppm", testEnv()); len(problems) > 0 {
		t.Errorf("stel needs no shifts: %v", problems)
	}
}

func TestExposureAllocatesNothing(t *testing.T) {
	p := exposedOf(t)
	st, in := p.NewState(), image(t, "gas=3 a=2")
	now := tag.Stamp{Wall: 1_770_000_000 * sec, Mono: sec}
	id := idOf(t, "gas")
	if n := testing.AllocsPerRun(1000, func() {
		in[id].Value, _ = tag.Float64Value(float64(now.Mono % 77))
		now.Wall, now.Mono = now.Wall+100*sec, now.Mono+100*sec
		p.Eval(st, in, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A gateway without a battery starts in 1970 until it is told the time: what the
// shift had brought is still there, and what was missed is known then.
func TestAStartWithoutABattery(t *testing.T) {
	w := works(t, "twa(nh3-1.gas)", "UTC", "06:00 14:00 22:00")
	w.at("2026-01-05 06:00:00", gas+"=8", "0")
	w.at("2026-01-05 09:00:00", "", "3")
	b := w.st.Append(nil, w.st.now)
	w.st = w.p.NewState()
	if err := w.st.Restore(b, -1); err != nil {
		t.Fatal(err)
	}
	w.skew = 0 // a boot: both clocks begin
	w.at("1970-01-01 00:00:15", "c=1 nh3-1.gas=8", "3 sub")
	w.at("1970-01-01 00:02:15", "", "3.033333 sub")
	w.step(time.Duration(w.wall("2026-01-05 09:10:00") - w.wall("1970-01-01 00:02:15")))
	w.at("2026-01-05 09:10:00", "c=0", "3.033333 sub")
	w.at("2026-01-05 13:59:45", "", "7.8625 sub")
	if s := w.st.windows[0].shift; s.lost != 8*60*sec {
		t.Errorf("%s of the shift were not seen", time.Duration(s.lost))
	}

	// Nobody tells it the time: the shift is over when it would have been, and from there its clock is taken.
	w.st = w.p.NewState()
	if err := w.st.Restore(b, -1); err != nil {
		t.Fatal(err)
	}
	w.skew = 0
	w.at("1970-01-01 00:00:15", "c=1 nh3-1.gas=8", "3 sub")
	w.at("1970-01-01 05:00:00", "", "7.995833 sub")
	w.at("1970-01-01 05:00:15", "", "0 sub")
	if s := w.st.windows[0].shift; s.start != w.wall("1969-12-31 22:00:00") {
		t.Errorf("the shift began at %d", s.start)
	}
}

// A snapshot may be taken a little after a shift's end, before anybody looked: what
// was held until then belongs to two shifts.
func TestASnapshotBehindTheEndOfAShift(t *testing.T) {
	w := works(t, "twa_last(nh3-1.gas)", "UTC", "06:00 14:00 22:00")
	w.at("2026-01-05 06:00:00", gas+"=8", "- never")
	w.at("2026-01-05 13:59:59", "", "- never")
	b := w.st.Append(nil, w.st.now+11*sec)
	w.st = w.p.NewState()
	if err := w.st.Restore(b, time.Hour); err != nil {
		t.Fatal(err)
	}
	w.at("2026-01-05 15:00:10", "", "8")
	if s := w.st.windows[0].shift; s.seen != 10*sec || s.lost != 3600*sec {
		t.Errorf("seen %s, lost %s", time.Duration(s.seen), time.Duration(s.lost))
	}
}

// A clock that has lost its time and is in doubt has not found it by another start.
func TestAStartOfAClockThatIsNotFollowed(t *testing.T) {
	w := works(t, "shift_seen(nh3-1.gas)", "UTC", "06:00 16:00")
	w.at("2026-01-05 06:00:00", gas+"=8 c=1", "100")
	w.at("2026-01-05 06:30:00", "", "100")
	w.step(-2 * time.Hour) // more than StepBack before the shift: it goes on by its own count
	w.at("2026-01-05 04:30:15", "", "100")
	b := w.st.Append(nil, w.st.now)
	w.st = w.p.NewState()
	if err := w.st.Restore(b, time.Hour); err != nil {
		t.Fatal(err)
	}
	w.at("2026-01-05 05:30:15", gas+"=8x c=1", "100")
	if s := w.st.windows[0].shift; !s.alone {
		t.Error("a start made it believe the clock")
	}
	w.at("2026-01-05 06:30:15", gas+"=8", "90")
	w.step(2 * time.Hour)
	w.at("2026-01-05 08:30:30", "c=0", "80") // the hour that it was down too

	// The shift was over before the snapshot was taken: from there it is believed.
	w.st = w.p.NewState()
	if err := w.st.Restore(b, 0); err != nil {
		t.Fatal(err)
	}
	w.step(-4 * time.Hour)
	w.at("2026-01-05 04:30:15", "c=1", "100")
	b = w.st.Append(nil, w.st.now+int64(10*time.Hour))
	w.st = w.p.NewState()
	if err := w.st.Restore(b, time.Second); err != nil {
		t.Fatal(err)
	}
	w.at("2026-01-05 14:30:16", "c=1", "14.955556") // another shift, of which the clock says that this much is left
	if s := w.st.windows[0].shift; s.alone || s.end != w.wall("2026-01-05 16:00:00") {
		t.Errorf("alone %v, until %d", s.alone, s.end)
	}
}

// The clock loses its time in the very step in which a shift ends: the shift was.
func TestTheClockLosesItsTimeAtTheEndOfAShift(t *testing.T) {
	w := works(t, "twa_last(nh3-1.gas)", "UTC", "06:00 14:00 22:00")
	w.at("2026-01-05 06:00:00", gas+"=8", "- never")
	w.at("2026-01-05 13:59:55", "c=1", "- never")
	w.step(time.Duration(w.wall("1970-01-01 00:00:00") - w.wall("2026-01-05 13:59:55")))
	w.at("1970-01-01 00:00:10", "c=1", "8 sub")
	w.step(time.Duration(w.wall("2026-01-05 14:01:00") - w.wall("1970-01-01 00:01:05")))
	w.at("2026-01-05 14:02:00", "c=0", "8 sub")
}

// A shift that the clock was put back in was longer than it is by the clock: what
// was seen of it is not made less by what was not.
func TestAShiftThatTheClockWasPutBackIn(t *testing.T) {
	w := works(t, "twa_last(nh3-1.gas)", "UTC", "06:00 14:00 22:00")
	w.at("2026-01-05 06:00:00", gas+"=8", "- never")
	w.at("2026-01-05 13:00:00", "", "- never")
	w.step(-6 * time.Hour)
	w.at("2026-01-05 08:00:00", gas+"=8x", "- never")
	w.at("2026-01-05 08:00:02", gas+"=8", "- never")
	w.at("2026-01-05 14:00:00", "", "13.999444 sub") // fourteen hours less two seconds of 8, in 8 hours
}

// A clock that says the last that a clock can say: what is written then can be read.
func TestASnapshotAtTheLastTime(t *testing.T) {
	p := exposedOf(t)
	st := p.NewState()
	p.Eval(st, image(t, "gas=3 a=2"), tag.Stamp{Wall: math.MaxInt64, Mono: sec})
	if err := p.NewState().Restore(st.Append(nil, 2*sec), 0); err != nil {
		t.Error(err)
	}
}
