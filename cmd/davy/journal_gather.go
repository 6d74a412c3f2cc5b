package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	"davy/agent/export"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// gathering puts what was asked for of a journal into an evidence file.
type gathering struct {
	r     *journal.Reader
	w     *export.Writer
	claim export.Claim
	begin func()                                                             // the file, with the claim
	sign  func(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error) // nil: with no key
	lost  []string

	spans  []journal.Span
	starts map[wire.Epoch]*wire.Start
	began  int64 // wall time of the first record of the first of spans
	plans  map[wire.Epoch]*gatherPlan
	lacks  map[wire.Epoch]map[string][]journal.Numbers // that gap records name

	records, readings uint64
}

// gatherPlan is what of an epoch goes into the file.
type gatherPlan struct {
	touched bool
	numbers map[string][]journal.Numbers // by stream, in order: the first is the range that is claimed to be whole
	claims  map[string]journal.Numbers
}

// allStreams in the order in which a file that is read by a person has them.
var allStreams = [...]string{wire.EventStream, wire.ReadingStream, wire.HealthStream}

// gather writes the file but for its end.
func (g *gathering) gather() error {
	if err := g.prepare(); err != nil {
		return err
	}
	g.begin()
	return g.sections()
}

// prepare looks through the journal and plans what is taken.
func (g *gathering) prepare() error {
	g.spans = g.r.Spans()
	g.starts, g.plans = map[wire.Epoch]*wire.Start{}, map[wire.Epoch]*gatherPlan{}
	for _, s := range slices.Backward(g.spans) { // the first one last: began is its
		if err := g.readStart(s.Epoch); err != nil {
			return err
		}
	}
	if err := g.choose(); err != nil {
		return err
	}
	if len(g.claim.Epochs) == 0 {
		if err := g.readGaps(); err != nil {
			return err
		}
		from := max(g.claim.From, g.oldest())
		if g.claim.To == 0 || from < g.claim.To { // else nothing of that time is here
			g.claim.From = from
		}
	}
	return nil
}

// sections writes what is planned.
func (g *gathering) sections() error {
	for i, s := range g.spans {
		if p := g.plans[s.Epoch]; p != nil {
			if err := g.epoch(s.Epoch, p, g.r.Live() && i == len(g.spans)-1); err != nil {
				return err
			}
		}
	}
	g.lost = append(g.lost, g.r.Damaged...)
	return nil
}

func (g *gathering) readStart(id wire.Epoch) error {
	it, err := g.r.Blocks(id, wire.EventStream).Rest()
	if errors.Is(err, io.EOF) {
		return nil
	}
	g.starts[id], g.began = startOf(&it), it.WallFrom
	return err
}

// startOf returns what the first record of an epoch says, nil if the block is
// not the one that holds it.
func startOf(it *journal.Item) *wire.Start {
	if it.Block.Stream != wire.EventStream || it.Block.First != 1 {
		return nil
	}
	events, err := wire.DecodeEvents(it.Block.Body)
	if err != nil || len(events) == 0 {
		return nil
	}
	return events[0].Start
}

func (g *gathering) asked(stream string) bool {
	return stream == wire.EventStream || len(g.claim.Streams) == 0 || slices.Contains(g.claim.Streams, stream)
}

// oldest is the time since which nothing is missing that was deleted in order,
// as records are that were confirmed and are old; 0 where nothing is. What is
// older goes into the file as far as it is here, but the file does not claim to
// hold all of it.
func (g *gathering) oldest() (from int64) {
	for i, s := range g.spans {
		p := g.plans[s.Epoch]
		if p == nil || g.claim.To != 0 && !p.touched && s.From > g.claim.To {
			continue
		}
		if start := g.starts[s.Epoch]; i == 0 && start != nil && len(start.Parent) > 0 { // the whole epoch before it is gone
			from = max(from, g.began, 1)
		}
		var next *journal.Span
		heads := map[string]uint64{}
		for i := range g.spans {
			if start := g.starts[g.spans[i].Epoch]; start != nil && string(start.Parent) == string(s.Epoch[:]) {
				next = &g.spans[i]
				for _, h := range start.ParentHeads {
					heads[h.Stream] = h.Number
				}
			}
		}
		for _, stream := range allStreams {
			n, here := p.claims[stream]
			switch {
			case !g.asked(stream):
			case here && n.From > 1 && !g.named(s.Epoch, stream, n.From-1):
				if it, err := g.r.BlocksFrom(s.Epoch, stream, n.From).Rest(); err == nil {
					from = max(from, it.WallFrom+1)
				}
			case !here && next != nil && heads[stream] > 0 && !g.named(s.Epoch, stream, heads[stream]):
				from = max(from, next.From+1)
			}
		}
	}
	return from
}

