package year

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"davy/rules"
)

// compare holds the engine's events against what the book expects.
func (y *year) compare() error {
	b := y.book
	y.bag = y.bag[:0]
	for i := range y.out.Events {
		v := &y.out.Events[i]
		at := v.At.Mono + y.base
		y.tally.Events++
		y.say("%v %+v", time.Duration(at-began), brief(v))
		if at > y.now || at < b.start && y.tally.Steps > 0 {
			return fmt.Errorf("event %+v of another time", brief(v))
		}
		if err := b.testFlag(v, at); err != nil {
			return fmt.Errorf("%+v: %w", brief(v), err)
		}
		if err := y.alarm(v, at); err != nil {
			return fmt.Errorf("%+v: %w", brief(v), err)
		}
		x := expect{v.Kind, v.Rule, at}
		switch v.Kind {
		case rules.InterlockTripped:
			y.tally.Trips++
			i := slices.IndexFunc(b.set.Interlocks, func(l rules.Interlock) bool { return l.Name == v.Rule })
			if !slices.Contains(b.locks[i].firsts, v.FirstOut) {
				return fmt.Errorf("%+v: first-out %s, it was one of %v", brief(v), v.FirstOut, b.locks[i].firsts)
			}
		case rules.InterlockReset, rules.ForceEnded, rules.TestEnded, rules.AlarmUnshelved, rules.BypassEnded, rules.BypassReminded, rules.BypassOverdue:
			if v.Who != "" {
				continue
			}
		case rules.OutputDemanded, rules.OutputReleased:
			x.rule = v.Output
			if o := slices.IndexFunc(b.set.Outputs, func(d rules.Output) bool { return d.Name == v.Output }); b.fuzzy[o] {
				continue
			}
		default:
			continue
		}
		y.bag = append(y.bag, x)
	}
	order := func(a, b expect) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.rule, b.rule))
	}
	slices.SortFunc(b.want, order)
	slices.SortFunc(y.bag, order)
	if !slices.Equal(b.want, y.bag) {
		return fmt.Errorf("the engine says\n    %v\n  and what was declared demands\n    %v", y.bag, b.want)
	}
	b.want = b.want[:0]
	return y.dues()
}

// alarm follows an event of an alarm.
func (y *year) alarm(v *rules.Event, at int64) error {
	switch {
	case v.Kind >= rules.AlarmRaised && v.Kind <= rules.AlarmReset, v.Kind >= rules.AlarmShelved && v.Kind <= rules.AlarmRealarmed:
	default:
		return nil
	}
	b, n := y.book, y.name(v.Rule)
	a, d := &b.alarms[n], y.decl[n]
	recalled := a.call
	if v.Kind == rules.AlarmRaised {
		y.tally.Raised++
	}
	if err := a.take(v, d); err != nil {
		return err
	}
	switch v.Kind {
	case rules.AlarmRaised:
		if a.clear >= 0 { // an off-delay begins at the raise
			a.clear = max(a.clear, at)
		}
		if d != nil && !recalled {
			return b.raised(d, a, at)
		}
	case rules.AlarmReturned:
		if d != nil {
			return b.cleared(v, d, at)
		}
	case rules.AlarmShelved:
		most := rules.DefaultShelve
		if d != nil && d.ShelveAtMost > 0 {
			most = d.ShelveAtMost
		}
		if !mayShelve(v.Rule, d) || v.For > most || v.For <= 0 {
			return fmt.Errorf("it must not be shelved, or not so long")
		}
		b.shelf[v.Rule] = given{on: true, began: at, ends: at + int64(v.For)}
	case rules.AlarmUnshelved:
		delete(b.shelf, v.Rule)
	}
	return nil
}

// dues looks at what alarms have not done.
func (y *year) dues() error {
	for n, d := range y.decl {
		a := &y.book.alarms[n]
		if a.call && !a.called {
			return fmt.Errorf("%d: nothing lies over it any more, it stands, and nobody was called", n)
		}
		a.call = false
		if d == nil {
			continue
		}
		if err := due(d, a, y.now); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return nil
}

func brief(v *rules.Event) string {
	return fmt.Sprintf("kind %d %s#%d %s %s hidden %d who %q test %v value %v quality %v/%v/%x for %v", v.Kind, v.Rule, v.Occurrence, v.Output, v.Channel, v.Hidden, v.Who, v.Test,
		v.Value, v.Quality.Status(), v.Quality.Reason(), v.Quality.Flags(), v.For)
}
