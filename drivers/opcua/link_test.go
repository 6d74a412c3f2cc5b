package opcua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

func TestReadAndWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, children := puppets(t, honest)
		l := open(t, d, cfg)
		defer l.Close()
		req := plan(t, cfg, 3)
		for range 3 {
			began := cfg.Now()
			rs, err := l.Read(t.Context(), req, nil)
			if err != nil || len(rs) != 3 {
				t.Fatal(rs, err)
			}
			for i, r := range rs {
				if r.Tag != tag.ID(i+1) || !r.Quality.Good() || r.Value != float(t, float64(i)) || r.Source != 77 || r.Received.Mono < began.Mono || r.Received.Mono > cfg.Now().Mono {
					t.Errorf("%d: %+v", i, r)
				}
			}
		}
		p := points(t, 1)[0]
		if err := l.Write(t.Context(), p, float(t, 1)); !errors.Is(err, drivers.ErrReadOnly) {
			t.Errorf("a point that may not be written: %v", err)
		}
		p.Write = true
		if err := l.Write(t.Context(), p, float(t, 1)); err != nil {
			t.Error(err)
		}
		if int(children.Load()) != 1 || l.Stats() != (Stats{Children: 1, Sessions: 1, Samples: 9}) {
			t.Errorf("%d children, %+v", int(children.Load()), l.Stats())
		}
		l.ReadOnly = true
		if err := l.Write(t.Context(), p, float(t, 1)); !errors.Is(err, drivers.ErrReadOnly) {
			t.Errorf("a link that is read-only: %v", err)
		}
	})
}

