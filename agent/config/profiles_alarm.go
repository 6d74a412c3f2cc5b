package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// A Basis is what a profile proposed for one alarm of the site and what became
// of it: what `davy check` prints, so that people can hold it against the
// plant's safety design.
type Basis struct {
	Alarm    string // as the site names it
	Tag      string
	Unit     string // of the tag
	Profile  string // "gb50493/nh3"
	Approved string // "2026-03-02 EHS-117"; "" nobody has approved it
	Proposed bool   // at least one limit is the profile's own
	Limits   []LimitBasis
	Deadband DeadbandBasis
	OnDelay  DelayBasis
	OffDelay DelayBasis
	Ready    DelayBasis // longest warm-up
	Test     DelayBasis // longest calibration, bump test or inhibit
	Confirm  rules.Text // what must be confirmed; may be empty
	Place    Place
}

// Unapproved returns the entries of alarms with a limit that only a profile
// proposes, and that nobody has approved.
func (p *Plan) Unapproved() (list []Basis) {
	for _, b := range p.Profiles {
		if b.Proposed && b.Approved == "" {
			list = append(list, b)
		}
	}
	return list
}

// A Scheme is a file of profiles that the site uses, with what people must
// know who rely on it.
type Scheme struct {
	Name    string // "gb50493"
	Title   rules.Text
	Sources map[string]string // where each key of an Origin stands
	Caveats []rules.Text
}

// Origin is how sure a number is (verified, memory, derived) and the keys of
// its scheme's sources. The zero value is the site itself.
type Origin struct{ Mark, Sources string }

// LimitBasis is where one limit comes from.
type LimitBasis struct {
	Kind    string // "high"
	Limit   float64
	Written string     // "20 mg/m³": as the source writes it, or the site
	Own     bool       // the site wrote it; nothing below but Profile counts
	Profile float64    // what the profile proposes, in the tag's unit
	Exact   float64    // before rounding
	Rounded bool       // towards safety, to limitDigits
	Gas     rules.Text // where a gas was needed; its LEL or its mass
	Air     bool       // mass: at the temperature and pressure of the workplace
	Origin
	LatchOver bool // above the range of the instrument it is raised and latches
	Apart     bool // the site wrote a deadband or a delay for this limit alone
	Deadband  float64
	OnDelay   time.Duration
	OffDelay  time.Duration
}

// DeadbandBasis is where a deadband comes from. The zero value is none.
type DeadbandBasis struct {
	Value   float64
	Written string // "2 %" of the range; "" the site wrote it
	Held    bool   // to a tenth of the lowest high limit
	Origin
}

// DelayBasis is where a delay comes from.
type DelayBasis struct {
	Value time.Duration
	Origin
}

// limitDigits is to how many significant digits a proposed limit is rounded
// towards safety when its unit is not that of the source: as many as the
// figures that standards print have.
const limitDigits = 2

// towardsSafety rounds a limit to limitDigits: one that is high down, one that is low up.
func towardsSafety(v float64, op rules.Op) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	_, exp, _ := strings.Cut(strconv.FormatFloat(math.Abs(v), 'e', -1, 64), "e")
	e, _ := strconv.Atoi(exp)
	e -= limitDigits - 1
	step, err := strconv.ParseFloat("1e"+strconv.Itoa(e), 64)
	if err != nil || step == 0 {
		return v
	}
	steps := v / step
	near := math.Round(steps)
	switch up := op == rules.LE || op == rules.LT; {
	case math.Abs(steps-near) < 1e-9*math.Abs(steps): // it is one already, but for the last bit
		steps = near
	case up:
		steps = math.Ceil(steps)
	default:
		steps = math.Floor(steps)
	}
	out, err := strconv.ParseFloat(fmt.Sprintf("%.0fe%d", steps, e), 64)
	if err != nil {
		return v
	}
	return out
}

// both is one text of ours in both languages.
func both(key string, zh, en i18n.Args) rules.Text {
	return rules.Text{Zh: i18n.Zh.Text(key, zh), En: i18n.En.Text(key, en)}
}

// gasFor is the gas that a profile's figures are of: the tag's, or else the
// profile's. Two that differ are a problem.
func (c *compiler) gasFor(t *tagInfo, p *profile, n *node) (*tagGas, bool) {
	switch {
	case p.gas == nil:
		return t.gas, true
	case t.gas == nil:
		return p.gas.calibrated(), true
	case t.gas.gas != p.gas:
		c.bad(n, "gas-differs", "gas-differs", "tag", string(t.name), "have", t.gas.name, "profile", p.full(), "want", p.gas.name)
		return nil, false
	}
	return t.gas, true
}

