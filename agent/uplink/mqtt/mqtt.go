// Package mqtt is one connection to one MQTT 3.1.1 broker, made once, used
// until it fails and then thrown away.
//
// It promises: a message that Send or Publish took is on its way in the order
// of the calls, at QoS 1; when the broker does not acknowledge it in time, the
// whole connection ends. An acknowledgement of the broker is flow control and
// nothing more: whether a record arrived says the receiver's signed receipt.
// The library never reconnects, retries or resumes by itself (its automatic
// reconnect completes tokens that nobody acknowledged): every connection is a
// new client, with CleanSession, and whoever owns a Conn calls Dial again,
// with a pause of his own. Bytes from the broker pass a guard that bounds what
// it can make us allocate. TLS fails closed: a connection that asked for it is
// verified against the given CA file or the system's roots, or is not made.
//
// Nothing is durable here. A Conn owns its goroutines; Close waits for them.
//
// Imports: nothing of ours, so that the receiver uses the same rules.
package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"
)

// Limits, each with what happens at it.
const (
	ConnectTimeout = 15 * time.Second // dial, TLS and CONNACK together; then Dial fails
	WriteTimeout   = 10 * time.Second // one packet into the socket; then the connection ends
	AckTimeout     = 30 * time.Second // broker's acknowledgement of one message; then the connection ends
	KeepAlive      = 20 * time.Second // silence that makes a ping; unanswered for PingTimeout the connection ends
	PingTimeout    = 10 * time.Second
	UserTimeout    = 20 * time.Second // bytes sent without a TCP acknowledgement; then the kernel ends the connection
	Quiesce        = 250 * time.Millisecond
	DefaultWindow  = 16      // messages sent without acknowledgement; the next Publish waits
	DefaultMax     = 1 << 20 // bytes of an incoming packet; a longer one ends the connection
	MaxReceipts    = 64      // receipts not yet taken; more are dropped (they are sent again)
)

// ErrClosed is what Publish returns after Close or the end of the connection.
var ErrClosed = errors.New("connection closed")

// Options of one connection.
type Options struct {
	Broker   string // "tcp://host:1883", "tls://host:8883"; the port may be absent
	ClientID string
	User     string
	Password string
	CAFile   string // PEM; "" the system's roots; only with tls://
	CertFile string // PEM of the client's certificate; only with tls://
	KeyFile  string
	Window   int // DefaultWindow
	MaxIn    int // bytes of an incoming packet; DefaultMax

	// Filters are subscribed at QoS 1 before Dial returns; Received gets every
	// message. It must not block: the connection's own goroutine calls it,
	// in order of arrival if Ordered.
	Filters  []string
	Received func(Message)
	Ordered  bool
	// ManualAck leaves the acknowledgement of a message to Message.Ack.
	ManualAck bool

	Log *slog.Logger // why a connection ended, at debug level; may be nil
}

// Message is one that came.
type Message struct {
	Topic   string
	Payload []byte
	Ack     func() // with ManualAck; may be called from any goroutine, once
}

// Insecure reports whether the broker's address asks for no encryption.
func Insecure(broker string) bool { return !strings.HasPrefix(broker, "tls://") }

// Conn is one connection.
type Conn struct {
	client paho.Client
	window chan struct{}
	done   chan struct{}
	once   sync.Once
	cause  error      // written before done is closed
	mu     sync.Mutex // closed, and wait.Add before wait.Wait
	closed bool
	wait   sync.WaitGroup
	guard  atomic.Pointer[guard]
	log    *slog.Logger
	broker string
}

