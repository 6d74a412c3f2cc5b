// Package line is an RS-485 line with stations that misbehave, in simulated
// time: a modbus.Port for a synctest bubble, and a checker that knows from
// outside what every register held, and when.
//
// Bytes take the time that the baud rate gives them, one sender after the
// other. Every cell is a pair of registers: the first says which cell of which
// station it is, the second counts with the clock, so that a value names the
// register it came from and the time it was there (Held). What a seed chooses
// for an answer: silence, lateness up to Latest beyond the wait, a doubled
// answer, flipped bits, a cut, noise before it, another station's number,
// another function, an exception, too much data, byte by byte. Stations die for
// a while and come back, the port is unplugged now and then.
//
// Library is a driver over the packager of goburrow's RTU client with a
// transporter that does what the library's own does (write, sleep the guessed
// time, read at least four bytes, then what the length says; no flush, no
// resynchronisation), on the same port: what the checker must be able to catch.
//
// Imports: drivers, drivers/modbus, drivers/tag, goburrow's modbus.
package line

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Counts is what a line did.
type Counts struct {
	Asked, Answered, Late, Doubled, Spoilt, Silent, Unplugged int
}

// Line is one line. Its port is taken by Open.
type Line struct {
	Baud   int
	Wait   time.Duration // the link's timeout: a late answer comes after it
	Latest time.Duration // and at most so long after it
	Calm   bool          // no faults
	ASCII  bool          // frames of Modbus ASCII
	// Bridge has the line stand behind a bridge: what the stations say while
	// nobody is connected is kept and comes with the next connection, the
	// connection breaks more often, and bytes come in the pieces that a network
	// makes. Edge has every late answer come at the first or the last instant.
	Bridge, Edge bool

	mu     sync.Mutex
	rand   *rand.Rand
	start  time.Time
	busy   time.Time // the wire is taken until then
	port   *Port
	kept   []byte             // by a bridge
	dead   map[byte]time.Time // until
	counts Counts
	log    []string // what was on the wire last
}

// note remembers what was on the wire. mu is held.
func (l *Line) note(format string, args ...any) {
	if len(l.log) == remembered {
		l.log = append(l.log[:0], l.log[remembered/2:]...)
	}
	l.log = append(l.log, fmt.Sprintf("%12v ", time.Since(l.start).Round(100*time.Microsecond))+fmt.Sprintf(format, args...))
}

// Log is what was on the wire last, the newest at the end.
func (l *Line) Log() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.log...)
}

// remembered is how many lines of the log there are at most.
const remembered = 40

// New returns a line whose faults a seed chooses.
func New(seed uint64, baud int, wait, latest time.Duration) *Line {
	return &Line{Baud: baud, Wait: wait, Latest: latest, rand: rand.New(rand.NewPCG(seed, 0xda5)), start: time.Now(), dead: map[byte]time.Time{}}
}

// Counts returns what happened so far.
func (l *Line) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Count is what the second register of a cell holds at an instant. Each cell
// has a pace of its own, 50 to 306 ms.
func (l *Line) Count(station byte, register uint16, at time.Time) uint16 {
	cell := uint64(station)<<16 | uint64(register)
	hash := cell * 0x9e3779b97f4a7c15 >> 40
	pace := 50*time.Millisecond + time.Duration(hash%257)*time.Millisecond
	return uint16(at.Sub(l.start) / pace)
}

// Name is what the first register of a cell holds.
func Name(station byte, register uint16) uint16 { return uint16(station)<<11 | register }

// Held reports whether the cell at register, read as a uint32, was v at some
// instant of [from, to].
func (l *Line) Held(station byte, register uint16, v uint32, from, to time.Time) bool {
	if uint16(v>>16) != Name(station, register) {
		return false
	}
	first, last := l.Count(station, register, from), l.Count(station, register, to)
	return uint16(v)-first <= last-first // the count goes round
}

// Char is how long a character of eleven bits takes.
func (l *Line) Char() time.Duration { return 11 * time.Second / time.Duration(l.Baud) }

// target is how a site names the line.
func (l *Line) target() string {
	if l.Bridge {
		return "tcp://192.168.1.9:4001"
	}
	return "/dev/ttyS0"
}

// Open gives the line's port away; the one before is as if unplugged.
func (l *Line) Open() (*Port, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port != nil {
		l.port.end(io.EOF)
	}
	l.port = &Port{line: l, more: make(chan struct{}, 1), in: l.kept}
	l.kept = nil
	return l.port, nil
}

