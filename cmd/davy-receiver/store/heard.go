package store

import (
	"time"

	"davy/agent/wire"
)

// Bounds of what a gateway is believed of itself.
const (
	// ClockBound is how much a clock that is said to be trusted may differ from
	// this receiver's, beyond the error that it admits itself.
	ClockBound = 30 * time.Second
	// ClockPatience is how long every message of a gateway must be behind
	// before its clock is said to be: one that waited in a broker is no lie.
	ClockPatience = time.Minute
	// BootReturns is how often a boot must be heard again after another before
	// two boxes are named: once, a broker may have turned two messages around.
	BootReturns = 3
	// Away is how long a gateway must not have been heard so that it comes back:
	// what it has then is on its way, however long ago a stream moved. One that
	// is there says something every minute.
	Away = 2 * time.Minute
	// MaxLine is how many epochs back a line of epochs is followed; whether an
	// older one belongs to it is then not known, and nothing is said.
	MaxLine = 1024
)

// heard is the newest that a gateway said of itself.
type heard struct {
	boot   string
	mono   int64  // largest of boot, ns
	behind int64  // see the table gateway
	clock  bool   // a finding on its clock stands
	last   int64  // wall when it was heard last
	back   int64  // wall when it was heard again after Away; 0: not since this process looks
	newest *begun // of the epochs that began, the last to come; nil: none
}

// begun is an epoch that began.
type begun struct {
	epoch, parent wire.Epoch // parent is zero where it names none
	wall, seq     int64
	boot          string
}

func scanBegun(scan func(...any) error) (e begun, err error) {
	var epoch, parent []byte
	err = scan(&epoch, &parent, &e.wall, &e.seq, &e.boot)
	copy(e.epoch[:], epoch)
	copy(e.parent[:], parent)
	return e, err
}

