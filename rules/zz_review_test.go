package rules

import (
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

func TestZZUnderGone(t *testing.T) {
	set := detectorSet()
	set.Alarms = append(set.Alarms, Alarm{Name: "link", Cond: Condition{2, GE, 1}, Priority: High})
	set.Alarms[0].Under = "link"
	r := newRig(t, set)
	r.play(`0s a=1 b=1 => raised link#1; armed L; suppress l1#0 under link`)
	b := r.e.Snapshot(nil, rigStamp(0))
	set2 := detectorSet()
	e, err := New(set2)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Restore(b, 0); err != nil {
		t.Fatal(err)
	}
	e.Alarms(nil, rigStamp(0))
	e.Alarm("l1")
}

func TestZZLongNames(t *testing.T) {
	long := strings.Repeat("x", MaxName)
	set := permissiveSet(func(l *Interlock) { l.Name = long; l.Permissives[0].Name = long })
	r := newRig(t, set)
	r.img.Put(tag.Reading{Tag: 6, Quality: tag.GoodQuality, Value: tag.IntValue(0), Received: rigStamp(0)})
	Step(r.e, r.img, rigStamp(0), &r.out)
	Step(r.e, r.img, rigStamp(2*time.Minute), &r.out)
	b := r.e.Snapshot(nil, rigStamp(2*time.Minute))
	e, _ := New(set)
	if err := e.Restore(b, 0); err != nil {
		t.Fatal(err)
	}
}

func TestZZDrill(t *testing.T) {
	set := permissiveSet(func(l *Interlock) { l.Test = Permit{AtMost: time.Hour}; l.Discrepancy = Discrepancy{} })
	r := newRig(t, set)
	r.play(`0s a=1 p=1 d=30 f=1 => armed L`)
	in := Input{Now: rigStamp(time.Second), Image: r.img.Readings()}
	if err := r.e.Do(&in, Command{Verb: BeginTest, Rule: "L", Who: "li", Proved: true, Note: "n", For: time.Minute}, &r.out); err != nil {
		t.Fatal(err)
	}
	r.img.Put(tag.Reading{Tag: 4, Quality: tag.GoodQuality, Value: tag.IntValue(0), Received: rigStamp(2 * time.Second)})
	Step(r.e, r.img, rigStamp(2*time.Second), &r.out)
	for _, v := range r.out.Events {
		t.Logf("%+v", v)
		if !v.Test {
			t.Errorf("no test flag: %s", v.Rule)
		}
	}
	if len(r.out.Events) == 0 {
		t.Error("none")
	}
}

func overApart(spread float64) Set {
	set := apartSet(spread, nil)
	for i := 1; i <= 3; i++ {
		set.Tags[i].OverRange = true
	}
	return set
}

func TestZZApartOver(t *testing.T) {
	play(t, overApart(15), `
		0s a=90 b=90 c=90 => armed L
		1s a=above:0
		60s ?L.discrepancy=normal`)
}

func TestZZApartOverClears(t *testing.T) {
	play(t, overApart(15), `
		0s a=90 b=1 c=1 => armed L
		10s => raised L.discrepancy#1
		11s a=above:1
		60s ?L.discrepancy=unacked`)
}

func TestZZApartTestCounts(t *testing.T) {
	set := apartSet(15, func(l *Interlock) { l.InTestCounts = true })
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=test:90
		60s ?L.discrepancy=normal`)
}
