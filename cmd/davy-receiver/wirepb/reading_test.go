package wirepb

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// planes reads n numbers of w bytes from the beginning of b, and returns the rest.
func planes(b []byte, w, n int) (numbers []uint64, rest []byte) {
	numbers = make([]uint64, n)
	for k := range w {
		for i := range numbers {
			numbers[i] += uint64(b[k*n+i]) << (8 * k)
		}
	}
	return numbers, b[w*n:]
}

func column(t *rapid.T, b []byte, n int) []uint64 {
	if len(b) == 0 {
		return make([]uint64, n)
	}
	numbers, rest := planes(b[1:], int(b[0]), n)
	if len(rest) > 0 {
		t.Fatalf("%d bytes too many for %d numbers", len(rest), n)
	}
	return numbers
}

func unzigzag(v uint64) int64 {
	if v%2 == 1 {
		return -int64(v/2) - 1
	}
	return int64(v / 2)
}

// repeated undoes a column of pairs.
func repeated(column []uint32) (out []uint32) {
	for i := 0; i < len(column); i += 2 {
		for range column[i] {
			out = append(out, column[i+1])
		}
	}
	return out
}

// readings reads a ReadingBody as davy.proto has it, with nothing of agent/wire.
func readings(t *rapid.T, m *ReadingBody) []tag.Reading {
	var out []tag.Reading
	walls, monos := column(t, m.Walls, len(m.Scans)-1), column(t, m.Monos, len(m.Scans)-1)
	wall, mono := m.Wall, m.Mono
	for i, n := range m.Scans {
		if i > 0 {
			d := unzigzag(walls[i-1])
			wall += d
			mono += d + unzigzag(monos[i-1])
		}
		for range n {
			out = append(out, tag.Reading{Received: tag.Stamp{Wall: wall, Mono: mono}})
		}
	}

	came := map[int64]int64{}
	before, at := int64(-1), 0
	for i, v := range m.Tags {
		if i%2 == 1 {
			id := max(before, 0) + unzigzag(v)
			out[at].Tag, came[before], before = tag.ID(id), id, id
			at++
			continue
		}
		for range v {
			id, ok := came[before]
			if !ok {
				id = max(before, 0) + 1
				id &= math.MaxUint32
			}
			out[at].Tag, came[before], before = tag.ID(id), id, id
			at++
		}
	}
	if at != len(out) {
		t.Fatalf("%d tags of %d records", at, len(out))
	}

	var order []tag.ID
	of := map[tag.ID][]int{}
	for i := range out {
		id := out[i].Tag
		if of[id] == nil {
			order = append(order, id)
		}
		of[id] = append(of[id], i)
	}
	qualities, kinds := repeated(m.Qualities), repeated(m.Kinds)
	var series [][]int
	kind := map[int]tag.Kind{}
	n := 0
	for _, id := range order {
		var last tag.Kind
		for _, i := range of[id] {
			out[i].Quality, kind[i] = tag.Quality(qualities[n]), tag.Kind(kinds[n])
			n++
			switch {
			case kind[i] == tag.None:
			case kind[i] == last:
				series[len(series)-1] = append(series[len(series)-1], i)
			default:
				series, last = append(series, []int{i}), kind[i]
			}
		}
	}

	var first, delta [9]int
	for s, w := range m.Widths {
		first[w/16]++
		delta[w%16] += len(series[s]) - 1
	}
	var firsts, deltas [9][]uint64
	f, d := m.Firsts, m.Deltas
	for w := range 9 {
		firsts[w], f = planes(f, w, first[w])
		deltas[w], d = planes(d, w, delta[w])
	}
	if len(series) != len(m.Widths) || len(series) != len(m.Forms) || len(f)+len(d) > 0 {
		t.Fatalf("%d series, %d widths, %d forms, %d and %d bytes left", len(series), len(m.Widths), len(m.Forms), len(f), len(d))
	}
	take := func(from *[]uint64) int64 {
		v := (*from)[0]
		*from = (*from)[1:]
		return unzigzag(v)
	}
	for s, w := range m.Widths {
		number := int64(0)
		for i, k := range series[s] {
			if i == 0 {
				number = take(&firsts[w/16])
			} else {
				number += take(&deltas[w%16])
			}
			v, ok := restored(m.Forms[s], kind[k], number)
			if !ok {
				t.Fatalf("kind %d, form %d, number %d: no value", kind[k], m.Forms[s], number)
			}
			out[k].Value = v
		}
	}

	sources := 0
	for i, n := range m.Sourced {
		sources += i % 2 * int(n)
	}
	times, at, last := column(t, m.Sources, sources), 0, m.Wall
	for i, n := range m.Sourced {
		for range n {
			if i%2 == 1 {
				last += unzigzag(times[0])
				out[at].Source, times = last, times[1:]
			}
			at++
		}
	}
	return out
}

