package opcua

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/test/scale"
)

// reconnects is how often the connection is cut.
const reconnects = 1000

// remote is a server with its proxy in a process of its own, so that what this
// process holds is the client's.
type remote struct {
	addr string
	in   io.Writer
	out  *bufio.Reader
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, serverRole)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	r := &remote{in: in, out: bufio.NewReader(out)}
	r.addr = r.line(t)
	return r
}

func (r *remote) line(t *testing.T) string {
	t.Helper()
	s, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// cut resets every connection and returns how many there were so far.
func (r *remote) cut(t *testing.T) int {
	t.Helper()
	if _, err := io.WriteString(r.in, "\n"); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(r.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// inProcess runs a child in this process, over a real socketpair, so that what
// it holds is counted.
func inProcess(ctx context.Context, _ *slog.Logger, serve func(context.Context, net.Conn) error) error {
	ours, file, err := child.Pair()
	if err != nil {
		return err
	}
	theirs, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	var group sync.WaitGroup
	defer group.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ours.Close() }) // serve ends with it
	defer stop()
	var work error
	group.Go(func() {
		work = worker.Serve(context.Background(), theirs, worker.Options{
			Log: slog.New(slog.DiscardHandler), FirstPause: time.Millisecond, LastPause: time.Millisecond,
		})
		_ = ours.Close() // serve ends with it
	})
	err = serve(ctx, ours)
	_ = ours.Close() // the worker ends with it
	group.Wait()
	return errors.Join(err, work)
}

// A session that is cut and made again, over and over, leaves nothing behind,
// neither in the link nor in what the child process does.
func TestReconnectsLeaveNothingBehind(t *testing.T) {
	r := newRemote(t)
	d := opcua.Driver{Child: inProcess}
	settings, err := d.ParseLink("opc.tcp://"+r.addr, drivers.Fields{"security": "none", "mode": "poll"})
	if err != nil {
		t.Fatal(err)
	}
	link, err := d.Open(t.Context(), drivers.LinkConfig{Name: "plc", Settings: settings, Timeout: 5 * time.Second, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := d.Plan(settings, []drivers.Point{point(t, 0)})
	if err != nil {
		t.Fatal(err)
	}
	sessions := func() uint64 { return link.(interface{ Stats() opcua.Stats }).Stats().Sessions }
	up := func(n uint64) { // reads until the session with this number answers
		t.Helper()
		for until := time.Now().Add(30 * time.Second); ; {
			rs, err := link.Read(t.Context(), requests[0], nil)
			if err == nil && rs[0].Quality.Good() && sessions() >= n {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("session %d of %d does not come good: %v", sessions(), n, err)
			}
			<-time.After(time.Millisecond)
		}
	}
	up(1)
	for range 3 { // what is made once is made here
		n := sessions()
		r.cut(t)
		up(n + 1)
	}
	// What tests before this one held is put away first: the count must stand still.
	goroutines, descriptors := scale.Held()
	times, first := scale.Of(reconnects), sessions()
	began := time.Now()
	for range times {
		n := sessions()
		r.cut(t)
		up(n + 1)
	}
	took := time.Since(began)
	g, f := scale.Held()
	made := sessions() - first
	t.Logf("opc ua: %d reconnects in %v: goroutines %d before, %d after, difference %d; descriptors %d before, %d after, difference %d",
		made, took.Round(time.Millisecond), goroutines, g, g-goroutines, descriptors, f, f-descriptors)
	if g > goroutines || f > descriptors {
		t.Error("something was left behind")
	}
	if n := r.cut(t); made < uint64(times) || n < times {
		t.Errorf("%d sessions and %d connections were made", made, n)
	}
	if err := link.Close(); err != nil {
		t.Error(err)
	}
}
