package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/script"
	"davy/drivers/tag"
)

// How a unit misbehaves where its fault has no figure of its own.
const (
	tooLong   = 2 // bytes
	splitting = 3 * time.Millisecond
)

// trouble is what is wrong with a unit. The zero trouble is none.
type trouble struct {
	dead      bool // hears nothing, says nothing
	mute      bool // hears and does, says nothing
	off       bool // without power
	frozen    bool // its registers do not follow the process
	wrong     bool // answers with another function code
	short     bool // answers with less than was asked
	long      bool // with more
	garbled   bool // with a wrong sum
	duplicate bool // twice
	split     bool // byte by byte
	stranger  bool // with the next unit's id
	reset     bool // ends the connection instead of answering
	halfOpen  bool // leaves the connection open and never answers on it again
	late      time.Duration
	refuses   map[place]modbus.Exception
}

// simple returns the faults that are only on or off, by their names in a script.
func (t *trouble) simple(name string) *bool {
	switch name {
	case "wrong-function":
		return &t.wrong
	case "short":
		return &t.short
	case "long":
		return &t.long
	case "garbled":
		return &t.garbled
	case "duplicate":
		return &t.duplicate
	case "split":
		return &t.split
	case "wrong-station":
		return &t.stranger
	case "reset":
		return &t.reset
	case "half-open":
		return &t.halfOpen
	}
	return nil
}

// spoil makes of an answer what the unit's troubles make of it.
func (t *trouble) spoil(r modbus.Request, rep *modbus.Reply) {
	rep.Silent, rep.Delay = t.mute, t.late
	rep.Reset, rep.HalfOpen, rep.Garbled = t.reset, t.halfOpen, t.garbled
	if t.wrong {
		rep.Function = r.Function ^ 7 // 3 and 4, 1 and 6, 2 and 5 change places
	}
	if t.stranger {
		rep.Station = r.Unit + 1
	}
	if t.short {
		rep.Cut = 2
	}
	if t.long {
		rep.Extra = tooLong
	}
	if t.duplicate {
		rep.Copies = 1
	}
	if t.split {
		rep.Split = splitting
	}
}

// place is one register of a unit.
type place struct {
	table string
	addr  int
}

// Serve answers one request.
func (b *Bench) Serve(r modbus.Request) modbus.Reply {
	b.mu.Lock()
	b.requests++
	u := b.unitWith(r.Unit)
	note := logbook.Entry{Event: logbook.Write, Conn: r.Conn, Unit: int(r.Unit), Function: int(r.Function), Address: ptr(r.Address)}
	for _, on := range r.Bits {
		v := 0
		if on {
			v = 1
		}
		note.Values = append(note.Values, v)
	}
	for _, w := range r.Words {
		note.Values = append(note.Values, int(w))
	}
	if r.Function == modbus.ReadWrite {
		note.Address = ptr(r.Into)
	}
	var rep modbus.Reply
	switch {
	case u == nil:
		rep, note.By = modbus.Reply{Silent: true}, "nobody"
	case u.off:
		rep, note.By = modbus.Reply{Silent: true}, "off"
	case u.dead:
		rep, note.By = modbus.Reply{Silent: true}, "dead"
	default:
		rep = u.answer(r)
		if rep.Exception != 0 {
			note.By = fmt.Sprintf("exception %d", rep.Exception)
		}
		u.spoil(r, &rep)
	}
	if r.Write() {
		b.writes++
		note.Done = ptr(note.By == "")
		b.book.Add(note.At(r.At))
		if *note.Done {
			at := b.now()
			b.write(r, at)
			b.refresh(at, false)
			if r.Function == modbus.ReadWrite {
				from := r.Address - u.holding.base
				rep.Words = append([]uint16(nil), u.holding.words[from:from+r.Count]...)
			}
		}
	}
	b.mu.Unlock()
	if r.Write() { // in the file before it is answered
		if err := b.finish(context.Background(), nil); err != nil {
			return modbus.Reply{Exception: modbus.DeviceFailure}
		}
	}
	return rep
}

