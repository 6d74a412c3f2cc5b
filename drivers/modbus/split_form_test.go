package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// reads lists what the reads on a tapped bus asked for since it was last called.
func (b *bus) reads() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := b.heard; len(h) >= 8; h = h[8:] {
		out = append(out, fmt.Sprintf("%d+%d", binary.BigEndian.Uint16(h[2:]), binary.BigEndian.Uint16(h[4:])))
	}
	b.heard = nil
	return out
}

// onBus runs f in a bubble with a link to a bus that listened to it already,
// and one request for the points at.
func onBus(t *testing.T, device []string, typ string, at []string, f func(t *testing.T, b *bus, l *link, q drivers.Request)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(false)
		b.tap = true
		l, _ := openBus(t, b, time.Second, drivers.Fields{"late_max": "2s"})
		var points []drivers.Point
		for i, s := range at {
			p := point(t, s, typ)
			p.Tag, p.Options, p.Period = tag.ID(i+1), options(t, device...), time.Second
			points = append(points, p)
		}
		settings, err := b.driver().ParseLink(b.target(), b.fields(nil))
		if err != nil {
			t.Fatal(err)
		}
		requests, err := b.driver().Plan(settings, points)
		if err != nil || len(requests) != 1 {
			t.Fatal(requests, err)
		}
		other := request1(t, 9, "input 7")
		for {
			_, err := l.Read(t.Context(), other, nil)
			var later *drivers.Later
			if !errors.As(err, &later) {
				break
			}
			time.Sleep(time.Duration(later.Until - l.now().Mono))
		}
		b.reads()
		f(t, b, l, requests[0])
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// readGood reads q and fails where a point is not the good value of its register.
func readGood(t *testing.T, l *link, q drivers.Request) {
	t.Helper()
	rs, err := l.Read(t.Context(), q, nil)
	for i, p := range q.Points() {
		a := p.Address.(Address)
		want := tag.IntValue(int64(1<<12|int(a.Number)) << 16)
		if a.Table.Bits() {
			want = tag.BoolValue(false)
		}
		if err != nil || !rs[i].Quality.Good() || rs[i].Value != want {
			t.Errorf("%v is %v %#x, want %v: %v", a, rs[i].Value, uint32(rs[i].Quality), want, err)
		}
	}
}

func TestRequestsInARowDifferInLength(t *testing.T) {
	f := func(name string, device []string, typ string, at []string, lacks []uint16, want ...string) {
		t.Run(name, func(t *testing.T) {
			onBus(t, device, typ, at, func(t *testing.T, b *bus, l *link, q drivers.Request) {
				for _, r := range lacks {
					b.lacks[key(1, r)] = true
				}
				for len(b.heard) < 8*len(want) && !t.Failed() {
					readGood(t, l, q)
				}
				if got := b.reads(); !slices.Equal(got, want) {
					t.Errorf("asked %v, want %v", got, want)
				}
			})
		})
	}
	f("one register more", nil, "uint32", []string{"holding 300"}, nil, "300+2", "300+3", "300+2", "300+3")
	f("below where there is none above", nil, "uint32", []string{"holding 300"}, []uint16{302}, "300+2", "300+3", "300+2", "299+3", "300+2")
	f("refused above and below", nil, "uint32", []string{"holding 300"}, []uint16{302, 299}, "300+2",
		"300+3", "300+2", "299+3", "300+2", "300+3", "300+2", "299+3", "300+2", "300+3", "300+2", "299+3", "300+2",
		"300+2", "300+2")
	f("gaps forbidden", []string{"gaps", "no"}, "uint32", []string{"holding 300"}, nil, "300+2", "300+2", "300+2", "300+2")
	f("at the end", nil, "uint32", []string{"holding 39998"}, nil, "39998+2", "39998+3", "39998+2", "39998+3")
	f("as long as can be", []string{"max_block", "2"}, "uint32", []string{"holding 300"}, nil, "300+2", "300+2", "300+2", "300+2")
	f("bits by the byte", nil, "", []string{"coil 8", "coil 12"}, nil, "8+5", "8+9", "8+5", "8+9")
}

// A device that is busy now and then teaches nothing: its longer form is asked
// for again, and is there.
func TestABusyDeviceDoesNotLoseItsLongerForm(t *testing.T) {
	onBus(t, nil, "uint32", []string{"holding 300"}, func(t *testing.T, b *bus, l *link, q drivers.Request) {
		busy := 2
		b.spoil = func(_ byte, q, a []byte) []burst {
			if q[5] == 3 && busy > 0 {
				busy--
				a = []byte{a[0], a[1] | 0x80, 2}
			}
			return []burst{{0, b.frame(a...)}}
		}
		for range 8 {
			readGood(t, l, q)
		}
		want := []string{"300+2", "300+3", "300+2", "299+3", "300+2", "300+3", "300+2", "300+3", "300+2", "300+3"}
		if got := b.reads(); !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	})
}

// With gaps forbidden, a register that another point uses is none.
func TestAnotherPointsRegisterMakesTheDifference(t *testing.T) {
	a, b := point(t, "holding 300", "uint16"), point(t, "holding 301", "uint16")
	a.Options, b.Options = options(t, "gaps", "no"), options(t, "gaps", "no")
	b.Period = time.Minute
	requests, err := planOn(wireCost{fixed: time.Millisecond, serial: true}, []drivers.Point{a, b})
	if err != nil || len(requests) != 2 {
		t.Fatal(requests, err)
	}
	for i, want := range []form{{first: 300, count: 2}, {first: 300, count: 2}} {
		p := requests[i].(*request).whole
		if len(p.longer) != 1 || p.longer[0].first != want.first || p.longer[0].count != want.count || p.longer[0].size != p.size+2 {
			t.Errorf("%s: %+v", requests[i], p.longer)
		}
	}
}

// After a request without an answer the first one asks for what cannot be
// taken for it, and what is read then is good.
func TestAProbeGoesFirstAfterSilence(t *testing.T) {
	f := func(name string, device []string, at []string, want ...string) {
		t.Run(name, func(t *testing.T) {
			onBus(t, device, "uint32", at, func(t *testing.T, b *bus, l *link, q drivers.Request) {
				readGood(t, l, q)
				b.do(func() { b.quiet = true })
				l.Read(t.Context(), q, nil)
				b.do(func() { b.quiet = false })
				_, err := l.Read(t.Context(), q, nil)
				var later *drivers.Later
				if !errors.As(err, &later) {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(later.Until - l.now().Mono))
				b.reads()
				readGood(t, l, q)
				if got := b.reads(); !slices.Equal(got, want) {
					t.Errorf("asked %v, want %v", got, want)
				}
			})
		})
	}
	two := []string{"holding 300", "holding 302"}
	f("the block itself", nil, two, "300+4") // what went unanswered was the longer form
	f("a part of it", []string{"gaps", "no"}, two, "300+2", "300+4")
}

// Every length that went unanswered is kept away from, not only the last.
func TestAProbeDiffersFromAllThatIsOpen(t *testing.T) {
	onBus(t, []string{"gaps", "no"}, "uint32", []string{"holding 300", "holding 302", "holding 304"}, func(t *testing.T, b *bus, l *link, q drivers.Request) {
		readGood(t, l, q)
		b.reads()
		b.do(func() { b.quiet = true })
		for len(b.heard) < 16 {
			var later *drivers.Later
			if _, err := l.Read(t.Context(), q, nil); errors.As(err, &later) {
				time.Sleep(time.Duration(later.Until - l.now().Mono))
			}
		}
		b.do(func() { b.quiet = false })
		if got := b.reads(); !slices.Equal(got, []string{"300+6", "300+2"}) {
			t.Fatalf("asked %v in vain", got)
		}
		var later *drivers.Later
		if _, err := l.Read(t.Context(), q, nil); !errors.As(err, &later) {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(later.Until - l.now().Mono))
		readGood(t, l, q)
		if got := b.reads(); !slices.Equal(got, []string{"300+4", "300+6"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// A request that was not sent is neither silence nor a refusal: nothing is
// learnt of the block, and the caller is told when to ask again.
func TestLaterIsHandedOn(t *testing.T) {
	onBus(t, nil, "uint32", []string{"holding 300", "holding 302"}, func(t *testing.T, b *bus, l *link, q drivers.Request) {
		readGood(t, l, q)
		b.do(func() { b.quiet = true })
		l.Read(t.Context(), q, nil)
		silent := l.splits[q.(*request)].parts[0].quiet
		coil := writable(t, "coil 7", "")
		coil.Station = 1
		if err := l.Write(t.Context(), coil, tag.BoolValue(true)); !errors.Is(err, drivers.ErrUnknown) {
			t.Errorf("a write that nothing owed can confirm was put off: %v", err)
		}
		for range 5 {
			rs, err := l.Read(t.Context(), q, nil)
			var later *drivers.Later
			if !errors.As(err, &later) || later.Until <= l.now().Mono || len(rs) != 2 || rs[0].Quality != tag.BadNoComm || rs[1].Quality != tag.BadNoComm {
				t.Fatal(rs, err)
			}
			if err := l.Write(t.Context(), coil, tag.BoolValue(true)); !errors.As(err, &later) || errors.Is(err, drivers.ErrUnknown) {
				t.Errorf("a write that was not sent: %v", err)
			}
		}
		if s := l.splits[q.(*request)]; len(s.parts) != 1 || s.parts[0].quiet != silent || s.parts[0].refused != nil {
			t.Errorf("learnt %+v", s.parts)
		}
	})
}
