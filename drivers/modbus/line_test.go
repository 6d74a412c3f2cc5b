package modbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// withLine runs f in a bubble with a link to a bus that speaks at once.
func withLine(t *testing.T, isASCII bool, fields drivers.Fields, f func(t *testing.T, b *bus, l *link, said *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(isASCII)
		l, said := openBus(t, b, wait, fields)
		f(t, b, l, said)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// both runs f for both kinds of frame.
func both(t *testing.T, f func(t *testing.T, isASCII bool)) {
	t.Run("rtu", func(t *testing.T) { f(t, false) })
	t.Run("ascii", func(t *testing.T) { f(t, true) })
}

var allow = drivers.Fields{"other_master": "allow"}

// single is a request for one register that nothing can make longer.
func single(t *testing.T, station int, at string) drivers.Request {
	t.Helper()
	o, err := RTU{}.ParseDevice(drivers.Fields{"gaps": "no"})
	if err != nil {
		t.Fatal(err)
	}
	p := point(t, at, "")
	p.Tag, p.Station, p.Options = 1, station, o
	return planned1(t, p)
}

// onSerial plans one request for the registers at, one point each.
func onSerial(t *testing.T, station int, at ...string) drivers.Request {
	t.Helper()
	var points []drivers.Point
	for i, s := range at {
		p := point(t, s, "")
		p.Tag, p.Station = tag.ID(i+1), station
		points = append(points, p)
	}
	return planned1(t, points...)
}

func planned1(t *testing.T, points ...drivers.Point) drivers.Request {
	t.Helper()
	s, err := RTU{}.ParseLink("/dev/line", drivers.Fields{"serial": "9600 8E1"})
	if err != nil {
		t.Fatal(err)
	}
	qs, err := RTU{}.Plan(s, points)
	if err != nil || len(qs) != 1 {
		t.Fatal(len(qs), err)
	}
	return qs[0]
}

// ask reads a request, waiting as a link says.
func ask(t *testing.T, l *link, q drivers.Request) (tag.Reading, error) {
	t.Helper()
	for range 100 {
		rs, err := l.Read(t.Context(), q, nil)
		var later *drivers.Later
		if !errors.As(err, &later) {
			return rs[0], err
		}
		<-time.After(max(time.Millisecond, time.Duration(later.Until-l.now().Mono)))
	}
	t.Fatal("put off for ever")
	return tag.Reading{}, nil
}

// holds fails unless a good reading is what the register holds.
func holds(t *testing.T, b *bus, station byte, address uint16, r tag.Reading) {
	t.Helper()
	b.mu.Lock()
	want := int64(b.register(station, address))
	b.mu.Unlock()
	if r.Quality.Good() && r.Value.Int() != want {
		t.Errorf("register %d of station %d is good and %d, but holds %d", address, station, r.Value.Int(), want)
	}
}

// onceLate makes the next answer of every station late by d.
func onceLate(b *bus, d time.Duration) {
	b.spoil = func(_ byte, _, a []byte) []burst {
		b.spoil = nil
		return []burst{{d, b.frame(a...)}}
	}
}

// What every plain client does: send, read as many bytes as the answer has,
// look at station, function, length and check sum.
func bareAsk(b *bus, p Port, body []byte, timeout time.Duration) ([]byte, error) {
	_ = p.SetDeadline(time.Now().Add(timeout))
	if _, err := p.Write(b.framer.encode(nil, body)); err != nil {
		return nil, err
	}
	var in inbox
	want := expected{body[0], shape{function: body[1], size: uint16(2 + 2*int(body[5]))}}
	for {
		n, err := p.Read(in.space())
		if err != nil {
			return nil, err
		}
		in.add(n, false)
		if got, ok := b.framer.next(&in, &want, false); ok {
			return append([]byte(nil), got[3:]...), nil
		}
	}
}

// Finding 1 of field/peers.md: a slave that thinks for 60 ms, a timeout of
// 500 ms, one answer after 700 ms. The plain client then takes register 1000
// for 2000 and 2000 for 3000, without an error. Here nothing is good that is
// not true, and all is good again soon.
func TestLineOneLateAnswerPoisonsNothing(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(isASCII)
			b.think = 60 * time.Millisecond
			onceLate(b, 700*time.Millisecond-b.think)
			p, _ := b.open()
			var got []string
			for _, at := range []uint16{1000, 2000, 3000} {
				data, err := bareAsk(b, p, []byte{1, 3, byte(at >> 8), byte(at), 0, 2}, 500*time.Millisecond)
				if err != nil {
					got = append(got, "-")
				} else {
					got = append(got, fmt.Sprint((int(data[0])<<8|int(data[1]))&0xfff))
				}
			}
			if s := strings.Join(got, " "); s != "- 1000 2000" {
				t.Error("the plain client is not trapped, it read", s)
			}
			p.Close()
		})
		synctest.Test(t, func(t *testing.T) {
			b := newBus(isASCII)
			b.think = 60 * time.Millisecond
			l, _ := openBus(t, b, 500*time.Millisecond, allow)
			defer l.Close()
			onceLate(b, 700*time.Millisecond-b.think)
			good := 0
			for i := range 9 {
				at := []uint16{1000, 2000, 3000}[i%3]
				r, err := ask(t, l, onSerial(t, 1, fmt.Sprintf("holding %d", at)))
				holds(t, b, 1, at, r)
				if err == nil && r.Quality.Good() {
					good++
				}
			}
			if good != 8 {
				t.Errorf("%d of 9 reads are good, want all but the late one", good)
			}
			if l.Counts().Dropped == 0 {
				t.Error("the late answer was not counted")
			}
		})
	})
}

