package modbus

// A line has no transaction ids. An answer says from which station it is, to
// which function, and how long it is (a write's gives back what was written):
// its shape. Nothing else tells it from the answer to an earlier request.
//
// What is done about it:
//
//   - One request is under way on a line, and an answer counts only if it comes
//     within its wait, with the shape of its request and a good check sum. Before
//     a request everything that has come is read away, and what comes before the
//     request itself can have left, at the line's speed, is dropped.
//   - A request without an answer (silence, a cancelled context, a connection
//     lost) puts its station in doubt: nothing is asked of it for late_max, by
//     default four times its longest answer seen and at least LateLeast. Other
//     stations go on: an answer with another's number is no answer to them.
//   - The first request after that must have a shape that none of the open
//     requests has; the plan has longer forms of its blocks for that. A frame of
//     an open request's shape is a late answer: counted, dropped, the wait goes
//     on. A station answers in order, and so does a bridge's queue; so once an
//     answer of another shape has come, all that was owed before it has come or
//     never will, and the station is out of doubt. The wait is therefore the first
//     guard and the shape the second, which no lateness defeats.
//   - A write does not wait for that, unless one of its function is open: what is
//     owed to a read has another function and is no confirmation. Its answer is
//     the station's word on the write alone, and ends the doubt only where the
//     wait is over.
//   - Requests in a row to a station and function differ in shape where the map
//     allows it (split_form.go), so that a doubled answer fits nothing.
//
// Where the map allows no other shape (a single register and no gaps, or the
// same write again) the station is asked to give back a number made up for the
// purpose (function 8). A station that does not know the function refuses it,
// and that proves as much: a refusal of function 8 answers nothing else, and no
// two are under way within three late_max. Only where a station is deaf to
// function 8 too is time all there is: it is left alone for twice late_max, its
// next answer is thrown away, it is left alone for late_max once more, and then
// believed. What lies beyond: a map of one shape at a station that never answered
// function 8, or not MaxMutes times in a row, whose answer comes more than three
// late_max late. And everywhere a doubled answer that comes within the wait of the next
// request of the same shape, where the map allows no other (LongerTries). An identity register
// in the template narrows both, and late_max can be raised.
//
// While Davy listens for another master, or is silent because of one, outputs are
// not written either: two masters that speak at once spoil both, and a site where
// an output must act all the same says `other_master: allow`. There the line has
// another's answers too. One that follows a request to our station and function,
// heard before ours or within its wait, is never taken for ours; the wait then
// ends in doubt. An answer to a request that was not heard is beyond.
//
// A two-wire adapter may hear what it sends. That is seen from the first read,
// whose echo is no answer; only a write that is the very first thing on such a
// line could take its echo for the confirmation, where `echo: yes` is not written.
//
// The doubt outlives a connection, because bridges queue answers; it does not
// outlive the process, so that a line begins with ListenFor of silence.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// What bounds a line.
const (
	// ListenFor is how long a line is listened to before the first byte.
	ListenFor = 3 * time.Second
	// listenSlice is how much of that one call takes at the most.
	listenSlice = time.Second
	// SilentFor is how long no other master may be heard before Davy speaks again.
	SilentFor = time.Minute
	// listenAgain is how often it looks meanwhile.
	listenAgain = 5 * time.Second

	// LateLeast is the least late_max where nobody wrote one, MaxLateMax the most.
	LateLeast  = time.Second
	lateFactor = 4

	// MaxOpen is how many shapes of unanswered requests a station can have; with
	// more only function 8 can prove anything.
	MaxOpen = 16
	// MaxMutes is how often in a row a station that once answered function 8 may
	// not answer it before it is taken for one that does not.
	MaxMutes = 5
	// maxPast is how many of the last shapes asked of a station are remembered, to
	// know an answer that nobody waits for from another master.
	maxPast = 8

	// laterMost is how far ahead a station is put off at once; what is left then,
	// the next time.
	laterMost = time.Minute

	// BroadcastDelay is how long stations may take to do what a broadcast says.
	BroadcastDelay = 100 * time.Millisecond
	// DefaultTurnaround is what a plan reckons that a device thinks.
	DefaultTurnaround = 5 * time.Millisecond
	// CharacterLimit is the longest pause within a frame of ASCII.
	CharacterLimit = time.Second
	// burstGap is the pause after which a byte may begin a frame; adapters hold
	// bytes back for up to 16 ms.
	burstGap = 30 * time.Millisecond
	// sentShare of a request's time on the wire must be over before its answer:
	// the clocks of two ends may differ by some per cent.
	sentShare = 0.9
)

