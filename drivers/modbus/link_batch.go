package modbus

import (
	"context"
	"errors"
	"slices"

	"davy/drivers"
	"davy/drivers/tag"
)

// piper is a channel that may have several requests under way at once.
type piper interface {
	// window is how many it takes now; 1: it may not.
	window() int
	// pipeline asks for the requests of a batch together and has it read those
	// that were answered. It leaves the others as they are.
	pipeline(ctx context.Context, b *batch)
	// hand has the batch read a request with this for an answer.
	hand(b *batch, k int, data []byte, err error)
	// unread reports whether an answer is there that the link did not take.
	unread() bool
	// proven reports whether the device has answered requests together.
	proven() bool
	// troubled says that the device cannot do it after all.
	troubled(why string)
}

// fate is what became of one request of a batch.
type fate uint8

const (
	due             fate = iota // not sent yet
	alone                       // to be asked alone
	underWay                    // sent with others
	refusedTogether             // refused, by an exception
	silentTogether              // sent with others, and not answered
	done                        // its readings were handed over
)

// batch is what one ReadAll is at. It belongs to its link and is used again.
type batch struct {
	l     *link
	ctx   context.Context
	all   []drivers.Request
	reqs  []*request
	state []fate
	errs  []error
	heard []uint32 // of each request's station, before it
	dst   []tag.Reading
	each  func(i int, readings []tag.Reading, err error)
}

// Window is how many requests ReadAll may have under way at once. With
// `pipeline: auto` it is 2 as long as nothing is known of the device: two
// requests are what it is found out with.
func (l *link) Window() int {
	if p, ok := l.channel.(piper); ok {
		return p.window()
	}
	return 1
}

// ReadAll reads each of reqs as Read does, several at once where the device
// can. A request whose block is split, or that did not come out right together
// with others, is asked alone.
func (l *link) ReadAll(ctx context.Context, reqs []drivers.Request, each func(i int, readings []tag.Reading, err error)) {
	p, _ := l.channel.(piper)
	b := &l.batch
	b.begin(l, ctx, reqs, each)
	if p != nil && len(reqs) > 1 && p.window() > 1 {
		p.pipeline(ctx, b)
	}
	for k := range b.all {
		switch b.state[k] {
		case done:
		case refusedTogether:
			p.hand(b, k, nil, b.errs[k])
		case silentTogether:
			b.silent(p, k)
		}
		if b.state[k] != done {
			b.read(k)
		}
	}
	b.ctx, b.each = nil, nil
	clear(b.all)
	clear(b.reqs)
	clear(b.errs)
}

// silent asks alone for what was not answered together, unless its station
// said nothing at all meanwhile: then it is away, and asking again would cost
// the others a timeout.
func (b *batch) silent(p piper, k int) {
	r := b.reqs[k]
	if p.proven() && b.l.heard(r.station) == b.heard[k] {
		p.hand(b, k, nil, silence(b.l.timeout))
		return
	}
	before := b.l.heard(r.station)
	if err := b.read(k); err == nil && b.l.heard(r.station) != before {
		p.troubled("a request is answered alone, and not together with another")
	}
}

// begin takes the requests of a ReadAll.
func (b *batch) begin(l *link, ctx context.Context, reqs []drivers.Request, each func(int, []tag.Reading, error)) {
	b.l, b.ctx, b.each = l, ctx, each
	b.all = append(b.all[:0], reqs...)
	b.reqs, b.state, b.errs, b.heard = b.reqs[:0], b.state[:0], b.errs[:0], b.heard[:0]
	for _, q := range reqs {
		r, ok := q.(*request)
		if !ok {
			panic("BUG: modbus: request of another driver")
		}
		state := due
		if l.splits[r] != nil || r.unit != nil && r.unit.pause > 0 {
			state = alone
		}
		b.reqs, b.state, b.errs = append(b.reqs, r), append(b.state, state), append(b.errs, nil)
		b.heard = append(b.heard, l.heard(r.station))
	}
}

// read reads request k and hands its readings over. Where the answer that was
// there already is not what the link wanted, it is left to be asked alone.
func (b *batch) read(k int) error {
	var err error
	b.dst, err = b.l.Read(b.ctx, b.all[k], b.dst[:0])
	if p, ok := b.l.channel.(piper); ok && p.unread() {
		b.state[k] = alone
		return errOther
	}
	b.state[k] = done
	b.each(k, b.dst, err)
	return err
}

var errOther = errors.New("another request than was sent")

// pick chooses a request to send beside those under way: one whose answer has
// another length than all of theirs, or, unless strict, any. -1: none.
func (b *batch) pick(p *pipe, strict bool) int {
	other := -1
next:
	for k, s := range b.state {
		if s != due {
			continue
		}
		for i := range p.slots {
			if o := &p.slots[i]; o.busy && o.size == b.reqs[k].whole.size {
				if other < 0 {
					other = k
				}
				continue next
			}
		}
		return k
	}
	if strict {
		return -1
	}
	return other
}

// next returns a request that was not sent yet, -1 where there is none.
func (b *batch) next() int { return slices.Index(b.state, due) }

// again makes what was under way due.
func (b *batch) again() {
	for k := range b.state {
		if b.state[k] == underWay {
			b.state[k] = due
		}
	}
}

// mixed reports whether the answers of the batch differ in length.
func (b *batch) mixed() bool {
	size := -1
	for k, s := range b.state {
		if s != due {
			continue
		}
		if size >= 0 && b.reqs[k].whole.size != size {
			return true
		}
		size = b.reqs[k].whole.size
	}
	return false
}

// lost counts the requests that were sent and not answered.
func (b *batch) lost() (n int) {
	for _, s := range b.state {
		if s == silentTogether || s == underWay {
			n++
		}
	}
	return n
}
