package modbus

import (
	"errors"
	"testing"
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
						return []burst{{0, b.frame(1, 3, 1, 44, 0, 1)}, {40 * time.Millisecond, b.frame(1, 3, 2, 0x11, 44)},
							{40 * time.Millisecond, b.frame(1, 3, 1, 44, 0, 2)}, {40 * time.Millisecond, b.frame(1, 3, 4, 0x11, 44, 0, 0)}}
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
