package operate

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
)

// shift is a shift on which persons did everything that the rules let them do.
func shift() *View {
	alarm := func(a rules.AlarmView) Alarm { return AlarmOf(&a, names) }
	lock := func(i rules.InterlockView) Interlock { return InterlockOf(&i) }
	event := func(e rules.Event) Event { return EventOf(&ring.Event{Event: e}, names) }
	silent := rules.AlarmView{Name: "link.plc.silent", Text: rules.Text{Zh: "链路 plc 无应答", En: "Link plc is silent"}, State: rules.Unacked, Standing: true, Sounds: true, First: true, Group: "plc", Priority: rules.High, Occurrence: 3, Raised: stamp("2026-03-02 03:00:00"), Agent: true}
	v := &View{
		Gateway: Gateway{ID: "JY-0231-GW1", Name: Text{"江阴冷库三号", "Jiangyin cold store 3"}},
		Version: "0.1.0", At: at("2026-03-02 03:12:45"), Since: at("2026-02-20 01:00:00"), Armed: true, Latch: Latch{Durable: true},
		Clock: Clock{Trusted: true}, Keeper: Keeper{State: KeeperRunning},
		Alarms: []Alarm{
			alarm(silent),
			alarm(rules.AlarmView{Name: "nh3-1.l1", Text: rules.Text{Zh: "氨一级报警", En: "Ammonia level 1"}, State: rules.Shelved, Standing: true, Priority: rules.High, Occurrence: 7, Raised: stamp("2026-03-02 02:59:50"), Tag: 1, Value: f32(28.1), Limit: 28, Left: 100 * time.Minute, Who: "li.wei", Note: "探头更换中"}),
			alarm(rules.AlarmView{Name: "comp1.low-pressure", Text: rules.Text{Zh: "吸气压力低", En: "Suction pressure low"}, State: rules.Suppressed, Priority: rules.Medium}),
			alarm(rules.AlarmView{Name: "tank1.level.high", Text: rules.Text{Zh: "液位高", En: "Level high"}, State: rules.OutOfService, Standing: true, Priority: rules.Medium, Occurrence: 2, Who: "wang", Note: "液位计返厂"}),
			alarm(rules.AlarmView{Name: "comp1-discharge.high", Text: rules.Text{Zh: "排气温度高", En: "Discharge temperature high"}, State: rules.Unacked, Standing: true, Test: true, Mode: "winter", Priority: rules.Critical, Occurrence: 4, Raised: stamp("2026-03-02 03:12:00"), Tag: 2, Value: f32(131.25), Limit: 130}),
			alarm(rules.AlarmView{Name: "NH3-150.degraded", Of: "degraded", Text: rules.Text{Zh: "机房氨浓度150 ppm联锁", En: "Machine room ammonia 150 ppm"}, State: rules.Acked, Standing: true, Priority: rules.Medium, Occurrence: 1, Raised: stamp("2026-03-02 03:10:00")}),
			alarm(rules.AlarmView{Name: "COMP-HP.broken", Of: "broken", State: rules.Acked, Standing: true, Priority: rules.High, Occurrence: 1, Raised: stamp("2026-03-02 03:10:00")}),
		},
		Interlocks: []Interlock{
			lock(rules.InterlockView{Name: "NH3-150", Text: rules.Text{Zh: "机房氨浓度150 ppm联锁", En: "Machine room ammonia 150 ppm"}, State: rules.Armed, Degraded: true, Bypass: &rules.BypassView{Channel: "nh3-1.gas", Who: "li.wei", Second: "wang", Note: "探头更换", Left: 3*time.Hour + 20*time.Minute}}),
			lock(rules.InterlockView{Name: "CAST", Text: rules.Text{Zh: "铸造联锁", En: "Casting"}, State: rules.Unarmed, Bypass: &rules.BypassView{Channel: "water.flow", Who: "li.wei", Waiting: true, Left: 9 * time.Minute}}),
			lock(rules.InterlockView{Name: "LEVEL", Text: rules.Text{Zh: "液位联锁", En: "Level"}, State: rules.Armed, Test: true, Bypass: &rules.BypassView{Channel: "tank1.level", Who: "zhao", Overdue: true}}),
		},
		Devices: []Device{
			DeviceOf(&rules.DeviceView{Name: "nh3-2", Text: rules.Text{Zh: "氨探头2", En: "Ammonia detector 2"}, Test: &rules.TestView{Mark: rules.Mark{Who: "wang", Note: "通气测试", Since: stamp("2026-03-02 03:00:00")}, Left: 47 * time.Minute}}),
			DeviceOf(&rules.DeviceView{Name: "nh3-3", Text: rules.Text{Zh: "氨探头3", En: "Ammonia detector 3"}, Removed: &rules.Mark{Who: "wang", Note: "返厂", Since: stamp("2026-03-01 03:00:00")}, Passed: stamp("2026-02-01 03:00:00").Wall}),
			DeviceOf(&rules.DeviceView{Name: "comp1", Text: rules.Text{Zh: "压缩机", En: "Compressor"}}),
		},
		Forces: []Forced{
			ForceOf(&rules.ForceView{Mark: rules.Mark{Who: "zhao", Note: "联调", Since: stamp("2026-03-02 03:00:00")}, Tag: 1, Value: f32(30), Left: 17 * time.Minute}, names),
		},
		Log: []Event{
			event(rules.Event{Kind: rules.AlarmRaised, At: stamp("2026-03-02 03:00:00"), Rule: "nh3-1.l1", Occurrence: 7, Priority: rules.High, Tag: 1, Value: f32(28.1), Limit: 28, Hidden: rules.Shelved, Test: true, First: true}),
			event(rules.Event{Kind: rules.AlarmShelved, At: stamp("2026-03-02 03:00:01"), Rule: "nh3-1.l1", Occurrence: 7, Who: "li.wei", Proved: true, Note: "探头更换中", For: 2 * time.Hour}),
			event(rules.Event{Kind: rules.AlarmSuppressed, At: stamp("2026-03-02 03:00:02"), Rule: "nh3-2.not-watched", Note: "link.plc.silent"}),
			event(rules.Event{Kind: rules.BypassBegan, At: stamp("2026-03-02 03:00:03"), Rule: "NH3-150", Channel: "nh3-1.gas", Who: "li.wei", Proved: true, Second: "wang", For: 4 * time.Hour, Note: "探头更换"}),
			event(rules.Event{Kind: rules.BypassReminded, At: stamp("2026-03-02 03:00:04"), Rule: "NH3-150", Channel: "nh3-1.gas", For: 48 * time.Minute}),
			event(rules.Event{Kind: rules.OutputProved, At: stamp("2026-03-02 03:00:05"), Rule: "NH3-150", Output: "fan1", For: 1350 * time.Millisecond}),
			event(rules.Event{Kind: rules.ForceBegan, At: stamp("2026-03-02 03:00:06"), Rule: "nh3-1.gas", Tag: 1, Value: f32(30), Who: "zhao", Proved: true, For: 30 * time.Minute, Test: true}),
			event(rules.Event{Kind: rules.TestEnded, At: stamp("2026-03-02 03:00:07"), Rule: "nh3-2", Who: "wang", Proved: true, Result: rules.Failed, Note: "响应超过 60 s"}),
			event(rules.Event{Kind: rules.InterlockRecorded, At: stamp("2026-03-02 03:00:08"), Rule: "NH3-150", Occurrence: 3, Record: make([]rules.Sample, 360)}),
		},
	}
	for i := range 40 {
		v.Alarms = append(v.Alarms, alarm(rules.AlarmView{
			Name: fmt.Sprintf("nh3-%02d.not-watched", i), Text: rules.Text{Zh: "氨浓度失去监视", En: "Ammonia not watched"}, State: rules.Suppressed, Standing: true,
			Under: silent.Name, Priority: rules.High, Occurrence: 1, Raised: stamp("2026-03-02 03:00:03"), Tag: 1, NotWatched: true,
		}))
	}
	return v
}

