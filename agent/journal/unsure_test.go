package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"davy/agent/wire"
)

// Where the newest segment of events is set aside, the last known state may be
// an old one: the new epoch must not call the end clean.
func TestNewestSegmentLost(t *testing.T) {
	for _, x := range []struct {
		name, lost string
		clean      bool
	}{{"everything", "*.seg", false}, {"events", "event-*.seg", false}, {"readings", "reading-*.seg", true}} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			j := b.open()
			must(t, j.Append(Batch{Events: b.events(1, 3), Serial: 3, Beat: b.now()}))
			must(t, j.Append(Batch{Readings: b.readings(10), Beat: b.now()}))
			must(t, j.Close())
			spoilt, err := filepath.Glob(filepath.Join(b.o.Dir, x.lost))
			must(t, err)
			for _, path := range spoilt {
				must(t, os.Truncate(path, 5000))
			}
			j = b.open()
			c, err := j.Cursor("other")
			must(t, err)
			all := drain(t, c, wire.EventStream)
			var s *wire.Start // of the newest epoch
			for i := len(all) - 1; s == nil; i-- {
				events, err := wire.DecodeEvents(all[i].Block.Body)
				must(t, err)
				s = events[0].Start
			}
			if s.Clean != x.clean || !x.clean && (time.Duration(s.MayHaveLost) != b.o.Sync || s.Unwatched != -1) {
				t.Fatalf("%d segments spoilt: start %+v", len(spoilt), s)
			}
		})
	}
}
