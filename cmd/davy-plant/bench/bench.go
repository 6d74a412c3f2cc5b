// Package bench is the plant on a bench: one process behind Modbus (TCP,
// serial lines) and an OPC UA server, with faults that a script or a person switches on and off, and a log
// of everything that a judge of the agent needs.
//
// Units (Modbus unit ids) and what they hold, addresses on the wire from 0:
//
//	nh3-1, nh3-2, nh3-3  1, 2, 3   holding 0..1 gas, float32 ABCD, ppm · holding 2 state: 0 normal, 1 warm-up, 2 fault
//	comp1                10        holding, float32 CDAB: 0 suction pressure, 2 discharge pressure (MPa), 4 discharge
//	                               temperature (°C), 6 oil pressure (MPa), 8 load (%) · discrete 0 run, 1 trip
//	receiver1            11        input 0..1 level, float32 ABCD, %
//	io1                  20        coil 0 fan, 1 siren · discrete 0 fan runs, 1 siren sounds, 2 watchdog has dropped the
//	                               outputs, 3 the receiver's level switch · holding 20 watchdog, 21 watchdog enabled, 22 coils when it drops them,
//	                               23 coils after power-up (22 and 23: bit 0 is coil 0)
//
// No other unit id and no other address answers: a unit that is not there is
// silent, an address that is not there is exception 2.
//
// Who owns what: Bench owns process, registers and faults under one mutex that
// is never held over I/O. A register's change and its stamp in the log are made
// under the same hold: nobody can have read the new value before the stamp.
// Lines of the log that a request caused are in the file before it is answered.
//
// The watchdog, the fan and a script's times run in real time. Imports:
// process, modbus, script, logbook, drivers/tag.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/process"
	"davy/cmd/davy-plant/script"
	"davy/drivers/tag"
)

// MaxCatchUp is how many steps one turn makes good; what is beyond it is
// slipped: the plant's time stands still for it, and the log says so.
const MaxCatchUp = 200

// WatchdogTime is how long io1 waits for a write to its watchdog register.
const WatchdogTime = 5 * time.Second

// Options make a bench.
type Options struct {
	Seed   uint64
	Speed  float64
	Script []script.Line
	Watch  map[string][]float64 // levels by tag; DefaultWatch where nil
	Book   *logbook.Book
	Now    func() tag.Stamp
}

// DefaultWatch are the levels that the site in firmware-configs/plants/bench
// judges by, with the levels at which its alarms return and its reset opens.
func DefaultWatch() map[string][]float64 {
	gas := []float64{25, 26, 28, 54, 56, 150}
	return map[string][]float64{
		"nh3-1.gas":                gas,
		"nh3-2.gas":                gas,
		"nh3-3.gas":                gas,
		"comp1.discharge-temp":     {128, 130, 143, 145},
		"comp1.discharge-pressure": {1.42, 1.45, 1.52, 1.55},
		"receiver1.level":          {15, 16, 79, 80, 84, 85, 90},
	}
}

// Server is what a bench needs of the wire: *modbus.Server, *modbus.Caller, Servers.
type Server interface {
	ResetAll()
	Refuse()
	Accept(ctx context.Context) error
	Deaf(on bool)
}

// Servers are several as one.
type Servers []Server

// ResetAll is each server's.
func (s Servers) ResetAll() {
	for _, one := range s {
		one.ResetAll()
	}
}

// Refuse is each server's.
func (s Servers) Refuse() {
	for _, one := range s {
		one.Refuse()
	}
}

// Accept is each server's.
func (s Servers) Accept(ctx context.Context) error {
	var errs []error
	for _, one := range s {
		errs = append(errs, one.Accept(ctx))
	}
	return errors.Join(errs...)
}

// Deaf is each server's.
func (s Servers) Deaf(on bool) {
	for _, one := range s {
		one.Deaf(on)
	}
}

