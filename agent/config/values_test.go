package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/rules"
)

// oneDevice is a site with one device on Modbus TCP, whose fields and tags are given.
func oneDevice(fields, tags string) *Bundle {
	indent := func(text, by string) string {
		var b strings.Builder
		for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			if line != "" {
				b.WriteString(by + line + "\n")
			}
		}
		return b.String()
	}
	site := smallSite + "links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices:\n  d:\n    link: plc\n    station: 1\n" + indent(fields, "    ") + "    tags:\n" + indent(tags, "      ")
	return bundleOf(site, "")
}

// pointsOf compiles a bundle and returns its points by the last word of their names.
func pointsOf(t *testing.T, b *Bundle) (map[string]drivers.Point, *Plan) {
	t.Helper()
	plan, problems := Compile(b, testSet())
	if plan == nil {
		t.Fatalf("%v", codes(problems))
	}
	out := map[string]drivers.Point{}
	for _, l := range plan.Links {
		for _, s := range l.Scans {
			for _, p := range s.Request.Points() {
				_, name, _ := strings.Cut(string(p.Name), ".")
				out[name] = p
			}
		}
	}
	return out, plan
}

const manyValues = `
a: {at: holding 0, type: int16, invalid: 0x8000 = fault, scale: 0.1}
b: {at: holding 1, type: int16, invalid: {32767: over-range, ..-16385: fault, 30000..30002: calibration}}
c: {at: holding 2, type: uint16, invalid: "0xFFFF = fault, 0xFFFE = under-range"}
d: {at: holding 3, type: uint16 bits 4..7, states: {0: stop, 1: run, 0xF: tripped}}
e: {at: coil 0, states: {0: closed, 1: open}}
f: {at: holding 10, type: text 4, texts: [NH3, Cl2]}
g: {at: holding 14, type: text 4, texts: [Cl2, H2S]}
h: {at: holding 18, type: uint16, decimals: holding 19, range: 0 to 100 ppm}
i: {at: holding 20, type: uint32, order: cdab}
k: {at: holding 24, type: float32, invalid: -9999 = fault}
j: {at: holding 22, type: uint32 bits 20..31, order: CDAB}
`

// valuesSite is a device that uses every form, for the fuzzer.
const valuesSite = "links: {plc: {modbus-tcp: 10.0.0.1, read_only: yes}}\ndevices:\n  d:\n    link: plc\n    station: 1\n    pause: 50ms\n" +
	"    state: {at: holding 9, type: uint32 CDAB, 0: good, bit 4: maintenance, bits 5..6 = 1: warm-up, bits 7..8: fault, else: fault}\n    tags:\n" +
	"      d: {at: holding 3, type: uint16 bits 4..7, states: {0: stop, 1: run}}\n      f: {at: holding 20, type: text 4, texts: [NH3, Cl2]}\n" +
	"      h: {at: holding 18, type: int16, decimals: holding 19, invalid: {0x8000: fault, ..-16385: over-range}, state: no}\n"

