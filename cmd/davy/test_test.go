package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/rules"
	"davy/rules/ruletest"
)

// report is one story that holds and one that does not, with characters that
// XML does not take as they are, in text or at all.
func report() *ruletest.Report {
	return &ruletest.Report{
		Results: []ruletest.Result{
			{Name: rules.Text{Zh: "好", En: `<a> & "b"`}, Where: "rules.yaml:7:5"},
			{Name: rules.Text{Zh: "坏", En: "bad\x01"}, Where: "rules.yaml:9:5", Failures: []ruletest.Failure{
				{Where: "rules.yaml:11:5", Code: "ruletest.expected", Args: map[string]any{"at": "5s", "key": "x<y", "want": "tripped", "got": "armed degraded"}},
				{Where: "rules.yaml:12:5", Code: "ruletest.refused", Args: map[string]any{"rule": "X", "reason": "refused.already-acked"}},
			}},
		},
		NeverTripped: []ruletest.Rule{{Name: "a]]>b"}},
		NeverSeen:    []ruletest.Unseen{{Rule: "X", What: ruletest.ChannelBad, Channel: "c.gas"}, {Rule: "X", What: ruletest.Aged}},
	}
}

// Read back as XML, it says what the report says.
func TestJUnitReadBack(t *testing.T) {
	for lang, want := range map[i18n.Lang][]string{
		i18n.En: {`<a> & "b"`, "rules.yaml:11:5: at 5s: x<y should be tripped, and is armed degraded\nrules.yaml:12:5: the act on X was refused: X is acknowledged already", "no story trips a]]>b\nno story shows X with c.gas bad\nno story shows X when a last good value is too old to vote"},
		i18n.Zh: {"好", "rules.yaml:11:5: 5s 时：x<y 应为 tripped（已跳车），实际为 armed（投用） degraded（降级）\nrules.yaml:12:5: 对 X 的操作被拒绝：X 已经确认过", "没有场景让 a]]>b 动作\n没有场景验证 X 在 c.gas 为坏值时的表现\n没有场景验证 X 在最后好值过期、不再参与表决时的表现"},
	} {
		data, err := junit(&cli.Call{Lang: lang}, "GW-1", report())
		if err != nil {
			t.Fatal(err)
		}
		var got junitSuites
		if err := xml.Unmarshal(data, &got); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if got.Tests != 2 || got.Failures != 1 || len(got.Suites) != 1 || got.Suites[0].Name != "GW-1" || got.Suites[0].Tests != 2 || got.Suites[0].Failures != 1 || len(got.Suites[0].Cases) != 2 {
			t.Fatalf("%+v", got)
		}
		good, bad := got.Suites[0].Cases[0], got.Suites[0].Cases[1]
		if good.Name != want[0] || good.Class != "GW-1" || good.File != "rules.yaml" || good.Line != 7 || good.Failure != nil {
			t.Errorf("%+v", good)
		}
		if f := bad.Failure; f == nil || f.Text != want[1] || f.Type != "ruletest.expected" || f.Message != strings.Split(want[1], "\n")[0] {
			t.Errorf("%+v", f)
		}
		if got.Suites[0].Out != want[2] {
			t.Errorf("%q", got.Suites[0].Out)
		}
		if !bytes.HasPrefix(data, []byte(`<?xml version="1.0" encoding="UTF-8"?>`)) || bytes.ContainsRune(data, 1) {
			t.Errorf("%s", data)
		}
	}
}

// A file is replaced whole, and nothing is left beside it.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.xml")
	for _, text := range []string{"first, and longer", "second"} {
		if err := writeWhole(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, "d"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// It runs at once, again at a change only, and ends with the last run's word.
func TestWatch(t *testing.T) {
	f := func(looks string, results []bool, runs int) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		tick, done := make(chan time.Time), make(chan bool)
		look, run := 0, 0
		go func() {
			done <- watch(ctx, tick, func() string { look++; return looks[look-1 : look] }, func() bool { run++; return results[run-1] })
		}()
		for range len(looks) - 1 {
			tick <- time.Time{}
		}
		// The last tick was taken, and its run ends before the stop is seen.
		stop()
		if ok := <-done; run != runs || ok != results[runs-1] {
			t.Errorf("%s: %d runs, ok %v; want %d, %v", looks, run, ok, runs, results[runs-1])
		}
	}
	f("a", []bool{true, false}, 1)
	f("aaa", []bool{false, true}, 1)
	f("aabb", []bool{false, true, false}, 2)
	f("abba", []bool{false, true, false}, 3)
}

func TestFingerprint(t *testing.T) {
	site := fstest.MapFS{"site.yaml": {Data: []byte("a")}, "devices/x.yaml": {Data: []byte("b")}, ".git/index": {Data: []byte("c")}}
	was := fingerprint(site)
	same := func(want bool, what string) {
		t.Helper()
		now := fingerprint(site)
		if (now == was) != want {
			t.Errorf("%s: same %v", what, now == was)
		}
		was = now
	}
	same(true, "nothing")
	site[".git/index"] = &fstest.MapFile{Data: []byte("longer")}
	same(true, "a hidden file")
	site["devices/x.yaml"] = &fstest.MapFile{Data: []byte("b"), ModTime: time.Unix(5, 0)}
	same(false, "written again")
	site["new.yaml"] = &fstest.MapFile{}
	same(false, "a new file")
	delete(site, "site.yaml")
	same(false, "a file less")
	same(true, "nothing more")
}
