package ingest

import (
	"testing"
	"time"

	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// begin is the start record of an epoch after another; nil: after none.
func (g *gw) begin(parent *gw, wall int64, clean bool) wire.Block {
	e := g.event(0)
	e.At.Wall = wall
	e.Start = &wire.Start{Version: "1", Clean: clean}
	if parent != nil {
		e.Start.Parent = parent.epoch[:]
		for _, s := range []string{wire.EventStream, wire.ReadingStream} {
			if h := parent.heads[s]; h.Number > 0 {
				e.Start.ParentHeads = append(e.Start.ParentHeads, h)
			}
		}
		if parent.size > 0 {
			e.Start.ParentCheckpoint = parent.note(parent.size)
		}
	}
	return g.say(e)
}

// image is a copy of a gateway's disk.
func (g *gw) image() *gw {
	c := *g
	c.heads = map[string]wire.Head{}
	for s, h := range g.heads {
		c.heads[s] = h
	}
	c.log = append(c.log[:0:0], g.log...)
	return &c
}

const sec = int64(time.Second)

// A box that restarts is no finding, and neither is its backlog of epochs
// before, nor that of a receiver that gets them in any order.
func TestRestartsAreNoFindings(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g1 := newGW("GW-1", 1)
	say := func(g *gw, boot string, at int64, blocks ...wire.Block) Message {
		return g.seal(g.sent(g.envelope(blocks...), boot, t0+at))
	}
	b.take(say(g1, "a", 1*sec, g1.begin(nil, t0, false), g1.events(2)))
	rest := g1.readings(9)
	g2 := newGW("GW-1", 2)
	b.take(say(g2, "a", 5*sec, g2.begin(g1, t0+4*sec, false)))
	g3 := newGW("GW-1", 3)
	g3.mono = 0
	b.take(say(g3, "b", 9*sec, g3.begin(g2, t0+8*sec, true)))
	g1.mono = 50
	b.take(say(g1, "b", 10*sec, rest)) // its backlog
	b.take(say(g3, "b", 99*sec, g3.events(1)))
	b.expectFound()
	if f := b.forks(); len(f) != 0 {
		t.Errorf("forks %+v", f)
	}
	// Another receiver gets the newest first, and then all of it.
	o := newBench(t, "GW-1")
	h1, h2, h3, h4 := newGW("GW-1", 1), newGW("GW-1", 2), newGW("GW-1", 3), newGW("GW-1", 4)
	m1 := say(h1, "a", 1*sec, h1.begin(nil, t0, false))
	m2 := say(h2, "a", 2*sec, h2.begin(h1, t0+1*sec, false))
	m3 := say(h3, "a", 3*sec, h3.begin(h2, t0+2*sec, false))
	m4 := say(h4, "a", 4*sec, h4.begin(h3, t0+3*sec, false))
	o.take(m4)
	o.take(m1, m2)
	o.take(m3)
	o.reopen()
	h5 := newGW("GW-1", 5)
	o.take(say(h5, "a", 5*sec, h5.begin(h4, t0+4*sec, false)))
	o.expectFound()
	if f := o.forks(); len(f) != 0 {
		t.Errorf("forks %+v", f)
	}
}

// The rows of the table of what has to be found, as far as a receiver can.
func TestDiskReplaced(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g := newGW("GW-1", 1)
	b.take(g.seal(g.sent(g.envelope(g.begin(nil, t0, false), g.events(2)), "a", t0)))
	n := newGW("GW-1", 2) // a new disk, and the old key
	b.take(n.seal(n.sent(n.envelope(n.begin(nil, t0+9, false)), "b", t0+10)))
	if f := b.forks(); len(f) != 1 || f[0].Kind != "orphan" {
		t.Errorf("forks %+v", f)
	}
	k := newGW("GW-1", 3) // a new disk, and a new key with it
	k.key = key(5)
	if got := b.take(k.message(k.events(1))); len(got) != 0 || b.verdicts()[WrongKey] != 1 {
		t.Errorf("receipts %+v, verdicts %v", got, b.verdicts())
	}
}

// A gateway without a clock begins in 1970 with its new disk, too; and where the
// receiver does not have the first epochs, that is no backlog of them.
func TestDiskReplacedWithoutClock(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	lost, g, n := newGW("GW-1", 1), newGW("GW-1", 2), newGW("GW-1", 3)
	lost.events(1) // before this receiver was there
	booted := func(g *gw, parent *gw, boot string, wall int64) wire.Block {
		e := g.event(0)
		e.At.Wall, e.Start = wall, &wire.Start{Version: "1", Boot: boot}
		if parent != nil {
			e.Start.Parent = parent.epoch[:]
		}
		return g.say(e)
	}
	b.take(g.seal(g.sent(g.envelope(booted(g, lost, "a", t0)), "a", t0)))
	b.take(n.seal(n.sent(n.envelope(booted(n, nil, "b", 9)), "b", 10)))
	if f := b.forks(); len(f) != 1 || f[0].Kind != "orphan" {
		t.Errorf("forks %+v", f)
	}
}

// What an older receiver knew of epochs is in no order; the clock of a gateway
// that begins in 1970 is none either.
func TestRestartAfterUpgrade(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g1, g2, g3 := newGW("GW-1", 1), newGW("GW-1", 2), newGW("GW-1", 3)
	b.take(g1.seal(g1.sent(g1.envelope(g1.begin(nil, t0, false)), "a", t0)))
	b.take(g2.seal(g2.sent(g2.envelope(g2.begin(g1, 9, false)), "b", t0+1*sec)))
	if _, err := b.beside().Exec(`UPDATE epoch SET seq = 0`); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.take(g3.seal(g3.sent(g3.envelope(g3.begin(g2, t0+2*sec, false)), "c", t0+2*sec)))
	b.expectFound()
	if f := b.forks(); len(f) != 0 {
		t.Errorf("forks %+v", f)
	}
}

func TestImageRolledBack(t *testing.T) {
	// Within the epoch that was open when the image was made.
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g := newGW("GW-1", 1)
	b.take(g.seal(g.vouch(g.sent(g.envelope(g.begin(nil, t0, false), g.events(2)), "a", t0), 0)))
	old := g.image()
	b.take(g.seal(g.vouch(g.sent(g.envelope(g.events(3)), "a", t0+sec), 2)))
	n := newGW("GW-1", 2)
	b.take(n.seal(n.sent(n.envelope(n.begin(old, t0+9*sec, true)), "b", t0+9*sec)))
	found := b.expectFound(store.LogShort, store.Rollback)
	if f := found[0]; f.First != 2 || f.Last != 3 || f.Other != g.epoch {
		t.Errorf("%+v", f)
	}
	if l := b.losses(); len(l) != 1 || l[0].Receipted != 6 || l[0].Declared != 3 {
		t.Errorf("losses %+v", l)
	}
	// Behind an epoch that had followed it.
	b = newBench(t, "GW-1")
	g = newGW("GW-1", 1)
	b.take(g.seal(g.sent(g.envelope(g.begin(nil, t0, false)), "a", t0)))
	g2, g3, back := newGW("GW-1", 2), newGW("GW-1", 3), newGW("GW-1", 4)
	b.take(g2.seal(g2.sent(g2.envelope(g2.begin(g, t0+1*sec, true)), "b", t0+1*sec)))
	b.take(g3.seal(g3.sent(g3.envelope(g3.begin(g2, t0+2*sec, true)), "c", t0+2*sec)))
	b.take(back.seal(back.sent(back.envelope(back.begin(g2, t0+9*sec, true)), "d", t0+9*sec)))
	found = b.expectFound(store.Rollback)
	if f := found[0]; f.Epoch != back.epoch || f.Other != g3.epoch {
		t.Errorf("%+v", f)
	}
	if f := b.forks(); len(f) != 1 || f[0].Kind != "parent" {
		t.Errorf("forks %+v", f)
	}
}

func TestTwoBoxes(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g := newGW("GW-1", 1)
	b.take(g.seal(g.sent(g.envelope(g.begin(nil, t0, false), g.events(2)), "a", t0)))
	copied := newGW("GW-1", 2) // a second box with a copy of the disk
	b.take(copied.seal(copied.sent(copied.envelope(copied.begin(g, t0+5*sec, false)), "z", t0+5*sec)))
	b.expectFound() // a restart, as far as anybody can know
	b.take(g.seal(g.sent(g.envelope(g.events(1)), "a", t0+6*sec)))
	found := b.expectFound(store.Clone)
	if f := found[0]; f.Epoch != g.epoch || f.Other != copied.epoch || f.Stream != wire.EventStream || f.First != 4 {
		t.Errorf("%+v", f)
	}
	// Both restart from the same image: two children of one parent, both living.
	b = newBench(t, "GW-1")
	g = newGW("GW-1", 1)
	b.take(g.seal(g.sent(g.envelope(g.begin(nil, t0, false)), "a", t0)))
	x, y := newGW("GW-1", 2), newGW("GW-1", 3)
	b.take(x.seal(x.sent(x.envelope(x.begin(g, t0+1*sec, false)), "b", t0+1*sec)))
	b.take(y.seal(y.sent(y.envelope(y.begin(g, t0+2*sec, false)), "c", t0+2*sec)))
	b.expectFound(store.Rollback)
	b.take(x.seal(x.sent(x.envelope(x.events(1)), "b", t0+3*sec)))
	b.expectFound(store.Rollback, store.Clone)
	// Boots that come in turns say it too, whatever the clocks say.
	for range store.BootReturns {
		b.take(y.seal(y.sent(y.envelope(y.events(1)), "c", 0)), x.seal(x.sent(x.envelope(x.events(1)), "b", 0)))
	}
	kinds := map[string]bool{}
	all, err := b.st.Findings(t.Context(), "GW-1")
	for _, f := range all {
		kinds[f.Kind] = true
	}
	if err != nil || !kinds[store.Boots] {
		t.Errorf("%v: %+v", err, all)
	}
}

// A message that an old boot left in the broker is no second box.
func TestLateMessageIsNoSecondBox(t *testing.T) {
	b, t0 := newBench(t, "GW-1"), int64(1e18)
	g := newGW("GW-1", 1)
	b.take(g.seal(g.sent(g.envelope(g.begin(nil, t0, false)), "a", t0)))
	late := g.seal(g.sent(g.envelope(g.events(1)), "a", t0+1*sec))
	n := newGW("GW-1", 2)
	b.take(n.seal(n.sent(n.envelope(n.begin(g, t0+5*sec, false)), "b", t0+5*sec)))
	b.take(late)
	b.take(n.seal(n.sent(n.envelope(n.events(1)), "b", t0+6*sec)))
	for range 2 * store.BootReturns { // and again and again: it says nothing of now
		b.take(late)
		b.take(n.seal(n.sent(n.envelope(n.events(1)), "b", t0+6*sec)))
	}
	b.expectFound()
	if l := b.losses(); len(l) != 0 {
		t.Errorf("losses %+v", l)
	}
	// One that tells of what the next epoch does not know is a loss, and so is none of a line that was left.
	old := n.image()
	late = n.seal(n.sent(n.envelope(n.events(3)), "b", t0+7*sec))
	m := newGW("GW-1", 3)
	b.take(m.seal(m.sent(m.envelope(m.begin(old, t0+9*sec, false)), "c", t0+9*sec)))
	b.take(late)
	b.expectFound()
	if l := b.losses(); len(l) != 1 || l[0].Receipted != n.heads[wire.EventStream].Number || l[0].Declared != l[0].Receipted-3 {
		t.Errorf("losses %+v", l)
	}
	late = m.seal(m.sent(m.envelope(m.events(1)), "c", t0+10*sec))
	back := newGW("GW-1", 4)
	b.take(back.seal(back.sent(back.envelope(back.begin(old, t0+11*sec, false)), "d", t0+11*sec)))
	b.take(late)
	b.expectFound(store.Rollback)
}

func TestSilence(t *testing.T) {
	b, g := newBench(t, "GW-1", "GW-2"), newGW("GW-1", 1)
	b.take(g.message(g.events(1)))
	b.watch(DefaultSilent - time.Minute)
	b.expectFound()
	b.reopen()
	b.watch(2 * time.Minute) // this receiver did not listen for that long
	b.expectFound()
	b.watch(DefaultSilent)
	b.watch(time.Minute)
	b.expectFound(store.Silent) // one that was never heard is named elsewhere
	old := g.seal(g.vouch(g.sent(g.envelope(), "b", 1), 0))
	b.take(old)
	b.watch(time.Minute)
	b.expectFound("-" + store.Silent)
	b.watch(DefaultSilent)
	b.take(old) // a replay says nothing of now
	b.watch(time.Minute)
	b.expectFound("-"+store.Silent, store.Silent)
}

// Of a time in which this receiver could not hear anybody it says nothing: no
// connection, a database that takes nothing, a machine that slept or whose own
// clock was set.
func TestDeaf(t *testing.T) {
	for name, deaf := range map[string]func(b *bench, m Message){
		"no connection": func(b *bench, _ Message) {
			b.in.Hears(false)
			b.watch(2 * DefaultSilent)
			b.in.Hears(true)
		},
		"database": func(b *bench, m Message) {
			b.watch(DefaultSilent - time.Minute)
			if _, err := b.beside().Exec(`CREATE TRIGGER full BEFORE INSERT ON raw BEGIN SELECT raise(FAIL, 'full'); END`); err != nil {
				t.Fatal(err)
			}
			b.take(m)
		},
		"clock": func(b *bench, _ Message) { b.wall += 365 * 24 * int64(time.Hour) },
	} {
		b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
		b.take(g.message(g.events(1)))
		deaf(b, g.message(g.events(1)))
		b.watch(DefaultSilent - 2*time.Minute)
		if all := b.expectFound(); len(all) > 0 {
			t.Error(name)
		}
		b.watch(3 * time.Minute)
		b.expectFound(store.Silent)
	}
}

func TestLyingClock(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	say := func(off time.Duration, trusted bool) {
		e := g.sent(g.envelope(), "a", b.wall+int64(off))
		e.ClockTrusted = trusted
		b.take(g.seal(e))
	}
	bound := store.ClockBound
	say(bound-time.Second, true)
	say(-bound, true)
	say(100*bound, false) // it says itself that nobody should believe it
	b.expectFound()
	say(bound+time.Second, true)
	b.expectFound(store.Clock)
	say(bound+2*time.Second, true)
	b.expectFound(store.Clock)
	say(0, true)
	b.expectFound("-" + store.Clock)
	say(-2*bound, true) // it may have waited somewhere
	b.wall += int64(store.ClockPatience) / 2
	say(-2*bound, true)
	b.expectFound("-" + store.Clock)
	b.wall += int64(store.ClockPatience)
	b.reopen()
	say(-2*bound, true)
	found := b.expectFound("-"+store.Clock, store.Clock)
	if d := time.Duration(found[1].First); d > -2*bound || d < -3*bound {
		t.Errorf("differs by %v", d)
	}
}

// A broker that keeps one stream back is found: the heads say that there is more.
func TestWithheld(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(1), g.readings(5)))
	kept := g.message(g.readings(5))
	b.take(g.message(g.events(1)))
	b.hears(g, DefaultWithheld-time.Minute)
	b.take(g.message(g.events(1)))
	b.expectFound()
	b.watch(2 * time.Minute)
	found := b.expectFound(store.Withheld)
	if f := found[0]; f.Stream != wire.ReadingStream || f.First != 6 || f.Last != 10 || f.Epoch != g.epoch {
		t.Errorf("%+v", f)
	}
	// What follows comes, so that there is a hole.
	b.take(g.message(g.readings(3)))
	b.hears(g, DefaultWithheld)
	found = b.expectFound(store.Withheld, store.Hole)
	if f := found[1]; f.First != 6 || f.Last != 10 {
		t.Errorf("%+v", f)
	}
	b.take(kept)
	b.watch(time.Minute)
	b.expectFound("-"+store.Withheld, "-"+store.Hole)
}