var (
	errDoubt   = errors.New("an answer to an earlier request may still come")
	errThrown  = errors.New("an answer that may be an earlier request's was thrown away")
	errListen  = errors.New("listening for another master")
	errMaster  = errors.New("another master speaks on this line")
	errSoon    = errors.New("too soon after the last request")
	errOthers  = errors.New("an answer to another master may come first")
	errBabble  = errors.New("the line is never quiet")
	errChecked = fmt.Errorf("%w: check sum", errNonsense)
)

// A Port may also know its wire: serial.Port does.
type (
	// drainer reads what has come, and waits for nothing.
	drainer interface {
		Drain(b []byte) (int, error)
	}
	// sender says how long what was written still needs to leave.
	sender interface{ Sent() time.Duration }
)

// station is what a line knows of one station.
type station struct {
	number  byte
	answers uint32
	longest time.Duration // from a request's last byte to its answer's
	ended   time.Time     // its last transaction

	// Doubt.
	open   []owed
	until  int64 // nothing is asked before, Mono
	since  int64 // when the last unanswered wait ended, Mono
	deaf   bool  // function 8 was not answered
	speaks bool  // it was once
	mutes  int   // how often it was not, in a row
	proof  int64 // it is not asked again before, Mono
	thrown bool  // an answer was thrown away since
	nonce  uint16

	// Until when what it says of a function may be for another master.
	other   time.Time
	otherOf byte

	past  [maxPast]shape
	pasts int
	last  [256]uint16 // by function: size of the last answer asked for, and 1
}

// owed is a request without an answer.
type owed struct {
	shape
	sent time.Time
}

// line is the channel of RTU and ASCII: one port, now and then opened again.
type line struct {
	framer
	*lineOptions
	target   string
	timeout  time.Duration
	log      *slog.Logger
	now      func() tag.Stamp
	say      func(condition string, on bool)
	dial     func(ctx context.Context) (Port, error)
	way      *way          // of a connection; nil: a device
	quiet    time.Duration // between frames
	count    Counts
	stations [256]*station
	unit     *unitOptions // of the device that is asked

	// The port.
	port    Port
	drain   drainer // nil: it cannot
	sender  sender  // nil: bytes take no time
	in      inbox
	want    expected
	out     []byte
	answer  [maxADU]byte
	heardAt time.Time // the last byte, either way
	free    time.Time // after a broadcast
	cast    bool      // what was sent last was one
	began   time.Time // the transaction
	wrong   bool      // an answer of a wrong length came
	fouled  bool      // another master asked the same of the same station meanwhile
	echoes  bool      // what is sent is heard
	echoed  bool      // the last request was
	strays  int       // answers heard that nobody asked for
	watch   watch

	reopening

	// Another master.
	listenUntil int64 // Mono; 0: over
	master      bool
	masterAt    int64 // last heard, Mono
}

var (
	_ channel = (*line)(nil)
	_ lengths = (*line)(nil)
	_ heeder  = (*line)(nil)
)

func (l *line) counts() Counts { return l.count }

func (l *line) heed(u *unitOptions) { l.unit = u }

func (l *line) at(number byte) *station {
	s := l.stations[number]
	if s == nil {
		s = &station{number: number}
		l.stations[number] = s
	}
	return s
}

func (l *line) heard(number byte) uint32 { return l.at(number).answers }

// last implements lengths.
func (l *line) last(number, function byte) int { return max(0, int(l.at(number).last[function])-1) }

// avoid implements lengths.
func (l *line) avoid(number, function byte, size int) bool {
	for _, o := range l.at(number).open {
		if o.function == function && int(o.size) == size {
			return true
		}
	}
	return false
}

