package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Everything that the library would do on its own is off. Its automatic
// reconnect reports messages as delivered that nobody acknowledged.
func TestLibraryDoesNothingOnItsOwn(t *testing.T) {
	for _, o := range []Options{{}, {Ordered: true, ManualAck: true}} {
		po := clientOptions(&o)
		c := paho.NewClient(po)
		r := c.OptionsReader()
		for what, bad := range map[string]bool{
			"AutoReconnect":   r.AutoReconnect(),
			"ConnectRetry":    r.ConnectRetry(),
			"CleanSession":    !r.CleanSession(),
			"ResumeSubs":      r.ResumeSubs(),
			"ProtocolVersion": r.ProtocolVersion() != 4,
			"WriteTimeout":    r.WriteTimeout() != 10*time.Second,
			"Order":           po.Order != o.Ordered,
			"AutoAckDisabled": po.AutoAckDisabled != o.ManualAck,
			"Store":           po.Store != nil,
		} {
			if bad {
				t.Errorf("option %s is not as it must be", what)
			}
		}
	}
}

func TestAddress(t *testing.T) {
	good := map[string]string{"tcp://h": "h:1883", "tls://h": "h:8883", "tcp://127.0.0.1:99": "127.0.0.1:99", "tls://[::1]:5/": "[::1]:5"}
	for in, want := range good {
		if got, secure, err := Address(in); err != nil || got != want || secure == Insecure(in) {
			t.Errorf("%s: %s %v %v", in, got, secure, err)
		}
	}
	for _, in := range []string{"", "h:1883", "ssl://h", "ws://h", "mqtt://h", "TLS//h", "tcp://", "tcp://u:p@h", "tcp://h/x", "tls://h?x", "tcp://h:x"} {
		if _, _, err := Address(in); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
}

// own starts a broker in this process. It is closed when it has let go of every
// connection: the library counts a connection in a goroutine of its own, and must
// not be waiting for that count meanwhile.
func own(t *testing.T, conf *tls.Config) string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	let := &letting{Listener: tcp}
	let.open.Add(1)
	l := net.Listener(let)
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	if err := s.AddListener(listeners.NewNet("t", l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tcp.Close()
		let.open.Wait()
		_ = s.Close()
	})
	return tcp.Addr().String()
}

// letting is a listener that knows which of its connections are open.
type letting struct {
	net.Listener
	open sync.WaitGroup // and one for itself, until it is closed
}

func (l *letting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		l.open.Done()
		return nil, err
	}
	l.open.Add(1)
	return &letGo{Conn: c, done: sync.OnceFunc(l.open.Done)}, nil
}

type letGo struct {
	net.Conn
	done func()
}

func (c *letGo) Close() error {
	defer c.done()
	return c.Conn.Close()
}

func TestThereAndBack(t *testing.T) {
	addr := own(t, nil)
	up := make(chan Message, 10)
	receiver, err := Dial(t.Context(), Options{
		Broker: "tcp://" + addr, ClientID: "r", Filters: []string{"davy/1/+/up/+"}, Ordered: true, ManualAck: true,
		Received: func(m Message) { up <- m },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	tr, err := DialTransport(t.Context(), "GW-1", Options{Broker: "tcp://" + addr, ClientID: "g"})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for i := range 5 {
		if err := tr.Send(t.Context(), "event", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		m := <-up
		if m.Topic != "davy/1/GW-1/up/event" || !bytes.Equal(m.Payload, []byte{byte(i)}) {
			t.Errorf("message %d: %s %x", i, m.Topic, m.Payload)
		}
		m.Ack()
	}
	if err := receiver.Publish(t.Context(), ReceiptTopic("GW-1"), []byte("receipt")); err != nil {
		t.Fatal(err)
	}
	if b := <-tr.Receipts(); string(b) != "receipt" {
		t.Errorf("receipt %q", b)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if err := tr.Send(t.Context(), "event", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
}

// ca makes an authority, its file, and a server's configuration for name.
func ca(t *testing.T, name string) (file string, server *tls.Config) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: tmpl.NotBefore, NotAfter: tmpl.NotAfter, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		leaf.DNSNames, leaf.IPAddresses = nil, []net.IP{ip}
	}
	parent, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, parent, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return file, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}}}
}

