package hj212

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// printed are packets as the standard prints them in appendix C, with its
// slips; joined where the page breaks a line, and without what it leaves out
// by dots. again is how we write them, "" the same.
var printed = []struct{ table, text, again string }{
	{"C.1", "QN=20160801085857223;ST=32;CN=1000;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&OverTime=5;ReCount=3&&", ""},
	{"C.1", "QN=20160801085857223;ST=91;CN=9011;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&QnRtn=1&&", ""},
	{"C.1", "QN=20160801085857223;ST=91;CN=9012;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&ExeRtn=1&&", ""},
	{
		"C.2", "QN=20160801085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&& PolId=w01018;SystemTime=20160801085857&&",
		"QN=20160801085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&PolId=w01018;SystemTime=20160801085857&&",
	},
	{
		"C.4", "QN=20160801085857223;ST=91;CN=9013;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&& &&",
		"QN=20160801085857223;ST=91;CN=9013;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&",
	},
	{"C.10", "QN=20160801085857223;ST=32;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&&&", ""},
	{
		"C.14", "QN=20160801085857223;ST=32;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801085857;" +
			"w01001-Rtd=7.1,w01001-Flag=N;w01018-SampleTime=20160801070000,01018-Rtd=2.2,w01018-Flag=N,w01018-EFlag=A01&&", "",
	},
	{
		"C.16", "QN=20160801085000001;ST=32;CN=2051;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801084000;" +
			"w00000-Cou=10.5,w00000-Min=16.4,w00000-Avg=17.5,w00000-Max=20.1,w00000-Flag=N;w01001-Min=7.1,w01001-Avg=7.5,w01001-Max=7.8,w01001-Flag=N;" +
			"w01018-Cou=10.5,w01018-Min=40.1,w01018-Avg=40.1,w01018-Max=40.1,w01018-Flag=N&&", "",
	},
	{
		"C.19", "QN=20160802000000001;ST=32;CN=2041;PW=123456;MN=010000A8900016F000169DC0;Flag=5CP=&&DataTime=20160801000000;SB1-RT=1.1;SB2-RT=2.1&&",
		"QN=20160802000000001;ST=32;CN=2041;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801000000;SB1-RT=1.1;SB2-RT=2.1&&",
	},
	{"C.20", "QN=20160801085857223;ST=32;CN=2051;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&BeginTime=20160801084000;EndTime=20160801084000&&", ""},
	{
		"C.22", "QN=20160801085857534,ST=32;CN=2031;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801000000&&",
		"QN=20160801085857534;ST=32;CN=2031;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801000000&&",
	},
	{"C.23", "QN=20160801085857223;ST=32;CN=2041;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&BeginTime=20160801000000,EndTime=20160801000000&&", ""},
	{"C.24", "QN=20160801085857223;ST=32;CN=2081;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20160801085857;RestartTime=20160801085624&&", ""},
	{"C.40", "QN=20160801085857223;ST=32;CN=3020;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20100301145000;PolId=w01018;i11001-Info=//清洗管路//&&", ""},
	{
		"C.42", "QN=20160801085857223;ST=32;CN=3020;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20100301145000;PolId=w01018;i12001-Info=1;i12003-Info =0&&",
		"QN=20160801085857223;ST=32;CN=3020;PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&DataTime=20100301145000;PolId=w01018;i12001-Info=1;i12003-Info=0&&",
	},
	{
		"C.50", "QN=20160801085857534;ST=32;CN=2061;PW=123456;MN=010000A8900016F000169DC0;Flag=7;PNUM=2;PNO=1;CP=&&DataTime=20160801080000;" +
			"w00000-Cou=63.0,w00000-Min=16.4,w00000-Avg=17.5,w00000-Max=20.1,w00000-Flag=N;w01001-Min=7.1,w01001-Avg=7.5,w01001-Max=7.8,w01001-Flag=N&&", "",
	},
	{
		"C.50", "QN=20160801085857535;ST=32;CN=2061;PW=123456;MN=010000A8900016F000169DC0;Flag=7;PNUM=2;PNO=2;CP=&&DataTime=20160801080000;" +
			"w01018-Cou=63.0,w01018-Min=40.1,w01018-Avg=40.1,w01018-Max=40.1,w01018-Flag=N&&", "",
	},
}

