// Package opcuabench takes the figures of the OPC UA driver, with real
// processes and a real server.
//
//	opcua.items_10k_cpu_vs_gopcua  10,000 items, each another value every second: user and
//	                               system time of both our processes, up to the judged
//	                               reading, over that of a bare gopcua subscription
//	opcua.silent_loss_detect_s     from when the server says nothing more until every point
//	                               is bad, the worst of a black hole and of a server that
//	                               answers everything and publishes nothing
//
// Ours is test/floor/opcuaside and its child, the reference test/floor/opcuafloor.
// Each has a test/floor/opcuaserver of its own (the library's sends its answers
// from one goroutine), at the lowest priority and not counted. Both run all the
// time, side by side. What is compared is the time of one value, over windows in
// which each was given at least three values of every item.
//
// Processor time is the scheduler's own account of every thread (schedstat).
//
// Imports: test/bench/figure, test/bench/stand, test/rig.
package opcuabench

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/test/bench/figure"
	"davy/test/bench/stand"
	"davy/test/rig"
)

// The limits.
const (
	mostCPU    = 1.6
	mostSilent = 7.0 // two publishing intervals and five seconds
)

const (
	items      = 10000
	publishing = time.Second
	window     = 4 * time.Second // of one run of the comparison, in which this comes:
	least      = 3 * items
	longest    = 30 * time.Second
	settle     = 5 * time.Second
	upLimit    = 2 * time.Minute
	lossLimit  = time.Minute
	rounds     = 3 // of each way to fall silent
	look       = 10 * time.Millisecond
)

// Run prints the figures to w and reports whether they hold.
func Run(w io.Writer) bool {
	steady := cpu(w)
	return silent(w) && steady
}

// build builds the programs and returns their directory.
func build() (dir string, err error) {
	dir = filepath.Join(rig.Root(), ".cache", "bench")
	for _, name := range []string{"opcuaserver", "opcuafloor", "opcuaside"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), "./test/floor/"+name)
		cmd.Dir, cmd.Env = rig.Root(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
}

// server is a running test/floor/opcuaserver.
type server struct{ URL, Control string }

// tell has the server do what a word says.
func (s *server) tell(word string) error {
	c, err := net.Dial("tcp", s.Control)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintln(c, word); err != nil {
		return err
	}
	if answer, err := bufio.NewReader(c).ReadString('\n'); err != nil || strings.TrimSpace(answer) != "done" {
		return fmt.Errorf("tell the server %q: %q, %w", word, answer, err)
	}
	return nil
}

// client is a running client of either kind.
type client struct {
	proc  *rig.Proc
	Count string
}

// count is what a client says of itself.
type count struct {
	Good, Came uint64
}

func (c *client) count() (n count, err error) {
	conn, err := net.Dial("tcp", c.Count)
	if err != nil {
		return n, err
	}
	defer func() { _ = conn.Close() }()
	return n, json.NewDecoder(conn).Decode(&n)
}

// begin starts a server and a client of it and waits until everything came.
func begin(r *rig.Rig, program string, items int) (*server, *client, error) {
	s, c := &server{}, &client{}
	proc, err := r.Start("opcuaserver", "--nodes", strconv.Itoa(items))
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(proc.Ready(s), stand.Elsewhere(proc.Pid())); err != nil {
		return nil, nil, err
	}
	c.proc, err = r.Start(program, "--server", s.URL, "--nodes", strconv.Itoa(items), "--publishing", publishing.String())
	if err != nil {
		return nil, nil, err
	}
	if err := c.proc.Ready(c); err != nil {
		return nil, nil, err
	}
	return s, c, c.wait(uint64(items))
}

// wait waits until so many are good.
func (c *client) wait(n uint64) error {
	var last error
	err := rig.WaitFor(upLimit, "all values come", func() bool {
		got, err := c.count()
		last = err
		return err == nil && got.Good >= n
	})
	if err != nil {
		return fmt.Errorf("%w (%v)\n%s", err, last, c.proc.Tail())
	}
	return nil
}

func cpu(w io.Writer) bool {
	const name = "opcua.items_10k_cpu_vs_gopcua"
	r, err := newRig()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer r.Close()
	_, ours, err1 := begin(r, "opcuaside", items)
	_, floor, err2 := begin(r, "opcuafloor", items)
	if err := cmp.Or(err1, err2); err != nil {
		return figure.Failed(w, name, err)
	}
	<-time.After(settle)
	var last [2]use
	ok := figure.Ratio(w, name, mostCPU, ours.window(&last[0]), floor.window(&last[1]))
	fmt.Fprintf(w, "  %s: of 10,000 values %v, %.0f values a second; the reference %v, %.0f\n",
		name, last[0].each, last[0].rate, last[1].each, last[1].rate)
	return ok
}

// use is what one window showed.
type use struct {
	each time.Duration // of 10,000 values
	rate float64       // values a second
}

// window returns what measures the processor time of a value while most of a
// window's values come: longer where the machine, or the server on it, is busy.
func (c *client) window(last *use) func() (float64, error) {
	return func() (float64, error) {
		pids := stand.Family(c.proc.Pid())
		n, err1 := c.count()
		before, err2 := stand.Ran(pids)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		began := time.Now()
		<-time.After(window)
		for {
			after, err1 := stand.Ran(pids)
			m, err2 := c.count()
			if err := errors.Join(err1, err2); err != nil {
				return 0, err
			}
			took, came := time.Since(began), m.Came-n.Came
			switch {
			case came >= least:
				*last = use{((after - before) * items / time.Duration(came)).Round(time.Microsecond), float64(came) / took.Seconds()}
				return float64(after-before) / float64(came), nil
			case took > longest:
				return 0, fmt.Errorf("%d values came in %v, less than %d: the machine is too busy", came, took, least)
			}
			<-time.After(look)
		}
	}
}

func newRig() (*rig.Rig, error) {
	dir, err := build()
	if err != nil {
		return nil, err
	}
	return rig.New(dir)
}

func silent(w io.Writer) bool {
	const name = "opcua.silent_loss_detect_s"
	r, err := newRig()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer r.Close()
	s, c, err := begin(r, "opcuaside", items)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	var all []float64
	worst := map[string]float64{}
	for round := range rounds {
		for _, way := range []string{"silent", "hang"} {
			// Each at another phase of the interval.
			<-time.After(settle + time.Duration(round)*publishing/rounds)
			took, err := s.lose(c, way, items)
			if err != nil {
				return figure.Failed(w, name, err)
			}
			worst[way] = max(worst[way], took.Seconds())
			all = append(all, took.Seconds())
		}
	}
	ok := figure.Print(w, name, slices.Max(all), "s", mostSilent)
	fmt.Fprintf(w, "  %s: %d points, publishing every %v, the worst of %d: a server that publishes nothing %.3g s, a black hole %.3g s\n",
		name, items, publishing, rounds, worst["silent"], worst["hang"])
	return ok
}

// lose has the server fall silent and returns how long it took until no point
// was good; then it heals the server and waits until all items are.
func (s *server) lose(c *client, way string, items uint64) (time.Duration, error) {
	if err := s.tell(way); err != nil {
		return 0, err
	}
	began := time.Now()
	for {
		n, err := c.count()
		took := time.Since(began)
		switch {
		case err != nil:
			return 0, err
		case n.Good == 0:
			if err := s.tell("heal"); err != nil {
				return 0, err
			}
			return took, c.wait(items)
		case took > lossLimit:
			return 0, fmt.Errorf("%s: %d points are good after %v\n%s", way, n.Good, took, c.proc.Tail())
		}
		<-time.After(look)
	}
}
