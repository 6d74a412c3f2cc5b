package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
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

// Batch is one transaction. It has one owner; after Commit or Rollback it is done.
type Batch struct {
	s       *Store
	ctx     context.Context
	tx      *sql.Tx
	stmts   map[string]*sql.Stmt
	touched map[epochName]bool
	order   []epochName
	seq     int64
	wall    int64
	// Drop, if set, is asked for every event before its row is stored; true
	// stores no row. Only the test fault of a lying receiver sets it.
	Drop func(number uint64, e *wire.Event) bool
}

type epochName struct {
	gateway string
	epoch   wire.Epoch
}

// Begin opens a batch whose rows are said to have arrived at wall.
func (s *Store) Begin(ctx context.Context, wall int64) (*Batch, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin batch: %w", err)
	}
	return &Batch{s: s, ctx: ctx, tx: tx, stmts: map[string]*sql.Stmt{}, touched: map[epochName]bool{}, seq: s.seq, wall: wall}, nil
}

// Commit makes the batch durable: chains, rows and signed bytes together.
func (b *Batch) Commit() error {
	for _, c := range b.s.chains {
		if !c.dirty {
			continue
		}
		if _, err := b.exec(`UPDATE chain SET upto = ?, root = ?, head = ? WHERE id = ?`, int64(c.upto), rootBytes(c.root), int64(c.head), c.id); err != nil {
			b.Rollback()
			return fmt.Errorf("commit: %w", err)
		}
	}
	if err := b.tx.Commit(); err != nil {
		b.Rollback()
		return fmt.Errorf("commit: %w", err)
	}
	for _, c := range b.s.chains {
		c.dirty = false
	}
	if len(b.s.chains) > MaxChains {
		clear(b.s.chains)
	}
	b.s.seq = b.seq
	return nil
}

// Rollback forgets the batch.
func (b *Batch) Rollback() {
	_ = b.tx.Rollback()
	clear(b.s.chains) // read again when needed
}

func (b *Batch) stmt(query string) (*sql.Stmt, error) {
	st := b.stmts[query]
	if st == nil {
		var err error
		if st, err = b.tx.PrepareContext(b.ctx, query); err != nil {
			return nil, err
		}
		b.stmts[query] = st
	}
	return st, nil
}

func (b *Batch) exec(query string, args ...any) (sql.Result, error) {
	st, err := b.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(b.ctx, args...)
}

