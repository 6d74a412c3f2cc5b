package journalbench

import (
	"testing"

	"davy/agent/wire"
)

// What the benches keep comes back as it was.
func TestSignalsComeBack(t *testing.T) {
	for name, raw := range map[string]bool{"quantised": false, "raw": true} {
		p := newPlant(raw)
		for range 3 {
			in := p.next(perCommit)
			if len(in) != perCommit*tags {
				t.Fatalf("%s: %d readings", name, len(in))
			}
			out, err := wire.DecodeReadings(wire.EncodeReadings(in))
			if err != nil || len(out) != len(in) {
				t.Fatalf("%s: %v", name, err)
			}
			for i := range in {
				if in[i] != out[i] {
					t.Fatalf("%s: %+v, not %+v", name, out[i], in[i])
				}
			}
		}
	}
}

// Five minutes are within what a day may take, but for the room
// that is kept for gaps and what an empty journal takes: whoever makes blocks larger learns it here.
func TestFiveMinutes(t *testing.T) {
	for _, x := range []struct {
		raw  bool
		most float64
	}{{false, mostBytes}, {true, mostRaw}} {
		got, what, err := size(300, x.raw)
		if err != nil {
			t.Fatal(err)
		}
		const room = 1<<20 + 64<<10 // the reserve and the first pages of two segments: nothing in a day
		if got -= float64(room) / (300 * tags); got > x.most {
			t.Errorf("%.3f B a reading, at most %v: %s", got, x.most, what)
		}
	}
}
