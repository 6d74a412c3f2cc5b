package logbook

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"davy/drivers/tag"
)

// What many write at once stands in the file whole, numbered without a hole,
// in the order of its numbers; a later run appends.
func TestOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	for run := range 2 {
		b, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 50 {
					b.Add(Entry{Event: Mark, Conn: uint64(w), Level: float64(i)}.At(tag.Stamp{Mono: 1, Wall: 2}))
					if err := b.Flush(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		all, err := Read(path)
		if err != nil || len(all) != 200*(run+1) {
			t.Fatalf("run %d: %d entries, %v", run, len(all), err)
		}
		next := map[uint64]float64{}
		for _, e := range all[200*run:] {
			if e.Level != next[e.Conn] {
				t.Fatalf("run %d: writer %d wrote %v, the log has %v next", run, e.Conn, next[e.Conn], e.Level)
			}
			next[e.Conn]++
		}
	}
}

// A book without a file keeps nothing and does no harm; one that cannot write says so.
func TestNowhere(t *testing.T) {
	b, err := Create("")
	if err != nil {
		t.Fatal(err)
	}
	b.Add(Entry{Event: Mark})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if b, err = Create("/dev/full"); err != nil {
		t.Fatal(err)
	}
	b.Add(Entry{Event: Mark})
	if err := b.Flush(); err == nil {
		t.Error("a full disk is no error")
	}
}

// A line cut short at the end is left out; anything else that is wrong is said.
func TestRead(t *testing.T) {
	f := func(text string, want int, says string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "p.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := Read(path)
		if len(all) != want || (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %d entries, %v", text, len(all), err)
		}
	}
	f("", 0, "")
	f("{\"n\":1,\"event\":\"start\"}\n{\"n\":2,\"ev", 1, "")
	f("{\"n\":1,\"event\":\"start\"}\n{\"n\":3,\"event\":\"mark\"}\n", 1, "line 2: number 3 is not the next")
	f("{\"n\":1,\"event\":\"start\"}\nnonsense\n", 1, "line 2")
	f(`{"n":1,"text":"`+strings.Repeat("x", maxLine)+"\"}\n", 0, "longer")
}

func TestSpans(t *testing.T) {
	inf := int64(math.MaxInt64)
	on, off := true, false
	log := []Entry{
		{Mono: 1, Event: Bit, Tag: "a", On: &off},
		{Mono: 2, Event: Bit, Tag: "a", On: &on},
		{Mono: 3, Event: Bit, Tag: "b", On: &on},
		{Mono: 4, Event: Bit, Tag: "a", On: &off},
		{Mono: 5, Event: Rose, Tag: "g", Level: 26},
		{Mono: 6, Event: Rose, Tag: "g", Level: 28},
		{Mono: 7, Event: Fell, Tag: "g", Level: 28},
		{Mono: 8, Event: Rose, Tag: "g", Level: 28},
		{Mono: 9, Event: Fell, Tag: "g", Level: 28},
		{Mono: 10, Event: Fell, Tag: "g", Level: 26},
		{Mono: 11, Event: Bit, Tag: "a", On: &on},
	}
	f := func(what string, got, want []Span) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("a", On(log, "a"), []Span{{2, 4}, {11, inf}})
	f("without a deadband", Above(log, "g", 28, 28), []Span{{6, 7}, {8, 9}})
	f("with one", Above(log, "g", 28, 26), []Span{{6, 10}})
	f("two of three", Together(2, []Span{{1, 5}, {9, inf}}, []Span{{3, 7}}, []Span{{4, 6}, {10, 12}}), []Span{{3, 6}, {10, 12}})
	f("the moment of meeting", Together(2, []Span{{1, 5}}, []Span{{5, 7}}), []Span{{5, 5}})
	f("one of one, open", Together(1, []Span{{1, inf}}), []Span{{1, inf}})
	f("never", Together(2, []Span{{1, inf}}), nil)
}
