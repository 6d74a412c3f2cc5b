package hj212

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"davy/agent/i18n"
	"davy/agent/uplink/feed"
	"davy/drivers/tag"
)

// Limits, each with what happens at it.
const (
	MinRealtime   = 30 * time.Second // RtdInterval, table 4; New refuses less
	MaxRealtime   = time.Hour        // and more
	MaxOverTime   = 99 * time.Second // table 4; New refuses more
	MaxReCount    = 99               // table 4; New refuses more
	MaxFactors    = 500              // of a destination; New refuses more
	MaxCode       = 12               // bytes of a factor's code; New refuses more. The standard's have 6
	MaxLog        = 870              // bytes of a text in 3020: with the rest of it at most MaxCP, and below the 890 of table C.40; the rest is cut off
	MaxAsked      = 1500             // periods of one request of the host; a longer one is answered with ExeRtn 3
	maxRequests   = 10               // of the host in a second; more are dropped and counted
	maxTold       = 64               // refusals of one connection in the log, one per command and code; more are counted only
	tellEvery     = time.Minute      // between two lines in the log about what was counted
	maxDone       = 4096             // periods of which is remembered that they were sent; an older one may be sent twice
	maxCached     = 256              // periods whose statistics are kept for the longer ones; more are computed again
	writeWait     = 10 * time.Second // for the connection to take a frame; then it is given up
	slowestLook   = 10 * time.Second // between two looks at the wall clock, which may be set
	dialWait      = 10 * time.Second // for a connection to stand
	keepAlive     = 15 * time.Second // between two probes of TCP on a line where nothing is said
	DefaultSettle = 10 * time.Second // after the end of a period, for its readings to be in the journal
)

// Defaults of table 1 for wireless lines, and of what the standard leaves open.
const (
	DefaultOverTime = 10 * time.Second
	DefaultReCount  = 3
	DefaultPace     = 200 * time.Millisecond // between two periods that the host asked for
)

// minutes are the values of MinInterval in table 4.
var minutes = [...]int{1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30}

// Settings is what becomes of a command that would set something.
type Settings uint8

// The ways to answer. Neither changes anything here.
const (
	Refuse  Settings = iota // 9011 with QnRtn 2
	Compare                 // carried out (ExeRtn 1) where it is so already, else QnRtn 2; a clock: within ClockAgrees
)

// Log is what becomes of alarms and interlocks.
type Log uint8

// The ways to tell of them. Many hosts do not know 3020: where one never
// answers it, LogAnswered would hold up everything else.
const (
	NoLog         Log = iota // they are left out, and counted
	LogAnswered              // each waits for its answer (where Answers says so)
	LogUnanswered            // sent counts as arrived
)

// ClockAgrees is how far a clock that the host would set may be from ours to
// be answered as set; see Compare. The uplink rules of the field ask for an
// alarm above 2 s (standards.md 3.8, derived).
const ClockAgrees = 2 * time.Second

// Factor is a tag with what the host calls it.
type Factor struct {
	Tag      string        // name of the tag
	Code     string        // a21026
	Decimals int           // 0 to 6
	Total    float64       // the -Cou of a period is the integral of the value over its seconds times this; 0: none is sent
	Hold     time.Duration // a reading says how it is for at most so long; see HoldOf
}

// HoldOf returns the Hold of a tag that is recorded at least every so often:
// one record may be late or lost.
func HoldOf(every time.Duration) time.Duration { return 2*every + 5*time.Second }

