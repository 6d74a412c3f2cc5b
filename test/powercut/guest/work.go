package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"davy/agent/clock"
	"davy/agent/journal"
	"davy/agent/wire"
	"davy/test/powercut/work"
)

const (
	reportName   = work.Report
	maxBytes     = 4 << 20 // small, so that it rolls, expires and overflows within seconds
	segmentBytes = 256 << 10
	batchBytes   = 128 << 10 // of blocks read at once for the receiver
	afterFailure = 5 * time.Millisecond
)

// worker works on a journal.
type worker struct {
	l      *line
	rnd    *rand.Rand
	outage bool
	j      *journal.Journal
	c      *journal.Cursor
	serial uint64
	doing  string // what a commit is now: open, commit, cursor
	ops    int
	spoil  *spoil // nil: not planned, or done
}

// spoil is how the disk ends.
type spoil struct {
	d         *disk
	how, what string
	after     int
	delay     time.Duration
}

// plan reads how the disk ends, from now on.
func (w *worker) plan(d *disk, text string) error {
	if text == "" {
		return nil
	}
	f := strings.Split(text, ":")
	if len(f) != 4 {
		return fmt.Errorf("CUT_SPOIL %q: not HOW:WHAT:N:DELAY", text)
	}
	after, err := strconv.Atoi(f[2])
	delay, err2 := time.ParseDuration(f[3])
	w.spoil = &spoil{d, f[0], f[1], w.ops + after, delay}
	return errors.Join(err, err2)
}

// begin opens the journal.
func begin(l *line, seed uint64, outage bool) (*worker, error) {
	w := &worker{l: l, rnd: rand.New(rand.NewPCG(seed, 3)), outage: outage, doing: "open"}
	var err error
	w.j, err = journal.Open(journal.Options{
		Dir: dir, Gateway: work.Gateway, MaxBytes: maxBytes, SegmentBytes: segmentBytes, Sync: work.Sync, MustConfirm: []string{work.Destination},
		Now: clock.Now, Trusted: true, Boot: clock.BootID(), Version: "powercut", Log: slog.New(slog.NewTextHandler(os.Stdout, nil)), Disk: w.disk,
	})
	if err != nil {
		return nil, err
	}
	w.l.say("idle")
	w.serial = w.j.Serial(work.Lineage())
	w.c, err = w.j.Cursor(work.Destination)
	return w, err
}

const dir = "/disk/journal"

// disk hears of every operation of the disk before it begins.
func (w *worker) disk(op string) error {
	what := map[string]string{"commit": w.doing, "create": "roll", "remove": "retention", "rename": "aside"}[op]
	if what == "" {
		return nil
	}
	w.l.say("op %s", what)
	w.ops++
	if s := w.spoil; s != nil && w.ops > s.after && what == s.what {
		w.spoil = nil
		go func() {
			time.Sleep(s.delay)
			w.l.change(s.d, s.how)
		}()
	}
	return nil
}

