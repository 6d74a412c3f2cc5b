package jsonl

import (
	"encoding/hex"
	"strconv"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// object is a JSON object that is being written.
type object struct {
	b   []byte
	any bool
}

func (o *object) key(k string) {
	if o.any {
		o.b = append(o.b, ',')
	}
	o.any = true
	o.b = append(append(append(o.b, '"'), k...), '"', ':')
}

func (o *object) text(k, v string) {
	o.key(k)
	o.b = quote(o.b, v)
}

// some writes a text that says something.
func (o *object) some(k, v string) {
	if v != "" {
		o.text(k, v)
	}
}

func (o *object) uint(k string, v uint64) {
	o.key(k)
	if v > maxExact {
		o.b = quote(o.b, strconv.FormatUint(v, 10))
		return
	}
	o.b = strconv.AppendUint(o.b, v, 10)
}

// count writes a number that is not 0.
func (o *object) count(k string, v uint64) {
	if v != 0 {
		o.uint(k, v)
	}
}

func (o *object) float(k string, v float64) {
	o.key(k)
	o.b = number(o.b, v, 64)
}

func (o *object) bool(k string, v bool) {
	o.key(k)
	o.b = strconv.AppendBool(o.b, v)
}

// yes writes what is true.
func (o *object) yes(k string, v bool) {
	if v {
		o.bool(k, true)
	}
}

func (o *object) time(k string, wall int64) {
	o.key(k)
	o.b = append(o.b, '"')
	o.b = time.Unix(0, wall).UTC().AppendFormat(o.b, "2006-01-02T15:04:05.000000000Z")
	o.b = append(o.b, '"')
}

// stamp writes both times. Boots of 104 days and more pass 2⁵³ ns; then mono is
// a text, as every whole number of that size.
func (o *object) stamp(s tag.Stamp) {
	o.time("time", s.Wall)
	o.key("mono")
	if s.Mono > maxExact || s.Mono < -maxExact {
		o.b = quote(o.b, strconv.FormatInt(s.Mono, 10))
		return
	}
	o.b = strconv.AppendInt(o.b, s.Mono, 10)
}

func (o *object) hex(k string, v []byte) {
	if len(v) > 0 {
		o.text(k, hex.EncodeToString(v))
	}
}

func (o *object) list(k string, n int, each func(i int, x *object)) {
	o.key(k)
	o.b = append(o.b, '[')
	for i := range n {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		x := object{b: append(o.b, '{')}
		each(i, &x)
		o.b = append(x.b, '}')
	}
	o.b = append(o.b, ']')
}

func (o *object) inner(k string, f func(x *object)) {
	o.key(k)
	x := object{b: append(o.b, '{')}
	f(&x)
	o.b = append(x.b, '}')
}

// parts writes what the keeper's own events carry.
func (o *object) parts(e *wire.Event) {
	if s := e.Start; s != nil {
		o.inner("start", func(x *object) {
			x.hex("parent", s.Parent)
			x.text("version", s.Version)
			x.some("boot", s.Boot)
			if s.Unwatched >= 0 {
				x.float("unwatched_s", time.Duration(s.Unwatched).Seconds())
			}
			x.bool("clean", s.Clean)
			x.float("may_have_lost_s", time.Duration(s.MayHaveLost).Seconds())
			x.hex("plan", s.Plan)
		})
	}
	if g := e.Gap; g != nil {
		o.inner("gap", func(x *object) {
			x.text("stream", g.Stream)
			x.hex("epoch", g.Epoch)
			x.count("from", g.From)
			x.count("to", g.To)
			x.uint("count", g.Count)
			x.time("time_from", g.WallFrom)
			x.time("time_to", g.WallTo)
			x.text("cause", g.Cause)
		})
	}
	if t := e.Table; t != nil {
		o.hex("plan", t.Plan)
		o.list("tags", len(t.Tags), func(i int, x *object) {
			r := &t.Tags[i]
			x.uint("id", uint64(r.ID))
			x.text("tag", r.Name)
			x.some("unit", r.Unit)
			x.text("type", typeName(r.Kind))
			if r.Ranged {
				x.float("low", r.Low)
				x.float("high", r.High)
			}
			x.some("text_zh", r.TextZh)
			x.some("text_en", r.TextEn)
		})
	}
	if c := e.Clock; c != nil {
		o.inner("clock", func(x *object) {
			x.bool("trusted", c.Trusted)
			x.some("source", c.Source)
			if c.Trusted {
				x.float("error_s", time.Duration(c.Error).Seconds())
			}
			x.some("boot", c.Boot)
		})
	}
	if k := e.Beacon; k != nil {
		o.inner("beacon", func(x *object) {
			x.time("time_from", k.From.Wall)
			x.time("time_to", k.To.Wall)
			x.uint("tags", uint64(k.Tags))
			x.uint("good", uint64(k.Good))
			x.uint("turns", k.Turns)
			x.uint("events", k.Events)
			x.float("longest_s", time.Duration(k.Longest).Seconds())
		})
	}
}
