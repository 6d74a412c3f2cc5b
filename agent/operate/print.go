package operate

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/agent/i18n"
)

// Paper is how a View is printed for people.
type Paper struct {
	Lang i18n.Lang
	Zone *time.Location // nil: the gateway's own, else the machine's
	Last int            // events of the log that are printed; 0: all
	All  bool           // of alarms: those to which nobody is called too, and each that stands under another
	Only AlarmState     // of alarms: only those shelved, suppressed or out of service; "": see All
}

// page is a View on its way to paper.
type page struct {
	Paper
	v *View
	b strings.Builder
}

// WriteStatus prints v in the gateway's own time zone.
func (v *View) WriteStatus(w io.Writer, l i18n.Lang) error { return Paper{Lang: l}.Status(w, v) }

// WriteAlarms prints trips and alarms of v.
func (v *View) WriteAlarms(w io.Writer, l i18n.Lang) error { return Paper{Lang: l}.Alarms(w, v) }

// WriteLog prints the events of v.
func (v *View) WriteLog(w io.Writer, l i18n.Lang) error { return Paper{Lang: l}.Log(w, v) }

func (p Paper) page(v *View) *page {
	if p.Zone == nil {
		p.Zone = time.Local
		if z, err := time.LoadLocation(v.Gateway.TimeZone); err == nil && v.Gateway.TimeZone != "" {
			p.Zone = z
		}
	}
	return &page{Paper: p, v: v}
}

func (p *page) to(w io.Writer) error {
	_, err := io.WriteString(w, p.b.String())
	return err
}

// Status prints everything, what is wrong first.
func (p Paper) Status(w io.Writer, v *View) error {
	g := p.page(v)
	g.title()
	g.warnings()
	g.trips()
	g.alarms()
	g.hiddenCounts()
	g.points()
	g.interlocks()
	g.outputs()
	g.links()
	g.keeper()
	return g.to(w)
}

// Alarms prints trips and alarms only, or what Only says.
func (p Paper) Alarms(w io.Writer, v *View) error {
	g := p.page(v)
	if p.Only != "" {
		g.hidden(p.Only)
		return g.to(w)
	}
	g.warnings()
	warned := g.b.Len()
	g.trips()
	g.alarms()
	if g.b.Len() == warned {
		g.line(g.say("operate.quiet", nil))
	}
	if !p.All {
		g.hiddenCounts()
		return g.to(w)
	}
	for _, s := range []AlarmState{Shelved, Suppressed, OutOfService} {
		g.hidden(s)
	}
	return g.to(w)
}

// Log prints events, the newest last.
func (p Paper) Log(w io.Writer, v *View) error {
	g := p.page(v)
	events := v.Log
	if p.Last > 0 && len(events) > p.Last {
		events = events[len(events)-p.Last:]
	}
	var rows [][]string
	day := ""
	for i := range events {
		e := &events[i]
		at := e.At.In(g.Zone)
		if d := at.Format("2006-01-02"); d != day {
			day = d
			rows = append(rows, []string{"= " + d})
		}
		rows = append(rows, []string{at.Format("15:04:05.000"), g.event(e), g.eventMore(e)})
	}
	if len(rows) == 0 {
		g.line(g.say("operate.no-events", nil))
	}
	g.table("", rows)
	return g.to(w)
}

func (p *page) say(key string, args i18n.Args) string { return p.Lang.Text(key, args) }

// line prints one line; what a device wrote into an error moves no cursor.
func (p *page) line(s string) { p.b.WriteString(strings.TrimRight(i18n.Plain(s), " ") + "\n") }

// head prints a heading, with an empty line before it if anything is above.
func (p *page) head(key string) {
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
	p.line(p.say(key, nil))
}

// table prints rows with aligned columns. A row of one column is printed as it is.
func (p *page) table(indent string, rows [][]string) {
	var width []int
	for _, r := range rows {
		if len(r) == 1 {
			continue
		}
		for i, s := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], i18n.Width(s))
		}
	}
	for _, r := range rows {
		if len(r) == 1 {
			p.line(indent + r[0])
			continue
		}
		var b strings.Builder
		for i, s := range r {
			if width[i] > 0 {
				b.WriteString(i18n.Pad(s, width[i]) + "  ")
			}
		}
		p.line(indent + b.String())
	}
}

