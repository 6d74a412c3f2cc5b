package config

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
	"davy/test/scale"
)

func alarmNamed(t *testing.T, p *Plan, name string) rules.Alarm {
	t.Helper()
	i := slices.IndexFunc(p.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == name })
	if i < 0 {
		t.Fatalf("no alarm %s", name)
	}
	return p.Rules.Alarms[i]
}

// What a site with profiles becomes, and what `davy check` prints of it in
// both languages.
func TestProfiledSite(t *testing.T) {
	b, plan, problems := readDir(t, "profiles")
	want := []string{"warning not-approved rules.yaml:17:32", "warning looser-than-profile rules.yaml:17:64"}
	if got := codes(problems); !slices.Equal(got, want) || plan == nil {
		t.Fatalf("got %v", got)
	}
	for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
		var out bytes.Buffer
		if err := problems.Write(&out, lang, b); err != nil {
			t.Fatal(err)
		}
		if err := plan.Report().Write(&out, lang); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "⟨") {
			t.Error("words are missing")
		}
		golden(t, "profiles.report."+string(lang)+".txt", out.String())
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Fatal(err)
	}
	id := func(name tag.Name) tag.ID {
		return tag.ID(slices.IndexFunc(plan.Tags, func(x Tag) bool { return x.Name == name }))
	}
	guide := rules.Text{Zh: "戴呼吸器再进入", En: "Enter with breathing apparatus only"}
	run := rules.Condition{Tag: id("d.run"), Op: rules.EQ}
	for _, want := range []rules.Alarm{
		{ // 20 mg/m³ = 28.25 ppm, down; the deadband is 2 % of 100 ppm
			Name: "nh3.high", Text: rules.Text{Zh: "一号机房：氨浓度一级报警", En: "Machine room 1: Ammonia level 1"}, Guide: guide,
			Cond: rules.Condition{Tag: id("d.nh3"), Op: rules.GE, Limit: 28}, Priority: rules.Medium, Deadband: 2,
			OnDelay: 2 * time.Second, OffDelay: 10 * time.Second, Group: "machine-room", Beyond: "nh3.high-high",
		},
		{
			Name: "nh3.high-high", Text: rules.Text{Zh: "一号机房：氨浓度二级报警", En: "Machine room 1: Ammonia level 2"}, Guide: guide,
			Cond: rules.Condition{Tag: id("d.nh3"), Op: rules.GE, Limit: 56}, Priority: rules.High, Deadband: 2,
			OnDelay: 2 * time.Second, OffDelay: 10 * time.Second, Group: "machine-room", NoShelve: true, LatchOver: true,
		},
		{ // the site's own words go first, the rest is the profile's
			Name: "cl2.high", Text: rules.Text{Zh: "氯气高", En: "Chlorine high"},
			Cond: rules.Condition{Tag: id("d.cl2"), Op: rules.GE, Limit: 0.3}, Priority: rules.Medium, Deadband: 0.02,
			OnDelay: time.Second, OffDelay: 10 * time.Second, Beyond: "cl2.high-high",
		},
		{
			Name: "cl2.high-high", Text: rules.Text{Zh: "氯气浓度二级报警", En: "Chlorine level 2"},
			Cond: rules.Condition{Tag: id("d.cl2"), Op: rules.GE, Limit: 0.67}, Priority: rules.High, Deadband: 0.02,
			OffDelay: 10 * time.Second, NoShelve: true, LatchOver: true,
		},
		{ // not watched for another reason than those that have their own
			Name: "d.nh3.not-watched", Text: rules.Text{Zh: "d.nh3 失去监视（一号机房）", En: "d.nh3 is not watched (Machine room 1)"},
			Cond: rules.Condition{Tag: id("d.nh3")}, Priority: rules.High, OnDelay: 10 * time.Second, NotWatched: true, Except: rules.WarmingUp | rules.InTest,
		},
		{
			Name: "d.nh3.not-ready", Text: rules.Text{Zh: "d.nh3 未就绪：预热时间过长（一号机房）", En: "d.nh3 is not ready: it warms up too long (Machine room 1)"},
			Cond: rules.Condition{Tag: id("d.nh3")}, Priority: rules.High, OnDelay: 5 * time.Minute, NotWatched: true, Only: rules.WarmingUp,
		},
		{
			Name: "d.nh3.in-test", Text: rules.Text{Zh: "d.nh3 处于标定或试验状态时间过长（一号机房）", En: "d.nh3 is in test too long (Machine room 1)"},
			Cond: rules.Condition{Tag: id("d.nh3")}, Priority: rules.High, OnDelay: time.Hour, NotWatched: true, Only: rules.InTest,
		},
		{ // no profile, no states of its own
			Name: "d.t.not-watched", Text: rules.Text{Zh: "d.t 失去监视", En: "d.t is not watched"},
			Cond: rules.Condition{Tag: id("d.t")}, Priority: rules.High, OnDelay: 10 * time.Second, NotWatched: true,
		},
		{ // oxygen in its own unit is taken as it is
			Name: "o2.low", Text: rules.Text{Zh: "氧气浓度欠氧报警", En: "Oxygen deficiency"},
			Cond: rules.Condition{Tag: id("d.o2"), Op: rules.LE, Limit: 19.5}, Priority: rules.High, Deadband: 0.5,
			OnDelay: 2 * time.Second, OffDelay: 10 * time.Second, NoShelve: true,
		},
		{
			Name: "p.high", Text: rules.Text{Zh: "压力高", En: "High pressure"},
			Cond: rules.Condition{Tag: id("d.p"), Op: rules.GE, Limit: 1600}, Priority: rules.High, Deadband: 30,
			OnDelay: 15 * time.Second, OffDelay: 15 * time.Second, ShelveAtMost: 4 * time.Hour, Realarm: 30 * time.Minute, Suppress: run,
			Modes: []rules.Mode{
				{Name: "start", When: run, Limit: 1800},
				{Name: "service", When: rules.Condition{Tag: id("d.t"), Op: rules.LT}, Limit: 1600, Off: true},
			},
		},
		{ // 131 °F are 55 °C, and a difference of 2 K is one of 2 °C
			Name: "t.high", Text: rules.Text{Zh: "温度高", En: "High temperature"},
			Cond: rules.Condition{Tag: id("d.t"), Op: rules.GE, Limit: 55}, Priority: rules.High, Deadband: 2, AutoAck: true, NoShelve: true,
		},
	} {
		got := alarmNamed(t, plan, want.Name)
		if got.Cond.Limit > want.Cond.Limit-1e-9 && got.Cond.Limit < want.Cond.Limit+1e-9 {
			got.Cond.Limit = want.Cond.Limit
		}
		if !equalAlarms(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	for name, want := range map[tag.Name]bool{"d.nh3": true, "d.cl2": true, "d.lel": true, "d.o2": true, "d.p": false} {
		if got := plan.Rules.Tags[id(name)].OverRange; got != want {
			t.Errorf("%s above its range counts: %v", name, got)
		}
	}
	if list := plan.Unapproved(); len(list) != 1 || list[0].Alarm != "lel" || plan.Conditions[NotApproved] == 0 {
		t.Errorf("not approved: %+v, condition %d", list, plan.Conditions[NotApproved])
	}
	if a := alarmNamed(t, plan, "mass.high"); a.Cond.Limit != 17 { // 25 ppm = 17.7 mg/m³
		t.Errorf("25 ppm on an instrument in mg/m³: %g", a.Cond.Limit)
	}
	if a := alarmNamed(t, plan, "current.low-low"); a.Cond.Limit != 3.6 || a.Beyond != "" || alarmNamed(t, plan, "current.low").Beyond != a.Name {
		t.Errorf("%+v", a)
	}
}

func equalAlarms(a, b rules.Alarm) bool {
	if !slices.Equal(a.Modes, b.Modes) {
		return false
	}
	a.Modes, b.Modes = nil, nil
	return a.Name == b.Name && a.Text == b.Text && a.Guide == b.Guide && a.Cond == b.Cond && a.Priority == b.Priority && a.Deadband == b.Deadband &&
		a.OnDelay == b.OnDelay && a.OffDelay == b.OffDelay && a.Latch == b.Latch && a.AutoAck == b.AutoAck && a.Realarm == b.Realarm &&
		a.Group == b.Group && a.NoShelve == b.NoShelve && a.ShelveAtMost == b.ShelveAtMost && a.Suppress == b.Suppress && a.Beyond == b.Beyond && a.NotWatched == b.NotWatched &&
		a.LatchOver == b.LatchOver && a.Except == b.Except && a.Only == b.Only
}

// What people get wrong with profiles, units and the fields of an alarm: each
// its own code at its place, and nothing beside it.
func TestProfileMistakes(t *testing.T) {
	good, plan, _ := readDir(t, "profiles")
	if plan == nil {
		t.Fatal("the site does not compile")
	}
	const nh3 = "profile: gb50493/nh3\n"
	for _, x := range []struct{ file, from, to, want string }{
		{RulesFile, nh3, "profile: «gb50493/nh4\n", "unknown-profile"},
		{RulesFile, nh3, "profile: «gb50439/nh3\n", "unknown-profile"},
		{RulesFile, nh3, "profile: «ammonia\n", "bad-form"},
		{RulesFile, nh3, "profile: «gb50493/cl2\n", ""}, // the tag names no gas: the profile's is meant
		{RulesFile, "profile: gb50493/cl2", "profile: «gb50493/nh3", "gas-differs"},
		{RulesFile, nh3, "profile: gbz21/nh3\n", "alarm-no-limit"},
		{RulesFile, nh3, "profile: «ammonia/en378\n", "profile-outside-range"},
		{RulesFile, nh3, "profile: «gb50493/combustible\n", "unit-needs-gas"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    high: {at: «40 ppm}\n", "warning looser-than-profile"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    high: {at: «60 ppm}\n", "limit-order warning looser-than-profile"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    high: {at: «120 ppm}\n", "limit-outside-range"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    high-high: {shelve: «yes}\n", "shelve-forbidden"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    high-high: {over_range: «no}\n", "over-range-forbidden"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    auto_ack: «yes\n", "latch-auto-ack"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    test_within: «48h\n", "out-of-bounds"},
		{RulesFile, nh3, "profile: gb50493/nh3\n    ready_within: «1s\n", "out-of-bounds"},
		{RulesFile, "high: {at: 131 °F,", "low: {at: 3 °C, priority: low, text: x, over_range: «yes}\n    high: {at: 131 °F,", "over-range-low"},
		{RulesFile, "2026-03-02 EHS-117\n    group", "«2026-02-30 EHS-117\n    group", "bad-approval"},
		{RulesFile, "2026-03-02 EHS-117\n    group", "«2026-03-02\n    group", "bad-approval"},
		{RulesFile, "2026-03-02 EHS-117\n    group", "«Zhang San\n    group", "bad-approval"},
		{RulesFile, "    approved: 2026-03-02 EHS-117\n    group", "    group", "warning not-approved"},
		{RulesFile, "group: machine-room", "group: «machine room", "bad-name"},
		{RulesFile, "guide: {zh", "guidance: {zh", "unknown-field"},
		{RulesFile, "auto_ack: yes", "auto_ack: «yes\n    latch: yes", "latch-auto-ack"},
		{RulesFile, "auto_ack: yes", "auto_ack: «maybe", "bad-word"},
		{RulesFile, "shelve: at most 4h", "shelve: «at most 48h", "out-of-bounds"},
		{RulesFile, "shelve: at most 4h", "shelve: «for 4h", "bad-word"},
		{RulesFile, "shelve: at most 4h", "shelve: at most «4", "bad-duration"},
		{RulesFile, "realarm_after: 30min", "realarm_after: «5s", "out-of-bounds"},
		{RulesFile, "suppress_when: d.run = no", "suppress_when: «d.rum = no", "unknown-tag"},
		{RulesFile, "suppress_when: d.run = no", "suppress_when: «d.run no", "bad-form"},
		{RulesFile, "start: {when: d.run = no, high", "start: «{high", "missing-field"},
		{RulesFile, "high: 1.8 MPa", "high: «2.8 MPa", "limit-outside-range"},
		{RulesFile, "high: 1.8 MPa", "high: 1.8 «°C", "unit-differs"},
		{RulesFile, "high: 1.8 MPa", "high-high: «1.8 MPa", "mode-no-limit"},
		{RulesFile, "high: {at: 1.6 MPa", "low: {at: 1.7 MPa, priority: low, text: x}\n    high: {at: 1.75 MPa", ""},
		{RulesFile, "d.lel\n    high: {at: 1 %VOL", "d.sum\n    high: {at: 1 «mg/m³", "gas-no-molar"},
		{RulesFile, "at: 1.6 MPa", "at: 1.6 «MPa(g)", "unit-differs"},
		{RulesFile, "  t:\n    watch: d.t\n", "  r: {watch: d.run, is: {at: no, priority: low, text: x}, modes: {m: {when: d.t < 0 °C, is: «yes}}}\n  t:\n    watch: d.t\n", "bad-word"},
		{RulesFile, "  t:\n    watch: d.t\n", "  r: {watch: d.run, is: {at: no, priority: low, text: x}, modes: {m: {when: d.t < 0 °C, is: off}}}\n  t:\n    watch: d.t\n", ""},
		{RulesFile, "deadband: 2 K", "deadband: 2 «MPa", "unit-differs"},
		{RulesFile, "deadband: 0.03 MPa", "deadband: «3 MPa", "deadband-too-big"},
		{SiteFile, "gas: cl2}", "gas: «cl3}", "unknown-gas"},
		{SiteFile, "gas: ch4, lel iec", "gas: ch4, lel «din", "unknown-lel"},
		{SiteFile, "gas: ch4, lel iec", "gas: ch4 «iec", "bad-form"},
		{SiteFile, "gas: ch4, lel iec", "gas: ch4", "gas-lel-which"},
	} {
		b := &Bundle{Files: slices.Clone(good.Files)}
		data, _ := b.File(x.file)
		text, at := edit(t, x.file, string(data), x.from, x.to)
		b.Put(x.file, []byte(text))
		putProfiles(b, "gbz21")
		_, problems := Compile(b, testSet())
		problems = slices.DeleteFunc(problems, func(p Problem) bool { // the good site's own
			return p.Warn && (p.Code == "not-approved" || p.Code == "looser-than-profile") && p.Args["profile"] == "gb50493/combustible"
		})
		var want []string
		if x.want != "" {
			want = strings.Split(strings.ReplaceAll(x.want, "warning ", "warning-"), " ")
		}
		got, found := marked(problems, at)
		slices.Sort(want)
		if !slices.Equal(got, want) || !found && len(want) > 0 {
			t.Errorf("%q → %q:\n got %v\nwant %s at %s", x.from, x.to, codes(problems), x.want, at)
		}
	}
}

// Any few changes of a site with profiles, or of the profiles, give a plan that
// the engine takes, or problems that can be shown; never a panic.
func TestProfileMutants(t *testing.T) {
	good, _, _ := readDir(t, "profiles")
	plans, n := 0, scale.Of(300)
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := &Bundle{Files: slices.Clone(good.Files)}
		f := &b.Files[r.IntN(len(b.Files))]
		f.Data = []byte(mutant(r, string(f.Data)))
		plan, problems := compileOrTell(t, seed, b)
		if (plan == nil) == problems.OK() {
			t.Fatalf("seed %d: plan %v, problems %v", seed, plan != nil, codes(problems))
		}
		if plan == nil {
			continue
		}
		plans++
		if _, err := rules.New(plan.Rules); err != nil {
			t.Fatalf("seed %d: the engine refuses: %v", seed, err)
		}
		if err := plan.Report().Write(io.Discard, i18n.Zh); err != nil {
			t.Fatal(err)
		}
	}
	if plans == 0 || plans > n*9/10 {
		t.Errorf("%d of %d mutants compile: the test no longer tests both", plans, n)
	}
}

// The remedy for an instrument that cannot measure the limit is the rule of
// 5 % IDLH, with its figures, where that fits; else another instrument.
func TestInstrumentTooSmall(t *testing.T) {
	good, _, _ := readDir(t, "profiles")
	for profile, want := range map[string]string{
		"gb50493/hcn": "5 % of the IDLH of 56 mg/m³: high: {at: 2.4 ppm}", // 1 mg/m³ is 0.89 ppm, below 1.5 to 30 ppm
		"gb50493/cl2": "5 % of the IDLH of 88 mg/m³: high: {at: 1.4 ppm}",
		"gb50493/co2": "take an instrument with a range that holds it",
	} {
		b := &Bundle{Files: slices.Clone(good.Files)}
		r := "1.5 to 30 ppm"
		if strings.HasSuffix(profile, "cl2") {
			r = "1 to 30 ppm"
		}
		site, _ := b.File(SiteFile)
		b.Put(SiteFile, []byte(strings.Replace(string(site), "1.5 to 30 ppm", r, 1)))
		b.Put(RulesFile, []byte("alarms: {x: {watch: d.hcn, profile: "+profile+", approved: 2026-03-02 E-1}}"))
		_, problems := Compile(b, testSet())
		if len(problems) == 0 || problems[0].Code != "profile-outside-range" || !strings.Contains(problems[0].Remedy(i18n.En), want) {
			t.Errorf("%s: %v", profile, codes(problems))
			for _, p := range problems {
				t.Log(p.Text(i18n.En), p.Remedy(i18n.En))
			}
		}
	}
}

// The alarms of oxygen end in ordinary air, whatever the range of the instrument:
// one that never ends is one that nobody looks at.
func TestOxygenEndsInAir(t *testing.T) {
	good, _, _ := readDir(t, "profiles")
	site, _ := good.File(SiteFile)
	for r, air := range map[string]float64{
		"0 to 25 %VOL": 20.9, "0 to 30 %VOL": 20.9, "0 to 100 %VOL": 20.9, "0 to 300000 ppm": 209000, "0 to 1000000 ppm": 209000,
	} {
		b := &Bundle{Files: slices.Clone(good.Files)}
		b.Put(SiteFile, []byte(strings.Replace(string(site), "0 to 30 %VOL", r, 1)))
		b.Put(RulesFile, []byte("alarms: {o2: {watch: d.o2, profile: gb50493/oxygen, approved: 2026-03-02 E-1}}"))
		plan, problems := Compile(b, testSet())
		if plan == nil {
			t.Fatalf("%s: %v", r, codes(problems))
		}
		low, high := alarmNamed(t, plan, "o2.low"), alarmNamed(t, plan, "o2.high")
		// A reading a hundredth off is air still.
		if end := low.Cond.Limit + low.Deadband; !(end < air*0.99) || low.Deadband <= 0 {
			t.Errorf("%s: the deficiency ends at %g", r, end)
		}
		if end := high.Cond.Limit - high.Deadband; !(end > air*1.01) {
			t.Errorf("%s: the enrichment ends at %g", r, end)
		}
	}
}

// A proposed deadband as wide as the range would end no alarm; where a high
// limit holds it, it is that much and no more.
func TestProposedDeadbandTooBig(t *testing.T) {
	good, _, _ := readDir(t, "profiles")
	for _, x := range []struct{ profile, deadband, want string }{
		{"oxygen", "30 %VOL", "deadband-too-big"},
		{"oxygen", "100 %", "deadband-too-big"},
		{"low", "100 %", "deadband-too-big"},
		{"low", "99 %", ""},
		{"high", "100 %", ""},
	} {
		own := "title: {zh: 甲, en: A}\nsources: {fit: x}\nlevels:\n  low: {text: {zh: 低, en: low}, priority: high}\n  high: {text: {zh: 高, en: high}, priority: high}\n" +
			"profiles:\n  oxygen: {text: {zh: 氧, en: O}, low: 19 %VOL derived fit, deadband: " + x.deadband + " derived fit}\n" +
			"  low: {text: {zh: 氧, en: O}, low: 19 %VOL derived fit, deadband: " + x.deadband + " derived fit}\n" +
			"  high: {text: {zh: 氧, en: O}, high: 23 %VOL derived fit, deadband: " + x.deadband + " derived fit}\n"
		b := &Bundle{Files: slices.Clone(good.Files)}
		b.Put(profilePath("own"), []byte(own))
		b.Put(RulesFile, []byte("alarms: {o2: {watch: d.o2, profile: own/"+x.profile+", approved: 2026-03-02 E-1}}"))
		_, problems := Compile(b, testSet())
		if got := strings.Join(codes(problems), " "); (x.want == "") != (got == "") || !strings.HasPrefix(got, x.want) {
			t.Errorf("%s, %s: %q, want %q", x.profile, x.deadband, got, x.want)
		}
	}
}

// A profile of the site's own goes before davy's, is part of the plan, and a
// change of either is seen.
func TestOwnProfile(t *testing.T) {
	const own = `davy: 1
title: {zh: 本厂规定, en: Our own rule}
sources: {ehs: EHS-117}
levels: {high: {text: {zh: 报警, en: alarm}, priority: high}}
profiles: {nh3: {gas: nh3, high: 10 mg/m³ verified ehs}}
`
	site, err := os.ReadFile("testdata/profiles/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{
		SiteFile: {Data: site}, "profiles/gb50493.yaml": {Data: []byte(own)},
		RulesFile: {Data: []byte("alarms: {x: {watch: d.nh3, profile: gb50493/nh3, approved: 2026-03-02 E-1}}")},
	}
	b, p := ReadSite(dir, ".", templates())
	plan, q := Compile(b, testSet())
	if plan == nil || len(p.Join(q)) > 0 {
		t.Fatalf("%v", codes(p.Join(q)))
	}
	if a := alarmNamed(t, plan, "x.high"); a.Cond.Limit != 14 || len(plan.Schemes) != 1 || plan.Schemes[0].Title.En != "Our own rule" {
		t.Errorf("%+v %+v", a, plan.Schemes)
	}
	if !b.Same(dir, ".", templates()) {
		t.Error("nothing changed")
	}
	delete(dir, "profiles/gb50493.yaml")
	if b.Same(dir, ".", templates()) {
		t.Error("the site's own profile is gone")
	}
	b, _ = ReadSite(dir, ".", templates())
	if !b.Same(dir, ".", templates()) {
		t.Error("nothing changed with what is borrowed")
	}
	if b.Same(dir, ".", fstest.MapFS{"profiles/gb50493.yaml": {Data: []byte("x")}, "profiles/gases.yaml": {Data: []byte("x")}}) {
		t.Error("davy's profile changed")
	}
}

// What a file of profiles may get wrong, each at its place.
func TestProfileForm(t *testing.T) {
	for _, x := range []struct{ file, from, to, want string }{
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: «20 mg/m³,", "no-source"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: «20 mg/m³ verified,", "no-source"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: «20 verified houwei,", "bad-form"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: 20 mg/m³ «sure houwei,", "bad-word"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: 20 mg/m³ verified «nobody,", "unknown-source"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: «about 20 mg/m³ verified houwei,", "bad-number"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "high: «-20 mg/m³ verified houwei,", "bad-number"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "«hi: 20 mg/m³ verified houwei,", "unknown-field"},
		{"gb50493", "high: 20 mg/m³ verified houwei,", "low-low: «20 mg/m³ verified houwei,", "level-no-words"},
		{"gb50493", "idlh: 360 mg/m³", "idlh: 360 «ppm", "unit-differs"},
		{"gb50493", "nh3: {gas: nh3,", "nh3: {gas: «nh33,", "unknown-gas"},
		{"gb50493", "nh3: {gas: nh3,", "nh3: «{", "missing-field"},
		{"gb50493", "raise_after: 2 s", "raise_after: 2 «min", "unit-differs"},
		{"gb50493", "raise_after: 2 s", "raise_after: «86401 s", "out-of-bounds"},
		{"gb50493", "raise_after: 2 s", "raise_after: 86400 s", ""},
		{"gb50493", "clear_after: 10 s", "clear_after: «1e308 s", "out-of-bounds"},
		{"gb50493", "en: level 1}, priority: medium", "en: level 1}, priority: «urgent", "bad-word"},
		{"gb50493", "{zh: 一级报警, en: level 1}", "«{zh: 一级报警}", "missing-field"},
		{"gb50493", "title:", "«titel:", "missing-field unknown-field"},
		{"gases", "molar: 17.03 g/mol", "molar: 17.03 «mg", "unit-differs"},
		{"gases", "lel: {handbook: 15 %VOL", "lel: {handbook: 15 «%", "unit-differs"},
	} {
		b := putProfiles(&Bundle{}, "gases", "gb50493")
		data, _ := b.File(profilePath(x.file))
		text, at := edit(t, profilePath(x.file), string(data), x.from, x.to)
		b.Put(profilePath(x.file), []byte(text))
		c := newCompiler(b, testSet())
		c.scheme("gb50493")
		c.gases()
		c.problems.tidy()
		got, found := marked(c.problems, at)
		if strings.Join(got, " ") != x.want || !found {
			t.Errorf("%q → %q:\n got %v\nwant %s at %s", x.from, x.to, codes(c.problems), x.want, at)
		}
	}
}

// A template may name the gas of its tag; the site's own word goes before it.
func TestGasOfATemplate(t *testing.T) {
	for own, want := range map[string]float64{"": 100 * 24.0549 / 17.03, "tags: {gas: {gas: cl2}}, ": 100 * 24.0549 / 70.9} {
		dir := fstest.MapFS{
			SiteFile:             {Data: []byte(smallSite + "links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices: {d: {link: plc, station: 1, " + own + "template: v/m}}\n")},
			RulesFile:            {Data: []byte("alarms: {x: {watch: d.gas, high: {at: 100 mg/m³, priority: low, text: x}}}")},
			"templates/v/m.yaml": {Data: []byte("davy: 1\ntags: {gas: {at: holding 0, type: float32 ABCD, range: 0 to 500 ppm, gas: nh3}}\n")},
		}
		b, p := ReadSite(dir, ".", templates())
		plan, q := Compile(b, testSet())
		if plan == nil || len(p.Join(q)) > 0 {
			t.Fatalf("%v", codes(p.Join(q)))
		}
		if a := alarmNamed(t, plan, "x.high"); math.Abs(a.Cond.Limit-want) > 0.01 {
			t.Errorf("%q: %g, want %g", own, a.Cond.Limit, want)
		}
	}
}
