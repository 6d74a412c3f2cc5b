package opcua

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"davy/cmd/davy-plant/bench"
)

// many is a plant of numbers that stand still.
type many int

func (n many) Nodes() (out []bench.Node) {
	for i := range int(n) {
		out = append(out, bench.Node{Name: "plant.n" + strconv.Itoa(i)})
	}
	return out
}

func (many) Sample(string) bench.Sample { return bench.Sample{Number: 1, At: time.Now()} }

// What does not fit into one answer goes with the next request, not with the
// next interval: gopcua's client has one request at a time.
func TestMoreThanOneAnswerHolds(t *testing.T) {
	const n, interval = 5*MaxPerPublish/2 + 1, 2 * time.Second
	s, err := Listen("127.0.0.1:0", many(n))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := client(t, s)
	came := make(chan *opcua.PublishNotificationData, n)
	sub, err := c.Subscribe(t.Context(), &opcua.SubscriptionParameters{Interval: interval, LifetimeCount: 600, MaxKeepAliveCount: 100}, came)
	if err != nil {
		t.Fatal(err)
	}
	ns := index(t, c)
	for from := 0; from < n; from += 500 {
		var items []*ua.MonitoredItemCreateRequest
		for i := from; i < min(from+500, n); i++ {
			r := opcua.NewMonitoredItemCreateRequestWithDefaults(ua.NewStringNodeID(ns, "plant.n"+strconv.Itoa(i)), ua.AttributeIDValue, uint32(i))
			r.RequestedParameters.SamplingInterval = float64(time.Hour / time.Millisecond) // a sample is no occasion to publish
			items = append(items, r)
		}
		if _, err := sub.Monitor(t.Context(), ua.TimestampsToReturnBoth, items...); err != nil {
			t.Fatal(err)
		}
	}
	seen, answers := map[uint32]bool{}, 0
	var first, last time.Time
	for end := time.After(patience); len(seen) < n; {
		select {
		case m := <-came:
			data, ok := m.Value.(*ua.DataChangeNotification)
			if m.Error != nil || !ok {
				t.Fatalf("%T, %v", m.Value, m.Error)
			}
			if last = time.Now(); first.IsZero() {
				first = last
			}
			answers++
			for _, i := range data.MonitoredItems {
				seen[i.ClientHandle] = true
			}
		case <-end:
			t.Fatalf("%d of %d values came", len(seen), n)
		}
	}
	if took := last.Sub(first); took >= 2*interval || answers < 3 {
		t.Errorf("%d values took %v in %d answers, an interval is %v", n, took, answers, interval)
	}
}
