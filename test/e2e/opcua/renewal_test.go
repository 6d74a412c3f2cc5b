package opcua

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// The keys of a channel are renewed while samples flow: nothing is lost, nothing
// is late, and the session stays the same.
func TestRenewal(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "server", nil, nil)
	s := newServer(t, id, map[string]any{"policies": []string{"Basic256Sha256"}, "modes": []string{"SignAndEncrypt"}})
	c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
	c.o.ChannelLife = 3 * time.Second // renewed every 2 s
	level := c.item("Level", tag.Float64)
	c.run().up(20 * time.Second)
	const values = 40
	for i := range values {
		s.do("set", "name", "Level", "values", []float64{1000 + float64(i)})
		next := time.NewTimer(250 * time.Millisecond)
		<-next.C
	}
	c.wait(20*time.Second, "the last value", func() bool { return c.latest[level].Value.Float() == 1000+values-1 })
	keys, sessions := c.w.Stats().Keys.Load(), c.w.Stats().Sessions.Load()
	t.Logf("%d keys, one of them of the channel for endpoints", keys)
	if keys < 5 || sessions != 1 {
		t.Errorf("%d keys, %d sessions", keys, sessions)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := 1000.0
	for i := range c.samples {
		if v := c.samples[i].Value.Float(); v >= 1000 {
			if v != next || !c.samples[i].Quality.Good() {
				t.Errorf("%v %#x where %v was next", v, uint32(c.samples[i].Quality), next)
			}
			next = v + 1
		}
	}
}

// A machine that slept knows nothing of what was meanwhile, and no timer of its
// own says so: everything is bad at once and built again.
func TestSleep(t *testing.T) {
	t.Parallel()
	s := newServer(t, newIdentity(t, "server", nil, nil), map[string]any{})
	c := newClient(t, s.target())
	var slept atomic.Int64
	c.o.Asleep = func() time.Duration { return time.Duration(slept.Load()) }
	c.item("Double", tag.Float64)
	c.run().up(20 * time.Second)
	slept.Add(int64(time.Hour))
	if got := c.down(time.Second); got.Code != opcua.CodeSilent || !strings.Contains(got.Text, "slept for 1h0m0s") {
		t.Errorf("%+v", got)
	}
	c.up(30 * time.Second)
	if n := c.w.Stats().Sessions.Load(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// forger stands between a client and a server, and puts its own answer in the
// place of the server's nth to a request for a channel with security.
type forger struct {
	l     net.Listener
	mu    sync.Mutex
	nth   int
	seen  int
	heard bytes.Buffer // what the client said
	forge func(answer []byte) []byte
}

func newForger(t *testing.T, server string, nth int, forge func([]byte) []byte) *forger {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{l: l, nth: nth, forge: forge}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			group.Go(func() {
				defer far.Close()
				defer client.Close()
				_, _ = io.Copy(io.MultiWriter(far, f), client)
			})
			group.Go(func() {
				defer far.Close()
				defer client.Close()
				f.down(client, far)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	return f
}

// Write keeps what a client said.
func (f *forger) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard.Write(p)
}

func (f *forger) down(client, far net.Conn) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(far, head); err != nil {
			return
		}
		chunk := append(head, make([]byte, binary.LittleEndian.Uint32(head[4:])-8)...)
		if _, err := io.ReadFull(far, chunk[8:]); err != nil {
			return
		}
		if string(chunk[:3]) == "OPN" && !bytes.Contains(chunk, []byte("SecurityPolicy#None")) {
			f.mu.Lock()
			if f.seen++; f.seen == f.nth {
				chunk = f.forge(chunk)
			}
			f.mu.Unlock()
		}
		if _, err := client.Write(chunk); err != nil {
			return
		}
	}
}

// opening is an answer to a request for a channel.
func opening(channel []byte, policy string, sender, thumb, rest []byte) []byte {
	le := binary.LittleEndian
	lengthed := func(b, s []byte) []byte {
		if s == nil {
			return le.AppendUint32(b, 0xffffffff)
		}
		return append(le.AppendUint32(b, uint32(len(s))), s...)
	}
	b := append([]byte("OPNF\x00\x00\x00\x00"), channel...)
	b = lengthed(b, []byte(policy))
	b = lengthed(b, sender)
	b = append(lengthed(b, thumb), rest...)
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

// Whoever can write on the wire swaps the certificate, or the policy, when a
// channel is opened and when its keys are renewed: there is no session with him,
// no sample after, and no password that he can read.
func TestForgedChannels(t *testing.T) {
	t.Parallel()
	id, thief := newIdentity(t, "server", nil, nil), newIdentity(t, "server", nil, nil)
	s := newServer(t, id, map[string]any{"policies": []string{"Basic256Sha256"}, "modes": []string{"SignAndEncrypt"}})
	const secure, none = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256", "http://opcfoundation.org/UA/SecurityPolicy#None"
	for name, x := range map[string]struct {
		nth   int
		why   string
		forge func([]byte) []byte
	}{
		"policy at the start": {1, "opens the channel with policy", func(b []byte) []byte { return opening(b[8:12], none, nil, nil, make([]byte, 120)) }},
		"policy at a renewal": {2, "opens the channel with policy", func(b []byte) []byte { return opening(b[8:12], none, nil, nil, make([]byte, 120)) }},
		"certificate at the start": {1, "not the one that the server announced", func(b []byte) []byte {
			return opening(b[8:12], secure, thief.der, make([]byte, 20), make([]byte, 512))
		}},
		"certificate at a renewal": {3, "not the one that the server announced", func(b []byte) []byte {
			return opening(b[8:12], secure, thief.der, make([]byte, 20), make([]byte, 512))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t, s.addr(), x.nth, x.forge)
			c := newClient(t, "opc.tcp://"+f.l.Addr().String()+"/test").secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
			c.o.ChannelLife = 3 * time.Second
			c.o.FirstPause = time.Minute // once is enough
			c.hello.Options.Login.Kind, c.hello.User, c.hello.Password = opcua.Password, "operator", "pa:ss"
			c.item("Double", tag.Float64)
			c.run()
			got := c.down(20 * time.Second)
			if got.Code != opcua.CodeUntrusted || !strings.Contains(got.Text, x.why) {
				t.Errorf("%q (%s), want untrusted: %s", got.Code, got.Text, x.why)
			}
			was := c.w.Stats().Sessions.Load()
			if want := uint64(min(x.nth-1, 1)); was != want {
				t.Errorf("%d sessions, want %d", was, want)
			}
			c.see(func() bool {
				if last := c.states[len(c.states)-1]; last.Up || len(c.latest) > 0 {
					t.Errorf("up %v, %d values after the forgery", last.Up, len(c.latest))
				}
				return true
			})
			f.mu.Lock()
			defer f.mu.Unlock()
			if bytes.Contains(f.heard.Bytes(), []byte("pa:ss")) || bytes.Contains(f.heard.Bytes(), []byte("operator")) {
				t.Error("the login went over the wire in clear")
			}
		})
	}
}
