package modbus

import (
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/modbus/serial"
	"davy/drivers/tag"
)

// bus is a line with its stations, seen from outside, in a bubble: the one
// fake of these tests is the Port that plugs into it. Bytes take their time.
//
// Registers come in pairs: the first of an even address holds station<<12 and
// the address, the second counts changes, so that a value read as uint32 names
// the register that it came from.
type bus struct {
	framer framer
	char   time.Duration
	think  time.Duration
	// spoil makes of an answer what goes on the wire, and when: nil is as it is.
	spoil func(station byte, request, answer []byte) []burst

	mu      sync.Mutex
	dead    map[byte]bool
	quiet   bool // does nothing and says nothing
	mute    bool // does what it is told and says nothing
	lacks   map[uint32]bool
	cells   map[uint32][]era
	coils   map[uint16]bool
	written map[uint16]uint16
	free    map[byte]time.Time // a station answers in order
	asked   int
	heard   []byte // every byte of the master, with `tap`
	tap     bool
	port    *busPort // plugged in
	queue   []byte   // what came while nobody was plugged in, with `keeps`
	keeps   bool     // a bridge
	gone    bool     // there is nothing to open
	opened  int
	echo    bool
	whole   bool   // with echo: what is heard of a request comes in one piece with its answer
	part    []byte // which waits for the answer
}

type era struct {
	count    uint16
	from, to time.Time
}

// burst is bytes that come at once, after a pause.
type burst struct {
	after time.Duration
	bytes []byte
}

func newBus(ascii bool) *bus {
	b := &bus{framer: rtu{}, char: 11 * time.Second / 9600, think: 5 * time.Millisecond}
	if ascii {
		b.framer = asciiFramer()
	}
	b.heal()
	b.cells, b.coils, b.written, b.free = map[uint32][]era{}, map[uint16]bool{}, map[uint16]uint16{}, map[byte]time.Time{}
	return b
}

func asciiFramer() framer { return ascii{} }

func (b *bus) heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoil, b.dead, b.quiet, b.mute, b.lacks, b.gone = nil, map[byte]bool{}, false, false, map[uint32]bool{}, false
}

// do runs f while nobody else looks.
func (b *bus) do(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// open plugs in.
func (b *bus) open() (Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return nil, os.ErrNotExist
	}
	b.opened++
	b.port = &busPort{b: b, wake: make(chan struct{}, 1), rx: b.queue}
	b.queue = nil
	return b.port, nil
}

// unplug pulls the port out.
func (b *bus) unplug(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
	if b.port != nil {
		b.port.err = serial.ErrUnplugged
		b.port.signal()
		b.port = nil
	}
}

// freeze makes the connection there is half open; mu is held.
func (b *bus) freeze() {
	if b.port != nil {
		b.port.frozen = true
		b.port = nil
	}
}

// target and fields are how a site names the bus.
func (b *bus) target() string {
	if b.keeps {
		return "tcp://192.168.1.9:4001"
	}
	return "/dev/serial/by-path/line"
}

func (b *bus) fields(more drivers.Fields) drivers.Fields {
	all := drivers.Fields{"serial": "9600 8E1"}
	maps.Copy(all, more)
	return all
}

// say puts bytes on the line at their time.
func (b *bus) say(after time.Duration, bytes []byte) {
	time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.port != nil:
			b.port.rx = append(append(b.port.rx, b.part...), bytes...)
			b.part = nil
			b.port.signal()
		case b.keeps:
			b.queue = append(b.queue, bytes...)
		}
	})
}

// frame is a frame of a body.
func (b *bus) frame(body ...byte) []byte { return b.framer.encode(nil, body) }

// key names a register of a station.
func key(station byte, address uint16) uint32 { return uint32(station)<<16 | uint32(address) }

func (b *bus) register(station byte, r uint16) uint16 {
	if r >= 40000 {
		return b.written[r]
	}
	if r%2 == 0 {
		return uint16(station)<<12 | r
	}
	if e := b.cells[key(station, r-1)]; len(e) > 0 {
		return e[len(e)-1].count
	}
	return 0
}

// change counts a cell up.
func (b *bus) change(station byte, address uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, now := key(station, address), time.Now()
	e := b.cells[k]
	if e == nil {
		e = []era{{}}
	}
	e[len(e)-1].to = now
	b.cells[k] = append(e, era{count: e[len(e)-1].count + 1, from: now})
}

// held reports whether a cell held v at some instant of [from, to].
func (b *bus) held(station byte, address uint16, v uint32, from, to time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if uint16(v>>16) != uint16(station)<<12|address {
		return false
	}
	e := b.cells[key(station, address)]
	if e == nil {
		return uint16(v) == 0
	}
	for _, x := range e {
		if x.count == uint16(v) && !x.from.After(to) && (x.to.IsZero() || !x.to.Before(from)) {
			return true
		}
	}
	return false
}

