package year

import (
	"math/rand/v2"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Vary returns a set with the same rules under other options, from a seed: the
// ways of voting, delays, latches, permits, arming, run-ons. So a small plant
// shows what a large one may be declared as.
func Vary(set rules.Set, tags []Tag, seed uint64) rules.Set {
	r := rand.New(rand.NewPCG(seed, 5))
	set.Alarms, set.Interlocks, set.Devices, set.Outputs = slices.Clone(set.Alarms), slices.Clone(set.Interlocks), slices.Clone(set.Devices), slices.Clone(set.Outputs)
	some := func(from, to time.Duration) time.Duration {
		if r.IntN(3) == 0 {
			return 0
		}
		d := from + time.Duration(r.Int64N(int64(to-from)))
		if r.IntN(2) == 0 {
			d = d / time.Second * time.Second
		}
		return d
	}
	flag := func() bool { return r.IntN(3) == 0 }
	for i := range set.Alarms {
		a := &set.Alarms[i]
		a.OnDelay, a.OffDelay, a.Realarm = some(time.Second, 20*time.Second), some(time.Second, time.Minute), some(time.Minute, 5*time.Hour)
		a.Latch, a.NoShelve, a.ShelveAtMost = flag(), flag(), some(time.Minute, 12*time.Hour)
		a.AutoAck = !a.Latch && !a.LatchOver && flag()
		if flag() {
			a.Group = []string{"east", "west"}[r.IntN(2)]
		}
	}
	var bools []tag.ID
	for id := range tags {
		if tags[id].Kind == tag.Bool && !tags[id].Computed {
			bools = append(bools, tag.ID(id))
		}
	}
	for i := range set.Interlocks {
		l := &set.Interlocks[i]
		l.M = 1 + r.IntN(len(l.Channels))
		l.Bad, l.BadAfter = rules.BadPolicy(r.IntN(3)), some(time.Second, 40*time.Second)
		l.InTestCounts, l.AllBadHolds, l.ManualReset = flag(), flag(), r.IntN(2) == 0
		l.OnDelay, l.ResetFor = some(time.Second, 10*time.Second), some(time.Second, 10*time.Minute)
		if len(bools) > 0 && flag() {
			l.Arm = rules.Condition{Tag: bools[r.IntN(len(bools))], Op: rules.EQ}
		}
		if len(bools) > 0 && flag() {
			l.ResetWhen = rules.Condition{Tag: bools[r.IntN(len(bools))], Op: rules.EQ}
		}
		l.Bypass = rules.Permit{AtMost: some(time.Minute, 9*time.Hour)}
		l.Bypass.AlarmOnly = l.Bypass.AtMost > 0 && flag()
		if l.Bypass.AtMost > 0 && flag() {
			l.Bypass.Second = []string{"leader"}
		}
		l.Test = rules.Permit{AtMost: some(time.Minute, 3*time.Hour)}
		l.Channels = slices.Clone(l.Channels)
		l.Channels[r.IntN(len(l.Channels))].Manual = r.IntN(5) == 0
		l.Demands = slices.Clone(l.Demands)
		for k := range l.Demands {
			l.Demands[k].Delay, l.Demands[k].RunOn = some(time.Second, 20*time.Second), some(time.Second, 20*time.Minute)
		}
	}
	for i := range set.Devices {
		set.Devices[i].Force, set.Devices[i].Test = rules.Permit{AtMost: some(time.Minute, rules.MaxForce)}, rules.Permit{AtMost: some(time.Minute, 4*time.Hour)}
		set.Devices[i].TestEvery = some(time.Hour, 400*time.Hour)
	}
	return set
}
