// Package store is the receiver's database: one SQLite file, written by one
// process, read by any number.
//
// It promises: what Commit returned for is on disk (WAL, synchronous=FULL) and
// survives the power; the signed bytes of everything accepted are kept beside
// the rows made from them; a row, once there, is never changed: the same name
// with other content is a fork and both stay (the second as signed bytes).
// Rows are named (gateway, epoch, stream, number); a chain is one (gateway,
// epoch, stream), and its upto is how far every number is here, refused or
// explained by a gap record. Arrival order is kept per block: its first record
// has the receive number seq, the next seq+1, and so on.
//
// Every block is a leaf of its epoch's log, by the number that it brings along;
// the leaf's hash is made of what the table block holds, and is not stored
// twice. witness has the checkpoints that were cosigned. finding has what is
// for an inspector to look into, one row per thing, with when it was over; the
// tables fork and loss are older and of the same kind.
//
// One Store with Write holds the directory's lock; its Batch has one owner.
// Figures (totals, gaps) are computed from the rows, never from counters.
//
// Imports: agent/wire, drivers/tag; modernc's SQLite, which is pure Go.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Limits, each with what happens at it.
const (
	MaxNumber     = 1 << 53  // of a record; a block beyond it is refused
	MaxGateways   = 10_000   // enrolled; Enroll fails
	MaxStream     = 32       // characters of a stream's name; a block of a longer one is kept raw and has no chain
	MaxChains     = 4096     // chains held in memory; more: all are read again
	StrangerBytes = 64 << 20 // raw bytes kept of messages without a valid signature of an enrolled gateway; more are counted only
)

// ErrLocked is what Open returns while another receiver writes to the directory.
var ErrLocked = errors.New("another receiver is running on this directory")

// ErrNotEnrolled is what Gateway returns for an unknown id.
var ErrNotEnrolled = errors.New("gateway is not enrolled")

// file is the database's name in its directory.
const file = "receiver.db"

// Store is an open database.
type Store struct {
	db     *sql.DB
	lock   *os.File
	id     string
	chains map[chainName]*chain // as committed, and as the open batch has them
	seq    int64                // last receive number given
	heard  map[string]*heard    // likewise, of gateways
	newer  bool                 // it has all columns and tables: one that an older receiver made has them after the next run
	named  bool                 // it has the table of the names of values: one that an older receiver made has none before the next run
}

// Open opens the database in dir for a receiver: it makes what is missing and
// takes the directory's lock; ErrLocked if another receiver has it.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open store %s: %w", dir, ErrLocked)
	}
	s := &Store{chains: map[chainName]*chain{}, heard: map[string]*heard{}, lock: lock}
	return s.open(dir, true)
}

// Beside opens the database in dir for a command that may run beside a
// receiver: reading, and Enroll. Without create it must exist.
func Beside(dir string, create bool) (*Store, error) {
	if !create {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	return (&Store{chains: map[chainName]*chain{}, heard: map[string]*heard{}}).open(dir, create)
}

func (s *Store) open(dir string, create bool) (*Store, error) {
	if err := s.connect(filepath.Join(dir, file), create); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

// connect: every writing transaction begins immediate and waits its turn, so
// that a command can enrol a gateway beside a running receiver.
func (s *Store) connect(path string, create bool) error {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	s.db = db
	if create {
		if _, err := db.Exec(schema); err != nil {
			return err
		}
		if s.lock != nil { // not beside a running receiver, which may be an older one
			if err := widen(db); err != nil {
				return err
			}
		}
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		if _, err := db.Exec(`INSERT OR IGNORE INTO meta VALUES ('store', ?), ('format', '1')`, hex.EncodeToString(b[:])); err != nil {
			return err
		}
	}
	var format string
	if err := db.QueryRow(`SELECT value FROM meta WHERE key = 'format'`).Scan(&format); err != nil {
		return err
	}
	if format != "1" {
		return fmt.Errorf("format %s is not known to this version", format)
	}
	if err := db.QueryRow(`SELECT value FROM meta WHERE key = 'store'`).Scan(&s.id); err != nil {
		return err
	}
	if err := db.QueryRow(`SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'name'`).Scan(&s.named); err != nil {
		return err
	}
	if err := db.QueryRow(`SELECT count(*) FROM pragma_table_info('gateway') WHERE name = 'behind'`).Scan(&s.newer); err != nil {
		return err
	}
	return db.QueryRow(`SELECT coalesce(max(seq + count), 1) - 1 FROM block WHERE id > (SELECT coalesce(max(id), 0) FROM block) - 16`).Scan(&s.seq)
}

// ID is the store's random id, made once.
func (s *Store) ID() string { return s.id }

// Close closes the database and gives the lock back.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Gateway is one that is enrolled.
type Gateway struct {
	ID           string
	Fingerprint  string
	Destination  string // name of the uplink that receipts are for; "" any
	Enrolled     int64  // wall, ns
	Key          []byte // pinned at the first valid message; nil before
	Heard        int64  // wall of the newest accepted message, ns; 0 never
	Armed        bool   // as it said in it
	ClockTrusted bool
}

// Enroll enters a gateway, or replaces its fingerprint and destination: the
// person who can run the command decides which key is the gateway's.
func (s *Store) Enroll(ctx context.Context, g Gateway) error {
	var n int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM gateway WHERE id <> ?`, g.ID).Scan(&n); err != nil {
		return fmt.Errorf("enroll %s: %w", g.ID, err)
	}
	if n >= MaxGateways {
		return fmt.Errorf("enroll %s: %d gateways are enrolled, which is the limit", g.ID, n)
	}
	_, err := s.db.ExecContext(ctx, `INSERT INTO gateway (id, fingerprint, destination, enrolled) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, destination = excluded.destination,
		enrolled = excluded.enrolled, key = CASE WHEN fingerprint = excluded.fingerprint THEN key END`,
		g.ID, g.Fingerprint, g.Destination, g.Enrolled)
	if err != nil {
		return fmt.Errorf("enroll %s: %w", g.ID, err)
	}
	return nil
}

type queryer interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

const gatewayColumns = `id, fingerprint, destination, enrolled, key, heard, armed, clock_trusted`

func scanGateway(scan func(...any) error) (g Gateway, err error) {
	err = scan(&g.ID, &g.Fingerprint, &g.Destination, &g.Enrolled, &g.Key, &g.Heard, &g.Armed, &g.ClockTrusted)
	return g, err
}

func gateway(ctx context.Context, q queryer, id string) (Gateway, error) {
	g, err := scanGateway(q.QueryRowContext(ctx, `SELECT `+gatewayColumns+` FROM gateway WHERE id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return g, ErrNotEnrolled
	}
	return g, err
}

// Gateways returns all that are enrolled, by id.
func (s *Store) Gateways(ctx context.Context) ([]Gateway, error) {
	return rowsOf(ctx, s.db, scanGateway, `SELECT `+gatewayColumns+` FROM gateway ORDER BY id`)
}

// rowsOf runs a query and scans every row.
func rowsOf[T any](ctx context.Context, q queryer, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Flag reports whether a flag is set.
func (s *Store) Flag(ctx context.Context, name string) (bool, error) {
	var n int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM meta WHERE key = ?`, name).Scan(&n)
	return n > 0, err
}
