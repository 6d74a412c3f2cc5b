package agent

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// A systemd that cannot be told for a moment is told at the next tick: a wait
// that doubles would outlast its patience.
func TestTheWatchdogIsFedAsSoonAsItCanBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "40000")
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- watchdog(ctx, func() bool {
			select {
			case asked <- struct{}{}:
			default:
			}
			return true
		}, slog.New(slog.DiscardHandler))
	}()
	for range 3 { // nobody listens yet
		select {
		case <-asked:
		case err := <-ended:
			t.Fatalf("it gave up: %v", err)
		case <-time.After(10 * time.Second):
			t.Fatal("it does not look")
		}
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "WATCHDOG=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	cancel()
	<-ended
}
