package matrix

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/table"
	"davy/rules"
	"davy/test/scale"

	"pgregory.net/rapid"
)

// randomLock draws an interlock within the site's forms.
func randomLock(t *rapid.T, name string) string {
	var b strings.Builder
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "of") }
	maybe := func(field string, of ...string) {
		if rapid.Bool().Draw(t, field) {
			fmt.Fprintf(&b, "    %s: %s\n", field, pick(of...))
		}
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	prose := rapid.StringMatching(`[=+@'",;氨#：-]{0,2}[a-zA-Z机房0-9][ a-z=，'"{}:#-]{0,8}`)
	fmt.Fprintf(&b, "  %s:\n", name)
	if rapid.Bool().Draw(t, "both") {
		fmt.Fprintf(&b, "    text: {zh: %s, en: %s}\n", quote(prose.Draw(t, "zh")), quote(prose.Draw(t, "en")))
	} else {
		fmt.Fprintf(&b, "    text: %s\n", quote(prose.Draw(t, "text")))
	}
	maybe("priority", "low", "medium", "high", "critical")
	gases := rapid.Bool().Draw(t, "gases") // all in one unit: their reset can have a limit
	all := []string{"d.t < -20.5 °C", "d.run = yes", "d.mode != casting", "d.stop = on", "room.worst > 30 ppm and d.run = no", "d.mode = idle or d.t > 100 °C"}
	if gases {
		all = []string{"d.a >= 150 ppm", "d.b > 105.7 mg/m³", "d.c >= 1.5e2"}
	}
	chosen := rapid.Permutation(all).Draw(t, "channels")[:rapid.IntRange(1, len(all)).Draw(t, "n")]
	b.WriteString("    channels:\n")
	hands := 0
	for _, c := range chosen {
		if rapid.Bool().Draw(t, "manual") {
			hand := pick("yes", "no")
			if hand == "yes" {
				hands++
			}
			fmt.Fprintf(&b, "      - {when: '%s', manual: %s}\n", c, hand)
		} else {
			fmt.Fprintf(&b, "      - '%s'\n", c)
		}
	}
	m := rapid.IntRange(1, len(chosen)).Draw(t, "m")
	fmt.Fprintf(&b, "    trip_when: %s\n", pick("any", "all", fmt.Sprintf("%d of %d", m, len(chosen))))
	policies := []string{"counts as trip", "counts as trip after 10s", "left out", "left out after 1min", "last good for 30s, then counts as trip"}
	if len(chosen) == 1 {
		fmt.Fprintf(&b, "    channel_bad: %s\n", pick(policies...))
	} else {
		maybe("channel_bad", policies...)
		if len(chosen)-hands > 1 { // a hand is compared with nothing
			maybe("discrepancy", "votes differ for 60s", "votes differ for 90s, alarm high")
		}
	}
	maybe("channel_in_test", "counts", "left out, one at a time")
	maybe("all_channels_bad", "trip", "hold")
	maybe("degraded", "no alarm", "alarm low", "alarm high, at most 72h", "alarm critical at most 1d")
	maybe("raise_after", "0s", "1500ms", "2min", "1.5s")
	if rapid.Bool().Draw(t, "armed") {
		fmt.Fprintf(&b, "    arm_when: %s\n", pick("d.mode = casting", "d.run = yes and d.t > 40 °C"))
		maybe("arm_due", "d.run = yes for 10min", "d.run = yes or d.mode = casting for 5s")
	}
	if rapid.Bool().Draw(t, "permissives") {
		some := rapid.Permutation([]string{"d.t < 150 °C", "d.b < 20 ppm", "{when: d.mode = idle or d.run = no, priority: low}", "{when: d.run = no, raise_after: 90s, text: {zh: 停, en: '=Stopped'}}"}).Draw(t, "of")
		b.WriteString("    permissives:\n")
		for _, p := range some[:rapid.IntRange(1, 4).Draw(t, "of")] {
			fmt.Fprintf(&b, "      - %s\n", p)
		}
	}
	b.WriteString("    then:\n")
	for _, o := range rapid.Permutation([]string{"fan", "siren", "valve"}).Draw(t, "outputs")[:rapid.IntRange(1, 3).Draw(t, "effects")] {
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			fmt.Fprintf(&b, "      - demand: %s\n", o)
		case 1:
			fmt.Fprintf(&b, "      - demand: %s after %s\n", o, pick("5s", "1.25s", "0s"))
		default:
			fmt.Fprintf(&b, "      - {demand: %s, after: %s, run_on: %s}\n", o, pick("0s", "100ms"), pick("10min", "1h"))
		}
	}
	resets := []string{"by operator"}
	if gases {
		resets = []string{"by operator", "by operator, when all channels < 25 ppm for 10min", "automatic, when all channels < 20.5 mg/m³", "automatic when all channels <= 25 ppm for 90s"}
	}
	fmt.Fprintf(&b, "    reset: %s\n", quote(pick(resets...)))
	maybe("reset_when", "d.run = no", "d.run = no and d.mode = idle")
	maybe("bypass", "no", "one channel, anybody, longest 30min", "one channel, engineer or ehs and shift-leader, longest 8h, then alarm only", "one channel, engineer and anybody, longest 1d")
	maybe("test", "no", "anybody, longest 2h", "technician or engineer, longest 30min")
	maybe("test_every", "90d", "1d")
	return b.String()
}

