package startbench

import (
	"fmt"
	"math/rand/v2"

	"davy/agent/clock"
	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

const (
	JournalBytes = 1_000_000_000 // at least, as the journal counts itself
	maxJournal   = 2_000_000_000 // what the site allows
	chunk        = 65_536        // readings of one transaction
	tags         = 1000
)

// fill makes a journal of at least size bytes in dir, as a long outage leaves it: in
// an earlier epoch, nothing of it confirmed. Values, times and sources are
// noise, so that a record is as long as it gets and few of them do.
func fill(dir, gateway, destination string, size int64) (records uint64, err error) {
	j, err := journal.Open(journal.Options{
		Dir: dir, Gateway: gateway, MaxBytes: maxJournal, MustConfirm: []string{destination},
		Now: clock.Now, Boot: clock.BootID(), Version: "bench",
	})
	if err != nil {
		return 0, err
	}
	noise := rand.New(rand.NewPCG(1, 2))
	table := &wire.Table{}
	for id := range tag.ID(tags) {
		table.Tags = append(table.Tags, wire.TableTag{ID: id + 1, Name: fmt.Sprintf("old.t%d", id), Kind: tag.Float64})
	}
	err = j.Append(journal.Batch{Events: []wire.Event{{Kind: uint32(ring.TagTable), At: clock.Now(), Table: table}}})
	batch := make([]tag.Reading, chunk)
	for err == nil && j.Stat().Bytes < size {
		at := clock.Now()
		for i := range batch {
			v, _ := tag.Float64Value(noise.NormFloat64())
			batch[i] = tag.Reading{
				Tag: tag.ID(i%tags + 1), Quality: tag.GoodQuality, Value: v, Source: noise.Int64(),
				Received: tag.Stamp{Wall: at.Wall + noise.Int64N(1e15), Mono: at.Mono + noise.Int64N(1e15)},
			}
		}
		err = j.Append(journal.Batch{Readings: batch})
	}
	if err != nil {
		return 0, err
	}
	records = j.Stat().Records
	return records, j.Close()
}