// row runs a query for one row; found is false for none.
func (b *Batch) row(dst []any, query string, args ...any) (found bool, err error) {
	st, err := b.stmt(query)
	if err != nil {
		return false, err
	}
	err = st.QueryRowContext(b.ctx, args...).Scan(dst...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Gateway returns an enrolled gateway, ErrNotEnrolled for another.
func (b *Batch) Gateway(id string) (Gateway, error) { return gateway(b.ctx, b.tx, id) }

// Pin keeps the key that was found to have the enrolled fingerprint.
func (b *Batch) Pin(id string, key []byte) error {
	_, err := b.exec(`UPDATE gateway SET key = ? WHERE id = ?`, key, id)
	return err
}

// Stranger counts a message that is not a valid one of an enrolled gateway,
// and keeps its bytes while there is room for such.
func (b *Batch) Stranger(gateway, topic, verdict string, raw []byte) error {
	var kept int64
	if _, err := b.row([]any{&kept}, `SELECT coalesce(sum(bytes), 0) FROM verdict`); err != nil {
		return err
	}
	size := int64(0)
	if kept+int64(len(raw)) <= StrangerBytes {
		id, fresh, err := b.raw(topic, verdict, raw)
		if err != nil {
			return err
		}
		if fresh && id > 0 {
			size = int64(len(raw))
		}
	}
	if len(gateway) > 64 {
		gateway = gateway[:64]
	}
	var n int
	if _, err := b.row([]any{&n}, `SELECT count(*) FROM verdict`); err != nil {
		return err
	}
	if n >= MaxGateways { // names are made up as easily as bytes
		gateway = ""
	}
	_, err := b.exec(`INSERT INTO verdict VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes`, gateway, verdict, size)
	return err
}

// raw keeps bytes once.
func (b *Batch) raw(topic, verdict string, bytes []byte) (id int64, fresh bool, err error) {
	sum := sha256.Sum256(bytes)
	found, err := b.row([]any{&id}, `SELECT id FROM raw WHERE sha = ?`, sum[:])
	if err != nil || found {
		return id, false, err
	}
	r, err := b.exec(`INSERT INTO raw (wall, topic, verdict, sha, bytes) VALUES (?, ?, ?, ?, ?)`, b.wall, topic, verdict, sum[:], solid(bytes))
	if err != nil {
		return 0, false, err
	}
	id, err = r.LastInsertId()
	return id, true, err
}

// Envelope stores what an enrolled gateway's verified envelope says. An error
// is one of the database; nothing in the envelope can be one.
func (b *Batch) Envelope(topic string, signed []byte, e *wire.Envelope) error {
	var rawID int64
	keep := func() (int64, error) { // the signed bytes are kept once something in them is new
		if rawID != 0 {
			return rawID, nil
		}
		id, _, err := b.raw(topic, "ok", signed)
		rawID = id
		return id, err
	}
	b.touch(e.Gateway, e.Epoch)
	before := b.seq
	for i := range e.Blocks {
		if err := b.block(e, &e.Blocks[i], keep); err != nil {
			return err
		}
	}
	if b.seq > before { // a message that is sent again, or replayed, says nothing of now
		_, err := b.exec(`UPDATE gateway SET heard = ?, armed = ?, clock_trusted = ? WHERE id = ?`, b.wall, e.OutputsArmed, e.ClockTrusted, e.Gateway)
		if err != nil {
			return err
		}
	}
	for i := range e.Heads {
		if err := b.head(e, &e.Heads[i], keep); err != nil {
			return err
		}
	}
	return nil
}

func (b *Batch) touch(gateway string, epoch wire.Epoch) {
	n := epochName{gateway, epoch}
	if !b.touched[n] {
		b.touched[n] = true
		b.order = append(b.order, n)
	}
}

// head takes in how far the gateway says that a stream is.
func (b *Batch) head(e *wire.Envelope, h *wire.Head, keep func() (int64, error)) error {
	if h.Number > MaxNumber || h.Number == 0 || !known(h.Stream) {
		return nil
	}
	c, err := b.chain(e.Gateway, e.Epoch, h.Stream)
	if err != nil {
		return err
	}
	if h.Number > c.head {
		c.head, c.dirty = h.Number, true
	}
	if h.Number == c.upto && c.root != nil && h.Root != *c.root {
		id, err := keep()
		if err != nil {
			return err
		}
		return b.fork(c, h.Number, h.Number, "head", id, 0, h.Root[:])
	}
	return nil
}

func known(stream string) bool {
	return stream == wire.EventStream || stream == wire.ReadingStream || stream == wire.HealthStream
}

func (b *Batch) block(e *wire.Envelope, k *wire.Block, keep func() (int64, error)) error {
	if len(k.Stream) > MaxStream { // no name to refuse it under
		_, err := keep()
		return err
	}
	c, err := b.chain(e.Gateway, e.Epoch, k.Stream)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(k.Body)
	var id int64
	found, err := b.row([]any{&id}, `SELECT id FROM block WHERE chain = ? AND first = ? AND count = ? AND sha = ? AND root_before = ?`,
		c.id, int64(k.First), k.Count, sum[:], k.RootBefore[:])
	if err != nil || found {
		return err // twice is once
	}
	raw, err := keep()
	if err != nil {
		return err
	}
	if k.First > MaxNumber || k.Last() > MaxNumber {
		return b.refuse(c, MaxNumber+1, MaxNumber+1, RefusedNumber, raw)
	}
	events, readings, code := decode(k)
	state := "ok"
	if code != "" {
		state = "refused"
	}
	var otherRaw int64
	overlap, err := b.row([]any{&otherRaw}, `SELECT raw FROM (SELECT raw, first + count - 1 AS last FROM block WHERE chain = ? AND first <= ?
		ORDER BY first DESC LIMIT 8) WHERE last >= ? LIMIT 1`, c.id, int64(k.Last()), int64(k.First))
	if err != nil {
		return err
	}
	if overlap {
		state = "fork"
		if err := b.fork(c, k.First, k.Last(), "content", raw, otherRaw, sum[:]); err != nil {
			return err
		}
	}
	after := k.RootAfter()
	_, err = b.exec(`INSERT INTO block (chain, first, count, seq, wall, raw, sha, root_before, root_after, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.id, int64(k.First), k.Count, b.seq+1, b.wall, raw, sum[:], k.RootBefore[:], after[:], state)
	if err != nil {
		return err
	}
	b.seq += int64(k.Count)
	if k.Last() > c.head {
		c.head, c.dirty = k.Last(), true
	}
	if code != "" {
		if err := b.refuse(c, k.First, k.Last(), code, raw); err != nil {
			return err
		}
	}
	for i := range events {
		if err := b.event(e, c, k.First+uint64(i), &events[i], raw); err != nil {
			return err
		}
	}
	for i := range readings {
		if err := b.reading(c, k.First+uint64(i), &readings[i]); err != nil {
			return err
		}
	}
	return b.advance(c)
}

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

// start enters an epoch and holds what it says of its parent against what
// was committed here: a parent declared shorter than that is a loss, another
// root at the same number a fork, and so are two children of one parent and a
// later epoch that names none.
func (b *Batch) start(env *wire.Envelope, c *chain, e *wire.Event, raw int64) error {
	s := e.Start
	_, err := b.exec(`INSERT OR IGNORE INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, env.Gateway, env.Epoch[:], solid(s.Parent), e.At.Wall,
		s.Version, s.Boot, s.Unwatched, s.Clean, int64(s.MayHaveLost), solid(s.Plan))
	if err != nil {
		return err
	}
	var sibling []byte
	if len(s.Parent) != len(wire.Epoch{}) {
		known, err := b.row([]any{&sibling}, `SELECT epoch FROM epoch WHERE gateway = ? AND epoch <> ?`, env.Gateway, env.Epoch[:])
		if err == nil && known {
			err = b.fork(c, 1, 1, "orphan", raw, 0, nil)
		}
		return err
	}
	found, err := b.row([]any{&sibling}, `SELECT epoch FROM epoch WHERE gateway = ? AND parent = ? AND epoch <> ?`, env.Gateway, s.Parent, env.Epoch[:])
	if err == nil && found {
		err = b.fork(c, 1, 1, "parent", raw, 0, sibling)
	}
	if err != nil {
		return err
	}
	declared := map[string]wire.Head{}
	for _, h := range s.ParentHeads {
		declared[h.Stream] = h
	}
	parent := wire.Epoch(s.Parent)
	streams, err := b.streams(env.Gateway, parent)
	if err != nil {
		return err
	}
	for _, h := range s.ParentHeads {
		if h.Number == 0 || h.Number > MaxNumber || !known(h.Stream) {
			continue
		}
		p, err := b.chain(env.Gateway, parent, h.Stream)
		if err != nil {
			return err
		}
		if h.Number > p.head {
			p.head, p.dirty = h.Number, true
		}
		if h.Number == p.upto && p.root != nil && h.Root != (wire.Root{}) && h.Root != *p.root {
			if err := b.fork(p, h.Number, h.Number, "parent-head", raw, 0, h.Root[:]); err != nil {
				return err
			}
		}
	}
	for _, stream := range streams {
		p, err := b.chain(env.Gateway, parent, stream)
		if err != nil {
			return err
		}
		if h := declared[stream]; h.Number < p.upto {
			if _, err := b.exec(`INSERT OR IGNORE INTO loss VALUES (?, ?, ?, ?, ?, ?, ?)`,
				env.Gateway, env.Epoch[:], s.Parent, stream, int64(p.upto), int64(h.Number), b.wall); err != nil {
				return err
			}
		}
	}
	return nil
}

// streams lists the streams known of an epoch.
func (b *Batch) streams(gateway string, epoch wire.Epoch) ([]string, error) {
	return rowsOf(b.ctx, b.tx, func(scan func(...any) error) (s string, err error) { return s, scan(&s) },
		`SELECT stream FROM chain WHERE gateway = ? AND epoch = ? ORDER BY stream`, gateway, epoch[:])
}

// gap enters what the gateway says that it gave up, and lets the chain that
// it explains go on.
func (b *Batch) gap(env *wire.Envelope, c *chain, number uint64, g *wire.Gap) error {
	target := c
	if g.From > 0 && g.From <= g.To && g.To <= MaxNumber && known(g.Stream) {
		epoch := env.Epoch
		if len(g.Epoch) == len(epoch) {
			epoch = wire.Epoch(g.Epoch)
		}
		var err error
		if target, err = b.chain(env.Gateway, epoch, g.Stream); err != nil {
			return err
		}
		b.touch(env.Gateway, epoch)
		if g.To > target.head {
			target.head, target.dirty = g.To, true
		}
	} else {
		g.From, g.To = 0, 0 // records that never had numbers
	}
	_, err := b.exec(`INSERT OR IGNORE INTO gap (chain, number, target, stream, first, last, count, wall_from, wall_to, cause, root_after)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, int64(number), target.id, g.Stream, int64(g.From), int64(g.To), int64(min(g.Count, MaxNumber)),
		g.WallFrom, g.WallTo, g.Cause, solid(g.RootAfter))
	if err != nil || g.From == 0 {
		return err
	}
	return b.advance(target)
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

// SetFlag sets a flag of the store with the batch.
func (b *Batch) SetFlag(name string) error {
	_, err := b.exec(`INSERT OR IGNORE INTO meta VALUES (?, '1')`, name)
	return err
}
