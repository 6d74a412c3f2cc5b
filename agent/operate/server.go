package operate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"davy/rules"
)

// busy is the code of what was not even begun.
const busy = "operate.busy"

// Server listens on the local socket. Set its fields, then Run it; when Run has
// returned it may be run again.
type Server struct {
	Path    string
	Handler Handler
	Log     *slog.Logger // nil: slog.Default()

	shown *shown
	queue chan struct{} // commands that are in the house
	hand  chan struct{} // the one that is carried out
	reads chan struct{} // readings that are asked for

	mu      sync.Mutex
	users   map[uint32]int // connections by user
	conns   map[*net.UnixConn]struct{}
	refused int       // since told
	told    time.Time // when the log was
}

// Run listens until ctx ends. A file that a dead agent left is replaced; one
// that somebody listens on is ErrBusy. It returns when every connection is
// closed, and removes the file.
func (s *Server) Run(ctx context.Context) error {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	l, err := listen(s.Path)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Path, err)
	}
	mine, _ := os.Lstat(s.Path) // nil: the file is left, and replaced by who comes next
	s.shown = newShown(s.Handler)
	s.queue, s.hand = make(chan struct{}, MaxQueue), make(chan struct{}, 1)
	s.reads = make(chan struct{}, MaxReads)
	s.users, s.conns = map[uint32]int{}, map[*net.UnixConn]struct{}{}

	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})
	defer func() {
		stop()
		_ = l.Close()
		wg.Wait()
		if now, err := os.Lstat(s.Path); err == nil && mine != nil && os.SameFile(mine, now) {
			_ = os.Remove(s.Path)
		}
	}()
	short := false // connections cannot be taken
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) { // out of descriptors: later
				if !short {
					s.Log.Warn("connections cannot be taken", "socket", s.Path, "error", err)
				}
				if short = true; rest(ctx, time.Second) {
					continue
				}
			}
			return fmt.Errorf("accept on %s: %w", s.Path, err)
		}
		if short {
			short = false
			s.Log.Info("connections are taken again", "socket", s.Path)
		}
		if uid, ok := s.enter(ctx, conn); ok {
			wg.Go(func() {
				defer s.leave(conn, uid)
				begin := time.Now()
				s.converse(ctx, conn, uid)
				_ = conn.Close()
				rest(ctx, Hold-time.Since(begin))
			})
		}
		rest(ctx, AcceptPace)
	}
}

// listen makes the socket beside its place, with its permissions, and moves it
// there: nobody can connect before they are right.
func listen(path string) (*net.UnixListener, error) {
	if len(path) > MaxPath {
		return nil, fmt.Errorf("path of %d bytes, at most %d", len(path), MaxPath)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, ErrBusy
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	// A short queue at the door: a long one, filled by somebody who only knocks,
	// would keep a person waiting for seconds.
	raw, err := l.SyscallConn()
	if err == nil {
		if cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), Backlog) }); cerr != nil {
			err = cerr
		}
	}
	if err == nil {
		err = os.Chmod(temp, 0o660)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(temp)
		return nil, err
	}
	return l, nil
}

// rest waits, or says that ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// enter counts a connection in, or tells it that there are too many.
func (s *Server) enter(ctx context.Context, c *net.UnixConn) (uid uint32, ok bool) {
	uid, err := peer(c)
	s.mu.Lock()
	ok = err == nil && ctx.Err() == nil && len(s.conns) < MaxConns && s.users[uid] < MaxPerUser
	tell := 0
	if ok {
		s.conns[c] = struct{}{}
		s.users[uid]++
	} else if s.refused++; time.Since(s.told) > TellEvery {
		tell, s.refused, s.told = s.refused, 0, time.Now()
	}
	s.mu.Unlock()
	if ok {
		return uid, true
	}
	if tell > 0 {
		s.Log.Warn("connections refused", "count", tell, "user", userName(uid), "error", err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(Pace)) // the socket's buffer is empty: this does not wait
	_ = write(c, &answer{Error: &Error{Code: busy}})
	_ = c.Close()
	return 0, false
}

func (s *Server) leave(c *net.UnixConn, uid uint32) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.users[uid]--; s.users[uid] <= 0 {
		delete(s.users, uid)
	}
	s.mu.Unlock()
	_ = c.Close()
}

