package matrix

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules"
)

// What a Chinese Excel saved: GBK, semicolons, heads in Chinese, columns in
// another order, empty ones behind, ≥ and ℃, m3 for what GBK lacks.
func TestSavedByASpreadsheet(t *testing.T) {
	data, err := os.ReadFile("testdata/saved.gbk.csv")
	if err != nil {
		t.Fatal(err)
	}
	b := bundleOf(t, site, formulas+`interlocks:
  NH3-150:
    text: {zh: 机房氨浓度150 ppm联锁, en: Machine room}
    trip_when: 2 of 3
    channels: [d.a >= 150 ppm, d.b >= 150 ppm, d.c >= 105 mg/m³]
    channel_bad: counts as trip after 10s
    then: [demand: fan, {demand: siren, after: 2s}]
    reset: by operator, when all channels < 25 ppm for 10min
  TEMP:
    text: {zh: 温度高, en: Temperature}
    trip_when: any
    channels: [d.t > 90 °C]
    channel_bad: left out
    then: [demand: fan]
    reset: by operator
`)
	plan := compiled(t, b)
	read, problems := Read("saved.csv", data, plan)
	other, more := config.CompileWith(b, testSet(), read)
	if len(problems) > 0 || other == nil {
		t.Fatal(told(problems.Join(more), b))
	}
	if !reflect.DeepEqual(plan.Rules.Interlocks, other.Rules.Interlocks) {
		t.Errorf("not the same rules:\n%+v\n%+v", plan.Rules.Interlocks, other.Rules.Interlocks)
	}
}

