package operate

import (
	"bytes"
	"testing"
	"time"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/load"
)

// What a meter has counted, as people see it.
func TestLoadPaper(t *testing.T) {
	began := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	at := func(d time.Duration) tag.Stamp {
		return tag.Stamp{Wall: began.Add(d).UnixNano(), Mono: int64(time.Hour + d)}
	}
	m := load.New()
	take := func(k rules.Kind, d time.Duration, rule string, p rules.Priority) {
		m.Take(&rules.Event{Kind: k, At: at(d), Rule: rule, Priority: p})
	}
	take(rules.AlarmReturned, 0, "x", rules.Low)
	for i := range 12 {
		d := time.Duration(i) * 20 * time.Second
		take(rules.AlarmRaised, time.Hour+d, "nh3-1.high", rules.Medium)
		take(rules.AlarmReturned, time.Hour+d+5*time.Second, "nh3-1.high", rules.Medium)
	}
	take(rules.AlarmRaised, 2*time.Hour, "nh3-1.high-high", rules.High)
	take(rules.AlarmAcked, 2*time.Hour+90*time.Second, "nh3-1.high-high", rules.High)
	now := 26 * time.Hour // more than a day behind what begins it, and less than one behind the calls
	f := m.Figures(at(24*time.Hour), []rules.AlarmView{
		{Name: "nh3-1.high-high", State: rules.Acked, Raised: at(-2 * time.Hour)}, {State: rules.Shelved}, {State: rules.OutOfService},
	})
	for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
		var b bytes.Buffer
		v := View{At: began.Add(now), Load: LoadOf(&f)}
		if err := (Paper{Lang: l, Zone: time.UTC}).Load(&b, &v); err != nil {
			t.Fatal(err)
		}
		golden(t, "load."+string(l)+".golden", b.String())
	}
	var b bytes.Buffer
	if err := (Paper{Lang: i18n.En, Zone: time.UTC}).Load(&b, &View{At: began}); err != nil || b.Len() == 0 {
		t.Errorf("of an agent that does not count: %v %q", err, b.String())
	}
}
