package operate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"davy/agent/i18n"
	"davy/rules"
)

// agent is a handler that counts what reaches it.
type agent struct {
	view    *View
	views   atomic.Int64
	hang    chan struct{} // if set, View and Do wait for it
	mu      sync.Mutex
	did     []Command
	atOnce  atomic.Int64
	most    atomic.Int64
	refusal error
}

func (a *agent) wait(ctx context.Context) error {
	if a.hang == nil {
		return nil
	}
	select {
	case <-a.hang:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agent) View(ctx context.Context) (*View, error) {
	a.views.Add(1)
	return a.view, a.wait(ctx)
}

func (a *agent) Do(ctx context.Context, c Command) (*Result, error) {
	a.most.Store(max(a.most.Load(), a.atOnce.Add(1)))
	defer a.atOnce.Add(-1)
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.did = append(a.did, c)
	return nil, a.refusal
}

// serve runs a server and waits until it answers.
func serve(t *testing.T, a *agent) (path string, stop func()) {
	t.Helper()
	return serveHandler(t, a)
}

func serveHandler(t *testing.T, a Handler) (path string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "davy")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "davy.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Server{Path: path, Handler: a}).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	t.Cleanup(stop)
	ready := time.NewTicker(5 * time.Millisecond)
	defer ready.Stop()
	for range 2000 {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return path, stop
		}
		<-ready.C
	}
	t.Fatal("the server never listened")
	return "", nil
}

