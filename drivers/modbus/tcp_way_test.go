package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers"
	"davy/drivers/tag"
)

func TestParseLink(t *testing.T) {
	f := func(target string, fields drivers.Fields, want string) {
		t.Helper()
		s, err := TCP{}.ParseLink(target, fields)
		if err != nil || s.Target != want {
			t.Errorf("%q %v: %q %v, want %q", target, fields, s.Target, err, want)
		}
	}
	f("192.168.1.20", nil, "192.168.1.20:502")
	f(" a:502, b:503 ", nil, "a:502, b:503")
	f("[a:502, b]", nil, "a:502, b:502")
	f("[::1]:502", nil, "[::1]:502")
	f("::1", nil, "[::1]:502")
	f("[::1]:502, [::2]:503", nil, "[::1]:502, [::2]:503")
	f("listen :5020", nil, "listen 0.0.0.0:5020")
	f("Listen  *:5020", nil, "listen 0.0.0.0:5020")
	f("listen [::]:5020", drivers.Fields{"registration": "JY0231", "heartbeat": "0xFE", "from": "10.0.0.0/8"}, `listen [::]:5020 "JY0231"`)
	f("a", drivers.Fields{"pipeline": "auto", "idle_release": "10s", "keep_alive": "off", "connections": "1"}, "a:502")
	f("a", drivers.Fields{"pipeline": "16", "idle_release": "off", "keep_alive": "3s"}, "a:502")

	bad := func(target string, fields drivers.Fields, want ...string) {
		t.Helper()
		_, err := TCP{}.ParseLink(target, fields)
		var got []string
		for _, e := range joined(err) {
			var f *drivers.FieldError
			var h *drivers.Hint
			if !errors.As(e, &f) || !errors.As(e, &h) {
				t.Errorf("%v", e)
				continue
			}
			got = append(got, f.Field+" "+h.Code)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q %v: %v, want %v", target, fields, got, want)
		}
	}
	bad("", nil, " modbus.target")
	bad("a, b c", nil, " modbus.target")
	bad("a,b,c,d,e", nil, " modbus.target")
	bad("listen", nil, " modbus.listen")
	bad("listen plc:5020", nil, " modbus.listen")
	bad("listen :0", nil, " modbus.listen")
	bad("listen :5020", drivers.Fields{"registration": "", "heartbeat": "0xf", "from": " ", "idle_release": "1s"},
		"from modbus.from", "heartbeat modbus.packet", "idle_release modbus.listen-idle", "registration modbus.packet")
	bad("listen :5020", drivers.Fields{"registration": strings.Repeat("x", MaxPacket+1), "from": "10.0.0.0/33, a"},
		"from modbus.from", "from modbus.from", "registration modbus.packet")
	bad("a", drivers.Fields{"registration": "x", "pipeline": "17", "keep_alive": "1s", "idle_release": "2", "connections": "17"},
		"connections modbus.connections", "idle_release modbus.span", "keep_alive modbus.span", "pipeline modbus.pipeline", "registration modbus.listen-only")
	bad("a", drivers.Fields{"pipeline": "yes"}, "pipeline modbus.pipeline")
}

func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// towards opens a link in a bubble to what dial makes.
func towards(t *testing.T, target string, fields drivers.Fields, log *slog.Logger, dial func(ctx context.Context, target string) (Port, error)) *link {
	t.Helper()
	d := TCP{Dial: dial}
	s, err := d.ParseLink(target, fields)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	l, err := d.Open(t.Context(), drivers.LinkConfig{Name: "plc", Settings: s, Timeout: wait, Log: log, Now: func() tag.Stamp {
		return tag.Stamp{Mono: int64(time.Since(start)) + 1}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l.(*link)
}

// Alternates are tried in turn, each with its share of the time, and the one
// that answered last goes first.
func TestAlternates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := map[string]string{} // "right", "mute", "dead" (dialing leads nowhere), "" refused
		var tried []string
		dial := func(ctx context.Context, target string) (Port, error) {
			tried = append(tried, target)
			if up[target] == "dead" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if up[target] == "" {
				return nil, fmt.Errorf("%s: %w", target, errRefused)
			}
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				for q := receive(theirs); q != nil; q = receive(theirs) {
					if up[target] != "right" {
						continue
					}
					theirs.Write(right(q))
				}
			}()
			return ours, nil
		}
		var out bytes.Buffer
		l := towards(t, "a:1, b:2, c:3", nil, slog.New(slog.NewTextHandler(&out, nil)), dial)
		defer l.Close()
		q := request1(t, 1, "holding 100")
		until := func(want ...string) {
			t.Helper()
			tried = nil
			for range 50 {
				rs, err := l.Read(t.Context(), q, nil)
				if err == nil && rs[0].Quality.Good() {
					break
				}
				time.Sleep(time.Second)
			}
			good(t, l, q)
			if !slices.Equal(tried, want) {
				t.Errorf("tried %v, want %v", tried, want)
			}
		}
		if _, err := l.Read(t.Context(), q, nil); err == nil || !strings.Contains(err.Error(), "a:1") || len(tried) != 3 {
			t.Error("the error is not of the preferred one:", err)
		}
		time.Sleep(time.Second)
		up["a:1"], up["b:2"] = "dead", "right"
		until("a:1", "b:2")
		l.channel.(*mbap).drop(errRefused, true)
		until("b:2")
		up["b:2"], up["c:3"] = "mute", "right"
		l.channel.(*mbap).drop(errRefused, true)
		until("b:2", "c:3") // accepted, and silent until the connection was given up
		if n := strings.Count(out.String(), "alternate address in use"); n != 1 || !strings.Contains(out.String(), "address=c:3 before=b:2") {
			t.Errorf("%d changes logged:\n%s", n, out.String())
		}
		up["c:3"] = ""
		up["a:1"] = "right"
		l.channel.(*mbap).drop(errRefused, true)
		until("c:3", "a:1")
	})
}

