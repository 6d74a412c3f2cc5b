package worker

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The limits of one connection.
const (
	maxChunk    = 0xffff  // bytes of a chunk, both ways
	maxMessage  = 4 << 20 // bytes of a message from the server, all chunks together
	maxChunks   = 512     // chunks of one
	maxPartial  = 8 << 20 // bytes of unfinished messages, all requests together
	maxText     = 4096    // bytes of a policy's URI or an error's text
	unsentLimit = 10 * time.Second
	// renewMost is how often a server may have the keys of a channel renewed: one
	// that lets them hold for less than some seconds makes the library ask without
	// a pause.
	renewMost = time.Second
)

// expect is what the server's side of a secure channel must look like.
type expect struct {
	policy    policy
	encrypt   bool
	server    []byte // the leaf certificate that is trusted, DER; nil without security
	own       []byte // our certificate, DER
	ownKeyLen int    // bytes of our key's modulus
}

// gate stands between the server and the library, on a loopback connection,
// and lets pass only what the library can be given.
//
// The library takes its idea of security from the peer: any answer to
// OpenSecureChannel sets the policy and the certificate of the channel, at the
// start and at each renewal, so that whoever can write on the wire may first
// put in a key of his own and then the policy None, and from then on read and
// write in clear under a channel that is called encrypted. The gate compares the
// header of every such answer with what the site trusts, byte by byte, before
// the library sees it. It also bounds every size and length that stands outside
// the encrypted part, so that without the server's key nobody reaches the parts
// of the library that panic, and keeps the text of a server's error, which the
// library loses.
type gate struct {
	far, near *net.TCPConn
	want      expect
	wait      sync.WaitGroup
	opened    *atomic.Uint64 // counts keys; nil: nobody does

	mu    sync.Mutex
	cause error // why the gate closed
}

// openGate connects to addr and returns the gate and the connection that the
// library is to use. Closing that connection closes the gate once all was sent.
func openGate(ctx context.Context, addr string, want expect, opened *atomic.Uint64) (*gate, *net.TCPConn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	far := c.(*net.TCPConn)
	// Where the kernel does not know it, the deadlines of requests are left.
	if raw, err := far.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unsentLimit.Milliseconds()))
		})
	}
	near, library, err := pair(ctx)
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("loopback: %w", err)
	}
	g := &gate{far: far, near: near, want: want, opened: opened}
	g.wait.Go(g.up)
	g.wait.Go(g.down)
	return g, library, nil
}

// pair makes two ends of a TCP connection within this process. The library
// wants a *net.TCPConn, so a socketpair does not do; that the other end is ours
// and not another process's is seen by its port.
func pair(ctx context.Context) (near, library *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	for {
		l.SetDeadline(time.Now().Add(time.Second))
		near, err := l.AcceptTCP()
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		if near.RemoteAddr().String() == c.LocalAddr().String() {
			return near, c.(*net.TCPConn), nil
		}
		near.Close()
	}
}

// shut closes both sides; the first cause stays. nil is a close of our own.
func (g *gate) shut(cause error) {
	g.mu.Lock()
	if g.cause == nil {
		g.cause = cause
	}
	g.mu.Unlock()
	g.far.Close()
	g.near.Close()
}

// why returns the reason why the gate closed, nil while it is open or where we
// closed it.
func (g *gate) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

// up carries what the library says to the server.
func (g *gate) up() {
	// Without the kernel's splice, which takes a pipe's two descriptors for it.
	_, err := io.CopyBuffer(struct{ io.Writer }{g.far}, struct{ io.Reader }{g.near}, make([]byte, 1<<14))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		g.shut(fmt.Errorf("connection to the server: %w", err))
		return
	}
	g.shut(nil)
}

// down carries what the server says, chunk by chunk, after a look at it.
func (g *gate) down() {
	buf := make([]byte, 2*maxChunk)
	have, state := 0, gateState{}
	for {
		n, err := g.far.Read(buf[have:])
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server closed the connection")
			}
			g.shut(fmt.Errorf("connection to the server: %w", err))
			return
		}
		have += n
		whole := 0
		for {
			size, err := g.look(&state, buf[whole:have])
			if err != nil {
				// What was right before it may still be used; the library may be gone.
				g.near.SetWriteDeadline(time.Now().Add(time.Second))
				g.near.Write(buf[:whole])
				g.shut(err)
				return
			}
			if size == 0 {
				break
			}
			whole += size
		}
		if whole == 0 {
			continue
		}
		if _, err := g.near.Write(buf[:whole]); err != nil {
			g.shut(nil) // the library closed
			return
		}
		have = copy(buf, buf[whole:have])
	}
}

// gateState is what the gate remembers of the chunks before.
type gateState struct {
	greeted bool // the acknowledgement of our hello passed
	partial int  // bytes of unfinished messages
	keyed   time.Time
}