// Address splits a broker's address; the error names what is wrong with it.
func Address(broker string) (hostport string, secure bool, err error) {
	u, err := url.Parse(broker)
	if err != nil {
		return "", false, fmt.Errorf("broker %q: %w", broker, err)
	}
	port := ""
	switch u.Scheme {
	case "tcp":
		port = "1883"
	case "tls":
		port, secure = "8883", true
	default:
		return "", false, fmt.Errorf("broker %q: the address begins with tls:// or tcp://", broker)
	}
	if u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", false, fmt.Errorf("broker %q: not of the form %s://host:port", broker, u.Scheme)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}

// tlsConfig makes the verification of a tls:// broker; nil for tcp://.
func tlsConfig(o *Options, hostport string, secure bool) (*tls.Config, error) {
	if !secure {
		if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" {
			return nil, fmt.Errorf("broker %q: certificates are given, but the address is not tls://", o.Broker)
		}
		return nil, nil
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("broker %q: %w", o.Broker, err)
	}
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: no certificate in it", o.CAFile)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, fmt.Errorf("broker %q: a client certificate needs its key, and a key its certificate", o.Broker)
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// clientOptions are the library's, with everything that it would do on its own switched off.
func clientOptions(o *Options) *paho.ClientOptions {
	return paho.NewClientOptions().
		AddBroker(o.Broker).
		SetClientID(o.ClientID).
		SetUsername(o.User).
		SetPassword(o.Password).
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetResumeSubs(false).
		SetOrderMatters(o.Ordered).
		SetAutoAckDisabled(o.ManualAck).
		SetConnectTimeout(ConnectTimeout).
		SetWriteTimeout(WriteTimeout).
		SetKeepAlive(KeepAlive).
		SetPingTimeout(PingTimeout)
}

// Dial connects, and subscribes if there is something to subscribe to. It
// returns a connection that works or an error, within ConnectTimeout twice.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	hostport, secure, err := Address(o.Broker)
	if err != nil {
		return nil, err
	}
	conf, err := tlsConfig(&o, hostport, secure)
	if err != nil {
		return nil, err
	}
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.MaxIn <= 0 {
		o.MaxIn = DefaultMax
	}
	c := &Conn{window: make(chan struct{}, o.Window), done: make(chan struct{}), log: o.Log, broker: o.Broker}
	dialing, stop := context.WithTimeout(ctx, ConnectTimeout)
	defer stop()
	po := clientOptions(&o)
	po.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		g, err := open(dialing, hostport, conf, o.MaxIn)
		if err != nil {
			return nil, err
		}
		g.codes.Store(int32(len(o.Filters)))
		c.guard.Store(g)
		if err := c.Err(); err != nil { // Dial gave up meanwhile
			_ = g.Close()
			return nil, err
		}
		return g, nil
	})
	po.SetConnectionLostHandler(func(_ paho.Client, err error) { c.fail(err) })
	received := func(_ paho.Client, m paho.Message) {
		if o.Received != nil {
			o.Received(Message{Topic: m.Topic(), Payload: m.Payload(), Ack: m.Ack})
		}
	}
	po.SetDefaultPublishHandler(received)
	c.client = paho.NewClient(po)

	if err := c.await(dialing, c.client.Connect()); err != nil {
		c.fail(err)
		c.end()
		return nil, fmt.Errorf("connect %s: %w", o.Broker, err)
	}
	if len(o.Filters) > 0 {
		filters := map[string]byte{}
		for _, f := range o.Filters {
			filters[f] = 1
		}
		t := c.client.SubscribeMultiple(filters, received)
		err := c.await(dialing, t)
		if err == nil {
			err = granted(t, o.Filters)
		}
		if err != nil {
			c.fail(err)
			c.end()
			return nil, fmt.Errorf("subscribe %s: %w", o.Broker, err)
		}
	}
	return c, nil
}

// granted looks at every return code: a refused subscription has no error.
func granted(t paho.Token, filters []string) error {
	st, ok := t.(*paho.SubscribeToken)
	if !ok {
		return errors.New("BUG: not the token of a subscription")
	}
	result := st.Result()
	for _, f := range filters {
		if code, ok := result[f]; !ok || code != 1 {
			return fmt.Errorf("the broker refused %s (code 0x%02x)", f, code)
		}
	}
	return nil
}

// open dials the broker; the connection is guarded.
func open(ctx context.Context, hostport string, conf *tls.Config, max int) (*guard, error) {
	d := net.Dialer{KeepAlive: KeepAlive, ControlContext: userTimeout}
	conn, err := d.DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, err
	}
	if conf != nil {
		t := tls.Client(conn, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("tls: %w", err)
		}
		conn = t
	}
	return &guard{Conn: conn, max: max}, nil
}

// await waits for a token with a deadline of our own.
func (c *Conn) await(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) fail(err error) {
	c.once.Do(func() {
		c.cause = err
		close(c.done)
		if c.log != nil {
			c.log.Debug("connection to broker ended", "broker", c.broker, "err", err)
		}
	})
}

// Publish sends payload at QoS 1. It waits while Window messages are without
// acknowledgement, and returns when the library has taken the message; the
// order of calls from one goroutine is kept.
func (c *Conn) Publish(ctx context.Context, topic string, payload []byte) error {
	select {
	case c.window <- struct{}{}:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.enter() {
		<-c.window
		return c.Err()
	}
	t := c.client.Publish(topic, 1, false, payload)
	go func() {
		defer c.wait.Done()
		defer func() { <-c.window }()
		limit := time.NewTimer(AckTimeout)
		defer limit.Stop()
		select {
		case <-t.Done():
			if err := t.Error(); err != nil {
				c.fail(fmt.Errorf("publish: %w", err))
			}
		case <-limit.C:
			c.fail(fmt.Errorf("publish: no acknowledgement within %v", AckTimeout))
		case <-c.done:
		}
	}()
	return nil
}

// enter counts one more message under way; false when the connection is not open.
func (c *Conn) enter() bool {
	open := c.client.IsConnectionOpen()
	if !open {
		c.fail(ErrClosed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !open || c.closed {
		return false
	}
	c.wait.Add(1)
	return true
}

// Done is closed when the connection has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, nil while it is open.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		if c.cause != nil {
			return c.cause
		}
		return ErrClosed
	default:
		return nil
	}
}

// Close ends the connection and waits for its goroutines.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.end()
	return nil
}

func (c *Conn) end() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.client.Disconnect(uint(Quiesce / time.Millisecond))
	if g := c.guard.Load(); g != nil {
		_ = g.Close()
	}
	c.wait.Wait()
}

// userTimeout bounds how long the kernel keeps unacknowledged bytes.
func userTimeout(_ context.Context, _, _ string, raw syscall.RawConn) error {
	var bad error
	err := raw.Control(func(fd uintptr) {
		bad = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(UserTimeout/time.Millisecond))
	})
	return errors.Join(err, bad)
}
