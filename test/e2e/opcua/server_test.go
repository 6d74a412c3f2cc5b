package opcua

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
	"davy/test/rig"
)

// One server with everything serves all tests that do not spoil it.
func TestServer(t *testing.T) {
	id := newIdentity(t, "server", nil, nil)
	user := newIdentity(t, "operator", nil, nil)
	s := newServer(t, id, map[string]any{
		"policies": []string{"None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"},
		"modes":    []string{"None", "Sign", "SignAndEncrypt"}, "items": 2000, "alarm": true,
	})
	closed := func(t *testing.T) {
		t.Helper()
		var left map[string]any
		err := rig.WaitFor(20*time.Second, "no session", func() bool {
			left = s.do("sessions")
			return left["sessions"] == 0.0 && left["subscriptions"] == 0.0
		})
		if err != nil {
			t.Errorf("%v: %v", err, left)
		}
	}
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, f)
		closed(t)
	}
	run("values", func(t *testing.T) { values(t, s) })
	for _, policy := range []string{"Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"} {
		for _, mode := range []opcua.Mode{opcua.ModeSign, opcua.ModeSignAndEncrypt} {
			run(policy+" "+mode.String(), func(t *testing.T) {
				c := newClient(t, s.target()).secure(policy, mode, id)
				h := c.item("Double", tag.Float64)
				c.run().up(30 * time.Second)
				if got := c.latest[h].Value.Float(); got != 20.25 {
					t.Errorf("Double is %v", got)
				}
			})
		}
	}
	run("logins", func(t *testing.T) { logins(t, s, id, user) })
	run("writes", func(t *testing.T) { writes(t, s) })
	run("a write at a time", func(t *testing.T) { oneWrite(t, s) })
	run("polling", func(t *testing.T) { polling(t, s) })
	run("impatience", func(t *testing.T) { impatience(t, s) })
	run("browse", func(t *testing.T) { browse(t, s, id) })
	run("reconnects", func(t *testing.T) { reconnects(t, s, id) })
	run("order and queue", func(t *testing.T) { order(t, s) })
	run("2000 items encrypted", func(t *testing.T) { many(t, s, id) })
	run("conditions", func(t *testing.T) { conditions(t, s) })
	run("mute", func(t *testing.T) { disturbed(t, s, "mute", 2*publishing+5*time.Second) })
	run("dropped subscription", func(t *testing.T) { disturbed(t, s, "drop-subscriptions", 2*publishing+5*time.Second) })
	run("closed session", func(t *testing.T) { disturbed(t, s, "close-sessions", 2*publishing+5*time.Second) })
	t.Run("black hole", func(t *testing.T) { blackHole(t, s) }) // last: the server keeps that session until it runs out
}

const publishing = 200 * time.Millisecond // as newClient asks for it

func values(t *testing.T, s *server) {
	c := newClient(t, s.target())
	type want struct {
		value   string
		quality tag.Quality
		reason  opcua.Reason
	}
	var wants []want
	f := func(name string, kind tag.Kind, value string, q tag.Quality, r opcua.Reason) {
		c.item(name, kind, drivers.Text{Text: "stopped", Index: 1}, drivers.Text{Text: "running", Index: 2})
		wants = append(wants, want{value, q, r})
	}
	good := tag.GoodQuality
	f("Bool", tag.Bool, "true", good, 0)
	f("Int16", tag.Int, "-5", good, 0)
	f("UInt32", tag.Int, "4000000000", good, 0)
	f("Int64", tag.Int, "7", good, 0)
	f("Float", tag.Float64, "1.5", good, 0)
	f("Double", tag.Float64, "20.25", good, 0)
	f("Text", tag.Text, "text#2", good, 0)
	f("NaN", tag.Float64, "-", tag.BadSensor, opcua.NotNumber)
	f("Bad", tag.Float64, "-", tag.BadDeviceFault, 0)
	f("Uncertain", tag.Float64, "3", tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0), 0)
	f("Array", tag.Float64, "-", tag.BadConfig, opcua.WrongForm)
	f("Nowhere", tag.Float64, "-", tag.BadConfig, 0)
	f("Double", tag.Bool, "-", tag.BadConfig, opcua.WrongType)
	f("Array", tag.Float64, "2", good, 0)
	c.items[len(c.items)-1].Address.What, c.items[len(c.items)-1].Address.Element = opcua.Element, 1
	f("Bool", tag.Bool, "-", tag.BadConfig, opcua.NotFound)
	c.items[len(c.items)-1].Address.URI = "urn:nobody"
	wants[8].quality = opcua.Quality(0x808C0000) // BadSensorFailure, carried as it is
	c.run().up(30 * time.Second)
	// A second look, after the subscription spoke: the same.
	c.wait(20*time.Second, "notifications", func() bool { return len(c.samples) >= 2*len(c.items)-3 })
	c.mu.Lock()
	defer c.mu.Unlock()
	for h, w := range wants {
		if got := c.latest[uint32(h)]; got.Value.String() != w.value || got.Quality != w.quality || got.Reason != w.reason {
			t.Errorf("%s: %v %#x %v, want %v %#x %v", c.items[h].Address, got.Value, uint32(got.Quality), got.Reason, w.value, uint32(w.quality), w.reason)
		}
	}
}