// A write that may have been done is unknown, one that was not is not.
func TestWhatBecomesOfAWrite(t *testing.T) {
	for _, x := range []struct {
		name    string
		play    func(p *puppet, w Write)
		unknown bool
		text    string
	}{
		{"refused", func(p *puppet, w Write) { p.done(w.Request, DoneRefused, 0x803B0000) }, false, "0x803b0000"},
		{"of a type that it cannot hold", func(p *puppet, w Write) { p.done(w.Request, DoneType, 0) }, false, "type"},
		{"no session", func(p *puppet, w Write) { p.done(w.Request, DoneNoSession, 0) }, false, "no-session"},
		{"timed out on the server's side", func(p *puppet, w Write) { p.done(w.Request, DoneRefused, 0x800A0000) }, true, "0x800a0000"},
		{"not answered", func(p *puppet, w Write) { p.done(w.Request, DoneUnknown, 0) }, true, ""},
		{"a word that we do not know", func(p *puppet, w Write) { p.done(w.Request, "perhaps", 0) }, true, "perhaps"},
		{"silence", func(*puppet, Write) {}, true, "no answer within 1s"},
		{"the child dies", func(p *puppet, _ Write) { _ = p.wire.Close() }, true, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := puppets(t, func(p *puppet) {
					if p.greet() {
						p.up(1)
						if _, _, w, ok := p.next(); ok {
							x.play(p, w)
							p.idle()
						}
					}
				})
				l := open(t, d, config(nil))
				defer l.Close()
				p := points(t, 1)[0]
				p.Write = true
				err := l.Write(t.Context(), p, float(t, 1))
				if err == nil || errors.Is(err, drivers.ErrUnknown) != x.unknown || !strings.Contains(err.Error(), x.text) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// Whatever a child does wrong to one request: no point of it is good, every
// point has a reading, and the next request is answered by the next child.
func TestAChildThatAnswersWrong(t *testing.T) {
	for _, x := range []struct {
		name string
		play func(p *puppet, a Ask)
		dies bool // the link gives the child up
	}{
		{"dies", func(p *puppet, a Ask) { _ = p.wire.Close() }, true},
		{"dies within a frame", func(p *puppet, a Ask) {
			_, _ = p.wire.Write([]byte{200, 0, 0, 0, KindReadings, 1, 2})
			_ = p.wire.Close()
		}, true},
		{"a huge length", func(p *puppet, a Ask) { _, _ = p.wire.Write([]byte{0xff, 0xff, 0xff, 0xff, KindReadings}) }, true},
		{"garbage", func(p *puppet, a Ask) { _ = p.conn.Write(KindReadings, bytes.Repeat([]byte{0x5a}, 500)) }, true},
		{"garbage in words", func(p *puppet, a Ask) { _ = p.conn.Write(KindDone, []byte("{")) }, true},
		{"a frame of no kind", func(p *puppet, a Ask) { _ = p.conn.Write(99, nil) }, true},
		{"an item that was not asked for", func(p *puppet, a Ask) { p.readings(1, a.Request, p.sample(a.First+a.Count, 1)) }, true},
		{"an item twice", func(p *puppet, a Ask) { p.readings(1, a.Request, p.sample(0, 1), p.sample(0, 2)) }, true},
		{"an answer to a request that was never made", func(p *puppet, a Ask) { p.readings(1, a.Request+1, p.sample(0, 1)) }, true},
		{"readings that nobody subscribed to", func(p *puppet, a Ask) { p.readings(1, 0, p.sample(0, 1)) }, true},
		{"of an older generation", func(p *puppet, a Ask) { p.hello.Generation--; p.answer(a) }, true},
		{"of a session that never was", func(p *puppet, a Ask) { p.readings(2, a.Request, p.sample(0, 1)) }, true},
		{"of no session", func(p *puppet, a Ask) { p.readings(0, a.Request, p.sample(0, 1)) }, true},
		{"received in the future", func(p *puppet, a Ask) {
			s := p.sample(0, 1)
			s.Received.Mono++
			p.readings(1, a.Request, s)
		}, true},
		{"received before the child was born", func(p *puppet, a Ask) {
			s := p.sample(0, 1)
			s.Received.Mono = 5
			p.readings(1, a.Request, s)
		}, true},
		{"done, without readings", func(p *puppet, a Ask) { p.done(a.Request, "", 0) }, false},
		{"of the session before", func(p *puppet, a Ask) {
			p.down(CodeSilent)
			p.up(2)
			p.readings(1, a.Request, p.sample(0, 1))
			p.done(a.Request, "", 0)
		}, false},
		{"of another kind of value", func(p *puppet, a Ask) {
			s := p.sample(0, 1)
			s.Value = tag.BoolValue(true)
			p.readings(1, a.Request, s, Sample{Handle: 1, Quality: tag.BadNoComm, Received: p.clock.Now()})
			p.done(a.Request, "", 0)
		}, false},
		{"refused", func(p *puppet, a Ask) { p.done(a.Request, DoneRefused, 0x80340000) }, false},
		{"refused, but good", func(p *puppet, a Ask) { p.done(a.Request, DoneRefused, 0) }, false},
		{"no session", func(p *puppet, a Ask) { p.done(a.Request, DoneNoSession, 0) }, false},
		{"says nothing", func(p *puppet, a Ask) {}, false},
		{"goes silent", func(p *puppet, a Ask) { p.stop(); p.beat.Wait() }, false}, // found after the request's own second
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config(nil)
				d, children := puppets(t, func(p *puppet) {
					if p.greet() {
						p.up(1)
						time.Sleep(time.Second)
						if _, a, _, ok := p.next(); ok {
							x.play(p, a)
							p.idle()
						}
					}
				}, honest)
				cfg.Timeout = 3 * time.Second / 2
				l := open(t, d, cfg)
				defer l.Close()
				req := plan(t, cfg, 2)
				began := time.Now()
				rs, err := l.Read(t.Context(), req, nil)
				if len(rs) != 2 || time.Since(began) > cfg.Timeout {
					t.Fatalf("%d readings, %v after %v", len(rs), err, time.Since(began))
				}
				for _, r := range rs {
					if !r.Quality.Bad() || !r.Quality.Valid() || r.Value.Kind() != tag.None || r.Received.Mono == 0 {
						t.Errorf("%+v, %v", r, err)
					}
				}
				if synctest.Wait(); x.dies {
					time.Sleep(2 * LastWait)
					rs, err = l.Read(t.Context(), req, nil)
					if err != nil || !rs[0].Quality.Good() || int(children.Load()) != 2 {
						t.Errorf("afterwards: %+v, %v; %d children", rs, err, int(children.Load()))
					}
				} else if int(children.Load()) != 1 {
					t.Errorf("%d children", int(children.Load()))
				}
			})
		})
	}
}

