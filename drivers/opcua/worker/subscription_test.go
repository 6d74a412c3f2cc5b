package worker

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// sink remembers what a worker says.
type sink struct {
	values     []float64
	conditions []opcua.Condition
	samples    []opcua.Sample
}

func (s *sink) State(opcua.State) error { return nil }
func (s *sink) Done(opcua.Done) error   { return nil }
func (s *sink) Condition(c *opcua.Condition) error {
	s.conditions = append(s.conditions, *c)
	return nil
}

func (s *sink) Readings(b *opcua.Batch) error {
	for _, x := range b.Samples {
		s.values = append(s.values, x.Value.Float())
		s.samples = append(s.samples, x)
	}
	return nil
}

// newTestSubscription is a subscription that stands, without a server.
func newTestSubscription() (*subscription, *sink) {
	out := &sink{}
	w := New(opcua.Hello{Now: tag.Stamp{Mono: 1}}, out, Options{Log: slog.New(slog.DiscardHandler)})
	w.up = 1
	sub := &subscription{
		s: &session{w: w, number: 1, doubt: make(chan error, 1)}, id: 5, next: 1, count: 2, held: map[uint32]*held{}, alarms: map[uint32]*alarms{1: newAlarms()},
		items: []opcua.Item{{Kind: tag.Float64}, {Kind: tag.Int, Address: opcua.Address{What: opcua.Conditions}}}, deadline: time.Second,
	}
	return sub, out
}

func data(number uint32, values ...float64) *ua.PublishResponse {
	n := &ua.DataChangeNotification{}
	for _, v := range values {
		n.MonitoredItems = append(n.MonitoredItems, &ua.MonitoredItemNotification{Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(v)}})
	}
	m := &ua.NotificationMessage{SequenceNumber: number}
	if len(values) > 0 {
		m.NotificationData = []*ua.ExtensionObject{{Value: n}}
	}
	return &ua.PublishResponse{SubscriptionID: 5, NotificationMessage: m}
}

