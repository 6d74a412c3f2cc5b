package device

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Framing is how requests and answers stand on the wire.
type Framing uint8

// The framings.
const (
	MBAP Framing = iota // Modbus TCP
	RTU
	ASCII
)

// String returns the framing's name.
func (f Framing) String() string { return [...]string{"mbap", "rtu", "ascii"}[f] }

var errFrame = errors.New("this is no frame")

// receive reads one request and returns it in the form of Modbus TCP. On a line
// it looks for the next request where one is no frame.
func (f Framing) receive(r *bufio.Reader) ([]byte, error) {
	switch f {
	case RTU:
		return receiveRTU(r)
	case ASCII:
		return receiveASCII(r)
	}
	head := make([]byte, 7, 260)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[4:])) - 1
	if n < 1 || n > 253 {
		return nil, errFrame
	}
	_, err := io.ReadFull(r, head[7:7+n])
	return head[:7+n], err
}

func receiveRTU(r *bufio.Reader) ([]byte, error) {
	for {
		head, err := r.Peek(2)
		if err != nil {
			return nil, err
		}
		n, more := 8, 0
		switch head[1] {
		case 15, 16:
			n, more = 9, 6
		case 22:
			n = 10
		case 23:
			n, more = 13, 10
		case 43:
			n = 7
		}
		if more > 0 {
			if head, err = r.Peek(more + 1); err != nil {
				return nil, err
			}
			n += int(head[more])
		}
		b, err := r.Peek(n)
		if err != nil {
			return nil, err
		}
		if checksum(b[:n-2]) == binary.LittleEndian.Uint16(b[n-2:]) {
			out := body(b[:n-2])
			_, err = r.Discard(n)
			return out, err
		}
		if _, err = r.Discard(1); err != nil {
			return nil, err
		}
	}
}

func receiveASCII(r *bufio.Reader) ([]byte, error) {
	for {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		at := bytes.LastIndexByte(text, ':')
		if at < 0 || !bytes.HasSuffix(text, []byte("\r\n")) {
			continue
		}
		b, err := hex.DecodeString(string(text[at+1 : len(text)-2]))
		if err != nil || len(b) < 3 || sum(b) != 0 {
			continue
		}
		return body(b[:len(b)-1]), nil
	}
}

// body puts a station and its PDU into the form of Modbus TCP.
func body(b []byte) []byte {
	out := make([]byte, 6, 6+len(b))
	binary.BigEndian.PutUint16(out[4:], uint16(len(b)))
	return append(out, b...)
}

// wire returns an answer in the form of Modbus TCP as it stands on the wire.
func (f Framing) wire(answer []byte) []byte {
	switch b := answer[6:]; f {
	case RTU:
		return binary.LittleEndian.AppendUint16(bytes.Clone(b), checksum(b))
	case ASCII:
		return fmt.Appendf(nil, ":%X%02X\r\n", b, -sum(b))
	}
	return answer
}

// checksum is the CRC of RTU, computed bit by bit.
func checksum(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low == 1 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}

// sum is what the LRC of ASCII makes 0.
func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}