// begun looks an epoch up by a condition on the table; nil if there is none.
func (b *Batch) begun(gateway, where string, args ...any) (*begun, error) {
	all, err := rowsOf(b.ctx, b.tx, scanBegun, `SELECT epoch, parent, wall, seq, boot FROM epoch WHERE gateway = ? AND `+where, append([]any{gateway}, args...)...)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

func (b *Batch) heardOf(gateway string) (*heard, error) {
	if h := b.s.heard[gateway]; h != nil {
		return h, nil
	}
	h := &heard{}
	if _, err := b.row([]any{&h.boot, &h.mono, &h.behind, &h.last}, `SELECT boot, mono, behind, heard FROM gateway WHERE id = ?`, gateway); err != nil {
		return nil, err
	}
	var n int
	if _, err := b.row([]any{&n}, `SELECT count(*) FROM finding WHERE gateway = ? AND kind = ? AND ended = 0`, gateway, Clock); err != nil {
		return nil, err
	}
	h.clock = n > 0
	var err error
	// An older receiver gave none a seq: the newest then is the one that none goes on from.
	if h.newest, err = b.begun(gateway, `seq = (SELECT max(seq) FROM epoch WHERE gateway = ?)
		ORDER BY EXISTS (SELECT 1 FROM epoch c WHERE c.gateway = epoch.gateway AND c.parent = epoch.epoch), wall DESC LIMIT 1`, gateway); err != nil {
		return nil, err
	}
	b.s.heard[gateway] = h
	return h, nil
}

// hear takes in what an envelope says of the gateway at the time of sending;
// fresh says that there was something new in it. A message that is sent again,
// or replayed, has nothing new, and is not later by its boot's own clock than
// one that came: it says nothing of now.
func (b *Batch) hear(e *wire.Envelope, fresh bool) error {
	h, err := b.heardOf(e.Gateway)
	if err != nil {
		return err
	}
	later, err := b.later(h, e)
	if err != nil || !fresh && !later {
		return err
	}
	if b.wall-h.last > int64(Away) {
		h.back = b.wall
	}
	h.last = b.wall
	if later {
		if err := b.clock(h, e); err != nil {
			return err
		}
	}
	if fresh {
		if err := b.alive(h, e); err != nil {
			return err
		}
	}
	_, err = b.exec(`UPDATE gateway SET heard = ?, armed = ?, clock_trusted = ?, boot = ?, mono = ?, behind = ? WHERE id = ?`,
		b.wall, e.OutputsArmed, e.ClockTrusted, h.boot, h.mono, h.behind, e.Gateway)
	return err
}

// later reports whether an envelope was sent after all that came of its boot,
// and notices two boots that come in turns: a boot that is over never returns.
func (b *Batch) later(h *heard, e *wire.Envelope) (bool, error) {
	if e.Boot == h.boot {
		if e.Sent.Mono <= h.mono {
			return false, nil
		}
		h.mono = e.Sent.Mono
		return true, nil
	}
	var mono, returns int64
	known, err := b.row([]any{&mono, &returns}, `SELECT mono, returns FROM sender WHERE gateway = ? AND boot = ?`, e.Gateway, e.Boot)
	if err != nil || e.Boot == "" || known && e.Sent.Mono <= mono {
		return false, err
	}
	if h.boot != "" { // it is over
		if _, err := b.exec(`INSERT INTO sender (gateway, boot, mono, returns) VALUES (?, ?, ?, 0) ON CONFLICT (gateway, boot) DO UPDATE SET mono = excluded.mono`,
			e.Gateway, h.boot, h.mono); err != nil {
			return false, err
		}
	}
	was := h.boot
	h.boot, h.mono = e.Boot, e.Sent.Mono
	if !known {
		return true, nil
	}
	if _, err := b.exec(`UPDATE sender SET returns = returns + 1 WHERE gateway = ? AND boot = ?`, e.Gateway, e.Boot); err != nil {
		return false, err
	}
	if returns+1 < BootReturns {
		return true, nil
	}
	return true, b.Find(&Finding{Gateway: e.Gateway, Kind: Boots, Note: was + " " + e.Boot})
}

// clock holds a clock that is said to be trusted against this receiver's.
func (b *Batch) clock(h *heard, e *wire.Envelope) error {
	ahead := e.Sent.Wall - b.wall
	bound := int64(ClockBound) + int64(min(e.ClockError, MaxNumber))
	lies := e.ClockTrusted && ahead > bound
	if late := e.ClockTrusted && -ahead > bound; !late {
		h.behind = 0
	} else if h.behind == 0 {
		h.behind = b.wall
	} else {
		lies = b.wall-h.behind >= int64(ClockPatience)
	}
	switch {
	case lies && !h.clock:
		h.clock = true
		return b.Find(&Finding{Gateway: e.Gateway, Kind: Clock, First: ahead, Last: e.Sent.Wall})
	case h.clock && !lies && h.behind == 0:
		h.clock = false
		return b.end(e.Gateway, Clock)
	}
	return nil
}

// end says that what was found of a gateway is over.
func (b *Batch) end(gateway, kind string) error {
	_, err := b.exec(`UPDATE finding SET ended = ? WHERE gateway = ? AND kind = ? AND ended = 0`, b.wall, gateway, kind)
	return err
}

// alive names two boxes with one key: an epoch that says something new, sent
// after another took its place. What it had said before its child began is its
// backlog; anything else only a second box can know, or a gateway that lost it.
func (b *Batch) alive(h *heard, e *wire.Envelope) error {
	n := h.newest
	if n == nil || n.epoch == e.Epoch {
		return nil
	}
	own, err := b.begun(e.Gateway, `epoch = ?`, e.Epoch[:])
	if err != nil || own == nil {
		return err
	}
	for at, step := n, 0; step < MaxLine; step++ {
		switch at.parent {
		case e.Epoch: // of the line: held against what its child said of it
			return b.outgrown(e, at)
		case wire.Epoch{}, own.parent: // another line
			if e.Sent.Wall <= n.wall {
				return nil // sent before: it was on its way
			}
			return b.Find(&Finding{Gateway: e.Gateway, Kind: Clone, Epoch: e.Epoch, Other: n.epoch})
		}
		if at, err = b.begun(e.Gateway, `epoch = ?`, at.parent[:]); err != nil || at == nil {
			return err // its start is not here: not known
		}
	}
	return nil
}

// outgrown holds the numbers of an envelope against what the next epoch said
// of its parent's.
func (b *Batch) outgrown(e *wire.Envelope, child *begun) error {
	var body []byte
	found, err := b.row([]any{&body}, `SELECT e.body FROM event e JOIN chain c ON c.id = e.chain WHERE c.gateway = ? AND c.epoch = ? AND c.stream = 'event' AND e.number = 1`,
		e.Gateway, child.epoch[:])
	if err != nil || !found {
		return err
	}
	ev, err := wire.DecodeEvent(body)
	if err != nil || ev.Start == nil {
		return nil // cannot be: it made the row of the epoch
	}
	declared := map[string]uint64{}
	for _, d := range ev.Start.ParentHeads {
		declared[d.Stream] = d.Number
	}
	for i := range e.Blocks {
		k := &e.Blocks[i]
		switch {
		case !known(k.Stream) || k.Last() <= declared[k.Stream] || k.Last() > MaxNumber:
		case e.Sent.Wall <= child.wall: // it was on its way, and its gateway knows nothing of it any more
			if err := b.lost(e.Gateway, child.epoch, e.Epoch, k.Stream, k.Last(), declared[k.Stream]); err != nil {
				return err
			}
		default:
			return b.Find(&Finding{Gateway: e.Gateway, Kind: Clone, Epoch: e.Epoch, Other: child.epoch, Stream: k.Stream, First: int64(declared[k.Stream] + 1), Last: int64(k.Last())})
		}
	}
	return nil
}
