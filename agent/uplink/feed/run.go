package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
)

// lane is one place in a stream from which records are sent.
type lane struct {
	stream  string
	next    journal.Pos // where the next read begins
	records []Record    // read and not yet sent
	after   journal.Pos // the place after records
	blocks  bool        // records are the rest of something read
}

// run is the use of one session. It has one goroutine.
type run struct {
	f        *Feed
	s        Session
	events   lane
	health   lane
	history  lane // readings from the cursor on
	live     lane // readings that overtake them
	living   bool // live is in use: it ends in f.ahead's last span
	chunk    int  // records of the next Send
	histFrom time.Time
	left     uint64
	heard    uint64
}

func newRun(f *Feed, s Session) *run {
	r := &run{f: f, s: s, chunk: FirstRecords}
	r.events.stream, r.health.stream = wire.EventStream, wire.HealthStream
	r.history.stream, r.live.stream = wire.ReadingStream, wire.ReadingStream
	if n := len(f.ahead); n > 0 {
		last := f.ahead[n-1]
		r.live.next, r.living = journal.Pos{Epoch: last.epoch, Number: last.to}, true
	}
	return r
}

// run sends until the session or ctx ends; after ctx it goes on for what is
// left as long as sending lasts, if the destination was confirming.
func (r *run) run(ctx, sending context.Context) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	done := ctx.Done()
	r.status()
	for {
		changed := r.f.o.Journal.Changed() // before looking, so that nothing is missed
		if ctx.Err() != nil {
			done = nil
			if sending.Err() != nil || !r.f.now.Answering {
				return nil
			}
		}
		select {
		case <-r.s.Done():
			return r.s.Err()
		case <-tick.C:
			r.status()
		default:
		}
		more, err := r.step(sending)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		pace := time.NewTimer(r.pace())
		select {
		case <-done:
		case <-r.s.Done():
			err = r.s.Err()
			pace.Stop()
			return err
		case <-changed:
		case <-tick.C:
			r.status()
		case <-pace.C:
		}
		pace.Stop()
	}
}

func (r *run) status() {
	r.f.now.Backlog = r.f.o.Cursor.Backlog()
	r.f.publish()
}

// pace is how long to wait when there is nothing to send.
func (r *run) pace() time.Duration {
	d := statusEvery
	if w := time.Until(r.histFrom); w > 0 {
		d = min(d, w)
	}
	return d
}

// step sends the next records of the first lane that has some.
func (r *run) step(ctx context.Context) (sent bool, err error) {
	for _, l := range []*lane{&r.events, &r.health} {
		if sent, err := r.send(ctx, l, MaxRecords); sent || err != nil {
			return sent, err
		}
	}
	if r.living {
		if sent, err := r.send(ctx, &r.live, MaxRecords); sent || err != nil {
			return sent, err
		}
	}
	limit := MaxRecords
	if rate := r.f.o.HistoryRate; rate > 0 {
		if time.Now().Before(r.histFrom) {
			limit = 0
		}
		limit = int(min(int64(limit), rate)) // a second's worth at a time
	}
	return r.send(ctx, &r.history, limit)
}

// send sends at most limit records of a lane, reading on if it has none left.
func (r *run) send(ctx context.Context, l *lane, limit int) (bool, error) {
	if !l.blocks {
		if limit == 0 && r.living { // history waits for its rate
			return false, nil
		}
		if some, err := r.read(l); !some || err != nil {
			return false, err
		}
	}
	if limit == 0 && len(l.records) > 0 && r.old(wallOf(&l.records[0])) {
		return false, nil
	}
	n := min(len(l.records), r.chunk)
	if limit > 0 {
		n = min(n, limit)
	}
	chunk := l.records[:n]
	history := 0
	for i := range chunk {
		if chunk[i].History = r.old(wallOf(&chunk[i])); chunk[i].History {
			history++
		}
	}
	if n > 0 {
		began := time.Now()
		if err := r.s.Send(ctx, chunk); errors.Is(err, ErrLater) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("send %s: %w", l.stream, err)
		}
		r.sent(time.Since(began), n, history)
	}
	l.records = l.records[n:]
	if len(l.records) > 0 {
		return true, nil
	}
	l.blocks, l.records = false, nil
	return true, r.finished(l)
}

// sent fits the size of a Send to how long it took, and keeps the figures.
func (r *run) sent(took time.Duration, n, history int) {
	switch {
	case took > SendTime:
		r.chunk = max(r.chunk/2, 1)
	case took < SendTime/2:
		r.chunk = min(r.chunk*2, MaxRecords)
	}
	if rate := r.f.o.HistoryRate; rate > 0 && history > 0 {
		from := time.Now()
		if r.histFrom.After(from.Add(-took)) {
			from = r.histFrom
		}
		r.histFrom = from.Add(time.Duration(float64(history) / float64(rate) * float64(time.Second)))
	}
	u := &r.f.now
	u.Records += uint64(n)
	u.History += uint64(history)
	if s, ok := r.s.(Leaver); ok {
		left := s.LeftOut()
		u.LeftOut += left - r.left
		r.left = left
	}
	heard := true
	if s, ok := r.s.(Answerer); ok {
		n := s.Answers()
		heard, r.heard = n > r.heard, n
	}
	if heard {
		u.LastConfirm, u.Error = r.f.o.Now(), ""
	}
	if heard && !u.Answering {
		u.Answering = true
		r.f.o.Log.Info("uplink answering", "destination", r.f.o.Name)
	}
	r.f.publish()
}

