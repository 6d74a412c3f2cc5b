package rules

import "davy/drivers/tag"

// Step brings an engine and the image that it judges to now, together: what
// persons laid over tags, and took from them, is with the image before anything
// is judged by it. out is the outcome of it all; readings that look otherwise
// since are those of out.Overlays.
func Step(e *Engine, m *Image, now tag.Stamp, out *Outcome) {
	e.stepWith(m, now)
	e.putComputed(m)
	e.finish(out)
}

// Do is Step and then a person's command (Engine.Do).
func Do(e *Engine, m *Image, now tag.Stamp, c Command, out *Outcome) error {
	e.stepWith(m, now)
	if err := e.told(c, out); err != nil {
		return err
	}
	e.lay(m, now)
	e.putComputed(m)
	e.finish(out)
	return nil
}

// putComputed gives the image what computed tags have now.
func (e *Engine) putComputed(m *Image) {
	for i := range e.computer.made {
		m.Put(e.computer.made[i])
	}
}

func (e *Engine) stepWith(m *Image, now tag.Stamp) {
	if !e.started {
		for i := range e.points.forces { // the image may have been another engine's
			if o := e.overlayOf(&e.points.forces[i]); !o.nothing() || m.Overlaid(o.Tag) {
				m.Overlay(o)
			}
		}
	} else {
		e.endUntil(m, now)
	}
	e.step(&Input{Now: now, Image: m.Readings(), Changed: m.TakeChanged()})
	e.lay(m, now)
}

// endUntil lets the forces and tests whose time is over by now end at their
// time: by the readings that there were then, and not by what came since.
func (e *Engine) endUntil(m *Image, now tag.Stamp) {
	p := &e.points
	for kept := false; p.nextEnd != 0 && p.nextEnd <= now.Mono; kept = true {
		t := tag.Stamp{Wall: now.Wall - (now.Mono - p.nextEnd), Mono: p.nextEnd}
		e.kept = e.kept || kept
		e.step(&Input{Now: t, Image: m.Readings()})
		var changed []tag.ID
		for ; p.laid < len(p.overlays); p.laid++ {
			m.overlayBefore(p.overlays[p.laid])
			changed = append(changed, p.overlays[p.laid].Tag)
		}
		e.kept = true
		e.step(&Input{Now: t, Image: m.Readings(), Changed: changed})
		e.kept = true
		m.catchUp()
	}
}

// lay gives the image what persons laid over tags and judges what changed by
// it, at the same instant.
func (e *Engine) lay(m *Image, now tag.Stamp) {
	for p := &e.points; p.laid < len(p.overlays); {
		for ; p.laid < len(p.overlays); p.laid++ {
			m.Overlay(p.overlays[p.laid])
		}
		e.kept = true
		e.step(&Input{Now: now, Image: m.Readings(), Changed: m.TakeChanged()})
	}
}
