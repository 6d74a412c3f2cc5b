package hj212

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

func after(d time.Duration) { <-time.After(d) }

func TestRealtime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) {
			o.Realtime = 30 * time.Second
			o.Started = tag.Stamp{Wall: day0 - 3600*second}
		})
		s := b.connect()
		after(31 * time.Second)
		expect(t, "the start", b.cps(""), "DataTime=20250801000000;RestartTime=20250731230000")
		b.record("nh3.ppm", day0+40*second, 1.256, tag.GoodQuality)
		b.record("other", day0+40*second, 5, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		after(30 * time.Second)
		b.record("nh3.ppm", day0+62*second, -0.001, tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitHigh))
		b.record("flow", day0+62*second, 7, tag.BadNoComm)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Minute)
		expect(t, "real-time data", b.cps("2011"), strings.Join([]string{
			"DataTime=20250801000100;a21001-Rtd=1.26,a21001-Flag=N;w00000-Flag=B",
			"DataTime=20250801000130;a21001-Rtd=0.00,a21001-Flag=T;w00000-Flag=B",
			"DataTime=20250801000200;a21001-Rtd=0.00,a21001-Flag=T;w00000-Flag=B",
			"DataTime=20250801000230;a21001-Flag=B;w00000-Flag=B", // too old
			"DataTime=20250801000300;a21001-Flag=B;w00000-Flag=B",
		}, "\n"))
		for _, g := range b.h.frames("2011") {
			if g.flag != "5" || g.st != "31" || !strings.HasPrefix(g.qn, "20250801000") {
				t.Errorf("%+v", g)
			}
		}
		c := b.d.Counts()
		if s.(feed.Leaver).LeftOut() != 1 || c.Confirmed != 6 || c.Resent != 0 || c.Strange != 0 {
			t.Errorf("%+v", c)
		}
		s.Close()
		s = b.connect() // the start is told once
		after(time.Second)
		expect(t, "after it connected again", b.cps(""), "")
		s.Close()
	})
}

// hours lets a bench run for a while with a reading of each factor every 10 s.
func (b *bench) hours(s feed.Session, long time.Duration, value func(sec int64) (float64, tag.Quality)) error {
	for end := time.Now().Add(long); time.Now().Before(end); {
		wall := b.now().Wall
		v, q := value((wall - day0) / second)
		b.record("nh3.ppm", wall, v, q)
		b.record("flow", wall, 2, tag.GoodQuality)
		if s != nil {
			if err := b.send(s); err != nil {
				return err
			}
		}
		after(10 * time.Second)
	}
	return nil
}

func stats(o *Options) {
	o.Minute, o.Hour, o.Day = 10*time.Minute, true, true
}

func TestMinutesHoursDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		s := b.connect()
		err := b.hours(s, 25*time.Hour, func(sec int64) (float64, tag.Quality) {
			if sec/600 == 3 && sec%600 < 300 { // half of one minute period
				return 100, tag.BadSensor
			}
			return float64(1 + sec/3600), tag.GoodQuality
		})
		if err != nil {
			t.Fatal(err)
		}
		m := b.h.frames("2051")
		if len(m) != 149 { // the last one is over for less than Settle
			t.Errorf("%d minute records", len(m))
		}
		expect(t, "the first minutes", m[0].cp, "DataTime=20250801000000;a21001-Min=1.00,a21001-Avg=1.00,a21001-Max=1.00,a21001-Flag=N;w00000-Cou=1.2,w00000-Min=2.0,w00000-Avg=2.0,w00000-Max=2.0,w00000-Flag=N")
		expect(t, "half of it bad", m[3].cp[:80], "DataTime=20250801003000;a21001-Min=1.00,a21001-Avg=1.00,a21001-Max=1.00,a21001-Flag=D;"[:80])
		h := b.h.frames("2061")
		if len(h) != 24 {
			t.Fatalf("%d hours", len(h))
		}
		expect(t, "an hour", h[1].cp, "DataTime=20250801010000;a21001-Min=2.00,a21001-Avg=2.00,a21001-Max=2.00,a21001-Flag=N;w00000-Cou=7.2,w00000-Min=2.0,w00000-Avg=2.0,w00000-Max=2.0,w00000-Flag=N")
		expect(t, "the day", b.cps("2031"), "DataTime=20250801000000;a21001-Min=1.00,a21001-Avg=12.50,a21001-Max=24.00,a21001-Flag=N;w00000-Cou=172.8,w00000-Min=2.0,w00000-Avg=2.0,w00000-Max=2.0,w00000-Flag=N")
		if at := h[0].at.Sub(b.began); at < time.Hour+DefaultSettle || at > time.Hour+DefaultSettle+time.Second {
			t.Errorf("the first hour was sent after %v", at)
		}
		if len(b.d.cache) > maxCached || len(b.d.pending) > 4 {
			t.Errorf("%d computed, %d pending", len(b.d.cache), len(b.d.pending))
		}
		s.Close()
	})
}

