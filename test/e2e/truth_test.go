package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/agent/operate"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
	"davy/drivers"
	"davy/drivers/modbus"
	firmware "davy/firmware-configs"
	"davy/test/device"
	"davy/test/rig"
)

// The truth test: a device whose every register's value names its address and
// its change count, and which answers late, short, with the wrong function,
// with an exception, for another unit, or resets the connection. What the
// regulator's store holds as good must have been that register's value within
// the request.

const (
	truthCells   = 40
	truthTimeout = 80 * time.Millisecond
	truthEach    = time.Second
	truthMixed   = 6 * time.Second
	// truthPatience is how long a fault waits for its first request beyond truthEach,
	// where each of them has to be met.
	truthPatience = 8 * time.Second
	truthGateway  = "TRUTH-1"
)

var truthFaults = []device.Fault{
	device.Ahead, device.Short, device.WrongFunction, device.WrongUnit, device.LateBefore, device.LateDuring,
	device.Refuse, device.Reset, device.Swapped, device.Double, device.Truncated, device.Garbled, device.Bytewise,
}

// cell is the wire address of cell i: some lie together, some far apart.
func cell(i int) uint16 { return uint16(2*i + 200*(i/8)) }

func truthSite(plant, broker, key string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `davy: 1
gateway:
  id: %s
  name: {zh: 真值试验, en: Truth test}
  time_zone: Asia/Shanghai
links:
  plc: {modbus-tcp: %s, timeout: %dms}
devices:
  dev:
    link: plc
    station: 7
    tags:
`, truthGateway, plant, truthTimeout.Milliseconds())
	for i := range truthCells {
		fmt.Fprintf(&b, "      c%d: {at: holding %d, type: uint32, scan: 50ms, record: every 1s}\n", i, cell(i))
	}
	fmt.Fprintf(&b, `uplinks:
  regulator:
    mqtt: tcp://%s
    receipts: key %s
    must_confirm: true
journal: {keep: 30d, sync: 1s, size: 100 MB}
`, broker, key)
	return b.String()
}

// verdict is what the store holds against the device's own log.
type verdict struct {
	good, bad, lies int
	first           string
	tally           device.Tally
}

// truth runs agent (start) against a device in chaos and judges the store. A
// fault that no request meets is waited for with patience.
func truth(t *testing.T, patience time.Duration, start func(b *rig.Bench) (*rig.Proc, error)) verdict {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stall := rig.WatchStall(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := &device.Device{Late: 3 * truthTimeout / 2, Now: func() int64 { return clock.Now().Mono }}
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, l) }()
	defer func() { stop(); <-served }()

	g, err := rig.New(bin)
	must(t, err)
	b := &rig.Bench{Rig: g}
	defer b.Close()
	must(t, b.StartReceiver(""))
	site := truthSite(l.Addr().String(), b.Broker, b.Key)
	must(t, os.MkdirAll(b.Site(), 0o755))
	must(t, os.WriteFile(filepath.Join(b.Site(), "site.yaml"), []byte(site), 0o644))
	var key struct{ Fingerprint string }
	must(t, os.MkdirAll(b.State(), 0o750))
	must(t, b.JSON(&key, "davy", "keys", "show", "--json", "--state", b.State()))
	_, err = b.Output("davy-receiver", "enroll", truthGateway, key.Fingerprint, "--db", b.DB())
	must(t, err)
	must(t, b.Apply("truth"))
	b.Davy, err = start(b)
	must(t, err)
	must(t, b.See(20*time.Second, "every cell read", rig.Watching))

	// Each fault has its time alone, then all of them together.
	tick := time.NewTicker(7 * time.Millisecond)
	defer tick.Stop()
	n := 0
	during := func(length time.Duration, faults ...device.Fault) {
		d.Chaos(uint64(n), 0.3, faults...)
		// A station that fell silent is asked seldom: the fault waits for a request.
		seen := func() bool { return len(faults) > 1 || d.Tally().Spoilt[faults[0]] > 0 }
		for end := time.Now().Add(length); time.Now().Before(end) || !seen() && time.Now().Before(end.Add(patience)); n++ {
			<-tick.C
			d.Change(cell(n * 7 % truthCells))
		}
	}
	for _, f := range truthFaults {
		during(truthEach, f)
	}
	during(truthMixed, truthFaults...)
	d.Chaos(1, 0)
	must(t, b.See(20*time.Second, "the backlog is drained", func(v *operate.View) bool { return v.Keeper.Backlog < 400 }))
	must(t, b.Davy.Stop(20*time.Second))

	plan := compileSite(t, b.Site())
	st, err := store.Beside(b.DB(), false)
	must(t, err)
	defer func() { _ = st.Close() }()
	var v verdict
	must(t, st.Export(ctx, truthGateway, func(_ wire.Epoch, stream string, number uint64, canonical []byte) error {
		if stream != wire.ReadingStream {
			return nil
		}
		r, err := wire.DecodeReading(canonical)
		if err != nil {
			return err
		}
		var i int
		if _, err := fmt.Sscanf(string(plan.Tags[r.Tag].Name), "dev.c%d", &i); err != nil {
			return nil // the agent's own conditions
		}
		if !r.Quality.Good() {
			v.bad++
			return nil
		}
		v.good++
		// An answer that waits in the socket while nobody runs is stamped later by as much.
		within := int64(2*truthTimeout + stall.Longest())
		if !d.Held(cell(i), uint32(r.Value.Int()), r.Received.Mono-within, r.Received.Mono) {
			if v.lies++; v.lies == 1 {
				v.first = fmt.Sprintf("reading %d says that %s (holding %d) was %#x, which is register %d, not within %v", number, plan.Tags[r.Tag].Name, cell(i), r.Value.Int(), r.Value.Int()>>16, time.Duration(within))
			}
		}
		return nil
	}))
	v.tally = d.Tally()
	t.Logf("good %d, bad %d, lies %d; %s; device: %+v", v.good, v.bad, v.lies, v.first, v.tally)
	return v
}

func compileSite(t *testing.T, dir string) *config.Plan {
	t.Helper()
	bundle, problems := config.ReadSite(os.DirFS(dir), ".", firmware.Library)
	plan, more := config.Compile(bundle, drivers.Set{"modbus-tcp": modbus.TCP{}})
	if plan == nil {
		t.Fatalf("site does not compile: %v %v", problems, more)
	}
	return plan
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoReadingOfAnotherRegisterIsGood(t *testing.T) {
	t.Parallel()
	v := truth(t, truthPatience, func(b *rig.Bench) (*rig.Proc, error) { return b.Start("davy", "run", "--state", b.State()) })
	if v.lies > 0 {
		t.Errorf("%d of %d good readings are lies; %s", v.lies, v.good, v.first)
	}
	for _, f := range truthFaults {
		if v.tally.Spoilt[f] == 0 {
			t.Errorf("no answer was spoilt by %s", f)
		}
	}
	if v.good < 400 || v.bad < 100 {
		t.Errorf("%d good and %d bad readings prove little", v.good, v.bad)
	}
}

func TestTheTruthTestCatchesGoburrowsOwnClient(t *testing.T) {
	t.Parallel()
	// After an answer that misses its timeout it asks no more, whatever is waited:
	// on a busy machine that may be before the first fault, so it is tried again.
	good := 0
	for range 3 {
		v := truth(t, 0, func(b *rig.Bench) (*rig.Proc, error) { return b.Start("goburrow", "run", b.State()) })
		if v.lies > 0 {
			return
		}
		good += v.good
	}
	t.Errorf("goburrow's own client told no lie in %d good readings: the test cannot catch one", good)
}