// What is told of only now is not waited for since the stream last moved; and
// an earlier epoch that is kept back is found although later ones come.
func TestWithheldSince(t *testing.T) {
	b, g, h := newBench(t, "GW-1"), newGW("GW-1", 1), newGW("GW-1", 2)
	b.take(g.message(g.begin(nil, 1, false), g.readings(5)))
	b.watch(DefaultWithheld + time.Minute)
	g.readings(5)
	b.take(g.message(g.events(1)))
	b.watch(time.Minute)
	b.expectFound()
	b.take(h.message(h.begin(g, 2, false), h.readings(5)))
	b.hears(h, DefaultWithheld)
	b.take(h.message(h.readings(5)))
	b.watch(time.Second)
	found := b.expectFound(store.Withheld)
	if f := found[0]; f.Epoch != g.epoch || f.First != 6 || f.Last != 10 {
		t.Errorf("%+v", f)
	}
}

// What waits behind an earlier epoch that comes is not withheld, and neither
// is what a silent gateway has, nor what one that comes back has on its way;
// what waits although nothing else comes is.
func TestBacklogIsNotWithheld(t *testing.T) {
	b, g, h := newBench(t, "GW-1"), newGW("GW-1", 1), newGW("GW-1", 2)
	start := g.begin(nil, 1, false)
	var backlog []Message
	for range 5 {
		backlog = append(backlog, g.message(g.readings(5)))
	}
	b.take(g.message(start))
	b.take(h.message(h.begin(g, 2, false), h.events(1)))
	later := h.message(h.readings(5))
	b.take(h.message(h.events(1)))
	for _, m := range backlog[:4] {
		b.watch(DefaultWithheld - time.Minute)
		b.expectFound()
		b.take(m)
	}
	b.watch(2 * DefaultWithheld)
	b.expectFound(store.Silent)
	b.take(h.message(h.events(1)))
	b.hears(h, DefaultWithheld-time.Minute)
	b.expectFound("-" + store.Silent)
	b.hears(h, 2*time.Minute)
	found := b.expectFound("-"+store.Silent, store.Withheld, store.Withheld)
	if found[1].Epoch != g.epoch || found[1].First != 21 || found[2].Epoch != h.epoch || found[2].First != 1 {
		t.Errorf("%+v", found)
	}
	b.take(backlog[4], later)
	b.watch(time.Minute)
	b.expectFound("-"+store.Silent, "-"+store.Withheld, "-"+store.Withheld)
}
