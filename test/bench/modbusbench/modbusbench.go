// Package modbusbench takes the figures of the Modbus driver on real sockets.
//
//	modbus.cpu_vs_raw          eight connections, reads of 125 holding registers: processor time
//	                           of this process (user and system) over that of test/floor/rawmodbus
//	modbus.wakeups_per_read    context switches of this process, voluntary or not, for each read
//	modbus.allocs_per_read     of one read; every allocation of the process counts
//	modbus.pipelined_gain      64 blocks of a device that answers each after 5 ms, with a window
//	                           of one over a window of sixteen
//
// The device is a process of its own, test/floor/rawdevice, so that what this
// process uses is the client's. A context with a deadline of its own for every
// read, as some callers make one, is the caller's; it is measured too and
// printed beside, without a limit.
//
// Imports: drivers, drivers/modbus, drivers/tag, test/bench/figure,
// test/floor/rawmodbus, test/rig.
package modbusbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/test/bench/figure"
	"davy/test/floor/rawmodbus"
	"davy/test/rig"
)

// The limits.
const (
	mostCPU     = 1.5
	mostWakeups = 2
	mostAllocs  = 0
	leastGain   = 12
)

const (
	runs        = 7
	connections = 8
	registers   = 125
	reads       = 2000 // of each connection in one run
	thinking    = 5 * time.Millisecond
	blocks      = 64
	window      = 16
)

// Run prints the figures to w and reports whether they hold.
func Run(w io.Writer) bool {
	b, err := newBench()
	if err != nil {
		return figure.Failed(w, "modbus.cpu_vs_raw", err)
	}
	defer b.close()
	ok := b.cpu(w)
	ok = b.wakeups(w) && ok
	ok = b.allocs(w) && ok
	return b.gain(w) && ok
}

// bench holds the devices.
type bench struct {
	quick, slow *device
}

// device is a running test/floor/rawdevice.
type device struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func newBench() (*bench, error) {
	dir := filepath.Join(rig.Root(), ".cache", "bench")
	path := filepath.Join(dir, "rawdevice")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./test/floor/rawdevice")
	build.Dir, build.Env = rig.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build rawdevice: %w\n%s", err, out)
	}
	b := &bench{}
	var err error
	if b.quick, err = begin(path); err == nil {
		b.slow, err = begin(path, "--thinking", thinking.String())
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// begin starts a device and waits until it says where it is.
func begin(path string, args ...string) (*device, error) {
	d := &device{cmd: exec.Command(path, args...)}
	d.cmd.Stderr = os.Stderr
	in, err := d.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	d.stdin = in
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		d.end()
		return nil, fmt.Errorf("start rawdevice: %w", err)
	}
	d.addr = strings.TrimSpace(line)
	return d, nil
}

func (d *device) end() {
	d.stdin.Close()
	_ = d.cmd.Wait() // it was told to end
}

func (b *bench) close() {
	for _, d := range []*device{b.quick, b.slow} {
		if d != nil {
			d.end()
		}
	}
}

// client is one of ours.
type client struct {
	link     drivers.Link
	requests []drivers.Request
	dst      []tag.Reading
}

var epoch = time.Now()

// open opens a link to a device that asks for requests of these lengths.
func open(addr string, pipeline string, lengths ...int) (*client, error) {
	fields := drivers.Fields{}
	if pipeline != "" {
		fields["pipeline"] = pipeline
	}
	settings, err := modbus.TCP{}.ParseLink(addr, fields)
	if err != nil {
		return nil, err
	}
	c := &client{}
	c.link, err = modbus.TCP{}.Open(context.Background(), drivers.LinkConfig{
		Name: "bench", Settings: settings, Timeout: 10 * time.Second,
		Now: func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(epoch))} },
	})
	if err != nil {
		return nil, err
	}
	for station, n := range lengths {
		var points []drivers.Point
		for i := range n {
			points = append(points, drivers.Point{
				Tag: tag.ID(i + 1), Station: 1 + station, Address: modbus.Address{Table: modbus.Holding, Number: uint16(i)},
				Type: drivers.Type{Kind: tag.Int, Bits: 16},
			})
		}
		requests, err := modbus.TCP{}.Plan(settings, points)
		if err != nil || len(requests) != 1 {
			return nil, errors.Join(fmt.Errorf("%d requests are planned for %d registers", len(requests), n), err)
		}
		c.requests = append(c.requests, requests[0])
	}
	return c, nil
}

var errBad = errors.New("a reading is bad")

// read asks for one request.
func (c *client) read(ctx context.Context, i int) (err error) {
	if c.dst, err = c.link.Read(ctx, c.requests[i], c.dst[:0]); err == nil && !c.dst[len(c.dst)-1].Quality.Good() {
		err = errBad
	}
	return err
}

