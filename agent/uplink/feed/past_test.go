package feed

import (
	"context"
	"fmt"
	"testing"
	"time"

	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

const pastBegin = 1753977600 * int64(time.Second)

// wallsOf prints what Readings gives as seconds after pastBegin.
func wallsOf(t *testing.T, p *Past, from, to int64) string {
	t.Helper()
	out := ""
	err := p.Readings(t.Context(), pastBegin+from*int64(time.Second), pastBegin+to*int64(time.Second), func(r Record) {
		name := "?"
		if r.Tag != nil {
			name = r.Tag.Name
		}
		out += fmt.Sprintf(" %s%d", name, (r.Reading.Received.Wall-pastBegin)/int64(time.Second))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPast(t *testing.T) {
	dir := t.TempDir()
	open := func() *journal.Journal {
		j, err := journal.Open(journal.Options{
			Dir: dir, Gateway: "g", Now: func() tag.Stamp { return tag.Stamp{Wall: pastBegin, Mono: 1} }, MaxBytes: 8 << 20, SegmentBytes: 256 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		err = j.Append(journal.Batch{Events: []wire.Event{{Kind: uint32(ring.TagTable), Table: &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: "a"}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := open()
	add := func(sec ...int64) {
		t.Helper()
		var b journal.Batch
		for _, s := range sec {
			b.Readings = append(b.Readings, tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.BoolValue(true), Received: tag.Stamp{Wall: pastBegin + s*int64(time.Second), Mono: s + 1}})
		}
		if err := j.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPast(j, nil)
	f := func(from, to int64, want string) {
		t.Helper()
		for range 2 { // with and without a mark
			if got := wallsOf(t, p, from, to); got != want {
				t.Errorf("%d to %d:%s, want%s", from, to, got, want)
			}
		}
	}
	before := func(wall, want int64) {
		t.Helper()
		got, err := p.Before(t.Context(), pastBegin+wall*int64(time.Second))
		if want *= int64(time.Second); err != nil || got != pastBegin+want && (want >= 0 || got != 0) {
			t.Errorf("before %d: %d, %v", wall, (got-pastBegin)/int64(time.Second), err)
		}
	}
	f(0, 100, "")
	before(50, -1)
	add(1, 2, 3)
	add(4, 5)
	add(60, 61)
	add(3600, 3601)
	f(2, 5, " a2 a3 a4")
	f(5, 61, " a5 a60")
	f(0, 1, "")
	f(3601, 9999, " a3601")
	before(60, 5)
	before(3600, 61)
	before(1, -1)
	add(3590) // the clock was set back by ten seconds
	f(3580, 3601, " a3600 a3590")
	before(3595, 3590)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open()
	defer j.Close()
	add(4000, 4001)
	p = NewPast(j, nil)
	f(4000, 4001, " a4000")
	f(61, 4001, " a61 a3600 a3601 a3590 a4000")
	f(4, 5, " a4")
	before(4000, 3601)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Readings(ctx, 0, 1, func(Record) {}); err == nil {
		t.Error("it reads on after the end of its context")
	}
}