func TestTLSFailsClosed(t *testing.T) {
	file, server := ca(t, "127.0.0.1")
	other, _ := ca(t, "127.0.0.1")
	_, elsewhere := ca(t, "elsewhere.example")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, plain, wrong := own(t, server), own(t, nil), own(t, elsewhere)
	c, err := Dial(t.Context(), Options{Broker: "tls://" + addr, CAFile: file, ClientID: "x"})
	if err != nil {
		t.Fatalf("the right one: %v", err)
	}
	_ = c.Close()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	for name, o := range map[string]Options{
		"system roots":        {Broker: "tls://" + addr},
		"another authority":   {Broker: "tls://" + addr, CAFile: other},
		"no such file":        {Broker: "tls://" + addr, CAFile: file + "x"},
		"empty file":          {Broker: "tls://" + addr, CAFile: empty},
		"another name":        {Broker: "tls://" + wrong, CAFile: file},
		"a plain broker":      {Broker: "tls://" + plain, CAFile: file},
		"CA without TLS":      {Broker: "tcp://" + plain, CAFile: file},
		"certificate, no key": {Broker: "tls://" + addr, CAFile: file, CertFile: file},
		"plain to TLS":        {Broker: "tcp://" + addr},
	} {
		o.ClientID = "y"
		if c, err := Dial(ctx, o); err == nil {
			t.Errorf("%s: connected", name)
			_ = c.Close()
		}
	}
}

// hostile is a broker that answers CONNECT and SUBSCRIBE with given bytes.
func hostile(t *testing.T, connack, suback []byte) (string, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := packets.ReadPacket(c); err == nil {
				_, _ = c.Write(connack)
			}
			if p, err := packets.ReadPacket(c); err == nil && suback != nil {
				if s, ok := p.(*packets.SubscribePacket); ok {
					b := bytes.Clone(suback)
					b[2], b[3] = byte(s.MessageID>>8), byte(s.MessageID)
					_, _ = c.Write(b)
				}
			}
			conns <- c
		}
	}()
	return l.Addr().String(), conns
}

func TestHostileBroker(t *testing.T) {
	accept := []byte{0x20, 2, 0, 0}
	for name, c := range map[string]struct{ connack, suback []byte }{
		"refused":               {[]byte{0x20, 2, 0, 5}, nil},
		"unknown code":          {[]byte{0x20, 2, 0, 77}, nil},
		"long CONNACK":          {[]byte{0x20, 200, 1}, nil},
		"no CONNACK":            {[]byte{0xd0, 0}, nil},
		"endless length":        {[]byte{0x20, 0x80, 0x80, 0x80, 0x80, 1}, nil},
		"subscription refused":  {accept, []byte{0x90, 3, 0, 0, 0x80}},
		"QoS 0 granted":         {accept, []byte{0x90, 3, 0, 0, 0}},
		"more codes than asked": {accept, []byte{0x90, 5, 0, 0, 1, 1, 1}},
		"no codes":              {accept, []byte{0x90, 2, 0, 0}},
		"huge message":          {append(bytes.Clone(accept), 0x30, 0xff, 0xff, 0xff, 0x7f), nil},
		"client's packet":       {append(bytes.Clone(accept), 0x10, 2, 0, 0), nil},
		"QoS 3":                 {append(bytes.Clone(accept), 0x36, 5, 0, 1, 'x', 0, 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := hostile(t, c.connack, c.suback)
			// Where the connection is lost just before the subscription, the library
			// itself waits for WriteTimeout; Dial promises twice ConnectTimeout.
			ctx, stop := context.WithTimeout(t.Context(), 2*ConnectTimeout)
			defer stop()
			began := time.Now()
			conn, err := Dial(ctx, Options{Broker: "tcp://" + addr, ClientID: "x", Filters: []string{"a"}, MaxIn: 1000, Received: func(Message) {}})
			if err == nil {
				_ = conn.Close()
				t.Fatal("connected")
			}
			if ctx.Err() != nil {
				t.Errorf("only the deadline ended it, after %v: %v", time.Since(began), err)
			}
		})
	}
}

