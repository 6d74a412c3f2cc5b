package main

import (
	"strings"
	"testing"

	"davy/agent/i18n"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
	"davy/drivers/tag"
	"davy/rules"
)

// What persons did, and that an alarm is no true one, is said in words.
func TestEventsInWords(t *testing.T) {
	f := func(e wire.Event, zh, en string) {
		t.Helper()
		x := lineOf("GW-1", &store.Event{Event: e, Tags: map[tag.ID]*wire.TableTag{1: {Name: "nh3-1.gas", Unit: "ppm"}}})
		for l, want := range map[i18n.Lang]string{i18n.Zh: zh, i18n.En: en} {
			if got := x.what(l); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
	f(wire.Event{Kind: uint32(rules.AlarmRaised), Rule: "nh3-1.high", Occurrence: 3, Test: true, Hidden: uint32(rules.Shelved), First: true},
		"[测试]，[搁置，未呼叫]，报警 nh3-1.high，#3，本组首出", "[TEST], [shelved, nobody called], alarm nh3-1.high, #3, first of its group")
	f(wire.Event{Kind: uint32(rules.BypassBegan), Rule: "NH3-150", Channel: "nh3-1.gas", For: 4 * 3600e9, Who: "li", Second: "wang", Note: "n"},
		"旁路 NH3-150，通道 nh3-1.gas，时限 4 小时，li，wang 复核，n", "bypassed NH3-150, channel nh3-1.gas, for 4 h, li, confirmed by wang, n")
	f(wire.Event{Kind: uint32(rules.BypassReminded), Rule: "NH3-150", For: 60e9}, "旁路将到期 NH3-150，剩余 1 分钟", "bypass ends soon NH3-150, 1 min left")
	f(wire.Event{Kind: uint32(rules.OutputProved), Output: "fan", For: 1200e6}, "回讯到位 fan，用时 1.2 秒", "output proved fan, after 1.2 s")
	f(wire.Event{Kind: uint32(rules.TestEnded), Rule: "nh3-2", Result: uint32(rules.Failed)}, "测试结束 nh3-2，不合格", "test ended nh3-2, FAILED")
	f(wire.Event{Kind: uint32(rules.InterlockRecorded), Rule: "NH3-150", Samples: 900, Record: []tag.Reading{{Tag: 1, Value: tag.IntValue(4)}, {Tag: 9}}},
		"跳车前后的读数已记录 NH3-150，记录 900 个读数，此处 2 个", "readings around the trip recorded NH3-150, 900 readings recorded, 2 of them here")
	f(wire.Event{Kind: 61, Rule: "new", Hidden: 77, Result: 9, For: 5}, "state-77，kind-61 new，时限 1 毫秒，result-9", "state-77, kind-61 new, for 1 ms, result-9")
	x := lineOf("GW-1", &store.Event{Event: wire.Event{Record: []tag.Reading{{Tag: 1, Value: tag.IntValue(4)}, {Tag: 9}}}, Tags: map[tag.ID]*wire.TableTag{1: {Name: "nh3-1.gas", Unit: "ppm"}, 9: nil}})
	if len(x.Record) != 2 || x.Record[0] != (sample{Tag: "nh3-1.gas", Value: "4", Unit: "ppm"}) || x.Record[1] != (sample{Tag: "tag-9"}) {
		t.Errorf("%+v", x.Record)
	}
}

// Every kind, state and result that an agent knows has a name and words here.
func TestEveryKindHasWords(t *testing.T) {
	for k := rules.AlarmRaised; k <= ring.DeviceEvent; k++ {
		name := kindName(uint32(k))
		if k > rules.TestEnded && k < ring.AgentStarted { // not given yet
			if !strings.HasPrefix(name, "kind-") {
				t.Errorf("kind %d is called %s", k, name)
			}
			continue
		}
		if !i18n.Has("operate.event." + name) {
			t.Errorf("no words for %s", name)
		}
	}
	for _, s := range []rules.AlarmState{rules.Shelved, rules.Suppressed, rules.OutOfService} {
		if !i18n.Has("operate.hidden." + hiddenName(uint32(s))) {
			t.Errorf("no words for state %d", s)
		}
	}
	for r := rules.Passed; r <= rules.Aborted; r++ {
		if !i18n.Has("operate.result." + resultName(uint32(r))) {
			t.Errorf("no words for result %d", r)
		}
	}
}
