package store

import "time"

// Silence names every gateway that was heard and not again within a time, and
// takes note of those that are heard again. Of the time before since nothing is
// known: this receiver did not listen.
func (b *Batch) Silence(within time.Duration, since int64) error {
	limit := b.wall - int64(within)
	if _, err := b.exec(`UPDATE finding SET ended = ? WHERE kind = ? AND ended = 0 AND first < (SELECT heard FROM gateway WHERE id = finding.gateway)`, b.wall, Silent); err != nil {
		return err
	}
	if since > limit {
		return nil
	}
	silent, err := rowsOf(b.ctx, b.tx, func(scan func(...any) error) (f Finding, err error) {
		f.Kind = Silent
		err = scan(&f.Gateway, &f.First)
		return f, err
	}, `SELECT id, heard FROM gateway WHERE heard > 0 AND heard < ?`, limit)
	if err != nil {
		return err
	}
	return b.findAll(silent)
}

// Stuck names what gateways told of and does not come, although they are heard:
// nothing of a stream within a time, of this epoch or of an earlier one, whose
// records go first. The time begins again where a gateway comes back after an
// outage: what it has is on its way. It takes note of what came after all.
func (b *Batch) Stuck(within time.Duration, since int64) error {
	limit := b.wall - int64(within)
	if _, err := b.exec(`UPDATE finding SET ended = ? WHERE kind IN (?, ?) AND ended = 0 AND first <= (SELECT c.upto FROM chain c
		WHERE c.gateway = finding.gateway AND c.epoch = finding.epoch AND c.stream = finding.stream)`, b.wall, Withheld, Hole); err != nil {
		return err
	}
	if since > limit {
		return nil
	}
	stuck, err := rowsOf(b.ctx, b.tx, func(scan func(...any) error) (f Finding, err error) {
		var epoch []byte
		var arrived int64
		err = scan(&f.Gateway, &epoch, &f.Stream, &f.First, &f.Last, &arrived)
		f.Kind = Withheld
		if arrived >= f.First {
			f.Kind = Hole
		}
		shown(&f.Epoch, epoch)
		return f, err
	}, `SELECT c.gateway, c.epoch, c.stream, c.upto + 1,
		coalesce((SELECT min(b.first) - 1 FROM block b WHERE b.chain = c.id AND b.first > c.upto + 1), c.head),
		coalesce((SELECT max(b.first) FROM block b WHERE b.chain = c.id), 0)
		FROM chain c JOIN gateway g ON g.id = c.gateway LEFT JOIN epoch e ON e.gateway = c.gateway AND e.epoch = c.epoch
		WHERE c.head > c.upto AND c.moved < ? AND g.heard >= ? AND NOT EXISTS (
			SELECT 1 FROM chain d JOIN epoch f ON f.gateway = d.gateway AND f.epoch = d.epoch
			WHERE d.gateway = c.gateway AND d.stream = c.stream AND d.moved >= ? AND f.seq < coalesce(e.seq, 0))`, limit, limit, limit)
	if err != nil {
		return err
	}
	waited := stuck[:0]
	for i := range stuck {
		h, err := b.heardOf(stuck[i].Gateway)
		if err != nil {
			return err
		}
		if h.back = min(h.back, b.wall); h.back <= limit { // our own clock may have been set back
			waited = append(waited, stuck[i])
		}
	}
	return b.findAll(waited)
}

// findAll enters those that do not stand already.
func (b *Batch) findAll(all []Finding) error {
	for i := range all {
		f := &all[i]
		var n int
		stands, err := b.row([]any{&n}, `SELECT 1 FROM finding WHERE gateway = ? AND kind = ? AND epoch = ? AND stream = ? AND first = ? AND ended = 0`,
			f.Gateway, f.Kind, f.Epoch[:], f.Stream, f.First)
		if err == nil && !stands {
			err = b.Find(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
