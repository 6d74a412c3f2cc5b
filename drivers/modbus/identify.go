package modbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	lib "github.com/goburrow/modbus"
)

// Function 43 with type 14 reads what a device says of itself: objects, each
// a number and a text. An answer says its own length.
const (
	funcIdentify = 43
	meiIdentify  = 14
	identityHead = 7 // function, type, code, conformity, more, next, number of objects
)

// Object is one thing that a device says of itself: Number 0 is the vendor, 1
// the product code, 2 the revision, 3 the vendor's URL, 4 the product, 5 the
// model, 6 the application; from 128 on the vendor's own. In Text everything
// that is not printable stands as "\ufffd".
type Object struct {
	Number byte
	Text   string
}

// Identifier is a link that can ask a station what it is. The error wraps an
// exception's words where the device does not know the question, which most
// old ones do not.
type Identifier interface {
	Identify(ctx context.Context, station int) ([]Object, error)
}

var _ Identifier = (*link)(nil)

// What bounds an identification.
const (
	MaxObjects   = 256 // there are no more numbers
	maxIdentify  = 64  // requests of one identification
	basicCode    = 1
	regularCode  = 2
	conformity   = 0x7f
	firstRegular = 3
)

// identitySize returns how long the PDU of an identification is that begins
// with pdu, or as much of that as can be seen: a longer length than pdu's says
// to read on. ok is false where no identification begins like this.
func identitySize(pdu []byte) (n int, ok bool) {
	if len(pdu) > 0 && pdu[0] != funcIdentify || len(pdu) > 1 && pdu[1] != meiIdentify {
		return 0, false
	}
	n = identityHead
	if len(pdu) < identityHead {
		return n, true
	}
	for range pdu[6] {
		if len(pdu) < n+2 {
			return n + 2, n+2 <= maxPDU
		}
		n += 2 + int(pdu[n+1])
		if n > maxPDU {
			return 0, false
		}
	}
	return n, true
}

// Identify asks a station for its basic objects, and for the regular ones
// where it says that it has them. It takes at most the link's timeout, and
// what was heard by then is returned with the error.
func (l *link) Identify(ctx context.Context, station int) ([]Object, error) {
	if station < 0 || station > 255 {
		return nil, fmt.Errorf("identify %s station %d: no such station", l.name, station)
	}
	l.limit(ctx)
	var out []Object
	code, from := byte(basicCode), byte(0)
	for range maxIdentify {
		adu, err := packager{byte(station)}.Encode(&lib.ProtocolDataUnit{FunctionCode: funcIdentify, Data: []byte{meiIdentify, code, from}})
		if err == nil {
			l.heed(nil)
			var data []byte
			if data, err = l.transfer(ctx, adu, true); err == nil {
				var next byte
				var more bool
				if out, next, more, err = objects(out, data); err == nil && more && next <= from {
					err = errors.New("the device says that more follows and begins again")
				}
				if err == nil && !more {
					if code == regularCode || data[2]&conformity < regularCode {
						return out, nil
					}
					code, next = regularCode, firstRegular
				}
				from = next
			}
		}
		var e exception
		if errors.As(err, &e) && code == regularCode && len(out) > 0 {
			return out, nil // it promised more than it has
		}
		if err != nil {
			return out, fmt.Errorf("identify %s station %d: %w", l.name, station, err)
		}
	}
	return out, fmt.Errorf("identify %s station %d: more than %d answers", l.name, station, maxIdentify)
}

// objects adds the objects of an answer that check let pass; a number that is
// there already stays as it was.
func objects(out []Object, data []byte) (all []Object, next byte, more bool, err error) {
	at := identityHead - 1 // data is without the function
	for range data[5] {
		number, text := data[at], data[at+2:at+2+int(data[at+1])]
		at += 2 + len(text)
		known := false
		for _, o := range out {
			known = known || o.Number == number
		}
		if !known {
			out = append(out, Object{Number: number, Text: printable(text)})
		}
	}
	if data[3] != 0 && data[5] == 0 {
		return out, 0, false, errors.New("the device says that more follows and gives nothing")
	}
	return out, data[4], data[3] != 0, nil
}

// printable is what may be shown of a device's text.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.TrimRight(string(b), "\x00 ")))
}
