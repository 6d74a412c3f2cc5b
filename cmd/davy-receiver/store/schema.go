package store

import "database/sql"

const schema = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gateway (
  id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, destination TEXT NOT NULL, enrolled INTEGER NOT NULL,
  key BLOB, heard INTEGER NOT NULL DEFAULT 0, armed INTEGER NOT NULL DEFAULT 0, clock_trusted INTEGER NOT NULL DEFAULT 0,
  boot TEXT NOT NULL DEFAULT '', mono INTEGER NOT NULL DEFAULT 0, behind INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS raw (
  id INTEGER PRIMARY KEY AUTOINCREMENT, wall INTEGER NOT NULL, topic TEXT NOT NULL, verdict TEXT NOT NULL,
  sha BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS verdict (gateway TEXT NOT NULL, verdict TEXT NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (gateway, verdict)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chain (
  id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch BLOB NOT NULL, stream TEXT NOT NULL,
  upto INTEGER NOT NULL, root BLOB, head INTEGER NOT NULL, moved INTEGER NOT NULL DEFAULT 0, UNIQUE (gateway, epoch, stream)
);
CREATE TABLE IF NOT EXISTS block (
  id INTEGER PRIMARY KEY AUTOINCREMENT, chain INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
  seq INTEGER NOT NULL, wall INTEGER NOT NULL, raw INTEGER NOT NULL, sha BLOB NOT NULL,
  root_before BLOB NOT NULL, root_after BLOB NOT NULL, state TEXT NOT NULL, leaf INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS block_name ON block (chain, first);
CREATE TABLE IF NOT EXISTS event (
  chain INTEGER NOT NULL, number INTEGER NOT NULL, kind INTEGER NOT NULL, wall INTEGER NOT NULL, mono INTEGER NOT NULL,
  rule TEXT NOT NULL, occurrence INTEGER NOT NULL, priority INTEGER NOT NULL, tag INTEGER NOT NULL,
  value_kind INTEGER NOT NULL, value_bits INTEGER NOT NULL, quality INTEGER NOT NULL, lim REAL NOT NULL,
  first_out TEXT NOT NULL, output TEXT NOT NULL, who TEXT NOT NULL, proved INTEGER NOT NULL, note TEXT NOT NULL,
  serial INTEGER NOT NULL, body BLOB NOT NULL,
  test INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0, first INTEGER NOT NULL DEFAULT 0, channel TEXT NOT NULL DEFAULT '',
  second TEXT NOT NULL DEFAULT '', duration INTEGER NOT NULL DEFAULT 0, result INTEGER NOT NULL DEFAULT 0, samples INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (chain, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sample (
  chain INTEGER NOT NULL, number INTEGER NOT NULL, n INTEGER NOT NULL, tag INTEGER NOT NULL, quality INTEGER NOT NULL,
  kind INTEGER NOT NULL, bits INTEGER NOT NULL, wall INTEGER NOT NULL, mono INTEGER NOT NULL, PRIMARY KEY (chain, number, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reading (
  chain INTEGER NOT NULL, number INTEGER NOT NULL, tag INTEGER NOT NULL, quality INTEGER NOT NULL,
  kind INTEGER NOT NULL, bits INTEGER NOT NULL, source INTEGER NOT NULL, wall INTEGER NOT NULL, mono INTEGER NOT NULL,
  PRIMARY KEY (chain, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tag (
  chain INTEGER NOT NULL, number INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
  kind INTEGER NOT NULL, ranged INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, zh TEXT NOT NULL, en TEXT NOT NULL,
  PRIMARY KEY (chain, number, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS name (
  chain INTEGER NOT NULL, number INTEGER NOT NULL, tag INTEGER NOT NULL, code INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (chain, number, tag, code)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epoch (
  gateway TEXT NOT NULL, epoch BLOB NOT NULL, parent BLOB NOT NULL, wall INTEGER NOT NULL, version TEXT NOT NULL, boot TEXT NOT NULL,
  unwatched INTEGER NOT NULL, clean INTEGER NOT NULL, may_have_lost INTEGER NOT NULL, plan BLOB NOT NULL,
  seq INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (gateway, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (
  id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, number INTEGER NOT NULL, target INTEGER NOT NULL, stream TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, wall_from INTEGER NOT NULL, wall_to INTEGER NOT NULL,
  cause TEXT NOT NULL, root_after BLOB NOT NULL, UNIQUE (chain, number)
);
CREATE INDEX IF NOT EXISTS gap_target ON gap (target, last);
CREATE TABLE IF NOT EXISTS refused (chain INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, code TEXT NOT NULL, raw INTEGER NOT NULL,
  PRIMARY KEY (chain, first, last, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fork (
  id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, kind TEXT NOT NULL,
  raw INTEGER NOT NULL, other INTEGER NOT NULL, sha BLOB NOT NULL, wall INTEGER NOT NULL, UNIQUE (chain, first, last, kind, sha)
);
CREATE TABLE IF NOT EXISTS loss (
  gateway TEXT NOT NULL, epoch BLOB NOT NULL, parent BLOB NOT NULL, stream TEXT NOT NULL, receipted INTEGER NOT NULL, declared INTEGER NOT NULL,
  wall INTEGER NOT NULL, PRIMARY KEY (gateway, epoch, parent, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt (gateway TEXT NOT NULL, epoch BLOB NOT NULL, n INTEGER NOT NULL, wall INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (gateway, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS witness (
  gateway TEXT NOT NULL, epoch BLOB NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, wall INTEGER NOT NULL,
  signer BLOB NOT NULL, PRIMARY KEY (gateway, epoch, size)
);
CREATE TABLE IF NOT EXISTS finding (
  gateway TEXT NOT NULL, kind TEXT NOT NULL, epoch BLOB NOT NULL, other BLOB NOT NULL, stream TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, wall INTEGER NOT NULL, seen INTEGER NOT NULL, ended INTEGER NOT NULL, note TEXT NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (gateway, kind, epoch, other, stream, first)
);
CREATE TABLE IF NOT EXISTS sender (
  gateway TEXT NOT NULL, boot TEXT NOT NULL, mono INTEGER NOT NULL, returns INTEGER NOT NULL, PRIMARY KEY (gateway, boot)
);
CREATE TABLE IF NOT EXISTS resume (
  gateway TEXT PRIMARY KEY, number INTEGER NOT NULL, made INTEGER NOT NULL, sent INTEGER NOT NULL, tries INTEGER NOT NULL, done INTEGER NOT NULL
);
`

// later are the columns that the first receivers did not make: a database of
// theirs is given them when it is next opened for writing.
var later = [...]struct{ table, name, kind string }{
	{"event", "test", "INTEGER NOT NULL DEFAULT 0"},
	{"event", "hidden", "INTEGER NOT NULL DEFAULT 0"},
	{"event", "first", "INTEGER NOT NULL DEFAULT 0"},
	{"event", "channel", "TEXT NOT NULL DEFAULT ''"},
	{"event", "second", "TEXT NOT NULL DEFAULT ''"},
	{"event", "duration", "INTEGER NOT NULL DEFAULT 0"},
	{"event", "result", "INTEGER NOT NULL DEFAULT 0"},
	{"event", "samples", "INTEGER NOT NULL DEFAULT 0"},
	{"block", "leaf", "INTEGER NOT NULL DEFAULT 0"},     // its place in the epoch's log
	{"chain", "moved", "INTEGER NOT NULL DEFAULT 0"},    // wall when upto moved, or when there began to be more to wait for
	{"epoch", "seq", "INTEGER NOT NULL DEFAULT 0"},      // receive number of its start record
	{"gateway", "boot", "TEXT NOT NULL DEFAULT ''"},     // of its newest message
	{"gateway", "mono", "INTEGER NOT NULL DEFAULT 0"},   // of that boot, the largest
	{"gateway", "behind", "INTEGER NOT NULL DEFAULT 0"}, // wall since when its clock, said to be trusted, was always behind; 0: it was not
}

// index are those over columns of later.
const index = `
CREATE INDEX IF NOT EXISTS chain_open ON chain (moved) WHERE head > upto;
CREATE INDEX IF NOT EXISTS block_leaf ON block (chain, leaf);
`

// widen adds what is missing of later, in one transaction.
func widen(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	for _, c := range later {
		var has bool
		if err := tx.QueryRow(`SELECT count(*) FROM pragma_table_info(?) WHERE name = ?`, c.table, c.name).Scan(&has); err != nil {
			return err
		}
		if !has {
			if _, err := tx.Exec(`ALTER TABLE ` + c.table + ` ADD COLUMN ` + c.name + ` ` + c.kind); err != nil {
				return err
			}
		}
	}
	if _, err := tx.Exec(index); err != nil {
		return err
	}
	return tx.Commit()
}
