package wire

import (
	"bytes"
	"fmt"
	"math"

	"davy/drivers/tag"
)

// lastField is the last field of an event that this version knows.
const lastField = 33

// Append appends the event's own message to dst: what a body holds of it, and
// the form in which an export hashes it. The same event gives the same bytes.
// What a newer peer said beyond this version stands behind it as it came, so
// that a receiver which is older than its gateways keeps it, and hashes the same.
func (e *Event) Append(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(e.Kind))
	dst = putSint(dst, 2, e.At.Wall)
	dst = putSint(dst, 3, e.At.Mono)
	dst = putText(dst, 4, e.Rule)
	dst = putUint(dst, 5, e.Occurrence)
	dst = putUint(dst, 6, uint64(e.Priority))
	dst = putUint(dst, 7, uint64(e.Tag))
	dst = putValue(dst, 8, e.Value)
	dst = putUint(dst, 9, uint64(e.Quality))
	dst = putDouble(dst, 10, e.Limit)
	dst = putText(dst, 11, e.FirstOut)
	for i := range e.Votes {
		dst = putMessage(dst, 12, e.Votes[i].append)
	}
	dst = putText(dst, 13, e.Output)
	dst = putText(dst, 14, e.Who)
	dst = putBool(dst, 15, e.Proved)
	dst = putText(dst, 16, e.Note)
	dst = putUint(dst, 17, e.Serial)
	if e.Start != nil {
		dst = putMessage(dst, 18, e.Start.append)
	}
	if e.Gap != nil {
		dst = putMessage(dst, 19, e.Gap.append)
	}
	if e.Table != nil {
		dst = putMessage(dst, 20, e.Table.append)
	}
	dst = putUint(dst, 21, uint64(e.Hidden))
	dst = putBool(dst, 22, e.Test)
	dst = putBool(dst, 23, e.First)
	dst = putText(dst, 24, e.Channel)
	dst = putText(dst, 25, e.Second)
	dst = putSint(dst, 26, e.For)
	dst = putUint(dst, 27, uint64(e.Result))
	if len(e.Record) > 0 {
		dst = putMessage(dst, 28, func(b []byte) []byte { return appendColumns(b, e.Record) })
	}
	dst = putUint(dst, 29, uint64(e.Samples))
	if e.Clock != nil {
		dst = putMessage(dst, 30, e.Clock.append)
	}
	if e.Beacon != nil {
		dst = putMessage(dst, 31, e.Beacon.append)
	}
	dst = putText(dst, 32, e.Old)
	dst = putText(dst, 33, e.New)
	return append(dst, e.Newer...)
}

// EncodeEvents returns the compressed body of a block of the streams event
// and health. More than MaxRecords events are a programmer's error.
func EncodeEvents(events []Event) []byte {
	if len(events) > MaxRecords {
		panic("BUG: wire: too many events for one block")
	}
	var b []byte
	for i := range events {
		b = putMessage(b, 1, events[i].Append)
	}
	return pack(b)
}

// DecodeEvents reads the body of a block of the streams event and health.
func DecodeEvents(body []byte) ([]Event, error) {
	b, err := unpack(body)
	if err != nil {
		return nil, fmt.Errorf("decode events: %w", err)
	}
	var events []Event
	left := MaxItems
	err = visit(b, func(key, _ uint64, p []byte) error {
		if key != 1<<3|bt {
			return nil
		}
		if len(events) == MaxRecords {
			return ErrTooLarge
		}
		events = append(events, Event{})
		return events[len(events)-1].decode(p, &left)
	})
	if err != nil {
		return nil, fmt.Errorf("decode events: %w", err)
	}
	return events, nil
}

// DecodeEvent reads what Append wrote.
func DecodeEvent(b []byte) (*Event, error) {
	e, left := &Event{}, MaxItems
	if err := e.decode(b, &left); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}

func take(left *int) error {
	if *left == 0 {
		return ErrTooLarge
	}
	*left--
	return nil
}