// chance is true in so many of a thousand cases. mu is held.
func (l *Line) chance(permille float64) bool { return !l.Calm && l.rand.Float64()*1000 < permille }

// transmit has bytes arrive at the master, sent from the instant given or when
// the wire is free. mu is held.
func (l *Line) transmit(b []byte, from time.Time, split bool) {
	if from.Before(l.busy) {
		from = l.busy
	}
	if l.ASCII {
		b = text(b)
	}
	l.busy = from.Add(time.Duration(len(b)) * l.Char())
	l.note("answer   % x from %v to %v", b, from.Sub(l.start), l.busy.Sub(l.start))
	p := l.port
	for at, step := 0, len(b); at < len(b); at += step {
		if split {
			step = 1
		} else if len(b) > 8 {
			step = 1 + l.rand.IntN(len(b))
		}
		step = min(step, len(b)-at)
		chunk := append([]byte(nil), b[at:at+step]...)
		come := from.Add(time.Duration(at+step) * l.Char())
		time.AfterFunc(time.Until(come), func() { l.deliver(p, chunk) })
	}
}

// deliver hands bytes to the port that they were sent to, or of a bridge to
// whoever is connected now, or next.
func (l *Line) deliver(p *Port, chunk []byte) {
	if l.Bridge {
		l.mu.Lock()
		defer l.mu.Unlock()
		if p = l.port; p.ended() {
			l.kept = append(l.kept, chunk...)
			return
		}
	}
	p.arrive(chunk)
}

// text is a frame of RTU as one of ASCII: what is wrong with its check sum is
// wrong with the other's too, and noise stays noise.
func text(frame []byte) []byte {
	body, sum := frame, byte(0)
	if n := len(frame) - 2; n > 0 {
		body = frame[:n]
		if crc(frame) != 0 {
			sum = 1
		}
	}
	out := []byte{':'}
	for _, x := range body {
		sum -= x
		out = fmt.Appendf(out, "%02X", x)
	}
	return fmt.Appendf(out, "%02X\r\n", sum)
}

// plain is the reverse, for a whole frame; nil: it is none.
func plain(b []byte) []byte {
	if len(b) < 11 || b[0] != ':' || string(b[len(b)-2:]) != "\r\n" {
		return nil
	}
	body, err := hex.DecodeString(string(b[1 : len(b)-2]))
	sum := byte(0)
	for _, x := range body {
		sum += x
	}
	if err != nil || sum != 0 {
		return nil
	}
	body = body[:len(body)-1]
	return binary.LittleEndian.AppendUint16(body, crc(body))
}

