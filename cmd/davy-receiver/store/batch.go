package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"davy/agent/wire"
)

// Batch is one transaction. It has one owner; after Commit or Rollback it is done.
type Batch struct {
	s       *Store
	ctx     context.Context
	tx      *sql.Tx
	stmts   map[string]*sql.Stmt
	touched map[epochName]bool
	order   []epochName
	logs    map[epochName]string // why a checkpoint was not witnessed
	seq     int64
	wall    int64
	// Cosigner signs checkpoints, for Witness, Receipts and Resumes.
	Cosigner Cosigner
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
	return &Batch{s: s, ctx: ctx, tx: tx, stmts: map[string]*sql.Stmt{}, touched: map[epochName]bool{}, logs: map[epochName]string{}, seq: s.seq, wall: wall}, nil
}

// Wall is when the batch's rows are said to have arrived, ns.
func (b *Batch) Wall() int64 { return b.wall }

// Commit makes the batch durable: chains, rows and signed bytes together.
func (b *Batch) Commit() error {
	for _, c := range b.s.chains {
		if !c.dirty {
			continue
		}
		if _, err := b.exec(`UPDATE chain SET upto = ?, root = ?, head = ?, moved = ? WHERE id = ?`, int64(c.upto), rootBytes(c.root), int64(c.head), c.moved, c.id); err != nil {
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
	clear(b.s.heard)
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
	if err := b.hear(e, b.seq > before); err != nil {
		return err
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
	c.tell(h.Number, b.wall)
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
	_, err = b.exec(`INSERT INTO block (chain, first, count, seq, wall, raw, sha, root_before, root_after, state, leaf)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.id, int64(k.First), k.Count, b.seq+1, b.wall, raw, sum[:], k.RootBefore[:], after[:], state, int64(min(k.Leaf, MaxNumber)))
	if err != nil {
		return err
	}
	b.seq += int64(k.Count)
	c.tell(k.Last(), b.wall)
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

// SetFlag sets a flag of the store with the batch.
func (b *Batch) SetFlag(name string) error {
	_, err := b.exec(`INSERT OR IGNORE INTO meta VALUES (?, '1')`, name)
	return err
}
