package opcua

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
	"davy/test/rig"
)

// The whole way, as the decider goes it: site-file fields, a link, a
// conversation with a worker, an encrypted session with a login.
func TestLink(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "server", nil, nil)
	s := newServer(t, id, map[string]any{"policies": []string{"Aes256_Sha256_RsaPss"}, "modes": []string{"SignAndEncrypt"}, "anonymous": false, "items": 1})
	d := opcua.Driver{Child: func(ctx context.Context, log *slog.Logger, serve func(context.Context, net.Conn) error) error {
		ours, theirs := net.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- worker.Serve(ctx, theirs, worker.Options{Log: slog.New(slog.DiscardHandler), ClockTrusted: func() bool { return true }, FirstPause: 200 * time.Millisecond})
		}()
		err := serve(ctx, ours)
		ours.Close()
		<-done
		return err
	}}
	settings, err := d.ParseLink(s.target(), drivers.Fields{
		"security": "Aes256_Sha256_RsaPss, sign and encrypt", "login": "secret plc", "publishing": "200ms",
		"trust": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	var says []bool
	var mu sync.Mutex
	link, err := d.Open(t.Context(), drivers.LinkConfig{
		Name: "plc", Settings: settings, Timeout: 3 * time.Second, Log: slog.New(slog.DiscardHandler), Now: now, Dir: t.TempDir(),
		Secret: func(name string) (string, error) { return "operator:pa:ss", nil },
		Say: func(_ string, on bool) {
			mu.Lock()
			defer mu.Unlock()
			says = append(says, on)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	point := func(i tag.ID, at, kind string) drivers.Point {
		a, err := d.ParseAddress(at)
		if err != nil {
			t.Fatal(err)
		}
		k, err := d.ParseType(a, kind)
		if err != nil {
			t.Fatal(err)
		}
		return drivers.Point{Tag: i, Name: tag.Name(at), Address: a, Type: k, Period: 100 * time.Millisecond, Write: true}
	}
	points := []drivers.Point{
		point(1, "nsu=urn:test:plant;s=Double", ""), point(2, "nsu=urn:test:plant;s=Bool", "bool"),
		point(3, "nsu=urn:test:plant;s=Nowhere", ""), point(4, "nsu=urn:test:plant;s=Setpoint", "float32"),
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := map[tag.ID]tag.Reading{}
	over := make(chan error, 1)
	go func() {
		for { // as a scan does: a subscription in doubt is made again
			err := link.(drivers.Subscriber).Subscribe(ctx, points, func(rs []tag.Reading) {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range rs {
					got[r.Tag] = r
				}
			})
			if ctx.Err() != nil {
				over <- err
				return
			}
		}
	}()
	see := func(what string, f func() bool) {
		t.Helper()
		if err := rig.WaitFor(40*time.Second, what, func() bool { mu.Lock(); defer mu.Unlock(); return f() }); err != nil {
			t.Fatalf("%v: %+v", err, got)
		}
	}
	see("readings", func() bool { return len(got) == 4 })
	mu.Lock()
	if !got[1].Quality.Good() || got[1].Value.Float() != 20.25 || !got[2].Value.True() || got[3].Quality != tag.BadConfig {
		t.Errorf("%+v", got)
	}
	if len(says) != 1 || says[0] {
		t.Errorf("the condition untrusted was said %v", says)
	}
	mu.Unlock()
	v, _ := tag.Float32Value(33.5)
	if err := link.Write(t.Context(), points[3], v); err != nil {
		t.Fatal(err)
	}
	see("what was written", func() bool { return got[4].Value == v })
	s.kill()
	see("bad", func() bool { return got[1].Quality == tag.BadNoComm && got[2].Quality == tag.BadNoComm })
	s.start()
	see("good again, over a new session", func() bool { return got[1].Quality.Good() && got[4].Value.Float() == 10 })
	cancel()
	if err := <-over; err != context.Canceled {
		t.Errorf("subscribe ended with %v", err)
	}
}
