package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/replay"
	"davy/drivers/tag"
)

// maxReplayNames is how many rules a line names; more are counted, and --json has all.
const maxReplayNames = 40

// replayWriter prints what a replay found.
type replayWriter struct {
	c        *cli.Call
	rep      *replay.Report
	zone     *time.Location
	present  *config.Plan
	fresh    *config.Plan
	accepted string // hash of the accepted site that was the present one; "" the site directory
}

func (w *replayWriter) at(wall int64) string { return clockTime(wall, w.zone) }

func (w *replayWriter) span(d time.Duration) string { return w.c.Lang.Span(d) }

func (w *replayWriter) sayReplay(key string, args i18n.Args) { w.c.Say("davy.replay."+key, args) }

func (w *replayWriter) blank() { fmt.Fprintln(w.c.Out) }

func (w *replayWriter) write() {
	w.head()
	w.missing()
	w.changes()
	w.rest()
	w.acts()
	w.load()
	w.blank()
	w.sayReplay("caution", nil)
}

func (w *replayWriter) head() {
	r := w.rep
	if w.accepted != "" {
		w.sayReplay("present-accepted", i18n.Args{"hash": w.accepted[:min(len(w.accepted), 12)]})
	} else {
		w.sayReplay("present-site", i18n.Args{"site": w.c.Args[0]})
	}
	w.sayReplay("new", i18n.Args{"path": w.c.Flag("rules")})
	w.sayReplay("window", i18n.Args{"from": w.at(r.From), "to": w.at(r.To), "zone": w.zone, "length": w.span(time.Duration(r.To - r.From)), "readings": r.Readings})
	if lead := time.Duration(r.From - r.Began); lead > 0 {
		w.sayReplay("lead", i18n.Args{"lead": w.span(lead)})
	}
	if r.Asked != 0 && r.Asked < r.From {
		w.sayReplay("later", i18n.Args{"asked": w.at(r.Asked)})
	}
	args := i18n.Args{"agree": r.Record.Agree, "all": r.Record.Agree + r.Record.Recorded, "recorded": r.Record.Recorded, "replayed": r.Record.Replayed}
	switch {
	case r.Record == (replay.Agreement{}):
		w.sayReplay("checked-none", nil)
	case r.Record.Recorded+r.Record.Replayed == 0:
		w.sayReplay("checked-all", args)
	default:
		w.sayReplay("checked", args)
	}
}

// missing says what the record does not hold.
func (w *replayWriter) missing() {
	r := w.rep
	for _, s := range r.Plans {
		w.sayReplay("plan", i18n.Args{"from": w.at(s.From), "to": w.at(s.To)})
	}
	for _, d := range r.Damaged {
		w.sayReplay("damaged", i18n.Args{"what": d})
	}
	if n := len(r.Gaps) + r.MoreGaps; n > 0 {
		w.sayReplay("gaps", i18n.Args{"n": n})
		for _, g := range r.Gaps {
			w.sayReplay("gap", i18n.Args{"when": w.when(g.From, g.To), "what": w.gapText(g)})
		}
		w.more(r.MoreGaps)
	}
	if len(r.Tags) > 0 {
		w.sayReplay("tags", nil)
		for _, t := range r.Tags {
			fmt.Fprintln(w.c.Out, "  "+w.why(t))
			if was := w.perhaps(t); was != "" {
				w.sayReplay("perhaps", i18n.Args{"tag": t.Tag, "was": was})
			}
		}
	}
}

func (w *replayWriter) more(n int) {
	if n > 0 {
		w.sayReplay("more", i18n.Args{"n": n})
	}
}

func (w *replayWriter) when(from, to int64) string {
	switch {
	case from == 0:
		return w.c.Lang.Text("davy.replay.until", i18n.Args{"to": w.at(to)})
	case to == 0 || to == from:
		return w.at(from)
	}
	return w.c.Lang.Text("davy.replay.from-to", i18n.Args{"from": w.at(from), "to": w.at(to)})
}

