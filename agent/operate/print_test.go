package operate

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
)

var update = flag.Bool("update", false, "write testdata anew")

var zone = time.FixedZone("CST", 8*3600)

func at(clock string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", clock, zone)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return t
}

func stamp(clock string) tag.Stamp { return tag.Stamp{Wall: at(clock).UnixNano(), Mono: 1} }

func f32(f float32) tag.Value {
	v, _ := tag.Float32Value(f)
	return v
}

// names of three tags.
func names(id tag.ID) *config.Tag {
	switch id {
	case 1:
		return &config.Tag{Name: "nh3-1.gas", Unit: "ppm"}
	case 2:
		return &config.Tag{Name: "comp1.discharge-temp", Unit: "°C"}
	}
	return &config.Tag{Name: "tank1.level", Unit: "%"}
}

// night is a night on which everything happens: made through the converters,
// so that what they do is seen.
func night() *View {
	alarm := func(a rules.AlarmView) Alarm { return AlarmOf(&a, names) }
	lock := func(i rules.InterlockView) Interlock { return InterlockOf(&i) }
	event := func(e ring.Event) Event { return EventOf(&e, names) }
	votes := []rules.Vote{
		{Channel: "nh3-3.gas", Reason: rules.VoteBad, Since: stamp("2026-03-02 02:50:00"), Quality: tag.BadNoComm},
		{Channel: "nh3-1.gas", Reason: rules.VoteProcess, Since: stamp("2026-03-02 03:00:01"), Quality: tag.GoodQuality, Value: f32(152.3), Last: true},
	}
	v := &View{
		Gateway: Gateway{ID: "JY-0231-GW1", Name: Text{"江阴冷库三号", "Jiangyin cold store 3"}, TimeZone: "Asia/Shanghai"},
		Version: "0.1.0", At: at("2026-03-02 03:12:45"), Since: at("2026-02-20 01:00:00"),
		Plan: Plan{Hash: "8f14e45fceea167a5a36dedd4bea2543", Differs: true}, Turns: 1234567, Longest: 12.5, Reaction: 3.25,
		Clock: Clock{Trusted: false, Error: 16000}, Latch: Latch{Error: "no space left on device"},
		Tags: Tags{Total: 40, Good: 37, Uncertain: 1, Bad: 2, NeverRead: 1},
		Links: []Link{
			{Name: "dcs", Target: "opc.tcp://192.168.1.30:4840", State: LinkAnswering, LastAnswer: at("2026-03-02 03:12:45"), Longest: 12.25},
			{Name: "plc", Target: "192.168.1.20:502", State: LinkSilent, LastAnswer: at("2026-03-02 02:49:58"), Timeouts: 340, Errors: 2, Overruns: 12, Longest: 301, Problem: "no answer within 300ms"},
			{Name: "line1", State: LinkStarting},
		},
		Alarms: []Alarm{
			alarm(rules.AlarmView{Name: "comp1-discharge.high", Text: rules.Text{Zh: "排气温度高", En: "Discharge temperature high"}, State: rules.Acked, Priority: rules.Medium, Occurrence: 4, Raised: stamp("2026-03-01 01:12:45"), Tag: 2, Value: f32(131.25), Limit: 130}),
			alarm(rules.AlarmView{Name: "nh3-3.gas.not-watched", Text: rules.Text{Zh: "氨浓度失去监视", En: "Ammonia not watched"}, State: rules.Unacked, Priority: rules.High, Occurrence: 1, Raised: stamp("2026-03-02 02:50:00"), Tag: 3, NotWatched: true}),
			alarm(rules.AlarmView{Name: "nh3-1.l1", Text: rules.Text{Zh: "氨一级报警", En: "Ammonia level 1"}, State: rules.LatchedUnacked, Priority: rules.High, Occurrence: 7, Raised: stamp("2026-03-02 02:59:50"), Tag: 1, Value: f32(28.1), Limit: 28}),
			alarm(rules.AlarmView{Name: "nh3-1.l2", Text: rules.Text{Zh: "氨二级报警", En: "Ammonia level 2"}, State: rules.Unacked, Priority: rules.Critical, Occurrence: 12, Raised: stamp("2026-03-02 02:59:58"), Tag: 1, Value: f32(56.4), Limit: 56}),
			alarm(rules.AlarmView{Name: "record.stopped", Text: rules.Text{Zh: "记录停止", En: "Nothing is recorded"}, State: rules.ReturnedUnacked, Priority: rules.Low, Occurrence: 2, Raised: stamp("2026-03-02 03:12:40"), Agent: true}),
			alarm(rules.AlarmView{Name: "tank1.level.high", State: rules.Normal, Priority: rules.High}),
		},
		Interlocks: []Interlock{
			lock(rules.InterlockView{Name: "COMP-HP", Text: rules.Text{Zh: "压缩机高压联锁", En: "Compressor high pressure"}, State: rules.Armed, Degraded: true}),
			lock(rules.InterlockView{Name: "NH3-150", Text: rules.Text{Zh: "机房氨浓度150 ppm联锁", En: "Machine room ammonia 150 ppm"}, State: rules.Tripped, Occurrence: 3, FirstOut: "nh3-1.gas", Votes: votes, TrippedAt: stamp("2026-03-02 03:00:01"), ResetIn: 9*time.Minute + 30*time.Second}),
			lock(rules.InterlockView{Name: "LEVEL", Text: rules.Text{Zh: "储液器液位联锁", En: "Receiver level"}}),
			lock(rules.InterlockView{Name: "OLD", Text: rules.Text{Zh: "旧联锁", En: "Old one"}, State: rules.Tripped, Occurrence: 1, TrippedAt: stamp("2026-03-01 03:00:01"), ResetReady: true}),
		},
		Outputs: []Output{
			{Name: "fan1", Text: Text{"事故风机", "Exhaust fan"}, Demand: Protective, By: "NH3-150", Wanted: "run", State: "run", Confirmed: true},
			{Name: "siren1", Text: Text{"声光报警器", "Siren"}, Demand: Protective, By: "NH3-150", Wanted: "on", Problem: "write not confirmed"},
			{Name: "valve1", Text: Text{"供液阀", "Liquid valve"}, Demand: Idling, Wanted: "open", State: "open", Confirmed: true},
		},
		Keeper: Keeper{
			State: KeeperRunning, Epoch: "00112233445566778899aabbccddeeff", Backlog: 1250, Bytes: 1_234_567_890, MaxBytes: 4_000_000_000,
			Heads:      []Head{{"event", 120, 100, 20}, {"reading", 991230, 990000, 1230}},
			Conditions: []string{"uplink.regulator.offline", "journal.new"},
			Texts:      []Condition{{"uplink.regulator.offline", Text{"上传 regulator 离线", "Uplink regulator is offline"}}},
			Uplinks: []Uplink{
				{
					Name: "regulator", LastReceipt: at("2026-03-02 01:01:00"), Backlog: 1250, Error: "connection refused",
					Witness: &Witness{At: at("2026-03-02 01:00:57"), Upto: at("2026-03-02 01:00:50"), Records: 1260, Blocks: 14},
				},
				{Name: "province", Connected: true, Witness: &Witness{Records: 12, Blocks: 3, Refused: "fork"}},
				{Name: "second", Connected: true, Witness: &Witness{At: at("2026-03-02 03:04:55")}},
				{Name: "scada", Connected: true},
			},
		},
		Log: []Event{
			event(ring.Event{Serial: 1, Event: rules.Event{Kind: ring.AgentStarted, At: stamp("2026-03-01 23:59:59"), Note: "0.1.0"}}),
			event(ring.Event{Serial: 2, Event: rules.Event{Kind: rules.AlarmRaised, At: stamp("2026-03-02 02:59:58"), Rule: "nh3-1.l2", Occurrence: 12, Priority: rules.Critical, Tag: 1, Value: f32(56.4), Limit: 56}}),
			event(ring.Event{Serial: 3, Event: rules.Event{Kind: rules.InterlockTripped, At: stamp("2026-03-02 03:00:01"), Rule: "NH3-150", Occurrence: 3, Priority: rules.Critical, FirstOut: "nh3-1.gas", Votes: votes}}),
			event(ring.Event{Serial: 4, Event: rules.Event{Kind: rules.OutputDemanded, At: stamp("2026-03-02 03:00:01"), Rule: "NH3-150", Output: "fan1"}}),
			event(ring.Event{Serial: 5, Event: rules.Event{Kind: rules.AlarmAcked, At: stamp("2026-03-02 03:01:00"), Rule: "nh3-1.l2", Occurrence: 12, Who: "li.wei", Note: "去现场查看"}}),
			event(ring.Event{Serial: 6, Event: rules.Event{Kind: ring.CommandRefused, At: stamp("2026-03-02 03:02:00"), Rule: "NH3-150", Occurrence: 3, Who: "li.wei", Proved: true, Note: "reset-not-met"}}),
			event(ring.Event{Serial: 7, Event: rules.Event{Kind: ring.ClockStepped, At: stamp("2026-03-02 03:03:00"), Value: f32(-3.5)}}),
			event(ring.Event{Serial: 8, Event: rules.Event{Kind: rules.Kind(200), At: stamp("2026-03-02 03:04:00"), Rule: "new"}}),
		},
	}
	v.Units(map[string]string{"nh3-1.gas": "ppm", "nh3-3.gas": "ppm"})
	return v
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestPaper(t *testing.T) {
	quiet := night()
	quiet.Armed, quiet.Plan.Differs, quiet.Latch.Durable, quiet.Clock.Trusted = true, false, true, true
	quiet.Alarms = quiet.Alarms[5:]
	quiet.Interlocks = quiet.Interlocks[2:3]
	quiet.Outputs = quiet.Outputs[2:]
	quiet.Log = nil
	quiet.Keeper = KeeperOf(ring.NewWriter(ring.WriterOptions{MaxReadings: 1}))
	for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
		p := Paper{Lang: l, Zone: zone}
		for _, c := range []struct {
			name  string
			view  *View
			print func(*bytes.Buffer, *View) error
		}{
			{"status", night(), func(b *bytes.Buffer, v *View) error { return p.Status(b, v) }},
			{"alarms", night(), func(b *bytes.Buffer, v *View) error { return p.Alarms(b, v) }},
			{"log", night(), func(b *bytes.Buffer, v *View) error { return p.Log(b, v) }},
			{"quiet", quiet, func(b *bytes.Buffer, v *View) error { return p.Status(b, v) }},
			{"none", func() *View { q := *quiet; q.Keeper.State = KeeperRunning; return &q }(), func(b *bytes.Buffer, v *View) error {
				if err := p.Alarms(b, v); err != nil {
					return err
				}
				return p.Log(b, v)
			}},
		} {
			var b bytes.Buffer
			if err := c.print(&b, c.view); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name+"."+string(l)+".golden", b.String())
			if i := strings.IndexRune(b.String(), '⟨'); i >= 0 {
				t.Errorf("%s %s: words are missing: %.40s", c.name, l, b.String()[i:])
			}
		}
	}
}