func TestActsOnPaper(t *testing.T) {
	for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
		p := Paper{Lang: l, Zone: zone}
		var b bytes.Buffer
		part := func(title string, print func(*bytes.Buffer) error) {
			b.WriteString("--- " + title + "\n")
			if err := print(&b); err != nil {
				t.Fatal(err)
			}
		}
		part("davy status", func(b *bytes.Buffer) error { return p.Status(b, shift()) })
		part("davy alarms", func(b *bytes.Buffer) error { return p.Alarms(b, shift()) })
		for _, s := range []AlarmState{Shelved, OutOfService} {
			p := p
			p.Only = s
			part("davy alarms --"+string(s), func(b *bytes.Buffer) error { return p.Alarms(b, shift()) })
		}
		part("davy log", func(b *bytes.Buffer) error { return p.Log(b, shift()) })
		few := shift()
		few.Alarms = append(few.Alarms[:7:7], few.Alarms[7:9]...)
		p.All = true
		part("davy alarms --all", func(b *bytes.Buffer) error { return p.Alarms(b, few) })
		golden(t, "acts."+string(l)+".golden", b.String())
		if i := strings.IndexRune(b.String(), '⟨'); i >= 0 {
			t.Errorf("%s: words are missing: %.40s", l, b.String()[i:])
		}
	}
}

