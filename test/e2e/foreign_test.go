package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"davy/agent/operate"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
	"davy/rules"
	"davy/test/rig"
)

const foreignSite = `davy: 1
gateway:
  id: %s
  name: {zh: 外来部件, en: Foreign parts}
  time_zone: Asia/Shanghai
  outputs: armed
links:
  plc: {modbus-tcp: %s}
devices:
  dev:
    link: plc
    station: 1
    may_write: [coil 5]
    tags:
      pressure: {at: ref 40201, type: uint16, unit: kPa, range: 0 to 500 kPa, scan: 200ms}
      level: {at: input 60, type: uint16, range: 0 to 100 %%, scan: 200ms}
      switch: {at: discrete 9, type: bool}
      missing: {at: holding 600, type: uint16}
outputs:
  siren:
    drives: dev coil 5
    idle: off
    protective: on
    davy_dead: stays
    link_lost: stays
    after_restart: as it was
uplinks:
  regulator: {mqtt: tcp://%s, receipts: key %s, must_confirm: true}
journal: {keep: 30d, sync: 1s, size: 100 MB}
`

const foreignRules = `alarms:
  dev-level:
    watch: dev.level
    high: {at: 50 %, priority: medium, text: {zh: 液位高, en: Level high}}
interlocks:
  PRESSURE:
    text: {zh: 压力联锁, en: Pressure}
    trip_when: 1 of 1
    channels: [dev.pressure >= 150 kPa]
    channel_bad: counts as trip after 10s
    all_channels_bad: trip
    then: [demand: siren]
    reset: by operator
`

// A register of a libmodbus device becomes a reading, a rule judges it, an
// output of that device moves, and the record reaches the receiver's database
// through mosquitto: end to end over parts that nobody here wrote.
func TestEndToEndOverForeignParts(t *testing.T) {
	t.Parallel()
	g, err := rig.New(bin)
	must(t, err)
	b := &rig.Bench{Rig: g}
	defer b.Close()
	port, err := rig.FreePort()
	must(t, err)
	_, err = b.Mosquitto(port)
	must(t, err)
	must(t, b.StartReceiver(fmt.Sprintf("127.0.0.1:%d", port)))
	must(t, os.MkdirAll(b.Site(), 0o755))
	must(t, os.WriteFile(filepath.Join(b.Site(), "site.yaml"), fmt.Appendf(nil, foreignSite, rig.Gateway, "127.0.0.1:"+libmodbus(t), b.Broker, b.Key), 0o644))
	must(t, os.WriteFile(filepath.Join(b.Site(), "rules.yaml"), []byte(foreignRules), 0o644))
	must(t, b.Enroll())
	must(t, b.Apply("foreign"))
	must(t, b.StartDavy())
	must(t, b.See(30*time.Second, "tripped, driven, and all receipted", func(v *operate.View) bool {
		return rig.Interlock(v, "PRESSURE").State == operate.Tripped && rig.Output(v, "siren").State == "on" && rig.Output(v, "siren").Confirmed &&
			v.Tags.NeverRead == 0 && v.Keeper.Backlog == 0 && v.Keeper.Events == 0
	}))
	must(t, b.Davy.Stop(20*time.Second))

	plan := compileSite(t, b.Site())
	st, err := store.Beside(b.DB(), false)
	must(t, err)
	defer func() { _ = st.Close() }()
	want := map[string]string{"dev.pressure": "200", "dev.level": "60", "dev.switch": "true", "siren.state": "true"}
	seen := map[string]bool{}
	must(t, st.Export(t.Context(), rig.Gateway, func(_ wire.Epoch, stream string, _ uint64, canonical []byte) error {
		if stream != wire.ReadingStream {
			return nil
		}
		r, err := wire.DecodeReading(canonical)
		if err != nil {
			return err
		}
		name := string(plan.Tags[r.Tag].Name)
		switch {
		case name == "dev.missing" && !r.Quality.Bad():
			t.Errorf("a register that the device does not have is %v", r.Value)
		case r.Quality.Good() && r.Value.String() == want[name]:
			seen[name] = true
		case want[name] != "" && name != "siren.state":
			t.Errorf("%s is recorded as %v %v, the device holds %s", name, r.Quality, r.Value, want[name])
		}
		return nil
	}))
	for name := range want {
		if !seen[name] {
			t.Errorf("%s never reached the receiver's store as %s", name, want[name])
		}
	}
	kinds := map[rules.Kind]int{}
	must(t, st.Events(t.Context(), rig.Gateway, nil, func(e *store.Event) error {
		if e.Rule == "PRESSURE" || e.Rule == "dev-level.high" {
			kinds[rules.Kind(e.Kind)]++
		}
		return nil
	}))
	if kinds[rules.InterlockTripped] != 1 || kinds[rules.AlarmRaised] != 1 {
		t.Errorf("one trip and one alarm were meant to be stored: %v", kinds)
	}
}
