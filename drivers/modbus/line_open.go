package modbus

import (
	"context"
	"errors"
	"time"
)

// attach sees to it that there is a port.
func (l *line) attach(ctx context.Context, deadline time.Time) error {
	if l.port != nil && l.way != nil {
		if waits, urgent := l.way.fresher(); waits && urgent {
			l.drop(errors.New("the unit has dialed in again"), true)
		}
	}
	if l.port != nil {
		return nil
	}
	if err := l.early(l.now().Mono, "opening"); err != nil {
		return err
	}
	l.count.Dialed++
	opening, cancel := context.WithDeadline(ctx, deadline)
	port, err := l.dial(opening)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.putOff(l.now().Mono, err)
		return err
	}
	l.port, l.reopening.last = port, nil
	l.drain, _ = port.(drainer)
	l.sender, _ = port.(sender)
	l.in.clear()
	l.heardAt = time.Now()
	l.fruitful, l.reopening.silent, l.strays = false, 0, 0
	l.echoes = l.echo
	if !l.allow {
		l.listenUntil = l.now().Mono + int64(ListenFor)
	}
	return nil
}

// answered notes that somebody is there.
func (l *line) answered() {
	l.count.Answered++
	l.failed, l.mute, l.reopening.silent, l.fruitful = 0, 0, 0, true
	if l.way != nil && !l.up {
		l.way.good()
	}
	if !l.up {
		l.up = true
		l.log.Info("line answering", "target", l.target)
	}
}

// hushed notes a silence: a connection on which everybody is silent is
// replaced, for it may be half open. A device file cannot be.
func (l *line) hushed(limit time.Duration) {
	if l.way == nil || !inFull(silence(limit), l.timeout) {
		return
	}
	l.reopening.silent++
	waits, _ := l.way.fresher()
	if waits || l.halfOpen() {
		l.mute++
		l.drop(silence(limit), true) // the silence was pause enough
	}
}

// drop closes the port and returns why.
func (l *line) drop(why error, ours bool) error {
	l.watch.end()
	l.port.Close() // the reason is known
	l.port, l.drain, l.sender = nil, nil, nil
	l.count.Lost++
	if l.up {
		l.up = false
		l.log.Warn("line lost", "target", l.target, "error", why)
	}
	if !l.fruitful && !ours {
		l.putOff(l.now().Mono, why)
	}
	return why
}