// propose turns a proposed number into the unit of the tag, rounded towards safety.
func (c *compiler) propose(t *tagInfo, at *sourced, op rules.Op, g *tagGas, n *node) (LimitBasis, bool) {
	want := c.plan.Tags[t.id].Unit
	b := LimitBasis{Written: at.written(), Origin: at.origin()}
	if want == at.unit {
		b.Exact, b.Limit = at.v, at.v
		return b, true
	}
	if want == "" {
		c.bad(n, "profile-no-unit", "profile-no-unit", "tag", string(t.name), "have", at.unit)
		return b, false
	}
	v, air, err := rescale(at.v, at.unit, want, g, false)
	if err != nil {
		c.inconvertible(t, at.unit, n, g, err)
		return b, false
	}
	b.Exact, b.Air = v, air
	b.Limit = towardsSafety(v, op)
	b.Rounded = b.Limit != v
	if g != nil && (air || byLEL(at.unit) != byLEL(want)) {
		b.Gas = g.text
	}
	return b, true
}

// proposed is the limit of a kind that a profile proposes for a tag. ok is
// false where it cannot be; within the range of the instrument it must be.
func (c *compiler) proposed(t *tagInfo, p *profile, kind string, op rules.Op, n *node, mustFit bool) (LimitBasis, bool) {
	l := p.level(kind)
	g, ok := c.gasFor(t, p, n)
	if !ok {
		return LimitBasis{}, false
	}
	b, ok := c.propose(t, l.at, op, g, n)
	if !ok {
		return b, false
	}
	b.Kind, b.Profile = kind, b.Limit
	x := c.plan.Tags[t.id]
	if !mustFit || !x.Ranged || b.Limit >= x.Low && b.Limit <= x.High {
		return b, true
	}
	args := []any{"limit", decimal(b.Limit), "written", b.Written, "low", x.Low, "high", x.High, "unit", x.Unit, "tag", string(t.name), "profile", p.full(), "level", kind}
	if p.idlh != nil && l.ofIDLH != nil {
		of := &sourced{v: p.idlh.v * l.ofIDLH.v / 100, unit: p.idlh.unit, mark: p.idlh.mark, sources: p.idlh.sources}
		if v, _, err := rescale(of.v, of.unit, x.Unit, g, false); err == nil {
			if v = towardsSafety(v, op); v >= x.Low && v <= x.High {
				c.bad(n, "profile-outside-range", "profile-idlh", append(args, "idlh", p.idlh.written(), "share", l.ofIDLH.written(), "mass", of.written(), "instead", decimal(v))...)
				return b, false
			}
		}
	}
	c.bad(n, "profile-outside-range", "profile-outside-range", args...)
	return b, false
}

// levelText is what a proposed alarm says.
func levelText(t Tag, p *profile, l *level) rules.Text {
	zh, en := i18n.Args{"subject": p.text.Zh, "level": l.text.Zh}, i18n.Args{"subject": p.text.En, "level": l.text.En}
	if t.Text.En == string(t.Name) {
		return both("config.level-text", zh, en)
	}
	zh["tag"], en["tag"] = t.Text.Zh, t.Text.En
	out := both("config.level-text-of", zh, en)
	if max(utf8.RuneCountInString(out.Zh), utf8.RuneCountInString(out.En)) > maxText {
		return both("config.level-text", zh, en)
	}
	return out
}

// proposedDeadband is the deadband that a profile proposes. % is of the range;
// that of a high limit is held to a tenth of it, so that the alarm can return.
func (c *compiler) proposedDeadband(t *tagInfo, p *profile, lowestHigh float64, n *node) DeadbandBasis {
	x := c.plan.Tags[t.id]
	d := p.deadband
	if d == nil || x.Kind == tag.Bool || t.stated() || t.unknownKind {
		return DeadbandBasis{}
	}
	out := DeadbandBasis{Written: d.written(), Origin: d.origin()}
	switch {
	case d.unit == "%" && !x.Ranged:
		return DeadbandBasis{}
	case d.unit == "%":
		out.Value = d.v / 100 * (x.High - x.Low)
	default:
		g, ok := c.gasFor(t, p, n)
		v, _, err := rescale(d.v, d.unit, x.Unit, g, true)
		if !ok || err != nil {
			return DeadbandBasis{} // its limits do not convert either, and that was said
		}
		out.Value = v
	}
	if tenth := lowestHigh / 10; lowestHigh > 0 && out.Value > tenth {
		out.Value, out.Held = tenth, true
	}
	if span := x.High - x.Low; x.Ranged && out.Value >= span { // nothing would end the alarm
		c.bad(n, "deadband-too-big", "", "text", out.Written, "span", strconv.FormatFloat(span, 'g', -1, 64), "unit", x.Unit)
		return DeadbandBasis{}
	}
	return out
}

// maxReference is the longest reference of an approval, in characters.
const maxReference = 60

// approval reads `approved: 2026-03-02 EHS-117`: the day, and where the
// decision is written down.
func (c *compiler) approval(n *node) string {
	if n == nil || !c.isScalar(n) {
		return ""
	}
	day, ref, _ := strings.Cut(strings.TrimSpace(n.text), " ")
	ref = strings.TrimSpace(ref)
	if _, err := time.Parse(time.DateOnly, day); err != nil || ref == "" || utf8.RuneCountInString(ref) > maxReference || strings.ContainsFunc(ref, unseen) {
		c.bad(n, "bad-approval", "write-form", "text", n.text, "form", "2026-03-02 EHS-117")
		return ""
	}
	return day + " " + ref
}