// What a tag says of its raw numbers reaches its point.
func TestRawNumbers(t *testing.T) {
	p, plan := pointsOf(t, oneDevice("", manyValues))
	for name, want := range map[string][]drivers.Invalid{
		"a": {{Low: -32768, High: -32768, Quality: tag.BadSensor}},
		"b": {
			{Low: 32767, High: 32767, Quality: tag.MakeQuality(tag.Bad, tag.OutOfRange, tag.LimitHigh)},
			{Low: -32768, High: -16385, Quality: tag.BadSensor},
			{Low: 30000, High: 30002, Quality: tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0)},
		},
		"k": {{Low: -9999, High: -9999, Quality: tag.BadSensor}},
		"c": {{Low: 65535, High: 65535, Quality: tag.BadSensor}, {Low: 65534, High: 65534, Quality: tag.MakeQuality(tag.Bad, tag.OutOfRange, tag.LimitLow)}},
	} {
		if got := p[name].Invalid; !slices.Equal(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if x := p["d"]; x.Type.Kind != tag.Enum || !slices.Equal(x.Codes, []int64{0, 1, 15}) || x.Type.Shift != 4 || x.Type.Width != 4 {
		t.Errorf("d: %+v", x)
	}
	if x := p["e"]; x.Type.Kind != tag.Bool || x.Codes != nil {
		t.Errorf("e: %+v", x)
	}
	if !slices.Equal(plan.Texts, []string{"NH3", "Cl2", "H2S"}) || !slices.Equal(p["f"].Texts, []drivers.Text{{Text: "NH3", Index: 0}, {Text: "Cl2", Index: 1}}) ||
		!slices.Equal(p["g"].Texts, []drivers.Text{{Text: "Cl2", Index: 1}, {Text: "H2S", Index: 2}}) {
		t.Errorf("texts %v: %+v, %+v", plan.Texts, p["f"].Texts, p["g"].Texts)
	}
	if x := p["h"]; x.Decimals == nil || x.Decimals.String() != "holding 19 (ref 40020)" {
		t.Errorf("h: %+v", x)
	}
	if p["i"].Type.Order != "CDAB" || p["j"].Type.Order != "CDAB" || p["j"].Type.Width != 12 {
		t.Errorf("order: %+v %+v", p["i"].Type, p["j"].Type)
	}
	for name, want := range map[string][]Name{
		"d.d": {{0, "stop"}, {1, "run"}, {15, "tripped"}}, "d.e": {{0, "closed"}, {1, "open"}}, "d.g": {{1, "Cl2"}, {2, "H2S"}}, "d.a": nil,
	} {
		i := slices.IndexFunc(plan.Tags, func(x Tag) bool { return string(x.Name) == name })
		if got := plan.Tags[i].Names; !slices.Equal(got, want) {
			t.Errorf("%s: names %v", name, got)
		}
	}
	if i := slices.IndexFunc(plan.Tags, func(x Tag) bool { return x.Name == "d.h" }); plan.Tags[i].Kind != tag.Float64 {
		t.Errorf("a number with decimals has kind %v", plan.Tags[i].Kind)
	}
}

// Every word of the state of a device means the quality of the standard, and
// none of them is made up twice.
func TestStateWords(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range stateWords {
		for _, s := range append([]string{w.word}, w.also...) {
			if seen[s] {
				t.Errorf("%s stands twice", s)
			}
			seen[s] = true
		}
		if !w.state.Valid() || w.invalid != 0 && (!w.invalid.Valid() || !w.invalid.Bad()) {
			t.Errorf("%s: state %#x, invalid %#x", w.word, w.state, w.invalid)
		}
	}
	at := func(word string) tag.Quality {
		return stateWords[slices.IndexFunc(stateWords, func(w stateWord) bool { return w.word == word })].state
	}
	if q := at("warm-up"); q.Status() != tag.Uncertain || q.Reason() != tag.Initial {
		t.Error("warm-up is not uncertain, initial")
	}
	for _, word := range []string{"calibration", "bump-test", "inhibited"} {
		if q := at(word); !q.Bad() || q.Reason() != tag.FunctionCheck {
			t.Errorf("%s is no function check", word)
		}
	}
	if q := at("over-range"); !q.Good() || q.Flags() != tag.LimitHigh {
		t.Error("over-range is not good at its high limit")
	}
	if !at("under-range").Bad() || !at("fault").Bad() || at("maintenance") != tag.GoodQuality|tag.Maintenance {
		t.Error("under-range, fault or maintenance is wrong")
	}
}

// worst is what the words of a state say of a number, as drivers.State has it:
// written here again, to check what the entries became.
func worst(s *drivers.State, word uint64) tag.Quality {
	q, any := tag.GoodQuality, false
	for _, m := range s.Means {
		if word&m.Mask != m.Value {
			continue
		}
		any = true
		if m.Quality.Status() < q.Status() {
			q = m.Quality
		} else if m.Quality.Status() == q.Status() {
			q |= m.Quality.Flags()
		}
	}
	if !any {
		return s.Otherwise
	}
	return q
}

// A state word says of every number there is what its entries say.
func TestStateOfDevice(t *testing.T) {
	warm, check := tag.MakeQuality(tag.Uncertain, tag.Initial, 0), tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0)
	for _, x := range []struct {
		state string
		want  func(w uint64) tag.Quality
	}{
		{"{at: holding 9, 0: good, 1: warm-up, 2: fault}", func(w uint64) tag.Quality {
			return map[uint64]tag.Quality{0: tag.GoodQuality, 1: warm}[w] | map[bool]tag.Quality{true: tag.BadSensor}[w > 1]
		}},
		{"{at: holding 9, 3: good, else: calibration}", func(w uint64) tag.Quality {
			if w == 3 {
				return tag.GoodQuality
			}
			return check
		}},
		{"{at: holding 9, bit 0: fault, bits 1..3: calibration, bit 4: warm-up, bits 5..7: good}", func(w uint64) tag.Quality {
			switch {
			case w&1 != 0 || w>>8 != 0:
				return tag.BadSensor
			case w&0xe != 0:
				return check
			case w&0x10 != 0:
				return warm
			}
			return tag.GoodQuality
		}},
		{"{at: holding 9, type: uint16, bits 0..3 = 0: warm-up, bits 0..3 = 1: good, bits 4..5 = 0: good, bits 4..5 = 1: maintenance, bits 6..11: good}", func(w uint64) tag.Quality {
			mode, fault := w&15, w>>4&3
			switch {
			case mode > 1 || fault > 1 || w>>12 != 0:
				return tag.BadSensor
			case mode == 0:
				return warm
			case fault == 1:
				return tag.GoodQuality | tag.Maintenance
			}
			return tag.GoodQuality
		}},
		{"{at: holding 9, type: uint16 bits 0..3, 5: warm-up, 4: good, bit 3: maintenance}", func(w uint64) tag.Quality {
			m := map[bool]tag.Quality{true: tag.Maintenance}[w&8 != 0]
			switch w & 7 {
			case 4:
				return tag.GoodQuality | m
			case 5:
				return warm
			}
			return tag.BadSensor
		}},
		{"{at: coil 3, 0: good, 1: fault}", func(w uint64) tag.Quality {
			return map[uint64]tag.Quality{0: tag.GoodQuality, 1: tag.BadSensor}[w]
		}},
	} {
		tags, name := "gas: {at: holding 0}", "gas"
		if strings.Contains(x.state, "coil") {
			tags, name = "door: {at: coil 0}", "door"
		}
		p, _ := pointsOf(t, oneDevice("state: "+x.state, tags))
		s := p[name].State
		if s == nil {
			t.Fatalf("%s: no state", x.state)
		}
		limit := uint64(1 << 16)
		if s.Type.Width > 0 {
			limit = 1 << s.Type.Width
		} else if s.Type.Kind == tag.Bool {
			limit = 2
		}
		for w := range limit {
			got, want := worst(s, w), x.want(w)
			if got.Status() != want.Status() || got.Reason() != want.Reason() || want.Good() && got != want {
				t.Errorf("%s: %#x is %#x, want %#x", x.state, w, got, want)
				break
			}
		}
		if len(s.Means) > 100 {
			t.Errorf("%s: %d meanings", x.state, len(s.Means))
		}
	}
}

