package opcua

import (
	"context"
	"testing"

	"github.com/gopcua/opcua/ua"

	"davy/agent/clock"
	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/script"
)

// The real plant behind the server: every node is there, follows the process,
// and is what a script makes of it.
func TestPlant(t *testing.T) {
	plant := bench.New(bench.Options{Seed: 1, Speed: 1, Book: &logbook.Book{}, Now: clock.Now})
	s, err := Listen("127.0.0.1:0", plant)
	if err != nil {
		t.Fatal(err)
	}
	plant.Wire(bench.Servers{})
	plant.WireOPCUA(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	do := func(command string) {
		t.Helper()
		c, p := script.ParseCommand(command, bench.Names())
		if p != nil {
			t.Fatal(p)
		}
		if _, err := plant.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	c := client(t, s)
	ns := index(t, c)
	for _, n := range plant.Nodes() {
		v, err := read(t, c, ua.NewStringNodeID(ns, n.Name), ua.AttributeIDValue)
		if err != nil || v.Status != ua.StatusOK || v.SourceTimestamp.IsZero() {
			t.Errorf("%s: %+v, %v", n.Name, v, err)
		}
	}
	n := subscribe(t, c, "comp1.discharge-temp", 10)
	status := func(want uint32) func(*ua.DataValue) bool {
		return func(v *ua.DataValue) bool { return v.Status == ua.StatusCode(want) }
	}
	do("hold comp1.discharge-temp 101.5")
	n.until("a held value", is(float32(101.5)))
	do("opcua freeze")
	do("hold comp1.discharge-temp 102.5")
	do("opcua status comp1.discharge-temp 0x80340000")
	n.until("a bad status", status(0x80340000))
	do("opcua status comp1.discharge-temp good")
	n.until("frozen where it was", is(float32(101.5)))
	do("opcua freeze off")
	n.until("thawed", is(float32(102.5)))
	do("dead comp1")
	n.until("no communication", status(0x80310000))
	do("clear")
	n.until("good again", is(float32(102.5)))
	do("opcua restart")
	c = client(t, s)
	n = subscribe(t, c, "comp1.trip", 10)
	n.until("no trip", is(false))
	do("compressor trip")
	n.until("a trip", is(true))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
