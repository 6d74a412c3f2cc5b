package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// What Verify says of the log of an epoch.
const (
	Whole        = "whole"         // every leaf up to the witnessed size is here, and together they have the witnessed root
	LeavesGone   = "leaves-gone"   // leaves are not here, so that the root cannot be made
	Differs      = "differs"       // all are here, and have another root than was witnessed
	BadNote      = "bad-note"      // the stored checkpoint is not signed by the key that signed the records
	NotWitnessed = "not-witnessed" // no checkpoint was witnessed
)

// Bounds of what Verify holds at once, and names.
const (
	MaxNamed   = 100 // stretches of leaves, and rows that are not what was signed; more are counted
	verifyPage = 32  // blocks at once
	leafPage   = 64  // leaves at once
)

// ErrOlder says that an older receiver made the database, and that it lacks
// what is asked for until a receiver of this version opens it for writing.
var ErrOlder = errors.New("database of an older receiver")

// Log is what is known of the log of one epoch.
type Log struct {
	Gateway   string    `json:"gateway"`
	Epoch     string    `json:"epoch"`
	State     string    `json:"state"`
	Leaves    uint64    `json:"leaves"`    // as far as leaves are here
	Witnessed uint64    `json:"witnessed"` // leaves of the largest checkpoint that was
	Wall      int64     `json:"wall"`      // then, ns
	Gone      uint64    `json:"gone"`      // leaves below Witnessed that are not here
	Which     []Numbers `json:"which"`     // at most MaxNamed stretches of them
	Blocks    uint64    `json:"blocks"`    // held against their signed bytes
	Altered   uint64    `json:"altered"`   // rows that are not what was signed
	Rows      []Altered `json:"rows"`      // at most MaxNamed of them
}

// Numbers is a stretch, both inclusive.
type Numbers struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Altered is a stretch of rows that are not what the gateway signed.
type Altered struct {
	Stream string `json:"stream"`
	Numbers
	What string `json:"what"` // "signed": there are no signed bytes that say this block; "row": a record is another or is not there
}

// Good reports whether nothing in the epoch can have been changed here since
// its checkpoint was witnessed.
func (l *Log) Good() bool { return l.State == Whole && l.Altered == 0 }

// Verify holds every row of a gateway's epochs against the signed bytes it was
// made from, and these against the logs that were witnessed. It reads all that
// is stored of the gateway.
func (s *Store) Verify(ctx context.Context, gateway string) ([]Log, error) {
	if !s.newer {
		return nil, ErrOlder
	}
	chains, err := s.Chains(ctx, gateway)
	if err != nil {
		return nil, err
	}
	byEpoch := map[string]*verify{}
	var order []*verify
	for i := range chains {
		c := &chains[i]
		v := byEpoch[c.Epoch]
		if v == nil {
			v = &verify{s: s, ctx: ctx, log: &Log{Gateway: gateway, Epoch: c.Epoch, Which: []Numbers{}, Rows: []Altered{}}}
			byEpoch[c.Epoch] = v
			order = append(order, v)
		}
		if err := v.rows(c); err != nil {
			return nil, fmt.Errorf("verify %s: %w", gateway, err)
		}
		v.chains = append(v.chains, c)
	}
	logs := []Log{}
	for _, v := range order {
		if err := v.leaves(); err != nil {
			return nil, fmt.Errorf("verify %s: %w", gateway, err)
		}
		logs = append(logs, *v.log)
	}
	return logs, nil
}

type verify struct {
	s      *Store
	ctx    context.Context
	log    *Log
	chains []*Chain
	key    []byte // that signed the messages of the epoch; the last one's
	// The message that was read last, by its row; nil if it is none of the epoch.
	raw     int64
	message *wire.Envelope
}

type blockRow struct {
	id, first, count, raw int64
	state                 string
	sha, before           []byte
}

// rows holds the blocks of a chain, and the records made from them, against
// the signed bytes.
func (v *verify) rows(c *Chain) error {
	var first, id int64
	for {
		page, err := rowsOf(v.ctx, v.s.db, func(scan func(...any) error) (r blockRow, err error) {
			return r, scan(&r.id, &r.first, &r.count, &r.raw, &r.state, &r.sha, &r.before)
		}, `SELECT id, first, count, raw, state, sha, root_before FROM block WHERE chain = ? AND (first, id) > (?, ?) ORDER BY first, id LIMIT ?`, c.id, first, id, verifyPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := v.block(c, &page[i]); err != nil {
				return err
			}
		}
		first, id = page[len(page)-1].first, page[len(page)-1].id
	}
}

