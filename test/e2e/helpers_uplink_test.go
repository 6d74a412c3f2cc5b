package e2e

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/uplink"
	"davy/agent/uplink/mqtt"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
	"davy/test/rig"
)

// line is a real journal and uplink in this process, a real mosquitto, and the
// receiver's binary.
type line struct {
	t        *testing.T
	rig      *rig.Rig
	broker   *rig.Proc
	receiver *rig.Proc
	port     int
	key      ed25519.PrivateKey
	pinned   ed25519.PublicKey // of the receiver
	j        *journal.Journal
	c        *journal.Cursor
	u        *uplink.Uplink
	stop     context.CancelFunc
	ended    chan error
	noise    *rand.Rand
	n        int
}

const lineGateway = "GW-E2E"

func newLine(t *testing.T) *line {
	t.Helper()
	r, err := rig.New(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	l := &line{t: t, rig: r, noise: rand.New(rand.NewPCG(3, 5))}
	if l.port, err = rig.FreePort(); err != nil {
		t.Fatal(err)
	}
	l.startBroker()
	if l.key, err = evidence.LoadOrCreateKey(r.Path("keys")); err != nil {
		t.Fatal(err)
	}
	l.cli("enroll", lineGateway, evidence.Fingerprint(l.key.Public().(ed25519.PublicKey)), "--destination", "regulator")
	text := strings.TrimSpace(l.cli("key", "show"))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "ed25519:"))
	if err != nil {
		t.Fatalf("key show says %q: %v", text, err)
	}
	l.pinned = raw
	return l
}

func (l *line) startBroker() {
	l.t.Helper()
	p, err := l.rig.Mosquitto(l.port)
	if err != nil {
		l.t.Fatal(err)
	}
	l.broker = p
}

func (l *line) startReceiver(args ...string) {
	l.t.Helper()
	p, err := l.rig.Start("davy-receiver", append([]string{"run", "--db", l.rig.Path("db"), "--json", "--broker", fmt.Sprintf("tcp://127.0.0.1:%d", l.port)}, args...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	var ready struct {
		Ready bool
		Key   string
	}
	if err := p.Ready(&ready); err != nil {
		l.t.Fatal(err)
	}
	if !ready.Ready || ready.Key != "ed25519:"+base64.StdEncoding.EncodeToString(l.pinned) {
		l.t.Fatalf("ready: %+v", ready)
	}
	l.receiver = p
}

// cli runs the receiver's command and returns what it prints.
func (l *line) cli(args ...string) string {
	l.t.Helper()
	out, err := l.rig.Output("davy-receiver", append(args, "--db", l.rig.Path("db"))...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// openJournal begins an epoch and an uplink on it.
func (l *line) openJournal() {
	l.t.Helper()
	j, err := journal.Open(journal.Options{
		Dir: filepath.Join(l.rig.Dir, "journal"), Gateway: lineGateway, Keep: time.Hour, Sync: time.Second,
		MustConfirm: []string{"regulator"}, Now: clock.Now, Started: clock.Now(), Boot: clock.BootID(), Version: "e2e", Plan: make([]byte, 32), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.j = j
	if l.c, err = j.Cursor("regulator"); err != nil {
		l.t.Fatal(err)
	}
	l.u = uplink.New(uplink.Options{
		Name: "regulator", Gateway: lineGateway, Key: l.key, ReceiverKey: l.pinned, Journal: j, Cursor: l.c, Insecure: true,
		Dial: func(ctx context.Context) (uplink.Transport, error) {
			t, err := mqtt.DialTransport(ctx, lineGateway, mqtt.Options{Broker: fmt.Sprintf("tcp://127.0.0.1:%d", l.port), ClientID: lineGateway})
			if err != nil {
				return nil, err
			}
			return t, nil
		},
		State: func() uplink.State { return uplink.State{Plan: make([]byte, 32), ClockTrusted: true} },
		Now:   clock.Now, ReceiptWait: 2 * time.Second,
		Refused: func(code string, n uint64) { l.t.Errorf("%d receipts refused: %s", n, code) },
		Log:     slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.ended = stop, make(chan error, 1)
	go func() { l.ended <- l.u.Run(ctx) }()
	l.t.Cleanup(l.closeJournal)
}

func (l *line) closeJournal() {
	if l.j == nil {
		return
	}
	l.stop()
	if err := <-l.ended; err != nil {
		l.t.Error(err)
	}
	if err := l.j.Close(); err != nil {
		l.t.Error(err)
	}
	l.j = nil
}

// record appends events and readings in one batch.
func (l *line) record(kind rules.Kind, events, readings int) {
	l.t.Helper()
	b := journal.Batch{}
	for range events {
		l.n++
		b.Events = append(b.Events, wire.Event{Kind: uint32(kind), At: clock.Now(), Rule: fmt.Sprintf("nh3-%d.high", l.n), Occurrence: uint64(l.n), Tag: 1, Limit: 28})
	}
	for range readings {
		l.n++
		v, _ := tag.Float32Value(float32(l.noise.NormFloat64()))
		b.Readings = append(b.Readings, tag.Reading{Tag: tag.ID(l.n%200 + 1), Quality: tag.GoodQuality, Value: v, Received: clock.Now()})
	}
	if err := l.j.Append(b); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) backlog() (n uint64) {
	for _, b := range l.c.Backlog() {
		n += b.Records
	}
	return n
}

func (l *line) drained(limit time.Duration) {
	l.t.Helper()
	if err := rig.WaitFor(limit, "everything confirmed by receipt", func() bool { return l.backlog() == 0 }); err != nil {
		l.t.Fatalf("%v\nbacklog %d, status %+v\n%s", err, l.backlog(), l.u.Status(), l.receiver.Tail())
	}
}

// sameAsJournal holds the receiver's export against the journal's own; the
// journal must be closed.
func (l *line) sameAsJournal(records uint64, sum string) {
	l.t.Helper()
	r, err := journal.OpenReadOnly(filepath.Join(l.rig.Dir, "journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	want, n, err := r.Digest()
	if err != nil {
		l.t.Fatal(err)
	}
	if records != n || sum != fmt.Sprintf("%x", want) {
		l.t.Errorf("the receiver exports %d records, %s; the journal %d, %x", records, sum, n, want)
	}
}