func TestThePacketsOfTheStandard(t *testing.T) {
	for _, c := range printed {
		p, err := ParsePacket([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.table, err)
			continue
		}
		want := c.again
		if want == "" {
			want = c.text
		}
		if got := string(p.Append(nil)); got != want {
			t.Errorf("%s\n%s\n%s", c.table, got, want)
		}
	}
}

func TestSplitCommandsBecomeWhole(t *testing.T) {
	parse := func(s string) Packet {
		p, err := ParsePacket([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := parse(printed[len(printed)-2].text), parse(printed[len(printed)-1].text)
	var j Joiner
	if _, ok := j.Add(one); ok {
		t.Error("one of two is the whole")
	}
	got, ok := j.Add(two)
	if !ok || got.Get("DataTime") != "20160801080000" || got.Get("w01001-Avg") != "7.5" || got.Get("w01018-Avg") != "40.1" || len(got.CP) != 4 || j.Dropped != 0 {
		t.Errorf("%v %+v, %d dropped", ok, got, j.Dropped)
	}
	if _, ok := j.Add(two); ok || j.Dropped != 1 {
		t.Errorf("the second alone: %v, %d dropped", ok, j.Dropped)
	}
	j.Add(one)
	if _, ok := j.Add(parse(example)); !ok || j.Dropped != 2 {
		t.Errorf("another command between: %v, %d dropped", ok, j.Dropped)
	}
	long := one
	long.PNUM = maxPieces + 1
	if _, ok := j.Add(long); ok || j.Dropped != 3 {
		t.Errorf("a row too long: %v, %d dropped", ok, j.Dropped)
	}
}

func TestPacksFit(t *testing.T) {
	first := Group{{"DataTime", "20160801080000"}}
	var rest []Group
	for i := range 60 {
		rest = append(rest, Group{{fmt.Sprintf("a%05d-Avg", i), "17.5"}, {fmt.Sprintf("a%05d-Flag", i), "N"}})
	}
	rest = append(rest, Group{{"w01018-Info", strings.Repeat("x", MaxCP)}})
	packs, left := pack(first, rest)
	if left != 1 || len(packs) < 2 {
		t.Fatalf("%d packets, %d left out", len(packs), left)
	}
	var got []Group
	for i, p := range packs {
		if !reflect.DeepEqual(p[0], first) {
			t.Errorf("packet %d begins with %v", i, p[0])
		}
		pkt := Packet{QN: "20160801085857534", ST: "32", CN: 2061, PW: "123456", MN: "010000A8900016F000169DC0", Edition: Edition2025, Answer: true, PNUM: 9999, PNO: 9999, CP: p}
		seg := string(pkt.Append(nil))
		cp := seg[strings.Index(seg, "CP=&&"):]
		if len(cp) > 950 || len(seg) > 1024 {
			t.Errorf("packet %d: CP %d, segment %d", i, len(cp), len(seg))
		}
		got = append(got, p[1:]...)
	}
	if !reflect.DeepEqual(got, rest[:60]) {
		t.Error("groups are lost, doubled or out of order")
	}
	text := Group{{logInfo, "//" + strings.Repeat("x", MaxLog) + "//"}}
	if packs, left := pack(first, []Group{{{"PolId", strings.Repeat("a", MaxCode)}}, text}); left != 0 || len(packs) != 1 {
		t.Errorf("the longest text: %d packets, %d left out", len(packs), left)
	}
}

func TestQNGrows(t *testing.T) {
	var c clock
	wall := int64(1470013137223) * 1e6 // 2016-08-01 00:58:57.223 UTC
	f := func(wall int64, east int, want string) {
		t.Helper()
		if got := c.next(wall, east); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(wall, 8*3600, "20160801085857223")
	f(wall, 8*3600, "20160801085857224")
	f(wall+1e6, 8*3600, "20160801085857225")
	f(wall+60e9, 8*3600, "20160801085957223")
	f(wall-3600e9, 8*3600, "20160801085957224") // set back
	f(wall+61e9, 7*3600, "20160801085957225")   // a summer ended
}

func TestTextOfTheLog(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := logText(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("报警：氨.high，31.2 ppm", "报警：氨.high，31.2 ppm")
	f("a//b&&c##d\r\ne", "a/ /b& &c# #d  e")
	f("////", "")
	f("///x/", "x")
	if got := logText(strings.Repeat("警", 400)); len(got) > MaxLog || !strings.HasPrefix(got, "警") || len(got) < MaxLog-3 || strings.ContainsRune(got, '�') {
		t.Errorf("%d bytes", len(got))
	}
}