func (v *verify) block(c *Chain, r *blockRow) error {
	v.log.Blocks++
	k, err := v.signed(c, r)
	if err != nil {
		return err
	}
	if k == nil {
		v.altered(c, uint64(r.first), uint64(r.first+r.count-1), "signed")
		return nil
	}
	if r.state != "ok" {
		return nil // its records have no rows
	}
	want := map[uint64][]byte{}
	events, readings, code := decode(k)
	if code != "" {
		v.altered(c, k.First, k.Last(), "row")
		return nil
	}
	for i := range events {
		want[k.First+uint64(i)] = events[i].Append(nil)
	}
	for i := range readings {
		want[k.First+uint64(i)] = wire.AppendReading(nil, readings[i])
	}
	query := `SELECT number, body FROM event WHERE chain = ? AND number BETWEEN ? AND ?`
	if c.Stream == wire.ReadingStream {
		query = `SELECT number, tag, quality, kind, bits, source, wall, mono FROM reading WHERE chain = ? AND number BETWEEN ? AND ?`
	}
	_, err = rowsOf(v.ctx, v.s.db, func(scan func(...any) error) (struct{}, error) {
		var number int64
		var b []byte
		var err error
		if c.Stream == wire.ReadingStream {
			number, b, err = scanReading(scan, nil)
			if errors.Is(err, errNoValue) {
				err = nil // it stays in want
			}
		} else {
			err = scan(&number, &b)
		}
		if err == nil && bytes.Equal(want[uint64(number)], b) {
			delete(want, uint64(number))
		}
		return struct{}{}, err
	}, query, c.id, int64(k.First), int64(k.Last()))
	for n := k.First; n <= k.Last() && len(want) > 0; n++ {
		if _, bad := want[n]; bad {
			v.altered(c, n, n, "row")
		}
	}
	return err
}

// signed returns the block as the gateway signed it, nil if it did not.
func (v *verify) signed(c *Chain, r *blockRow) (*wire.Block, error) {
	if r.raw != v.raw {
		all, err := rowsOf(v.ctx, v.s.db, func(scan func(...any) error) (b []byte, err error) { return b, scan(&b) }, `SELECT bytes FROM raw WHERE id = ?`, r.raw)
		if err != nil {
			return nil, err
		}
		v.raw, v.message = r.raw, nil
		if len(all) > 0 {
			v.message = v.read(c, all[0])
		}
	}
	if v.message == nil {
		return nil, nil
	}
	for i := range v.message.Blocks {
		k := &v.message.Blocks[i]
		if k.Stream != c.Stream || k.First != uint64(r.first) || int64(k.Count) != r.count || !bytes.Equal(k.RootBefore[:], r.before) {
			continue
		}
		if sum := sha256.Sum256(k.Body); bytes.Equal(sum[:], r.sha) {
			return k, nil
		}
	}
	return nil, nil
}

// read returns a message of the epoch, nil if it is none: one key signs all of it.
func (v *verify) read(c *Chain, signed []byte) *wire.Envelope {
	s, err := wire.DecodeSigned(signed)
	if err != nil || !s.Verify(wire.EnvelopeKind) || v.key != nil && !bytes.Equal(v.key, s.Key) {
		return nil
	}
	e, err := wire.DecodeEnvelope(s.Body)
	if err != nil || e.Gateway != c.Gateway || hex.EncodeToString(e.Epoch[:]) != c.Epoch {
		return nil
	}
	v.key = s.Key
	return e
}

func (v *verify) altered(c *Chain, from, to uint64, what string) {
	v.log.Altered += to - from + 1
	if n := len(v.log.Rows); n > 0 {
		if l := &v.log.Rows[n-1]; l.Stream == c.Stream && l.What == what && l.To+1 == from {
			l.To = to
			return
		}
	}
	if len(v.log.Rows) < MaxNamed {
		v.log.Rows = append(v.log.Rows, Altered{c.Stream, Numbers{from, to}, what})
	}
}

type leafRow struct {
	leaf, first, count int64
	stream             string
	sha, before        []byte
}

