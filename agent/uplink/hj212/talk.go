package hj212

import (
	"fmt"
	"strconv"
	"time"
)

// Commands that both sides send; table 9.
const (
	cnRealtime = 2011
	cnStarted  = 2081
	cnLog      = 3020
	cnRequest  = 9011
	cnResult   = 9012
	cnNotice   = 9013
	cnData     = 9014
)

// talker is the dialogue of one connection; it has one goroutine. One packet
// of ours at a time waits for its answer, and the requests of the host are
// answered meanwhile.
type talker struct {
	s     *session
	up    *upload
	piece int    // of up, on the way or next
	sent  Packet // on the way; QN "" none is
	tries int
	until time.Time // for the answer

	live    bool  // real-time data is wanted
	last    int64 // its last tick, wall time
	lastOut time.Time
	now     *upload // real-time data or 2081 that waits to go

	from  time.Time // of the second in which requests are counted
	count int
	told  map[[2]int]bool // commands and codes whose refusal stands in the log
}

// talk sends and answers until the connection ends.
func (s *session) talk(came <-chan Packet) error {
	t := &talker{s: s, live: true, lastOut: time.Now(), told: map[[2]int]bool{}}
	t.last = s.d.tick(s.d.o.Now().Wall)
	if up := s.d.started(); up != nil {
		t.now = up
	}
	for {
		if err := t.begin(); err != nil {
			return err
		}
		urgent, normal := s.urgent, s.normal
		if t.up != nil {
			urgent, normal = nil, nil
		} else {
			select { // events first
			case u := <-urgent:
				t.up, t.piece = u, 0
				continue
			default:
			}
		}
		timer := time.NewTimer(t.next())
		var err error
		select {
		case <-s.ctx.Done():
			err = errClosed
		case p := <-came:
			err = t.take(p)
		case p := <-s.result:
			err = t.write(&p)
		case t.up = <-urgent:
			t.piece = 0
		case t.up = <-normal:
			t.piece = 0
		case <-timer.C:
			err = t.due()
		}
		timer.Stop()
		if err != nil {
			return err
		}
	}
}

// begin puts the next packet on its way if there is one.
func (t *talker) begin() error {
	for t.sent.QN == "" {
		if t.up == nil {
			if t.now == nil {
				return nil
			}
			t.up, t.now, t.piece = t.now, nil, 0
		}
		p := t.s.d.packet(t.up.cn, t.up.groups[t.piece])
		p.Answer = p.Answer && !t.up.plain
		if n := len(t.up.groups); n > 1 {
			p.PNUM, p.PNO = n, t.piece+1
		}
		if err := t.write(&p); err != nil {
			return err
		}
		if !p.Answer {
			t.confirmed()
			continue
		}
		t.sent, t.tries, t.until = p, 0, time.Now().Add(t.s.d.o.OverTime)
	}
	return nil
}

func (t *talker) write(p *Packet) error {
	t.lastOut = time.Now()
	return t.s.write(p)
}

// confirmed goes on to the next packet, or ends the upload.
func (t *talker) confirmed() {
	t.s.d.count(func(c *Counts) { c.Confirmed++ })
	if t.sent.Answer || !t.s.d.o.Answers {
		t.s.heard.Add(1)
	}
	t.sent = Packet{}
	if t.piece++; t.piece == len(t.up.groups) {
		if t.up.cn == cnStarted {
			t.s.d.mu.Lock()
			t.s.d.told = true
			t.s.d.mu.Unlock()
		}
		t.up.done <- nil
		t.up = nil
	}
}

// next returns how long nothing is to be done unless something comes.
func (t *talker) next() time.Duration {
	o := &t.s.d.o
	wait := slowestLook
	if t.sent.QN != "" {
		wait = min(wait, time.Until(t.until))
	}
	if o.Realtime > 0 && t.live {
		wait = min(wait, time.Duration(t.last+int64(o.Realtime)-o.Now().Wall))
	}
	if o.Beat > 0 {
		wait = min(wait, time.Until(t.lastOut.Add(o.Beat)))
	}
	return max(wait, 0)
}

// due does what the time has come for.
func (t *talker) due() error {
	d := t.s.d
	d.tell()
	if t.sent.QN != "" && !time.Now().Before(t.until) {
		if t.tries++; t.tries > d.o.ReCount {
			return fmt.Errorf("%w to %d within %v, sent %d times", ErrSilent, t.sent.CN, d.o.OverTime, t.tries)
		}
		d.count(func(c *Counts) { c.Resent++ })
		if err := t.write(&t.sent); err != nil {
			return err
		}
		t.until = time.Now().Add(d.o.OverTime)
	}
	if wall := d.o.Now().Wall; d.o.Realtime > 0 && t.live && d.tick(wall) != t.last {
		t.last = d.tick(wall)
		t.now = d.realtime(wall) // an older one that still waits is of no use any more
	}
	if d.o.Beat > 0 && !time.Now().Before(t.lastOut.Add(d.o.Beat)) {
		p := d.packet(d.o.BeatCN, nil)
		p.Answer = false // an answer would say no more than the connection does
		d.count(func(c *Counts) { c.Beats++ })
		return t.write(&p)
	}
	return nil
}

// tick returns the last time for real-time data, a multiple of its period.
func (d *Destination) tick(wall int64) int64 {
	if d.o.Realtime == 0 {
		return 0
	}
	return floorDiv(wall, int64(d.o.Realtime)) * int64(d.o.Realtime)
}

// realtime returns what the factors are now; nil when none was ever read.
func (d *Destination) realtime(wall int64) *upload {
	d.mu.Lock()
	var rest []Group
	some := false
	for i := range d.newest {
		rest = append(rest, d.o.Factors[i].realtime(&d.newest[i], wall))
		some = some || d.newest[i].at != 0
	}
	d.mu.Unlock()
	if !some {
		return nil
	}
	return d.uploadOf(cnRealtime, Group{{"DataTime", d.local(wall)}}, rest)
}

// started returns when the agent began, until it was sent.
func (d *Destination) started() *upload {
	d.mu.Lock()
	told := d.told
	d.mu.Unlock()
	if told || d.o.Started.Wall < earliest {
		return nil
	}
	u := d.uploadOf(cnStarted, Group{{"DataTime", d.local(d.o.Now().Wall)}}, []Group{{{"RestartTime", d.local(d.o.Started.Wall)}}})
	u.plain = true // nothing may wait for a host that does not know it
	return u
}

// take is given a packet of the host.
func (t *talker) take(p Packet) error {
	switch p.CN {
	case cnData, cnRequest, cnResult, cnNotice:
	default:
		return t.request(p)
	}
	if t.sent.QN == "" || p.QN != t.sent.QN {
		t.s.d.count(func(c *Counts) { c.Strange++ })
		return nil
	}
	switch p.CN {
	case cnData:
		t.confirmed()
	case cnRequest:
		if n, err := strconv.Atoi(p.Get("QnRtn")); err != nil || n != 1 {
			return fmt.Errorf("%w: %d answered with QnRtn=%s (%s)", ErrRefused, t.sent.CN, p.Get("QnRtn"), qnRtn[n])
		}
		t.s.d.count(func(c *Counts) { c.Strange++ })
	default:
		t.s.d.count(func(c *Counts) { c.Strange++ })
	}
	return nil
}
