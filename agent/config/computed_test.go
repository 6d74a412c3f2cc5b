package config

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const computedSite = `davy: 1
gateway: {id: GW-1, name: {zh: 甲, en: A}, time_zone: Asia/Shanghai}
links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  d:
    link: plc
    station: 1
    may_write: [coil 9]
    tags:
      a: {at: holding 0, type: float32 ABCD, range: 0 to 100 ppm, gas: nh3, scan: 2s}
      b: {at: holding 2, type: float32 ABCD, range: 0 to 100 ppm, gas: nh3}
      t: {at: holding 4, type: float32 ABCD, range: 0 to 200 °C}
      run: {at: coil 0, type: bool}
      mode: {at: holding 8, type: uint16, states: {0: idle, 1: casting}}
outputs:
  fan: {drives: d coil 9, idle: stop, protective: run, davy_dead: stays, link_lost: stays, after_restart: as it was, text: {zh: 风机, en: Fan}}
`

const computedRules = `computed:
  room.worst: {value: 'max(d.a, d.b)', text: {zh: 最高, en: Worst}, range: 0 to 100 ppm}
  rise: {value: 'rate(d.t, 60s)', record: every 10s}
  hot: {value: room.worst > 40 mg/m³ and d.mode = casting}
  slow: {value: 'avg_over(room.worst, 15min)'}
alarms:
  worst:
    watch: room.worst
    high: {at: 50 ppm, priority: high, text: {zh: 高, en: High}}
interlocks:
  L:
    text: {zh: 联锁, en: Interlock}
    trip_when: any
    channels:
      - d.a >= 60 ppm
      - slow > 30 ppm and (d.run = yes or hot = yes)
      - hot = yes
    then: [demand: fan]
    reset: by operator
`

