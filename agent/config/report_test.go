package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"davy/agent/i18n"
)

func TestReport(t *testing.T) {
	_, plan, _ := readDir(t, "example")
	r := plan.Report()
	for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
		var out bytes.Buffer
		if err := r.Write(&out, lang); err != nil {
			t.Fatal(err)
		}
		golden(t, "example.report."+string(lang)+".txt", out.String())
	}
	// nh3-1 has a line of its own (timeout 500 ms, one request): nothing is
	// ahead of it. The output's line has a timeout of 300 ms, and its unit with the
	// most requests (station 4) has two.
	var a Response
	for _, x := range plan.Rules.Interlocks[0].Channels {
		if x.Name == "nh3-1.gas" {
			a = plan.response(plan.Rules.Interlocks[0], x, plan.Rules.Interlocks[0].Demands[0], plan.Outputs[0])
		}
	}
	want := Response{
		Channel: "nh3-1.gas", Output: "fan1", Scan: time.Second, Read: 500 * time.Millisecond, Decision: DecisionBound,
		AheadOut: 300 * time.Millisecond, Write: 300 * time.Millisecond, AheadOutDead: 600 * time.Millisecond, Blind: 15 * time.Second, T90: 15 * time.Second,
	}
	if a != want {
		t.Errorf("got %+v\nwant %+v", a, want)
	}
	if a.Worst() != 2200*time.Millisecond || a.WorstDead() != 2500*time.Millisecond {
		t.Errorf("worst %v, with a dead unit %v", a.Worst(), a.WorstDead())
	}
}

// A line that cannot keep its periods is refused, one that hardly can is named.
func TestLoad(t *testing.T) {
	site := func(scan string) *Bundle {
		var b strings.Builder
		b.WriteString(smallSite + "links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices:\n")
		for i := range 50 {
			b.WriteString("  d" + string(rune('a'+i/10)) + string(rune('0'+i%10)) + ": {link: plc, station: " + string(rune('1'+i/10)) + string(rune('0'+i%10)) + ", tags: {x: {at: holding 0, scan: " + scan + "}}}\n")
		}
		return bundleOf(b.String(), "")
	}
	for scan, want := range map[string]string{"10ms": "link-overload site.yaml:3:9", "15ms": "warning link-busy site.yaml:3:9", "1s": ""} {
		plan, p := Compile(site(scan), testSet())
		if got := strings.Join(codes(p), " "); got != want || (plan == nil) != strings.HasPrefix(want, "link-overload") {
			t.Errorf("%s: got %q, want %q", scan, got, want)
		}
	}
}

func TestProblemsJSON(t *testing.T) {
	_, _, problems := readDir(t, "twelve")
	var out bytes.Buffer
	if err := problems.WriteJSON(&out, i18n.En); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list) != 12 {
		t.Fatalf("%d problems: %v", len(list), err)
	}
	if x := list[0]; x["code"] != "yaml-hash" || x["file"] != "site.yaml" || x["line"] != 5.0 || x["col"] != 14.0 || x["text"] == "" || x["hint"] == "" {
		t.Errorf("got %v", x)
	}
	out.Reset()
	if err := Problems(nil).WriteJSON(&out, i18n.En); err != nil || out.String() != "[]\n" {
		t.Errorf("none: %q %v", out.String(), err)
	}
}

// No more than MaxProblems are printed; the rest is counted.
func TestProblemsAreCapped(t *testing.T) {
	var p Problems
	for i := range MaxProblems + 7 {
		p = append(p, Problem{Place: Place{"site.yaml", i + 1, 1}, Width: 1, Code: "text-empty"})
	}
	var out bytes.Buffer
	if err := p.Write(&out, i18n.En, nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != MaxProblems+1 || !strings.HasSuffix(out.String(), "and 7 more\n") {
		t.Errorf("%d lines, %q", n, out.String()[len(out.String())-20:])
	}
}
