package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers/tag"
	"davy/rules"
)

// The keeper knows serials that this process never sent: nothing is taken for
// recorded, and another lineage carries all of it.
func TestLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := [16]byte{1}, [16]byte{2}
		k := &keeper{last: map[[16]byte]uint64{old: 12}}
		w := NewWriter(WriterOptions{Pending: []Event{{Serial: 9}, {Serial: 10}}})
		w.Offer(&Turn{Events: []Event{{Serial: 11, Event: rules.Event{Note: "new"}}, {Serial: 12}, {Serial: 13}}})
		w.Permit(13)
		talk := func(l [16]byte) error {
			ours, theirs := net.Pipe()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			k.serve(theirs)
			err := w.Serve(ctx, ours, Hello{Lineage: l})
			<-k.done
			return err
		}
		if err := talk(old); !errors.Is(err, ErrLineage) {
			t.Fatalf("a keeper that is ahead: %v", err)
		}
		if _, n := w.Waiting(); n != 5 {
			t.Fatalf("%d events left of 5", n)
		}
		if err := talk(fresh); err != nil {
			t.Fatal(err)
		}
		k.commit()
		if len(k.events) != 5 || k.events[2].Note != "new" || k.gaps != 0 {
			t.Fatalf("%d events, %d gaps", len(k.events), k.gaps)
		}
	})
}

// Nothing goes to a keeper whose journal is not open, and no event before it
// is permitted; readings need no permit.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterOptions{})
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx, ours, Hello{Version: "v"}) }()
		r, h, err := Accept(t.Context(), theirs)
		if err != nil || h.Version != "v" {
			t.Fatalf("%+v, %v", h, err)
		}
		next := func() (turn Turn) {
			t.Helper()
			if err := r.Next(&turn); err != nil {
				t.Fatal(err)
			}
			return turn
		}
		say := func(s Status) {
			t.Helper()
			if err := r.Send(s); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.Offer(&Turn{Armed: true, Events: []Event{{Serial: 1}, {Serial: 2}}, Readings: make([]tag.Reading, 4)})
		w.Permit(1)
		say(Status{}) // alive, not open
		if turn := next(); len(turn.Events)+len(turn.Readings) != 0 || !turn.Armed {
			t.Errorf("before there is an epoch: %+v", turn)
		}
		say(Status{Epoch: epoch})
		if turn := next(); len(turn.Events) != 1 || turn.Events[0].Serial != 1 || len(turn.Readings) != 4 {
			t.Errorf("with an epoch: %+v", turn)
		}
		w.Permit(2)
		if turn := next(); len(turn.Events) != 1 || turn.Events[0].Serial != 2 {
			t.Errorf("after the permit: %+v", turn)
		}
		if s, _, ok := w.Status(); !ok || s.Epoch != epoch {
			t.Errorf("status %+v %v", s, ok)
		}
		say(Status{Epoch: epoch, Durable: 1})
		if left := w.Outbox(nil); len(left) != 1 || left[0].Serial != 2 {
			t.Errorf("outbox %+v", left)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := r.Next(new(Turn)); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if _, _, ok := w.Status(); ok {
			t.Error("a status without a conversation")
		}
		_ = r.Close()
	})
}

// Readings that come one by one travel together; an event does not wait.
func TestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterOptions{})
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx, ours, Hello{}) }()
		r, _, err := Accept(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Send(Status{Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		go func() {
			for range 10 {
				w.Offer(&Turn{Readings: make([]tag.Reading, 1)})
				time.Sleep(time.Millisecond)
			}
		}()
		var turn Turn
		if err := r.Next(&turn); err != nil || len(turn.Readings) != 10 || time.Since(begin) != Gather {
			t.Errorf("%d readings after %v, %v", len(turn.Readings), time.Since(begin), err)
		}
		begin = time.Now()
		w.Offer(&Turn{Events: []Event{{Serial: 1}}, Readings: make([]tag.Reading, 1)})
		w.Permit(1)
		if err := r.Next(&turn); err != nil || len(turn.Events) != 1 || time.Since(begin) != 0 {
			t.Errorf("%d events after %v, %v", len(turn.Events), time.Since(begin), err)
		}
		cancel()
		<-served
		_ = r.Close()
	})
}

