package export

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// forge is an attacker who knows the format and has no key.
type forge struct {
	t     *testing.T
	m     *made
	parts []part
}

// nth returns the place of the n-th frame of a kind, n from 0.
func (f *forge) nth(kind byte, n int) int {
	for i, p := range f.parts {
		if p.kind == kind {
			if n == 0 {
				return i
			}
			n--
		}
	}
	f.t.Fatalf("no frame %c", kind)
	return 0
}

// block returns the place of the block of a leaf of an epoch, by index.
func (f *forge) block(epoch int, leaf uint64) int {
	for i := f.nth(epochFrame, epoch); i < len(f.parts); i++ {
		if f.parts[i].kind == blockFrame && binary.BigEndian.Uint64(f.parts[i].payload) == leaf {
			return i
		}
	}
	f.t.Fatalf("no leaf %d", leaf)
	return 0
}

// change changes a block; hash too says that its leaf in the file follows.
func (f *forge) change(epoch int, leaf uint64, hash bool, with func(*wire.Block)) {
	p := &f.parts[f.block(epoch, leaf)]
	k, h, err := decodeBlock(p.payload)
	if err != nil {
		f.t.Fatal(err)
	}
	with(&k)
	if hash {
		h = leafOf(&k, sha256Sum(k.Body))
	}
	p.payload = appendBlock(nil, &k, h)
}

func (f *forge) drop(at int) { f.parts = slices.Delete(f.parts, at, at+1) }

func (f *forge) end(with func(*End)) {
	p := &f.parts[f.nth(endFrame, 0)]
	var end End
	if err := json.Unmarshal(p.payload, &end); err != nil {
		f.t.Fatal(err)
	}
	with(&end)
	var err error
	if p.payload, err = json.Marshal(end); err != nil {
		f.t.Fatal(err)
	}
}

// another is what a block might say instead.
func another(k *wire.Block) {
	readings, err := wire.DecodeReadings(k.Body)
	if err != nil {
		panic(err)
	}
	readings[0].Value = tag.IntValue(999)
	k.Body = wire.EncodeReadings(readings)
}

// readingLeaf is a block of readings of an epoch, from a leaf on.
func readingLeaf(e *madeEpoch, from int) *wire.Block {
	for i := from; ; i++ {
		if e.blocks[i].Stream == wire.ReadingStream && e.blocks[i+1].Stream == wire.ReadingStream {
			return &e.blocks[i]
		}
	}
}