func (b *Bench) unitWith(id byte) *unit {
	for _, u := range b.units {
		if u.id == id {
			return u
		}
	}
	return nil
}

// answer reads, or checks that a write may be done. mu is held.
func (u *unit) answer(r modbus.Request) modbus.Reply {
	if r.Function == modbus.Identify {
		return modbus.Reply{Objects: []string{"Davy", "bench " + u.name, "1"}}
	}
	t, name := &u.holding, "holding"
	switch r.Function {
	case modbus.ReadCoils, modbus.WriteCoil, modbus.WriteCoils:
		t, name = &u.coil, "coil"
	case modbus.ReadDiscretes:
		t, name = &u.discrete, "discrete"
	case modbus.ReadInputs:
		t, name = &u.input, "input"
	}
	size := len(t.bits) + len(t.words)
	from := r.Address - t.base
	if from < 0 || from+r.Count > size || r.Write() && !t.write {
		return modbus.Reply{Exception: modbus.IllegalAddress}
	}
	if into := r.Into - t.base; r.Function == modbus.ReadWrite && (into < 0 || into+len(r.Words) > size) {
		return modbus.Reply{Exception: modbus.IllegalAddress}
	}
	for at, code := range u.refuses {
		if at.table == name && at.addr >= r.Address && at.addr < r.Address+r.Count {
			return modbus.Reply{Exception: code}
		}
	}
	switch {
	case r.Write(): // function 23 reads when it has written
		return modbus.Reply{}
	case t.bits != nil:
		return modbus.Reply{Bits: append([]bool(nil), t.bits[from:from+r.Count]...)}
	}
	return modbus.Reply{Words: append([]uint16(nil), t.words[from:from+r.Count]...)}
}

// write does a write that answer has let through: only io1 has any. mu is held.
func (b *Bench) write(r modbus.Request, at tag.Stamp) {
	for i, on := range r.Bits {
		b.setCoil(r.Address+i, on, "write", at)
	}
	words, first := r.Words, r.Address
	switch r.Function {
	case modbus.MaskHolding:
		words = []uint16{b.io.word(first)&r.Words[0] | r.Words[1]&^r.Words[0]}
	case modbus.ReadWrite:
		first = r.Into
	}
	for i, w := range words {
		addr := first + i
		b.io.holding.words[addr-regDog] = w
		switch addr {
		case regDog, regEnable:
			b.dog.served = at.Mono
			if b.dog.dropped {
				b.dog.dropped = false
				b.book.Add(logbook.Entry{Event: logbook.Watchdog, On: ptr(false)}.At(at))
			}
		}
	}
}

// Opened notes a connection.
func (b *Bench) Opened(conn uint64, remote string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns++
	b.book.Add(logbook.Entry{Event: logbook.Opened, Conn: conn, Text: remote}.At(b.now()))
}

// Closed notes its end.
func (b *Bench) Closed(conn uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns--
	b.book.Add(logbook.Entry{Event: logbook.Closed, Conn: conn}.At(b.now()))
}

