package device

import (
	"encoding/binary"
	"time"
)

// reply sends an answer as the fault has it. An error ends the connection.
func (s *session) reply(fault Fault, code byte, request, answer []byte) error {
	s.mu.Lock()
	last := s.last
	s.last = answer
	s.mu.Unlock()
	exception := func(code byte) []byte { return frame(request, []byte{request[7] | 0x80, code}) }
	switch fault {
	case None:
		return s.send(answer)
	case Silent, Mute, Deaf, HalfOpen:
		return nil
	case Refuse:
		return s.send(exception(code))
	case Garbled:
		noise := append([]byte(nil), s.d.Framing.wire(answer)...)
		for i := range noise {
			noise[i] ^= 0xa5
		}
		return s.put(noise)
	case Short:
		return s.send(resize(request, answer, -4))
	case Long:
		return s.send(resize(request, answer, 4))
	case Truncated:
		wire := s.d.Framing.wire(answer)
		return s.put(wire[:len(wire)-1])
	case Empty:
		return s.send(frame(request, []byte{request[7], 0}))
	case WrongUnit:
		answer[6]++
		return s.send(answer)
	case WrongFunction:
		answer[7] ^= 7 // 3 and 4 become each other, and so on
		return s.send(answer)
	case WrongProtocol:
		answer[3] = 1
		return s.send(answer)
	case LateBefore:
		if !s.pause(s.d.Late) {
			return errOver
		}
		return s.send(answer)
	case LateDuring:
		s.wg.Go(func() {
			if s.pause(s.d.Late) {
				// An error shows in the reading half of the connection as well.
				s.send(answer) //nolint:errcheck
			}
		})
		return nil
	case Double:
		if err := s.send(answer); err != nil {
			return err
		}
		return s.send(answer)
	case Ahead:
		next := append([]byte(nil), answer...)
		binary.BigEndian.PutUint16(next, binary.BigEndian.Uint16(answer)+1)
		if err := s.send(answer); err != nil {
			return err
		}
		return s.send(next)
	case Swapped:
		if last == nil {
			return nil
		}
		return s.send(last)
	case Bytewise:
		wire := s.d.Framing.wire(answer)
		for i := range wire {
			if err := s.put(wire[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	case Reset:
		reset(s.conn)
		return errOver
	case CloseFirst:
		wire := s.d.Framing.wire(answer)
		if err := s.put(wire[:len(wire)/2]); err != nil {
			return err
		}
		return errOver
	case Closed:
		if err := s.send(answer); err != nil {
			return err
		}
		return errOver
	}
	return errOver
}

// resize takes registers off the end of an answer, or adds some, with lengths
// that agree. An answer that carries none stays as it is.
func resize(request, answer []byte, by int) []byte {
	if answer[7] < 1 || answer[7] > 4 || len(answer) < 9 {
		return answer
	}
	data := answer[9:]
	if by < 0 {
		data = data[:max(0, len(data)+by)]
	} else {
		data = append(data[:len(data):len(data)], make([]byte, min(by, 250-len(data)))...)
	}
	return frame(request, append([]byte{answer[7], byte(len(data))}, data...))
}

// send sends an answer in the form of Modbus TCP.
func (s *session) send(answer []byte) error { return s.put(s.d.Framing.wire(answer)) }

// put sends bytes.
func (s *session) put(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.conn.Write(b)
	return err
}

// pause waits, and reports whether the connection still stands.
func (s *session) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