func logins(t *testing.T, s *server, id, user *identity) {
	login := func(name string, edit func(*client), code string) {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
			c.item("Double", tag.Float64)
			edit(c)
			c.run()
			if code == "" {
				c.up(20 * time.Second)
				return
			}
			if got := c.down(20 * time.Second); got.Code != code {
				t.Errorf("refused with %q (%s), want %q", got.Code, got.Text, code)
			}
		})
	}
	password := func(p string) func(c *client) {
		return func(c *client) {
			c.hello.Options.Login = opcua.Login{Kind: opcua.Password}
			c.hello.User, c.hello.Password = "operator", p
		}
	}
	login("password", password("pa:ss"), "")
	login("wrong password", password("guess"), opcua.CodeLogin)
	login("password over sign", func(c *client) {
		password("pa:ss")(c)
		c.hello.Options.Mode = opcua.ModeSign
	}, opcua.CodeLogin)
	login("password over none", func(c *client) {
		password("pa:ss")(c)
		c.hello.Options.Policy, c.hello.Options.Mode = opcua.PolicyNone, opcua.ModeNone
	}, opcua.CodeLogin)
	login("certificate", func(c *client) {
		c.hello.Options.Login = opcua.Login{Kind: opcua.Certificate, Certificate: user.der}
		c.hello.Key = string(user.keyPEM())
	}, "")
	login("certificate with another key", func(c *client) {
		c.hello.Options.Login = opcua.Login{Kind: opcua.Certificate, Certificate: user.der}
		c.hello.Key = string(id.keyPEM())
	}, opcua.CodeLogin)
	login("policy that is not offered", func(c *client) { c.hello.Options.Policy = opcua.PolicyBasic256 }, opcua.CodePolicy)
}

func writes(t *testing.T, s *server) {
	c := newClient(t, s.target()).run()
	c.up(20 * time.Second)
	n := uint32(0)
	f := func(name string, v tag.Value, code string) {
		t.Helper()
		n++
		m := opcua.Write{Request: n, Wait: 3 * time.Second, Address: node(name), Kind: v.Kind(), Bits: v.Bits()}
		if err := c.w.Write(m); err != nil {
			t.Fatal(err)
		}
		c.wait(20*time.Second, "done", func() bool { return len(c.dones) == int(n) })
		if d := c.dones[n-1]; d.Code != code || d.Request != n {
			t.Errorf("write %v to %s: %+v, want code %q", v, name, d, code)
		}
	}
	float := func(x float64) tag.Value { v, _ := tag.Float64Value(x); return v }
	f("Setpoint", float(21.5), "")
	if got := s.do("get", "name", "Setpoint")["value"]; got != 21.5 {
		t.Errorf("Setpoint is %v", got)
	}
	f("Setpoint", float(0.1), opcua.DoneType) // no float of 32 bits
	f("Setpoint", tag.IntValue(1<<24+1), opcua.DoneType)
	f("Int16", tag.IntValue(-32768), "")
	f("Int16", tag.IntValue(40000), opcua.DoneType)
	f("Bool", tag.BoolValue(false), "")
	f("Bool", tag.IntValue(1), opcua.DoneType)
	f("Bool", tag.BoolValue(true), "")
	f("Int16", tag.IntValue(-5), "")
	f("ReadOnly", float(1), opcua.DoneRefused)
	f("Nowhere", float(1), opcua.DoneRefused)
	if got := s.do("get", "name", "Setpoint")["value"]; got != 21.5 {
		t.Errorf("Setpoint is %v after refusals", got)
	}
}

