package modbus

import "bytes"

// ascii frames a body as text: ':', two digits for each byte and for the sum
// that makes all of them 0, CR LF. Whatever stands before ':' is noise.
type ascii struct{}

const digitsHex = "0123456789ABCDEF"

func (ascii) encode(out, body []byte) []byte {
	out = append(out, ':')
	sum := byte(0)
	for _, x := range body {
		sum -= x
		out = append(out, digitsHex[x>>4], digitsHex[x&15])
	}
	return append(out, digitsHex[sum>>4], digitsHex[sum&15], '\r', '\n')
}

func (ascii) next(b *inbox, want *expected, _ bool) ([]byte, bool) {
	for {
		rest := b.buf[b.r:b.w]
		colon := bytes.IndexByte(rest, ':')
		if colon < 0 {
			b.skip(b.w)
			return nil, false
		}
		b.skip(b.r + colon)
		rest = rest[colon+1:]
		end := bytes.IndexByte(rest, '\n')
		again := bytes.IndexByte(rest, ':')
		if again >= 0 && (end < 0 || again < end) { // the frame before was cut
			b.garbled = true
			b.skip(b.r + 1 + again)
			continue
		}
		if end < 0 {
			if len(rest) > 2*(maxBody+1)+1 {
				b.skip(b.r + 1)
				continue
			}
			return nil, false
		}
		b.skip(b.r + 1 + end + 1)
		if n, ok := b.unhex(rest[:end]); ok {
			return b.body[:n], true
		}
		b.garbled = b.garbled || want.function != 0
	}
}

// unhex decodes the text of a frame, with its CR, into b.body.
func (b *inbox) unhex(text []byte) (n int, ok bool) {
	text, ok = bytes.CutSuffix(text, []byte{'\r'})
	if !ok || len(text)%2 != 0 || len(text) < 2*3 || len(text) > 2*(maxBody+1) {
		return 0, false
	}
	sum := byte(0)
	for i := 0; i < len(text); i += 2 {
		high, low := digit(text[i]), digit(text[i+1])
		if high > 15 || low > 15 {
			return 0, false
		}
		x := high<<4 | low
		sum += x
		if n = i / 2; n < maxBody {
			b.body[n] = x
		}
	}
	return n, sum == 0
}

// digit returns the value of a digit; more than 15: it is none. Small letters
// are no digits of the protocol, but of some devices.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}