func restored(form byte, kind tag.Kind, number int64) (tag.Value, bool) {
	float := 0.0
	switch {
	case kind != tag.Float32 && kind != tag.Float64:
		return tag.FromBits(kind, uint64(number))
	case form == 32 && kind == tag.Float32:
		amount := int32(number)
		sign := float32(1)
		if amount < 0 {
			amount, sign = -amount, -1
		}
		return tag.Float32Value(sign * math.Float32frombits(uint32(amount)))
	case form == 32 && number < 0:
		float = -math.Float64frombits(uint64(-number))
	case form == 32:
		float = math.Float64frombits(uint64(number))
	case form > 16:
		float = float64(number) * []float64{1, 0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001, 0.0000001, 0.00000001, 0.000000001}[form-16]
	default:
		float = float64(number) / math.Pow10(int(form))
	}
	if kind == tag.Float32 {
		return tag.Float32Value(float32(float))
	}
	return tag.Float64Value(float)
}

// a series of values, as plants have them
func signal(t *rapid.T) func(t *rapid.T) tag.Value {
	n := rapid.Int64Range(-5000, 5000)
	exponent := rapid.IntRange(0, 10).Draw(t, "decimals")
	switch rapid.IntRange(0, 5).Draw(t, "signal") {
	case 0: // a quotient
		return func(t *rapid.T) tag.Value {
			v, _ := tag.Float64Value(float64(n.Draw(t, "n")) / math.Pow10(exponent))
			return v
		}
	case 1: // a product, as of a register and its scale
		return func(t *rapid.T) tag.Value {
			v, _ := tag.Float64Value(float64(n.Draw(t, "n")) * math.Pow10(-exponent))
			return v
		}
	case 2:
		return func(t *rapid.T) tag.Value {
			v, _ := tag.Float32Value(float32(float64(n.Draw(t, "n")) / math.Pow10(exponent)))
			return v
		}
	case 3: // a transmitter's own
		return func(t *rapid.T) tag.Value {
			v, _ := tag.Float32Value(4 + float32(n.Draw(t, "n"))/7e4)
			return v
		}
	case 4:
		return func(t *rapid.T) tag.Value { return tag.IntValue(n.Draw(t, "n")) }
	}
	return value
}

// Whatever readings are, they come back bit for bit; protoc's code reads the
// columns, and one who has only davy.proto finds the same readings in them.
func TestReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shapes []func(*rapid.T) tag.Value
		for range rapid.IntRange(1, 6).Draw(t, "tags") {
			shapes = append(shapes, signal(t))
		}
		scans, sourced, orderly := rapid.Bool().Draw(t, "scans"), rapid.Bool().Draw(t, "sourced"), rapid.Bool().Draw(t, "orderly")
		first := rapid.SampledFrom([]tag.ID{0, 1, 7, math.MaxUint32 - 3}).Draw(t, "first")
		at := stamp(t)
		var in []tag.Reading
		for i := range rapid.IntRange(1, 40).Draw(t, "n") {
			k := i % len(shapes)
			if !orderly {
				k = rapid.IntRange(0, len(shapes)-1).Draw(t, "tag")
			}
			switch {
			case !scans:
				at = stamp(t)
			case k == 0:
				at.Wall += rapid.Int64Range(0, 2e9).Draw(t, "later")
				at.Mono += rapid.Int64Range(0, 2e9).Draw(t, "later")
			}
			r := tag.Reading{Tag: first + tag.ID(k), Quality: tag.GoodQuality, Value: shapes[k](t), Received: at}
			if rapid.IntRange(0, 9).Draw(t, "fault") == 0 {
				r.Quality = quality(t)
				if r.Quality.Bad() {
					r.Value = tag.Value{}
				}
			}
			if sourced {
				r.Source = rapid.SampledFrom([]int64{0, 1, -1, r.Received.Wall, r.Received.Wall - 1e6, 1 << 62, math.MinInt64}).Draw(t, "source")
			}
			in = append(in, r)
		}
		body := wire.EncodeReadings(in)
		b := unpack(t, body)
		m := &ReadingBody{}
		same(t, b, again(t, b, m))
		if got := readings(t, m); !reflect.DeepEqual(in, got) {
			t.Fatalf("by davy.proto\n%+v\n%+v", in, got)
		}
		out, err := wire.DecodeReadings(body)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
	})
}
