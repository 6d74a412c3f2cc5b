package journal

import (
	"davy/agent/wire"
)

// observe reads what is new.
func (w *world) observe() {
	w.quiet(func() {
		for _, stream := range streamNames {
			for {
				items, err := w.dests[3].c.Next(stream, w.watch[stream], 64<<10)
				if err != nil {
					w.fatalf("read %s: %v", stream, err)
				}
				if len(items) == 0 {
					break
				}
				for i := range items {
					w.learn(&items[i])
				}
				w.watch[stream] = items[len(items)-1].After()
			}
		}
	})
}

func (w *world) learn(it *Item) {
	err := each(it, func(rec Record) error { w.record(rec); return nil })
	if err != nil {
		w.fatalf("decode: %v", err)
	}
}

// record learns that a record is there: always the same under a name, and no
// record under two.
func (w *world) record(rec Record) name {
	n := name{rec.Epoch, rec.Stream, rec.Number}
	content := string(rec.Canonical(nil))
	if was, ok := w.seen[n]; ok && was != content {
		w.fatalf("%v was another record before", n)
	}
	w.seen[n] = content
	l := line{n.epoch, n.stream}
	w.head[l] = max(w.head[l], n.number)
	id := uint64(0)
	if rec.Event != nil {
		id = rec.Event.Serial
		if rec.Event.Gap != nil {
			w.gaps[n] = *rec.Event.Gap
		}
	} else {
		v := rec.Reading.Value.Int()
		id = 1<<40 + uint64(v)
	}
	if id != 0 {
		if at, ok := w.where[id]; ok && at != n {
			w.fatalf("record %d is %v and %v", id, at, n)
		}
		w.where[id] = n
	}
	return n
}

// present reads the journal as somebody outside does.
func (w *world) present() map[name]bool {
	r, err := OpenReadOnly(w.o.Dir)
	must(w.t, err)
	defer r.Close()
	out := map[name]bool{}
	must(w.t, r.Walk(func(rec Record) error {
		n := w.record(rec)
		if out[n] {
			w.fatalf("%v is there twice", n)
		}
		out[n] = true
		return nil
	}))
	if len(r.Damaged) > 0 {
		w.fatalf("damaged: %v", r.Damaged)
	}
	return out
}

// confirmed: all who must have the record.
func (w *world) confirmed(n name) bool {
	for _, d := range w.dests {
		if d.must && !d.has[n] {
			return false
		}
	}
	return true
}

// check holds what is there against what must be.
func (w *world) check() {
	w.say("check")
	w.observe()
	there := w.present()
	named := map[name]name{}
	for at, g := range w.gaps {
		if g.Count != g.To-g.From+1 || g.From == 0 || g.From > g.To {
			w.fatalf("gap %+v", g)
		}
		standing := there[at]
		if !standing && !w.confirmed(at) && !w.spoiled(at) {
			continue // it went itself, and nobody has it
		}
		for n := g.From; n <= g.To; n++ {
			x := name{wire.Epoch(g.Epoch), g.Stream, n}
			if other, ok := named[x]; ok && standing && there[other] {
				w.fatalf("%v is named by %v and %v", x, other, at)
			}
			if there[x] && !w.removing {
				w.fatalf("%v is named by %v and is there", x, at)
			}
			named[x] = at
		}
	}
	for id := range w.acked {
		w.must(id)
	}
	for l, head := range w.head {
		// An epoch of which no file is left is named by the start of its child alone.
		for n := uint64(1); n <= head && (w.known(l.epoch) || !w.damaged); n++ {
			x := name{l.epoch, l.stream, n}
			if _, ok := named[x]; !ok && !there[x] && !w.confirmed(x) {
				for at, g := range w.gaps {
					if wire.Epoch(g.Epoch) == x.epoch && g.Stream == x.stream && g.From <= x.number && x.number <= g.To {
						w.say("%v named it (%s) and is gone itself", at, g.Cause)
					}
				}
				w.fatalf("%v of %d is not there, no gap names it, and not all have it", x, head)
			}
		}
	}
	if s := w.j.Stat(); s.Bytes > s.MaxBytes+2*minSegment {
		w.fatalf("%d bytes of %d", s.Bytes, s.MaxBytes)
	}
}

// spoiled: the file that held a record was damaged, and a gap record says so.
func (w *world) spoiled(n name) bool {
	for _, g := range w.gaps {
		if g.Cause == CauseDamaged && wire.Epoch(g.Epoch) == n.epoch && g.Stream == n.stream && g.From <= n.number && n.number <= g.To {
			return true
		}
	}
	return w.damaged && !w.known(n.epoch)
}

// end gives every destination everything, and looks at what it has.
func (w *world) end() {
	w.fault.left = 0
	w.append(true, true)
	w.check()
	for _, d := range w.dests[:3] {
		for len(w.log) > 0 {
			n := len(w.log)
			for range 8 * streams {
				w.pull(d)
			}
			if n == len(w.log) {
				break
			}
		}
	}
	w.check()
	w.close()
	w.start()
	w.check()
	for _, d := range w.dests[:2] {
		if !d.must {
			continue
		}
		had := map[name]bool{}
		for at, g := range w.gaps {
			for n := g.From; (d.has[at] || w.spoiled(at)) && n <= g.To; n++ {
				had[name{wire.Epoch(g.Epoch), g.Stream, n}] = true
			}
		}
		for l, head := range w.head {
			for n := uint64(1); n <= head && l.epoch != w.last && (w.known(l.epoch) || !w.damaged); n++ {
				if x := (name{l.epoch, l.stream, n}); !d.has[x] && !had[x] {
					w.fatalf("%s has neither %v nor its gap", d.name, x)
				}
			}
		}
	}
}