// A write that was given up is still with the server: the next is sent when it is
// over, and not where that comes too late for it.
func oneWrite(t *testing.T, s *server) {
	c := newClient(t, s.target()).run()
	c.up(20 * time.Second)
	write := func(n uint32, x float64, wait time.Duration) opcua.Done {
		t.Helper()
		v, _ := tag.Float64Value(x)
		if err := c.w.Write(opcua.Write{Request: n, Wait: wait, Address: node("Slow"), Kind: v.Kind(), Bits: v.Bits()}); err != nil {
			t.Fatal(err)
		}
		c.wait(20*time.Second, "done", func() bool { return len(c.dones) == int(n) })
		return c.dones[n-1]
	}
	if d := write(1, 1, 200*time.Millisecond); d.Code != opcua.DoneUnknown {
		t.Errorf("a write that was not waited for ended with %+v", d)
	}
	if d := write(2, 2, 100*time.Millisecond); d.Code != opcua.DoneNoSession {
		t.Errorf("a write behind it ended with %+v", d)
	}
	if d := write(3, 3, 3*time.Second); d.Code != "" {
		t.Errorf("a write that waited ended with %+v", d)
	}
	if got := s.do("slow"); fmt.Sprint(got["came"], got["most"], got["value"]) != "[1 3] 1 3" {
		t.Errorf("the server was written %v", got)
	}
}

func polling(t *testing.T, s *server) {
	c := newClient(t, s.target())
	c.hello.Options.Poll = true
	for i := range 500 {
		c.item(fmt.Sprint("I", i), tag.Float64)
	}
	bad := c.item("Bad", tag.Float64)
	c.run()
	c.wait(30*time.Second, "session", func() bool { return len(c.states) == 1 })
	if err := c.w.Read(opcua.Ask{Request: 7, Wait: 3 * time.Second, Count: uint32(len(c.items))}); err != nil {
		t.Fatal(err)
	}
	c.wait(20*time.Second, "done", func() bool { return len(c.dones) == 1 })
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) != 501 || c.dones[0].Code != "" {
		t.Fatalf("%d samples, done %+v", len(c.samples), c.dones[0])
	}
	for i := range 500 {
		if got := c.latest[uint32(i)]; got.Value.Float() != float64(i) || !got.Quality.Good() {
			t.Fatalf("I%d is %+v", i, got)
		}
	}
	if got := c.latest[bad]; !got.Quality.Bad() || got.Status != 0x808C0000 {
		t.Errorf("Bad is %+v", got)
	}
}

