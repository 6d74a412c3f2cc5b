package store

import (
	"davy/agent/evidence"
	"davy/agent/wire"
)

// start enters an epoch and holds what it says of its parent against what
// was committed here: a parent declared shorter than that is a loss, another
// root at the same number a fork, and so are two children of one parent and a
// later epoch that names none.
func (b *Batch) start(env *wire.Envelope, c *chain, e *wire.Event, raw int64) error {
	s := e.Start
	named := len(s.Parent) == len(wire.Epoch{})
	this := &begun{epoch: env.Epoch, wall: e.At.Wall, seq: b.seq, boot: s.Boot}
	if named {
		this.parent = wire.Epoch(s.Parent)
	}
	h, err := b.heardOf(env.Gateway)
	if err != nil {
		return err
	}
	before := h.newest
	late, err := b.late(env, this, before)
	if err != nil {
		return err
	}
	if late {
		this.seq = 0
	} else {
		h.newest = this
	}
	if _, err := b.exec(`INSERT INTO epoch (gateway, epoch, parent, wall, version, boot, unwatched, clean, may_have_lost, plan, seq)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (gateway, epoch) DO NOTHING`, env.Gateway, env.Epoch[:], solid(s.Parent), e.At.Wall,
		s.Version, s.Boot, s.Unwatched, s.Clean, int64(s.MayHaveLost), solid(s.Plan), this.seq); err != nil {
		return err
	}
	if !named {
		if before == nil || late {
			return nil
		}
		return b.fork(c, 1, 1, "orphan", raw, 0, nil)
	}
	var sibling []byte
	found, err := b.row([]any{&sibling}, `SELECT epoch FROM epoch WHERE gateway = ? AND parent = ? AND epoch <> ?`, env.Gateway, s.Parent, env.Epoch[:])
	if err == nil && found {
		err = b.fork(c, 1, 1, "parent", raw, 0, sibling)
	}
	if err != nil {
		return err
	}
	parent := this.parent
	if !late {
		if err := b.behind(env.Gateway, this, before); err != nil {
			return err
		}
	}
	if err := b.parentLog(env, s, parent); err != nil {
		return err
	}
	declared := map[string]wire.Head{}
	for _, h := range s.ParentHeads {
		declared[h.Stream] = h
	}
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
		p.tell(h.Number, b.wall)
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
			if s.Clean { // a journal that was closed in order knows its own end
				if err := b.Find(&Finding{Gateway: env.Gateway, Kind: Rollback, Epoch: env.Epoch, Other: parent}); err != nil {
					return err
				}
			}
			if err := b.lost(env.Gateway, env.Epoch, parent, stream, p.upto, h.Number); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost enters that a parent had more than the epoch after it knows.
func (b *Batch) lost(gateway string, epoch, parent wire.Epoch, stream string, receipted, declared uint64) error {
	_, err := b.exec(`INSERT INTO loss (gateway, epoch, parent, stream, receipted, declared, wall) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (gateway, epoch, parent, stream) DO UPDATE SET receipted = excluded.receipted WHERE excluded.receipted > loss.receipted`,
		gateway, epoch[:], parent[:], stream, int64(receipted), int64(declared), b.wall)
	return err
}

// late reports whether an epoch began before one that is here already, as all
// do that a receiver lost and gets again: one that an epoch here names as its
// parent; or while the parent of any is not here, one with an earlier time,
// unless it began in the boot that sends it and the other in one that is over:
// a gateway without a clock begins in 1970, also on a new disk.
func (b *Batch) late(env *wire.Envelope, e, before *begun) (bool, error) {
	if before == nil || before.epoch == e.parent {
		return false, nil
	}
	child, err := b.begun(env.Gateway, `parent = ? LIMIT 1`, e.epoch[:])
	if err != nil || child != nil || e.wall >= before.wall || e.boot != "" && e.boot == env.Boot && before.boot != "" && before.boot != e.boot {
		return child != nil, err
	}
	open, err := b.begun(env.Gateway, `length(parent) = ? AND NOT EXISTS (SELECT 1 FROM epoch p WHERE p.gateway = epoch.gateway AND p.epoch = epoch.parent) LIMIT 1`, len(e.epoch))
	return open != nil, err
}

// behind names an epoch that goes on from one which others had followed: the
// disk is an older image, or a copy.
func (b *Batch) behind(gateway string, e, before *begun) error {
	if before == nil || before.epoch == e.parent {
		return nil
	}
	parent, err := b.begun(gateway, `epoch = ?`, e.parent[:])
	if err != nil || parent == nil {
		return err // it is not here: nothing is known of what came between
	}
	return b.Find(&Finding{Gateway: gateway, Kind: Rollback, Epoch: e.epoch, Other: before.epoch})
}

// parentLog holds what a start record says of its parent's log against what
// was witnessed of it.
func (b *Batch) parentLog(env *wire.Envelope, s *wire.Start, parent wire.Epoch) error {
	was, err := b.Witnessed(env.Gateway, parent)
	if err != nil || was == nil {
		return err
	}
	f := &Finding{Gateway: env.Gateway, Kind: LogShort, Epoch: env.Epoch, Other: parent, Last: int64(was.Size), Bytes: s.ParentCheckpoint}
	c, err := evidence.ReadCheckpoint(s.ParentCheckpoint)
	switch {
	case err != nil || c.Gateway != env.Gateway || c.Epoch != parent || c.Size > MaxNumber: // it says nothing of it
		return b.Find(f)
	case c.Size < was.Size:
		f.First = int64(c.Size)
		return b.Find(f)
	case c.Size == was.Size && c.Root != was.Root:
		f.Kind, f.Epoch, f.Other, f.First = LogFork, parent, env.Epoch, int64(c.Size)
		return b.Find(f)
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
		target.tell(g.To, b.wall)
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
