package modbus

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// bank is a peer whose registers hold their address; some it lacks.
type bank struct {
	mu    sync.Mutex
	lack  map[uint16]byte // refused with this exception; 0: never answered
	away  bool
	count int
}

// has sets what it lacks, and whether it is away.
func (b *bank) has(lack map[uint16]byte, away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lack, b.away = lack, away
}

// asked returns how many requests came since it was last called.
func (b *bank) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.count
	b.count = 0
	return n
}

// reply answers a request; nil is silence.
func (b *bank) reply(q []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	answer := right(q)
	first, count := binary.BigEndian.Uint16(q[8:]), binary.BigEndian.Uint16(q[10:])
	silent := b.away
	for r := first; r < first+count; r++ {
		if e, ok := b.lack[r]; ok {
			answer, silent = reply(q, q[7]|0x80, e), silent || e == 0
		}
	}
	if silent {
		return nil
	}
	return answer
}

func (b *bank) peer() *peer {
	return &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				if a := b.reply(q); a != nil {
					c.Write(a)
				}
			}
		}
	}}
}

func registers(t *testing.T, from, to int) drivers.Request {
	var at []string
	for i := from; i < to; i++ {
		at = append(at, fmt.Sprintf("holding %d", i))
	}
	return request1(t, 1, at...)
}

// bad returns which readings are bad, and fails where a good one is wrong.
func bad(t *testing.T, from int, rs []tag.Reading) (out []int) {
	t.Helper()
	for i, r := range rs {
		if !r.Quality.Good() {
			out = append(out, from+i)
		} else if r.Value != tag.IntValue(int64(from+i)) {
			t.Errorf("holding %d is %v", from+i, r.Value)
		}
	}
	return out
}

func TestBadRegistersSpoilNoNeighbours(t *testing.T) {
	for _, lacking := range [][]uint16{{0}, {124}, {60}, {0, 1, 2}, {3, 50, 51, 124}, {0, 20, 40, 60, 80, 100, 120}} {
		t.Run(fmt.Sprint(lacking), func(t *testing.T) {
			b := &bank{lack: map[uint16]byte{}}
			var want []int
			for _, r := range lacking {
				b.lack[r] = 2
				want = append(want, int(r))
			}
			bubble(t, b.peer(), func(t *testing.T, l *link) {
				q := registers(t, 0, 125)
				rs, err := l.Read(t.Context(), q, nil)
				if err != nil || !slices.Equal(bad(t, 0, rs), want) {
					t.Errorf("the first read: %v bad, %v", bad(t, 0, rs), err)
				}
				for _, r := range lacking {
					if rs[r].Quality != tag.BadConfig {
						t.Errorf("holding %d is %#x", r, uint32(rs[r].Quality))
					}
				}
				// Afterwards only the good parts are asked.
				b.asked()
				rs, _ = l.Read(t.Context(), q, nil)
				if n := b.asked(); n > len(lacking)*8 || !slices.Equal(bad(t, 0, rs), want) {
					t.Errorf("the second read took %d requests, %v bad", n, bad(t, 0, rs))
				}
				// The register comes to be: found again after a while, and the block whole.
				b.has(nil, false)
				for range 15 {
					time.Sleep(RefusedRetry)
					rs, _ = l.Read(t.Context(), q, rs[:0])
				}
				b.asked()
				rs, _ = l.Read(t.Context(), q, nil)
				if n := b.asked(); n != 1 || bad(t, 0, rs) != nil || len(l.splits) != 0 {
					t.Errorf("after %v: %d requests, %v bad, %d splits", 15*RefusedRetry, n, bad(t, 0, rs), len(l.splits))
				}
			})
		})
	}
}

// A device that refuses what lies between its registers is soon asked only for
// what there is.
func TestRefusedGapsAreLeftOut(t *testing.T) {
	b := &bank{lack: map[uint16]byte{}}
	var at []string
	for r := range uint16(120) {
		if r%40 < 5 {
			at = append(at, fmt.Sprintf("holding %d", r))
		} else {
			b.lack[r] = 2
		}
	}
	bubble(t, b.peer(), func(t *testing.T, l *link) {
		q := request1(t, 1, at...)
		for range 2 {
			b.asked()
			rs, err := l.Read(t.Context(), q, nil)
			for i, r := range rs {
				if a := q.Points()[i].Address.(Address); err != nil || r.Value != tag.IntValue(int64(a.Number)) {
					t.Errorf("%v is %v, %v", a, r.Value, err)
				}
			}
		}
		if n := b.asked(); n != 3 {
			t.Errorf("%d requests for three stretches", n)
		}
	})
}

