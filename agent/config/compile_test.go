package config

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// mark stands before the character at which a problem is expected.
const mark = "«"

// edit replaces the first from in text; a problem is expected where to has
// its mark. It returns the text and the place.
func edit(t *testing.T, file, text, from, to string) (string, Place) {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("%s has no %q", file, from)
	}
	text = strings.Replace(text, from, to, 1)
	before, after, marked := strings.Cut(text, mark)
	if !marked {
		return text, Place{}
	}
	line := strings.Count(before, "\n") + 1
	col := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
	return before + after, Place{file, line, col}
}

// Every problem of the form, each as one edit of a good site: exactly its
// code at exactly its place, and nothing beside it.
func TestEveryProblem(t *testing.T) {
	good, plan, _ := readDir(t, "example")
	if plan == nil {
		t.Fatal("the example does not compile")
	}
	for _, x := range []struct{ file, from, to, want string }{
		// the site and the gateway
		{SiteFile, "davy: 1", "davy: «2", "bad-word"},
		{SiteFile, "davy: 1\n", "\n", "missing-field"},
		{SiteFile, "journal:\n", "«jurnal:\njournal:\n", "yaml-no-value unknown-field"},
		{SiteFile, "JY-0231-GW1", "«JY_0231", "bad-gateway-id"},
		{SiteFile, "id: JY-0231-GW1 ", "«name2: x ", "missing-field unknown-field"},
		{SiteFile, "Asia/Shanghai", "«Shanghai time", "bad-time-zone"},
		{SiteFile, "outputs: disarmed", "outputs: «dissarmed", "bad-word"},
		{SiteFile, "en: Jiangyin cold store 3}", "en: «''}", "text-empty"},
		{SiteFile, "en: Jiangyin cold store 3}", "en: «" + strings.Repeat("x", 121) + "}", "text-too-long"},
		{SiteFile, "{zh: 江阴冷库三号, en: Jiangyin cold store 3}", "«[a, b]", "not-a-section"},
		{SiteFile, "{zh: 江阴冷库三号, en: Jiangyin cold store 3}", "{zh: 江阴, «冷库, en: x}", "yaml-comma"},
		{SiteFile, "journal:\n", "people: «people.yaml\njournal:\n", "people-file-missing"},
		{SiteFile, "gateway:\n", "«plain\ngateway:\n", "yaml-no-colon"},
		{RulesFile, "alarms:\n", "gateway: «{id: X, name: y}\nalarms:\n", "section-twice"},

		// links
		{SiteFile, "modbus-tcp: 192.168.1.21:502", "timeout: 1s", "link-no-kind"},
		{SiteFile, "modbus-tcp: 192.168.1.21:502", "«modbus: 192.168.1.21:502", "unknown-field"},
		{SiteFile, "modbus-tcp: 192.168.1.21:502", "modbus-tcp: «192.168.1.21:x", "modbus.target"},
		{SiteFile, "timeout: 300ms", "timeout: «300", "bad-duration"},
		{SiteFile, "timeout: 300ms", "timeout: «3 m", "bad-duration"},
		{SiteFile, "timeout: 300ms", "timeout: «5min", "out-of-bounds"},
		{SiteFile, "timeout: 300ms", "timeout: 1s «2s", "unexpected"},
		{SiteFile, "timeout: 300ms", "timeout: «１s", "yaml-full-width"},
		{SiteFile, "  remote:\n", "  «rem ote:\n", "bad-name unknown-link"},
		{SiteFile, "  remote:\n", "  «plc:\n", "duplicate-key unknown-link"},

		// devices and tags
		{SiteFile, "link: remote", "link: «remot", "unknown-link"},
		{SiteFile, "link: remote, station: 1", "link: remote, «unit: 1", "unknown-field"},
		{SiteFile, "link: remote, station: 1", "link: remote, «slave_id: 1", "unknown-field"},
		{SiteFile, "nh3-1: {link: remote, station: 1,", "nh3-1: «{link: remote,", "missing-field"},
		{SiteFile, "station: 9", "station: «0", "out-of-bounds"},
		{SiteFile, "station: 9", "station: «0x09", "bad-integer"},
		{SiteFile, "station: 9", "station: «09", "bad-integer"},
		{SiteFile, "station: 9, template: davy/bench-nh3", "station: 9, template: «davy/bench-nh4", "unknown-template"},
		{SiteFile, "station: 9, template: davy/bench-nh3", "station: 9, template: «../secret", "bad-template-name"},
		{SiteFile, "  nh3-1: {link", "  «record: {link: plc, station: 8, tags: {a: {at: coil 0}}}\n  nh3-1: {link", "name-reserved"},
		{SiteFile, "at: ref 40011 ", "at: «holding 40011", "address.ambiguous"},
		{SiteFile, "at: ref 40011 ", "at: «40011", "address.bare"},
		{SiteFile, "at: ref 40011 ", "at: «rigister 11", "address.unknown"},
		{SiteFile, "at: ref 40011", "at: ref 40011 «#x", "yaml-hash"},
		{SiteFile, "type: float32 CDAB", "type: «flaot32 CDAB", "modbus.type-unknown"},
		{SiteFile, "type: float32 CDAB", "type: float32\n        order: «CADB", "modbus.order-unknown"},
		{SiteFile, "range: -50 to 180 °C", "range: «180 to -50 °C", "range-order"},
		{SiteFile, "range: -50 to 180 °C", "range: -50 «- 180 °C", "bad-form"},
		{SiteFile, "range: -50 to 180 °C", "range: «,5 to 180 °C", "yaml-character"},
		{SiteFile, "range: -50 to 180 °C", "range: «-50,5 to 180 °C", "bad-number"},
		{SiteFile, "range: -50 to 180 °C", "unit: °C\n        range: -50 to 180 «K", "unit-differs"},
		{SiteFile, "type: bool\n", "type: bool\n        range: «0 to 1\n", "range-of-bool"},
		{SiteFile, "type: bool\n", "type: bool\n        scale: «2\n", "scale-of-bool"},
		{SiteFile, "scan: 1s", "scan: «5ms", "out-of-bounds"},
		{SiteFile, "scan: 1s", "«interval: 1s", "unknown-field"},
		{SiteFile, "scale: 0.1 - 40", "scale: «0", "gain-zero"},
		{SiteFile, "scale: 0.1 - 40", "scale: 0.1 «* 40", "bad-form"},
		{SiteFile, "scale: 0.1 - 40", "gain: 0.1\n        scale: «0.1", "scale-twice"},
		{SiteFile, "record: every 10s, or 0.2 % change", "record: «always", "bad-form"},
		{SiteFile, "record: every 10s, or 0.2 % change", "record: «every 1ms", "out-of-bounds"},
		{SiteFile, "record: every 10s, or 0.2 % change", "record: every 10s, or 0.2 «mm change", "unit-differs"},
		{SiteFile, "range: -40 to 100 %\n        record: every 10s, or 0.2 %", "unit: mm\n        record: every 10s, or 0.2 «%", "percent-without-range"},
		{SiteFile, "      load:\n", "      «discharge-temp:\n", "duplicate-key"},
		{SiteFile, "stale_after: 5s", "stale_after: «10ms", "out-of-bounds"},
		{SiteFile, "nh3-2: {link: plc, ", "nh3-2: {link: plc, tags: «comp1.csv, ", "not-in-this-version"},
		{SiteFile, "  io1:\n    link: plc\n", "  empty: {link: plc, station: 7}\n  io1:\n    link: plc\n", "warning device-empty"},

		// may_write, watchdog, outputs
		{SiteFile, "[coil 0, coil 1, holding 20]", "[coil 0, coil 1, holding 20, «coil 9]", "warning may-write-unused"},
		{SiteFile, "[coil 0, coil 1, holding 20]", "[coil 0, coil 1, holding 20, «coil 0]", "address-twice"},
		{SiteFile, "[coil 0, coil 1, holding 20]", "«coil 0", "not-a-list"},
		{SiteFile, "[coil 0, coil 1, holding 20]", "[coil 0, coil 1]", "not-in-may-write"},
		{SiteFile, "watchdog: holding 20 = 1 every 1s", "watchdog: «holding 20", "bad-form"},
		{SiteFile, "watchdog: holding 20 = 1 every 1s", "watchdog: «holding 20 = 1 every 1h", "out-of-bounds"},
		{SiteFile, "    watchdog: holding 20 = 1 every 1s\n", "", "no-watchdog warning may-write-unused"},
		{SiteFile, "drives: io1 coil 0", "drives: io1 «coil 7", "not-in-may-write"},
		{SiteFile, "drives: io1 coil 0", "drives: io1 coil 1", "written-twice"},
		{SiteFile, "drives: io1 coil 0", "drives: «io2 coil 0", "unknown-device"},
		{SiteFile, "drives: io1 coil 0", "drives: «io1", "bad-form"},
		{SiteFile, "idle: stop", "idle: «closed", "state-unknown"},
		{SiteFile, "idle: quiet", "idle: «quite", "bad-word"},
		{SiteFile, "sounding: 1", "sounding: 2", "state-not-bool"},
		{SiteFile, "protective: run", "protective: «stop", "states-equal bad-word"},
		{SiteFile, "davy_dead: stays", "davy_dead: «stay", "bad-word"},
		{SiteFile, "after_restart: as it was", "after_restart: «as was", "bad-word"},
		{SiteFile, "link_lost: protective", "link_lost: a«: b", "yaml-unexpected-colon"},
		{SiteFile, "every 1s\n", "every 1s«: b\n", "yaml-unexpected-colon"},
		{SiteFile, "proof: comp1.fan-run = run within 10s", "proof: «comp1.fan-rum = run within 10s", "unknown-tag"},
		{SiteFile, "proof: comp1.fan-run = run within 10s", "proof: «comp1.fan-run = run", "bad-form"},
		{SiteFile, "  siren1:\n", "  nh3-1:\n    drives: io1 coil 1\n    idle: off\n    protective: on\n    davy_dead: stays\n    link_lost: stays\n  siren1:\n", "name-taken written-twice"},

		// alarms
		{RulesFile, "watch: comp1.discharge-temp", "watch: «comp1.discharge-tmp", "unknown-tag"},
		{RulesFile, "watch: comp1.discharge-temp", "watch: «discharge-temp", "unknown-tag"},
		{RulesFile, "watch: comp1.discharge-temp", "«tag: comp1.discharge-temp", "missing-field unknown-field"},
		{RulesFile, "{at: 130 °C", "{at: 130 «bar", "unit-differs"},
		{RulesFile, "{at: 130 °C", "{at: 130«ppm", "unit-differs"},
		{RulesFile, "{at: 130 °C", "{at: «190 °C", "limit-outside-range"},
		{RulesFile, "{at: 145 °C", "{at: «120 °C", "limit-order"},
		{RulesFile, "{at: 130 °C", "{at: «hot", "bad-number"},
		{RulesFile, "{at: 130 °C", "{at: «run", "word-for-number"},
		{RulesFile, "priority: medium", "priority: «middle", "bad-word"},
		{RulesFile, "priority: medium, ", "", "missing-field"},
		{RulesFile, "deadband: 2 °C", "deadband: «230 °C", "deadband-too-big"},
		{RulesFile, "deadband: 2 °C", "deadband: 2 «%", "unit-differs"},
		{RulesFile, "deadband: 2 °C", "«hysteresis: 2 °C", "unknown-field"},
		{RulesFile, "is: {at: stop", "high: «{at: stop", "limit-of-bool"},
		{RulesFile, "is: {at: stop", "is: {at: «5", "limit-of-bool"},
		{RulesFile, "    is: {at: stop, priority: low, text: {zh: 风机未运行, en: Fan not running}}\n", "", "alarm-no-limit"},
		{RulesFile, "    latch: no\n", "    latch: «never\n", "bad-word"},
		{RulesFile, "    latch: no\n", "    approved: «EHS-117\n", "bad-approval"},
		{RulesFile, "    latch: no\n", "    profile: «gb50493/nh3\n", "unknown-profile"},

		// interlocks
		{RulesFile, "trip_when: 2 of 3", "trip_when: «4 of 3", "vote-impossible"},
		{RulesFile, "trip_when: 2 of 3", "trip_when: «2 of 4", "vote-count"},
		{RulesFile, "trip_when: 2 of 3", "trip_when: «2oo3", "bad-form"},
		{RulesFile, "- nh3-2.gas >= 150 ppm", "- «nh3-1.gas >= 160 ppm", "channel-twice"},
		{RulesFile, "- nh3-2.gas >= 150 ppm", "- nh3-2.gas «150 ppm", "bad-form"},
		{RulesFile, "- nh3-2.gas >= 150 ppm", "- nh3-2.gas >= 150 «mg/m3", "unit-needs-gas"},
		{RulesFile, "- nh3-2.gas >= 150 ppm", "- nh3-2.gas >= «1500 ppm", "limit-outside-range"},
		{RulesFile, "- nh3-2.gas >= 150 ppm", "- «nh4-2.gas >= 150 ppm", "unknown-tag"},
		{RulesFile, "channel_bad: counts as trip after 10s", "channel_bad: «ignored", "bad-form"},
		{RulesFile, "channel_bad: counts as trip after 10s", "channel_bad: «last good for 30s", "bad-form"},
		{RulesFile, "channel_in_test: left out, one at a time", "channel_in_test: «ignored", "bad-word"},
		{RulesFile, "all_channels_bad: trip", "all_channels_bad: «tripp", "bad-word"},
		{RulesFile, "degraded: alarm medium, at most 72h", "degraded: «maybe", "bad-form"},
		{RulesFile, "demand: fan1", "demand: «fan2", "unknown-output"},
		{RulesFile, "demand: fan1", "demand: siren1", "demand-twice"},
		{RulesFile, "demand: siren1 after 5s", "demand: siren1 «in 5s", "unexpected"},
		{RulesFile, "reset: by operator, when all channels < 25 ppm for 10min", "reset: «automatic", "reset-automatic"},
		{RulesFile, "all channels < 25 ppm", "all channels < «200 ppm", "reset-while-tripping"},
		{RulesFile, "all channels < 25 ppm", "all channels < 25 «%", "unit-differs"},
		{RulesFile, "all channels < 25 ppm", "«any channel < 25 ppm", "bad-form"},
		{RulesFile, "    reset: by", "    bypass: «one channel\n    reset: by", "bad-form"},
		{RulesFile, "  NH3-150:\n", "  «fan1:\n", "name-taken unknown-expectation unknown-rule"},

		// stories
		{RulesFile, "- at: 29s", "- at: «19s", "step-order"},
		{RulesFile, "{nh3-3.gas: bad}", "{«nh3-4.gas: bad}", "unknown-tag"},
		{RulesFile, "{nh3-3.gas: bad}", "{nh3-3.gas: «baad}", "bad-number"},
		{RulesFile, "{nh3-3.gas: bad}", "{nh3-3.gas: 5 «%}", "unit-differs"},
		{RulesFile, "ramp to 160 ppm by 50s", "«ramp to 160 ppm by 40s", "ramp-order"},
		{RulesFile, "{NH3-150: armed, fan1: stop}", "{«NH3-15: armed, fan1: stop}", "unknown-expectation"},
		{RulesFile, "{NH3-150: armed, fan1: stop}", "{NH3-150: «amred, fan1: stop}", "bad-word"},
		{RulesFile, "{NH3-150: armed, fan1: stop}", "{NH3-150: armed, fan1: «off}", "bad-word"},
		{RulesFile, "do: reset NH3-150 refused", "do: «force NH3-150", "bad-form"},
		{RulesFile, "do: reset NH3-150 refused", "do: reset «NH3-151", "unknown-rule"},

		// uplinks, journal, not watched
		{SiteFile, "mqtt: tls://receiver.example:8883", "mqtt: «receiver.example:8883", "bad-broker"},
		{SiteFile, "mqtt: tls://receiver.example:8883", "mqtt: tls://receiver.example:8883\n    «host: scada", "uplink-field-of"},
		{SiteFile, "receipts: key receiver.pub", "receipts: authority «jiangsu.pub", "key-file-missing"},
		{SiteFile, "receipts: key receiver.pub", "receipts: authority «ed25519:AAAA", "bad-key"},
		{SiteFile, "receipts: key receiver.pub", "receipts: key receiver.pub\n    «json: tls://h:8883", "uplink-two-kinds"},
		{SiteFile, "receipts: key receiver.pub", "receipts: key receiver.pub\n    «group: g", "uplink-field-of"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    login: «davy:1234", "uplink-login"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    ca: «nowhere.pem", "ca-file-missing"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    ca: «receiver.pub", "bad-ca"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    certificate: «uplink.crt\n    key: /etc/davy/k", "uplink-own-file"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    certificate: «/etc/davy/c", "certificate-pair"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    key: «/etc/davy/k", "certificate-pair"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    server_name: «-x", "bad-form"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    tls: «1.2", "uplink-tls"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    tls: «[1.2, TLS_RSA_WITH_AES_128_CBC_SHA]", "uplink-tls"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    from: «yesterday", "bad-form"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    history_rate: «500 records/s", "bad-form"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    history_rate: «0.5 kbit/h", "bad-form"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    history_rate: «9000 MB/s", "out-of-bounds"},
		{SiteFile, "must_confirm: true", "must_confirm: true\n    confirm: «always", "bad-word"},
		{SiteFile, "mqtt: tls://receiver.example:8883\n    receipts: key receiver.pub\n    must_confirm: true", "json: tcp://h:1883\n    ca: «receiver.pub", "uplink-not-tls"},
		{SiteFile, "mqtt: tls://receiver.example:8883\n    receipts: key receiver.pub\n    must_confirm: true", "json: tcp://h:1883\n    topic: «a/+", "bad-topic"},
		{SiteFile, "mqtt: tls://receiver.example:8883\n    receipts: key receiver.pub\n    must_confirm: true", "«sparkplug: tcp://h:1883", "missing-field"},
		{SiteFile, "receipts: key receiver.pub\n    must_confirm: true", "confirm: none\n    must_confirm: «true", "uplink-none-must"},
		{SiteFile, "receipts: key receiver.pub\n    must_confirm: true", "confirm: none\n    receipts: «key receiver.pub", "uplink-none-receipts"},
		{SiteFile, "mqtt: tls://receiver.example:8883\n    receipts: key receiver.pub", "«mqtt: tls://receiver.example:8883", "missing-field"},
		{SiteFile, "receipts: key receiver.pub", "receipts: key «other.pub", "key-file-missing"},
		{SiteFile, "receipts: key receiver.pub", "receipts: key «ed25519:AAAA", "bad-key"},
		{SiteFile, "receipts: key receiver.pub", "receipts: «receiver.pub", "bad-form"},
		{SiteFile, "must_confirm: true", "must_confirm: «maybe", "bad-word"},
		{SiteFile, "size: 2 GB", "size: «2", "bad-size"},
		{SiteFile, "size: 2 GB", "size: «1 MB", "out-of-bounds"},
		{SiteFile, "sync: 5s", "sync: «5min", "out-of-bounds"},
		{SiteFile, "{after: 12s, priority: medium}", "{after: 12s, «priorty: medium}", "unknown-field"},
	} {
		b := &Bundle{Files: slices.Clone(good.Files)}
		data, _ := b.File(x.file)
		text, at := edit(t, x.file, string(data), x.from, x.to)
		b.Put(x.file, []byte(text))
		_, problems := Compile(b, testSet())
		problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Code == "vote-one-link" || p.Code == "vote-one-device" })
		want := strings.Split(strings.ReplaceAll(x.want, "warning ", "warning-"), " ")
		got, found := marked(problems, at)
		slices.Sort(want)
		if !slices.Equal(slices.Compact(got), want) || !found {
			t.Errorf("%q → %q:\n got %v\nwant %s at %s", x.from, x.to, codes(problems), x.want, at)
		}
	}
}