// receive is what the stations make of a request that ends on the wire at `end`.
func (b *bus) receive(body []byte, end time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	station := body[0]
	if b.quiet || b.dead[station] {
		return
	}
	answer := b.answer(station, body[1:])
	b.asked++
	if b.mute || station == 0 || answer == nil {
		return
	}
	start := end.Add(b.think)
	if start.Before(b.free[station]) {
		start = b.free[station]
	}
	bursts := []burst{{0, b.frame(append([]byte{station}, answer...)...)}}
	if b.spoil != nil {
		bursts = b.spoil(station, body, append([]byte{station}, answer...))
	}
	at := time.Until(start)
	for _, x := range bursts {
		at += x.after + time.Duration(len(x.bytes))*b.char
		b.say(at, x.bytes)
	}
	b.free[station] = time.Now().Add(at)
}

// answer does what a PDU says.
func (b *bus) answer(station byte, pdu []byte) []byte {
	refuse := func(code byte) []byte { return []byte{pdu[0] | 0x80, code} }
	if len(pdu) < 5 {
		return refuse(3)
	}
	first, count := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	switch pdu[0] {
	case 1:
		out := make([]byte, 2+(int(count)+7)/8)
		out[0], out[1] = 1, byte(len(out)-2)
		for i := range count {
			if b.coils[first+i] {
				out[2+i/8] |= 1 << (i % 8)
			}
		}
		return out
	case 3, 4:
		out := make([]byte, 2+2*int(count))
		out[0], out[1] = pdu[0], byte(2*count)
		for i := range count {
			if b.lacks[key(station, first+i)] {
				return refuse(2)
			}
			binary.BigEndian.PutUint16(out[2+2*i:], b.register(station, first+i))
		}
		return out
	case 5:
		b.coils[first] = count == 0xff00
		return pdu[:5]
	case 6:
		b.written[first] = count
		return pdu[:5]
	case 15, 16:
		for i := range count {
			if pdu[0] == 15 {
				b.coils[first+i] = pdu[6+i/8]>>(i%8)&1 == 1
			} else {
				b.written[first+i] = binary.BigEndian.Uint16(pdu[6+2*i:])
			}
		}
		return pdu[:5]
	}
	return refuse(1)
}

// busPort is a Port on a bus. It knows its wire, as serial.Port does.
type busPort struct {
	b        *bus
	rx       []byte
	wake     chan struct{}
	deadline time.Time
	err      error
	busy     time.Time
	frozen   bool
}