// Bench is the plant. Make it with New; Wire joins it to its server.
type Bench struct {
	now  func() tag.Stamp
	book *logbook.Book
	wire Server
	ends []Adapter
	ua   OPCUA

	mu       sync.Mutex
	p        *process.Plant
	units    []*unit
	io       *unit
	quants   []quantity
	bits     []bit
	held     map[string]float64
	faults   map[string]bool
	script   []script.Line
	begun    int64 // Mono at which the plant's time was 0, less what slipped
	acceptAt int64 // Mono; 0: not refusing for a time
	after    []func(context.Context) error
	requests uint64
	writes   uint64
	conns    int
	failed   error // the first; the log could not be written
	dog      watchdog
	line     lineTrouble
	opc      opcTrouble
}

// watchdog of the I/O module.
type watchdog struct {
	served  int64 // Mono of the last write to its register, or of its enabling
	dropped bool
}

// New makes a bench at rest; its time begins with the first Tick.
func New(o Options) *Bench {
	if o.Watch == nil {
		o.Watch = DefaultWatch()
	}
	b := &Bench{
		now: o.Now, book: o.Book, p: process.New(o.Seed, o.Speed),
		held: map[string]float64{}, faults: map[string]bool{}, script: o.Script,
	}
	b.layout(o.Watch)
	at := b.now()
	b.book.Add(logbook.Entry{Event: logbook.Start, Text: "davy-plant 1", Seed: o.Seed, Speed: o.Speed}.At(at))
	b.refresh(at, true)
	return b
}

// Names are what a script may name.
func Names() script.Names {
	var b Bench
	b.layout(nil)
	var n script.Names
	for _, u := range b.units {
		n.Units = append(n.Units, u.name)
	}
	for _, q := range b.quants {
		n.Tags = append(n.Tags, q.name)
	}
	for _, node := range b.Nodes() {
		n.Nodes = append(n.Nodes, node.Name)
	}
	return n
}

// Wire gives the bench its server, before Run.
func (b *Bench) Wire(s Server) { b.wire = s }

