package hj212

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// What the standard says of a frame (6.3.1, table 2).
const (
	MaxSegment = 1024  // bytes of a data segment; a longer one is counted and passed over
	frameHead  = 2 + 4 // "##" and the length
	frameTail  = 4 + 2 // the CRC and CR LF
	maxFrame   = frameHead + 1024 + frameTail
)

// CRC is the checksum of appendix A over a data segment. It is not the one of
// Modbus: the byte meets the high half of the register, shifted down.
func CRC(segment []byte) uint16 {
	reg := uint16(0xffff)
	for _, b := range segment {
		reg = reg>>8 ^ uint16(b)
		for range 8 {
			low := reg & 1
			reg >>= 1
			if low == 1 {
				reg ^= 0xa001
			}
		}
	}
	return reg
}

// AppendFrame appends the frame of a data segment, which is at most MaxSegment
// bytes long.
func AppendFrame(dst, segment []byte) []byte {
	if len(segment) > MaxSegment {
		panic("BUG: hj212: data segment is too long")
	}
	dst = fmt.Appendf(dst, "##%04d", len(segment))
	dst = append(dst, segment...)
	return fmt.Appendf(dst, "%04X\r\n", CRC(segment))
}

// Noise counts what came and was no frame.
type Noise struct {
	Garbage uint64 // bytes that belong to no frame, those of a frame that was given up among them
	Lengths uint64 // the length is no number, or the frame ends elsewhere
	TooLong uint64 // the length is above MaxSegment
	CRCs    uint64 // the checksum is another
}

// Splitter finds frames in a stream, whatever pieces it comes in. It holds at
// most one frame. Where something is wrong it looks on from the byte after the
// "##": of a frame with a wrong length the next one is not lost.
type Splitter struct {
	buf   []byte
	Noise Noise
}

// Feed takes the next bytes and calls f with the data segment of each frame
// that they complete; f must not keep it.
func (s *Splitter) Feed(b []byte, f func(segment []byte)) {
	for len(b) > 0 {
		n := min(len(b), maxFrame-len(s.buf))
		s.buf = append(s.buf, b[:n]...)
		b = b[n:]
		s.scan(f)
	}
}

// scan takes frames and garbage off the front until a part of a frame is left;
// that is always shorter than maxFrame.
func (s *Splitter) scan(f func([]byte)) {
	rest := s.buf
	drop := func(n int) {
		s.Noise.Garbage += uint64(n)
		rest = rest[n:]
	}
	for len(rest) > 0 {
		at := bytes.Index(rest, []byte("##"))
		switch {
		case at > 0:
			drop(at)
		case at < 0 && rest[len(rest)-1] == '#':
			drop(len(rest) - 1)
		case at < 0:
			drop(len(rest))
		}
		if len(rest) < frameHead {
			break
		}
		n, ok := decimal(rest[2:frameHead])
		switch {
		case !ok:
			s.Noise.Lengths++
			drop(1) // the second # may begin the frame: ###0101
			continue
		case n > MaxSegment:
			s.Noise.TooLong++
			drop(2)
			continue
		}
		// No line ends within a frame: one that comes too early says that the
		// length is wrong without waiting for the rest.
		body := rest[frameHead:min(len(rest), frameHead+n+4)]
		if bytes.ContainsAny(body, "\r\n") || !bytes.HasPrefix([]byte("\r\n"), rest[min(len(rest), frameHead+n+4):min(len(rest), frameHead+n+frameTail)]) {
			s.Noise.Lengths++
			drop(2)
			continue
		}
		if len(rest) < frameHead+n+frameTail {
			break
		}
		segment := rest[frameHead : frameHead+n]
		var sum [2]byte
		if _, err := hex.Decode(sum[:], body[n:]); err != nil || uint16(sum[0])<<8|uint16(sum[1]) != CRC(segment) {
			s.Noise.CRCs++
			drop(2)
			continue
		}
		f(segment)
		rest = rest[frameHead+n+frameTail:]
	}
	s.buf = append(s.buf[:0], rest...)
}

func decimal(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(b) > 0
}