func TestShowAndCommand(t *testing.T) {
	a := &agent{view: night()}
	path, stop := serve(t, a)
	c := Client{Path: path}

	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	want := night()
	want.Log = nil
	for _, what := range []string{Status, Alarms} {
		v, err := c.View(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := encoded(t, v), encoded(t, want); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	v, err := c.View(t.Context(), Log)
	if err != nil || len(v.Log) != len(night().Log) {
		t.Errorf("log: %v", err)
	}

	me := "uid:" + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		me = u.Username
	}
	cmd := Command{Do: Ack, Rule: "nh3-1.l2", Occurrence: 12, Note: "去现场查看", Who: Who{Name: "root", Proved: true}}
	if r, err := c.Do(t.Context(), cmd); err != nil || r == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	cmd.Who = Who{Name: me} // whatever the request says
	if len(a.did) == 1 {
		if cmd.Session = a.did[0].Session; len(cmd.Session) != 32 {
			t.Errorf("session %q", cmd.Session)
		}
	}
	if len(a.did) != 1 || !reflect.DeepEqual(a.did[0], cmd) {
		t.Errorf("did %+v, want %+v", a.did, cmd)
	}

	var refused *Error
	for _, r := range []struct{ channels, zh, en string }{
		{"nh3-1.gas, nh3-3.gas", "NH3-150 还不能复位: 仍达到跳车条件或为坏值的通道: nh3-1.gas, nh3-3.gas", "NH3-150 cannot be reset yet: still meets its trip condition, or is bad: nh3-1.gas, nh3-3.gas"},
		{"", "NH3-150 还不能复位: 仍有通道达到跳车条件或为坏值", "NH3-150 cannot be reset yet: a channel still meets its trip condition, or is bad"},
	} {
		a.refusal = &rules.RefusedError{Code: "still-standing", Rule: "NH3-150", Args: map[string]any{"rule": "NH3-150", "channels": r.channels}}
		_, err = c.Do(t.Context(), Command{Do: Reset, Rule: "NH3-150", Occurrence: 3})
		if !errors.As(err, &refused) || refused.Code != "refused.still-standing" || refused.In(i18n.Zh) != r.zh || refused.In(i18n.En) != r.en {
			t.Errorf("refused: %v", err)
		}
	}
	a.refusal = &rules.RefusedError{Code: "still-standing", Rule: "nh3-1.l2", Args: map[string]any{"rule": "nh3-1.l2"}}
	_, err = c.Do(t.Context(), Command{Do: Reset, Rule: "nh3-1.l2", Occurrence: 3})
	if !errors.As(err, &refused) || refused.In(i18n.En) != "nh3-1.l2 still stands" || refused.In(i18n.Zh) != "nh3-1.l2 仍然存在" {
		t.Errorf("refused: %v", err)
	}
	a.refusal = errors.New("disk on fire")
	_, err = c.Do(t.Context(), Command{Do: Arm})
	if !errors.As(err, &refused) || refused.In(i18n.En) != "failed: disk on fire" {
		t.Errorf("failed: %v", err)
	}
	a.refusal = &Error{Code: "operate.stopping"}
	if _, err = c.Do(t.Context(), Command{Do: Reload, Plan: "00"}); !errors.As(err, &refused) || refused.Code != "operate.stopping" {
		t.Errorf("ours: %v", err)
	}
	n := len(a.did)
	for want, cmd := range map[string]Command{
		"operate.rule-and-occurrence": {Do: Ack, Rule: "x"},
		"operate.too-long":            {Do: Arm, Note: strings.Repeat("x", MaxNote+1)},
		"operate.bad-text":            {Do: Reset, Rule: "x\x1b[2J", Occurrence: 1},
		"operate.unknown-request":     {Do: "explode"},
	} {
		if _, err := c.Do(t.Context(), cmd); !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if len(a.did) != n {
		t.Errorf("%d commands got through", len(a.did)-n)
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is left: %v", err)
	}
	if _, err := c.View(t.Context(), Status); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The JSON that programs read: names and enumerations stay.
func TestJSONIsStable(t *testing.T) {
	golden(t, "view.json", encoded(t, night())+"\n")
	var v View
	if err := json.Unmarshal([]byte(encoded(t, night())), &v); err != nil || encoded(t, &v) != encoded(t, night()) {
		t.Errorf("does not come back as it went: %v", err)
	}
}

// A file that a dead agent left is replaced; a living one is not.
func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "davy.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Server{Path: path, Handler: &agent{}}).Run(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("beside a living one: %v", err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	c := Client{Path: path}
	if _, err := c.View(t.Context(), Status); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale: %v", err)
	}
	if _, err := (&Client{Path: filepath.Join(dir, "none", "x")}).View(t.Context(), Status); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil { // also left over
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Server{Path: path, Handler: &agent{view: &View{}}}).Run(ctx) }()
	for {
		if _, err = c.View(t.Context(), Status); !errors.Is(err, ErrNotRunning) {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", MaxPath))
	if err := (&Server{Path: long, Handler: &agent{}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "bytes, at most") {
		t.Errorf("long path: %v", err)
	}
}

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c.(*net.UnixConn)
}

func TestGarbage(t *testing.T) {
	a := &agent{view: night()}
	path, _ := serve(t, a)
	for name, c := range map[string]struct{ in, code string }{
		"text":       {"GET / HTTP/1.1\r\n\r\n", "operate.bad-request"},
		"empty":      {"\n", "operate.bad-request"},
		"list":       {"[1,2]\n", "operate.bad-request"},
		"types":      {`{"do":7}` + "\n", "operate.bad-request"},
		"deep":       {strings.Repeat("[", MaxRequest-10) + "\n", "operate.bad-request"},
		"long":       {strings.Repeat("x", MaxRequest) + "\n", "operate.too-long"},
		"nothing":    {"{}\n", "operate.unknown-request"},
		"binary":     {"\x00\xff\xfe\n", "operate.bad-request"},
		"who is who": {`{"do":"arm","Who":{"name":"boss","proved":true},"-":{"name":"boss"},"note":"\u0007"}` + "\n", "operate.bad-text"},
		"direction":  {`{"do":"ack","rule":"a\u202eb","occurrence":1}` + "\n", "operate.bad-text"},
		"names":      {`{"do":"reload","names":["` + strings.Repeat(`","`, MaxNames) + `"]}` + "\n", "operate.too-long"},
	} {
		line, err := says(t, path, c.in)
		var got answer
		if err == nil {
			err = json.Unmarshal([]byte(line), &got)
		}
		if err != nil || got.OK || got.Error == nil || got.Error.Code != c.code {
			t.Errorf("%s: %q, %v; want %s", name, line, err, c.code)
		}
	}
	if len(a.did) != 0 {
		t.Errorf("did %+v", a.did)
	}
	// After a refusal that says nothing of the stream itself, one goes on.
	line, err := says(t, path, `{"do":"x"}`+"\n"+`{"do":"status"}`+"\n")
	if err != nil || !strings.HasPrefix(line, `{"ok":false`) || !strings.Contains(line, `}{"ok":true`) {
		t.Errorf("%.200q, %v", line, err)
	}
}

// says writes in on a connection of its own and returns what comes back, up to
// its end; newlines are left out. It tries again while the server is busy.
func says(t *testing.T, path, in string) (string, error) {
	t.Helper()
	for {
		c := dial(t, path)
		if _, err := io.WriteString(c, in); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			return "", err
		}
		_ = c.CloseWrite()
		got, err := io.ReadAll(c)
		if errors.Is(err, unix.ECONNRESET) && len(got) > 0 { // closed before it read all of ours
			err = nil
		}
		_ = c.Close()
		if line := strings.ReplaceAll(string(got), "\n", ""); !strings.Contains(line, busy) {
			return line, err
		}
	}
}

// Many clients that ask without pause, leave in the middle, or read nothing:
// control is asked at most once per ViewAge, and a person is served.
func TestHammered(t *testing.T) {
	big := night()
	for range 2000 {
		big.Alarms = append(big.Alarms, big.Alarms[0])
	}
	a := &agent{view: big}
	path, stop := serve(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 2 * MaxPerUser {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := net.Dial("unix", path)
				if err != nil {
					rest(ctx, time.Millisecond)
					continue
				}
				_ = c.SetDeadline(time.Now().Add(time.Second))
				switch i % 3 {
				case 0: // reads what comes
					_, _ = io.WriteString(c, `{"do":"status"}`+"\n")
					_, _ = bufio.NewReader(c).ReadString('\n')
				case 1: // reads nothing
					_, _ = io.WriteString(c, strings.Repeat(`{"do":"log"}`+"\n", 50))
				case 2: // half a request
					_, _ = io.WriteString(c, `{"do":"arm"`)
				}
				_ = c.Close()
			}
		})
	}
	begin := time.Now()
	served, busied := 0, 0
	c := Client{Path: path}
	slowest := time.Duration(0)
	for time.Since(begin) < 2*time.Second || served == 0 && time.Since(begin) < 10*time.Second { // a slow machine may take longer for the first
		asked := time.Now()
		_, err := c.View(t.Context(), Status)
		var refused *Error
		switch {
		case err == nil:
			served++
		case errors.As(err, &refused) && refused.Code == busy:
			busied++
		default:
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(asked))
	}
	took := time.Since(begin)
	t.Logf("%d served, %d busy, the slowest answer after %v", served, busied, slowest)
	cancel()
	wg.Wait()
	if n, most := a.views.Load(), int64(took/ViewAge)+2; n > most {
		t.Errorf("control was asked %d times in %v, at most %d", n, took, most)
	}
	if len(a.did) != 0 {
		t.Errorf("half a command was carried out: %+v", a.did)
	}
	for range 200 { // and when it is over all is well at once
		if _, err := c.View(t.Context(), Status); err == nil {
			break
		}
		served++
	}
	if _, err := c.View(t.Context(), Status); err != nil {
		t.Error(err)
	}
	if served == 0 {
		t.Errorf("nobody was served, %d were told busy", busied)
	}
	stop()
}