// Two registers of one length, and a map that allows no other: only a number
// given back, or refused, tells an answer from one that is later than late_max.
func TestLineLaterThanLateMaxWhereTheMapAllowsOneLength(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
				q := []drivers.Request{single(t, 1, "holding 10"), single(t, 1, "holding 300")}
				for _, r := range q {
					if _, err := ask(t, l, r); err != nil {
						t.Fatal(err)
					}
				}
				for round := range 20 {
					b.do(func() {
						late := true
						b.spoil = func(_ byte, body, a []byte) []burst {
							switch {
							case body[1] == funcDiagnose && deaf:
								return nil
							case late:
								late = false
								return []burst{{wait + time.Duration(1000+round*95)*time.Millisecond, b.frame(a...)}}
							}
							return []burst{{0, b.frame(a...)}}
						}
					})
					good := 0
					for i := range 8 {
						r, _ := ask(t, l, q[i%2])
						holds(t, b, 1, []uint16{10, 300}[i%2], r)
						if r.Quality.Good() {
							good++
						}
					}
					if good < 4 {
						t.Errorf("round %d: %d of 8 reads are good", round, good)
					}
				}
			})
		})
	}
}

// The first request after a doubt differs in length where it can, and what
// comes for the open one is dropped, however late.
func TestLineProbeDiffersInLength(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			a, c := onSerial(t, 1, "holding 10", "holding 11"), onSerial(t, 1, "holding 300", "holding 301", "holding 302")
			if _, err := ask(t, l, a); err != nil {
				t.Fatal(err)
			}
			b.do(func() { onceLate(b, wait+5*time.Second) })
			if _, err := ask(t, l, a); !silent(errors.Unwrap(err)) {
				t.Fatal(err)
			}
			var later *drivers.Later
			_, err := l.Read(t.Context(), c, nil)
			if !errors.As(err, &later) || later.Line || later.Until-l.now().Mono != int64(LateLeast) {
				t.Fatalf("a station in doubt: %v", err)
			}
			time.Sleep(LateLeast)
			r, err := ask(t, l, c) // its answer comes after the late one: in order, too late
			holds(t, b, 1, 300, r)
			if err == nil {
				t.Error("an answer that came behind the late one was in time")
			}
			time.Sleep(10 * time.Second)
			if r, err = ask(t, l, c); err != nil || !r.Quality.Good() {
				t.Error(err)
			}
			holds(t, b, 1, 300, r)
		})
	})
}

// A second copy of an answer, while the next request of the same shape is
// still on its way, or before it: never its answer.
func TestLineDoubledAnswerIsNotTheNext(t *testing.T) {
	for _, bridge := range []bool{false, true} {
		both(t, func(t *testing.T, isASCII bool) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(isASCII)
				b.keeps = bridge
				l, _ := openBus(t, b, wait, allow)
				defer l.Close()
				q := []drivers.Request{single(t, 1, "holding 10"), single(t, 1, "holding 300")}
				for i := range 20 {
					after := time.Duration(i) * 400 * time.Microsecond // until the request is on the line
					pause := time.Millisecond
					if bridge {
						after, pause = time.Duration(i)*time.Millisecond, 20*time.Millisecond+time.Duration(len(b.frame(1, 3, 2, 0, 0)))*b.char
					}
					b.do(func() {
						b.spoil = func(_ byte, _, a []byte) []burst {
							return []burst{{0, b.frame(a...)}, {after - time.Duration(len(b.frame(a...)))*b.char, b.frame(a...)}}
						}
					})
					r, err := ask(t, l, q[i%2])
					if err != nil {
						t.Fatal(i, err)
					}
					holds(t, b, 1, []uint16{10, 300}[i%2], r)
					time.Sleep(pause)
				}
				if l.Counts().Dropped == 0 {
					t.Error("nothing was dropped")
				}
			})
		})
	}
}

