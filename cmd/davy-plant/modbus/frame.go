package modbus

import (
	"encoding/binary"

	"davy/drivers/tag"
)

// Sizes of the protocol (Modbus application protocol 1.1b3).
const (
	maxPDU        = 253
	maxReadBits   = 2000
	maxReadWords  = 125
	maxWriteBits  = 1968
	maxWriteWords = 123
	maxBothWords  = 121 // written by function 23
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
	MaskHolding   = 22
	ReadWrite     = 23
	Identify      = 43 // with 14: device identification
)

// identity is the MEI type of Identify.
const identity = 14

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
	Words    []uint16 // of functions 6, 16 and 23; of 22 the AND and the OR mask
	Into     int      // where function 23 writes; Address and Count are what it reads
	Object   byte     // of function 43: the first object asked for
	Code     byte     // of function 43: 1 basic, 2 regular, 3 extended, 4 one object
}

// Write reports whether r writes.
func (r Request) Write() bool { return r.Function >= WriteCoil && r.Function != Identify }

// parse reads a PDU of at least one byte and says which exception it deserves, 0 if none.
func parse(unit byte, pdu []byte) (Request, Exception) {
	r := Request{Unit: unit, Function: pdu[0]}
	data := pdu[1:]
	switch r.Function {
	case ReadCoils, ReadDiscretes, ReadHoldings, ReadInputs:
		return r.read(data)
	case WriteCoil, WriteHolding:
		return r.one(data)
	case WriteCoils, WriteHoldings:
		return r.many(data)
	case MaskHolding:
		if len(data) != 6 {
			return r, IllegalValue
		}
		r.Address, r.Count = word(data), 1
		r.Words = []uint16{uint16(word(data[2:])), uint16(word(data[4:]))}
		return r, 0
	case ReadWrite:
		return r.both(data)
	case Identify:
		if len(data) != 3 || data[0] != identity {
			return r, IllegalFunction
		}
		r.Code, r.Object = data[1], data[2]
		if r.Code < 1 || r.Code > 4 {
			return r, IllegalValue
		}
		return r, 0
	}
	return r, IllegalFunction
}

func word(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// within checks a range of addresses.
func within(addr, count, limit int) Exception {
	switch {
	case count < 1 || count > limit:
		return IllegalValue
	case addr+count > addresses:
		return IllegalAddress
	}
	return 0
}

func (r Request) read(data []byte) (Request, Exception) {
	if len(data) != 4 {
		return r, IllegalValue
	}
	limit := maxReadWords
	if r.Function <= ReadDiscretes {
		limit = maxReadBits
	}
	r.Address, r.Count = word(data), word(data[2:])
	return r, within(r.Address, r.Count, limit)
}

func (r Request) one(data []byte) (Request, Exception) {
	if len(data) != 4 {
		return r, IllegalValue
	}
	r.Address, r.Count = word(data), 1
	arg := uint16(word(data[2:]))
	switch {
	case r.Function == WriteHolding:
		r.Words = []uint16{arg}
	case arg != 0 && arg != 0xFF00:
		return r, IllegalValue
	default:
		r.Bits = []bool{arg != 0}
	}
	return r, 0
}

func (r Request) many(data []byte) (Request, Exception) {
	if len(data) < 5 {
		return r, IllegalValue
	}
	r.Address, r.Count = word(data), word(data[2:])
	limit, size := maxWriteWords, 2*r.Count
	if r.Function == WriteCoils {
		limit, size = maxWriteBits, (r.Count+7)/8
	}
	values := data[5:]
	if e := within(r.Address, r.Count, limit); e == IllegalValue || len(values) != size || int(data[4]) != size {
		return r, IllegalValue
	} else if e != 0 {
		return r, e
	}
	if r.Function == WriteHoldings {
		r.Words = words(values)
		return r, 0
	}
	r.Bits = make([]bool, r.Count)
	for i := range r.Bits {
		r.Bits[i] = values[i/8]>>(i%8)&1 == 1
	}
	return r, 0
}

func (r Request) both(data []byte) (Request, Exception) {
	if len(data) < 9 {
		return r, IllegalValue
	}
	r.Address, r.Count, r.Into = word(data), word(data[2:]), word(data[4:])
	n := word(data[6:])
	values := data[9:]
	if r.Count < 1 || r.Count > maxReadWords || n < 1 || n > maxBothWords || int(data[8]) != 2*n || len(values) != 2*n {
		return r, IllegalValue
	}
	if e := within(r.Into, n, maxBothWords); e != 0 {
		return r, e
	}
	r.Words = words(values)
	return r, within(r.Address, r.Count, maxReadWords)
}

func words(b []byte) []uint16 {
	w := make([]uint16, len(b)/2)
	for i := range w {
		w[i] = uint16(word(b[2*i:]))
	}
	return w
}

// answer makes the PDU that answers r.
func answer(r Request, rep Reply) []byte {
	fc := r.Function
	if rep.Function != 0 {
		fc = rep.Function
	}
	f := make([]byte, 0, maxPDU)
	if rep.Exception != 0 {
		return append(f, fc|0x80, byte(rep.Exception))
	}
	switch r.Function {
	case ReadCoils, ReadDiscretes:
		data := make([]byte, (r.Count+7)/8)
		for i, on := range rep.Bits {
			if on {
				data[i/8] |= 1 << (i % 8)
			}
		}
		return counted(append(f, fc), data, rep)
	case ReadHoldings, ReadInputs, ReadWrite:
		data := make([]byte, 0, 2*r.Count)
		for _, w := range rep.Words {
			data = binary.BigEndian.AppendUint16(data, w)
		}
		return counted(append(f, fc), data, rep)
	case Identify:
		f = append(f, fc, identity, r.Code, 0x81, 0, 0, byte(len(rep.Objects)))
		for i, text := range rep.Objects {
			text = text[:min(len(text), 60)]
			f = append(append(f, byte(i), byte(len(text))), text...)
		}
		return f
	}
	f = append(f, fc)
	f = binary.BigEndian.AppendUint16(f, uint16(r.Address))
	switch r.Function {
	case WriteCoil:
		arg := uint16(0)
		if r.Bits[0] {
			arg = 0xFF00
		}
		f = binary.BigEndian.AppendUint16(f, arg)
	case WriteHolding:
		f = binary.BigEndian.AppendUint16(f, r.Words[0])
	case MaskHolding:
		f = binary.BigEndian.AppendUint16(f, r.Words[0])
		f = binary.BigEndian.AppendUint16(f, r.Words[1])
	default:
		f = binary.BigEndian.AppendUint16(f, uint16(r.Count))
	}
	f = f[:len(f)-min(rep.Cut, len(f)-1)]
	return append(f, make([]byte, rep.Extra)...)
}

// counted appends data behind its count, shorter or longer as the reply wants.
func counted(f, data []byte, rep Reply) []byte {
	data = data[:max(0, len(data)-rep.Cut)]
	data = append(data, make([]byte, min(rep.Extra, maxPDU-2-len(data)))...)
	return append(append(f, byte(len(data))), data...)
}
