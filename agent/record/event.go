package record

import (
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// leaveOut takes the samples out of the oldest records until at most limit of
// the n are left, and returns how many that are.
func leaveOut(events []wire.Event, n, limit int) int {
	for i := 0; i < len(events) && n > limit; i++ {
		n -= len(events[i].Record)
		events[i].Record = nil
	}
	return n
}

func event(e *ring.Event) wire.Event {
	w := wire.Event{
		Kind: uint32(e.Kind), At: e.At, Rule: e.Rule, Occurrence: e.Occurrence, Priority: uint32(e.Priority), Tag: e.Tag, Value: e.Value,
		Quality: e.Quality, Limit: e.Limit, FirstOut: e.FirstOut, Output: e.Output, Who: e.Who, Proved: e.Proved, Note: e.Note, Serial: e.Serial,
		Hidden: uint32(e.Hidden), Test: e.Test, First: e.First, Channel: e.Channel, Second: e.Second, For: int64(e.For), Result: uint32(e.Result),
		Samples: e.Samples, Old: e.Old, New: e.New,
	}
	for _, s := range e.Record {
		w.Record = append(w.Record, tag.Reading{Tag: s.Tag, Received: s.At, Value: s.Value, Quality: s.Quality})
	}
	for _, v := range e.Votes {
		w.Votes = append(w.Votes, wire.Vote{
			Channel: v.Channel, Reason: uint32(v.Reason), Since: v.Since, Quality: v.Quality, Value: v.Value, Last: v.Last,
		})
	}
	return w
}

func gapOf(epoch wire.Epoch, now tag.Stamp, l loss) wire.Event {
	return wire.Event{Kind: uint32(ring.GapRecorded), At: now, Gap: &wire.Gap{
		Stream: l.stream, Epoch: epoch[:], Count: l.count, WallFrom: l.from, WallTo: l.to, Cause: l.cause,
	}}
}