func TestLineOtherStationsGoOnWhileOneIsInDoubt(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
		b.do(func() { onceLate(b, wait+200*time.Millisecond) })
		if _, err := ask(t, l, onSerial(t, 1, "holding 10")); err == nil {
			t.Fatal("not late")
		}
		for range 10 { // the late answer of 1 comes in the middle
			r, err := l.Read(t.Context(), onSerial(t, 2, "holding 10"), nil)
			if err != nil || !r[0].Quality.Good() {
				t.Fatal(err)
			}
			holds(t, b, 2, 10, r[0])
		}
		if _, err := l.Read(t.Context(), onSerial(t, 1, "holding 10"), nil); !errors.As(err, new(*drivers.Later)) {
			t.Error("a station in doubt was asked:", err)
		}
	})
}

func TestLineCancelledRequestIsOpen(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			b.do(func() { onceLate(b, 200*time.Millisecond) })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			from := time.Now()
			if _, err := l.Read(ctx, onSerial(t, 1, "holding 10"), nil); !errors.Is(err, context.Canceled) || time.Since(from) != 100*time.Millisecond {
				t.Fatal(err, time.Since(from))
			}
			if _, err := l.Read(t.Context(), onSerial(t, 1, "holding 300"), nil); !errors.As(err, new(*drivers.Later)) {
				t.Fatal("asked although an answer is owed:", err)
			}
			r, err := ask(t, l, onSerial(t, 1, "holding 300"))
			if err != nil || !r.Quality.Good() {
				t.Fatal(err)
			}
			holds(t, b, 1, 300, r)
		})
	})
}

// The answer of a wrong length that some devices give to an address that they
// lack is known when the wait is over, and nothing is owed after it.
func TestLineWrongLengthIsToldAfterTheWait(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			b.spoil = func(_ byte, _, a []byte) []burst { return []burst{{0, b.frame(a[0], a[1], 0)}} }
			from := time.Now()
			_, err := l.channel.exchange(t.Context(), readFrame(1, Holding, 10, 4), true, from.Add(wait))
			if !errors.Is(err, errLength) || time.Since(from) != wait {
				t.Fatal(err, time.Since(from))
			}
			b.do(func() { b.spoil = nil })
			if _, err = l.channel.exchange(t.Context(), readFrame(1, Holding, 10, 4), true, time.Now().Add(wait)); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestLineKeepsThePauseBetweenFrames(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
		q := onSerial(t, 1, "holding 10", "holding 11")
		b.think = 0
		if _, err := ask(t, l, q); err != nil {
			t.Fatal(err)
		}
		from := time.Now() // the last byte came now
		if _, err := ask(t, l, q); err != nil {
			t.Fatal(err)
		}
		pause := time.Since(from) - time.Duration(8+9)*b.char
		least := 77 * time.Second / 2 / 9600                                     // 3.5 characters of 11 bits
		if over := pause - least; over < 0 || over > b.char*2+time.Microsecond { // the longer form of it
			t.Errorf("the pause was %v, want %v", pause, least)
		}
		from = time.Now()
		time.Sleep(100 * time.Millisecond)
		if _, err := ask(t, l, q); err != nil || time.Since(from) > 100*time.Millisecond+time.Duration(8+9+2)*b.char {
			t.Error("a quiet line was waited for:", time.Since(from)-100*time.Millisecond)
		}
	})
}

func TestLineBroadcastsWithoutWaiting(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, said *[]string) {
			b.echo = true
			p := point(t, "coil 7", "bool")
			p.Write, p.Station = true, 0
			from := time.Now()
			if err := l.Write(t.Context(), p, tag.BoolValue(true)); err != nil {
				t.Fatal(err)
			}
			if time.Since(from) > 5*time.Millisecond {
				t.Error("waited", time.Since(from))
			}
			r, err := ask(t, l, onSerial(t, 1, "coil 7"))
			if err != nil || !r.Value.True() {
				t.Error("not written:", r, err)
			}
			if time.Since(from) < BroadcastDelay {
				t.Error("the stations had no time for it:", time.Since(from))
			}
			if len(*said) > 0 {
				t.Error("its own echo was taken for another master")
			}
		})
	})
}

