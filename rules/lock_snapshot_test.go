package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

// richSet has everything that an interlock and an output can have.
func richSet() Set {
	set := proofSet()
	set.Tags = append(set.Tags, tagsOf("p", "d")[1:]...)
	set.Interlocks = lockSet(2, 3, func(l *Interlock) {
		manual(l)
		l.Arm, l.ArmDue, l.ArmWithin, l.ResetWhen, l.ResetFor = Condition{5, GE, 1}, Condition{6, GE, 1}, 10*s, Condition{4, GE, 0}, 5*s
		l.OnDelay, l.DegradedPriority, l.DegradedAtMost = 2*s, Medium, time.Minute
		l.Bypass = Permit{Second: []string{"leader"}, AtMost: 10 * s, AlarmOnly: true}
		l.Demands = []Demand{{Output: "fan", RunOn: 60 * s}, {Output: "siren", Delay: 4 * s}}
	}).Interlocks
	k := lockSet(1, 1, nil).Interlocks[0]
	k.Name, k.Bypass, k.Demands = "K", Permit{AtMost: time.Hour}, []Demand{{Output: "horn", Delay: 2 * s, RunOn: 5 * s}}
	set.Interlocks = append(set.Interlocks, k)
	return set
}

// richSnapshots returns snapshots of a life with bypasses, escalations, run-ons and restarts.
func richSnapshots(t testing.TB) (all [][]byte) {
	r := newRig(t, richSet())
	for line := range strings.Lines(`
		0s a=1 b=1 c=1 f=0 p=0 d=1
		4s bypass:L:a:10s
		9s p=1 confirm:L:a
		13s b=100
		15s
		20s bypass:K:a:1h a=100
		27s a=1 b=1
		34s reset:L
		40s f=1 unbypass:K:a
		50s p=bad bypass:L:b:9s!bypass-other-channel`) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		fields := strings.Fields(line)
		r.now, _ = time.ParseDuration(fields[0])
		for _, f := range fields[1:] {
			if part := strings.Split(f, ":"); isBypass(part[0]) || part[0] == "reset" {
				continue
			}
			r.put(f)
		}
		in := Input{Now: rigStamp(r.now), Image: r.img.Readings(), Changed: r.img.TakeChanged()}
		r.e.Step(&in, &r.out)
		for _, f := range fields[1:] {
			if part := strings.Split(f, ":"); isBypass(part[0]) || part[0] == "reset" {
				r.do(&in, f)
			}
		}
		all = append(all, r.e.Snapshot(nil, in.Now))
	}
	return all
}

// runRestored restores bytes, if they can be, and goes on. Nothing of that may
// panic, and what was taken over can be written and read again.
func runRestored(t testing.TB, set Set, b []byte, down int64) {
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	if err = e.Restore(b, time.Duration(down)); err != nil {
		if !errors.Is(err, ErrSnapshot) {
			t.Fatal(err)
		}
		return
	}
	var out Outcome
	img := NewImage(set)
	e.Demands(nil) // as Latched looks, before any step
	e.Alarms(nil, rigStamp(0))
	e.Interlocks(nil, &Input{Now: rigStamp(0), Image: img.Readings()})
	for i, v := range []float64{0, 100, 1, 0} {
		now := rigStamp(time.Duration(i) * 7 * time.Second)
		e.Snapshot(nil, now)
		x, _ := tag.Float64Value(v)
		for id := 1; id < len(set.Tags); id++ {
			img.Put(tag.Reading{Tag: tag.ID(id), Quality: tag.GoodQuality, Value: x})
		}
		in := Input{Now: now, Image: img.Readings(), Changed: img.TakeChanged()}
		e.Step(&in, &out)
		e.Interlocks(nil, &in)
		e.Demands(nil)
		for _, v := range out.Events {
			if v.Kind == 0 || v.Rule == Fault {
				t.Fatalf("%+v", v)
			}
		}
	}
	again, _ := New(set)
	if err = again.Restore(e.Snapshot(nil, rigStamp(time.Hour)), 0); err != nil {
		t.Fatal(err)
	}
}

// Whatever byte of a snapshot is another, nothing panics.
func TestHostileSnapshots(t *testing.T) {
	set := richSet()
	for _, b := range richSnapshots(t) {
		runRestored(t, set, b, 0)
		for i := len(snapshotMagic) + 4; i < len(b); i++ {
			for _, x := range []byte{0, 1, 2, 3, 0x7f, b[i] ^ 1, b[i] ^ 4, b[i] + 1} {
				c := slices.Clone(b)
				c[i] = x
				runRestored(t, set, c, int64(i%3-1)*int64(time.Second))
			}
		}
	}
}