func TestHowAHostMayAnswer(t *testing.T) {
	f := func(name string, act func(b *bench, g got) bool, want error, check func(b *bench, c Counts)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, stats)
				s := b.connect()
				h := b.h
				h.setAct(func(g got) bool { return act(b, g) })
				b.record("nh3.ppm", day0+10*second, 1, tag.GoodQuality)
				after(20 * time.Minute)
				err := b.send(s)
				if (err != nil) != (want != nil) || !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
				synctest.Wait()
				check(b, b.d.Counts())
				s.Close()
			})
		})
	}
	nothing := func(*bench, Counts) {}
	f("late", func(b *bench, g got) bool {
		if len(b.h.frames("")) == 3 { // after it was sent three times
			b.h.send(g.qn, "91", 9014, "")
			b.h.send(g.qn, "91", 9014, "")
		}
		return false
	}, nil, func(b *bench, c Counts) {
		if c.Resent != 2 || c.Confirmed != 1 || c.Strange != 1 {
			b.t.Errorf("%+v", c)
		}
	})
	f("9013", func(b *bench, g got) bool {
		b.h.send(g.qn, "91", 9013, "")
		return false
	}, ErrSilent, func(b *bench, c Counts) {
		if c.Strange != 4 || c.Confirmed != 0 {
			b.t.Errorf("%+v", c)
		}
	})
	f("another QN", func(b *bench, g got) bool {
		b.h.send("20160801085857223", "91", 9014, "")
		return false
	}, ErrSilent, nothing)
	f("wrong MN", func(b *bench, g got) bool {
		b.h.send(g.qn, "91", 9011, "QnRtn=4")
		return false
	}, ErrRefused, func(b *bench, c Counts) {
		if c.Resent != 0 {
			b.t.Errorf("%+v", c)
		}
	})
	f("reset", func(b *bench, g got) bool {
		b.h.conn.Close()
		return false
	}, io.EOF, nothing)
	f("bytes", func(b *bench, g got) bool {
		b.h.drip = true
		return true
	}, nil, nothing)
	f("garbage around", func(b *bench, g got) bool {
		b.h.raw("\x00noise ##" + hostFrame("no packet") + strings.Replace(hostFrame("x"), "0001", "0009", 1))
		return true
	}, nil, func(b *bench, c Counts) {
		if c.Broken != 1 || c.Lengths != 3 || c.Garbage == 0 || c.Confirmed != 1 {
			b.t.Errorf("%+v", c)
		}
		after(time.Minute)
		if log := b.log.String(); strings.Count(log, "counted on the line") != 1 || !strings.Contains(log, "wrong_length=3 unreadable=1") {
			b.t.Errorf("log %s", log)
		}
	})
}

func TestSplitUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{}
		b := newBench(t, func(o *Options) {
			stats(o)
			o.Factors = nil
			for i := range 40 {
				name := "t" + string(rune('a'+i/20)) + string(rune('a'+i%20))
				names = append(names, name)
				o.Factors = append(o.Factors, Factor{Tag: name, Code: "a" + name, Decimals: 1, Hold: time.Minute})
			}
		})
		for _, n := range names {
			b.record(n, day0+10*second, 1, tag.GoodQuality)
		}
		after(20 * time.Minute)
		s := b.connect()
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		m := b.h.frames("2051")
		if len(m) < 3 {
			t.Fatalf("%d packets", len(m))
		}
		seen := 0
		for i, g := range m {
			if g.flag != "7" || g.pnum != string(rune('0'+len(m))) || g.pno != string(rune('1'+i)) || i > 0 && g.qn <= m[i-1].qn {
				t.Errorf("%+v", g)
			}
			expect(t, "time", g.cp[:24], "DataTime=20250801000000;")
			seen += strings.Count(g.cp, "-Flag=")
		}
		if seen != 40 || b.d.Counts().Confirmed != uint64(len(m)) {
			t.Errorf("%d factors, %+v", seen, b.d.Counts())
		}
		s.Close()
	})
}

func TestEventsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.Events = LogAnswered })
		s := b.connect()
		v, _ := tag.Float64Value(31.2)
		nh3 := &wire.TableTag{Name: "nh3.ppm", Unit: "ppm"}
		at := tag.Stamp{Wall: day0 + 5*second}
		err := s.Send(t.Context(), []feed.Record{
			{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.AlarmRaised), At: at, Rule: "氨//high", Value: v, Quality: tag.GoodQuality}, Tag: nh3},
			{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.AlarmRaised), At: at, Rule: "fault", Value: v, Quality: tag.BadSensor}, Tag: nh3},
			{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.ForceBegan), At: at, Rule: "p", Value: v}, Tag: nh3},
			{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.AlarmAcked), At: at, Rule: "氨.high"}},
			{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.InterlockTripped), At: tag.Stamp{Wall: 5}, Rule: "stop"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "log", b.cps("3020"), "DataTime=20250801000005;PolId=a21001;i21001-Info=//报警：氨/ /high，nh3.ppm 31.2 ppm//\n"+
			"DataTime=20250801000005;PolId=a21001;i21001-Info=//报警：fault，nh3.ppm - ppm//\n"+ // a bad value is none
			"DataTime=20250801000005;PolId=a21001;i21001-Info=//强制开始：nh3.ppm 31.2 ppm//\n"+
			"DataTime=20250801000000;i21001-Info=//联锁动作：stop（时钟未校准，时刻为发送时刻）//")
		if err := s.Send(t.Context(), []feed.Record{{Stream: wire.HealthStream, Event: &wire.Event{}}}); err != nil {
			t.Fatal(err)
		}
		if c := b.d.Counts(); c.LeftOut["event 3"] != 1 || c.LeftOut[wire.HealthStream] != 1 || c.Confirmed != 4 {
			t.Errorf("%+v", c)
		}
		s.Close()
	})
}

