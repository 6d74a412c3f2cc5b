package replay

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/journal"
	"davy/agent/replay"
	"davy/agent/replay/history"
	"davy/drivers/tag"
	"davy/rules"
	"davy/test/scale"
)

const siteOf = `davy: 1
gateway: {id: GW-1, name: {zh: 站, en: Site}, time_zone: Asia/Shanghai, outputs: armed}
links:
  plc: {sim: plc, timeout: 200ms}
devices:
  a:
    link: plc
    force: anybody, longest 1h
    test: anybody, longest 1h
    tags:
      gas: {at: a1, type: float32, range: 0 to 1000 ppm, RECORD}
      temp: {at: a2, type: float32, range: 0 to 100 °C, RECORD}
  b:
    link: plc
    tags:
      gas: {at: b1, type: float32, range: 0 to 1000 ppm, RECORD}
      run: {at: b2, type: bool, RECORD}
      level: {at: b3, type: float32, range: 0 to 100 %, record: 'every 60s, or 2 % change'}
  io1:
    link: plc
    may_write: [fan]
    tags:
      fan-run: {at: f1, type: bool, RECORD}
outputs:
  fan1:
    drives: io1 fan
    idle: stop
    protective: run
    proof: io1.fan-run = run within 5s
    davy_dead: stays
    link_lost: stays
`

// full is the site of which every change is recorded.
func full(every string) string { return strings.ReplaceAll(siteOf, "RECORD", "record: every "+every) }

const rulesOf = `computed:
  worst: {value: 'max(a.gas, b.gas)', text: {zh: 最高, en: Worst}, range: 0 to 1000 ppm}
  rise: {value: 'rate(a.temp, 30s)', text: {zh: 升, en: Rise}}
  calm: {value: 'avg_over(a.gas, 60s)', text: {zh: 均, en: Mean}}
alarms:
  a-gas:
    watch: a.gas
    high: {at: 50 ppm, priority: medium, text: {zh: 高, en: High}}
    high-high: {at: 80 ppm, priority: high, text: {zh: 高高, en: Very high}}
    deadband: 5 ppm
    raise_after: 3s
    clear_after: 5s
  worst:
    watch: worst
    high: {at: 70 ppm, priority: high, text: {zh: 最高, en: Worst high}}
  calm:
    watch: calm
    high: {at: 45 ppm, priority: low, text: {zh: 均, en: Mean high}}
  level:
    watch: b.level
    high: {at: 60 %, priority: low, text: {zh: 液位, en: Level high}}
  running:
    watch: b.run
    is: {at: on, priority: low, text: {zh: 运行, en: Runs}}
interlocks:
  GAS:
    text: {zh: 联锁, en: Gas}
    trip_when: 2 of 2
    channels:
      - a.gas >= 90 ppm
      - b.gas >= 90 ppm
    channel_bad: counts as trip after 10s
    all_channels_bad: trip
    degraded: alarm medium, at most 1h
    then:
      - demand: fan1
    reset: by operator, when all channels < 60 ppm for 5s
    bypass: one channel, anybody, longest 1h
`

// live lets the agent of p run over a plant made of dice, with persons who do
// things and stops between, in a bubble's time.
func live(p *past, seed uint64, runs, seconds int) {
	dice := rand.New(rand.NewPCG(seed, 1))
	ids := map[tag.Name]tag.ID{}
	for _, t := range p.plan.Tags {
		ids[t.Name] = t.ID
	}
	value := map[tag.Name]float64{"a.gas": 40, "b.gas": 40, "a.temp": 20, "b.level": 50}
	silent := map[tag.Name]int{}
	down := time.Duration(-1)
	for n := range runs {
		p.start(down)
		for range seconds {
			when := time.Duration(1+dice.IntN(998)) * time.Millisecond // seldom when a timer ends
			p.sleep(when)
			person(p, dice)
			p.sleep(time.Second - when)
			now := p.now()
			var rs []tag.Reading
			for _, name := range []tag.Name{"a.gas", "b.gas", "a.temp", "b.level", "b.run", "io1.fan-run"} {
				if silent[name] > 0 { // its link hangs: nothing comes at all
					silent[name]--
					continue
				}
				if dice.IntN(400) == 0 {
					silent[name] = dice.IntN(30)
				}
				r := tag.Reading{Tag: ids[name], Quality: tag.GoodQuality, Received: now}
				switch name {
				case "b.run":
					r.Value = tag.BoolValue(dice.IntN(20) == 0)
				case "io1.fan-run":
					r.Value = tag.BoolValue(dice.IntN(30) > 0)
				default:
					if dice.IntN(3) > 0 {
						value[name] = min(max(value[name]+dice.NormFloat64()*6, 0), 100)
					}
					r.Value, _ = tag.Float32Value(float32(math.Round(value[name]*10) / 10))
				}
				if dice.IntN(60) == 0 {
					r.Quality = tag.BadNoComm
				}
				rs = append(rs, r)
			}
			p.turn(now, rs)
		}
		p.end()
		away := time.Duration(1+dice.IntN(90)) * time.Second
		time.Sleep(away)
		down = time.Duration(p.now().Mono - p.at.Mono)
		if n%3 == 2 { // a boot: the other clock begins anew
			p.shift += p.now().Mono - boot0 - int64(7*time.Second)
			p.boot = fmt.Sprint("b", n)
			down = time.Duration(p.now().Wall - p.at.Wall)
		}
	}
}

