package device

import (
	"maps"
	"slices"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/test/scale"
)

// A connection that is cut and made again, over and over, leaves nothing behind.
func TestReconnectsLeaveNothingBehind(t *testing.T) {
	reconnects := max(100, scale.Of(1000)) // how often each connection is cut
	line := drivers.Fields{"other_master": "allow", "late_max": "100ms"}
	serial := maps.Clone(line)
	serial["serial"] = "115200 8E1"
	transports := map[string]transport{
		"tcp":            {driver: modbus.TCP{}, begin: overTCP("")},
		"tcp pipeline":   {driver: modbus.TCP{}, begin: overTCP(""), fields: drivers.Fields{"pipeline": "16"}},
		"tcp dials in":   {driver: modbus.TCP{}, begin: dialsIn("JY0231"), fields: drivers.Fields{"registration": "JY0231"}},
		"rtu over tcp":   {driver: modbus.RTU{}, framing: RTU, begin: overTCP("tcp://"), fields: line},
		"ascii over tcp": {driver: modbus.ASCII{}, framing: ASCII, begin: overTCP("tcp://"), fields: line},
		"rtu":            {driver: modbus.RTU{}, framing: RTU, begin: overLine, fields: serial},
		"ascii":          {driver: modbus.ASCII{}, framing: ASCII, begin: overLine, fields: serial},
	}
	for _, name := range slices.Sorted(maps.Keys(transports)) {
		t.Run(name, func(t *testing.T) {
			tr := transports[name]
			d := &Device{Late: timeout, Framing: tr.framing}
			target, unplug := tr.begin(t, d)
			settings, err := tr.driver.ParseLink(target, tr.fields)
			if err != nil {
				t.Fatal(err)
			}
			link, err := tr.driver.Open(t.Context(), drivers.LinkConfig{Name: "plc", Settings: settings, Timeout: time.Second, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			requests, err := tr.driver.Plan(settings, cells(t, tr.driver)[:1])
			if err != nil {
				t.Fatal(err)
			}
			good := func() {
				t.Helper()
				for until := time.Now().Add(20 * time.Second); ; {
					rs, err := link.Read(t.Context(), requests[0], nil)
					if err == nil && rs[0].Quality.Good() {
						return
					}
					if time.Now().After(until) {
						t.Fatal("it does not come good: ", err)
					}
					<-time.After(time.Millisecond)
				}
			}
			for range 3 { // what is made once is made here
				unplug()
				good()
			}
			goroutines, descriptors := scale.Held()
			began := time.Now()
			for range reconnects {
				unplug()
				good()
			}
			took := time.Since(began)
			g, f := scale.Held()
			t.Logf("%s: %d reconnects in %v: goroutines %d before, %d after, difference %d; descriptors %d before, %d after, difference %d",
				name, reconnects, took.Round(time.Millisecond), goroutines, g, g-goroutines, descriptors, f, f-descriptors)
			if g > goroutines || f > descriptors {
				t.Error("something was left behind")
			}
			if n := d.Tally().Accepted; n < reconnects {
				t.Errorf("%d connections were made", n)
			}
			if err := link.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
