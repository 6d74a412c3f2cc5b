package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"davy/drivers"
	"davy/drivers/modbus/serial"
	"davy/drivers/tag"
	"davy/test/scale"
)

// pseudo opens a pseudo terminal: the far end, and the path of the line.
func pseudo(t *testing.T) (far *os.File, line string) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	raw, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number, unlock int32
	err = raw.Control(func(fd uintptr) {
		for request, arg := range map[uintptr]*int32{unix.TIOCSPTLCK: &unlock, unix.TIOCGPTN: &number} {
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg))); e != 0 {
				t.Error(e)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return far, fmt.Sprintf("/dev/pts/%d", number)
}

// serveLine answers what comes as every register with its own address, until
// the far end is over.
func serveLine(f framer, far io.ReadWriter) {
	var in inbox
	for {
		n, err := far.Read(in.space())
		if err != nil {
			return
		}
		in.add(n, true)
		for {
			body, ok := f.next(&in, &expected{}, false)
			if !ok {
				break
			}
			if body[1] != 3 {
				_, _ = far.Write(f.encode(nil, []byte{body[0], body[1] | 0x80, 1}))
				continue
			}
			count := int(body[5])
			answer := []byte{body[0], body[1], byte(2 * count)}
			for i := range count {
				answer = append(answer, body[2], body[3]+byte(i))
			}
			if _, err := far.Write(f.encode(nil, answer)); err != nil {
				return
			}
		}
	}
}

// realLine opens a link with the driver as cmd/davy makes it.
func realLine(t *testing.T, d drivers.Driver, target string, fields drivers.Fields) *link {
	t.Helper()
	s, err := d.ParseLink(target, fields)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	opened, err := d.Open(t.Context(), drivers.LinkConfig{
		Name: "line", Settings: s, Timeout: 2 * time.Second, Log: slog.New(slog.DiscardHandler),
		Now: func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(start)) + 1} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*link)
}

func TestLineOnARealTerminal(t *testing.T) {
	for name, c := range map[string]struct {
		driver drivers.Driver
		framer framer
	}{"rtu": {RTU{Lines: new(serial.Lines)}, rtu{}}, "ascii": {ASCII{Lines: new(serial.Lines)}, ascii{}}} {
		t.Run(name, func(t *testing.T) {
			far, line := pseudo(t)
			var wg sync.WaitGroup
			defer wg.Wait()
			defer far.Close()
			fields := drivers.Fields{"serial": "115200 8N1", "other_master": "allow"}
			l := realLine(t, c.driver, line, fields)
			defer l.Close()
			if rs, err := l.Read(cancelSoon(t, 50*time.Millisecond), onSerial(t, 3, "holding 7"), nil); err == nil || !rs[0].Quality.Bad() {
				t.Fatal("nobody is there:", err)
			}
			wg.Go(func() { serveLine(c.framer, far) })
			for range 50 {
				if r, err := ask(t, l, onSerial(t, 3, "holding 7")); err != nil || r.Value.Int() != 7 {
					t.Fatal(r, err)
				}
			}
			second := realLine(t, c.driver, line, fields)
			defer second.Close()
			if _, err := second.Read(t.Context(), onSerial(t, 3, "holding 7"), nil); !errors.Is(err, serial.ErrBusy) {
				t.Error("a second link on the line:", err)
			}
			far.Close() // the adapter is pulled out
			wg.Wait()
			if _, err := l.Read(t.Context(), onSerial(t, 3, "holding 7"), nil); err == nil {
				t.Error("a line without its adapter answers")
			}
			// Within a second of asking there is no busy loop, but a pause between openings.
			dialed := l.Counts().Dialed
			for from := time.Now(); time.Since(from) < time.Second; {
				_, _ = l.Read(t.Context(), onSerial(t, 3, "holding 7"), nil)
				<-time.After(time.Millisecond)
			}
			if n := l.Counts().Dialed - dialed; n > 8 {
				t.Error("opened", n, "times in a second")
			}
		})
	}
}

func cancelSoon(t *testing.T, after time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}

// TestLineThousandReconnects leaves nothing behind: descriptors, goroutines.
func TestLineThousandReconnects(t *testing.T) {
	ways := map[string]func(t *testing.T, f framer) (target string, cut func(l *link)){
		"terminal": func(t *testing.T, f framer) (string, func(l *link)) {
			far, device := pseudo(t)
			// Without somebody on the line the far end reads an error.
			holder, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { holder.Close() })
			done := make(chan struct{})
			go func() { defer close(done); serveLine(f, far) }()
			t.Cleanup(func() { far.Close(); <-done })
			// An unplugged port is one that the driver closes for itself.
			return device, func(l *link) { l.channel.(*line).drop(serial.ErrUnplugged, true) }
		},
		"bridge": func(t *testing.T, f framer) (string, func(l *link)) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var conn net.Conn
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					mu.Lock()
					conn = c
					mu.Unlock()
					wg.Go(func() { defer c.Close(); serveLine(f, c) })
				}
			})
			t.Cleanup(func() {
				listener.Close()
				mu.Lock()
				if conn != nil {
					conn.Close()
				}
				mu.Unlock()
				wg.Wait()
			})
			return "tcp://" + listener.Addr().String(), func(*link) {
				mu.Lock()
				conn.Close()
				mu.Unlock()
			}
		},
	}
	for way, begin := range ways {
		for name, c := range map[string]struct {
			driver drivers.Driver
			framer framer
		}{"rtu": {RTU{Lines: new(serial.Lines)}, rtu{}}, "ascii": {ASCII{Lines: new(serial.Lines)}, ascii{}}} {
			t.Run(way+" "+name, func(t *testing.T) {
				target, cut := begin(t, c.framer)
				l := realLine(t, c.driver, target, drivers.Fields{"serial": "115200 8N1", "other_master": "allow", "late_max": "100ms"})
				defer l.Close()
				q := onSerial(t, 3, "holding 7")
				once := func() {
					for {
						if r, err := ask(t, l, q); err == nil && r.Value.Int() == 7 {
							return
						}
						if t.Context().Err() != nil {
							t.FailNow()
						}
					}
				}
				once()
				goroutines, fds := scale.Held()
				reconnects := max(100, scale.Of(1000))
				for range reconnects {
					cut(l)
					once()
				}
				c := l.Counts()
				// The far end of the last connection may need a moment to notice.
				g, f := scale.Held()
				t.Logf("%d reconnects: descriptors %+d, goroutines %+d", c.Dialed-1, f-fds, g-goroutines)
				if c.Dialed < uint64(reconnects) || f > fds || g > goroutines {
					t.Error("something was left behind:", c)
				}
			})
		}
	}
}