// A restored engine writes what it was restored from, and one to which an hour
// is added in between has lost nothing but time.
func TestRichSnapshotsAgain(t *testing.T) {
	set := richSet()
	kinds := 0
	for _, b := range richSnapshots(t) {
		e, _ := New(set)
		if err := e.Restore(b, 0); err != nil {
			t.Fatal(err)
		}
		if again := e.Snapshot(nil, tag.Stamp{Mono: 77}); string(again) != string(b) {
			t.Errorf("got  %q\nwant %q", again, b)
		}
		l := &e.interlocks[0]
		kinds |= 1<<l.bypass.state | count(e.outputs[0].escalated)<<5 | count(e.outputs[0].lacking)<<6 | count(e.demands[0].running)<<7 | count(e.outputs[0].sought)<<8
	}
	if kinds != 1<<bypassNone|1<<bypassWaiting|1<<bypassOn|1<<bypassOverdue|1<<5|1<<6|1<<7|1<<8 {
		t.Errorf("the snapshots do not have everything: %b", kinds)
	}
}

func FuzzRestoreLocks(f *testing.F) {
	set := richSet()
	for _, b := range richSnapshots(f) {
		f.Add(b, int64(0))
		f.Add(b, int64(5*time.Second))
		f.Add(b, int64(-1))
	}
	f.Fuzz(func(t *testing.T, b []byte, down int64) { runRestored(t, set, b, down) })
}

// A restart ends no bypass before its time and none later than its time, and
// what is held after a reset neither, whenever it comes and however long it takes.
func TestRestartKeepsTime(t *testing.T) {
	checks(t, 300)
	rapid.Check(t, func(t *rapid.T) {
		set := lockSet(2, 3, func(l *Interlock) {
			manual(l)
			l.Bypass = Permit{AtMost: time.Hour}
			l.Demands[0].RunOn = time.Hour
		})
		e, _ := New(set)
		img := NewImage(set)
		var out Outcome
		ends := map[string]int64{}
		now := int64(0)
		put := func(v float64) {
			x, _ := tag.Float64Value(v)
			for id := tag.ID(1); id <= 3; id++ {
				img.Put(tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: x, Received: rigStamp(time.Duration(now))})
			}
		}
		step := func() {
			e.Step(&Input{Now: rigStamp(time.Duration(now)), Image: img.Readings(), Changed: img.TakeChanged()}, &out)
			for _, v := range out.Events {
				switch v.Kind {
				case BypassEnded:
					ends["bypass"] = v.At.Mono - rigBase
				case OutputReleased:
					ends["fan"] = v.At.Mono - rigBase
				}
			}
		}
		put(100)
		step()
		put(1)
		step()
		length := int64(rapid.IntRange(1, 3600).Draw(t, "length")) * int64(s)
		for _, c := range []Command{
			{Verb: Reset, Rule: "L", Occurrence: 1},
			{Verb: Bypass, Rule: "L", Channel: "b", Who: "li", Proved: true, Note: "n", For: time.Duration(length)},
		} {
			if err := e.Do(&Input{Now: rigStamp(0), Image: img.Readings()}, c, &out); err != nil {
				t.Fatal(err)
			}
		}
		late := map[string]int64{} // when nobody was there at the end: the first step behind it
		for range rapid.IntRange(0, 4).Draw(t, "restarts") {
			now += int64(rapid.IntRange(0, 1200).Draw(t, "up")) * int64(s)
			put(1)
			step()
			b := e.Snapshot(nil, rigStamp(time.Duration(now)))
			down := int64(rapid.IntRange(0, 1200).Draw(t, "down")) * int64(s)
			for name, end := range map[string]int64{"bypass": length, "fan": int64(time.Hour)} {
				if now < end && end <= now+down {
					late[name] = now + down
				}
			}
			now += down
			e, _ = New(set)
			if err := e.Restore(b, time.Duration(down)); err != nil {
				t.Fatal(err)
			}
			put(1)
			step()
		}
		now = int64(3 * time.Hour)
		step()
		for name, end := range map[string]int64{"bypass": length, "fan": int64(time.Hour)} {
			if late[name] != 0 {
				end = late[name]
			}
			if ends[name] != end {
				t.Fatalf("%s ended after %v, want %v", name, time.Duration(ends[name]), time.Duration(end))
			}
		}
	})
}
