package sim

import (
	"sync"
	"time"

	"davy/drivers/tag"
)

// Plant is devices by link target. The zero Plant is empty and ready.
type Plant struct {
	mu      sync.Mutex
	devices map[string]*Device
}

// Device returns the device at a target, a new one if there was none.
func (p *Plant) Device(target string) *Device {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[target]
	if d == nil {
		d = &Device{}
		if p.devices == nil {
			p.devices = map[string]*Device{}
		}
		p.devices[target] = d
	}
	return d
}

// Behaviour is how a device answers. The zero Behaviour is well.
type Behaviour struct {
	Delay      time.Duration // before each answer; from the link's timeout on it is too late
	Away       bool          // there is no connection
	Silent     bool          // nothing is answered, nothing done
	Mute       bool          // nothing is answered, writes are done all the same
	Refuse     bool          // everything is refused
	Garbled    bool          // every answer is nonsense
	Unreadable []string      // points that are refused alone
}

// Script gives a point's value at an instant.
type Script func(now tag.Stamp) (tag.Value, tag.Quality)

// Device is points by name. The zero Device is empty and ready.
type Device struct {
	mu        sync.Mutex
	points    map[string]*point
	behaviour Behaviour
	feeds     map[*feed]struct{}
}

type point struct {
	value   tag.Value
	quality tag.Quality
	script  Script
	onWrite func(tag.Value) error
}

// Set gives a point a good value; a script ends.
func (d *Device) Set(name string, v tag.Value) { d.SetQuality(name, v, tag.GoodQuality) }

// SetQuality gives a point a value with a quality, in engineering units; a script ends.
func (d *Device) SetQuality(name string, v tag.Value, q tag.Quality) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.point(name)
	p.value, p.quality, p.script = v, q, nil
	for f := range d.feeds {
		f.push(change{name, v, q})
	}
}

// Script lets f say what a point holds. It is called when the point is read
// or sampled, without any lock held.
func (d *Device) Script(name string, f Script) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.point(name).script = f
}

// OnWrite has f called with what is written to a point before it is taken
// over; an error refuses the write. No lock is held, so f may set other points.
func (d *Device) OnWrite(name string, f func(tag.Value) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.point(name).onWrite = f
}

// Behave says how the device answers from now on.
func (d *Device) Behave(b Behaviour) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behaviour = b
	for f := range d.feeds {
		f.poke()
	}
}

// Value returns what a point holds, bad (never read) if there is none.
func (d *Device) Value(name string, now tag.Stamp) (tag.Value, tag.Quality) {
	v, q, _ := d.look(name, now)
	return v, q
}

// point returns a point, a new one if there was none; mu is held.
func (d *Device) point(name string) *point {
	p := d.points[name]
	if p == nil {
		p = &point{}
		if d.points == nil {
			d.points = map[string]*point{}
		}
		d.points[name] = p
	}
	return p
}

// look reads a point; ok is false when the device has none of that name.
func (d *Device) look(name string, now tag.Stamp) (v tag.Value, q tag.Quality, ok bool) {
	d.mu.Lock()
	p := d.points[name]
	var script Script
	if p != nil {
		v, q, script = p.value, p.quality, p.script
	}
	d.mu.Unlock()
	if script != nil {
		v, q = script(now)
	}
	return v, q, p != nil
}

// write puts a value into a point as a link does.
func (d *Device) write(name string, v tag.Value) (err error, ok bool) {
	d.mu.Lock()
	p := d.points[name]
	var f func(tag.Value) error
	if p != nil {
		f = p.onWrite
	}
	d.mu.Unlock()
	if p == nil {
		return nil, false
	}
	if f != nil {
		if err := f(v); err != nil {
			return err, true
		}
	}
	d.Set(name, v)
	return nil, true
}

// how returns the behaviour now.
func (d *Device) how() Behaviour {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.behaviour
}

// change is one new value of a point.
type change struct {
	name    string
	value   tag.Value
	quality tag.Quality
}

// feed is what a device has to tell one subscription; the device's mu guards it.
type feed struct {
	wake    chan struct{} // capacity 1
	changes []change
	full    bool
}

func (f *feed) push(c change) {
	if len(f.changes) >= MaxQueue {
		f.full = true
	} else {
		f.changes = append(f.changes, c)
	}
	f.poke()
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// subscribe registers a feed.
func (d *Device) subscribe() *feed {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &feed{wake: make(chan struct{}, 1)}
	if d.feeds == nil {
		d.feeds = map[*feed]struct{}{}
	}
	d.feeds[f] = struct{}{}
	return f
}

func (d *Device) unsubscribe(f *feed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.feeds, f)
}

// take empties a feed.
func (d *Device) take(f *feed) (changes []change, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changes, f.changes = f.changes, nil
	return changes, f.full
}