func (e *Event) decode(b []byte, left *int) error {
	if err := take(left); err != nil {
		return err
	}
	return visitRaw(b, func(key, v uint64, p, raw []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			e.Kind = uint32(v)
		case 2<<3 | vt:
			e.At.Wall = zag(v)
		case 3<<3 | vt:
			e.At.Mono = zag(v)
		case 4<<3 | bt:
			err = text(p, &e.Rule)
		case 5<<3 | vt:
			e.Occurrence = v
		case 6<<3 | vt:
			e.Priority = uint32(v)
		case 7<<3 | vt:
			e.Tag = tag.ID(v)
		case 8<<3 | bt:
			err = getValue(p, &e.Value)
		case 9<<3 | vt:
			e.Quality = tag.Quality(v)
		case 10<<3 | f64:
			e.Limit = math.Float64frombits(v)
		case 11<<3 | bt:
			err = text(p, &e.FirstOut)
		case 12<<3 | bt:
			if err = take(left); err != nil {
				return err
			}
			e.Votes = append(e.Votes, Vote{})
			err = e.Votes[len(e.Votes)-1].decode(p)
		case 13<<3 | bt:
			err = text(p, &e.Output)
		case 14<<3 | bt:
			err = text(p, &e.Who)
		case 15<<3 | vt:
			e.Proved = v != 0
		case 16<<3 | bt:
			err = text(p, &e.Note)
		case 17<<3 | vt:
			e.Serial = v
		case 18<<3 | bt:
			e.Start = &Start{}
			err = e.Start.decode(p, left)
		case 19<<3 | bt:
			e.Gap = &Gap{}
			err = e.Gap.decode(p)
		case 20<<3 | bt:
			e.Table = &Table{}
			err = e.Table.decode(p, left)
		case 21<<3 | vt:
			e.Hidden = uint32(v)
		case 22<<3 | vt:
			e.Test = v != 0
		case 23<<3 | vt:
			e.First = v != 0
		case 24<<3 | bt:
			err = text(p, &e.Channel)
		case 25<<3 | bt:
			err = text(p, &e.Second)
		case 26<<3 | vt:
			e.For = zag(v)
		case 27<<3 | vt:
			e.Result = uint32(v)
		case 28<<3 | bt:
			e.Record, err = decodeColumns(p, min(*left, MaxRecords))
			*left -= len(e.Record)
		case 29<<3 | vt:
			e.Samples = uint32(v)
		case 30<<3 | bt:
			e.Clock = &Clock{}
			err = e.Clock.decode(p)
		case 31<<3 | bt:
			e.Beacon = &Beacon{}
			err = e.Beacon.decode(p)
		case 32<<3 | bt:
			err = text(p, &e.Old)
		case 33<<3 | bt:
			err = text(p, &e.New)
		default:
			if key>>3 > lastField {
				e.Newer = append(e.Newer, raw...)
			}
		}
		return err
	})
}

func (v *Vote) append(dst []byte) []byte {
	dst = putText(dst, 1, v.Channel)
	dst = putUint(dst, 2, uint64(v.Reason))
	dst = putSint(dst, 3, v.Since.Wall)
	dst = putSint(dst, 4, v.Since.Mono)
	dst = putUint(dst, 5, uint64(v.Quality))
	dst = putValue(dst, 6, v.Value)
	return putBool(dst, 7, v.Last)
}

func (v *Vote) decode(b []byte) error {
	return visit(b, func(key, n uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &v.Channel)
		case 2<<3 | vt:
			v.Reason = uint32(n)
		case 3<<3 | vt:
			v.Since.Wall = zag(n)
		case 4<<3 | vt:
			v.Since.Mono = zag(n)
		case 5<<3 | vt:
			v.Quality = tag.Quality(n)
		case 6<<3 | bt:
			err = getValue(p, &v.Value)
		case 7<<3 | vt:
			v.Last = n != 0
		}
		return err
	})
}

func (s *Start) append(dst []byte) []byte {
	dst = putBytes(dst, 1, s.Parent)
	dst = putHeads(dst, 2, s.ParentHeads)
	dst = putText(dst, 3, s.Version)
	dst = putText(dst, 4, s.Boot)
	dst = putSint(dst, 5, s.Unwatched)
	dst = putBool(dst, 6, s.Clean)
	dst = putUint(dst, 7, s.MayHaveLost)
	dst = putBytes(dst, 8, s.Plan)
	return putBytes(dst, 9, s.ParentCheckpoint)
}

func (s *Start) decode(b []byte, left *int) error {
	return visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			s.Parent = bytes.Clone(p)
		case 2<<3 | bt:
			if err = take(left); err == nil {
				err = getHead(p, &s.ParentHeads)
			}
		case 3<<3 | bt:
			err = text(p, &s.Version)
		case 4<<3 | bt:
			err = text(p, &s.Boot)
		case 5<<3 | vt:
			s.Unwatched = zag(v)
		case 6<<3 | vt:
			s.Clean = v != 0
		case 7<<3 | vt:
			s.MayHaveLost = v
		case 8<<3 | bt:
			s.Plan = bytes.Clone(p)
		case 9<<3 | bt:
			s.ParentCheckpoint = bytes.Clone(p)
		}
		return err
	})
}

