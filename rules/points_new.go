package rules

import (
	"fmt"
	"slices"
	"time"
)

const dueSuffix = ".test-due"

// points adds the devices, and what of an interlock is a point.
func (b *builder) points() {
	e := b.e
	p := &e.points
	p.names = map[string]int{}
	p.ofTag = make([]int32, len(e.set.Tags))
	p.devices = len(e.set.Devices)
	for i := range e.set.Devices {
		d := &e.set.Devices[i]
		what := fmt.Sprintf("device %q", d.Name)
		if _, twice := p.names[d.Name]; twice {
			b.wrong(what, "", "there is another of this name")
		}
		// Remove names an alarm or a device, BeginTest an interlock or a device.
		if other, is := b.taken[d.Name]; is && other != "output" {
			b.wrong(what, "", "the name is already that of an %s", other)
		}
		b.single(what+" force", &d.Force)
		b.point(what, d.Name, d.Text, &d.Test, point{every: int64(d.TestEvery)})
		for _, id := range d.Tags {
			switch {
			case id == 0 || int(id) >= len(e.set.Tags):
				b.wrong(what, "", "tag %d is not in the set", id)
				continue
			case slices.ContainsFunc(e.set.Computed, func(c Computed) bool { return c.Tag == id }):
				b.wrong(what, "", "tag %q is computed: only what it is made of can be laid over", e.set.Tags[id].Name)
				continue
			case p.ofTag[id] > 0:
				b.wrong(what, "", "tag %q is already that of a device", e.set.Tags[id].Name)
				continue
			}
			p.forces = append(p.forces, force{tag: id, device: int32(i)})
			p.ofTag[id] = int32(len(p.forces))
		}
	}
	p.forces = slices.Clone(p.forces)
	for i := range e.set.Interlocks {
		l := &e.set.Interlocks[i]
		b.point(fmt.Sprintf("interlock %q", l.Name), l.Name, l.Text, &l.Test, point{every: int64(l.TestEvery)})
	}
}

func (b *builder) point(what, name string, text Text, test *Permit, p point) {
	if name == "" || len(name) > MaxName {
		b.wrong(what, "", "the name is empty or has more than %d bytes", MaxName)
	}
	b.single(what+" test", test)
	b.delay(what, "time between tests", time.Duration(p.every))
	p.name, p.test, p.alarm = name, *test, -1
	if p.every > 0 {
		p.alarm = b.automatic(name, dueSuffix, "test-due", text, Low, 0)
	}
	all := &b.e.points
	all.names[name] = len(all.all)
	all.all = append(all.all, p)
}

// single checks a permit that one person uses.
func (b *builder) single(what string, p *Permit) {
	b.delay(what, "longest time", p.AtMost)
	if len(p.Second) > 0 {
		b.wrong(what, "", "a second person is asked for by bypasses only")
	}
	if p.AlarmOnly {
		b.wrong(what, "", "it ends at its time: only a bypass may stay as an alarm")
	}
}