// title says which gateway, how long, and the counts that matter.
func (p *page) title() {
	v := p.v
	p.line(strings.TrimSpace(v.Gateway.Name.In(p.Lang) + "  " + v.Gateway.ID + "  davy " + v.Version))
	p.line(p.say("operate.title", i18n.Args{
		"time": v.At.In(p.Zone).Format("2006-01-02 15:04:05"), "since": p.span(v.At.Sub(v.Since)), "plan": short(v.Plan.Hash),
	}))
	trips, unacked, unwatched := 0, 0, 0
	for i := range v.Interlocks {
		if v.Interlocks[i].State == Tripped {
			trips++
		}
	}
	for i := range v.Alarms {
		switch a := &v.Alarms[i]; {
		case a.State == Normal, a.State.Hidden():
		case a.NotWatched:
			unwatched++
		case a.State.Wanted():
			unacked++
		}
	}
	p.line(p.say("operate.counts", i18n.Args{
		"trips": trips, "unacked": unacked, "unwatched": unwatched,
		"good": v.Tags.Good, "uncertain": v.Tags.Uncertain, "bad": v.Tags.Bad,
	}))
}

// warnings says what a person must not overlook about the agent itself.
func (p *page) warnings() {
	v := p.v
	starting := 0
	for i := range v.Interlocks {
		if v.Interlocks[i].State == Starting {
			starting++
		}
	}
	for _, w := range []struct {
		stands bool
		key    string
		args   i18n.Args
	}{
		{!v.Armed, "operate.warn.disarmed", nil},
		{v.Plan.Differs, "operate.warn.differs", nil},
		{v.Plan.Failing, "operate.warn.failing", nil},
		{!v.Latch.Durable, "operate.warn.latch", i18n.Args{"error": v.Latch.Error}},
		{v.Keeper.State != KeeperRunning, "operate.warn.keeper", nil},
		{starting > 0, "operate.warn.starting", i18n.Args{"n": starting}},
		{!v.Clock.Trusted, "operate.warn.clock", nil},
	} {
		if w.stands {
			p.line("! " + strings.TrimRight(p.say(w.key, w.args), " :："))
		}
	}
	for i := range v.Links {
		for _, note := range v.Links[i].Notes {
			p.line("! " + p.say("operate.warn.link", i18n.Args{"link": v.Links[i].Name, "note": i18n.Key(note)}))
		}
	}
}

// trips prints what is tripped, the newest first.
func (p *page) trips() {
	var rows [][]string
	list := slices.DeleteFunc(slices.Clone(p.v.Interlocks), func(i Interlock) bool { return i.State != Tripped })
	slices.SortStableFunc(list, func(a, b Interlock) int { return b.TrippedAt.Compare(a.TrippedAt) })
	for i := range list {
		k := &list[i]
		ready := p.say("operate.reset-not-ready", nil)
		switch {
		case len(k.Missing) > 0:
			ready = p.say("operate.reset-missing", i18n.Args{"channels": strings.Join(k.Missing, ", ")})
		case k.ResetReady:
			ready = p.say("operate.reset-ready", i18n.Args{"rule": k.Name, "occurrence": k.Occurrence})
		case k.ResetIn > 0:
			ready = p.say("operate.reset-in", i18n.Args{"time": p.span(seconds(k.ResetIn))})
		}
		first := ""
		if k.FirstOut != "" {
			first = p.say("operate.first-out", i18n.Args{"channel": k.FirstOut})
		}
		text := k.Text.In(p.Lang)
		if k.Test {
			text = p.say("operate.mark.test", nil) + " " + text
		}
		rows = append(rows, []string{mark(k.Occurrence), k.Name, text, p.ago(k.TrippedAt), first, ready})
		for j := range k.Votes {
			rows = append(rows, []string{"     " + p.vote(&k.Votes[j])})
		}
	}
	if len(rows) > 0 {
		p.head("operate.head.trips")
		p.table("  ", rows)
	}
}

// vote says one channel's vote.
func (p *page) vote(v *Vote) string {
	s := p.say("operate.vote."+string(v.Reason), i18n.Args{"channel": v.Channel})
	if v.Reason == VoteProcess && v.Value != nil {
		s += " " + amount(*v.Value, v.Unit)
	}
	if v.Last {
		s += " " + p.say("operate.vote.last", nil)
	}
	return s
}