// The example of the form compiles to what it says.
func TestExample(t *testing.T) {
	b, plan, problems := readDir(t, "example")
	if want := []string{"warning vote-one-link rules.yaml:16:16"}; plan == nil || !slices.Equal(codes(problems), want) {
		t.Fatalf("got %v", codes(problems))
	}
	if sum := sha256.Sum256(b.Encode()); plan.Hash != sum {
		t.Errorf("hash %x, want %x", plan.Hash, sum)
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Errorf("the engine refuses the rules: %v", err)
	}
	byName := map[tag.Name]Tag{}
	for _, x := range plan.Tags[1:] {
		byName[x.Name] = x
		if plan.Rules.Tags[x.ID].Name != x.Name || plan.Tags[x.ID].Name != x.Name {
			t.Errorf("%s is not at its id", x.Name)
		}
	}
	temp := byName["comp1.discharge-temp"]
	if temp.Unit != "°C" || !temp.Ranged || temp.Low != -50 || temp.High != 180 || temp.Kind != tag.Float32 || temp.Period != time.Second || temp.Link != 0 ||
		temp.Record != (Record{Every: DefaultRecord}) || temp.Text.En != "Discharge temperature" || temp.Place != (Place{SiteFile, 35, 7}) {
		t.Errorf("discharge-temp: %+v", temp)
	}
	if x := byName["comp1.load"]; x.Kind != tag.Float64 || x.Record != (Record{Every: 10 * time.Second, Change: 0.2}) {
		t.Errorf("load: %+v", x)
	}
	if x := byName["comp1.oil-level"]; x.Record != (Record{Every: 30 * time.Second, Change: 2}) {
		t.Errorf("oil-level: %+v", x)
	}
	if x := byName["comp1.fan-run"]; !x.Record.Never || x.Kind != tag.Bool {
		t.Errorf("fan-run: %+v", x)
	}
	if x := byName["nh3-1.gas"]; x.T90 != 15*time.Second || x.Link != 1 {
		t.Errorf("nh3-1.gas: %+v", x)
	}
	if x := plan.Rules.Tags[byName["fan1.state"].ID]; x.TTL != minTTL {
		t.Errorf("fan1.state: %+v", x)
	}
	fan := plan.Outputs[0]
	if fan.Name != "fan1" || fan.ReadBack != byName["fan1.state"].ID || fan.Idle != tag.BoolValue(false) || fan.Protective != tag.BoolValue(true) ||
		fan.DavyDead != Stays || fan.LinkLost != Protective || fan.AfterRestart != Stays || !fan.Point.Write || fan.Link != 0 || fan.Point.Station != 5 {
		t.Errorf("fan1: %+v", fan)
	}
	if p := plan.Rules.Outputs[0]; !p.Proved || p.Within != 10*time.Second || p.Proof != (rules.Condition{Tag: byName["comp1.fan-run"].ID, Op: rules.EQ, Limit: 1}) {
		t.Errorf("proof: %+v", p)
	}
	if k := plan.Links[0].KeepAlive; len(k) != 1 || k[0].Value != tag.IntValue(1) || k[0].Every != time.Second || !k[0].Point.Write {
		t.Errorf("watchdog: %+v", k)
	}
	for _, l := range plan.Links {
		for _, s := range l.Scans {
			for _, p := range s.Request.Points() {
				if p.Write {
					t.Errorf("%s may be written", p.Name)
				}
				if s.Period != p.Period {
					t.Errorf("%s is asked every %v, wants %v", p.Name, s.Period, p.Period)
				}
			}
		}
	}
	x := plan.Rules.Interlocks[0]
	if x.M != 2 || len(x.Channels) != 3 || x.Bad != rules.CountsAsTrip || x.BadAfter != 10*time.Second || !x.ManualReset || x.ResetFor != 10*time.Minute ||
		x.DegradedPriority != rules.Medium || x.DegradedAtMost != 72*time.Hour || x.InTestCounts || x.AllBadHolds || x.Demands[1] != (rules.Demand{Output: "siren1", Delay: 5 * time.Second}) ||
		x.ResetConds[2] != (rules.Condition{Tag: byName["nh3-3.gas"].ID, Op: rules.LT, Limit: 25}) {
		t.Errorf("interlock: %+v", x)
	}
	var watched []string
	for _, a := range plan.Rules.Alarms {
		if a.NotWatched {
			watched = append(watched, a.Name)
			if a.OnDelay != 12*time.Second || a.Priority != rules.Medium || !strings.Contains(a.Text.Zh, "失去监视") {
				t.Errorf("%s: %+v", a.Name, a)
			}
		}
	}
	if want := []string{"nh3-1.gas.not-watched", "nh3-2.gas.not-watched", "nh3-3.gas.not-watched", "comp1.discharge-temp.not-watched", "comp1.fan-run.not-watched"}; !slices.Equal(watched, want) {
		t.Errorf("not watched: %v", watched)
	}
	for _, code := range []string{"record.stopped", "outputs.disarmed", "link.plc.silent", "link.remote.overrun", "output.siren1.unconfirmed", "uplink.regulator.no-receipt"} {
		id := plan.Conditions[code]
		i := slices.IndexFunc(plan.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == code })
		if id == 0 || i < 0 || !plan.Rules.Alarms[i].Agent || plan.Rules.Alarms[i].Cond.Tag != id || plan.Tags[id].Link != -1 || plan.Rules.Tags[id].TTL != 0 {
			t.Errorf("condition %s: id %d", code, id)
		}
	}
	if len(plan.Uplinks) != 1 || len(plan.Uplinks[0].ReceiverKey) != 32 || !plan.Uplinks[0].MustConfirm || plan.Journal != (Journal{30 * 24 * time.Hour, 5 * time.Second, 2e9}) {
		t.Errorf("uplinks %+v, journal %+v", plan.Uplinks, plan.Journal)
	}
	if s := plan.Stories[0].Steps; len(s) != 7 || s[4].Set[0].By != 50*time.Second || s[1].Set[0].Quality != tag.BadNoComm || !s[6].Do[0].Refuse || s[2].Expect[0].Where != "rules.yaml:38:18" {
		t.Errorf("story: %+v", s)
	}
}