// named reports whether gap records name the numbers up to to: what they name
// was lost, and is no reason to claim less.
func (g *gathering) named(id wire.Epoch, stream string, to uint64) bool {
	last := uint64(0)
	for again := true; again && last < to; {
		again = false
		for _, n := range g.lacks[id][stream] {
			if n.From <= last+1 && n.To > last {
				last, again = n.To, true
			}
		}
	}
	return last >= to
}

// readGaps notes what gap records name, up to maxLacks of them; what further
// ones name counts as deleted.
func (g *gathering) readGaps() error {
	g.lacks = map[wire.Epoch]map[string][]journal.Numbers{}
	count := 0
	for _, s := range g.spans {
		for b := g.r.Blocks(s.Epoch, wire.EventStream); ; {
			it, err := b.Rest()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			events, _ := wire.DecodeEvents(it.Block.Body) // one that cannot be read explains nothing
			for i := range events {
				gap, id := events[i].Gap, s.Epoch
				if gap == nil || gap.From == 0 || count == maxLacks {
					continue
				}
				if len(gap.Epoch) == len(id) {
					id = wire.Epoch(gap.Epoch)
				}
				if g.lacks[id] == nil {
					g.lacks[id] = map[string][]journal.Numbers{}
				}
				g.lacks[id][gap.Stream] = append(g.lacks[id][gap.Stream], journal.Numbers{From: gap.From, To: gap.To})
				count++
			}
		}
	}
	return nil
}

// maxLacks is how many gap records are remembered while a file is planned.
const maxLacks = 65536