// A message that the broker does not acknowledge is not delivered, whatever
// happens to the connection.
func TestNoAcknowledgement(t *testing.T) {
	addr, conns := hostile(t, []byte{0x20, 2, 0, 0}, nil)
	c, err := Dial(t.Context(), Options{Broker: "tcp://" + addr, ClientID: "x", Window: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := c.Publish(t.Context(), "a", []byte("b")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := c.Publish(ctx, "a", []byte("b")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third message with a window of two: %v", err)
	}
	_ = (<-conns).Close()
	<-c.Done()
	if err := c.Publish(t.Context(), "a", nil); err == nil || c.Err() == nil {
		t.Errorf("after the end: %v, %v", err, c.Err())
	}
}

// The guard lets what is allowed through unchanged, however it is cut.
func TestGuardCuts(t *testing.T) {
	stream := []byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x32, 7, 0, 1, 'a', 0, 9, 'x', 'y', 0x40, 2, 0, 1, 0xd0, 0, 0x30, 0x83, 1, 0, 1, 'b'}
	stream = append(stream, make([]byte, 128)...)
	stream = append(stream, 0xd0, 0)
	for size := 1; size <= len(stream); size++ {
		g := &guard{Conn: reading{&cutter{stream, size}}, max: 200}
		g.codes.Store(1)
		got, err := io.ReadAll(g)
		if err != nil || !bytes.Equal(got, stream) {
			t.Fatalf("cut by %d: %v after %d of %d bytes", size, err, len(got), len(stream))
		}
	}
}

// FuzzGuard: whatever passes, the library's own parser never gets a packet
// that is longer than allowed or of a kind that is not.
func FuzzGuard(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x32, 7, 0, 1, 'a', 0, 9, 'x', 'y'}, 3)
	f.Add([]byte{0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			size = 1
		}
		g := &guard{Conn: reading{&cutter{stream, size}}, max: 100}
		g.codes.Store(2)
		for n := 0; ; n++ {
			p, err := packets.ReadPacket(g)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.ConnackPacket:
				if n > 0 || p.ReturnCode > 5 {
					t.Errorf("CONNACK %d as packet %d", p.ReturnCode, n)
				}
			case *packets.SubackPacket:
				if len(p.ReturnCodes) != 2 {
					t.Errorf("SUBACK with %d codes", len(p.ReturnCodes))
				}
			case *packets.PublishPacket:
				if len(p.Payload) > 100 || p.Qos > 2 {
					t.Errorf("PUBLISH of %d bytes, QoS %d", len(p.Payload), p.Qos)
				}
			case *packets.ConnectPacket, *packets.SubscribePacket, *packets.PingreqPacket, *packets.DisconnectPacket, *packets.UnsubscribePacket:
				t.Errorf("%T from a broker", p)
			}
		}
	})
}

type cutter struct {
	b    []byte
	size int
}

func (c *cutter) Read(b []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.size)], c.b)
	c.b = c.b[n:]
	return n, nil
}

type reading struct{ io.Reader }

func (reading) Close() error                     { return nil }
func (reading) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (reading) LocalAddr() net.Addr              { return nil }
func (reading) RemoteAddr() net.Addr             { return nil }
func (reading) SetDeadline(time.Time) error      { return nil }
func (reading) SetReadDeadline(time.Time) error  { return nil }
func (reading) SetWriteDeadline(time.Time) error { return nil }

// A receipt for which there is no room is dropped and counted; nothing blocks.
func TestReceiptsBounded(t *testing.T) {
	tr := &Transport{receipts: make(chan []byte, MaxReceipts)}
	for range MaxReceipts + 5 {
		tr.received(Message{Payload: []byte(strings.Repeat("x", 3))})
	}
	if tr.Dropped() != 5 || len(tr.Receipts()) != MaxReceipts {
		t.Errorf("dropped %d, kept %d", tr.Dropped(), len(tr.Receipts()))
	}
}