// Whatever is done to a file is found, and named to the leaf and to the numbers.
func TestAttacks(t *testing.T) {
	m := sample(t, 90)
	file := m.write(t, certificate(seeded(authorityKey)))
	trust := Trust{Authority: pub(seeded(authorityKey))}
	a, b := m.epochs[0], m.epochs[1]
	hexA, hexB, hexC := hexID(a.id), hexID(b.id), hexID(m.epochs[2].id)
	x := readingLeaf(a, 73) // the block that is attacked
	reading := func(code string) Finding {
		return Finding{Code: code, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last(), Leaf: x.Leaf}
	}
	missing := Finding{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last()}
	leafGone := Finding{Code: LeafMissing, Epoch: hexA, From: x.Leaf, To: x.Leaf}
	chain := Finding{Code: Chain, Epoch: hexA, Stream: wire.ReadingStream, From: x.Last() + 1, To: next(a, x).Last(), Leaf: next(a, x).Leaf}
	notFit := func(n, from uint64) Finding {
		return Finding{Code: NoteRoot, Epoch: hexA, Expected: n, From: from}
	}
	sizes := sorted(a.notes)
	gapNumber := uint64(0)
	for i := range a.blocks {
		events, err := wire.DecodeEvents(a.blocks[i].Body)
		if a.blocks[i].Stream == wire.EventStream && err == nil && events[0].Gap != nil {
			gapNumber = a.blocks[i].First
		}
	}

	for _, c := range []struct {
		name string
		do   func(f *forge)
		want []Finding // exactly what is wrong
	}{
		{"nothing", func(*forge) {}, nil},
		{"a record flipped", func(f *forge) { f.change(0, x.Leaf, false, another) }, []Finding{reading(LeafAltered), chain}},
		{"a record flipped, and its leaf", func(f *forge) { f.change(0, x.Leaf, true, another) }, []Finding{
			chain, {Code: Subtree, Epoch: hexA, From: 64, To: 79},
		}},
		{"a record flipped, its leaf, and the hashes over it", func(f *forge) {
			f.change(0, x.Leaf, true, another)
			f.resum(0)
		}, []Finding{chain, notFit(sizes[1], sizes[0])}},
		{"a record flipped, and all that hangs on it", func(f *forge) {
			f.change(0, x.Leaf, true, another)
			f.rechain(0)
			f.resum(0)
		}, []Finding{
			notFit(sizes[1], sizes[0]),
			{Code: HeadsOther, Epoch: hexA, Stream: wire.ReadingStream, From: a.heads[wire.ReadingStream].Number, Text: hexB},
			{Code: Unsigned, Epoch: hexA, From: sizes[0], To: f0leaves(a) - 1},
		}},
		{"a record deleted", func(f *forge) { f.drop(f.block(0, x.Leaf)) }, []Finding{leafGone, missing}},
		{"a record deleted, and a hash left in its place", func(f *forge) {
			f.parts[f.block(0, x.Leaf)] = part{subtreeFrame, (&subtree{0, int64(x.Leaf), a.stored[merkle.Stored(int64(x.Leaf))]}).append(nil)}
		}, []Finding{missing}},
		{"a record deleted, and the later ones moved up", func(f *forge) {
			f.drop(f.block(0, x.Leaf))
			f.renumber(0)
			f.resum(0)
		}, []Finding{
			{Code: NotePlace, Epoch: hexA, Expected: sizes[1], Got: sizes[1] - 1},
			{Code: NotePlace, Epoch: hexA, Expected: sizes[2], Got: sizes[2] - 1},
			{Code: NotePlace, Epoch: hexA, Expected: sizes[2], Got: sizes[2] - 1, Text: hexB},
			missing,
		}},
		{"a record inserted", func(f *forge) {
			at := f.block(0, x.Leaf)
			f.parts = slices.Insert(f.parts, at+1, part{blockFrame, bytes.Clone(f.parts[at].payload)})
			f.change(0, x.Leaf, false, func(*wire.Block) {})
		}, []Finding{reading(LeafTwice)}},
		{"a record inserted, and the later ones moved down", func(f *forge) {
			at := f.block(0, x.Leaf)
			f.parts = slices.Insert(f.parts, at+1, part{blockFrame, bytes.Clone(f.parts[at].payload)})
			f.renumber(0)
			f.resum(0)
		}, []Finding{
			{Code: Twice, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last(), Leaf: x.Leaf + 1},
			{Code: NotePlace, Epoch: hexA, Expected: sizes[1], Got: sizes[1] + 1},
			notFit(sizes[1], sizes[0]),
			{Code: NotePlace, Epoch: hexA, Expected: sizes[2], Got: sizes[2] + 1},
		}},
		{"two records reordered", func(f *forge) {
			i, j := f.block(0, x.Leaf), f.block(0, x.Leaf+1)
			f.parts[i], f.parts[j] = f.parts[j], f.parts[i]
		}, []Finding{reading(LeafOrder)}},
		{"two records reordered, and numbered again", func(f *forge) {
			i, j := f.block(0, x.Leaf), f.block(0, x.Leaf+1)
			f.parts[i], f.parts[j] = f.parts[j], f.parts[i]
			f.renumber(0)
			f.resum(0)
		}, []Finding{
			{Code: Order, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last(), Leaf: x.Leaf + 1},
			notFit(sizes[1], sizes[0]),
		}},
		{"a checkpoint signed with another key", func(f *forge) {
			f.parts[f.nth(noteFrame, len(sizes)-1)].payload = noteOf(t, m.gateway, a, int(sizes[2]), seeded(strangerKey), m.wall)
		}, []Finding{{Code: NoteKey, Epoch: hexA, Text: fingerprint(strangerKey)}}},
		{"an epoch signed again with another key", func(f *forge) {
			f.change(1, 5, true, another)
			f.rechain(1)
			f.resum(1)
			e := f.read(1)
			for i := range sorted(b.notes) {
				p := &f.parts[f.nth(noteFrame, len(sizes)+i)]
				p.payload = noteOf(t, m.gateway, e, int(sorted(b.notes)[i]), seeded(strangerKey), m.wall)
			}
		}, []Finding{
			{Code: NoteFork, Epoch: hexB, From: sorted(b.notes)[1], Text: hexC},
			{Code: HeadsOther, Epoch: hexB, Stream: wire.ReadingStream, From: b.heads[wire.ReadingStream].Number, Text: hexC},
			{Code: NoteKey, Epoch: hexB, Text: fingerprint(strangerKey)},
		}},
		{"the device's own second history", func(f *forge) {
			f.change(1, 5, true, another)
			f.rechain(1)
			f.resum(1)
			at := f.nth(noteFrame, len(sizes)+1)
			f.parts = slices.Insert(f.parts, at+1, part{noteFrame, noteOf(t, m.gateway, f.read(1), int(sorted(b.notes)[1]), seeded(deviceKey), m.wall)})
		}, []Finding{
			{Code: NoteRoot, Epoch: hexB, Expected: sorted(b.notes)[0]},
			{Code: NoteFork, Epoch: hexB, From: sorted(b.notes)[1]},
			{Code: HeadsOther, Epoch: hexB, Stream: wire.ReadingStream, From: b.heads[wire.ReadingStream].Number, Text: hexC},
		}},
		{"two epochs swapped", func(f *forge) {
			i, j, k := f.nth(epochFrame, 0), f.nth(epochFrame, 1), f.nth(epochFrame, 2)
			f.parts = slices.Concat(f.parts[:i], f.parts[j:k], f.parts[i:j], f.parts[k:])
			f.end(func(e *End) { e.Epochs[0], e.Epochs[1] = e.Epochs[1], e.Epochs[0] })
		}, []Finding{{Code: EpochOrder, Epoch: hexB, Text: hexA}}},
		{"the names of two epochs swapped", func(f *forge) {
			i, j := f.nth(epochFrame, 0), f.nth(epochFrame, 1)
			f.parts[i], f.parts[j] = f.parts[j], f.parts[i]
			f.end(func(e *End) { e.Epochs[0].Epoch, e.Epochs[1].Epoch = e.Epochs[1].Epoch, e.Epochs[0].Epoch })
		}, []Finding{
			{Code: NoteEpoch, Epoch: hexB, Text: hexA},
			{Code: NoteEpoch, Epoch: hexB, Text: hexA},
			{Code: NoteEpoch, Epoch: hexB, Text: hexA},
			{Code: NoteEpoch, Epoch: hexA, Text: hexB},
			{Code: NoteEpoch, Epoch: hexA, Text: hexB},
			{Code: EpochOrder, Epoch: hexA, Text: hexA},
			{Code: HeadsOther, Epoch: hexB, Stream: wire.EventStream, From: b.heads[wire.EventStream].Number, Text: hexC},
			{Code: HeadsOther, Epoch: hexB, Stream: wire.ReadingStream, From: b.heads[wire.ReadingStream].Number, Text: hexC},
		}},
		{"an epoch left out", func(f *forge) {
			j, k := f.nth(epochFrame, 1), f.nth(epochFrame, 2)
			f.parts = slices.Delete(f.parts, j, k)
			f.end(func(e *End) { e.Epochs = slices.Delete(e.Epochs, 1, 2) })
		}, []Finding{{Code: EpochMissing, Epoch: hexC, Text: hexB}}},
		{"an epoch twice", func(f *forge) {
			j, k := f.nth(epochFrame, 1), f.nth(epochFrame, 2)
			f.parts = slices.Concat(f.parts[:k], f.parts[j:k], f.parts[k:])
			f.end(func(e *End) { e.Epochs = slices.Insert(e.Epochs, 1, e.Epochs[1]) })
		}, []Finding{{Code: EpochTwice, Epoch: hexB}, {Code: EpochFork, Epoch: hexB, Text: hexB}}},
		{"the checkpoint of another gateway", func(f *forge) {
			f.parts[f.nth(noteFrame, 0)].payload = noteOf(t, "GW-2", a, int(sizes[0]), seeded(deviceKey), m.wall)
		}, []Finding{{Code: NoteGateway, Epoch: hexA, Text: "GW-2"}}},
		{"the checkpoint of another epoch", func(f *forge) {
			f.parts[f.nth(noteFrame, 0)].payload = b.newest
		}, []Finding{{Code: NoteEpoch, Epoch: hexA, Text: hexB}}},
		{"an older cosigned checkpoint put in", func(f *forge) {
			f.parts[f.nth(noteFrame, 1)].payload = a.notes[sizes[0]]
		}, []Finding{{Code: NotePlace, Epoch: hexA, Expected: sizes[0], Got: sizes[1]}}},
		{"a checkpoint that nobody signed", func(f *forge) {
			f.parts[f.nth(noteFrame, 0)].payload[20] ^= 1
		}, []Finding{{Code: NoteBad, Epoch: hexA}}},
		{"the end of an epoch cut off", func(f *forge) {
			i, j := f.block(0, uint64(len(a.blocks)-3)), f.nth(epochFrame, 1)
			f.parts = slices.Delete(f.parts, i, j)
			f.end(func(e *End) {
				for i := range e.Epochs[0].Streams {
					s := &e.Epochs[0].Streams[i]
					s.To = min(s.To, f.read(0).head(s.Stream).Number)
				}
			})
		}, []Finding{
			{Code: NotePlace, Epoch: hexA, Expected: sizes[2], Got: f0leaves(a) - 3, Text: hexB},
			{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: a.blocks[len(a.blocks)-3].First, To: a.heads[wire.ReadingStream].Number},
			{Code: Unsigned, Epoch: hexA, From: sizes[1], To: f0leaves(a) - 4},
		}},
		{"the range made smaller to hide a hole", func(f *forge) {
			f.drop(f.block(0, x.Leaf))
			f.end(func(e *End) {
				e.Epochs[0].Streams = append(e.Epochs[0].Streams, Range{wire.ReadingStream, x.Last() + 1, a.heads[wire.ReadingStream].Number})
				for i := range e.Epochs[0].Streams[:2] {
					if e.Epochs[0].Streams[i].Stream == wire.ReadingStream {
						e.Epochs[0].Streams[i].To = x.First - 1
					}
				}
			})
		}, []Finding{leafGone, missing}},
		{"the gap record left out", func(f *forge) {
			for i := range a.blocks {
				if a.blocks[i].Stream == wire.EventStream && a.blocks[i].First == gapNumber {
					f.parts[f.block(0, uint64(i))] = part{subtreeFrame, (&subtree{0, int64(i), a.stored[merkle.Stored(int64(i))]}).append(nil)}
				}
			}
		}, []Finding{
			{Code: Missing, Epoch: hexA, Stream: wire.EventStream, From: gapNumber, To: gapNumber},
			{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: 240, To: 251},
		}},
		{"all events left out", func(f *forge) { f.blank(0, wire.EventStream) }, []Finding{
			{Code: Absent, Epoch: hexA, Stream: wire.EventStream, Leaf: lastLeaf(a, wire.EventStream)},
			{Code: Missing, Epoch: hexA, Stream: wire.EventStream, From: 1, To: a.heads[wire.EventStream].Number},
			{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: 240, To: 251},
		}},
		{"all readings left out", func(f *forge) { f.blank(0, wire.ReadingStream) }, []Finding{
			{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: 1, To: 239},
			{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: 252, To: a.heads[wire.ReadingStream].Number},
		}},
		{"the beginning of a stream left out", func(f *forge) {
			last := uint64(0)
			for i := range a.blocks[:20] {
				if k := &a.blocks[i]; k.Stream == wire.ReadingStream {
					f.parts[f.block(0, k.Leaf)] = part{subtreeFrame, (&subtree{0, int64(k.Leaf), a.stored[merkle.Stored(int64(k.Leaf))]}).append(nil)}
					last = k.Last()
				}
			}
			f.end(func(e *End) {
				for i := range e.Epochs[0].Streams {
					if e.Epochs[0].Streams[i].Stream == wire.ReadingStream {
						e.Epochs[0].Streams[i].From = last + 1
					}
				}
			})
		}, []Finding{{Code: Missing, Epoch: hexA, Stream: wire.ReadingStream, From: 1, To: earlyOf(a)}}},
		{"bytes behind the end", func(f *forge) { f.parts = append(f.parts, part{receiptFrame, nil}) }, []Finding{
			{Code: Trailing, Kind: "receipt", From: uint64(len(file))},
		}},
		{"a count that is not that of the records", func(f *forge) {
			f.change(0, x.Leaf, false, func(k *wire.Block) { k.Count++ })
		}, []Finding{
			{Code: LeafAltered, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last() + 1, Leaf: x.Leaf},
			{Code: CountWrong, Epoch: hexA, Stream: wire.ReadingStream, From: x.First, To: x.Last() + 1, Leaf: x.Leaf, Got: uint64(x.Count)},
			{Code: Twice, Epoch: hexA, Stream: wire.ReadingStream, From: x.Last() + 1, To: next(a, x).Last(), Leaf: next(a, x).Leaf},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &forge{t, m, split(t, file)}
			c.do(f)
			wrong(t, verified(t, glue(t, f.parts), trust), c.want)
		})
	}

	t.Run("the file cut off", func(t *testing.T) {
		for _, n := range []int{len(file) - 1, len(file) - 200, len(file) / 2, len(magic) + 3, len(magic)} {
			r := verified(t, file[:n], trust)
			if r.Whole || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == Cut }) {
				t.Errorf("cut at %d: %+v", n, r.Findings)
			}
		}
	})
	t.Run("another authority", func(t *testing.T) {
		r := verified(t, file, Trust{Authority: pub(seeded(strangerKey))})
		wrong(t, r, []Finding{{Code: NotFrom, Text: "province", Cause: "receipt refused: authority"}, {Code: NoKey}})
	})
	t.Run("another receiver", func(t *testing.T) {
		wrong(t, verified(t, file, Trust{Receiver: pub(seeded(strangerKey))}), []Finding{{Code: NoKey}})
	})
	t.Run("another device", func(t *testing.T) {
		wrong(t, verified(t, file, Trust{Device: fingerprint(strangerKey)}), []Finding{{Code: NoKey}})
	})
	t.Run("no key", func(t *testing.T) { wrong(t, verified(t, file, Trust{}), []Finding{{Code: NoKey}}) })
	t.Run("the receiver's own key", func(t *testing.T) {
		wrong(t, verified(t, file, Trust{Receiver: pub(seeded(receiverKey))}), nil)
	})
	t.Run("the device's own key", func(t *testing.T) {
		wrong(t, verified(t, file, Trust{Device: fingerprint(deviceKey)}), nil)
	})
}

// wrong compares what a report calls wrong; texts that want leaves empty do not count.
func wrong(t *testing.T, r *Report, want []Finding) {
	t.Helper()
	var got []Finding
	for _, f := range r.Findings {
		if !f.Told {
			got = append(got, f)
		}
	}
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(g Finding) bool {
			if w.Text == "" {
				g.Text = ""
			}
			return g == w
		})
		if i < 0 {
			t.Errorf("not found: %+v", w)
			continue
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for _, g := range rest {
		t.Errorf("found too: %+v", g)
	}
	if r.Whole != (len(got) == 0) {
		t.Errorf("whole %v with %d findings", r.Whole, len(got))
	}
}
