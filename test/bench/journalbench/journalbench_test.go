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

// A quarter of an hour is within what a day may take, but for the room that is
// kept for gaps: whoever makes blocks larger learns it here.
func TestQuarter(t *testing.T) {
	for _, x := range []struct {
		raw  bool
		most float64
	}{{false, mostBytes}, {true, mostRaw}} {
		got, what, err := size(900, x.raw)
		if err != nil {
			t.Fatal(err)
		}
		const room = 1 << 20 // the reserve: nothing in a day
		t.Log(got-float64(room)/(900*tags), what)
		if got -= float64(room) / (900 * tags); got > x.most {
			t.Errorf("%.3f B a reading, at most %v: %s", got, x.most, what)
		}
	}
}