// Forty alarms behind one dead switch are one line under the link's, and with
// --all each of them is there.
func TestAlarmsUnderAnother(t *testing.T) {
	count := func(all bool) int {
		var b bytes.Buffer
		if err := (Paper{Lang: i18n.En, Zone: zone, All: all}).Alarms(&b, shift()); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, l := range strings.Split(b.String(), "\n") {
			if strings.Contains(l, "nh3-") && strings.Contains(l, ".not-watched") {
				lines++
			}
		}
		return lines
	}
	if n := count(false); n != 1 {
		t.Errorf("%d lines for forty alarms under one", n)
	}
	if n := count(true); n != 80 { // under their cause, and in the list of the suppressed
		t.Errorf("%d lines, want each of forty twice", n)
	}
}

// A refusal in the log has its words, and no hole where the log knows less.
func TestRefusalsInTheLog(t *testing.T) {
	for s, want := range map[string]string{"": "", "a": "a", "{most} at most": "… at most", "of {a}, {b}": "of …, …", "a } b {": "a } b {"} {
		if got := unfilled(s); got != want {
			t.Errorf("%q became %q", s, got)
		}
	}
	v := &View{Log: []Event{EventOf(&ring.Event{Event: rules.Event{Kind: ring.CommandRefused, At: stamp("2026-03-02 03:00:00"), Rule: "a.high", Note: "shelve-too-long"}}, names)}}
	var b bytes.Buffer
	if err := (Paper{Lang: i18n.En, Zone: zone}).Log(&b, v); err != nil || !strings.HasSuffix(b.String(), "a.high can be shelved for … at most\n") {
		t.Errorf("%v %s", err, b.String())
	}
}

// Every enumeration of the rules is told on: the next kind, state, verb or
// result fails here until it has its name and its words.
func TestEveryWordOfTheRules(t *testing.T) {
	has := func(key string) {
		t.Helper()
		if !i18n.Has(key) {
			t.Errorf("no words for %s", key)
		}
	}
	last := rules.Kind(0)
	for k := rules.AlarmRaised; k < ring.AgentStarted; k++ {
		if name := KindName(k); !strings.HasPrefix(name, "kind-") {
			has("operate.event." + name)
			if last != k-1 {
				t.Errorf("kind %d has a name and the one before it none", k)
			}
			last = k
		}
	}
	if last != lastKind(t) {
		t.Errorf("the last kind with a name is %d, of the rules %d", last, lastKind(t))
	}
	seen := map[AlarmState]bool{}
	for s := range rules.AlarmState(enum(t, "AlarmState")) {
		name := AlarmStateOf(s)
		if name == "" || seen[name] {
			t.Errorf("state %d of an alarm has no name of its own", s)
		}
		seen[name] = true
		has("operate.alarm." + string(name))
		if name.Hidden() {
			has("operate.hidden." + string(name))
			has("operate.head." + string(name))
		}
	}
	if AlarmStateOf(255) != "" || InterlockStateOf(255) != "" || SortName(255) != "" {
		t.Error("what is not known has a name")
	}
	for s := range rules.InterlockState(enum(t, "InterlockState")) {
		if InterlockStateOf(s) == "" {
			t.Errorf("state %d of an interlock has no name", s)
		}
		has("operate.interlock." + string(InterlockStateOf(s)))
	}
	for s := range rules.Sort(enum(t, "Sort")) {
		if SortName(s) == "" {
			t.Errorf("sort %d has no name", s)
		}
	}
	for v := rules.Verb(1); v <= rules.Verb(enum(t, "Verb")); v++ {
		found := 0
		for i := range acts {
			if acts[i].verb == v {
				found++
				has("davy.done." + acts[i].do)
			}
		}
		if found != 1 {
			t.Errorf("verb %d is asked for in %d ways", v, found)
		}
	}
	for r := rules.Result(1); r <= rules.Result(enum(t, "Result")); r++ {
		if ResultName(r) == "" || resultOf(ResultName(r)) != r {
			t.Errorf("result %d has no name", r)
		}
		has("operate.result." + ResultName(r))
	}
	for _, n := range []string{"rule", "reason", "time", "channel", "value", "result"} {
		has("operate.needs-" + n)
	}
	for _, n := range []string{"bypass", "bypass-asked", "force", "test", "removed"} {
		has("operate.act." + n)
	}
	of := inRules(t, `automatic\([^"]*(?:"[^"]*"[^",]*)?, "([a-z-]+)", `, "*.go")
	if len(of) < 5 {
		t.Errorf("alarms that the rules make themselves: %q", of)
	}
	for _, n := range of {
		has("operate.of." + n)
	}
	refusals := inRules(t, `return "([a-z]+(?:-[a-z]+)*)"`, "command*.go", "points.go", "alarm_life.go")
	if len(refusals) < 20 {
		t.Errorf("refusals: %q", refusals)
	}
	for _, n := range refusals {
		has("refused." + n)
	}
}