// exchange implements channel. again is not heeded: a second request is a
// second answer. Where the port had gone while nothing was asked, and nothing was
// sent on it, another is opened.
func (l *line) exchange(ctx context.Context, adu []byte, _ bool, deadline time.Time) ([]byte, error) {
	had := l.port != nil
	data, err := l.once(ctx, adu, deadline)
	if _, nothing := err.(unsent); nothing && had && l.port == nil && ctx.Err() == nil && time.Now().Before(deadline) {
		return l.once(ctx, adu, deadline)
	}
	return data, err
}

func (l *line) once(ctx context.Context, adu []byte, deadline time.Time) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, unsent{err}
	}
	if err := l.attach(ctx, deadline); err != nil {
		return nil, unsent{err}
	}
	l.watch.begin(ctx, l.port)
	defer l.watch.end()
	if err := l.mayspeak(ctx, deadline); err != nil {
		return nil, unsent{err}
	}
	if adu[6] == 0 {
		return l.broadcast(ctx, adu, deadline)
	}
	s := l.at(adu[6])
	sh := shapeOf(l.unit, adu)
	if len(s.open) == 0 {
		return l.ask(ctx, s, adu, sh, deadline)
	}
	return l.askInDoubt(ctx, s, adu, sh, deadline)
}

// broadcast sends and waits for nobody. What comes back is the request's own echo.
func (l *line) broadcast(ctx context.Context, adu []byte, deadline time.Time) ([]byte, error) {
	if n := l.unit.answerSize(adu); n != 5 {
		return nil, unsent{errors.New("a broadcast cannot be answered")}
	}
	if err := l.settle(ctx, deadline, time.Time{}, nil, 0); err != nil {
		return nil, err
	}
	left, err := l.send(adu)
	if err != nil {
		return nil, l.drop(cause(ctx, err), ctx.Err() != nil)
	}
	l.cast = true
	l.free = time.Now().Add(left + BroadcastDelay)
	return adu[8:12], nil
}

// ask is one request and its answer.
func (l *line) ask(ctx context.Context, s *station, adu []byte, sh shape, deadline time.Time) ([]byte, error) {
	l.began = time.Now()
	limit := deadline.Sub(l.began)
	var free time.Time
	if l.unit != nil && l.unit.pause > 0 {
		free = s.ended.Add(l.unit.pause)
	}
	if err := l.settle(ctx, deadline, free, s, sh.function); err != nil {
		return nil, err
	}
	s.asked(sh)
	left, err := l.send(adu)
	sent := time.Now()
	if err != nil { // part of it may be out
		l.unanswered(s, sh, sent)
		return nil, l.drop(cause(ctx, err), ctx.Err() != nil)
	}
	l.want = expected{s.number, sh}
	data, err := l.await(s, adu, sent, time.Duration(float64(left)*sentShare))
	l.want = expected{}
	s.ended = time.Now()
	if _, refused := err.(exception); err == nil || refused {
		s.answers++
		s.longest = max(s.longest, s.ended.Sub(sent))
		l.answered()
		return data, err
	}
	switch {
	case ctx.Err() != nil:
		l.unanswered(s, sh, sent)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			l.drop(err, true)
		}
		return nil, ctx.Err()
	case !errors.Is(err, os.ErrDeadlineExceeded):
		l.unanswered(s, sh, sent)
		return nil, l.drop(err, false)
	}
	return nil, l.silence(s, sh, sent, limit)
}

// silence notes a wait that ended without the answer and says what it was.
func (l *line) silence(s *station, sh shape, sent time.Time, limit time.Duration) error {
	if l.wrong && !l.fouled && len(s.open) == 0 {
		// Nothing else was owed, so this was its answer: there is no doubt.
		s.answers++
		l.mute, l.silent = 0, 0
		return fmt.Errorf("%w of the answer", errLength)
	}
	l.unanswered(s, sh, sent)
	if !l.echoed {
		l.echoes = l.echo // perhaps it was not an echo that was heard
	}
	if l.in.garbled {
		l.count.Nonsense++
		return errChecked
	}
	l.count.Silent++
	l.hushed(limit)
	return silence(limit)
}