// hear is called when the master's bytes have left.
func (l *Line) hear(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ASCII {
		b = plain(b)
	}
	if len(b) != 8 || crc(b) != 0 {
		return
	}
	now := time.Now()
	station, function := b[0], b[1]
	first, count := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])
	l.counts.Asked++
	l.note("asked    % x", b)
	switch {
	case now.Before(l.dead[station]):
		return
	case l.chance(0.02):
		l.dead[station] = now.Add(time.Duration(l.rand.IntN(120)) * time.Second)
		return
	case l.chance(0.01), l.Bridge && l.chance(2):
		l.counts.Unplugged++
		l.port.end(io.ErrUnexpectedEOF)
		return
	case l.chance(4):
		l.counts.Silent++
		return
	}
	var pdu []byte
	switch {
	case function == 8 && station != 5: // the fifth does not know it
		pdu = append([]byte(nil), b[1:6]...)
	case function != 3:
		pdu = []byte{function | 0x80, 1}
	case l.chance(1):
		pdu = []byte{function | 0x80, byte(1 + l.rand.IntN(11))}
	default:
		pdu = []byte{function, byte(2 * count)}
		for r := first; r < first+count; r++ {
			word := Name(station, r&^1)
			if r&1 == 1 {
				word = l.Count(station, r&^1, now)
			}
			pdu = binary.BigEndian.AppendUint16(pdu, word)
		}
	}
	frame := append([]byte{station}, pdu...)
	split, spoil, other := false, true, station
	switch {
	case l.chance(1): // another station's number, with a good check sum
		other = byte(1 + l.rand.IntN(8))
	case l.chance(1): // another function
		frame[1] ^= 7
	case l.chance(1): // too much data
		frame = append(frame, 1, 2, 3, 4)
		frame[2] += 4
	case l.chance(1): // too little
		frame = frame[:max(len(frame)-2, 3)]
		frame[2] -= 2
	default:
		spoil = false
	}
	late := l.chance(20)
	// A station that doubles its answers needs a map with requests of several
	// lengths: the sixth to the eighth may not be asked over their gaps.
	doubled := !late && station < 6 && l.chance(3)
	if other != station {
		// A number that is really another's can only be told while that one is not
		// asked; what comes then has the number of nobody.
		if frame[0] = other; late || doubled {
			frame[0] = 20
		}
	}
	frame = binary.LittleEndian.AppendUint16(frame, crc(frame))
	switch {
	case l.chance(2): // flipped bits
		frame[l.rand.IntN(len(frame))] ^= byte(1 + l.rand.IntN(255))
		spoil = true
	case l.chance(1): // cut
		frame = frame[:l.rand.IntN(len(frame))]
		spoil = true
	case l.chance(2): // noise before
		frame = append([]byte{byte(l.rand.Uint32()), byte(l.rand.Uint32())}, frame...)
	case l.chance(2):
		split = true
	}
	if spoil {
		l.counts.Spoilt++
	}
	think := time.Duration(2+l.rand.IntN(20)) * time.Millisecond
	switch {
	case late:
		l.counts.Late++
		lateness := time.Duration(l.rand.Int64N(int64(l.Latest)))
		if l.Edge {
			lateness = []time.Duration{0, time.Millisecond, l.Latest - time.Millisecond}[l.rand.IntN(3)]
		}
		think += l.Wait + lateness
		copied := frame
		time.AfterFunc(think, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.transmit(copied, time.Now(), split)
		})
		return
	case doubled:
		l.counts.Doubled++
		l.transmit(frame, now.Add(think), split)
		l.transmit(frame, now.Add(think+time.Duration(l.rand.IntN(8))*time.Millisecond), false)
	default:
		l.transmit(frame, now.Add(think), split)
	}
	l.counts.Answered++
}

// Port is the master's end. It is a modbus.Port.
type Port struct {
	line *Line
	more chan struct{} // something changed

	mu       sync.Mutex
	in       []byte
	deadline time.Time
	over     error
}

func (p *Port) poke() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *Port) arrive(b []byte) {
	p.mu.Lock()
	if p.over == nil {
		p.in = append(p.in, b...)
	}
	p.mu.Unlock()
	p.poke()
}

func (p *Port) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over != nil
}

func (p *Port) end(why error) {
	p.mu.Lock()
	if p.over == nil {
		p.over = why
	}
	p.mu.Unlock()
	p.poke()
}

// Read waits for bytes until the deadline.
func (p *Port) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n := copy(b, p.in)
		p.in = append(p.in[:0], p.in[n:]...)
		over, deadline := p.over, p.deadline
		p.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if over != nil {
			return 0, over
		}
		var timeout <-chan time.Time
		if !deadline.IsZero() {
			wait := time.Until(deadline)
			if wait <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
			timeout = time.After(wait)
		}
		select {
		case <-p.more:
		case <-timeout:
		}
	}
}

// Write sends; the stations hear it when the last byte has left.
func (p *Port) Write(b []byte) (int, error) {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over != nil {
		return 0, over
	}
	l := p.line
	l.mu.Lock()
	from := time.Now()
	if from.Before(l.busy) {
		from = l.busy // the adapter hears the line
	}
	l.busy = from.Add(time.Duration(len(b)) * l.Char())
	frame := append([]byte(nil), b...)
	time.AfterFunc(time.Until(l.busy), func() { l.hear(frame) })
	l.mu.Unlock()
	return len(b), nil
}

// SetDeadline ends what blocks at t.
func (p *Port) SetDeadline(t time.Time) error {
	p.mu.Lock()
	p.deadline = t
	p.mu.Unlock()
	p.poke()
	return nil
}

// Close ends the port.
func (p *Port) Close() error {
	p.end(errors.New("closed"))
	return nil
}

// crc is the check sum of RTU; over a frame with its own it is 0.
func crc(b []byte) uint16 {
	sum := uint16(0xffff)
	for _, x := range b {
		sum ^= uint16(x)
		for range 8 {
			low := sum & 1
			sum >>= 1
			if low == 1 {
				sum ^= 0xa001
			}
		}
	}
	return sum
}
