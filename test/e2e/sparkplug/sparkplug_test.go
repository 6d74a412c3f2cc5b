package sparkplug

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/journal"
	"davy/agent/uplink/feed"
	"davy/agent/uplink/mqtt"
	"davy/agent/uplink/sparkplug"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
	"davy/test/rig"
)

const limit = 30 * time.Second

// broker starts a mosquitto and waits until it listens.
func broker(t *testing.T) (*rig.Rig, *rig.Proc, string) {
	t.Helper()
	r, err := rig.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	port, err := rig.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Mosquitto(port)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	listening(t, addr)
	return r, p, "tcp://" + addr
}

func listening(t *testing.T, addr string) {
	t.Helper()
	if err := rig.WaitFor(limit, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

func table() *wire.Table {
	return &wire.Table{Tags: []wire.TableTag{
		{ID: 1, Name: "comp1.temp", Unit: "°C", Kind: tag.Float32, Ranged: true, Low: -50, High: 180},
		{ID: 2, Name: "comp1.run", Kind: tag.Bool},
		{ID: 3, Name: "comp1.hours", Unit: "h", Kind: tag.Int},
		{ID: 4, Name: "tank1.level", Unit: "%", Kind: tag.Float64},
		{ID: 5, Name: "total", Kind: tag.Float64},
		{ID: 6, Name: "record.stopped", Kind: tag.Bool},
		{ID: 7, Name: "comp1.mode", Kind: tag.Text, Names: []wire.Name{{Code: 1, Text: "自动"}}},
		{ID: 8, Name: "comp1.state", Kind: tag.Enum, Names: []wire.Name{{Code: 2, Text: "defrost"}}},
	}}
}

func options(addr string) sparkplug.Options {
	return sparkplug.Options{
		Group: "plant", Node: "GW-1", Now: clock.Now, Table: table, Log: slog.New(slog.DiscardHandler),
		Broker: func() (mqtt.Options, error) {
			return mqtt.Options{Broker: addr, ClientID: "GW-1/scada", Log: slog.New(slog.DiscardHandler)}, nil
		},
	}
}

func dial(t *testing.T, connect feed.Connect) feed.Session {
	t.Helper()
	s, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func reading(id tag.ID, v tag.Value, q tag.Quality, wall int64) feed.Record {
	tab := table()
	return feed.Record{
		Stream: wire.ReadingStream, Table: tab, Tag: &tab.Tags[id-1],
		Reading: &tag.Reading{Tag: id, Quality: q, Value: v, Received: tag.Stamp{Wall: wall}},
	}
}

func f32(f float32) tag.Value { v, _ := tag.Float32Value(f); return v }
func f64(f float64) tag.Value { v, _ := tag.Float64Value(f); return v }

func send(t *testing.T, s feed.Session, records ...feed.Record) {
	t.Helper()
	if err := s.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := rig.WaitFor(limit, what, ok); err != nil {
		t.Fatal(err)
	}
}

// Births name everything; data come by alias with their types, times and
// qualities; the foreign codec reads all of it.
func TestBirthsAndData(t *testing.T) {
	t.Parallel()
	_, _, addr := broker(t)
	h := newHost(t, addr, newCodec(t))
	s := dial(t, sparkplug.New(options(addr)))
	wait(t, "the births", func() bool { return len(h.messages(0)) == 3 })
	if got, want := h.messages(0), []string{"NBIRTH", "DBIRTH comp1", "DBIRTH tank1"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("messages %v, want %v", got, want)
	}
	if x := h.metrics("NBIRTH", "", "Node Control/Rebirth"); len(x) != 1 || x[0].Value != false || x[0].Type != "Boolean" {
		t.Errorf("rebirth control %+v", x)
	}
	if x := h.metrics("NBIRTH", "", "bdSeq"); len(x) != 1 || fmt.Sprint(x[0].Value) != "0" {
		t.Errorf("bdSeq %+v", x)
	}
	for _, name := range []string{"total", "record.stopped", "Davy/Event"} {
		if x := h.metrics("NBIRTH", "", name); len(x) != 1 || !x[0].IsNull {
			t.Errorf("%s is born as %+v", name, x)
		}
	}
	x := h.metrics("DBIRTH", "comp1", "temp")
	if len(x) != 1 || x[0].Type != "Float" || !x[0].IsNull || fmt.Sprint(x[0].Properties["Quality"].Value) != "0" ||
		x[0].Properties["engUnit"].Value != "°C" || fmt.Sprint(x[0].Properties["engLow"].Value) != "-50" || fmt.Sprint(x[0].Properties["engHigh"].Value) != "180" {
		t.Errorf("temp is born as %+v", x)
	}

	at := int64(1_800_000_000_123_000_000)
	send(
		t, s,
		reading(1, f32(12.5), tag.GoodQuality, at),
		reading(2, tag.BoolValue(true), tag.GoodQuality, at),
		reading(3, tag.IntValue(math.MinInt64), tag.GoodQuality, at),
		reading(4, f64(0.1), tag.MakeQuality(tag.Uncertain, tag.LastUsable, tag.Forced), at),
		reading(4, f64(99), tag.BadSensor, at),
		reading(4, f64(98), tag.BadStale, at),
		reading(5, f64(-1e300), tag.GoodQuality, at),
		reading(6, tag.BoolValue(false), tag.GoodQuality, at),
		reading(7, tag.TextValue(1), tag.GoodQuality, at),
		reading(8, tag.EnumValue(2), tag.GoodQuality, at),
	)
	wait(t, "the data", func() bool { return len(h.metrics("DDATA", "comp1", "state")) == 1 })
	for _, c := range []struct {
		node, name, typ string
		values          []string
		quality         []string
		words           []string
	}{
		{"comp1", "temp", "Float", []string{"12.5"}, []string{"192"}, []string{"<nil>"}},
		{"comp1", "run", "Boolean", []string{"true"}, []string{"192"}, []string{"<nil>"}},
		{"comp1", "hours", "Int64", []string{"-9223372036854775808"}, []string{"192"}, []string{"<nil>"}},
		{"tank1", "level", "Double", []string{"0.1", "null", "null"}, []string{"500", "0", "500"}, []string{"uncertain last-usable forced", "bad sensor-fault", "bad stale"}},
		{"", "total", "Double", []string{"-1e+300"}, []string{"192"}, []string{"<nil>"}},
		{"", "record.stopped", "Boolean", []string{"false"}, []string{"192"}, []string{"<nil>"}},
		{"comp1", "mode", "String", []string{"自动"}, []string{"192"}, []string{"<nil>"}},
		{"comp1", "state", "Int64", []string{"2"}, []string{"192"}, []string{"<nil>"}},
	} {
		what := "DDATA"
		if c.node == "" {
			what = "NDATA"
		}
		got := h.metrics(what, c.node, c.name)
		if len(got) != len(c.values) {
			t.Errorf("%s: %d came, want %d", c.name, len(got), len(c.values))
			continue
		}
		for i, x := range got {
			value := fmt.Sprint(x.Value)
			if x.IsNull {
				value = "null"
			}
			if value != c.values[i] || x.Type != c.typ || fmt.Sprint(x.Properties["Quality"].Value) != c.quality[i] ||
				fmt.Sprint(x.Properties["Davy/Quality"].Value) != c.words[i] || x.Timestamp != "1800000000123" || x.IsHistorical {
				t.Errorf("%s: %+v, want %s", c.name, x, c.values[i])
			}
		}
	}

	old := reading(1, f32(-1), tag.GoodQuality, at)
	old.History = true
	gone := feed.Record{Stream: wire.ReadingStream, Tag: &wire.TableTag{Name: "pump9.flow", Kind: tag.Int}, Reading: &tag.Reading{Quality: tag.GoodQuality, Value: tag.IntValue(7)}, History: true}
	other := feed.Record{Stream: wire.ReadingStream, Tag: &wire.TableTag{Name: "comp1.temp", Kind: tag.Int}, Reading: &tag.Reading{Quality: tag.GoodQuality, Value: tag.IntValue(7)}}
	unnamed := feed.Record{Stream: wire.ReadingStream, Reading: &tag.Reading{Quality: tag.GoodQuality, Value: tag.IntValue(7)}}
	alarm := feed.Record{Stream: wire.EventStream, Number: 9, Event: &wire.Event{Kind: uint32(rules.AlarmRaised), Rule: "nh3.high", At: tag.Stamp{Wall: at}}}
	health := feed.Record{Stream: wire.HealthStream, Number: 9, Event: &wire.Event{Note: "{}"}}
	send(t, s, old, gone, other, unnamed)
	send(t, s, alarm)
	send(t, s, health)
	wait(t, "the alarm", func() bool { return len(h.metrics("NDATA", "", "Davy/Event")) == 1 })
	if x := h.metrics("DDATA", "comp1", "temp"); len(x) != 2 || !x[1].IsHistorical || fmt.Sprint(x[1].Value) != "-1" {
		t.Errorf("history %+v", x)
	}
	if b, x := h.metrics("DBIRTH", "pump9", "flow"), h.metrics("DDATA", "pump9", "flow"); len(b) != 1 || len(x) != 1 || fmt.Sprint(x[0].Value) != "7" {
		t.Errorf("a metric of an older plan: born %+v, data %+v", b, x)
	}
	var event struct {
		N    uint64
		Kind string
		Rule string
	}
	e := h.metrics("NDATA", "", "Davy/Event")[0]
	if err := json.Unmarshal([]byte(e.Value.(string)), &event); err != nil || event.N != 9 || event.Kind != "alarm-raised" || event.Rule != "nh3.high" || !e.IsTransient {
		t.Errorf("%v: event %+v", err, e)
	}
	if left := s.(feed.Leaver).LeftOut(); left != 3 {
		t.Errorf("%d records left out, want 3", left)
	}
}

// Sequence numbers wrap, a rebirth says what is known last, bdSeq counts
// connections, and a death is published whether the node goes in order or not.
func TestLifeAndDeath(t *testing.T) {
	t.Parallel()
	_, _, addr := broker(t)
	h := newHost(t, addr, newCodec(t))
	connect := sparkplug.New(options(addr))
	s := dial(t, connect)
	now := clock.Now().Wall
	for i := range 300 {
		send(t, s, reading(1, f32(float32(i)), tag.GoodQuality, now))
	}
	wait(t, "300 data messages", func() bool { return len(h.metrics("DDATA", "comp1", "temp")) == 300 })

	at := len(h.messages(0))
	for _, p := range []any{
		map[string]any{"timestamp": 1, "metrics": []any{map[string]any{"name": "outputs/fan1", "type": "Boolean", "value": true}}},
		map[string]any{"timestamp": 1, "metrics": []any{map[string]any{"name": "Node Control/Reboot", "type": "Boolean", "value": true}}},
		map[string]any{"timestamp": 1, "metrics": []any{map[string]any{"name": "Node Control/Rebirth", "type": "Boolean", "value": false}}},
		map[string]any{"timestamp": 1, "metrics": []any{map[string]any{"name": "Node Control/Rebirth", "type": "Boolean", "value": true}}},
	} {
		if err := h.conn.Publish(t.Context(), "spBv1.0/plant/NCMD/GW-1", h.codec.encode(p)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the rebirth", func() bool { return len(h.messages(at)) >= 3 })
	if got, want := h.messages(at), []string{"NBIRTH", "DBIRTH comp1", "DBIRTH tank1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("after four commands %v, want one rebirth", got)
	}
	if x := h.metrics("DBIRTH", "comp1", "temp"); len(x) != 2 || fmt.Sprint(x[1].Value) != "299" || x[1].IsNull || fmt.Sprint(x[1].Properties["Quality"].Value) != "192" {
		t.Errorf("reborn as %+v", x)
	}
	send(t, s, reading(1, f32(-1), tag.GoodQuality, now))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, "the death", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.deaths == 1 })

	s = dial(t, connect)
	wait(t, "the second life", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.alive && h.bdSeq == "1" })
	wait(t, "the device's second life", func() bool { return len(h.metrics("DBIRTH", "comp1", "temp")) == 3 })
	if x := h.metrics("DBIRTH", "comp1", "temp"); fmt.Sprint(x[2].Value) != "-1" {
		t.Errorf("born again as %+v", x)
	}
	// Another client of the same id: the broker cuts ours, and publishes its will.
	thief, err := mqtt.Dial(t.Context(), mqtt.Options{Broker: addr, ClientID: "GW-1/scada"})
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	wait(t, "the will", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.deaths == 2 })
	<-s.Done()
	if s.Err() == nil {
		t.Error("a session that was cut has no error")
	}
	if err := s.Send(t.Context(), []feed.Record{reading(1, f32(1), tag.GoodQuality, now)}); err == nil {
		t.Error("a session that was cut sends")
	}
}

// A device of which nothing can be read dies, is not sent of, and is born when
// it answers again; history wakes it too.
func TestDeviceDeath(t *testing.T) {
	t.Parallel()
	_, _, addr := broker(t)
	h := newHost(t, addr, newCodec(t))
	s := dial(t, sparkplug.New(options(addr)))
	now := clock.Now().Wall
	send(t, s, reading(4, f64(50), tag.GoodQuality, now))
	send(t, s, reading(4, f64(50), tag.BadNoComm, now))
	send(t, s, reading(4, f64(50), tag.BadNoComm, now))
	send(t, s, reading(1, f32(1), tag.BadNoComm, now)) // comp1 has other metrics
	send(t, s, reading(4, f64(51), tag.GoodQuality, now))
	wait(t, "the last", func() bool { x := h.metrics("DDATA", "tank1", "level"); return len(x) == 2 })
	want := []string{"NBIRTH", "DBIRTH comp1", "DBIRTH tank1", "DDATA tank1", "DDEATH tank1", "DDATA comp1", "DBIRTH tank1", "DDATA tank1"}
	if got := h.messages(0); !reflect.DeepEqual(got, want) {
		t.Errorf("messages\n%v, want\n%v", got, want)
	}
	send(t, s, reading(4, f64(50), tag.BadNoComm, now))
	old := reading(4, f64(49), tag.GoodQuality, now)
	old.History = true
	send(t, s, old)
	wait(t, "history", func() bool { return len(h.metrics("DDATA", "tank1", "level")) == 3 })
	want = []string{"DDEATH tank1", "DBIRTH tank1", "DDATA tank1"}
	if got := h.messages(8); !reflect.DeepEqual(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	if x := h.metrics("DBIRTH", "tank1", "level"); len(x) != 3 || !x[2].IsNull {
		t.Errorf("history woke it as %+v", x)
	}
}

// Nothing is born before the primary host is online, and the node dies with it.
func TestPrimaryHost(t *testing.T) {
	t.Parallel()
	_, _, addr := broker(t)
	h := newHost(t, addr, newCodec(t))
	state := func(online bool) {
		t.Helper()
		c, err := mqtt.Dial(t.Context(), mqtt.Options{Broker: addr, ClientID: "scada"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Publish(t.Context(), "spBv1.0/STATE/scada", fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, online, time.Now().UnixMilli())); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o := options(addr)
	o.Host = "scada"
	connect := sparkplug.New(o)
	type made struct {
		s   feed.Session
		err error
	}
	ready := make(chan made, 1)
	go func() {
		s, err := connect(t.Context())
		ready <- made{s, err}
	}()
	var s feed.Session
	wait(t, "a session once the host is online", func() bool {
		state(false)
		if got := h.messages(0); s == nil && len(ready) == 0 && len(got) > 0 && got[0] != "NBIRTH" {
			t.Fatalf("messages %v", got)
		}
		state(true)
		select {
		case m := <-ready:
			if m.err != nil {
				t.Fatal(m.err)
			}
			s = m.s
			return true
		default:
			return false
		}
	})
	defer s.Close()
	state(false)
	<-s.Done()
	if mqtt.Code(s.Err()) != mqtt.CodeHost {
		t.Errorf("ended with %v", s.Err())
	}
	_ = s.Close()
	wait(t, "the death", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.deaths > 0 })
}

// A whole feed through a broker that is killed: everything arrives, marked as
// history where it is, and no sequence breaks.
func TestThroughAnOutage(t *testing.T) {
	t.Parallel()
	r, p, addr := broker(t)
	c := newCodec(t)
	h := newHost(t, addr, c)
	j, err := journal.Open(journal.Options{
		Dir: filepath.Join(r.Dir, "journal"), Gateway: "GW-1", Keep: time.Hour, Sync: time.Second, Now: clock.Now, Started: clock.Now(),
		Version: "e2e", Plan: make([]byte, 32), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	cursor, err := j.Cursor("scada")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	add := func(readings int, age time.Duration) {
		t.Helper()
		b := journal.Batch{}
		for range readings {
			n++
			at := clock.Now()
			at.Wall -= int64(age)
			b.Readings = append(b.Readings, tag.Reading{Tag: 4, Quality: tag.GoodQuality, Value: f64(float64(n)), Received: at})
		}
		if err := j.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Append(journal.Batch{Events: []wire.Event{{Kind: 129, At: clock.Now(), Table: table()}}}); err != nil {
		t.Fatal(err)
	}
	f := feed.New(feed.Options{Name: "scada", Journal: j, Cursor: cursor, Connect: sparkplug.New(options(addr)), Now: clock.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	left := func() (n uint64) {
		for _, b := range cursor.Backlog() {
			n += b.Records
		}
		return n
	}
	add(100, 0)
	wait(t, "the first", func() bool { return left() == 0 })
	wait(t, "the first at the host", func() bool { return len(h.metrics("DDATA", "tank1", "level")) >= 100 })
	p.Kill()
	add(2000, time.Hour)
	wait(t, "the outage is noticed", func() bool { return !f.Status().Connected })
	port := addr[strings.LastIndex(addr, ":")+1:]
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Mosquitto(number); err != nil {
		t.Fatal(err)
	}
	listening(t, "127.0.0.1:"+port)
	again := newHost(t, addr, c)
	if f.Status().Connected { // born before the host was there: it asks
		body := c.encode(map[string]any{"timestamp": 1, "metrics": []any{map[string]any{"name": "Node Control/Rebirth", "type": "Boolean", "value": true}}})
		if err := again.conn.Publish(t.Context(), "spBv1.0/plant/NCMD/GW-1", body); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "everything confirmed", func() bool { return left() == 0 })
	if s := f.Status(); s.History < 2000 || s.Records < 2100 {
		t.Errorf("status %+v", s)
	}
}
