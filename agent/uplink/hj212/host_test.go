package hj212

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"davy/agent/i18n"
	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
)

const mn = "010000A8900016F000169DC0"

// frameForm is what a strict host lets pass; nothing of the code under test is in it.
var frameForm = regexp.MustCompile(`^##([0-9]{4})(QN=([0-9]{17});ST=([0-9A-Z]{2});CN=([0-9]{4});PW=123456;MN=` + mn +
	`;Flag=([0-9]+);(?:PNUM=([0-9]+);PNO=([0-9]+);)?CP=&&(.*)&&)([0-9A-F]{4})\r\n$`)

// table is the checksum by bytes: the other way to compute it.
var table = func() (t [256]uint16) {
	for i := range t {
		x := uint16(i)
		for range 8 {
			x = x>>1 ^ -(x&1)&0xa001
		}
		t[i] = x
	}
	return t
}()

func hostSum(s string) string {
	reg := uint16(0xffff)
	for i := range len(s) {
		reg = table[byte(reg>>8)^s[i]]
	}
	return fmt.Sprintf("%04X", reg)
}

// got is one frame as the host has it.
type got struct {
	qn, st, cn, flag, pnum, pno, cp string
	at                              time.Time
}

// host is the other end: it answers data with 9014 unless a test says otherwise.
type host struct {
	t    *testing.T
	conn net.Conn
	mu   sync.Mutex
	all  []got
	// act, if not nil, is asked what to do with a frame before it is answered;
	// false: nothing.
	act func(g got) bool
	// drip lets everything go out byte by byte.
	drip bool
}

func (h *host) run() {
	in := bufio.NewReader(h.conn)
	lastQN := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if line != "" {
				h.t.Errorf("host: the connection ends within %q", line)
			}
			return
		}
		m := frameForm.FindStringSubmatch(line)
		if m == nil {
			h.t.Errorf("host: no frame: %q", line)
			return
		}
		if n, _ := strconv.Atoi(m[1]); n != len(m[2]) || n > 1024 || hostSum(m[2]) != m[10] {
			h.t.Errorf("host: length or checksum of %q", line)
		}
		g := got{m[3], m[4], m[5], m[6], m[7], m[8], m[9], time.Now()}
		if own := g.cn < "9000"; own && g.st != "91" && lastQN >= g.qn && !h.has(g) && !strings.HasPrefix(g.qn, "2016") {
			h.t.Errorf("host: QN %s after %s", g.qn, lastQN)
		} else if own {
			lastQN = max(lastQN, g.qn)
		}
		h.mu.Lock()
		h.all = append(h.all, g)
		act := h.act
		h.mu.Unlock()
		if act != nil && !act(g) {
			continue
		}
		if flag, _ := strconv.Atoi(g.flag); flag&1 == 1 && g.cn < "9000" {
			h.send(g.qn, "91", 9014, "")
		}
	}
}

func (h *host) has(g got) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.all {
		if o.qn == g.qn && o.cp == g.cp {
			return true
		}
	}
	return false
}

// send sends a packet of the host.
func (h *host) send(qn, st string, cn int, cp string) {
	h.raw(hostFrame(fmt.Sprintf("QN=%s;ST=%s;CN=%d;PW=123456;MN=%s;Flag=4;CP=&&%s&&", qn, st, cn, mn, cp)))
}

func hostFrame(seg string) string { return fmt.Sprintf("##%04d%s%s\r\n", len(seg), seg, hostSum(seg)) }

func (h *host) raw(s string) {
	step := len(s)
	if h.drip {
		step = 1
	}
	for len(s) > 0 {
		n := min(step, len(s))
		if _, err := io.WriteString(h.conn, s[:n]); err != nil {
			return
		}
		s = s[n:]
	}
}

// frames returns what came of a command, "" all, as CP.
func (h *host) frames(cn string) (out []got) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.all {
		if cn == "" || g.cn == cn {
			out = append(out, g)
		}
	}
	return out
}

