package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"

	lib "github.com/goburrow/modbus"
)

const (
	header = 7 // transaction 2, protocol 2, length 2, unit 1
	maxPDU = 253
	maxADU = header + maxPDU
)

// exception is a device's refusal, by its code in the protocol.
type exception byte

var exceptions = map[exception]string{
	lib.ExceptionCodeIllegalFunction:                    "illegal function",
	lib.ExceptionCodeIllegalDataAddress:                 "illegal data address",
	lib.ExceptionCodeIllegalDataValue:                   "illegal data value",
	lib.ExceptionCodeServerDeviceFailure:                "device failure",
	lib.ExceptionCodeAcknowledge:                        "acknowledged, still busy with it",
	lib.ExceptionCodeServerDeviceBusy:                   "device busy",
	lib.ExceptionCodeMemoryParityError:                  "memory parity error",
	lib.ExceptionCodeGatewayPathUnavailable:             "gateway has no path",
	lib.ExceptionCodeGatewayTargetDeviceFailedToRespond: "no answer behind the gateway",
}

func (e exception) Error() string {
	if s, ok := exceptions[e]; ok {
		return fmt.Sprintf("exception %d (%s)", byte(e), s)
	}
	return fmt.Sprintf("exception %d", byte(e))
}

var (
	// errNonsense is an answer that is not one to its request.
	errNonsense = errors.New("nonsense")
	// errLength is an answer of the wrong length, which some devices give to an
	// address they do not have.
	errLength = fmt.Errorf("%w: length", errNonsense)
	// errFraming is a stream that cannot be followed any more.
	errFraming = errors.New("framing lost")
)

// packager is our Packager for goburrow's builders: it frames a request
// without a transaction id (the link gives one) and checks an answer.
type packager struct{ station byte }

// Encode frames pdu with transaction id 0.
func (k packager) Encode(pdu *lib.ProtocolDataUnit) ([]byte, error) {
	n := 1 + len(pdu.Data)
	if header+n > maxADU {
		return nil, fmt.Errorf("request of %d bytes is longer than %d", header+n, maxADU)
	}
	adu := make([]byte, header+n)
	binary.BigEndian.PutUint16(adu[4:], uint16(1+n))
	adu[6] = k.station
	adu[7] = pdu.FunctionCode
	copy(adu[8:], pdu.Data)
	return adu, nil
}

// Decode takes the frame off.
func (packager) Decode(adu []byte) (*lib.ProtocolDataUnit, error) {
	if len(adu) <= header {
		return nil, fmt.Errorf("%w: answer of %d bytes", errNonsense, len(adu))
	}
	return &lib.ProtocolDataUnit{FunctionCode: adu[header], Data: adu[header+1:]}, nil
}

// Verify returns nil only where answer is a complete answer to request or an exception.
func (packager) Verify(request, answer []byte) error {
	_, err := check(request, answer)
	if _, ok := err.(exception); ok {
		return nil
	}
	return err
}

// answerSize returns how many bytes the PDU of the right answer to a request
// has, its function byte included; an exception has two. 0: the answer says
// itself (identification), see identitySize. u may be nil.
func (u *unitOptions) answerSize(adu []byte) int {
	switch adu[7] {
	case lib.FuncCodeReadCoils, lib.FuncCodeReadDiscreteInputs, lib.FuncCodeReadHoldingRegisters,
		lib.FuncCodeReadInputRegisters, lib.FuncCodeReadWriteMultipleRegisters:
		return 2 + u.dataSize(adu)
	case lib.FuncCodeMaskWriteRegister:
		return 7
	case funcIdentify:
		return 0
	}
	return 5
}

// dataSize returns how many bytes of data the right answer to a read has.
func (u *unitOptions) dataSize(adu []byte) int {
	quantity := int(binary.BigEndian.Uint16(adu[10:]))
	if adu[7] <= lib.FuncCodeReadDiscreteInputs {
		return (quantity + 7) / 8
	}
	return quantity * u.registerBytes()
}

// check compares an answer with its request, everything: transaction,
// protocol, length, unit, function, count of data, echo of a write. It returns
// the data of a read. The error is an exception, or wraps errNonsense.
func check(request, answer []byte) ([]byte, error) {
	return (*unitOptions)(nil).check(request, answer)
}

// check is check for a device with these options; u may be nil.
func (u *unitOptions) check(request, answer []byte) ([]byte, error) {
	if len(answer) < header+2 || int(binary.BigEndian.Uint16(answer[4:])) != len(answer)-6 {
		return nil, fmt.Errorf("%w of the frame, %d bytes", errLength, len(answer))
	}
	if answer[0] != request[0] || answer[1] != request[1] || answer[2] != 0 || answer[3] != 0 {
		return nil, fmt.Errorf("%w: transaction or protocol", errNonsense)
	}
	if answer[6] != request[6] && (u == nil || !u.anyUnit) {
		return nil, fmt.Errorf("%w: answer of unit %d", errNonsense, answer[6])
	}
	function, data := request[7], answer[8:]
	if answer[7] == function|0x80 {
		if len(data) != 1 {
			return nil, fmt.Errorf("%w of the exception, %d bytes", errLength, len(data))
		}
		return nil, exception(data[0])
	}
	if answer[7] != function {
		return nil, fmt.Errorf("%w: function %d in answer to function %d", errNonsense, answer[7], function)
	}
	switch function {
	case lib.FuncCodeReadCoils, lib.FuncCodeReadDiscreteInputs, lib.FuncCodeReadHoldingRegisters,
		lib.FuncCodeReadInputRegisters, lib.FuncCodeReadWriteMultipleRegisters:
		size := u.dataSize(request)
		if int(data[0]) != len(data)-1 || len(data)-1 != size {
			return nil, fmt.Errorf("%w of the data, %d bytes for %d", errLength, len(data)-1, size)
		}
		return data[1:], nil
	case funcIdentify:
		if n, ok := identitySize(answer[7:]); !ok || n != len(answer)-7 || data[1] != request[9] {
			return nil, fmt.Errorf("%w: % x is no identification", errNonsense, answer[7:])
		}
		return data, nil
	}
	// A write: address and value, or address and quantity, come back; of a mask
	// write address and both masks.
	n := 4
	if function == lib.FuncCodeMaskWriteRegister {
		n = 6
	}
	if len(data) != n || string(data) != string(request[8:8+n]) {
		return nil, fmt.Errorf("%w: the echo is not what was written", errNonsense)
	}
	return data, nil
}

// compiled is the Transporter that keeps a request's bytes instead of sending them.
type compiled struct{ adu []byte }

var errCompiled = errors.New("compiled")

func (c *compiled) Send(adu []byte) ([]byte, error) {
	c.adu = adu
	return nil, errCompiled
}

// frame has goburrow's client build a request and returns its bytes.
func frame(station byte, build func(lib.Client) ([]byte, error)) []byte {
	var c compiled
	if _, err := build(lib.NewClient2(packager{station}, &c)); err != errCompiled {
		panic(fmt.Sprintf("BUG: modbus: a request that cannot be: %v", err))
	}
	return c.adu
}

// readFrame is the request that reads quantity registers or bits.
func readFrame(station byte, t Table, first uint16, quantity int) []byte {
	return frame(station, func(c lib.Client) ([]byte, error) {
		read := [...]func(uint16, uint16) ([]byte, error){c.ReadCoils, c.ReadDiscreteInputs, c.ReadInputRegisters, c.ReadHoldingRegisters}
		return read[t](first, uint16(quantity))
	})
}