// choose plans what of each epoch is taken: what was asked for, the epochs
// beside the time asked for with what shows that they are beside it, and of
// later ones their first record and the gap records that explain a hole.
func (g *gathering) choose() error {
	c := &g.claim
	first, last := -1, -1
	for i, s := range g.spans {
		if len(c.Epochs) > 0 && !slices.Contains(c.Epochs, hex.EncodeToString(s.Epoch[:])) {
			continue
		}
		p := &gatherPlan{numbers: map[string][]journal.Numbers{}, claims: map[string]journal.Numbers{}}
		for _, stream := range allStreams {
			n, touched, ok := g.r.Window(s.Epoch, stream, c.From, c.To)
			if !ok || !g.asked(stream) {
				continue
			}
			p.touched = p.touched || touched
			p.numbers[stream], p.claims[stream] = []journal.Numbers{n}, n
		}
		g.plans[s.Epoch] = p
		if p.touched {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if c.From == 0 && c.To == 0 && len(c.Epochs) == 0 {
		return nil
	}
	for i, s := range g.spans {
		p := g.plans[s.Epoch]
		switch {
		case p == nil, first < 0:
		case p.touched: // from the tag table on
			if n, ok := p.claims[wire.EventStream]; ok {
				n.From = 1
				p.numbers[wire.EventStream] = []journal.Numbers{n}
			}
		case i < first-1 && c.From != 0:
			delete(g.plans, s.Epoch)
		case i < first:
			p.withStart()
		case i > last:
			*p = gatherPlan{numbers: map[string][]journal.Numbers{}, claims: map[string]journal.Numbers{}}
			p.withStart()
		}
	}
	return g.gaps()
}

// withStart takes the first record of the epoch in too.
func (p *gatherPlan) withStart() {
	was := p.numbers[wire.EventStream]
	p.numbers[wire.EventStream] = append([]journal.Numbers{{From: 1, To: 1}}, was...)
	if len(was) == 0 {
		p.claims[wire.EventStream] = journal.Numbers{From: 1, To: 1}
	}
}

// gaps takes in the later gap records that name numbers of epochs which were
// asked for.
func (g *gathering) gaps() error {
	for _, s := range g.spans {
		b := g.r.Blocks(s.Epoch, wire.EventStream)
		for {
			it, err := b.Rest()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if p := g.plans[s.Epoch]; p != nil && slices.ContainsFunc(p.numbers[wire.EventStream], func(n journal.Numbers) bool {
				return n.From <= it.Block.First && it.Block.Last() <= n.To
			}) {
				continue
			}
			events, err := wire.DecodeEvents(it.Block.Body)
			if err != nil || !g.explains(events, s.Epoch) {
				continue
			}
			if g.plans[s.Epoch] == nil {
				g.plans[s.Epoch] = &gatherPlan{numbers: map[string][]journal.Numbers{}, claims: map[string]journal.Numbers{}}
				g.plans[s.Epoch].withStart()
			}
			p := g.plans[s.Epoch]
			p.numbers[wire.EventStream] = append(p.numbers[wire.EventStream], journal.Numbers{From: it.Block.First, To: it.Block.Last()})
		}
	}
	return nil
}

func (g *gathering) explains(events []wire.Event, own wire.Epoch) bool {
	for i := range events {
		if gap := events[i].Gap; gap != nil {
			id := own
			if len(gap.Epoch) == len(id) {
				id = wire.Epoch(gap.Epoch)
			}
			if p := g.plans[id]; p != nil && p.touched {
				return true
			}
		}
	}
	return false
}

// gathered gives the blocks of one stream that are in the plan.
type gathered struct {
	r       *journal.Reader
	id      wire.Epoch
	stream  string
	numbers []journal.Numbers
	blocks  *journal.Blocks
	item    journal.Item
	ended   bool // the item is not one
}

func (x *gathered) next() error {
	for len(x.numbers) > 0 {
		n := x.numbers[0]
		if x.blocks == nil {
			x.blocks = x.r.BlocksFrom(x.id, x.stream, n.From)
		}
		it, err := x.blocks.Rest()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil || it.Block.First > n.To {
			x.numbers, x.blocks = x.numbers[1:], nil
			continue
		}
		x.item = it
		return nil
	}
	x.ended = true
	return nil
}

// epoch writes a section.
func (g *gathering) epoch(id wire.Epoch, p *gatherPlan, live bool) error {
	s := g.section(id)
	defer s.close()
	var streams []*gathered
	for _, name := range allStreams {
		x := &gathered{r: g.r, id: id, stream: name, numbers: p.numbers[name]}
		if err := x.next(); err != nil {
			return err
		}
		streams = append(streams, x)
	}
	whole := g.claim.To == 0 && len(g.claim.Streams) == 0
	last := map[string]uint64{}
	for {
		x := slices.MinFunc(streams, func(a, b *gathered) int {
			return cmp.Or(compareBool(a.ended, b.ended), cmp.Compare(a.item.Block.Leaf, b.item.Block.Leaf))
		})
		if x.ended {
			break
		}
		if live && whole && int64(x.item.Block.Leaf) > g.w.Leaves() && (streams[0].ended || streams[1].ended && streams[2].ended) {
			break // of another stream the copy is a little older
		}
		ok, err := s.block(&x.item)
		if err != nil {
			return err
		}
		if ok {
			last[x.stream] = x.item.Block.Last()
		}
		if err := x.next(); err != nil {
			return err
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	var ranges []export.Range
	for _, name := range allStreams {
		if n, ok := p.claims[name]; ok && last[name] > 0 {
			ranges = append(ranges, export.Range{Stream: name, From: n.From, To: min(n.To, last[name])})
		}
	}
	g.w.EndEpoch(ranges)
	return nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
