package opcua

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/tag"

	"golang.org/x/sys/unix"
)

// The test binary is the child too, under the name that a link starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(worker())
	}
	os.Exit(m.Run())
}

// worker answers everything with its own process id.
func worker() int {
	stream, err := child.Parent()
	if err != nil {
		return 9
	}
	conn := child.NewConn(stream)
	if send(conn, KindReady, Ready{Version}) != nil {
		return 8
	}
	var h Hello
	if _, body, err := conn.Read(); err != nil || json.Unmarshal(body, &h) != nil {
		return 7
	}
	clock := NewClock(h.Now)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = conn.Pulse(ctx) }()
	_ = send(conn, KindState, State{Generation: h.Generation, Session: 1, Up: true})
	for {
		kind, body, err := conn.Read()
		if err != nil {
			return 0
		}
		if kind == KindItems {
			continue
		}
		a, err := DecodeAsk(body)
		if err != nil {
			return 6
		}
		b := Batch{Generation: h.Generation, Session: 1, Request: a.Request}
		for i := range a.Count {
			v, _ := tag.Float64Value(float64(os.Getpid()))
			b.Samples = append(b.Samples, Sample{Handle: a.First + i, Quality: tag.GoodQuality, Value: v, Received: clock.Now()})
		}
		_ = conn.Write(KindReadings, b.Append(nil))
		if a.Request != 0 {
			_ = send(conn, KindDone, Done{Generation: h.Generation, Request: a.Request})
		}
	}
}

// Real processes: each is killed in the middle of its work, the subscription
// is in doubt at once, and nothing of it stays behind.
func TestRealChildren(t *testing.T) {
	cfg := config(nil)
	cfg.Timeout = 30 * time.Second
	once := func(kill bool) {
		began := time.Now()
		l, err := Driver{}.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var dead time.Time
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		pid := 0
		err = l.(drivers.Subscriber).Subscribe(ctx, points(t, 3), func(rs []tag.Reading) {
			if len(rs) != 3 || !rs[2].Quality.Good() || rs[2].Received.Mono < 1e9 || pid != 0 {
				t.Errorf("%+v", rs)
			}
			if pid = int(rs[2].Value.Int()); pid == os.Getpid() {
				t.Error("the child is ourselves")
			}
			dead = time.Now()
			if kill {
				_ = unix.Kill(pid, unix.SIGKILL)
			} else {
				stop()
			}
		})
		if pid == 0 || kill && (ctx.Err() != nil || !strings.Contains(err.Error(), "subscribe")) || !kill && ctx.Err() == nil {
			t.Errorf("process %d: %v", pid, err)
		}
		doubt := time.Since(dead)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := unix.Kill(pid, 0); pid != 0 && err != unix.ESRCH {
			t.Errorf("process %d: %v", pid, err)
		}
		t.Logf("killed %v: up after %v, in doubt after %v", kill, dead.Sub(began), doubt)
		if doubt > 2*time.Second {
			t.Errorf("in doubt after %v", doubt)
		}
	}
	once(true)
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	for i := range 6 {
		once(i%2 == 0)
	}
	// One that has just said that it is done is counted until it is put away.
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	t.Logf("descriptors %d, then %d; goroutines %d, then %d", files, descriptors(t), goroutines, runtime.NumGoroutine())
	if descriptors(t) > files || runtime.NumGoroutine() > goroutines {
		stacks := make([]byte, 1<<16)
		t.Errorf("descriptors %d, then %d; goroutines %d, then %d:\n%s", files, descriptors(t), goroutines, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
	}
}

// A request over a real socketpair.
func BenchmarkRead(b *testing.B) {
	cfg := config(nil)
	cfg.Timeout = 30 * time.Second
	l, err := Driver{}.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	req := plan(b, cfg, MaxItems)
	var rs []tag.Reading
	b.ReportAllocs()
	for b.Loop() {
		if rs, err = l.Read(b.Context(), req, rs[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
