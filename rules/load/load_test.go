package load

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const origin = int64(1000 * time.Hour)

func at(d time.Duration) tag.Stamp { return tag.Stamp{Mono: origin + int64(d)} }

func event(k rules.Kind, d time.Duration, name string) *rules.Event {
	return &rules.Event{Kind: k, At: at(d), Rule: name, Priority: rules.High}
}

func TestAFloodBeginsAndEndsToTheInstant(t *testing.T) {
	m := New()
	m.Take(event(rules.InterlockArmed, 0, "L"))
	for i := range FloodFrom {
		if f := m.Figures(at(time.Duration(i)*time.Minute-1), nil); f.Flood || f.Floods > 0 {
			t.Fatalf("a flood after %d calls", i)
		}
		m.Take(event(rules.AlarmRaised, time.Duration(i)*time.Minute, fmt.Sprint("a", i)))
	}
	begun := 9 * time.Minute
	// The calls are at 0 to 9 min: after 15 min only those at 6 to 9 are within ten.
	end := 5*time.Minute + FloodIn
	if f := m.Figures(at(end-1), nil); !f.Flood || f.InFlood != end-1-begun {
		t.Errorf("just before its end: %+v", f)
	}
	if f := m.Figures(at(time.Hour), nil); f.Flood || f.InFlood != end-begun || f.Floods != 1 || f.MostInTen != 10 || f.InTen != 0 || f.InDay != 10 {
		t.Errorf("after it: %+v", f)
	}
}

func TestTenCallsInLongerAreNoFlood(t *testing.T) {
	m := New()
	for i := range 3 * FloodFrom {
		m.Take(event(rules.AlarmRaised, time.Duration(i)*67*time.Second, "a"))
	}
	if f := m.Figures(at(time.Hour), nil); f.Floods > 0 {
		t.Errorf("%+v", f)
	}
}

func TestWhatIsHiddenOrATestCallsNobody(t *testing.T) {
	m := New()
	for _, e := range []rules.Event{{Hidden: rules.Shelved}, {Hidden: rules.Suppressed}, {Hidden: rules.OutOfService}, {Test: true}} {
		e.Kind, e.At, e.Rule = rules.AlarmRaised, at(0), "a"
		m.Take(&e)
	}
	if f := m.Figures(at(time.Minute), nil); f.InDay != 0 || len(f.Top) > 0 {
		t.Errorf("%+v", f)
	}
	m.Take(event(rules.AlarmRealarmed, time.Minute, "a"))
	if f := m.Figures(at(time.Minute), nil); f.InDay != 1 {
		t.Errorf("a re-alarm is a call: %+v", f)
	}
}

func TestChatter(t *testing.T) {
	for step, want := range map[time.Duration]bool{30 * time.Second: true, 31 * time.Second: false} {
		m := New()
		m.Take(event(rules.AlarmRaised, 0, "a"))
		m.Take(event(rules.AlarmReturned, step, "a"))
		m.Take(event(rules.AlarmRaised, 2*step, "a"))
		if f := m.Figures(at(time.Hour), nil); (len(f.Chattering) == 1) != want {
			t.Errorf("moves each %v: %v", step, f.Chattering)
		}
		if f := m.Figures(at(25*time.Hour), nil); len(f.Chattering) > 0 {
			t.Errorf("a day later: %v", f.Chattering)
		}
	}
}

func TestAcknowledgementsStaleAndLists(t *testing.T) {
	m := New()
	m.Take(event(rules.AlarmRaised, 0, "a"))
	m.Take(event(rules.AlarmRaised, 0, "b"))
	m.Take(event(rules.AlarmReturned, time.Second, "a"))
	m.Take(event(rules.AlarmAcked, 10*time.Second, "a"))
	m.Take(event(rules.AlarmAcked, 30*time.Second, "b"))
	m.Take(event(rules.AlarmAcked, 40*time.Second, "b"))
	f := m.Figures(at(Stale+time.Hour), []rules.AlarmView{
		{Name: "old", State: rules.Acked, Raised: at(time.Minute)},
		{Name: "new", State: rules.Acked, Raised: at(2 * time.Hour)},
		{Name: "gone", State: rules.ReturnedUnacked, Raised: at(time.Minute)},
		{State: rules.Shelved},
		{State: rules.Suppressed},
		{State: rules.Suppressed},
		{State: rules.OutOfService},
	})
	if !slices.Equal(f.Stale, []string{"old"}) || f.Shelved != 1 || f.Suppressed != 2 || f.Removed != 1 || f.Acks != 0 {
		t.Errorf("%+v", f)
	}
	f = m.Figures(at(Stale), nil)
	if f.Acks != 0 { // time does not go back
		t.Errorf("%+v", f)
	}
}

