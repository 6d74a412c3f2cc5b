package modbus

import (
	"encoding/binary"

	lib "github.com/goburrow/modbus"
)

// A body is what a line's frame carries: station, function, data.

const (
	funcDiagnose = 8 // sub-function 0 gives back what it is given
	maxBody      = 1 + maxPDU
	refusalBody  = 3 // station, function with its high bit, code
)

// answerBody returns how long an answer is that begins with b, or as much of
// that as can be seen: more than len(b) says to read on. 0: no answer begins
// like this.
func answerBody(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	switch function := b[1]; function {
	case lib.FuncCodeReadCoils, lib.FuncCodeReadDiscreteInputs, lib.FuncCodeReadHoldingRegisters,
		lib.FuncCodeReadInputRegisters, lib.FuncCodeReadWriteMultipleRegisters:
		if len(b) < 3 {
			return 3
		}
		if n := 3 + int(b[2]); n <= maxBody {
			return n
		}
		return 0
	case lib.FuncCodeMaskWriteRegister:
		return 8
	case funcIdentify:
		n, ok := identitySize(b[1:])
		if !ok {
			return 0
		}
		return 1 + n
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, lib.FuncCodeWriteMultipleCoils,
		lib.FuncCodeWriteMultipleRegisters, funcDiagnose:
		return 6
	default:
		if function&0x80 != 0 && spoken(function&^0x80) {
			return refusalBody
		}
	}
	return 0
}

// spoken reports whether a function is one that has a known form here.
func spoken(function byte) bool {
	switch function {
	case lib.FuncCodeReadCoils, lib.FuncCodeReadDiscreteInputs, lib.FuncCodeReadHoldingRegisters,
		lib.FuncCodeReadInputRegisters, lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister,
		funcDiagnose, lib.FuncCodeWriteMultipleCoils, lib.FuncCodeWriteMultipleRegisters,
		lib.FuncCodeMaskWriteRegister, lib.FuncCodeReadWriteMultipleRegisters, funcIdentify:
		return true
	}
	return false
}

// requestBody is answerBody for a request: what a master sends.
func requestBody(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	counted := func(at int) int { // a byte there says how many follow
		if len(b) <= at {
			return at + 1
		}
		if n := at + 1 + int(b[at]); n <= maxBody {
			return n
		}
		return 0
	}
	switch b[1] {
	case lib.FuncCodeReadCoils, lib.FuncCodeReadDiscreteInputs, lib.FuncCodeReadHoldingRegisters, lib.FuncCodeReadInputRegisters:
		if len(b) >= 6 {
			most := MaxRegisters
			if b[1] <= lib.FuncCodeReadDiscreteInputs {
				most = MaxBits
			}
			if n := int(binary.BigEndian.Uint16(b[4:])); n == 0 || n > most {
				return 0
			}
		}
		return 6
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, funcDiagnose:
		return 6
	case lib.FuncCodeMaskWriteRegister:
		return 8
	case lib.FuncCodeWriteMultipleCoils, lib.FuncCodeWriteMultipleRegisters:
		return counted(6)
	case lib.FuncCodeReadWriteMultipleRegisters:
		return counted(10)
	case funcIdentify:
		if len(b) > 2 && b[2] != meiIdentify {
			return 0
		}
		return 5
	}
	return 0
}

// asks reports whether a whole body can be a master's request, answers whether
// it can be a slave's answer. Some can be either.
func asks(body []byte) bool { return requestBody(body) == len(body) }

func answers(body []byte) bool { return answerBody(body) == len(body) }

// givesBack reports whether the right answer to a function is the request itself.
func givesBack(function byte) bool {
	switch function {
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, lib.FuncCodeMaskWriteRegister, funcDiagnose:
		return true
	}
	return false
}

