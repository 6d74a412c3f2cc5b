package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/cli"
	"davy/agent/evidence"
	"davy/agent/wire"
)

// said is what was logged, for two goroutines.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) count(level string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), level)
}

// A receiver that runs for longer than its certificate says so each day.
func TestCertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log said
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		cert := evidence.SignCertificate(&wire.Certificate{Key: make([]byte, ed25519.PublicKeySize), Number: 1, NotAfter: time.Now().Add(soon + 36*time.Hour).UnixNano()},
			ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		go func() {
			defer close(done)
			warnOfEnd(ctx, slog.New(slog.NewTextHandler(&log, nil)), cert)
		}()
		for _, want := range []struct{ days, warned, over int }{{1, 0, 0}, {1, 1, 0}, {29, 30, 0}, {2, 30, 2}} {
			time.Sleep(time.Duration(want.days)*24*time.Hour + time.Second)
			synctest.Wait()
			if w, o := log.count("WARN"), log.count("ERROR"); w != want.warned || o != want.over {
				t.Errorf("%+v: warned %d, over %d", want, w, o)
			}
		}
		stop()
		<-done
	})
}

// The authority certifies keys by growing numbers; a receiver takes only a
// certificate of its own key, and a gateway that knows the authority believes it.
func TestAuthority(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	dir := t.TempDir()
	file, db := filepath.Join(dir, "office.key"), filepath.Join(dir, "db")
	_, out, errs := call(t, "authority", "init", file, "--json")
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err, errs)
	}
	for _, f := range []string{file, file + registerName} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	if err := os.MkdirAll(db, 0o750); err != nil {
		t.Fatal(err)
	}
	_, receiver, _ := call(t, "key", "show", "--db", db)
	receiver = strings.TrimSpace(receiver)
	certify := func(more ...string) (text string, number uint64) {
		t.Helper()
		code, out, errs := call(t, append([]string{"authority", "certify", file, receiver, "--name", "江苏", "--json"}, more...)...)
		var c struct {
			Number      uint64
			Certificate string
		}
		if err := json.Unmarshal([]byte(out), &c); code != 0 || err != nil {
			t.Fatalf("exit %d, %v: %s", code, err, errs)
		}
		return c.Certificate, c.Number
	}
	text, n := certify()
	if _, second := certify("--least", "2"); n != 1 || second != 2 {
		t.Errorf("numbers %d and %d", n, second)
	}
	if _, third := certify(); third != 3 {
		t.Errorf("number %d", third)
	}
	block, _ := pem.Decode([]byte(text))
	cert, err := evidence.ReadCertificate(block.Bytes, parseKey(made.Key))
	if err != nil || cert.Number != 1 || cert.Least != 0 || cert.Name != "江苏" {
		t.Errorf("%+v, %v", cert, err)
	}
	if now := time.Now(); cert.NotBefore > now.Add(-backdated/2).UnixNano() { // the gateways' clocks may be behind the authority's
		t.Errorf("it begins %v", time.Unix(0, cert.NotBefore))
	}
	if code, _, errs := call(t, "authority", "certify", file, receiver, "--name", "x", "--least", "1"); code != cli.Wrong || !strings.Contains(errs, "from 2 to 4") {
		t.Errorf("what was withdrawn comes back: exit %d: %s", code, errs)
	}
	load := func(text, key string) error {
		t.Helper()
		if err := os.WriteFile(filepath.Join(db, certName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		private, err := evidence.LoadKey(filepath.Join(db, evidence.KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			private = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		}
		var got []byte
		p := program(t.Context())
		p.Commands = []cli.Command{{Name: "load", Flags: []cli.Flag{{Name: "db", Value: "DIR"}, {Name: "key-cert", Value: "FILE"}}, Run: func(c *cli.Call) error {
			var err error
			got, err = loadCertificate(c, private, slog.New(slog.DiscardHandler))
			if err == nil && string(got) != string(block.Bytes) {
				t.Errorf("another certificate: %x", got)
			}
			return err
		}}}
		var said strings.Builder
		if p.Main([]string{"load", "--db", db, "--lang", "en"}, &said, &said) != 0 {
			return os.ErrInvalid
		}
		return nil
	}
	if err := load(text, ""); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{"another key": text, "noise": "x", "a key file": "", "cut": text[:len(text)/2]} {
		other := ""
		if name == "another key" {
			other = "other"
		}
		if load(bad, other) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	// A register that is lost or damaged would give a number twice.
	if err := os.WriteFile(file+registerName, []byte("{\"number\":3}\n{\"number\":3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "authority", "certify", file, receiver, "--name", "x"); code != cli.Failed || !strings.Contains(errs, "line 2") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if err := os.Remove(file + registerName); err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string]string{"zh": "找不到证书号登记簿", "en": "no register of the numbers"} {
		if code, _, errs := call(t, "authority", "certify", file, receiver, "--name", "x", "--lang", lang); code != cli.Failed || !strings.Contains(errs, want) {
			t.Errorf("exit %d: %s", code, errs)
		}
	}
}
