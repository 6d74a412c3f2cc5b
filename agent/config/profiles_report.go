package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"davy/agent/i18n"
	"davy/rules"
)

// write prints what a profile proposed for one alarm and where it is from.
func (b Basis) write(w io.Writer, lang i18n.Lang) {
	say := func(words string, args i18n.Args, o Origin) {
		line := lang.Text("config.report-"+words, args)
		if o.Mark != "" {
			line += lang.Text("config.report-origin", i18n.Args{"mark": i18n.Key("config.mark-" + o.Mark), "sources": o.Sources})
		}
		fmt.Fprintln(w, line)
	}
	say("profile", i18n.Args{"alarm": b.Alarm, "tag": b.Tag, "profile": b.Profile}, Origin{})
	switch {
	case b.Approved != "":
		say("approved", i18n.Args{"approved": b.Approved}, Origin{})
	case b.Proposed:
		say("not-approved", nil, Origin{})
	}
	for _, l := range b.Limits {
		say("limit", i18n.Args{"kind": l.Kind, "limit": brief(l.Limit), "unit": b.Unit, "basis": l.basis(b.Unit, lang)}, l.Origin)
		if l.LatchOver {
			say("latch-over", nil, Origin{})
		}
		if l.Apart {
			say("apart", i18n.Args{"deadband": brief(l.Deadband), "unit": b.Unit, "on": spell(l.OnDelay), "off": spell(l.OffDelay)}, Origin{})
		}
	}
	if d := b.Deadband; d != (DeadbandBasis{}) {
		say("deadband", i18n.Args{"value": brief(d.Value), "unit": b.Unit, "basis": d.basis(lang)}, d.Origin)
	} else {
		say("no-deadband", nil, Origin{})
	}
	for _, x := range []struct {
		words string
		d     DelayBasis
	}{{"on-delay", b.OnDelay}, {"off-delay", b.OffDelay}, {"ready-within", b.Ready}, {"test-within", b.Test}} {
		switch {
		case x.d == DelayBasis{}:
		case x.d.Mark == "":
			say(x.words, i18n.Args{"d": spell(x.d.Value), "basis": i18n.Key("config.basis-site")}, Origin{})
		default:
			say(x.words, i18n.Args{"d": spell(x.d.Value), "basis": i18n.Key("config.basis-as-is")}, x.d.Origin)
		}
	}
	if b.Confirm.En != "" {
		say("note", i18n.Args{"text": inLang(b.Confirm, lang)}, Origin{})
	}
}

// write prints where the numbers of a scheme's profiles are from, and what it
// says of itself.
func (s Scheme) write(w io.Writer, used []Basis, lang i18n.Lang) {
	fmt.Fprintln(w, lang.Text("config.report-scheme", i18n.Args{"name": s.Name, "title": inLang(s.Title, lang)}))
	keys := map[string]bool{}
	for _, b := range used {
		if name, _, _ := strings.Cut(b.Profile, "/"); name != s.Name {
			continue
		}
		all := []Origin{b.Deadband.Origin, b.OnDelay.Origin, b.OffDelay.Origin}
		for _, l := range b.Limits {
			all = append(all, l.Origin)
		}
		for _, o := range all {
			for _, k := range strings.Fields(o.Sources) {
				keys[k] = true
			}
		}
	}
	for _, k := range sortedNames(keys) {
		fmt.Fprintln(w, lang.Text("config.report-source", i18n.Args{"key": k, "where": s.Sources[k]}))
	}
	for _, t := range s.Caveats {
		fmt.Fprintln(w, lang.Text("config.report-note", i18n.Args{"text": inLang(t, lang)}))
	}
}

// basis says how a limit comes from what its source says.
func (l LimitBasis) basis(unit string, lang i18n.Lang) string {
	if l.Own {
		return lang.Text("config.basis-own", i18n.Args{"written": l.Written, "proposed": brief(l.Profile), "unit": unit})
	}
	if l.Limit == l.Exact && !l.Air && l.Gas == (rules.Text{}) && l.Written == strings.TrimSuffix(decimal(l.Limit)+" "+unit, " ") {
		return lang.Text("config.basis-as-is", nil)
	}
	out := converted(l.Written, l.Exact, unit, l.Gas, l.Air, lang)
	if l.Rounded {
		words := "config.basis-down"
		if l.Limit > l.Exact {
			words = "config.basis-up"
		}
		out += lang.Text(words, i18n.Args{"limit": brief(l.Limit), "unit": unit})
	}
	return out
}

// converted says what a number became in another unit, and by what.
func converted(written string, v float64, unit string, gas rules.Text, air bool, lang i18n.Lang) string {
	words := "config.basis-converted"
	switch {
	case air:
		words = "config.basis-air"
	case gas != rules.Text{}:
		words = "config.basis-gas"
	}
	return lang.Text(words, i18n.Args{"written": written, "gas": inLang(gas, lang), "exact": brief(v), "unit": unit})
}

func (d DeadbandBasis) basis(lang i18n.Lang) string {
	switch {
	case d.Written == "":
		return lang.Text("config.basis-site", nil)
	case !strings.HasSuffix(d.Written, " %"):
		return lang.Text("config.basis-as-is", nil)
	}
	out := lang.Text("config.basis-share", i18n.Args{"written": d.Written})
	if d.Held {
		out += lang.Text("config.basis-held", nil)
	}
	return out
}

// brief prints a number with at most three significant digits, or all before
// the point.
func brief(v float64) string {
	s := strconv.FormatFloat(v, 'g', 3, 64)
	if x, err := strconv.ParseFloat(s, 64); err == nil && x < 1000 && x > -1000 {
		return decimal(x)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// writeConversions prints the numbers that stand in another unit than their tag's.
func writeConversions(w io.Writer, list []Conversion, lang i18n.Lang) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", lang.Text("config.report-converted", nil))
	for _, x := range list {
		fmt.Fprintln(w, lang.Text("config.report-conversion", i18n.Args{
			"place": x.Place.String(), "tag": x.Tag, "basis": converted(x.Written, x.Used, x.Unit, x.Gas, x.Air, lang),
		}))
	}
}
