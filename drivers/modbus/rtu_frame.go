package modbus

// rtu frames a body with a check sum behind it. Where a frame ends only its
// content says.
type rtu struct{}

const crcSize = 2

// crcTable is the check sum of one byte each, polynomial 0xa001.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa001
			} else {
				c >>= 1
			}
		}
		t[i] = c
	}
	return t
}()

// crc is the check sum of a body. Over a frame with its check sum, low byte
// first, it is 0.
func crc(b []byte) uint16 {
	c := uint16(0xffff)
	for _, x := range b {
		c = c>>8 ^ crcTable[byte(c)^x]
	}
	return c
}

func (rtu) encode(out, body []byte) []byte {
	c := crc(body)
	return append(append(out, body...), byte(c), byte(c>>8))
}

func (rtu) next(b *inbox, want *expected, loose bool) ([]byte, bool) {
	for {
		// The answer, wherever it begins.
		if want.function != 0 {
			for _, exact := range [...]bool{true, false} {
				body, pending := b.own(want, exact)
				if body != nil {
					return body, true
				}
				if pending {
					b.trim(want)
					return nil, false
				}
			}
		}
		if b.start < 0 || b.start >= b.w {
			b.trim(want)
			return nil, false
		}
		n, more := foreign(b.buf[b.start:b.w])
		switch {
		case n > 0:
			body := b.buf[b.start : b.start+n-crcSize]
			b.skip(b.start + n)
			return body, true
		case more:
			b.trim(want)
			return nil, false
		case loose:
			b.start++
		default:
			b.start = -1
		}
	}
}

// own finds a frame of the station and function that are waited for: exact of
// the right length, else of another or a refusal; the caller judges it. While
// what may be the right one is not complete (pending) nothing else is looked for,
// because all else could be a part of its data. That delays no answer: what
// begins like the right one before it is complete, and found wrong, before it.
func (b *inbox) own(want *expected, exact bool) (body []byte, pending bool) {
	for at := b.r; at < b.w; at++ {
		rest := b.buf[at:b.w]
		if rest[0] != want.station || len(rest) < 3 || rest[1]&^0x80 != want.function {
			continue
		}
		n := answerBody(rest)
		right := rest[1] == want.function && (want.size == 0 || n == int(want.size)+1)
		if n == 0 || right != exact {
			continue
		}
		if n+crcSize > len(rest) {
			pending = pending || exact
			continue
		}
		if crc(rest[:n+crcSize]) != 0 {
			b.garbled = b.garbled || right || rest[1] != want.function // else a length that nobody asked for, or a request
			continue
		}
		b.skip(at + n + crcSize)
		return rest[:n], false
	}
	return nil, pending
}

// trim drops what no frame can begin with any more.
func (b *inbox) trim(want *expected) {
	stop := b.w
	if b.start >= 0 {
		stop = b.start
	}
	for ; b.r < stop; b.r++ {
		rest := b.buf[b.r:b.w]
		if want.function != 0 && rest[0] == want.station && (len(rest) < 2 || rest[1]&^0x80 == want.function) {
			if n := answerBody(rest); n != 0 && n+crcSize > len(rest) {
				return
			}
		}
	}
}

// foreign returns the length of the frame that b begins with; more says that
// one may, once more has come.
func foreign(b []byte) (n int, more bool) {
	for _, n := range [...]int{answerBody(b), requestBody(b)} {
		if n == 0 {
			continue
		}
		if n += crcSize; n > len(b) {
			more = true
		} else if crc(b[:n]) == 0 {
			return n, false
		}
	}
	return 0, more
}
