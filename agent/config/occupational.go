package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a gateway's system need not have it; where it has, its own goes first

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
	"davy/rules/shift"
	units "davy/rules/unit"
)

// What people breathe, as computed tags (rules/expr says how they are reckoned):
//
//	gateway: {time_zone: Asia/Shanghai, shifts: [08:00, 20:00]}
//	computed:
//	  nh3-1.stel: {stel: nh3-1.gas}                    the mean of 15 min; -highest of the shift, -last of the one before
//	  nh3-1.twa:  {twa: nh3-1.gas, long_shift: 0.5}    C·T of the shift over 8 h; -last; -seen, how much of the shift can be seen
//	  h2s-1.mac:  {mac: h2s-1.gas, coverage: 80 %}     the highest of the shift; -last; -seen
//	alarms:
//	  nh3-1-twa: {watch: nh3-1.twa, profile: gbz21/nh3, approved: 2026-03-02 EHS-117}
//
// They stand under computed and not in a section of their own, for they are
// computed tags: recorded, shown, alarmed and looked at by expressions as any
// other. The limits are the profile's, in the unit of the detector.
var exposureForm = form{
	{name: "stel"},
	{name: "twa"},
	{name: "mac"},
	{name: "coverage"},
	{name: "long_shift", also: []string{"long-shift", "rf", "RF"}},
	{name: "text", also: []string{"name", "description"}},
	{name: "record", also: []string{"log", "history"}},
}

// An exposure is one of the three words, and the tags that it makes.
type exposure struct {
	word string
	tags []exposureTag
}

type exposureTag struct {
	suffix  string // behind the name that is written
	fn      string // of the language
	words   string // of agent/i18n
	needs   bool   // shifts
	covered bool   // the coverage is said to it
	ofFirst bool   // it is made of the first of these, not of what is breathed
	free    bool   // it has no limit
}

var exposures = []exposure{
	{"stel", []exposureTag{
		{fn: "stel", words: "stel", covered: true},
		{suffix: "-highest", fn: "shift_max", words: "stel-highest", needs: true, ofFirst: true},
		{suffix: "-last", fn: "shift_max_last", words: "stel-last", needs: true, covered: true, ofFirst: true},
	}},
	{"twa", []exposureTag{
		{fn: "twa", words: "twa", needs: true},
		{suffix: "-last", fn: "twa_last", words: "twa-last", needs: true, covered: true},
		{suffix: "-seen", fn: "shift_seen", words: "seen", needs: true, free: true},
	}},
	{"mac", []exposureTag{
		{fn: "shift_max", words: "mac", needs: true},
		{suffix: "-last", fn: "shift_max_last", words: "mac-last", needs: true, covered: true},
		{suffix: "-seen", fn: "shift_seen", words: "seen", needs: true, free: true},
	}},
}

// exposureOf returns what a computed tag is written as, nil where it is none of these.
func exposureOf(n *node) *exposure {
	for i := range exposures {
		if n.get(exposures[i].word) != nil {
			return &exposures[i]
		}
	}
	return nil
}

// exposed is what a tag knows of being one.
type exposed struct {
	word   string  // stel, twa, mac; "" no limit is of it
	factor float64 // of the limit in long shifts; 0 none is written
}

// changeShare is which part of a detector's range a value of exposure must have
// changed by to be recorded, where the site does not say.
const changeShare = 0.005

