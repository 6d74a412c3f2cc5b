package hj212

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const example = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"

// foreign are whole frames that others made: the example of appendix A, and
// frames that devices in the field sent, as people published them.
var foreign = []struct{ from, frame string }{
	{"HJ 212-2017 appendix A", "##0101" + example + "1C80\r\n"},
	{
		"an air station, CSDN article 143863664", "##0313QN=20241115190408000;ST=27;CN=2011;PW=123456;MN=AQI2411132600332;Flag=5;CP=&&DataTime=20241115190408;" +
			"a21026-Rtd=117;a21004-Rtd=16;o31104-Rtd=29;a21005-Rtd=0.14;a34004-Rtd=6;a34002-Rtd=6;a34001-Rtd=6;a01001-Rtd=28.1;a01002-Rtd=68;" +
			"LA-Rtd=49;a01006-Rtd=1002;a06001-Rtd=0.0;a04003-Rtd=0;a01007-Rtd=0.0;a01008-Rtd=70&&9901\r\n",
	},
	{
		"readme of the library HJ212Interpreter", "##0162QN=20231008123340461;ST=22;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20231008123340;" +
			"w01008-SampleTime=20231008123340,w01008-Rtd=123.456&&F441\r\n",
	},
	{
		"minute data, example client of the library flash520/hj212", "##0411QN=20220513162608370;ST=22;CN=2051;PW=123456;MN=JLYP01_AIR01_0001;Flag=4;CP=&&DataTime=20220513162600;" +
			"a21004-Avg=4,a21004-Flag=N;a05024-Avg=63,a05024-Flag=N;a21026-Avg=6,a21026-Flag=N;a21005-Avg=0.427,a21005-Flag=N;a34004-Avg=14,a34004-Flag=N;" +
			"a34002-Avg=31,a34002-Flag=N;a01007-Avg=1,a01007-Flag=N;a01008-Avg=11,a01008-Flag=N;a01001-Avg=17,a01001-Flag=N;a01002-Avg=85,a01002-Flag=N;" +
			"a01006-Avg=95,a01006-Flag=N&&D641\r\n",
	},
	{"edition of 2025, test of a public framer", "##0087QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&2200\r\n"},
	{
		"edition of 2005, a public parser", "##0245ST=32;CN=2051;PW=123456;MN=12091200160055;CP=&&DataTime=20150430135700;B01-Min=895.13,B01-Avg=909.87,B01-Max=932.28,B01-Cou=54.59;" +
			"011-Min=999.99,011-Avg=999.99,011-Max=999.99,011-Cou=54.59;060-Min=30.18,060-Avg=30.18,060-Max=30.18,060-Cou=1.65&&7640\r\n",
	},
}

func TestChecksum(t *testing.T) {
	f := func(text string, want uint16) {
		t.Helper()
		if got := CRC([]byte(text)); got != want {
			t.Errorf("%.40q: %04X, want %04X", text, got, want)
		}
	}
	f(example, 0x1C80)
	f("", 0xffff)
	f("123456789", 0x2F80)
	f("QN=20240101080000000;ST=91;CN=9014;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&", 0xCE81)
	if got := string(AppendFrame(nil, []byte(example))); got != foreign[0].frame {
		t.Errorf("frame %q", got)
	}
}

// split returns the segments of a stream that comes in pieces of n bytes.
func split(stream string, n int) (out []string, noise Noise) {
	var s Splitter
	for b := []byte(stream); len(b) > 0; {
		k := min(n, len(b))
		s.Feed(b[:k], func(seg []byte) { out = append(out, string(seg)) })
		b = b[k:]
	}
	return out, s.Noise
}

