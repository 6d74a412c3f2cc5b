package store

import (
	"math"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// Codes of refused ranges, as they stand in receipts.
const (
	RefusedBody   = "undecodable"  // the body of a block says nothing that is understood
	RefusedCount  = "wrong-count"  // it holds another number of records than it says
	RefusedStream = "no-stream"    // no such stream
	RefusedNumber = "wrong-number" // beyond MaxNumber
)

// decode reads a block's records, or says with which code it is refused.
func decode(k *wire.Block) (events []wire.Event, readings []tag.Reading, code string) {
	var err error
	switch k.Stream {
	case wire.EventStream, wire.HealthStream:
		events, err = wire.DecodeEvents(k.Body)
	case wire.ReadingStream:
		readings, err = wire.DecodeReadings(k.Body)
	default:
		return nil, nil, RefusedStream
	}
	switch {
	case err != nil:
		return nil, nil, RefusedBody
	case len(events)+len(readings) != int(k.Count):
		return nil, nil, RefusedCount
	}
	return events, readings, ""
}

func (b *Batch) refuse(c *chain, first, last uint64, code string, raw int64) error {
	_, err := b.exec(`INSERT OR IGNORE INTO refused VALUES (?, ?, ?, ?, ?)`, c.id, int64(first), int64(last), code, raw)
	return err
}

// fork records that a name came with two contents. Both are kept as signed bytes.
func (b *Batch) fork(c *chain, first, last uint64, kind string, raw, other int64, sum []byte) error {
	_, err := b.exec(`INSERT OR IGNORE INTO fork (chain, first, last, kind, raw, other, sha, wall) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.id, int64(first), int64(last), kind, raw, other, solid(sum), b.wall)
	return err
}

func (b *Batch) reading(c *chain, number uint64, r *tag.Reading) error {
	_, err := b.exec(`INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, int64(number), int64(r.Tag), int64(r.Quality),
		int64(r.Value.Kind()), int64(r.Value.Bits()), r.Source, r.Received.Wall, r.Received.Mono)
	return err
}

func (b *Batch) event(env *wire.Envelope, c *chain, number uint64, e *wire.Event, raw int64) error {
	if b.Drop != nil && c.stream == wire.EventStream && b.Drop(number, e) {
		return nil
	}
	r, err := b.exec(`INSERT OR IGNORE INTO event (chain, number, kind, wall, mono, rule, occurrence, priority, tag, value_kind, value_bits, quality, lim,
		first_out, output, who, proved, note, serial, body, test, hidden, first, channel, second, duration, result, samples)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.id, int64(number), int64(e.Kind), e.At.Wall, e.At.Mono, e.Rule, int64(e.Occurrence), int64(e.Priority), int64(e.Tag),
		int64(e.Value.Kind()), int64(e.Value.Bits()), int64(e.Quality), finite(e.Limit), e.FirstOut, e.Output, e.Who, e.Proved, e.Note, int64(e.Serial), e.Append(nil),
		e.Test, int64(e.Hidden), e.First, e.Channel, e.Second, e.For, int64(e.Result), int64(e.Samples))
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err // of a fork: the first content stands
	}
	if c.stream != wire.EventStream {
		return nil
	}
	for i := range e.Record {
		x := &e.Record[i]
		if _, err := b.exec(`INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, int64(number), i, int64(x.Tag), int64(x.Quality),
			int64(x.Value.Kind()), int64(x.Value.Bits()), x.Received.Wall, x.Received.Mono); err != nil {
			return err
		}
	}
	switch {
	case e.Start != nil && number == 1:
		return b.start(env, c, e, raw)
	case e.Gap != nil:
		return b.gap(env, c, number, e.Gap)
	case e.Table != nil:
		return b.table(c, number, e.Table)
	}
	return nil
}

func (b *Batch) table(c *chain, number uint64, t *wire.Table) error {
	for i := range t.Tags {
		g := &t.Tags[i]
		_, err := b.exec(`INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, int64(number), int64(g.ID), g.Name, g.Unit,
			int64(g.Kind), g.Ranged, finite(g.Low), finite(g.High), g.TextZh, g.TextEn)
		if err != nil {
			return err
		}
		for _, n := range g.Names {
			if _, err := b.exec(`INSERT OR IGNORE INTO name VALUES (?, ?, ?, ?, ?)`, c.id, int64(number), int64(g.ID), n.Code, n.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

// solid keeps an empty BLOB from becoming NULL.
func solid(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// finite keeps a NaN from becoming NULL; the event's own bytes still say it.
func finite(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}
