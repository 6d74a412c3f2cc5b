package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// The states of a stretch of numbers without a row.
const (
	Waiting     = "waiting"     // the gateway has it and it has not arrived: nothing after it has either
	Explained   = "explained"   // a gap record names it
	Refused     = "refused"     // its signed bytes are here, its rows could not be made
	Unexplained = "unexplained" // something after it is here, and nothing says why it is not
)

// Stretch is a run of numbers, both inclusive.
type Stretch struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"`
	Stream  string `json:"stream"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	State   string `json:"state"`
	Cause   string `json:"cause,omitempty"` // of the gap record, or the code of the refusal
}

// Chain is what is stored of one (gateway, epoch, stream).
type Chain struct {
	Gateway  string `json:"gateway"`
	Epoch    string `json:"epoch"`
	Stream   string `json:"stream"`
	Received uint64 `json:"received"` // rows
	Upto     uint64 `json:"upto"`     // here, refused or explained up to this number
	Head     uint64 `json:"head"`     // last number that the gateway told of
	Started  int64  `json:"started"`  // wall of the epoch's start record, ns; 0 not here

	id      int64
	arrived uint64 // end of the last block that came
}

// Chains lists what is stored of a gateway, of all of them if it is "".
// Epochs are in the order of their start records.
func (s *Store) Chains(ctx context.Context, gateway string) ([]Chain, error) {
	all, err := rowsOf(ctx, s.db, func(scan func(...any) error) (c Chain, err error) {
		var epoch []byte
		var upto, head, arrived int64
		err = scan(&c.id, &c.Gateway, &epoch, &c.Stream, &upto, &head, &c.Started, &arrived)
		c.Epoch, c.Upto, c.Head, c.arrived = hex.EncodeToString(epoch), uint64(upto), uint64(head), uint64(arrived)
		return c, err
	}, `SELECT c.id, c.gateway, c.epoch, c.stream, c.upto, c.head, coalesce(e.wall, 0),
		coalesce((SELECT max(first + count - 1) FROM block b WHERE b.chain = c.id), 0)
		FROM chain c LEFT JOIN epoch e ON e.gateway = c.gateway AND e.epoch = c.epoch
		WHERE ? IN ('', c.gateway) ORDER BY c.gateway, coalesce(e.wall, 0), c.epoch, c.stream`, gateway)
	if err != nil {
		return nil, fmt.Errorf("chains: %w", err)
	}
	for i := range all {
		var n int64
		if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM `+rowTable(all[i].Stream)+` WHERE chain = ?`, all[i].id).Scan(&n); err != nil {
			return nil, fmt.Errorf("chains: %w", err)
		}
		all[i].Received = uint64(n)
	}
	return all, nil
}

func rowTable(stream string) string {
	if stream == wire.ReadingStream {
		return "reading"
	}
	return "event"
}

// Missing lists every number from 1 to the last known one that has no row,
// with what is known of it.
func (s *Store) Missing(ctx context.Context, c Chain) ([]Stretch, error) {
	last := max(c.Head, c.Upto, c.arrived)
	type run struct{ from, to uint64 }
	scanRun := func(scan func(...any) error) (r run, err error) {
		var a, b int64
		err = scan(&a, &b)
		return run{uint64(a), uint64(b)}, err
	}
	holes, err := rowsOf(ctx, s.db, scanRun, `SELECT number + 1, next - 1 FROM (SELECT number, lead(number, 1, ?) OVER (ORDER BY number) AS next
		FROM (SELECT 0 AS number UNION ALL SELECT number FROM `+rowTable(c.Stream)+` WHERE chain = ?)) WHERE next > number + 1 ORDER BY number`, int64(last+1), c.id)
	if err != nil {
		return nil, fmt.Errorf("missing: %w", err)
	}
	type named struct {
		run
		state, cause string
	}
	names, err := rowsOf(ctx, s.db, func(scan func(...any) error) (n named, err error) {
		var a, b int64
		err = scan(&a, &b, &n.state, &n.cause)
		n.run = run{uint64(a), uint64(b)}
		return n, err
	}, `SELECT first, last, 'refused', code FROM refused WHERE chain = ? UNION ALL
		SELECT first, last, 'explained', cause FROM gap WHERE target = ? AND first > 0 ORDER BY 1, 2`, c.id, c.id)
	if err != nil {
		return nil, fmt.Errorf("missing: %w", err)
	}
	var all []Stretch
	put := func(from, to uint64, state, cause string) {
		if n := len(all); n > 0 && all[n-1].To+1 == from && all[n-1].State == state && all[n-1].Cause == cause {
			all[n-1].To = to
			return
		}
		all = append(all, Stretch{Gateway: c.Gateway, Epoch: c.Epoch, Stream: c.Stream, From: from, To: to, State: state, Cause: cause})
	}
	rest := func(from, to uint64) {
		if to > c.arrived && from <= to { // nothing after arrived has come
			if from <= c.arrived {
				put(from, c.arrived, Unexplained, "")
			}
			put(max(from, c.arrived+1), to, Waiting, "")
			return
		}
		if from <= to {
			put(from, to, Unexplained, "")
		}
	}
	for _, h := range holes {
		at := h.from
		for _, n := range names {
			if n.to < at || n.from > h.to {
				continue
			}
			if n.from > at {
				rest(at, n.from-1)
			}
			from, to := max(n.from, at), min(n.to, h.to)
			put(from, to, n.state, n.cause)
			at = to + 1
		}
		rest(at, h.to)
	}
	return all, nil
}

