package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

const thinking = 5 * time.Millisecond

// piped runs f in a bubble with a link to p that pipelines.
func piped(t *testing.T, p *peer, pipeline string, f func(t *testing.T, l *link)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := TCP{Dial: p.dial}
		settings, err := d.ParseLink("plc:502", drivers.Fields{"pipeline": pipeline})
		if err != nil {
			t.Fatal(err)
		}
		opened, err := d.Open(t.Context(), drivers.LinkConfig{Name: "plc", Settings: settings, Timeout: wait, Now: func() tag.Stamp {
			return tag.Stamp{Mono: int64(time.Since(start)) + 1}
		}})
		if err != nil {
			t.Fatal(err)
		}
		f(t, opened.(*link))
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// stream reads requests as they come and hands them over; nil when it is over.
func stream(c net.Conn) <-chan []byte {
	out := make(chan []byte, 64)
	go func() {
		defer close(out)
		for q := receive(c); q != nil; q = receive(c) {
			out <- q
		}
	}()
	return out
}

// together gathers what was sent at once: everything that comes before the peer would think.
func together(in <-chan []byte) (all [][]byte) {
	q, ok := <-in
	if !ok {
		return nil
	}
	all = append(all, q)
	for {
		select {
		case q, ok := <-in:
			if !ok {
				return all
			}
			all = append(all, q)
		case <-time.After(thinking):
			return all
		}
	}
}

// blocks plans one request of each length, at stations and addresses of their own.
func blocks(t *testing.T, lengths ...int) (out []drivers.Request) {
	t.Helper()
	for i, n := range lengths {
		first := 1000 * i
		out = append(out, request1(t, 1+i, fmt.Sprintf("holding wire %d", first), fmt.Sprintf("holding wire %d", first+n-1)))
	}
	return out
}

// all reads reqs and fails unless everything is good, and right.
func all(t *testing.T, l *link, reqs []drivers.Request) (took time.Duration) {
	t.Helper()
	seen := map[int]int{}
	from := time.Now()
	l.ReadAll(t.Context(), reqs, func(i int, rs []tag.Reading, err error) {
		seen[i]++
		if err != nil || len(rs) != len(reqs[i].Points()) {
			t.Error(i, rs, err)
			return
		}
		for n, p := range reqs[i].Points() {
			if want := tag.IntValue(int64(p.Address.(Address).Number)); !rs[n].Quality.Good() || rs[n].Value != want {
				t.Errorf("request %d: %+v", i, rs[n])
			}
		}
	})
	for i := range reqs {
		if seen[i] != 1 {
			t.Errorf("request %d was handed over %d times", i, seen[i])
		}
	}
	return time.Since(from)
}

var sixteen = []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}

// batches serves batches: each is answered by f.
func batches(f func(c net.Conn, batch [][]byte)) *peer {
	return &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			in := stream(c)
			for b := together(in); b != nil; b = together(in) {
				f(c, b)
			}
		}
	}}
}

func TestAnswersOutOfOrder(t *testing.T) {
	most := 0
	p := batches(func(c net.Conn, b [][]byte) {
		most = max(most, len(b))
		for i := range b {
			c.Write(right(b[len(b)-1-i]))
		}
	})
	piped(t, p, "16", func(t *testing.T, l *link) {
		reqs := blocks(t, append(sixteen, 18, 19, 20)...)
		all(t, l, reqs) // the first connection's first goes alone
		if took := all(t, l, reqs); took != 2*thinking {
			t.Errorf("it took %v", took)
		}
		if l.Window() != 16 {
			t.Errorf("window %d", l.Window())
		}
		if c := l.Counts(); most != 16 || c.Asked != 38 || c.Answered != 38 || c.Lost != 0 {
			t.Errorf("%d at once, %+v", most, c)
		}
	})
}

// With auto the window grows with what was proved, and only by answers that
// differ in length.
func TestTheWindowIsFoundOut(t *testing.T) {
	right := func(c net.Conn, b [][]byte) {
		for _, q := range b {
			c.Write(right(q))
		}
	}
	piped(t, batches(right), "auto", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen...)
		var grown []int
		for range 6 {
			all(t, l, reqs[:min(len(reqs), l.Window())])
			grown = append(grown, l.Window())
		}
		if want := []int{2, 4, 8, 16, 16, 16}; fmt.Sprint(grown) != fmt.Sprint(want) {
			t.Errorf("the window grew %v, want %v", grown, want)
		}
	})
	piped(t, batches(right), "auto", func(t *testing.T, l *link) {
		reqs := blocks(t, 5, 5, 5, 5)
		for range 5 {
			if took := all(t, l, reqs); took != 4*thinking {
				t.Errorf("requests of one length took %v", took)
			}
		}
	})
	// Slow enough to come near the timeout: the window gets no larger.
	slow := func(c net.Conn, b [][]byte) {
		for _, q := range b {
			time.Sleep(wait / 7)
			right(c, [][]byte{q})
		}
	}
	piped(t, batches(slow), "auto", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen...)
		for range 10 {
			all(t, l, reqs[:l.Window()])
			if l.Window() != 2 || l.Counts().Silent > 0 {
				t.Errorf("window %d, %+v", l.Window(), l.Counts())
			}
		}
	})
}

