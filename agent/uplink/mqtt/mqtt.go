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
// verified against the given CA file or the system's roots, or is not made. It
// is TLS 1.3; 1.2 only with suites that are named. Files are read again at each
// connection, so that what was renewed counts without a restart. What a clock
// that is not trusted says of certificates stands at Options.Clock.
//
// Nothing is durable here. A Conn owns its goroutines; Close waits for them.
//
// Imports: nothing of ours, so that the receiver uses the same rules.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
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
	// CA, Cert and Key are the same as bytes, for who keeps them elsewhere; a
	// file counts before them. Cert alone may hold both.
	CA, Cert, Key []byte
	ServerName    string   // that the broker's certificate must have; "": the host of Broker
	Suites        []uint16 // of TLS 1.2, which is allowed then; nil: TLS 1.3 only
	// Clock is the time to check certificates at; nil: the system's. Where it is
	// not trusted it is the newest instant that has certainly passed: then a
	// certificate that had run out by then is refused as always, but one that
	// seems not to be valid yet is taken, for it is the clock that is behind. So
	// a gateway without a clock gets through, and one whose clock was set back
	// believes nothing that has run out since the bound.
	Clock  func() (now time.Time, trusted bool)
	Window int // DefaultWindow
	MaxIn  int // bytes of an incoming packet; DefaultMax

	// Will is what the broker publishes at QoS 1 when the connection ends without
	// a word; nil: nothing.
	Will *Message

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

// clientOptions are the library's, with everything that it would do on its own switched off.
func clientOptions(o *Options) *paho.ClientOptions {
	po := paho.NewClientOptions().
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
	if o.Will != nil {
		po.SetBinaryWill(o.Will.Topic, o.Will.Payload, 1, false)
	}
	return po
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
		return nil, &Error{CodeTLS, err}
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
		g, err := open(dialing, hostport, conf, &o)
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
		if conf != nil {
			err = afterHandshake(err)
		}
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
			return &Error{CodeSubscribe, fmt.Errorf("the broker refused %s (code 0x%02x)", f, code)}
		}
	}
	return nil
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

// Flush waits until the broker has acknowledged every message that Publish took.
// It is for who calls Publish from the same goroutine.
func (c *Conn) Flush(ctx context.Context) error {
	held := 0
	defer func() {
		for range held {
			<-c.window
		}
	}()
	for range cap(c.window) {
		select {
		case c.window <- struct{}{}:
			held++
		case <-c.done:
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.Err()
}

// Put sends payload at QoS 0, for protocols that prescribe it, and returns when
// it is written. Barrier tells when the broker has it.
func (c *Conn) Put(ctx context.Context, topic string, payload []byte) error {
	return c.within(ctx, "put", func() paho.Token { return c.client.Publish(topic, 0, false, payload) })
}

// Barrier returns when the broker has taken every message before it: it takes
// the packets of a connection in their order (MQTT 3.1.1, 4.6), and answers one
// that means nothing.
func (c *Conn) Barrier(ctx context.Context) error {
	return c.within(ctx, "barrier", func() paho.Token { return c.client.Unsubscribe(barrierTopic) })
}

// barrierTopic is a filter that nobody subscribes to.
const barrierTopic = "davy/barrier"

// within does one operation and waits for its end; where that does not come
// within AckTimeout, the connection ends.
func (c *Conn) within(ctx context.Context, what string, do func() paho.Token) error {
	if !c.enter() {
		return c.Err()
	}
	defer c.wait.Done()
	limited, stop := context.WithTimeout(ctx, AckTimeout)
	defer stop()
	err := c.await(limited, do())
	if err != nil && ctx.Err() == nil {
		c.fail(fmt.Errorf("%s: %w", what, err))
		return c.Err()
	}
	return err
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
