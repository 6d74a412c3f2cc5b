package rules

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAlarmsOfADevice(t *testing.T) {
	r := play(t, lifeSet(Alarm{Cond: Condition{Op: GE, Limit: 100}}), `0s a=100 => raised hi#1`)
	c := &Command{Who: "li", Note: "n"}
	take := func(on bool, want ...string) {
		t.Helper()
		r.e.begin()
		r.e.takeOut(0, on, c, r.e.now)
		r.e.finish(&r.out)
		if got := r.events(); !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", on, got, want)
		}
	}
	take(true, "remove hi#1")
	take(true)
	r.play(`
		0s remove:hi ??hi=out,standing,li:n`)
	take(false)
	r.play(`
		0s ??hi=out,standing,li:n
		0s restore:hi => restore hi#1; raised hi#2`)
	take(true, "remove hi#2")
	take(false, "restore hi#2", "raised hi#3")
	take(true, "remove hi#3")
	r.play(`0s restore:hi ??hi=unacked,sounds => restore hi#3; raised hi#4`) // also what is out with its device
	take(false)
}

func TestAlarmOfATrip(t *testing.T) {
	set := lockSet(1, 1, manual)
	set.Interlocks[0].Text = Text{"联锁", "trip"}
	r := play(t, set, `
		0s a=1 => armed L
		1s a=100 ??L.tripped=unacked,sounds shelve:L.tripped:1s!no-shelve => tripped L#1 first=a votes=a; demand fan by L
		2s restart:1s ??L.tripped=unacked,sounds
		3s a=1 ack:L.tripped => acked L.tripped#1
		4s reset:L ??L.tripped=normal => reset L#1; release fan by L
		5s a=100 => tripped L#2 first=a votes=a; demand fan by L
		6s a=1 reset:L ??L.tripped=returned,sounds => reset L#2; release fan by L`)
	a, _ := r.e.Alarm("L.tripped")
	if a.Of != "tripped" || a.Priority != Critical || a.Text.En != "trip" || a.Occurrence != 2 {
		t.Errorf("%+v", a)
	}
	r = newRig(t, set)
	r.e.StartTripped()
	r.play(`0s ??L.tripped=unacked,sounds => tripped-at-start L#1; demand fan by L`)
}

