// Package rig starts the real parts for the demo, the end-to-end tests, the
// kill run and the benchmarks: the three binaries, a broker, a link that can be
// cut. Everything listens on loopback and lives in one temporary directory.
//
// A Proc is one process; it is killed when its rig ends, so that nothing
// outlives a test. The rig waits for conditions, never for time alone.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Root is the project's root directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Build builds the named commands ("davy", …) into dir.
func Build(dir string, names ...string) error { return BuildTags(dir, "", names...) }

// BuildTags builds with build tags ("davyfault").
func BuildTags(dir, tags string, names ...string) error {
	for _, name := range names {
		cmd := exec.Command("go", "build", "-tags", tags, "-o", filepath.Join(dir, name), "./cmd/"+name)
		cmd.Dir = Root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// Rig is one temporary directory with processes.
type Rig struct {
	Dir string
	Bin string // where the binaries are
	Env []string

	mu    sync.Mutex
	procs []*Proc
}

// New makes a rig in a new temporary directory; binaries are taken from bin.
func New(bin string) (*Rig, error) {
	dir, err := os.MkdirTemp("", "davy-rig-")
	if err != nil {
		return nil, err
	}
	return &Rig{Dir: dir, Bin: bin}, nil
}

// Path joins elements below the rig's directory.
func (r *Rig) Path(elem ...string) string { return filepath.Join(append([]string{r.Dir}, elem...)...) }

// Close kills what still runs and removes the directory, unless RIG_KEEP is set.
func (r *Rig) Close() {
	r.mu.Lock()
	procs := r.procs
	r.mu.Unlock()
	for i := len(procs) - 1; i >= 0; i-- {
		procs[i].Kill()
	}
	if os.Getenv("RIG_KEEP") == "" {
		os.RemoveAll(r.Dir)
	}
}

// Proc is a running process.
type Proc struct {
	Name string
	Cmd  *exec.Cmd
	Log  string // file of its standard error
	line chan string
	done chan struct{}
	err  error
}

// Start starts a program: its name in Bin or a path, with arguments. Standard
// error goes to <name>.log in the rig, appended.
func (r *Rig) Start(name string, args ...string) (*Proc, error) {
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(r.Bin, name)
	}
	p := &Proc{Name: filepath.Base(name), Cmd: exec.Command(path, args...), line: make(chan string, 1), done: make(chan struct{})}
	p.Log = r.Path(p.Name + ".log")
	f, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.Cmd.Stderr = f
	p.Cmd.Dir = r.Dir
	p.Cmd.Env = append(os.Environ(), r.Env...)
	out, err := p.Cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	read := make(chan struct{})
	go func() { // ends with the process's standard output
		defer close(read)
		buf := make([]byte, 64<<10)
		var first []byte
		sent := false
		for {
			n, err := out.Read(buf)
			if !sent {
				first = append(first, buf[:n]...)
				if i := bytes.IndexByte(first, '\n'); i >= 0 {
					p.line <- string(first[:i])
					sent = true
				}
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		<-read
		p.err = p.Cmd.Wait()
		close(p.done)
	}()
	r.mu.Lock()
	r.procs = append(r.procs, p)
	r.mu.Unlock()
	return p, nil
}

// readyWithin is for a loaded machine and for qemu; who is ready is seen at once.
const readyWithin = 90 * time.Second

// Ready waits for the process's first line of output and decodes it as JSON.
func (p *Proc) Ready(into any) error {
	select {
	case line := <-p.line:
		if into == nil {
			return nil
		}
		if err := json.Unmarshal([]byte(line), into); err != nil {
			return fmt.Errorf("%s said %q: %w", p.Name, line, err)
		}
		return nil
	case <-p.done:
		return fmt.Errorf("%s ended before it was ready: %v\n%s", p.Name, p.err, p.Tail())
	case <-time.After(readyWithin):
		return fmt.Errorf("%s not ready after %v\n%s", p.Name, readyWithin, p.Tail())
	}
}

// Tail returns the end of the process's log.
func (p *Proc) Tail() string {
	b, _ := os.ReadFile(p.Log)
	return string(b[max(0, len(b)-4000):])
}

// Kill sends SIGKILL and waits for the end. A process that has ended is no error.
func (p *Proc) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended
	<-p.done
}

// Stop sends SIGTERM, waits up to limit, then kills.
func (p *Proc) Stop(limit time.Duration) error {
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, limit)
	}
}

// Running reports whether the process has not ended.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid returns the process's id.
func (p *Proc) Pid() int { return p.Cmd.Process.Pid }

// Children returns the process ids of a process's children.
func Children(pid int) []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			var n int
			if _, err := fmt.Sscan(f, &n); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// Keeper returns the process id of the keeper of the decider pid, 0 while there
// is none. A decider may have other children: the workers of OPC UA.
func Keeper(pid int) int {
	for _, child := range Children(pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
		if args := strings.Split(string(line), "\x00"); err == nil && len(args) > 1 && args[1] == "keep" {
			return child
		}
	}
	return 0
}

// Output runs a program to its end and returns its standard output; the error
// holds its standard error.
func (r *Rig) Output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(r.Bin, name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), r.Env...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, errb.String(), out.String())
	}
	return out.String(), nil
}

// JSON runs a program and decodes its standard output.
func (r *Rig) JSON(into any, name string, args ...string) error {
	out, err := r.Output(name, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Mosquitto starts a mosquitto of the rig's own on a port of loopback; again
// after a kill. It lets everybody in, unless lines of its configuration say whom.
func (r *Rig) Mosquitto(port int, lines ...string) (*Proc, error) {
	if len(lines) == 0 {
		lines = []string{"allow_anonymous true"}
	}
	conf := fmt.Sprintf("listener %d 127.0.0.1\npersistence false\n%s\n", port, strings.Join(lines, "\n"))
	if os.Geteuid() == 0 {
		conf += "user root\n" // else it gives root up, and cannot read its own file
	}
	path := r.Path("mosquitto.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return r.Start("/usr/sbin/mosquitto", "-c", path)
}

// FreePort returns a TCP port of loopback that nothing listens on just now.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// WaitFor asks cond every 20 ms until it says yes, or limit is over.
func WaitFor(limit time.Duration, what string, cond func() bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			if cond() {
				return nil
			}
			return fmt.Errorf("waited %v for: %s", limit, what)
		}
	}
}

// Proxy forwards TCP connections to one address and can be cut.
type Proxy struct {
	Addr   string
	target string
	l      net.Listener
	mu     sync.Mutex
	cut    bool
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

// NewProxy listens on a free port and forwards to target.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, l: l, conns: map[net.Conn]bool{}}
	p.wg.Add(1)
	go p.run()
	return p, nil
}

func (p *Proxy) run() {
	defer p.wg.Done()
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := p.cut
		p.mu.Unlock()
		if cut {
			c.Close()
			continue
		}
		p.wg.Add(1)
		go p.forward(c)
	}
}

func (p *Proxy) forward(c net.Conn) {
	defer p.wg.Done()
	defer c.Close()
	d, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer d.Close()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[d] = true, true
	p.mu.Unlock()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, d) // ends with either connection
		c.Close()
	}()
	_, _ = io.Copy(d, c)
	d.Close()
	<-back
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, d)
	p.mu.Unlock()
}

// Cut ends all connections and refuses new ones, or lets them through again.
func (p *Proxy) Cut(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = on
	if on {
		for c := range p.conns {
			c.Close()
		}
	}
}

// Close ends the proxy.
func (p *Proxy) Close() {
	p.l.Close()
	p.Cut(true)
	p.wg.Wait()
}