// What is not proved is not risked: nothing of one length is under way together
// before the device has shown that it can, and never more than it has shown.
func TestWhatIsNotProvedIsNotRisked(t *testing.T) {
	var seen [][]int
	p := batches(func(c net.Conn, b [][]byte) {
		var lengths []int
		for _, q := range b {
			lengths = append(lengths, int(q[11]))
		}
		seen = append(seen, lengths)
		for _, q := range b {
			c.Write(right(q))
		}
	})
	piped(t, p, "auto", func(t *testing.T, l *link) {
		all(t, l, blocks(t, 5, 5, 9, 5, 5))
		if want := "[[5] [5 9] [5] [5]]"; fmt.Sprint(seen) != want || l.Window() != 4 {
			t.Errorf("together were %v, want %s; window %d", seen, want, l.Window())
		}
		seen = nil
		all(t, l, blocks(t, 5, 5, 5, 5))
		if want := "[[5 5] [5 5]]"; fmt.Sprint(seen) != want || l.Window() != 4 {
			t.Errorf("together were %v, want %s; window %d", seen, want, l.Window())
		}
	})
}

// Devices that cannot do it, each in its way: auto costs no reading, no wrong
// one, and is over after a few connections.
func TestPipeliningThatGoesWrong(t *testing.T) {
	one := func(c net.Conn, q []byte) { c.Write(right(q)) }
	for name, f := range map[string]func(c net.Conn, b [][]byte){
		"answers only the first": func(c net.Conn, b [][]byte) { one(c, b[0]) },
		"answers only the last":  func(c net.Conn, b [][]byte) { one(c, b[len(b)-1]) },
		"answers none": func(c net.Conn, b [][]byte) {
			if len(b) == 1 {
				one(c, b[0])
			}
		},
		"exchanges contents": func(c net.Conn, b [][]byte) {
			for i, q := range b {
				a := right(b[(i+1)%len(b)])
				copy(a, q[:2])
				a[6] = q[6]
				c.Write(a)
			}
		},
		"answers all with the last": func(c net.Conn, b [][]byte) {
			for _, q := range b {
				a := right(b[len(b)-1])
				copy(a, q[:2])
				a[6] = q[6]
				c.Write(a)
			}
		},
		"has ids of its own": func(c net.Conn, b [][]byte) {
			for _, q := range b {
				a := right(q)
				if len(b) > 1 {
					a[0], a[1] = a[0]^1, a[1]^1
				}
				c.Write(a)
			}
		},
		"says a length that is not so": func(c net.Conn, b [][]byte) {
			for _, q := range b {
				a := right(q)
				if len(b) > 1 { // one register too many, in front
					a = append(append(a[:9:9], 0xab, 0xcd), a[9:]...)
				}
				c.Write(a)
			}
		},
		"is busy": func(c net.Conn, b [][]byte) {
			for i, q := range b {
				if i > 0 {
					c.Write(reply(q, q[7]|0x80, 6))
				} else {
					one(c, q)
				}
			}
		},
		"closes": func(c net.Conn, b [][]byte) {
			if len(b) > 1 {
				c.Close()
			} else {
				one(c, b[0])
			}
		},
		"closes after the first": func(c net.Conn, b [][]byte) {
			one(c, b[0])
			if len(b) > 1 {
				c.Close()
			}
		},
		"answers twice": func(c net.Conn, b [][]byte) {
			for _, q := range b {
				one(c, q)
				if len(b) > 1 {
					one(c, q)
				}
			}
		},
	} {
		for _, pipeline := range []string{"auto", "16"} {
			t.Run(name+" "+pipeline, func(t *testing.T) {
				var out bytes.Buffer
				p := batches(f)
				piped(t, p, pipeline, func(t *testing.T, l *link) {
					l.channel.(*mbap).log = slog.New(slog.NewTextHandler(&out, nil))
					reqs := blocks(t, sixteen[:8]...)
					for range 2 * MaxTrouble {
						for range 3 {
							all(t, l, reqs)
							time.Sleep(100 * time.Millisecond)
						}
						if l.Window() != 1 {
							t.Errorf("window %d", l.Window())
						}
						l.channel.(*mbap).drop(errors.New("another connection"), true)
						l.channel.(*mbap).last = nil
					}
					if l.Window() != 1 {
						t.Errorf("window %d after the last connection", l.Window())
					}
				})
				if n := strings.Count(out.String(), "given up"); n != 1 {
					t.Errorf("it was given up %d times:\n%s", n, out.String())
				}
			})
		}
	}
}