// finished moves the cursor, or what has overtaken it, behind what a lane read.
func (r *run) finished(l *lane) error {
	if l == &r.live {
		last := &r.f.ahead[len(r.f.ahead)-1]
		last.to = l.after.Number
		return nil
	}
	return r.advance(l.stream, l.after)
}

func (r *run) advance(stream string, to journal.Pos) error {
	if err := r.f.o.Cursor.Advance(stream, to); err != nil {
		return fmt.Errorf("move cursor: %w", err)
	}
	return nil
}

// old reports whether a record of this wall time counts as history now. One of
// the future is: the clock was wrong then, or is now.
func (r *run) old(wall int64) bool {
	age := r.f.o.Now().Wall - wall
	return age > int64(r.f.o.Live) || age < -int64(r.f.o.Live)
}

// read fills a lane with what follows in the journal; false: there is nothing.
func (r *run) read(l *lane) (bool, error) {
	cursor, size := r.f.o.Cursor, ReadBytes
	if l == &r.live { // one block: what is read is sent, however old it gets meanwhile
		size = 1
	}
	for {
		items, err := cursor.Next(l.stream, l.next, size)
		if err != nil {
			return false, fmt.Errorf("read journal %s: %w", l.stream, err)
		}
		if l == &r.history {
			var again bool
			if items, again, err = r.overtaken(items); err != nil {
				return false, err
			}
			if again {
				continue
			}
		}
		if l == &r.live && len(items) > 0 && r.old(items[0].WallTo) && len(r.f.ahead) < MaxAhead {
			r.overtake() // too slow for all of it: what comes now goes first again
			continue
		}
		if len(items) == 0 {
			return false, nil
		}
		l.records = l.records[:0]
		for i := range items {
			if len(l.records) >= MaxRecords || items[i].Epoch != items[0].Epoch {
				break
			}
			if l.records, err = r.decode(l.records, &items[i]); err != nil {
				return false, err
			}
			l.next, l.after = items[i].After(), items[i].After()
		}
		l.blocks = true
		return true, nil
	}
}

// overtaken takes out of what history read next what has gone before; again:
// the lane has moved and is to be read anew.
func (r *run) overtaken(items []journal.Item) (rest []journal.Item, again bool, err error) {
	f := r.f
	if len(items) == 0 {
		return nil, false, nil
	}
	if len(f.ahead) == 0 {
		if r.old(items[0].WallTo) {
			r.overtake()
		}
		return items, false, nil
	}
	s := f.ahead[0]
	if items[0].Epoch != s.epoch {
		return items, false, nil
	}
	if items[0].Block.First > s.from { // all before it has gone
		last := len(f.ahead) == 1
		to := journal.Pos{Epoch: s.epoch, Number: s.to}
		if last && r.live.blocks {
			return nil, false, nil // read, but not yet sent: then
		}
		if s.to > s.from {
			if err := r.advance(wire.ReadingStream, to); err != nil {
				return nil, false, err
			}
			r.history.next = to
		}
		f.ahead = f.ahead[1:]
		if last {
			r.living = false
		}
		return nil, true, nil
	}
	for i := range items {
		if items[i].Block.First > s.from {
			return items[:i], false, nil
		}
	}
	return items, false, nil
}

// overtake lets readings from now on go before those that wait.
func (r *run) overtake() {
	head := r.f.o.Journal.Head(wire.ReadingStream)
	r.f.ahead = append(r.f.ahead, span{head.Epoch, head.Number, head.Number})
	r.live.next, r.live.blocks, r.live.records, r.living = head, false, nil, true
}

// decode appends the records of a block. Cursors stand between blocks only, so
// that none of them is confirmed.
func (r *run) decode(dst []Record, it *journal.Item) ([]Record, error) {
	b := &it.Block
	rec := Record{Epoch: it.Epoch, Stream: b.Stream}
	if b.Stream == wire.ReadingStream {
		list, err := wire.DecodeReadings(b.Body)
		if err != nil {
			r.unreadable(b, err)
			return dst, nil
		}
		table, err := r.f.tables.of(it.Epoch)
		if err != nil {
			return dst, err
		}
		for i := range list {
			rec.Number, rec.Reading = b.First+uint64(i), &list[i]
			rec.Table, rec.Tag = table.table, table.tag(list[i].Tag)
			if rec.Tag == nil {
				r.f.now.Unnamed++
			}
			dst = append(dst, rec)
		}
		return dst, nil
	}
	list, err := wire.DecodeEvents(b.Body)
	if err != nil {
		r.unreadable(b, err)
		return dst, nil
	}
	for i := range list {
		e := &list[i]
		rec.Number, rec.Event = b.First+uint64(i), e
		if e.Table != nil {
			r.f.tables.met(it.Epoch, e.Table)
		}
		rec.Table, rec.Tag = nil, nil
		if b.Stream == wire.EventStream && (e.Tag != 0 || len(e.Record) > 0 || e.Table != nil) {
			table, err := r.f.tables.of(it.Epoch)
			if err != nil {
				return dst, err
			}
			rec.Table, rec.Tag = table.table, table.tag(e.Tag)
		}
		dst = append(dst, rec)
	}
	return dst, nil
}

// unreadable passes over a block that is whole and says nothing to this
// version: nothing behind it may wait for it.
func (r *run) unreadable(b *wire.Block, err error) {
	r.f.now.Unreadable += uint64(b.Count)
	r.f.o.Log.Error("block passed over", "destination", r.f.o.Name, "stream", b.Stream, "first", b.First, "count", b.Count, "err", err)
}

func wallOf(r *Record) int64 {
	if r.Reading != nil {
		return r.Reading.Received.Wall
	}
	return r.Event.At.Wall
}