// Fork is a name that came with two contents.
type Fork struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"`
	Stream  string `json:"stream"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Kind    string `json:"kind"` // content, chain, head, parent, parent-head, orphan
	Wall    int64  `json:"wall"`
	Raw     int64  `json:"raw"`             // row of the signed bytes that came second
	Other   int64  `json:"other,omitempty"` // and first
}

// Forks lists the forks of a gateway, of all of them if it is "".
func (s *Store) Forks(ctx context.Context, gateway string) ([]Fork, error) {
	return rowsOf(ctx, s.db, func(scan func(...any) error) (f Fork, err error) {
		var epoch []byte
		err = scan(&f.Gateway, &epoch, &f.Stream, &f.From, &f.To, &f.Kind, &f.Wall, &f.Raw, &f.Other)
		f.Epoch = hex.EncodeToString(epoch)
		return f, err
	}, `SELECT c.gateway, c.epoch, c.stream, f.first, f.last, f.kind, f.wall, f.raw, f.other FROM fork f JOIN chain c ON c.id = f.chain
		WHERE ? IN ('', c.gateway) ORDER BY f.id`, gateway)
}

// Loss is a parent that was declared shorter than what was receipted of it.
type Loss struct {
	Gateway   string `json:"gateway"`
	Epoch     string `json:"epoch"`
	Parent    string `json:"parent"`
	Stream    string `json:"stream"`
	Receipted uint64 `json:"receipted"`
	Declared  uint64 `json:"declared"`
	Wall      int64  `json:"wall"`
}

// Losses lists the losses of a gateway, of all of them if it is "".
func (s *Store) Losses(ctx context.Context, gateway string) ([]Loss, error) {
	return rowsOf(ctx, s.db, func(scan func(...any) error) (l Loss, err error) {
		var epoch, parent []byte
		err = scan(&l.Gateway, &epoch, &parent, &l.Stream, &l.Receipted, &l.Declared, &l.Wall)
		l.Epoch, l.Parent = hex.EncodeToString(epoch), hex.EncodeToString(parent)
		return l, err
	}, `SELECT gateway, epoch, parent, stream, receipted, declared, wall FROM loss WHERE ? IN ('', gateway) ORDER BY wall`, gateway)
}

// Verdict counts messages that were not valid ones of an enrolled gateway.
type Verdict struct {
	Gateway string `json:"gateway"` // as it called itself
	Verdict string `json:"verdict"`
	N       int64  `json:"n"`
}

// Verdicts lists them.
func (s *Store) Verdicts(ctx context.Context) ([]Verdict, error) {
	return rowsOf(ctx, s.db, func(scan func(...any) error) (v Verdict, err error) { return v, scan(&v.Gateway, &v.Verdict, &v.N) },
		`SELECT gateway, verdict, n FROM verdict ORDER BY gateway, verdict`)
}

// ReceiptCount returns how many receipts were made for a gateway, and the wall of the last.
func (s *Store) ReceiptCount(ctx context.Context, gateway string) (n, wall int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT coalesce(sum(n), 0), coalesce(max(wall), 0) FROM receipt WHERE gateway = ?`, gateway).Scan(&n, &wall)
	return n, wall, err
}

// GapRecords returns how many gap records a gateway sent, and for how many records.
func (s *Store) GapRecords(ctx context.Context, gateway string) (n, records int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(g.count), 0) FROM gap g JOIN chain c ON c.id = g.chain WHERE c.gateway = ?`, gateway).Scan(&n, &records)
	return n, records, err
}

// KindCount returns how many events of the kinds a gateway's store holds.
func (s *Store) KindCount(ctx context.Context, gateway string, kind uint32) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM event e JOIN chain c ON c.id = e.chain WHERE c.gateway = ? AND c.stream = 'event' AND e.kind = ?`, gateway, int64(kind)).Scan(&n)
	return n, err
}