func (w *replayWriter) gapText(g replay.Gap) string {
	key := "replay.gap." + g.Cause
	if !i18n.Has(key) {
		key = "replay.gap.other"
	}
	stream := g.Stream
	if i18n.Has("replay.stream." + stream) {
		stream = w.c.Lang.Text("replay.stream."+stream, nil)
	}
	return w.c.Lang.Text(key, i18n.Args{"stream": stream, "count": g.Count, "cause": g.Cause})
}

// why is one reason in words.
func (w *replayWriter) why(y replay.Why) string {
	args := i18n.Args{"tag": y.Tag, "was": y.Was, "unit": y.Unit, "n": y.N, "change": strconv.FormatFloat(y.Change, 'g', 4, 64), "every": w.span(y.Every), "for": w.span(y.For)}
	return strings.Join(strings.Fields(w.c.Lang.Text("replay.why."+y.Code, args)), " ") // a unit may be none
}

// whys are the reasons in words; tags of which the same is to be said stand together.
func (w *replayWriter) whys(all []replay.Why) string {
	var order []replay.Why
	tags := map[replay.Why][]string{}
	for _, y := range all {
		key := y
		key.Tag = ""
		if tags[key] == nil {
			order = append(order, key)
		}
		tags[key] = append(tags[key], y.Tag)
	}
	var out []string
	for _, key := range order {
		names := tags[key]
		key.Tag = strings.Join(names[:min(len(names), maxReplayNames)], ", ")
		if more := len(names) - maxReplayNames; more > 0 {
			key.Tag += w.c.Lang.Text("davy.replay.names-more", i18n.Args{"n": more})
		}
		out = append(out, w.why(key))
	}
	return strings.Join(out, w.c.Lang.Text("davy.replay.and", nil))
}

// perhaps names the tag as which one that was never recorded may have been: at
// its place in the present site stands one that the new site does not have.
func (w *replayWriter) perhaps(y replay.Why) string {
	if y.Code != "not-recorded" {
		return ""
	}
	var mine *config.Tag
	names := map[tag.Name]bool{}
	for i := range w.fresh.Tags {
		names[w.fresh.Tags[i].Name] = true
		if string(w.fresh.Tags[i].Name) == y.Tag {
			mine = &w.fresh.Tags[i]
		}
	}
	if mine == nil || int(mine.ID) >= len(w.present.Tags) {
		return ""
	}
	if was := &w.present.Tags[mine.ID]; !names[was.Name] && was.Kind == mine.Kind && was.Unit == mine.Unit {
		return string(was.Name)
	}
	return ""
}

// changes lists the rules that did not do the same.
func (w *replayWriter) changes() {
	w.blank()
	any := false
	for _, trips := range []bool{true, false} {
		for i := range w.rep.Rules {
			r := &w.rep.Rules[i]
			if !r.Changed() || r.Trip != trips || r.Of == "tripped" { // what a trip says already
				continue
			}
			if !any {
				w.sayReplay("changes", nil)
			}
			any = true
			w.change(r)
		}
	}
	if !any {
		w.sayReplay("no-changes", nil)
	}
}

func (w *replayWriter) change(r *replay.Rule) {
	key := "rule"
	if r.Trip {
		key = "trip"
	}
	w.sayReplay(key, i18n.Args{"rule": r.Name, "grade": i18n.Key("replay.grade." + r.Grade.String())})
	if !r.InNew {
		w.sayReplay("gone-rule", nil)
	} else if !r.InPresent {
		w.sayReplay("new-rule", nil)
	}
	w.figuresOf("davy.replay.figures-present", &r.Present)
	w.figuresOf("davy.replay.figures-new", &r.New)
	for _, d := range r.Differences {
		w.difference(&d)
	}
	w.more(r.Came + r.Gone + r.Moved - len(r.Differences))
	if len(r.Why) > 0 {
		w.sayReplay("because", i18n.Args{"why": w.whys(r.Why)})
	}
}

