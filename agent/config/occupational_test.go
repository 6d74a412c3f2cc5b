package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

const exposureSite = `davy: 1
gateway: {id: GW-1, name: {zh: 甲, en: A}, time_zone: Asia/Shanghai, shifts: [08:00, 20:00]}
links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  d:
    link: plc
    station: 1
    tags:
      nh3: {at: holding 0, type: float32 ABCD, range: 0 to 100 ppm, gas: nh3, text: {zh: 探测器, en: Detector}}
      h2s: {at: holding 2, type: float32 ABCD, range: 0 to 50 mg/m³, gas: h2s}
      t: {at: holding 4, type: float32 ABCD, range: 0 to 200 °C}
      run: {at: coil 0, type: bool}
`

const exposureRules = `computed:
  d.stel: {stel: d.nh3, coverage: 80 %}
  d.twa: {twa: d.nh3, long_shift: 0.5, record: every 10s}
  h2s.mac: {mac: d.h2s, text: {zh: 泵房, en: Pump room}}
  both: {value: d.twa-last + d.stel > 40 ppm}
alarms:
  stel: {watch: d.stel, profile: gbz21/nh3, approved: 2026-03-02 EHS-117}
  twa: {watch: d.twa, profile: gbz21/nh3, approved: 2026-03-02 EHS-117}
  last: {watch: d.twa-last, profile: gbz21/nh3, approved: 2026-03-02 EHS-117}
  mac: {watch: h2s.mac, profile: gbz21/h2s, approved: 2026-03-02 EHS-117}
  highest: {watch: d.stel-highest, profile: gbz21/nh3, approved: 2026-03-02 EHS-117, high-high: {at: 40 ppm}}
  seen: {watch: d.twa-seen, low: {at: 75 %, priority: low, text: {zh: 覆盖不足, en: Too little was seen}}}
`

func exposureBundle(site, rules string) *Bundle {
	return putProfiles(bundleOf(site, rules), gasFile, "gbz21")
}

