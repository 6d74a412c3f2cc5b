package replay

import (
	"errors"
	"io"
	"math"
	"time"

	"davy/agent/config"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/rules"
)

// prior is how the record has it when the engines begin, and until the window
// does: engines that begin with nothing know none of it.
type prior struct {
	held    map[holding]bool // by a person, since before the engines began
	stood   map[string]bool  // rules
	over    bool             // the window has begun
	differs map[string]bool  // rules that stood otherwise than the present ones do, when the window began
}

// holding is what one person's word did to one name.
type holding struct {
	what, name, channel string
}

// heldBy returns what an event says that a person holds, or no longer.
func heldBy(e *wire.Event) (h holding, begins, ok bool) {
	h = holding{name: e.Rule}
	switch rules.Kind(e.Kind) {
	case rules.AlarmShelved, rules.AlarmUnshelved:
		h.what, begins = "shelved", rules.Kind(e.Kind) == rules.AlarmShelved
	case rules.AlarmRemoved, rules.AlarmRestored:
		h.what, begins = "alarm", rules.Kind(e.Kind) == rules.AlarmRemoved
	case rules.PointRemoved, rules.PointRestored:
		h.what, begins = "point", rules.Kind(e.Kind) == rules.PointRemoved
	case rules.BypassAsked, rules.BypassBegan, rules.BypassEnded:
		h.what, h.channel, begins = "bypass", e.Channel, rules.Kind(e.Kind) != rules.BypassEnded
	case rules.ForceBegan, rules.ForceEnded:
		h.what, begins = "force", rules.Kind(e.Kind) == rules.ForceBegan
	case rules.TestBegan, rules.TestEnded:
		h.what, begins = "test", rules.Kind(e.Kind) == rules.TestBegan
	default:
		return h, false, false
	}
	return h, begins, true
}

// take follows an event; early says that the engines have not begun.
func (b *prior) take(e *wire.Event, early bool) {
	if rules.Kind(e.Kind) == ring.LatchLost {
		clear(b.held)
		clear(b.stood)
		return
	}
	if h, begins, ok := heldBy(e); ok && !b.over {
		if !begins {
			delete(b.held, h)
		} else if early {
			b.held[h] = true
		}
	}
	if begins, _, ok := kindOf(rules.Kind(e.Kind)); ok && begins {
		b.stood[e.Rule] = true
	} else if ok {
		delete(b.stood, e.Rule)
	}
}

// lookBefore reads the events of before the engines begin.
func (r *run) lookBefore(epochs []Epoch) error {
	for i := range epochs {
		for blocks := r.o.Source.Events(i); ; {
			b, err := blocks.Next(math.MinInt64)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			for k := range b.Records {
				e := &b.Records[k]
				if e.Serial > 0 && rules.Kind(e.Kind) < firstOfKeeper && e.At.Wall >= r.rep.Began {
					return nil
				}
				r.prior.take(e, true)
			}
		}
	}
	return nil
}

// windowBegins compares how the rules stand in the record and in the replay,
// once, when the window begins.
func (r *run) windowBegins(wall int64) {
	if r.prior.over || wall < r.rep.From {
		return
	}
	r.prior.over = true
	for name := range r.prior.stood {
		r.prior.differs[name] = true
	}
	for name, w := range r.cmp.rules {
		if w.side[present].on == r.prior.stood[name] {
			delete(r.prior.differs, name)
		} else {
			r.prior.differs[name] = true
		}
	}
}

// heldOn counts what persons held on a name.
func (b *prior) heldOn(name string) (n int) {
	for h := range b.held {
		if h.name == name {
			n++
		}
	}
	return n
}

// delays are the longest times that conditions of the rules and outputs of a plan
// must stand: of an interlock by its name for its trips and resets, by its name
// and a dot for the alarms that it brings with it.
func delays(p *config.Plan) map[string]time.Duration {
	m := map[string]time.Duration{}
	for i := range p.Rules.Alarms {
		a := &p.Rules.Alarms[i]
		m[a.Name] = max(a.OnDelay, a.OffDelay)
	}
	for i := range p.Rules.Interlocks {
		l := &p.Rules.Interlocks[i]
		d := max(l.OnDelay, l.BadAfter, l.ResetFor)
		m[l.Name] = d
		for _, x := range l.Permissives {
			d = max(d, x.After)
		}
		m[l.Name+"."] = max(d, l.DegradedAtMost, l.ArmWithin, l.Discrepancy.After)
	}
	for i := range p.Rules.Outputs {
		m[p.Rules.Outputs[i].Name+"."] = p.Rules.Outputs[i].Within
	}
	return m
}

// delayOf is that of a rule, or of one that an interlock or output brings with it.
func delayOf(all map[string]time.Duration, name string) time.Duration {
	if d, ok := all[name]; ok {
		return d
	}
	for i := len(name) - 1; i > 0; i-- {
		if d, ok := all[name[:i]+"."]; ok && name[i] == '.' {
			return d
		}
	}
	return 0
}
