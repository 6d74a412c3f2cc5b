package opcua

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// what a proxy does to the server's messages.
type way int

const (
	through  way = iota
	garbled      // good headers, and noise in them
	noise        // no OPC UA at all
	stranger     // the answer of another channel
	nobody       // the answer to a request that nobody made
	late         // later than the timeout
	double       // every message twice
	bytewise
	reset   // the connection is cut instead of an answer to a read
	swallow // nothing comes back, of what was done
	deaf    // nothing goes there: nothing is done
	ways
)

// proxy stands between clients and a server and knows chunks, no more.
type proxy struct {
	addr, to string
	late     time.Duration
	l        net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	way   way
	die   *rand.Rand // nil: way it is
	mute  bool       // new connections are accepted and nothing else
	dead  map[net.Conn]bool
	conns map[net.Conn]net.Conn // the client's and the server's ends
	count int                   // of connections so far
}

func newProxy(to string, late time.Duration) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), to: to, late: late, l: l, conns: map[net.Conn]net.Conn{}, dead: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

// behave is what the proxy does from now on.
func (p *proxy) behave(w way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.way = w
}

// chaos chooses for every message.
func (p *proxy) chaos(seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.die = rand.New(rand.NewPCG(seed, seed))
}

// stale has the connections that there are stand dead, without a word.
func (p *proxy) stale() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.dead[c] = true
	}
}

// speechless has new connections accepted and nothing said on any.
func (p *proxy) speechless() {
	p.stale()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// cut resets every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, d := range p.conns {
		end(c)
		end(d)
	}
}

// heal ends all of it. What was dead is cut: a peer that is back knows nothing
// of the connection.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.way, p.die, p.mute = through, nil, false
	for c := range p.dead {
		end(c)
		end(p.conns[c])
	}
	clear(p.dead)
}

func (p *proxy) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *proxy) close() {
	_ = p.l.Close() // nothing waits for it
	p.cut()
	p.wg.Wait()
}

func end(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	if c != nil {
		_ = c.Close()
	}
}

func (p *proxy) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	hello, err := chunk(c) // gopcua's server would keep everybody waiting for it
	if err != nil {
		return
	}
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.count++
	p.conns[c] = d
	if p.mute {
		p.dead[c] = true
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		p.carry(c, c, hello, func(b []byte) bool { return p.now() == deaf || send(d, b) })
		_ = d.Close()
	})
	p.carry(d, c, nil, func(b []byte) bool { return p.spoil(c, d, b) })
	_ = c.Close()
	_ = d.Close()
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.dead, c)
	p.mu.Unlock()
}

// carry hands on what comes, from first on, while do says so; of a dead
// connection all is lost.
func (p *proxy) carry(from, client net.Conn, first []byte, do func([]byte) bool) {
	for b := first; ; {
		if b != nil && !p.lost(client) && !do(b) {
			return
		}
		var err error
		if b, err = chunk(from); err != nil {
			return
		}
	}
}

func (p *proxy) lost(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead[client]
}

// now is what happens to the next message.
func (p *proxy) now() way {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.way
}

// chunk reads one message.
func chunk(c net.Conn) ([]byte, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n < 8 || n > 1<<20 {
		return nil, io.ErrUnexpectedEOF
	}
	b := append(head, make([]byte, n-8)...)
	_, err := io.ReadFull(c, b[8:])
	return b, err
}

func send(c net.Conn, b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// spoil hands one chunk of the server on; false ends the connection.
func (p *proxy) spoil(c, d net.Conn, b []byte) bool {
	p.mu.Lock()
	w, die := p.way, p.die
	var seed uint64
	if die != nil {
		if w = through; die.Float64() < 0.1 { // a session takes some ten answers
			w = way(die.IntN(int(ways)))
		}
		seed = die.Uint64()
	}
	p.mu.Unlock()
	message := string(b[:3]) == "MSG" && len(b) > 28
	switch {
	case w == bytewise:
		for i := range b {
			if !send(c, b[i:i+1]) {
				return false
			}
		}
		return true
	case w == noise:
		r := rand.New(rand.NewPCG(seed, uint64(len(b))))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case w == swallow || w == deaf:
		return true
	case !message:
	case w == garbled:
		r := rand.New(rand.NewPCG(seed, uint64(len(b))))
		for i := 28; i < len(b); i++ { // after its type; no service result of noise is good
			b[i] = byte(r.Uint32())
		}
	case w == stranger:
		b[8] ^= 0x55
	case w == nobody:
		b[20] ^= 0x55
	case w == late:
		t := time.NewTimer(p.late)
		defer t.Stop()
		<-t.C
	case w == double:
		return send(c, slices.Clone(b)) && send(c, b)
	case w == reset && binary.LittleEndian.Uint16(b[26:]) == 634: // a ReadResponse
		end(c)
		end(d)
		return false
	}
	return send(c, b)
}