// The connection is given back when nothing was asked for a while; the next
// request makes a new one and neither costs a reading nor counts as a loss.
func TestIdleRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, dialed atomic.Int64
		dial := func(context.Context, string) (Port, error) {
			dialed.Add(1)
			open.Add(1)
			ours, theirs := net.Pipe()
			go func() {
				for q := receive(theirs); q != nil; q = receive(theirs) {
					time.Sleep(200 * time.Millisecond)
					theirs.Write(right(q))
				}
				open.Add(-1)
			}()
			return ours, nil
		}
		l := towards(t, "a", drivers.Fields{"idle_release": "250ms"}, nil, dial)
		q := request1(t, 1, "holding 100")
		for range 10 { // each takes 200 ms, and the pauses between are short
			good(t, l, q)
			time.Sleep(240 * time.Millisecond)
		}
		if dialed.Load() != 1 || open.Load() != 1 {
			t.Errorf("%d connections, %d open", dialed.Load(), open.Load())
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if open.Load() != 0 {
			t.Error("an idle connection is kept")
		}
		good(t, l, q)
		time.Sleep(time.Second)
		good(t, l, q)
		if c := l.Counts(); dialed.Load() != 3 || c.Lost != 0 || c.Silent != 0 {
			t.Errorf("%d connections, %+v", dialed.Load(), c)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		if open.Load() != 0 {
			t.Errorf("%d open", open.Load())
		}
	})
}

// A device that wants a pause between requests has it, from the last answer on.
func TestPauseOfADevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		dial := func(context.Context, string) (Port, error) {
			ours, theirs := net.Pipe()
			go func() {
				for q := receive(theirs); q != nil; q = receive(theirs) {
					if quiet := time.Since(last); !last.IsZero() && quiet < 100*time.Millisecond {
						t.Errorf("asked after %v", quiet)
					}
					time.Sleep(10 * time.Millisecond)
					theirs.Write(right(q))
					last = time.Now()
				}
			}()
			return ours, nil
		}
		l := towards(t, "a", nil, nil, dial)
		defer l.Close()
		options, err := TCP{}.ParseDevice(drivers.Fields{"pause": "100ms"})
		if err != nil {
			t.Fatal(err)
		}
		q := request1(t, 1, "holding 100").(*request)
		q.unit = options.(*unitOptions)
		from := time.Now()
		for range 5 {
			good(t, l, q)
		}
		if took := time.Since(from); took != 450*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		q.unit.pause = time.Second
		good(t, l, q)
		_, err = l.Read(t.Context(), q, nil)
		var later *drivers.Later
		if !errors.As(err, &later) || time.Duration(later.Until-l.now().Mono) != time.Second || later.Line {
			t.Errorf("%v %+v", err, later)
		}
	})
}

// The kernel watches over connections of both directions.
func TestKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	watched := func(c any, keep time.Duration) {
		t.Helper()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		on, idle, interval, count, user := 0, 0, 0, 0, 0
		err = raw.Control(func(fd uintptr) {
			for _, o := range []struct {
				level, name int
				into        *int
			}{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, &on},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, &idle},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, &interval},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, &count},
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, &user},
			} {
				if *o.into, err = unix.GetsockoptInt(int(fd), o.level, o.name); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		got := []int{on, idle, interval, count, user}
		want := []int{1, int(keep.Seconds()), int(keep.Seconds()) / keepAliveProbes, keepAliveProbes, int(2 * keep.Milliseconds())}
		if keep == 0 {
			got, want = []int{on, user}, []int{0, 0}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", keep, got, want)
		}
	}
	for _, keep := range []time.Duration{DefaultKeepAlive, 3 * time.Second, 0} {
		ours, err := dialer(keep)(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		keepAlive(theirs, keep)
		watched(ours, keep)
		watched(theirs, keep)
		ours.Close()
		theirs.Close()
	}
}
