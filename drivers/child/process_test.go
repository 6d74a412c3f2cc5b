package child

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
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
	case "pulse": // lives, and says who it is
		pid := strconv.Itoa(os.Getpid())
		for c.Write(2, []byte(pid)) == nil {
			_, _ = unix.Poll(nil, 100)
		}
		return 0
	case "tells": // what it was given: descriptors by what they are, then its environment
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 5
		}
		var all []string
		for _, n := range names {
			if to, err := os.Readlink("/proc/self/fd/" + n.Name()); err == nil {
				all = append(all, n.Name()+" "+to)
			}
		}
		_ = c.Write(3, []byte(strings.Join(all, "\n")))
		_ = c.Write(4, []byte(strings.Join(os.Environ(), "\n")))
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
	for n := 0; runtime.NumGoroutine() > goroutines && n < 30000; n++ { // one that has ended is counted for a moment
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

// A child that is stopped (a debugger, a frozen control group) is noticed within
// Quiet, and is ended although it cannot end by itself.
func TestAStoppedChildIsNoticed(t *testing.T) {
	p := part("pulse", io.Discard)
	p.Grace = 200 * time.Millisecond
	var took time.Duration
	err := p.Run(t.Context(), func(_ context.Context, conn net.Conn) error {
		c := NewConn(conn)
		if _, _, err := c.Await(30 * time.Second); err != nil {
			return err
		}
		_, pid, err := c.Read()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(pid))
		if err != nil {
			return err
		}
		if err := unix.Kill(n, unix.SIGSTOP); err != nil {
			return err
		}
		stopped := time.Now()
		for err == nil {
			_, _, err = c.Read()
		}
		took = time.Since(stopped)
		return err
	})
	if !errors.Is(err, ErrQuiet) || !errors.Is(err, ErrKilled) || took > Quiet+time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// A child gets the stream and the three standard files, and nothing else that
// the decider has open: no journal, no latch, no socket, no relay. Of its
// environment it gets what its runtime needs, and no secret.
func TestAChildIsGivenNothingElse(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/davy")
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("DAVY_PASSWORD", "hunter2")
	t.Setenv("TZ", "Asia/Shanghai")
	file, err := os.OpenFile(t.TempDir()+"/journal", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours := map[string]bool{}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		to, err := os.Readlink("/proc/self/fd/" + n.Name())
		if fd, _ := strconv.Atoi(n.Name()); err == nil && fd > 2 && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/") { // every Go program opens the latter
			ours[to] = true
		}
	}
	if !ours[file.Name()] {
		t.Fatalf("the journal is not open: %v", ours)
	}
	var env string
	err = part("tells", io.Discard).Run(t.Context(), func(_ context.Context, conn net.Conn) error {
		c := NewConn(conn)
		if _, _, err := c.Await(30 * time.Second); err != nil {
			return err
		}
		_, body, err := c.Read()
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(string(body), "\n") {
			if fd, to, _ := strings.Cut(line, " "); len(fd) > 1 || fd > "2" {
				if ours[to] {
					t.Errorf("descriptor %s of the child is the decider's %s", fd, to)
				}
			}
		}
		_, body, err = c.Read()
		env = string(body)
		return err
	})
	if !errors.Is(err, ErrEnded) && err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG", "hunter2"} {
		if strings.Contains(env, secret) {
			t.Errorf("the child's environment has %s", secret)
		}
	}
	if !strings.Contains(env, "TZ=Asia/Shanghai") || !strings.Contains(env, "GOMEMLIMIT=67108864") {
		t.Errorf("the child's environment is %q", env)
	}
}
