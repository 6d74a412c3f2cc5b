package drivertest

import (
	"context"
	"errors"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// read asks one request and checks the readings; the qualities are returned by point.
func (c *check) read(ctx context.Context, q drivers.Request, into map[int]tag.Reading) {
	defer func() {
		if e := recover(); e != nil {
			c.violation(Panic, "%v", e)
		}
	}()
	dst := []tag.Reading{{Tag: 1 << 30}}
	lost := c.stalls.lost.Load()
	from := c.Config.Now()
	dst, err := c.link.Read(ctx, q, dst)
	to := c.Config.Now()
	if took, most := time.Duration(to.Mono-from.Mono), c.timeout+grace; !c.stalls.in(c.ctx, lost, took, most) {
		c.violation(Late, "%s took %v, more than %v", q, took, most)
	}
	if len(dst) < 1 || dst[0].Tag != 1<<30 {
		c.violation(Missing, "%s: what was read before is gone", q)
		return
	}
	c.putOff(q, err, dst[1:], to)
	c.judge(q, dst[1:], err, from, to, into)
}

// judge checks the readings of one request.
func (c *check) judge(q drivers.Request, readings []tag.Reading, err error, from, to tag.Stamp, into map[int]tag.Reading) {
	points := q.Points()
	if len(readings) != len(points) {
		c.violation(Missing, "%s: %d readings for %d points (%v)", q, len(readings), len(points), err)
		return
	}
	for n, got := range readings {
		i := c.index[points[n].Tag]
		if got.Tag != points[n].Tag {
			c.violation(Missing, "%s: reading %d is of tag %d, not %d", q, n, got.Tag, points[n].Tag)
			continue
		}
		if !got.Quality.Valid() {
			c.violation(Wrong, "%s has a quality that is none: %#x", points[n].Name, uint32(got.Quality))
		}
		if !got.Quality.Bad() && !c.Held(i, got.Value, from, to) {
			c.violation(Wrong, "%s was read as %v, which it did not hold", points[n].Name, got.Value)
		}
		into[i] = got
	}
}

// putOff notes that a request was put off, which has to be for a bounded time
// and without a reading.
func (c *check) putOff(q drivers.Request, err error, readings []tag.Reading, now tag.Stamp) {
	var l *drivers.Later
	if !errors.As(err, &l) {
		return
	}
	if wait := time.Duration(l.Until - now.Mono); wait > MostLater {
		c.violation(Late, "%s is put off for %v, more than %v", q, wait, MostLater)
	}
	for _, r := range readings {
		if !r.Quality.Bad() {
			c.violation(Wrong, "%s was put off and has a good reading", q)
		}
	}
	if c.later == 0 || l.Until < c.later {
		c.later = l.Until
	}
}

// readAll reads every request once, with points changing in between. Where some
// were put off, the next round begins when they may be asked.
func (c *check) readAll() map[int]tag.Reading {
	if c.later != 0 {
		c.wait(c.later)
		c.later = 0
	}
	got := map[int]tag.Reading{}
	for i := 0; i < len(c.requests); {
		n := 1
		b, ok := c.link.(drivers.Batcher)
		if ok {
			n = max(1, min(b.Window(), len(c.requests)-i))
		}
		for range n {
			c.turn++
			c.Change(c.turn % len(c.Points))
		}
		if n == 1 {
			c.read(c.ctx, c.requests[i], got)
		} else {
			c.readTogether(b, c.requests[i:i+n], got)
		}
		i += n
		if c.between > 0 {
			pause(c.ctx, c.between)
		}
	}
	return got
}

// readTogether asks several requests at once and checks the readings of each.
func (c *check) readTogether(b drivers.Batcher, reqs []drivers.Request, into map[int]tag.Reading) {
	defer func() {
		if e := recover(); e != nil {
			c.violation(Panic, "%v", e)
		}
	}()
	times := make([]int, len(reqs))
	lost := c.stalls.lost.Load()
	from := c.Config.Now()
	b.ReadAll(c.ctx, reqs, func(i int, readings []tag.Reading, err error) {
		times[i]++
		to := c.Config.Now()
		c.putOff(reqs[i], err, readings, to)
		c.judge(reqs[i], readings, err, from, to, into)
	})
	for i, n := range times {
		if n != 1 {
			c.violation(Missing, "%s was answered for %d times", reqs[i], n)
		}
	}
	took := time.Duration(c.Config.Now().Mono - from.Mono)
	if most := time.Duration(len(reqs)+1)*c.timeout + grace; !c.stalls.in(c.ctx, lost, took, most) {
		c.violation(Late, "%d requests took %v, more than %v", len(reqs), took, most)
	}
}

// write writes a point, when the link lets it.
func (c *check) write(p drivers.Point, v tag.Value) error {
	for range 20 {
		err := c.link.Write(c.ctx, p, v)
		var l *drivers.Later
		if !errors.As(err, &l) {
			return err
		}
		c.wait(l.Until)
	}
	return errors.New("put off again and again")
}
