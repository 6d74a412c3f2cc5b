// Package control is the line by which a person or a test tells the running
// plant what is to happen now: one command a line, one line of answer.
//
//	> leak start 40          < ok
//	> state                  < ok {"time_s":12.3,…}
//	> leek start             < error unknown command "leek"; did you mean "leak"?
//
// It listens on loopback or a unix socket only: whoever reaches it owns the
// plant. When a command is answered its lines are in the plant's log. Commands
// of one connection are carried out in order. At MaxConns a further connection
// is closed at once; a line longer than script.MaxLine ends its connection.
//
// Imports: script.
package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"davy/cmd/davy-plant/script"
)

// MaxConns is how many may talk at once. Timeout is how long Send waits for
// the connection and for the answer; acceptPause follows an accept that failed.
const (
	MaxConns    = 32
	Timeout     = 10 * time.Second
	acceptPause = 20 * time.Millisecond
	maxAnswer   = 1 << 20
)

// ErrNotLocal says that an address would be reachable from elsewhere.
var ErrNotLocal = errors.New("not a loopback address or a unix socket")

// Plant is who carries commands out.
type Plant interface {
	Do(ctx context.Context, c script.Command) (string, error)
}

// Server is one listening control line.
type Server struct {
	ln    net.Listener
	plant Plant
	names script.Names
	words func(script.Problem) string
}

// network splits an address into network and address: "127.0.0.1:5021",
// "unix:/run/plant.sock", or a path with a slash.
func network(addr string) (string, string, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path, nil
	}
	if strings.Contains(addr, "/") {
		return "unix", addr, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", "", ErrNotLocal
	}
	return "tcp", addr, nil
}

// Listen opens a control line to plant; words says what is wrong with a
// command, in the person's language.
func Listen(addr string, plant Plant, names script.Names, words func(script.Problem) string) (*Server, error) {
	kind, where, err := network(addr)
	if err == nil {
		var ln net.Listener
		if ln, err = net.Listen(kind, where); err == nil {
			return &Server{ln: ln, plant: plant, names: names, words: words}, nil
		}
	}
	return nil, fmt.Errorf("listen control %s: %w", addr, err)
}

// Addr returns the address as Send takes it.
func (s *Server) Addr() string {
	if s.ln.Addr().Network() == "unix" {
		return "unix:" + s.ln.Addr().String()
	}
	return s.ln.Addr().String()
}

// Run serves until ctx ends and returns when every connection has ended.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.ln.Close() })
	defer stop()
	slots := make(chan struct{}, MaxConns)
	for ctx.Err() == nil {
		c, err := s.ln.Accept()
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() { defer func() { <-slots }(); s.serve(ctx, c) })
		default:
			_ = c.Close()
		}
	}
	return nil
}

func (s *Server) serve(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() { stop(); _ = c.Close() }()
	sc := bufio.NewScanner(c)
	sc.Buffer(make([]byte, 0, 256), script.MaxLine)
	for sc.Scan() {
		_ = c.SetWriteDeadline(time.Now().Add(Timeout))
		if _, err := io.WriteString(c, s.answer(ctx, sc.Text())+"\n"); err != nil {
			return
		}
	}
}

// answer carries one line out.
func (s *Server) answer(ctx context.Context, line string) string {
	cmd, p := script.ParseCommand(line, s.names)
	if p != nil {
		return "error " + oneLine(s.words(*p))
	}
	out, err := s.plant.Do(ctx, cmd)
	switch {
	case err != nil:
		return "error " + oneLine(err.Error())
	case out == "":
		return "ok"
	}
	return "ok " + out
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// RefusedError is what the plant answered to a command that it did not carry out.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// Send gives one command to the plant at addr and returns what it answers
// after "ok", "" for a plain one.
func Send(ctx context.Context, addr, command string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("send to plant %s: %w", addr, err) }
	kind, where, err := network(addr)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, kind, where)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := io.WriteString(c, oneLine(command)+"\n"); err != nil {
		return fail(err)
	}
	line, err := bufio.NewReader(io.LimitReader(c, maxAnswer)).ReadString('\n')
	if err != nil {
		return fail(fmt.Errorf("no answer: %w", err))
	}
	line = strings.TrimSuffix(line, "\n")
	if text, bad := strings.CutPrefix(line, "error "); bad {
		return "", &RefusedError{text}
	}
	return strings.TrimPrefix(strings.TrimPrefix(line, "ok"), " "), nil
}