// alarms prints them in the order in which a person should look: not
// acknowledged by priority, not watched, the rest; the newest first.
func (p *page) alarms() {
	group := func(a *Alarm) int {
		switch {
		case a.NotWatched:
			return 1
		case a.State.Wanted():
			return 0
		}
		return 2
	}
	list := slices.DeleteFunc(slices.Clone(p.v.Alarms), func(a Alarm) bool { return a.State == Normal || a.State.Hidden() })
	slices.SortStableFunc(list, func(a, b Alarm) int {
		return cmp.Or(
			cmp.Compare(group(&a), group(&b)),
			cmp.Compare(b.Priority.rank(), a.Priority.rank()),
			b.Raised.Compare(a.Raised),
			cmp.Compare(a.Name, b.Name),
		)
	})
	heads := [...]string{"operate.head.unacked", "operate.head.unwatched", "operate.head.acked"}
	for n, head := range heads {
		var rows [][]string
		for i := range list {
			if a := &list[i]; group(a) == n {
				rows = append(rows, []string{
					mark(a.Occurrence), p.say("operate.priority."+string(a.Priority), nil), a.Name, p.text(a),
					p.ago(a.Raised), p.state(a), p.why(a),
				})
				rows = append(rows, p.folded(a)...)
			}
		}
		if len(rows) > 0 {
			p.head(head)
			p.table("  ", rows)
		}
	}
}

// why says the value and the limit of an alarm.
func (p *page) why(a *Alarm) string {
	switch {
	case a.Agent, a.NotWatched, a.Value == nil && a.ValueName == "":
		return ""
	case a.ValueName != "":
		return named(a.Value, a.ValueName, "")
	case a.Limit == nil:
		return amount(*a.Value, a.Unit)
	}
	return p.say("operate.value-limit", i18n.Args{"value": amount(*a.Value, a.Unit), "limit": amount(*a.Limit, a.Unit)})
}

// interlocks prints those that are not tripped.
func (p *page) interlocks() {
	var rows [][]string
	for i := range p.v.Interlocks {
		k := &p.v.Interlocks[i]
		if k.State == Tripped {
			continue
		}
		degraded := ""
		if k.Degraded {
			degraded = p.say("operate.degraded", nil)
		}
		rows = append(rows, []string{k.Name, k.Text.In(p.Lang), p.say("operate.interlock."+string(k.State), nil), degraded})
	}
	if len(rows) > 0 {
		p.head("operate.head.interlocks")
		p.table("  ", rows)
	}
}

// outputs prints every output; what is not confirmed is marked.
func (p *page) outputs() {
	var rows [][]string
	for i := range p.v.Outputs {
		o := &p.v.Outputs[i]
		state := o.State
		if state == "" {
			state = p.say("operate.unknown", nil)
		}
		sure := p.say("operate.confirmed", nil)
		if !o.Confirmed {
			sure = p.say("operate.not-confirmed", nil)
		}
		demand := p.say("operate.demand."+string(o.Demand), i18n.Args{"by": o.By, "state": o.Wanted})
		rows = append(rows, []string{o.Name, o.Text.In(p.Lang), state, demand, sure, o.Problem})
	}
	if len(rows) > 0 {
		p.head("operate.head.outputs")
		p.table("  ", rows)
	}
}

// links prints every link, silent ones first.
func (p *page) links() {
	list := slices.Clone(p.v.Links)
	slices.SortStableFunc(list, func(a, b Link) int { return cmp.Compare(quiet(a.State), quiet(b.State)) })
	var rows [][]string
	for i := range list {
		l := &list[i]
		last := p.say("operate.never", nil)
		if !l.LastAnswer.IsZero() {
			last = p.ago(l.LastAnswer)
		}
		state := p.say("operate.link."+string(l.State), nil)
		if l.ReadOnly {
			state += p.say("operate.comma", nil) + p.say("operate.read-only", nil)
		}
		rows = append(rows, []string{
			l.Name, l.Target, state, last,
			p.say("operate.link-counts", i18n.Args{"timeouts": l.Timeouts, "errors": l.Errors, "overruns": l.Overruns, "longest": figure(l.Longest)}),
			l.Problem,
		})
	}
	if len(rows) > 0 {
		p.head("operate.head.links")
		p.table("  ", rows)
	}
}

func quiet(s LinkState) int {
	switch s {
	case LinkSilent:
		return 0
	case LinkStarting:
		return 1
	}
	return 2
}

