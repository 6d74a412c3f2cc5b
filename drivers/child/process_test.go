package child

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is the child too: what DAVY_TEST_CHILD names is its part.
func TestMain(m *testing.M) {
	if part := os.Getenv("DAVY_TEST_CHILD"); part != "" {
		os.Exit(parts(part))
	}
	os.Exit(m.Run())
}

func parts(part string) int {
	conn, err := Parent()
	if err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		return 9
	}
	c := NewConn(conn)
	if err := c.Write(1, []byte(os.Getenv("GOMEMLIMIT"))); err != nil {
		return 8
	}
	switch part {
	case "echo": // gives back until the end of the stream
		for {
			kind, body, err := c.Read()
			if err != nil {
				return 0
			}
			if err := c.Write(kind, body); err != nil {
				return 7
			}
		}
	case "panic":
		panic("a hostile length")
	case "exit":
		return 3
	case "deaf": // does not end on the end of the stream
		for {
			_, _ = unix.Poll(nil, -1)
		}
	case "mid-frame":
		_, _ = conn.Write([]byte{100, 0, 0, 0, 1, 2, 3})
		return 0
	case "chatty":
		for range MaxLines + 50 {
			_, _ = io.WriteString(os.Stderr, strings.Repeat("x", 3*MaxLine)+"\n")
		}
		return 0
	}
	return 6
}

// lines collects log records.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func part(name string, log io.Writer) *Process {
	return &Process{Env: []string{"DAVY_TEST_CHILD=" + name}, MemLimit: 1 << 26, Grace: 30 * time.Second, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// hear reads until the conversation ends.
func hear(ctx context.Context, conn net.Conn) error {
	c := NewConn(conn)
	if _, _, err := c.Await(30 * time.Second); err != nil {
		return err
	}
	for {
		if _, _, err := c.Read(); err != nil {
			return err
		}
	}
}

func TestTheChildIsOurOwnBinary(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := part("echo", io.Discard).Run(ctx, func(ctx context.Context, conn net.Conn) error {
		c := NewConn(conn)
		if _, body, err := c.Await(30 * time.Second); err != nil || string(body) != "67108864" {
			t.Errorf("GOMEMLIMIT %q, %v", body, err)
		}
		if err := c.Write(2, []byte("there")); err != nil {
			return err
		}
		if kind, body, err := c.Read(); err != nil || kind != 2 || string(body) != "there" {
			t.Errorf("back came %d %q, %v", kind, body, err)
		}
		stop()
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestHowChildrenEnd(t *testing.T) {
	for _, x := range []struct{ name, want, logged string }{
		{"panic", "exit status 2", "a hostile length"},
		{"exit", "exit status 3", ""},
		{"mid-frame", io.ErrUnexpectedEOF.Error(), ""},
	} {
		log := &lines{}
		err := part(x.name, log).Run(t.Context(), hear)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
		if all := strings.Join(log.all, ""); !strings.Contains(all, x.logged) {
			t.Errorf("%s: logged %s", x.name, all)
		}
	}
	err := (&Process{Path: "/nonexistent/davy"}).Run(t.Context(), hear)
	if err == nil || !strings.Contains(err.Error(), "start child") {
		t.Errorf("no such program: %v", err)
	}
}

func TestADeafChildIsKilled(t *testing.T) {
	p := part("deaf", io.Discard)
	p.Grace = 200 * time.Millisecond
	err := p.Run(t.Context(), func(_ context.Context, conn net.Conn) error {
		_, _, err := NewConn(conn).Await(30 * time.Second)
		return err
	})
	if !errors.Is(err, ErrKilled) {
		t.Errorf("ended with %v", err)
	}
}

// A panic of the conversation ends the child and is the caller's.
func TestAPanicOfServeGoesOn(t *testing.T) {
	defer func() {
		if recover() != "ours" {
			t.Error("the panic was lost")
		}
	}()
	_ = part("echo", io.Discard).Run(t.Context(), func(context.Context, net.Conn) error { panic("ours") })
}

func TestStandardErrorIsBounded(t *testing.T) {
	log := &lines{}
	_ = part("chatty", log).Run(t.Context(), hear)
	if n := len(log.all); n != MaxLines+1 {
		t.Fatalf("%d lines logged", n)
	}
	if len(log.all[0]) > MaxLine+200 || !strings.Contains(log.all[0], "cut=true") {
		t.Errorf("%d bytes logged of a line", len(log.all[0]))
	}
	if !strings.Contains(log.all[MaxLines], "lines=50") {
		t.Errorf("the rest: %s", log.all[MaxLines])
	}
}

func TestMemoryIsWatched(t *testing.T) {
	if n, err := PSS(os.Getpid()); err != nil || n < 1<<20 || n > 1<<32 {
		t.Errorf("own memory is %d, %v", n, err)
	}
	for text, want := range map[string]int64{
		"Rss:  5 kB\nPss:                  12 kB\nPss_Dirty: 1 kB\n": 12 << 10,
		"Pss: 12 MB\n":                   -1,
		"Pss: -4 kB\n":                   -1,
		"Pss: 99999999999999999999 kB\n": -1,
		"":                               -1,
	} {
		if n, err := pss([]byte(text)); n != want && (want != -1 || err == nil) {
			t.Errorf("%q is %d, %v", text, n, err)
		}
	}
}

// A child above its limit is replaced at the first look.
func TestALargeChildIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := watch(t.Context(), make(chan struct{}), os.Getpid(), 1<<16)
		if took := time.Since(began); !errors.Is(err, ErrLarge) || took != WatchEvery {
			t.Errorf("%v after %v", err, took)
		}
		exited := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(exited) })
		if err := watch(t.Context(), exited, os.Getpid(), 1<<40); err != nil || time.Since(began) < time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// No goroutine and no descriptor stays behind, whatever the end was.
func TestNothingStaysBehind(t *testing.T) {
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	once := func() {
		_ = part("exit", io.Discard).Run(t.Context(), hear)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_ = part("echo", io.Discard).Run(ctx, hear)
		_ = (&Process{Path: "/nonexistent/davy"}).Run(t.Context(), hear)
	}
	once()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 5 {
		once()
	}
	for n := 0; runtime.NumGoroutine() > goroutines && n < 5000; n++ { // one that has ended is counted for a moment
		<-time.After(time.Millisecond)
	}
	t.Logf("goroutines %d before, %d after; descriptors %d before, %d after", goroutines, runtime.NumGoroutine(), files, descriptors())
	if runtime.NumGoroutine() > goroutines || descriptors() > files {
		t.Errorf("goroutines %d, then %d; descriptors %d, then %d", goroutines, runtime.NumGoroutine(), files, descriptors())
	}
}

func TestAnyOtherProcessIsNoChild(t *testing.T) {
	if kind, err := unix.GetsockoptInt(FD, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && kind == unix.SOCK_STREAM {
		t.Fatal("descriptor 3 of the test is a socket: the test proves nothing")
	}
	if conn, err := Parent(); err == nil {
		t.Errorf("descriptor 3 is taken for a parent: %v", conn)
	}
}
