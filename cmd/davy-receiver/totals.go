package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/cmd/davy-receiver/store"
	"davy/rules"
)

// streamTotals is what is stored of one stream of a gateway, all epochs.
type streamTotals struct {
	Received    uint64 `json:"received"`    // rows
	Head        uint64 `json:"head"`        // sum of the last known numbers of all epochs
	Refused     uint64 `json:"refused"`     // numbers
	Explained   uint64 `json:"explained"`   // numbers that gap records name
	Unexplained uint64 `json:"unexplained"` // numbers that nothing names
	Waiting     uint64 `json:"waiting"`     // numbers still with the gateway
}

// gatewayTotals is what is stored of one gateway.
type gatewayTotals struct {
	Gateway    string                   `json:"gateway"`
	Streams    map[string]*streamTotals `json:"streams"`
	Chains     []store.Chain            `json:"chains"`
	Missing    []store.Stretch          `json:"missing"` // not explained by a gap record
	Receipts   int64                    `json:"receipts"`
	GapRecords int64                    `json:"gap_records"`
	Lost       int64                    `json:"lost"` // records that the gap records name
	Alarms     int64                    `json:"alarms"`
	Trips      int64                    `json:"trips"`
	Tests      int64                    `json:"tests"`     // of these alarms and trips: of points that were forced, tested, drilled or disarmed
	Hidden     int64                    `json:"hidden"`    // of these alarms: shelved, suppressed or out of service, so that nobody was called
	FirstOut   string                   `json:"first_out"` // of the first trip
	Forks      int                      `json:"forks"`
	Losses     int                      `json:"losses"`
	Pauses     []store.Pause            `json:"pauses"` // of arrival, each with what came first after it
	After      *store.Arrival           `json:"after,omitempty"`
	Complete   bool                     `json:"complete"` // something is here, and nothing unexplained, waiting or refused, no fork, no loss
}

// totals prints the figures that are computed from the rows.
func totals(ctx context.Context, c *cli.Call) error {
	pause, err := positive(c, "pause")
	if err != nil {
		return err
	}
	var after int64
	if s := c.Flag("after"); s != "" {
		if after, err = instant(s); err != nil {
			return cli.Usage("davy-receiver.bad-time", i18n.Args{"value": s})
		}
	}
	st, all, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	lines := []*gatewayTotals{}
	for _, g := range all {
		t, err := totalsOf(ctx, st, g.ID, pause, after)
		if err != nil {
			return fmt.Errorf("totals %s: %w", g.ID, err)
		}
		lines = append(lines, t)
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"store": st.ID(), "gateways": lines})
	}
	rows := [][]string{head(c.Lang, "gateway", "stream", "received", "explained", "unexplained", "waiting", "refused")}
	for _, t := range lines {
		for _, s := range streams {
			if x := t.Streams[s]; x != nil {
				rows = append(rows, []string{t.Gateway, s, fmt.Sprint(x.Received), fmt.Sprint(x.Explained), fmt.Sprint(x.Unexplained), fmt.Sprint(x.Waiting), fmt.Sprint(x.Refused)})
			}
		}
	}
	table(c.Out, rows)
	for _, t := range lines {
		c.Say("davy-receiver.totals", i18n.Args{
			"gateway": t.Gateway, "alarms": t.Alarms, "trips": t.Trips, "receipts": t.Receipts,
			"gaps": t.GapRecords, "complete": i18n.Key(pick(t.Complete, "davy-receiver.complete", "davy-receiver.incomplete")),
		})
	}
	return nil
}

// instant reads nanoseconds since 1970 or RFC 3339.
func instant(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UnixNano(), err
}

