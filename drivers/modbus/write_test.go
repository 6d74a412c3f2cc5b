package modbus

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// scribe is a peer that notes what it is asked and answers with answer.
type scribe struct {
	answer func(request []byte) []byte
	asked  []string // unit and PDU, in hex
}

func (s *scribe) peer() *peer {
	return &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				s.asked = append(s.asked, hex.EncodeToString(q[6:]))
				if a := s.answer(q); a != nil {
					c.Write(a)
				}
			}
		}
	}}
}

func echo(q []byte) []byte { return reply(q, q[7:12]...) }

func writable(t *testing.T, at, typ string) drivers.Point {
	p := point(t, at, typ)
	p.Station, p.Write = 2, true
	return p
}

func TestWrite(t *testing.T) {
	x, _ := tag.Float64Value(12.5)
	f := func(p drivers.Point, v tag.Value, answer func([]byte) []byte, want string) {
		t.Helper()
		s := &scribe{answer: answer}
		bubble(t, s.peer(), func(t *testing.T, l *link) {
			if err := l.Write(t.Context(), p, v); err != nil {
				t.Error(err)
			}
		})
		if got := strings.Join(s.asked, " "); got != want {
			t.Errorf("%s: sent %s, want %s", p.Name, got, want)
		}
	}
	ignorant := func(q []byte) []byte { // of functions 5 and 6
		if q[7] < 7 {
			return reply(q, q[7]|0x80, 1)
		}
		return echo(q)
	}
	f(writable(t, "coil 7", ""), tag.BoolValue(true), echo, "02050007ff00")
	f(writable(t, "coil 7", ""), tag.BoolValue(false), echo, "020500070000")
	f(writable(t, "coil 7", ""), tag.BoolValue(true), ignorant, "02050007ff00"+" 020f000700010101")
	f(writable(t, "coil 7", ""), tag.BoolValue(false), ignorant, "020500070000"+" 020f000700010100")
	f(writable(t, "holding 7", "int16"), tag.IntValue(-2), echo, "02060007fffe")
	f(writable(t, "holding 7", "int16"), tag.IntValue(-2), ignorant, "02060007fffe"+" 021000070001"+"02fffe")
	f(writable(t, "ref 40301", "float32 CDAB"), x, echo, "0210012c000204"+"00004148")
	f(writable(t, "holding 7", "bcd16"), tag.IntValue(1234), echo, "020600071234")

	way := func(how string, p drivers.Point) drivers.Point { p.Options = options(t, "write", how); return p }
	masked := func(q []byte) []byte { return reply(q, q[7:14]...) }
	f(writable(t, "holding 7 bit 3", ""), tag.BoolValue(true), masked, "02160007fff70008")
	f(writable(t, "holding 7 bit 15", ""), tag.BoolValue(false), masked, "021600077fff0000")
	f(way("multiple", writable(t, "coil 7", "")), tag.BoolValue(true), echo, "020f000700010101")
	f(way("multiple", writable(t, "holding 7", "")), tag.IntValue(9), echo, "021000070001"+"020009")
	f(way("single", writable(t, "holding 7", "")), tag.IntValue(9), echo, "020600070009")
	held := func(q []byte) []byte { return reply(q, append([]byte{23, q[16]}, q[17:]...)...) }
	f(way("readwrite", writable(t, "holding 7", "float32")), x, held, "021700070002000700020441480000")
	f(way("readwrite", writable(t, "coil 7", "")), tag.BoolValue(true), echo, "02050007ff00")
	wide := writable(t, "holding 7", "uint32")
	wide.Options = options(t, "registers", "32 bit")
	f(wide, tag.IntValue(0x01020304), echo, "021000070001"+"0401020304")
	any := writable(t, "holding 7", "")
	any.Options = options(t, "accept_any_unit", "yes")
	f(any, tag.IntValue(9), func(q []byte) []byte { a := echo(q); a[6] = 255; return a }, "020600070009")
}

