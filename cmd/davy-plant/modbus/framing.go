package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"time"
)

// Framing is how a PDU is wrapped.
type Framing int

// The framings. RTU and ASCII may be on a line or on a connection.
const (
	TCP Framing = iota
	RTU
	ASCII
)

// What a frame is made of (messaging on TCP/IP 1.0b; serial line 1.02).
const (
	headSize = 7   // of Modbus TCP: transaction, protocol, length, unit
	maxRTU   = 256 // address, PDU, CRC
	maxASCII = 1 + 2*(1+maxPDU+1) + 2
)

// StillAfter is the pause after which another frame may begin, whatever was
// heard of the last. It is far longer than the 1.5 characters of the
// specification, because a program is not woken that exactly; and because it may
// be woken later still, a frame that makes sense across the pause is one.
const StillAfter = 100 * time.Millisecond

// errNotModbus ends a connection: nothing after it can be trusted either.
var errNotModbus = errors.New("not Modbus TCP")

// adu is a request as it came.
type adu struct {
	head [headSize]byte // of Modbus TCP
	unit byte
	pdu  []byte // lives until the next call of next
}

// reader takes frames from a stream. On a connection of Modbus TCP what is no
// frame is an error; RTU and ASCII forget it, as stations on a line do.
type reader struct {
	from    io.Reader
	framing Framing
	buf     []byte // RTU and ASCII: heard and not used
	mark    int    // where in buf another frame may begin; 0: nowhere
	fresh   [maxASCII]byte
	last    time.Time
	body    [maxPDU + 2]byte
}

func (r *reader) next() (adu, error) {
	if r.framing == TCP {
		return r.tcp()
	}
	for {
		if f, ok := r.take(); ok {
			return f, nil
		}
		n, err := r.from.Read(r.fresh[:])
		if err != nil {
			return adu{}, err
		}
		now := time.Now()
		if now.Sub(r.last) > StillAfter {
			r.mark = len(r.buf)
		}
		r.last = now
		r.buf = append(r.buf, r.fresh[:n]...)
	}
}

func (r *reader) tcp() (f adu, err error) {
	if _, err := io.ReadFull(r.from, f.head[:]); err != nil {
		return f, err
	}
	protocol, length := word(f.head[2:]), word(f.head[4:])
	if protocol != 0 || length < 2 || length > maxPDU+1 {
		return f, errNotModbus
	}
	f.unit, f.pdu = f.head[6], r.body[:length-1]
	_, err = io.ReadFull(r.from, f.pdu)
	return f, err
}

// take finds a whole frame in what was heard.
func (r *reader) take() (adu, bool) {
	if r.framing == ASCII {
		return r.ascii()
	}
	for _, from := range []int{0, r.mark} {
		if f, n := whole(r.buf[from:]); n > 0 {
			r.buf, r.mark = r.buf[from+n:], 0
			return f, true
		}
	}
	if n := requestSize(r.buf); len(r.buf) > maxRTU || n > maxRTU || n > 0 && len(r.buf) >= n {
		r.buf, r.mark = r.buf[r.mark:], 0 // with a bad sum it was for nobody, and what follows at once with it
		if n := requestSize(r.buf); len(r.buf) > maxRTU || n > maxRTU || n > 0 && len(r.buf) >= n {
			r.buf = r.buf[:0]
		}
	}
	return adu{}, false
}

// whole takes the RTU request that begins b and returns its length, 0 where
// there is none.
func whole(b []byte) (adu, int) {
	n := requestSize(b)
	if n == 0 { // of a function that is not known here: whole when its sum fits
		n = len(b)
	}
	if n < 4 || n > len(b) || n > maxRTU {
		return adu{}, 0
	}
	if f, ok := rtu(b[:n]); ok {
		return f, n
	}
	return adu{}, 0
}

// requestSize returns the length of the RTU request that begins b: -1 while too
// little is there to tell, 0 where its function is not known.
func requestSize(b []byte) int {
	if len(b) < 2 {
		return -1
	}
	counted := func(at int) int {
		if len(b) <= at {
			return -1
		}
		return at + 1 + int(b[at]) + 2
	}
	switch b[1] {
	case ReadCoils, ReadDiscretes, ReadHoldings, ReadInputs, WriteCoil, WriteHolding:
		return 8
	case WriteCoils, WriteHoldings:
		return counted(6)
	case MaskHolding:
		return 10
	case ReadWrite:
		return counted(10)
	case Identify:
		return 7
	}
	return 0
}

// rtu unwraps one frame whose sum fits.
func rtu(b []byte) (adu, bool) {
	n := len(b) - 2
	if sum(b[:n]) != binary.LittleEndian.Uint16(b[n:]) {
		return adu{}, false
	}
	return adu{unit: b[0], pdu: b[1:n]}, true
}

// ascii finds a line from its colon to its line feed.
func (r *reader) ascii() (adu, bool) {
	for {
		from := bytes.IndexByte(r.buf, ':')
		to := bytes.IndexByte(r.buf, '\n')
		switch {
		case from < 0 && len(r.buf) > 0, len(r.buf) > 2*maxASCII:
			r.buf = r.buf[:0]
			return adu{}, false
		case to < 0:
			return adu{}, false
		}
		line := r.buf[:to]
		r.buf = r.buf[to+1:]
		line = line[bytes.LastIndexByte(line, ':')+1:]
		raw, err := hex.DecodeString(string(bytes.TrimSuffix(line, []byte("\r"))))
		if err != nil || len(raw) < 3 || len(raw) > maxPDU+2 || checksum(raw) != 0 {
			continue
		}
		n := copy(r.body[:], raw)
		return adu{unit: r.body[0], pdu: r.body[1 : n-1]}, true
	}
}

// wrap makes the frame that carries pdu from a unit.
func (f Framing) wrap(head [headSize]byte, unit byte, pdu []byte) []byte {
	switch f {
	case RTU:
		b := append([]byte{unit}, pdu...)
		return binary.LittleEndian.AppendUint16(b, sum(b))
	case ASCII:
		b := append([]byte{unit}, pdu...)
		b = append(b, -checksum(b))
		return append(append([]byte(":"), bytes.ToUpper(hex.AppendEncode(nil, b))...), "\r\n"...)
	}
	b := append(head[:headSize:headSize], pdu...)
	binary.BigEndian.PutUint16(b[4:], uint16(1+len(pdu)))
	b[6] = unit
	return b
}

// spoil makes a frame one that nobody may believe: on a connection another
// protocol, on a line a byte that its sum does not cover.
func (f Framing) spoil(b []byte) {
	switch f {
	case TCP:
		b[2] ^= 0x5A
	case RTU:
		b[len(b)/2] ^= 0x24
	case ASCII:
		if i := len(b) / 2; b[i] == '3' {
			b[i] = '4'
		} else {
			b[i] = '3'
		}
	}
}

// sum is the CRC of RTU: 0xA001 reflected, from 0xFFFF.
func sum(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, x := range b {
		crc ^= uint16(x)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			if odd == 1 {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// checksum adds up the bytes; a frame of ASCII with its LRC makes 0.
func checksum(b []byte) (s byte) {
	for _, x := range b {
		s += x
	}
	return s
}
