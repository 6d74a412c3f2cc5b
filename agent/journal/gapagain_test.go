package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"davy/agent/wire"
)

// A gap record lies in a segment like any other record. Where that segment is
// set aside, what it named is named once more, also after the next opening.
func TestGapNamedAgain(t *testing.T) {
	for _, late := range []bool{false, true} { // found by a reader, not when it is opened
		b := newBench(t)
		b.o.SegmentBytes = 256 << 10
		j := b.open()
		first := j.Epoch()
		must(t, j.Append(Batch{Readings: b.readings(100)}))
		for i := range uint64(150) { // enough that the next opening makes a segment of its own
			events := b.events(i+1, 1)
			note := make([]byte, 1000)
			for k := range note {
				note[k] = byte(' ' + b.rnd.IntN(95))
			}
			events[0].Note = string(note)
			must(t, j.Append(Batch{Events: events, Serial: i + 1}))
		}
		must(t, j.Close())
		spoil := func(pattern string) {
			t.Helper()
			found, err := filepath.Glob(filepath.Join(b.o.Dir, pattern))
			must(t, err)
			if len(found) == 0 {
				t.Fatalf("no %s", pattern)
			}
			must(t, os.Truncate(found[len(found)-1], 5000))
		}
		spoil("reading-*.seg")
		j = b.open() // and names it in its own segment of events
		if late {
			at := slices.IndexFunc(j.segments, func(s *segment) bool { return s.family == eventFamily && s.active })
			must(t, j.enter())
			must(t, j.setAside(j.segments[at], ErrDamaged))
			j.leave()
			must(t, j.Append(Batch{Events: b.events(1000, 1), Serial: 1000}))
			must(t, j.Close())
		} else {
			must(t, j.Close())
			spoil("event-*.seg")
		}
		j = b.open()
		must(t, j.Close())
		_, gaps := verify(t, b.o.Dir)
		if !slices.ContainsFunc(gaps, func(g wire.Gap) bool {
			return g.Stream == wire.ReadingStream && string(g.Epoch) == string(first[:]) && g.From == 1 && g.To >= 100
		}) {
			t.Errorf("late %v: the readings of epoch %x are named no more: %+v", late, first[:4], gaps)
		}
	}
}
