package bench

import (
	"math"
	"strconv"

	"davy/cmd/davy-plant/logbook"
	"davy/drivers/tag"
)

// Registers of io1.
const (
	coilFan, coilSiren = 0, 1
	regDog             = 20
	regEnable          = 21
	regLost            = 22
	regPowerUp         = 23
)

// unit is one Modbus unit id.
type unit struct {
	name      string
	id        byte
	coil      table
	discrete  table
	input     table
	holding   table
	condition uint16 // a detector's state word
	trouble
}

// table is a run of addresses of one kind; only one of bits and words is used.
type table struct {
	base  int
	bits  []bool
	words []uint16
	write bool
}

// word returns a holding register.
func (u *unit) word(addr int) uint16 { return u.holding.words[addr-u.holding.base] }

// order of a float32's four bytes in its two registers.
type order bool

const (
	abcd order = false
	cdab order = true
)

// quantity is a float32 in two registers.
type quantity struct {
	name  string
	u     *unit
	t     *table
	addr  int
	order order
	gas   bool
	get   func() float64
	watch []float64
	above []bool
	shown float64 // what the registers hold
}

// bit is a discrete input that follows the process.
type bit struct {
	name string
	u    *unit
	addr int
	get  func() bool
}

// layout makes units, registers and what feeds them.
func (b *Bench) layout(watch map[string][]float64) {
	words := func(n int) table { return table{words: make([]uint16, n)} }
	flags := func(n int) table { return table{bits: make([]bool, n)} }
	add := func(u *unit, t *table, name string, addr int, o order, get func() float64) *quantity {
		levels := watch[u.name+"."+name]
		b.quants = append(b.quants, quantity{
			name: u.name + "." + name, u: u, t: t, addr: addr, order: o, get: get,
			watch: levels, above: make([]bool, len(levels)),
		})
		return &b.quants[len(b.quants)-1]
	}
	for i, name := range []string{"nh3-1", "nh3-2", "nh3-3"} {
		u := &unit{name: name, id: byte(1 + i), holding: words(3)}
		b.units = append(b.units, u)
		add(u, &u.holding, "gas", 0, abcd, func() float64 { return b.p.Gas[i] }).gas = true
	}
	comp := &unit{name: "comp1", id: 10, holding: words(10), discrete: flags(2)}
	add(comp, &comp.holding, "suction-pressure", 0, cdab, func() float64 { return b.p.Suction })
	add(comp, &comp.holding, "discharge-pressure", 2, cdab, func() float64 { return b.p.Discharge })
	add(comp, &comp.holding, "discharge-temp", 4, cdab, func() float64 { return b.p.DischargeC })
	add(comp, &comp.holding, "oil-pressure", 6, cdab, func() float64 { return b.p.Oil })
	add(comp, &comp.holding, "load", 8, cdab, func() float64 { return b.p.LoadNow })
	recv := &unit{name: "receiver1", id: 11, input: words(2)}
	add(recv, &recv.input, "level", 0, abcd, func() float64 { return b.p.Level })
	b.io = &unit{name: "io1", id: 20, coil: flags(2), discrete: flags(4), holding: words(4)}
	b.io.coil.write, b.io.holding.write, b.io.holding.base = true, true, regDog
	b.units = append(b.units, comp, recv, b.io)
	b.bits = []bit{
		{"comp1.run", comp, 0, func() bool { return b.p.Running }},
		{"comp1.trip", comp, 1, func() bool { return b.p.Tripped }},
		{"io1.fan-run", b.io, 0, func() bool { return b.p.FanRun }},
		{"io1.siren-sounds", b.io, 1, func() bool { return b.p.SirenSounds }},
		{"io1.watchdog-dropped", b.io, 2, func() bool { return b.dog.dropped }},
		{"io1.receiver-high", b.io, 3, func() bool { return b.p.LevelAtLimit }},
	}
}

// unitNamed returns a unit that the script's parser has let through, nil for "".
func (b *Bench) unitNamed(name string) *unit {
	for _, u := range b.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

// decimal returns f as the number that people write for it, so that the log
// says 4.1 and not what is left of it in binary.
func decimal(f float32) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		panic("BUG: bench: " + err.Error())
	}
	return v
}

// refresh brings the process into the registers and notes what crossed a
// watched level. first notes where everything stands. mu is held.
func (b *Bench) refresh(at tag.Stamp, first bool) {
	for i := range b.quants {
		q := &b.quants[i]
		if q.u.frozen && !first {
			continue
		}
		v, held := b.held[q.name]
		if !held {
			v = q.get()
		}
		f := float32(v)
		q.shown = decimal(f)
		hi, lo := uint16(math.Float32bits(f)>>16), uint16(math.Float32bits(f))
		if q.order == cdab {
			hi, lo = lo, hi
		}
		q.t.words[q.addr], q.t.words[q.addr+1] = hi, lo
		if first && len(q.watch) > 0 {
			b.book.Add(logbook.Entry{Event: logbook.Value, Tag: q.name, Value: ptr(q.shown)}.At(at))
		}
		for j, level := range q.watch {
			above := q.shown >= level
			if above == q.above[j] {
				continue
			}
			q.above[j] = above
			event := logbook.Fell
			if above {
				event = logbook.Rose
			}
			b.book.Add(logbook.Entry{Event: event, Tag: q.name, Level: level, Value: ptr(q.shown)}.At(at))
		}
	}
	for _, u := range b.units[:3] {
		if old := u.holding.words[2]; old != u.condition && !u.frozen {
			u.holding.words[2] = u.condition
			b.book.Add(logbook.Entry{Event: logbook.Word, Tag: u.name + ".state", Value: ptr(float64(u.condition))}.At(at))
		}
	}
	for _, x := range b.bits {
		on := x.get()
		if x.u.frozen && !first || on == x.u.discrete.bits[x.addr] && !first {
			continue
		}
		x.u.discrete.bits[x.addr] = on
		e := logbook.Entry{Event: logbook.Bit, Tag: x.name, On: ptr(on)}
		if first {
			e.By = "start"
		}
		b.book.Add(e.At(at))
	}
}

// setCoil drives one coil of io1 and notes it if it changes. mu is held.
func (b *Bench) setCoil(addr int, on bool, by string, at tag.Stamp) {
	if b.io.coil.bits[addr] == on {
		return
	}
	b.io.coil.bits[addr] = on
	name := "io1.fan-start"
	if addr == coilFan {
		b.p.FanStart = on
	} else {
		name, b.p.Siren = "io1.siren-start", on
	}
	b.book.Add(logbook.Entry{Event: logbook.Bit, Tag: name, On: ptr(on), By: by}.At(at))
}

// setCoils drives both coils from a register whose bit 0 is coil 0. mu is held.
func (b *Bench) setCoils(mask uint16, by string, at tag.Stamp) {
	for addr := range b.io.coil.bits {
		b.setCoil(addr, mask>>addr&1 == 1, by, at)
	}
}

// watch lets the I/O module's watchdog bite. mu is held.
func (b *Bench) watch(at tag.Stamp) {
	if b.io.off || b.dog.dropped || b.io.word(regEnable) != 1 || at.Mono-b.dog.served < int64(WatchdogTime) {
		return
	}
	b.dog.dropped = true
	b.book.Add(logbook.Entry{Event: logbook.Watchdog, On: ptr(true)}.At(at))
	b.setCoils(b.io.word(regLost), "watchdog", at)
}