// randomSet draws the rules of a site.
func randomSet(t *rapid.T) string {
	var b strings.Builder
	b.WriteString(formulas + "interlocks:\n")
	names := []string{"NH3-150", "MAR-1", "007", "1E5", "true", "then", "x"}
	for _, name := range rapid.Permutation(names).Draw(t, "names")[:rapid.IntRange(1, 3).Draw(t, "locks")] {
		b.WriteString(randomLock(t, name))
	}
	return b.String()
}

// saved is a table as another spreadsheet would have saved it: with its columns in
// another order, another separator, other line ends, other quotes, empty columns.
func saved(t *rapid.T, csv []byte) []byte {
	tab, faults := table.Read(csv, func(string) bool { return false })
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	width := 0
	for _, row := range tab.Rows {
		width = max(width, len(row))
	}
	order := make([]int, width)
	for i := range order {
		order[i] = i
	}
	order = rapid.Permutation(order).Draw(t, "columns")
	sep := rapid.SampledFrom([]string{",", ";", "\t"}).Draw(t, "separator")
	end := rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "line end")
	always := rapid.Bool().Draw(t, "quotes")
	trailing := strings.Repeat(sep, rapid.IntRange(0, 3).Draw(t, "trailing"))
	var b strings.Builder
	if rapid.Bool().Draw(t, "bom") {
		b.WriteString("\uFEFF")
	}
	for _, row := range tab.Rows {
		for i, col := range order {
			if i > 0 {
				b.WriteString(sep)
			}
			text := ""
			if col < len(row) {
				text = row[col].Text
			}
			if strings.HasPrefix(text, "'") || text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
				text = "'" + text
			}
			if always || strings.ContainsAny(text, sep+"\"\n") {
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			b.WriteString(text)
		}
		b.WriteString(trailing + end)
	}
	return []byte(b.String())
}

// Any interlocks within the site's forms are the same after a way through a
// spreadsheet.
func TestRandomSetsBackAgain(t *testing.T) {
	for name, v := range map[string]string{"rapid.checks": strconv.Itoa(scale.Of(30)), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
	given := bundleOf(t, site, "")
	rapid.Check(t, func(t *rapid.T) {
		base := withInterlocks(given, []byte(randomSet(t)))
		plan := compiled(t, base)
		lang := rapid.SampledFrom([]i18n.Lang{i18n.Zh, i18n.En}).Draw(t, "lang")
		backAgain(t, base, plan, saved(t, New(base, plan).CSV(lang, Sheet{})))
	})
}

// tiny is a site that compiles in no time: a fuzzer has none.
const tiny = `davy: 1
gateway: {id: G, name: x, time_zone: Asia/Shanghai}
links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  d: {link: plc, station: 1, may_write: [coil 0, coil 1], tags: {a: {at: holding 0, type: int16, range: 0 to 100 ppm}, run: {at: coil 2, type: bool}}}
outputs:
  fan: {drives: d coil 0, idle: off, protective: on, davy_dead: stays, link_lost: stays}
  siren: {drives: d coil 1, idle: off, protective: on, davy_dead: stays, link_lost: stays}
interlocks:
  A: {text: {zh: 甲, en: a}, trip_when: any, channels: [d.a > 5 ppm, d.run = yes], permissives: [d.a < 90 ppm], then: [demand: fan after 5s, demand: siren], reset: by operator}
`

// Whatever the table is: places within it, words for each problem, and what is
// read compiles to rules that the engine takes, or to problems.
func FuzzRead(f *testing.F) {
	b := &config.Bundle{}
	b.Put(config.SiteFile, []byte(tiny))
	plan := compiled(f, b)
	m := New(b, plan)
	f.Add(m.CSV(i18n.Zh, Sheet{}))
	f.Add([]byte("interlock;text_zh;text_en;trip_when;channel;channel_bad;then fan;reset\nA;甲;a;any;d.a > 5 ppm;left out;x, after 5s;by operator\n"))
	data, err := os.ReadFile("testdata/saved.gbk.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		read, problems := Read("m.csv", data, plan)
		var other *config.Plan
		if problems.OK() {
			var more config.Problems
			other, more = config.CompileWith(b, testSet(), read)
			problems = problems.Join(more)
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, p := range problems {
			if p.Place.File == "m.csv" && (p.Place.Line < 1 || p.Place.Line > lines || p.Place.Col < 1) {
				t.Fatalf("%s of %d lines", p.Place, lines)
			}
			for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
				if s := p.Text(l) + p.Remedy(l); strings.Contains(s, "⟨problem") || strings.Contains(s, "⟨hint") {
					t.Fatalf("no words: %s", s)
				}
			}
		}
		if other != nil {
			if _, err := rules.New(other.Rules); err != nil {
				t.Fatalf("the engine refuses what was read: %v", err)
			}
			backAgain(t, b, other, With(b, other, read).CSV(i18n.En, Sheet{}))
		}
	})
}
