package modbus

import (
	"context"
	"errors"
	"os"
	"time"
)

// settle waits until the line may be spoken on: quiet for as long as a pause
// between frames takes, and not before free. What is heard meanwhile is looked
// at: late answers, another master. Reading is the wait, so that nothing that
// came before a request is left to be taken for its answer; that is more than
// the kernel's flush, which throws away unseen.
//
// A station s that another master asked for the same function may answer him
// first; nil: nobody answers. A request needs half of its time for itself: what
// has to wait for longer is asked later.
func (l *line) settle(ctx context.Context, deadline, free time.Time, s *station, function byte) error {
	if l.free.After(free) {
		free = l.free
	}
	now := time.Now()
	half := now.Add(deadline.Sub(now) / 2)
	if free.After(half) {
		return unsent{later(l.now().Mono+int64(free.Sub(now)), false, errSoon)}
	}
	heard := l.master
	for {
		now = time.Now()
		target := l.heardAt.Add(l.quiet)
		if free.After(target) {
			target = free
		}
		if target.After(deadline) {
			return unsent{errBabble}
		}
		if !now.Before(deadline) {
			return unsent{context.DeadlineExceeded}
		}
		first := s != nil && s.otherOf == function && s.other.After(now)
		if first {
			if !now.Before(half) {
				return unsent{later(l.now().Mono+int64(s.other.Sub(now)), false, errOthers)}
			}
			if target = s.other; target.After(half) {
				target = half // and look again
			}
		}
		n, err := l.look(ctx, now, target)
		if ctx.Err() != nil {
			return unsent{ctx.Err()}
		}
		if err != nil {
			return unsent{l.drop(err, false)}
		}
		if n == 0 && !first && !time.Now().Before(target) {
			break
		}
		l.hear(n)
		if l.master && !heard && !l.allow {
			return unsent{later(l.masterAt+int64(listenAgain), true, errMaster)}
		}
	}
	if err := l.watch.arm(ctx, deadline); err != nil {
		return unsent{err}
	}
	return nil
}

// look reads what comes until target, at least what is there.
func (l *line) look(ctx context.Context, now, target time.Time) (int, error) {
	if !now.Before(target) {
		if l.drain != nil {
			return l.drain.Drain(l.in.space())
		}
		target = now.Add(time.Millisecond) // a port that refuses to read after its deadline
	}
	if err := l.watch.arm(ctx, target); err != nil {
		return 0, err
	}
	n, err := l.port.Read(l.in.space())
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// hear takes n bytes that nobody waits for.
func (l *line) hear(n int) {
	if n == 0 {
		return
	}
	l.came(n, time.Now())
	for {
		// While Davy is silent anyway it may err on the side of hearing a master.
		body, ok := l.next(&l.in, &l.want, l.master && !l.allow)
		if !ok {
			return
		}
		l.overheard(body)
	}
}

// overheard judges a good frame that is no answer to what is waited for. A
// station speaks only when it is asked: a request that is not ours is another
// master's. So are answers to what we never asked, but one alone may be to a
// request of ours before a restart.
func (l *line) overheard(body []byte) {
	s := l.at(body[0])
	if answers(body) {
		if body[1]&^0x80 == s.otherOf {
			s.other = time.Time{}
		}
		if got := shapeIn(body); s.knows(got) {
			l.late(s, got)
			return
		}
	}
	switch {
	case l.cast && asks(body): // a broadcast of ours that is given back
		l.cast = false
	case asks(body):
		l.asksToo(s, body)
	case l.listenUntil != 0 || l.master:
		if l.strays++; l.strays > 1 {
			l.other()
		}
		fallthrough
	default:
		l.count.Dropped++
	}
}

// asksToo notes another master's request to s, whose answer may be taken for one
// to ours of the same function.
func (l *line) asksToo(s *station, body []byte) {
	l.other()
	if givesBack(body[1]) {
		return // what it gives back says what was asked
	}
	s.other, s.otherOf = time.Now().Add(l.timeout), body[1]
	l.fouled = l.fouled || l.want.station == s.number && l.want.function == body[1]
}

// other notes another master.
func (l *line) other() {
	l.masterAt = l.now().Mono
	l.count.Dropped++
	if !l.master {
		l.master = true
		l.log.Warn("another master on the line", "target", l.target, "allowed", l.allow)
		l.say("other-master", true)
	}
}

// mayspeak listens as long as it must; nil means that the line is ours.
func (l *line) mayspeak(ctx context.Context, deadline time.Time) error {
	if most := time.Now().Add(listenSlice); l.listenUntil != 0 && most.Before(deadline) {
		deadline = most
	}
	for l.listenUntil != 0 {
		left := time.Duration(l.listenUntil - l.now().Mono)
		now := time.Now()
		if left <= 0 {
			l.listenUntil = 0
			l.in.clear()
			if !l.master {
				return later(l.now().Mono, true, errListen) // with all its time for the request
			}
			break
		}
		if !now.Before(deadline) {
			return later(l.now().Mono, true, errListen)
		}
		target := now.Add(left)
		if target.After(deadline) {
			target = deadline
		}
		n, err := l.look(ctx, now, target)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return l.drop(err, false)
		}
		l.hear(n)
	}
	if !l.master {
		return nil
	}
	if !l.allow {
		for { // everything that has come
			n, err := l.look(ctx, time.Now(), time.Time{})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return l.drop(err, false)
			}
			if n == 0 {
				break
			}
			l.hear(n)
			if !time.Now().Before(deadline) {
				break
			}
		}
	}
	now, until := l.now().Mono, l.masterAt+int64(SilentFor)
	if now < until {
		if l.allow {
			return nil
		}
		return later(min(until, now+int64(listenAgain)), true, errMaster)
	}
	l.master, l.strays = false, 0
	l.log.Info("no other master any more", "target", l.target)
	l.say("other-master", false)
	return nil
}
