package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Subscribe emits every point once, then each change in the order it came;
// scripted points are sampled at their Period. It ends with ctx, or when the
// device was away or silent for the link's timeout, or when MaxQueue changes
// wait: then the subscription is in doubt, and the caller's points with it.
func (l *link) Subscribe(ctx context.Context, points []drivers.Point, emit func([]tag.Reading)) error {
	f := l.device.subscribe()
	defer l.device.unsubscribe(f)
	if b, err := l.answer(ctx); err != nil {
		return fmt.Errorf("subscribe %s: %w", l.Name, err)
	} else {
		l.device.take(f) // what changed meanwhile is in the first readings
		now := l.Now()
		first := make([]tag.Reading, 0, len(points))
		for i := range points {
			first = append(first, l.reading(&points[i], b, now))
		}
		emit(first)
	}
	byName := map[string][]int{}
	sample := time.Duration(0)
	last := make([]tag.Reading, len(points))
	for i := range points {
		byName[address(&points[i])] = append(byName[address(&points[i])], i)
		period := points[i].Period
		if period <= 0 {
			period = DefaultSample
		}
		if sample == 0 || period < sample {
			sample = period
		}
	}
	if sample == 0 {
		sample = DefaultSample
	}
	tick := time.NewTicker(sample)
	defer tick.Stop()
	for {
		var batch []tag.Reading
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		case <-tick.C:
			batch = l.sample(points, last, batch)
		}
		if b := l.device.how(); b.Away || b.Silent || b.Mute {
			if err := l.gone(ctx, f); err != nil {
				return fmt.Errorf("subscribe %s: %w", l.Name, err)
			}
			continue // it came back in time: what it has to tell is in the feed
		}
		changes, full := l.device.take(f)
		if full {
			return fmt.Errorf("subscribe %s: more than %d changes wait", l.Name, MaxQueue)
		}
		now := l.Now()
		for _, c := range changes {
			for _, i := range byName[c.name] {
				v, q := convert(&points[i], c.value, c.quality)
				batch = append(batch, tag.Reading{Tag: points[i].Tag, Quality: q, Value: v, Received: now})
			}
		}
		if len(batch) > 0 {
			emit(batch)
		}
	}
}

// sample reads the scripted points and appends those that changed.
func (l *link) sample(points []drivers.Point, last, batch []tag.Reading) []tag.Reading {
	b, now := l.device.how(), l.Now()
	for i := range points {
		if !l.device.scripted(address(&points[i])) {
			continue
		}
		r := l.reading(&points[i], b, now)
		if r.Value != last[i].Value || r.Quality != last[i].Quality || last[i].Tag == 0 {
			last[i] = r
			batch = append(batch, r)
		}
	}
	return batch
}

// scripted reports whether a point has a script.
func (d *Device) scripted(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.points[name]
	return p != nil && p.script != nil
}

// gone waits for a silent device to speak again, at most the link's timeout.
func (l *link) gone(ctx context.Context, f *feed) error {
	t := time.NewTimer(l.Timeout)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return errors.Join(errAway, fmt.Errorf("nothing heard for %v", l.Timeout))
		case <-f.wake:
			if b := l.device.how(); !b.Away && !b.Silent && !b.Mute {
				f.poke()
				return nil
			}
		}
	}
}