// An answer that comes after its request was given up is nobody's.
func TestALateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, children := puppets(t, func(p *puppet) {
			if !p.greet() {
				return
			}
			p.up(1)
			_, first, _, _ := p.next()
			_, second, _, _ := p.next()
			for h := range uint32(2) { // the first's, while the second waits
				s := p.sample(h, 666)
				p.readings(1, first.Request, s)
			}
			p.done(first.Request, "", 0)
			p.answer(second)
			p.idle()
		})
		l := open(t, d, cfg)
		defer l.Close()
		req := plan(t, cfg, 2)
		if rs, err := l.Read(t.Context(), req, nil); err == nil || !rs[0].Quality.Bad() {
			t.Fatalf("%+v, %v", rs, err)
		}
		rs, err := l.Read(t.Context(), req, nil)
		if err != nil || rs[0].Value != float(t, 0) || rs[1].Value != float(t, 1) || int(children.Load()) != 1 {
			t.Errorf("%+v, %v, %d children", rs, err, int(children.Load()))
		}
		if s := l.Stats(); s.Refused != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// What was received before a request is no answer to it, whatever its number says.
func TestAnAnswerOlderThanItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, _ := puppets(t, func(p *puppet) {
			if !p.greet() {
				return
			}
			p.up(1)
			_, a, _, _ := p.next()
			old := p.sample(0, 1)
			p.answer(a)
			_, a, _, _ = p.next()
			p.readings(1, a.Request, old, p.sample(1, 2))
			p.done(a.Request, "", 0)
			p.idle()
		})
		l := open(t, d, cfg)
		defer l.Close()
		req := plan(t, cfg, 2)
		if rs, err := l.Read(t.Context(), req, nil); err != nil || !rs[0].Quality.Good() {
			t.Fatal(rs, err)
		}
		time.Sleep(time.Second)
		rs, err := l.Read(t.Context(), req, nil)
		if err != nil || !rs[0].Quality.Bad() || rs[0].Value.Kind() != tag.None || !rs[1].Quality.Good() || l.Stats().Refused != 1 {
			t.Errorf("%+v, %v", rs, err)
		}
	})
}

// A child that was slow to read its Hello has a clock that is late for good: its
// answers are answers all the same, and none is stamped before its request.
func TestALateClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, _ := puppets(t, func(p *puppet) {
			p.slow = 40 * time.Millisecond
			honest(p)
		})
		l := open(t, d, cfg)
		defer l.Close()
		for range 3 {
			began := cfg.Now().Mono
			rs, err := l.Read(t.Context(), plan(t, cfg, 1), nil)
			if at := rs[0].Received.Mono; err != nil || !rs[0].Quality.Good() || at < began || at > cfg.Now().Mono {
				t.Errorf("%+v, %v", rs, err)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestACancelledRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, _ := puppets(t, func(p *puppet) {
			if p.greet() {
				p.up(1)
				p.idle()
			}
		})
		l := open(t, d, cfg)
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		began := time.Now()
		rs, err := l.Read(ctx, plan(t, cfg, 2), nil)
		if !errors.Is(err, context.Canceled) || len(rs) != 2 || !rs[1].Quality.Bad() || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%+v, %v after %v", rs, err, time.Since(began))
		}
	})
}

// A child that cannot be started, or dies at once, is tried ever more rarely.
func TestRestartsGrowRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Time
		d := Driver{Child: func(context.Context, *slog.Logger, func(context.Context, net.Conn) error) error {
			starts = append(starts, time.Now())
			return errors.New("no such binary")
		}}
		cfg := config(nil)
		l := open(t, d, cfg)
		req := plan(t, cfg, 1)
		for range 60 * 60 {
			if _, err := l.Read(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), "no such binary") {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(starts); n < 60 || n > 135 {
			t.Errorf("%d starts in an hour", n)
		}
		for i := range starts[1:] {
			if wait := starts[i+1].Sub(starts[i]); wait < FirstWait/2 || wait > LastWait || i > 10 && wait < LastWait/2 {
				t.Errorf("pause %d was %v", i, wait)
			}
		}
		if _, err := l.Read(t.Context(), req, nil); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestTheBinaryWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, _ := puppets(t, func(p *puppet) { _ = send(p.conn, KindReady, Ready{Version + 1}) })
		l := open(t, d, cfg)
		defer l.Close()
		if _, err := l.Read(t.Context(), plan(t, cfg, 1), nil); err == nil {
			t.Error("a child of another version was taken")
		}
		synctest.Wait()
		if _, err := l.Read(t.Context(), plan(t, cfg, 1), nil); err == nil || !strings.Contains(err.Error(), "restart davy") {
			t.Error(err)
		}
	})
}