func TestComputedTags(t *testing.T) {
	plan, problems := Compile(putProfiles(bundleOf(computedSite, computedRules), gasFile), testSet())
	if plan == nil || !slices.Equal(codes(problems), []string{"warning channel-blind rules.yaml:16:9"}) {
		t.Fatal(codes(problems))
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Fatal(err)
	}
	find := func(name string) Tag {
		i := slices.IndexFunc(plan.Tags, func(x Tag) bool { return string(x.Name) == name })
		if i < 0 {
			t.Fatalf("no tag %s", name)
		}
		return plan.Tags[i]
	}
	a, b, mode := find("d.a").ID, find("d.b").ID, find("d.mode").ID
	for _, want := range []Tag{
		{Name: "room.worst", Unit: "ppm", Kind: tag.Float64, Ranged: true, High: 100, Period: 2 * time.Second, Of: []tag.ID{a, b}, Text: rules.Text{Zh: "最高", En: "Worst"}},
		{Name: "rise", Unit: "°C/s", Kind: tag.Float64, Period: time.Second, Of: []tag.ID{find("d.t").ID}, LookBack: time.Minute, Text: rules.Text{Zh: "rise", En: "rise"}},
		{Name: "hot", Kind: tag.Bool, Period: 2 * time.Second, Of: []tag.ID{a, b, mode}, Text: rules.Text{Zh: "hot", En: "hot"}},
		{Name: "slow", Unit: "ppm", Kind: tag.Float64, Period: 2 * time.Second, Of: []tag.ID{a, b}, LookBack: 15 * time.Minute, Text: rules.Text{Zh: "slow", En: "slow"}},
		{Name: "L.channel-2", Kind: tag.Bool, Period: 2 * time.Second, Of: []tag.ID{a, b, find("d.run").ID, mode}, LookBack: 15 * time.Minute},
	} {
		got := find(string(want.Name))
		if got.Unit != want.Unit || got.Kind != want.Kind || got.Ranged != want.Ranged || got.High != want.High || got.Period != want.Period ||
			got.LookBack != want.LookBack || !slices.Equal(got.Of, sorted(want.Of)) || got.Link != -1 || want.Text.En != "" && got.Text != want.Text {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	// Above the range of one of them the highest of detectors is, too.
	for name, want := range map[string]bool{"d.a": true, "room.worst": true, "slow": true, "rise": false, "hot": false, "L.channel-2": false} {
		if got := plan.Rules.Tags[find(name).ID].OverRange; got != want {
			t.Errorf("%s: over-range %v", name, got)
		}
	}
	l := plan.Rules.Interlocks[0]
	if l.Channels[1].Cond != (rules.Condition{Tag: find("L.channel-2").ID, Op: rules.EQ, Limit: 1}) || l.Channels[2].Cond.Tag != find("hot").ID {
		t.Errorf("%+v", l.Channels)
	}
	// Whatever a rule looks at is watched, through a computed tag too.
	for _, name := range []string{"d.a", "d.b", "d.mode", "d.run", "room.worst", "hot", "L.channel-2"} {
		alarmNamed(t, plan, name+NotWatchedSuffix)
	}
	// Of a computed one that is implied by what it is made of.
	for name, under := range map[string]string{"rise": "d.t.not-watched", "slow": "link.plc.silent", "d.a": "link.plc.silent"} {
		i := slices.IndexFunc(plan.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == name+NotWatchedSuffix })
		if i >= 0 && plan.Rules.Alarms[i].Under != under || i < 0 && name != "rise" {
			t.Errorf("%s stands under %q, want %q", name, plan.Rules.Alarms[max(i, 0)].Under, under)
		}
	}
	if a := alarmNamed(t, plan, "slow"+NotWatchedSuffix); a.OnDelay != 15*time.Minute+10*time.Second {
		t.Errorf("%v", a.OnDelay)
	}
	// The response of a computed channel is that of its slowest input, and how far it looks back.
	r := plan.Report().Interlocks[0].Responses[0]
	if r.Channel != "L.channel-2" || r.Scan != 2*time.Second || r.LookBack != 15*time.Minute {
		t.Errorf("%+v", r)
	}
}

func sorted(ids []tag.ID) []tag.ID { return slices.Sorted(slices.Values(ids)) }

func TestComputedProblems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"max(d.a, d.b)", "max(d.a, «d.c)", "expr-unknown-tag"},
		{"max(d.a, d.b)", "max(d.a, «d.t)", "expr-units"},
		{"max(d.a, d.b)", "max(d.a, «slow)", "computed-circle"},
		{"d.mode = casting", "d.mode = «casted", "expr-unknown-state"},
		{"rise:", "«d.t:", "name-taken"},
		{"range: 0 to 100 ppm}", "range: «0 to 100 kPa}", "computed-unit"},
		{"slow > 30 ppm", "slow > «30 °C", "expr-units"},
		{"- hot = yes", "- «hot > 3 and d.run = yes", "expr-needs-number"},
		{"- hot = yes", "- («hot + 1)", "expr-needs-number"},
	} {
		text, place := edit(t, RulesFile, computedRules, x.from, x.to)
		if x.want == "computed-circle" {
			place.Col = 0
		}
		_, problems := Compile(putProfiles(bundleOf(computedSite, text), gasFile), testSet())
		ok := slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Code == x.want && p.Place.File == place.File && (place.Col == 0 || p.Place == place)
		})
		if errors, _ := problems.Counts(); !ok || errors != 1 {
			t.Errorf("%s → %s: %v, want %s at %v", x.from, x.to, codes(problems), x.want, place)
		}
	}
}

// What windows have seen must fit the latch file, whatever a site asks for.
func TestTooManyWindows(t *testing.T) {
	for n, want := range map[int]bool{MaxWindows: true, MaxWindows + 1: false} {
		text := "computed:\n"
		for i := range n {
			text += fmt.Sprintf("  w%d: {value: 'avg_over(d.t, 60s)'}\n", i)
		}
		plan, problems := Compile(putProfiles(bundleOf(computedSite, text), gasFile), testSet())
		if (plan != nil) != want || !want && !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == "too-many-windows" }) {
			t.Errorf("%d windows: %v", n, codes(problems))
		}
		if plan == nil {
			continue
		}
		e, err := rules.New(plan.Rules)
		if err != nil {
			t.Fatal(err)
		}
		var out rules.Outcome
		m := rules.NewImage(plan.Rules)
		for i := range 200 {
			v, _ := tag.Float64Value(float64(i))
			now := tag.Stamp{Mono: int64(i+1) * int64(time.Second)}
			m.Put(tag.Reading{Tag: plan.Rules.Computed[0].Program.Inputs()[0], Value: v, Quality: tag.GoodQuality, Received: now})
			rules.Step(e, m, now, &out)
		}
		if size := len(e.Snapshot(nil, tag.Stamp{Mono: int64(201 * time.Second)})); size > 320<<10 {
			t.Errorf("%d windows take %d bytes of a snapshot", n, size)
		}
	}
}
