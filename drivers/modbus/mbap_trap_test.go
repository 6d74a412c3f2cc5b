package modbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
	"davy/test/scale"
)

// dice are thrown by both ends.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// A device that pipelines in every wrong way by turns, requests of one length
// among them, callers that go away in the middle: each request is handed over
// exactly once, what is good is right, and a device that is well again is read.
func TestPipeliningAtRandom(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := dice{r: rand.New(rand.NewPCG(seed, 0x91be))}
			var well atomic.Bool
			late := map[net.Conn][][]byte{}
			p := batches(func(c net.Conn, b [][]byte) {
				var out [][]byte
				for _, q := range b {
					out = append(out, right(q))
				}
				if well.Load() {
					for _, a := range out {
						c.Write(a)
					}
					return
				}
				r.mu.Lock()
				before := late[c]
				late[c] = nil
				r.mu.Unlock()
				for _, a := range before {
					c.Write(a)
				}
				n := r.IntN(len(out))
				switch r.IntN(16) {
				case 0: // out of order
					slices.Reverse(out)
				case 1: // one is dropped
					out = append(out[:n:n], out[n+1:]...)
				case 2: // one comes twice
					out = append(out, out[n])
				case 3: // closes in the middle
					for _, a := range out[:n] {
						c.Write(a)
					}
					c.Close()
					return
				case 4: // closes in the middle of an answer
					c.Write(out[n][:1+r.IntN(len(out[n])-1)])
					c.Close()
					return
				case 5: // busy
					out[n] = reply(b[n], b[n][7]|0x80, 6)
				case 6: // refused
					out[n] = reply(b[n], b[n][7]|0x80, 2)
				case 7: // an id of nobody
					out[n][0] ^= 0x55
				case 8: // all of it late
					time.Sleep(wait + time.Duration(r.IntN(int(wait))))
				case 9: // one comes with the next batch
					r.mu.Lock()
					late[c] = append(late[c], out[n])
					r.mu.Unlock()
					out = append(out[:n:n], out[n+1:]...)
				case 10: // contents of another length
					if m := r.IntN(len(out)); len(out[m]) != len(out[n]) {
						copy(out[m], out[n][:2])
						out[n] = nil
					}
				case 11: // all of it in pieces
					var all []byte
					for _, a := range out {
						all = append(all, a...)
					}
					out = nil
					for len(all) > 0 {
						k := min(len(all), 1+r.IntN(40))
						out = append(out, all[:k])
						all = all[k:]
					}
				}
				for _, a := range out {
					if len(a) > 0 {
						if _, err := c.Write(a); err != nil {
							return
						}
					}
				}
			})
			piped(t, p, []string{"auto", "16", "3"}[seed%3], func(t *testing.T, l *link) {
				var reqs []drivers.Request
				for i, n := range []int{2, 2, 9, 2, 30, 9, 2, 5, 5, 2, 120, 2} {
					reqs = append(reqs, request1(t, 1+i%3, fmt.Sprintf("holding wire %d", 1000*i), fmt.Sprintf("holding wire %d", 1000*i+n-1)))
				}
				rights, rounds := 0, max(100, scale.Of(800))
				for round := range rounds {
					ctx, cancel := context.WithCancel(t.Context())
					switch r.IntN(10) {
					case 0:
						cancel()
					case 1:
						time.AfterFunc(time.Duration(r.IntN(int(wait/8))), cancel)
					case 2:
						ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(int(wait))))
					}
					seen := make([]int, len(reqs))
					l.ReadAll(ctx, reqs, func(i int, rs []tag.Reading, err error) {
						seen[i]++
						if len(rs) != len(reqs[i].Points()) {
							t.Fatal(round, i, len(rs))
						}
						for k, p := range reqs[i].Points() {
							if !rs[k].Quality.Good() {
								continue
							}
							rights++
							if rs[k].Value != tag.IntValue(int64(p.Address.(Address).Number)) {
								t.Fatalf("round %d: %s is good and %v", round, reqs[i], rs[k].Value)
							}
						}
					})
					cancel()
					for i, n := range seen {
						if n != 1 {
							t.Fatalf("round %d: request %d was handed over %d times", round, i, n)
						}
					}
					time.Sleep(time.Duration(r.IntN(int(time.Second))))
				}
				if rights < 5*rounds/2 {
					t.Errorf("%d good readings", rights)
				}
				well.Store(true)
				time.Sleep(2 * RemergeAfter)
				synctest.Wait()
				for range 40 {
					l.ReadAll(t.Context(), reqs, func(int, []tag.Reading, error) {})
					time.Sleep(2 * time.Second)
				}
				all(t, l, reqs)
			})
		})
	}
}

// A pause leaves a request the time that it needs, or puts it off: what is sent
// with no time for its answer is no silence of the device.
func TestAPauseLeavesTimeForTheAnswer(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				time.Sleep(wait / 4)
				c.Write(right(q))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		for _, pause := range []time.Duration{wait / 3, wait / 2, wait * 4 / 5, wait * 9 / 10, wait, 2 * wait} {
			o, err := TCP{}.ParseDevice(drivers.Fields{"pause": pause.String()})
			if err != nil {
				t.Fatal(err)
			}
			pt := point(t, "holding 100", "")
			pt.Tag, pt.Station, pt.Options = 1, 1, o
			q, err := TCP{}.Plan(drivers.Settings{}, []drivers.Point{pt})
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				if r, err := ask(t, l, q[0]); err != nil || !r.Quality.Good() {
					t.Error(pause, r, err)
				}
			}
		}
	})
}

// The same on a line.
func TestLinePauseLeavesTimeForTheAnswer(t *testing.T) {
	withLine(t, false, allow, func(t *testing.T, b *bus, l *link, _ *[]string) {
		b.think = wait / 4
		for _, pause := range []time.Duration{wait / 3, wait / 2, wait * 4 / 5, wait * 9 / 10, wait, 2 * wait} {
			o, err := RTU{}.ParseDevice(drivers.Fields{"pause": pause.String()})
			if err != nil {
				t.Fatal(err)
			}
			pt := point(t, "holding 10", "")
			pt.Tag, pt.Station, pt.Options = 1, 1, o
			for range 4 {
				if r, err := ask(t, l, planned1(t, pt)); err != nil || !r.Quality.Good() {
					t.Error(pause, r, err)
				}
			}
		}
	})
}
