package wire

import (
	"math"
	"math/rand/v2"
	"testing"

	"davy/drivers/tag"
)

// fourSeconds is what a plant of 500 tags in ten scans a second says in four:
// registers with a scale, or transmitters' own floats.
func fourSeconds(raw bool) (out []tag.Reading) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for s := range int64(4) {
		for d := range int64(10) {
			at := tag.Stamp{Wall: 1_800_000_000e9 + s*1e9 + d*1e8 + rnd.Int64N(4e6), Mono: 77e9 + s*1e9 + d*1e8 + rnd.Int64N(4e6)}
			for i := range int64(50) {
				v, _ := tag.Float64Value(math.Round(200+float64(i)+rnd.NormFloat64()) * 0.1)
				if raw {
					v, _ = tag.Float32Value(float32(20 + float64(i)*(1+1e-3*rnd.NormFloat64())))
				}
				out = append(out, tag.Reading{Tag: tag.ID(d*50 + i + 1), Quality: tag.GoodQuality, Value: v, Received: at})
			}
		}
	}
	return out
}

// BenchmarkReadings says what a reading takes: time to encode and to decode
// it, and bytes.
func BenchmarkReadings(b *testing.B) {
	for name, raw := range map[string]bool{"scaled": false, "float32": true} {
		readings := fourSeconds(raw)
		body := EncodeReadings(readings)
		b.Run(name+"/encode", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				EncodeReadings(readings)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(readings)), "ns/reading")
			b.ReportMetric(float64(len(body))/float64(len(readings)), "B/reading")
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := DecodeReadings(body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(readings)), "ns/reading")
		})
	}
}