// A warning alone does not say that nothing is tripped and nothing in alarm.
func TestAlarmsSayThatThereAreNone(t *testing.T) {
	v := &View{Armed: true, Latch: Latch{Durable: true}, Keeper: Keeper{State: KeeperRunning}}
	for l, want := range map[i18n.Lang]string{
		i18n.Zh: "! 时钟未同步: 时间可能有误\n无跳车，无报警\n",
		i18n.En: "! the clock is not synchronised: times may be wrong\nno trips, no alarms\n",
	} {
		var b bytes.Buffer
		if err := (Paper{Lang: l, Zone: zone}).Alarms(&b, v); err != nil || b.String() != want {
			t.Errorf("got\n%s%v", b.String(), err)
		}
	}
}

// A start says how long nobody decided, in words and with a unit.
func TestLogDown(t *testing.T) {
	f := func(secs tag.Value, zh, en string) {
		t.Helper()
		e := ring.Event{Event: rules.Event{Kind: ring.AgentStarted, At: stamp("2026-03-02 03:00:00"), Value: secs}}
		v := &View{Log: []Event{EventOf(&e, names)}}
		for l, want := range map[i18n.Lang]string{i18n.Zh: "davy 启动  " + zh, i18n.En: "davy started  " + en} {
			var b bytes.Buffer
			if err := (Paper{Lang: l, Zone: zone}).Log(&b, v); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(b.String(), want+"\n") {
				t.Errorf("%s: got %s", secs, b.String())
			}
		}
	}
	f(tag.Value{}, "停机时长未知", "down time unknown")
	f(f32(-1), "停机时长未知", "down time unknown")
	f(f32(0), "由上一组态无间断接替", "taken over from the plan before without a pause")
	f(f32(7.4e-05), "此前 <1 毫秒无人判断", "nobody decided for <1 ms")
	f(f32(0.25), "此前 250 毫秒无人判断", "nobody decided for 250 ms")
	f(f32(3.2), "此前 3.2 秒无人判断", "nobody decided for 3.2 s")
	f(f32(59.96), "此前 60 秒无人判断", "nobody decided for 60 s")
	f(f32(7500), "此前 2 小时 5 分钟无人判断", "nobody decided for 2 h 5 min")
}

