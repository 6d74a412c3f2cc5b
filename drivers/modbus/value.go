package modbus

import (
	"strings"

	"davy/drivers"
	"davy/drivers/tag"
)

var types = map[string]drivers.Type{
	"int16":   {Kind: tag.Int, Bits: 16, Sign: true},
	"uint16":  {Kind: tag.Int, Bits: 16},
	"int32":   {Kind: tag.Int, Bits: 32, Sign: true},
	"uint32":  {Kind: tag.Int, Bits: 32},
	"int64":   {Kind: tag.Int, Bits: 64, Sign: true},
	"uint64":  {Kind: tag.Int, Bits: 64},
	"float32": {Kind: tag.Float32, Bits: 32},
	"float64": {Kind: tag.Float64, Bits: 64},
	"bcd16":   {Kind: tag.Int, Bits: 16, BCD: true},
	"bcd32":   {Kind: tag.Int, Bits: 32, BCD: true},
	"text":    {Kind: tag.Text},
}

const typeNames = "bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16, bcd32, text 8"

// parseType reads "float32 CDAB", "uint16 bits 4..7", "text 8". The order says
// where the bytes of the number, A the most significant, stand in the
// registers: ABCD big-endian (the default), CDAB the registers swapped, BADC
// the bytes in each register swapped, DCBA both; of 64 bits likewise. "" is
// bool for a bit and uint16 for a register. A bool of a whole register is true
// when it is not 0.
//
// bits A..B is a number within an integer's bits, 0 the lowest; with its own
// sign where the type has one. bcd has a decimal digit in each four bits. text N
// has two characters in each of N times 16 bits, the first in the upper byte;
// with BADC, in the lower. It ends at the first NUL, and blanks around it are not its own.
func parseType(a Address, s string) (drivers.Type, error) {
	fields := strings.Fields(s)
	args := map[string]any{"text": s, "types": typeNames, "at": a.String()}
	unknown := wrong("modbus.type-unknown", "modbus.type", args)
	bit := a.Table.Bits() || a.HasBit
	name := "uint16"
	if bit {
		name = "bool"
	}
	if len(fields) > 0 {
		name, fields = strings.ToLower(fields[0]), fields[1:]
	}
	t, ok := types[name]
	if name == "bool" {
		t, ok = drivers.Type{Kind: tag.Bool, Bits: 16}, true
		if a.Table.Bits() {
			t.Bits = 1
		}
	}
	switch {
	case !ok:
		return drivers.Type{}, unknown
	case bit && name != "bool":
		return drivers.Type{}, wrong("modbus.type-of-bit", "modbus.type-of-bit", args)
	case bit && len(fields) == 1:
		return drivers.Type{}, wrong("modbus.order-of-bit", "", args)
	}
	if t.Kind == tag.Text {
		n := 0
		if ok = len(fields) > 0; ok {
			n, ok = digits(fields[0], MaxRegisters)
			fields = fields[1:]
		}
		if !ok || n == 0 {
			args["limit"] = MaxRegisters
			return drivers.Type{}, wrong("modbus.text-length", "modbus.text-length", args)
		}
		t.Bytes = 2 * n
	}
	if n := len(fields); n >= 2 && strings.EqualFold(fields[n-2], "bits") {
		if t.Shift, t.Width, ok = parseBits(fields[n-1]); !ok || t.Kind != tag.Int || t.BCD || t.Shift+t.Width > t.Bits {
			return drivers.Type{}, wrong("modbus.bits", "modbus.bits", args)
		}
		fields = fields[:n-2]
	}
	if t.Bits > 16 {
		t.Order = "ABCD"
	}
	if len(fields) > 1 {
		return drivers.Type{}, unknown
	}
	if len(fields) == 1 {
		switch order := strings.ToUpper(fields[0]); {
		case t.Kind == tag.Text && (order == "CDAB" || order == "DCBA"):
			args["order"] = fields[0]
			return drivers.Type{}, wrong("modbus.order-of-text", "", args)
		case order == "ABCD" || order == "CDAB" || order == "BADC" || order == "DCBA":
			t.Order = order
		default:
			args["order"] = fields[0]
			return drivers.Type{}, wrong("modbus.order-unknown", "modbus.order", args)
		}
	}
	if int(a.Number)+(*unitOptions)(nil).size(a.Table, t) > 65536 {
		return drivers.Type{}, wrong("address.past-end", "", args)
	}
	return t, nil
}

// parseBits reads "4..7", or "4" for one bit.
func parseBits(s string) (shift, width int, ok bool) {
	low, high, two := strings.Cut(s, "..")
	if !two {
		high = low
	}
	from, ok := digits(low, 63)
	to, also := digits(high, 63)
	return from, to - from + 1, ok && also && to >= from
}

// size returns how many registers or bits of the table a value takes.
func (u *unitOptions) size(t Table, typ drivers.Type) int {
	bytes := u.registerBytes()
	switch {
	case t.Bits():
		return 1
	case typ.Bytes > 0:
		return (typ.Bytes + bytes - 1) / bytes
	}
	return max(1, typ.Bits/8/bytes)
}
