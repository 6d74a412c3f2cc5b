package config

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// DecisionBound is how long control may take to judge a reading: one heartbeat.
const DecisionBound = 100 * time.Millisecond

// Report is what will happen when a plan runs.
type Report struct {
	Gateway    string
	Armed      bool
	Hash       [32]byte
	Tags       int // of devices
	Conditions int // of the agent's own
	Alarms     int
	Outputs    int
	Stories    int
	Links      []LinkReport
	Interlocks []InterlockReport
	Templates  []Template
	Profiles   []Basis
	Schemes    []Scheme
	Converted  []Conversion
}

// LinkReport is what is asked on one link.
type LinkReport struct {
	Name     string
	Driver   string
	Target   string
	Timeout  time.Duration
	Tags     int
	Requests []RequestReport
	Writes   int           // watchdog registers kept alive
	Busy     time.Duration // on the wire in each second, when all is well
	Notes    []string      // what every screen shows of it, as keys of agent/i18n
	ReadOnly bool
	// Subscribed is how many tags the device tells of by itself.
	Subscribed int
}

// RequestReport is one request.
type RequestReport struct {
	Text   string
	Period time.Duration
	Tags   int
	Cost   time.Duration
}

// InterlockReport is the response of one interlock, for its slowest channel
// and each output it demands.
type InterlockReport struct {
	Name      string
	Text      rules.Text
	M, N      int // the vote: M of N
	Responses []Response
}

// Response is every term of the worst-case time from the cause at the device
// to the write of the output.
type Response struct {
	Channel  string
	Output   string
	Scan     time.Duration // until the register is asked next
	Ahead    time.Duration // the longest transaction that can be ahead on the line, timeout included
	Read     time.Duration // until the answer, at most the timeout
	LookBack time.Duration // of a computed channel
	OnDelay  time.Duration // of the interlock
	Decision time.Duration // DecisionBound
	Delay    time.Duration // of the demand
	AheadOut time.Duration // as Ahead, on the output's line
	Write    time.Duration // at most the timeout

	// With one dead unit on each line every request to it runs into its timeout.
	AheadDead    time.Duration
	AheadOutDead time.Duration

	Blind time.Duration // until a lost input is an alarm: time to live and the not-watched delay
	T90   time.Duration // of the detector; 0 unknown. It comes on top.
}

// Worst is the sum of the terms when every device answers in its time.
func (r Response) Worst() time.Duration {
	return r.Scan + r.Ahead + r.Read + r.LookBack + r.OnDelay + r.Decision + r.Delay + r.AheadOut + r.Write
}

// WorstDead is the same with one dead unit on each line.
func (r Response) WorstDead() time.Duration {
	return r.Worst() - r.Ahead - r.AheadOut + r.AheadDead + r.AheadOutDead
}

// Report reckons what will happen.
func (p *Plan) Report() Report {
	r := Report{
		Gateway: p.Gateway.ID, Armed: p.Gateway.Armed, Hash: p.Hash, Conditions: len(p.Conditions),
		Alarms: len(p.Rules.Alarms), Outputs: len(p.Outputs), Stories: len(p.Stories), Templates: p.Templates,
		Profiles: p.Profiles, Schemes: p.Schemes, Converted: p.Converted,
	}
	perLink := make([]int, len(p.Links))
	for _, t := range p.Tags[1:] {
		if t.Link >= 0 {
			r.Tags++
			perLink[t.Link]++
		}
	}
	for i, l := range p.Links {
		x := LinkReport{
			Name: l.Name, Driver: l.Driver, Target: l.Target, Timeout: l.Timeout, Tags: perLink[i], Writes: len(l.KeepAlive),
			Busy: time.Duration(busyOf(l) * float64(time.Second)), Notes: l.Notes, ReadOnly: l.ReadOnly, Subscribed: len(l.Subscribe),
		}
		for _, s := range l.Scans {
			x.Requests = append(x.Requests, RequestReport{s.Request.String(), s.Period, len(s.Request.Points()), s.Request.Cost()})
		}
		r.Links = append(r.Links, x)
	}
	for _, x := range p.Rules.Interlocks {
		r.Interlocks = append(r.Interlocks, p.interlockReport(x))
	}
	return r
}