// leaves makes the log again up to the witnessed size.
func (v *verify) leaves() error {
	l, c := v.log, v.chains[0]
	epoch, err := epochOf(c.Epoch)
	if err != nil {
		return err
	}
	var last int64
	if err := v.s.db.QueryRowContext(v.ctx, `SELECT coalesce(max(b.leaf) + 1, 0) FROM block b JOIN chain c ON c.id = b.chain WHERE c.gateway = ? AND c.epoch = ?`,
		c.Gateway, epoch[:]).Scan(&last); err != nil {
		return err
	}
	l.Leaves = uint64(last)
	all, err := rowsOf(v.ctx, v.s.db, scanWitness, `SELECT `+witnessColumns+` FROM witness WHERE gateway = ? AND epoch = ? ORDER BY size DESC LIMIT 1`, c.Gateway, epoch[:])
	if err != nil {
		return err
	}
	if len(all) == 0 {
		l.State = NotWitnessed
		return nil
	}
	w := &all[0]
	l.Witnessed, l.Wall = w.Size, w.Wall
	note, err := evidence.ReadCheckpoint(w.Note)
	if err != nil || note.Gateway != c.Gateway || note.Epoch != epoch || note.Size != w.Size || note.Root != w.Root || v.key != nil && !bytes.Equal(note.Key, v.key) {
		l.State = BadNote
		return nil
	}
	root, err := v.root(c.Gateway, epoch, w.Size)
	switch {
	case err != nil:
		return err
	case l.Gone > 0:
		l.State = LeavesGone
	case root != w.Root:
		l.State = Differs
	default:
		l.State = Whole
	}
	return nil
}

// root makes the root of the first size leaves, or says which are not here.
func (v *verify) root(gateway string, epoch wire.Epoch, size uint64) (root merkle.Hash, err error) {
	tree, stored := merkle.Tree{}, map[int64]merkle.Hash{}
	at := func(place int64) (merkle.Hash, error) { return stored[place], nil }
	next := int64(0)
	for next < int64(size) {
		page, err := rowsOf(v.ctx, v.s.db, func(scan func(...any) error) (r leafRow, err error) {
			return r, scan(&r.leaf, &r.first, &r.count, &r.stream, &r.sha, &r.before)
		}, `SELECT b.leaf, b.first, b.count, c.stream, b.sha, b.root_before FROM block b JOIN chain c ON c.id = b.chain
			WHERE c.gateway = ? AND c.epoch = ? AND b.leaf >= ? AND b.leaf < ? ORDER BY b.leaf, b.id LIMIT ?`,
			gateway, epoch[:], next, min(next+leafPage, int64(size)), 2*leafPage)
		if err != nil {
			return root, err
		}
		if len(page) == 0 { // on to the next that is here
			from := next
			if err := v.s.db.QueryRowContext(v.ctx, `SELECT coalesce(min(b.leaf), ?) FROM block b JOIN chain c ON c.id = b.chain WHERE c.gateway = ? AND c.epoch = ? AND b.leaf >= ?`,
				int64(size), gateway, epoch[:], next).Scan(&next); err != nil {
				return root, err
			}
			next = min(next, int64(size))
			v.gone(uint64(from), uint64(next-1))
			continue
		}
		for _, r := range page {
			if r.leaf < next {
				continue // claimed twice: of a fork the first content stands
			}
			if r.leaf > next {
				v.gone(uint64(next), uint64(r.leaf-1))
			}
			next = r.leaf + 1
			if v.log.Gone > 0 {
				continue // there is no root to be made
			}
			var sum [32]byte
			var before wire.Root
			copy(sum[:], r.sha)
			copy(before[:], r.before)
			more, err := tree.Add(r.leaf, tree.Leaf(wire.LeafData(before, r.stream, uint64(r.first), uint32(r.count), sum)), at)
			if err != nil {
				return root, err
			}
			for n, h := range more { // of subtrees that are complete only the largest is needed
				stored[merkle.Stored(r.leaf)+int64(n)] = h
			}
			for level := range len(more) - 1 {
				delete(stored, merkle.Place(level, r.leaf>>level))
				delete(stored, merkle.Place(level, r.leaf>>level-1))
			}
		}
	}
	if v.log.Gone > 0 {
		return root, nil
	}
	return tree.Root(int64(size), at)
}

func (v *verify) gone(from, to uint64) {
	v.log.Gone += to - from + 1
	if n := len(v.log.Which); n > 0 && v.log.Which[n-1].To+1 == from {
		v.log.Which[n-1].To = to
		return
	}
	if len(v.log.Which) < MaxNamed {
		v.log.Which = append(v.log.Which, Numbers{from, to})
	}
}