// A refused reset of an interlock says what holds it, not that an alarm stands.
func TestLogStillStanding(t *testing.T) {
	v := night()
	v.Log = v.Log[5:6]
	v.Log[0].Note = "still-standing"
	f := func(rule, zh, en string) {
		t.Helper()
		v.Log[0].Rule = rule
		for l, want := range map[i18n.Lang]string{i18n.Zh: zh, i18n.En: en} {
			var b bytes.Buffer
			if err := (Paper{Lang: l, Zone: zone}).Log(&b, v); err != nil || !strings.HasSuffix(b.String(), want+"\n") {
				t.Errorf("got %s%v", b.String(), err)
			}
		}
	}
	f("NH3-150", "，NH3-150 还不能复位: 仍有通道达到跳车条件或为坏值", ", NH3-150 cannot be reset yet: a channel still meets its trip condition, or is bad")
	f("nh3-1.l2", "，nh3-1.l2 仍然存在", ", nh3-1.l2 still stands")
}

// The command for a log asks for its last events.
func TestLogLast(t *testing.T) {
	var b bytes.Buffer
	if err := (Paper{Lang: i18n.En, Zone: zone, Last: 2}).Log(&b, night()); err != nil {
		t.Fatal(err)
	}
	if b.String() != "= 2026-03-02\n03:03:00.000  clock stepped  -3.5 s\n03:04:00.000  kind-200 new\n" {
		t.Errorf("got\n%s", b.String())
	}
}

