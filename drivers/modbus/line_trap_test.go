package modbus

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// An adapter that hears itself may hand over the echo and the answer in one
// piece: USB adapters hold bytes back for up to 16 ms, and a bridge for longer.
func TestLineEchoAndAnswerInOnePiece(t *testing.T) {
	for _, fields := range []drivers.Fields{{"other_master": "allow", "echo": "yes"}, allow} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, fields, func(t *testing.T, b *bus, l *link, _ *[]string) {
				register := point(t, "holding 40000", "")
				register.Station, register.Write = 1, true
				b.echo = true
				for i := range 20 {
					b.do(func() { b.whole = i%2 == 1 })
					q, want := onSerial(t, 1, "holding 10", "holding 11"), byte(10)
					if i%4 > 1 {
						q, want = onSerial(t, 1, "holding 300"), 0
					}
					r, err := ask(t, l, q)
					if err != nil || !r.Quality.Good() || byte(r.Value.Int()) != want && want != 0 {
						t.Fatal(i, r, err)
					}
					if err := l.Write(t.Context(), register, int7); err != nil {
						t.Fatal(i, err)
					}
				}
			})
		})
	}
}

// Where two adapters give back what is sent, it comes twice, and nobody else speaks.
func TestLineEchoTwice(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, nil, func(t *testing.T, b *bus, l *link, said *[]string) {
			b.echo = true
			b.spoil = func(_ byte, body, a []byte) []burst {
				return []burst{{0, b.frame(body...)}, {time.Millisecond, b.frame(a...)}}
			}
			for range 5 {
				if r, err := ask(t, l, onSerial(t, 1, "holding 10")); err != nil || !r.Quality.Good() {
					t.Error(r, err)
				}
			}
			if len(*said) > 0 {
				t.Error("said", *said)
			}
		})
	})
}

// Who hears only himself has a silent station, not a broken one.
func TestLineEchoOfAnUnansweredRequestIsSilence(t *testing.T) {
	for _, fields := range []drivers.Fields{{"other_master": "allow", "echo": "yes"}, allow} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, fields, func(t *testing.T, b *bus, l *link, _ *[]string) {
				b.echo, b.quiet = true, true
				rs, err := l.Read(t.Context(), onSerial(t, 1, "holding 10"), nil)
				if rs[0].Quality != tag.BadNoComm || !silent(errors.Unwrap(err)) {
					t.Error(rs, err)
				}
			})
		})
	}
}

// Another master that asks our station the same function while we wait: what
// comes then may be its answer, of our length and another's registers.
func TestLineAnswerToAnotherMasterIsNotOurs(t *testing.T) {
	for _, fields := range []drivers.Fields{nil, allow} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, fields, func(t *testing.T, b *bus, l *link, said *[]string) {
				q := onSerial(t, 1, "holding 10")
				b.tap = true
				first(t, b, l, q)
				b.do(func() {
					b.spoil = func(byte, []byte, []byte) []burst {
						b.spoil = nil
						return []burst{
							{0, b.frame(1, 3, 1, 44, 0, 1)},
							{40 * time.Millisecond, b.frame(1, 3, 2, 0x11, 44)},
							{40 * time.Millisecond, b.frame(1, 3, 1, 44, 0, 2)},
							{40 * time.Millisecond, b.frame(1, 3, 4, 0x11, 44, 0, 0)},
						}
					}
				})
				rs, err := l.Read(t.Context(), q, nil)
				holds(t, b, 1, 10, rs[0])
				if err == nil || rs[0].Quality.Good() {
					t.Error("it took another's answer:", rs)
				}
				if len(*said) != 1 {
					t.Error("said", *said)
				}
			})
		})
	}
}

// The other master's request before ours: his answer is still to come.
func TestLineWaitsForAnAnswerToAnotherMaster(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			q := onSerial(t, 1, "holding 10")
			if _, err := ask(t, l, q); err != nil {
				t.Fatal(err)
			}
			for _, answers := range []bool{true, false} {
				b.say(0, b.frame(1, 3, 1, 44, 0, 1))
				if answers {
					b.say(60*time.Millisecond, b.frame(1, 3, 2, 0x11, 44))
				}
				time.Sleep(20 * time.Millisecond)
				from := time.Now()
				r, err := ask(t, l, q)
				holds(t, b, 1, 10, r)
				if took := time.Since(from); err != nil || !r.Quality.Good() || answers != (took < wait-20*time.Millisecond) {
					t.Error(answers, r, err, took)
				}
				time.Sleep(time.Second)
				b.say(0, b.frame(1, 3, 1, 44, 0, 1)) // another station's answer is not waited for
				time.Sleep(20 * time.Millisecond)
				from = time.Now()
				if r, err := ask(t, l, onSerial(t, 2, "holding 10")); err != nil || !r.Quality.Good() || time.Since(from) > wait/2 {
					t.Error(r, err, time.Since(from))
				}
				time.Sleep(time.Second)
			}
		})
	})
}

// written are points of register 40000 of station 1, each written with another function.
func written(t *testing.T) (out []drivers.Point) {
	t.Helper()
	for _, how := range []string{"single", "multiple"} {
		o, err := RTU{}.ParseDevice(drivers.Fields{"write": how})
		if err != nil {
			t.Fatal(err)
		}
		p := point(t, "holding 40000", "")
		p.Station, p.Write, p.Options = 1, true, o
		out = append(out, p)
	}
	coil := point(t, "coil 7", "bool")
	coil.Station, coil.Write = 1, true
	return append(out, coil)
}