func (p *Plan) interlockReport(x rules.Interlock) InterlockReport {
	out := InterlockReport{Name: x.Name, Text: x.Text, M: x.M, N: len(x.Channels)}
	for _, d := range x.Demands {
		o := slices.IndexFunc(p.Outputs, func(o Output) bool { return o.Name == d.Output })
		if o < 0 {
			continue
		}
		var all []Response
		for _, ch := range x.Channels {
			all = append(all, p.responses(x, ch, d, p.Outputs[o])...)
		}
		if len(all) > 0 {
			out.Responses = append(out.Responses, slices.MaxFunc(all, func(a, b Response) int {
				return cmp.Or(cmp.Compare(a.WorstDead(), b.WorstDead()), cmp.Compare(a.Worst(), b.Worst()), -cmp.Compare(a.Channel, b.Channel))
			}))
		}
	}
	return out
}

// responses are those of one channel: of one on a computed tag one for each
// tag that is read for it.
func (p *Plan) responses(x rules.Interlock, ch rules.Channel, d rules.Demand, o Output) []Response {
	t := p.Tags[ch.Cond.Tag]
	if len(t.Of) == 0 {
		return []Response{p.response(x, ch, d, o)}
	}
	var all []Response
	for _, id := range t.Of {
		from := ch
		from.Cond.Tag = id
		r := p.response(x, from, d, o)
		r.LookBack = t.LookBack
		all = append(all, r)
	}
	return all
}

func (p *Plan) response(x rules.Interlock, ch rules.Channel, d rules.Demand, o Output) Response {
	t := p.Tags[ch.Cond.Tag]
	r := Response{Channel: ch.Name, Output: o.Name, Scan: t.Period, OnDelay: x.OnDelay, Decision: DecisionBound, Delay: d.Delay, T90: t.T90}
	if t.Link >= 0 {
		l := p.Links[t.Link]
		station := stationOf(l, t.ID)
		r.Ahead, r.AheadDead = ahead(l, station)
		r.Read = l.Timeout
		if len(l.Subscribe) > 0 {
			r.Read = 0
		}
	}
	if o.Link >= 0 {
		l := p.Links[o.Link]
		r.AheadOut, r.AheadOutDead = ahead(l, o.Point.Station)
		r.Write = l.Timeout
	}
	r.Blind = p.Rules.Tags[t.ID].TTL
	for _, a := range p.Rules.Alarms {
		if a.NotWatched && a.Only == 0 && a.Cond.Tag == t.ID {
			r.Blind += a.OnDelay
		}
	}
	return r
}

func stationOf(l Link, id tag.ID) int {
	find := func(points []drivers.Point) (int, bool) {
		i := slices.IndexFunc(points, func(p drivers.Point) bool { return p.Tag == id })
		if i < 0 {
			return 0, false
		}
		return points[i].Station, true
	}
	for _, s := range l.Scans {
		if st, ok := find(s.Request.Points()); ok {
			return st
		}
	}
	return 0
}

// ahead is how long a line can be taken when it is one station's turn: by the
// one transaction that has begun, at most its timeout, where there is another
// transaction at all; and by every request to the dead unit that has the most
// of them.
func ahead(l Link, station int) (normal, dead time.Duration) {
	others := map[int]int{}
	total := len(l.KeepAlive)
	for _, s := range l.Scans {
		total++
		if st := s.Request.Points()[0].Station; st != station {
			others[st]++
		}
	}
	for _, k := range l.KeepAlive {
		if k.Point.Station != station {
			others[k.Point.Station]++
		}
	}
	if total > 1 {
		normal = l.Timeout
	}
	most := 0
	for _, n := range others {
		most = max(most, n)
	}
	return normal, max(normal, time.Duration(most)*l.Timeout)
}

