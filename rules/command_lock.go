package rules

import (
	"strings"

	"davy/drivers/tag"
)

// standing names the channels whose votes stand: "nh3-1.gas, nh3-2.gas".
func (e *Engine) standing(i int) string {
	var names []string
	for _, v := range e.votes(i) {
		names = append(names, v.Channel)
	}
	return strings.Join(names, ", ")
}

func (e *Engine) resetTrip(i int, c Command, now tag.Stamp) (code string) {
	l := &e.interlocks[i]
	switch {
	case l.state != Tripped:
		return "not-tripped"
	case l.standing:
		return "still-standing"
	case !l.ready:
		return "reset-not-met"
	}
	e.reset(i, c.on(Event{At: now}))
	return ""
}
