package bench

import (
	"context"
	"strconv"
	"strings"
	"time"

	"davy/cmd/davy-plant/relay"
	"davy/cmd/davy-plant/script"
	"davy/drivers/tag"
)

// noise is what is heard before a burst on a noisy line.
const noise = "\x00\xff\x7e"

// Adapter is a serial line's device file: *line.Line.
type Adapter interface {
	Unplug()
	Plug() error
}

// Lines gives the bench its serial lines, before Run.
func (b *Bench) Lines(ends ...Adapter) { b.ends = ends }

// lineTrouble is what is wrong with every serial line. Of drop, garble,
// duplicate and noise each is done to every so manieth burst, 0: to none.
type lineTrouble struct {
	drop, garble, duplicate, noise int
	delay                          time.Duration
	echo                           bool
}

// LineEffect says what a line does to a burst now; see relay.Line.
func (b *Bench) LineEffect(burst relay.Burst) relay.Effect {
	b.mu.Lock()
	t := b.line
	b.mu.Unlock()
	hit := func(every int) bool { return every > 0 && burst.Count%every == 0 }
	e := relay.Effect{Echo: t.echo && burst.From == relay.Master}
	if hit(t.drop) {
		return e
	}
	data := burst.Data
	if hit(t.garble) && len(data) > 0 {
		data = append([]byte(nil), data...)
		data[len(data)/2] ^= 0x11
	}
	if hit(t.noise) {
		e.Pieces = append(e.Pieces, relay.Piece{Data: []byte(noise)})
	}
	e.Pieces = append(e.Pieces, relay.Piece{Pause: t.delay, Data: data})
	if hit(t.duplicate) {
		e.Pieces = append(e.Pieces, relay.Piece{Data: data})
	}
	return e
}

// lineFault switches a line's trouble. mu is held.
func (b *Bench) lineFault(c script.Command, at tag.Stamp) {
	every := int(c.Number)
	on := func(text string) {
		name := strings.Join(strings.Fields(c.Form)[:2], " ")
		b.set(name, true, text, at)
	}
	switch c.Form {
	case "line drop EVERY":
		b.line.drop = every
		on(strconv.Itoa(every))
	case "line garble EVERY":
		b.line.garble = every
		on(strconv.Itoa(every))
	case "line duplicate EVERY":
		b.line.duplicate = every
		on(strconv.Itoa(every))
	case "line noise EVERY":
		b.line.noise = every
		on(strconv.Itoa(every))
	case "line delay DURATION":
		b.line.delay = c.Duration
		on(c.Duration.String())
	case "line echo":
		b.line.echo = true
		on("")
	case "line unplug":
		on("")
		b.later(func(context.Context) error {
			for _, e := range b.ends {
				e.Unplug()
			}
			return nil
		})
	case "line plug":
		b.plug(at)
	case "line sound":
		b.clearLine(at)
	default:
		panic("BUG: bench: no meaning for " + c.Form)
	}
}

func (b *Bench) plug(at tag.Stamp) {
	b.set("line unplug", false, "", at)
	b.later(func(context.Context) error {
		for _, e := range b.ends {
			if err := e.Plug(); err != nil {
				return err
			}
		}
		return nil
	})
}

// clearLine makes every line sound and plugged in. mu is held.
func (b *Bench) clearLine(at tag.Stamp) {
	b.line = lineTrouble{}
	for name := range b.faults {
		switch {
		case name == "line unplug":
			b.plug(at)
		case strings.HasPrefix(name, "line "):
			b.set(name, false, "", at)
		}
	}
}
