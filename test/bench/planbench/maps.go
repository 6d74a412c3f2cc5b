package planbench

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/test/floor/plansearch"
)

// registers is a device's map and what may be asked of it.
type registers struct {
	kind     string
	table    modbus.Table
	fields   drivers.Fields
	rules    plansearch.Rules
	readings []plansearch.Reading
}

func (m registers) small() bool { return len(m.readings) <= plansearch.Small }

// random makes map i: the four kinds in turn, every other one small enough to
// be searched in every way.
func random(r *rand.Rand, i int) registers {
	kinds := []string{"contiguous", "strided", "clustered", "holes"}
	m := registers{kind: kinds[i%4], table: modbus.Holding, fields: drivers.Fields{}, rules: plansearch.Rules{Limit: 125, Gap: 125, BytesPer: 2}}
	widest := []int{1, 2, 4, 8}[r.IntN(4)]
	switch r.IntN(6) {
	case 0:
		m.table = modbus.Table(r.IntN(2))
		m.rules.Bits, m.rules.Limit, m.rules.Gap, widest = true, 2000, 2000, 1
	case 1:
		m.table = modbus.Input
	case 2:
		m.fields["registers"] = "32 bit"
		m.rules.BytesPer, m.rules.Limit, m.rules.Gap = 4, 62, 62
	}
	times := 1 // what the device's fields count in registers
	if m.rules.Bits {
		times = 16
	}
	if r.IntN(3) == 0 {
		n := widest + r.IntN(60)
		m.fields["max_block"] = strconv.Itoa(n)
		m.rules.Limit = min(m.rules.Limit, n*times)
		m.rules.Gap = m.rules.Limit
	}
	switch r.IntN(4) {
	case 0:
		m.fields["gaps"], m.rules.Gap = "no", 0
	case 1:
		n := r.IntN(40)
		m.fields["gaps"], m.rules.Gap = fmt.Sprintf("%d registers", n), n*times
	}
	n := 1 + r.IntN(plansearch.Small)
	if i%8 >= 4 {
		n = 10 + r.IntN(300)
	}
	place(r, &m, n, times, widest)
	return m
}

// place puts n readings on the map, as far as there are registers.
func place(r *rand.Rand, m *registers, n, times, widest int) {
	at := r.IntN(1000)
	stride := 1 + r.IntN(30*times)
	for k := range n {
		size := 1 + r.IntN(widest)
		switch m.kind {
		case "strided":
			size = widest
		case "clustered":
			if k > 0 && r.IntN(8) == 0 {
				at += r.IntN(300 * times)
			}
		case "holes":
			if r.IntN(3) == 0 {
				at += r.IntN(20 * times)
			}
			if r.IntN(6) == 0 && at > 8 { // over what was placed before
				at -= r.IntN(8)
			}
		}
		if at+size > 65536 {
			break
		}
		m.readings = append(m.readings, plansearch.Reading{First: at, End: at + size})
		at += size
		if m.kind == "strided" {
			at += stride
		}
	}
	r.Shuffle(len(m.readings), func(i, j int) { m.readings[i], m.readings[j] = m.readings[j], m.readings[i] })
}