// writes reports whether a function writes.
func writes(function byte) bool {
	switch function {
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, lib.FuncCodeWriteMultipleCoils,
		lib.FuncCodeWriteMultipleRegisters, lib.FuncCodeMaskWriteRegister, lib.FuncCodeReadWriteMultipleRegisters:
		return true
	}
	return false
}

// shape is what an answer can be told by: its function and length, and of a
// write what it gives back. Two requests of one shape have answers that nobody
// can tell apart.
type shape struct {
	function byte
	size     uint16 // of the PDU; 0: the answer says it itself
	echo     [6]byte
}

// shapeOf returns the shape of the right answer to a request.
func shapeOf(u *unitOptions, adu []byte) shape {
	s := shape{function: adu[7], size: uint16(u.answerSize(adu))}
	switch adu[7] {
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, lib.FuncCodeWriteMultipleCoils,
		lib.FuncCodeWriteMultipleRegisters, lib.FuncCodeMaskWriteRegister, funcDiagnose:
		copy(s.echo[:s.size-1], adu[8:])
	}
	return s
}

// shapeIn returns the shape that an answer has.
func shapeIn(body []byte) shape {
	s := shape{function: body[1], size: uint16(len(body) - 1)}
	switch body[1] {
	case lib.FuncCodeWriteSingleCoil, lib.FuncCodeWriteSingleRegister, lib.FuncCodeWriteMultipleCoils,
		lib.FuncCodeWriteMultipleRegisters, lib.FuncCodeMaskWriteRegister, funcDiagnose:
		copy(s.echo[:], body[2:])
	case funcIdentify:
		s.size = 0
	}
	return s
}

// covers reports whether an answer of shape a, or its refusal, can be to a
// request of shape s.
func (s shape) covers(a shape) bool {
	return s == a || a.function == s.function|0x80 && a.size == 2
}

// inbox is what was received and not made out.
//
// Whose frame begins where is known of the first byte after a pause and of the
// byte after a frame. A foreign frame is looked for only there: anywhere else
// every eight bytes of data would be one more chance for a check sum to fit by
// accident. The answer that is waited for is looked for everywhere, because its
// head must fit as well: noise before it does it no harm.
type inbox struct {
	buf  [1024]byte
	r, w int
	// start is where a frame may begin, r <= start <= w; -1: not known.
	start   int
	garbled bool // something that began like the answer had a wrong check sum, or was cut
	body    [maxBody]byte
}

func (b *inbox) clear() { b.r, b.w, b.start, b.garbled = 0, 0, 0, false }

// space returns where to read to. What is too old to be part of a frame goes.
func (b *inbox) space() []byte {
	if b.r == b.w {
		b.shift(b.w)
	}
	if len(b.buf)-b.w < len(b.buf)/4 {
		b.shift(max(b.r, b.w-len(b.buf)/2-64)) // more than the longest frame of either kind
	}
	return b.buf[b.w:]
}

func (b *inbox) shift(n int) {
	if n == 0 {
		return
	}
	b.w = copy(b.buf[:], b.buf[n:b.w])
	b.r = max(0, b.r-n)
	switch {
	case b.start >= n:
		b.start -= n
	case b.start >= 0:
		b.start = -1
	}
}

// add notes that n bytes more are there; fresh says that a pause was before them.
func (b *inbox) add(n int, fresh bool) {
	if fresh {
		b.start = b.w
	}
	b.w += n
}

// skip goes on behind a frame that ends at n.
func (b *inbox) skip(n int) { b.r, b.start = n, n }

// expected is whose answer is waited for; the zero one is nobody's.
type expected struct {
	station byte
	shape
}

// framer is how bodies stand on a wire: rtu, ascii.
type framer interface {
	// encode appends the frame of a body.
	encode(out, body []byte) []byte
	// next takes the next good frame out of b and returns its body, which lives
	// until the next; false where more has to come. loose looks for foreign
	// frames everywhere.
	next(b *inbox, want *expected, loose bool) ([]byte, bool)
}