// What a person does twice, or with more than there is room for.
func TestAlarmCommands(t *testing.T) {
	r := play(t, lifeSet(Alarm{Cond: Condition{Op: GE, Limit: 100}}), `0s a=100 => raised hi#1`)
	in := Input{Now: rigStamp(0), Image: r.img.Readings()}
	for want, c := range map[string]Command{
		"note-too-long": {Verb: Ack, Rule: "hi", Occurrence: 1, Note: strings.Repeat("x", MaxNote+1)},
		"needs-proved":  {Verb: Remove, Rule: "hi", Note: "n"},
		"needs-reason":  {Verb: Remove, Rule: "hi", Proved: true},
	} {
		err := r.e.Do(&in, c, &r.out)
		if refused, ok := err.(*RefusedError); !ok || refused.Code != want || refused.Args["rule"] != "hi" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	err := r.e.Do(&in, Command{Verb: Shelve, Rule: "hi", Occurrence: 1, Note: "n", For: 9 * time.Hour}, &r.out)
	if refused, ok := err.(*RefusedError); !ok || refused.Args["most"] != "8h" {
		t.Errorf("got %v", err)
	}
	// The longest names and notes come back from a snapshot.
	c := Command{Verb: Shelve, Rule: "hi", Occurrence: 1, Who: strings.Repeat("w", 1000), Note: strings.Repeat("x", MaxNote), For: time.Hour}
	if err := r.e.Do(&in, c, &r.out); err != nil {
		t.Fatal(err)
	}
	e, _ := New(r.set)
	if err := e.Restore(r.e.Snapshot(nil, rigStamp(0)), 0); err != nil {
		t.Fatal(err)
	}
	if a, _ := e.Alarm("hi"); a.State != Shelved || a.Note != c.Note || a.Left != time.Hour {
		t.Errorf("%+v", a)
	}
}

// The agent's own alarms and those of the set can be named; what is not an alarm cannot.
func TestAlarmSetDefects(t *testing.T) {
	when := Condition{1, GE, 1}
	for want, change := range map[string]func(*Set){
		`alarm "hi": stands under "ho", which is no alarm`:                   func(s *Set) { s.Alarms[0].Under = "ho" },
		`alarm "hi": stands under "L", which is no alarm`:                    func(s *Set) { s.Alarms[0].Under = "L" },
		`alarm "hi": has beyond it "ho", which is no alarm`:                  func(s *Set) { s.Alarms[0].Beyond = "ho" },
		`alarm "hi": stands under itself: hi → hi`:                           func(s *Set) { s.Alarms[0].Under = "hi" },
		`alarm "hi": stands under itself: hi → lo → hi`:                      func(s *Set) { s.Alarms[0].Under, s.Alarms[1].Under = "lo", "hi" },
		`alarm "hi": has beyond it itself: hi → lo → hi`:                     func(s *Set) { s.Alarms[0].Beyond, s.Alarms[1].Beyond = "lo", "hi" },
		`alarm "hi": latches, and a return to normal would acknowledge it`:   func(s *Set) { s.Alarms[0].Latch, s.Alarms[0].AutoAck = true, true },
		`alarm "hi" mode "m": tag 0 is not in the set`:                       func(s *Set) { s.Alarms[0].Modes = []Mode{{Name: "m"}} },
		`alarm "hi" mode "m": tag 9 is not in the set`:                       func(s *Set) { s.Alarms[0].Modes = []Mode{{Name: "m", When: Condition{9, GE, 1}, Off: true}} },
		`alarm "hi" suppress: tag 9 is not in the set`:                       func(s *Set) { s.Alarms[0].Suppress.Tag = 9 },
		`alarm "hi": shelving time of 87841h0m0s is not within 0 and`:        func(s *Set) { s.Alarms[0].ShelveAtMost = MaxDelay + time.Hour },
		`alarm "hi": shelving time of -1ns is not within 0 and`:              func(s *Set) { s.Alarms[0].ShelveAtMost = -1 },
		`alarm "hi": re-alarm time of -1ns is not within 0 and`:              func(s *Set) { s.Alarms[0].Realarm = -1 },
		`alarm "hi": unknown sort 99`:                                        func(s *Set) { s.Alarms[0].Sort = 99 },
		`alarm "hi": the name of its group has more than 200 bytes`:          func(s *Set) { s.Alarms[0].Group = strings.Repeat("g", MaxName+1) },
		`mode "": the name is empty, longer than 200 bytes, or stands twice`: func(s *Set) { s.Alarms[0].Modes = []Mode{{When: when}} },
		`alarm "hi" mode "m": a limit of a mode has no meaning`: func(s *Set) {
			s.Alarms[0].Cond.Op, s.Alarms[0].Modes = EQ, []Mode{{Name: "m", When: when}}
		},
	} {
		set := lockSet(1, 1, nil)
		set.Alarms = []Alarm{{Name: "hi", Cond: when, Priority: Low}, {Name: "lo", Cond: when, Priority: Low}}
		if _, err := New(set); err != nil {
			t.Fatal(err)
		}
		change(&set)
		if _, err := New(set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	set := lockSet(1, 1, nil)
	set.Alarms = []Alarm{{Name: "hi", Cond: when, Priority: Low, Under: "L.tripped", Modes: []Mode{{Name: "m", When: when, Off: true}}}}
	set.Alarms[0].Cond.Op = EQ // a mode that is off has no limit
	if _, err := New(set); err != nil {
		t.Error(err)
	}
	play(t, set, `
		0s a=1 => armed L; suppress hi#0; raised hi#1 suppressed
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L; returned hi#1 suppressed`)
}