// converse answers the requests of one connection.
func (s *Server) converse(ctx context.Context, c *net.UnixConn, uid uint32) {
	who, own := Who{Name: userName(uid)}, newSession()
	in := bufio.NewReaderSize(c, MaxRequest)
	for {
		_ = c.SetReadDeadline(time.Now().Add(Idle)) // fails only when it was closed: then the read does too
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			s.reply(c, &answer{Error: &Error{Code: "operate.too-long"}})
			return
		}
		if err != nil {
			return
		}
		if len(bytes.TrimSpace(line)) == 0 {
			s.reply(c, &answer{Error: &Error{Code: "operate.bad-request"}})
			return
		}
		var r request
		err = json.Unmarshal(line, &r)
		clear(line) // there may be a PIN in it
		if err != nil {
			s.reply(c, &answer{Error: &Error{Code: "operate.bad-request"}})
			return
		}
		r.Who, r.Session = who, own.id
		if e := s.prove(ctx, &r, own); e != nil {
			if !s.reply(c, &answer{Error: e}) || own.wrong >= MaxWrong || !rest(ctx, Pace) {
				return
			}
			continue
		}
		var ok bool
		switch r.Do {
		case Status, Alarms, Log:
			raw, err := s.shown.line(ctx, r.Do)
			if err != nil {
				ok = s.reply(c, &answer{Error: trouble(err)})
			} else {
				ok = s.send(c, raw)
			}
		case Read:
			ok = s.reply(c, s.read(ctx, r.Command))
		case Prove:
			ok = s.reply(c, &answer{OK: true, Result: &Result{}}) // it was, above
		case Arm, Disarm, Reload:
			ok = s.reply(c, s.command(ctx, r.Command))
		default:
			if Acts(r.Do) {
				ok = s.reply(c, s.command(ctx, r.Command))
				break
			}
			ok = s.reply(c, &answer{Error: &Error{Code: "operate.unknown-request", Args: map[string]any{"request": clean(r.Do)}}})
		}
		if !ok || !rest(ctx, Pace) {
			return
		}
	}
}

// read asks a device for one tag now.
func (s *Server) read(ctx context.Context, c Command) *answer {
	if err := check(&c); err != nil {
		return &answer{Error: err}
	}
	reader, can := s.Handler.(Reader)
	if !can {
		return &answer{Error: &Error{Code: "operate.unknown-request", Args: map[string]any{"request": c.Do}}}
	}
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	default:
		return &answer{Error: &Error{Code: busy}}
	}
	limited, cancel := context.WithTimeout(ctx, ReadWait)
	defer cancel()
	fresh, err := reader.ReadNow(limited, c.Tag)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &answer{Error: &Error{Code: "operate.not-read", Args: map[string]any{"tag": c.Tag}}}
	case err != nil:
		return &answer{Error: trouble(err)}
	case fresh == nil:
		return &answer{Error: &Error{Code: "operate.not-read", Args: map[string]any{"tag": c.Tag}}}
	}
	return &answer{OK: true, Fresh: fresh}
}

// command carries out one command, when its turn comes.
func (s *Server) command(ctx context.Context, c Command) *answer {
	if err := check(&c); err != nil {
		return &answer{Error: err}
	}
	select {
	case s.queue <- struct{}{}:
		defer func() { <-s.queue }()
	default:
		return &answer{Error: &Error{Code: busy}}
	}
	select {
	case s.hand <- struct{}{}:
		defer func() { <-s.hand }()
	case <-ctx.Done():
		return &answer{Error: &Error{Code: "operate.stopping"}}
	}
	wait := CommandWait
	if c.Do == Reload {
		wait = ReloadWait
	}
	// The person who leaves does not take a command back: this is not the
	// connection's context.
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	result, err := s.Handler.Do(limited, c)
	s.shown.forget()
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return &answer{Error: &Error{Code: "operate.no-answer"}}
		}
		return &answer{Error: trouble(err)}
	}
	if result == nil {
		result = &Result{}
	}
	return &answer{OK: true, Result: result}
}

