package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/rules"
)

const permitRules = `interlocks:
  L:
    text: {zh: 联锁, en: Interlock}
    trip_when: 1 of 3
    channels:
      - d.a >= 60 ppm
      - d.b >= 60 ppm
      - {when: d.run = no, manual: yes}
    bypass: one channel, engineer or ehs and shift-leader, longest 8h, then alarm only
    arm_when: d.t > 50 °C and d.mode = casting
    arm_due: d.mode = casting for 10min
    reset_when: d.t < 60 °C
    then: [{demand: fan, run_on: 10min}]
    reset: by operator
`

const permitOutputs = `    proof: d.run = yes within 10s
    escalate: [horn]
  horn: {drives: d coil 8, idle: stop, protective: run, davy_dead: stays, link_lost: stays, after_restart: as it was, text: {zh: 警笛, en: Horn}}
`

func permitSite() string {
	site := strings.Replace(computedSite, "may_write: [coil 9]", "may_write: [coil 8, coil 9]", 1)
	fan := "  fan:\n    drives: d coil 9\n    idle: stop\n    protective: run\n    davy_dead: stays\n    link_lost: stays\n    after_restart: as it was\n"
	return site[:strings.Index(site, "  fan:")] + fan + permitOutputs
}

func TestPermitsAndArming(t *testing.T) {
	plan, problems := Compile(putProfiles(bundleOf(permitSite(), permitRules), gasFile), testSet())
	if plan == nil {
		t.Fatal(codes(problems))
	}
	// Nobody can be proved on a site without people: said once.
	if n := len(slices.DeleteFunc(codes(problems), func(s string) bool { return !strings.Contains(s, "permit-without-people") })); n != 1 {
		t.Errorf("%v", codes(problems))
	}
	l := plan.Rules.Interlocks[0]
	want := rules.Permit{Roles: []string{"engineer", "ehs"}, Second: []string{"shift-leader"}, AtMost: 8 * time.Hour, AlarmOnly: true}
	if !reflect.DeepEqual(l.Bypass, want) {
		t.Errorf("%+v", l.Bypass)
	}
	name := func(c rules.Condition) string { return string(plan.Tags[c.Tag].Name) }
	if name(l.Arm) != "L.arm" || name(l.ArmDue) != "d.mode" || l.ArmWithin != 10*time.Minute || name(l.ResetWhen) != "d.t" || l.ResetWhen.Limit != 60 {
		t.Errorf("%+v", l)
	}
	if l.Channels[1].Manual || !l.Channels[2].Manual || l.Demands[0].RunOn != 10*time.Minute || !slices.Equal(plan.Rules.Outputs[0].Escalate, []string{"horn"}) {
		t.Errorf("%+v %+v", l, plan.Rules.Outputs)
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Error(err)
	}
}

func TestPermitProblems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"one channel, engineer or ehs and shift-leader, longest 8h, then alarm only", "«two channels", "bad-form"},
		{"engineer or ehs", "«enginer", "bad-word"},
		{"longest 8h", "longest «80h", "out-of-bounds"},
		{"longest 8h, then alarm only", "longest 8h, «then return", "unexpected"},
		{"arm_when: d.t > 50 °C and d.mode = casting", "degraded: no alarm", "arm-due-alone"},
		{"casting for 10min", "casting", "bad-form"},
		{"casting for 10min", "casting for «10 m", ""},
		{"d.t < 60 °C", "d.t < «60 kPa", "unit-differs"},
		{"manual: yes", "manual: «perhaps", "bad-word"},
	} {
		text, place := edit(t, RulesFile, permitRules, x.from, x.to)
		_, problems := Compile(putProfiles(bundleOf(permitSite(), text), gasFile), testSet())
		var found []string
		for _, p := range problems {
			if !p.Warn {
				found = append(found, p.Code)
			}
		}
		if len(found) != 1 || x.want != "" && found[0] != x.want {
			t.Errorf("%s → %s: %v, want %s at %v", x.from, x.to, codes(problems), x.want, place)
		}
	}
	site := strings.Replace(permitSite(), "  horn: {", "  horn: {proof: d.run = yes within 10s, escalate: [fan], ", 1)
	if _, problems := Compile(putProfiles(bundleOf(site, permitRules), gasFile), testSet()); !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == "escalate-circle" }) {
		t.Errorf("%v", codes(problems))
	}
	site = strings.Replace(permitSite(), "    proof: d.run = yes within 10s\n", "", 1)
	if _, problems := Compile(putProfiles(bundleOf(site, permitRules), gasFile), testSet()); !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == "escalate-unproved" }) {
		t.Errorf("%v", codes(problems))
	}
}

func TestDevicePermits(t *testing.T) {
	site := strings.Replace(permitSite(), "    station: 1\n", "    station: 1\n    text: {zh: 探头, en: Detector}\n    force: engineer, longest 30min\n    test: technician or engineer, longest 2h\n    test_every: 90d\n", 1)
	text := strings.Replace(permitRules, "    then:", "    test: engineer, longest 4h\n    test_every: 365d\n    then:", 1)
	plan, problems := Compile(putProfiles(bundleOf(site, text), gasFile), testSet())
	if plan == nil {
		t.Fatal(codes(problems))
	}
	want := rules.Device{
		Name: "d", Text: rules.Text{Zh: "探头", En: "Detector"}, TestEvery: 90 * 24 * time.Hour,
		Force: rules.Permit{Roles: []string{"engineer"}, AtMost: 30 * time.Minute}, Test: rules.Permit{Roles: []string{"technician", "engineer"}, AtMost: 2 * time.Hour},
	}
	for _, x := range plan.Tags[1:] {
		if x.Link >= 0 { // what it reads of its outputs, too
			want.Tags = append(want.Tags, x.ID)
		}
	}
	l := plan.Rules.Interlocks[0]
	if got := plan.Rules.Devices; len(got) != 1 || !reflect.DeepEqual(got[0], want) || l.Test.AtMost != 4*time.Hour || l.TestEvery != 365*24*time.Hour {
		t.Errorf("%+v, %+v", got, l)
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Error(err)
	}
	for _, x := range []struct{ from, to, want string }{
		{"longest 30min", "longest 2h", "out-of-bounds"},
		{"force: engineer", "force: engineer and ehs", "permit-of-one"},
		{"test_every: 90d", "test_every: 1h", "out-of-bounds"},
	} {
		_, problems := Compile(putProfiles(bundleOf(strings.Replace(site, x.from, x.to, 1), text), gasFile), testSet())
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == x.want && p.Place.File == SiteFile }) {
			t.Errorf("%s: %v", x.to, codes(problems))
		}
	}
	_, problems = Compile(putProfiles(bundleOf(site, strings.Replace(text, "  L:", "  d:", 1)), gasFile), testSet())
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == "name-taken" }) {
		t.Errorf("%v", codes(problems))
	}
}
