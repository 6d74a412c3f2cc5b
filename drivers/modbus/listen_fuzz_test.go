package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// A stream of anything in answer to three requests that are under way together:
// no panic, no hang, every request answered for once, and good only where the
// stream holds the whole frame that answers it.
func FuzzTogether(f *testing.F) {
	one, two := "\x00\x00\x00\x00\x00\x05\x01\x03\x02\x00\x07", "\x00\x01\x00\x00\x00\x07\x02\x03\x04\x00\x07\x00\x08"
	f.Add([]byte(one+two), uint8(255))
	f.Add([]byte(two+one), uint8(4))
	f.Add([]byte(two+two+one), uint8(30))
	f.Add([]byte(two+"\x00\x00\x00\x00\x00\x03\x01\x83\x02"), uint8(8))
	f.Add([]byte("\x00\x00\x00\x00\x00\x07\x01\x03\x04\x00\x07\x00\x08"+one), uint8(1))
	var reqs []drivers.Request
	for i := range 3 {
		p := drivers.Point{Tag: 1, Station: 1 + i, Address: Address{Table: Holding, Number: 7}, Type: drivers.Type{Kind: tag.Int, Bits: 16}}
		q := p
		q.Tag, q.Address = 2, Address{Table: Holding, Number: uint16(7 + i)}
		planned, err := TCP{}.Plan(drivers.Settings{}, []drivers.Point{p, q})
		if err != nil || len(planned) != 1 {
			f.Fatal(planned, err)
		}
		reqs = append(reqs, planned[0])
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		dialed := 0
		dial := func(context.Context, string) (Port, error) {
			if dialed++; dialed > 1 {
				return nil, errRefused
			}
			return &spool{stream: stream, step: int(step) + 1}, nil
		}
		l := open(drivers.LinkConfig{Timeout: time.Minute, Now: func() tag.Stamp { return tag.Stamp{Mono: 1} }},
			func(cfg drivers.LinkConfig) channel { return newMBAP(cfg, newWay(cfg, nil, nil, dial), 3) })
		m := l.channel.(*mbap)
		if err := m.connect(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		m.fruitful, m.id, m.stride = true, 0xffff, 1 // ids 0, 1 and 2; those asked alone 3, 4, …
		answered := 0
		l.ReadAll(t.Context(), reqs, func(i int, rs []tag.Reading, _ error) {
			answered++
			for n, r := range rs {
				if r.Quality.Bad() {
					continue
				}
				frame := []byte{0, 0, 0, byte(5 + 2*i), byte(1 + i), 3, byte(2 + 2*i)}
				at := 0
				if n == 1 {
					at = 2 * i
				}
				if !streamed(stream, frame, at, uint16(r.Value.Int())) {
					t.Fatalf("request %d: %v was read from % x", i, r.Value, stream)
				}
			}
		})
		if answered != len(reqs) {
			t.Fatalf("%d of %d were answered for", answered, len(reqs))
		}
	})
}

// streamed reports whether a stream holds an answer whose frame goes on like this
// after its id, with a register at a place of its data.
func streamed(stream, frame []byte, at int, register uint16) bool {
	for rest := stream; ; {
		i := bytes.Index(rest, frame)
		if i < 0 {
			return false
		}
		data := rest[i+len(frame):]
		if len(data) >= at+2 && binary.BigEndian.Uint16(data[at:]) == register {
			return true
		}
		rest = rest[i+1:]
	}
}

// Whatever stands in the site file: no panic, and what is taken is bounded and
// says again what it is.
func FuzzListen(f *testing.F) {
	f.Add("listen :5020", "JY0231", "0xfe", "10.8.0.0/16, 192.168.1.7")
	f.Add("listen [::]:5020", "0x", "", "::1")
	f.Add("[a:502, b:502]", "", "", "")
	f.Fuzz(func(t *testing.T, target, registration, heartbeat, from string) {
		fields := drivers.Fields{}
		for name, text := range map[string]string{"registration": registration, "heartbeat": heartbeat, "from": from} {
			if text != "" {
				fields[name] = text
			}
		}
		s, err := TCP{}.ParseLink(target, fields)
		if err != nil {
			return
		}
		r := s.Options.(*tcpOptions).reach
		if r.unit == nil {
			if n := len(r.addresses); n < 1 || n > MaxAlternates || s.Target != strings.Join(r.addresses, ", ") {
				t.Fatalf("%q: %q", target, r.addresses)
			}
			return
		}
		if _, err := netip.ParseAddrPort(r.unit.address); err != nil {
			t.Fatal(err)
		}
		for _, p := range r.unit.packets() {
			if len(p) == 0 || len(p) > MaxPacket {
				t.Fatalf("a packet of %d bytes", len(p))
			}
		}
		if from != "" && len(r.unit.from) == 0 {
			t.Fatalf("%q lets everybody in", from)
		}
	})
}
