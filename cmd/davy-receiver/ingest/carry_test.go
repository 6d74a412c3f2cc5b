package ingest

import (
	"database/sql"
	"path/filepath"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
	"davy/drivers/tag"
	"davy/rules"
)

// beside opens the database as somebody who has nothing but SQL does.
func (b *bench) beside() *sql.DB {
	b.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.dir, "receiver.db"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = db.Close() })
	return db
}

// lastOfRules is far enough for every kind that the rules have and will have.
const lastOfRules = 63

// Every kind of event, also one that is not known here, is a row with all that
// was said: the flag TEST, why nobody was called, the channel, both persons.
func TestWhatTheRulesSayIsInTheTable(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	var sent []wire.Event
	for k := rules.AlarmRaised; k <= lastOfRules; k++ {
		e := g.event(k)
		e.Test, e.First = k%2 == 0, k%3 == 0
		e.Hidden, e.Result = uint32(k)%4, uint32(k)%5
		e.Channel, e.Second, e.For, e.Who, e.Proved = "nh3-1.gas", "wang", int64(k)*1e9, "li", true
		if k == rules.InterlockRecorded {
			e.Samples = 500
			e.Record = []tag.Reading{
				{Tag: 5, Received: tag.Stamp{Wall: 7, Mono: 8}, Value: tag.IntValue(-3), Quality: tag.GoodQuality},
				{Tag: 6, Received: tag.Stamp{Wall: 9, Mono: 10}, Quality: tag.BadNoComm},
			}
		}
		if k == lastOfRules { // of a gateway that is newer than this receiver
			e.Newer = protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
		}
		sent = append(sent, e)
	}
	got := b.take(g.message(g.say(sent...)))
	b.fits(g, wire.EventStream, got)
	b.expectMissing()
	i := 0
	err := b.st.Events(t.Context(), "GW-1", nil, func(e *store.Event) error {
		if !reflect.DeepEqual(e.Event, sent[i]) {
			t.Errorf("stored %+v\nsent   %+v", e.Event, sent[i])
		}
		i++
		return nil
	})
	if err != nil || i != len(sent) {
		t.Fatalf("%v: %d of %d", err, i, len(sent))
	}
	rows, err := b.beside().Query(`SELECT number, kind, test, hidden, first, channel, second, duration, result, samples, proved FROM event ORDER BY number`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var x wire.Event
		var number int
		if err := rows.Scan(&number, &x.Kind, &x.Test, &x.Hidden, &x.First, &x.Channel, &x.Second, &x.For, &x.Result, &x.Samples, &x.Proved); err != nil {
			t.Fatal(err)
		}
		s := sent[number-1]
		want := wire.Event{
			Kind: s.Kind, Test: s.Test, Hidden: s.Hidden, First: s.First, Channel: s.Channel, Second: s.Second, For: s.For, Result: s.Result,
			Samples: s.Samples, Proved: s.Proved,
		}
		if !reflect.DeepEqual(x, want) {
			t.Errorf("row %+v\nsent %+v", x, want)
		}
		n++
	}
	if err := rows.Err(); err != nil || n != len(sent) {
		t.Fatalf("%v: %d rows", err, n)
	}
	var samples, of, quality int64
	if err := b.beside().QueryRow(`SELECT count(*), max(number), min(quality) FROM sample`).Scan(&samples, &of, &quality); err != nil || samples != 2 || of != int64(rules.InterlockRecorded) {
		t.Errorf("%v: %d samples of event %d", err, samples, of)
	}
	b.same(g, g.all)
}

// A database that an older receiver made takes what is new, and keeps what it has.
func TestOlderDatabase(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(3)))
	db := b.beside()
	for _, c := range []string{"test", "hidden", "first", "channel", "second", "duration", "result", "samples"} {
		if _, err := db.Exec(`ALTER TABLE event DROP COLUMN ` + c); err != nil {
			t.Fatal(c, err)
		}
	}
	for _, drop := range []string{
		`DROP TABLE sample`, `DROP TABLE witness`, `DROP TABLE finding`, `DROP TABLE sender`, `DROP TABLE resume`, `DROP INDEX chain_open`, `DROP INDEX block_leaf`,
		`ALTER TABLE block DROP COLUMN leaf`, `ALTER TABLE chain DROP COLUMN moved`, `ALTER TABLE epoch DROP COLUMN seq`,
		`ALTER TABLE gateway DROP COLUMN boot`, `ALTER TABLE gateway DROP COLUMN mono`, `ALTER TABLE gateway DROP COLUMN behind`,
	} {
		if _, err := db.Exec(drop); err != nil {
			t.Fatal(drop, err)
		}
	}
	_ = db.Close()
	st, err := store.Beside(b.dir, false) // a command that only shows reads it as it is
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Events(t.Context(), "GW-1", nil, func(*store.Event) error { return nil }); err != nil {
		t.Error(err)
	}
	if found, err := st.Findings(t.Context(), ""); err != nil || len(found) != 0 {
		t.Errorf("%v: %+v", err, found)
	}
	if telling, err := st.Telling(t.Context()); err != nil || len(telling) != 0 {
		t.Errorf("%v: %+v", err, telling)
	}
	if logs, err := st.Verify(t.Context(), "GW-1"); err == nil {
		t.Errorf("an old database is verified: %+v", logs)
	}
	_ = st.Close()
	b.reopen()
	e := g.event(rules.AlarmRaised)
	e.Test, e.Record, e.Samples = true, []tag.Reading{{Tag: 1}}, 1
	b.fits(g, wire.EventStream, b.take(g.message(g.say(e))))
	b.same(g, g.all)
	var all, tests int
	if err := b.beside().QueryRow(`SELECT count(*), sum(test) FROM event`).Scan(&all, &tests); err != nil || all != 4 || tests != 1 {
		t.Errorf("%v: %d rows, %d of tests", err, all, tests)
	}
}
