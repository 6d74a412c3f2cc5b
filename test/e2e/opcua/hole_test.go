package opcua

import (
	"net"
	"sync"
	"testing"
)

// hole forwards to a server, and swallows what comes when it is told to,
// without closing anything.
type hole struct {
	l  net.Listener
	mu sync.Mutex
	on bool
	wg sync.WaitGroup
}

func newHole(t *testing.T, target string) *hole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{l: l}
	var open []net.Conn
	var mu sync.Mutex
	h.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			mu.Lock()
			open = append(open, c, d)
			mu.Unlock()
			h.wg.Go(func() { h.forward(c, d) })
			h.wg.Go(func() { h.forward(d, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		h.wg.Wait()
	})
	return h
}

func (h *hole) addr() string { return h.l.Addr().String() }

func (h *hole) swallow(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = on
}

func (h *hole) forward(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		h.mu.Lock()
		on := h.on
		h.mu.Unlock()
		if !on {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
