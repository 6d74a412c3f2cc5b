package powercut

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/test/powercut/work"
)

// story is a disk on which one epoch had ten events and a hundred readings, of
// which the receiver has the first five and forty, and what a machine that
// started after a cut found on it.
func story(t *testing.T) (*ledger, *work.Found) {
	t.Helper()
	l := newLedger()
	old, now := wire.Epoch{1}, wire.Epoch{2}
	l.on()
	first := &work.Found{Epoch: old, Blocks: []work.Block{block(old, wire.EventStream, 1, 1)}, Events: []work.Entry{{Epoch: old, Number: 1, Start: &wire.Start{Clean: true}}}}
	l.judge(first, false)
	l.open(first)
	say := func(format string, args ...any) {
		l.hear(fmt.Sprintf(format, args...))
	}
	f := &work.Found{Epoch: now, Serial: 10, Blocks: []work.Block{block(old, wire.EventStream, 1, 1)}, Events: slices.Clone(first.Events)}
	for i := range uint64(10) {
		say("begin %d 1", i+1)
		say("end %d %d", i+2, (i+1)*10)
		e := work.Event(i + 1)
		b, r := block(old, wire.EventStream, i+2, i+2), block(old, wire.ReadingStream, i*10+1, i*10+10)
		if i < 5 {
			say("block %x %s %d %d %x %x %d:%s", b.Epoch, b.Stream, b.First, b.Last, b.Before, b.After, i+1, work.Sum(&e))
		}
		if i < 4 {
			say("block %x %s %d %d %x %x", r.Epoch, r.Stream, r.First, r.Last, r.Before, r.After)
		}
		f.Blocks = append(f.Blocks, b, r)
		f.Events = append(f.Events, work.Entry{Epoch: old, Number: i + 2, Serial: i + 1, Sum: work.Sum(&e)})
	}
	say("block %x event 12 12 %x %x gap:%x:reading:71:80", old, wire.Root{'e', 11}, wire.Root{'e', 12}, old)
	l.off()
	l.on()
	start := &wire.Start{Parent: old[:], MayHaveLost: uint64(work.Sync), ParentHeads: []wire.Head{{Stream: wire.EventStream, Number: 11}, {Stream: wire.ReadingStream, Number: 100}}}
	f.Blocks = append(f.Blocks, block(now, wire.EventStream, 1, 1))
	f.Events = append(f.Events, work.Entry{Epoch: now, Number: 1, Start: start})
	if len(l.bad) > 0 {
		t.Fatal(l.bad)
	}
	return l, f
}

// block is one whose chain is a plain function of its numbers.
func block(id wire.Epoch, name string, first, last uint64) work.Block {
	return work.Block{Epoch: id, Stream: name, First: first, Last: last, Before: wire.Root{name[0], byte(first - 1)}, After: wire.Root{name[0], byte(last)}}
}

// lose takes a stretch of the old epoch away.
func lose(f *work.Found, name string, from, to uint64) {
	f.Blocks = slices.DeleteFunc(f.Blocks, func(b work.Block) bool {
		return b.Epoch == wire.Epoch{1} && b.Stream == name && b.First >= from && b.Last <= to
	})
	f.Events = slices.DeleteFunc(f.Events, func(e work.Entry) bool {
		return name == wire.EventStream && e.Epoch == wire.Epoch{1} && e.Number >= from && e.Number <= to
	})
}

func startOf(f *work.Found) *wire.Start { return f.Events[len(f.Events)-1].Start }

func gapOf(f *work.Found, name string, from, to uint64, cause string) {
	id := wire.Epoch{1}
	f.Events = append([]work.Entry{{Epoch: f.Epoch, Number: 2, Gap: &wire.Gap{Epoch: id[:], Stream: name, From: from, To: to, Cause: cause}}}, f.Events...)
}

