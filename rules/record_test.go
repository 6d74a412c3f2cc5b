package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

func TestRecord(t *testing.T) {
	proved := func(set Set) Set {
		set.Outputs[0].Proved, set.Outputs[0].Proof, set.Outputs[0].Within = true, Condition{4, EQ, 1}, 10*s
		return set
	}
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"a minute before, with what stood then, and a minute after": {proved(lockSet(1, 2, manual)), `
			0s a=1 b=2 f=0 => armed L
			30s a=3
			45s a=4
			100s a=100 => tripped L#1 first=a votes=a; demand fan by L
			102s f=1 => proved fan 2s
			110s a=5
			160s a=6 => recorded L#1 2=2@0s,4=0@0s,1=3@30s,1=4@45s,1=100@1m40s,4=1@1m42s,1=5@1m50s
			161s a=7`},
		"once for a trip, also when it was reset": {lockSet(1, 1, nil), `
			0s a=1 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			2s a=2 => reset L#1; release fan by L
			62s => recorded L#1 1=1@0s,1=100@1s,1=2@2s@1m1s
			200s`},
		"a second trip ends the record of the first": {lockSet(1, 1, nil), `
			0s a=1 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			2s a=2 => reset L#1; release fan by L
			31s a=200 => recorded L#1 1=1@0s,1=100@1s,1=2@2s,1=200@31s; tripped L#2 first=a votes=a; demand fan by L
			91s => recorded L#2 1=1@0s,1=100@1s,1=2@2s,1=200@31s`},
		"bad, and what only aged": {func() Set {
			set := lockSet(1, 1, func(l *Interlock) { l.ManualReset = true; l.BadAfter = 0 })
			set.Tags[1].TTL = 5 * s
			return set
		}(), `
			0s a=1 => armed L
			5s => degraded L a!bad; tripped L#1 first=a votes=a!bad; demand fan by L
			65s => recorded L#1 1=1@0s,1=b1@5s`},
		"of a computed channel also what it is made of": {func() Set {
			set := computedSet(t, []string{"a", "b"}, "spread: abs(a - b)")
			set.Interlocks = []Interlock{{Name: "L", Priority: High, M: 1, ManualReset: true, Channels: []Channel{{Name: "x", Cond: Condition{3, GE, 5}}}}}
			return set
		}(), `
			0s a=1 b=1 => armed L
			1s a=7 => tripped L#1 first=x votes=x
			61s => recorded L#1 3=0@0s,1=1@0s,2=1@0s,3=6@1s,1=7@1s`},
		"a restart within the minute: the gap is seen": {lockSet(1, 2, manual), `
			0s a=1 b=1 => armed L
			10s a=100 => tripped L#1 first=a votes=a; demand fan by L
			20s restart:5s
			21s a=5 b=6
			70s => recorded L#1 1=b-@20s,2=b-@20s,1=5@21s,2=6@21s`},
		"a restart over the minute: the trip has its record all the same": {lockSet(1, 1, manual), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			80s restart:75s => recorded L#1`},
		"a restart behind the record: none again": {lockSet(1, 1, manual), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			60s => recorded L#1 1=100@0s
			61s restart:1s
			62s a=1
			200s`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.set)
			r.records = true
			r.play(c.script)
		})
	}
}

// What a trace keeps of a slot, against what a slot had.
func TestTraceAgainstAll(t *testing.T) {
	checks(t, 1000)
	rapid.Check(t, func(t *rapid.T) {
		r := newTrace(traceSlots * perSlot)
		bySlot := map[int64][]Sample{}
		at := int64(0)
		for i := range rapid.IntRange(1, 400).Draw(t, "n") {
			at += int64(rapid.IntRange(1, 1500).Draw(t, "ms")) * int64(time.Millisecond)
			q := tag.GoodQuality
			if rapid.IntRange(0, 9).Draw(t, "q") == 0 {
				q = tag.BadNoComm
			}
			x := tag.Reading{Tag: 1, Quality: q, Value: tag.IntValue(int64(i)*1000 + int64(rapid.IntRange(-900000, 900000).Draw(t, "v"))), Received: tag.Stamp{Mono: at}}
			if r.n > 0 && r.at(r.n-1).Value == x.Value && r.at(r.n-1).Quality == x.Quality {
				continue
			}
			r.see(&x, x.Received)
			bySlot[at/int64(recordSlot)] = append(bySlot[at/int64(recordSlot)], Sample{1, x.Quality, x.Received, x.Value})
		}
		kept := map[int64][]Sample{}
		for i := range r.n {
			kept[r.at(i).At.Mono/int64(recordSlot)] = append(kept[r.at(i).At.Mono/int64(recordSlot)], *r.at(i))
			if i > 0 && r.at(i).At.Mono <= r.at(i-1).At.Mono {
				t.Fatal("not in the order of time")
			}
		}
		value := func(s Sample) float64 { return s.Value.Float() }
		good := func(all []Sample) (vs []float64) {
			for _, s := range all {
				if s.Quality.Usable() {
					vs = append(vs, value(s))
				}
			}
			return vs
		}
		for slot, all := range bySlot {
			if at-slot*int64(recordSlot) > int64(2*RecordAround) {
				continue // older than a record looks back
			}
			k := kept[slot]
			if len(all) <= perSlot && !slices.Equal(all, k) || len(k) > perSlot {
				t.Fatalf("slot %d of %d samples keeps %d", slot, len(all), len(k))
			}
			if k[0] != all[0] || k[len(k)-1] != all[len(all)-1] {
				t.Fatalf("slot %d lost its first or last", slot)
			}
			bad := func(s Sample) bool { return s.Quality.Bad() }
			if slices.ContainsFunc(all, bad) != slices.ContainsFunc(k, bad) {
				t.Fatalf("slot %d lost that it was bad", slot)
			}
			if g, h := good(all), good(k); len(g) > 0 && (slices.Min(g) != slices.Min(h) || slices.Max(g) != slices.Max(h)) {
				t.Fatalf("slot %d: least and greatest %v %v, kept %v %v", slot, slices.Min(g), slices.Max(g), slices.Min(h), slices.Max(h))
			}
		}
	})
}

// A record never has more than MaxRecord samples, of whatever interlock, and
// says of every input that it has room for what stood first and last.
func TestRecordIsBounded(t *testing.T) {
	for _, n := range []int{3, 30, 150} {
		set := Set{Tags: make([]Tag, n+1)}
		l := Interlock{Name: "L", Priority: High, M: 1, ManualReset: true}
		for i := 1; i <= n; i++ {
			set.Tags[i].Name = tag.Name(fmt.Sprint("t", i))
			l.Channels = append(l.Channels, Channel{Name: fmt.Sprint(i), Cond: Condition{tag.ID(i), GE, 1e9}})
		}
		set.Interlocks = []Interlock{l}
		e, err := New(set)
		if err != nil {
			t.Fatal(err)
		}
		m, rnd := NewImage(set), rand.New(rand.NewPCG(1, uint64(n)))
		var out Outcome
		var got *Event
		for at := time.Duration(0); at <= 3*time.Minute && got == nil; at += 100 * time.Millisecond {
			for id := 1; id <= n; id++ {
				v := tag.IntValue(rnd.Int64N(1000))
				if id == 1 && at >= 90*s {
					v = tag.IntValue(2e9)
				}
				m.Put(tag.Reading{Tag: tag.ID(id), Quality: tag.GoodQuality, Value: v, Received: rigStamp(at)})
			}
			Step(e, m, rigStamp(at), &out)
			for _, v := range out.Events {
				if v.Kind == InterlockRecorded {
					got = &v
				}
			}
		}
		if got == nil || got.At != rigStamp(150*s) || len(got.Record) > MaxRecord {
			t.Fatalf("%d inputs: %+v", n, got)
		}
		first, last := map[tag.ID]int64{}, map[tag.ID]int64{}
		for i, x := range got.Record {
			if first[x.Tag] == 0 {
				first[x.Tag] = x.At.Mono
			}
			last[x.Tag] = x.At.Mono
			if i > 0 && x.At.Mono < got.Record[i-1].At.Mono {
				t.Fatal("not in the order of time")
			}
		}
		if len(first) != min(n, maxInputs) {
			t.Errorf("%d inputs: %d are recorded", n, len(first))
		}
		for id := range first {
			if first[id] > rigStamp(30*s).Mono || id > 1 && last[id] < rigStamp(149*s).Mono {
				t.Errorf("%d inputs: tag %d from %d to %d", n, id, first[id], last[id])
			}
		}
		t.Logf("%d inputs: %d samples", n, len(got.Record))
	}
}

// What the records of a big site cost.
func TestRecordMemory(t *testing.T) {
	bytes := 300 * traceSlots * perSlot * int(unsafe.Sizeof(Sample{}))
	if bytes > 2_000_000 || unsafe.Sizeof(Sample{}) != 40 {
		t.Errorf("100 interlocks of 3 channels take %d bytes, a sample %d", bytes, unsafe.Sizeof(Sample{}))
	}
}
