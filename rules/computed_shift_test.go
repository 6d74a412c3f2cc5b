package rules

import (
	"bytes"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules/expr"
	"davy/rules/shift"
	"davy/rules/unit"
)

// shiftSet is a detector, its exposure in shifts from 06:00 and 18:00 UTC, and
// two alarms: 10 ppm over eight hours now, and in the shift before.
func shiftSet(t testing.TB) Set {
	t.Helper()
	set := Set{Tags: tagsOf("gas", "twa", "twa-last"), Settle: time.Second}
	ppm, _ := unit.Parse("ppm")
	env := &expr.Env{
		Tag: func(name string) (expr.Tag, bool) {
			return expr.Tag{ID: 1, Kind: expr.Number, Unit: ppm}, name == "gas"
		},
		Shifts: shift.New(time.UTC, []time.Duration{6 * time.Hour, 18 * time.Hour}),
	}
	for i, text := range []string{"twa(gas)", "twa_last(gas)"} {
		p, problems := expr.Compile(text, env)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		set.Computed = append(set.Computed, Computed{Tag: tag.ID(2 + i), Program: p})
	}
	set.Alarms = []Alarm{above(set, "twa", 10), above(set, "twa-last", 10)}
	return set
}

func engineOf(t testing.TB, set Set) *Engine {
	t.Helper()
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var shiftBegins = tag.Stamp{Wall: time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC).UnixNano(), Mono: int64(15 * time.Second)}

// The value goes on and the alarm comes without a reading; a snapshot is asked
// for meanwhile, and what a sudden stop loses is what came after it.
func TestAShiftWithoutReadings(t *testing.T) {
	set := shiftSet(t)
	e := engineOf(t, set)
	img := NewImage(set)
	f, _ := tag.Float64Value(20)
	img.Put(tag.Reading{Tag: 1, Value: f, Quality: tag.GoodQuality, Received: shiftBegins})
	var out Outcome
	now, raised, asked := shiftBegins, time.Duration(0), 0
	var saved []byte
	var savedAt tag.Stamp
	for now.Mono < shiftBegins.Mono+int64(5*time.Hour) {
		Step(e, img, now, &out)
		for _, v := range out.Events {
			if v.Kind == AlarmRaised && v.Rule == "twa.high" {
				raised = time.Duration(v.At.Mono - shiftBegins.Mono)
			}
		}
		if out.Durable {
			asked++
			saved, savedAt = e.Snapshot(nil, now), now
		}
		d := out.Next - now.Mono
		if out.Next == 0 || d > int64(expr.Beat) {
			t.Fatalf("next is %d", out.Next)
		}
		now = tag.Stamp{Wall: now.Wall + d, Mono: out.Next}
	}
	if raised != 4*time.Hour {
		t.Errorf("raised after %s", raised)
	}
	if asked < 5*12-1 || asked > 5*12+5 {
		t.Errorf("asked for %d snapshots in five hours", asked)
	}
	if now.Mono-savedAt.Mono > int64(KeepEvery)+int64(expr.Beat) {
		t.Errorf("the last snapshot is %s old", time.Duration(now.Mono-savedAt.Mono))
	}

	// A stop of an hour, by the wall clock: it lacks at the end, and the alarm stands.
	e = engineOf(t, set)
	if err := e.Restore(saved, time.Duration(now.Wall-savedAt.Wall)+time.Hour); err != nil {
		t.Fatal(err)
	}
	again := tag.Stamp{Wall: now.Wall + int64(time.Hour), Mono: int64(77 * time.Second)}
	img = NewImage(set)
	img.Put(tag.Reading{Tag: 1, Value: f, Quality: tag.GoodQuality, Received: again})
	Step(e, img, again, &out)
	if v, _ := e.Alarm("twa.high"); v.State != Unacked {
		t.Errorf("the alarm is %v", v.State)
	}
	r := img.Readings()[2]
	seen := float64(savedAt.Mono-shiftBegins.Mono) / 3.6e12 * 20 / 8
	if got := r.Value.Float(); got < seen-1e-9 || got > seen+1e-9 || r.Quality.Reason() != tag.SubNormal {
		t.Errorf("after the stop %v %#x, want %v", got, uint32(r.Quality), seen)
	}
	end := tag.Stamp{Wall: shiftBegins.Wall + int64(12*time.Hour), Mono: again.Mono + shiftBegins.Wall + int64(12*time.Hour) - again.Wall}
	Step(e, img, end, &out)
	if got := img.Readings()[3]; got.Value.Float() < 29.999 || got.Value.Float() > 30.001 || got.Quality.Reason() != tag.SubNormal {
		t.Errorf("the whole shift: %v %#x", got.Value, uint32(got.Quality))
	}
	if v, _ := e.Alarm("twa-last.high"); v.State != Unacked || img.Readings()[2].Value.Float() != 0 {
		t.Error("the shift is over and nobody was told")
	}
	b := e.Snapshot(nil, end)
	next := engineOf(t, set)
	if err := next.Restore(b, 0); err != nil || !bytes.Equal(b, next.Snapshot(nil, end)) {
		t.Errorf("a hand-over changes it: %v", err)
	}
}
