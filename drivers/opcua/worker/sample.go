package worker

import (
	"math"
	"reflect"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// sample judges one value of an item.
func sample(handle uint32, item *opcua.Item, v *ua.DataValue, received tag.Stamp) opcua.Sample {
	s := opcua.Sample{Handle: handle, Received: received}
	if v == nil {
		s.Reason, s.Quality = opcua.NoValue, opcua.NoValue.Quality()
		return s
	}
	s.Status = uint32(v.Status)
	s.Quality, s.Overflow = opcua.Quality(s.Status), opcua.Overflow(s.Status)
	s.Source = nanos(v.SourceTimestamp)
	if s.Quality.Bad() {
		return s
	}
	raw, ok := single(v.Value, item.Address.What == opcua.Element)
	if !ok {
		s.Reason = opcua.WrongForm
	} else {
		s.Value, s.Reason = opcua.Convert(item.Kind, raw, item.Texts)
	}
	if s.Reason != opcua.NoReason {
		s.Value, s.Quality = tag.Value{}, s.Reason.Quality()
	}
	return s
}

// single takes the one value out of a variant. A range of one element comes as
// an array of one.
func single(v *ua.Variant, element bool) (any, bool) {
	if v == nil {
		return nil, true
	}
	x := v.Value()
	if v.Has(ua.VariantArrayValues) {
		a := reflect.ValueOf(x)
		if !element || !a.IsValid() || a.Kind() != reflect.Slice || a.Len() != 1 {
			return nil, false
		}
		x = a.Index(0).Interface()
	}
	switch t := x.(type) {
	case *ua.LocalizedText:
		if t == nil {
			return nil, true
		}
		return t.Text, true
	case *ua.Variant, []byte, time.Time:
		return struct{}{}, true // nothing that a tag can hold
	}
	return x, true
}

// refused is the sample of an item that the server does not give.
func refused(handle uint32, status ua.StatusCode, received tag.Stamp) opcua.Sample {
	q := opcua.Quality(uint32(status))
	if !q.Bad() {
		q = tag.BadDeviceFault
	}
	return opcua.Sample{Handle: handle, Status: uint32(status), Quality: q, Received: received}
}

// missing is the sample of an item whose node cannot be named in this session.
func missing(handle uint32, received tag.Stamp) opcua.Sample {
	return opcua.Sample{Handle: handle, Reason: opcua.NotFound, Quality: opcua.NotFound.Quality(), Received: received}
}

// nanos is a time of the server as data: nanoseconds since 1970, 0 where it is
// absent or does not fit.
func nanos(t time.Time) int64 {
	if t.IsZero() || t.Year() < 1971 || t.Year() > 2200 {
		return 0
	}
	return t.UnixNano()
}

// builtin puts a value that is to be written into the server's own type,
// exactly, or not at all.
func builtin(to ua.TypeID, w *opcua.Write) (any, bool) {
	v, ok := tag.FromBits(w.Kind, w.Bits)
	if !ok {
		return nil, false
	}
	switch w.Kind {
	case tag.Text:
		switch to {
		case ua.TypeIDString:
			return w.Text, true
		case ua.TypeIDLocalizedText:
			return ua.NewLocalizedText(w.Text), true
		}
		return nil, false
	case tag.Bool:
		if to == ua.TypeIDBoolean {
			return v.True(), true
		}
		return nil, false
	case tag.None:
		return nil, false
	}
	switch f := v.Float(); to {
	case ua.TypeIDFloat:
		if w.Kind == tag.Int || w.Kind == tag.Enum {
			n := v.Int()
			return float32(n), n >= -1<<24 && n <= 1<<24
		}
		return float32(f), float64(float32(f)) == f
	case ua.TypeIDDouble:
		if w.Kind == tag.Int || w.Kind == tag.Enum {
			n := v.Int()
			return float64(n), n >= -1<<53 && n <= 1<<53
		}
		return f, true
	}
	n := v.Int()
	if w.Kind == tag.Float32 || w.Kind == tag.Float64 {
		f := v.Float()
		if f != math.Trunc(f) || f < -1<<53 || f > 1<<53 {
			return nil, false
		}
		n = int64(f)
	}
	switch to {
	case ua.TypeIDSByte:
		return int8(n), n == int64(int8(n))
	case ua.TypeIDByte:
		return uint8(n), n == int64(uint8(n))
	case ua.TypeIDInt16:
		return int16(n), n == int64(int16(n))
	case ua.TypeIDUint16:
		return uint16(n), n == int64(uint16(n))
	case ua.TypeIDInt32:
		return int32(n), n == int64(int32(n))
	case ua.TypeIDUint32:
		return uint32(n), n == int64(uint32(n))
	case ua.TypeIDInt64:
		return n, true
	case ua.TypeIDUint64:
		return uint64(n), n >= 0
	}
	return nil, false
}
