package store

import (
	"fmt"

	"davy/agent/wire"
)

type chainName struct {
	epochName
	stream string
}

// chain is one (gateway, epoch, stream): every number up to upto is here,
// refused, or explained by a gap record; root is the chain there, nil where a
// gap record did not say it and the next block has not come.
type chain struct {
	id     int64
	stream string
	upto   uint64
	root   *wire.Root
	head   uint64 // the largest number that the gateway ever told of
	moved  int64  // wall when upto moved, or when head went ahead of it
	dirty  bool
}

func rootBytes(r *wire.Root) any {
	if r == nil {
		return nil
	}
	return r[:]
}

func rootOf(b []byte) *wire.Root {
	if len(b) != len(wire.Root{}) {
		return nil
	}
	r := wire.Root(b)
	return &r
}

// chain returns the chain of a name, made if there is none.
func (b *Batch) chain(gateway string, epoch wire.Epoch, stream string) (*chain, error) {
	name := chainName{epochName{gateway, epoch}, stream}
	if c := b.s.chains[name]; c != nil {
		return c, nil
	}
	c := &chain{stream: stream, root: &wire.Root{}}
	var root []byte
	var upto, head int64
	found, err := b.row([]any{&c.id, &upto, &root, &head, &c.moved}, `SELECT id, upto, root, head, moved FROM chain WHERE gateway = ? AND epoch = ? AND stream = ?`, gateway, epoch[:], stream)
	switch {
	case err != nil:
		return nil, err
	case found:
		c.upto, c.head, c.root = uint64(upto), uint64(head), rootOf(root)
	default:
		r, err := b.exec(`INSERT INTO chain (gateway, epoch, stream, upto, root, head) VALUES (?, ?, ?, 0, ?, 0)`, gateway, epoch[:], stream, c.root[:])
		if err != nil {
			return nil, err
		}
		if c.id, err = r.LastInsertId(); err != nil {
			return nil, err
		}
	}
	b.s.chains[name] = c
	return c, nil
}

// tell takes in that the gateway has records up to a number.
func (c *chain) tell(number uint64, wall int64) {
	if number <= c.head {
		return
	}
	if c.head <= c.upto && number > c.upto { // from here on something is waited for
		c.moved = wall
	}
	c.head, c.dirty = number, true
}

// reach says that all up to a number is here, refused or explained.
func (c *chain) reach(number uint64, root *wire.Root, wall int64) {
	c.upto, c.root, c.moved, c.dirty = number, root, wall, true
}

// advance moves upto over blocks and gap records as far as they reach. A block
// that does not begin where the chain stands is a fork of what came before it;
// the chain goes on with what the gateway signed, so that nothing that follows
// is held up, and the fork stays on record.
func (b *Batch) advance(c *chain) error {
	for {
		next := int64(c.upto + 1)
		var first, count, raw int64
		var before, after []byte
		found, err := b.row([]any{&first, &count, &before, &after, &raw}, `SELECT first, count, root_before, root_after, raw FROM block
			WHERE chain = ? AND first = ? ORDER BY id LIMIT 1`, c.id, next)
		if err != nil {
			return err
		}
		if found {
			if c.root != nil && wire.Root(before) != *c.root {
				if err := b.fork(c, uint64(first), uint64(first+count-1), "chain", raw, 0, before); err != nil {
					return err
				}
			}
			c.reach(uint64(first+count-1), rootOf(after), b.wall)
			continue
		}
		// A block that begins earlier reaches beyond: after a gap record, or of a fork.
		found, err = b.row([]any{&first, &count, &after}, `SELECT first, count, root_after FROM (SELECT id, first, count, root_after FROM block
			WHERE chain = ? AND first < ? ORDER BY first DESC LIMIT 8) WHERE first + count > ? ORDER BY id LIMIT 1`, c.id, next, next)
		if err != nil {
			return err
		}
		if found {
			c.reach(uint64(first+count-1), rootOf(after), b.wall)
			continue
		}
		var last int64
		found, err = b.row([]any{&last, &after}, `SELECT last, root_after FROM gap WHERE target = ? AND first > 0 AND first <= ? AND last >= ?
			ORDER BY last DESC LIMIT 1`, c.id, next, next)
		if err != nil || !found {
			return err
		}
		c.reach(uint64(last), rootOf(after), b.wall)
	}
}

// MaxRefused is how many refused ranges a receipt names: the newest.
const MaxRefused = 64

// Receipts makes one receipt for every epoch that the batch touched, of what
// Commit will have made durable. sign turns it into what is published. They
// may be sent after Commit has returned, not before.
func (b *Batch) Receipts(sign func(*wire.Receipt) []byte) ([]Receipt, error) {
	var all []Receipt
	for _, n := range b.order {
		g, err := b.Gateway(n.gateway)
		if err != nil {
			return nil, fmt.Errorf("receipt %s: %w", n.gateway, err)
		}
		r := &wire.Receipt{Version: wire.Version, Gateway: n.gateway, Destination: g.Destination, Store: b.s.id, Epoch: n.epoch, Wall: b.wall, Log: b.logs[n]}
		var w *Witness
		if r.Upto, w, err = b.here(n.gateway, n.epoch); err != nil {
			return nil, fmt.Errorf("receipt %s: %w", n.gateway, err)
		}
		if w != nil {
			r.Witness = w.Note
		}
		r.Refused, err = rowsOf(b.ctx, b.tx, func(scan func(...any) error) (f wire.Refused, err error) {
			var from, to int64
			err = scan(&f.Stream, &from, &to, &f.Code)
			f.From, f.To = uint64(from), uint64(to)
			return f, err
		}, `SELECT c.stream, r.first, r.last, r.code FROM refused r JOIN chain c ON c.id = r.chain WHERE c.gateway = ? AND c.epoch = ?
			ORDER BY r.raw DESC LIMIT ?`, n.gateway, n.epoch[:], MaxRefused)
		if err != nil {
			return nil, err
		}
		if len(r.Upto) == 0 && r.Witness == nil && r.Log == "" {
			continue
		}
		signed := sign(r)
		if _, err := b.exec(`INSERT INTO receipt VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET n = n + 1, wall = excluded.wall, bytes = excluded.bytes`,
			n.gateway, n.epoch[:], b.wall, signed); err != nil {
			return nil, err
		}
		all = append(all, Receipt{Gateway: n.gateway, Signed: signed})
	}
	return all, nil
}

// Receipt is one that is ready to be published.
type Receipt struct {
	Gateway string
	Signed  []byte
}
