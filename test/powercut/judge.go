package powercut

import (
	"slices"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/test/powercut/work"
)

// judge holds what a journal has to what was promised. With lied the disk has
// told the machine that what it dropped was done.
func (l *ledger) judge(f *work.Found, lied bool) verdict {
	v := verdict{}
	cover, gaps := l.look(f, lied)
	for _, name := range f.Quarantined {
		if !l.aside[name] {
			v.quarantined++
		}
		l.aside[name] = true
	}
	start := l.start(f, lied)

	// What is beyond what the journal still knows of the epoch that ended is
	// named by its heads; an epoch that it does not know at all, by the parent.
	named := map[stream]spans{}
	for k, must := range l.durable {
		missing := must.without(cover[k])
		if len(missing) == 0 {
			continue
		}
		if lied && start != nil && !start.Clean && start.MayHaveLost > 0 {
			known, parent := l.known(f, start, k)
			for _, m := range missing {
				if parent && m.to > known || !parent && !l.inside(f, k.epoch) {
					named[k] = named[k].add(max(m.from, known+1), m.to)
				}
			}
			v.named += named[k].count()
			missing = missing.without(named[k])
		}
		for _, m := range missing {
			l.wrong("%s %d to %d of epoch %x were durable and are not there", k.name, m.from, m.to, k.epoch[:4])
		}
		v.lost += missing.count()
	}
	there := map[uint64]bool{}
	for _, e := range f.Events {
		if e.Serial == 0 {
			continue
		}
		if there[e.Serial] {
			l.wrong("event %d is there twice", e.Serial)
		}
		there[e.Serial] = true
		l.true(e.Serial, e.Sum)
	}
	last := uint64(0)
	for serial, p := range l.promised {
		last = max(last, serial)
		k := stream{p.epoch, wire.EventStream}
		switch {
		case there[serial], l.had[serial]:
			continue
		case gaps[k].touches(p.from, p.to), named[k].touches(p.from, p.to):
		default:
			l.wrong("event %d was durable and is not there", serial)
			v.lostEvents = append(v.lostEvents, serial)
		}
		delete(l.promised, serial)
	}
	if !lied && f.Serial < last {
		l.wrong("the journal knows the decider's events up to %d, and %d was durable", f.Serial, last)
	}
	for k, must := range l.durable {
		l.durable[k] = must.without(must.without(cover[k]))
	}
	slices.Sort(v.lostEvents)
	return v
}

// look holds the blocks to each other and to all that was ever seen, and returns
// which numbers are there, at the receiver, or named by gap records.
func (l *ledger) look(f *work.Found, lied bool) (cover, gaps map[stream]spans) {
	cover, gaps = map[stream]spans{}, map[stream]spans{}
	for k, s := range l.received {
		cover[k] = cover[k].union(s)
	}
	here := map[stream]spans{}
	for _, b := range f.Blocks {
		k := stream{b.Epoch, b.Stream}
		if b.Bad != "" {
			l.wrong("%s %d of epoch %x: %s", b.Stream, b.First, b.Epoch[:4], b.Bad)
		}
		if here[k].touches(b.First, b.Last) {
			l.wrong("%s %d to %d of epoch %x are there twice", b.Stream, b.First, b.Last, b.Epoch[:4])
		}
		here[k] = here[k].add(b.First, b.Last)
		l.same(&b)
	}
	for k, s := range here {
		cover[k] = cover[k].union(s)
	}
	for k, s := range l.told {
		gaps[k] = gaps[k].union(s)
	}
	for _, e := range f.Events {
		if g := e.Gap; g != nil && len(g.Epoch) == 16 {
			k := stream{wire.Epoch(g.Epoch), g.Stream}
			gaps[k] = gaps[k].add(g.From, g.To)
			if !lied && g.Cause != journal.CauseSize {
				l.wrong("%s %d to %d are given up: %s", g.Stream, g.From, g.To, g.Cause)
			}
		}
	}
	for k, s := range gaps {
		cover[k] = cover[k].union(s)
	}
	if !lied && len(f.Quarantined) > 0 {
		l.wrong("set aside: %v", f.Quarantined)
	}
	return cover, gaps
}

// start judges the first record of the new epoch.
func (l *ledger) start(f *work.Found, lied bool) *wire.Start {
	i := slices.IndexFunc(f.Events, func(e work.Entry) bool { return e.Epoch == f.Epoch && e.Start != nil })
	if i < 0 || f.Events[i].Number != 1 {
		l.wrong("epoch %x does not begin with its start record", f.Epoch[:4])
		return nil
	}
	s := f.Events[i].Start
	if len(l.epochs)+len(s.Parent) == 0 {
		return s // the first of all
	}
	if s.Clean || s.MayHaveLost < uint64(work.Sync) {
		l.wrong("epoch %x after a cut: clean %v, may have lost %v", f.Epoch[:4], s.Clean, time.Duration(s.MayHaveLost))
	}
	if len(s.Parent) != 16 {
		if damaged := func(e work.Entry) bool { return e.Epoch == f.Epoch && e.Note != "" }; !lied || !slices.ContainsFunc(f.Events, damaged) {
			l.wrong("epoch %x knows no parent, and names no damage", f.Epoch[:4])
		}
		return s
	}
	parent := wire.Epoch(s.Parent)
	if n := len(l.epochs); !lied && !l.opening && (n == 0 || l.epochs[n-1] != parent) {
		l.wrong("epoch %x calls %x its parent, which was not the last", f.Epoch[:4], parent[:4])
	}
	return s
}

// inside reports whether the journal has anything of an epoch.
func (l *ledger) inside(f *work.Found, id wire.Epoch) bool {
	return slices.ContainsFunc(f.Blocks, func(b work.Block) bool { return b.Epoch == id })
}

// known returns the last number of a stream that the new epoch says its parent
// had. parent is false if the stream's epoch is not the parent.
func (l *ledger) known(f *work.Found, s *wire.Start, k stream) (number uint64, parent bool) {
	if string(s.Parent) != string(k.epoch[:]) {
		return 0, false
	}
	for _, h := range s.ParentHeads {
		if h.Stream == k.name {
			number = h.Number
		}
	}
	return number, true
}
