package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"davy/agent/cli"
	"davy/agent/evidence"
	"davy/agent/i18n"
	"davy/agent/uplink/mqtt"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/ingest"
	"davy/cmd/davy-receiver/store"
)

// Limits, each with what happens at it.
const (
	backoffMin    = 500 * time.Millisecond // between two connections to the broker, doubled up to
	backoffMax    = 5 * time.Second        // this, with jitter
	steady        = 5 * time.Second        // a connection that held this long begins again at backoffMin
	receiptWindow = 64                     // receipts without the broker's acknowledgement; the next waits
	maxPacket     = wire.MaxMessage + 1<<16
	brokerPending = 4096 // messages that the broker of our own holds for one slow client; more are dropped there
)

// faultDropOne is the one fault: a receiver that lies about one event.
const faultDropOne = "drop-one"

// openKey reads the receiver's signing key, or makes it: once, and never in
// place of one that is there.
func openKey(c *cli.Call) (ed25519.PrivateKey, error) {
	path := c.Flag("key")
	if path == "" {
		return evidence.LoadOrCreateKey(c.Flag("db"))
	}
	key, err := evidence.LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	return key, err
}

// makeKey makes a key file; fs.ErrExist where there is one.
func makeKey(path string) (ed25519.PrivateKey, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key, err := evidence.LoadOrCreateKey(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Link(filepath.Join(dir, evidence.KeyFile), path); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, errors.Join(d.Sync(), d.Close())
}

// publicKey is the form of a key in a site file.
func publicKey(key ed25519.PrivateKey) string {
	return "ed25519:" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func logger(c *cli.Call) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Flag("log-level"))); err != nil {
		return nil, cli.Usage("davy-receiver.bad-level", i18n.Args{"value": c.Flag("log-level")})
	}
	return slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level})), nil
}

// run receives until it is told to stop.
func run(ctx context.Context, c *cli.Call) error {
	log, err := logger(c)
	if err != nil {
		return err
	}
	broker, listen := c.Flag("broker"), c.Flag("listen")
	if (broker == "") == (listen == "") {
		return cli.Usage("davy-receiver.broker-or-listen", nil)
	}
	if f := c.Flag("fault"); f != "" && f != faultDropOne {
		return cli.Usage("davy-receiver.unknown-fault", i18n.Args{"value": f, "known": faultDropOne})
	}
	opts, err := connection(c, broker, log)
	if err != nil {
		return err
	}
	ready, err := readyWriter(c)
	if err != nil {
		return err
	}
	key, err := openKey(c)
	if err != nil {
		return err
	}
	certificate, err := loadCertificate(c, key, log)
	if err != nil {
		return err
	}
	silent, err := positive(c, "silent")
	if err != nil {
		return err
	}
	withheld, err := positive(c, "withheld")
	if err != nil {
		return err
	}
	st, err := openLocked(c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()

	if listen != "" {
		server, address, err := embedded(listen, log)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		opts.Broker = "tcp://" + address
	}
	if certificate != nil {
		ending, stop := context.WithCancel(ctx)
		defer stop()
		go warnOfEnd(ending, log, certificate)
	}
	opts.ClientID = "davy-receiver-" + st.ID()[:12]
	r := &receiver{opts: opts, log: log}
	r.in = ingest.New(ingest.Options{
		Store: st, Key: key, Name: c.Flag("name"), Certificate: certificate, Publish: r.publish, Now: time.Now, Log: log,
		Silent: silent, Withheld: withheld, DropOne: c.Flag("fault") == faultDropOne,
	})
	r.ready = func() {
		line, err := json.Marshal(map[string]any{"ready": true, "broker": opts.Broker, "key": publicKey(key), "store": st.ID(), "pid": os.Getpid()})
		if err == nil {
			for _, w := range ready {
				fmt.Fprintln(w, string(line))
			}
		}
		if !c.JSON {
			c.Say("davy-receiver.ready", i18n.Args{"broker": opts.Broker, "key": publicKey(key)})
		}
	}
	return r.Run(ctx)
}

// openLocked opens the database as its only writer.
func openLocked(c *cli.Call) (*store.Store, error) {
	st, err := store.Open(c.Flag("db"))
	if errors.Is(err, store.ErrLocked) {
		return nil, &cli.Error{Exit: cli.Failed, Key: "davy-receiver.locked", Args: i18n.Args{"dir": c.Flag("db")}}
	}
	return st, err
}

// positive reads a flag that is a length of time.
func positive(c *cli.Call, flag string) (time.Duration, error) {
	d, err := time.ParseDuration(c.Flag(flag))
	if err != nil || d <= 0 {
		return 0, cli.Usage("davy-receiver.bad-pause", i18n.Args{"value": c.Flag(flag)})
	}
	return d, nil
}

// readyWriter returns where the line of JSON goes that says that the receiver listens.
func readyWriter(c *cli.Call) ([]io.Writer, error) {
	var all []io.Writer
	if c.JSON {
		all = append(all, c.Out)
	}
	if s := c.Flag("ready-fd"); s != "" {
		fd, err := strconv.Atoi(s)
		if err != nil || fd < 3 || fd > 1<<16 {
			return nil, cli.Usage("davy-receiver.bad-fd", i18n.Args{"value": s})
		}
		all = append(all, os.NewFile(uintptr(fd), "ready"))
	}
	return all, nil
}

// connection reads the options of the connection to the broker.
func connection(c *cli.Call, broker string, log *slog.Logger) (mqtt.Options, error) {
	o := mqtt.Options{
		Broker: broker, User: c.Flag("user"), CAFile: c.Flag("ca"), CertFile: c.Flag("cert"), KeyFile: c.Flag("cert-key"),
		Window: receiptWindow, MaxIn: maxPacket, Filters: []string{gate.UpTopics}, Ordered: true, ManualAck: true, Log: log,
	}
	if broker == "" {
		return o, nil
	}
	if _, _, err := mqtt.Address(broker); err != nil {
		return o, &cli.Error{Exit: cli.Wrong, Key: "davy-receiver.bad-broker", Cause: err}
	}
	if file := c.Flag("password-file"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return o, err
		}
		o.Password = strings.TrimRight(string(b), "\r\n")
	}
	if mqtt.Insecure(broker) {
		log.Warn("connection to the broker is not encrypted", "broker", broker)
	}
	return o, nil
}

