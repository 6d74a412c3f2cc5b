package opcua

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"davy/cmd/davy-plant/bench"
)

const patience = 20 * time.Second

// source is three values that the test sets.
type source struct {
	mu     sync.Mutex
	values map[string]bench.Sample
}

func (*source) Nodes() []bench.Node {
	return []bench.Node{{Name: "comp1.pressure", Unit: "MPa"}, {Name: "comp1.run", Bool: true}, {Name: "fan.run", Bool: true}}
}

func (s *source) Sample(name string) bench.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name]
}

func (s *source) set(name string, v bench.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.At = time.Now()
	s.values[name] = v
}

// reset gives every node the value that tests begin with.
func (s *source) reset() {
	for _, n := range s.Nodes() {
		s.set(n.Name, bench.Sample{})
	}
	s.set("comp1.pressure", bench.Sample{Number: 1.25})
}

func start(t *testing.T) (*Server, *source) {
	t.Helper()
	src := &source{values: map[string]bench.Sample{}}
	src.reset()
	s, err := Listen("127.0.0.1:0", src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	return s, src
}

// client connects as a plain client does: endpoints first.
func client(t *testing.T, s *Server) *opcua.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	endpoints, err := opcua.GetEndpoints(ctx, s.URL())
	if err != nil || len(endpoints) != 1 || endpoints[0].EndpointURL != s.URL() || endpoints[0].Server.ApplicationURI != Application {
		t.Fatalf("endpoints %+v, %v", endpoints, err)
	}
	c, err := opcua.NewClient(s.URL(), opcua.SecurityFromEndpoint(endpoints[0], ua.UserTokenTypeAnonymous), opcua.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// index resolves our namespace.
func index(t *testing.T, c *opcua.Client) uint16 {
	t.Helper()
	all, err := c.NamespaceArray(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, uri := range all {
		if uri == URI {
			return uint16(i)
		}
	}
	t.Fatalf("%v", all)
	return 0
}

func read(t *testing.T, c *opcua.Client, n *ua.NodeID, a ua.AttributeID) (*ua.DataValue, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := c.Read(ctx, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{{NodeID: n, AttributeID: a}}, TimestampsToReturn: ua.TimestampsToReturnBoth})
	if err != nil {
		return nil, err
	}
	return r.Results[0], nil
}

// What a server goes on serving through is seen on one: to start one takes
// seconds under qemu.
func TestServer(t *testing.T) {
	s, src := start(t)
	for _, c := range []struct {
		name string
		f    func(*testing.T, *Server, *source)
	}{
		{"read", testRead},
		{"subscribe", testSubscribe},
		{"silent and overflow", testSilentAndOverflow},
		{"vanish", testVanish},
		{"no hello", testNoHello},
	} {
		t.Run(c.name, func(t *testing.T) {
			src.reset()
			c.f(t, s, src)
		})
	}
}

// What a client reads, writes and browses.
func testRead(t *testing.T, s *Server, src *source) {
	c := client(t, s)
	ns := index(t, c)
	node := func(name string) *ua.NodeID { return ua.NewStringNodeID(ns, name) }
	value := func(name string) *ua.DataValue {
		t.Helper()
		v, err := read(t, c, node(name), ua.AttributeIDValue)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	src.set("fan.run", bench.Sample{On: true})
	if v := value("comp1.pressure"); v.Value.Value() != float32(1.25) || v.Status != ua.StatusOK {
		t.Errorf("%+v", v)
	}
	if v := value("fan.run"); v.Value.Value() != true || v.SourceTimestamp.IsZero() {
		t.Errorf("%+v", v)
	}
	src.set("comp1.pressure", bench.Sample{Number: 3, Status: 0x80310000})
	if v := value("comp1.pressure"); v.Has(ua.DataValueValue) || v.Status != ua.StatusBadNoCommunication {
		t.Errorf("%+v", v)
	}
	src.set("comp1.pressure", bench.Sample{Number: 3, Status: 0x40000000})
	if v := value("comp1.pressure"); v.Value.Value() != float32(3) || v.Status != ua.StatusUncertain {
		t.Errorf("%+v", v)
	}
	if v := value("comp2.pressure"); v.Status != ua.StatusBadNodeIDUnknown {
		t.Errorf("%+v", v)
	}
	if v, err := read(t, c, node("comp1.run"), ua.AttributeIDDataType); err != nil || !v.Value.NodeID().Equal(ua.NewNumericNodeID(0, id.Boolean)) {
		t.Errorf("%+v, %v", v, err)
	}
	w, err := c.Write(t.Context(), &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: node("comp1.run"), AttributeID: ua.AttributeIDValue,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(true)},
	}}})
	if err != nil || w.Results[0] != ua.StatusBadNotWritable {
		t.Errorf("%+v, %v", w, err)
	}
	var found []string
	var walk func(n *opcua.Node)
	walk = func(n *opcua.Node) {
		refs, err := n.ReferencedNodes(t.Context(), id.HierarchicalReferences, ua.BrowseDirectionForward, ua.NodeClassAll, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refs {
			if r.ID.Namespace() == ns {
				name, err := r.BrowseName(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, r.ID.StringID()+" "+name.Name)
				walk(r)
			}
		}
	}
	walk(c.Node(ua.NewNumericNodeID(0, id.ObjectsFolder)))
	want := []string{"comp1 comp1", "comp1.pressure pressure", "comp1.run run", "fan fan", "fan.run run"}
	if len(found) != len(want) {
		t.Fatalf("%q", found)
	}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("%q, want %q", found, want)
		}
	}
}

