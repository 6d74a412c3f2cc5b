package keep

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"davy/agent/config"
	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/record"
	"davy/agent/ring"
	"davy/agent/secret"
	"davy/agent/uplink"
	"davy/agent/uplink/feed"
	"davy/agent/uplink/jsonl"
	"davy/agent/uplink/mqtt"
	"davy/agent/uplink/sparkplug"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Limits of destinations, each with what happens at it.
const (
	maxOwnFile     = 64 << 10         // bytes of a certificate or a key; a longer one is refused
	forgetAfter    = 10 * time.Second // after the event that names a withdrawn destination its cursor goes
	liveSyncs      = 3                // a reading is live for feed.DefaultLive, or for so many times the journal's sync
	credentialPair = ':'              // between user and password in a secret that holds both
	silentAfter    = 15 * time.Second // connected, something to confirm and nothing comes back: its likely causes are named
)

// uplink runs one destination.
func (k *keeper) uplink(ctx context.Context, j *journal.Journal, rec *record.Recorder, u config.Uplink, d *destination) error {
	err := k.destine(ctx, j, rec, u, d)
	if err != nil {
		text := err.Error()
		d.err.Store(&text)
	}
	return err
}

// destine runs one destination by what it speaks. The device's key is made here
// if there is none yet.
func (k *keeper) destine(ctx context.Context, j *journal.Journal, rec *record.Recorder, u config.Uplink, d *destination) error {
	cursor, err := j.Cursor(u.Name)
	if err != nil {
		return err
	}
	if u.Kind != config.UplinkMQTT {
		return k.feed(ctx, j, rec, u, d, cursor)
	}
	key, err := evidence.LoadOrCreateKey(filepath.Join(k.hello.StateDir, KeyDir))
	if err != nil {
		return err
	}
	signer := k.signer
	if u.Unconfirmed { // nobody could witness what it signs
		signer = nil
	}
	up := uplink.New(uplink.Options{
		Name: u.Name, Gateway: k.plan.Gateway.ID, Key: key, ReceiverKey: ed25519.PublicKey(u.ReceiverKey), Journal: j, Cursor: cursor, Signer: signer, OneWay: u.Unconfirmed,
		AuthorityKey: u.AuthorityKey, Moment: k.floor.moment, Known: k.known(u.Name),
		KeepKnown: func(n uplink.Known) error { return k.keepKnown(u.Name, n) },
		Dial:      k.dial(u, d), Insecure: mqtt.Insecure(u.Broker), BytesPerSecond: u.HistoryRate, Now: k.o.Now, Log: k.o.Log,
		State: func() uplink.State {
			s := rec.State().Now
			return uplink.State{Plan: k.plan.Hash[:], Boot: k.o.Boot, ClockTrusted: s.ClockTrusted, ClockError: s.ClockError, Armed: s.Armed}
		},
		Refused: func(code string, n uint64) {
			d.unfit.Store(&code)
			rec.Note(wire.Event{Kind: uint32(ring.ReceiptRefused), At: k.o.Now(), Rule: u.Name, Note: code, Value: tag.IntValue(int64(n))})
		},
	})
	d.up.Store(up)
	return up.Run(ctx)
}

// feed runs a destination that speaks another protocol than ours.
func (k *keeper) feed(ctx context.Context, j *journal.Journal, rec *record.Recorder, u config.Uplink, d *destination, cursor *journal.Cursor) error {
	var connect feed.Connect
	gateway := k.plan.Gateway.ID
	broker := func() (mqtt.Options, error) { return k.broker(u) }
	switch u.Kind {
	case config.UplinkJSON:
		connect = jsonl.New(jsonl.Options{Gateway: gateway, Topic: u.Topic, Broker: broker})
	case config.UplinkSparkplug:
		connect = sparkplug.New(sparkplug.Options{
			Group: u.Group, Node: gateway, Host: u.Host, Broker: broker, Now: k.o.Now, Table: rec.Table, Log: k.o.Log,
		})
	case config.UplinkHJ212:
		c, err := k.hj212(u, j, rec)
		if err != nil {
			return err
		}
		connect = c
	default:
		return fmt.Errorf("no uplink speaks %q", u.Kind)
	}
	f := feed.New(feed.Options{
		Connect: func(ctx context.Context) (feed.Session, error) {
			s, err := connect(ctx)
			d.tried(err)
			return s, err
		},
		Name: u.Name, Journal: j, Cursor: cursor, Now: k.o.Now, Insecure: mqtt.Insecure(u.Broker),
		Live: max(feed.DefaultLive, liveSyncs*k.plan.Journal.Sync), HistoryRate: u.HistoryRate, Table: rec.Table, Log: k.o.Log,
	})
	d.fed.Store(f)
	return f.Run(ctx)
}

// status is how a destination is, whatever it speaks. What is confirmed without
// a receipt counts as one here: it is the last word that came back.
func (d *destination) status() (u uplink.Status) {
	if up := d.up.Load(); up != nil {
		return up.Status()
	}
	if f := d.fed.Load(); f != nil {
		s := f.Status()
		return uplink.Status{
			Name: s.Name, Connected: s.Connected, Answering: s.Answering, Insecure: s.Insecure, LastReceipt: s.LastConfirm,
			Backlog: s.Backlog, Error: s.Error,
		}
	}
	if e := d.err.Load(); e != nil {
		u.Error = *e
	}
	return u
}

