package rulesbench

import (
	"fmt"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
	"davy/test/floor/closures"
)

// mixedSet is what closures.NewPlant does, as a set of rules.
func mixedSet(units int) (rules.Set, error) {
	set := rules.Set{Tags: make([]rules.Tag, 1+units*closures.Tags)}
	for u := range units {
		base := tag.ID(1 + u*closures.Tags)
		for i := range tag.ID(closures.Tags) {
			set.Tags[base+i].Name = tag.Name(fmt.Sprintf("u%d.t%d", u, i))
		}
		if err := formulas(&set, base); err != nil {
			return set, err
		}
		for _, l := range closures.Limits() {
			set.Alarms = append(set.Alarms, alarmOf(u, base, &l))
		}
		for _, name := range []string{"valve", "fan"} {
			set.Outputs = append(set.Outputs, rules.Output{Name: named(u, name)})
		}
		for _, v := range closures.Votes() {
			set.Interlocks = append(set.Interlocks, lockOf(u, base, &v))
		}
	}
	return set, nil
}

func named(u int, name string) string { return fmt.Sprintf("u%d.%s", u, name) }

// formulas adds the tags that are made of others.
func formulas(set *rules.Set, base tag.ID) error {
	names := map[string]expr.Tag{
		"level": {ID: base + closures.Level, Kind: expr.Number}, "temp": {ID: base + closures.Temp, Kind: expr.Number},
		"sibling": {ID: base + closures.Sibling, Kind: expr.Number}, "pressure": {ID: base + closures.Pressure, Kind: expr.Number},
		"contact": {ID: base + closures.Contact, Kind: expr.Bool},
	}
	env := &expr.Env{Tag: func(name string) (expr.Tag, bool) { t, ok := names[name]; return t, ok }}
	for id, source := range map[tag.ID]string{
		closures.Rate:      "rate(temp, 1min)",
		closures.Deviation: "abs(temp - sibling)",
		closures.Logic:     "level > 25 && (pressure < 10 || contact) && abs(temp - sibling) > 3",
	} {
		program, problems := expr.Compile(source, env)
		if len(problems) > 0 {
			return fmt.Errorf("compile %s: %v", source, problems)
		}
		set.Computed = append(set.Computed, rules.Computed{Tag: base + id, Program: program})
	}
	return nil
}

func alarmOf(u int, base tag.ID, l *closures.Limit) rules.Alarm {
	a := rules.Alarm{
		Name: named(u, l.Name), Cond: rules.Condition{Tag: base + tag.ID(l.Tag), Op: rules.GE, Limit: l.At}, Priority: rules.Medium,
		Deadband: l.Band, OnDelay: l.OnFor, OffDelay: l.OffFor, Latch: l.Latch, NotWatched: l.Watch,
	}
	switch {
	case l.Below:
		a.Cond.Op = rules.LE
	case l.Equal:
		a.Cond.Op = rules.EQ
	}
	if l.Group {
		a.Group = named(u, "gas")
	}
	return a
}

func lockOf(u int, base tag.ID, v *closures.Vote) rules.Interlock {
	l := rules.Interlock{
		Name: named(u, v.Name), Priority: rules.High, M: v.M, OnDelay: v.OnFor, BadAfter: v.BadFor,
		ManualReset: v.Manual, ResetFor: v.ResetFor,
	}
	if v.LeftOut {
		l.Bad = rules.LeftOut
	}
	if v.Degraded {
		l.DegradedPriority = rules.Medium
	}
	for k := range v.N {
		l.Channels = append(l.Channels, rules.Channel{
			Name: fmt.Sprint(k), Cond: rules.Condition{Tag: base + tag.ID(v.First+k), Op: rules.GE, Limit: v.At},
		})
	}
	if v.Valve {
		l.Demands = append(l.Demands, rules.Demand{Output: named(u, "valve"), Delay: v.ValveFor})
	}
	if v.Fan {
		l.Demands = append(l.Demands, rules.Demand{Output: named(u, "fan"), Delay: v.FanFor})
	}
	return l
}

// mixed is both sides over the same images.
type mixed struct {
	ours
	plant *closures.Plant
	mono  int64 // of the plant
	k     int
}

// tenth is the time from one step to the next.
const tenth = int64(100 * time.Millisecond)

func newMixed(units int) (*mixed, error) {
	set, err := mixedSet(units)
	if err != nil {
		return nil, err
	}
	m := &mixed{plant: closures.NewPlant(units)}
	if m.engine, err = rules.New(set); err != nil {
		return nil, fmt.Errorf("make mixed rules: %w", err)
	}
	for k := range m.images {
		m.images[k] = make([]tag.Reading, len(set.Tags))
	}
	for u := range units {
		for i := range closures.Measured {
			id := tag.ID(1 + u*closures.Tags + i)
			m.in.Changed = append(m.in.Changed, id)
			for k := range m.images {
				m.images[k][id] = tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: quiet(u, i, k)}
			}
		}
	}
	for range warm { // windows are full then, and nothing stands
		m.step()
		m.stepPlant()
	}
	return m, nil
}

// warm is how many steps go before: more than the longest window takes.
const warm = 700

// quiet is what a tag has in image k: another value in each, and none beyond a limit.
func quiet(u, i, k int) tag.Value {
	switch i {
	case closures.Contact:
		return tag.BoolValue(k == 1)
	case closures.Mode:
		return tag.IntValue(int64(k))
	}
	v := map[int]float64{closures.Level: 40, closures.Temp: 60, closures.Sibling: 60.5, closures.Pressure: 8}[i]
	f, _ := tag.Float64Value(v + float64(u%10)/8 + float64(k*(1+i))/16)
	return f
}

func (m *mixed) stepPlant() []closures.Event {
	m.k++
	m.mono += tenth
	return m.plant.Step(m.mono, m.images[m.k&1])
}

// runPlant returns what takes the seconds of one of n steps of the reference.
func (m *mixed) runPlant(n int) func() (float64, error) {
	return func() (float64, error) {
		start := time.Now()
		for range n {
			if len(m.stepPlant()) > 0 {
				return 0, errChanged
			}
		}
		return time.Since(start).Seconds() / float64(n), nil
	}
}