// Connections of one user are limited; who goes makes room.
func TestCrowd(t *testing.T) {
	a := &agent{view: &View{}}
	path, _ := serve(t, a)
	ask := func(c *net.UnixConn) string {
		_, _ = io.WriteString(c, `{"do":"status"}`+"\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line
	}
	var open []*net.UnixConn
	for len(open) < MaxPerUser {
		c := dial(t, path)
		if line := ask(c); strings.HasPrefix(line, `{"ok":true`) {
			open = append(open, c)
		} else if !strings.Contains(line, "operate.busy") { // serve's own probe may still be counted
			t.Fatalf("%q", line)
		}
	}
	if line := ask(dial(t, path)); !strings.Contains(line, "operate.busy") {
		t.Errorf("one more: %q", line)
	}
	_ = open[0].Close()
	for i := 0; ; i++ {
		if line := ask(dial(t, path)); strings.HasPrefix(line, `{"ok":true`) {
			break
		} else if i == 100 {
			t.Fatalf("after one has gone: %q", line)
		}
	}
}

// Commands go one at a time; those beyond the queue are told so.
func TestCommandsQueue(t *testing.T) {
	a := &agent{view: &View{}}
	s := &Server{Handler: a, shown: newShown(a), queue: make(chan struct{}, MaxQueue), hand: make(chan struct{}, 1)}
	a.hang = make(chan struct{})
	var wg sync.WaitGroup
	answers := make(chan *answer, MaxQueue)
	for i := range MaxQueue {
		wg.Go(func() {
			answers <- s.command(t.Context(), Command{Do: Ack, Rule: fmt.Sprint("r", i), Occurrence: 1})
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(s.queue) < MaxQueue {
		<-tick.C
	}
	if got := s.command(t.Context(), Command{Do: Arm}); got.Error == nil || got.Error.Code != "operate.busy" {
		t.Errorf("beyond the queue: %+v", got)
	}
	close(a.hang)
	wg.Wait()
	close(answers)
	for got := range answers {
		if !got.OK {
			t.Errorf("%+v", got.Error)
		}
	}
	if len(a.did) != MaxQueue || a.most.Load() != 1 {
		t.Errorf("%d done, %d at once", len(a.did), a.most.Load())
	}
}

// A control loop that hangs is said to, and holds nobody longer than named.
func TestHangingControl(t *testing.T) {
	a := &agent{view: &View{}, hang: make(chan struct{})}
	path, stop := serve(t, a)
	c := Client{Path: path}
	begin := time.Now()
	var refused *Error
	if _, err := c.View(t.Context(), Status); !errors.As(err, &refused) || refused.Code != "operate.no-view" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took < ViewWait || took > ViewWait+5*time.Second {
		t.Errorf("after %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, Command{Do: Arm}); !errors.As(err, &refused) || refused.Code != "operate.no-answer" {
		t.Errorf("a person who waits no longer: %v", err)
	}
	stop() // with a command in the house
}

func TestNames(t *testing.T) {
	table := filepath.Join(t.TempDir(), "passwd")
	lines := "root:x:0:0:root:/root:/bin/sh\n\nbroken\nop.one:x:1001:1001:Operator,,,:/home/op:/bin/sh\nev\x1b[2Jil:x:1002:\n:x:1003:\n" + strings.Repeat("n", MaxName+1) + ":x:1004:\n"
	if err := os.WriteFile(table, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]string{0: "root", 1001: "op.one", 1002: "ev[2Jil", 1003: "uid:1003", 1004: "uid:1004", 5: "uid:5", 1<<32 - 1: "uid:4294967295"} {
		if got := nameIn(table, uid); got != want {
			t.Errorf("%d is %q, want %q", uid, got, want)
		}
	}
	if got := nameIn(table+".none", 7); got != "uid:7" {
		t.Errorf("without a table: %q", got)
	}
}

// The kernel says who is at the other end.
func TestPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_ = dial(t, path)
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := peer(c)
	if err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("uid %d, %v", uid, err)
	}
	_ = c.Close()
	if _, err := peer(c); err == nil {
		t.Error("a closed connection has a peer")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"do":"ack","rule":"a","occurrence":1,"note":"x"}`))
	f.Add([]byte(`{"do":"reload","names":["a"],"plan":"00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		if json.Unmarshal(b, &r) != nil {
			return
		}
		if r.Who != (Who{}) {
			t.Fatalf("a request says who it is: %+v", r.Who)
		}
		if check(&r.Command) == nil && (clean(r.Note) != r.Note || len(r.Rule) > MaxName) {
			t.Fatalf("%+v got through", r.Command)
		}
	})
}
