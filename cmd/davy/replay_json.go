package main

import (
	"time"

	"davy/agent/replay"
)

// What `davy replay --json` prints. Times are those of the site, in RFC 3339;
// spans are seconds.

type replayReport struct {
	From     string         `json:"from"`
	To       string         `json:"to"`
	Began    string         `json:"began"` // from where the rules ran, to warm up
	TimeZone string         `json:"time_zone"`
	Readings uint64         `json:"readings"`
	Events   uint64         `json:"events"`
	Stops    int            `json:"stops"`
	Gaps     []replayGap    `json:"gaps"`
	MoreGaps int            `json:"more_gaps,omitempty"`
	Plans    []replayGap    `json:"other_plans"`
	Tags     []replayWhy    `json:"tags"`
	Damaged  []string       `json:"damaged"`
	Record   replayAgree    `json:"record"`
	Rules    []replayRule   `json:"rules"`
	ActsDone int            `json:"acts_done"`
	Acts     []replayAct    `json:"acts_refused"`
	MoreActs int            `json:"more_acts_refused,omitempty"`
	Load     replayLoadPair `json:"load"`
}

type replayGap struct {
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Stream string `json:"stream,omitempty"`
	Cause  string `json:"cause,omitempty"`
	Count  uint64 `json:"count,omitempty"`
}

type replayWhy struct {
	Code   string  `json:"code"`
	Tag    string  `json:"tag,omitempty"`
	Was    string  `json:"was,omitempty"`
	Unit   string  `json:"unit,omitempty"`
	Change float64 `json:"change,omitempty"`
	EveryS float64 `json:"every_s,omitempty"`
	ForS   float64 `json:"for_s,omitempty"`
	N      int     `json:"n,omitempty"`
	Text   string  `json:"text"`
}

type replayAgree struct {
	Agree    int `json:"agree"`
	Recorded int `json:"only_recorded"`
	Replayed int `json:"only_replayed"`
}

type replayRule struct {
	Name      string       `json:"name"`
	Trip      bool         `json:"trip"`
	Of        string       `json:"of,omitempty"`
	Agent     bool         `json:"agent"`
	InPresent bool         `json:"in_present"`
	InNew     bool         `json:"in_new"`
	Grade     string       `json:"grade"`
	Why       []replayWhy  `json:"why"`
	Came      int          `json:"came"`
	Gone      int          `json:"gone"`
	Moved     int          `json:"moved"`
	Present   replayFigure `json:"present"`
	New       replayFigure `json:"new"`
	Record    replayAgree  `json:"record"`
	Stretches []replayPair `json:"stretches"` // that differ, the first of them
}

type replayFigure struct {
	Count     int     `json:"count"`
	Hidden    int     `json:"hidden"`
	Test      int     `json:"test"`
	First     string  `json:"first,omitempty"`
	StandingS float64 `json:"standing_s"`
	LongestS  float64 `json:"longest_s"`
	Chatters  bool    `json:"chatters"`
}

type replayPair struct {
	Present *replayStood `json:"present"` // null: it did not stand
	New     *replayStood `json:"new"`
}

type replayStood struct {
	Times  int     `json:"times"`
	From   string  `json:"from"`
	To     string  `json:"to"`
	ForS   float64 `json:"for_s"`
	Ended  bool    `json:"ended"`
	Before bool    `json:"before"`
}

type replayAct struct {
	At      string `json:"at"`
	Who     string `json:"who"`
	Verb    string `json:"verb"`
	Rule    string `json:"rule"`
	Channel string `json:"channel,omitempty"`
	Code    string `json:"code"`
	Present bool   `json:"refused_by_present"`
	New     bool   `json:"refused_by_new"`
}

type replayLoadPair struct {
	Present replayFigures `json:"present"`
	New     replayFigures `json:"new"`
}

type replayFigures struct {
	Calls      int      `json:"calls"`
	PerDay     float64  `json:"per_day"`
	MostInDay  int      `json:"most_in_day"`
	MostInTen  int      `json:"most_in_ten_minutes"`
	Floods     int      `json:"floods"`
	InFloodS   float64  `json:"in_flood_s"`
	Chattering []string `json:"chattering"`
}

func (w *replayWriter) stamp(wall int64) string {
	if wall == 0 {
		return ""
	}
	return time.Unix(0, wall).In(w.zone).Format(time.RFC3339Nano)
}

func (w *replayWriter) json() replayReport {
	r := w.rep
	out := replayReport{
		From: w.stamp(r.From), To: w.stamp(r.To), Began: w.stamp(r.Began), TimeZone: w.zone.String(), Readings: r.Readings, Events: r.Events, Stops: r.Stops,
		Gaps: []replayGap{}, MoreGaps: r.MoreGaps, Plans: []replayGap{}, Tags: w.jsonWhys(r.Tags), Damaged: append([]string{}, r.Damaged...), Record: replayAgree(r.Record),
		Rules: []replayRule{}, ActsDone: r.Done, Acts: []replayAct{}, MoreActs: r.More,
		Load: replayLoadPair{jsonLoad(&r.Present), jsonLoad(&r.New)},
	}
	for _, g := range r.Gaps {
		out.Gaps = append(out.Gaps, replayGap{w.stamp(g.From), w.stamp(g.To), g.Stream, g.Cause, g.Count})
	}
	for _, s := range r.Plans {
		out.Plans = append(out.Plans, replayGap{From: w.stamp(s.From), To: w.stamp(s.To)})
	}
	for i := range r.Rules {
		x := &r.Rules[i]
		one := replayRule{
			Name: x.Name, Trip: x.Trip, Of: x.Of, Agent: x.Agent, InPresent: x.InPresent, InNew: x.InNew, Grade: x.Grade.String(), Why: w.jsonWhys(x.Why),
			Came: x.Came, Gone: x.Gone, Moved: x.Moved, Present: w.jsonFigure(&x.Present), New: w.jsonFigure(&x.New), Record: replayAgree(x.Record),
			Stretches: []replayPair{},
		}
		for k := range x.Differences {
			one.Stretches = append(one.Stretches, replayPair{w.jsonStood(&x.Differences[k].Present), w.jsonStood(&x.Differences[k].New)})
		}
		out.Rules = append(out.Rules, one)
	}
	for _, a := range r.Acts {
		out.Acts = append(out.Acts, replayAct{w.stamp(a.At), a.Who, a.Verb, a.Rule, a.Channel, a.Code, a.Present, a.New})
	}
	return out
}

func (w *replayWriter) jsonWhys(all []replay.Why) []replayWhy {
	out := []replayWhy{}
	for _, y := range all {
		out = append(out, replayWhy{y.Code, y.Tag, y.Was, y.Unit, y.Change, y.Every.Seconds(), y.For.Seconds(), y.N, w.why(y)})
	}
	return out
}

func (w *replayWriter) jsonFigure(f *replay.Figures) replayFigure {
	return replayFigure{f.Count, f.Hidden, f.Test, w.stamp(f.First), f.Standing.Seconds(), f.Longest.Seconds(), f.Chatters}
}

func (w *replayWriter) jsonStood(s *replay.Stood) *replayStood {
	if s.Times == 0 {
		return nil
	}
	return &replayStood{s.Times, w.stamp(s.From), w.stamp(s.To), s.For.Seconds(), s.Ended, s.Before}
}

func jsonLoad(l *replay.Load) replayFigures {
	return replayFigures{l.Calls, l.PerDay, l.MostInDay, l.MostInTen, l.Floods, l.InFlood.Seconds(), append([]string{}, l.Chattering...)}
}
