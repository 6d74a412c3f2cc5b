package operate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Client talks to a running agent: one connection per call.
type Client struct {
	Path  string
	Proof *Proof // of who commands; nil: claimed
}

// View asks for Status, Alarms or Log.
func (c *Client) View(ctx context.Context, what string) (*View, error) {
	a, err := c.ask(ctx, Command{Do: what}, ViewWait)
	if err != nil {
		return nil, err
	}
	if a.View == nil {
		return nil, fmt.Errorf("ask agent for %s: %w: no view", what, ErrAnswer)
	}
	return a.View, nil
}

// Do hands over a command. A refusal is an *Error.
func (c *Client) Do(ctx context.Context, cmd Command) (*Result, error) {
	wait := CommandWait
	if cmd.Do == Reload {
		wait = ReloadWait
	}
	if c.Proof != nil {
		wait += ProofWait
	}
	a, err := c.ask(ctx, cmd, wait)
	if err != nil {
		return nil, err
	}
	if a.Result == nil {
		return nil, fmt.Errorf("tell agent to %s: %w: no result", cmd.Do, ErrAnswer)
	}
	return a.Result, nil
}

// ReadNow asks for one tag from its device. A refusal is an *Error; a device that
// does not answer is a reading with a bad quality.
func (c *Client) ReadNow(ctx context.Context, name string) (*Fresh, error) {
	a, err := c.ask(ctx, Command{Do: Read, Tag: name}, ReadWait)
	if err != nil {
		return nil, err
	}
	if a.Fresh == nil {
		return nil, fmt.Errorf("ask agent for %s: %w: no reading", name, ErrAnswer)
	}
	return a.Fresh, nil
}

// ask asks again while the agent is busy: that was not carried out.
func (c *Client) ask(ctx context.Context, cmd Command, wait time.Duration) (*answer, error) {
	for begin := time.Now(); ; {
		a, err := c.once(ctx, cmd, wait)
		var e *Error
		if !errors.As(err, &e) || e.Code != busy || time.Since(begin) > BusyWait || !rest(ctx, Pace) {
			return a, err
		}
	}
}

// once sends one request and reads one answer. The server's own limits come
// first; this one is for a server that is stopped.
func (c *Client) once(ctx context.Context, cmd Command, wait time.Duration) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+WriteWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, ErrNotRunning
	case errors.Is(err, unix.EAGAIN): // more wait at the door than it holds
		return nil, &Error{Code: busy}
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open %s: %w", c.Path, ErrForbidden)
	case err != nil:
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := json.Marshal(request{Command: cmd, Proof: c.proofOf(cmd.Do)})
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	_, err = conn.Write(append(raw, '\n'))
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) { // closed: it may have said why
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	in := bufio.NewReader(io.LimitReader(conn, MaxAnswer+1))
	got, err := in.ReadBytes('\n')
	if err != nil {
		if ctx.Err() != nil {
			return nil, &Error{Code: "operate.no-answer"}
		}
		return nil, fmt.Errorf("ask agent: %w: %w", ErrAnswer, err)
	}
	var a answer
	if err := json.Unmarshal(got, &a); err != nil {
		return nil, fmt.Errorf("ask agent: %w: %w", ErrAnswer, err)
	}
	if a.OK {
		return &a, nil
	}
	if a.Error == nil || a.Error.Code == "" {
		return nil, fmt.Errorf("ask agent: %w: neither done nor refused", ErrAnswer)
	}
	return nil, a.Error
}
