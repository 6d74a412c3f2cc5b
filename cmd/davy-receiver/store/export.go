package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// Digest is the hash of everything stored by name of a gateway, as the
// journal's own export computes it: wire.Digest over all rows.
func (s *Store) Digest(ctx context.Context, gateway string) (*wire.Digest, error) {
	d := &wire.Digest{}
	err := s.Export(ctx, gateway, func(epoch wire.Epoch, stream string, number uint64, canonical []byte) error {
		return d.Add(epoch, stream, number, canonical)
	})
	return d, err
}

// Export calls f for every record stored of a gateway, sorted by epoch (its
// bytes), stream and number. canonical is good until f returns.
func (s *Store) Export(ctx context.Context, gateway string, f func(epoch wire.Epoch, stream string, number uint64, canonical []byte) error) error {
	type name struct {
		id     int64
		epoch  wire.Epoch
		stream string
	}
	chains, err := rowsOf(ctx, s.db, func(scan func(...any) error) (n name, err error) {
		var epoch []byte
		if err = scan(&n.id, &epoch, &n.stream); err == nil {
			n.epoch, err = epochOf(hex.EncodeToString(epoch))
		}
		return n, err
	}, `SELECT id, epoch, stream FROM chain WHERE gateway = ? ORDER BY epoch, stream`, gateway)
	if err != nil {
		return fmt.Errorf("export %s: %w", gateway, err)
	}
	var buf []byte
	for _, c := range chains {
		each := func(scan func(...any) error) (struct{}, error) {
			var number int64
			var err error
			if c.stream == wire.ReadingStream {
				if number, buf, err = scanReading(scan, buf[:0]); err != nil {
					return struct{}{}, err
				}
			} else if err = scan(&number, &buf); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, f(c.epoch, c.stream, uint64(number), buf)
		}
		query := `SELECT number, body FROM event WHERE chain = ? ORDER BY number`
		if c.stream == wire.ReadingStream {
			query = `SELECT number, tag, quality, kind, bits, source, wall, mono FROM reading WHERE chain = ? ORDER BY number`
		}
		if _, err := rowsOf(ctx, s.db, each, query, c.id); err != nil {
			return fmt.Errorf("export %s: %w", gateway, err)
		}
	}
	return nil
}

// epochOf reads an epoch as it is shown.
func epochOf(s string) (e wire.Epoch, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(e) {
		return e, fmt.Errorf("epoch %q: not %d bytes", s, len(e))
	}
	return wire.Epoch(b), nil
}

// errNoValue says that a row holds what no value is.
var errNoValue = errors.New("no value")

func scanReading(scan func(...any) error, dst []byte) (int64, []byte, error) {
	var number, id, quality, kind, bits int64
	var r tag.Reading
	if err := scan(&number, &id, &quality, &kind, &bits, &r.Source, &r.Received.Wall, &r.Received.Mono); err != nil {
		return 0, dst, err
	}
	var ok bool
	if r.Value, ok = tag.FromBits(tag.Kind(kind), uint64(bits)); !ok {
		return number, dst, fmt.Errorf("reading %d: %w of kind %d has the bits %x", number, errNoValue, kind, uint64(bits))
	}
	r.Tag, r.Quality = tag.ID(id), tag.Quality(quality)
	return number, wire.AppendReading(dst, r), nil
}
