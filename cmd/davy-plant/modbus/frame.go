package modbus

import (
	"encoding/binary"

	"davy/drivers/tag"
)

// Sizes of the protocol (Modbus application protocol 1.1b3, messaging on TCP/IP 1.0b).
const (
	headSize      = 7 // transaction, protocol, length, unit
	maxPDU        = 253
	maxReadBits   = 2000
	maxReadWords  = 125
	maxWriteBits  = 1968
	maxWriteWords = 123
	addresses     = 65536
)

// Functions that are answered; any other gets IllegalFunction.
const (
	ReadCoils     = 1
	ReadDiscretes = 2
	ReadHoldings  = 3
	ReadInputs    = 4
	WriteCoil     = 5
	WriteHolding  = 6
	WriteCoils    = 15
	WriteHoldings = 16
)

// Exception is a Modbus exception code; 0 is none.
type Exception byte

// The exceptions that the server itself gives, and those a Device may want.
const (
	IllegalFunction  Exception = 1
	IllegalAddress   Exception = 2
	IllegalValue     Exception = 3
	DeviceFailure    Exception = 4
	DeviceBusy       Exception = 6
	TargetNoResponse Exception = 11
)

// Request is one request in order: Count and the address range were checked.
type Request struct {
	Conn     uint64
	At       tag.Stamp // when its last byte had been read
	Unit     byte
	Function byte
	Address  int
	Count    int
	Bits     []bool   // of functions 5 and 15
	Words    []uint16 // of functions 6 and 16
}

// Write reports whether r writes.
func (r Request) Write() bool { return r.Function >= WriteCoil }

// pduSize returns the length of the PDU that follows head, -1 if head is not Modbus TCP.
func pduSize(head [headSize]byte) int {
	protocol, length := binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[4:]))
	if protocol != 0 || length < 2 || length > maxPDU+1 {
		return -1
	}
	return length - 1
}

// parse reads a PDU and says which exception it deserves, 0 if none.
func parse(head [headSize]byte, pdu []byte) (Request, Exception) {
	r := Request{Unit: head[6], Function: pdu[0]}
	data := pdu[1:]
	switch r.Function {
	case ReadCoils, ReadDiscretes, ReadHoldings, ReadInputs, WriteCoil, WriteHolding, WriteCoils, WriteHoldings:
	default:
		return r, IllegalFunction
	}
	if len(data) < 4 {
		return r, IllegalValue
	}
	r.Address = int(binary.BigEndian.Uint16(data))
	arg := binary.BigEndian.Uint16(data[2:])
	rest := data[4:]
	limit := 0
	switch r.Function {
	case WriteCoil:
		if len(rest) != 0 || arg != 0 && arg != 0xFF00 {
			return r, IllegalValue
		}
		r.Count, r.Bits = 1, []bool{arg != 0}
		return r, 0
	case WriteHolding:
		if len(rest) != 0 {
			return r, IllegalValue
		}
		r.Count, r.Words = 1, []uint16{arg}
		return r, 0
	case ReadCoils, ReadDiscretes:
		limit = maxReadBits
	case ReadHoldings, ReadInputs:
		limit = maxReadWords
	case WriteCoils:
		limit = maxWriteBits
	case WriteHoldings:
		limit = maxWriteWords
	}
	r.Count = int(arg)
	if r.Count < 1 || r.Count > limit {
		return r, IllegalValue
	}
	size := 0 // of the data after the byte count
	switch r.Function {
	case WriteCoils:
		size = (r.Count + 7) / 8
	case WriteHoldings:
		size = 2 * r.Count
	}
	if size == 0 && len(rest) != 0 || size > 0 && (len(rest) != size+1 || int(rest[0]) != size) {
		return r, IllegalValue
	}
	if r.Address+r.Count > addresses {
		return r, IllegalAddress
	}
	switch r.Function {
	case WriteCoils:
		r.Bits = make([]bool, r.Count)
		for i := range r.Bits {
			r.Bits[i] = rest[1+i/8]>>(i%8)&1 == 1
		}
	case WriteHoldings:
		r.Words = make([]uint16, r.Count)
		for i := range r.Words {
			r.Words[i] = binary.BigEndian.Uint16(rest[1+2*i:])
		}
	}
	return r, 0
}

// encode makes the frame that answers r.
func encode(head [headSize]byte, r Request, rep Reply) []byte {
	f := make([]byte, headSize, headSize+maxPDU)
	copy(f, head[:])
	fc := r.Function
	if rep.Function != 0 {
		fc = rep.Function
	}
	switch {
	case rep.Exception != 0:
		f = append(f, fc|0x80, byte(rep.Exception))
	case r.Function == ReadCoils, r.Function == ReadDiscretes:
		data := make([]byte, (r.Count+7)/8)
		for i, on := range rep.Bits {
			if on {
				data[i/8] |= 1 << (i % 8)
			}
		}
		data = data[:max(0, len(data)-rep.Cut)]
		f = append(append(f, fc, byte(len(data))), data...)
	case r.Function == ReadHoldings, r.Function == ReadInputs:
		data := make([]byte, 0, 2*r.Count)
		for _, w := range rep.Words {
			data = binary.BigEndian.AppendUint16(data, w)
		}
		data = data[:max(0, len(data)-rep.Cut)]
		f = append(append(f, fc, byte(len(data))), data...)
	case r.Function == WriteCoil, r.Function == WriteHolding:
		arg := uint16(0)
		if r.Function == WriteHolding {
			arg = r.Words[0]
		} else if r.Bits[0] {
			arg = 0xFF00
		}
		f = append(f, fc)
		f = binary.BigEndian.AppendUint16(f, uint16(r.Address))
		f = binary.BigEndian.AppendUint16(f, arg)
		f = f[:len(f)-min(rep.Cut, 4)]
	default:
		f = append(f, fc)
		f = binary.BigEndian.AppendUint16(f, uint16(r.Address))
		f = binary.BigEndian.AppendUint16(f, uint16(r.Count))
		f = f[:len(f)-min(rep.Cut, 4)]
	}
	binary.BigEndian.PutUint16(f[4:], uint16(len(f)-headSize+1))
	return f
}
