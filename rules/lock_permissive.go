package rules

import (
	"fmt"

	"davy/drivers/tag"
)

// permissive is one of an interlock's: its condition among Engine.guards, and
// the alarm that says that it does not hold.
type permissive struct {
	guard int
	alarm int
	name  string
}

// permitted reports whether all permissives of an interlock are known to hold.
func (e *Engine) permitted(l *interlock) bool {
	for k := range e.permissives[l.permit : l.permit+l.permits] {
		if e.guards[e.permissives[l.permit+k].guard].is != yes {
			return false
		}
	}
	return true
}

// watchPermissives drives their alarms: each is due while the interlock is armed
// or may be. That one is not known raises nothing, for then its tag is not
// watched, and that is an alarm already; it clears nothing either.
func (e *Engine) watchPermissives(l *interlock, t tag.Stamp) {
	for k := range l.permits {
		p := &e.permissives[l.permit+k]
		e.drive(p.alarm, both(truthOf(!e.unarmed(l)), not(e.guards[p.guard].is)), t)
	}
}

// permissives takes those of an interlock.
func (b *builder) permissives(what string, k *interlock, i int, l *Interlock) {
	k.permit, k.permits = len(b.e.permissives), len(l.Permissives)
	seen := map[string]bool{}
	for _, p := range l.Permissives {
		of := fmt.Sprintf("%s permissive %q", what, p.Name)
		if p.Name == "" || len(p.Name) > MaxName || seen[p.Name] {
			b.wrong(of, "", "the name is empty, longer than %d bytes, or stands twice", MaxName)
		}
		seen[p.Name] = true
		b.priority(of, p.Priority)
		b.delay(of, "delay", p.After)
		text := p.Text
		if text == (Text{}) {
			text = l.Text
		}
		x := permissive{name: p.Name, guard: b.guard(of, i, p.Cond)}
		if x.guard < 0 {
			b.wrong(of, "", "has no condition")
			x.guard = 0
		}
		x.alarm = b.automatic(l.Name, "."+p.Name+notPermittedSuffix, "not-permitted", text, p.Priority, p.After)
		b.e.permissives = append(b.e.permissives, x)
	}
}

// unpermitted names the permissives that do not hold, and those of which it is
// not known.
func (e *Engine) unpermitted(l *interlock) (list []PermissiveView) {
	for k := range l.permits {
		p := &e.permissives[l.permit+k]
		if is := e.guards[p.guard].is; is != yes {
			list = append(list, PermissiveView{Name: p.name, Unknown: is == unknown})
		}
	}
	return list
}
