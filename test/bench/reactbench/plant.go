package reactbench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// plant is a device with one value that is judged, one coil that is driven
// and, on a connection of its own, Load registers that change with each read.
//
// It knows two instants of every event, both of this machine's wall clock: the
// one just before the first answer with the changed value is written into the
// socket, and the kernel's own stamp of the arrival of the coil's write, so
// that a busy device does not count as a slow agent.
type plant struct {
	sense, io, load net.Listener
	wg              sync.WaitGroup

	mu        sync.Mutex
	value     uint16    // what the register holds
	told      uint16    // what the last answer said
	answer    time.Time // just before the first answer with value; zero: there was none yet
	coil      bool
	want      bool // the coil that value leads to
	waiting   bool // for that write
	took      chan time.Duration
	reads     uint64 // of the load
	unstamped int    // writes of which the kernel did not say when they arrived
	conns     map[net.Conn]bool
}

// What the value is while it is well, and while it is not.
const (
	well = 10
	high = 90
)

func newPlant() (*plant, error) {
	p := &plant{value: well, told: well, took: make(chan time.Duration, 1), conns: map[net.Conn]bool{}}
	for _, x := range []struct {
		l     *net.Listener
		serve func(net.Conn) error
	}{{&p.sense, p.serveSense}, {&p.io, p.serveIO}, {&p.load, p.serveLoad}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		*x.l = l
		if x.l == &p.io { // its connections inherit it; the kernel needs a moment to begin
			if err := stamp(l.(*net.TCPListener)); err != nil {
				p.close()
				return nil, err
			}
		}
		p.wg.Go(func() { p.accept(l, x.serve) })
	}
	return p, nil
}

// stamp has the kernel note when each packet arrived.
func stamp(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	if errors.Is(err, unix.ENOPROTOOPT) { // an emulator: it is counted, see written
		err = nil
	}
	return errors.Join(cerr, err)
}

// close ends all connections and waits for their ends.
func (p *plant) close() {
	for _, l := range []net.Listener{p.sense, p.io, p.load} {
		if l != nil {
			_ = l.Close() // nothing of it is needed any more
		}
	}
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *plant) accept(l net.Listener, serve func(net.Conn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[c] = true
		p.mu.Unlock()
		p.wg.Go(func() {
			_ = serve(c) // the end of a connection is the agent's, or ours
			_ = c.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}

// event changes the value and waits for the write that it leads to.
func (p *plant) event(ctx context.Context) (time.Duration, error) {
	p.mu.Lock()
	select {
	case <-p.took: // of an event that was given up
	default:
	}
	p.value = high + well - p.value
	p.want, p.waiting, p.answer = p.value == high, true, time.Time{}
	p.mu.Unlock()
	late := time.NewTimer(eventLimit)
	defer late.Stop()
	select {
	case d := <-p.took:
		return d, nil
	case <-late.C:
		p.mu.Lock()
		defer p.mu.Unlock()
		return 0, fmt.Errorf("no write within %v of a changed value: holds %d, told %d at %v, wants %v, coil %v",
			eventLimit, p.value, p.told, p.answer, p.want, p.coil)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// A request of Modbus TCP without its variable end: transaction, protocol,
// length, unit, function, address, count or value.
const requestLen = 12

const timespec = 16 // bytes of the kernel's stamp, at most

var errRequest = errors.New("a request that no agent sends here")

func (p *plant) serveSense(c net.Conn) error {
	var in [requestLen]byte
	for {
		if _, err := io.ReadFull(c, in[:]); err != nil {
			return err
		}
		if in[7] != 3 || binary.BigEndian.Uint16(in[10:]) != 1 {
			return errRequest
		}
		p.mu.Lock()
		v := p.value
		out := registers(in, v)
		if v != p.told {
			p.told, p.answer = v, time.Now()
		}
		p.mu.Unlock()
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}

func (p *plant) serveLoad(c net.Conn) error {
	var in [requestLen]byte
	values := make([]uint16, 125)
	for {
		if _, err := io.ReadFull(c, in[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(in[10:]))
		if in[7] != 3 || n == 0 || n > len(values) {
			return errRequest
		}
		for i := range n {
			values[i] += uint16(i%7 + 1)
		}
		p.mu.Lock()
		p.reads += uint64(n)
		p.mu.Unlock()
		if _, err := c.Write(registers(in, values[:n]...)); err != nil {
			return err
		}
	}
}

func (p *plant) serveIO(c net.Conn) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	for {
		in, at, err := receive(raw)
		if err != nil {
			return err
		}
		switch in[7] {
		case 1: // the agent reads its coil back
			bit := byte(0)
			p.mu.Lock()
			if p.coil {
				bit = 1
			}
			p.mu.Unlock()
			_, err = c.Write([]byte{in[0], in[1], 0, 0, 0, 4, in[6], 1, 1, bit})
		case 5:
			p.written(in[10] == 0xff, at)
			_, err = c.Write(in[:])
		default:
			err = errRequest
		}
		if err != nil {
			return err
		}
	}
}

// written notes a write of the coil.
func (p *plant) written(on bool, at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coil = on
	if !p.waiting || on != p.want || p.answer.IsZero() {
		return // of an earlier event, again
	}
	p.waiting = false
	seen := time.Since(p.answer) // by the steady clock, and at the latest
	took := time.Duration(at - p.answer.UnixNano())
	switch {
	case at == 0:
		p.unstamped++
		took = seen
	case took < 0 || took > seen: // the wall clock was set meanwhile
		took = seen
	}
	p.took <- took
}

// missed is how many writes had no stamp.
func (p *plant) missed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unstamped
}

// receive takes one request with the kernel's stamp of its arrival, 0 where it
// gave none. The agent
// sends the next one only after the answer, so that one is all there is.
func receive(raw interface {
	Read(func(uintptr) bool) error
},
) (in [requestLen]byte, at int64, err error) {
	oob := make([]byte, unix.CmsgSpace(timespec))
	var n, on int
	rerr := raw.Read(func(fd uintptr) bool {
		n, on, _, _, err = unix.Recvmsg(int(fd), in[:], oob, 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case rerr != nil || err != nil:
		return in, 0, errors.Join(rerr, err)
	case n == 0:
		return in, 0, io.EOF
	case n != requestLen:
		return in, 0, errRequest
	}
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return in, 0, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SO_TIMESTAMPNS {
			continue
		}
		switch d := m.Data; { // a timespec of this architecture
		case len(d) >= 16:
			return in, int64(binary.NativeEndian.Uint64(d))*1e9 + int64(binary.NativeEndian.Uint64(d[8:])), nil
		case len(d) >= 8:
			return in, int64(binary.NativeEndian.Uint32(d))*1e9 + int64(binary.NativeEndian.Uint32(d[4:])), nil
		}
	}
	return in, 0, nil
}

// registers makes the answer to a read of registers.
func registers(in [requestLen]byte, values ...uint16) []byte {
	out := append(make([]byte, 0, 9+2*len(values)), in[0], in[1], 0, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(3+2*len(values)))
	out = append(out, in[6], in[7], byte(2*len(values)))
	for _, v := range values {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return out
}