func totalsOf(ctx context.Context, st *store.Store, gateway string, pause time.Duration, after int64) (*gatewayTotals, error) {
	t := &gatewayTotals{Gateway: gateway, Streams: map[string]*streamTotals{}, Chains: []store.Chain{}, Missing: []store.Stretch{}, Complete: true}
	chains, err := st.Chains(ctx, gateway)
	if err != nil {
		return nil, err
	}
	t.Chains = append(t.Chains, chains...)
	for _, ch := range chains {
		s := t.Streams[ch.Stream]
		if s == nil {
			s = &streamTotals{}
			t.Streams[ch.Stream] = s
		}
		s.Received += ch.Received
		s.Head += max(ch.Head, ch.Upto)
		missing, err := st.Missing(ctx, ch)
		if err != nil {
			return nil, err
		}
		for _, m := range missing {
			n := m.To - m.From + 1
			switch m.State {
			case store.Explained:
				s.Explained += n
				continue
			case store.Refused:
				s.Refused += n
			case store.Waiting:
				s.Waiting += n
			default:
				s.Unexplained += n
			}
			t.Missing = append(t.Missing, m)
		}
	}
	if t.Receipts, _, err = st.ReceiptCount(ctx, gateway); err != nil {
		return nil, err
	}
	if t.GapRecords, t.Lost, err = st.GapRecords(ctx, gateway); err != nil {
		return nil, err
	}
	kinds := []uint32{uint32(rules.AlarmRaised), uint32(rules.InterlockTripped), uint32(rules.InterlockTrippedAtStart)}
	err = st.Events(ctx, gateway, kinds, func(e *store.Event) error {
		if e.Test {
			t.Tests++
		}
		if e.Hidden != 0 {
			t.Hidden++
		}
		if rules.Kind(e.Kind) == rules.AlarmRaised {
			t.Alarms++
			return nil
		}
		if t.Trips++; t.FirstOut == "" {
			t.FirstOut = e.FirstOut
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	forks, err := st.Forks(ctx, gateway)
	if err != nil {
		return nil, err
	}
	losses, err := st.Losses(ctx, gateway)
	if err != nil {
		return nil, err
	}
	t.Forks, t.Losses = len(forks), len(losses)
	if t.Pauses, err = st.Pauses(ctx, gateway, pause); err != nil {
		return nil, err
	}
	if after != 0 {
		if t.After, err = st.FirstAfter(ctx, gateway, after); err != nil {
			return nil, err
		}
	}
	t.Complete = len(chains) > 0 && len(t.Missing) == 0 && t.Forks == 0 && t.Losses == 0
	return t, nil
}

var alarmKinds = []uint32{
	uint32(rules.AlarmRaised), uint32(rules.AlarmReturned), uint32(rules.AlarmAcked), uint32(rules.AlarmReset),
	uint32(rules.InterlockTripped), uint32(rules.InterlockTrippedAtStart), uint32(rules.InterlockReset),
}

// occurrence is one alarm or trip from its raise to its end.
type occurrence struct {
	Gateway    string   `json:"gateway"`
	Rule       string   `json:"rule"`
	Occurrence uint64   `json:"occurrence"`
	Trip       bool     `json:"trip"`
	Priority   uint32   `json:"priority"`
	Tag        string   `json:"tag,omitempty"`
	TextZh     string   `json:"text_zh,omitempty"`
	TextEn     string   `json:"text_en,omitempty"`
	Value      string   `json:"value,omitempty"`
	ValueName  string   `json:"value_name,omitempty"` // by the tag table: of a state, or the text itself
	Unit       string   `json:"unit,omitempty"`
	Limit      float64  `json:"limit"`
	FirstOut   string   `json:"first_out,omitempty"`
	Votes      []string `json:"votes,omitempty"`
	Raised     int64    `json:"raised"` // wall, ns; 0 its raise is not here
	Acked      int64    `json:"acked"`
	AckedBy    string   `json:"acked_by,omitempty"`
	Proved     bool     `json:"proved"`
	Returned   int64    `json:"returned"`
	Reset      int64    `json:"reset"`
	ResetBy    string   `json:"reset_by,omitempty"`
	Epoch      string   `json:"epoch"`
	Number     uint64   `json:"number"`
	Test       bool     `json:"test,omitempty"`   // its raise has the flag: no true alarm
	Hidden     string   `json:"hidden,omitempty"` // nobody was called to it: shelved, suppressed, out-of-service
	First      bool     `json:"first,omitempty"`  // of its group
}

// alarms lists alarms and trips.
func alarms(ctx context.Context, c *cli.Call) error {
	st, all, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	list := []*occurrence{}
	for _, g := range all {
		o, err := occurrences(ctx, st, g.ID)
		if err != nil {
			return err
		}
		list = append(list, o...)
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"alarms": list})
	}
	if len(list) == 0 {
		c.Say("davy-receiver.no-alarms", nil)
		return nil
	}
	rows := [][]string{head(c.Lang, "raised", "gateway", "rule", "what", "acked", "returned", "reset")}
	for _, o := range list {
		rows = append(rows, []string{
			when(o.Raised), o.Gateway, fmt.Sprintf("%s #%d", o.Rule, o.Occurrence), o.what(c.Lang),
			by(o.Acked, o.AckedBy), when(o.Returned), by(o.Reset, o.ResetBy),
		})
	}
	table(c.Out, rows)
	return nil
}

func by(ns int64, who string) string {
	if who == "" {
		return when(ns)
	}
	return when(ns) + " " + who
}

func (o *occurrence) what(l i18n.Lang) string {
	marks := ""
	if o.Test {
		marks += l.Text("operate.mark.test", nil) + " "
	}
	if o.Hidden != "" {
		marks += worded(l, "operate.hidden.", o.Hidden) + " "
	}
	return marks + o.about(l)
}

// about says what an occurrence is of.
func (o *occurrence) about(l i18n.Lang) string {
	if o.Trip {
		return l.Text("davy-receiver.kind.tripped", nil) + " " + l.Text("davy-receiver.first-out", i18n.Args{"channel": o.FirstOut})
	}
	text := o.TextEn
	if l == i18n.Zh {
		text = o.TextZh
	}
	if text == "" {
		text = o.Tag
	}
	return text + " " + amount(o.Value, o.ValueName, o.Unit)
}

func occurrences(ctx context.Context, st *store.Store, gateway string) ([]*occurrence, error) {
	type name struct {
		rule string
		n    uint64
	}
	var list []*occurrence
	open := map[name]*occurrence{}
	err := st.Events(ctx, gateway, alarmKinds, func(e *store.Event) error {
		k := name{e.Rule, e.Occurrence}
		kind := rules.Kind(e.Kind)
		trip := kind == rules.InterlockTripped || kind == rules.InterlockTrippedAtStart
		o := open[k]
		if o == nil || (trip || kind == rules.AlarmRaised) && o.Raised != 0 {
			o = &occurrence{Gateway: gateway, Rule: e.Rule, Occurrence: e.Occurrence, Epoch: e.Epoch, Number: e.Number}
			open[k] = o
			list = append(list, o)
		}
		switch {
		case trip || kind == rules.AlarmRaised:
			o.Raised, o.Trip, o.Priority, o.Limit, o.FirstOut = e.At.Wall, trip, e.Priority, e.Limit, e.FirstOut
			o.Value, o.ValueName = e.Value.String(), e.Name
			o.Test, o.Hidden, o.First = e.Test, hiddenName(e.Hidden), e.First
			if t := e.Tag; t != nil {
				o.Tag, o.TextZh, o.TextEn, o.Unit = t.Name, t.TextZh, t.TextEn, t.Unit
			}
			for _, v := range e.Votes {
				o.Votes = append(o.Votes, v.Channel)
			}
		case kind == rules.AlarmAcked:
			o.Acked, o.AckedBy, o.Proved = e.At.Wall, e.Who, e.Proved
		case kind == rules.AlarmReturned:
			o.Returned = e.At.Wall
		default:
			o.Reset, o.ResetBy = e.At.Wall, e.Who
		}
		return nil
	})
	return list, err
}