// Every mistake has its place in the table, all of them at once.
func TestMistakes(t *testing.T) {
	b := bundleOf(t, site, allOfIt)
	plan := compiled(t, b)
	const heads = "interlock,text_zh,text_en,trip_when,channel,manual,channel_bad,then fan,then siren,reset\n"
	const good = "A,甲,a,any,d.a > 5 ppm,,left out,x,,by operator\n"
	f := func(in string, want ...string) {
		t.Helper()
		read, problems := Read("m.csv", []byte(in), plan)
		if problems.OK() {
			_, more := config.CompileWith(b, testSet(), read)
			problems = problems.Join(more)
		}
		var got []string
		for _, p := range problems {
			got = append(got, p.Code+" "+p.Place.String())
			for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
				if s := p.Text(l) + p.Remedy(l); strings.Contains(s, "⟨") || strings.Contains(s, "{") {
					t.Errorf("%s: no words: %s", p.Code, s)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", in, got, want)
		}
	}
	f(heads + good)
	f(heads + "# a note,,,,,,,,,\n\n,,,,,,,,,,,,\n" + good)
	f("text_zh,text_en,interlock,trip_when,channel,channel_bad,then fan,reset\n#1 pump,#1,A,any,d.a > 5 ppm,left out,x,by operator\n")
	f("", "matrix-no-heads m.csv:1:1")
	f("a,b\nc,d\n", "matrix-no-heads m.csv:1:1")
	f("\xff\xfea", "table-utf16 m.csv:1:1")
	f(strings.Replace(heads, "manual", "by mistake", 1)+good, "matrix-head m.csv:1:6")
	f(strings.Replace(heads, "then siren", "then sirene", 1)+good, "unknown-output m.csv:1:9")
	f(strings.Replace(heads, "then siren", "then", 1)+good, "matrix-head m.csv:1:9")
	f(strings.Replace(heads, "text_en", "text_zh", 1)+good, "matrix-head-twice m.csv:1:3")
	f(strings.Replace(heads, "trip_when", "# vote", 1)+good, "matrix-head-missing m.csv:1:1")
	f(heads+strings.Replace(good, "A,", ",", 1), "matrix-no-interlock m.csv:2:2")
	f(heads+strings.TrimSuffix(good, "\n")+",here\n", "matrix-no-head m.csv:2:11")
	f(heads+good+"A,甲,a,all,d.b > 5 ppm,,,x,,\n", "matrix-differs m.csv:3:4")
	f(heads+good+"A,,,,,yes,,,,\n", "matrix-alone m.csv:3:6")
	f(heads+"A,甲,a,any,d.a > 5 ppm,,left out,1,1,by operator\n", "matrix-order-twice m.csv:2:9")
	f(heads+"A,甲,a,any,d.a > 5 ppm,,left out,maybe,x,by operator\n", "bad-form m.csv:2:8")
	f(heads+"A,甲,a,any,d.a > 5 ppm,,left out,0,x after,by operator\n", "bad-form m.csv:2:8", "bad-form m.csv:2:9")
	f(heads+"A,甲,a,any,d.a > 5 ppm,,left out,\"x, after 5s, after 6s\",\"x, before 5s\",by operator\n", "bad-form m.csv:2:8", "bad-form m.csv:2:9")
	f(heads+"A,\"甲,a\n"+good, "table-quote-open m.csv:2:2")
	f(heads+"A,\"甲\"a,a,any,d.a > 5 ppm,,left out,x,,by operator\n", "table-quote m.csv:2:2")
	// What the site's own form says of it has its cell too, and a piece of a cell has the cell's.
	f(heads+"A,甲,a,2 of 3,d.a > 5 pmp,,left aut,\"x, after 5\",x,by hand\nB,乙,b,any,d.x > 5 ppm,maybe,left out,x,,by operator, \n",
		"vote-count m.csv:2:4", "unit-differs m.csv:2:5", "bad-form m.csv:2:7", "bad-duration m.csv:2:8", "bad-form m.csv:2:10", "unknown-tag m.csv:3:5", "bad-word m.csv:3:6")
	f(heads+"A B,甲,a,any,,,left out,,,\n", "bad-name m.csv:2:1")
	f(heads+"AB,甲,,any,,,left out,,,\n", "missing-field m.csv:2:1", "missing-field m.csv:2:1", "missing-field m.csv:2:1", "missing-field m.csv:2:2")
}

// A question mark in a GBK file may be a character that was lost.
func TestQuestionMark(t *testing.T) {
	plan := compiled(t, bundleOf(t, site, allOfIt))
	_, problems := Read("m.csv", []byte("interlock,text_zh,trip_when,channel,reset\nA,\xb0\xb1,any,d.a > 5 mg/m?,by operator\n"), plan)
	if len(problems) != 1 || problems[0].Code != "matrix-question" || !problems[0].Warn || problems[0].Place.Col != 4 {
		t.Error(problems)
	}
	if _, problems := Read("m.csv", []byte("interlock,text_zh,trip_when,channel,reset\nA,why?,any,d.a > 5 ppm,by operator\n"), plan); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestCompare(t *testing.T) {
	b := bundleOf(t, site, allOfIt)
	plan := compiled(t, b)
	csv := string(New(b, plan).CSV(i18n.En, Sheet{}))
	f := func(old, new string, want ...string) {
		t.Helper()
		if !strings.Contains(csv, old) {
			t.Fatalf("%q is not in the table:\n%s", old, csv)
		}
		read, problems := Read("m.csv", []byte(strings.ReplaceAll(csv, old, new)), plan)
		other, more := config.CompileWith(b, testSet(), read)
		if other == nil {
			t.Fatal(told(problems.Join(more), b))
		}
		var got []string
		for _, d := range Compare(New(b, plan), With(b, other, read), i18n.En) {
			got = append(got, d.Lock+"|"+d.Label+"|"+d.Site+"|"+d.Table)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q for %q:\n got %q\nwant %q", new, old, got, want)
		}
	}
	f("2 of 4", "1 of 4", "FULL|Vote|2 of 4|1 of 4")
	f("d.a >= 150 ppm", "d.a >= 150.0 ppm") // as it is written does not matter
	f("d.c >= 105 mg/m³", "d.c >= 105.1 mg/m³", "SPARSE|Channel|d.c ≥ "+exactly(t, plan, "SPARSE", 2)+" ppm|d.c ≥ 148.45544438435945 ppm")
	f("\"x, after 2s\"", "x", "SPARSE|Effect|fan after 2s|fan")
	f("MAR-1", "APR-1", "MAR-1||1 of 1|", "APR-1|||1 of 1")
	f("15 ppm for 60s", "", "SPARSE|Discrepancy|greatest less smallest more than 15 ppm for 1min: alarm (medium)|")
}

// exactly is a channel's limit to its last digit.
func exactly(t *testing.T, plan *config.Plan, lock string, channel int) string {
	t.Helper()
	i := slices.IndexFunc(plan.Rules.Interlocks, func(x rules.Interlock) bool { return x.Name == lock })
	return teller{exact: true}.number(plan.Rules.Interlocks[i].Channels[channel].Cond.Limit)
}