// person does something now and then.
func person(p *past, dice *rand.Rand) {
	c := rules.Command{Who: []string{"zhang", "li"}[dice.IntN(2)], Proved: true, Note: "because", Session: "s"}
	switch dice.IntN(40) {
	case 0:
		c.Verb, c.Rule = rules.Ack, []string{"a-gas.high", "worst.high", "GAS.tripped", "running.is"}[dice.IntN(4)]
	case 1, 2:
		c.Verb, c.Rule = rules.Reset, "GAS"
	case 3:
		c.Verb, c.Rule, c.For = rules.Shelve, "a-gas.high", time.Duration(1+dice.IntN(3))*time.Minute
	case 4:
		c.Verb, c.Rule, c.For = rules.Force, "a.gas", time.Duration(5+dice.IntN(60))*time.Second
		c.Value, _ = tag.Float32Value(float32(dice.IntN(100)))
	case 5:
		c.Verb, c.Rule = rules.EndForce, "a.gas"
	case 6:
		c.Verb, c.Rule, c.For = rules.BeginTest, "a", time.Minute
	case 7:
		c.Verb, c.Rule, c.Result = rules.EndTest, "a", rules.Passed
	case 8:
		c.Verb, c.Rule = rules.Remove, []string{"a", "b", "calm.high"}[dice.IntN(3)]
	case 9, 10:
		c.Verb, c.Rule = rules.Restore, []string{"a", "b", "calm.high"}[dice.IntN(3)]
	case 11:
		c.Verb, c.Rule, c.Channel, c.For = rules.Bypass, "GAS", "a.gas", 5*time.Minute
	case 12:
		c.Verb, c.Rule, c.Channel = rules.EndBypass, "GAS", "a.gas"
	case 13:
		c.Verb = rules.Silence
	default:
		return
	}
	var refused *rules.RefusedError
	if err := p.do(c); err != nil && !errors.As(err, &refused) {
		p.t.Fatal(err)
	}
}

// The same rules over a history of which every change was recorded say exactly
// what was said then, at the same instants, through stops and boots.
func TestTheSameRulesSayTheSameAgain(t *testing.T) {
	for seed := range uint64(scale.Of(3)) {
		for _, every := range []string{"1s", "60s"} {
			plan := compile(t, full(every), rulesOf)
			synctest.Test(t, func(t *testing.T) {
				p := newPast(t, plan)
				live(p, seed, 4, 200)
				thinned := func(s said) bool { return s.Rule == "level.high" }
				p.said = slices.DeleteFunc(p.said, thinned)
				var again []said
				rep, err := replay.Watch(replay.Options{Present: plan, New: plan, Source: p.open()}, func(e *rules.Event) {
					again = append(again, said{e.Kind, e.Rule, e.At})
				})
				if err != nil {
					t.Fatal(err)
				}
				again = slices.DeleteFunc(again, thinned)
				atOnce(again)
				atOnce(p.said)
				for i := range max(len(again), len(p.said)) {
					if i >= len(again) || i >= len(p.said) || again[i] != p.said[i] {
						t.Fatalf("seed %d, every %s: event %d of %d and %d:\nsaid  %v\nagain %v", seed, every, i, len(p.said), len(again), at(p.said, i), at(again, i))
					}
				}
				if len(again) < 50 {
					t.Fatalf("seed %d: only %d events: this proves nothing", seed, len(again))
				}
				if rep.Record.Agree < 20 {
					t.Errorf("seed %d: %+v", seed, rep.Record)
				}
				for i := range rep.Rules {
					if r := &rep.Rules[i]; r.Changed() {
						t.Errorf("seed %d: the same rules change %s: %+v", seed, r.Name, r.Differences)
					}
				}
				for _, name := range []string{"a-gas.high", "worst.high", "calm.high", "running.is"} {
					if r := ruleOf(t, rep, name); r.Grade != replay.Exact || r.Changed() {
						t.Errorf("seed %d: %s is %v %+v, %+v", seed, name, r.Grade, r.Why, r.Differences)
					}
				}
				if r := ruleOf(t, rep, "level.high"); r.Grade != replay.Approximate || r.Why[0].Code != "deadband" {
					t.Errorf("seed %d: of a thinned tag %v %+v", seed, r.Grade, r.Why)
				}
			})
		}
	}
}

// atOnce sorts what was said at one instant: which of its readings came first is
// known of those only that were recorded.
func atOnce(list []said) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].At == list[0].At {
			n++
		}
		slices.SortFunc(list[:n], func(a, b said) int { return cmp.Or(strings.Compare(a.Rule, b.Rule), cmp.Compare(a.Kind, b.Kind)) })
		list = list[n:]
	}
}

func at(list []said, i int) []said { return list[max(0, min(i, len(list))-4):min(i+6, len(list))] }

// What the export says is what the journal says.
func TestAnExportReplaysAsItsJournal(t *testing.T) {
	plan := compile(t, full("60s"), rulesOf)
	lower := compile(t, full("60s"), strings.Replace(rulesOf, "at: 50 ppm", "at: 47 ppm", 1))
	synctest.Test(t, func(t *testing.T) {
		p := newPast(t, plan)
		live(p, 5, 3, 100)
		file := filepath.Join(t.TempDir(), "export.jsonl")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := journal.OpenReadOnly(p.dir)
		if err == nil {
			err = history.Export(out, r)
		}
		if err == nil {
			err = errors.Join(r.Close(), out.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		export, err := history.OpenExport(file)
		if err != nil {
			t.Fatal(err)
		}
		a, b := p.replayed(replay.Options{New: lower}), p.replayed(replay.Options{New: lower, Source: export})
		if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Errorf("journal %+v\nexport  %+v", a, b)
		}
		if r := ruleOf(t, a, "a-gas.high"); !r.Changed() || r.Came == 0 || r.New.Standing <= r.Present.Standing {
			t.Errorf("a lower limit: %+v", r)
		}
		if r := ruleOf(t, a, "worst.high"); r.Changed() {
			t.Errorf("a rule that is the same: %+v", r)
		}
	})
}
