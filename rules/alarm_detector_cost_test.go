package rules

import (
	"testing"
	"time"

	"davy/drivers/tag"
)

// Whatever state a detector is in for long, its readings cost no memory.
func TestNoAllocationInADetectorState(t *testing.T) {
	set := detectorSet()
	set.Interlocks[0].Discrepancy = Discrepancy{Priority: Low, Spread: 5, After: s}
	for name, q := range map[string]tag.Quality{
		"test": tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), "warm-up": tag.MakeQuality(tag.Uncertain, tag.Initial, 0),
		"above": tag.BadRange | tag.LimitHigh, "over": tag.GoodQuality | tag.LimitHigh, "good": tag.GoodQuality, "bad": tag.BadNoComm,
	} {
		r := newRig(t, set)
		at, v := time.Duration(0), int64(0)
		step := func() {
			v++
			r.img.Put(tag.Reading{Tag: 1, Quality: q, Value: tag.IntValue(v % 4), Received: rigStamp(at)})
			r.img.Put(tag.Reading{Tag: 2, Quality: tag.GoodQuality, Value: tag.IntValue(3), Received: rigStamp(at)})
			Step(r.e, r.img, rigStamp(at), &r.out)
		}
		step()
		at = 3 * time.Hour
		step()
		if n := testing.AllocsPerRun(100, func() {
			at += time.Millisecond
			step()
			if len(r.out.Events) > 0 {
				t.Fatal(name, r.out.Events)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
