package modbus

import (
	"fmt"
	"strconv"
	"strings"

	"davy/drivers"
)

// Table is one of the four memories of a Modbus device.
type Table uint8

// The tables.
const (
	Coil Table = iota
	Discrete
	Input
	Holding
)

var tables = [...]struct {
	word string
	ref  int // first reference of the five-digit form
	lead int // first digit of the six-digit form
	read byte
}{
	Coil:     {"coil", 1, 0, 1},
	Discrete: {"discrete", 10001, 1, 2},
	Input:    {"input", 30001, 3, 4},
	Holding:  {"holding", 40001, 4, 3},
}

// String returns the table's word: "coil", "discrete", "input", "holding".
func (t Table) String() string { return tables[t].word }

// Bits reports whether the table holds single bits.
func (t Table) Bits() bool { return t <= Discrete }

// Writable reports whether the protocol can write the table.
func (t Table) Writable() bool { return t == Coil || t == Holding }

// Address is a place in a device. It is comparable.
type Address struct {
	Table  Table
	Number uint16 // as on the wire, from 0
	HasBit bool   // one bit of a register: Bit, 0 the least significant
	Bit    uint8
}

// String prints the address both ways, "holding 10 (ref 40011)".
func (a Address) String() string {
	bit := ""
	if a.HasBit {
		bit = fmt.Sprintf(" bit %d", a.Bit)
	}
	return fmt.Sprintf("%s %d%s (ref %s%s)", a.Table, a.Number, bit, reference(a.Table, a.Number), bit)
}

// reference prints an address as manuals do: counted from 1, five digits as
// far as they go, then six; coils without the leading zeros while five will do.
func reference(t Table, number uint16) string {
	if n := int(number); n < 9999 {
		return strconv.Itoa(tables[t].ref + n)
	}
	return fmt.Sprintf("%d%05d", tables[t].lead, int(number)+1)
}

// span prints a range of a table both ways, "holding 0..19 (ref 40001..40020)".
func span(t Table, first uint16, count int) string {
	last := uint16(int(first) + count - 1)
	if first == last {
		return Address{Table: t, Number: first}.String()
	}
	return fmt.Sprintf("%s %d..%d (ref %s..%s)", t, first, last, reference(t, first), reference(t, last))
}

func wrong(code, hint string, args map[string]any) *drivers.Hint {
	return &drivers.Hint{Code: code, Args: args, Hint: hint}
}

// parseAddress reads
//
//	holding 10 · input 10 · coil 0 · discrete 0     as on the wire, from 0
//	ref 40011 · ref 30011 · ref 1 · ref 10001       as printed, from 1; six digits too
//	holding wire 40011                              on the wire, where the number looks printed
//	holding 10 bit 3 · ref 40011 bit 3              one bit of a register
//	holding 10 (ref 40011)                          both, when they agree
func parseAddress(s string) (Address, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if open := strings.Index(text, "("); open > 0 && strings.HasSuffix(text, ")") {
		wire, err := parseOne(strings.TrimSpace(text[:open]), s, true)
		if err != nil {
			return Address{}, err
		}
		ref, err := parseOne(strings.TrimSpace(text[open+1:len(text)-1]), s, false)
		if err != nil {
			return Address{}, err
		}
		if wire != ref {
			return Address{}, wrong("address.disagree", "address.forms", map[string]any{"text": s, "first": wire.String(), "second": ref.String()})
		}
		return wire, nil
	}
	return parseOne(text, s, false)
}

// parseOne parses one form; sure says that a number that looks printed is on the wire all the same.
func parseOne(text, whole string, sure bool) (Address, error) {
	fields := strings.Fields(text)
	unknown := wrong("address.unknown", "address.forms", map[string]any{"text": whole})
	if len(fields) == 0 {
		return Address{}, unknown
	}
	var a Address
	if n := len(fields); n >= 3 && fields[n-2] == "bit" {
		b, ok := digits(fields[n-1], 15)
		if !ok {
			return Address{}, wrong("address.bit-range", "", map[string]any{"text": whole})
		}
		a.HasBit, a.Bit = true, uint8(b)
		fields = fields[:n-2]
	}
	if len(fields) == 1 {
		if b, ok := parseReference(fields[0]); ok {
			return Address{}, wrong("address.bare", "address.bare",
				map[string]any{"text": whole, "number": fields[0], "meaning": b.String()})
		}
		return Address{}, unknown
	}
	word := fields[0]
	if word == "ref" {
		b, ok := parseReference(fields[1])
		if !ok || len(fields) != 2 {
			return Address{}, wrong("address.ref", "address.ref", map[string]any{"text": whole})
		}
		a.Table, a.Number = b.Table, b.Number
	} else {
		table := -1
		for i, t := range tables {
			if t.word == word {
				table = i
			}
		}
		if table < 0 {
			return Address{}, unknown
		}
		a.Table = Table(table)
		if fields[1] == "wire" {
			sure = true
			fields = append(fields[:1:1], fields[2:]...)
		}
		if len(fields) != 2 {
			return Address{}, unknown
		}
		n, ok := digits(fields[1], 999999)
		if !ok {
			return Address{}, unknown
		}
		if b, printed := parseReference(fields[1]); printed && !sure && b.Table == a.Table && (a.Table != Coil || fields[1][0] == '0' && len(fields[1]) >= 5) {
			args := map[string]any{"text": whole, "table": word, "number": strconv.Itoa(n), "ref": fields[1], "ref_wire": b.String(), "wire": "-"}
			if n > 65535 {
				return Address{}, wrong("address.ambiguous", "address.printed", args)
			}
			args["wire"] = Address{Table: a.Table, Number: uint16(n)}.String()
			return Address{}, wrong("address.ambiguous", "address.ambiguous", args)
		}
		if n > 65535 {
			return Address{}, wrong("address.range", "", map[string]any{"text": whole})
		}
		a.Number = uint16(n)
	}
	if a.HasBit && a.Table.Bits() {
		return Address{}, wrong("address.bit-of-bit", "", map[string]any{"text": whole})
	}
	return a, nil
}

// parseReference reads a number as manuals print it: up to five digits, or six.
func parseReference(s string) (Address, bool) {
	n, ok := digits(s, 999999)
	if !ok {
		return Address{}, false
	}
	lead, rest := n/10000, n%10000
	last := 9999
	if len(s) == 6 {
		lead, rest, last = n/100000, n%100000, 65536
	}
	if rest < 1 || rest > last {
		return Address{}, false
	}
	for i, t := range tables {
		if t.lead == lead {
			return Address{Table: Table(i), Number: uint16(rest - 1)}, true
		}
	}
	return Address{}, false
}

// digits reads one to six ASCII digits not above limit.
func digits(s string, limit int) (int, bool) {
	if len(s) == 0 || len(s) > 6 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= limit
}