// What a request lacks is said; what is whole says to the rules what the person said.
func TestRequestsToTheRules(t *testing.T) {
	of := func(name string) *config.Tag {
		switch name {
		case "nh3-1.gas":
			return &config.Tag{ID: 1, Kind: tag.Float32, Unit: "ppm"}
		case "fan.state":
			return &config.Tag{ID: 2, Kind: tag.Bool, Names: []config.Name{{Code: 0, Name: "stop"}, {Code: 1, Name: "run"}}}
		case "mode":
			return &config.Tag{ID: 3, Kind: tag.Enum, Names: []config.Name{{Code: 3, Name: "auto"}}}
		case "count":
			return &config.Tag{ID: 4, Kind: tag.Int}
		case "name":
			return &config.Tag{ID: 5, Kind: tag.Text, Names: []config.Name{{Code: 1, Name: "x"}}}
		}
		return nil
	}
	full := Command{
		Rule: "NH3-150", Occurrence: 3, Note: "n", For: 90.5, Channel: "nh3-1.gas", Value: "30", Result: "failed",
		Who: Who{Name: "li", Proved: true}, Roles: []string{"shift-leader"}, Session: "s",
	}
	for i := range acts {
		c := full
		c.Do = acts[i].do
		if acts[i].needs&aValue != 0 {
			c.Rule = "nh3-1.gas"
		}
		if e := check(&c); e != nil {
			t.Errorf("%s: %v", c.Do, e)
		}
		got, err := c.Say(of)
		if err != nil || got.Verb != acts[i].verb || got.Rule != c.Rule || got.Occurrence != 3 || got.Who != "li" || !got.Proved || got.Note != "n" ||
			got.Channel != c.Channel || got.For != 90500*time.Millisecond || got.Result != rules.Failed || got.Session != "s" || len(got.Roles) != 1 {
			t.Errorf("%s: %v %+v", c.Do, err, got)
		}
		lacks := func(bit need, what string, spoil func(*Command)) {
			t.Helper()
			bad := c
			spoil(&bad)
			e := check(&bad)
			if acts[i].needs&bit != 0 && (e == nil || e.Code != what) {
				t.Errorf("%s without it: %v, want %s", c.Do, e, what)
			}
		}
		rule := "operate.needs-rule"
		if acts[i].needs&anOccurrence != 0 {
			rule = "operate.rule-and-occurrence"
		}
		lacks(aRule, rule, func(c *Command) { c.Rule = "" })
		lacks(anOccurrence, "operate.rule-and-occurrence", func(c *Command) { c.Occurrence = 0 })
		lacks(aNote, "operate.needs-reason", func(c *Command) { c.Note = "  " })
		for _, d := range []float64{0, -1, math.NaN(), math.Inf(1), 1e300} {
			lacks(aTime, "operate.needs-time", func(c *Command) { c.For = d })
		}
		lacks(aChannel, "operate.needs-channel", func(c *Command) { c.Channel = "" })
		lacks(aValue, "operate.needs-value", func(c *Command) { c.Value = "" })
		lacks(aResult, "operate.needs-result", func(c *Command) { c.Result = "good" })
	}
	if _, err := (&Command{Do: "open"}).Say(of); err == nil {
		t.Error("an unknown request was made a command")
	}
	if _, err := (&Command{Do: Force, Rule: "nobody", Value: "1"}).Say(of); err == nil {
		t.Error("a tag that is not there was forced")
	}
	f := func(name, s string, want tag.Value, ok bool) {
		t.Helper()
		got, err := (&Command{Do: Force, Rule: name, Value: s}).Say(of)
		if (err == nil) != ok || got.Value != want {
			t.Errorf("%s = %q: %v %v", name, s, got.Value, err)
		}
	}
	f("nh3-1.gas", "30", f32(30), true)
	f("nh3-1.gas", " 30.5 ppm", f32(30.5), true)
	f("nh3-1.gas", "30 %", tag.Value{}, false)
	f("nh3-1.gas", "NaN", tag.Value{}, false)
	f("nh3-1.gas", "1e99", tag.Value{}, false)
	f("fan.state", "run", tag.BoolValue(true), true)
	f("fan.state", "0", tag.BoolValue(false), true)
	f("fan.state", "2", tag.Value{}, false)
	f("mode", "auto", tag.EnumValue(3), true)
	f("mode", "7", tag.EnumValue(7), true)
	f("count", "-4", tag.IntValue(-4), true)
	f("count", "4.5", tag.Value{}, false)
	f("name", "x", tag.Value{}, false)
}
