// Package history gives what was recorded to agent/replay: from a journal, also
// while a keeper has it open, or from what `davy journal export` wrote, without
// the gateway. It also writes that export.
//
// It reads piece by piece: of a journal some blocks of each stream, of an export
// some lines. Nothing is changed and no file of a running keeper is held.
//
// Imports: agent/journal, agent/replay, agent/ring (kinds), agent/wire, rules,
// drivers/tag.
package history

import (
	"davy/agent/journal"
	"davy/agent/replay"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Journal is a journal as a history.
type Journal struct {
	r     *journal.Reader
	spans []journal.Span
	bad   []string // blocks that do not decode
}

// OfJournal returns the history of an open journal.
func OfJournal(r *journal.Reader) *Journal { return &Journal{r: r, spans: r.Spans()} }

// Epochs implements replay.Source.
func (j *Journal) Epochs() []replay.Epoch {
	out := make([]replay.Epoch, len(j.spans))
	for i, s := range j.spans {
		out[i] = replay.Epoch{ID: s.Epoch, From: s.From, To: s.To, Reading: s.Reading}
	}
	return out
}

// Events implements replay.Source.
func (j *Journal) Events(epoch int) replay.Blocks[wire.Event] {
	return &blocks[wire.Event]{j, j.r.Blocks(j.spans[epoch].Epoch, wire.EventStream), wire.DecodeEvents}
}

// Readings implements replay.Source.
func (j *Journal) Readings(epoch int) replay.Blocks[tag.Reading] {
	return &blocks[tag.Reading]{j, j.r.Blocks(j.spans[epoch].Epoch, wire.ReadingStream), wire.DecodeReadings}
}

// Damaged implements replay.Source.
func (j *Journal) Damaged() []string { return append(append([]string(nil), j.r.Damaged...), j.bad...) }

type blocks[T any] struct {
	j      *Journal
	from   *journal.Blocks
	decode func([]byte) ([]T, error)
}

// Next implements replay.Blocks.
func (b *blocks[T]) Next(after int64) (out replay.Block[T], err error) {
	for {
		it, err := b.from.Next(after)
		if err != nil {
			return out, err
		}
		records, err := b.decode(it.Block.Body)
		if err != nil {
			b.j.bad = append(b.j.bad, err.Error())
			continue
		}
		return replay.Block[T]{First: it.Block.First, From: it.WallFrom, To: it.WallTo, Records: records}, nil
	}
}