// Options of a destination.
type Options struct {
	Name string // the destination, as in the site file
	MN   string // of the device: 24 characters 0-9 A-F
	// PW returns the 6 characters that the host knows the site by. It is asked
	// for before each connection.
	PW       func() (string, error)
	ST       string // of the site: "22", "31", "32"
	Edition  Edition
	Zone     *time.Location
	Factors  []Factor
	Realtime time.Duration // RtdInterval; 0: no real-time data
	Minute   time.Duration // MinInterval; 0: no minute data
	Hour     bool
	Day      bool
	// AnyBad is the rule of water for the flag of a period: one abnormal value
	// makes it abnormal. Otherwise that of flue gas: N when at least three
	// quarters are normal, else D. Tables C.16 to C.18.
	AnyBad   bool
	Events   Log // alarms and interlocks as a log of the gateway (3020, i21001-Info)
	Lang     i18n.Lang
	Answers  bool // Flag A: the host answers each packet; false: sent is all that is known
	OverTime time.Duration
	ReCount  int // how often a packet is sent again
	Settings Settings
	Pace     time.Duration // between two periods that the host asked for
	// Beat: after so long without a frame one goes out with BeatCN. The edition
	// of 2017 has no heartbeat; 9015 is what a public implementation of 2025 sends.
	Beat   time.Duration
	BeatCN int
	Settle time.Duration // after the end of a period, for its readings to be in the journal
	// Started is when the agent began: it is sent once (2081). Zero: it is not.
	Started tag.Stamp

	Dial func(ctx context.Context) (net.Conn, error) // see DialTCP
	Now  func() tag.Stamp
	// Past calls f with the recorded readings whose wall time is in [from, to)
	// (ns since 1970), those of one tag in the order of the journal; more may come.
	Past func(ctx context.Context, from, to int64, f func(feed.Record)) error
	// Before returns the wall time of the newest reading recorded before one; 0: there is none.
	Before func(ctx context.Context, wall int64) (int64, error)
	Log    *slog.Logger
}

// Counts is what a destination counted since New.
type Counts struct {
	Noise
	Frames    uint64 // sent, with repetitions
	Resent    uint64
	Confirmed uint64 // packets answered with 9014, or sent where no answer is asked for
	Beats     uint64
	Requests  uint64            // of the host that were carried out
	Refused   uint64            // of the host that were not: wrong PW or MN, something to set, unknown
	Flooded   uint64            // of the host that came too fast and were dropped
	Strange   uint64            // packets that answer nothing that was sent, late answers among them
	Broken    uint64            // frames whose data segment cannot be read
	Pieces    uint64            // packets of split commands that never became whole
	LeftOut   map[string]uint64 // records that the standard has no place for: by kind of event, "health", "reading"
	TooLarge  uint64            // factors whose fields fit into no packet
	Again     uint64            // periods sent again because the journal got more of them
}

// Destination is a host of HJ 212. It outlives its sessions.
type Destination struct {
	o       Options
	factors map[string]int // by tag

	mu     sync.Mutex
	clock  clock
	pw     string // of the connection that stands
	counts Counts
	newest []sample // by factor
	told   bool     // 2081 went
	said   Counts   // that stands in the log
	sayAt  time.Time
	periods
}

var (
	errMN      = errors.New("MN is not 1 to 24 characters 0-9 A-Z a-z")
	errPW      = errors.New("PW is not 6 characters 0-9 A-Z a-z")
	errST      = errors.New("ST is not 2 characters 0-9 A-Z")
	errPeriods = errors.New("period is not one of the standard's")
	errWaits   = errors.New("OverTime or ReCount is not one of the standard's")
	errFactor  = errors.New("factor")
)

// DialTCP connects to host:port.
func DialTCP(address string) func(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialWait, KeepAlive: keepAlive}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
}

// Words reports whether s is n to m letters and digits.
func words(s string, n, m int) bool {
	for _, c := range []byte(s) {
		if !strings.ContainsRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", rune(c)) {
			return false
		}
	}
	return len(s) >= n && len(s) <= m
}

// MinuteFits reports whether d is a MinInterval of table 4.
func MinuteFits(d time.Duration) bool {
	for _, m := range minutes {
		if d == time.Duration(m)*time.Minute {
			return true
		}
	}
	return false
}

