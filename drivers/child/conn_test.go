package child

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stream is one side of a pipe of bytes without deadlines.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

// frame is a frame as the other side would write it.
func frame(kind byte, body []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), kind), body...)
}

func TestFramesArriveAsTheyWereSent(t *testing.T) {
	var wire bytes.Buffer
	out := NewConn(stream{Writer: &wire})
	long := bytes.Repeat([]byte("ab"), MaxFrame/2)
	bodies := [][]byte{nil, []byte("x"), long, []byte("y")}
	for i, b := range bodies {
		if err := out.Write(byte(i+1), b); err != nil {
			t.Fatal(err)
		}
		if err := out.Write(Heart, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Split at every place: one byte at a time, and all at once.
	for _, r := range []io.Reader{bytes.NewReader(wire.Bytes()), &slow{wire.Bytes()}} {
		in := NewConn(stream{Reader: r})
		for i, want := range bodies {
			kind, body, err := in.Read()
			if err != nil || kind != byte(i+1) || !bytes.Equal(body, want) {
				t.Fatalf("frame %d: kind %d, %d bytes, %v", i, kind, len(body), err)
			}
		}
		if _, _, err := in.Read(); err != io.EOF {
			t.Errorf("after the last: %v", err)
		}
	}
}

type slow struct{ b []byte }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], s.b)
	s.b = s.b[n:]
	return n, nil
}

func TestALongFrameIsRefusedAndNothingAllocated(t *testing.T) {
	for _, n := range []uint32{MaxFrame + 1, 1 << 31, 1<<32 - 1} {
		in := NewConn(stream{Reader: bytes.NewReader(append(binary.LittleEndian.AppendUint32(nil, n), 7, 0, 0))})
		if _, _, err := in.Read(); !errors.Is(err, ErrLong) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if cap(in.body) != 0 {
			t.Errorf("%d bytes: %d were allocated", n, cap(in.body))
		}
	}
	if err := NewConn(stream{Writer: io.Discard}).Write(1, make([]byte, MaxFrame+1)); !errors.Is(err, ErrLong) {
		t.Errorf("written: %v", err)
	}
}

func TestAStreamThatEndsWithinAFrame(t *testing.T) {
	whole := frame(5, []byte("hello"))
	for n := 1; n < len(whole); n++ {
		_, _, err := NewConn(stream{Reader: bytes.NewReader(whole[:n])}).Read()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// Whoever is silent for Quiet is gone, however much he says within a frame
// that never ends; whoever has a pulse is not.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		in := NewConn(a)
		ctx, stop := context.WithCancel(t.Context())
		var beating sync.WaitGroup
		beating.Go(func() { _ = NewConn(b).Pulse(ctx) })
		began := time.Now()
		time.AfterFunc(20*time.Second, stop)
		_, _, err := in.Read()
		if took := time.Since(began); !errors.Is(err, ErrQuiet) || took < 20*time.Second || took > 20*time.Second+Quiet {
			t.Errorf("%v after %v", err, took)
		}
		beating.Wait()
		began = time.Now()
		var dripping sync.WaitGroup
		dripping.Go(func() { // a byte a second of a frame of 100
			for _, c := range frame(1, make([]byte, 100)) {
				if _, err := b.Write([]byte{c}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if _, _, err := in.Read(); !errors.Is(err, ErrQuiet) || time.Since(began) > Quiet {
			t.Errorf("dripping: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, _, err := in.Await(10 * time.Second); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("await: %v after %v", err, time.Since(began))
		}
		_ = in.Close()
		_ = b.Close()
		dripping.Wait()
	})
}

// A peer that does not read breaks the stream after WriteWait, for everybody.
func TestAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := NewConn(a)
		defer c.Close()
		began := time.Now()
		if err := c.Write(1, []byte("x")); err == nil || time.Since(began) != WriteWait {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := c.Write(2, nil); err == nil || time.Since(began) != WriteWait {
			t.Errorf("again: %v after %v", err, time.Since(began))
		}
	})
}

// Frames of two goroutines are never mixed.
func TestWritesAreSerialised(t *testing.T) {
	a, b := net.Pipe()
	out, in := NewConn(a), NewConn(b)
	var writing sync.WaitGroup
	for k := byte(1); k <= 4; k++ {
		writing.Go(func() {
			for n := range 200 {
				if err := out.Write(k, bytes.Repeat([]byte{k}, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := map[byte]int{}
	for range 4 * 200 {
		kind, body, err := in.Read()
		if err != nil {
			t.Fatal(err)
		}
		if len(body) != next[kind] || strings.Trim(string(body), string(rune(kind))) != "" {
			t.Fatalf("kind %d: %v", kind, body)
		}
		next[kind]++
	}
	writing.Wait()
	_, _ = out.Close(), in.Close()
}

// Reading and writing take no memory once the buffers are there.
func TestNoAllocations(t *testing.T) {
	body := make([]byte, 500*48)
	f := frame(1, body)
	wire := &again{b: f}
	in, out := NewConn(stream{Reader: wire}), NewConn(stream{Writer: io.Discard})
	run := func() {
		if _, _, err := in.Read(); err != nil {
			t.Fatal(err)
		}
		if err := out.Write(1, body); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

// again gives the same bytes for ever.
type again struct {
	b  []byte
	at int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.b[a.at:])
	a.at = (a.at + n) % len(a.b)
	return n, nil
}

func FuzzFrames(f *testing.F) {
	f.Add(frame(1, []byte("x")))
	f.Add(append(frame(Heart, nil), frame(9, make([]byte, 300))...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, wire []byte) {
		in := NewConn(stream{Reader: bytes.NewReader(wire)})
		var back bytes.Buffer
		out := NewConn(stream{Writer: &back})
		for {
			kind, body, err := in.frame(Quiet)
			if err != nil {
				break
			}
			if err := out.Write(kind, body); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(wire, back.Bytes()) {
			t.Fatalf("%x was read as %x", wire, back.Bytes())
		}
		if cap(in.body) > len(wire)+buffer && cap(in.body) > MaxFrame {
			t.Fatalf("%d bytes allocated for %d", cap(in.body), len(wire))
		}
	})
}
