package main

import (
	"fmt"
	"time"

	"davy/agent/i18n"
	"davy/cmd/davy-plant/logbook"
)

// totals reads every figure from the journal, the receiver's store and the
// plant's own log. The agent has ended.
func (d *demo) totals() (*result, error) {
	j, err := d.bench.Journal()
	if err != nil {
		return nil, err
	}
	t, err := d.bench.Totals()
	if err != nil {
		return nil, err
	}
	r := &result{
		Recorded: map[string]uint64{}, Received: map[string]uint64{}, Gaps: j.Gaps, Alarms: t.Alarms, Trips: t.Trips,
		FirstOut: t.FirstOut, Receipts: t.Receipts, Complete: t.Complete && uint64(t.GapRecords) == j.Gaps,
	}
	for _, stream := range []string{"event", "reading"} {
		r.Recorded[stream] = j.Recorded[stream]
		r.Received[stream] = t.Streams[stream].Received
	}
	for stream, n := range j.Recorded {
		s := t.Streams[stream]
		r.Complete = r.Complete && n == s.Received && s.Waiting == 0 && s.Unexplained == 0
	}
	for _, p := range t.Pauses {
		if p.Seconds > r.OutageS {
			r.OutageS = float64(int(p.Seconds*10)) / 10
		}
	}
	for _, m := range t.Missing {
		d.say("missing", i18n.Args{"stream": m["stream"], "from": m["from"], "to": m["to"]})
	}
	var export struct {
		Records uint64
		Sha256  string
	}
	if err := d.bench.JSON(&export, "davy-receiver", "export", "JY-0231-GW1", "--json", "--db", d.bench.DB()); err != nil {
		return nil, err
	}
	r.Complete = r.Complete && export.Sha256 == j.Hash
	book, err := d.bench.PlantBook()
	if err != nil {
		return nil, err
	}
	r.TripResponseMs = response(book)
	d.fanStops(book)
	d.firstAfter(t.Pauses)
	return r, nil
}

type pauses = []struct {
	Seconds float64 `json:"seconds"`
	First   struct {
		Stream string `json:"stream"`
	} `json:"first"`
	Backlog map[string]uint64 `json:"backlog"`
}

// response is the time from the register change that made two votes of three
// (the dead detector's is one) to the write of the fan's coil that the plant
// received, in milliseconds; 0 if one of them is missing.
func response(book []logbook.Entry) float64 {
	const level, ioUnit, fanCoil = 150, 20, 0
	votes := logbook.Together(2, logbook.Above(book, "nh3-1.gas", level, level), logbook.Above(book, "nh3-2.gas", level, level),
		logbook.Faulty(book, "dead "+deadUnit))
	if len(votes) == 0 {
		return 0
	}
	w := logbook.Written(book, ioUnit, fanCoil, true, votes[0].From)
	if len(w) == 0 {
		return 0
	}
	return float64((w[0].Mono-votes[0].From)/1000) / 1000
}

// firstAfter holds what came first after the outage: an event, with a backlog
// behind it. The outage is the longest time in which nothing arrived.
func (d *demo) firstAfter(all pauses) {
	if len(all) == 0 {
		return
	}
	longest := all[0]
	for _, p := range all {
		if p.Seconds > longest.Seconds {
			longest = p
		}
	}
	if longest.First.Stream != "event" {
		d.held = false
		d.say("reading-first", i18n.Args{"stream": longest.First.Stream})
	}
	backlog := uint64(0)
	for _, n := range longest.Backlog {
		backlog += n
	}
	if backlog == 0 {
		d.held = false
		d.say("no-backlog", nil)
	}
}

// fanStops holds, from the plant's side, that the fan once commanded was not
// commanded off before the reset.
func (d *demo) fanStops(book []logbook.Entry) {
	reset := logbook.MarkAt(book, "reset")
	runs := logbook.On(book, "io1.fan-start")
	if len(runs) != 1 { // once on, and off by the reset
		d.held = false
		d.say("fan-runs", i18n.Args{"times": len(runs)})
	}
	for _, s := range runs {
		if reset == 0 || s.To < reset-int64(2*time.Second) {
			d.held = false
			d.say("fan-stopped", nil)
		}
	}
}

// judge says what did not hold of the figures.
func (d *demo) judge(r *result) (why []string) {
	bad := func(key string, args i18n.Args) { why = append(why, d.lang.Text("demo."+key, args)) }
	if !r.Complete {
		bad("incomplete", i18n.Args{"recorded": fmt.Sprint(r.Recorded), "received": fmt.Sprint(r.Received)})
	}
	if r.OutageS < 3 {
		bad("no-outage", i18n.Args{"seconds": r.OutageS})
	}
	if r.Trips != 1 || r.FirstOut == "" {
		bad("trips", i18n.Args{"trips": r.Trips})
	}
	if r.TripResponseMs <= 0 {
		bad("no-response", nil)
	}
	return why
}
