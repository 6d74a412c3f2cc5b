package device

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Fault is a way to misbehave.
type Fault uint8

// The faults. Those with an answer spoil every answer while they last.
const (
	None          Fault = iota
	Silent              // no answer
	Refuse              // an exception: 4, or as Refusal says
	Garbled             // bytes that are no frame
	Short               // fewer registers than asked, lengths consistent
	Long                // more registers than asked, lengths consistent
	Truncated           // the frame stops in the middle
	Empty               // byte count 0
	WrongUnit           // the answer of another unit
	WrongFunction       // the answer to another function
	WrongProtocol       // protocol id 1
	LateBefore          // after the timeout, before the next request if that is late too
	LateDuring          // after the timeout, mixed with the answers to later requests
	Double              // every answer twice
	Ahead               // a second copy carries the next transaction id
	Swapped             // the answer to the request before, under its own id, then silence
	Bytewise            // one byte at a time, in time
	Reset               // RST instead of an answer
	CloseFirst          // answer cut off by an orderly close
	Mute                // accepts connections, does what it is told and never says anything
	Deaf                // accepts connections and does nothing at all
	Closed              // answers, then closes the idle connection
	HalfOpen            // says nothing on the connections that there are; new ones work
	Faults              // how many there are
)

var names = [Faults]string{
	"none", "silent", "refuse", "garbled", "short", "long", "truncated", "empty",
	"wrong-unit", "wrong-function", "wrong-protocol", "late-before", "late-during", "double", "ahead", "swapped",
	"bytewise", "reset", "close-first", "mute", "deaf", "closed", "half-open",
}

// String returns the fault's name.
func (f Fault) String() string { return names[f] }

// WriteFrom is the first holding register that may be written; below are cells.
const WriteFrom = 40000

// era is one count of one cell: it holds from From until To (0: still).
type era struct {
	count    uint16
	from, to int64
}

// Device is one device, or all stations of a line: every station has the same
// cells, which a rig keeps apart by asking each cell of one station only. The
// zero Device needs Late and is served by Serve, Talk or Call.
type Device struct {
	// Framing is that of the wire.
	Framing Framing
	// Thinking is how long each answer takes.
	Thinking time.Duration
	// Late is how long a late answer waits: longer than the client's timeout.
	Late time.Duration
	// Now is the clock of the log, ns; nil counts from a start of its own.
	Now func() int64

	mu       sync.Mutex
	fault    Fault
	chaos    *rand.Rand
	share    float64 // of answers spoilt under chaos
	only     []Fault
	code     byte  // of Refuse; 0: 4
	halved   int64 // sessions up to this one are half open
	sessions int64
	losing   chan struct{}
	away     map[byte]bool   // stations that are not there
	holes    map[uint16]bool // registers it does not have
	mute     map[uint16]bool // registers whose requests it never answers
	cells    map[uint16][]era
	written  map[uint16]uint16
	coils    map[uint16]bool
	asked    int
	spoilt   [Faults]int
	accepted int
	conns    map[io.ReadWriteCloser]struct{}
}

// Behave sets the fault from now on.
func (d *Device) Behave(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.chaos, d.code = f, nil, 0
	if f == HalfOpen {
		d.halved = d.sessions
		if d.losing != nil {
			close(d.losing)
			d.losing = nil
		}
	}
}

// Refusal refuses everything with this exception from now on.
func (d *Device) Refusal(code byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.chaos, d.code = Refuse, nil, code
}

// Away makes stations say nothing, whatever else they are asked.
func (d *Device) Away(stations ...byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = map[byte]bool{}
	for _, s := range stations {
		d.away[s] = true
	}
}

// Chaos spoils this share of the answers, each by one of faults (all, if none
// are given) as seed has it.
func (d *Device) Chaos(seed uint64, share float64, faults ...Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(faults) == 0 {
		for f := Silent; f < Faults; f++ {
			faults = append(faults, f)
		}
	}
	d.chaos, d.share, d.only = rand.New(rand.NewPCG(seed, 7)), share, faults
}

// Lack makes registers missing: a request that touches one is refused with exception 2.
func (d *Device) Lack(registers ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holes = map[uint16]bool{}
	for _, r := range registers {
		d.holes[r] = true
	}
}

