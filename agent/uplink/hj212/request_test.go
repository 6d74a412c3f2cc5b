package hj212

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers/tag"
)

// answers returns what came with a QN: command and CP.
func (b *bench) answers(qn string) string {
	var out []string
	for _, g := range b.h.frames("") {
		if g.qn == qn {
			out = append(out, g.cn+" "+g.cp)
		}
	}
	return strings.Join(out, ", ")
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) {
			stats(o)
			o.Realtime = time.Minute
		})
		s := b.connect()
		b.h.drip = true
		n := 0
		f := func(cn int, cp, want string) {
			t.Helper()
			n++
			qn := fmt.Sprintf("20160801085857%03d", n)
			b.h.send(qn, "31", cn, cp)
			after(time.Second)
			expect(t, fmt.Sprint(cn, " ", cp), b.answers(qn), want)
		}
		raw := func(seg, want string) {
			t.Helper()
			b.h.raw(hostFrame(seg))
			after(time.Second)
			expect(t, seg, b.answers("20160801085857900"), want)
			b.h.clear()
		}
		// The words of tables C.1 to C.9 are refused, and nothing changes.
		f(1000, "OverTime=5;ReCount=3", "9011 QnRtn=2")
		f(1012, "SystemTime=20250801000000", "9011 QnRtn=2")
		f(1062, "RtdInterval=30", "9011 QnRtn=2")
		f(1064, "MinInterval=10", "9011 QnRtn=2")
		f(1072, "NewPW=654321", "9011 QnRtn=2")
		for cn := 3011; cn <= 3021; cn++ {
			f(cn, "PolId=w01018", "9011 QnRtn=2")
		}
		f(1011, "", "9011 QnRtn=1, 1011 SystemTime=2025080100"+b.minute()+", 9012 ExeRtn=1")
		f(1061, "", "9011 QnRtn=1, 1061 RtdInterval=60, 9012 ExeRtn=1")
		f(1063, "", "9011 QnRtn=1, 1063 MinInterval=10, 9012 ExeRtn=1")
		f(2011, "", "9011 QnRtn=1, 9012 ExeRtn=1")
		f(2012, "", "9013 ")
		f(2022, "", "9013 ")
		f(2021, "", "9011 QnRtn=2")
		f(4711, "", "9011 QnRtn=8")
		raw("QN=20160801085857900;ST=31;CN=1011;PW=654321;MN="+mn+";Flag=5;CP=&&&&", "9011 QnRtn=3")
		raw("QN=20160801085857900;ST=31;CN=1011;PW=123456;MN=F"+mn[1:]+";Flag=5;CP=&&&&", "9011 QnRtn=4")
		raw("QN=20160801085857900;ST=22;CN=1011;PW=123456;MN="+mn+";Flag=5;CP=&&&&", "9011 QnRtn=5")
		raw("QN=20160801085857900;ST=31;CN=1061;PW=123456;MN="+mn+";Flag=255;CP=&&&&", "9011 QnRtn=6")
		raw("QN=20160801085857900;ST=31;CN=1061;PW=123456;MN="+mn+";Flag=9;CP=&&&&", "9011 QnRtn=1, 1061 RtdInterval=60, 9012 ExeRtn=1") // 2025
		raw("QN=20160801085857900;ST=31;CN=1061;PW=123456;MN="+mn+";Flag=1;CP=&&&&", "9011 QnRtn=1, 1061 RtdInterval=60, 9012 ExeRtn=1") // 2005
		b.h.raw(hostFrame("QN=2016;ST=31;CN=1061;PW=123456;MN=" + mn + ";Flag=5;CP=&&&&"))
		after(time.Second)
		expect(t, "a QN that is none", b.cps(""), "QnRtn=7")
		b.h.clear()
		// One that comes in two packets.
		b.h.raw(hostFrame("QN=20160801085857900;ST=31;CN=1000;PW=123456;MN=" + mn + ";Flag=7;PNUM=2;PNO=1;CP=&&OverTime=5&&"))
		raw("QN=20160801085857900;ST=31;CN=1000;PW=123456;MN="+mn+";Flag=7;PNUM=2;PNO=2;CP=&&ReCount=3&&", "9011 QnRtn=2")
		if o := b.d.o; o.OverTime != DefaultOverTime || o.Realtime != time.Minute || b.d.key() != "123456" {
			t.Errorf("%+v", o)
		}
		// 2012 keeps real-time data back on this connection until it is asked for.
		b.record("nh3.ppm", b.now().Wall, 1, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Minute)
		expect(t, "real-time data", b.cps("2011"), "")
		f(2011, "", "9011 QnRtn=1, 9012 ExeRtn=1")
		after(time.Minute)
		if n := len(b.h.frames("2011")); n != 2 { // at once and after a minute
			t.Errorf("%d of it", n)
		}
		// A flood.
		b.h.clear()
		b.h.drip = false
		for range 3 * maxRequests {
			b.h.send("20160801085857901", "31", 1061, "")
		}
		synctest.Wait()
		if c := b.d.Counts(); c.Flooded != 2*maxRequests || len(b.h.frames("9011")) != maxRequests {
			t.Errorf("%d answered, %+v", len(b.h.frames("9011")), c)
		}
		if log := b.log.String(); !strings.Contains(log, "cn=1012 code=2") {
			t.Errorf("log %s", log)
		}
		s.Close()
	})
}

