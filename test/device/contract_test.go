package device

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/drivertest"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// timeout is the link's; late answers wait half as long again.
const timeout = 50 * time.Millisecond

// shares is into how many parts the contract of one transport goes, each with a
// device and a link of its own. Too many at once are slow with each other on a
// processor that is emulated, and slow is what the contract calls late.
func shares() int {
	if runtime.GOARCH == "arm" {
		return 2
	}
	return 5
}

// start serves a device on loopback until the test ends.
func start(t *testing.T, d *Device) (target string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func now() tag.Stamp { return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(epoch))} }

// cells are the points of the suite: three blocks of one shape, so that one
// could pass for another, one of inputs, and another station's.
func cells(t *testing.T, d drivers.Driver) []drivers.Point {
	t.Helper()
	var out []drivers.Point
	for i, c := range []struct {
		station int
		at      string
	}{
		{1, "holding 10"},
		{1, "ref 40015"},
		{1, "holding 100"},
		{1, "holding 104"},
		{1, "holding 200"},
		{1, "holding 204"},
		{2, "ref 30031"},
		{2, "holding 300"},
		{2, "holding 302"},
		{2, "holding 310"},
	} {
		a, err := d.ParseAddress(c.at)
		if err != nil {
			t.Fatal(err)
		}
		typ, err := d.ParseType(a, "uint32")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, drivers.Point{Tag: tag.ID(i + 1), Name: tag.Name("d." + c.at), Station: c.station, Address: a, Type: typ, Period: time.Second})
	}
	return out
}

// transport is one way in which the suite reaches a device.
type transport struct {
	driver drivers.Driver
	fields drivers.Fields
	// begin serves d and returns the target; unplug cuts it off once.
	begin   func(t *testing.T, d *Device) (target string, unplug func())
	framing Framing
	cannot  map[drivertest.Kind]string
	without []Fault // that cannot be, or say nothing here
	recover time.Duration
	settle  time.Duration
	late    time.Duration // 0: half as long again as the timeout
}

// overTCP serves on loopback.
func overTCP(prefix string) func(t *testing.T, d *Device) (string, func()) {
	return func(t *testing.T, d *Device) (string, func()) { return prefix + start(t, d), d.Disconnect }
}

// dialsIn has the device dial in to a port that is free. It is not of 127.0.0.1:
// a connection comes from there, and one of another test could take it.
func dialsIn(hello string) func(t *testing.T, d *Device) (string, func()) {
	return func(t *testing.T, d *Device) (string, func()) {
		l, err := net.Listen("tcp", "127.0.1.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.Call(ctx, addr, hello)
		}()
		t.Cleanup(func() {
			cancel()
			<-done
		})
		return "listen " + addr, d.Disconnect
	}
}

// overLine serves on a pseudo-terminal.
func overLine(t *testing.T, d *Device) (string, func()) {
	l := &Line{Path: filepath.Join(t.TempDir(), "tty")}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	plug := func() {
		c, err := l.Plug()
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() { d.Talk(ctx, c) })
	}
	plug()
	t.Cleanup(func() {
		cancel()
		l.Unplug()
		wg.Wait()
	})
	return l.Path, func() {
		l.Unplug()
		plug()
	}
}

// kinds says what of the list each fault is.
var kinds = map[Fault]drivertest.Kind{
	Silent: drivertest.Silent, Garbled: drivertest.Garbled, Short: drivertest.Short, Long: drivertest.Long,
	WrongUnit: drivertest.WrongStation, WrongFunction: drivertest.WrongFunction, LateBefore: drivertest.LateBefore,
	LateDuring: drivertest.LateDuring, Double: drivertest.Duplicate, Bytewise: drivertest.Bytewise, Reset: drivertest.Reset,
	HalfOpen: drivertest.HalfOpen, Mute: drivertest.Speechless,
}

// Every exception that the protocol names, and one that it does not.
var codes = []byte{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 0x7f}

