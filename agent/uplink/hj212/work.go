package hj212

import "time"

// work sends the periods that are over and what the host asked for, one
// after another: what is due first.
func (s *session) work() error {
	d := s.d
	var now *asked
	for {
		p, ok, wait := d.due(d.o.Now().Wall)
		if ok {
			if err := s.period(p); err != nil {
				return err
			}
			continue
		}
		if now != nil {
			done, err := s.answerOne(now)
			if err != nil {
				return err
			}
			if done {
				now = nil
			}
			continue
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-s.ctx.Done():
		case <-s.wake:
		case <-timer.C:
		case a := <-s.asked:
			now = &a
		}
		timer.Stop()
		if s.ctx.Err() != nil {
			return errClosed
		}
	}
}

// period sends one period that is over.
func (s *session) period(p period) error {
	d := s.d
	d.fly(p)
	c, err := d.compute(s.ctx, p)
	if err != nil {
		return err
	}
	if c.known {
		first, rest := d.groups(p, c.stats)
		if err := s.put(s.ctx, s.normal, d.uploadOf(commands[p.level], first, rest)); err != nil {
			return err
		}
	}
	d.sent(p, c.marks)
	return nil
}

// answerOne sends the next period that the host asked for, and when there is
// none any more how it went. A period that is not over, and one of which the
// journal has nothing, is left out.
func (s *session) answerOne(a *asked) (done bool, err error) {
	d := s.d
	for len(a.periods) > 0 {
		p := a.periods[0]
		a.periods = a.periods[1:]
		if !d.over(p, d.o.Now().Wall) {
			continue
		}
		c, err := d.compute(s.ctx, p)
		switch {
		case s.ctx.Err() != nil:
			return false, errClosed
		case err != nil:
			d.o.Log.Error("history not read", "destination", d.o.Name, "err", err)
			return true, s.finish(a, exeFault)
		case !c.known:
			if err := s.pause(); err != nil { // to look costs as much as to send
				return false, err
			}
			return false, nil
		}
		first, rest := d.groups(p, c.stats)
		if err := s.put(s.ctx, s.normal, d.uploadOf(commands[p.level], first, rest)); err != nil {
			return false, err
		}
		a.sent++
		return false, s.pause()
	}
	if a.sent == 0 {
		return true, s.finish(a, exeNothing)
	}
	return true, s.finish(a, exeDone)
}

// pause keeps history from taking the whole line.
func (s *session) pause() error {
	t := time.NewTimer(s.d.o.Pace)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return errClosed
	}
}

func (s *session) finish(a *asked, code int) error {
	select {
	case s.result <- s.d.reply(&a.request, "91", cnResult, rtn("ExeRtn", code)):
		return nil
	case <-s.ctx.Done():
		return errClosed
	}
}