// seen is what a subscription said, in order.
type seen struct {
	t      *testing.T
	notify chan *opcua.PublishNotificationData
	values []*ua.DataValue
}

// subscribe monitors one node.
func subscribe(t *testing.T, c *opcua.Client, node string, queue uint32) *seen {
	t.Helper()
	n := &seen{t: t, notify: make(chan *opcua.PublishNotificationData, 1000)}
	sub, err := c.Subscribe(t.Context(), &opcua.SubscriptionParameters{Interval: 100 * time.Millisecond, LifetimeCount: 600, MaxKeepAliveCount: 100}, n.notify)
	if err != nil {
		t.Fatal(err)
	}
	req := opcua.NewMonitoredItemCreateRequestWithDefaults(ua.NewStringNodeID(index(t, c), node), ua.AttributeIDValue, 7)
	req.RequestedParameters.SamplingInterval = 20
	req.RequestedParameters.QueueSize = queue
	r, err := sub.Monitor(t.Context(), ua.TimestampsToReturnBoth, req)
	if err != nil || r.Results[0].StatusCode != ua.StatusOK {
		t.Fatalf("%+v, %v", r, err)
	}
	return n
}

// until waits for a value that holds.
func (n *seen) until(what string, holds func(*ua.DataValue) bool) {
	n.t.Helper()
	end := time.After(patience)
	for {
		select {
		case m := <-n.notify:
			if m.Error != nil {
				n.t.Fatalf("%s: %v", what, m.Error)
			}
			data, ok := m.Value.(*ua.DataChangeNotification)
			if !ok {
				n.t.Fatalf("%s: %T", what, m.Value)
			}
			for _, i := range data.MonitoredItems {
				n.values = append(n.values, i.Value)
				if holds(i.Value) {
					return
				}
			}
		case <-end:
			n.t.Fatalf("never: %s; seen %v", what, n.values)
		}
	}
}

func is(want any) func(*ua.DataValue) bool {
	return func(v *ua.DataValue) bool { return v.Has(ua.DataValueValue) && v.Value.Value() == want }
}

// Values come when they change, each once, in order; an unknown node is refused.
func testSubscribe(t *testing.T, s *Server, src *source) {
	c := client(t, s)
	n := subscribe(t, c, "comp1.pressure", 10)
	n.until("the first value", is(float32(1.25)))
	for i := range 5 {
		src.set("comp1.pressure", bench.Sample{Number: float32(i)})
		n.until("a change", is(float32(i)))
	}
	if len(n.values) != 6 {
		t.Errorf("seen %v", n.values)
	}
	src.set("comp1.pressure", bench.Sample{Number: 4, Status: 0x80310000})
	n.until("a bad status", func(v *ua.DataValue) bool {
		return v.Status == ua.StatusBadNoCommunication && !v.Has(ua.DataValueValue)
	})
	src.set("comp1.pressure", bench.Sample{Number: 4})
	n.until("good again", is(float32(4)))

	sub, err := c.Subscribe(t.Context(), &opcua.SubscriptionParameters{Interval: time.Nanosecond}, n.notify)
	if err != nil {
		t.Fatal(err)
	}
	if sub.RevisedPublishingInterval != MinPublishing {
		t.Errorf("revised to %v", sub.RevisedPublishingInterval)
	}
	for node, want := range map[string]ua.StatusCode{"comp1.nothing": ua.StatusBadNodeIDUnknown, "comp1": ua.StatusBadAttributeIDInvalid} {
		r, err := sub.Monitor(t.Context(), ua.TimestampsToReturnBoth, opcua.NewMonitoredItemCreateRequestWithDefaults(ua.NewStringNodeID(index(t, c), node), ua.AttributeIDValue, 8))
		if err != nil || r.Results[0].StatusCode != want {
			t.Errorf("%s: %+v, %v", node, r.Results[0], err)
		}
	}
	if err := sub.Cancel(t.Context()); err != nil {
		t.Error(err)
	}
	src.set("comp1.pressure", bench.Sample{Number: 9})
	n.until("the first subscription goes on", is(float32(9)))
}