// Reads that are given up at every moment, before they are sent, while they are
// numbered and after, cost the session nothing: the library numbers a message
// before it looks whether anybody still wants it, and a server refuses numbers
// with a hole.
func impatience(t *testing.T, s *server) {
	c := newClient(t, s.target())
	c.hello.Options.Poll = true
	c.item("Double", tag.Float64)
	c.run().wait(30*time.Second, "session", func() bool { return len(c.states) > 0 && c.states[0].Up })
	const rounds, queue = 100, 40
	const asked = rounds * queue
	for round := range rounds {
		for i := range queue {
			wait := time.Duration(1+i) * time.Duration(20+4*round) * time.Microsecond
			if err := c.w.Read(opcua.Ask{Request: uint32(round*queue + i + 1), Count: 1, Wait: wait}); err != nil {
				t.Fatal(err)
			}
		}
		c.wait(20*time.Second, "the answers of a round", func() bool { return len(c.dones) == (round+1)*queue })
	}
	// Unhurried, all is well, in the same session.
	if err := c.w.Read(opcua.Ask{Request: asked + 1, Count: 1, Wait: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	c.wait(20*time.Second, "the last answer", func() bool { return len(c.dones) == asked+1 })
	c.mu.Lock()
	defer c.mu.Unlock()
	given := map[string]int{}
	for _, d := range c.dones {
		given[d.Code]++
	}
	t.Logf("of %d reads: %v", asked, given)
	if last := c.dones[asked]; last.Code != "" || len(c.states) != 1 || given[opcua.DoneUnknown] < rounds/4 {
		t.Errorf("the last read ended with %v, reads with %v, states %+v", last, given, c.states)
	}
}

// What davy browse shows.
func browse(t *testing.T, s *server, id *identity) {
	got, err := worker.Ask(t.Context(), s.target(), 3*time.Second)
	if err != nil || len(got.Offers) != 7 || got.ApplicationURI != serverURI || got.Certificate == nil || got.Certificate.SHA256 != worker.Fingerprint(id.der) || got.Certificate.URI != serverURI || got.Certificate.Bits != 2048 {
		t.Errorf("%+v, %v", got, err)
	}
	c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
	c.hello.Now = now()
	found, more, err := worker.Walk(t.Context(), c.hello, c.o, 2100)
	if err != nil || more || len(found) < 2010 {
		t.Fatalf("%d found, more %v, %v", len(found), more, err)
	}
	types := map[string]string{}
	for _, f := range found {
		types[f.Address.String()] = f.Type
	}
	for at, want := range map[string]string{"Double": "float64", "Float": "float32", "Bool": "bool", "Int16": "int", "Text": "text"} {
		if got := types["nsu=urn:test:plant;s="+at]; got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	if found, more, err = worker.Walk(t.Context(), c.hello, c.o, 10); err != nil || !more || len(found) != 10 {
		t.Errorf("%d found of 10, more %v, %v", len(found), more, err)
	}
}

// Connections and sessions, made and closed, leave no goroutine and no
// descriptor behind. TestServer is not parallel, so nothing else runs meanwhile.
func reconnects(t *testing.T, s *server, id *identity) {
	const channels, sessions = 950, 50
	session := func() {
		c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
		c.hello.Dir = filepath.Dir(id.cert)
		c.item("Double", tag.Float64)
		c.run().up(20 * time.Second)
		if err := c.end(); err != context.Canceled {
			t.Fatal(err)
		}
	}
	count := func() (goroutines, files int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(fds)
	}
	session()
	// What the first session leaves for a moment (a goroutine that has just said
	// that it is done) must not be counted as what is there without sessions.
	goroutines, files := count()
	for same := 0; same < 25; same++ { // half a second
		<-time.After(20 * time.Millisecond)
		if g, f := count(); g != goroutines || f != files {
			same, goroutines, files = 0, g, f
		}
	}
	for range channels {
		if _, err := worker.Ask(t.Context(), s.target(), 3*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for range sessions {
		session()
	}
	err := rig.WaitFor(20*time.Second, "the count", func() bool {
		g, f := count()
		return g <= goroutines && f <= files
	})
	g, f := count()
	t.Logf("after %d channels and %d sessions: goroutines %+d, descriptors %+d", channels, sessions, g-goroutines, f-files)
	if err != nil {
		t.Error(err)
	}
}

// Every sample of a burst arrives, in order; where the server's queue is too
// short it says so.
func order(t *testing.T, s *server) {
	c := newClient(t, s.target())
	h := c.item("Setpoint", tag.Float64)
	c.run().up(30 * time.Second)
	c.mu.Lock()
	c.samples = nil
	c.mu.Unlock()
	var values []float64
	for i := range 20 {
		values = append(values, float64(100+i))
	}
	s.do("set", "name", "Setpoint", "pace", 70, "values", values) // slower than the sampling
	c.wait(20*time.Second, "the last value", func() bool { return c.latest[h].Value.Float() == 119 })
	c.mu.Lock()
	defer c.mu.Unlock()
	last, seen := 99.0, 0
	for _, x := range c.samples {
		if v := x.Value.Float(); v < 100 {
			continue
		} else if v <= last {
			t.Errorf("%v after %v", v, last)
		} else {
			last = v
			seen++
		}
	}
	if seen < 18 { // sampling at 50 ms may miss one; a notification lost would be four
		t.Errorf("%d of 20 values arrived", seen)
	}
}

func many(t *testing.T, s *server, id *identity) {
	c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
	for i := range 2000 {
		c.item(fmt.Sprint("I", i), tag.Float64)
	}
	began := time.Now()
	c.run().up(20 * time.Second)
	t.Logf("2000 items up in %v", time.Since(began))
	s.do("touch", "base", 10000)
	c.wait(30*time.Second, "all new values", func() bool {
		for i := range 2000 {
			if c.latest[uint32(i)].Value.Float() != float64(10000+i) {
				return false
			}
		}
		return true
	})
	s.do("touch", "base", 0)
}

func conditions(t *testing.T, s *server) {
	c := newClient(t, s.target())
	c.items = append(c.items, opcua.Item{Address: opcua.Address{What: opcua.Conditions, Type: opcua.Numeric, ID: "2253"}, Kind: tag.Int})
	level := c.item("Level", tag.Float64)
	c.run().up(30 * time.Second)
	c.wait(20*time.Second, "no condition", func() bool { return c.latest[0].Quality.Good() && c.latest[0].Value.Int() == 0 })
	s.do("set", "name", "Level", "values", []float64{95})
	c.wait(20*time.Second, "an active condition", func() bool { return len(c.conditions) > 0 && c.conditions[len(c.conditions)-1].Active })
	c.wait(20*time.Second, "its count", func() bool { return c.latest[0].Value.Int() == 1 && c.latest[level].Value.Float() == 95 })
	c.mu.Lock()
	got := c.conditions[len(c.conditions)-1]
	c.mu.Unlock()
	if got.Name != "level" || got.Source != "2:Tank" || !got.Retain || got.Acked || got.Refreshed || got.Severity == 0 || got.ID == "" || got.Time == 0 {
		t.Errorf("condition %+v", got)
	}
	// Another client comes late: the refresh tells it what stands.
	late := newClient(t, s.target())
	late.items = c.items[:1]
	late.run()
	late.wait(30*time.Second, "the refreshed condition", func() bool {
		return len(late.conditions) > 0 && late.conditions[0].Refreshed && late.conditions[0].Active && late.conditions[0].ID == got.ID && late.latest[0].Value.Int() == 1
	})
	s.do("set", "name", "Level", "values", []float64{50})
	c.wait(20*time.Second, "the return", func() bool {
		last := c.conditions[len(c.conditions)-1]
		return last.ID == got.ID && !last.Active && c.latest[0].Value.Int() == 0
	})
}

// A connection that swallows everything: all is bad within two publishing
// intervals and five seconds, and good again when it speaks.
func blackHole(t *testing.T, s *server) {
	p := newHole(t, s.addr())
	c := newClient(t, "opc.tcp://"+p.addr()+"/test")
	c.item("Double", tag.Float64)
	c.run().up(30 * time.Second)
	p.swallow(true)
	stall := rig.WatchStall(t.Context())
	at := time.Now()
	c.down(30 * time.Second)
	took := time.Since(at)
	t.Logf("silent loss noticed after %v, of which the machine stood for %v", took, stall.Sum())
	if limit := 2*publishing + 5*time.Second + stall.Sum(); took > limit {
		t.Errorf("noticed after %v, limit %v", took, limit)
	}
	p.swallow(false)
	c.up(30 * time.Second)
}

// The server does something to a session that stands: all is bad in time, and
// everything is built anew.
func disturbed(t *testing.T, s *server, what string, limit time.Duration) {
	c := newClient(t, s.target())
	h := c.item("Setpoint", tag.Float64)
	c.run().up(30 * time.Second)
	stall := rig.WatchStall(t.Context())
	at := time.Now()
	s.do(what)
	got := c.down(30 * time.Second)
	took := time.Since(at)
	t.Logf("%s: %s (%s) after %v, of which the machine stood for %v", what, got.Code, got.Text, took, stall.Sum())
	if limit += stall.Sum(); took > limit {
		t.Errorf("noticed after %v, limit %v", took, limit)
	}
	c.up(20 * time.Second)
	s.do("set", "name", "Setpoint", "values", []float64{77})
	c.wait(20*time.Second, "the new value", func() bool { return c.latest[h].Value.Float() == 77 })
	s.do("set", "name", "Setpoint", "values", []float64{10})
}

// A certificate that the site does not trust, for whatever reason, is refused
// and kept for a person to look at.
func TestTrust(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "server", nil, nil)
	ca := newIdentity(t, "authority", nil, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	other := newIdentity(t, "other", nil, nil)
	signed := newIdentity(t, "signed", ca, nil)
	old := newIdentity(t, "old", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	})
	foreign := newIdentity(t, "foreign", nil, func(c *x509.Certificate) { c.URIs[0].Opaque = "somebody:else" })
	s := newServer(t, id, map[string]any{"policies": []string{"Basic256Sha256"}, "modes": []string{"SignAndEncrypt"}})
	running := id
	f := func(name string, shown *identity, edit func(*client), why string) {
		t.Run(name, func(t *testing.T) {
			s.t = t
			if shown != running {
				s.kill()
				s.identity(shown)
				s.start()
				running = shown
			}
			c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
			c.item("Double", tag.Float64)
			if edit != nil {
				edit(c)
			}
			c.run()
			if why == "" {
				c.up(20 * time.Second)
				return
			}
			got := c.down(20 * time.Second)
			if got.Code != opcua.CodeUntrusted || !strings.Contains(got.Text, why) {
				t.Fatalf("%q (%s), want untrusted: %s", got.Code, got.Text, why)
			}
			kept, err := os.ReadFile(filepath.Join(c.hello.Dir, "opcua", "rejected", got.Fingerprint+".der"))
			if err != nil || string(kept) != string(shown.der) {
				t.Errorf("refused certificate: %v, %d bytes", err, len(kept))
			}
			if n := s.do("sessions")["sessions"]; n != 0.0 {
				t.Errorf("%v sessions", n)
			}
		})
	}
	authority := func(c *client) { c.hello.Options.Trust = opcua.Trust{CA: [][]byte{ca.der}} }
	pin := func(id *identity) func(*client) {
		return func(c *client) { c.hello.Options.Trust.Pin = id.der }
	}
	f("pinned", id, nil, "")
	f("clock not synchronised", id, func(c *client) { c.o.ClockTrusted = func() bool { return false } }, "clock is not synchronised")
	f("another", other, nil, "not the certificate that the site trusts")
	f("not the authority's", other, authority, "does not come from a CA")
	f("authority", signed, authority, "")
	f("expired", old, pin(old), "expired")
	f("expired, dates unchecked", old, func(c *client) { pin(old)(c); c.hello.Options.Undated = true }, "")
	f("another application", foreign, pin(foreign), "made for")
}

// The server restarts, with its namespaces in another order and other values:
// everything comes back, and is that of the same nodes.
func TestRestart(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "server", nil, nil)
	s := newServer(t, id, map[string]any{"policies": []string{"Basic256Sha256"}, "modes": []string{"SignAndEncrypt"}, "items": 50})
	c := newClient(t, s.target()).secure("Basic256Sha256", opcua.ModeSignAndEncrypt, id)
	for i := range 50 {
		c.item(fmt.Sprint("I", i), tag.Float64)
	}
	c.run().up(30 * time.Second)
	s.do("touch", "base", 500)
	c.wait(20*time.Second, "new values", func() bool { return c.latest[49].Value.Float() == 549 })
	s.kill()
	c.down(20 * time.Second)
	s.o["before"] = []string{"urn:test:new-1", "urn:test:new-2"}
	s.start()
	c.up(20 * time.Second)
	c.mu.Lock()
	for i := range 50 {
		if got := c.latest[uint32(i)]; got.Value.Float() != float64(i) || !got.Quality.Good() {
			t.Errorf("I%d is %v %#x after the restart", i, got.Value, uint32(got.Quality))
		}
	}
	c.mu.Unlock()
	s.do("touch", "base", 900)
	c.wait(20*time.Second, "new values", func() bool { return c.latest[0].Value.Float() == 900 && c.latest[49].Value.Float() == 949 })
	// Another namespace has the old index now, and nodes of the same names: none of
	// their values has come, and every value is its own node's.
	c.see(func() bool {
		for _, x := range c.samples {
			if v := x.Value.Float(); x.Quality.Good() && v != float64(x.Handle) && v != 500+float64(x.Handle) && v != 900+float64(x.Handle) {
				t.Errorf("I%d was told to be %v", x.Handle, v)
			}
		}
		return true
	})
	// A server that came back with a new certificate is another server.
	s.kill()
	s.identity(newIdentity(t, "renewed", nil, nil))
	s.start()
	c.wait(20*time.Second, "the refusal", func() bool {
		last := c.states[len(c.states)-1]
		return !last.Up && last.Code == opcua.CodeUntrusted
	})
}
