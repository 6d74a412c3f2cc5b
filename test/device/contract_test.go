package device

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/drivertest"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// timeout is the link's; late answers wait half as long again.
const timeout = 50 * time.Millisecond

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

func rig(t *testing.T, driver drivers.Driver, faults ...Fault) *drivertest.Rig {
	d := &Device{Late: timeout * 3 / 2}
	points := cells(t, driver)
	number := func(i int) uint16 { return points[i].Address.(modbus.Address).Number }
	r := &drivertest.Rig{
		Driver: driver,
		Config: drivers.LinkConfig{Name: "plc", Settings: drivers.Settings{Target: start(t, d)}, Timeout: timeout, Now: now},
		Points: points,
		Change: func(i int) { d.Change(number(i)) },
		Heal: func() {
			d.Behave(None)
			d.Lack()
			d.Ignore()
		},
		Held: func(i int, v tag.Value, from, to tag.Stamp) bool {
			return d.Held(number(i), uint32(v.Int()), from.Mono, to.Mono)
		},
		Lack:  []func(int){func(i int) { d.Lack(number(i)) }, func(i int) { d.Ignore(number(i) + 1) }},
		Chaos: func(seed uint64) { d.Chaos(seed, 0.4) },
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
	}
	if len(faults) == 0 {
		for f := Silent; f < Faults; f++ {
			faults = append(faults, f)
		}
	}
	for _, f := range faults {
		r.Faults = append(r.Faults, drivertest.Fault{
			Name: f.String(), Begin: func() { d.Behave(f) },
			Good: f == Double || f == Ahead || f == Bytewise || f == Closed,
		})
	}
	r.Faults = append(r.Faults, drivertest.Fault{Name: "disconnected", Begin: d.Disconnect, Good: true})
	return r
}

func TestModbusTCPKeepsTheContract(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, rig(t, modbus.TCP{}))
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
			r := rig(t, Goburrow{}, c.fault)
			r.Recover = 2 * time.Second
			r.Lack, r.Chaos = nil, nil
			found := drivertest.Check(t.Context(), r, 1)
			if !slices.ContainsFunc(found, func(v drivertest.Violation) bool { return v.Kind == c.kind && v.Fault == c.fault.String() }) {
				t.Errorf("the checker did not find that goburrow is %s under %s; it found %v", c.kind, c.fault, found)
			}
		})
	}
}
