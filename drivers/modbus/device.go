package modbus

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"davy/drivers"
)

// unitOptions is what the fields of a device or of its template say of it. It
// never changes. A nil one is a device of which nothing was written: all
// methods take it. It is comparable.
type unitOptions struct {
	gaps     int  // a request may bridge this many registers in a row that no point uses; anyGap: as many as pay
	maxBlock int  // registers of one request; 0: the protocol's
	wide     bool // one address holds 32 bits
	write    writeForm
	anyUnit  bool // an answer may name another unit than was asked
	identity identity
	pause    time.Duration // least quiet between two requests to this device
	lateMax  time.Duration // how late an answer may come on a line; 0: the line's own reckoning
}

// anyGap leaves it to the cost of the wire which gaps are bridged.
const anyGap = -1

// writeForm is how a register or coil is written.
type writeForm uint8

const (
	writeUsual     writeForm = iota // alone with function 5 or 6, several registers with 16
	writeSingle                     // only with 5 and 6
	writeMultiple                   // only with 15 and 16
	writeReadwrite                  // registers with 23, which gives back what then stands there
)

// identity is a register whose content is known: where it rides along in a
// request and is not what it should be, nothing of that answer is good.
type identity struct {
	set   bool
	at    Address
	value uint32
}

// heeder is a channel that heeds what the fields of a device say. heed is
// called before each exchange, with the options of the device that is asked.
type heeder interface{ heed(u *unitOptions) }

// heed tells the channel of the device that is asked next.
func (l *link) heed(u *unitOptions) {
	if h, ok := l.channel.(heeder); ok {
		h.heed(u)
	}
}

// What a device's fields may say.
const (
	MaxPause    = 10 * time.Second
	MinLateMax  = 100 * time.Millisecond
	MaxLateMax  = time.Minute
	minMaxBlock = 1
)

// deviceFields are the fields of a device that every Modbus driver knows.
func deviceFields() []drivers.Field {
	return []drivers.Field{
		{Name: "gaps", Also: []string{"gap"}},
		{Name: "max_block", Also: []string{"max_registers", "block"}},
		{Name: "registers", Also: []string{"register"}},
		{Name: "write", Also: []string{"write_function"}},
		{Name: "accept_any_unit", Also: []string{"any_unit"}},
		{Name: "identity", Also: []string{"identify"}},
		{Name: "pause", Also: []string{"delay"}},
		{Name: "late_max", Also: []string{"late"}},
	}
}

// parseDevice reads the fields of a device:
//
//	gaps: no · 8 registers          whether a request may bridge registers that no
//	                                point uses, and how many in a row
//	max_block: 60                   most registers of one request, bits 16 times that
//	registers: 32 bit               one address holds 32 bits (16 bit is usual)
//	write: single · multiple · readwrite
//	accept_any_unit: yes            a gateway that answers with another unit id
//	identity: holding 0 = 0x1234    a register that proves whose answer it is
//	pause: 50ms                     quiet before each request to this device
//	late_max: 4s                    how late an answer may come, on a line
func parseDevice(fields drivers.Fields) (any, error) {
	u := unitOptions{gaps: anyGap}
	var errs []error
	for _, f := range deviceFields() {
		text, written := fields[f.Name]
		if !written {
			continue
		}
		if !u.set(f.Name, strings.ToLower(strings.TrimSpace(text))) {
			errs = append(errs, &drivers.FieldError{Field: f.Name, Err: wrong("modbus.device."+f.Name, "modbus.device."+f.Name, map[string]any{"text": text})})
		}
	}
	if u.identity.set && !u.wide && u.identity.value > 0xffff {
		errs = append(errs, &drivers.FieldError{Field: "identity", Err: wrong("modbus.device.identity", "modbus.device.identity", map[string]any{"text": fields["identity"]})})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if u == (unitOptions{gaps: anyGap}) {
		return nil, nil
	}
	return &u, nil
}

// set reads one field; false where it says nothing that can be.
func (u *unitOptions) set(field, text string) (ok bool) {
	switch field {
	case "gaps":
		if no, yes := text == "no", text == "yes"; no || yes {
			u.gaps = 0
			if yes {
				u.gaps = anyGap
			}
			return true
		}
		text = strings.TrimSuffix(strings.TrimSuffix(text, "s"), "register")
		u.gaps, ok = digits(strings.TrimSpace(text), MaxBits)
	case "max_block":
		text = strings.TrimSuffix(strings.TrimSuffix(text, "s"), "register")
		u.maxBlock, ok = digits(strings.TrimSpace(text), MaxRegisters)
		ok = ok && u.maxBlock >= minMaxBlock
	case "registers":
		bits := strings.TrimSpace(strings.TrimSuffix(text, "bit"))
		u.wide, ok = bits == "32", bits == "32" || bits == "16"
	case "write":
		u.write, ok = map[string]writeForm{"usual": writeUsual, "single": writeSingle, "multiple": writeMultiple, "readwrite": writeReadwrite}[text]
	case "accept_any_unit":
		u.anyUnit, ok = text == "yes", text == "yes" || text == "no"
	case "identity":
		u.identity, ok = parseIdentity(text)
	case "pause":
		d, err := time.ParseDuration(text)
		u.pause, ok = d, err == nil && d >= 0 && d <= MaxPause
	case "late_max":
		d, err := time.ParseDuration(text)
		u.lateMax, ok = d, err == nil && d >= MinLateMax && d <= MaxLateMax
	}
	return ok
}

// parseIdentity reads "holding 0 = 0x1234" or "input 3 = 4660".
func parseIdentity(text string) (identity, bool) {
	at, value, found := strings.Cut(text, "=")
	a, err := parseAddress(strings.TrimSpace(at))
	if !found || err != nil || a.Table.Bits() || a.HasBit {
		return identity{}, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
	return identity{set: true, at: a, value: uint32(n)}, err == nil
}

// registerBytes returns how many bytes one address holds.
func (u *unitOptions) registerBytes() int {
	if u != nil && u.wide {
		return 4
	}
	return 2
}

// limit returns how many registers or bits of a table one request may ask for.
func (u *unitOptions) limit(t Table) int {
	n := MaxRegisters
	if u != nil && u.wide {
		n = MaxWideRegisters
	}
	if u != nil && u.maxBlock > 0 {
		n = min(n, u.maxBlock)
	}
	if t.Bits() {
		n = min(MaxBits, 16*n)
		if u == nil || u.maxBlock == 0 {
			n = MaxBits
		}
	}
	return n
}

// gap returns how many registers or bits in a row that no point uses a request
// may bridge.
func (u *unitOptions) gap(t Table) int {
	if u == nil || u.gaps == anyGap {
		return u.limit(t)
	}
	if t.Bits() {
		return min(16*u.gaps, MaxBits)
	}
	return u.gaps
}

// optionsOf returns the options of a point's device; nil: none were written.
func optionsOf(p *drivers.Point) *unitOptions {
	if p.Options == nil {
		return nil
	}
	u, ok := p.Options.(*unitOptions)
	if !ok {
		panic("BUG: modbus: options of another driver")
	}
	return u
}
