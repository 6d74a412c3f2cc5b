package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// heard is one read of an end and when it came, from the beginning.
type heard struct {
	at   time.Duration
	data []byte
}

// line runs l between two streams in the process, lets play speak on them and
// returns what each end heard by the end of it.
func line(l Line, length time.Duration, play func(master, slave io.Writer)) (ends [2][]heard) {
	a, masterEnd := net.Pipe()
	b, slaveEnd := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	began := time.Now()
	done := make(chan error, 3)
	go func() { done <- l.Run(ctx, masterEnd, slaveEnd) }()
	for side, end := range []net.Conn{a, b} {
		go func() {
			buf := make([]byte, MaxQueue)
			for {
				n, err := end.Read(buf)
				if err != nil {
					done <- nil
					return
				}
				ends[side] = append(ends[side], heard{time.Since(began), bytes.Clone(buf[:n])})
			}
		}()
	}
	play(a, b)
	for range 3 {
		if err := <-done; err != nil {
			panic(err)
		}
	}
	return ends
}

func join(h []heard) (all []byte) {
	for _, one := range h {
		all = append(all, one.data...)
	}
	return all
}

func say(t *testing.T, w io.Writer, data ...byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Error(err)
	}
}

// Each character is heard after its own time and at most a grain later, the
// thousandth as the first, at every speed.
func TestTime(t *testing.T) {
	for _, l := range []Line{{Baud: 1200}, {Baud: 9600}, {Baud: 9600, Bits: 10}, {Baud: 115200}} {
		synctest.Test(t, func(t *testing.T) {
			const many = 1000
			sent := bytes.Repeat([]byte("0123456789"), many/10)
			ends := line(l, time.Minute, func(master, _ io.Writer) { say(t, master, sent...) })
			if got := join(ends[Slave]); !bytes.Equal(got, sent) || len(ends[Master]) != 0 {
				t.Fatalf("%+v: heard %d bytes of %d, and %d back", l, len(got), many, len(join(ends[Master])))
			}
			n := 0
			for _, h := range ends[Slave] {
				for range h.data {
					n++
					if due := time.Duration(n) * l.Char(); h.at < due || h.at > due+Grain {
						t.Fatalf("%+v: character %d came at %v, its end is at %v", l, n, h.at, due)
					}
				}
			}
		})
	}
	if c := (Line{Baud: 9600}).Char(); c != 11*time.Second/9600 {
		t.Error(c)
	}
}

// A second burst follows the first on the wire, and one that comes later has its own time.
func TestBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Line{Baud: 1000, Bits: 10} // 10 ms each
		ends := line(l, time.Second, func(master, slave io.Writer) {
			say(t, master, 1, 2)
			say(t, master, 3)
			time.Sleep(100 * time.Millisecond)
			say(t, slave, 4)
		})
		if got := ends[Slave]; len(got) != 3 || got[2].at != 30*time.Millisecond || got[2].data[0] != 3 {
			t.Errorf("slave heard %v", got)
		}
		if got := ends[Master]; len(got) != 1 || got[0].at != 110*time.Millisecond {
			t.Errorf("master heard %v", got)
		}
	})
}

// Who speaks at the same time spoils what both say, and nothing beside it.
func TestCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Line{Baud: 1000, Bits: 10}
		ends := line(l, time.Second, func(master, slave io.Writer) {
			say(t, master, 1, 2, 3, 4)
			time.Sleep(15 * time.Millisecond) // in the middle of 2
			say(t, slave, 9)                  // until the middle of 3
			time.Sleep(100 * time.Millisecond)
			say(t, slave, 8)
			time.Sleep(10 * time.Millisecond) // just when 8 is over
			say(t, master, 5)
		})
		got := join(ends[Slave])
		if len(got) != 5 || got[0] != 1 || got[1] == 2 || got[2] == 3 || got[3] != 4 || got[4] != 5 {
			t.Errorf("slave heard %v", got)
		}
		if got := join(ends[Master]); len(got) != 2 || got[0] == 9 || got[1] != 8 {
			t.Errorf("master heard %v", got)
		}
	})
}

