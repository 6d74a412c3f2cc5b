package sparkplug

import (
	"testing"

	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// What was good before a connection broke is not called good at the birth of
// the next one: it may have become bad meanwhile, and that comes as history.
func TestWhatWasKnownBeforeIsStale(t *testing.T) {
	n := &node{byName: map[string]*point{}, devices: map[string]*device{}}
	s := &session{n: n}
	v, _ := tag.Float64Value(5)
	record := func(q tag.Quality) *point {
		p, m := s.metric(&feed.Record{
			Stream: wire.ReadingStream, Tag: &wire.TableTag{Name: "tank1.level", Kind: tag.Float64},
			Reading: &tag.Reading{Quality: q, Value: v, Received: tag.Stamp{Wall: 1}},
		})
		p.last, p.seen = m, true
		return p
	}
	quality := func(p *point) uint64 {
		for _, x := range p.birth(7).props {
			if x.key == qualityName {
				return x.bits
			}
		}
		return 1
	}
	p := record(tag.GoodQuality)
	if quality(p) != qualityGood { // a rebirth of the same session
		t.Errorf("good is %d", quality(p))
	}
	n.doubt()
	if m := p.birth(7); quality(p) != qualityStale || m.null || m.bits != v.Bits() {
		t.Errorf("good, and then %+v", m)
	}
	record(tag.BadSensor)
	n.doubt()
	if m := p.birth(7); quality(p) != qualityBad || !m.null {
		t.Errorf("bad, and then %+v", m)
	}
	if record(tag.GoodQuality); quality(p) != qualityGood {
		t.Errorf("good again is %d", quality(p))
	}
}