func TestLineUnpluggedAndPluggedIn(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
		q := onSerial(t, 1, "holding 10")
		if _, err := ask(t, l, q); err != nil {
			t.Fatal(err)
		}
		b.unplug(true)
		from := time.Now()
		for time.Since(from) < time.Minute {
			if rs, err := l.Read(t.Context(), q, nil); err == nil || !rs[0].Quality.Bad() {
				t.Fatal(rs, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := l.Counts().Dialed; n < 5 || n > 30 {
			t.Errorf("opened %d times in a minute without a device", n)
		}
		b.do(func() { b.gone = false })
		from = time.Now()
		for {
			rs, err := l.Read(t.Context(), q, nil)
			if err == nil && rs[0].Quality.Good() {
				break
			}
			if time.Since(from) > RedialLast+time.Second {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// A day of two lines of eight stations would be the campaign's; this is its
// short form: everything at random, nothing good that is not true.
func TestLineAtRandom(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(isASCII)
			l, _ := openBus(t, b, wait, drivers.Fields{})
			defer l.Close()
			ours, theirs := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4)) // of two goroutines
			faults := spoils(wait, LateLeast)
			var list []func(b *bus, station byte, request, answer []byte) []burst
			for _, name := range slices.Sorted(maps.Keys(faults)) {
				list = append(list, faults[name])
			}
			b.spoil = func(s byte, q, a []byte) []burst {
				if theirs.Float64() > 0.2 {
					return faults["plain"](b, s, q, a)
				}
				return list[theirs.IntN(len(list))](b, s, q, a)
			}
			var qs []drivers.Request
			at := []uint16{10, 20, 400, 410}
			for s := 1; s <= 8; s++ {
				for _, a := range at {
					qs = append(qs, onSerial(t, s, fmt.Sprintf("holding %d", a)))
				}
			}
			good := 0
			for i := range 20000 {
				n := i % len(qs)
				rs, _ := l.Read(t.Context(), qs[n], nil)
				holds(t, b, byte(n/len(at)+1), at[n%len(at)], rs[0])
				if rs[0].Quality.Good() {
					good++
				}
				time.Sleep(time.Duration(ours.IntN(50)) * time.Millisecond)
			}
			c := l.Counts()
			t.Logf("%d of 20,000 reads good; %+v", good, c)
			if good < 2000 || c.Dropped < 150 {
				t.Errorf("%d good: %+v", good, c)
			}
		})
	})
}

// The channel alone, asked for nothing but one shape, its late_max held small:
// answers of any lateness where the station gives numbers back or refuses to, of
// up to three late_max where it is deaf to that.
func TestLineChannelOfOneShape(t *testing.T) {
	const lateMax = 500 * time.Millisecond
	for _, deaf := range []bool{false, true} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, drivers.Fields{"other_master": "allow", "late_max": "500ms"}, func(t *testing.T, b *bus, l *link, _ *[]string) {
				most := 3 * lateMax
				if !deaf {
					most = 6 * time.Second
				}
				good := 0
				for over := time.Duration(0); over < most-20*time.Millisecond; over += 7 * time.Millisecond {
					late := true
					b.do(func() {
						b.spoil = func(_ byte, body, a []byte) []burst {
							switch {
							case body[1] == funcDiagnose && deaf:
								return nil
							case late:
								late = false
								return []burst{{wait + over - 40*time.Millisecond, b.frame(a...)}}
							}
							return []burst{{0, b.frame(a...)}}
						}
					})
					for i := range 6 {
						at := uint16(10 + 20*i)
						for {
							data, err := l.exchange(t.Context(), readFrame(1, Holding, at, 1), true, time.Now().Add(wait))
							var later *drivers.Later
							if errors.As(err, &later) {
								time.Sleep(time.Duration(later.Until - l.now().Mono))
								continue
							}
							if err == nil {
								good++
								if got := uint16(data[0])<<8 | uint16(data[1]); got != 1<<12|at {
									t.Fatalf("an answer %v after the wait: register %d is %#x", over, at, got)
								}
							}
							break
						}
					}
				}
				if good < 200 {
					t.Error(good, "good")
				}
			})
		})
	}
}