// Ignore makes requests that touch one of these registers go unanswered.
func (d *Device) Ignore(registers ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mute = map[uint16]bool{}
	for _, r := range registers {
		d.mute[r] = true
	}
}

// Change counts the cell at an even address up.
func (d *Device) Change(address uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.change(address)
}

func (d *Device) change(address uint16) {
	now := d.now()
	if d.cells == nil {
		d.cells = map[uint16][]era{}
	}
	e := d.cells[address]
	if e == nil {
		e = []era{{from: -1 << 62}}
	}
	last := &e[len(e)-1]
	last.to = now
	d.cells[address] = append(e, era{count: last.count + 1, from: now})
}

// Held reports whether the cell at address held value at some instant of [from, to].
func (d *Device) Held(address uint16, value uint32, from, to int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if uint16(value>>16) != address {
		return false
	}
	eras := d.cells[address]
	if eras == nil {
		return uint16(value) == 0
	}
	for _, e := range eras {
		if e.count == uint16(value) && e.from <= to && (e.to == 0 || e.to >= from) {
			return true
		}
	}
	return false
}

// Cell returns what the cell at address holds now.
func (d *Device) Cell(address uint16) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint32(d.register(address))<<16 | uint32(d.register(address+1))
}

// Coil returns the state of a coil.
func (d *Device) Coil(address uint16) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.coils[address]
}

// Register returns a written register, 0 if nobody wrote it.
func (d *Device) Register(address uint16) uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.register(address)
}

// Tally is what the device did so far.
type Tally struct {
	Asked    int // requests received
	Accepted int // connections
	Spoilt   [Faults]int
}

// Tally returns what the device did so far.
func (d *Device) Tally() Tally {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Tally{d.asked, d.accepted, d.spoilt}
}

// register returns what a register holds; mu is held.
func (d *Device) register(r uint16) uint16 {
	if r >= WriteFrom {
		return d.written[r]
	}
	cell := r &^ 1
	if r == cell {
		return cell
	}
	if e := d.cells[cell]; e != nil {
		return e[len(e)-1].count
	}
	return 0
}

var epoch = time.Now()

func (d *Device) now() int64 {
	if d.Now != nil {
		return d.Now()
	}
	return int64(time.Since(epoch))
}

// Disconnect closes every connection that there is, with a reset.
func (d *Device) Disconnect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		reset(c)
	}
}

// Serve accepts connections on l until ctx ends, and returns when all is quiet.
func (d *Device) Serve(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() { d.Talk(ctx, c) })
	}
}

// Talk answers on one stream until it or ctx is over, and closes it.
func (d *Device) Talk(ctx context.Context, c io.ReadWriteCloser) {
	d.mu.Lock()
	d.accepted++
	d.sessions++
	n := d.sessions
	if d.conns == nil {
		d.conns = map[io.ReadWriteCloser]struct{}{}
	}
	d.conns[c] = struct{}{}
	d.mu.Unlock()
	d.serve(ctx, c, n)
	d.mu.Lock()
	delete(d.conns, c)
	d.mu.Unlock()
}

// Call dials in to addr, says hello and answers there until ctx ends; hung up
// on, it dials in again, as a 4G unit does. Half open, it has lost its
// connection without the other end knowing, and dials in again too.
func (d *Device) Call(ctx context.Context, addr, hello string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_, err = c.Write([]byte(hello))
		}
		over := make(chan struct{})
		if err == nil {
			wg.Go(func() {
				defer close(over)
				d.Talk(ctx, c)
			})
			select {
			case <-over:
			case <-d.lost():
			}
		}
		t := time.NewTimer(10 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// lost returns what is closed when the connections become half open.
func (d *Device) lost() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.losing == nil {
		d.losing = make(chan struct{})
	}
	return d.losing
}

func reset(c io.Closer) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0) //nolint:errcheck // the worst is an orderly close
	}
	c.Close()
}

// session is one connection.
type session struct {
	d    *Device
	n    int64
	ctx  context.Context
	conn io.ReadWriteCloser
	mu   sync.Mutex // one frame at a time
	wg   sync.WaitGroup
	last []byte // the answer before
}