// check refuses what no command may hold, before anybody acts on it.
func check(c *Command) *Error {
	if err := c.lacks(); err != nil {
		return err
	}
	if len(c.Note) > MaxNote || len(c.Names) > MaxNames {
		return &Error{Code: "operate.too-long"}
	}
	for _, s := range append([]string{c.Rule, c.Plan, c.Tag, c.Channel, c.Value, c.Result}, c.Names...) {
		if len(s) > MaxName {
			return &Error{Code: "operate.too-long"}
		}
		if s != clean(s) {
			return &Error{Code: "operate.bad-text"}
		}
	}
	if c.Note != clean(c.Note) {
		return &Error{Code: "operate.bad-text"}
	}
	return nil
}

// clean removes what does not belong into a line of text: control characters,
// direction marks and broken UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, s)
}

// trouble makes of an error what a person is told.
func trouble(err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	var refused *rules.RefusedError
	if errors.As(err, &refused) {
		e := &Error{Code: "refused." + refused.Code, Args: map[string]any{"rule": refused.Rule}}
		for k, v := range refused.Args {
			e.Args[k] = v
		}
		return e
	}
	return &Error{Code: "operate.failed", Text: err.Error()}
}

// reply writes an answer and reports whether it went.
func (s *Server) reply(c *net.UnixConn, a *answer) bool {
	_ = c.SetWriteDeadline(time.Now().Add(WriteWait))
	return write(c, a) == nil
}

func (s *Server) send(c *net.UnixConn, raw []byte) bool {
	_ = c.SetWriteDeadline(time.Now().Add(WriteWait))
	_, err := c.Write(raw)
	return err == nil
}

func write(c *net.UnixConn, a *answer) error {
	raw, err := line(a)
	if err != nil { // arguments that JSON does not know
		raw, _ = line(&answer{Error: &Error{Code: "operate.failed", Text: err.Error()}})
	}
	_, err = c.Write(raw)
	return err
}

func line(a *answer) ([]byte, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if len(raw) >= MaxAnswer {
		return nil, fmt.Errorf("answer of %d bytes, at most %d", len(raw), MaxAnswer)
	}
	return append(raw, '\n'), nil
}

// shown is the View that is shown, encoded, for ViewAge.
type shown struct {
	handler Handler
	turn    chan struct{} // who holds the token may touch the rest

	at    time.Time
	view  *View
	lines map[string][]byte
}

func newShown(h Handler) *shown {
	return &shown{handler: h, turn: make(chan struct{}, 1), lines: map[string][]byte{}}
}

// line returns the encoded answer to a request that shows.
func (s *shown) line(ctx context.Context, what string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ViewWait)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, &Error{Code: "operate.no-view"}
	}
	if s.view == nil || time.Since(s.at) >= ViewAge {
		v, err := s.handler.View(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = &Error{Code: "operate.no-view"}
			}
			return nil, err
		}
		s.view, s.at = v, time.Now()
		clear(s.lines)
	}
	if what == Alarms { // the same view
		what = Status
	}
	raw, ok := s.lines[what]
	if !ok {
		v := *s.view
		if what != Log {
			v.Log = nil
		}
		var err error
		if raw, err = line(&answer{OK: true, View: &v}); err != nil {
			return nil, err
		}
		s.lines[what] = raw
	}
	return raw, nil
}

// forget makes the next request see what a command changed.
func (s *shown) forget() {
	s.turn <- struct{}{}
	s.view = nil
	<-s.turn
}
