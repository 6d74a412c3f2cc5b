package keep

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/secret"
	"davy/agent/uplink/mqtt"
)

// with gives the plant other uplinks than its own.
func (p *plant) with(uplinks string) {
	p.t.Helper()
	text := site[:strings.Index(site, "uplinks:")] + "uplinks:\n" + uplinks
	b := &config.Bundle{}
	b.Put(config.SiteFile, []byte(text))
	if _, problems := config.Compile(b, p.options().Drivers); slices.ContainsFunc(problems, func(x config.Problem) bool { return !x.Warn }) {
		p.t.Fatal(problems)
	}
	p.hello.Bundle = b.Encode()
}

// What is wrong with a destination that takes everything and says nothing that
// counts is named, and is not once a receipt fits.
func TestLikelyCauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		stop, _ := p.keeper()
		cause := func(want string) {
			t.Helper()
			p.event()
			time.Sleep(2 * silentAfter)
			if s := p.status(); len(s.Uplinks) != 1 || s.Uplinks[0].Cause != want {
				t.Errorf("cause %+v, want %q", s.Uplinks, want)
			}
		}
		cause("")
		p.recv.mu.Lock()
		p.recv.silent = true
		p.recv.mu.Unlock()
		cause("silent")
		p.recv.mu.Lock()
		own := p.recv.key
		p.recv.silent, p.recv.key = false, ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
		p.recv.mu.Unlock()
		cause("receipt-key")
		p.recv.mu.Lock()
		p.recv.key = own
		p.recv.mu.Unlock()
		cause("")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A destination that the site no longer names is an event, with what it had not
// confirmed, and its place goes; one with its name begins anew.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.recv.silent = true
		stop, _ := p.keeper()
		p.event()
		time.Sleep(5 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.with("  other:\n    mqtt: tls://h:8883\n    confirm: none\n")
		count := func() (left []int64) {
			t.Helper()
			r, err := journal.OpenReadOnly(filepath.Join(p.dir, JournalDir))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Walk(func(rec journal.Record) error {
				if rec.Event != nil && rec.Event.Kind == uint32(ring.UplinkWithdrawn) {
					if rec.Event.Rule != "regulator" {
						t.Errorf("withdrawn: %s", rec.Event.Rule)
					}
					left = append(left, rec.Event.Value.Int())
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return left
		}
		stop, _ = p.keeper()
		time.Sleep(forgetAfter + 5*time.Second)
		if s := p.status(); len(s.Uplinks) != 1 || s.Uplinks[0].Backlog != 0 || !s.Uplinks[0].Unproved {
			t.Errorf("what takes its place: %+v", s.Uplinks)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if left := count(); len(left) != 1 || left[0] < 3 {
			t.Errorf("withdrawn with %v records left", left)
		}
		stop, _ = p.keeper()
		time.Sleep(forgetAfter + 5*time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if left := count(); len(left) != 1 {
			t.Errorf("withdrawn %d times", len(left))
		}
	})
}

// Passwords, certificates and keys are read anew before each connection.
func TestOwnSecrets(t *testing.T) {
	dir := t.TempDir()
	k := &keeper{o: Options{Log: slog.New(slog.DiscardHandler)}, hello: ring.Hello{StateDir: dir}, plan: &config.Plan{Gateway: config.Gateway{ID: "GW-1"}}, floor: &floor{}}
	file := filepath.Join(dir, "c.crt")
	u := config.Uplink{
		Name: "up", Broker: "tls://h:8883", Login: config.UplinkLogin{Secret: "login"},
		TLS: config.UplinkTLS{Certificate: config.UplinkFile{Path: file}, Key: config.UplinkFile{Secret: "key"}, ServerName: "inside"},
	}
	fails := func(when string) {
		t.Helper()
		if _, err := k.broker(u); mqtt.Code(err) != mqtt.CodeOwn {
			t.Errorf("%s: %v", when, err)
		}
	}
	set := func(name, value string) {
		t.Helper()
		if err := secret.Set(dir, name, value); err != nil {
			t.Fatal(err)
		}
	}
	fails("no secret")
	set("login", "davy")
	fails("no password in it")
	set("login", "davy:1:2\n")
	fails("no certificate")
	if err := os.WriteFile(file, make([]byte, maxOwnFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("a certificate that is none")
	if err := os.WriteFile(file, []byte("cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("no key")
	set("key", "KEY")
	o, err := k.broker(u)
	if err != nil || o.User != "davy" || o.Password != "1:2" || string(o.Cert) != "cert" || string(o.Key) != "KEY" || o.ServerName != "inside" || o.ClientID != "GW-1/up" {
		t.Errorf("%v: %+v", err, o)
	}
	u.Login = config.UplinkLogin{User: "x", Secret: "login"}
	if err := os.WriteFile(file, []byte("renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err := k.broker(u); err != nil || o.User != "x" || o.Password != "davy:1:2" || string(o.Cert) != "renewed" {
		t.Errorf("%v: %+v", err, o)
	}
}

// The suites that a site may name are those of crypto/tls that it calls secure.
func TestSuites(t *testing.T) {
	secure := map[uint16]string{}
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) && strings.Contains(s.Name, "ECDHE") && (strings.Contains(s.Name, "GCM") || strings.Contains(s.Name, "POLY1305")) {
			secure[s.ID] = s.Name
		}
	}
	for id, name := range secure {
		b := &config.Bundle{}
		b.Put(config.SiteFile, fmt.Appendf(nil, "davy: 1\ngateway: {id: G, name: x}\nuplinks:\n  j:\n    json: tls://h:8883\n    tls: [1.2, %s]\n", name))
		plan, problems := config.Compile(b, nil)
		if plan == nil || len(plan.Uplinks[0].TLS.Suites) != 1 || plan.Uplinks[0].TLS.Suites[0] != id {
			t.Errorf("%s: %v", name, problems)
		}
	}
	if len(secure) != 6 {
		t.Errorf("%d suites, want 6", len(secure))
	}
}

// From the decider's turn to a reader of plain JSON, over a real connection.
func TestJSONThroughTheKeeper(t *testing.T) {
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("t", l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	type message struct {
		V       int
		Stream  string
		Records []struct {
			N    uint64
			Kind string
			Tag  string
		}
	}
	var mu sync.Mutex
	var got []message
	c, err := mqtt.Dial(t.Context(), mqtt.Options{
		Broker: "tcp://" + l.Addr().String(), ClientID: "reader", Filters: []string{"plant/+"}, Ordered: true, Received: func(m mqtt.Message) {
			var x message
			err := json.Unmarshal(m.Payload, &x)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || m.Topic != "plant/"+x.Stream {
				t.Errorf("%s: %v", m.Topic, err)
			}
			got = append(got, x)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := newPlant(t)
	p.with("  flow:\n    json: tcp://" + l.Addr().String() + "\n    topic: plant\njournal: {sync: 100ms}\n")
	stop, _ := p.keeper()
	p.event()
	p.reading(20)
	ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for alarm, reading, unproved := false, false, false; !alarm || !reading || !unproved; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("alarm %v, reading %v, unproved %v: %+v", alarm, reading, unproved, got)
		}
		if st, _, ok := p.writer.Status(); ok && len(st.Uplinks) == 1 {
			unproved = st.Uplinks[0].Unproved && st.Uplinks[0].Connected
		}
		mu.Lock()
		for _, m := range got {
			for _, r := range m.Records {
				alarm = alarm || m.Stream == "event" && r.Kind == "alarm-raised"
				reading = reading || m.Stream == "reading" && r.Tag == "comp1.temp"
			}
		}
		mu.Unlock()
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
