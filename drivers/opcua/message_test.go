package opcua

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"davy/drivers/tag"
)

func float(t testing.TB, f float64) tag.Value {
	t.Helper()
	v, ok := tag.Float64Value(f)
	if !ok {
		t.Fatal(f)
	}
	return v
}

func someSamples(t testing.TB) []Sample {
	return []Sample{
		{Handle: 1, Quality: tag.GoodQuality, Value: float(t, -12.5), Source: -3, Received: tag.Stamp{Wall: math.MaxInt64, Mono: 5}},
		{Handle: math.MaxUint32, Quality: tag.BadConfig | tag.LimitLow, Status: 0x80340000, Reason: OtherText, Overflow: true, Received: tag.Stamp{Wall: -1, Mono: -2}},
		{Quality: tag.MakeQuality(tag.Uncertain, tag.LastUsable, tag.Constant), Status: 0x40900000, Value: tag.IntValue(math.MinInt64)},
	}
}

func TestABatchComesBack(t *testing.T) {
	for _, samples := range [][]Sample{nil, someSamples(t), make([]Sample, MaxSamples)} {
		in := Batch{Generation: 7, Session: math.MaxUint32, Request: 9, Samples: samples}
		body := in.Append([]byte("before"))[6:]
		out := Batch{Samples: make([]Sample, 5)}
		if err := out.Decode(body); err != nil {
			t.Fatal(err)
		}
		if out.Generation != 7 || out.Session != math.MaxUint32 || out.Request != 9 || len(out.Samples) != len(samples) {
			t.Fatalf("%+v", out)
		}
		for i := range samples {
			if out.Samples[i] != samples[i] {
				t.Errorf("%+v comes back as %+v", samples[i], out.Samples[i])
			}
		}
	}
}

// What no Append makes is refused whole, so that none of it is a reading.
func TestGarbageIsNoReading(t *testing.T) {
	good := (&Batch{Generation: 1, Session: 1, Samples: someSamples(t)}).Append(nil)
	at := func(offset int, b ...byte) []byte {
		return append(append(bytes.Clone(good[:batchBytes+offset]), b...), good[batchBytes+offset+len(b):]...)
	}
	le := binary.LittleEndian
	for name, body := range map[string][]byte{
		"nothing":                 {},
		"half a header":           good[:10],
		"a sample too few":        good[:len(good)-sampleBytes],
		"a byte too many":         append(bytes.Clone(good), 0),
		"a count that overflows":  append(le.AppendUint32(bytes.Clone(good[:12]), math.MaxUint32), good[16:]...),
		"a quality that is none":  at(4, le.AppendUint32(nil, uint32(tag.GoodQuality)|1<<20)...),
		"good with a bad reason":  at(4, le.AppendUint32(nil, 2<<30|uint32(tag.Stale)<<8)...),
		"bad with a value":        at(4, le.AppendUint32(nil, uint32(tag.BadConfig))...),
		"good without a value":    at(12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"a kind that is none":     at(12, byte(tag.Text)+1),
		"a good one for a reason": at(13, byte(WrongType)),
		"an unknown flag":         at(14, 2),
		"a byte that is not used": at(15, 1),
		"a NaN":                   at(16, le.AppendUint64(nil, math.Float64bits(math.NaN()))...),
		"a negative zero":         at(16, le.AppendUint64(nil, 1<<63)...),
		"a reason that is none":   at(sampleBytes+13, byte(reasons)),
	} {
		b := Batch{Samples: someSamples(t)}
		if err := b.Decode(body); !errors.Is(err, ErrMessage) || len(b.Samples) != 0 {
			t.Errorf("%s: %v, %d samples", name, err, len(b.Samples))
		}
	}
}

func TestDecodeTakesNoMemory(t *testing.T) {
	b := Batch{Generation: 1, Session: 1, Samples: make([]Sample, 500)}
	body := b.Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		body = b.Append(body[:0])
		if err := b.Decode(body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAskComesBack(t *testing.T) {
	for _, a := range []Ask{{}, {math.MaxUint32, math.MaxInt64, MaxHandle, MaxHandle}, {1, time.Second, 2, 3}} {
		if got, err := DecodeAsk(a.Append(nil)); err != nil || got != a {
			t.Errorf("%+v comes back as %+v, %v", a, got, err)
		}
	}
	for _, body := range [][]byte{nil, make([]byte, askBytes+1), Ask{Wait: -1}.Append(nil), Ask{Count: MaxHandle + 1}.Append(nil), Ask{First: MaxHandle + 1}.Append(nil)} {
		if a, err := DecodeAsk(body); err == nil {
			t.Errorf("%x is %+v", body, a)
		}
	}
}

// No sample is stamped younger than it is.
func TestClockIsNeverAhead(t *testing.T) {
	parent := time.Now()
	c := NewClock(tag.Stamp{Mono: 1000})
	for range 100 {
		got := c.Now()
		if ahead := got.Mono - 1000 - int64(time.Since(parent)); ahead > 0 {
			t.Fatalf("%d ns ahead", ahead)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add((&Batch{Generation: 1, Session: 1, Request: 2, Samples: someSamples(f)}).Append(nil))
	f.Add((&Batch{}).Append(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		var b Batch
		if b.Decode(body) != nil {
			return
		}
		for i := range b.Samples {
			if s := &b.Samples[i]; !s.Quality.Valid() || !s.Quality.Bad() && s.Value.Kind() == tag.None {
				t.Fatalf("%+v was taken", s)
			}
		}
		if back := b.Append(nil); !bytes.Equal(back, body) {
			t.Fatalf("%x comes back as %x", body, back)
		}
	})
}

// Whatever a child says in words: no panic, and nothing that was not of it.
func FuzzWords(f *testing.F) {
	f.Add(KindState, []byte(`{"Generation":1,"Session":1,"Up":true}`))
	f.Add(KindDone, []byte(`{"Generation":1,"Request":1,"Code":"refused","Status":2147483648}`))
	f.Add(KindCondition, []byte(`{"Generation":1,"Session":1,"Severity":65535,"Message":"x"}`))
	f.Add(KindReadings, (&Batch{Generation: 1, Session: 1, Samples: someSamples(f)}).Append(nil))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		l := newLink(config(nil), &Options{Mode: ModeNone}, nil)
		l.generation = 1
		talk := newTalk(l, nil, 0)
		_, c := talk.call(0, 2)
		_ = talk.take(kind, body)
		for _, s := range c.samples {
			if !s.Quality.Bad() && talk.session == 0 {
				t.Fatalf("%+v was taken without a session", s)
			}
		}
	})
}
