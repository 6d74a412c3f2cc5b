package powercut

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"davy/agent/wire"
	"davy/test/powercut/work"
)

// stream is one stream of one epoch.
type stream struct {
	epoch wire.Epoch
	name  string
}

// chain is the state of a stream after a number.
type chain struct {
	stream
	number uint64
}

// promise is an event of the decider that was said to be durable: one of these
// numbers of this epoch.
type promise struct {
	epoch    wire.Epoch
	from, to uint64
}

// ledger is what the host knows of one disk: what was promised outside, and
// what the receiver has.
type ledger struct {
	durable  map[stream]spans   // numbers that were said to be
	promised map[uint64]promise // by serial
	roots    map[chain]wire.Root
	received map[stream]spans
	told     map[stream]spans // what gap records at the receiver name
	had      map[uint64]bool  // serials at the receiver
	aside    map[string]bool  // files in quarantine
	epochs   []wire.Epoch     // in the order in which they were opened, as far as it was said

	// Of the machine that runs.
	epoch   wire.Epoch
	opened  bool
	heads   map[string]uint64
	begun   [2]uint64 // first serial and number of an Append under way
	opening bool      // the last machine was cut before it had said that the journal was open
	bad     []string
}

func newLedger() *ledger {
	return &ledger{
		durable: map[stream]spans{}, promised: map[uint64]promise{}, roots: map[chain]wire.Root{},
		received: map[stream]spans{}, told: map[stream]spans{}, had: map[uint64]bool{}, aside: map[string]bool{},
	}
}

func (l *ledger) wrong(format string, args ...any) {
	l.bad = append(l.bad, fmt.Sprintf(format, args...))
}

// on begins a machine.
func (l *ledger) on() { l.opened, l.heads, l.opening = false, map[string]uint64{}, false }

// off ends it.
func (l *ledger) off() { l.opening = !l.opened }

// open enters an epoch that has been judged.
func (l *ledger) open(f *work.Found) {
	l.epoch, l.opened = f.Epoch, true
	l.epochs = append(l.epochs, f.Epoch)
	for _, b := range f.Blocks {
		if b.Epoch == f.Epoch {
			l.heads[b.Stream] = max(l.heads[b.Stream], b.Last)
			l.promise(b.Stream, b.First, b.Last)
		}
	}
}

func (l *ledger) promise(name string, from, to uint64) {
	k := stream{l.epoch, name}
	l.durable[k] = l.durable[k].add(from, to)
}

// hear takes in a line of the guest's, and says what is to be answered.
func (l *ledger) hear(text string) (answer string) {
	word, rest, _ := strings.Cut(text, " ")
	f := strings.Fields(rest)
	var err error
	switch word {
	case "begin":
		l.begun, err = two(f)
	case "end":
		var heads [2]uint64
		if heads, err = two(f); err != nil {
			break
		}
		for i := range l.begun[1] {
			l.promised[l.begun[0]+i] = promise{l.epoch, l.heads[wire.EventStream] + 1, heads[0]}
		}
		for i, name := range []string{wire.EventStream, wire.ReadingStream} {
			l.promise(name, l.heads[name]+1, heads[i])
			l.heads[name] = heads[i]
		}
	case "block":
		err = l.receive(f)
	case "sent":
		return "receipt " + rest
	}
	if err != nil {
		l.wrong("the guest said %q: %v", text, err)
	}
	return ""
}

func two(f []string) (n [2]uint64, err error) {
	if len(f) != 2 {
		return n, fmt.Errorf("%d words, not 2", len(f))
	}
	for i := range n {
		if n[i], err = strconv.ParseUint(f[i], 10, 64); err != nil {
			return n, err
		}
	}
	return n, nil
}

// receive is the receiver's.
func (l *ledger) receive(f []string) error {
	if len(f) < 6 {
		return fmt.Errorf("%d words, not 6", len(f))
	}
	b := work.Block{Stream: f[1]}
	numbers, err := two(f[2:4])
	if err != nil {
		return err
	}
	b.First, b.Last = numbers[0], numbers[1]
	for i, to := range [][]byte{b.Epoch[:], b.Before[:], b.After[:]} {
		raw, err := hex.DecodeString(f[[]int{0, 4, 5}[i]])
		if err != nil || len(raw) != len(to) {
			return fmt.Errorf("word %d: %d bytes: %v", i, len(raw), err)
		}
		copy(to, raw)
	}
	l.same(&b)
	k := stream{b.Epoch, b.Stream}
	l.received[k] = l.received[k].add(b.First, b.Last)
	for _, word := range f[6:] {
		if gap, ok := strings.CutPrefix(word, "gap:"); ok {
			if err := l.gap(strings.Split(gap, ":")); err != nil {
				return err
			}
			continue
		}
		number, sum, _ := strings.Cut(word, ":")
		serial, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return err
		}
		l.true(serial, sum)
		l.had[serial] = true
	}
	return nil
}

// gap is a gap record that the receiver has been sent: what it names stays
// named, whatever becomes of the record in the journal.
func (l *ledger) gap(f []string) error {
	if len(f) != 4 {
		return fmt.Errorf("a gap of %d parts, not 4", len(f))
	}
	id, err := hex.DecodeString(f[0])
	if err != nil || len(id) != 16 {
		return fmt.Errorf("a gap of epoch %q", f[0])
	}
	ends, err := two(f[2:])
	if err != nil {
		return err
	}
	k := stream{wire.Epoch(id), f[1]}
	l.told[k] = l.told[k].add(ends[0], ends[1])
	return nil
}

// same holds a block to what was ever seen of its numbers.
func (l *ledger) same(b *work.Block) {
	for _, end := range []struct {
		number uint64
		root   wire.Root
	}{{b.First - 1, b.Before}, {b.Last, b.After}} {
		c := chain{stream{b.Epoch, b.Stream}, end.number}
		if was, ok := l.roots[c]; ok && was != end.root {
			l.wrong("%s %d of epoch %x is two things: chain %x and %x", b.Stream, end.number, b.Epoch[:4], was[:4], end.root[:4])
		}
		l.roots[c] = end.root
	}
}

// true holds an event to what it must be.
func (l *ledger) true(serial uint64, sum string) {
	e := work.Event(serial)
	if want := work.Sum(&e); sum != want {
		l.wrong("event %d has become another one: %s, not %s", serial, sum, want)
	}
}

// verdict is what a look at the journal gave.
type verdict struct {
	lost        uint64 // promised, and neither there nor receipted nor named
	lostEvents  []uint64
	named       uint64 // numbers that were promised and are named: by a gap, or beyond the heads of the parent
	quarantined int
}
