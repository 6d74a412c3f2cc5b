package child

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FD is the descriptor on which a child finds its end of the socketpair.
const FD = 3

// DefaultGrace is how long a child has to end after its stream was closed.
const DefaultGrace = 5 * time.Second

// lastWords is how long an ended child's stream and standard error are still
// read: what it said last, and a trace of a panic, are there already.
const lastWords = time.Second

// Errors of a child's end.
var (
	ErrEnded  = errors.New("ended without being asked")
	ErrKilled = errors.New("killed: did not end within its grace")
	ErrLarge  = errors.New("replaced: took more memory than its limit")
)

// Process says how a child is started. It holds no state; Run may be called
// again and again.
type Process struct {
	Path     string        // "": our own binary
	Args     []string      // without the program's name
	Env      []string      // added to what it is given of our own environment
	MemLimit int64         // bytes, handed over as GOMEMLIMIT, a wish; 0: none
	MaxPSS   int64         // bytes of proportional memory at which it is replaced (ErrLarge); 0: not watched
	Grace    time.Duration // 0: DefaultGrace
	Log      *slog.Logger  // takes what the child writes to standard error, bounded; nil: it is dropped
	Stderr   *os.File      // takes it as it is instead; nil: Log does
	Started  func(pid int) // is told the process id; nil: nobody is
}

// Run starts the child and calls serve, in its own goroutine, with the parent's
// end of the stream; it returns when serve has returned and the child has
// ended, with every goroutine of its own. The sequence of an end is always the
// same: the stream is closed, the child has Grace to end by itself, then it is
// killed, and it is waited for in any case. When the child ends first, or grows
// beyond MaxPSS, the stream is closed, so that serve ends. No Pdeathsig is used
// (it fires with the thread that forked): if we are killed the child sees EOF.
//
// The error is why it ended: nil if ctx has ended and the child followed in
// order; else what serve returned and how the child ended. A panic of serve
// ends the child and goes on to the caller.
func (p *Process) Run(ctx context.Context, serve func(ctx context.Context, conn net.Conn) error) (err error) {
	path := p.Path
	if path == "" {
		if path, err = os.Executable(); err != nil {
			return fmt.Errorf("find own binary: %w", err)
		}
	}
	cmd, conn, stderr, err := p.start(path)
	if err != nil {
		return fmt.Errorf("start child %s: %w", path, err)
	}
	if p.Started != nil {
		p.Started(cmd.Process.Pid)
	}
	asked := ctx.Err // whether the caller wants the end
	ctx, stop := context.WithCancel(ctx)
	var large, exit error
	var work sync.WaitGroup
	exited := make(chan struct{})
	if stderr != nil {
		work.Go(func() { p.tell(stderr) })
	}
	served := make(chan struct{})
	work.Go(func() {
		exit = cmd.Wait()
		close(exited)
		// What it said last is in the stream, and then its end: only somebody else
		// who holds its end can keep serve from that.
		select {
		case <-served:
		case <-time.After(lastWords):
		}
		_ = conn.Close()
	})
	work.Go(func() {
		if large = watch(ctx, exited, cmd.Process.Pid, p.MaxPSS); large != nil {
			_ = conn.Close()
		}
	})
	work.Go(func() { <-ctx.Done(); _ = conn.Close() })
	defer func() {
		wanted := asked() != nil
		close(served)
		stop()
		_ = conn.Close()
		killed := p.await(cmd, exited)
		if stderr != nil {
			_ = stderr.SetReadDeadline(time.Now().Add(lastWords)) // of whatever else may hold its end
		}
		work.Wait()
		if stderr != nil {
			_ = stderr.Close()
		}
		switch {
		case killed:
			err = fmt.Errorf("child %s: %w", path, errors.Join(ErrKilled, large, err))
		case wanted:
			err = nil
		case exit == nil && err == nil && large == nil:
			err = fmt.Errorf("child %s: %w", path, ErrEnded)
		default:
			err = fmt.Errorf("child %s: %w", path, errors.Join(large, exit, err))
		}
	}()
	return serve(ctx, conn)
}

// start makes the socketpair and starts the child with its end as FD.
func (p *Process) start(path string) (*exec.Cmd, net.Conn, *os.File, error) {
	conn, theirs, err := Pair()
	if err != nil {
		return nil, nil, nil, err
	}
	var stderr *os.File
	w := p.Stderr
	if w == nil {
		if stderr, w, err = os.Pipe(); err != nil {
			return nil, nil, nil, errors.Join(err, conn.Close(), theirs.Close())
		}
	}
	cmd := exec.Command(path, p.Args...)
	seal()
	cmd.Env = append(inherited(), p.Env...)
	if p.MemLimit > 0 {
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.FormatInt(p.MemLimit, 10))
	}
	cmd.Stderr = w
	cmd.ExtraFiles = []*os.File{theirs}
	// A process group of its own: an interrupt from the terminal is the parent's
	// to pass on, in the right order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = theirs.Close() // the child has its own; a failure leaves nothing to do
	if stderr != nil {
		_ = w.Close()
	}
	if err != nil {
		if stderr != nil {
			err = errors.Join(err, stderr.Close())
		}
		return nil, nil, nil, errors.Join(err, conn.Close())
	}
	return cmd, conn, stderr, nil
}

// seal marks every descriptor above the standard ones close-on-exec. Ours are
// already; those that we were started with (by a shell, by a supervisor) may
// not be, and are not the child's either. What cannot be marked (it has just
// been closed) needs no mark; without /proc nobody knows what there is.
func seal() {
	names, _ := os.ReadDir("/proc/self/fd")
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// inherited is what of our own environment a child is given: what its runtime
// and its resolver look at. The rest, credentials and the supervisor's sockets
// among it, is not for a process that talks to strangers.
func inherited() []string {
	var env []string
	for _, name := range [...]string{
		"GOCOVERDIR", "GODEBUG", "GOGC", "GOMAXPROCS", "GORACE", "GOTRACEBACK", "LANG", "LC_ALL", "LOCALDOMAIN", "RES_OPTIONS", "TZ",
	} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// await gives the child its grace and kills it then.
func (p *Process) await(cmd *exec.Cmd, exited <-chan struct{}) (killed bool) {
	grace := p.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-exited:
		return false
	case <-t.C:
		_ = cmd.Process.Kill() // it may have ended meanwhile
		<-exited
		return true
	}
}

// Pair makes a socketpair: our end as a connection with deadlines, the other as
// a file for exec. Both are close-on-exec; exec clears that for what it hands over.
func Pair() (net.Conn, *os.File, error) {
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

// Parent returns the child's end of the socketpair. It is called once, by a
// process that was started as a child, and fails in any other.
func Parent() (net.Conn, error) {
	if kind, err := unix.GetsockoptInt(FD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, errors.New("open fd 3: not a socket: this command is started by davy run, not by hand")
	}
	unix.CloseOnExec(FD)
	return open(FD)
}
