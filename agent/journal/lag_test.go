package journal

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What is not witnessed is told, and the telling ends, also where a damaged
// page has left a hole in a file.
func TestLagOverAHole(t *testing.T) {
	b := newBench(t)
	j := b.open()
	for range 6 {
		must(t, j.Append(Batch{Readings: b.readings(10)}))
	}
	e := j.epochs[len(j.epochs)-1]
	var r run
	var in *segment
	for _, s := range j.segments {
		for _, x := range s.runs {
			if x.stream == readingStream {
				r, in = x, s
			}
		}
	}
	must(t, in.h.db.Update(func(tx *bolt.Tx) error { return blocksOf(tx).remove(blockKey(e.ordinal, readingStream, 21)) }))
	must(t, j.SetWitness(e.id, "regulator", Witness{Size: r.leafFrom + 3, Wall: 1, Note: []byte("n")}))
	type answer struct {
		lag WitnessLag
		err error
	}
	done := make(chan answer, 1)
	go func() {
		lag, err := j.WitnessLag("regulator")
		done <- answer{lag, err}
	}()
	select {
	case a := <-done:
		must(t, a.err)
		if a.lag.Blocks != 3 || a.lag.Records != 60 || a.lag.Oldest != r.wallFrom { // nobody knows how many of them are
			t.Errorf("%+v", a.lag)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
	}
}
