package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ChildFD is the descriptor on which a child finds its end of the socketpair.
const ChildFD = 3

// Child is a child process of our own binary that talks to us over a
// socketpair. It is a Part; under policy Restart it is started again.
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
// ctx ended and the child followed in order, else what ended first. The
// sequence of an end is always the same: Serve returns, fd 3 is closed, the
// child has Grace to end by itself, then it is killed. No Pdeathsig is used (it
// fires with the thread that forked, not with the process): if we are killed
// the child sees the same EOF.
func (c *Child) Run(ctx context.Context) error {
	path := c.Path
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return fmt.Errorf("find own binary: %w", err)
		}
	}
	conn, theirs, err := pair()
	if err != nil {
		return fmt.Errorf("start child %s: %w", path, err)
	}
	cmd := exec.Command(path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	if c.MemLimit > 0 {
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.FormatInt(c.MemLimit, 10))
	}
	cmd.Stderr = os.Stderr
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	cmd.ExtraFiles = []*os.File{theirs}
	// A process group of its own: an interrupt from the terminal is ours to
	// pass on, in the right order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closing := theirs.Close()
	if err == nil && closing != nil {
		err = closing
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("start child %s: %w", path, err)
	}
	if c.Started != nil {
		c.Started(cmd.Process.Pid)
	}

	serving, stop := context.WithCancel(ctx)
	defer stop()
	exited := make(chan error, 1)
	served := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	go func() { served <- safely(serving, Func(func(ctx context.Context) error { return c.Serve(ctx, conn) })) }()

	select {
	case err := <-exited: // by itself: Serve sees EOF, or is told to end
		stop()
		_ = conn.Close()
		<-served
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("child %s: %w", path, ended(err))
	case err := <-served:
		stop()
		_ = conn.Close()
		exit, killed := c.await(cmd, exited)
		switch {
		case ctx.Err() == nil:
			return fmt.Errorf("child %s: %w", path, errors.Join(ended(err), exit))
		case killed:
			return fmt.Errorf("child %s: %w", path, ErrKilled)
		}
		return nil
	}
}

// ErrKilled says that a child did not end within its grace.
var ErrKilled = errors.New("killed: did not end within its grace")

// await gives the child its grace and kills it then. It returns how the child ended.
func (c *Child) await(cmd *exec.Cmd, exited <-chan error) (exit error, killed bool) {
	grace := c.Grace
	if grace <= 0 {
		grace = Grace
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case exit = <-exited:
		return exit, false
	case <-t.C:
		_ = cmd.Process.Kill()
		return <-exited, true
	}
}

// ended is err, or ErrEnded.
func ended(err error) error {
	if err == nil {
		return ErrEnded
	}
	return err
}

// pair makes a socketpair: our end as a connection with deadlines, theirs as a
// file for exec. Both are close-on-exec; exec clears that for what it hands over.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "child")
	conn, err := open(fds[0])
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// open makes a connection of a socket's descriptor and owns it.
func open(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	conn, err := net.FileConn(f) // a duplicate, close-on-exec, in the poller
	return conn, errors.Join(err, f.Close())
}

// Parent returns the child's end of the socketpair that Child made. It is
// called once, by a process that was started as a child, and fails in any other.
func Parent() (net.Conn, error) {
	if kind, err := unix.GetsockoptInt(ChildFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, errors.New("open fd 3: not a socket: this command is started by davy run, not by hand")
	}
	unix.CloseOnExec(ChildFD)
	return open(ChildFD)
}