// The device's state holds for its tags, but for those that have their own,
// that want none, and that show the word itself; the device's goes before the
// template's.
func TestWhoseState(t *testing.T) {
	p, _ := pointsOf(t, oneDevice("state: {at: holding 9, 0: good}", `
a: {at: holding 0}
b: {at: holding 1, state: no}
c: {at: holding 2, state: {at: holding 8, 1: good}}
word: {at: ref 40010}
`))
	if p["a"].State == nil || p["a"].State.Address.String() != "holding 9 (ref 40010)" || p["b"].State != nil || p["word"].State != nil ||
		p["c"].State == nil || p["c"].State.Address.String() != "holding 8 (ref 40009)" {
		t.Errorf("%+v", p)
	}
	b := oneDevice("template: v/m", "a: {at: holding 0}")
	b.Put(templatePath("v/m"), []byte("state: {at: holding 5, 0: good}\nmax_block: 40\nwrite: single\ntags: {x: {at: holding 1}}\n"))
	p, _ = pointsOf(t, b)
	if p["a"].State == nil || p["x"].State == nil || p["x"].State.Address.String() != "holding 5 (ref 40006)" {
		t.Errorf("of the template: %+v", p)
	}
	fromTemplate := p["x"].Options
	if fromTemplate == nil || !reflect.DeepEqual(p["a"].Options, fromTemplate) {
		t.Errorf("options %+v, %+v", p["a"].Options, fromTemplate)
	}
	b = oneDevice("template: v/m\nstate: no\nmax_block: 20", "a: {at: holding 0}")
	b.Put(templatePath("v/m"), []byte("state: {at: holding 5, 0: good}\nmax_block: 40\nwrite: single\ntags: {x: {at: holding 1}}\n"))
	p, _ = pointsOf(t, b)
	want, err := modbus.TCP{}.ParseDevice(drivers.Fields{"max_block": "20", "write": "single"})
	if err != nil || p["a"].State != nil || p["x"].State != nil || !reflect.DeepEqual(p["x"].Options, want) {
		t.Errorf("the device's own: %+v, want options %+v", p["x"], want)
	}
}