// Everything that a line may do to a burst.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Line{Baud: 1000, Bits: 10, Fault: func(b Burst) Effect {
			whole := []Piece{{Data: b.Data}}
			switch {
			case b.From == Slave:
				return Effect{Pieces: whole}
			case b.Count == 1: // dropped
				return Effect{}
			case b.Count == 2: // garbled
				return Effect{Pieces: []Piece{{Data: []byte{b.Data[0] ^ 0x80, b.Data[1]}}}}
			case b.Count == 3: // delayed
				return Effect{Pieces: []Piece{{Pause: 50 * time.Millisecond, Data: b.Data}}}
			case b.Count == 4: // twice
				return Effect{Pieces: []Piece{{Data: b.Data}, {Pause: 5 * time.Millisecond, Data: b.Data}}}
			case b.Count == 5: // with noise before
				return Effect{Pieces: []Piece{{Data: []byte{0xff}}, {Data: b.Data}}}
			}
			return Effect{Pieces: whole, Echo: true}
		}}
		ends := line(l, 2*time.Second, func(master, slave io.Writer) {
			for i := range 6 {
				say(t, master, byte(i+1), 0)
				time.Sleep(200 * time.Millisecond)
			}
			say(t, slave, 77)
		})
		want := []heard{
			{220 * time.Millisecond, []byte{0x82, 0}},
			{470 * time.Millisecond, []byte{3, 0}},
			{620 * time.Millisecond, []byte{4, 0}},
			{645 * time.Millisecond, []byte{4, 0}},
			{830 * time.Millisecond, []byte{0xff, 5, 0}},
			{1020 * time.Millisecond, []byte{6, 0}},
		}
		if got := join(ends[Slave]); !bytes.Equal(got, []byte{0x82, 0, 3, 0, 4, 0, 4, 0, 0xff, 5, 0, 6, 0}) {
			t.Errorf("slave heard %v", got)
		}
		for _, w := range want { // when the last character of each came
			found := false
			for _, h := range ends[Slave] {
				found = found || h.at == w.at
			}
			if !found {
				t.Errorf("nothing came at %v of %v", w.at, ends[Slave])
			}
		}
		if got := join(ends[Master]); !bytes.Equal(got, []byte{6, 0, 77}) {
			t.Errorf("master heard %v", got)
		}
	})
}

// A full line makes its speaker wait and loses nothing.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Line{Baud: 115200}
		sent := bytes.Repeat([]byte{7}, 5*MaxQueue)
		var took time.Duration
		ends := line(l, time.Minute, func(master, _ io.Writer) {
			began := time.Now()
			say(t, master, sent...)
			took = time.Since(began)
		})
		if n := len(join(ends[Slave])); n != len(sent) {
			t.Errorf("%d of %d arrived", n, len(sent))
		}
		if took < 3*MaxQueue*l.Char() {
			t.Errorf("the speaker did not wait: %v", took)
		}
	})
}

// Run ends with its context and with either end, and closes both.
func TestEnd(t *testing.T) {
	for _, who := range []string{"context", "master", "slave"} {
		a, masterEnd := net.Pipe()
		b, slaveEnd := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- (Line{Baud: 9600}).Run(ctx, masterEnd, slaveEnd) }()
		switch who {
		case "context":
			cancel()
		case "master":
			_ = a.Close()
		case "slave":
			_ = b.Close()
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", who, err)
		}
		for _, end := range []net.Conn{a, b} {
			if _, err := end.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: an end is still open", who)
			}
		}
		cancel()
	}
}

const patience = 10 * time.Second

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return f
}

// Two device files with a line between them: bytes as they are, not before
// their time, for whoever opens them, again and again; a hang-up is seen.
func TestPty(t *testing.T) {
	a, pathA, err := Pty()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "ttyB")
	if err := os.Symlink("/nowhere", link); err != nil {
		t.Fatal(err)
	}
	b, err := PtyAt(link)
	if err != nil {
		t.Fatal(err)
	}
	l := Line{Baud: 9600, Bits: 10}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, a, b) }()
	sent := make([]byte, 256)
	for i := range sent {
		sent[i] = byte(i) // among them everything that a terminal has manners for
	}
	var master, slave *os.File
	for range 2 {
		master, slave = open(t, pathA), open(t, link)
		for _, way := range [][2]*os.File{{master, slave}, {slave, master}} {
			began := time.Now()
			if _, err := way[0].Write(sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %x, %v", got, err)
			}
			if d := time.Since(began); d < time.Duration(len(sent))*l.Char() {
				t.Errorf("256 characters in %v", d)
			}
		}
		_ = master.Close()
		_ = slave.Close()
	}
	slave = open(t, link)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := slave.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the hang-up: %d, %v", n, err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link stays: %v", err)
	}
}

// What nobody reads is lost and holds nobody up; a file is not taken for a link.
func TestPtyAlone(t *testing.T) {
	a, path, err := Pty()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 10 {
		if n, err := a.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	f := open(t, path)
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PtyAt(file); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file was replaced: %v", err)
	}
}

// A line that ends while a character is due ends without a word.
func TestWriteAfterClose(t *testing.T) {
	e, _, err := Pty()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}
}
