package modbus

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// identity43 answers identifications: the answers in turn, by the code and the
// object that were asked for.
func identity43(answers map[string]string) *scribe {
	s := &scribe{}
	s.answer = func(q []byte) []byte {
		a, ok := answers[hex.EncodeToString(q[9:11])]
		if !ok {
			return reply(q, q[7]|0x80, 1)
		}
		return reply(q, append([]byte{43, 14, q[9]}, a...)...)
	}
	return s
}

func TestIdentify(t *testing.T) {
	f := func(name string, answers map[string]string, want string, failure string) {
		t.Helper()
		bubble(t, identity43(answers).peer(), func(t *testing.T, l *link) {
			objects, err := Identifier(l).Identify(t.Context(), 3)
			var got []string
			for _, o := range objects {
				got = append(got, fmt.Sprintf("%d=%s", o.Number, o.Text))
			}
			if strings.Join(got, " ") != want || (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
				t.Errorf("%s: %v, %v; want %s, %s", name, got, err, want, failure)
			}
		})
	}
	basic := "\x01\x00\x00\x03\x00\x04Acme\x01\x02D1\x02\x03V12"
	f("basic", map[string]string{"0100": basic}, "0=Acme 1=D1 2=V12", "")
	f("in two", map[string]string{"0100": "\x01\xff\x01\x01\x00\x04Acme", "0101": "\x01\x00\x00\x02\x01\x02D1\x02\x01 "}, "0=Acme 1=D1 2=", "")
	f("regular", map[string]string{"0100": "\x82" + basic[1:], "0203": "\x82\x00\x00\x02\x03\x01u\x00\x05again"}, "0=Acme 1=D1 2=V12 3=u", "")
	f("regular promised", map[string]string{"0100": "\x82" + basic[1:]}, "0=Acme 1=D1 2=V12", "")
	f("not printable", map[string]string{"0100": "\x01\x00\x00\x01\x00\x05\x1b[2J\x00"}, "0=\ufffd[2J", "")
	f("unknown", nil, "", "identify plc station 3: exception 1 (illegal function)")
	f("round and round", map[string]string{"0100": "\x01\xff\x00\x01\x00\x04Acme"}, "0=Acme", "begins again")
	f("of nothing", map[string]string{"0100": "\x01\xff\x01\x00"}, "", "gives nothing")
	f("more objects than bytes", map[string]string{"0100": "\x01\x00\x00\x02\x00\x04Acme"}, "", "nonsense")
	f("an object longer than the answer", map[string]string{"0100": "\x01\x00\x00\x01\x00\xf0Acme"}, "", "nonsense")
	f("bytes left over", map[string]string{"0100": "\x01\x00\x00\x01\x00\x03Acme"}, "", "nonsense")

	endless := &scribe{answer: func(q []byte) []byte {
		return reply(q, 43, 14, q[9], 1, 0xff, q[10]+1, 1, q[10], 1, 'x')
	}}
	bubble(t, endless.peer(), func(t *testing.T, l *link) {
		if objects, err := l.Identify(t.Context(), 3); err == nil || len(objects) != maxIdentify {
			t.Errorf("%d objects, %v", len(objects), err)
		}
		if _, err := l.Identify(t.Context(), 256); err == nil {
			t.Error("station 256 was asked")
		}
	})
}

// It takes no longer than the link's timeout, and gives what it heard.
func TestIdentifyEnds(t *testing.T) {
	slow := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				time.Sleep(wait / 4)
				c.Write(reply(q, 43, 14, q[9], 1, 0xff, q[10]+1, 1, q[10], 1, 'x'))
			}
		}
	}}
	bubble(t, slow, func(t *testing.T, l *link) {
		from := time.Now()
		objects, err := l.Identify(t.Context(), 3)
		if took := time.Since(from); took > wait || err == nil || !slices.Contains(objects, Object{0, "x"}) {
			t.Errorf("it took %v: %v, %v", took, objects, err)
		}
	})
}