// Rules compare states and texts by their names.
func TestRulesOfStates(t *testing.T) {
	b := oneDevice("", `
mode: {at: holding 3, states: {0: stop, 1: run, 7: run-down}}
gas: {at: holding 10, type: text 4, texts: [NH3, Cl2]}
door: {at: coil 0, states: {0: closed, 1: open}}
`)
	b.Put(RulesFile, []byte(`alarms:
  a: {watch: d.mode, is: {at: run-down, priority: low, text: x}}
  b: {watch: d.gas, is: {at: Cl2, priority: low, text: x}}
  c: {watch: d.door, is: {at: open, priority: low, text: x}}
  e: {watch: d.mode, is: {at: 7, priority: low, text: x}}
tests:
  - name: x
    story:
      - {at: 0s, set: {d.mode: run, d.gas: NH3, d.door: closed}}
      - {at: 1s, set: {d.mode: run-down uncertain, d.gas: Cl2}}
      - {at: 2s, expect: {a.is: unacked, b.is: unacked, c.is: normal}}
`))
	plan, problems := Compile(b, testSet())
	if plan == nil {
		t.Fatalf("%v", codes(problems))
	}
	limits := map[string]float64{}
	for _, a := range plan.Rules.Alarms {
		if a.Cond.Op == rules.EQ {
			limits[a.Name] = a.Cond.Limit
		}
	}
	if limits["a.is"] != 7 || limits["b.is"] != 1 || limits["c.is"] != 1 || limits["e.is"] != 7 {
		t.Errorf("%v", limits)
	}
	if s := plan.Stories[0].Steps; s[0].Set[0].Value != tag.EnumValue(1) || s[0].Set[1].Value != tag.TextValue(0) || s[0].Set[2].Value != tag.BoolValue(false) ||
		s[1].Set[0].Value != tag.EnumValue(7) || s[1].Set[1].Value != tag.TextValue(1) {
		t.Errorf("%+v", s)
	}
}