// look reads all that the journal holds: first as a destination that has
// confirmed nothing, which finds damage between the ends of a segment and has it
// set aside, then as somebody outside, who may find none any more.
func (w *worker) look() (*work.Found, error) {
	f := &work.Found{Epoch: w.j.Epoch(), Serial: w.serial}
	c, err := w.j.Cursor("judge")
	if err != nil {
		return nil, err
	}
	for _, stream := range []string{wire.EventStream, wire.ReadingStream, wire.HealthStream} {
		for at := (journal.Pos{}); ; {
			items, err := c.Next(stream, at, batchBytes)
			if err != nil {
				return nil, err
			}
			if len(items) == 0 {
				break
			}
			at = items[len(items)-1].After()
		}
	}
	r, err := journal.OpenReadOnly(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for _, s := range r.Spans() {
		for _, stream := range []string{wire.EventStream, wire.ReadingStream, wire.HealthStream} {
			for b := r.Blocks(s.Epoch, stream); ; {
				it, err := b.Next(0)
				if err != nil {
					break // io.EOF, and nothing else
				}
				f.Blocks = append(f.Blocks, block(&it, f))
			}
		}
	}
	if len(r.Damaged) > 0 {
		return nil, fmt.Errorf("after the journal was opened there is damage: %s", strings.Join(r.Damaged, "; "))
	}
	kept, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, k := range kept {
		f.Quarantined = append(f.Quarantined, k.Name())
	}
	return f, nil
}

// block looks into a block.
func block(it *journal.Item, f *work.Found) work.Block {
	b := work.Block{
		Epoch: it.Epoch, Stream: it.Block.Stream, First: it.Block.First, Last: it.Block.Last(),
		Before: it.Block.RootBefore, After: it.Block.RootAfter(),
	}
	if it.Block.Stream == wire.ReadingStream {
		got, err := wire.DecodeReadings(it.Block.Body)
		if err != nil {
			b.Bad = err.Error()
		}
		for i := range got {
			if got[i] != work.Reading(it.Epoch, it.Block.First+uint64(i)) {
				b.Bad = fmt.Sprintf("reading %d is another one", it.Block.First+uint64(i))
			}
		}
		return b
	}
	got, err := wire.DecodeEvents(it.Block.Body)
	if err != nil {
		b.Bad = err.Error()
	}
	for i := range got {
		e := work.Entry{Epoch: it.Epoch, Number: it.Block.First + uint64(i), Serial: got[i].Serial, Start: got[i].Start, Gap: got[i].Gap}
		if e.Serial > 0 {
			e.Sum = work.Sum(&got[i])
		} else if e.Start == nil && e.Gap == nil {
			e.Note = got[i].Note
		}
		f.Events = append(f.Events, e)
	}
	return b
}

// work never ends but with an error of the rig itself.
func (w *worker) work() error {
	for {
		w.doing = "commit"
		var err error
		switch n := w.rnd.IntN(100); {
		case n < 30:
			err = w.append(1+w.rnd.IntN(6), 0)
		case n < 55:
			err = w.append(0, 300+w.rnd.IntN(2500))
		case n < 62:
			err = w.append(1+w.rnd.IntN(3), 300+w.rnd.IntN(1500))
		case n < 80:
			if !w.outage || n < 63 {
				err = w.uplink()
			}
		case n < 90:
			w.doing = "cursor"
			err = w.j.Append(journal.Batch{Beat: clock.Now()})
		default:
			w.doing = "cursor"
			err = w.j.Retain(true)
		}
		w.l.say("idle")
		var rig *rigError
		if errors.As(err, &rig) {
			return err
		}
		if err != nil {
			w.l.say("fail %v", err)
			time.Sleep(afterFailure)
		}
	}
}

// rigError is one of the rig, not of the journal.
type rigError struct{ text string }

func (e *rigError) Error() string { return e.text }

func (w *worker) heads() (event, reading uint64) {
	for _, h := range w.j.Heads() {
		switch h.Stream {
		case wire.EventStream:
			event = h.Number
		case wire.ReadingStream:
			reading = h.Number
		}
	}
	return event, reading
}

func (w *worker) append(events, readings int) error {
	b := journal.Batch{Beat: clock.Now()}
	for i := range events {
		b.Events = append(b.Events, work.Event(w.serial+uint64(i)+1))
	}
	if events > 0 {
		b.Lineage, b.Serial = work.Lineage(), w.serial+uint64(events)
	}
	epoch := w.j.Epoch()
	_, head := w.heads()
	for i := range readings {
		b.Readings = append(b.Readings, work.Reading(epoch, head+uint64(i)+1))
	}
	w.l.say("begin %d %d", w.serial+1, events)
	err := w.j.Append(b)
	if err == nil || errors.Is(err, journal.ErrReadings) {
		w.serial += uint64(events)
	}
	if err != nil {
		// What came of it only the journal knows; the decider asks it.
		w.serial = max(w.serial, w.j.Serial(work.Lineage()))
		return fmt.Errorf("append: %w", err)
	}
	event, reading := w.heads()
	w.l.say("end %d %d", event, reading)
	return nil
}

// uplink sends all that is not confirmed and takes the receipts.
func (w *worker) uplink() error {
	for _, stream := range []string{wire.EventStream, wire.ReadingStream} {
		for {
			items, err := w.c.Next(stream, journal.Pos{}, batchBytes)
			if err != nil {
				return fmt.Errorf("next %s: %w", stream, err)
			}
			if len(items) == 0 {
				break
			}
			for i := range items {
				w.send(&items[i])
			}
			last := &items[len(items)-1]
			w.l.say("sent %s %s %d %s", hex.EncodeToString(last.Epoch[:]), stream, last.Block.Last(), root(last.Block.RootAfter()))
			r, err := receipt(<-w.l.receipts)
			if err != nil {
				return err
			}
			if err := w.c.Confirm(r); err != nil {
				return fmt.Errorf("confirm: %w", err)
			}
		}
	}
	return nil
}

func root(r wire.Root) string { return hex.EncodeToString(r[:]) }

// send says a block: epoch, stream, first, last, chain before and after, and
// of its events the more with their hashes, and what gap records name.
func (w *worker) send(it *journal.Item) {
	f := &work.Found{}
	b := block(it, f)
	if b.Bad != "" {
		w.l.say("fail sent a bad block: %s %d: %s", b.Stream, b.First, b.Bad)
	}
	var more strings.Builder
	for _, e := range f.Events {
		if e.Serial > 0 {
			fmt.Fprintf(&more, " %d:%s", e.Serial, e.Sum)
		}
		if g := e.Gap; g != nil {
			fmt.Fprintf(&more, " gap:%x:%s:%d:%d", g.Epoch, g.Stream, g.From, g.To)
		}
	}
	w.l.say("block %s %s %d %d %s %s%s", hex.EncodeToString(b.Epoch[:]), b.Stream, b.First, b.Last, root(b.Before), root(b.After), more.String())
}

// receipt reads what the host says.
func receipt(text string) (*wire.Receipt, error) {
	var epoch, stream, sum string
	h := wire.Head{}
	r := &wire.Receipt{Version: wire.Version, Gateway: work.Gateway, Destination: work.Destination, Store: "host", Wall: clock.Now().Wall}
	_, err := fmt.Sscan(text, &epoch, &stream, &h.Number, &sum)
	if err == nil {
		h.Stream = stream
		err = errors.Join(unhex(r.Epoch[:], epoch), unhex(h.Root[:], sum))
	}
	if err != nil {
		return nil, &rigError{fmt.Sprintf("receipt %q: %v", text, err)}
	}
	r.Upto = []wire.Head{h}
	return r, nil
}

func unhex(to []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(to) {
		err = fmt.Errorf("%d bytes, not %d", len(b), len(to))
	}
	copy(to, b)
	return err
}
