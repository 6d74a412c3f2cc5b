package modbus

import (
	"errors"
	"slices"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// spoken is what the master sent so far.
func (b *bus) spoken() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.heard)
}

// first reads until the link speaks, and returns how long it was silent.
func first(t *testing.T, b *bus, l *link, q drivers.Request) time.Duration {
	t.Helper()
	from := time.Now()
	for b.spoken() == 0 {
		_, err := l.Read(t.Context(), q, nil)
		var later *drivers.Later
		if errors.As(err, &later) {
			if !later.Line {
				t.Fatal("only one station is put off:", err)
			}
			<-time.After(time.Duration(max(int64(time.Millisecond), later.Until-l.now().Mono)))
		} else if err != nil {
			t.Fatal(err)
		}
		if time.Since(from) > time.Hour {
			t.Fatal("silent for ever")
		}
	}
	return time.Since(from)
}

func TestLineListensBeforeItSpeaks(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, nil, func(t *testing.T, b *bus, l *link, said *[]string) {
			b.tap = true
			q := onSerial(t, 1, "holding 10")
			if silent := first(t, b, l, q); silent < ListenFor || silent > ListenFor+wait {
				t.Error("it spoke after", silent)
			}
			b.unplug(false) // and so it does on a line that it opens again
			b.do(func() { b.heard = nil })
			if silent := first(t, b, l, q); silent < ListenFor {
				t.Error("after opening it again, it spoke after", silent)
			}
			if len(*said) > 0 {
				t.Error(*said)
			}
		})
	})
}

// Another master that is there before: Davy says so and is silent until it has
// been gone for a minute.
func TestLineIsSilentWhileAnotherMasterSpeaks(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, nil, func(t *testing.T, b *bus, l *link, said *[]string) {
			b.tap = true
			const last = 10 * time.Minute
			for at := 2 * time.Second; at <= last; at += 7 * time.Second {
				b.say(at, b.frame(3, 3, 0, 10, 0, 2))
				b.say(at+30*time.Millisecond, b.frame(3, 3, 4, 0, 1, 0, 2))
			}
			silent := first(t, b, l, onSerial(t, 1, "holding 10"))
			if over := silent - last; over < SilentFor-10*time.Second || over > SilentFor+2*listenAgain {
				t.Error("it spoke", over, "after the other's last request")
			}
			if want := []string{"+other-master", "-other-master"}; !slices.Equal(*said, want) {
				t.Errorf("said %v, want %v", *said, want)
			}
		})
	})
}

func TestLineHearsAnotherMasterWhileItWorks(t *testing.T) {
	for _, heard := range []string{"between", "within"} {
		both(t, func(t *testing.T, isASCII bool) {
			withLine(t, isASCII, nil, func(t *testing.T, b *bus, l *link, said *[]string) {
				q := onSerial(t, 1, "holding 10")
				b.tap = true
				first(t, b, l, q)
				if heard == "between" {
					b.say(0, b.frame(9, 3, 0, 10, 0, 2))
					time.Sleep(time.Second)
				} else {
					b.spoil = func(_ byte, _, a []byte) []burst {
						b.spoil = nil
						return []burst{{0, b.frame(9, 3, 0, 10, 0, 2)}, {40 * time.Millisecond, b.frame(a...)}}
					}
					if r, err := ask(t, l, q); err != nil || !r.Quality.Good() {
						t.Error("its own answer came all the same:", err)
					}
				}
				var later *drivers.Later
				if _, err := l.Read(t.Context(), q, nil); !errors.As(err, &later) || !later.Line {
					t.Fatal("it goes on:", err)
				}
				if !slices.Equal(*said, []string{"+other-master"}) {
					t.Error(*said)
				}
				b.do(func() { b.heard = nil })
				if silent := first(t, b, l, q); silent < SilentFor-time.Second {
					t.Error("it spoke after", silent)
				}
			})
		})
	}
}

func TestLineAllowsAnotherMaster(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, said *[]string) {
		q := onSerial(t, 1, "holding 10")
		if r, err := l.Read(t.Context(), q, nil); err != nil || !r[0].Quality.Good() {
			t.Fatal(err)
		}
		b.say(0, b.frame(9, 3, 0, 10, 0, 2))
		time.Sleep(time.Second)
		for range 2 {
			if r, err := l.Read(t.Context(), q, nil); err != nil || !r[0].Quality.Good() {
				t.Fatal(err)
			}
			time.Sleep(SilentFor + time.Second)
		}
		if want := []string{"+other-master", "-other-master"}; !slices.Equal(*said, want) {
			t.Errorf("said %v, want %v", *said, want)
		}
	})
}

// What is heard and is no other master: late answers of every form, doubled
// ones, one answer alone from before a restart, noise.
func TestLineTakesNoAnswerForAMaster(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		withLine(t, isASCII, nil, func(t *testing.T, b *bus, l *link, said *[]string) {
			b.say(time.Second, b.frame(1, 3, 2, 0, 10)) // to a request before the start
			b.say(2*time.Second, []byte{0, 0xff, 1, 3, 0, 10, 0, 2, 0, 0, 0xff})
			q := onSerial(t, 1, "holding 10")
			b.tap = true
			first(t, b, l, q)
			coil, register := point(t, "coil 7", "bool"), point(t, "holding 40000", "")
			coil.Station, coil.Write, register.Station, register.Write = 1, true, 1, true
			for _, late := range []func(){
				func() { _, _ = l.Read(t.Context(), q, nil) },
				func() { _, _ = l.Read(t.Context(), onSerial(t, 1, "coil 770", "coil 790"), nil) }, // its answer has the length of a request
				func() { _ = l.Write(t.Context(), coil, bool1) },
				func() { _ = l.Write(t.Context(), register, int7) },
			} {
				for _, spoil := range []func(_ byte, _, a []byte) []burst{
					func(_ byte, _, a []byte) []burst { return []burst{{wait + 200*time.Millisecond, b.frame(a...)}} },
					func(_ byte, _, a []byte) []burst {
						return []burst{{0, b.frame(a...)}, {100 * time.Millisecond, b.frame(a...)}}
					},
				} {
					b.do(func() { b.spoil = spoil })
					late()
					time.Sleep(2 * time.Second)
					b.do(func() { b.spoil = nil })
					if _, err := ask(t, l, onSerial(t, 2, "holding 10")); err != nil {
						t.Fatal(err)
					}
					for range 3 {
						_, _ = ask(t, l, q)
					}
				}
			}
			if len(*said) > 0 {
				t.Error("said", *said)
			}
		})
	})
}

var (
	bool1 = tag.BoolValue(true)
	int7  = tag.IntValue(7)
)