// A device that gives each request its neighbour's data, under the right id,
// unit and length: with auto nothing of it is ever taken for good, although
// most of the requests could pass for one another.
func TestExchangedContentsOfOneLength(t *testing.T) {
	p := batches(func(c net.Conn, b [][]byte) {
		for i, q := range b {
			other := q
			if i^1 < len(b) {
				other = b[i^1]
			}
			a := right(other)
			copy(a, q[:2])
			a[6] = q[6]
			c.Write(a)
		}
	})
	piped(t, p, "auto", func(t *testing.T, l *link) {
		reqs := blocks(t, 5, 5, 5, 5, 5, 9, 5)
		for range 10 {
			for from := 0; from < len(reqs); from += 2 { // as a scan would, two at a time
				all(t, l, reqs[from:min(len(reqs), from+2)])
			}
			all(t, l, reqs)
		}
		if l.Window() != 1 {
			t.Errorf("window %d", l.Window())
		}
	})
}

// A block that is refused within a batch is split as ever, and costs the
// others nothing; a station that is away costs pipelining nothing.
func TestABadOneInABatch(t *testing.T) {
	p := batches(func(c net.Conn, b [][]byte) {
		for _, q := range b {
			first, n := binary.BigEndian.Uint16(q[8:]), binary.BigEndian.Uint16(q[10:])
			switch {
			case q[6] == 3 && first <= 2003 && first+n > 2003:
				c.Write(reply(q, q[7]|0x80, 2))
			case q[6] == 5:
			default:
				c.Write(right(q))
			}
		}
	})
	piped(t, p, "auto", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen[:8]...)
		reqs = append(reqs[:2:2], request1(t, 3, "holding 2000", "holding 2001", "holding 2003", "holding 2005"))
		reqs = append(reqs, blocks(t, sixteen[:8]...)[3:]...)
		for round := range 6 {
			l.ReadAll(t.Context(), reqs, func(i int, rs []tag.Reading, err error) {
				for n, r := range rs {
					a := reqs[i].Points()[n].Address.(Address)
					switch {
					case i == 4:
						if r.Quality != tag.BadNoComm {
							t.Error(round, i, r)
						}
					case a.Number == 2003:
						if r.Quality != tag.BadConfig {
							t.Error(round, i, r)
						}
					case !r.Quality.Good() || r.Value != tag.IntValue(int64(a.Number)):
						t.Error(round, i, r, err)
					}
				}
			})
		}
		if l.Window() < 8 || p.dialed != 1 {
			t.Errorf("window %d, %d connections", l.Window(), p.dialed)
		}
	})
}

// A dead device behind a window is found as without one.
func TestADeadDeviceBehindAWindow(t *testing.T) {
	var dead atomic.Bool
	p := batches(func(c net.Conn, b [][]byte) {
		for _, q := range b {
			if !dead.Load() {
				c.Write(right(q))
			}
		}
	})
	piped(t, p, "16", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen[:8]...)
		all(t, l, reqs)
		all(t, l, reqs)
		dead.Store(true)
		from := time.Now()
		l.ReadAll(t.Context(), reqs, func(_ int, rs []tag.Reading, err error) {
			if err == nil || rs[0].Quality != tag.BadNoComm {
				t.Error(rs, err)
			}
		})
		if took := time.Since(from); took != wait {
			t.Errorf("it took %v", took)
		}
		for range SilentLimit - 1 {
			l.ReadAll(t.Context(), reqs, func(int, []tag.Reading, error) {})
		}
		if l.Counts().Lost == 0 {
			t.Error("the dead connection was kept")
		}
		dead.Store(false)
		time.Sleep(RedialLast)
		all(t, l, reqs)
		if l.Window() != 16 {
			t.Errorf("window %d", l.Window())
		}
	})
}

func TestABatchIsInterrupted(t *testing.T) {
	p := batches(func(c net.Conn, b [][]byte) {
		if len(b) == 1 {
			c.Write(right(b[0]))
		}
	})
	piped(t, p, "16", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen[:8]...)
		good(t, l, reqs[0])
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		from := time.Now()
		n := 0
		l.ReadAll(ctx, reqs, func(i int, rs []tag.Reading, err error) {
			n++
			if !errors.Is(err, context.Canceled) || rs[0].Quality != tag.BadNoComm {
				t.Error(i, rs, err)
			}
		})
		if took := time.Since(from); took != 20*time.Millisecond || n != len(reqs) {
			t.Errorf("%d requests after %v", n, took)
		}
	})
}

// A peer that closed the idle connection costs neither a reading nor trust.
func TestAClosedIdleConnectionIsNoTrouble(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			in := stream(c)
			for range 3 {
				for _, q := range together(in) {
					c.Write(right(q))
				}
			}
		}
	}}
	piped(t, p, "16", func(t *testing.T, l *link) {
		reqs := blocks(t, sixteen[:8]...)
		for range 20 {
			all(t, l, reqs)
			synctest.Wait()
		}
		if l.Window() != 16 || l.channel.(*mbap).pipe.trouble != 0 {
			t.Errorf("window %d, trouble %d", l.Window(), l.channel.(*mbap).pipe.trouble)
		}
	})
}