func (p *busPort) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *busPort) Read(into []byte) (int, error) {
	for {
		n, err := p.Drain(into)
		if n > 0 || err != nil {
			return n, err
		}
		p.b.mu.Lock()
		deadline := p.deadline
		p.b.mu.Unlock()
		left := time.Until(deadline)
		if deadline.IsZero() {
			left = time.Hour
		}
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		select {
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p *busPort) Drain(into []byte) (int, error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if len(p.rx) == 0 {
		return 0, p.err
	}
	n := copy(into, p.rx)
	p.rx = p.rx[n:]
	return n, nil
}

func (p *busPort) Write(frame []byte) (int, error) {
	p.b.mu.Lock()
	err, tap, echo, frozen := p.err, p.b.tap, p.b.echo && !p.b.whole, p.frozen
	if tap {
		p.b.heard = append(p.b.heard, frame...)
	}
	if p.b.echo && p.b.whole {
		p.b.part = append([]byte(nil), frame...)
	}
	p.b.mu.Unlock()
	if err != nil || frozen {
		return len(frame), err
	}
	frame = append([]byte(nil), frame...)
	p.busy = time.Now().Add(time.Duration(len(frame)) * p.b.char)
	if echo {
		p.b.say(time.Until(p.busy), frame)
	}
	var in inbox
	in.add(copy(in.buf[:], frame), true)
	body, ok := p.b.framer.next(&in, &expected{}, false)
	if !ok {
		panic("what the master sends is no frame")
	}
	body = append([]byte(nil), body...)
	end := p.busy
	time.AfterFunc(time.Until(end), func() { p.b.receive(body, end) })
	return len(frame), nil
}

// Sent is of a device file; of what is behind a bridge nobody knows.
func (p *busPort) Sent() time.Duration {
	if p.b.keeps {
		return 0
	}
	return max(0, time.Until(p.busy))
}

func (p *busPort) SetDeadline(t time.Time) error {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.deadline = t
	p.signal()
	return nil
}

func (p *busPort) Close() error {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.b.port == p {
		p.b.port = nil
	}
	if p.err == nil {
		p.err = os.ErrClosed
	}
	p.signal()
	return nil
}

// driver is the driver of the bus's frames, with the bus plugged in.
func (b *bus) driver() drivers.Driver {
	line := func(context.Context, string, serial.Settings) (Port, error) { return b.open() }
	dial := func(context.Context, string) (Port, error) { return b.open() }
	if _, ok := b.framer.(ascii); ok {
		return ASCII{Line: line, Dial: dial}
	}
	return RTU{Line: line, Dial: dial}
}

// open opens a link on the bus.
func openBus(t testing.TB, b *bus, timeout time.Duration, fields drivers.Fields) (*link, *[]string) {
	t.Helper()
	start := time.Now()
	s, err := b.driver().ParseLink(b.target(), b.fields(fields))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	opened, err := b.driver().Open(t.Context(), drivers.LinkConfig{
		Name: "line", Settings: s, Timeout: timeout,
		Now: func() tag.Stamp {
			return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start)) + 1}
		},
		Say: func(condition string, on bool) {
			if on {
				said = append(said, "+"+condition)
			} else {
				said = append(said, "-"+condition)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*link), &said
}

// spoils of the contract: what a fault makes of an answer.
func spoils(timeout, lateMax time.Duration) map[string]func(b *bus, station byte, request, answer []byte) []burst {
	plain := func(b *bus, _ byte, _, answer []byte) []burst { return []burst{{0, b.frame(answer...)}} }
	whole := func(f func(answer []byte) []byte) func(b *bus, station byte, request, answer []byte) []burst {
		return func(b *bus, _ byte, _, answer []byte) []burst {
			return []burst{{0, b.frame(f(append([]byte(nil), answer...))...)}}
		}
	}
	raw := func(f func(b *bus, frame []byte) []burst) func(b *bus, station byte, request, answer []byte) []burst {
		return func(b *bus, _ byte, _, answer []byte) []burst { return f(b, b.frame(answer...)) }
	}
	late := func(least, most time.Duration) func(b *bus, station byte, request, answer []byte) []burst {
		return raw(func(_ *bus, frame []byte) []burst { return []burst{{least + rand.N(most-least), frame}} })
	}
	out := map[string]func(b *bus, station byte, request, answer []byte) []burst{
		"plain":  plain,
		"silent": func(*bus, byte, []byte, []byte) []burst { return nil },
		"garbled": raw(func(_ *bus, frame []byte) []burst {
			frame[len(frame)/2] ^= 0x10
			return []burst{{0, frame}}
		}),
		"bad sum": raw(func(_ *bus, frame []byte) []burst {
			frame[len(frame)-3] ^= 1
			return []burst{{0, frame}}
		}),
		"truncated": raw(func(_ *bus, frame []byte) []burst { return []burst{{0, frame[:len(frame)-2]}} }),
		"short": whole(func(a []byte) []byte {
			if a[1] <= 4 && a[2] > 2 {
				a[2] -= 2
				a = a[:len(a)-2]
			}
			return a
		}),
		"long": whole(func(a []byte) []byte {
			if a[1] <= 4 {
				a[2] += 2
				a = append(a, 0, 0)
			}
			return a
		}),
		"empty": whole(func(a []byte) []byte {
			if a[1] <= 4 {
				return []byte{a[0], a[1], 0}
			}
			return a
		}),
		"wrong station":  whole(func(a []byte) []byte { a[0] ^= 3; return a }),
		"wrong function": whole(func(a []byte) []byte { a[1] ^= 7; return a }),
		"late before":    late(timeout, timeout+lateMax/2),
		"late during":    late(timeout, timeout+lateMax),
		"late always":    late(timeout*9/10, timeout*12/10),
		"double":         raw(func(_ *bus, frame []byte) []burst { return []burst{{0, frame}, {rand.N(60 * time.Millisecond), frame}} }),
		"noise before": raw(func(b *bus, frame []byte) []burst {
			return []burst{{0, append([]byte{0, 0xff, frame[0]}, frame...)}}
		}),
		"noise after": raw(func(b *bus, frame []byte) []burst {
			return []burst{{0, append(append([]byte(nil), frame...), 0, 0xff)}}
		}),
		"bytewise": raw(func(_ *bus, frame []byte) []burst {
			var out []burst
			for i := range frame {
				out = append(out, burst{2 * time.Millisecond, frame[i : i+1]})
			}
			return out
		}),
		"split 4+1": raw(func(_ *bus, frame []byte) []burst {
			return []burst{{0, frame[:len(frame)-1]}, {15 * time.Millisecond, frame[len(frame)-1:]}}
		}),
		"foreign before": func(b *bus, station byte, _, answer []byte) []burst {
			other := append([]byte{station ^ 3}, answer[1:]...)
			return []burst{{0, b.frame(other...)}, {10 * time.Millisecond, b.frame(answer...)}}
		},
	}
	for code := byte(1); code <= 11; code++ {
		out["refusal "+exception(code).Error()] = whole(func(a []byte) []byte { return []byte{a[0], a[1] | 0x80, code} })
	}
	return out
}