// The policies for a bad channel, as they are written.
func TestChannelBad(t *testing.T) {
	good, _, _ := readDir(t, "example")
	for words, want := range map[string]rules.Interlock{
		"counts as trip":                         {Bad: rules.CountsAsTrip},
		"counts as trip after 10s":               {Bad: rules.CountsAsTrip, BadAfter: 10 * time.Second},
		"left out":                               {Bad: rules.LeftOut},
		"left out after 5 s":                     {Bad: rules.LeftOut, BadAfter: 5 * time.Second},
		"last good for 30s, then counts as trip": {Bad: rules.LastGood, BadAfter: 30 * time.Second},
	} {
		b := &Bundle{Files: slices.Clone(good.Files)}
		data, _ := b.File(RulesFile)
		b.Put(RulesFile, []byte(strings.Replace(string(data), "counts as trip after 10s", words, 1)))
		plan, problems := Compile(b, testSet())
		if plan == nil {
			t.Errorf("%s: %v", words, codes(problems))
		} else if x := plan.Rules.Interlocks[0]; x.Bad != want.Bad || x.BadAfter != want.BadAfter {
			t.Errorf("%s: %+v", words, x)
		}
	}
}

// A single channel must say what happens when it is bad; an output whose end
// is not known carries no interlock.
func TestSingleChannel(t *testing.T) {
	good, _, _ := readDir(t, "example")
	b := &Bundle{Files: slices.Clone(good.Files)}
	b.Put(RulesFile, []byte(`interlocks:
  ONE:
    text: one
    trip_when: any
    channels: [nh3-1.gas >= 150 ppm]
    then: [{demand: fan1}]
    reset: by operator
`))
	if _, p := Compile(b, testSet()); !slices.Equal(codes(p), []string{"one-channel-policy rules.yaml:2:3"}) {
		t.Errorf("got %v", codes(p))
	}
}

// The same bundle compiles to the same plan, and a plan needs no directory.
func TestCompileIsPure(t *testing.T) {
	b, plan, _ := readDir(t, "example")
	again, err := DecodeBundle(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	other, _ := Compile(again, testSet())
	if other == nil || other.Hash != plan.Hash || len(other.Tags) != len(plan.Tags) || !maps.Equal(other.Conditions, plan.Conditions) {
		t.Error("another plan from the same bundle")
	}
	for i := range plan.Tags {
		if !reflect.DeepEqual(plan.Tags[i], other.Tags[i]) {
			t.Errorf("tag %d: %+v, %+v", i, plan.Tags[i], other.Tags[i])
		}
	}
	if hex.EncodeToString(plan.Hash[:]) == strings.Repeat("0", 64) {
		t.Error("no hash")
	}
}
