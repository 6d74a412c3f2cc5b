package control

import (
	"context"
	"slices"
	"time"

	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/load"
)

// View is a consistent copy of what the loop knows, made between two turns.
type View struct {
	At           tag.Stamp
	Armed        bool
	Turns        uint64
	Longest      time.Duration // longest time between two turns since the start
	ClockTrusted bool
	ClockError   time.Duration
	Image        []tag.Reading // by tag.ID
	Alarms       []rules.AlarmView
	Interlocks   []rules.InterlockView
	Demands      []rules.OutputState // by output
	Devices      []rules.DeviceView
	Forces       []rules.ForceView
	Log          []ring.Event // oldest first
	Load         load.Figures // what the alarms of the last day asked of people
}

// View copies what is, from any goroutine.
func (l *Loop) View(ctx context.Context) (*View, error) {
	var v *View // the loop's until call has returned nil
	err := l.call(ctx, func() {
		now := l.o.Now()
		l.age(now) // after a loop that stood still nothing old is shown as good
		in := rules.Input{Now: now, Image: l.image.Readings()}
		v = &View{
			At: now, Armed: l.mem.Armed, Turns: l.turns, Longest: l.longest,
			ClockTrusted: l.clock.trusted, ClockError: l.clock.largest,
			Image:      slices.Clone(l.image.Readings()),
			Alarms:     l.o.Engine.Alarms(nil, now),
			Interlocks: l.o.Engine.Interlocks(nil, &in),
			Demands:    l.o.Engine.Demands(nil),
			Devices:    l.o.Engine.Devices(nil, now),
			Forces:     l.o.Engine.Forces(nil, now),
			Log:        append(slices.Clone(l.log[l.logAt:]), l.log[:l.logAt]...),
		}
		v.Load = l.o.Load.Figures(now, v.Alarms)
		for i := range v.Interlocks { // the engine's own slices live until its next step
			v.Interlocks[i].Votes = slices.Clone(v.Interlocks[i].Votes)
			if b := v.Interlocks[i].Bypass; b != nil {
				own := *b
				v.Interlocks[i].Bypass = &own
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}