// A write of an output, what a device says of itself and a state have their
// words, with value and note; what a device wrote moves no cursor.
func TestLogNamed(t *testing.T) {
	of := func(id tag.ID) *config.Tag {
		return &config.Tag{ID: id, Name: "comp1.mode", Unit: "x", Names: []config.Name{{Code: 0, Name: "stop"}, {Code: 3, Name: "run"}}}
	}
	f := func(e rules.Event, zh, en string) {
		t.Helper()
		e.At = stamp("2026-03-02 03:00:00")
		v := &View{Log: []Event{EventOf(&ring.Event{Event: e}, of)}}
		for l, want := range map[i18n.Lang]string{i18n.Zh: zh, i18n.En: en} {
			var b bytes.Buffer
			if err := (Paper{Lang: l, Zone: zone}).Log(&b, v); err != nil || !strings.HasSuffix(b.String(), "  "+want+"\n") {
				t.Errorf("got %q, want %q, %v", b.String(), want, err)
			}
		}
	}
	f(rules.Event{Kind: ring.OutputWritten, Output: "fan", Value: tag.BoolValue(true)}, "输出已写入 fan  1", "output written fan  1")
	f(rules.Event{Kind: ring.OutputFailed, Output: "fan", Value: tag.BoolValue(false), Note: "refused"}, "写出被拒绝 fan  0，refused", "write refused fan  0, refused")
	f(rules.Event{Kind: ring.DeviceEvent, Tag: 1, Value: tag.IntValue(3), Note: "a | b\x1b[2J\nc"},
		"设备自报  comp1.mode，严重度 3，a | b [2J c", "device says  comp1.mode, severity 3, a | b [2J c")
	f(rules.Event{Kind: rules.AlarmRaised, Rule: "m", Tag: 1, Value: tag.EnumValue(3)}, "报警 m  comp1.mode = run (3)", "alarm m  comp1.mode = run (3)")
	f(rules.Event{Kind: rules.AlarmRaised, Rule: "m", Tag: 1, Value: tag.TextValue(3)}, "报警 m  comp1.mode = run", "alarm m  comp1.mode = run")
	f(rules.Event{Kind: rules.AlarmRaised, Rule: "m", Tag: 1, Value: f32(3)}, "报警 m  comp1.mode = 3 x", "alarm m  comp1.mode = 3 x")
}

// Every enumeration that JSON can hold has words, and every event.
func TestWords(t *testing.T) {
	var keys []string
	for _, s := range []AlarmState{Unacked, Acked, ReturnedUnacked, LatchedUnacked, LatchedAcked} {
		keys = append(keys, "operate.alarm."+string(s))
	}
	for _, s := range []Priority{"", Low, Medium, High, Critical} {
		keys = append(keys, "operate.priority."+string(s))
	}
	for _, s := range []string{"process", "bad", "test"} {
		keys = append(keys, "operate.vote."+s)
	}
	for _, s := range []string{"starting", "armed"} {
		keys = append(keys, "operate.interlock."+s)
	}
	for _, s := range []string{"starting", "answering", "silent"} {
		keys = append(keys, "operate.link."+s)
	}
	for _, s := range []string{"absent", "opening", "running"} {
		keys = append(keys, "operate.keeper."+s)
	}
	for _, s := range []string{"idle", "protective"} {
		keys = append(keys, "operate.demand."+s)
	}
	for _, s := range []string{"busy", "stopping", "too-long", "bad-request", "bad-text", "unknown-request", "rule-and-occurrence", "no-view", "no-answer", "failed"} {
		keys = append(keys, "operate."+s)
	}
	for _, s := range []string{"unknown-rule", "wrong-occurrence", "not-alarm", "already-acked", "not-acked", "not-tripped", "still-standing", "reset-not-met"} {
		keys = append(keys, "refused."+s)
	}
	for k := rules.AlarmRaised; k <= rules.InterlockTrippedAtStart; k++ {
		keys = append(keys, "operate.event."+KindName(k))
	}
	for k := ring.AgentStarted; k <= ring.DeviceEvent; k++ {
		keys = append(keys, "operate.event."+KindName(k))
	}
	for _, k := range keys {
		if !i18n.Has(k) {
			t.Errorf("no words for %s", k)
		}
	}
}
