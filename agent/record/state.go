package record

import (
	"encoding/json"
	"errors"
	"time"

	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/wire"
)

// LossShown is how long a loss is shown as a condition.
const LossShown = time.Minute

// State is how recording is.
type State struct {
	Durable  uint64    // every event up to this serial is on disk or named as lost
	Now      ring.Turn // times and flags of the last turn
	Turns    uint64
	Events   int  // waiting
	Readings int  // waiting
	Stopped  bool // the journal takes nothing, or has not answered for SlowCommit
	Full     bool // because there is no space
	Lost     bool // something was given up within LossShown
}

// State returns how recording is.
func (r *Recorder) State() State {
	now := r.o.Now().Mono
	r.mu.Lock()
	defer r.mu.Unlock()
	return State{
		Durable: r.durable, Now: r.last, Turns: r.turns, Events: len(r.events), Readings: len(r.readings),
		Stopped: r.failing != nil || r.started != 0 && now-r.started > int64(SlowCommit),
		Full:    errors.Is(r.failing, journal.ErrFull),
		Lost:    r.lossAt != 0 && now-r.lossAt < int64(LossShown),
	}
}

// Changed returns a channel that is closed when State.Durable moves.
func (r *Recorder) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// health records the keeper's figures, and what was watched since the record
// before. A journal that takes nothing loses it: that it is not there says that
// nobody vouches for this minute.
func (r *Recorder) health() {
	figures := map[string]any{}
	if r.o.Report != nil {
		figures = r.o.Report()
	}
	s := r.State()
	figures["turns"], figures["waiting_events"], figures["waiting_readings"] = s.Turns, s.Events, s.Readings
	note, err := json.Marshal(figures)
	if err != nil {
		panic("BUG: record: " + err.Error())
	}
	e := wire.Event{Kind: uint32(Health), At: r.o.Now(), Note: string(note)}
	r.mu.Lock()
	e.Beacon = r.watch.beacon(e.At)
	beat := r.beat
	r.mu.Unlock()
	_ = r.append(journal.Batch{Health: []wire.Event{e}, Beat: beat}) // logged there
}