func TestExposure(t *testing.T) {
	plan, problems := Compile(exposureBundle(exposureSite, exposureRules), testSet())
	if plan == nil || len(problems) > 0 {
		t.Fatal(codes(problems))
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range plan.Rules.Computed {
		i := x.Tag
		tg := plan.Tags[i]
		s := fmt.Sprintf("%s = %s | %s | %s", tg.Name, x.Program, tg.Unit, tg.Text.En)
		if tg.Ranged {
			s += fmt.Sprintf(" | %v to %v", tg.Low, tg.High)
		}
		got = append(got, fmt.Sprintf("%s | %s %v", s, tg.Record.Every, tg.Record.Change))
	}
	want := []string{
		"d.stel = stel(d.nh3, 80 %) | ppm | Detector: 15 min mean (STEL) | 0 to 100 | 1m0s 0",
		"d.stel-highest = shift_max(d.stel) | ppm | Detector: highest 15 min mean of the shift | 0 to 100 | 1m0s 0.5",
		"d.stel-last = shift_max_last(d.stel, 80 %) | ppm | Detector: highest 15 min mean of the last shift | 0 to 100 | 1m0s 0",
		"d.twa = twa(d.nh3) | ppm | Detector: 8 h TWA, shift so far | 10s 0",
		"d.twa-last = twa_last(d.nh3) | ppm | Detector: 8 h TWA of the last shift | 1m0s 0",
		"d.twa-seen = shift_seen(d.nh3) | % | Detector: part of the shift that is seen | 0 to 100 | 1m0s 0.5",
		"h2s.mac = shift_max(d.h2s) | mg/m³ | Pump room: highest of the shift (MAC) | 0 to 50 | 1m0s 0.25",
		"h2s.mac-last = shift_max_last(d.h2s) | mg/m³ | Pump room: highest of the last shift | 0 to 50 | 1m0s 0",
		"h2s.mac-seen = shift_seen(d.h2s) | % | Pump room: part of the shift that is seen | 0 to 100 | 1m0s 0.25",
		"both = d.twa-last + d.stel > 40 ppm |  | both | 1m0s 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	limits := map[string]float64{}
	for _, a := range plan.Rules.Alarms {
		if !a.Agent && !a.NotWatched {
			limits[a.Name] = a.Cond.Limit
		}
	}
	// 30 and 20 mg/m³ of ammonia are 42.4 and 28.2 ppm; half of the second in long shifts, and of that half again.
	for name, want := range map[string]float64{
		"stel.high-high": 42, "twa.high": 7, "twa.high-high": 14, "last.high": 7, "last.high-high": 14, "mac.high-high": 10, "highest.high-high": 40, "seen.low": 75,
	} {
		if limits[name] != want {
			t.Errorf("%s is at %v, want %v", name, limits[name], want)
		}
		delete(limits, name)
	}
	if len(limits) > 0 {
		t.Errorf("more alarms: %v", limits)
	}
	i := slices.IndexFunc(plan.Profiles, func(b Basis) bool { return b.Alarm == "twa" })
	if l := plan.Profiles[i].Limits[0]; l.Written != "20 mg/m³ × 0.5 × 50 %" || l.Mark != "memory" || l.Sources != "houwei gbz2-2002 handbook" || math.Abs(l.Exact-7.06) > 0.01 {
		t.Errorf("%+v", l)
	}
	// Of a whole shift nothing can be known before one is over.
	for _, a := range plan.Rules.Alarms {
		if want := map[string]time.Duration{"d.twa-last.not-watched": 13*time.Hour + 10*time.Second, "d.twa.not-watched": 25 * time.Second, "d.stel.not-watched": 15*time.Minute + 10*time.Second}[a.Name]; want != 0 && a.OnDelay != want {
			t.Errorf("%s after %s, want %s", a.Name, a.OnDelay, want)
		}
	}
}

// Without shifts a mean of 15 minutes is all there is.
func TestExposureWithoutShifts(t *testing.T) {
	site := strings.Replace(exposureSite, ", shifts: [08:00, 20:00]", "", 1)
	plan, problems := Compile(exposureBundle(site, "computed: {d.stel: {stel: d.nh3}}\n"), testSet())
	if plan == nil || len(problems) > 0 || len(plan.Rules.Computed) != 1 {
		t.Fatal(codes(problems))
	}
}

// What people get wrong; « is where it is said.
func TestExposureProblems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"[08:00, 20:00]", "«[]", "shifts-number"},
		{"[08:00, 20:00]", "[08:00, «24:00]", "bad-form"},
		{"[08:00, 20:00]", "[08:00, «8:00]", "shift-twice"},
		{"[08:00, 20:00]", "«{a: 08:00}", "not-a-list"},
		{"time_zone: Asia/Shanghai, shifts: [", "shifts: «[", "shifts-no-zone"},
		{"Asia/Shanghai", "«Asia/Shangrila", "bad-time-zone"},
		{", shifts: [08:00, 20:00]", "", "expr-no-shifts; expr-no-shifts; unknown-tag"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: d.nh3, coverage: «0 %}", "expr-coverage"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: d.nh3, coverage: «80}", "expr-coverage"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: d.nh3, twa: «d.nh3}", "exposure-words"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: «d.nh4}", "unknown-tag"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: «d.t}", "expr-concentration"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: «d.run}", "expr-needs-number"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: d.nh3, long_shift: «0.5}", "long-shift-word"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: d.nh3, «range: 0 to 5 ppm}", "unknown-field"},
		{"long_shift: 0.5", "long_shift: «1.5", "out-of-bounds"},
		{", long_shift: 0.5", "", "warning long-shift; warning long-shift"},
		{"{watch: h2s.mac, profile: gbz21/h2s", "{watch: h2s.mac, profile: «gbz21/so2", "exposure-no-limit"},
		{"{watch: h2s.mac, profile: gbz21/h2s", "{watch: h2s.mac, profile: «gbz21/cl2", "gas-differs"},
		{"  both: {value: d.twa-last + d.stel > 40 ppm}", "  «d.twa-last: {value: d.nh3}", "name-taken"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: x}\n  «x: {value: d.stel + 1 ppm}", "computed-circle"},
		{"{stel: d.nh3, coverage: 80 %}", "{stel: «d.stel}", "computed-circle"},
	} {
		text := exposureSite + "---\n" + exposureRules
		if strings.Count(text, x.from) == 0 {
			t.Fatalf("%q does not stand there", x.from)
		}
		site, rulesFile, _ := strings.Cut(strings.Replace(text, x.from, strings.Replace(x.to, "«", "", 1), 1), "---\n")
		_, problems := Compile(exposureBundle(site, rulesFile), testSet())
		var got []string
		for _, p := range problems {
			s := p.Code
			if p.Warn {
				s = "warning " + s
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != x.want {
			t.Errorf("%s: %v, want %s", x.to, codes(problems), x.want)
			continue
		}
		if i := strings.Index(x.to, "«"); i >= 0 && len(problems) == 1 {
			at := strings.Index(strings.Replace(text, x.from, x.to, 1), "«")
			before, col := strings.Replace(text, x.from, x.to, 1)[:at], 0
			col = len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
			if problems[0].Place.Col != col && x.want != "computed-circle" {
				t.Errorf("%s: at %s, want column %d", x.to, problems[0].Place, col)
			}
		}
	}
}

// A site's own story of a shift: it starts when it says, on the clock of the site.
func TestAStoryOfAShift(t *testing.T) {
	const stories = `tests:
  - name: {zh: 一班, en: a shift}
    starts: 2026-01-05 07:30
    story:
      - at: 0s
        set: {d.nh3: 8 ppm, d.h2s: 3 mg/m³}
      - at: 30min
        expect: {d.twa: 0 ppm, d.twa-seen: 100 %, d.stel: 8 ppm, twa.high: normal}
      - at: 450min
        expect: {d.twa: 7 ppm, twa.high: unacked, twa.high-high: normal, stel.high-high: normal}
        set: {d.nh3: 80 ppm, d.h2s: 11 mg/m³}
      - at: 451min
        set: {d.nh3: 8 ppm, d.h2s: 3 mg/m³}
        expect: {mac.high-high: unacked, stel.high-high: normal}
      - at: 500min
        set: {d.nh3: 50 ppm}
      - at: 512min
        expect: {stel.high-high: normal, mac.high-high: unacked}
      - at: 514min
        expect: {stel.high-high: unacked, twa.high-high: normal}
      - at: 560min
        expect: {twa.high-high: unacked, d.h2s: 3 mg/m³}
        set: {d.nh3: bad}
      - at: 749min
        expect: {twa.high-high: unacked, d.twa: uncertain, stel.high-high: unacked}
      - at: 751min
        expect: {d.twa: bad, twa.high-high: unacked, mac.high-high: returned, d.twa-last: bad, h2s.mac-last: 11 mg/m³}
      - at: 752min
        set: {d.nh3: 2 ppm}
        expect: {d.twa: uncertain, twa.high-high: returned, last.high-high: normal}
`
	plan, problems := Compile(exposureBundle(exposureSite, exposureRules+stories), testSet())
	if plan == nil {
		for _, p := range problems {
			t.Log(p.Code, p.Place, p.Args)
		}
		t.FailNow()
	}
	begin := time.Now()
	r := ruletest.Run(plan.Rules, plan.Stories[0], nil)
	for _, f := range r.Failures {
		t.Errorf("%s %s %v", f.Where, f.Code, f.Args)
	}
	t.Logf("%d steps in %s", r.Steps, time.Since(begin))
	if want, _ := time.Parse(time.RFC3339, "2026-01-05T07:30:00+08:00"); plan.Stories[0].Start != want.UnixNano() {
		t.Errorf("it starts at %d", plan.Stories[0].Start)
	}
	for _, x := range []struct{ text, want string }{{"tomorrow", "bad-form"}, {"2026-13-05 07:30", "bad-form"}, {"1926-01-05 07:30", "bad-form"}, {"2026-01-05 07:30:15", ""}} {
		_, problems := Compile(exposureBundle(exposureSite, exposureRules+strings.Replace(stories, "2026-01-05 07:30", x.text, 1)), testSet())
		if got := strings.Join(codes(problems), "; "); !strings.HasPrefix(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%s: %s, want %s", x.text, got, x.want)
		}
	}
}

// What many tags of a shift keep fits the latch file beside the windows.
func TestShiftValuesAreBounded(t *testing.T) {
	text := "computed:\n"
	for i := range 1 + MaxShiftValues/3 {
		text += fmt.Sprintf("  twa-of-a-place-with-a-name-%d: {twa: d.nh3}\n", i)
	}
	_, problems := Compile(exposureBundle(exposureSite, text), testSet())
	if got := codes(problems); len(got) != 1 || !strings.HasPrefix(got[0], "too-many-shift-values") {
		t.Fatal(got)
	}
	text = text[:strings.LastIndex(text[:len(text)-1], "\n")+1]
	plan, problems := Compile(exposureBundle(exposureSite, text), testSet())
	if plan == nil {
		t.Fatal(codes(problems))
	}
	e, err := rules.New(plan.Rules)
	if err != nil {
		t.Fatal(err)
	}
	img, now := rules.NewImage(plan.Rules), tag.Stamp{Wall: 1_770_000_000_000_000_000, Mono: 1}
	var out rules.Outcome
	rules.Step(e, img, now, &out)
	now.Wall, now.Mono = now.Wall+int64(48*time.Hour), now.Mono+int64(48*time.Hour)
	before := len(e.Snapshot(nil, now))
	plan.Rules.Computed = nil
	bare, err := rules.New(plan.Rules)
	if err != nil {
		t.Fatal(err)
	}
	if n := before - len(bare.Snapshot(nil, now)); n > 512<<10/5 {
		t.Errorf("%d shift values take %d bytes of a snapshot", MaxShiftValues, n)
	} else {
		t.Logf("%d bytes each", n/MaxShiftValues)
	}
}