func rig(t *testing.T, tr transport, faults ...Fault) *drivertest.Rig {
	d := &Device{Late: cmp.Or(tr.late, timeout*3/2), Framing: tr.framing}
	points := cells(t, tr.driver)
	number := func(i int) uint16 { return points[i].Address.(modbus.Address).Number }
	target, unplug := tr.begin(t, d)
	settings, err := tr.driver.ParseLink(target, tr.fields)
	if err != nil {
		t.Fatal(err)
	}
	r := &drivertest.Rig{
		Driver: tr.driver,
		Config: drivers.LinkConfig{Name: "plc", Settings: settings, Timeout: timeout, Now: now},
		Points: points,
		Change: func(i int) { d.Change(number(i)) },
		Heal: func() {
			d.Behave(None)
			d.Lack()
			d.Ignore()
			d.Away()
		},
		Held: func(i int, v tag.Value, from, to tag.Stamp) bool {
			return d.Held(number(i), uint32(v.Int()), from.Mono, to.Mono)
		},
		Lack: []func(int){func(i int) { d.Lack(number(i)) }, func(i int) { d.Ignore(number(i) + 1) }},
		Silence: func(done bool) {
			if done {
				d.Behave(Mute)
			} else {
				d.Behave(Deaf)
			}
		},
		Write: drivers.Point{
			Tag: 99, Name: "d.coil", Station: 1, Address: modbus.Address{Table: modbus.Coil, Number: 7},
			Type: drivers.Type{Kind: tag.Bool, Bits: 1}, Write: true,
		},
		Written: func() tag.Value { return tag.BoolValue(d.Coil(7)) },
		Cannot:  map[drivertest.Kind]string{},
		Recover: tr.recover,
		Settle:  tr.settle,
	}
	every := len(faults) == 0
	if every {
		for f := Silent; f < Faults; f++ {
			if f != Refuse && !slices.Contains(tr.without, f) {
				faults = append(faults, f)
			}
		}
		for _, code := range codes {
			r.Faults = append(r.Faults, drivertest.Fault{Kind: drivertest.Refused, Name: fmt.Sprintf("exception %d", code), Begin: func() { d.Refusal(code) }})
		}
		r.Chaos = func(seed uint64) { d.Chaos(seed, 0.4, append(slices.Clone(faults), Refuse)...) }
	}
	for _, f := range faults {
		one := drivertest.Fault{
			Kind: kinds[f], Name: f.String(), Begin: func() { d.Behave(f) },
			Good: f == Double || f == Ahead || f == Bytewise || f == HalfOpen || f == Closed && tr.framing == MBAP,
		}
		if f == LateBefore {
			one.Pause = 2 * d.Late
		}
		r.Faults = append(r.Faults, one)
	}
	if every {
		r.Faults = append(r.Faults,
			drivertest.Fault{Kind: drivertest.Reconnected, Name: "disconnected", Begin: unplug, Good: true},
			drivertest.Fault{
				Kind: drivertest.TwoDevices, Name: "station 2 away", Begin: func() { d.Away(2) },
				Spares: func(i int) bool { return points[i].Station == 1 },
			},
		)
	}
	maps.Copy(r.Cannot, tr.cannot)
	return r
}

// What goes without ids says nothing of a fault in the ids.
var ids = []Fault{WrongProtocol, Ahead}

func TestModbusKeepsTheContract(t *testing.T) {
	noConnection := "a serial line has no connections"
	serial := transport{
		without: append(slices.Clone(ids), Reset, CloseFirst, Closed, HalfOpen, Mute), fields: drivers.Fields{"serial": "115200 8E1", "late_max": "300ms", "other_master": "allow"},
		cannot: map[drivertest.Kind]string{
			drivertest.Reset: noConnection, drivertest.HalfOpen: noConnection, drivertest.Speechless: noConnection,
		},
		recover: time.Minute, settle: 400 * time.Millisecond, late: 200 * time.Millisecond,
	}
	bridge := transport{
		without: ids, fields: drivers.Fields{"late_max": "300ms", "other_master": "allow"},
		recover: serial.recover, settle: serial.settle, late: serial.late,
	}
	with := func(tr transport, d drivers.Driver, f Framing, begin func(t *testing.T, d *Device) (string, func()), more drivers.Fields) transport {
		tr.driver, tr.framing, tr.begin, tr.fields = d, f, begin, maps.Clone(tr.fields)
		maps.Copy(tr.fields, more)
		return tr
	}
	registration := drivers.Fields{"registration": "JY0231"}
	rigs := map[string][]*drivertest.Rig{}
	for name, tr := range map[string]transport{
		"tcp":                {driver: modbus.TCP{}, begin: overTCP("")},
		"tcp pipeline auto":  {driver: modbus.TCP{}, begin: overTCP(""), fields: drivers.Fields{"pipeline": "auto"}},
		"tcp pipeline 16":    {driver: modbus.TCP{}, begin: overTCP(""), fields: drivers.Fields{"pipeline": "16"}},
		"tcp idle release":   {driver: modbus.TCP{}, begin: overTCP(""), fields: drivers.Fields{"idle_release": "100ms"}},
		"tcp dials in":       {driver: modbus.TCP{}, begin: dialsIn("")},
		"tcp dials in, says": {driver: modbus.TCP{}, begin: dialsIn("JY0231"), fields: registration},
		"rtu over tcp":       with(bridge, modbus.RTU{}, RTU, overTCP("tcp://"), nil),
		"ascii over tcp":     with(bridge, modbus.ASCII{}, ASCII, overTCP("tcp://"), nil),
		"rtu dials in":       with(bridge, modbus.RTU{}, RTU, dialsIn("JY0231"), registration),
		"rtu":                with(serial, modbus.RTU{}, RTU, overLine, nil),
		"ascii":              with(serial, modbus.ASCII{}, ASCII, overLine, nil),
	} {
		for range shares() {
			rigs[name] = append(rigs[name], rig(t, tr))
		}
	}
	// They wait for most of their time, so all go at once.
	var wg sync.WaitGroup
	var mu sync.Mutex
	found := map[string][]drivertest.Violation{}
	for name, r := range rigs {
		wg.Go(func() {
			next := func() *drivertest.Rig {
				one := r[0]
				r = r[1:]
				return one
			}
			v := drivertest.Apart(t.Context(), len(r), next, 1)
			mu.Lock()
			found[name] = v
			mu.Unlock()
		})
	}
	wg.Wait()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Run(name, func(t *testing.T) {
			for _, v := range found[name] {
				t.Error(v)
			}
		})
	}
}

