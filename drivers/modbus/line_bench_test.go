package modbus

import (
	"os"
	"testing"
	"time"
)

// instant is a port that answers at once, with the same 125 registers.
type instant struct {
	f       framer
	answer  []byte
	pending bool
}

func (p *instant) Read(b []byte) (int, error) {
	if !p.pending {
		return 0, os.ErrDeadlineExceeded
	}
	p.pending = false
	return copy(b, p.answer), nil
}

func (p *instant) Drain([]byte) (int, error) { return 0, nil }
func (p *instant) Write(b []byte) (int, error) {
	p.pending = true
	return len(b), nil
}
func (p *instant) SetDeadline(time.Time) error { return nil }
func (p *instant) Close() error                { return nil }

func steady(tb testing.TB, isASCII bool) (*link, []byte) {
	b := newBus(isASCII)
	l, _ := openBus(tb, b, wait, allow)
	body := make([]byte, 253)
	body[0], body[1], body[2] = 1, 3, 250
	line := l.channel.(*line)
	line.port = &instant{f: b.framer, answer: b.frame(body...)}
	line.drain = line.port.(drainer)
	line.quiet = 0
	return l, readFrame(1, Holding, 0, 125)
}

func TestLineExchangeAllocatesNothing(t *testing.T) {
	both(t, func(t *testing.T, isASCII bool) {
		l, adu := steady(t, isASCII)
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := l.exchange(ctx, adu, true, time.Now().Add(wait)); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Error(n, "allocations")
		}
	})
}

func BenchmarkLineExchange(b *testing.B) {
	for name, isASCII := range map[string]bool{"rtu": false, "ascii": true} {
		b.Run(name, func(b *testing.B) {
			l, adu := steady(b, isASCII)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.exchange(ctx, adu, true, time.Now().Add(wait)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
