package matrix

import (
	"os"
	"strings"
	"testing"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/gpio"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
	"davy/rules"
)

func testSet() drivers.Set {
	return drivers.Set{
		"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "modbus-ascii": modbus.ASCII{}, "opcua": opcua.Driver{}, "gpio": gpio.New(),
	}
}

// site is what the tests' interlocks stand in.
const site = `davy: 1
gateway: {id: GW-1, name: {zh: 冷库三号, en: Cold store 3}, time_zone: Asia/Shanghai}
links: {plc: {modbus-tcp: 10.0.0.1}, io: {modbus-tcp: 10.0.0.2}}
devices:
  d:
    link: plc
    station: 1
    text: {zh: 一号柜, en: Cabinet 1}
    tags:
      a: {at: holding 0, type: float32 ABCD, range: 0 to 1000 ppm, gas: nh3, text: {zh: 氨1, en: Ammonia 1}}
      b: {at: holding 2, type: float32 ABCD, range: 0 to 1000 ppm, gas: nh3}
      c: {at: holding 4, type: float32 ABCD, range: 0 to 1000 ppm, gas: nh3}
      t: {at: holding 6, type: float32 ABCD, range: -50 to 200 °C}
      run: {at: coil 0, type: bool}
      stop: {at: coil 1, type: bool}
      mode: {at: holding 8, type: uint16, states: {0: idle, 1: casting, 2: draining}}
  m:
    link: io
    station: 2
    may_write: [coil 0, coil 1, coil 2]
    tags: {fan: {at: coil 3, type: bool}}
outputs:
  fan: {drives: m coil 0, idle: stop, protective: run, davy_dead: stays, link_lost: stays, after_restart: as it was, text: {zh: 事故排风机, en: Exhaust fan}, proof: m.fan = on within 5s, escalate: [siren]}
  siren: {drives: m coil 1, idle: off, protective: on, davy_dead: stays, link_lost: stays, after_restart: idle}
  valve: {drives: m coil 2, idle: on, protective: off, davy_dead: stays, link_lost: stays, after_restart: protective, text: {zh: 供液阀, en: Liquid valve}}
`

const formulas = `computed:
  room.worst: {value: 'max(d.a, d.b, d.c)', text: {zh: 最高, en: Worst}, range: 0 to 1000 ppm}
alarms:
  a:
    watch: d.a
    high: {at: 28 ppm, priority: medium, text: {zh: 氨高, en: Ammonia high}, guide: {zh: 通风, en: Ventilate}}
    deadband: 2 ppm
    raise_after: 2s
`

// full says everything that an interlock can say, together with sparse.
const full = `  FULL:
    text: {zh: '全, "写"', en: "=all of it"}
    priority: critical
    trip_when: 2 of 4
    channels:
      - d.a >= 105 mg/m³
      - room.worst > 150.5 ppm
      - d.b > 30 ppm and (d.run = yes or d.mode = casting)
      - {when: d.c >= 150 ppm, manual: yes}
    channel_bad: last good for 30s, then counts as trip
    channel_in_test: counts
    all_channels_bad: hold
    degraded: alarm low, at most 72h
    raise_after: 1500ms
    discrepancy: votes differ for 60s, alarm high
    arm_when: d.mode = casting or d.mode = draining
    arm_due: d.run = yes and d.mode = casting for 10min
    permissives:
      - d.t < 150 °C
      - {when: d.mode = idle or d.run = no, raise_after: 10s, priority: high, text: {zh: 可启动, en: May start}}
    then:
      - {demand: valve, after: 5s, run_on: 10min}
      - demand: fan
    reset: by operator
    reset_when: d.run = no and d.mode = idle
    test: engineer or ehs, longest 1h
    test_every: 90d
    bypass: one channel, engineer or ehs and shift-leader, longest 8h, then alarm only
`

const sparse = `  SPARSE:
    text: 单
    trip_when: any
    channels: [d.a >= 150 ppm, d.b >= 150 ppm, 'd.c >= 105 mg/m³']
    discrepancy: 15 ppm for 60s
    then: [demand: fan after 2s, demand: siren]
    reset: automatic, when all channels < 25 ppm for 10min
  MAR-1:
    text: {zh: 停止按钮, en: Stop button}
    trip_when: all
    channels: [{when: d.stop = on, manual: yes}]
    channel_bad: left out
    degraded: no alarm
    permissives: [d.t < 150 °C, d.b < 20 ppm, d.run = no]
    then: [demand: siren]
    reset: by operator
    bypass: one channel, anybody, longest 30min
`

const allOfIt = formulas + "interlocks:\n" + full + sparse

// bundleOf is a site of two files, with the profiles it needs.
func bundleOf(t testing.TB, siteText, rulesText string) *config.Bundle {
	t.Helper()
	b := &config.Bundle{}
	b.Put(config.SiteFile, []byte(siteText))
	b.Put(config.RulesFile, []byte(rulesText))
	data, err := os.ReadFile("../../firmware-configs/profiles/gases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b.Put("profiles/gases.yaml", data)
	return b
}

// failer is a test, or a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func compiled(t failer, b *config.Bundle) *config.Plan {
	t.Helper()
	plan, problems := config.Compile(b, testSet())
	if plan == nil {
		t.Fatalf("%s", told(problems, b))
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Fatalf("%v", err)
	}
	return plan
}

func told(p config.Problems, b *config.Bundle) string {
	var out strings.Builder
	_ = p.Write(&out, i18n.En, b)
	return out.String()
}

// withInterlocks is a bundle in which the text stands in place of the
// section interlocks; it has no stories.
func withInterlocks(b *config.Bundle, text []byte) *config.Bundle {
	other := &config.Bundle{}
	for _, f := range b.Files {
		other.Put(f.Name, f.Data)
	}
	for _, name := range []string{config.SiteFile, config.RulesFile} {
		data, _ := b.File(name)
		var kept []string
		within := false
		for line := range strings.SplitSeq(string(data), "\n") {
			if line != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "#") {
				within = strings.HasPrefix(line, "interlocks:") || strings.HasPrefix(line, "tests:")
			}
			if !within {
				kept = append(kept, line)
			}
		}
		other.Put(name, []byte(strings.Join(kept, "\n")))
	}
	data, _ := other.File(config.RulesFile)
	other.Put(config.RulesFile, append(append(data, '\n'), text...))
	return other
}