// look returns the size of the chunk at the start of b if it is whole and may
// pass, 0 if more is needed.
func (g *gate) look(state *gateState, b []byte) (int, error) {
	if len(b) < 8 {
		return 0, nil
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < 8 || size > maxChunk {
		return 0, fmt.Errorf("hostile server: a chunk of %d bytes", size)
	}
	if uint32(len(b)) < size {
		return 0, nil
	}
	b = b[:size]
	kind, final := string(b[:3]), b[3]
	if kind == "ERR" && final == 'F' {
		return 0, serverError(b[8:])
	}
	if !state.greeted {
		if kind != "ACK" || final != 'F' || size != 28 {
			return 0, fmt.Errorf("not an OPC UA server: it answers %q to a hello", b[:4])
		}
		state.greeted = true
		return int(size), acknowledge(b[8:])
	}
	var err error
	switch {
	case kind == "OPN" && final == 'F':
		if err = g.want.opening(b); err == nil && time.Since(state.keyed) < renewMost {
			err = fmt.Errorf("hostile server: new keys within %v of the last", renewMost)
		}
		if state.keyed = time.Now(); err == nil && g.opened != nil {
			g.opened.Add(1)
		}
	case kind == "MSG" && (final == 'F' || final == 'C' || final == 'A'):
		err = g.want.message(b)
		if state.partial += int(size); final != 'C' {
			state.partial = 0
		} else if state.partial > maxPartial {
			err = errors.New("hostile server: a message without an end")
		}
	case kind == "CLO":
		err = errors.New("the server closed the secure channel")
	default:
		err = fmt.Errorf("hostile server: a chunk of kind %q", b[:4])
	}
	return int(size), err
}

// serverError is what the server said before it closed.
func serverError(b []byte) error {
	if len(b) < 8 {
		return errors.New("the server closed the connection with an error")
	}
	code := binary.LittleEndian.Uint32(b)
	text, _, _ := lengthed(b[4:], maxText)
	return &refusal{Code: code, Text: string(text)}
}

// acknowledge corrects the server's acknowledgement of our hello in place. The
// library takes the server's receive buffer for its own and allocates that
// much for every chunk.
func acknowledge(b []byte) error {
	receive, send := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	if receive < 8192 || send < 8192 {
		return fmt.Errorf("hostile server: buffers of %d and %d bytes, the standard wants 8192", receive, send)
	}
	binary.LittleEndian.PutUint32(b[4:], maxChunk)
	binary.LittleEndian.PutUint32(b[8:], min(receive, maxChunk))
	binary.LittleEndian.PutUint32(b[12:], maxMessage)
	binary.LittleEndian.PutUint32(b[16:], maxChunks)
	return nil
}

// opening holds the header of an answer to OpenSecureChannel against what the
// site trusts.
func (e *expect) opening(b []byte) error {
	if len(b) < 12 {
		return errors.New("hostile server: an open channel without a header")
	}
	rest := b[12:]
	uri, rest, ok := lengthed(rest, maxText)
	if !ok {
		return errors.New("hostile server: an open channel with a broken header")
	}
	sender, rest, ok := lengthed(rest, maxChunk)
	if !ok {
		return errors.New("hostile server: an open channel with a broken header")
	}
	thumb, rest, ok := lengthed(rest, maxChunk)
	switch {
	case !ok:
		return errors.New("hostile server: an open channel with a broken header")
	case string(uri) != e.policy.URI:
		return &untrusted{Why: "policy-changed", Detail: fmt.Sprintf("the server opens the channel with policy %q instead of %s", clip(uri), e.policy.Name)}
	case e.server == nil:
		return nil
	case !bytes.Equal(leafOf(sender), e.server):
		return &untrusted{Why: "changed", Fingerprint: fingerprint(leafOf(sender)), Detail: "the certificate of the channel is not the one that the server announced", DER: leafOf(sender)}
	}
	if sum := sha1.Sum(e.own); !bytes.Equal(thumb, sum[:]) {
		return errors.New("hostile server: an open channel for another client")
	}
	if len(rest) == 0 || len(rest)%e.ownKeyLen != 0 {
		return fmt.Errorf("hostile server: %d bytes encrypted with a key of %d", len(rest), e.ownKeyLen)
	}
	return nil
}

// message bounds what is outside the encrypted part of a message: at least
// room for its sequence header, signature and padding.
func (e *expect) message(b []byte) error {
	const headers, sequence = 16, 8
	body := len(b) - headers
	least := sequence + e.policy.Signature
	if e.server != nil && e.encrypt {
		least = (least + 1 + 15) / 16 * 16
		if body%16 != 0 {
			return fmt.Errorf("hostile server: %d encrypted bytes", body)
		}
	}
	if body < least {
		return fmt.Errorf("hostile server: a message of %d bytes", len(b))
	}
	return nil
}

// lengthed takes a string or byte string off b: four bytes of length (all ones:
// none) and the bytes.
func lengthed(b []byte, limit int) (value, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n == 0xffffffff {
		return nil, b, true
	}
	if n > uint32(limit) || n > uint32(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// clip bounds a stranger's text for an error.
func clip(b []byte) string { return string(b[:min(len(b), 80)]) }