// send writes a request and returns how long it still takes to leave.
func (l *line) send(adu []byte) (left time.Duration, err error) {
	l.in.clear()
	l.wrong, l.fouled, l.cast, l.echoed = false, false, false, false
	l.out = l.encode(l.out[:0], adu[6:])
	l.count.Asked++
	_, err = l.port.Write(l.out)
	if l.sender != nil {
		left = l.sender.Sent()
	}
	l.heardAt = time.Now().Add(left)
	return left, err
}

// await reads until the answer or the deadline.
func (l *line) await(s *station, adu []byte, sent time.Time, early time.Duration) ([]byte, error) {
	echo := l.echoes
	for {
		n, err := l.port.Read(l.in.space())
		if n > 0 {
			at := time.Now()
			if !echo && at.Sub(sent) < early {
				l.count.Dropped++ // the request has not even left
				l.in.clear()
				l.heardAt = at
				continue
			}
			l.came(n, at)
			if (echo || !givesBack(adu[7])) && !l.echoed {
				l.hearItself()
				echo = echo && !l.echoed
			}
			for !echo { // before it heard itself nothing is an answer
				body, ok := l.next(&l.in, &l.want, false)
				if !ok {
					break
				}
				if data, err, mine := l.judge(s, adu, body); mine {
					return data, err
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// hearItself takes what was sent out of what came, with all before it.
func (l *line) hearItself() {
	at := bytes.Index(l.in.buf[l.in.r:l.in.w], l.out)
	if at < 0 {
		return
	}
	if !l.echoes {
		l.log.Info("line gives back what is sent", "target", l.target)
	}
	l.echoes, l.echoed, l.in.garbled = true, true, false
	l.in.skip(l.in.r + at + len(l.out))
}

// came notes n bytes more.
func (l *line) came(n int, at time.Time) {
	pause := at.Sub(l.heardAt)
	if l.ascii && pause > CharacterLimit && l.in.r < l.in.w {
		l.in.garbled = true
		copy(l.in.buf[:], l.in.buf[l.in.w:l.in.w+n])
		l.in.r, l.in.w, l.in.start = 0, 0, 0
	}
	l.in.add(n, pause > burstGap)
	l.heardAt = at
}

// judge says whether a good frame that came within a wait is the answer.
func (l *line) judge(s *station, adu, body []byte) (data []byte, err error, mine bool) {
	if body[0] != s.number || body[1]&^0x80 != l.want.function {
		l.overheard(body)
		return nil, nil, false
	}
	got := shapeIn(body)
	if !l.want.covers(got) {
		switch {
		case s.knows(got):
			l.late(s, got)
		case string(body) == string(adu[6:]):
			l.count.Dropped++ // heard twice; or another asks the very same, and his answer is as good
		case asks(body) && !answers(body):
			l.asksToo(s, body)
		default:
			l.count.Nonsense++
			l.wrong = true
			if asks(body) { // or so it may be
				l.fouled = !givesBack(body[1])
			}
		}
		return nil, nil, false
	}
	if l.fouled {
		l.count.Dropped++
		return nil, nil, false
	}
	n := copy(l.answer[header-1:], body)
	l.answer[4], l.answer[5] = byte(n>>8), byte(n)
	data, err = l.unit.check(adu, l.answer[:header-1+n])
	if errors.Is(err, errNonsense) {
		l.count.Nonsense++
		l.wrong = true
		return nil, nil, false
	}
	return data, err, true
}

func (l *line) close() error {
	l.watch.close()
	if l.way != nil {
		defer l.way.close()
	}
	if l.port == nil {
		return nil
	}
	err := l.port.Close()
	l.port = nil
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// doubted is the error of a station that is not asked before until.
func doubted(now, until int64, why error) error {
	return unsent{later(min(until, now+int64(laterMost)), false, why)}
}

// later is the error of what was not asked now.
func later(until int64, all bool, why error) error {
	return &drivers.Later{Until: until, Line: all, Why: why}
}