// Every problem of these fields, alone and at its place.
func TestProblemsOfValues(t *testing.T) {
	for _, x := range []struct{ fields, tags, want string }{
		{"", "a: {at: holding 0, invalid: «0x18000 = fault}", "out-of-bounds"},
		{"", "a: {at: holding 0, type: int16, invalid: {«40000: fault}}", "out-of-bounds"},
		{"", "a: {at: holding 0, invalid: {«x: fault}}", "bad-raw"},
		{"", "a: {at: holding 0, invalid: {«..: fault}}", "bad-raw"},
		{"", "a: {at: holding 0, invalid: {«9..3: fault}}", "range-order"},
		{"", "a: {at: holding 0, invalid: {3: «faulty}}", "bad-word"},
		{"", "a: {at: holding 0, invalid: {3: «error}}", "bad-word"},
		{"", "a: {at: holding 0, invalid: {3: «good}}", "invalid-word"},
		{"", "a: {at: holding 0, invalid: {3..9: fault, «5: over-range}}", "invalid-twice"},
		{"", "a: {at: holding 0, invalid: «0x8000 fault}", "bad-form"},
		{"", "a: {at: holding 0, invalid: 1 = fault «2 = fault}", "unexpected"},
		{"", "a: {at: holding 0, invalid: «[1]}", "bad-form"},
		{"", "a: {at: coil 0, invalid: «1 = fault}", "not-of-number"},
		{"", "a: {at: holding 0, «invalidd: 1 = fault}", "unknown-field"},
		{"", "a: {at: holding 0, decimals: «coil 6}", "decimals-type"},
		{"", "a: {at: holding 0, decimals: «6x}", "address.unknown"},
		{"", "a: {at: coil 0, decimals: «holding 6}", "not-of-number"},
		{"", "a: {at: holding 0, states: {0: stop, 1: «stop}}", "state-name-twice"},
		{"", "a: {at: holding 0, states: {0: stop, 0x0: «run}}", "state-name-twice"},
		{"", "a: {at: holding 0, states: {«stop: 0}}", "states-reversed"},
		{"", "a: {at: holding 0, states: {0: «st op}}", "bad-name"},
		{"", "a: {at: holding 0, states: {0: «4-20}}", "bad-name"},
		{"", "a: {at: holding 0, states: {«70000: run}}", "out-of-bounds"},
		{"", "a: {at: coil 0, states: {«2: run}}", "out-of-bounds"},
		{"", "a: {at: holding 0, scale: 0.1, states: «{0: run}}", "states-of"},
		{"", "a: {at: holding 0, range: 0 to 5, states: «{0: run}}", "states-of"},
		{"", "a: {at: holding 0, states: «run}", "not-a-section"},
		{"", "a: {at: holding 0, states: {0: run}, decimals: «holding 6}", "not-of-number"},
		{"", "«a: {at: holding 0, type: text 2}", "missing-field"},
		{"", "a: {at: holding 0, texts: «[x]}", "texts-of"},
		{"", "a: {at: holding 0, type: text 2, texts: «x}", "not-a-list"},
		{"", "a: {at: holding 0, type: text 2, texts: [«abcde]}", "bad-text"},
		{"", "a: {at: holding 0, type: text 2, texts: [ab, «ab]}", "state-name-twice"},
		{"", "a: {at: holding 0, type: text 2, texts: [ab], range: «0 to 1}", "not-of-number"},
		{"", "a: {at: holding 0, type: text 2, texts: [ab], scale: «2}", "not-of-number"},
		{"", "a: {at: holding 0, state: «yes}", "bad-word"},
		{"", "a: {at: holding 0, order: «CDAB}", "order-without-type"},
		{"state: «yes", "a: {at: holding 0}", "bad-word"},
		{"state: «[a]", "a: {at: holding 0}", "not-a-section"},
		{"state: «{0: good}", "a: {at: holding 0}", "missing-field"},
		{"state: {at: «holding x, 0: good}", "a: {at: holding 0}", "address.unknown"},
		{"state: {at: holding 2, type: «uint61, 0: good}", "a: {at: holding 0}", "modbus.type-unknown"},
		{"state: {at: holding 2, type: «int16, 0: good}", "a: {at: holding 0}", "state-type"},
		{"state: {at: holding 2, type: «float32, 0: good}", "a: {at: holding 0}", "state-type"},
		{"state: {at: holding 2, 0: «fine}", "a: {at: holding 0}", "bad-word"},
		{"state: {at: holding 2, else: «ok}", "a: {at: holding 0}", "bad-word"},
		{"state: {at: holding 2, «x: good}", "a: {at: holding 0}", "bad-raw"},
		{"state: {at: holding 2, «-1: good}", "a: {at: holding 0}", "bad-raw"},
		{"state: {at: holding 2, «bit 16: good}", "a: {at: holding 0}", "out-of-bounds"},
		{"state: {at: holding 2, «bits 8..16: good}", "a: {at: holding 0}", "out-of-bounds"},
		{"state: {at: holding 2, bits «8..4: good}", "a: {at: holding 0}", "bad-form"},
		{"state: {at: holding 2, «bits 0..1 = 4: good}", "a: {at: holding 0}", "out-of-bounds"},
		{"state: {at: holding 2, bit 3: fault, «bits 0..3: good}", "a: {at: holding 0}", "state-bit-twice"},
		{"state: {at: holding 2, bits 0..3 = 1: fault, «bits 0..3 = 0x1: good}", "a: {at: holding 0}", "state-number-twice"},
		{"state: {at: holding 2, «8: good, bit 3: fault}", "a: {at: holding 0}", "state-overlap"},
		{"state: {at: holding 2, «bit three four: good}", "a: {at: holding 0}", "bad-form"},
		{"max_block: «0", "a: {at: holding 0}", "modbus.device.max_block"},
		{"gaps: «perhaps\npause: 1h", "a: {at: holding 0}", "modbus.device.gaps modbus.device.pause"},
		{"«max_blok: 5", "a: {at: holding 0}", "unknown-field"},
		{"«max_registers: 5", "a: {at: holding 0}", "unknown-field"},
		{"profile: «x", "a: {at: holding 0}", "not-in-this-version"},
		{"may_write: [{at: holding 1, range: «9 to 1}]", "a: {at: holding 0}", "range-order"},
		{"may_write: [{at: «holding x}]", "a: {at: holding 0}", "address.unknown"},
		{"may_write: [{at: holding 1, type: «x}]", "a: {at: holding 0}", "modbus.type-unknown"},
		{"may_write: [«{type: uint16}]", "a: {at: holding 0}", "missing-field"},
		{"may_write: [{at: holding 1, range: 0 to 1}]\nwatchdog: «holding 1 = 2 every 1s", "a: {at: holding 0}", "write-range"},
	} {
		b := oneDevice(x.fields, x.tags)
		data, _ := b.File(SiteFile)
		before, after, marked := strings.Cut(string(data), mark)
		if !marked {
			t.Fatalf("no mark in %q", x.fields+x.tags)
		}
		at := Place{SiteFile, strings.Count(before, "\n") + 1, len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1}
		if x.want == "not-in-this-version" { // stands at its key
			at.Col -= len("profile: ")
		}
		b.Put(SiteFile, []byte(before+after))
		_, problems := Compile(b, testSet())
		var got []string
		found := false
		for _, p := range problems {
			got = append(got, p.Code)
			found = found || p.Place == at
		}
		slices.Sort(got)
		if want := strings.Split(x.want, " "); !slices.Equal(got, want) || !found {
			t.Errorf("%q %q:\n got %v\nwant %s at %s", x.fields, x.tags, codes(problems), x.want, at)
		}
	}
}