// minute is minutes and seconds of now.
func (b *bench) minute() string { return b.d.local(b.now().Wall)[10:] }

func TestWhatAgreesIsAnsweredAsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) {
			stats(o)
			o.Realtime, o.Settings = time.Minute, Compare // no real-time data within the test
		})
		s := b.connect()
		n := 0
		f := func(cn int, cp, want string) {
			t.Helper()
			n++
			qn := fmt.Sprintf("20160801085857%03d", n)
			b.h.send(qn, "31", cn, cp)
			after(100 * time.Millisecond)
			expect(t, fmt.Sprint(cn, " ", cp), b.answers(qn), want)
		}
		const done, refused = "9011 QnRtn=1, 9012 ExeRtn=1", "9011 QnRtn=2"
		f(1000, "OverTime=10;ReCount=3", done)
		f(1000, "OverTime=10;ReCount=4", refused)
		f(1000, "OverTime=10", refused)
		f(1062, "RtdInterval=60", done)
		f(1062, "RtdInterval=61", refused)
		f(1064, "MinInterval=10", done)
		f(1064, "MinInterval=5", refused)
		f(1012, "SystemTime=20250801000002", done)
		f(1012, "SystemTime=20250801000003", refused)
		f(1012, "PolId=w01018;SystemTime=20250801000000", refused) // of an instrument
		f(1012, "SystemTime=now", refused)
		f(1072, "NewPW=123456", refused)
		s.Close()
	})
}

func TestHistoryOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		b.hours(nil, 5*time.Hour, func(sec int64) (float64, tag.Quality) { return float64(sec / 3600), tag.GoodQuality })
		s := b.connect()
		n := 0
		ask := func(cn int, from, to string) string {
			n++
			qn := fmt.Sprintf("20160801085857%03d", n)
			b.h.send(qn, "31", cn, "BeginTime="+from+";EndTime="+to)
			return qn
		}
		f := func(cn int, from, to, want, result string) {
			t.Helper()
			b.h.clear()
			qn := ask(cn, from, to)
			after(time.Minute)
			expect(t, fmt.Sprint(cn, " ", from, " ", to), times(b.h.frames(fmt.Sprint(cn))), want)
			expect(t, fmt.Sprint(cn, " ", from, " ", to), b.answers(qn), "9011 QnRtn=1, 9012 ExeRtn="+result)
			all := b.h.frames("")
			if all[0].cn != "9011" || all[len(all)-1].cn != "9012" {
				t.Errorf("%s first, %s last", all[0].cn, all[len(all)-1].cn)
			}
		}
		f(2061, "20250801000000", "20250801000000", "000000", "1") // as tables C.21 and C.47 ask for one hour
		f(2061, "20250801003000", "20250801030000", "010000 020000 030000", "1")
		f(2051, "20250801010000", "20250801013500", "010000 011000 012000 013000", "1")
		f(2061, "20250801000000", "20250802000000", "000000 010000 020000 030000 040000", "1") // the sixth is not over
		f(2061, "20250701000000", "20250701100000", "", "100")
		f(2031, "20250801000000", "20250801000000", "", "100")
		f(2061, "20250801020000", "20250801010000", "", "3")
		f(2061, "yesterday", "20250801010000", "", "3")
		f(2051, "20250601000000", "20250801010000", "", "3") // too much at once
		f(2051, "00010101000000", "99991231000000", "", "3")
		h := b.h
		h.clear()
		ask(2061, "20250801010000", "20250801010000")
		after(time.Second)
		expect(t, "an hour", b.cps("2061"), "DataTime=20250801010000;a21001-Min=1.00,a21001-Avg=1.00,a21001-Max=1.00,a21001-Flag=N;w00000-Cou=7.2,w00000-Min=2.0,w00000-Avg=2.0,w00000-Max=2.0,w00000-Flag=N")
		// One at a time, and one waits.
		h.clear()
		one, two, three := ask(2051, "20250801000000", "20250801030000"), "", ""
		after(time.Second)
		two = ask(2061, "20250801000000", "20250801000000")
		synctest.Wait()
		three = ask(2061, "20250801000000", "20250801000000")
		after(time.Minute)
		expect(t, "the second", b.answers(two), "9011 QnRtn=1, 9012 ExeRtn=1")
		expect(t, "the third", b.answers(three), "9011 QnRtn=1, 9012 ExeRtn=5")
		m := h.frames("2051")
		if b.answers(one) != "9011 QnRtn=1, 9012 ExeRtn=1" || len(m) != 19 || m[18].at.Sub(m[0].at) != 18*DefaultPace {
			t.Errorf("%s: %d in %v", b.answers(one), len(m), m[18].at.Sub(m[0].at))
		}
		s.Close()
	})
}
