package keep

import (
	"fmt"
	"strings"
	"time"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/record"
	"davy/agent/secret"
	"davy/agent/uplink/feed"
	"davy/agent/uplink/hj212"
)

// settleSyncs is how many of the journal's syncs readings of a period that is
// over may be away, or hj212.DefaultSettle if that is longer.
const settleSyncs = 2

// hj212 makes a host that speaks HJ 212.
func (k *keeper) hj212(u config.Uplink, j *journal.Journal, rec *record.Recorder) (feed.Connect, error) {
	h := u.HJ212
	zone, err := time.LoadLocation(k.plan.Gateway.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("hj212 %s: %w", u.Name, err)
	}
	dial := k.o.DialTCP
	if dial == nil {
		dial = hj212.DialTCP
	}
	past := feed.NewPast(j, rec.Table)
	o := hj212.Options{
		Name: u.Name, MN: h.MN, ST: h.ST, Edition: map[int]hj212.Edition{2017: hj212.Edition2017, 2025: hj212.Edition2025}[h.Edition], Zone: zone,
		PW: func() (string, error) {
			s, err := secret.Get(k.hello.StateDir, h.PW)
			return strings.TrimRight(s, "\r\n"), err
		},
		Realtime: h.Realtime, Minute: h.Minute, Hour: h.Hour, Day: h.Day, AnyBad: h.AnyBad,
		Events:  map[string]hj212.Log{"answered": hj212.LogAnswered, "unanswered": hj212.LogUnanswered}[h.Log],
		Answers: !u.Unconfirmed, OverTime: h.OverTime, ReCount: h.ReCount, Beat: h.Beat, BeatCN: h.BeatCN,
		Settle: max(hj212.DefaultSettle, settleSyncs*k.plan.Journal.Sync), Started: k.hello.Started,
		Dial: dial(h.Address), Now: k.o.Now, Past: past.Readings,
		Before: past.Before, Log: k.o.Log,
	}
	if h.Agree {
		o.Settings = hj212.Compare
	}
	for _, x := range h.Factors {
		o.Factors = append(o.Factors, hj212.Factor{Tag: string(x.Tag), Code: x.Code, Decimals: x.Decimals, Total: x.Total, Hold: hj212.HoldOf(x.Every)})
	}
	d, err := hj212.New(o)
	if err != nil {
		return nil, err
	}
	return d.Connect, nil
}
