package journal

import (
	"errors"
	"slices"
	"testing"

	"davy/agent/wire"
)

// half leaves a batch in the file of readings as a commit does whose sync
// failed: it can be seen there, and nobody was told of it.
func half(t *testing.T, j *Journal, b Batch) {
	t.Helper()
	e := j.epochs[len(j.epochs)-1]
	heads, leaves, tree, st := e.heads, e.leaves, e.tree, j.state
	var s *segment
	for _, x := range j.segments {
		if x.family == readingFamily {
			s = x
		}
	}
	runs, version := slices.Clone(s.runs), s.version
	must(t, j.commit(readingFamily, append(readingBlocks(b.Readings), eventBlocks(healthStream, b.Health)...), nil, func(*state) {}))
	e.heads, e.leaves, e.tree, j.state, s.runs, s.version = heads, leaves, tree, st, runs, version
	s.doubt = true
	j.state.version++
	j.seal(s)
}

// What a failed commit left in a file is taken out also where the other family
// was written to meanwhile: its version, its numbers and its leaves are given
// to other records.
func TestDoubtWhileTheOtherFamilyGoesOn(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 1), Serial: 1}))
	must(t, j.Append(Batch{Readings: b.readings(10), Health: b.events(0, 1)}))
	half(t, j, Batch{Readings: b.readings(10), Health: b.events(0, 5)})
	bad := errors.New("unreadable now")
	b.onDisk(func(op string) error {
		if op == "read" {
			return bad
		}
		return nil
	})
	if err := j.Append(Batch{Readings: b.readings(3)}); !errors.Is(err, bad) {
		t.Fatalf("append to a file in doubt: %v", err)
	}
	must(t, j.Append(Batch{Events: b.events(2, 1), Serial: 2}))
	b.onDisk(nil)
	must(t, j.Append(Batch{Readings: b.readings(3)}))
	id := j.Epoch()
	j.release() // killed
	j = b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	leaf := map[uint64]string{}
	for stream, want := range map[string]uint64{wire.EventStream: 3, wire.ReadingStream: 13, wire.HealthStream: 1} {
		n := uint64(0)
		for _, it := range drain(t, c, stream) {
			if it.Epoch != id {
				continue
			}
			n += uint64(it.Block.Count)
			if other := leaf[it.Block.Leaf]; other != "" {
				t.Errorf("leaf %d is of %s and of %s", it.Block.Leaf, other, stream)
			}
			leaf[it.Block.Leaf] = stream
		}
		if n != want {
			t.Errorf("%d records of %s, want %d", n, stream, want)
		}
	}
	if s := j.Stat(); s.Broken > 0 || s.Quarantined > 0 {
		t.Errorf("%+v", s)
	}
}

// The same where the process is killed before the file could be looked at.
func TestDoubtAtTheEnd(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 1), Serial: 1}))
	must(t, j.Append(Batch{Readings: b.readings(10), Health: b.events(0, 1)}))
	half(t, j, Batch{Readings: b.readings(10), Health: b.events(0, 5)})
	must(t, j.Append(Batch{Events: b.events(2, 1), Serial: 2}))
	must(t, j.Append(Batch{Events: b.events(3, 1), Serial: 3}))
	id := j.Epoch()
	size, root, err := j.LogHead(id)
	must(t, err)
	j.release() // killed
	j = b.open()
	if n, now, err := j.LogHead(id); err != nil || n != size || now != root {
		t.Errorf("log of %d leaves, %d before, %v", n, size, err)
	}
	c, err := j.Cursor("regulator")
	must(t, err)
	leaf := map[uint64]string{}
	for stream, want := range map[string]uint64{wire.EventStream: 4, wire.ReadingStream: 10, wire.HealthStream: 1} {
		n := uint64(0)
		for _, it := range drain(t, c, stream) {
			if it.Epoch != id {
				continue
			}
			n += uint64(it.Block.Count)
			if other := leaf[it.Block.Leaf]; other != "" {
				t.Errorf("leaf %d is of %s and of %s", it.Block.Leaf, other, stream)
			}
			leaf[it.Block.Leaf] = stream
		}
		if n != want {
			t.Errorf("%d records of %s, want %d", n, stream, want)
		}
	}
}

// A gap whose record is taken out is none: what it named is still to be sent.
func TestDoubtfulGap(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 1), Serial: 1}))
	must(t, j.Append(Batch{Readings: b.readings(10)}))
	e := j.epochs[len(j.epochs)-1]
	heads, leaves, tree, st, gaps := e.heads, e.leaves, e.tree, j.state, e.gaps
	var s *segment
	for _, x := range j.segments {
		if x.family == eventFamily {
			s = x
		}
	}
	runs, version := slices.Clone(s.runs), s.version
	g := namedGap{e, readingStream, gap{1, 10, e.heads[readingStream].root}}
	must(t, j.name([]namedGap{g}, []wire.Event{g.event(CauseSize, 0, 0)}))
	e.heads, e.leaves, e.tree, j.state, e.gaps, s.runs, s.version = heads, leaves, tree, st, gaps, runs, version
	s.doubt = true
	j.state.version++
	j.seal(s)
	must(t, j.Append(Batch{Readings: b.readings(5)}))
	j.release() // killed
	j = b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	if n := drain(t, c, wire.ReadingStream); len(n) != 2 || n[0].Block.First != 1 {
		t.Errorf("%d blocks of readings to send", len(n))
	}
}