func TestMeanOfAcknowledgements(t *testing.T) {
	m := New()
	for i, took := range []time.Duration{10 * time.Second, 50 * time.Second} {
		m.Take(event(rules.AlarmRaised, time.Duration(i)*time.Hour, "a"))
		m.Take(event(rules.AlarmAcked, time.Duration(i)*time.Hour+took, "a"))
	}
	if f := m.Figures(at(2*time.Hour), nil); f.Acks != 2 || f.MeanAck != 30*time.Second || f.LongestAck != 50*time.Second {
		t.Errorf("%+v", f)
	}
}

func TestMoreNamesThanAreKept(t *testing.T) {
	m := New()
	for i := range MaxNames + 7 {
		m.Take(event(rules.AlarmRaised, 0, fmt.Sprint(i)))
	}
	if f := m.Figures(at(0), nil); f.InDay != MaxNames+7 || f.Unnamed != 7 || len(m.names) != MaxNames {
		t.Errorf("%d, %d unnamed of %d", f.InDay, f.Unnamed, len(m.names))
	}
}

// The same figures from the whole history, by counting.
func naive(calls []rules.Event, now time.Duration) (ten, hour, day, most int, top []Share) {
	minuteOf := func(d time.Duration) int64 { return int64(d / time.Minute) }
	last := minuteOf(now)
	per := map[string]int{}
	byMinute := map[int64]int{}
	for _, e := range calls {
		d := time.Duration(e.At.Mono - origin)
		byMinute[minuteOf(d)]++
		if int64(d/time.Hour) > int64(now/time.Hour)-24 {
			per[e.Rule]++
		}
	}
	for back := range int64(minutes) {
		n := byMinute[last-back]
		if back < 10 {
			ten += n
		}
		if back < 60 {
			hour += n
		}
		day += n
		if last-back < 0 {
			continue
		}
		sum := 0
		for k := range int64(10) {
			if x := last - back - k; x >= 0 && x > last-minutes {
				sum += byMinute[x]
			}
		}
		most = max(most, sum)
	}
	for s, n := range per {
		top = append(top, Share{s, n})
	}
	slices.SortFunc(top, func(a, b Share) int {
		if a.Calls != b.Calls {
			return b.Calls - a.Calls
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return ten, hour, day, most, top[:min(len(top), TopMost)]
}

func TestAgainstCounting(t *testing.T) {
	for seed := range uint64(20) {
		dice := rand.New(rand.NewPCG(seed, 4))
		m := New()
		m.Take(event(rules.InterlockArmed, 0, "L"))
		var calls []rules.Event
		now := time.Duration(0)
		for range 600 {
			now += time.Duration(dice.ExpFloat64() * float64(4*time.Minute))
			e := event(rules.AlarmRaised, now, fmt.Sprint("a", int(dice.ExpFloat64()*8)))
			m.Take(e)
			calls = append(calls, *e)
			if dice.IntN(20) > 0 {
				continue
			}
			f := m.Figures(at(now), nil)
			ten, hour, day, most, top := naive(calls, now)
			if f.InTen != ten || f.InHour != hour || f.InDay != day || f.MostInTen != most || !reflect.DeepEqual(f.Top, top) {
				t.Fatalf("seed %d after %v: %d %d %d %d %v, counted %d %d %d %d %v", seed, now, f.InTen, f.InHour, f.InDay, f.MostInTen, f.Top, ten, hour, day, most, top)
			}
		}
	}
}

// A clock that was set says nothing of how long the figures count.
func TestSinceIsByTheClockAsItIsNow(t *testing.T) {
	m := New()
	m.Take(&rules.Event{Kind: rules.InterlockArmed, At: tag.Stamp{Wall: 5e9, Mono: origin}}) // without a battery: 1970
	f := m.Figures(tag.Stamp{Wall: 1e18, Mono: origin + int64(time.Minute)}, nil)
	if want := int64(1e18) - int64(time.Minute); f.Since.Wall != want {
		t.Errorf("since %d, want a minute ago, %d", f.Since.Wall, want)
	}
}

func TestWhoIsHiddenWaitsForNobody(t *testing.T) {
	for _, k := range []rules.Kind{rules.AlarmShelved, rules.AlarmSuppressed, rules.AlarmRemoved} {
		m := New()
		m.Take(event(rules.AlarmRaised, 0, "a"))
		m.Take(event(k, time.Second, "a"))
		m.Take(event(rules.AlarmRaised, time.Hour, "a"))
		m.Take(event(rules.AlarmAcked, time.Hour+time.Minute, "a"))
		if f := m.Figures(at(2*time.Hour), nil); f.Acks != 1 || f.LongestAck != time.Minute {
			t.Errorf("%v: %d, %v", k, f.Acks, f.LongestAck)
		}
	}
}
