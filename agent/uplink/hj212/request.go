package hj212

import (
	"crypto/subtle"
	"strconv"
	"time"
)

// Codes of QnRtn, table 7.
const (
	qnReady   = 1
	qnRefused = 2
	qnPW      = 3
	qnMN      = 4
	qnST      = 5
	qnFlag    = 6
	qnQN      = 7
	qnCN      = 8
)

// qnRtn names them in the log.
var qnRtn = map[int]string{qnRefused: "refused", qnPW: "wrong PW", qnMN: "wrong MN", qnST: "wrong ST", qnFlag: "wrong Flag", qnQN: "wrong QN", qnCN: "wrong CN", 9: "wrong CRC", 100: "unknown"}

// Codes of ExeRtn, table 6.
const (
	exeDone      = 1
	exeCondition = 3
	exeBusy      = 5
	exeFault     = 6
	exeNothing   = 100
)

// asked is a stretch of history that the host wants.
type asked struct {
	request Packet
	periods []period
	sent    int
}

// valid returns the QnRtn of a request by what every request has.
func (d *Destination) valid(p *Packet) int {
	switch {
	case subtle.ConstantTimeCompare([]byte(p.PW), []byte(d.key())) != 1:
		return qnPW
	case p.MN != d.o.MN:
		return qnMN
	case p.ST != d.o.ST && p.ST != "91":
		return qnST
	case p.Edition > Edition2025:
		return qnFlag
	case !isQN(p.QN):
		return qnQN
	}
	return qnReady
}

// isQN reports whether a host's QN is 17 digits: whatever time it says, it
// names the dialogue.
func isQN(s string) bool {
	_, ok := decimal([]byte(s))
	return ok && len(s) == len(layout)+3
}

// answer sends a packet with the QN of a request.
func (t *talker) answer(to *Packet, st string, cn int, fields ...Field) error {
	p := t.s.d.reply(to, st, cn, fields...)
	return t.write(&p)
}

func (d *Destination) reply(to *Packet, st string, cn int, fields ...Field) Packet {
	if !isQN(to.QN) { // what is none is not repeated: it may end our packet
		to = &Packet{QN: d.packet(cn, nil).QN}
	}
	p := Packet{QN: to.QN, ST: st, CN: cn, PW: d.key(), MN: d.o.MN, Edition: d.o.Edition}
	for _, f := range fields {
		p.CP = append(p.CP, Group{f})
	}
	return p
}

func rtn(key string, n int) Field { return Field{key, strconv.Itoa(n)} }

// refuse answers a request that is not carried out.
func (t *talker) refuse(p *Packet, code int) error {
	t.s.d.count(func(c *Counts) { c.Refused++ })
	if what := [2]int{p.CN, code}; !t.told[what] && len(t.told) < maxTold {
		t.told[what] = true
		t.s.d.o.Log.Warn("request refused", "destination", t.s.d.o.Name, "cn", p.CN, "code", code)
	}
	return t.answer(p, "91", cnRequest, rtn("QnRtn", code))
}

// carry answers a request that is carried out at once.
func (t *talker) carry(p *Packet, fields ...Field) error {
	t.s.d.count(func(c *Counts) { c.Requests++ })
	if err := t.answer(p, "91", cnRequest, rtn("QnRtn", qnReady)); err != nil {
		return err
	}
	if len(fields) > 0 {
		if err := t.answer(p, t.s.d.o.ST, p.CN, fields...); err != nil {
			return err
		}
	}
	return t.answer(p, "91", cnResult, rtn("ExeRtn", exeDone))
}

// request answers a command of the host. None of them changes anything here
// but whether this connection carries real-time data.
func (t *talker) request(p Packet) error {
	d := t.s.d
	if now := time.Now(); now.Sub(t.from) >= time.Second {
		t.from, t.count = now, 0
	}
	if t.count++; t.count > maxRequests {
		d.count(func(c *Counts) { c.Flooded++ })
		return nil
	}
	if code := d.valid(&p); code != qnReady {
		return t.refuse(&p, code)
	}
	switch p.CN {
	case 1011:
		return t.carry(&p, Field{"SystemTime", d.local(d.o.Now().Wall)})
	case 1061:
		return t.carry(&p, Field{"RtdInterval", strconv.FormatInt(int64(d.o.Realtime/time.Second), 10)})
	case 1063:
		return t.carry(&p, Field{"MinInterval", strconv.FormatInt(int64(d.o.Minute/time.Minute), 10)})
	case 1000, 1012, 1062, 1064:
		if d.o.Settings == Compare && d.agrees(&p) {
			return t.carry(&p)
		}
		return t.refuse(&p, qnRefused)
	case cnRealtime:
		t.live = true
		return t.carry(&p)
	case 2012, 2022:
		t.live = t.live && p.CN != 2012
		d.count(func(c *Counts) { c.Requests++ })
		return t.answer(&p, "91", cnNotice)
	case 2031, 2051, 2061:
		return t.history(p)
	case 2021, 2041, 1072, 3011, 3012, 3013, 3014, 3015, 3016, 3017, 3018, 3019, 3020, 3021:
		return t.refuse(&p, qnRefused)
	}
	return t.refuse(&p, qnCN)
}

// agrees reports whether what a command would set is so already.
func (d *Destination) agrees(p *Packet) bool {
	is := func(key string, n int64) bool {
		got, err := strconv.ParseInt(p.Get(key), 10, 64)
		return err == nil && got == n
	}
	switch p.CN {
	case 1000:
		return is("OverTime", int64(d.o.OverTime/time.Second)) && is("ReCount", int64(d.o.ReCount))
	case 1062:
		return is("RtdInterval", int64(d.o.Realtime/time.Second))
	case 1064:
		return is("MinInterval", int64(d.o.Minute/time.Minute))
	}
	wall, ok := d.parseLocal(p.Get("SystemTime"))
	off := wall - d.o.Now().Wall
	return ok && p.Get("PolId") == "" && max(off, -off) <= int64(ClockAgrees)
}

// history answers a request for a stretch of history; the periods themselves
// are the work of another goroutine.
func (t *talker) history(p Packet) error {
	d := t.s.d
	l := minuteLevel
	for k, cn := range commands {
		if cn == p.CN {
			l = level(k)
		}
	}
	if d.o.Minute == 0 {
		return t.refuse(&p, qnRefused)
	}
	result := func(code int) error {
		d.count(func(c *Counts) { c.Refused++ })
		if err := t.answer(&p, "91", cnRequest, rtn("QnRtn", qnReady)); err != nil {
			return err
		}
		return t.answer(&p, "91", cnResult, rtn("ExeRtn", code))
	}
	from, ok := d.parseLocal(p.Get("BeginTime"))
	to, ok2 := d.parseLocal(p.Get("EndTime"))
	if !ok || !ok2 || from > to {
		return result(exeCondition)
	}
	from = max(from, earliest)
	a := asked{request: p, periods: d.between(l, from, min(to, d.o.Now().Wall), MaxAsked)}
	if len(a.periods) > MaxAsked {
		return result(exeCondition)
	}
	select {
	case t.s.asked <- a:
	default:
		return result(exeBusy)
	}
	d.count(func(c *Counts) { c.Requests++ })
	return t.answer(&p, "91", cnRequest, rtn("QnRtn", qnReady))
}
