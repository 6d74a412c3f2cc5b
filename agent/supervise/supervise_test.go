package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logged collects a log without its times.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
}

// idle is a part that runs until it is told to end.
var idle = Func(func(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
})

func TestVitalEndsTheGroup(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		part Func
		want string
		is   error
	}{
		{"error", func(context.Context) error { return broken }, "loop: broken", broken},
		{"nil", func(context.Context) error { return nil }, "loop: ended without being asked", ErrEnded},
		{"panic", func(context.Context) error { panic("BUG: x") }, "loop: panic: BUG: x", nil},
		{"index", func(context.Context) error { s := strings.Fields("a"); _ = s[len(s)]; return nil }, "loop: panic: runtime error: index out of range [1] with length 1", nil},
		{"its own cancel", func(context.Context) error { return context.Canceled }, "loop: context canceled", context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logged
				g := Group{Log: log.logger()}
				ended := 0
				g.Add("other", Vital, Func(func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(time.Second) // Run waits for it
					ended++
					return errors.New("while ending")
				}))
				g.Add("again", Restart, idle)
				g.Add("loop", Vital, Func(func(ctx context.Context) error {
					time.Sleep(time.Minute)
					return c.part(ctx)
				}))
				begin := time.Now()
				err := g.Run(t.Context())
				if err == nil || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got %v", err)
				}
				if time.Since(begin) != time.Minute+time.Second || ended != 1 {
					t.Errorf("after %v, %d ended", time.Since(begin), ended)
				}
				var p *PanicError
				if strings.Contains(c.want, "panic") != errors.As(err, &p) || p != nil && !strings.Contains(p.Stack, "supervise_test.go") {
					t.Errorf("panic with stack: %+v", p)
				}
				if n := strings.Count(log.String(), "part=loop"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

func TestAskedToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		g := Group{Log: log.logger()}
		for i := range 5 {
			g.Add(fmt.Sprint("vital", i), Vital, idle)
			g.Add(fmt.Sprint("again", i), Restart, idle)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Run(ctx); err != nil || log.String() != "" {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
}

// A part that fails is run again, ever later; the failure is logged once and
// then ever more rarely; after a good while it begins anew.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			log    logged
			mu     sync.Mutex
			starts []time.Duration
			news   []string
		)
		begin := time.Now()
		g := Group{Log: log.logger(), Changed: func(name string, err error) {
			mu.Lock()
			defer mu.Unlock()
			news = append(news, fmt.Sprint(name, " ", err))
		}}
		g.Add("link", Restart, Func(func(ctx context.Context) error {
			mu.Lock()
			n := len(starts)
			starts = append(starts, time.Since(begin))
			mu.Unlock()
			switch {
			case n < 12:
				return errors.New("refused")
			case n == 12:
				panic("oops")
			case n == 13: // runs for a good while, then fails
				time.Sleep(2 * GoodWhile)
				return errors.New("refused")
			}
			<-ctx.Done()
			return nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := FirstWait
		for i := 1; i < len(starts); i++ {
			waited := starts[i] - starts[i-1]
			if i == 14 {
				waited -= 2 * GoodWhile
				want = FirstWait
			}
			if waited < want/2 || waited > want {
				t.Errorf("wait %d was %v, nominally %v", i, waited, want)
			}
			want = min(2*want, LastWait)
		}
		if len(starts) != 15 {
			t.Errorf("%d starts", len(starts))
		}
		wantLog := `level=ERROR msg="part failed, runs again" part=link error=refused count=1
level=ERROR msg="part failed, runs again" part=link error=refused count=10
level=ERROR msg="part failed, runs again" part=link error="panic: oops" count=1
level=INFO msg="part was well again" part=link failures=1
level=ERROR msg="part failed, runs again" part=link error=refused count=1
`
		if log.String() != wantLog {
			t.Errorf("log:\n%s", log.String())
		}
		if got := strings.Join(news[11:], "; "); len(news) != 16 || got != "link refused; link panic: oops; link <nil>; link refused; link <nil>" {
			t.Errorf("%d news, the last: %s", len(news), got)
		}
	})
}

// Parts come and go while the group runs; the end of a removed one is nobody's
// failure.
func TestAddAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		g := Group{Log: log.logger()}
		g.Add("before", Vital, idle)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		returned := false
		g.Add("plc", Vital, Func(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return errors.New("while ending")
		}))
		synctest.Wait()
		if !g.Remove("plc") || !returned {
			t.Error("Remove did not wait")
		}
		if g.Remove("plc") {
			t.Error("removed twice")
		}
		g.Add("plc", Restart, idle)
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.HasPrefix(v, "BUG: ") {
					t.Errorf("a name twice: %s", v)
				}
			}()
			g.Add("plc", Vital, idle)
		}()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "while ending"); n != 1 {
			t.Errorf("log:\n%s", log.String())
		}
		ran := false
		g.Add("after", Vital, Func(func(context.Context) error { ran = true; return nil }))
		synctest.Wait()
		if ran || !g.Remove("after") || !g.Remove("before") {
			t.Error("after the end")
		}
	})
}

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	seen := map[time.Duration]bool{}
	for range 50 {
		b.Reset()
		for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			want *= time.Millisecond
			d := b.Next()
			if d < want/2 || d > want {
				t.Fatalf("%v, nominally %v", d, want)
			}
			seen[d] = true
		}
	}
	if len(seen) < 200 {
		t.Errorf("%d different waits of 300: no jitter", len(seen))
	}
	var zero Backoff
	if d := zero.Next(); d < FirstWait/2 || d > FirstWait {
		t.Errorf("zero: %v", d)
	}
}