// exposure compiles the tags of one entry.
func (c *compiler) exposure(x *formula) {
	e := exposureOf(x.p.val)
	f := c.read(x.p.val, "computed", exposureForm)
	for _, o := range exposures {
		if n := f.get(o.word); n != nil && o.word != e.word {
			c.bad(n, "exposure-words", "", "first", e.word, "second", o.word)
		}
	}
	n := f.get(e.word)
	from := c.breathed(n, e.word)
	if from != nil && c.shifts == nil && e.tags[0].needs {
		if !c.shiftsLost {
			c.bad(n, "expr-no-shifts", "expr-no-shifts", "name", e.word)
		}
		from = nil
	}
	own := exposed{word: e.word, factor: c.longShift(f.get("long_shift"), e.word)}
	covered := c.coverage(f.get("coverage"))
	about := rules.Text{}
	if t := f.get("text"); t != nil {
		about, _ = c.prose(t)
	} else if from != nil {
		about = c.plan.Tags[from.id].Text
	}
	for i, k := range e.tags {
		name := x.p.key.text + k.suffix
		info := &tagInfo{n: x.p.key, name: tag.Name(name), link: -1, kind: tag.Float64}
		c.formulas[name].info = info
		if from == nil || k.needs && c.shifts == nil {
			info.unknownKind, info.vague = true, true
			if from == nil || c.shiftsLost {
				c.addTag(info, Tag{Name: info.name, Kind: tag.Float64, Place: x.p.key.place})
			}
			continue
		}
		info.gas, info.gasLost = from.gas, from.gasLost
		arg := n.text
		if k.ofFirst {
			arg = x.p.key.text
		}
		t := Tag{Name: info.name, Kind: tag.Float64, Place: x.p.key.place, Record: Record{Every: DefaultRecord}}
		src := c.plan.Tags[from.id]
		switch {
		case k.free:
			t.Ranged, t.High = true, 100
		case e.word != "twa" && src.Ranged: // those of twa can be more than is measured
			t.Ranged, t.Low, t.High = true, max(src.Low, 0), max(src.High, 0)
		}
		if !k.free {
			info.exposed = own
		}
		if src.Ranged && !k.covered {
			t.Record.Change = changeShare * (src.High - src.Low)
		}
		t.Text = both("config.exposure-"+k.words, i18n.Args{"text": about.Zh}, i18n.Args{"text": about.En})
		text := k.fn + "(" + arg + ")"
		if k.covered && covered != "" {
			text = k.fn + "(" + arg + ", " + covered + ")"
		}
		p, ok := c.programOf(text, n)
		if !ok {
			info.unknownKind, info.vague = true, true
			p = nil
		} else {
			t.Unit, info.through = p.Type().Unit.String(), p.Type().Gas
		}
		if i == 0 && f.get("record") != nil {
			c.recordOf(f.get("record"), &t)
		}
		c.computedTag(info, t, p)
	}
	x.info = c.formulas[x.p.key.text].info
}

// breathed is the tag of a concentration that a node names.
func (c *compiler) breathed(n *node, word string) *tagInfo {
	if s, ok := c.plain(n); ok {
		if y := c.formulas[s]; y != nil {
			c.formula(y)
			if y.info == nil { // it goes in a circle, and that was said
				n.lost = true
			}
		}
	}
	t := c.tagNamed(n)
	switch {
	case t == nil || t.unknownKind || t.vague:
		return nil
	case t.kind == tag.Bool || t.kind == tag.Text || t.stated():
		c.bad(n, "expr-needs-number", "")
		return nil
	}
	have := c.plan.Tags[t.id].Unit
	u, err := units.Parse(have)
	if ppm, _ := units.Parse("ppm"); err != nil || !u.SameWithGas(ppm) {
		c.bad(n, "expr-concentration", "", "name", word, "have", shownUnit(have))
		return nil
	}
	t.used = true
	return t
}

// programOf compiles a text of ours; at is where to say what is wrong with it.
func (c *compiler) programOf(text string, at *node) (*expr.Program, bool) {
	p, ok := c.expression(&node{text: text, place: at.place, width: at.width, cell: true})
	if !ok {
		at.lost = true
	}
	return p, ok
}

// coverage reads `coverage: 80 %`, and returns it as the language has it.
func (c *compiler) coverage(n *node) string {
	if _, ok := c.plain(n); !ok {
		return ""
	}
	v, rest, ok := c.number(c.lex(n), n)
	if !ok {
		return ""
	}
	u, _, rest := unit(rest)
	if !c.nothing(rest) {
		return ""
	}
	if u != "%" || v < 1 || v > 100 {
		c.bad(n, "expr-coverage", "")
		return ""
	}
	return decimal(v) + " %"
}

// longShift reads `long_shift: 0.5`: what the limit of a day is multiplied by
// where shifts are longer than eight hours.
func (c *compiler) longShift(n *node, word string) float64 {
	if _, ok := c.plain(n); !ok {
		return 0
	}
	v, rest, ok := c.number(c.lex(n), n)
	switch {
	case !ok || !c.nothing(rest):
	case word != "twa":
		c.bad(n, "long-shift-word", "", "word", word)
	case v < 0.01 || v > 1:
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", "0.01", "high", 1)
	default:
		return v
	}
	return 1
}

// ofExposure reports whether a profile has limits of exposure.
func (p *profile) ofExposure() bool { return p.mac != nil || p.twa != nil || p.stel != nil }

