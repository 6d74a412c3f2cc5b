package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// ErrNotPolled says that a tag's device speaks by itself and is not asked.
var ErrNotPolled = errors.New("not polled: its device reports changes by itself")

// ErrNotRunning says that the link has ended, or begins again.
var ErrNotRunning = errors.New("link not running")

// errQuiet is what a person is told of a station that was asked in vain just now.
var errQuiet = errors.New("station quiet: it does not answer, and is asked again soon")

// ask is a person's wish to have one point read now.
type ask struct {
	gone  <-chan struct{} // closed when the person has left
	id    tag.ID
	reply chan reply // room for one
}

type reply struct {
	reading tag.Reading
	took    time.Duration
	err     error
}

// asksWaiting is how many wishes wait at a link; more are refused.
const asksWaiting = 8

// askShare: after a wish in vain nobody's is answered for so many times as long,
// so that persons who read what does not answer leave polling three quarters.
const askShare = 3

// queue is made by whoever needs it first.
func (w *Worker) queue() chan ask {
	w.once.Do(func() { w.asks = make(chan ask, asksWaiting) })
	return w.asks
}

// ReadNow has the tag read before any further poll of its link and returns its
// reading and how long the device took. The error is of the link, of ctx,
// ErrNotPolled or ErrNotRunning; a reading that is bad is no error.
func (w *Worker) ReadNow(ctx context.Context, id tag.ID) (tag.Reading, time.Duration, error) {
	for _, p := range w.Link.Subscribe {
		if p.Tag == id {
			return tag.Reading{}, 0, ErrNotPolled
		}
	}
	a := ask{gone: ctx.Done(), id: id, reply: make(chan reply, 1)}
	select {
	case w.queue() <- a:
	default:
		return tag.Reading{}, 0, fmt.Errorf("read on link %s: %d wait already", w.Link.Name, asksWaiting)
	}
	select {
	case r := <-a.reply:
		return r.reading, r.took, r.err
	case <-ctx.Done():
		return tag.Reading{}, 0, ctx.Err()
	}
}

// answerAsks answers one wish that waits, so that two persons cannot keep the
// link from its work.
func (w *Worker) answerAsks(ctx context.Context, link drivers.Link) {
	select {
	case a := <-w.door(w.Now().Mono):
		w.answerAsk(ctx, link, a)
	default:
	}
}

// door is the queue of wishes; nil where nobody is let in yet.
func (w *Worker) door(now int64) chan ask {
	if now < w.askable {
		return nil
	}
	return w.queue()
}

// A quiet station is asked as a probe asks it, no longer and no more often: who
// reads it again and again must not take the line from its neighbours.
func (w *Worker) answerAsk(ctx context.Context, link drivers.Link, a ask) {
	select {
	case <-a.gone:
		return
	default:
	}
	for i := range w.Link.Scans {
		for n, p := range w.Link.Scans[i].Request.Points() {
			if p.Tag != a.id {
				continue
			}
			began, st := w.Now(), w.quietly.of(i)
			if st.quiet && began.Mono < st.spared {
				a.reply <- reply{reading: tag.Reading{Tag: a.id, Quality: tag.BadNoComm, Received: began}, err: errQuiet}
				return
			}
			asking, cancel := ctx, context.CancelFunc(func() {})
			if limit := w.quietly.limit(i, w.Link.Timeout); limit > 0 {
				asking, cancel = context.WithTimeout(ctx, limit)
			}
			rs, err := link.Read(asking, w.Link.Scans[i].Request, nil)
			cancel()
			done := w.Now().Mono
			took := time.Duration(done - began.Mono)
			if err != nil && len(w.quietly.all) > 1 {
				st.spared = done + int64(min(quietShare*took, quietLast))
			}
			if err != nil && putOff(err) == nil {
				w.askable = done + int64(min(askShare*took, quietLast))
			}
			if err == nil && st.quiet { // it is back: polling finds out at once
				for _, n := range st.requests {
					w.due[n] = done
				}
			}
			r := reply{took: took, err: err}
			if n < len(rs) {
				r.reading = rs[n]
			}
			a.reply <- r
			return
		}
	}
	a.reply <- reply{err: fmt.Errorf("read on link %s: tag %d is not of this link", w.Link.Name, a.id)}
}

// refuse answers whoever still waits when the link ends.
func (w *Worker) refuse() {
	for {
		select {
		case a := <-w.queue():
			a.reply <- reply{err: ErrNotRunning}
		default:
			return
		}
	}
}
