package hj212

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// sink is a connection on which everything is sent and nothing comes.
type sink struct {
	net.Conn
	frames int
	split  Splitter
}

func (c *sink) Write(b []byte) (int, error) {
	c.split.Feed(b, func([]byte) { c.frames++ })
	return len(b), nil
}

func (c *sink) SetWriteDeadline(time.Time) error { return nil }

// Whatever a host asks with the right PW and MN is answered with whole frames,
// and changes nothing.
func FuzzRequest(f *testing.F) {
	for _, c := range printed {
		f.Add([]byte(c.text))
	}
	f.Add([]byte("QN=20160801085857223;ST=31;CN=2051;Flag=5;CP=&&BeginTime=20250801000000;EndTime=20250801001000&&"))
	f.Add([]byte("QN=0\r0,CN=1CP=&&&&")) // it was repeated as it came
	f.Fuzz(func(t *testing.T, segment []byte) {
		p, err := ParsePacket(segment)
		if err != nil {
			return
		}
		o := (&bench{t: t}).options()
		stats(&o)
		o.Settings, o.Log = Compare, slog.New(slog.NewTextHandler(io.Discard, nil))
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		d.pw = "123456"
		p.PW, p.MN = d.pw, o.MN
		c := &sink{}
		s := &session{d: d, conn: c, ctx: context.Background(), asked: make(chan asked, 1)}
		talk := &talker{s: s, told: map[[2]int]bool{}}
		if err := talk.take(p); err != nil {
			t.Fatal(err)
		}
		n := d.Counts()
		if c.split.Noise != (Noise{}) || uint64(c.frames) != n.Frames || c.frames > 3 {
			t.Fatalf("%d frames, %+v", c.frames, n)
		}
		if d.pw != "123456" || d.o.Realtime != o.Realtime || d.o.Minute != o.Minute || d.o.OverTime != DefaultOverTime || d.o.ReCount != DefaultReCount {
			t.Fatalf("%+v", d.o)
		}
		if len(s.asked) == 1 {
			if a := <-s.asked; len(a.periods) > MaxAsked {
				t.Fatalf("%d periods", len(a.periods))
			}
		}
	})
}
