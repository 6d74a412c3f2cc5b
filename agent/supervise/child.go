package supervise

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"davy/drivers/child"
)

// Child is a child process of our own binary that talks to us over a
// socketpair: a child.Process as a Part. Under policy Restart it is started again.
type Child struct {
	Path     string        // "": os.Executable()
	Args     []string      // without the program's name
	Env      []string      // added to our own environment
	MemLimit int64         // bytes, handed over as GOMEMLIMIT; 0: none
	Grace    time.Duration // 0: Grace
	Stderr   *os.File      // nil: ours
	// Serve talks to the child over the parent's end. It returns when the
	// conversation is over or ctx has ended; what it returns first ends the
	// child. It need not close conn.
	Serve func(ctx context.Context, conn io.ReadWriteCloser) error
	// Started, if set, is told the process id.
	Started func(pid int)
}

// Run starts the child, runs Serve, and returns when both have ended: nil if
// ctx ended and the child followed in order, else what ended first. A panic of
// Serve is an error.
func (c *Child) Run(ctx context.Context) error {
	// The keeper is ours and talks to nobody that we do not: it has all of our environment.
	p := child.Process{Path: c.Path, Args: c.Args, Env: append(os.Environ(), c.Env...), MemLimit: c.MemLimit, Grace: c.Grace, Stderr: c.Stderr, Started: c.Started}
	if p.Stderr == nil {
		p.Stderr = os.Stderr
	}
	if p.Grace <= 0 {
		p.Grace = Grace
	}
	return p.Run(ctx, func(ctx context.Context, conn net.Conn) error {
		return safely(ctx, Func(func(ctx context.Context) error { return c.Serve(ctx, conn) }))
	})
}
