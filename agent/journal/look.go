package journal

import "davy/agent/wire"

// Serial returns the last durable serial of a decider's lineage; 0 if none.
func (j *Journal) Serial(id [16]byte) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.state.lineages {
		if l.id == id {
			return l.serial
		}
	}
	return 0
}

// Epoch returns the current epoch.
func (j *Journal) Epoch() wire.Epoch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.epoch
}

// Heads returns the durable heads of the current epoch.
func (j *Journal) Heads() []wire.Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	return wireHeads(&j.epochs[len(j.epochs)-1].heads)
}

// HeadsOf returns the heads of an epoch, nil if it is not known here.
func (j *Journal) HeadsOf(id wire.Epoch) []wire.Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.epoch(id); e != nil {
		return wireHeads(&e.heads)
	}
	return nil
}

func (j *Journal) epoch(id wire.Epoch) *epoch {
	for i := len(j.epochs) - 1; i >= 0; i-- {
		if j.epochs[i].id == id {
			return j.epochs[i]
		}
	}
	return nil
}

// Epochs returns all epochs of which something is here, the oldest first.
func (j *Journal) Epochs() []Epoch {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Epoch, len(j.epochs))
	for i, e := range j.epochs {
		out[i] = Epoch{ID: e.id, Current: i == len(j.epochs)-1, Heads: wireHeads(&e.heads)}
	}
	return out
}

// Stat returns how the journal is.
func (j *Journal) Stat() Stat {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stat
	s.Epoch, s.MaxBytes, s.Segments, s.Epochs = j.state.epoch, j.o.MaxBytes, len(j.segments), len(j.epochs)
	s.Heads = wireHeads(&j.epochs[len(j.epochs)-1].heads)
	s.Bytes = j.bytes()
	for _, e := range j.epochs {
		if e.tree.lost != "" {
			s.Broken++
		}
	}
	return s
}

func (j *Journal) bytes() (n int64) {
	for _, s := range j.segments {
		n += s.bytes
	}
	for _, e := range j.epochs {
		n += e.tree.bytes
	}
	if j.reserve {
		n += j.reserveSize()
	}
	return n
}

// Changed returns a channel that is closed by the next commit. Take it before
// looking, so that nothing is missed.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed
}