// Event is one row of the stream event with its name, its arrival and what
// the tag table in force says of its tag.
type Event struct {
	wire.Event
	Epoch  string
	Number uint64
	Seq    int64 // receive number
	Tag    *wire.TableTag
	Name   string                    // of the value, where that table has one for it
	People *wire.Table               // the table in force, for the names of persons; nil where none came yet
	Tags   map[tag.ID]*wire.TableTag // of the samples of its record; nil where the table has none
}

// tableKind is the kind of the events that carry a tag table.
const tableKind = 129

// Events calls f for the events of a gateway in the order of their names:
// epochs by start, then numbers. Only those of the kinds, all if there are none.
func (s *Store) Events(ctx context.Context, gateway string, kinds []uint32, f func(*Event) error) error {
	chains, err := s.Chains(ctx, gateway)
	if err != nil {
		return err
	}
	want := map[uint32]bool{}
	for _, k := range kinds {
		want[k] = true
	}
	for _, c := range chains {
		if c.Stream != wire.EventStream {
			continue
		}
		events, err := rowsOf(ctx, s.db, func(scan func(...any) error) (e *Event, err error) {
			var kind, number, seq int64
			var body []byte
			if err := scan(&kind, &number, &seq, &body); err != nil || len(want) > 0 && !want[uint32(kind)] && kind != tableKind {
				return nil, err
			}
			w, err := wire.DecodeEvent(body)
			if err != nil {
				return nil, err
			}
			return &Event{Event: *w, Epoch: c.Epoch, Number: uint64(number), Seq: seq}, nil
		}, `SELECT e.kind, e.number, coalesce((SELECT b.seq + e.number - b.first FROM block b WHERE b.chain = e.chain AND b.first <= e.number
			AND b.first + b.count > e.number ORDER BY b.first DESC LIMIT 1), 0), e.body FROM event e WHERE e.chain = ? ORDER BY e.number`, c.id)
		if err != nil {
			return fmt.Errorf("events %s: %w", gateway, err)
		}
		var people *wire.Table
		for _, e := range events {
			if e == nil {
				continue
			}
			if e.Table != nil {
				people = e.Table
			}
			if e.People = people; len(want) > 0 && !want[e.Kind] {
				continue
			}
			if e.Event.Tag != 0 {
				if e.Tag, err = s.tag(ctx, c.id, e.Number, e.Event.Tag); err != nil {
					return fmt.Errorf("events %s: %w", gateway, err)
				}
			}
			for i := range e.Record {
				id := e.Record[i].Tag
				if _, have := e.Tags[id]; have {
					continue
				}
				if e.Tags == nil {
					e.Tags = map[tag.ID]*wire.TableTag{}
				}
				if e.Tags[id], err = s.tag(ctx, c.id, e.Number, id); err != nil {
					return fmt.Errorf("events %s: %w", gateway, err)
				}
			}
			if err := s.name(ctx, c.id, e); err != nil {
				return fmt.Errorf("events %s: %w", gateway, err)
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// tag looks an id up in the tag table in force at a number; nil if there is none.
func (s *Store) tag(ctx context.Context, chain int64, number uint64, id tag.ID) (*wire.TableTag, error) {
	t := &wire.TableTag{ID: id}
	var kind int64
	err := s.db.QueryRowContext(ctx, `SELECT name, unit, kind, ranged, low, high, zh, en FROM tag WHERE chain = ? AND id = ? AND number =
		(SELECT max(number) FROM tag WHERE chain = ? AND number <= ?)`, chain, int64(id), chain, int64(number)).
		Scan(&t.Name, &t.Unit, &kind, &t.Ranged, &t.Low, &t.High, &t.TextZh, &t.TextEn)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	t.Kind = tag.Kind(kind)
	return t, err
}

// name looks up what the value of e is called: by its tag, and the value of a
// write by the tag that reads the output's own register, "<output>.state".
func (s *Store) name(ctx context.Context, chain int64, e *Event) error {
	if !s.named {
		return nil
	}
	switch e.Value.Kind() {
	case tag.Bool, tag.Int, tag.Enum, tag.Text:
	default:
		return nil
	}
	id := int64(0)
	switch {
	case e.Tag != nil:
		id = int64(e.Tag.ID)
	case e.Output == "":
		return nil
	}
	err := s.db.QueryRowContext(ctx, `SELECT text FROM name JOIN tag ON tag.chain = name.chain AND tag.number = name.number AND tag.id = name.tag
		WHERE name.chain = ? AND name.number = (SELECT max(number) FROM tag WHERE chain = ? AND number <= ?)
		AND name.code = ? AND CASE WHEN ? > 0 THEN tag.id = ? ELSE tag.name = ? END LIMIT 1`,
		chain, chain, int64(e.Number), e.Value.Int(), id, id, e.Output+".state").Scan(&e.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