// A ring that is full gives up the oldest and counts each; what the count says
// and what arrives is all there was. Lost ones are told again when the
// conversation broke soon after.
func TestFullRingCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterOptions{MaxReadings: 100})
		n := 0
		offer := func(count int) {
			turn := Turn{}
			for range count {
				n++
				turn.Readings = append(turn.Readings, tag.Reading{Tag: tag.ID(n), Received: tag.Stamp{Mono: int64(n)}})
			}
			w.Offer(&turn)
		}
		take := func(talk func(turn *Turn) (more bool)) {
			ours, theirs := net.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- w.Serve(ctx, ours, Hello{}) }()
			r, _, err := Accept(t.Context(), theirs)
			if err == nil {
				err = r.Send(Status{Epoch: epoch})
			}
			var turn Turn
			for more := true; err == nil && more; {
				if err = r.Next(&turn); err == nil {
					if more = talk(&turn); more {
						err = r.Send(Status{Epoch: epoch})
					}
				}
			}
			if err != nil {
				t.Error(err)
			}
			_ = r.Close()
			<-served
			cancel()
		}
		for range 13 {
			offer(21) // 273: the last 100 stay
		}
		first := tag.ID(0)
		arrived := 0
		take(func(turn *Turn) bool {
			if len(turn.Readings) == 0 {
				return true // a beat from before the status
			}
			first, arrived = turn.Readings[0].Tag, len(turn.Readings)
			if want := (Lost{Readings: 173, From: tag.Stamp{Mono: 1}, To: tag.Stamp{Mono: 173}}); turn.Lost != want {
				t.Errorf("lost %+v, want %+v", turn.Lost, want)
			}
			return false
		})
		if arrived != 100 || first != 174 {
			t.Errorf("%d readings from %d on", arrived, first)
		}
		take(func(turn *Turn) bool {
			if turn.Lost == (Lost{}) {
				return true
			}
			if turn.Lost.Readings != 173 {
				t.Errorf("told again: %+v", turn.Lost)
			}
			return false
		})
		time.Sleep(LostAgain + time.Second) // but the conversation was over before
		offer(1)
		beats := 0
		take(func(turn *Turn) bool {
			beats++
			return beats < 12 // longer than LostAgain
		})
		take(func(turn *Turn) bool {
			if turn.Lost != (Lost{}) {
				t.Errorf("told again after %v: %+v", LostAgain, turn.Lost)
			}
			beats++
			return beats < 14
		})
	})
}

// A keeper that reads nothing holds up nobody, and when it says nothing either
// the conversation ends.
func TestKeeperThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var news []string
		w := NewWriter(WriterOptions{MaxReadings: 1000, Changed: func(s Status, alive bool) {
			mu.Lock()
			defer mu.Unlock()
			news = append(news, fmt.Sprint(alive, s.Conditions))
		}})
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- w.Serve(t.Context(), ours, Hello{}) }()
		r, _, err := Accept(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 { // it lives and does not read: that is slow, not dead
			s := Status{Epoch: epoch}
			if i >= 10 {
				s.Conditions = []string{"journal.slow"}
			}
			if err := r.Send(s); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				w.Offer(&Turn{Readings: make([]tag.Reading, 10)})
			}
			time.Sleep(Beat)
		}
		if n, _ := w.Waiting(); n != 1000 {
			t.Errorf("%d readings wait", n)
		}
		begin := time.Now()
		if err := <-served; !errors.Is(err, ErrSilent) || time.Since(begin) != Silence-Beat {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		mu.Lock()
		defer mu.Unlock()
		if got := fmt.Sprint(news); got != "[true [] true [journal.slow] false []]" {
			t.Errorf("news %s", got)
		}
		_ = r.Close()
	})
}

// The keeper takes a decider that is silent for dead.
func TestSilentDecider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			out, _ := frame(nil, helloFrame, func(b []byte) []byte { return appendHello(b, &Hello{}) })
			_, _ = ours.Write(out)
		}()
		r, _, err := Accept(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // its own time does not count
		begin := time.Now()
		if err := r.Next(new(Turn)); !errors.Is(err, ErrSilent) || time.Since(begin) != Silence {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		_ = r.Close()
	})
}

// Hostile peers end the conversation with an error that says why.
func TestHostilePeers(t *testing.T) {
	for name, bytes := range map[string]string{
		"no frame":     "GET / HTTP/1.1\r\n\r\n",
		"turn first":   "\x02\x00\x00\x00\x02\x00",
		"empty frame":  "\x00\x00\x00\x00",
		"short status": "\x02\x00\x00\x00\x03\x00",
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = ours.Write([]byte(bytes))
				_, _ = io.Copy(io.Discard, ours)
				_ = ours.Close()
			}()
			if _, _, err := Accept(t.Context(), theirs); !errors.Is(err, ErrFrame) {
				t.Errorf("%s to a keeper: %v", name, err)
			}
			decider, keeper := net.Pipe()
			go func() {
				go func() { _, _ = keeper.Write([]byte(bytes)) }()
				_, _ = io.Copy(io.Discard, keeper)
				_ = keeper.Close()
			}()
			if err := NewWriter(WriterOptions{}).Serve(t.Context(), decider, Hello{}); !errors.Is(err, ErrFrame) {
				t.Errorf("%s to a decider: %v", name, err)
			}
		})
	}
}

