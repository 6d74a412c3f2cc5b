package mqtt

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// errPacket is what the guard answers to a packet that it does not let in.
var errPacket = errors.New("broker sent a packet that is not allowed")

// The packets a broker may send to a client (MQTT 3.1.1, table 2.1).
const (
	typeConnack  = 2
	typePublish  = 3
	typeSuback   = 9
	typeUnsuback = 11
)

var fromBroker = [16]bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 9: true, 11: true, 13: true}

// guard is a connection whose incoming bytes are held against the packet
// structure of MQTT 3.1.1 before the library sees them: no packet longer than
// max is announced to it (it would allocate up to 256 MiB from four bytes), no
// SUBACK with another number of codes than was asked for (it indexes with
// them), no CONNACK code that it does not know (it takes those for success).
type guard struct {
	net.Conn
	max   int
	codes atomic.Int32 // return codes that the one SUBACK must carry

	state  uint8 // what the next byte is
	kind   uint8
	length int
	shift  uint
	body   int // bytes of the body seen
	packet int64
	err    error
}

const (
	atHeader uint8 = iota
	atLength
	atBody
)

// Read lets bytes through up to the first one that may not pass.
func (g *guard) Read(b []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(b)
	if bad := g.check(b[:n]); bad != nil {
		g.err = bad
		_ = g.Conn.Close()
		return 0, bad
	}
	return n, err
}

func (g *guard) check(b []byte) error {
	for len(b) > 0 {
		switch g.state {
		case atHeader:
			g.kind, g.length, g.shift, g.body = b[0]>>4, 0, 0, 0
			if !fromBroker[g.kind] || g.kind == typePublish && b[0]>>1&3 == 3 {
				return fmt.Errorf("%w: type %d, flags %d", errPacket, g.kind, b[0]&15)
			}
			if (g.packet == 0) != (g.kind == typeConnack) {
				return fmt.Errorf("%w: type %d as packet %d", errPacket, g.kind, g.packet+1)
			}
			g.packet++
			g.state, b = atLength, b[1:]
		case atLength:
			g.length |= int(b[0]&127) << g.shift
			if b[0]&128 != 0 {
				if g.shift += 7; g.shift > 21 {
					return fmt.Errorf("%w: length of more than four bytes", errPacket)
				}
				b = b[1:]
				continue
			}
			if err := g.checkLength(); err != nil {
				return err
			}
			g.state, b = atBody, b[1:]
			if g.length == 0 {
				g.state = atHeader
			}
		case atBody:
			n := min(len(b), g.length-g.body)
			if g.kind == typeConnack && g.body <= 1 && g.body+n > 1 && b[1-g.body] > 5 {
				return fmt.Errorf("%w: CONNACK code %d", errPacket, b[1-g.body])
			}
			g.body += n
			b = b[n:]
			if g.body == g.length {
				g.state = atHeader
			}
		}
	}
	return nil
}

func (g *guard) checkLength() error {
	ok := true
	switch g.kind {
	case typePublish:
		ok = g.length >= 2 && g.length <= g.max
	case typeSuback:
		ok = g.length == 2+int(g.codes.Load())
	case 13: // PINGRESP
		ok = g.length == 0
	default:
		ok = g.length == 2
	}
	if !ok {
		return fmt.Errorf("%w: type %d with %d bytes (at most %d)", errPacket, g.kind, g.length, g.max)
	}
	return nil
}