// Run carries the plant on until ctx ends, or its log cannot be written.
func (b *Bench) Run(ctx context.Context) error {
	t := time.NewTicker(process.Period)
	defer t.Stop()
	for {
		if err := b.Tick(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// End writes the last line, when Run and the server have ended.
func (b *Bench) End() error {
	b.book.Add(logbook.Entry{Event: logbook.Stop}.At(b.now()))
	return b.book.Flush()
}

// Tick makes every step that is due by now, with the script's lines between
// them at their times.
func (b *Bench) Tick(ctx context.Context) error {
	b.mu.Lock()
	at := b.now()
	if b.begun == 0 {
		b.begun = at.Mono
	}
	due := (at.Mono-b.begun)/int64(process.Period) - int64(b.p.Time()/process.Period)
	if due > MaxCatchUp {
		lost := (due - MaxCatchUp) * int64(process.Period)
		b.begun += lost
		b.book.Add(logbook.Entry{Event: logbook.Slipped, Value: ptr(time.Duration(lost).Seconds())}.At(at))
		due = MaxCatchUp
	}
	b.runScript(at)
	for range due {
		b.p.Step()
		b.runScript(at)
	}
	b.watch(at)
	b.refresh(at, false)
	after := b.takeAfter(at)
	b.mu.Unlock()
	return b.finish(ctx, after)
}

// runScript carries out the lines whose time has come. mu is held.
func (b *Bench) runScript(at tag.Stamp) {
	for len(b.script) > 0 && b.script[0].At <= b.p.Time() {
		b.do(b.script[0].Do, "script", at)
		b.script = b.script[1:]
	}
}

// takeAfter returns what is to be done once mu is free. mu is held.
func (b *Bench) takeAfter(at tag.Stamp) []func(context.Context) error {
	if b.opc.acceptAt != 0 && at.Mono >= b.opc.acceptAt {
		b.acceptOPCUA(at)
	}
	if b.acceptAt != 0 && at.Mono >= b.acceptAt {
		b.accept(at)
	}
	after := b.after
	b.after = nil
	return after
}

// finish does what must not be done under mu: the wire and the log.
func (b *Bench) finish(ctx context.Context, after []func(context.Context) error) error {
	for _, f := range after {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	err := b.book.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
	return b.failed
}

// Do carries out one command of the control line and returns what it answers,
// "" for a plain "ok".
func (b *Bench) Do(ctx context.Context, c script.Command) (string, error) {
	switch c.Form {
	case "state":
		return b.State(), nil
	case "help":
		j, _ := json.Marshal(script.Forms)
		return string(j), nil
	}
	b.mu.Lock()
	at := b.now()
	b.do(c, "control", at)
	b.refresh(at, false)
	after := b.takeAfter(at)
	b.mu.Unlock()
	return "", b.finish(ctx, after)
}

// do carries out one command and notes it. mu is held.
func (b *Bench) do(c script.Command, by string, at tag.Stamp) {
	if c.Form == "mark TEXT" {
		b.book.Add(logbook.Entry{Event: logbook.Mark, Text: c.Text}.At(at))
		return
	}
	b.book.Add(logbook.Entry{Event: logbook.Do, Text: c.Source, By: by}.At(at))
	u := b.unitNamed(c.Unit)
	switch c.Form {
	case "leak start RATE":
		b.p.Leak = c.Number
	case "leak stop":
		b.p.Leak = 0
	case "hold TAG NUMBER":
		b.held[c.Tag] = c.Number
	case "release TAG":
		delete(b.held, c.Tag)
	case "release all":
		clear(b.held)
	case "step NUMBER", "step off":
		for _, q := range b.quants {
			if q.gas && c.Form == "step off" {
				delete(b.held, q.name)
			} else if q.gas {
				b.held[q.name] = c.Number
			}
		}
	case "compressor start":
		b.p.Started = true
	case "compressor stop":
		b.p.Started = false
	case "compressor trip":
		b.p.Trip()
	case "compressor reset":
		b.p.ResetCompressor()
	case "load NUMBER":
		b.p.Load = min(max(c.Number, 0), 120)
	case "load auto":
		b.p.Load = -1
	case "fill RATE":
		b.p.Fill = c.Number
	case "condition UNIT normal":
		u.condition = 0
	case "condition UNIT warm-up":
		u.condition = 1
	case "condition UNIT fault":
		u.condition = 2
	default:
		b.fault(c, u, at)
	}
}

// State is the plant as one JSON object on one line.
func (b *Bench) State() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	type pair struct {
		Command bool `json:"command"`
		Runs    bool `json:"runs"`
	}
	s := struct {
		Time       float64            `json:"time_s"`
		Leak       float64            `json:"leak_ppm_s"`
		Room       float64            `json:"room_ppm"`
		Fan        pair               `json:"fan"`
		Siren      pair               `json:"siren"`
		Coils      []bool             `json:"coils"`
		Compressor pair               `json:"compressor"`
		Tripped    bool               `json:"compressor_tripped"`
		Watchdog   bool               `json:"watchdog_enabled"`
		Dropped    bool               `json:"watchdog_dropped"`
		Tags       map[string]float64 `json:"tags"` // as the registers have them
		Held       map[string]float64 `json:"held"`
		Faults     []string           `json:"faults"`
		Conns      int                `json:"connections"`
		Requests   uint64             `json:"requests"`
		Writes     uint64             `json:"writes"`
		Script     int                `json:"script_lines_left"`
	}{
		Time: b.p.Time().Seconds(), Leak: b.p.Leak, Room: b.p.Room,
		Fan:        pair{b.p.FanStart, b.p.FanRun},
		Siren:      pair{b.p.Siren, b.p.SirenSounds},
		Coils:      b.io.coil.bits,
		Compressor: pair{b.p.Started, b.p.Running}, Tripped: b.p.Tripped,
		Watchdog: b.io.word(regEnable) == 1, Dropped: b.dog.dropped,
		Tags: map[string]float64{}, Held: b.held, Faults: []string{},
		Conns: b.conns, Requests: b.requests, Writes: b.writes, Script: len(b.script),
	}
	for _, q := range b.quants {
		s.Tags[q.name] = q.shown
	}
	for f := range b.faults {
		s.Faults = append(s.Faults, f)
	}
	slices.Sort(s.Faults)
	j, err := json.Marshal(s)
	if err != nil {
		panic("BUG: bench: " + err.Error())
	}
	return string(j)
}

func ptr[T any](v T) *T { return &v }