// A register whose requests are never answered is found by asking less.
func TestASilentRegisterSpoilsNoNeighbours(t *testing.T) {
	for _, silent := range []int{10, 13, 19} {
		for _, alone := range []bool{false, true} { // whether the station is asked for nothing else
			t.Run(fmt.Sprint(silent, alone), func(t *testing.T) {
				b := &bank{lack: map[uint16]byte{uint16(silent): 0}}
				bubble(t, b.peer(), func(t *testing.T, l *link) {
					q, other := registers(t, 10, 20), request1(t, 1, "holding 300")
					var rs []tag.Reading
					reads := 0
					for ; reads < 60; reads++ {
						if !alone {
							l.Read(t.Context(), other, nil)
						}
						rs, _ = l.Read(t.Context(), q, rs[:0])
						if slices.Equal(bad(t, 10, rs), []int{silent}) {
							break
						}
					}
					if reads > 20 {
						t.Errorf("it took %d reads: %v bad", reads, bad(t, 10, rs))
					}
					// From then on it costs a timeout only now and then.
					for range 5 {
						l.Read(t.Context(), q, nil)
					}
					from := time.Now()
					for range 20 {
						rs, _ = l.Read(t.Context(), q, rs[:0])
					}
					if took := time.Since(from); took > 4*wait {
						t.Errorf("20 reads took %v", took)
					}
				})
			})
		}
	}
}

// A station that is away costs one timeout a read, however its block is
// split, and is read whole soon after it is back.
func TestADeadStationCostsOneTimeout(t *testing.T) {
	b := &bank{}
	bubble(t, b.peer(), func(t *testing.T, l *link) {
		q := registers(t, 0, 60)
		l.Read(t.Context(), q, nil)
		b.has(nil, true)
		for range 50 {
			from := time.Now()
			rs, err := l.Read(t.Context(), q, nil)
			if took := time.Since(from); took > wait || err == nil || len(bad(t, 0, rs)) != 60 {
				t.Fatalf("it took %v: %v", took, err)
			}
			time.Sleep(time.Second)
		}
		b.has(nil, false)
		l.Read(t.Context(), q, nil)
		l.Read(t.Context(), q, nil)
		b.asked()
		rs, err := l.Read(t.Context(), q, nil)
		if n := b.asked(); err != nil || bad(t, 0, rs) != nil || n != 1 {
			t.Errorf("it is back: %d requests, %v", n, err)
		}
	})
}

// A device that refuses everything is not asked for every register in every read.
func TestADeviceThatRefusesAllIsAskedLittle(t *testing.T) {
	b := &bank{lack: map[uint16]byte{}}
	for r := range uint16(125) {
		b.lack[r] = 4
	}
	bubble(t, b.peer(), func(t *testing.T, l *link) {
		q := registers(t, 0, 125)
		for range 30 {
			b.asked()
			rs, err := l.Read(t.Context(), q, nil)
			if n := b.asked(); err != nil || len(bad(t, 0, rs)) != 125 || n > MaxRefused+1 {
				t.Fatalf("%d requests, %d bad, %v", n, len(bad(t, 0, rs)), err)
			}
			for i, r := range rs {
				if r.Quality != tag.BadDeviceFault {
					t.Fatalf("holding %d is %#x", i, uint32(r.Quality))
				}
			}
			time.Sleep(time.Second)
		}
		b.has(nil, false)
		time.Sleep(RemergeAfter)
		if rs, err := l.Read(t.Context(), q, nil); err != nil || bad(t, 0, rs) != nil {
			t.Errorf("it is well again: %v bad, %v", bad(t, 0, rs), err)
		}
	})
}

// When a Read's own time runs out among its parts, the next begins there.
func TestPartsTakeTurnsWhenTimeIsShort(t *testing.T) {
	slow := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				time.Sleep(200 * time.Millisecond)
				if count := binary.BigEndian.Uint16(q[10:]); count > 2 {
					c.Write(reply(q, 0x83, 2))
				} else {
					c.Write(right(q))
				}
			}
		}
	}}
	bubble(t, slow, func(t *testing.T, l *link) {
		q := registers(t, 0, 8)
		good := map[int]int{}
		for range 60 {
			from := time.Now()
			rs, _ := l.Read(t.Context(), q, nil)
			if took := time.Since(from); took > wait {
				t.Errorf("a read took %v", took)
			}
			for i, r := range rs {
				if r.Quality.Good() {
					good[i]++
				}
			}
		}
		for i := range 8 {
			if good[i] < 5 {
				t.Errorf("holding %d was good %d times in 60 reads", i, good[i])
			}
		}
	})
}

func TestSplitsAreBounded(t *testing.T) {
	b := &bank{lack: map[uint16]byte{0: 2}}
	bubble(t, b.peer(), func(t *testing.T, l *link) {
		for range MaxSplits + 5 {
			l.Read(t.Context(), registers(t, 0, 1), nil)
		}
		if n := len(l.splits); n > MaxSplits {
			t.Errorf("%d splits are remembered", n)
		}
	})
}
