package export

import (
	"encoding/binary"
	"maps"
	"slices"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
)

func fingerprint(key byte) string { return evidence.Fingerprint(pub(seeded(key))) }

func sorted(notes map[uint64][]byte) []uint64 { return slices.Sorted(maps.Keys(notes)) }

func f0leaves(e *madeEpoch) uint64 { return uint64(len(e.blocks)) }

// next returns the block after k of its stream.
func next(e *madeEpoch, k *wire.Block) *wire.Block {
	for i := range e.blocks {
		if e.blocks[i].Stream == k.Stream && e.blocks[i].First > k.First {
			return &e.blocks[i]
		}
	}
	return nil
}

// each calls do with every frame of an epoch's section.
func (f *forge) each(epoch int, do func(p *part)) {
	for i := f.nth(epochFrame, epoch) + 1; i < len(f.parts); i++ {
		if k := f.parts[i].kind; k == epochFrame || k == endFrame {
			return
		}
		do(&f.parts[i])
	}
}

// read returns an epoch as the file has it now.
func (f *forge) read(epoch int) *madeEpoch {
	e := &madeEpoch{id: f.m.epochs[epoch].id, heads: map[string]*wire.Head{}}
	f.each(epoch, func(p *part) {
		if p.kind != blockFrame {
			return
		}
		k, hash, err := decodeBlock(p.payload)
		if err != nil {
			f.t.Fatal(err)
		}
		hashes, err := merkle.Tree{}.Add(int64(len(e.blocks)), hash, e.at)
		if err != nil {
			f.t.Fatal(err)
		}
		e.blocks, e.stored = append(e.blocks, k), append(e.stored, hashes...)
		h := e.head(k.Stream)
		h.Number = max(h.Number, k.Last())
	})
	return e
}

// renumber gives the blocks of an epoch leaves in the order in which they stand.
func (f *forge) renumber(epoch int) {
	leaf := uint64(0)
	f.each(epoch, func(p *part) {
		if p.kind == blockFrame {
			binary.BigEndian.PutUint64(p.payload, leaf)
			leaf++
		}
	})
}

// rechain makes the chains of an epoch's streams fit again, and their leaves.
func (f *forge) rechain(epoch int) {
	roots := map[string]wire.Root{}
	last := map[string]uint64{}
	f.each(epoch, func(p *part) {
		if p.kind != blockFrame {
			return
		}
		k, _, err := decodeBlock(p.payload)
		if err != nil {
			f.t.Fatal(err)
		}
		if k.First == last[k.Stream]+1 {
			k.RootBefore = roots[k.Stream]
		}
		roots[k.Stream], last[k.Stream] = k.RootAfter(), k.Last()
		p.payload = appendBlock(nil, &k, leafOf(&k, sha256Sum(k.Body)))
	})
}

// resum takes the S frames of an epoch out: nobody needs them.
func (f *forge) resum(epoch int) {
	f.each(epoch, func(p *part) {
		if p.kind == subtreeFrame {
			p.kind = 0
		}
	})
	f.parts = slices.DeleteFunc(f.parts, func(p part) bool { return p.kind == 0 })
}

// blank puts hashes in the place of a stream's blocks, and claims none of it.
func (f *forge) blank(epoch int, stream string) {
	e := f.m.epochs[epoch]
	f.each(epoch, func(p *part) {
		if p.kind != blockFrame {
			return
		}
		if k, _, err := decodeBlock(p.payload); err == nil && k.Stream == stream {
			*p = part{subtreeFrame, (&subtree{0, int64(k.Leaf), e.stored[merkle.Stored(int64(k.Leaf))]}).append(nil)}
		}
	})
	f.end(func(end *End) {
		end.Epochs[epoch].Streams = slices.DeleteFunc(end.Epochs[epoch].Streams, func(r Range) bool { return r.Stream == stream })
	})
}

func lastLeaf(e *madeEpoch, stream string) (leaf uint64) {
	for i := range e.blocks {
		if e.blocks[i].Stream == stream {
			leaf = uint64(i)
		}
	}
	return leaf
}

// earlyOf is the last reading of the first twenty blocks.
func earlyOf(e *madeEpoch) (n uint64) {
	for i := range e.blocks[:20] {
		if e.blocks[i].Stream == wire.ReadingStream {
			n = e.blocks[i].Last()
		}
	}
	return n
}