// Write prints the report for a person.
func (r Report) Write(w io.Writer, lang i18n.Lang) error {
	out := bufio.NewWriter(w)
	say := func(words string, args i18n.Args) { fmt.Fprintln(out, lang.Text("config.report-"+words, args)) }
	armed := i18n.Key("config.disarmed")
	if r.Armed {
		armed = "config.armed"
	}
	say("gateway", i18n.Args{"id": r.Gateway, "armed": armed, "hash": fmt.Sprintf("%x", r.Hash[:6])})
	say("counts", i18n.Args{"tags": r.Tags, "own": r.Conditions, "alarms": r.Alarms, "interlocks": len(r.Interlocks), "outputs": r.Outputs, "stories": r.Stories})
	for _, l := range r.Links {
		fmt.Fprintln(out)
		say("link", i18n.Args{"name": l.Name, "driver": l.Driver, "target": l.Target, "timeout": spell(l.Timeout), "tags": l.Tags})
		if l.ReadOnly {
			say("read-only", nil)
		}
		for _, note := range l.Notes {
			say("note", i18n.Args{"text": i18n.Key(note)})
		}
		if l.Subscribed > 0 {
			say("subscribed", i18n.Args{"n": l.Subscribed, "writes": l.Writes})
			continue
		}
		say("busy", i18n.Args{"requests": len(l.Requests), "busy": milli(l.Busy), "percent": fmt.Sprintf("%.2g", l.Busy.Seconds()*100), "writes": l.Writes})
		for _, q := range l.Requests {
			say("request", i18n.Args{"period": spell(q.Period), "text": q.Text, "tags": q.Tags, "cost": milli(q.Cost)})
		}
	}
	for _, t := range r.Templates {
		if len(t.Caveats) == 0 {
			continue
		}
		fmt.Fprintln(out)
		say("template", i18n.Args{"name": t.Name, "devices": strings.Join(t.Devices, ", "), "source": t.Source})
		for _, x := range t.Caveats {
			say("note", i18n.Args{"text": inLang(x, lang)})
		}
	}
	for _, x := range r.Profiles {
		fmt.Fprintln(out)
		x.write(out, lang)
	}
	for _, x := range r.Schemes {
		fmt.Fprintln(out)
		x.write(out, r.Profiles, lang)
	}
	writeConversions(out, r.Converted, lang)
	for _, x := range r.Interlocks {
		fmt.Fprintln(out)
		text := inLang(x.Text, lang)
		say("interlock", i18n.Args{"name": x.Name, "text": text, "m": x.M, "n": x.N})
		for _, y := range x.Responses {
			y.write(out, lang)
		}
	}
	return out.Flush()
}

func inLang(t rules.Text, lang i18n.Lang) string {
	if lang == i18n.Zh {
		return t.Zh
	}
	return t.En
}

func (r Response) write(w io.Writer, lang i18n.Lang) {
	t90 := any(i18n.Key("config.unknown"))
	if r.T90 > 0 {
		t90 = spell(r.T90)
	}
	fmt.Fprintln(w, lang.Text("config.report-response", i18n.Args{
		"channel": r.Channel, "output": r.Output,
		"worst": spell(r.Worst()), "dead": spell(r.WorstDead()), "blind": spell(r.Blind), "t90": t90,
	}))
	fmt.Fprintln(w, lang.Text("config.report-terms", i18n.Args{"terms": r.Terms(lang, false)}))
	fmt.Fprintln(w, lang.Text("config.report-terms-dead", i18n.Args{"terms": r.Terms(lang, true)}))
}

// Terms prints what Worst, or WorstDead where dead, is the sum of.
func (r Response) Terms(lang i18n.Lang, dead bool) string {
	ahead, out := r.Ahead, r.AheadOut
	if dead {
		ahead, out = r.AheadDead, r.AheadOutDead
	}
	var parts []string
	for _, x := range []struct {
		name string
		d    time.Duration
	}{{"scan", r.Scan}, {"ahead", ahead}, {"read", r.Read}, {"look-back", r.LookBack}, {"on-delay", r.OnDelay}, {"decision", r.Decision}, {"delay", r.Delay}, {"ahead-out", out}, {"write", r.Write}} {
		if x.name == "look-back" && x.d == 0 {
			continue // no computed channel
		}
		parts = append(parts, lang.Text("config.term-"+x.name, i18n.Args{"d": spell(x.d)}))
	}
	return strings.Join(parts, " + ")
}

func milli(d time.Duration) string { return fmt.Sprintf("%.3g ms", d.Seconds()*1000) }