func TestAWriteSaysWhatIsKnown(t *testing.T) {
	f := func(name string, p drivers.Point, answer func([]byte) []byte, unknown bool, want string) {
		t.Helper()
		s := &scribe{answer: answer}
		bubble(t, s.peer(), func(t *testing.T, l *link) {
			err := l.Write(t.Context(), p, tag.BoolValue(true))
			if err == nil || errors.Is(err, drivers.ErrUnknown) != unknown || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			if len(s.asked) > 1 {
				t.Errorf("%s: a write was repeated: %v", name, s.asked)
			}
		})
	}
	coil := writable(t, "coil 7", "")
	exception := func(code byte) func([]byte) []byte {
		return func(q []byte) []byte { return reply(q, q[7]|0x80, code) }
	}
	f("silence", coil, func([]byte) []byte { return nil }, true, "write plc station 2 coil 7 (ref 8): outcome unknown: no answer within 300ms")
	f("other value", coil, func(q []byte) []byte { return reply(q, 5, 0, 7, 0, 0) }, true, "echo")
	f("other address", coil, func(q []byte) []byte { return reply(q, 5, 0, 8, 0xff, 0) }, true, "echo")
	f("other function", coil, func(q []byte) []byte { return reply(q, 6, 0, 7, 0xff, 0) }, true, "function")
	f("short", coil, func(q []byte) []byte { return reply(q, 5, 0, 7) }, true, "echo")
	f("noise", coil, func(q []byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n") }, true, "framing")
	f("address", coil, exception(2), false, "illegal data address")
	f("busy", coil, exception(6), false, "busy")
	f("no path", coil, exception(10), false, "path")
	f("failed at it", coil, exception(4), true, "device failure")
	f("still at it", coil, exception(5), true, "acknowledged")
	f("lost behind the gateway", coil, exception(11), true, "gateway")
	f("another unit", coil, func(q []byte) []byte { a := echo(q); a[6] = 255; return a }, true, "unit 255")

	bit, single, kept := writable(t, "holding 7 bit 3", ""), writable(t, "coil 7", ""), writable(t, "holding 7", "")
	single.Options, kept.Options = options(t, "write", "single"), options(t, "write", "readwrite")
	f("no mask write", bit, exception(1), false, "it knows no mask write")
	f("another mask", bit, func(q []byte) []byte { a := reply(q, q[7:14]...); a[13] ^= 1; return a }, true, "echo")
	f("single only", single, exception(1), false, "illegal function")
	f("kept its own", kept, func(q []byte) []byte { return reply(q, 23, 2, 0, 0) }, true, "holds something else after it: 00 00")
	f("no readwrite", kept, exception(1), false, "illegal function")
}

func TestWhatMayNotBeWrittenIsNotSent(t *testing.T) {
	s := &scribe{answer: echo}
	bubble(t, s.peer(), func(t *testing.T, l *link) {
		locked := writable(t, "coil 7", "")
		locked.Write = false
		ranged := writable(t, "holding 7", "")
		ranged.Ranged, ranged.High = true, 100
		scaledBy := writable(t, "holding 7", "")
		scaledBy.Decimals = Address{Table: Holding, Number: 8}
		with := func(p drivers.Point, fields ...string) drivers.Point { p.Options = options(t, fields...); return p }
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range []struct {
			ctx  context.Context
			p    drivers.Point
			v    tag.Value
			want string
		}{
			{t.Context(), locked, tag.BoolValue(true), drivers.ErrReadOnly.Error()},
			{t.Context(), writable(t, "input 7", ""), tag.IntValue(1), "modbus.write-table"},
			{t.Context(), writable(t, "holding 7", "uint16 bits 3..4"), tag.IntValue(1), "modbus.write-field"},
			{t.Context(), ranged, tag.IntValue(101), "outside"},
			{t.Context(), writable(t, "holding 7", "int16"), tag.IntValue(1 << 20), "does not fit"},
			{t.Context(), with(writable(t, "holding 7 bit 3", ""), "registers", "32 bit"), tag.BoolValue(true), "modbus.write-bit"},
			{t.Context(), with(writable(t, "holding 7", "float32"), "write", "single"), tag.IntValue(1), "modbus.write-single"},
			{t.Context(), with(writable(t, "holding 7", "uint32"), "write", "single", "registers", "32 bit"), tag.IntValue(1), "modbus.write-single"},
			{t.Context(), writable(t, "holding 7", "text 2"), tag.IntValue(1), "modbus.write-text"},
			{t.Context(), scaledBy, tag.IntValue(1), "modbus.write-decimals"},
			{cancelled, writable(t, "coil 7", ""), tag.BoolValue(true), "canceled"},
		} {
			err := l.Write(c.ctx, c.p, c.v)
			if err == nil || errors.Is(err, drivers.ErrUnknown) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", c.p.Name, err, c.want)
			}
		}
	})
	if len(s.asked) > 0 {
		t.Errorf("sent %v", s.asked)
	}
	bubble(t, s.peer(), func(t *testing.T, l *link) {
		l.readOnly = true
		if err := l.Write(t.Context(), writable(t, "coil 7", ""), tag.BoolValue(true)); !errors.Is(err, drivers.ErrReadOnly) {
			t.Errorf("on a link that is read only: %v", err)
		}
	})
	if len(s.asked) > 0 {
		t.Errorf("sent %v", s.asked)
	}
	none := &peer{serve: func(int) func(net.Conn) { return nil }}
	bubble(t, none, func(t *testing.T, l *link) {
		if err := l.Write(t.Context(), writable(t, "coil 7", ""), tag.BoolValue(true)); !errors.Is(err, errRefused) || errors.Is(err, drivers.ErrUnknown) {
			t.Errorf("a write without a connection: %v", err)
		}
	})
}

func TestReadAllocatesNothing(t *testing.T) {
	p := &peer{}
	var answer [maxADU]byte
	link, _ := TCP{Dial: func(context.Context, string) (Port, error) { return &loop{answer: answer[:]}, nil }}.
		Open(t.Context(), drivers.LinkConfig{Timeout: time.Minute, Now: func() tag.Stamp { return tag.Stamp{} }})
	q := registers(t, 0, 125)
	dst := make([]tag.Reading, 0, 125)
	var err error
	allocs := testing.AllocsPerRun(200, func() {
		if dst, err = link.Read(t.Context(), q, dst[:0]); err != nil || !dst[124].Quality.Good() {
			t.Fatal(err)
		}
	})
	if allocs > 0 || p.dialed > 0 {
		t.Errorf("%v allocations a read", allocs)
	}
}

// loop is a connection that answers at once, without allocating.
type loop struct {
	answer []byte
	n      int
}

func (c *loop) Write(q []byte) (int, error) {
	count := int(q[11])
	c.n = copy(c.answer, q[:8])
	c.answer[4], c.answer[5], c.answer[8] = 0, byte(3+2*count), byte(2*count)
	c.n = 9 + 2*count
	return len(q), nil
}

func (c *loop) Read(b []byte) (int, error)  { return copy(b, c.answer[:c.n]), nil }
func (c *loop) SetDeadline(time.Time) error { return nil }
func (c *loop) Close() error                { return nil }

// A stream of anything: no panic, no hang, and good only where the stream
// holds a whole frame that answers the request.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 7}, uint8(255))
	f.Add([]byte{9, 9, 0, 0, 0, 5, 1, 3, 2, 0, 7, 0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 8}, uint8(3))
	f.Add([]byte{0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 7, 1, 2, 3}, uint8(1))
	q := readFrame(1, Holding, 7, 1)
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		c := &spool{stream: stream, step: int(step) + 1}
		l := open(drivers.LinkConfig{Timeout: time.Minute, Now: func() tag.Stamp { return tag.Stamp{Mono: 1} }},
			func(cfg drivers.LinkConfig) channel {
				return newMBAP(cfg, newWay(cfg, nil, nil, func(context.Context, string) (Port, error) { return c, nil }), 1)
			})
		if err := l.channel.(*mbap).connect(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		l.limit(t.Context())
		m := l.channel.(*mbap)
		m.id, m.stride = 0xffff, 1 // the request goes out with id 0
		data, err := l.transfer(t.Context(), q, false)
		if err != nil {
			return
		}
		if len(data) != 2 || !strings.Contains(string(stream), "\x00\x00\x00\x00\x00\x05\x01\x03\x02"+string(data)) {
			t.Fatalf("% x was read from % x", data, stream)
		}
	})
}

// spool is a connection that gives a stream in steps and then ends.
type spool struct {
	stream []byte
	step   int
}

func (c *spool) Write(b []byte) (int, error) { return len(b), nil }
func (c *spool) Read(b []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, errors.New("end")
	}
	n := copy(b, c.stream[:min(c.step, len(c.stream))])
	c.stream = c.stream[n:]
	return n, nil
}
func (c *spool) SetDeadline(time.Time) error { return nil }
func (c *spool) Close() error                { return nil }