// keeper prints recording and sending.
func (p *page) keeper() {
	k := &p.v.Keeper
	p.head("operate.head.keeper")
	p.line("  " + p.say("operate.keeper."+string(k.State), i18n.Args{
		"events": k.Events, "readings": k.Readings, "bytes": size(k.Bytes), "max": size(k.MaxBytes), "epoch": short(k.Epoch),
	}))
	var rows [][]string
	for _, h := range k.Heads {
		rows = append(rows, []string{h.Stream, p.say("operate.head-of", i18n.Args{"number": h.Number, "receipted": h.Receipted, "backlog": h.Backlog})})
	}
	p.table("  ", rows)
	rows = nil
	for i := range k.Uplinks {
		u := &k.Uplinks[i]
		state := p.say("operate.offline", nil)
		if u.Connected {
			state = p.say("operate.online", nil)
		}
		last := p.say("operate.no-receipt", nil)
		switch {
		case u.Unproved && u.LastReceipt.IsZero():
			last = p.say("operate.no-confirmation", nil)
		case u.Unproved:
			last = p.say("operate.last-confirmation", i18n.Args{"ago": p.ago(u.LastReceipt)})
		case !u.LastReceipt.IsZero():
			last = p.say("operate.last-receipt", i18n.Args{"ago": p.ago(u.LastReceipt)})
		}
		rows = append(rows, []string{u.Name, state, last, p.say("operate.backlog", i18n.Args{"n": u.Backlog}), p.witness(u.Witness), u.Error})
	}
	p.table("  ", rows)
	for i := range k.Uplinks {
		u := &k.Uplinks[i]
		if words := "operate.cause." + u.Cause; i18n.Has(words) {
			p.line("  ! " + p.say("operate.cause", i18n.Args{"name": u.Name, "cause": p.say(words, nil)}))
		}
	}
	for _, code := range k.Conditions {
		p.line("  ! " + p.condition(code))
	}
}

// witness says how far the record is witnessed.
func (p *page) witness(w *Witness) string {
	text := ""
	switch {
	case w == nil:
		return ""
	case w.At.IsZero():
		text = p.say("operate.witness.never", i18n.Args{"n": w.Records})
	case w.Blocks == 0:
		text = p.say("operate.witness.all", i18n.Args{"ago": p.ago(w.At)})
	case w.Upto.IsZero():
		text = p.say("operate.witness.blocks", i18n.Args{"n": w.Blocks, "ago": p.ago(w.At)})
	default:
		text = p.say("operate.witness.upto", i18n.Args{"ago": p.ago(w.Upto), "n": w.Records})
	}
	if w.Refused != "" {
		text += p.say("operate.comma", nil) + p.say("operate.witness.refused", i18n.Args{"why": w.Refused})
	}
	return text
}

// condition says a condition of the keeper's; one that nobody gave words to is
// shown by its code.
func (p *page) condition(code string) string {
	texts := p.v.Keeper.Texts
	i := slices.IndexFunc(texts, func(c Condition) bool { return c.Code == code })
	if i < 0 {
		return code
	}
	return cmp.Or(texts[i].Text.In(p.Lang), code)
}

// down says for how many seconds nobody decided before a start: 0 is a plan
// that took over from another, none or less that nobody knows.
func (p *page) down(secs *float64) string {
	switch {
	case secs == nil || *secs < 0:
		return p.say("operate.down-unknown", nil)
	case *secs == 0:
		return p.say("operate.down-none", nil)
	}
	d, n := seconds(*secs), ""
	switch {
	case d < time.Millisecond:
		n = p.say("operate.span.ms", i18n.Args{"n": "<1"})
	case d < time.Second:
		n = p.say("operate.span.ms", i18n.Args{"n": d.Milliseconds()})
	case d < time.Minute:
		n = p.say("operate.span.s", i18n.Args{"n": strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'g', 3, 64)})
	default:
		n = p.span(d)
	}
	return p.say("operate.down", i18n.Args{"time": n})
}

// ago says how long before the View something was.
func (p *page) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return p.say("operate.ago", i18n.Args{"time": p.span(p.v.At.Sub(t))})
}

// span says a duration in its one or two largest units.
func (p *page) span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	unit := func(n int, key string) string { return p.say("operate.span."+key, i18n.Args{"n": n}) }
	days, hours, minutes, secs := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case days > 0:
		return unit(days, "d") + p.say("operate.span.and", nil) + unit(hours, "h")
	case hours > 0:
		return unit(hours, "h") + p.say("operate.span.and", nil) + unit(minutes, "min")
	case minutes > 0:
		return unit(minutes, "min")
	}
	return unit(secs, "s")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// figure prints a number as people read it: six figures at most, no exponent
// where none is needed.
func figure(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// amount is a figure with its unit, where that is known.
func amount(f float64, unit string) string { return strings.TrimSpace(figure(f) + " " + unit) }

// named is what a value is called with its number, or the amount.
func named(v *float64, name, unit string) string {
	switch {
	case v == nil:
		return name
	case name != "":
		return name + " (" + figure(*v) + ")"
	}
	return amount(*v, unit)
}

// mark is an occurrence as `davy ack` takes it.
func mark(n uint64) string { return "#" + strconv.FormatUint(n, 10) }

// short is the beginning of a hash.
func short(s string) string { return s[:min(len(s), 12)] }

// size prints bytes; MB is 10⁶ bytes.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return strconv.FormatFloat(float64(n)/1e9, 'f', 1, 64) + " GB"
	case n >= 1e6:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	}
	return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
}
