package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"davy/agent/i18n"
)

const hj212Site = `davy: 1
gateway: {id: GW-1, name: {zh: 站, en: Site}, time_zone: Asia/Shanghai}
links:
  l: {modbus-tcp: 192.0.2.1:502}
devices:
  d:
    link: l
    station: 1
    tags:
      nh3: {at: holding 0, type: uint16, range: 0 to 100 ppm, record: every 10s}
      flow: {at: holding 1, type: uint16, range: 0 to 100 %}
      quiet: {at: holding 2, type: uint16, range: 0 to 100 %, record: never}
uplinks:
  eco:
    hj212:
      address: tcp://203.0.113.5:9000
      mn: 010000A8900016F000169DC0
      pw: secret eco-pw
      st: 31
      realtime: 30s
      minute: 10min
      log: unanswered
      resend: 5 after 20s
      settings: agree
      heartbeat: 60s
      factors:
        d.nh3: a21001
        d.flow: {code: w00000, decimals: 1, total: 0.001}
`

func TestHJ212Words(t *testing.T) {
	f := func(from, to string, change func(*HJ212), warnings ...string) {
		t.Helper()
		want := &HJ212{
			Address: "203.0.113.5:9000", MN: "010000A8900016F000169DC0", ST: "31", PW: "eco-pw", Edition: 2017, Realtime: 30 * time.Second, Minute: 10 * time.Minute,
			Hour: true, Day: true, Log: "unanswered", OverTime: 20 * time.Second, ReCount: 5, Agree: true, Beat: time.Minute, BeatCN: 9015,
			Factors: []HJ212Factor{{"d.nh3", "a21001", 2, 0, 10 * time.Second}, {"d.flow", "w00000", 1, 0.001, time.Minute}},
		}
		change(want)
		plan, problems := Compile(bundleOf(strings.Replace(hj212Site, from, to, 1), ""), testSet())
		var warned []string
		for _, p := range problems {
			if strings.HasPrefix(p.Code, "hj212") || strings.HasPrefix(p.Code, "uplink") {
				warned = append(warned, p.Code)
			}
		}
		if plan == nil || !reflect.DeepEqual(warned, warnings) {
			t.Errorf("%s: %v, want %v", to, codes(problems), warnings)
			return
		}
		u := plan.Uplinks[0]
		if u.Kind != UplinkHJ212 || u.MustConfirm || !reflect.DeepEqual(u.HJ212, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", to, u.HJ212, want)
		}
		if len(plan.Secrets) != 1 || plan.Secrets[0].Name != "eco-pw" {
			t.Errorf("secrets %v", plan.Secrets)
		}
	}
	f("", "", func(*HJ212) {})
	f("minute: 10min", "hour: no", func(h *HJ212) { h.Minute, h.Hour, h.Day = 0, false, false })
	f("minute: 10min", "minute: 10min\n      day: no", func(h *HJ212) { h.Day = false })
	f("st: 31", "st: 32", func(h *HJ212) { h.ST, h.AnyBad = "32", true })
	f("st: 31", "st: 32\n      flag: three quarters", func(h *HJ212) { h.ST = "32" })
	f("st: 31", "st: 31\n      flag: any abnormal", func(h *HJ212) { h.AnyBad = true })
	f("heartbeat: 60s", "heartbeat: 30s as 9016", func(h *HJ212) { h.Beat, h.BeatCN = 30*time.Second, 9016 })
	f("resend: 5 after 20s", "edition: 2017", func(h *HJ212) { h.OverTime, h.ReCount = 10*time.Second, 3 })
	f("settings: agree", "settings: refuse", func(h *HJ212) { h.Agree = false })
	f("log: unanswered", "log: none", func(h *HJ212) { h.Log = "none" })
	f("st: 31", "st: 31\n      edition: 2025", func(h *HJ212) { h.Edition = 2025 }, "hj212-2025")
	f("010000A8900016F000169DC0", "Y80110010000", func(h *HJ212) { h.MN = "Y80110010000" }, "hj212-mn")
}

func TestHJ212Problems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"tcp://203.0.113.5:9000", "«tls://203.0.113.5:9000", "bad-form"},
		{"tcp://203.0.113.5:9000", "«203.0.113.5:9000", "bad-form"},
		{"tcp://203.0.113.5:9000", "«tcp://203.0.113.5:90000", "bad-form"},
		{"mn: 010000A8900016F000169DC0", "mn: «010000A8900016F000169DC0F", "bad-form"},
		{"mn: 010000A8900016F000169DC0", "mn: «01-02", "bad-form"},
		{"      mn: 010000A8900016F000169DC0\n", "", "missing-field"},
		{"pw: secret eco-pw", "pw: «123456", "hj212-pw"},
		{"st: 31", "st: «3", "bad-form"},
		{"realtime: 30s", "realtime: «20s", "out-of-bounds"},
		{"realtime: 30s", "realtime: «2h", "out-of-bounds"},
		{"realtime: 30s", "realtime: «30.5s", "bad-form"},
		{"minute: 10min", "minute: «7min", "bad-word"},
		{"minute: 10min", "minute: «1h", "out-of-bounds"},
		{"minute: 10min", "hour: «yes", "hj212-no-minute"},
		{"log: unanswered", "log: «answer", "bad-word"},
		{"resend: 5 after 20s", "resend: «5 after 100s", "out-of-bounds"},
		{"resend: 5 after 20s", "resend: «100 after 20s", "out-of-bounds"},
		{"resend: 5 after 20s", "resend: 5 «times 20s", "bad-form"},
		{"settings: agree", "settings: «obey", "bad-word"},
		{"heartbeat: 60s", "heartbeat: «2h", "out-of-bounds"},
		{"heartbeat: 60s", "heartbeat: «60s as 12345", "bad-form"},
		{"d.nh3: a21001", "«d.nh4: a21001", "unknown-tag"},
		{"d.nh3: a21001", "d.nh3: «a21-001", "bad-form"},
		{"d.nh3: a21001", "«d.quiet: a21001", "hj212-never"},
		{"code: w00000", "code: «a21001", "name-taken"},
		{"decimals: 1", "decimals: «7", "out-of-bounds"},
		{"total: 0.001", "total: «-1", "bad-form"},
		{"decimals: 1", "«digits: 1", "unknown-field"},
		{"      realtime: 30s", "      «MinInterval: 10\n      realtime: 30s", "unknown-field"},
		{"  eco:\n", "  eco:\n    «login: secret x\n", "uplink-field-of"},
	} {
		text, place := edit(t, SiteFile, hj212Site, x.from, x.to)
		plan, problems := Compile(bundleOf(text, ""), testSet())
		at := problems[:min(1, len(problems))]
		if plan != nil || len(problems) != 1 || at[0].Code != x.want || place != (Place{}) && at[0].Place != place {
			t.Errorf("%s → %s: %v, want %s at %v", x.from, x.to, codes(problems), x.want, place)
			continue
		}
		for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
			if words := at[0].Text(lang) + at[0].Remedy(lang); strings.ContainsAny(words, "⟨{}") || strings.Contains(words, "123456") {
				t.Errorf("%s: %s", x.to, words)
			}
		}
	}
	_, problems := Compile(bundleOf(strings.Replace(hj212Site, "  eco:\n", "  eco:\n    must_confirm: yes\n", 1), ""), testSet())
	if got := codes(problems); len(got) != 1 || !strings.HasPrefix(got[0], "warning uplink-must-hj212") {
		t.Errorf("%v", got)
	}
}
