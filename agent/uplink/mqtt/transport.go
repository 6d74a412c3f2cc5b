package mqtt

import (
	"context"
	"sync/atomic"
)

// Transport is a connection as an uplink sees it: one gateway's streams up,
// its receipts down. Topics: davy/1/<gateway>/up/<stream> and
// davy/1/<gateway>/receipt.
type Transport struct {
	*Conn
	gateway  string
	receipts chan []byte
	dropped  atomic.Int64
}

// DialTransport connects as gateway and subscribes to its receipts. Filters
// and Received of o are its own.
func DialTransport(ctx context.Context, gateway string, o Options) (*Transport, error) {
	t := &Transport{gateway: gateway, receipts: make(chan []byte, MaxReceipts)}
	o.Filters = []string{ReceiptTopic(gateway)}
	o.Received = t.received
	o.Ordered, o.ManualAck = false, false
	c, err := Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	t.Conn = c
	return t, nil
}

// received never blocks: a receipt that finds no room is dropped and counted,
// the receiver sends a newer one.
func (t *Transport) received(m Message) {
	select {
	case t.receipts <- m.Payload:
	default:
		t.dropped.Add(1)
	}
}

// Send publishes payload on the gateway's topic for stream.
func (t *Transport) Send(ctx context.Context, stream string, payload []byte) error {
	return t.Publish(ctx, UpTopic(t.gateway, stream), payload)
}

// Receipts are signed receipts as they came, unchecked. It is never closed; see Done.
func (t *Transport) Receipts() <-chan []byte { return t.receipts }

// Dropped counts receipts for which there was no room.
func (t *Transport) Dropped() int64 { return t.dropped.Load() }

// UpTopic is where a gateway's stream goes up.
func UpTopic(gateway, stream string) string { return "davy/1/" + gateway + "/up/" + stream }

// ReceiptTopic is where a gateway's receipts come back.
func ReceiptTopic(gateway string) string { return "davy/1/" + gateway + "/receipt" }