func TestMessagesAreTakenInOrder(t *testing.T) {
	sub, out := newTestSubscription()
	for _, res := range []*ua.PublishResponse{
		data(1, 1, 2), data(3, 5), data(2, 3, 4), data(2, 3, 4), data(4), data(4, 6), {SubscriptionID: 9}, data(5),
	} {
		if err := sub.take(res, tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(out.values); got != "[1 2 3 4 5 6]" {
		t.Errorf("values %v", got)
	}
	if !sub.aheadSince.IsZero() || sub.overdue(0) != nil {
		t.Errorf("a message is said to be missing: %v", sub.overdue(0))
	}
	if n := sub.s.w.stats.Strays.Load(); n != 2 {
		t.Errorf("%d strays, want 2", n)
	}
	if len(sub.acks) != 5 { // each message that came, the doubled one twice
		t.Errorf("%d acknowledgements", len(sub.acks))
	}
}

// A message that never comes is noticed, by a later one and by a keep-alive.
func TestMissingMessageIsNoticed(t *testing.T) {
	for name, later := range map[string]*ua.PublishResponse{"message": data(3, 5), "keep-alive": data(3)} {
		sub, _ := newTestSubscription()
		if err := sub.take(data(1, 1), tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
		if err := sub.take(later, tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
		sub.aheadSince = sub.aheadSince.Add(-2 * reorder)
		if err := sub.overdue(0); err == nil || !strings.Contains(err.Error(), "notification 2 is missing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	sub, _ := newTestSubscription()
	for i := uint32(0); i <= heldMost; i++ {
		if err := sub.take(data(2+i, 1), tag.Stamp{Mono: 1}); (err != nil) != (i == heldMost) {
			t.Fatalf("after %d messages: %v", i+1, err)
		}
	}
}

func TestSequenceNumbersGoRound(t *testing.T) {
	sub, out := newTestSubscription()
	sub.next = math.MaxUint32
	for _, res := range []*ua.PublishResponse{data(1, 2), data(math.MaxUint32, 1), data(2, 3)} {
		if err := sub.take(res, tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(out.values); got != "[1 2 3]" {
		t.Errorf("values %v", got)
	}
}

func TestWhatEndsASubscription(t *testing.T) {
	for name, x := range map[string]*ua.ExtensionObject{
		"status":  {Value: &ua.StatusChangeNotification{Status: ua.StatusBadTimeout}},
		"nothing": nil, "unknown": {Value: &ua.Range{}}, "undecoded": {},
	} {
		sub, _ := newTestSubscription()
		m := &ua.NotificationMessage{SequenceNumber: 1, NotificationData: []*ua.ExtensionObject{x}}
		if err := sub.take(&ua.PublishResponse{SubscriptionID: 5, NotificationMessage: m}, tag.Stamp{Mono: 1}); err == nil {
			t.Errorf("%s: no doubt", name)
		}
	}
	sub, _ := newTestSubscription()
	sub.last.Store(int64(10 * time.Second))
	if err := sub.overdue(11 * time.Second); err != nil {
		t.Errorf("at the deadline: %v", err)
	}
	if err := sub.overdue(11*time.Second + 1); err == nil {
		t.Error("past the deadline: no doubt")
	}
}

// What comes from a session that has ended, or for items that nobody asked
// for, goes nowhere.
func TestStrays(t *testing.T) {
	sub, out := newTestSubscription()
	res := data(1, 1)
	list := res.NotificationMessage.NotificationData[0].Value.(*ua.DataChangeNotification)
	list.MonitoredItems = append(list.MonitoredItems, nil, &ua.MonitoredItemNotification{ClientHandle: 7})
	if err := sub.take(res, tag.Stamp{Mono: 1}); err != nil || len(out.values) != 1 {
		t.Errorf("%v, %v", err, out.values)
	}
	sub.s.w.up = 2
	if err := sub.take(data(2, 2), tag.Stamp{Mono: 1}); err != nil || len(out.values) != 1 {
		t.Errorf("%v, %v: of a session that has ended", err, out.values)
	}
}

func TestSampleFlags(t *testing.T) {
	f := func(status uint32, v any, want tag.Quality, overflow bool, reason opcua.Reason) {
		t.Helper()
		d := &ua.DataValue{Status: ua.StatusCode(status), Value: &ua.Variant{}}
		if v != nil {
			d.Value = ua.MustVariant(v)
		}
		s := sample(3, &opcua.Item{Kind: tag.Float64}, d, tag.Stamp{Mono: 9})
		if s.Quality != want || s.Overflow != overflow || s.Reason != reason || s.Quality.Bad() != (s.Value.Kind() == tag.None) || s.Received.Mono != 9 {
			t.Errorf("%#x %v: %+v", status, v, s)
		}
	}
	f(0, 1.5, tag.GoodQuality, false, 0)
	f(0x480, 1.5, tag.GoodQuality, true, 0) // InfoType DataValue, Overflow
	f(0x80, 1.5, tag.GoodQuality, false, 0) // the bit without its type says nothing
	f(0x80310000, 1.5, tag.BadNoComm, false, 0)
	f(0x80310000, nil, tag.BadNoComm, false, 0)
	f(0, nil, tag.BadDeviceFault, false, opcua.NoValue)
	f(0, math.Inf(1), tag.BadSensor, false, opcua.NotNumber)
	f(0, "text", tag.BadConfig, false, opcua.WrongType)
	f(0, []float64{1}, tag.BadConfig, false, opcua.WrongForm)
	f(0, []byte{1}, tag.BadConfig, false, opcua.WrongType)
	f(0, time.Now(), tag.BadConfig, false, opcua.WrongType)
	f(0, int64(1)<<53+1, tag.BadConfig, false, opcua.TooLarge)
	if s := sample(3, &opcua.Item{Kind: tag.Float64}, nil, tag.Stamp{}); !s.Quality.Bad() {
		t.Errorf("no value at all: %+v", s)
	}
}

func TestBuiltin(t *testing.T) {
	float := func(x float64) tag.Value { v, _ := tag.Float64Value(x); return v }
	f := func(to ua.TypeID, v tag.Value, want any) {
		t.Helper()
		got, ok := builtin(to, &opcua.Write{Kind: v.Kind(), Bits: v.Bits(), Text: "on"})
		if ok != (want != nil) || ok && got != want {
			t.Errorf("%v as %v: %v %T, %v, want %v", v, to, got, got, ok, want)
		}
	}
	f(ua.TypeIDBoolean, tag.BoolValue(true), true)
	f(ua.TypeIDBoolean, tag.IntValue(1), nil)
	f(ua.TypeIDInt16, tag.BoolValue(true), nil)
	f(ua.TypeIDByte, tag.IntValue(255), uint8(255))
	f(ua.TypeIDByte, tag.IntValue(256), nil)
	f(ua.TypeIDSByte, tag.IntValue(-129), nil)
	f(ua.TypeIDUint16, tag.IntValue(-1), nil)
	f(ua.TypeIDInt32, tag.EnumValue(3), int32(3))
	f(ua.TypeIDUint32, tag.IntValue(1<<32), nil)
	f(ua.TypeIDUint64, tag.IntValue(-1), nil)
	f(ua.TypeIDUint64, tag.IntValue(math.MaxInt64), uint64(math.MaxInt64))
	f(ua.TypeIDInt64, tag.IntValue(math.MinInt64), int64(math.MinInt64))
	f(ua.TypeIDInt16, float(-7), int16(-7))
	f(ua.TypeIDInt16, float(-7.5), nil)
	f(ua.TypeIDInt64, float(1e17), nil)
	f(ua.TypeIDFloat, float(0.5), float32(0.5))
	f(ua.TypeIDFloat, float(0.1), nil)
	f(ua.TypeIDFloat, float(1e300), nil)
	f(ua.TypeIDDouble, float(0.1), 0.1)
	f(ua.TypeIDDouble, tag.IntValue(1<<53+1), nil)
	f(ua.TypeIDString, tag.TextValue(1), "on")
	f(ua.TypeIDInt32, tag.TextValue(1), nil)
	f(ua.TypeIDGUID, tag.IntValue(1), nil)
	f(ua.TypeIDInt32, tag.Value{}, nil)
}

func TestNode(t *testing.T) {
	s := &space{namespaces: map[string]uint16{"urn:a": 7}}
	f := func(a opcua.Address, want, index string) {
		t.Helper()
		n, i, err := s.node(a)
		if want == "" && err == nil || want != "" && (err != nil || n.String() != want || i != index) {
			t.Errorf("%v: %v %q, %v, want %s", a, n, i, err, want)
		}
	}
	f(opcua.Address{Type: opcua.Numeric, ID: "2258"}, "i=2258", "")
	f(opcua.Address{Type: opcua.Numeric, Space: 300, ID: "4294967295"}, "ns=300;i=4294967295", "")
	f(opcua.Address{Type: opcua.Text, URI: "urn:a", ID: "LT;101"}, "ns=7;s=LT;101", "")
	f(opcua.Address{Type: opcua.Text, URI: "urn:b", ID: "LT"}, "", "")
	f(opcua.Address{Type: opcua.GUID, Space: 2, ID: "1111AAAA-22BB-33CC-44DD-55EE77FF9900"}, "ns=2;g=1111AAAA-22BB-33CC-44DD-55EE77FF9900", "")
	f(opcua.Address{Type: opcua.GUID, Space: 2, ID: "nonsense"}, "", "")
	f(opcua.Address{Type: opcua.Opaque, Space: 2, ID: "AQID"}, "ns=2;b=AQID", "")
	f(opcua.Address{Type: opcua.Opaque, Space: 2, ID: "?"}, "", "")
	f(opcua.Address{What: opcua.Element, Element: 3, Type: opcua.Text, Space: 2, ID: "A"}, "ns=2;s=A", "3")
}

// The count of conditions is told after a refresh only, and a branch is none.
func TestConditions(t *testing.T) {
	sub, out := newTestSubscription()
	event := func(kind uint32, condition, branch *ua.NodeID, active, retain bool) {
		t.Helper()
		f := make([]*ua.Variant, fields)
		f[fieldEventType] = ua.MustVariant(ua.NewNumericNodeID(0, kind))
		if condition != nil {
			f[fieldCondition] = ua.MustVariant(condition)
		}
		if branch != nil {
			f[fieldBranch] = ua.MustVariant(branch)
		}
		f[fieldActive], f[fieldRetain] = ua.MustVariant(active), ua.MustVariant(retain)
		f[fieldMessage] = ua.MustVariant(ua.NewLocalizedText(strings.Repeat("x", 2*opcua.MaxText)))
		f[fieldSeverity] = ua.MustVariant(uint16(700))
		if err := sub.events(&ua.EventNotificationList{Events: []*ua.EventFieldList{{ClientHandle: 1, EventFields: f}}}, tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
	}
	last := func(what string, count int64) {
		t.Helper()
		if len(out.samples) == 0 {
			t.Fatalf("%s: no sample", what)
		}
		if s := out.samples[len(out.samples)-1]; !s.Quality.Good() || s.Value.Int() != count {
			t.Errorf("%s: %v %#x, want %d", what, s.Value, uint32(s.Quality), count)
		}
	}
	a, b := ua.NewStringNodeID(2, "a"), ua.NewStringNodeID(2, "b")
	event(9999, a, nil, true, true)
	if len(out.samples) != 0 || len(out.conditions) != 1 {
		t.Errorf("%d samples before a refresh, %d conditions", len(out.samples), len(out.conditions))
	}
	event(2787, nil, nil, false, false)
	event(9999, a, nil, true, true)
	event(9999, b, nil, false, true)
	event(2788, nil, nil, false, false)
	last("refreshed", 1)
	if c := out.conditions[1]; !c.Refreshed || c.ID != "ns=2;s=a" || c.Severity != 700 || len(c.Message) != opcua.MaxText {
		t.Errorf("condition %+v", c)
	}
	event(9999, b, nil, true, true)
	last("b active", 2)
	event(9999, a, ua.NewNumericNodeID(2, 9), true, true)
	last("a branch", 2)
	event(9999, a, nil, false, true)
	last("a returned", 1)
	event(9999, b, nil, true, false)
	last("b not retained", 0)
	event(9999, nil, nil, true, true)
	if n := sub.s.w.stats.Unnamed.Load(); n != 1 {
		t.Errorf("%d events of no condition", n)
	}
	event(9999, a, nil, true, true)
	last("a again", 1)
	event(2787, nil, nil, false, false)
	event(2788, nil, nil, false, false)
	last("a refresh without it", 0)
}
