package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"davy/agent/evidence"
	"davy/agent/export"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// section is the section of an epoch while it is written.
type section struct {
	g      *gathering
	id     wire.Epoch
	log    *journal.TreeFile // nil: there is none
	synced uint64
	notes  []gatheredNote
}

func (g *gathering) section(id wire.Epoch) *section {
	g.w.Epoch(id)
	x := &section{g: g, id: id, notes: g.notes(id)}
	if log, err := g.r.Log(id); err == nil {
		x.log = log
		x.synced, _ = log.Synced()
	}
	return x
}

func (x *section) close() {
	if x.log != nil {
		x.log.Close()
	}
}

func (x *section) at(place int64) (merkle.Hash, error) {
	if x.log == nil {
		return merkle.Hash{}, journal.ErrNoLog
	}
	return x.log.At(place)
}

// block writes a block after the checkpoints and the hashes that come before
// it; ok is false of one that has no place.
func (x *section) block(it *journal.Item) (ok bool, err error) {
	leaf := int64(it.Block.Leaf)
	for len(x.notes) > 0 && int64(x.notes[0].size) <= leaf {
		x.note()
	}
	if x.g.w.Skip(leaf, x.at) != nil {
		x.g.w.Hole(leaf)
	}
	var said *merkle.Hash
	if uint64(leaf) < x.synced {
		if h, err := x.at(merkle.Stored(leaf)); err == nil {
			said = &h
		}
	}
	if err := x.g.w.Block(&it.Block, said); err != nil {
		if !errors.Is(err, export.ErrOrder) {
			return false, err
		}
		x.g.lost = append(x.g.lost, err.Error())
		return false, nil
	}
	x.g.records += uint64(it.Block.Count)
	if it.Block.Stream == wire.ReadingStream {
		x.g.readings += uint64(it.Block.Count)
	}
	return true, nil
}

// note writes the first checkpoint; one of a size whose hashes are not here has no place.
func (x *section) note() {
	n := x.notes[0]
	x.notes = x.notes[1:]
	if int64(n.size) < x.g.w.Leaves() || x.g.w.Skip(int64(n.size), x.at) != nil {
		return
	}
	if err := x.g.w.Note(n.text); err != nil {
		x.g.lost = append(x.g.lost, err.Error())
	}
}

// end writes the checkpoints that are left, and signs what none of them covers.
func (x *section) end() error {
	for len(x.notes) > 0 {
		x.note()
	}
	root, ok := x.g.w.Root()
	if !ok || x.g.sign == nil || x.g.w.Signed() == x.g.w.Leaves() {
		return nil
	}
	note, err := x.g.sign(x.id, uint64(x.g.w.Leaves()), root)
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	return x.g.w.Note(note)
}

// gatheredNote is a checkpoint of an epoch.
type gatheredNote struct {
	size uint64
	text []byte
}

// notes returns the checkpoints of an epoch that are known, the smallest first.
func (g *gathering) notes(id wire.Epoch) (out []gatheredNote) {
	all := slices.Clone(g.r.Notes(id))
	for _, s := range g.starts {
		if s != nil && bytes.Equal(s.Parent, id[:]) && len(s.ParentCheckpoint) > 0 {
			all = append(all, s.ParentCheckpoint)
		}
	}
	for _, text := range all {
		c, err := evidence.ReadCheckpoint(text)
		if err != nil || c.Epoch != id || c.Size == 0 {
			g.lost = append(g.lost, fmt.Sprintf("checkpoint of epoch %x: %v", id, err))
			continue
		}
		if !slices.ContainsFunc(out, func(n gatheredNote) bool { return bytes.Equal(n.text, text) }) {
			out = append(out, gatheredNote{c.Size, text})
		}
	}
	slices.SortStableFunc(out, func(a, b gatheredNote) int { return cmp.Compare(a.size, b.size) })
	return out
}

// gatewayIn returns the name of the gateway that signed a checkpoint, "" if it is none.
func gatewayIn(note []byte) string {
	c, err := evidence.ReadCheckpoint(note)
	if err != nil {
		return ""
	}
	return c.Gateway
}