// New returns a destination that does nothing until Connect. Defaults are
// taken for OverTime, ReCount, Pace, Settle, Zone (UTC) and Lang (Chinese)
// where they are zero.
func New(o Options) (*Destination, error) {
	if o.OverTime == 0 {
		o.OverTime = DefaultOverTime
	}
	if o.ReCount == 0 {
		o.ReCount = DefaultReCount
	}
	if o.Pace == 0 {
		o.Pace = DefaultPace
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Lang == "" {
		o.Lang = i18n.Zh
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	d := &Destination{o: o, factors: map[string]int{}, newest: make([]sample, len(o.Factors)), periods: newPeriods()}
	err := o.check()
	for i, f := range o.Factors {
		if _, twice := d.factors[f.Tag]; twice && err == nil {
			err = fmt.Errorf("%w %s: twice", errFactor, f.Tag)
		}
		d.factors[f.Tag] = i
	}
	if err != nil {
		return nil, fmt.Errorf("hj212 %s: %w", o.Name, err)
	}
	d.counts.LeftOut = map[string]uint64{}
	return d, nil
}

func (o *Options) check() error {
	switch {
	case !words(o.MN, 1, 24):
		return errMN
	case !words(o.ST, 2, 2):
		return errST
	case o.Realtime != 0 && (o.Realtime < MinRealtime || o.Realtime > MaxRealtime || o.Realtime%time.Second != 0):
		return fmt.Errorf("real-time data every %v: %w", o.Realtime, errPeriods)
	case o.Minute != 0 && !MinuteFits(o.Minute), o.Minute == 0 && (o.Hour || o.Day):
		return fmt.Errorf("minute data every %v: %w", o.Minute, errPeriods)
	case o.OverTime < time.Second || o.OverTime > MaxOverTime || o.OverTime%time.Second != 0 || o.ReCount < 1 || o.ReCount > MaxReCount:
		return fmt.Errorf("%v, %d times: %w", o.OverTime, o.ReCount, errWaits)
	case len(o.Factors) > MaxFactors:
		return fmt.Errorf("%w: %d of them, %d at most", errFactor, len(o.Factors), MaxFactors)
	}
	codes := map[string]bool{}
	for _, f := range o.Factors {
		switch {
		case f.Tag == "" || !words(f.Code, 1, MaxCode) || f.Decimals < 0 || f.Decimals > 6 || f.Hold <= 0:
			return fmt.Errorf("%w %s: code, decimals or hold", errFactor, f.Tag)
		case codes[f.Code]:
			return fmt.Errorf("%w %s: code %s twice", errFactor, f.Tag, f.Code)
		}
		codes[f.Code] = true
	}
	return nil
}

// Counts returns what was counted so far.
func (d *Destination) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts
	c.LeftOut = map[string]uint64{}
	for k, n := range d.counts.LeftOut {
		c.LeftOut[k] = n
	}
	return c
}

// key returns the PW of the connection that stands.
func (d *Destination) key() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pw
}

// count changes the counts.
func (d *Destination) count(f func(*Counts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.counts)
}

// tell writes into the log what came that should not have, when there is more
// of it and not too often.
func (d *Destination) tell() {
	d.mu.Lock()
	c, before := d.counts, d.said
	now := time.Now()
	var args []any
	for _, x := range []struct {
		name     string
		was, now uint64
	}{
		{"garbage_bytes", before.Garbage, c.Garbage},
		{"wrong_length", before.Lengths, c.Lengths},
		{"too_long", before.TooLong, c.TooLong},
		{"wrong_crc", before.CRCs, c.CRCs},
		{"unreadable", before.Broken, c.Broken},
		{"pieces", before.Pieces, c.Pieces},
		{"flooded", before.Flooded, c.Flooded},
		{"unexpected", before.Strange, c.Strange},
		{"resent", before.Resent, c.Resent},
		{"too_large", before.TooLarge, c.TooLarge},
		{"sent_again", before.Again, c.Again},
		{"wrong_clock", before.LeftOut["clock"], c.LeftOut["clock"]},
	} {
		if x.now > x.was {
			args = append(args, x.name, x.now-x.was)
		}
	}
	if len(args) == 0 || now.Before(d.sayAt) {
		d.mu.Unlock()
		return
	}
	d.said, d.sayAt = c, now.Add(tellEvery)
	d.said.LeftOut = map[string]uint64{"clock": c.LeftOut["clock"]}
	d.mu.Unlock()
	d.o.Log.Warn("counted on the line to the host", append([]any{"destination", d.o.Name}, args...)...)
}

// offset returns how many seconds east of Greenwich the site is.
func (d *Destination) offset(wall int64) int {
	_, s := time.Unix(0, wall).In(d.o.Zone).Zone()
	return s
}

// local prints a wall time (ns) as DataTime has it.
func (d *Destination) local(wall int64) string {
	return time.Unix(0, wall).In(d.o.Zone).Format(layout)
}

const layout = "20060102150405"

// civil prints local seconds.
func civil(sec int64) string { return time.Unix(sec, 0).UTC().Format(layout) }

// parseLocal reads a DataTime of the host.
func (d *Destination) parseLocal(s string) (wall int64, ok bool) {
	t, err := time.ParseInLocation(layout, s, d.o.Zone)
	if err != nil || len(s) != len(layout) || t.Year() < 1970 || t.Year() > 2200 { // UnixNano holds 292 years
		return 0, false
	}
	return t.UnixNano(), true
}
