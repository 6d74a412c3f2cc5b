package reactbench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ask sends one request and returns its answer of n bytes.
func ask(t *testing.T, c net.Conn, n int, request ...byte) []byte {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// An event lasts from the answer with the changed value to the write that it
// leads to; any other write is of no interest.
func TestEvent(t *testing.T) {
	p, err := newPlant()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	sense, io, load := dial(t, p.sense), dial(t, p.io), dial(t, p.load)
	value := func() byte { return ask(t, sense, 11, 0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1)[10] }
	write := func(on byte) { ask(t, io, 12, 0, 2, 0, 0, 0, 6, 2, 5, 0, 0, on, 0) }
	if v := value(); v != well {
		t.Fatalf("the value is %d at first", v)
	}
	type result struct {
		took time.Duration
		err  error
	}
	done := make(chan result)
	go func() {
		d, err := p.event(t.Context())
		done <- result{d, err}
	}()
	for value() != high {
	}
	write(0) // what nobody asked for
	select {
	case r := <-done:
		t.Fatalf("a write of the other state ended the event: %v", r)
	default:
	}
	began := time.Now()
	write(0xff)
	r := <-done
	if r.err != nil || r.took <= 0 || r.took > time.Since(began)+10*time.Second {
		t.Errorf("the event took %v, %v", r.took, r.err)
	}
	if got := ask(t, io, 10, 0, 3, 0, 0, 0, 6, 2, 1, 0, 0, 0, 1); got[9] != 1 {
		t.Errorf("the coil reads % x", got)
	}

	first := ask(t, load, 9+2*125, 0, 4, 0, 0, 0, 6, 1, 3, 0, 0, 0, 125)
	second := ask(t, load, 9+2*125, 0, 4, 0, 0, 0, 6, 1, 3, 0, 0, 0, 125)
	for i := 9; i < len(first); i += 2 {
		if bytes.Equal(first[i:i+2], second[i:i+2]) {
			t.Errorf("register %d of the load does not change", (i-9)/2)
		}
	}
}

// The reference's run after ours is also the one before the next.
func TestChained(t *testing.T) {
	n := 0.0
	f := chained(func() (float64, error) { n++; return n, nil })
	for i, want := range []float64{1, 2, 2, 3, 3, 4, 4} {
		if got, err := f(); got != want || err != nil {
			t.Errorf("call %d = %v, %v, want %v", i, got, err, want)
		}
	}
	boom := errors.New("boom")
	if _, err := chained(func() (float64, error) { return 0, boom })(); !errors.Is(err, boom) {
		t.Error("an error was lost")
	}
}

// Only a number that both processes reached counts.
func TestCollections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	head := "gc 1 @0.1s of an earlier run\n"
	log := head + "gc 1 @0.1s 3%: …\ngc 1 @0.2s\n{\"msg\":\"gc 2 @\"}\ngc 2 @0.3s\ngc 3 @0.3s\ngc 3 @0.4s\ngc 4 @0.5s\n"
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := collections(path, int64(len(head))); n != 2 {
		t.Errorf("%d collections, want 2", n)
	}
	if n := collections(filepath.Join(t.TempDir(), "none"), 0); n != 0 {
		t.Errorf("%d collections in no log", n)
	}
}
