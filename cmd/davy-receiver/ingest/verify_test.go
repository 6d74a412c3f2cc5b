package ingest

import (
	"testing"

	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

func (b *bench) verify() []store.Log {
	b.t.Helper()
	logs, err := b.st.Verify(b.t.Context(), "GW-1")
	if err != nil {
		b.t.Fatal(err)
	}
	return logs
}

// What is stored is held against what was signed, and that against what was
// witnessed: any row that somebody changes here is found.
func TestVerify(t *testing.T) {
	filled := func(t *testing.T) *bench {
		b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
		var all []Message
		for range 4 { // more than one page of leaves, and of blocks
			var blocks []wire.Block
			for range 20 {
				blocks = append(blocks, g.events(1))
			}
			all = append(all, g.message(blocks...))
		}
		all = append(all, g.seal(g.vouch(g.envelope(g.readings(20)), 0)), g.message(g.events(1)))
		b.witnessed(b.take(all...), 81, "")
		return b
	}
	b := filled(t)
	l := b.verify()
	if len(l) != 1 || !l[0].Good() || l[0].Leaves != 82 || l[0].Witnessed != 81 || l[0].Blocks != 82 {
		t.Fatalf("%+v", l)
	}
	f := func(sql string, state string, altered uint64, what string) {
		t.Helper()
		// Undone afterwards, so that one database serves all.
		db := b.beside()
		for _, table := range []string{"event", "reading", "block", "raw", "witness"} {
			if _, err := db.Exec(`CREATE TABLE kept_` + table + ` AS SELECT * FROM ` + table); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(sql); err != nil {
			t.Fatal(sql, err)
		}
		l := b.verify()[0]
		if l.Good() || l.State != state || l.Altered != altered || altered > 0 && (len(l.Rows) == 0 || l.Rows[0].What != what) {
			t.Errorf("%s: %+v", sql, l)
		}
		for _, table := range []string{"event", "reading", "block", "raw", "witness"} {
			if _, err := db.Exec(`DELETE FROM ` + table + `; INSERT INTO ` + table + ` SELECT * FROM kept_` + table + `; DROP TABLE kept_` + table); err != nil {
				t.Fatal(err)
			}
		}
		_ = db.Close()
	}
	f(`UPDATE reading SET bits = bits + 1 WHERE number = 7`, store.Whole, 1, "row")
	f(`UPDATE reading SET kind = 77 WHERE number = 7`, store.Whole, 1, "row")
	f(`UPDATE event SET body = (SELECT body FROM event WHERE number = 2) WHERE number = 3`, store.Whole, 1, "row")
	f(`DELETE FROM event WHERE number BETWEEN 5 AND 6`, store.Whole, 2, "row")
	f(`UPDATE raw SET bytes = x'00' WHERE id = 3`, store.Whole, 20, "signed")
	f(`UPDATE block SET raw = 2 WHERE first = 9`, store.Whole, 1, "signed")
	f(`UPDATE raw SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'00' AS BLOB) WHERE id = 3`, store.Whole, 20, "signed") // of the signature
	f(`DELETE FROM raw WHERE id = 3`, store.Whole, 20, "signed")
	f(`UPDATE block SET sha = zeroblob(32) WHERE first = 9`, store.Differs, 1, "signed")
	f(`UPDATE block SET root_before = zeroblob(32) WHERE first = 9`, store.Differs, 1, "signed")
	f(`UPDATE block SET leaf = CASE leaf WHEN 3 THEN 4 WHEN 4 THEN 3 ELSE leaf END`, store.Differs, 0, "")
	f(`UPDATE witness SET root = zeroblob(32)`, store.BadNote, 0, "")
	f(`UPDATE witness SET note = x'00'`, store.BadNote, 0, "")
	f(`DELETE FROM witness`, store.NotWitnessed, 0, "")
	if l := b.verify(); !l[0].Good() {
		t.Fatalf("%+v", l)
	}
	if _, err := b.beside().Exec(`DELETE FROM block WHERE leaf BETWEEN 7 AND 75 OR leaf IN (3, 78, 80)`); err != nil {
		t.Fatal(err)
	}
	g := b.verify()[0]
	want := []store.Numbers{{From: 3, To: 3}, {From: 7, To: 75}, {From: 78, To: 78}, {From: 80, To: 80}}
	if g.State != store.LeavesGone || g.Gone != 72 || len(g.Which) != len(want) {
		t.Fatalf("%+v", g)
	}
	for i := range want {
		if g.Which[i] != want[i] {
			t.Errorf("%v, want %v", g.Which[i], want[i])
		}
	}
}

// A log that was forked has its first content; the second is on record and
// is not taken for a leaf of it.
func TestVerifyFork(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.witnessed(b.take(g.seal(g.vouch(g.envelope(g.events(2)), 0))), 1, "")
	o := newGW("GW-1", 1)
	o.n = 50
	b.take(o.message(o.events(2)))
	if l := b.verify(); !l[0].Good() || l[0].Blocks != 2 || len(b.forks()) == 0 {
		t.Errorf("%+v", l)
	}
	// A lying receiver is found by its own database.
	_ = b.st.Close()
	b.open(true)
	h := newGW("GW-1", 2)
	b.take(h.seal(h.vouch(h.envelope(h.say(h.event(1))), 0)))
	l := b.verify()
	if len(l) != 2 || l[1].State != store.Whole || l[1].Altered != 1 || l[1].Rows[0] != (store.Altered{Stream: wire.EventStream, Numbers: store.Numbers{From: 1, To: 1}, What: "row"}) {
		t.Errorf("%+v", l)
	}
}
