package modbus

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"davy/drivers/tag"
)

// How a Caller comes back: CallAgain after a connection ended or none was made,
// CallTimeout for one attempt.
const (
	CallAgain   = 500 * time.Millisecond
	CallTimeout = 5 * time.Second
)

// Caller is a device that dials in, as a 4G unit does: it keeps one connection
// to an address, says who it is, and answers what it is asked there.
type Caller struct {
	Addr    string
	Framing Framing
	Hello   []byte // sent first on every connection; may be empty
	Beat    time.Duration
	Pulse   []byte // sent every Beat, between two frames, where both are set
	IDs     *atomic.Uint64

	mu      sync.Mutex
	c       *net.TCPConn
	refused bool
	deaf    bool
}

// Run calls until ctx ends.
func (r *Caller) Run(ctx context.Context, d Device, now func() tag.Stamp) error {
	for ctx.Err() == nil {
		r.mu.Lock()
		refused := r.refused
		r.mu.Unlock()
		if !refused {
			r.call(ctx, d, now)
		}
		pause(ctx, CallAgain)
	}
	return nil
}

// call makes one connection and serves it until it ends.
func (r *Caller) call(ctx context.Context, d Device, now func() tag.Stamp) {
	dialer := net.Dialer{Timeout: CallTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return // whoever is called is not there yet; again later
	}
	c := conn.(*net.TCPConn)
	r.mu.Lock()
	r.c = c
	w := wire{framing: r.Framing, device: d, now: now, id: r.IDs.Add(1), c: c, mute: r.deaf, reset: func() { reset(c) }}
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { reset(c) })
	defer stop()
	d.Opened(w.id, c.RemoteAddr().String())
	if len(r.Hello) == 0 || w.write(r.Hello) {
		beats, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		if r.Beat > 0 && len(r.Pulse) > 0 {
			wg.Go(func() { r.beat(beats, &w) })
		}
		_ = w.serve(ctx) // however it ended, it is made again
		end()
		wg.Wait()
	}
	_ = c.Close()
	r.mu.Lock()
	r.c = nil
	r.mu.Unlock()
	d.Closed(w.id)
}

func (r *Caller) beat(ctx context.Context, w *wire) {
	for pause(ctx, r.Beat) {
		w.mu.Lock()
		ok := w.write(r.Pulse)
		w.mu.Unlock()
		if !ok {
			return
		}
	}
}

// ResetAll resets the connection; it calls again.
func (r *Caller) ResetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c != nil {
		reset(r.c)
	}
}

// Refuse resets the connection and calls no more, until Accept.
func (r *Caller) Refuse() {
	r.mu.Lock()
	r.refused = true
	r.mu.Unlock()
	r.ResetAll()
}

// Accept ends what Refuse began.
func (r *Caller) Accept(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = false
	return nil
}

// Deaf has nothing answered on the connections to come, or with false again.
func (r *Caller) Deaf(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = on
}