func TestSecretsGoToTheChildOnly(t *testing.T) {
	for _, x := range []struct {
		login          Login
		secret         string
		user, pass, ke string
		err            string
	}{
		{Login{Kind: Password, Secret: "s"}, "op:pa:ss", "op", "pa:ss", "", ""},
		{Login{Kind: Password, Secret: "s", User: "me"}, "pa:ss", "me", "pa:ss", "", ""},
		{Login{Kind: Certificate, Secret: "s"}, "key", "", "", "key", ""},
		{Login{Kind: Password, Secret: "s"}, "geheim", "", "", "", "not user:password"},
		{Login{}, "geheim", "", "", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			cfg := config(&log)
			cfg.Dir = "/state/links"
			cfg.Options = &Options{Policy: PolicyBasic256Sha256, Mode: ModeSignAndEncrypt, Login: x.login}
			cfg.Secret = func(name string) (string, error) {
				if name != "s" {
					t.Errorf("secret %q", name)
				}
				return x.secret, nil
			}
			var got Hello
			d, _ := puppets(t, func(p *puppet) {
				if p.greet() {
					got = p.hello
					p.down(CodeLogin)
					p.idle()
				}
			})
			l := open(t, d, cfg)
			_, err := l.Read(t.Context(), plan(t, cfg, 1), nil)
			if x.err != "" {
				synctest.Wait()
				_, err = l.Read(t.Context(), plan(t, cfg, 1), nil)
			}
			_ = l.Close()
			if err == nil || !strings.Contains(err.Error(), x.err) {
				t.Errorf("%+v: %v", x.login, err)
			}
			if got.User != x.user || got.Password != x.pass || got.Key != x.ke || x.err == "" && (got.Dir != cfg.Dir || got.Generation != 1 || got.Timeout != cfg.Timeout || got.Target != cfg.Target || got.Now.Mono == 0) {
				t.Errorf("%+v: %+v", x.login, got)
			}
			for _, secret := range []string{"pa:ss", "geheim", "key"} {
				if strings.Contains(log.String(), secret) || strings.Contains(err.Error(), secret+" ") {
					t.Errorf("%q is in %s or %v", secret, log.String(), err)
				}
			}
		})
	}
}

func TestUntrustedIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		cfg := config(nil)
		cfg.Options = &Options{Policy: PolicyBasic256Sha256, Mode: ModeSign}
		cfg.Say = func(condition string, on bool) { said = append(said, fmt.Sprint(condition, " ", on)) }
		d, _ := puppets(t, func(p *puppet) {
			if p.greet() {
				p.beat.Go(p.idle)
				p.down(CodeUntrusted)
				p.down(CodeUntrusted)
				time.Sleep(time.Minute)
				p.up(1)
				p.down(CodeConnect)
				p.up(2)
				time.Sleep(time.Hour)
			}
		})
		l := open(t, d, cfg)
		defer l.Close()
		_, err := l.Read(t.Context(), plan(t, cfg, 1), nil)
		var se *SessionError
		if !errors.As(err, &se) || se.Code != CodeUntrusted || !strings.Contains(err.Error(), "sha256:abcd") {
			t.Errorf("%v", err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if want := []string{"untrusted true", "untrusted false"}; !slices.Equal(said, want) {
			t.Errorf("said %q", said)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// A thousand children die, each another way; nothing of them stays behind.
func TestAThousandRestarts(t *testing.T) {
	restarts := 0
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		d, children := puppets(t, func(p *puppet) {
			if !p.greet() {
				return
			}
			p.up(1)
			_, a, _, ok := p.next()
			switch {
			case !ok:
			case p.hello.Generation%4 == 0:
				_, _ = p.wire.Write([]byte{1, 0, 0})
			case p.hello.Generation%4 == 1:
				_ = p.conn.Write(99, nil)
			case p.hello.Generation%4 == 2:
				p.answer(a)
			default:
				p.stop()
				p.beat.Wait()
				p.idle()
			}
		})
		l := open(t, d, cfg)
		req := plan(t, cfg, 10)
		var rs []tag.Reading
		for int(children.Load()) < 1001 {
			rs, _ = l.Read(t.Context(), req, rs[:0])
			if len(rs) != 10 {
				t.Fatal(len(rs))
			}
			time.Sleep(LastWait)
		}
		restarts = int(children.Load()) - 1
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	runtime.GC()
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	t.Logf("after %d restarts: %d goroutines more, %d descriptors more", restarts, runtime.NumGoroutine()-goroutines, descriptors(t)-files)
	if runtime.NumGoroutine() > goroutines || descriptors(t) > files {
		t.Errorf("goroutines %d, then %d; descriptors %d, then %d", goroutines, runtime.NumGoroutine(), files, descriptors(t))
	}
}
