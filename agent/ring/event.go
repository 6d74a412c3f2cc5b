package ring

import (
	"encoding/binary"
	"math"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// The bytes of an event. What a version of AppendEvents did not know stands
// behind what it knew.

// The flags of an event; version 1 knew the first.
const (
	flagProved byte = 1 << iota
	flagTest
	flagFirst
	flagsAll = flagProved | flagTest | flagFirst
)

// eventSize is at least what appendEvent appends.
func eventSize(e *Event) int {
	n := leastEvent + 9*2 + textSize(e.Rule, MaxText) + textSize(e.FirstOut, MaxText) +
		textSize(e.Output, MaxText) + textSize(e.Who, MaxText) + textSize(e.Note, MaxText) +
		textSize(e.Channel, MaxName) + textSize(e.Second, MaxText) + textSize(e.Old, MaxText) + textSize(e.New, MaxText)
	for i := range e.Votes[:min(len(e.Votes), MaxVotes)] {
		n += leastVote + textSize(e.Votes[i].Channel, MaxName)
	}
	return n + recordSize(e)
}

// recordSize is how much of eventSize is the samples.
func recordSize(e *Event) int { return min(len(e.Record), MaxSamples) * sampleSize }

func appendEvent(b []byte, e *Event) []byte {
	b = le.AppendUint64(b, e.Serial)
	b = append(b, byte(e.Kind), byte(e.Priority), bit(e.Proved, flagProved)|bit(e.Test, flagTest)|bit(e.First, flagFirst))
	b = appendStamp(le.AppendUint64(b, e.LostFrom), e.LostAt)
	b = appendStamp(b, e.At)
	b = le.AppendUint64(b, e.Occurrence)
	b = le.AppendUint32(b, uint32(e.Tag))
	b = appendValue(b, e.Value)
	b = appendQuality(b, e.Quality)
	b = le.AppendUint64(b, math.Float64bits(e.Limit))
	b = appendText(b, e.Rule, MaxText)
	b = appendText(b, e.FirstOut, MaxText)
	b = appendText(b, e.Output, MaxText)
	b = appendText(b, e.Who, MaxText)
	b = appendText(b, e.Note, MaxText)
	votes := e.Votes[:min(len(e.Votes), MaxVotes)]
	b = binary.AppendUvarint(b, uint64(len(votes)))
	for i := range votes {
		v := &votes[i]
		b = appendText(b, v.Channel, MaxName)
		b = append(b, byte(v.Reason), bit(v.Last, 1))
		b = appendStamp(b, v.Since)
		b = appendQuality(b, v.Quality)
		b = appendValue(b, v.Value)
	}
	b = append(b, byte(e.Hidden), byte(e.Result))
	b = le.AppendUint64(b, uint64(max(e.For, 0)))
	b = appendText(b, e.Channel, MaxName)
	b = appendText(b, e.Second, MaxText)
	record := Thin(e.Record)
	b = le.AppendUint32(b, max(e.Samples, uint32(len(e.Record))))
	b = binary.AppendUvarint(b, uint64(len(record)))
	for i := range record {
		s := &record[i]
		b = le.AppendUint32(b, uint32(s.Tag))
		b = appendStamp(b, s.At)
		b = appendValue(b, s.Value)
		b = appendQuality(b, s.Quality)
	}
	return appendText(appendText(b, e.Old, MaxText), e.New, MaxText)
}

// event reads an event as version wrote it.
func (d *decoder) event(e *Event, version byte) {
	votes := e.Votes[:0]
	e.Serial = d.u64()
	e.Kind, e.Priority = rules.Kind(d.u8()), rules.Priority(d.u8())
	mask := flagsAll
	if version == 1 {
		mask = flagProved
	}
	f := d.flags(mask)
	e.Proved, e.Test, e.First = f&flagProved != 0, f&flagTest != 0, f&flagFirst != 0
	e.LostFrom, e.LostAt = d.u64(), d.stamp()
	e.At = d.stamp()
	e.Occurrence = d.u64()
	e.Tag = tag.ID(d.u32())
	e.Value, e.Quality = d.value(), d.quality()
	e.Limit = math.Float64frombits(d.u64())
	e.Rule, e.FirstOut, e.Output = d.text(MaxText), d.text(MaxText), d.text(MaxText)
	e.Who, e.Note = d.text(MaxText), d.text(MaxText)
	n := d.count(leastVote)
	if n > MaxVotes {
		d.fail("too many votes")
	}
	for i := 0; i < n && d.err == nil; i++ {
		votes = append(votes, rules.Vote{
			Channel: d.text(MaxName), Reason: rules.VoteReason(d.u8()), Last: d.flags(1)&1 != 0,
			Since: d.stamp(), Quality: d.quality(), Value: d.value(),
		})
	}
	e.Votes, e.Old, e.New = nil, "", ""
	if len(votes) > 0 {
		e.Votes = votes
	}
	e.Record = nil
	if version == 1 {
		return
	}
	e.Hidden, e.Result = rules.AlarmState(d.u8()), rules.Result(d.u8())
	if e.For = time.Duration(d.u64()); e.For < 0 {
		d.fail("negative duration")
	}
	e.Channel, e.Second = d.text(MaxName), d.text(MaxText)
	e.Samples = d.u32()
	n = d.count(sampleSize)
	if n > MaxSamples || uint64(n) > uint64(e.Samples) {
		d.fail("too many samples")
	}
	if d.err == nil && n > 0 {
		e.Record = make([]rules.Sample, n)
	}
	for i := range e.Record {
		s := &e.Record[i]
		s.Tag, s.At = tag.ID(d.u32()), d.stamp()
		s.Value, s.Quality = d.value(), d.quality()
	}
	if version > 2 {
		e.Old, e.New = d.text(MaxText), d.text(MaxText)
	}
}

// Thin returns at most MaxSamples of record, in the order of time. A longer one
// is thinned evenly: of each tag every second, third … sample stays, and its
// first. It copies only what it thins.
func Thin(record []rules.Sample) []rules.Sample {
	if len(record) <= MaxSamples {
		return record
	}
	seen := map[tag.ID]int{}
	out := make([]rules.Sample, 0, MaxSamples+1)
	for every := (len(record) + MaxSamples - 1) / MaxSamples; ; every *= 2 {
		clear(seen)
		out = out[:0]
		for i := range record {
			n := seen[record[i].Tag]
			seen[record[i].Tag] = n + 1
			if n%every != 0 {
				continue
			}
			if out = append(out, record[i]); len(out) > MaxSamples {
				break
			}
		}
		if len(out) <= MaxSamples {
			return out
		}
		if every > len(record) { // more tags than MaxSamples: the first of them
			return out[:MaxSamples]
		}
	}
}

// LeaveOut takes the samples out of e and keeps their number.
func (e *Event) LeaveOut() {
	e.Samples = max(e.Samples, uint32(len(e.Record)))
	e.Record = nil
}

// AppendEvents encodes events for the latch's snapshot: version, count, events.
func AppendEvents(dst []byte, events []Event) []byte {
	dst = append(dst, protocol)
	dst = binary.AppendUvarint(dst, uint64(len(events)))
	for i := range events {
		dst = appendEvent(dst, &events[i])
	}
	return dst
}
