package hj212

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// The mean of the standard's formula 15 where readings come at even distance.
func TestMeanOfEvenReadings(t *testing.T) {
	f := []Factor{{Tag: "a", Code: "a", Hold: time.Minute}}
	g := newGather(f, 0, 60*second, 1)
	sum := 0.0
	for i := range 12 { // every 5 s, as D.2.2 asks for
		v := float64(i * i)
		sum += v
		g.add(0, sample{at: int64(i)*5*second + 1, v: v, has: true, shown: true, flag: 'N'})
	}
	st := g.end(false)[0][0]
	if want := sum / 12; math.Abs(st.Avg-want) > 1e-6 || st.Min != 0 || st.Max != 121 || st.Flag != 'N' {
		t.Errorf("%+v, want a mean of %v", st, want)
	}
}

// Against the same told second by second.
func TestMinuteStatistics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n, long = 3, 60
		f := []Factor{{Tag: "a", Code: "a", Total: 2, Hold: time.Duration(rapid.IntRange(5, 90).Draw(t, "hold")) * time.Second}}
		anyBad := rapid.Bool().Draw(t, "anyBad")
		g := newGather(f, long*second, long*second, n)
		hold := int64(f[0].Hold) / second
		type at struct {
			s   sample
			sec int64
		}
		var all []at
		sec := int64(1)
		for range rapid.IntRange(0, 60).Draw(t, "readings") {
			sec += int64(rapid.IntRange(0, 20).Draw(t, "step"))
			s := sample{at: sec * second, v: float64(rapid.IntRange(-5, 5).Draw(t, "value")), flag: letters[rapid.IntRange(0, len(letters)-1).Draw(t, "flag")]}
			s.has = s.flag == 'N' || s.flag == 'T'
			all = append(all, at{s, sec})
			if sec < (n+1)*long {
				g.add(0, s)
			}
		}
		got := g.end(anyBad)
		for k := range n {
			var sum, lo, hi, weight float64
			count := map[byte]int{}
			for x := int64(k+1) * long; x < int64(k+2)*long; x++ {
				var now *at
				for i := range all {
					if all[i].sec <= x {
						now = &all[i]
					}
				}
				if now == nil || x-now.sec >= hold {
					count['B']++
					continue
				}
				count[now.s.flag]++
				if !now.s.has {
					continue
				}
				if weight == 0 {
					lo, hi = now.s.v, now.s.v
				}
				weight++
				sum += now.s.v
				lo, hi = min(lo, now.s.v), max(hi, now.s.v)
			}
			st := got[k][0]
			if st.Has != (weight > 0) || st.Has && (math.Abs(st.Avg-sum/weight) > 1e-9 || st.Min != lo || st.Max != hi || math.Abs(st.Cou-2*sum) > 1e-9) {
				t.Fatalf("period %d: %+v, want %v %v %v of %v", k, st, lo, sum/weight, hi, weight)
			}
			switch worst := count[st.Flag]; {
			case !anyBad && (st.Flag == 'N') != (count['N'] >= 45), !anyBad && st.Flag != 'N' && st.Flag != 'D':
				t.Fatalf("period %d: flag %c of %v", k, st.Flag, count)
			case anyBad && st.Flag == 'N' && count['N'] != long:
				t.Fatalf("period %d: normal with %v", k, count)
			case anyBad && st.Flag != 'N':
				for c, m := range count {
					if c != 'N' && m > worst {
						t.Fatalf("period %d: flag %c of %v", k, st.Flag, count)
					}
				}
			}
		}
	})
}

func TestLongerPeriods(t *testing.T) {
	part := func(st ...Stat) computed { return computed{stats: st} }
	good := func(lo, avg, hi float64) Stat { return Stat{Has: true, Min: lo, Avg: avg, Max: hi, Cou: 1, Flag: 'N'} }
	bad := Stat{Flag: 'C'}
	got := roll([]computed{part(good(1, 2, 3)), part(good(0, 4, 9)), part(bad), part(good(2, 3, 4))}, 1, false)[0]
	if got != (Stat{Has: true, Min: 0, Avg: 3, Max: 9, Cou: 3, Flag: 'N'}) { // three quarters
		t.Errorf("%+v", got)
	}
	if got := roll([]computed{part(good(1, 2, 3)), part(bad)}, 1, false)[0]; got.Flag != 'D' || got.Avg != 2 {
		t.Errorf("%+v", got)
	}
	if got := roll([]computed{part(good(1, 2, 3)), part(good(1, 2, 3)), part(good(1, 2, 3)), part(good(1, 2, 3)), part(bad)}, 1, true)[0]; got.Flag != 'C' {
		t.Errorf("water: %+v", got)
	}
	if got := roll([]computed{part(bad), part(bad)}, 1, false)[0]; got != (Stat{Flag: 'D'}) {
		t.Errorf("%+v", got)
	}
}

