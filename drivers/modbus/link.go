package modbus

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Port is a byte stream with time: what a link needs of a connection.
type Port interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error // may be called while Read or Write blocks, and ends them
}

// Counts is what happened on a link since it was opened.
type Counts struct {
	Asked    uint64 // requests sent
	Answered uint64 // answers that fitted, exceptions included
	Silent   uint64 // requests without an answer in time
	Dropped  uint64 // frames that answered no waiting request: late, doubled, unasked
	Nonsense uint64 // answers with the right id and the wrong content
	Dialed   uint64 // attempts to connect
	Lost     uint64 // connections closed for an error, a framing error or silence
}

// silence is a request that was sent and not answered within this time.
type silence time.Duration

func (s silence) Error() string {
	return fmt.Sprintf("no answer within %v", time.Duration(s).Round(time.Millisecond))
}

var errCut = fmt.Errorf("%w: a frame was cut short at the deadline", errFraming)

// channel is one way to reach stations: frames of Modbus TCP on a connection
// (mbap), or of RTU or ASCII on a line. It belongs to its link's goroutine.
//
// A request adu is always compiled in the form of Modbus TCP with transaction
// id 0; adu[6:] is the station and the PDU, which is all that a line sends.
type channel interface {
	// exchange sends adu and returns the data of its answer (see check), which
	// lives until the next exchange. It obeys deadline, connecting included, and
	// ctx. The error is an exception, a silence, wraps errNonsense or errFraming,
	// is unsent where nothing went out, or is of the connection.
	exchange(ctx context.Context, adu []byte, again bool, deadline time.Time) ([]byte, error)
	// heard counts what a station ever answered, so that silence of one block
	// can be told from silence of the station.
	heard(station byte) uint32
	counts() Counts
	close() error
}

// link is what one link of the site asks of its channel: blocks, their parts,
// values, writes.
type link struct {
	channel
	name    string
	timeout time.Duration
	log     *slog.Logger
	now     func() tag.Stamp
	until   time.Time // when the present Read or Write has to be over

	batch batch // what ReadAll is at

	// What was learnt about blocks; see split.go.
	splits map[*request]*split
	longer map[place]learnt // and of their longer forms; see split_form.go

	readOnly bool // nothing is written
}

func open(cfg drivers.LinkConfig, make func(cfg drivers.LinkConfig) channel) *link {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Say == nil {
		cfg.Say = func(string, bool) {}
	}
	if cfg.Now == nil {
		panic("BUG: modbus: LinkConfig.Now is nil")
	}
	return &link{channel: make(cfg), name: cfg.Name, timeout: cfg.Timeout, log: cfg.Log, now: cfg.Now, splits: map[*request]*split{}, readOnly: cfg.ReadOnly}
}

// Counts returns what happened so far.
func (l *link) Counts() Counts { return l.counts() }

// Close ends the connection.
func (l *link) Close() error {
	if err := l.close(); err != nil {
		return fmt.Errorf("close %s: %w", l.name, err)
	}
	return nil
}

// limit gives a Read or Write its time, however many transactions it takes:
// the link's timeout, or until ctx's deadline if that is earlier.
func (l *link) limit(ctx context.Context) {
	l.until = time.Now().Add(l.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(l.until) {
		l.until = d
	}
}

// transfer asks within the time that limit left.
func (l *link) transfer(ctx context.Context, adu []byte, again bool) ([]byte, error) {
	if err := ctx.Err(); err != nil || !time.Now().Before(l.until) {
		return nil, unsent{cmp.Or(err, context.DeadlineExceeded)}
	}
	return l.exchange(ctx, adu, again, l.until)
}

// unsent marks errors after which nothing was sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }
