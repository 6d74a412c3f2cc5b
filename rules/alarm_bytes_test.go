package rules

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"davy/drivers/tag"
)

// A plan of ten thousand tags has twenty thousand alarms, of which hardly any is
// ever raised. What each takes is what a gateway's memory is filled with: who adds
// a field here says in the same commit what it costs, and why it does not stand
// behind a pointer (Engine.rule, about.limits, about.life).
func TestBytesOfAnAlarm(t *testing.T) {
	wide := unsafe.Sizeof(uintptr(0)) == 8
	for _, c := range []struct {
		what             string
		is, bits64, arms uintptr
	}{
		{"Alarm", unsafe.Sizeof(Alarm{}), 240, 160},
		{"alarm", unsafe.Sizeof(alarm{}), 80, 76},
		{"about", unsafe.Sizeof(about{}), 40, 28},
		{"force", unsafe.Sizeof(force{}), 16, 12},
		{"deadline", unsafe.Sizeof(deadline{}), 16, 12},
	} {
		most := c.arms
		if wide {
			most = c.bits64
		}
		t.Logf("%s %d", c.what, c.is)
		if c.is > most {
			t.Errorf("%s takes %d bytes, more than %d", c.what, c.is, most)
		}
	}
}

// The same for the whole engine of a plan: what it keeps beside the set.
func TestBytesOfAnEngine(t *testing.T) {
	const tags = 2000 // each with an alarm of its limit and one that it is not watched, which stands under the device's
	set := Set{Tags: make([]Tag, tags+2)}
	device := Device{Name: "device", Text: Text{"d", "d"}}
	link := Alarm{Name: "silent", Cond: Condition{tags + 1, EQ, 1}, Priority: High}
	set.Alarms = append(set.Alarms, link)
	for i := tag.ID(1); i <= tags; i++ {
		set.Tags[i] = Tag{Name: tag.Name(fmt.Sprintf("d.t%d", i)), TTL: 3 * time.Second}
		high := Alarm{Name: fmt.Sprintf("a%d", i), Cond: Condition{i, GE, 100}, Deadband: 1, Priority: Low}
		watch := Alarm{Name: string(set.Tags[i].Name) + ".not-watched", Cond: Condition{Tag: i}, NotWatched: true, OnDelay: 10 * time.Second, Priority: Low, Under: link.Name}
		set.Alarms = append(set.Alarms, high, watch)
		device.Tags = append(device.Tags, i)
	}
	set.Devices = []Device{device}
	most := 345 // bytes for each tag, where a pointer has eight
	if unsafe.Sizeof(uintptr(0)) == 4 {
		most = 310
	}
	held := func() int {
		runtime.GC()
		runtime.GC() // what finalizers kept
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := held()
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	per := (held() - before) / tags
	t.Logf("%d bytes for each tag", per)
	if per > most {
		t.Errorf("an engine keeps %d bytes for each tag, more than %d", per, most)
	}
	runtime.KeepAlive(e)
	runtime.KeepAlive(set)
}