// A trip does not wait for an answer that a read is owed.
func TestLineWritesWhileAReadIsOwed(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			q := onSerial(t, 1, "holding 10")
			for n, p := range written(t) {
				// The late answer comes within the write's wait, before its own.
				b.do(func() { b.spoil = nil; onceLate(b, wait+30*time.Millisecond) })
				if _, err := ask(t, l, q); !silent(errors.Unwrap(err)) {
					t.Fatal(err)
				}
				from, v := time.Now(), tag.IntValue(int64(n+1))
				if n == 2 {
					v = bool1
				}
				if err := l.Write(t.Context(), p, v); err != nil || time.Since(from) > wait {
					t.Fatal(n, err, time.Since(from))
				}
				b.do(func() {
					if n < 2 && b.written[40000] != uint16(n+1) || n == 2 && !b.coils[7] {
						t.Error(n, "confirmed and not done")
					}
				})
				// The read waits as before: the station's word on the write is none on it.
				if _, err := l.Read(t.Context(), q, nil); !errors.As(err, new(*drivers.Later)) {
					t.Fatal("a read went out:", err)
				}
				r, err := ask(t, l, q)
				holds(t, b, 1, 10, r)
				if err != nil || !r.Quality.Good() {
					t.Fatal(err)
				}
			}
		})
	})
}

// What was written and not confirmed is another thing: its echo is the next one's.
func TestLineWriteWaitsForAWriteOfItsFunction(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
		p := written(t)
		b.mute = true
		if err := l.Write(t.Context(), p[0], int7); !errors.Is(err, drivers.ErrUnknown) {
			t.Fatal(err)
		}
		b.mute = false
		if err := l.Write(t.Context(), p[0], int7); !errors.As(err, new(*drivers.Later)) {
			t.Error("the same write went out at once:", err)
		}
		if err := l.Write(t.Context(), p[1], int7); err != nil {
			t.Error("another function had to wait:", err)
		}
		time.Sleep(LateLeast)
		if err := l.Write(t.Context(), p[0], int7); err != nil {
			t.Error(err)
		}
	})
}

// Writes in any order at a station in doubt: confirmed is done, and what a
// station said of a write makes no reading good.
func TestLineWritesAtRandom(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(isASCII)
			l, _ := openBus(t, b, wait, allow)
			defer l.Close()
			r := rand.New(rand.NewPCG(5, 6))
			p := written(t)
			reads := []drivers.Request{onSerial(t, 1, "holding 10"), onSerial(t, 1, "holding 300", "holding 301"), single(t, 1, "holding 700")}
			good, confirmed, atOnce := 0, 0, 0
			for range 3000 {
				b.do(func() {
					b.spoil, b.quiet, b.mute = nil, false, false
					switch r.IntN(20) {
					case 0, 1:
						onceLate(b, wait+time.Duration(r.IntN(1000))*time.Millisecond)
					case 2:
						b.quiet = true
					case 3:
						b.mute = true
					}
				})
				inDoubt := l.channel.(*line).at(1).until > l.now().Mono
				if n := r.IntN(6); n < 3 {
					v := tag.IntValue(int64(1 + r.IntN(3)))
					if n == 2 {
						v = tag.BoolValue(r.IntN(2) == 1)
					}
					if err := l.Write(t.Context(), p[n], v); err == nil {
						confirmed++
						if inDoubt {
							atOnce++
						}
						b.do(func() {
							if n < 2 && int64(b.written[40000]) != v.Int() || n == 2 && b.coils[7] != v.True() {
								t.Errorf("%v was confirmed and is not there", v)
							}
						})
					}
				} else {
					rs, err := l.Read(t.Context(), reads[n-3], nil)
					holds(t, b, 1, []uint16{10, 300, 700}[n-3], rs[0])
					if err == nil {
						good++
					}
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			}
			if good < 80 || confirmed < 250 || atOnce < 150 {
				t.Errorf("%d good readings, %d writes confirmed, %d of them in doubt", good, confirmed, atOnce)
			}
		})
	})
}

// The clock of stamps goes on by an hour while a station is in doubt: the wait is
// over too soon, and what is asked then still differs from what is owed.
func TestLineClockThatJumpsAhead(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
			ln, jump := l.channel.(*line), int64(0)
			stamp := ln.now
			ln.now = func() tag.Stamp { s := stamp(); s.Mono += jump; return s }
			l.now = ln.now
			for i, q := range []drivers.Request{single(t, 1, "holding 10"), onSerial(t, 1, "holding 300", "holding 301"), single(t, 1, "holding 700")} {
				if _, err := ask(t, l, q); err != nil {
					t.Fatal(err)
				}
				b.do(func() { onceLate(b, wait+80*time.Millisecond) })
				if _, err := l.Read(t.Context(), q, nil); err == nil {
					t.Fatal("not late")
				}
				jump += int64(time.Hour)
				other, at := single(t, 1, "holding 500"), uint16(500)
				for range 4 {
					r, _ := ask(t, l, other)
					holds(t, b, 1, at, r)
				}
				if r, err := ask(t, l, q); err != nil || !r.Quality.Good() {
					t.Error(i, r, err)
				}
			}
		})
	})
}