func (h *host) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = nil
}

func (h *host) setAct(f func(got) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.act = f
}

// bench is a destination with its journal and its host, in a bubble: time is
// the bubble's, which begins at 2025-08-01 00:00 in Shanghai.
type bench struct {
	t     *testing.T
	d     *Destination
	h     *host
	began time.Time
	mu    sync.Mutex
	held  []feed.Record
	sent  int // of held
	next  uint64
	epoch wire.Epoch
	wait  sync.WaitGroup
	log   strings.Builder
	hosts []net.Conn
}

const day0 = 1753977600 * second // 2025-08-01 00:00 in Shanghai

func newBench(t *testing.T, change func(*Options)) *bench {
	b := &bench{t: t, began: time.Now(), epoch: wire.Epoch{1}}
	o := b.options()
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.d = d
	t.Cleanup(b.close)
	return b
}

func (b *bench) options() Options {
	return Options{
		Name: "eco", MN: mn, PW: func() (string, error) { return "123456", nil }, ST: "31", Edition: Edition2017, Zone: time.FixedZone("CST", 8*3600), Lang: i18n.Zh, Answers: true,
		Factors: []Factor{
			{Tag: "nh3.ppm", Code: "a21001", Decimals: 2, Hold: time.Minute},
			{Tag: "flow", Code: "w00000", Decimals: 1, Total: 0.001, Hold: time.Minute},
		},
		Dial: b.dial, Now: b.now, Past: b.past, Before: b.before, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
	}
}

func (b *bench) now() tag.Stamp {
	since := int64(time.Since(b.began))
	return tag.Stamp{Wall: day0 + since, Mono: since}
}

func (b *bench) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	h := &host{t: b.t, conn: theirs}
	if b.h != nil {
		h.act, h.drip = b.h.act, b.h.drip
	}
	b.h = h
	b.hosts = append(b.hosts, theirs)
	b.wait.Go(h.run)
	return ours, nil
}

func (b *bench) close() {
	for _, c := range b.hosts {
		c.Close()
	}
	b.wait.Wait()
}

func (b *bench) past(_ context.Context, from, to int64, f func(feed.Record)) error {
	b.mu.Lock()
	held := b.held[:len(b.held):len(b.held)]
	b.mu.Unlock()
	for _, r := range held {
		if at := r.Reading.Received.Wall; at >= from-3600*second && at < to+3600*second { // more than asked for
			f(r)
		}
	}
	return nil
}

func (b *bench) before(_ context.Context, wall int64) (last int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.held {
		if at := r.Reading.Received.Wall; at < wall {
			last = max(last, at)
		}
	}
	return last, nil
}

// record puts a reading into the journal.
func (b *bench) record(name string, wall int64, v float64, q tag.Quality) {
	value, _ := tag.Float64Value(v)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	b.held = append(b.held, feed.Record{
		Epoch: b.epoch, Stream: wire.ReadingStream, Number: b.next, Tag: &wire.TableTag{Name: name, Unit: "ppm"},
		Reading: &tag.Reading{Quality: q, Value: value, Received: tag.Stamp{Wall: wall}},
	})
}

// send gives a session what it was not given yet.
func (b *bench) send(s feed.Session) error {
	b.mu.Lock()
	batch := b.held[b.sent:]
	b.mu.Unlock()
	err := s.Send(b.t.Context(), batch)
	for errors.Is(err, feed.ErrLater) {
		err = s.Send(b.t.Context(), batch)
	}
	if err == nil {
		b.sent += len(batch)
	}
	return err
}

func (b *bench) connect() feed.Session {
	b.t.Helper()
	s, err := b.d.Connect(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// cps returns the CPs of what came of a command.
func (b *bench) cps(cn string) string {
	var out []string
	for _, g := range b.h.frames(cn) {
		out = append(out, g.cp)
	}
	return strings.Join(out, "\n")
}

func expect(t *testing.T, what, have, want string) {
	t.Helper()
	if have != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, have, want)
	}
}