// tried keeps why a connection could not be made.
func (d *destination) tried(err error) {
	code := ""
	if err != nil {
		code = mqtt.Code(err)
	}
	d.dialed.Store(&code)
}

// cause is the likely cause of what is wrong with a destination, as a code. A
// broker that denies a publish says nothing of it in MQTT 3.1.1: only that no
// receipt comes shows it, and so do a receiver that is down and one that does
// not know this gateway's key.
func (d *destination) cause(s *ring.UplinkStatus, mono int64) string {
	dialed, unfit := d.dialed.Load(), d.unfit.Load()
	switch {
	case !s.Connected && dialed != nil:
		return *dialed
	case d.waiting == 0: // nothing to confirm, or one came that fits: what did not fit before is past
		d.unfit.Store(nil)
		return ""
	case !s.Connected || s.Unproved:
		return ""
	case mono-d.waiting <= int64(silentAfter):
		return ""
	case unfit == nil:
		return "silent"
	}
	switch *unfit {
	case "key", "signature", "certificate", "authority", "expired", "early", "withdrawn":
		return "receipt-key"
	case "destination", "gateway":
		return "receipt-destination"
	}
	return "receipt-unfit"
}

// dial makes the connections of a destination that speaks our own form.
func (k *keeper) dial(u config.Uplink, d *destination) uplink.Dial {
	if k.o.Dial != nil {
		return k.o.Dial(k.plan.Gateway.ID, u)
	}
	return func(ctx context.Context) (uplink.Transport, error) {
		o, err := k.broker(u)
		if err != nil {
			d.tried(err)
			return nil, err
		}
		t, err := mqtt.DialTransport(ctx, k.plan.Gateway.ID, o)
		d.tried(err)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
}

// broker is how to reach a destination's broker. It is asked before each
// connection: passwords, certificates and keys are read anew.
func (k *keeper) broker(u config.Uplink) (o mqtt.Options, err error) {
	o = mqtt.Options{
		Broker: u.Broker, ClientID: k.plan.Gateway.ID + "/" + u.Name, CA: u.TLS.CA, ServerName: u.TLS.ServerName, Suites: u.TLS.Suites,
		Clock: k.floor.now, Log: k.o.Log,
	}
	if u.Login.Secret != "" {
		o.User = u.Login.User
		if o.Password, err = secret.Get(k.hello.StateDir, u.Login.Secret); err != nil {
			return o, &mqtt.Error{Code: mqtt.CodeOwn, Err: err}
		}
		o.Password = strings.TrimRight(o.Password, "\r\n")
		if o.User == "" {
			var both bool
			if o.User, o.Password, both = strings.Cut(o.Password, string(credentialPair)); !both {
				return o, &mqtt.Error{Code: mqtt.CodeOwn, Err: fmt.Errorf("secret %s is not user:password", u.Login.Secret)}
			}
		}
	}
	if o.Cert, err = k.own(u.TLS.Certificate); err == nil {
		o.Key, err = k.own(u.TLS.Key)
	}
	if err != nil {
		return o, &mqtt.Error{Code: mqtt.CodeOwn, Err: err}
	}
	return o, nil
}

// own reads a file or a secret of this gateway's own; nil: there is none to read.
func (k *keeper) own(f config.UplinkFile) ([]byte, error) {
	switch {
	case f.Secret != "":
		s, err := secret.Get(k.hello.StateDir, f.Secret)
		return []byte(s), err
	case f.Path == "":
		return nil, nil
	}
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxOwnFile {
		return nil, fmt.Errorf("read %s: no file of at most %d bytes", f.Path, maxOwnFile)
	}
	return os.ReadFile(f.Path)
}

// from is where destinations that are new begin. A receiver of ours must see
// the numbers of an epoch from 1.
func (k *keeper) from() map[string]journal.Begin {
	out := map[string]journal.Begin{}
	for _, u := range k.plan.Uplinks {
		if u.From != 0 {
			out[u.Name] = journal.Begin{Wall: u.From, Whole: u.Kind == config.UplinkMQTT}
		}
	}
	return out
}

// withdrawn names the destinations that the plan no longer has, and lets their
// places in the journal go; under its name one begins anew. Should the keeper
// end in between, they are named again.
func (k *keeper) withdrawn(ctx context.Context, j *journal.Journal, rec *record.Recorder) error {
	var names []string
	for _, u := range k.plan.Uplinks {
		names = append(names, u.Name)
	}
	gone := j.Strangers(names)
	for _, name := range gone {
		c, err := j.Cursor(name)
		if errors.Is(err, journal.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		var left uint64
		for _, b := range c.Backlog() {
			left += b.Records
		}
		rec.Note(wire.Event{Kind: uint32(ring.UplinkWithdrawn), At: k.o.Now(), Rule: name, Value: tag.IntValue(int64(left))})
	}
	if len(gone) > 0 {
		t := time.NewTimer(forgetAfter)
		defer t.Stop()
		select {
		case <-t.C:
			for _, name := range gone {
				j.Forget(name)
			}
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return nil
}