func (w *replayWriter) figuresOf(key string, f *replay.Figures) {
	if f.Count == 0 && f.Standing == 0 {
		w.c.Say(key, i18n.Args{"what": i18n.Key("davy.replay.never")})
		return
	}
	args := i18n.Args{"n": f.Count, "standing": w.span(f.Standing), "longest": w.span(f.Longest), "first": w.at(f.First), "hidden": f.Hidden, "test": f.Test}
	var parts []string
	addFigure := func(part string) { parts = append(parts, w.c.Lang.Text("davy.replay.f-"+part, args)) }
	if addFigure("count"); f.Count > 0 {
		addFigure("first")
	}
	addFigure("standing")
	if f.Longest < f.Standing {
		addFigure("longest")
	}
	if f.Hidden > 0 {
		addFigure("hidden")
	}
	if f.Test > 0 {
		addFigure("test")
	}
	if f.Chatters {
		addFigure("chatters")
	}
	w.c.Say(key, i18n.Args{"what": strings.Join(parts, w.c.Lang.Text("davy.replay.comma", nil))})
}

func (w *replayWriter) difference(d *replay.Difference) {
	switch {
	case d.Present.Times == 0:
		w.sayReplay("came", i18n.Args{"stood": w.stood(&d.New)})
	case d.New.Times == 0:
		w.sayReplay("gone", i18n.Args{"stood": w.stood(&d.Present)})
	default:
		w.sayReplay("moved", i18n.Args{"present": w.stood(&d.Present), "new": w.stood(&d.New), "by": w.by(d)})
	}
}

// stood is a stretch in words.
func (w *replayWriter) stood(s *replay.Stood) string {
	key := "stood"
	switch {
	case s.Before && !s.Ended:
		key = "stood-all"
	case s.Before:
		key = "stood-before"
	case !s.Ended:
		key = "stood-on"
	}
	text := w.c.Lang.Text("davy.replay."+key, i18n.Args{"from": w.at(s.From), "to": w.at(s.To), "for": w.span(s.For)})
	if s.Times > 1 {
		text += w.c.Lang.Text("davy.replay.times", i18n.Args{"n": s.Times})
	}
	return text
}

// by says by how much one stretch moved.
func (w *replayWriter) by(d *replay.Difference) string {
	var parts []string
	addMove := func(less, more string, by int64) {
		switch {
		case by < 0:
			parts = append(parts, w.c.Lang.Text("davy.replay.by-"+less, i18n.Args{"by": w.span(time.Duration(-by))}))
		case by > 0:
			parts = append(parts, w.c.Lang.Text("davy.replay.by-"+more, i18n.Args{"by": w.span(time.Duration(by))}))
		}
	}
	addMove("earlier", "later", d.New.From-d.Present.From)
	addMove("shorter", "longer", int64(d.New.For-d.Present.For))
	if d.New.Times != d.Present.Times {
		parts = append(parts, w.c.Lang.Text("davy.replay.by-times", i18n.Args{"new": d.New.Times, "present": d.Present.Times}))
	}
	if len(parts) == 0 {
		parts = append(parts, w.c.Lang.Text("davy.replay.by-shape", nil))
	}
	return strings.Join(parts, w.c.Lang.Text("davy.replay.comma", nil))
}

// rest names the rules that did the same, with how far that can be believed.
func (w *replayWriter) rest() {
	var by [3][]*replay.Rule
	for i := range w.rep.Rules {
		if r := &w.rep.Rules[i]; !r.Changed() && r.InNew && !r.Agent && r.Of != "tripped" {
			by[r.Grade] = append(by[r.Grade], r)
		}
	}
	w.blank()
	if len(by[0])+len(by[1])+len(by[2]) == 0 {
		return
	}
	w.sayReplay("same", nil)
	for _, g := range []replay.Grade{replay.Exact, replay.Approximate, replay.Unknown} {
		if len(by[g]) == 0 {
			continue
		}
		w.sayReplay("same-grade", i18n.Args{"grade": i18n.Key("replay.grade." + g.String()), "n": len(by[g])})
		w.together(by[g])
	}
}

