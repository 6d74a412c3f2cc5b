package ruletest

import (
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// The words of every state, and which wants hold for it.
func TestAlarmWords(t *testing.T) {
	f := func(v rules.AlarmView, want string, holds bool) {
		t.Helper()
		state, marks := alarmWord(&v)
		states, all := AlarmWords()
		if !IsWant(want, states, all) {
			t.Fatalf("%q is no want", want)
		}
		if alarmHolds(want, state, marks) != holds {
			t.Errorf("%q of %s %v: %v", want, state, marks, !holds)
		}
	}
	f(rules.AlarmView{}, "normal", true)
	f(rules.AlarmView{}, "unacked", false)
	f(rules.AlarmView{State: rules.Unacked, Sounds: true}, "unacked", true)
	f(rules.AlarmView{State: rules.Unacked, Sounds: true}, "unacked sounds", true)
	f(rules.AlarmView{State: rules.Unacked, Sounds: true}, "unacked silent", false)
	f(rules.AlarmView{State: rules.Unacked}, "unacked silent", true)
	f(rules.AlarmView{State: rules.Unacked}, "unacked sounds", false)
	f(rules.AlarmView{State: rules.Unacked, First: true, Test: true}, "unacked test first", true)
	f(rules.AlarmView{State: rules.Unacked}, "unacked first", false)
	f(rules.AlarmView{State: rules.LatchedUnacked}, "latched", true)
	f(rules.AlarmView{State: rules.LatchedAcked}, "latched", true)
	f(rules.AlarmView{State: rules.LatchedAcked}, "latched-acked", true)
	f(rules.AlarmView{State: rules.LatchedUnacked}, "latched-acked", false)
	f(rules.AlarmView{State: rules.Shelved, Standing: true}, "shelved standing", true)
	f(rules.AlarmView{State: rules.Suppressed}, "suppressed standing", false)
	f(rules.AlarmView{State: rules.OutOfService}, "out-of-service", true)
}

func TestLockWords(t *testing.T) {
	by, asked, over := &rules.BypassView{}, &rules.BypassView{Waiting: true}, &rules.BypassView{Overdue: true}
	f := func(v rules.InterlockView, want string, holds bool) {
		t.Helper()
		state, marks := lockWord(&v)
		states, all := LockWords()
		if !IsWant(want, states, all) {
			t.Fatalf("%q is no want", want)
		}
		if lockHolds(want, state, marks) != holds {
			t.Errorf("%q of %s %v: %v", want, state, marks, !holds)
		}
	}
	f(rules.InterlockView{State: rules.Unarmed}, "unarmed", true)
	f(rules.InterlockView{State: rules.Armed}, "armed", true)
	f(rules.InterlockView{State: rules.Armed}, "armed degraded", false)
	f(rules.InterlockView{State: rules.Armed, Degraded: true}, "armed", false)
	f(rules.InterlockView{State: rules.Armed, Bypass: by}, "armed", false)
	f(rules.InterlockView{State: rules.Armed, Bypass: by}, "armed bypassed", true)
	f(rules.InterlockView{State: rules.Armed, Bypass: by, Degraded: true}, "armed bypassed", true)
	f(rules.InterlockView{State: rules.Armed, Bypass: by, Degraded: true}, "armed degraded", false)
	f(rules.InterlockView{State: rules.Armed, Bypass: asked}, "armed", true) // not yet
	f(rules.InterlockView{State: rules.Armed, Bypass: asked}, "armed asked", true)
	f(rules.InterlockView{State: rules.Armed, Bypass: asked}, "armed bypassed", false)
	f(rules.InterlockView{State: rules.Armed, Bypass: over}, "armed bypassed overdue", true)
	f(rules.InterlockView{State: rules.Armed, Bypass: by}, "armed bypassed overdue", false)
	f(rules.InterlockView{State: rules.Tripped, Bypass: by, Degraded: true, Test: true}, "tripped", true)
	f(rules.InterlockView{State: rules.Tripped}, "tripped degraded", false)
}

func TestIsWant(t *testing.T) {
	states, marks := LockWords()
	for want, ok := range map[string]bool{
		"armed": true, "armed degraded bypassed": true, "": false, "degraded": false, "armed armed": false,
		"armed degraded degraded": false, "armed sounds": false,
	} {
		if IsWant(want, states, marks) != ok {
			t.Errorf("%q: %v", want, !ok)
		}
	}
}

// A tag's value and quality, how often a rule came, and one trip of several.
func TestMoreKeys(t *testing.T) {
	of := func(id tag.ID, low, high float64, q string) Expect {
		return Expect{Key: "tag", Want: "w", Where: "x", Tag: TagWant{Tag: id, Valued: low <= high, Low: low, High: high, Quality: q}}
	}
	any := func(id tag.ID, q string) Expect { return of(id, 1, 0, q) }
	r := Run(room(), Story{Steps: []Step{
		{Set: append([]Set{set(4, 150)}, still...), Expect: []Expect{of(1, 5, 5, ""), of(1, 4, 6, "good"), any(1, "good"), any(5, "bad"), any(1, "bad"), of(1, 6, 7, ""), of(5, 0, 0, "")}},
		{At: s, Set: []Set{quality(2, tag.BadStale), quality(3, tag.GoodQuality|tag.Test)}, Expect: []Expect{any(2, "stale"), of(2, 5, 5, "bad"), any(3, "test"), any(3, "good"), any(2, "sensor")}},
		{At: 2 * s, Set: []Set{set(4, 100)}},
		{At: 3 * s, Set: []Set{set(4, 150), set(1, 200), set(2, 200)}, Expect: expects("comp1-discharge.high-high.raised: 2, NH3-150.raised: 1, NH3-150.first_out: nh3-1.gas, NH3-150.votes: nh3-2.gas + nh3-1.gas, NH3-15.votes: x, fan1.raised: 0, comp1-discharge.high.raised: 1")},
		{At: 4 * s, Expect: []Expect{{Where: "x", Tag: TagWant{Tag: 99}}}},
	}}, word)
	const want = `x expected at=0s got=5 key=tag want=w
x expected at=0s got=5 key=tag want=w
x expected at=0s got=bad key=tag want=w
x expected at=1s got=5 test key=tag want=w
x expected at=1s got=5 stale key=tag want=w
x unknown-key key=NH3-15.votes
x unknown-key key=fan1.raised
x expected at=3s got=0 key=comp1-discharge.high.raised want=1
x unknown-tag tag=99`
	if got := r.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Times are written as the files write them.
func TestSpell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", s: "1s", 90 * s: "90s", 10 * time.Minute: "10min", 2 * time.Hour: "2h", 48 * time.Hour: "2d",
		1500 * time.Millisecond: "1.5s", 200 * time.Millisecond: "200ms",
	} {
		if got := spell(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
