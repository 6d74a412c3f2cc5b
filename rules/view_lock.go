package rules

import (
	"time"

	"davy/drivers/tag"
)

// lockMore adds what is shown of an interlock besides its votes.
func (e *Engine) lockMore(v *InterlockView, l *interlock, now tag.Stamp) {
	v.Test = e.drilled(l.name)
	v.NotPermitted = e.unpermitted(l)
	v.OutOfService = l.idle && l.state != Starting
	b := &l.bypass
	if !b.open() {
		return
	}
	v.Bypass = &BypassView{
		Channel: b.name, Who: b.who, Second: b.second, Note: b.note, Waiting: b.state == bypassWaiting, Overdue: b.state == bypassOverdue,
	}
	if b.state != bypassOverdue {
		if !e.started {
			now.Mono = 0 // restored ends are still times from 0
		}
		v.Bypass.Left = time.Duration(max(b.ends-now.Mono, 0))
	}
}