// embedded starts a broker of our own: for a desk, a demo, a test. It lets
// everyone in; what is received rests on signatures, not on who connected.
func embedded(address string, log *slog.Logger) (*mochi.Server, string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", &cli.Error{Exit: cli.Wrong, Key: "davy-receiver.bad-listen", Args: i18n.Args{"value": address}, Cause: err}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		log.Warn("own broker listens beyond loopback, without encryption or accounts", "address", address)
	}
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumPacketSize = maxPacket
	caps.MaximumClientWritesPending = brokerPending
	server := mochi.New(&mochi.Options{Capabilities: caps, Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, "", fmt.Errorf("start broker: %w", err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "own", Address: address})
	if err := server.AddListener(l); err != nil {
		return nil, "", fmt.Errorf("start broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, "", fmt.Errorf("start broker: %w", err)
	}
	return server, l.Address(), nil
}

// receiver joins a broker and the ingest.
type receiver struct {
	opts  mqtt.Options
	log   *slog.Logger
	in    *ingest.Ingest
	conn  atomic.Pointer[mqtt.Conn]
	ready func()
}

// publish sends a receipt over the connection of the moment.
func (r *receiver) publish(ctx context.Context, topic string, payload []byte) error {
	conn := r.conn.Load()
	if conn == nil {
		return mqtt.ErrClosed
	}
	return conn.Publish(ctx, topic, payload)
}

// Run connects, again and again, and takes in what comes.
func (r *receiver) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r.in.Hears(false)
	taken := make(chan error, 1)
	go func() { taken <- r.in.Run(ctx) }()
	r.opts.Received = func(m mqtt.Message) {
		if !r.in.Offer(ingest.Message{Topic: m.Topic, Payload: m.Payload, Ack: m.Ack}) {
			m.Ack() // its gateway sends it again; the broker need not
		}
	}
	pause, told := backoffMin, false
	for {
		began := time.Now()
		conn, err := mqtt.Dial(ctx, r.opts)
		if err == nil {
			r.log.Info("connected to broker", "broker", r.opts.Broker)
			r.conn.Store(conn)
			r.in.Hears(true)
			if r.ready != nil {
				r.ready()
				r.ready = nil
			}
			told = false
			select {
			case <-ctx.Done():
			case err := <-taken:
				_ = conn.Close()
				return err
			case <-conn.Done():
			}
			r.in.Hears(false)
			r.conn.Store(nil)
			err = conn.Err()
			_ = conn.Close()
			if ctx.Err() == nil {
				r.log.Warn("connection to broker lost", "err", err)
			}
			if time.Since(began) > steady {
				pause = backoffMin
			}
		} else if ctx.Err() == nil && !told {
			told = true
			r.log.Warn("broker not reached", "broker", r.opts.Broker, "err", err)
		}
		t := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
			t.Stop()
			return <-taken
		case err := <-taken:
			t.Stop()
			return err
		case <-t.C:
		}
		pause = min(2*pause, backoffMax)
	}
}
