package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

// written returns the bytes that this process gave to write calls. (What the
// kernel calls write_bytes counts whole folios of growing files.)
func written(tb testing.TB) int64 {
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "wchar: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	tb.Fatal("no wchar")
	return 0
}

// plantReadings is five seconds of n tags: slow noise, one stamp per second.
func plantReadings(rnd *rand.Rand, n int, from int64) []tag.Reading {
	out := make([]tag.Reading, 0, 5*n)
	for s := range int64(5) {
		at := from + s*int64(time.Second)
		for i := range n {
			v, _ := tag.Float32Value(float32(200+i+rnd.IntN(3)) / 10)
			out = append(out, tag.Reading{Tag: tag.ID(i + 1), Quality: tag.GoodQuality, Value: v, Received: tag.Stamp{Wall: wall0 + at, Mono: at}})
		}
	}
	return out
}

// BenchmarkCommit says what one commit writes: of one event, and of five
// seconds of 100, 500 and 1000 tags that change each second.
func BenchmarkCommit(b *testing.B) {
	open := func(b *testing.B) (*Journal, *bench) {
		w := &bench{rnd: rand.New(rand.NewPCG(1, 2))}
		w.mono.Store(int64(time.Hour))
		j, err := Open(Options{Dir: b.TempDir(), Gateway: "GW", Now: w.now, Boot: "b", MaxBytes: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { j.Close() })
		return j, w
	}
	run := func(name string, batch func(w *bench, i int) Batch) {
		b.Run(name, func(b *testing.B) {
			j, w := open(b)
			for i := range 50 {
				if err := j.Append(batch(w, i)); err != nil {
					b.Fatal(err)
				}
			}
			before := written(b)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := j.Append(batch(w, i)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(written(b)-before)/float64(b.N), "written/commit")
		})
	}
	run("event", func(w *bench, i int) Batch {
		return Batch{Events: w.events(uint64(i+1), 1), Serial: uint64(i + 1), Beat: w.now()}
	})
	for _, n := range []int{100, 500, 1000} {
		at := int64(time.Hour)
		run(fmt.Sprintf("readings-%d-tags", n), func(w *bench, _ int) Batch {
			at += 5 * int64(time.Second)
			return Batch{Readings: plantReadings(w.rnd, n, at)}
		})
	}
}