func (d *Device) serve(ctx context.Context, c io.ReadWriteCloser, n int64) {
	s := &session{d: d, n: n, conn: c}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, func() { c.Close() })
	defer s.wg.Wait()
	defer cancel()
	defer stop()
	defer c.Close()
	in := bufio.NewReaderSize(c, 1024)
	for {
		request, err := d.Framing.receive(in)
		if err != nil {
			return
		}
		fault, code, answer := d.handle(n, request)
		if d.Thinking > 0 {
			s.wg.Go(func() { // requests that come together are thought of together
				if s.pause(d.Thinking) {
					s.reply(fault, code, request, answer) //nolint:errcheck // the reading half finds it as well
				}
			})
			continue
		}
		if s.reply(fault, code, request, answer) != nil {
			return
		}
	}
}

var errOver = errors.New("connection over")

// handle does what a request asks and chooses how its answer is spoilt.
func (d *Device) handle(session int64, request []byte) (fault Fault, code byte, answer []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	fault, code = d.fault, d.code
	if d.chaos != nil {
		fault = None
		if d.chaos.Float64() < d.share {
			fault = d.only[d.chaos.IntN(len(d.only))]
		}
	}
	switch {
	case fault == HalfOpen && session > d.halved:
		fault = None
	case fault == HalfOpen, d.away[request[6]]:
		fault = Deaf
	}
	if fault == Deaf {
		d.spoilt[fault]++
		return fault, 0, nil
	}
	answer, quiet := d.answer(request)
	if quiet {
		fault = Silent
	}
	d.spoilt[fault]++
	return fault, cmp.Or(code, 4), answer
}

// answer is the right answer to a request; mu is held.
func (d *Device) answer(request []byte) (answer []byte, quiet bool) {
	pdu := request[7:]
	refuse := func(code byte) ([]byte, bool) { return frame(request, []byte{pdu[0] | 0x80, code}), false }
	if len(pdu) < 5 {
		return refuse(3)
	}
	first, count := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	width := count
	if pdu[0] == 5 || pdu[0] == 6 {
		width = 1
	}
	for i := range width {
		if d.holes[first+i] {
			return refuse(2)
		}
		quiet = quiet || d.mute[first+i]
	}
	switch pdu[0] {
	case 1, 2:
		if count == 0 || count > 2000 {
			return refuse(3)
		}
		out := make([]byte, 2+(int(count)+7)/8)
		out[0], out[1] = pdu[0], byte(len(out)-2)
		for i := range count {
			if d.coils[first+i] {
				out[2+i/8] |= 1 << (i % 8)
			}
		}
		return frame(request, out), quiet
	case 3, 4:
		if count == 0 || count > 125 {
			return refuse(3)
		}
		out := make([]byte, 2+2*int(count))
		out[0], out[1] = pdu[0], byte(2*count)
		for i := range count {
			binary.BigEndian.PutUint16(out[2+2*i:], d.register(first+i))
		}
		return frame(request, out), quiet
	case 5, 15:
		if d.coils == nil {
			d.coils = map[uint16]bool{}
		}
		if pdu[0] == 5 {
			d.coils[first] = count == 0xff00
		} else {
			for i := range count {
				d.coils[first+i] = pdu[6+i/8]>>(i%8)&1 == 1
			}
		}
		return frame(request, pdu[:5]), quiet
	case 6, 16:
		if first < WriteFrom {
			return refuse(2)
		}
		if d.written == nil {
			d.written = map[uint16]uint16{}
		}
		if pdu[0] == 6 {
			d.written[first] = count
		} else {
			for i := range count {
				d.written[first+i] = binary.BigEndian.Uint16(pdu[6+2*i:])
			}
		}
		return frame(request, pdu[:5]), quiet
	}
	return refuse(1)
}

// frame puts a PDU into the frame that answers request.
func frame(request, pdu []byte) []byte {
	out := make([]byte, 7, 7+len(pdu))
	copy(out, request[:7])
	binary.BigEndian.PutUint16(out[4:], uint16(1+len(pdu)))
	return append(out, pdu...)
}
