package config

import (
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const timeRules = `alarms:
  a:
    watch: d.t
    raise_after: 5s
    rate: {at: 6 °C/min, over: 1min, priority: high, text: {zh: 升温过快, en: Rising fast}}
    deviation: {at: 3 °C, from: [d.t2, d.t3], priority: low, text: {zh: 偏差, en: Deviation}, deadband: 1 °C}
    frozen: {after: 30min, band: 0.1 °C, priority: low, text: {zh: 冻结, en: Frozen}}
  b:
    watch: d.t
    rate: {at: -6 °C/min, over: 1min, priority: high, text: {zh: 降温过快, en: Falling fast}}
    deviation: {at: 3 °C, from: d.t2, priority: low, text: {zh: 偏差, en: Deviation}}
    frozen: {after: 8h, while_moves: [d.t2, d.t3], priority: low, text: {zh: 冻结, en: Frozen}}
    suppress_when: d.run = no and d.t < 40 °C
`

const timeSite = `davy: 1
gateway: {id: GW-1, name: {zh: 甲, en: A}, time_zone: Asia/Shanghai}
links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  d:
    link: plc
    station: 1
    tags:
      t: {at: holding 4, type: float32 ABCD, range: 0 to 200 °C}
      t2: {at: holding 6, type: float32 ABCD, range: 0 to 200 °C}
      t3: {at: holding 8, type: float32 ABCD, range: 0 to 200 °C}
      p: {at: holding 10, type: float32 ABCD, range: 0 to 10 bar}
      run: {at: coil 0, type: bool}
`

func TestAlarmsOverTime(t *testing.T) {
	plan, problems := Compile(bundleOf(timeSite, timeRules), testSet())
	if plan == nil || len(problems) > 0 {
		t.Fatal(codes(problems))
	}
	id := func(name tag.Name) tag.ID {
		return tag.ID(slices.IndexFunc(plan.Tags, func(x Tag) bool { return x.Name == name }))
	}
	for _, want := range []rules.Alarm{
		{Name: "a.rate", Sort: rules.OfRate, Cond: rules.Condition{Tag: id("a.rate"), Op: rules.GE, Limit: 0.1}, Priority: rules.High, OnDelay: 5 * time.Second},
		{Name: "a.deviation", Sort: rules.OfDeviation, Cond: rules.Condition{Tag: id("a.deviation"), Op: rules.GE, Limit: 3}, Priority: rules.Low, OnDelay: 5 * time.Second, Deadband: 1},
		{Name: "a.frozen", Sort: rules.OfFreeze, Cond: rules.Condition{Tag: id("a.frozen"), Op: rules.EQ, Limit: 1}, Priority: rules.Low, OnDelay: 5 * time.Second},
		{Name: "b.rate", Sort: rules.OfRate, Cond: rules.Condition{Tag: id("b.rate"), Op: rules.LE, Limit: -0.1}, Priority: rules.High, Suppress: rules.Condition{Tag: id("b.suppress"), Op: rules.EQ, Limit: 1}},
	} {
		got := alarmNamed(t, plan, want.Name)
		want.Text = got.Text
		if !equalAlarm(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	for name, want := range map[tag.Name]string{
		"a.rate": "rate(d.t, 1min)", "a.deviation": "abs(d.t - median(d.t, d.t2, d.t3))", "a.frozen": "stuck(d.t, 30min, 0.1 °C)",
		"b.frozen": "stuck(d.t, 8h) and (not stuck(d.t2, 8h) or not stuck(d.t3, 8h))", "b.deviation": "abs(d.t - d.t2)", "b.suppress": `d.run = "no" and d.t < 40 °C`,
	} {
		i := slices.IndexFunc(plan.Rules.Computed, func(x rules.Computed) bool { return x.Tag == id(name) })
		if i < 0 {
			t.Errorf("%s is not computed", name)
		} else if got := plan.Rules.Computed[i].Program.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Error(err)
	}
}

func equalAlarm(a, b rules.Alarm) bool {
	return a.Name == b.Name && a.Sort == b.Sort && a.Cond == b.Cond && a.Priority == b.Priority && a.OnDelay == b.OnDelay && a.Deadband == b.Deadband && a.Suppress == b.Suppress
}

func TestAlarmsOverTimeProblems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"at: 6 °C/min", "at: «6 °C", "unit-differs"},
		{"over: 1min, priority: high, text: {zh: 升温", "«over: 0s, priority: high, text: {zh: 升温", "out-of-bounds"},
		{"[d.t2, d.t3]", "[d.t2, «d.t4]", "unknown-tag"},
		{"from: d.t2", "from: «d.p", "expr-units"},
		{"band: 0.1 °C", "band: «0.1 bar", "expr-units"},
		{"watch: d.t\n    raise_after: 5s\n    rate: {at: 6 °C/min", "watch: d.run\n    raise_after: 5s\n    rate: {at: 6 °C/min", ""},
		{"after: 30min", "after: «3s", "out-of-bounds"},
		{"deadband: 1 °C", "deadband: «1 bar", "unit-differs"},
	} {
		text, place := edit(t, RulesFile, timeRules, x.from, x.to)
		plan, problems := Compile(bundleOf(timeSite, text), testSet())
		if plan != nil || x.want != "" && (len(problems) != 1 || problems[0].Code != x.want) {
			t.Errorf("%s → %s: %v, want %s at %v", x.from, x.to, codes(problems), x.want, place)
		}
	}
}