func (g *Gap) append(dst []byte) []byte {
	dst = putText(dst, 1, g.Stream)
	dst = putBytes(dst, 2, g.Epoch)
	dst = putUint(dst, 3, g.From)
	dst = putUint(dst, 4, g.To)
	dst = putUint(dst, 5, g.Count)
	dst = putSint(dst, 6, g.WallFrom)
	dst = putSint(dst, 7, g.WallTo)
	dst = putText(dst, 8, g.Cause)
	return putBytes(dst, 9, g.RootAfter)
}

func (g *Gap) decode(b []byte) error {
	return visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &g.Stream)
		case 2<<3 | bt:
			g.Epoch = bytes.Clone(p)
		case 3<<3 | vt:
			g.From = v
		case 4<<3 | vt:
			g.To = v
		case 5<<3 | vt:
			g.Count = v
		case 6<<3 | vt:
			g.WallFrom = zag(v)
		case 7<<3 | vt:
			g.WallTo = zag(v)
		case 8<<3 | bt:
			err = text(p, &g.Cause)
		case 9<<3 | bt:
			g.RootAfter = bytes.Clone(p)
		}
		return err
	})
}

func (t *Table) append(dst []byte) []byte {
	dst = putBytes(dst, 1, t.Plan)
	for i := range t.Tags {
		dst = putMessage(dst, 2, t.Tags[i].append)
	}
	for i := range t.People {
		dst = putMessage(dst, 3, t.People[i].append)
	}
	return dst
}

func (t *Table) decode(b []byte, left *int) error {
	return visit(b, func(key, _ uint64, p []byte) error {
		switch key {
		case 1<<3 | bt:
			t.Plan = bytes.Clone(p)
		case 2<<3 | bt:
			if err := take(left); err != nil {
				return err
			}
			t.Tags = append(t.Tags, TableTag{})
			return t.Tags[len(t.Tags)-1].decode(p, left)
		case 3<<3 | bt:
			if err := take(left); err != nil {
				return err
			}
			t.People = append(t.People, Person{})
			return t.People[len(t.People)-1].decode(p)
		}
		return nil
	})
}

func (r *TableTag) append(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(r.ID))
	dst = putText(dst, 2, r.Name)
	dst = putText(dst, 3, r.Unit)
	dst = putUint(dst, 4, uint64(r.Kind))
	dst = putBool(dst, 5, r.Ranged)
	dst = putDouble(dst, 6, r.Low)
	dst = putDouble(dst, 7, r.High)
	dst = putText(dst, 8, r.TextZh)
	dst = putText(dst, 9, r.TextEn)
	for i := range r.Names {
		dst = putMessage(dst, 10, r.Names[i].append)
	}
	return dst
}

func (x *Person) append(dst []byte) []byte { return putText(putText(dst, 1, x.ID), 2, x.Name) }

func (x *Person) decode(b []byte) error {
	return visit(b, func(key, _ uint64, p []byte) (err error) {
		if len(p) > MaxName {
			return ErrTooLarge
		}
		switch key {
		case 1<<3 | bt:
			err = text(p, &x.ID)
		case 2<<3 | bt:
			err = text(p, &x.Name)
		}
		return err
	})
}

func (n *Name) append(dst []byte) []byte { return putText(putSint(dst, 1, n.Code), 2, n.Text) }

func (n *Name) decode(b []byte) error {
	return visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			n.Code = zag(v)
		case 2<<3 | bt:
			if len(p) > MaxName {
				return ErrTooLarge
			}
			err = text(p, &n.Text)
		}
		return err
	})
}

func (r *TableTag) decode(b []byte, left *int) error {
	return visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			r.ID = tag.ID(v)
		case 2<<3 | bt:
			err = text(p, &r.Name)
		case 3<<3 | bt:
			err = text(p, &r.Unit)
		case 4<<3 | vt:
			r.Kind = tag.Kind(v)
		case 5<<3 | vt:
			r.Ranged = v != 0
		case 6<<3 | f64:
			r.Low = math.Float64frombits(v)
		case 7<<3 | f64:
			r.High = math.Float64frombits(v)
		case 8<<3 | bt:
			err = text(p, &r.TextZh)
		case 9<<3 | bt:
			err = text(p, &r.TextEn)
		case 10<<3 | bt:
			if err = take(left); err != nil {
				return err
			}
			r.Names = append(r.Names, Name{})
			err = r.Names[len(r.Names)-1].decode(p)
		}
		return err
	})
}
