package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"davy/agent/wire"
)

// Arrival is one record as it came.
type Arrival struct {
	Seq    int64  `json:"seq"`  // receive number, growing over all gateways
	Wall   int64  `json:"wall"` // of this receiver, ns
	Epoch  string `json:"epoch"`
	Stream string `json:"stream"`
	Number uint64 `json:"number"`
	Kind   uint32 `json:"kind,omitempty"` // of an event
}

// Pause is a time in which nothing new of a gateway arrived.
type Pause struct {
	From    int64             `json:"from"` // wall of the last arrival before, ns
	To      int64             `json:"to"`
	Seconds float64           `json:"seconds"`
	First   Arrival           `json:"first"`   // the first record after it
	Backlog map[string]uint64 `json:"backlog"` // by stream, what the first message after it said was still to come (itself included), of its epoch
}

const arrivalColumns = `b.seq, b.wall, c.epoch, c.stream, b.first, coalesce((SELECT kind FROM event e WHERE e.chain = b.chain AND e.number = b.first), 0)`

func scanArrival(scan func(...any) error, more ...any) (a Arrival, err error) {
	var epoch []byte
	err = scan(append([]any{&a.Seq, &a.Wall, &epoch, &a.Stream, &a.Number, &a.Kind}, more...)...)
	a.Epoch = hex.EncodeToString(epoch)
	return a, err
}

// FirstAfter returns the first record of a gateway that arrived after an
// instant, nil if none did.
func (s *Store) FirstAfter(ctx context.Context, gateway string, wall int64) (*Arrival, error) {
	a, err := scanArrival(s.db.QueryRowContext(ctx, `SELECT `+arrivalColumns+` FROM block b JOIN chain c ON c.id = b.chain
		WHERE c.gateway = ? AND b.wall > ? ORDER BY b.id LIMIT 1`, gateway, wall).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &a, err
}

// Pauses lists the pauses of a gateway that were at least atLeast long.
func (s *Store) Pauses(ctx context.Context, gateway string, atLeast time.Duration) ([]Pause, error) {
	type row struct {
		Pause
		id, raw int64
		body    []byte
	}
	rows, err := rowsOf(ctx, s.db, func(scan func(...any) error) (r row, err error) {
		r.First, err = scanArrival(scan, &r.From, &r.id, &r.raw, &r.body)
		return r, err
	}, `SELECT `+arrivalColumns+`, b.before, b.id, b.raw, raw.bytes FROM (SELECT b.*, lag(b.wall) OVER (ORDER BY b.id) AS before
		FROM block b JOIN chain c ON c.id = b.chain WHERE c.gateway = ?) b JOIN chain c ON c.id = b.chain JOIN raw ON raw.id = b.raw
		WHERE b.before IS NOT NULL AND b.wall - b.before >= ? ORDER BY b.id`, gateway, int64(atLeast))
	if err != nil {
		return nil, fmt.Errorf("pauses: %w", err)
	}
	all := []Pause{}
	for _, r := range rows {
		r.To = r.First.Wall
		r.Seconds = time.Duration(r.To - r.From).Seconds()
		if r.Backlog, err = s.backlog(ctx, r.id, r.body); err != nil {
			return nil, fmt.Errorf("pauses: %w", err)
		}
		all = append(all, r.Pause)
	}
	return all, nil
}

// backlog holds the heads of a message against what had come before a block.
func (s *Store) backlog(ctx context.Context, block int64, signed []byte) (map[string]uint64, error) {
	m := map[string]uint64{}
	sg, err := wire.DecodeSigned(signed)
	if err != nil {
		return m, nil // cannot be: it was decoded when it came
	}
	e, err := wire.DecodeEnvelope(sg.Body)
	if err != nil {
		return m, nil
	}
	for _, h := range e.Heads {
		var before int64
		err := s.db.QueryRowContext(ctx, `SELECT coalesce(max(b.first + b.count - 1), 0) FROM block b JOIN chain c ON c.id = b.chain
			WHERE c.gateway = ? AND c.epoch = ? AND c.stream = ? AND b.id < ?`, e.Gateway, e.Epoch[:], h.Stream, block).Scan(&before)
		if err != nil {
			return nil, err
		}
		if h.Number > uint64(before) {
			m[h.Stream] = h.Number - uint64(before)
		}
	}
	return m, nil
}
