package opcua

import (
	"math"

	"davy/drivers"
	"davy/drivers/tag"
)

// The greatest integers that every smaller one of a float is exact up to.
const (
	exact32 = 1 << 24
	exact64 = 1 << 53
)

// Convert returns v, a value as the server sent it, as a Value of kind k, and
// NoReason; or no value and why it cannot be one. It rounds nothing:
//
//	Bool     Boolean
//	Int      every integer that fits int64
//	Enum     the same
//	Float32  Float; integers up to ±2^24
//	Float64  Float, Double; integers up to ±2^53
//	Text     String, one of texts
//
// v is of the Go type that holds the OPC UA type: bool, int8 … uint64, float32,
// float64, string (of a LocalizedText its text), nil. Anything else (a date, an
// array, a structure) is no value that a tag can hold.
func Convert(k tag.Kind, v any, texts []drivers.Text) (tag.Value, Reason) {
	switch x := v.(type) {
	case nil:
		return tag.Value{}, NoValue
	case bool:
		if k == tag.Bool {
			return tag.BoolValue(x), NoReason
		}
	case int8:
		return integer(k, int64(x))
	case int16:
		return integer(k, int64(x))
	case int32:
		return integer(k, int64(x))
	case int64:
		return integer(k, x)
	case uint8:
		return integer(k, int64(x))
	case uint16:
		return integer(k, int64(x))
	case uint32:
		return integer(k, int64(x))
	case uint64:
		if x > math.MaxInt64 {
			if k == tag.Bool || k == tag.Text {
				return tag.Value{}, WrongType
			}
			return tag.Value{}, TooLarge
		}
		return integer(k, int64(x))
	case float32:
		switch k {
		case tag.Float32:
			return number(tag.Float32Value(x))
		case tag.Float64:
			return number(tag.Float64Value(float64(x)))
		}
	case float64:
		if k == tag.Float64 {
			return number(tag.Float64Value(x))
		}
	case string:
		if k != tag.Text {
			return tag.Value{}, WrongType
		}
		for i := range texts {
			if texts[i].Text == x {
				return tag.TextValue(texts[i].Index), NoReason
			}
		}
		return tag.Value{}, OtherText
	}
	return tag.Value{}, WrongType
}

func integer(k tag.Kind, n int64) (tag.Value, Reason) {
	switch k {
	case tag.Int:
		return tag.IntValue(n), NoReason
	case tag.Enum:
		return tag.EnumValue(n), NoReason
	case tag.Float32:
		if n < -exact32 || n > exact32 {
			return tag.Value{}, TooLarge
		}
		return number(tag.Float32Value(float32(n)))
	case tag.Float64:
		if n < -exact64 || n > exact64 {
			return tag.Value{}, TooLarge
		}
		return number(tag.Float64Value(float64(n)))
	}
	return tag.Value{}, WrongType
}

func number(v tag.Value, ok bool) (tag.Value, Reason) {
	if !ok {
		return v, NotNumber
	}
	return v, NoReason
}

// Quality returns the quality of a bad sample that has this reason.
func (r Reason) Quality() tag.Quality {
	switch r {
	case NotNumber:
		return tag.BadSensor
	case NoValue:
		return tag.BadDeviceFault
	}
	return tag.BadConfig
}

// Quality returns the quality that a status code means. The vocabulary's own
// codes (tag.FromOPCUA) mean what they say there; beside them, what says that
// the node or our right to it is not there is BadConfig, what says that the
// server does not reach its source is BadNoComm. Of any other code the severity
// is kept, and of every code the limit bits.
func Quality(status uint32) tag.Quality {
	q, _ := tag.FromOPCUA(status)
	switch status >> 16 {
	case 0x8033, // BadNodeIdInvalid
		0x8034, // BadNodeIdUnknown
		0x8035, // BadAttributeIdInvalid
		0x8036, // BadIndexRangeInvalid
		0x8037, // BadIndexRangeNoData
		0x803A, // BadNotReadable
		0x801F, // BadUserAccessDenied
		0x803D, // BadNotSupported
		0x803E, // BadNotFound
		0x803F, // BadObjectDeleted
		0x8043, // BadMonitoredItemFilterInvalid
		0x8045: // BadFilterNotAllowed
		return tag.BadConfig | q.Flags()
	case 0x8005, // BadCommunicationError
		0x808A, // BadNotConnected
		0x80AE: // BadConnectionClosed
		return tag.BadNoComm | q.Flags()
	}
	return q
}

// Overflow reports whether the server says, with this status code, that it
// dropped samples before this one: InfoType DataValue with the overflow bit.
func Overflow(status uint32) bool { return status&(1<<10) != 0 && status&(1<<7) != 0 }