// A host that does not know the log is not asked to answer it.
func TestLogWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.Events = LogUnanswered })
		s := b.connect()
		b.h.setAct(func(g got) bool { return g.cn != "3020" })
		if err := s.Send(t.Context(), []feed.Record{{Stream: wire.EventStream, Event: &wire.Event{Kind: uint32(rules.InterlockTripped), Rule: "stop"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if g := b.h.frames("3020"); len(g) != 1 || g[0].flag != "4" {
			t.Errorf("%+v", g)
		}
		s.Close()
	})
}

// Over a real connection, to a host that goes and comes again.
func TestOverTCP(t *testing.T) {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	b := newBench(t, func(o *Options) {
		stats(o)
		o.Dial = DialTCP(listen.Addr().String())
		o.Now = func() tag.Stamp { return tag.Stamp{Wall: day0 + 3600*second} }
	})
	for i := range int64(180) {
		b.record("nh3.ppm", day0+i*10*second, 1, tag.GoodQuality)
	}
	up := func() (feed.Session, *host) {
		s := b.connect()
		conn, err := listen.Accept()
		if err != nil {
			t.Fatal(err)
		}
		h := &host{t: t, conn: conn}
		b.hosts = append(b.hosts, conn)
		return s, h
	}
	s, h := up()
	h.act = func(g got) bool {
		if g.cp[len("DataTime="):len("DataTime=YYYYMMDDhhmmss")] == "20250801001000" {
			conn := h.conn.(*net.TCPConn)
			conn.SetLinger(0)
			conn.Close() // a reset
			return false
		}
		return true
	}
	b.wait.Go(h.run)
	if err := b.send(s); err == nil {
		t.Error("a connection that was reset confirms everything")
	}
	s.Close()
	s, again := up()
	again.drip = true
	b.wait.Go(again.run)
	if err := b.send(s); err != nil {
		t.Fatal(err)
	}
	expect(t, "before and after", times(h.frames("2051"))+" | "+times(again.frames("2051")), "000000 001000 | 001000 002000")
	s.Close()
}

// Without answers what was written counts, and a heartbeat keeps the line alive.
func TestWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) {
			stats(o)
			o.Answers, o.Edition, o.Beat, o.BeatCN = false, Edition2025, 5*time.Minute, 9015
		})
		b.record("nh3.ppm", day0+10*second, 1, tag.GoodQuality)
		after(20 * time.Minute)
		s := b.connect()
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m := b.h.frames("2051"); len(m) != 1 || m[0].flag != "8" {
			t.Errorf("%+v", m)
		}
		after(11 * time.Minute)
		if n := b.h.frames("9015"); len(n) != 2 || n[0].flag != "8" || b.d.Counts().Beats != 2 {
			t.Errorf("%+v", n)
		}
		s.Close()
	})
}

// A PW that is none, or is not there, is told, and nothing is sent.
func TestWithoutPW(t *testing.T) {
	for _, pw := range []func() (string, error){
		func() (string, error) { return "", errors.New("no secret eco-pw") },
		func() (string, error) { return "12;456", nil },
		func() (string, error) { return "1234567", nil },
	} {
		b := newBench(t, func(o *Options) { o.PW = pw })
		if s, err := b.d.Connect(t.Context()); err == nil {
			t.Error("connected")
			s.Close()
		}
		if b.h != nil {
			t.Error("dialled")
		}
	}
}

// A clock that was ahead and was set back: what it had stamped is not shown as
// how it is now, and what comes then is.
func TestRealtimeAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.Realtime = 30 * time.Second })
		s := b.connect()
		b.record("nh3.ppm", day0+3600*second, 5, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		after(31 * time.Second)
		expect(t, "of the future", b.cps("2011"), "DataTime=20250801000030;a21001-Flag=B;w00000-Flag=B")
		b.record("nh3.ppm", b.now().Wall, 7, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		b.h.clear()
		after(30 * time.Second)
		expect(t, "of now", b.cps("2011"), "DataTime=20250801000100;a21001-Rtd=7.00,a21001-Flag=N;w00000-Flag=B")
		s.Close()
	})
}