// limitsOf turns a profile with limits of exposure into the levels of the tag
// that an alarm watches: the limit, and of a day's mean the action level before it.
func (c *compiler) limitsOf(e *entry) *profile {
	p, t, n := e.profile, e.t, e.f.get("profile")
	if p == nil || !p.ofExposure() {
		return p
	}
	if t == nil || t.vague {
		return nil // what it would propose is not known, and why was said
	}
	if t.exposed.word == "" {
		return p
	}
	all := map[string]*sourced{"stel": p.stel, "twa": p.twa, "mac": p.mac}
	limit := all[t.exposed.word]
	if limit == nil {
		var have []string
		for _, word := range []string{"mac", "twa", "stel"} {
			if all[word] != nil {
				have = append(have, word)
			}
		}
		c.bad(n, "exposure-no-limit", "exposure-no-limit", "profile", p.full(), "word", t.exposed.word, "list", listing(strings.Join(have, ", ")))
		return nil
	}
	q := *p
	q.levels = map[string]*level{}
	level := func(kind string, at *sourced) {
		w := p.scheme.words[kind]
		if w == nil {
			c.bad(n, "level-no-words", "", "level", kind)
			return
		}
		mine := *w
		mine.at = at
		q.levels[kind] = &mine
	}
	if f := t.exposed.factor; f > 0 && f != 1 {
		limit = limit.times(f, "× "+decimal(f), nil)
	} else if t.exposed.word == "twa" && f == 0 && c.shifts != nil && c.shifts.Longest()-time.Hour > expr.WorkDay {
		h := (c.shifts.Longest() - time.Hour).Hours()
		c.warn(n, "long-shift", "long-shift", "hours", decimal(h), "tag", string(t.name), "factor", brief(8/h*(24-h)/16))
	}
	level("high-high", limit)
	if a := p.scheme.action; t.exposed.word == "twa" && a != nil {
		level("high", limit.times(a.v/100, "× "+a.written(), a))
	}
	return &q
}

// times is a number times another; how says it as it is printed.
func (s *sourced) times(f float64, how string, from *sourced) *sourced {
	out := *s
	out.how = s.written() + " " + how
	out.v, _ = strconv.ParseFloat(strconv.FormatFloat(s.v*f, 'g', 12, 64), 64) // 20 × 0.5 × 0.33 is 3.3
	if from != nil {
		out.sources = slices.Clone(s.sources)
		for _, x := range from.sources {
			if !slices.Contains(out.sources, x) {
				out.sources = append(out.sources, x)
			}
		}
		if slices.Index(surest, from.mark) > slices.Index(surest, out.mark) {
			out.mark = from.mark
		}
	}
	return &out
}

// surest are the marks from the surest down: a product is no surer than either.
var surest = []string{"verified", "derived", "memory"}

var timeOfDay = regexp.MustCompile(`^([01]?[0-9]|2[0-3]):([0-5][0-9])$`)

// shiftsOf reads `shifts: [08:00, 20:00]`: when shifts begin, in the site's time zone.
func (c *compiler) shiftsOf(n, zone *node) {
	if n == nil || n.lost {
		c.shiftsLost = n != nil
		return
	}
	c.shiftsLost = true // until they are read
	items := []*node{n}
	if n.kind != scalar {
		if !c.isList(n, "[08:00, 20:00]") {
			return
		}
		items = n.items
	}
	if len(items) == 0 || len(items) > shift.Most {
		c.bad(n, "shifts-number", "expr-no-shifts", "limit", shift.Most)
		return
	}
	var at []time.Duration
	for _, x := range items {
		s, ok := c.plain(x)
		if !ok {
			return
		}
		m := timeOfDay.FindStringSubmatch(s)
		if m == nil {
			c.bad(x, "bad-form", "write-form", "text", s, "form", "08:00")
			return
		}
		hours, _ := strconv.Atoi(m[1])
		minutes, _ := strconv.Atoi(m[2])
		d := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
		if slices.Contains(at, d) {
			c.bad(x, "shift-twice", "expr-no-shifts", "text", s)
			return
		}
		at = append(at, d)
	}
	if zone == nil {
		c.bad(n, "shifts-no-zone", "shifts-no-zone")
		return
	}
	if z := c.zone(zone); z != nil {
		c.shifts, c.shiftsLost = shift.New(z, at), false
	}
}

// zone returns the site's time zone; n is where one that is not known is said.
// Its rules are those of this machine, or else those that Davy was built with.
func (c *compiler) zone(n *node) *time.Location {
	if c.zoneLost || n.lost {
		return nil
	}
	z, err := time.LoadLocation(c.plan.Gateway.TimeZone)
	if err != nil {
		c.zoneLost = true
		c.bad(n, "bad-time-zone", "bad-time-zone", "text", c.plan.Gateway.TimeZone)
		return nil
	}
	return z
}

// storyStart reads `starts: 2026-01-05 07:55`, by the clock of the site.
func (c *compiler) storyStart(n *node) int64 {
	s, ok := c.plain(n)
	if !ok {
		return 0
	}
	z := c.zone(n)
	if z == nil {
		return 0
	}
	for _, form := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(form, s, z); err == nil && t.Year() >= 2000 && t.Year() < 2200 {
			return t.UnixNano()
		}
	}
	c.bad(n, "bad-form", "write-form", "text", s, "form", "2026-01-05 07:55")
	return 0
}