// In rules too.
func TestProblemsOfStatesInRules(t *testing.T) {
	for _, x := range []struct{ rules, want string }{
		{"alarms: {a: {watch: d.mode, is: {at: «stopp, priority: low, text: x}}}", "bad-word"},
		{"alarms: {a: {watch: d.mode, is: {at: «3, priority: low, text: x}}}", "bad-word"},
		{"alarms: {a: {watch: d.gas, is: {at: «0, priority: low, text: x}}}", "bad-word"},
		{"alarms: {a: {watch: d.mode, is: {at: «on, priority: low, text: x}}}", "bad-word"},
		{"alarms: {a: {watch: d.mode, high: «{at: run, priority: low, text: x}}}", "limit-of-states"},
		{"interlocks: {I: {text: x, trip_when: any, channel_bad: left out, channels: [d.mode «>= run], then: [{demand: o}], reset: by operator}}", "order-of-states"},
		{"tests: [{name: x, story: [{at: 0s, set: {d.mode: «ramp to run by 5s}}]}]", "ramp-of-states"},
		{"tests: [{name: x, story: [{at: 0s, set: {d.gas: «Cl3}}]}]", "bad-word"},
	} {
		b := oneDevice("may_write: [coil 5]", "mode: {at: holding 3, states: {0: stop, 1: run}}\ngas: {at: holding 10, type: text 4, texts: [NH3, Cl2]}")
		site, _ := b.File(SiteFile)
		b.Put(SiteFile, append(site, "outputs: {o: {drives: d coil 5, idle: off, protective: on, davy_dead: stays, link_lost: stays}}\n"...))
		before, after, _ := strings.Cut(x.rules, mark)
		b.Put(RulesFile, []byte(before+after))
		_, problems := Compile(b, testSet())
		problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Warn })
		if want := []string{x.want + " " + Place{RulesFile, 1, len(before) + 1}.String()}; !slices.Equal(codes(problems), want) {
			t.Errorf("%s:\n got %v\nwant %v", x.rules, codes(problems), want)
		}
	}
}