// together names rules, those of one reason in one line.
func (w *replayWriter) together(list []*replay.Rule) {
	var order []string
	of := map[string][]string{}
	for _, r := range list {
		why := w.whys(r.Why)
		if of[why] == nil {
			order = append(order, why)
		}
		of[why] = append(of[why], r.Name)
	}
	for _, why := range order {
		names := of[why]
		n := len(names)
		line := strings.Join(names[:min(n, maxReplayNames)], ", ")
		if n > maxReplayNames {
			line += w.c.Lang.Text("davy.replay.names-more", i18n.Args{"n": n - maxReplayNames})
		}
		fmt.Fprintln(w.c.Out, "    "+line)
		if why != "" {
			fmt.Fprintln(w.c.Out, "      "+why)
		}
	}
}

// acts lists what persons did that could not be done again.
func (w *replayWriter) acts() {
	r := w.rep
	if r.Done+len(r.Acts)+r.More == 0 {
		return
	}
	w.blank()
	w.sayReplay("acts", i18n.Args{"done": r.Done, "not": len(r.Acts) + r.More})
	for i := range r.Acts {
		a := &r.Acts[i]
		args := i18n.Args{}
		for k, v := range a.Args {
			args[k] = v
		}
		key := "act-new"
		switch {
		case a.Present && a.New:
			key = "act-both"
		case a.Present:
			key = "act-present"
		}
		what := a.Rule
		if a.Channel != "" {
			what += " " + a.Channel
		}
		w.sayReplay(key, i18n.Args{"at": w.at(a.At), "who": i18n.Plain(a.Who), "verb": i18n.Key("replay.act." + a.Verb), "rule": what, "why": w.c.Lang.Text("refused."+a.Code, args)})
	}
	w.more(r.More)
}

// load is what the alarms asked of an operator, under both.
func (w *replayWriter) load() {
	a, b := &w.rep.Present, &w.rep.New
	w.blank()
	head := w.c.Lang.Text("davy.replay.load", nil)
	rows := [][3]string{{head, w.c.Lang.Text("davy.replay.col-present", nil), w.c.Lang.Text("davy.replay.col-new", nil)}}
	addLoad := func(key, x, y string) {
		rows = append(rows, [3]string{"  " + w.c.Lang.Text("davy.replay.load-"+key, nil), x, y})
	}
	n := strconv.Itoa
	addLoad("calls", n(a.Calls), n(b.Calls))
	if w.rep.To-w.rep.From > int64(24*time.Hour) {
		addLoad("day", strconv.FormatFloat(a.PerDay, 'f', 1, 64), strconv.FormatFloat(b.PerDay, 'f', 1, 64))
		addLoad("most-day", n(a.MostInDay), n(b.MostInDay))
	}
	addLoad("ten", n(a.MostInTen), n(b.MostInTen))
	addLoad("floods", n(a.Floods), n(b.Floods))
	addLoad("in-flood", w.span(a.InFlood), w.span(b.InFlood))
	addLoad("chatter", n(len(a.Chattering)), n(len(b.Chattering)))
	width := [2]int{}
	for _, r := range rows {
		width[0], width[1] = max(width[0], i18n.Width(r[0])), max(width[1], i18n.Width(r[1]))
	}
	for _, r := range rows {
		fmt.Fprintln(w.c.Out, i18n.Pad(r[0], width[0])+"  "+i18n.Pad(r[1], width[1])+"  "+r[2])
	}
	for _, name := range b.Chattering {
		if !slices.Contains(a.Chattering, name) {
			w.sayReplay("chatters-now", i18n.Args{"rule": name})
		}
	}
	for _, name := range a.Chattering {
		if !slices.Contains(b.Chattering, name) {
			w.sayReplay("chatters-no-more", i18n.Args{"rule": name})
		}
	}
}
