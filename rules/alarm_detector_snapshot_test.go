package rules

import (
	"slices"
	"testing"
	"time"
)

// replan gives what a rig's engine knows to one of another set, as an apply does.
func (r *rig) replan(set Set, at, down time.Duration) {
	r.t.Helper()
	b := r.e.Snapshot(nil, rigStamp(at))
	e, err := New(set)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := e.Restore(b, down); err != nil {
		r.t.Fatal(err)
	}
	r.set, r.e = set, e
}

const inCalibration = `
	0s a=60 b=1 => armed L
	2s => raised l1#1; raised l2#1
	3s a=fc => degraded L a!test; suppress l1#1 under test; suppress l2#1 under test`

// A plan that says otherwise about a state of a detector takes over while the
// state lasts: nothing stays suppressed for which there is no rule any more.
func TestDetectorStatesOverAnApply(t *testing.T) {
	for name, c := range map[string]struct {
		before string
		change func(*Set)
		after  string
	}{
		"less time for a calibration": {inCalibration, func(s *Set) { s.Alarms[4].OnDelay = time.Minute }, `
			5m => raised test#1; unsuppress l1#1; raised l1#2; unsuppress l2#1; raised l2#2`},
		"none": {inCalibration, func(s *Set) { s.Alarms = s.Alarms[:4] }, `
			5m => unsuppress l1#1; raised l1#2; unsuppress l2#1; raised l2#2`},
		"no over-range any more: what stands stands, and latches no more": {`
			0s a=1 b=1 => armed L
			1s a=above => tripped L#1 first=a votes=a; demand fan by L
			5s => raised l1#1@3s; raised l2#1@3s`, func(s *Set) { s.Tags[1].OverRange, s.Alarms[1].LatchOver = false, false }, `
			5m ?L=tripped,ready ?l1=unacked ?l2=unacked => raised not#1
			6m a=1 => degraded L a!bad@5m10s; returned not#1; restored L
			7m => returned l1#1@6m3s; returned l2#1@6m3s`},
		"over-range now: what stands by it latches": {`
			0s a=1 b=1 => armed L
			1s a=over:100 => tripped L#1 first=a votes=a; demand fan by L
			5s => raised l1#1@3s; raised l2#1@3s`, nil, `
			5m
			6m a=1
			7m ?l1=returned ?l2=latched => returned l1#1@6m3s; returned l2#1@6m3s`},
	} {
		t.Run(name, func(t *testing.T) {
			next, set := detectorSet(), detectorSet()
			if c.change != nil {
				c.change(&next)
			} else {
				set.Tags[1].OverRange, set.Alarms[1].LatchOver = false, false
			}
			r := newRig(t, set)
			r.play(c.before)
			r.replan(next, 5*time.Minute, 0)
			r.play(c.after)
		})
	}
}

// What was suppressed under an alarm that the next plan does not have is shown,
// as Latched does, before the first step.
func TestShownBeforeTheFirstStep(t *testing.T) {
	set := detectorSet()
	set.Alarms = append(set.Alarms, Alarm{Name: "link", Cond: Condition{2, GE, 1}, Priority: High})
	set.Alarms[0].Under = "link"
	r := play(t, set, `0s a=1 b=1 => raised link#1; armed L; suppress l1#0 under link`)
	r.replan(detectorSet(), s, 0)
	if v, _ := r.e.Alarm("l1"); v.State != Suppressed || v.Under != "" || !slices.Equal(r.e.Dropped(), []string{"link"}) {
		t.Errorf("%+v, dropped %v", v, r.e.Dropped())
	}
	r.play(`1s ?l1=normal => unsuppress l1#0`)
}

// A wall clock that is wrong over a restart costs a calibration its time, or
// nothing of it; it never gives it more.
func TestCalibrationOverAWrongClock(t *testing.T) {
	for _, c := range []struct {
		down   time.Duration
		script string
	}{
		{-1, `
			10m1s a=fc b=1 => armed L
			2h => raised test#1@1h0m1s; unsuppress l1#0@1h0m1s; unsuppress l2#0@1h0m1s`},
		{100 * 365 * 24 * time.Hour, `
			10m1s a=fc b=1 => raised test#1; armed L; unsuppress l1#0; unsuppress l2#0`},
		{1<<63 - 1, `
			10m1s a=fc b=1 => raised test#1; armed L; unsuppress l1#0; unsuppress l2#0`},
	} {
		r := play(t, detectorSet(), `
			0s a=1 b=1 => armed L
			1s a=fc => degraded L a!test; suppress l1#0 under test; suppress l2#0 under test`)
		r.replan(r.set, 10*time.Minute, c.down)
		r.img = NewImage(r.set)
		r.play(`10m ??l1=suppressed,in-test`)
		r.play(c.script)
	}
}

// Where the alarm that a test takes too long is isolated, no test suppresses.
func TestNoTestWithoutItsWatcher(t *testing.T) {
	r := play(t, detectorSet(), `0s a=60 b=1 => armed L`)
	r.e.alarms[4].broken = true
	r.play(`
		1s a=fc => degraded L a!test
		2s ?l1=unacked ?l2=unacked => raised l1#1; raised l2#1`)
}

// Whatever byte of a snapshot is another, nothing panics; of detectors in all
// that they say of themselves.
func TestHostileSnapshotsOfDetectors(t *testing.T) {
	for _, script := range []string{inCalibration, `
		0s a=1 b=1 => armed L
		1s a=above => tripped L#1 first=a votes=a; demand fan by L
		1500ms a=1`, `
		0s a=1 b=1 => armed L
		1s a=over:90 => tripped L#1 first=a votes=a; demand fan by L
		5s => raised l1#1@3s; raised l2#1@3s
		6s a=1
		10s => returned l1#1@9s; returned l2#1@9s`} {
		r := play(t, detectorSet(), script)
		b := r.e.Snapshot(nil, rigStamp(10*s))
		for i := len(snapshotMagic) + 4; i < len(b); i++ {
			for _, x := range []byte{0, 1, 2, 4, 8, 15, 0x7f, b[i] ^ 1, b[i] ^ 4, b[i] ^ 0x40} {
				hostile := slices.Clone(b)
				hostile[i] = x
				runRestored(t, r.set, hostile, int64(i%3-1)*int64(s))
			}
		}
	}
}