// A silent server reads well and says nothing, and then says what it kept;
// overflow is marked in a queue that has gaps to mark.
func testSilentAndOverflow(t *testing.T, s *Server, src *source) {
	c := client(t, s)
	n := subscribe(t, c, "comp1.pressure", 10)
	n.until("the first value", is(float32(1.25)))
	s.Silent(true)
	src.set("comp1.pressure", bench.Sample{Number: 2})
	select {
	case m := <-n.notify:
		t.Errorf("%+v", m.Value)
	case <-time.After(500 * time.Millisecond):
	}
	if v, err := read(t, c, ua.NewStringNodeID(index(t, c), "comp1.pressure"), ua.AttributeIDValue); err != nil || v.Value.Value() != float32(2) {
		t.Errorf("%+v, %v", v, err)
	}
	s.Silent(false)
	n.until("what it kept", is(float32(2)))
	overflow := func(v *ua.DataValue) bool { return v.Status == overflowed }
	for _, v := range n.values {
		if overflow(v) {
			t.Errorf("%+v", v)
		}
	}
	s.Overflow(true)
	n.until("an overflow", overflow)
	s.Overflow(false)
	src.set("comp1.pressure", bench.Sample{Number: 5})
	n.until("sound again", func(v *ua.DataValue) bool { return v.Status == ua.StatusOK && v.Value.Value() == float32(5) })
}

// Connections: reset, refused, hanging; and a server that begins again with
// nothing of what was and another index.
func TestConnections(t *testing.T) {
	s, _ := start(t)
	broken := func(what string, c *opcua.Client) {
		t.Helper()
		if v, err := read(t, c, ua.NewNumericNodeID(0, id.Server_ServerStatus_CurrentTime), ua.AttributeIDValue); err == nil {
			t.Errorf("%s: a connection goes on: %+v", what, v)
		}
	}
	c := client(t, s)
	s.Blip()
	broken("blip", c)
	c = client(t, s)
	s.Refuse()
	broken("refuse", c)
	if d, err := net.Dial("tcp", s.addr); err == nil {
		_ = d.Close()
		t.Error("not refused")
	}
	if err := s.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = client(t, s)
	before := index(t, c)
	s.Hang(true)
	broken("hang", c)
	s.Hang(false)
	c = client(t, s)
	n := subscribe(t, c, "comp1.pressure", 10)
	n.until("the first value", is(float32(1.25)))
	for range 2 {
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		broken("restart", c)
		c = client(t, s)
		if after := index(t, c); after == before {
			t.Errorf("the namespace is %d again", after)
		} else {
			before = after
		}
		n = subscribe(t, c, "comp1.pressure", 10)
		n.until("the first value", is(float32(1.25)))
	}
}

// Clients that come, subscribe and vanish, many times, while one stays: it goes
// on undisturbed, and the vanished ones leave nothing.
func testVanish(t *testing.T, s *Server, src *source) {
	stay := subscribe(t, client(t, s), "comp1.pressure", 10)
	for i := range 10 {
		c := client(t, s)
		n := subscribe(t, c, "comp1.run", 10)
		n.until("the first value", is(false))
		if i%2 == 0 {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		} else if err := errors.Join(c.CloseSession(t.Context())); err != nil {
			t.Error(err)
		}
		src.set("comp1.pressure", bench.Sample{Number: float32(i)})
		stay.until("a change", is(float32(i)))
	}
	end := time.Now().Add(patience)
	for {
		s.inner.subs.mu.Lock()
		left, items, waiting := len(s.inner.subs.all), s.inner.subs.items, len(s.inner.subs.waiting)
		s.inner.subs.mu.Unlock()
		if left == 1 && items == 1 && waiting <= 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d subscriptions, %d items and %d queues are left", left, items, waiting)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Who says no hello keeps nobody waiting.
func testNoHello(t *testing.T, s *Server, _ *source) {
	for _, text := range []string{"", "GET / HTTP/1.1\r\n", "HELF\xff\xff\xff\xff"} {
		d, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := d.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	client(t, s)
}

// A queue drops the oldest or the newest and says so beside the gap.
func TestQueue(t *testing.T) {
	f := func(size uint32, oldest bool, want ...int32) {
		t.Helper()
		i := item{mode: ua.MonitoringModeReporting}
		i.set(&ua.MonitoringParameters{QueueSize: size, DiscardOldest: oldest}, time.Second)
		for k := range 5 {
			v := &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(int32(k))}
			i.sample(v, false)
			i.sample(v, false) // the same once more is no change
		}
		var got []int32
		for _, m := range i.take(100) {
			x := m.Value.Value.Value().(int32)
			if m.Value.Status == overflowed {
				x = -x
			}
			got = append(got, x)
		}
		if len(got) != len(want) {
			t.Fatalf("size %d, oldest %v: %v, want %v", size, oldest, got, want)
		}
		for k := range want {
			if got[k] != want[k] {
				t.Errorf("size %d, oldest %v: %v, want %v", size, oldest, got, want)
			}
		}
	}
	f(10, true, 0, 1, 2, 3, 4)
	f(3, true, -2, 3, 4)
	f(3, false, 0, 1, -4)
	f(1, true, 4)
	f(0, true, 4)
}