// TestJudge shows what the judge lets pass, and that it finds everything else.
func TestJudge(t *testing.T) {
	type f = work.Found
	for _, x := range []struct {
		name string
		do   func(f *work.Found)
		// part of what is wrong after an honest disk and after one that lied; "" nothing is
		honest, lied string
	}{
		{"all is there", func(*f) {}, "", ""},
		{"the receiver has it", func(f *f) { lose(f, wire.EventStream, 2, 6); lose(f, wire.ReadingStream, 1, 40) }, "", ""},
		{"readings given up in a full journal", func(f *f) { lose(f, wire.ReadingStream, 1, 60); gapOf(f, wire.ReadingStream, 1, 60, journal.CauseSize) }, "", ""},
		{"readings given up, as the receiver knows", func(f *f) { lose(f, wire.ReadingStream, 71, 80) }, "", ""},
		{"readings gone", func(f *f) { lose(f, wire.ReadingStream, 41, 50) }, "reading 41 to 50 of", "reading 41 to 50 of"},
		{"readings damaged and named", func(f *f) {
			lose(f, wire.ReadingStream, 41, 50)
			gapOf(f, wire.ReadingStream, 41, 50, journal.CauseDamaged)
		}, "are given up: damaged", ""},
		{"an event gone", func(f *f) { lose(f, wire.EventStream, 8, 8) }, "event 7 was durable", "event 7 was durable"},
		{"the tail gone", func(f *f) { lose(f, wire.EventStream, 10, 11); f.Serial = 8; startOf(f).ParentHeads[0].Number = 9 }, "event 9 was durable", ""},
		{"the tail gone, and its heads are not", func(f *f) { lose(f, wire.EventStream, 10, 11); f.Serial = 8 }, "event 9 was durable", "event 9 was durable"},
		{"the tail gone, and the end called clean", func(f *f) {
			lose(f, wire.EventStream, 10, 11)
			startOf(f).ParentHeads[0].Number, startOf(f).Clean, startOf(f).MayHaveLost = 9, true, 0
		}, "clean true", "clean true"},
		{"serials forgotten", func(f *f) { f.Serial = 8 }, "up to 8, and 10 was durable", ""},
		{"an event twice", func(f *f) { f.Events = append(slices.Clone(f.Events[1:2]), f.Events...) }, "event 1 is there twice", "event 1 is there twice"},
		{"an event changed", func(f *f) { f.Events[3].Sum = "00" }, "has become another", "has become another"},
		{"a number is another record", func(f *f) { f.Blocks[1].After[9] = 1 }, "is two things", "is two things"},
		{"numbers twice", func(f *f) { f.Blocks = append(f.Blocks, f.Blocks[4]) }, "are there twice", "are there twice"},
		{"content", func(f *f) { f.Blocks[2].Bad = "reading 3 is another one" }, "reading 3 is", "reading 3 is"},
		{"quarantine", func(f *f) { f.Quarantined = []string{"x"} }, "set aside", ""},
		{"another parent", func(f *f) { startOf(f).Parent = make([]byte, 16) }, "which was not the last", ""},
		{"no parent", func(f *f) { startOf(f).Parent = nil }, "knows no parent", "knows no parent"},
		{"no start", func(f *f) { f.Events[len(f.Events)-1].Start = nil }, "does not begin", "does not begin"},
	} {
		for _, lied := range []bool{false, true} {
			l, found := story(t)
			x.do(found)
			l.judge(found, lied)
			want := x.honest
			if lied {
				want = x.lied
			}
			said := strings.Join(l.bad, "\n")
			if want == "" && said != "" || !strings.Contains(said, want) {
				t.Errorf("%s, lied %v: want %q, said:\n%s", x.name, lied, want, said)
			}
		}
	}
}

// TestSpans holds the sets to plain ones.
func TestSpans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		var s, other spans
		in, out := map[uint64]bool{}, map[uint64]bool{}
		for range 1 + rnd.IntN(6) {
			a, b := rnd.Uint64N(40), rnd.Uint64N(40)
			s, other = s.add(a, a+b%7), other.add(b, b+a%7)
			for n := a; n <= a+b%7; n++ {
				in[n] = true
			}
			for n := b; n <= b+a%7; n++ {
				out[n] = true
			}
		}
		left, all := s.without(other), s.union(other)
		n := uint64(0)
		for i := range uint64(60) {
			if left.touches(i, i) != (in[i] && !out[i]) || all.touches(i, i) != (in[i] || out[i]) {
				t.Fatalf("%d: %v without %v is %v, with it %v", i, s, other, left, all)
			}
			if in[i] {
				n++
			}
		}
		if s.count() != n {
			t.Fatalf("%v counts %d", s, s.count())
		}
	}
}