// fault switches trouble on or off. mu is held.
func (b *Bench) fault(c script.Command, u *unit, at tag.Stamp) {
	switch c.Form {
	case "dead UNIT":
		u.dead = b.set("dead "+u.name, true, "", at)
	case "mute UNIT":
		u.mute = b.set("mute "+u.name, true, "", at)
	case "alive UNIT":
		u.dead = b.set("dead "+u.name, false, "", at)
		u.mute = b.set("mute "+u.name, false, "", at)
	case "late UNIT DURATION":
		b.set("late "+u.name, true, c.Duration.String(), at)
		u.late = c.Duration
	case "late UNIT off":
		b.set("late "+u.name, false, "", at)
		u.late = 0
	case "freeze UNIT":
		u.frozen = b.set("freeze "+u.name, true, "", at)
	case "thaw UNIT":
		u.frozen = b.set("freeze "+u.name, false, "", at)
	case "exception UNIT TABLE ADDRESS CODE":
		if u.refuses == nil {
			u.refuses = map[place]modbus.Exception{}
		}
		u.refuses[place{c.Table, c.Address}] = modbus.Exception(c.Code)
		b.set("exception "+u.name, true, fmt.Sprintf("%s %d: %d", c.Table, c.Address, c.Code), at)
	case "exception UNIT off":
		u.refuses = nil
		b.set("exception "+u.name, false, "", at)
	case "power UNIT off":
		u.off = b.set("power "+u.name, true, "", at)
		if u == b.io {
			b.setCoils(0, "power", at)
		}
	case "power UNIT on":
		if was := u.off; was && u == b.io {
			b.dog = watchdog{served: at.Mono}
			b.setCoils(u.word(regPowerUp), "power", at)
		}
		u.off = b.set("power "+u.name, false, "", at)
	case "fan jam":
		b.p.FanJam = b.set("fan jam", true, "", at)
	case "fan free":
		b.p.FanJam = b.set("fan jam", false, "", at)
	case "connection reset":
		b.later(func(context.Context) error { b.wire.ResetAll(); return nil })
	case "connection refuse", "connection refuse DURATION":
		b.acceptAt = 0
		if c.Duration > 0 {
			b.acceptAt = at.Mono + int64(c.Duration)
		}
		b.set("connection refuse", true, "", at)
		b.later(func(context.Context) error { b.wire.Refuse(); return nil })
	case "connection accept":
		b.accept(at)
	case "clear":
		for _, u := range b.units {
			if u == b.io && u.off {
				b.fault(script.Command{Form: "power UNIT on"}, u, at)
			}
			u.trouble = trouble{}
			u.condition = 0
		}
		b.p.FanJam = false
		b.accept(at)
		if b.faults["connection never-speaks"] {
			b.speak(at)
		}
		b.clearLine(at)
		b.clearOPCUA(at)
		for name := range b.faults {
			b.set(name, false, "", at)
		}
	case "connection never-speaks":
		b.set("connection never-speaks", true, "", at)
		b.later(func(context.Context) error { b.wire.Deaf(true); return nil })
	case "connection speaks":
		b.speak(at)
	default:
		name, _, _ := strings.Cut(c.Form, " ")
		switch {
		case name == "line":
			b.lineFault(c, at)
		case name == "opcua":
			b.opcuaFault(c, at)
		case u != nil && u.simple(name) != nil:
			*u.simple(name) = b.set(name+" "+u.name, !strings.HasSuffix(c.Form, " off"), "", at)
		default:
			panic("BUG: bench: no meaning for " + c.Form)
		}
	}
}

// speak ends never-speaks, for connections to come. mu is held.
func (b *Bench) speak(at tag.Stamp) {
	b.set("connection never-speaks", false, "", at)
	b.later(func(context.Context) error { b.wire.Deaf(false); return nil })
}

// accept ends a refusal. mu is held.
func (b *Bench) accept(at tag.Stamp) {
	b.acceptAt = 0
	b.set("connection refuse", false, "", at)
	b.later(func(ctx context.Context) error { return b.wire.Accept(ctx) })
}

func (b *Bench) later(f func(context.Context) error) { b.after = append(b.after, f) }

// set notes that a fault came or went, if it did, and returns on. mu is held.
func (b *Bench) set(name string, on bool, text string, at tag.Stamp) bool {
	if on == b.faults[name] && text == "" {
		return on
	}
	if on {
		b.faults[name] = true
	} else {
		delete(b.faults, name)
	}
	b.book.Add(logbook.Entry{Event: logbook.Fault, Name: name, On: ptr(on), Text: text}.At(at))
	return on
}
