package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"davy/agent/wire"
)

// Restored gives the database a new id, because a person says that it was
// restored from a backup, and prepares what every gateway is to be told.
func (s *Store) Restored(ctx context.Context, wall int64) (was string, err error) {
	b, err := s.Begin(ctx, wall)
	if err != nil {
		return "", err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	steps := func() error {
		if _, err := b.exec(`UPDATE meta SET value = ? WHERE key = 'store'`, hex.EncodeToString(id[:])); err != nil {
			return err
		}
		if _, err := b.exec(`INSERT INTO resume (gateway, number, made, sent, tries, done) SELECT id, 1, ?, 0, 0, 0 FROM gateway WHERE true
			ON CONFLICT (gateway) DO UPDATE SET number = resume.number + 1, made = excluded.made, sent = 0, tries = 0, done = 0`, wall); err != nil {
			return err
		}
		return b.Find(&Finding{Kind: Restored, First: wall, Note: s.id})
	}
	if err := steps(); err != nil {
		b.Rollback()
		return "", fmt.Errorf("restored: %w", err)
	}
	if err := b.Commit(); err != nil {
		return "", fmt.Errorf("restored: %w", err)
	}
	was, s.id = s.id, hex.EncodeToString(id[:])
	return was, nil
}

// MaxHave is how many epochs a Resume names, the newest: a gateway takes it in
// one packet of at most a megabyte. One that is not named is sent again, as far
// as the gateway still has it, and twice is once.
const MaxHave = 512

// A gateway that was told, and is heard, and still has what is not here is
// told again: after ResumePause, then after twice as long, and so on, at most
// MaxResumes times. What is missing then has names of its own. It is the same
// Resume, by its number: a gateway that went back once does not again. One that
// has nothing that is not here is told MinResumes times all the same, the last
// when it is there: it may believe nobody but the store that it was told of last.
const (
	ResumePause = 10 * time.Second
	MaxResumes  = 12
	MinResumes  = 2
)

// Resumes makes what gateways are to be told now, and takes note of those that
// went on: all that they told of is here.
func (b *Batch) Resumes(sign func(*wire.Resume) []byte) ([]Receipt, error) {
	type row struct {
		gateway                           string
		number, sent, tries, heard, stuck int64
	}
	due, err := rowsOf(b.ctx, b.tx, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.gateway, &r.number, &r.sent, &r.tries, &r.heard, &r.stuck)
	}, `SELECT r.gateway, r.number, r.sent, r.tries, g.heard, (SELECT count(*) FROM chain c WHERE c.gateway = r.gateway AND c.head > c.upto)
		FROM resume r JOIN gateway g ON g.id = r.gateway WHERE r.done = 0`)
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	var all []Receipt
	for _, r := range due {
		if r.sent > 0 && r.heard <= r.sent {
			continue // it is not there: it is told when it is heard
		}
		if r.sent > 0 && (r.stuck == 0 && r.tries >= MinResumes || r.tries >= MaxResumes) {
			if _, err := b.exec(`UPDATE resume SET done = ? WHERE gateway = ?`, b.wall, r.gateway); err != nil {
				return nil, fmt.Errorf("resume %s: %w", r.gateway, err)
			}
			continue
		}
		if r.sent > 0 && b.wall-r.sent < int64(ResumePause)<<(r.tries-1) {
			continue
		}
		have, err := b.have(r.gateway)
		if err != nil {
			return nil, fmt.Errorf("resume %s: %w", r.gateway, err)
		}
		g, err := b.Gateway(r.gateway)
		if err != nil {
			return nil, fmt.Errorf("resume %s: %w", r.gateway, err)
		}
		all = append(all, Receipt{Gateway: r.gateway, Signed: sign(&wire.Resume{
			Version: wire.Version, Gateway: r.gateway, Destination: g.Destination, Store: b.s.id, Number: uint64(r.number), Wall: b.wall, Have: have,
		})})
		if _, err := b.exec(`UPDATE resume SET sent = ?, tries = tries + 1 WHERE gateway = ?`, b.wall, r.gateway); err != nil {
			return nil, fmt.Errorf("resume %s: %w", r.gateway, err)
		}
	}
	return all, nil
}

// have lists what is here of a gateway, the newest epochs first.
func (b *Batch) have(gateway string) ([]wire.Have, error) {
	epochs, err := rowsOf(b.ctx, b.tx, func(scan func(...any) error) (e wire.Epoch, err error) {
		var epoch []byte
		err = scan(&epoch)
		shown(&e, epoch)
		return e, err
	}, `SELECT epoch FROM chain WHERE gateway = ? AND upto > 0 GROUP BY epoch ORDER BY max(id) DESC LIMIT ?`, gateway, MaxHave)
	if err != nil {
		return nil, err
	}
	var all []wire.Have
	for _, e := range epochs {
		upto, w, err := b.here(gateway, e)
		if err != nil {
			return nil, err
		}
		h := wire.Have{Epoch: e, Upto: upto}
		if w != nil {
			h.Witness = w.Note
		}
		all = append(all, h)
	}
	return all, nil
}

// here returns how far the streams of an epoch are here, each with its chain,
// and the largest checkpoint that was witnessed.
func (b *Batch) here(gateway string, epoch wire.Epoch) (upto []wire.Head, w *Witness, err error) {
	if w, err = b.current(gateway, epoch); err != nil {
		return nil, nil, err
	}
	streams, err := b.streams(gateway, epoch)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range streams {
		c, err := b.chain(gateway, epoch, s)
		if err != nil {
			return nil, nil, err
		}
		if c.upto > 0 && c.root != nil {
			upto = append(upto, wire.Head{Stream: s, Number: c.upto, Root: *c.root})
		}
	}
	return upto, w, nil
}

// Telling lists the gateways that were told where to go on and have not yet,
// each with how often they were told.
func (s *Store) Telling(ctx context.Context) (map[string]int64, error) {
	m := map[string]int64{}
	if !s.newer {
		return m, nil
	}
	_, err := rowsOf(ctx, s.db, func(scan func(...any) error) (struct{}, error) {
		var id string
		var n int64
		err := scan(&id, &n)
		m[id] = n
		return struct{}{}, err
	}, `SELECT gateway, tries FROM resume WHERE done = 0 AND tries > 0`)
	return m, err
}