// all does f on eight connections at once, so many times each.
func all(n int, f [connections]func() error) error {
	var wg sync.WaitGroup
	var errs [connections]error
	for i := range f {
		wg.Go(func() {
			for range n {
				if errs[i] = f[i](); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// usage is what this process has used so far.
func usage() (cpu time.Duration, switches int64, err error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), int64(u.Nvcsw + u.Nivcsw), nil
}

// pair opens eight connections of ours and eight of the reference.
func (b *bench) pair() (ours, raw [connections]func() error, end func(), err error) {
	var ends []func() error
	end = func() {
		for _, e := range ends {
			_ = e() // what could fail was measured
		}
	}
	for i := range connections {
		c, err := open(b.quick.addr, "", registers)
		if err != nil {
			return ours, raw, end, err
		}
		ends = append(ends, c.link.Close)
		ours[i] = func() error { return c.read(context.Background(), 0) }
		r, err := rawmodbus.Dial(b.quick.addr, registers)
		if err != nil {
			return ours, raw, end, err
		}
		ends = append(ends, r.Close)
		raw[i] = r.Read
	}
	return ours, raw, end, nil
}

func (b *bench) cpu(w io.Writer) bool {
	const name = "modbus.cpu_vs_raw"
	ours, raw, end, err := b.pair()
	defer end()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	var last [2]time.Duration // of the last run, of 1,000 reads
	take := func(i int, f [connections]func() error) func() (float64, error) {
		return func() (float64, error) {
			before, _, err := usage()
			if err != nil {
				return 0, err
			}
			if err := all(reads, f); err != nil {
				return 0, err
			}
			after, _, err := usage()
			last[i] = (after - before) * 1000 / (reads * connections)
			return (after - before).Seconds(), err
		}
	}
	ok := figure.Ratio(w, name, mostCPU, take(0, ours), take(1, raw))
	fmt.Fprintf(w, "  %s: %v of 1,000 reads, the reference %v\n", name, last[0].Round(time.Microsecond), last[1].Round(time.Microsecond))
	return ok
}

func (b *bench) wakeups(w io.Writer) bool {
	const name = "modbus.wakeups_per_read"
	ours, raw, end, err := b.pair()
	defer end()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	var found [2][]float64
	for run := range runs + 1 {
		for i, f := range [][connections]func() error{ours, raw} {
			_, before, err1 := usage()
			err2 := all(reads, f)
			_, after, err3 := usage()
			if err := errors.Join(err1, err2, err3); err != nil {
				return figure.Failed(w, name, err)
			}
			if run > 0 { // the first is a start-up artefact
				found[i] = append(found[i], float64(after-before)/(reads*connections))
			}
		}
	}
	ok := figure.Print(w, name, figure.Median(found[0]), "switches", mostWakeups)
	fmt.Fprintf(w, "  %s: the reference %.3f, %d runs\n", name, figure.Median(found[1]), runs)
	return ok
}

func (b *bench) allocs(w io.Writer) bool {
	const name = "modbus.allocs_per_read"
	c, err := open(b.quick.addr, "", registers)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer c.link.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	own, err1 := count(func() error { return c.read(ctx, 0) }, 1)
	bounded, err2 := count(func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return c.read(ctx, 0)
	}, 1)
	p, err3 := open(b.quick.addr, "16", lengths()...)
	if err := errors.Join(err1, err2, err3); err != nil {
		return figure.Failed(w, name, err)
	}
	defer p.link.Close()
	together := p.together()
	piped, err := count(func() error { return together(ctx) }, blocks)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	ok := figure.Print(w, name, own, "allocs", mostAllocs)
	ok = figure.Print(w, name+"_pipelined", piped, "allocs", mostAllocs) && ok
	figure.Print(w, name+"_with_deadline", bounded, "allocs")
	return ok
}

// count returns the median of the allocations of each of n reads in a call of
// f, to the hundredth: the runtime's own come in between.
func count(f func() error, n int) (float64, error) {
	var found []float64
	var before, after runtime.MemStats
	for range runs {
		if err := f(); err != nil { // what is made once is made here
			return 0, err
		}
		calls := max(1, reads/n)
		runtime.ReadMemStats(&before)
		for range calls {
			if err := f(); err != nil {
				return 0, err
			}
		}
		runtime.ReadMemStats(&after)
		found = append(found, float64((after.Mallocs-before.Mallocs)*100/uint64(calls*n))/100)
	}
	return figure.Median(found), nil
}

// lengths are those of the blocks, no two in a row alike.
func lengths() (out []int) {
	for i := range blocks {
		out = append(out, registers-i)
	}
	return out
}

// together returns what asks for all requests, as many at once as the window has.
func (c *client) together() func(ctx context.Context) error {
	b := c.link.(drivers.Batcher)
	var bad error
	each := func(_ int, rs []tag.Reading, err error) {
		if err == nil && !rs[len(rs)-1].Quality.Good() {
			err = errBad
		}
		if err != nil {
			bad = err
		}
	}
	return func(ctx context.Context) error {
		bad = nil
		b.ReadAll(ctx, c.requests, each)
		return bad
	}
}

func (b *bench) gain(w io.Writer) bool {
	const name = "modbus.pipelined_gain"
	var took [2][]float64
	var windows [2]int
	var clients [2]*client
	for i, pipeline := range []string{"off", "16"} {
		c, err := open(b.slow.addr, pipeline, lengths()...)
		if err != nil {
			return figure.Failed(w, name, err)
		}
		defer c.link.Close()
		clients[i] = c
		windows[i] = c.link.(drivers.Batcher).Window()
	}
	if windows != [2]int{1, window} {
		return figure.Failed(w, name, fmt.Errorf("the windows are %v", windows))
	}
	for run := range runs + 1 {
		for i, c := range clients {
			began := time.Now()
			if err := c.together()(context.Background()); err != nil {
				return figure.Failed(w, name, err)
			}
			if run > 0 {
				took[i] = append(took[i], time.Since(began).Seconds())
			}
		}
	}
	one, many := figure.Median(took[0]), figure.Median(took[1])
	gain := one / many
	fmt.Fprintf(w, "BENCH %s %.4g x >=%d\n", name, gain, leastGain)
	fmt.Fprintf(w, "  %s: %d blocks took %.4g s one by one and %.4g s with a window of %d\n", name, blocks, one, many, window)
	return gain >= leastGain
}