// A rig that leaves a kind of fault out without a reason, or gives a reason for
// one that it makes, is named.
func TestNothingIsSilentlyMissing(t *testing.T) {
	full := func() *drivertest.Rig {
		r := rig(t, transport{driver: modbus.TCP{}, begin: overTCP("")})
		r.Points = nil // nothing is asked: planning ends the suite
		return r
	}
	untried := func(r *drivertest.Rig, want int) {
		t.Helper()
		r.Points = append(r.Points, drivers.Point{Station: -1, Address: modbus.Address{}, Type: drivers.Type{Kind: tag.Int, Bits: 16}})
		n := 0
		for _, v := range drivertest.Check(t.Context(), r, 1) {
			if v.Kind == drivertest.Untried {
				n++
			}
		}
		if n != want {
			t.Errorf("%d kinds are named, want %d", n, want)
		}
	}
	untried(full(), 0)
	r := full()
	r.Faults, r.Lack, r.Silence, r.Written = nil, nil, nil, nil
	untried(r, len(drivertest.Kinds))
	r = full()
	r.Cannot[drivertest.Garbled] = "it can"
	untried(r, 1)
	r = full()
	r.Faults = append(r.Faults, drivertest.Fault{Kind: "sulking", Begin: func() {}})
	untried(r, 1)
}

// The checker is worth something only if it catches a client that is known
// to be wrong: goburrow's own.
func TestGoburrowIsCaught(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		kind  string
	}{
		{Ahead, drivertest.Wrong},      // another register's value, called good
		{Short, drivertest.Panic},      // fewer data than asked, without an error
		{LateDuring, drivertest.Stuck}, // one late answer poisons the connection
		{Reset, drivertest.Stuck},      // a dead connection is never replaced
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			t.Parallel()
			caught(t, transport{driver: Goburrow{}, begin: overTCP("")}, c.fault, c.kind)
		})
	}
}

// On a line one late answer makes its RTU client return another register's
// value as good.
func TestGoburrowRTUIsCaught(t *testing.T) {
	t.Parallel()
	tr := transport{driver: GoburrowRTU{}, framing: RTU, begin: overLine, fields: drivers.Fields{"serial": "19200 8E1", "other_master": "allow"}}
	tr.late = 4 * timeout // its own timeout begins anew with each read, after a sleep
	caught(t, tr, LateDuring, drivertest.Wrong)
}

// caught fails the test unless the suite finds a violation of a kind.
func caught(t *testing.T, tr transport, fault Fault, kind string) {
	t.Helper()
	r := rig(t, tr, fault)
	begin := r.Faults[0].Begin
	r.Faults[0].Begin = func() { // before it, a busy machine has its time to come good
		r.Recover = 2 * time.Second
		begin()
	}
	r.Lack = nil
	for _, k := range drivertest.Kinds {
		if k != kinds[fault] && k != drivertest.Cancelled && k != drivertest.Writing {
			r.Cannot[k] = "one fault is under test here"
		}
	}
	found := drivertest.Check(t.Context(), r, 1)
	if !slices.ContainsFunc(found, func(v drivertest.Violation) bool { return v.Kind == kind && v.Fault == fault.String() }) {
		t.Errorf("the checker did not find that goburrow is %s under %s; it found %v", kind, fault, found)
	}
}
