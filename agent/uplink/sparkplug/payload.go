package sparkplug

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// The data types that are used here (Sparkplug 3.0, section 6.4.16).
const (
	typeInt32   = 3
	typeInt64   = 4
	typeUInt64  = 8
	typeFloat   = 9
	typeDouble  = 10
	typeBoolean = 11
	typeString  = 12
)

// typeOf is the data type of the values of a kind. A text goes as what it says.
func typeOf(k tag.Kind) uint32 {
	switch k {
	case tag.Bool:
		return typeBoolean
	case tag.Float32:
		return typeFloat
	case tag.Float64:
		return typeDouble
	case tag.Text:
		return typeString
	}
	return typeInt64
}

// The values that the property Quality may have (section 6.4.17).
const (
	qualityBad   = 0
	qualityGood  = 192
	qualityStale = 500
)

// metric is one of a payload.
type metric struct {
	name      string // "": by alias only
	alias     uint64 // 0: none
	at        uint64 // ms since 1970
	kind      uint32
	history   bool
	transient bool
	null      bool
	bits      uint64 // of a number or a boolean
	text      string // of a string
	props     []property
}

// property is one of a metric's property set.
type property struct {
	key  string
	kind uint32 // Int32, Double or String
	bits uint64
	text string
}

// appendPayload appends a payload without a sequence number if seq is negative.
func appendPayload(b []byte, at uint64, seq int, metrics []metric) []byte {
	b = varint(b, 1, at)
	var m []byte
	for i := range metrics {
		m = metrics[i].append(m[:0])
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, m)
	}
	if seq >= 0 {
		b = varint(b, 3, uint64(seq))
	}
	return b
}

func varint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func yes(b []byte, field protowire.Number, v bool) []byte {
	if v {
		return varint(b, field, 1)
	}
	return b
}

func (m *metric) append(b []byte) []byte {
	if m.name != "" {
		b = text(b, 1, m.name)
	}
	if m.alias != 0 {
		b = varint(b, 2, m.alias)
	}
	b = varint(b, 3, m.at)
	b = varint(b, 4, uint64(m.kind))
	b = yes(b, 5, m.history)
	b = yes(b, 6, m.transient)
	b = yes(b, 7, m.null)
	if len(m.props) > 0 {
		var p, v []byte
		for i := range m.props {
			p = text(p, 1, m.props[i].key)
		}
		for i := range m.props {
			v = m.props[i].append(v[:0])
			p = protowire.AppendTag(p, 2, protowire.BytesType)
			p = protowire.AppendBytes(p, v)
		}
		b = protowire.AppendTag(b, 9, protowire.BytesType)
		b = protowire.AppendBytes(b, p)
	}
	if m.null {
		return b
	}
	return appendValue(b, 10, m.kind, m.bits, m.text)
}

func (p *property) append(b []byte) []byte {
	b = varint(b, 1, uint64(p.kind))
	return appendValue(b, 3, p.kind, p.bits, p.text)
}

// appendValue appends a value; the fields of a metric and of a property have the
// same order from int_value on.
func appendValue(b []byte, field protowire.Number, kind uint32, bits uint64, s string) []byte {
	switch kind {
	case typeInt32:
		return varint(b, field, uint64(uint32(bits)))
	case typeInt64, typeUInt64:
		return varint(b, field+1, bits)
	case typeFloat:
		return protowire.AppendFixed32(protowire.AppendTag(b, field+2, protowire.Fixed32Type), uint32(bits))
	case typeDouble:
		return protowire.AppendFixed64(protowire.AppendTag(b, field+3, protowire.Fixed64Type), bits)
	case typeBoolean:
		return varint(b, field+4, bits)
	}
	return text(b, field+5, s)
}

func double(f float64) uint64 { return math.Float64bits(f) }

var errPayload = errors.New("not a payload")

// maxCommands is how many metrics of a command are looked at.
const maxCommands = 64

// asksRebirth reports whether a command asks for a rebirth, and how many other
// metrics it has, which nobody obeys.
func asksRebirth(b []byte) (rebirth bool, others int, err error) {
	err = fields(b, func(field protowire.Number, typ protowire.Type, v uint64, p []byte) error {
		if field != 2 || typ != protowire.BytesType {
			return nil
		}
		if others >= maxCommands {
			return errPayload
		}
		name, set := "", false
		if err := fields(p, func(field protowire.Number, typ protowire.Type, v uint64, p []byte) error {
			switch {
			case field == 1 && typ == protowire.BytesType:
				name = string(p)
			case field == 14 && typ == protowire.VarintType:
				set = v != 0
			}
			return nil
		}); err != nil {
			return err
		}
		if name == rebirthName && set {
			rebirth = true
		} else {
			others++
		}
		return nil
	})
	return rebirth, others, err
}

// fields calls f with each field of a message.
func fields(b []byte, f func(field protowire.Number, typ protowire.Type, v uint64, p []byte) error) error {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errPayload
		}
		b = b[n:]
		var v uint64
		var p []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			p, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, typ, b)
		}
		if n < 0 {
			return errPayload
		}
		b = b[n:]
		if err := f(field, typ, v, p); err != nil {
			return err
		}
	}
	return nil
}