func TestForeignFrames(t *testing.T) {
	for _, c := range foreign {
		want := c.frame[6 : len(c.frame)-6]
		for _, n := range []int{1, 2, 3, 7, 64, 4096} {
			got, noise := split(c.frame+c.frame, n)
			if len(got) != 2 || got[0] != want || got[1] != want || noise != (Noise{}) {
				t.Errorf("%s in pieces of %d: %d frames, %+v", c.from, n, len(got), noise)
			}
		}
		p, err := ParsePacket([]byte(want))
		if err != nil {
			t.Errorf("%s: %v", c.from, err)
		}
		if p.QN != "" {
			if again := string(p.Append(nil)); again != want {
				t.Errorf("%s: written again\n%s\n%s", c.from, again, want)
			}
		}
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	good := foreign[0].frame
	f := func(stream string, frames int, want Noise) {
		t.Helper()
		for _, n := range []int{1, 5, 4096} {
			got, noise := split(stream, n)
			noise.Garbage = 0
			if len(got) != frames || noise != want {
				t.Errorf("%.60q in pieces of %d: %d frames, %+v; want %d, %+v", stream, n, len(got), noise, frames, want)
			}
		}
	}
	f("garbage # and \r\n\x00\xff"+good+"more", 1, Noise{})
	f("#"+good, 1, Noise{Lengths: 1})
	f("####"+good, 1, Noise{Lengths: 4})
	f(strings.Replace(good, "1C80", "1C81", 1)+good, 1, Noise{CRCs: 1})
	f(strings.Replace(good, "1C80", "0759", 1)+good, 1, Noise{CRCs: 1}) // of Modbus
	f(strings.Replace(good, "1C80", "1c80", 1), 1, Noise{})
	f(strings.Replace(good, "1C80", "1x80", 1)+good, 1, Noise{CRCs: 1})
	f(strings.Replace(good, "0101", "0100", 1)+good, 1, Noise{Lengths: 1})
	f(strings.Replace(good, "0101", "0102", 1)+good, 1, Noise{Lengths: 1})
	f(strings.Replace(good, "0101", "1024", 1)+good, 1, Noise{Lengths: 1}) // the line ends too early
	f(strings.Replace(good, "0101", "1025", 1)+good, 1, Noise{TooLong: 1})
	f(strings.Replace(good, "0101", "9999", 1)+good, 1, Noise{TooLong: 1})
	f(strings.Replace(good, "0101", "01x1", 1)+good, 1, Noise{Lengths: 1})
	f(strings.Replace(good, "0101", "-101", 1)+good, 1, Noise{Lengths: 1})
	f(good[:50]+good, 1, Noise{Lengths: 1})
	f(strings.TrimSuffix(good, "\r\n")+good, 1, Noise{Lengths: 1})
	f("##0000FFFF\r\n"+good, 2, Noise{})
	f(strings.Repeat("##", 5000)+good, 1, Noise{Lengths: 10000})
}

// In any pieces, with anything between them, every frame comes out once.
func TestPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []string
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			stream = append(stream, rapid.SliceOfN(rapid.ByteRange('$', 'z'), 0, 40).Draw(t, "between")...)
			seg := rapid.StringMatching(`[ -~]{0,200}`).Draw(t, "segment")
			stream = AppendFrame(stream, []byte(seg))
			want = append(want, seg)
		}
		var s Splitter
		var got []string
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "piece")
			s.Feed(stream[:n], func(seg []byte) { got = append(got, string(seg)) })
			stream = stream[n:]
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func FuzzSplitter(f *testing.F) {
	for _, c := range foreign {
		f.Add([]byte("x#"+c.frame+"##0005"+c.frame), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		var s Splitter
		var all [][]byte
		n := 0
		for b := stream; len(b) > 0; {
			k := min(int(piece)+1, len(b))
			s.Feed(b[:k], func(seg []byte) {
				all = append(all, bytes.Clone(seg))
				n += len(seg) + frameHead + frameTail
			})
			if len(s.buf) >= maxFrame || cap(s.buf) > 2*maxFrame {
				t.Fatalf("holds %d of %d bytes", len(s.buf), cap(s.buf))
			}
			b = b[k:]
		}
		if n+int(s.Noise.Garbage)+len(s.buf) != len(stream) {
			t.Fatalf("%d in frames, %d garbage, %d held, of %d", n, s.Noise.Garbage, len(s.buf), len(stream))
		}
		whole, noise := split(string(stream), max(len(stream), 1))
		if len(whole) != len(all) || noise != s.Noise {
			t.Fatalf("in pieces %d frames %+v, at once %d %+v", len(all), s.Noise, len(whole), noise)
		}
		for _, seg := range all {
			p, err := ParsePacket(seg)
			if err != nil {
				continue
			}
			var j Joiner
			j.Add(p)
		}
	})
}