// Every quality has a flag, and only what was measured is counted.
func TestFlags(t *testing.T) {
	f := func(q tag.Quality, flag byte, has, shown bool) {
		t.Helper()
		v, _ := tag.Float64Value(1)
		s := sampleOf(&tag.Reading{Quality: q, Value: v, Received: tag.Stamp{Wall: 5}})
		if s.flag != flag || s.has != has || s.shown != shown {
			t.Errorf("%#x: %c, counted %v, shown %v", uint32(q), s.flag, s.has, s.shown)
		}
	}
	f(tag.GoodQuality, 'N', true, true)
	f(tag.MakeQuality(tag.Bad, tag.OutOfService, 0), 'F', false, false)
	f(tag.MakeQuality(tag.Bad, tag.OutOfService, tag.Maintenance), 'M', false, false)
	f(tag.GoodQuality|tag.Forced, 'S', false, true)
	f(tag.BadDeviceFault, 'D', false, false)
	f(tag.GoodQuality|tag.Test, 'C', false, true)
	f(tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitHigh), 'T', true, true)
	f(tag.BadNoComm, 'B', false, false)
	f(tag.BadNeverRead, 'B', false, false)
	f(tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0), 'B', false, true)
}

func TestNumbers(t *testing.T) {
	f := func(v float64, decimals int, want string) {
		t.Helper()
		if got := number(v, decimals); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	f(7.1, 1, "7.1")
	f(-0.04, 1, "0.0")
	f(-0.06, 1, "-0.1")
	f(1e21, 0, "1000000000000000000000")
	f(math.Copysign(0, -1), 2, "0.00")
	f(12345.678, 0, "12346")
}

func TestPeriods(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin") // a zone with summers, for what a day is
	if err != nil {
		t.Fatal(err)
	}
	o := (&bench{}).options()
	o.Zone = zone
	stats(&o)
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	wall := time.Date(2025, 10, 26, 14, 5, 6, 7, zone).UnixNano()
	for l, want := range map[level]string{minuteLevel: "20251026140000 10m0s", hourLevel: "20251026140000 1h0m0s", dayLevel: "20251026000000 25h0m0s"} {
		p := d.periodOf(l, wall)
		if got := d.local(p.from) + " " + time.Duration(p.to-p.from).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if next := d.periodOf(l, p.to); next.from != p.to {
			t.Errorf("level %d: a hole", l)
		}
	}
}

func TestWhatIsForgotten(t *testing.T) {
	o := (&bench{}).options()
	stats(&o)
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(maxDone + 50) {
		d.sent(d.periodOf(minuteLevel, day0+i*600*second), marks{{wire.Epoch{1}, 1}})
	}
	if _, old := d.done[d.periodOf(minuteLevel, day0)]; len(d.done) != maxDone || old {
		t.Errorf("%d, the oldest %v", len(d.done), old)
	}
}

func TestWhatNewRefuses(t *testing.T) {
	f := func(name string, change func(*Options)) {
		t.Helper()
		o := (&bench{}).options()
		stats(&o)
		if change(&o); name == "" {
			if _, err := New(o); err != nil {
				t.Errorf("%v", err)
			}
			return
		}
		if _, err := New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	f("", func(*Options) {})
	f("MN", func(o *Options) { o.MN = "A B" })
	f("long MN", func(o *Options) { o.MN += "0" })
	f("ST", func(o *Options) { o.ST = "3" })
	f("RtdInterval 29", func(o *Options) { o.Realtime = 29 * time.Second })
	f("RtdInterval 3601", func(o *Options) { o.Realtime = 3601 * time.Second })
	f("MinInterval 7", func(o *Options) { o.Minute = 7 * time.Minute })
	f("hours without minutes", func(o *Options) { o.Minute = 0 })
	f("OverTime", func(o *Options) { o.OverTime = 100 * time.Second })
	f("ReCount", func(o *Options) { o.ReCount = 100 })
	f("a code twice", func(o *Options) { o.Factors[1].Code = o.Factors[0].Code })
	f("a tag twice", func(o *Options) { o.Factors[1].Tag = o.Factors[0].Tag })
	f("a code with a sign", func(o *Options) { o.Factors[1].Code = "a-1" })
	f("no hold", func(o *Options) { o.Factors[1].Hold = 0 })
}