// What goes first is what matters least, and the oldest of that.
func TestDisplaced(t *testing.T) {
	w := NewWriter(WriterOptions{MaxEvents: 3})
	add := func(serial uint64, p rules.Priority) {
		w.Offer(&Turn{Events: []Event{{Serial: serial, Event: rules.Event{Priority: p}}}})
	}
	serials := func() (s []uint64) {
		for _, e := range w.Outbox(nil) {
			s = append(s, e.Serial)
		}
		return s
	}
	add(1, rules.High)
	add(2, rules.Low)
	add(3, rules.Low)
	add(4, rules.High)
	if got := fmt.Sprint(serials()); got != "[1 3 4]" {
		t.Errorf("held %s", got)
	}
	add(5, rules.High)
	if got := fmt.Sprint(serials()); got != "[1 4 5]" {
		t.Errorf("held %s", got)
	}
	if e := w.Outbox(nil)[1]; e.LostFrom != 2 {
		t.Errorf("event 4 knows %d as the first that is missing", e.LostFrom)
	}
	add(6, rules.Low) // the newest stays until the next comes
	add(7, rules.High)
	add(8, rules.Low)
	add(9, 0)
	if got := fmt.Sprint(serials()); got != "[4 5 7 9]" {
		t.Errorf("held %s", got)
	}
	if n := len(serials()); n > 4 {
		t.Errorf("%d held", n)
	}
	big := NewWriter(WriterOptions{MaxEventBytes: 1000})
	for i := range 100 {
		big.Offer(&Turn{Events: []Event{{Serial: uint64(i + 1), Event: rules.Event{Priority: rules.High}}}})
	}
	if n := len(AppendEvents(nil, big.Outbox(nil))); n > 1000 || n < 500 {
		t.Errorf("%d bytes held", n)
	}
}

// sockets is a real socketpair.
func sockets(tb testing.TB) (a, b net.Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	open := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	return open(fds[0]), open(fds[1])
}

// Over a real socketpair: 50,000 readings and 500 events arrive, each once.
func TestSocketpair(t *testing.T) {
	ours, theirs := sockets(t)
	w := NewWriter(WriterOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, ours, Hello{Lineage: [16]byte{3}, Bundle: make([]byte, 1<<20)}) }()
	r, h, err := Accept(t.Context(), theirs)
	if err != nil || len(h.Bundle) != 1<<20 {
		t.Fatalf("%d bytes of bundle, %v", len(h.Bundle), err)
	}
	if err := r.Send(Status{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	go func() {
		turn := Turn{Readings: make([]tag.Reading, 100)}
		for i := range 500 {
			turn.Events = []Event{{Serial: uint64(i + 1)}}
			w.Offer(&turn)
			w.Permit(uint64(i + 1))
		}
	}()
	var turn Turn
	readings, events := 0, uint64(0)
	for readings < 50000 || events < 500 {
		if err := r.Next(&turn); err != nil {
			t.Fatal(err)
		}
		readings += len(turn.Readings)
		for _, e := range turn.Events {
			if events++; e.Serial != events {
				t.Fatalf("serial %d after %d", e.Serial, events-1)
			}
		}
	}
	if err := r.Send(Status{Epoch: epoch, Durable: events}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := r.Next(&turn); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	_ = r.Close()
}

func TestOfferAllocates(t *testing.T) {
	w := NewWriter(WriterOptions{MaxReadings: 5000})
	turn := Turn{Readings: make([]tag.Reading, 500)}
	if n := testing.AllocsPerRun(100, func() { w.Offer(&turn) }); n != 0 {
		t.Errorf("%v allocations per Offer", n)
	}
}

// BenchmarkThereAndBack: 500 readings to the keeper over a socketpair and a
// Status back.
func BenchmarkThereAndBack(b *testing.B) {
	ours, theirs := sockets(b)
	w := NewWriter(WriterOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	back := make(chan struct{}, 1)
	w.changed = func(Status, bool) {
		select {
		case back <- struct{}{}:
		default:
		}
	}
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, ours, Hello{}) }()
	r, _, err := Accept(context.Background(), theirs)
	if err == nil {
		err = r.Send(Status{Epoch: epoch})
	}
	if err != nil {
		b.Fatal(err)
	}
	<-back
	keeper := make(chan struct{})
	go func() {
		defer close(keeper)
		var turn Turn
		for i := 0; r.Next(&turn) == nil; i++ {
			if len(turn.Readings) > 0 && r.Send(Status{Epoch: epoch, Durable: uint64(i), Conditions: []string{strconv.Itoa(i)}}) != nil {
				return
			}
		}
	}()
	turn := Turn{Readings: make([]tag.Reading, 500)}
	for i := range turn.Readings {
		v, _ := tag.Float32Value(rand.Float32())
		turn.Readings[i] = tag.Reading{Tag: tag.ID(i + 1), Quality: tag.GoodQuality, Value: v}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		w.Offer(&turn)
		poke(w.urgent)
		<-back
	}
	b.StopTimer()
	cancel()
	<-served
	_ = r.Close()
	<-keeper
}
