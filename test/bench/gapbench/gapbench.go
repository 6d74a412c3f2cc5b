// Package gapbench takes how far apart two turns of the decider can get while
// everything around it hangs.
//
// react.beat_gap_ms. The agent and its keeper share one processor; the keeper
// is built so that every operation of its disk takes 2 s; its uplinks, as many
// as a site may have, connect to a server whose certificate nobody trusts and
// fail at the end of the TLS handshake, again and again; an interlock trips and
// drives its outputs meanwhile. The figure is the agent's own account of its
// longest time between two turns, from its start on.
//
// A thread on the same processor that only sleeps is the control: where the
// figure is passed and the machine was away from that one as well, it is taken
// once more, and then reads noisy.
//
// Imports: agent/control, agent/operate, test/bench/figure, test/bench/stand,
// test/rig.
package gapbench

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"davy/agent/control"
	"davy/agent/operate"
	"davy/test/bench/figure"
	"davy/test/bench/stand"
	"davy/test/rig"
)

const (
	name        = "react.beat_gap_ms"
	lasts       = 60 * time.Second
	tries       = 2                // before a gap that the machine made itself is left unjudged
	settled     = 30 * time.Second // for a start, and for a trip
	mostGap     = 3 * control.Heartbeat
	diskDelay   = 2 * time.Second
	uplinks     = 16 // each connects by itself; config.MaxUplinks
	leastShakes = 3 * uplinks
	tripped     = "NH3-150"
)

// gap is what one run saw.
type gap struct {
	longest time.Duration // between two turns
	control time.Duration // between two wake-ups of a thread beside the agent that does nothing
	shakes  int64
	open    time.Duration // until the keeper's journal was open
	turns   uint64
}

// Run prints the figure and reports whether it holds.
func Run(w io.Writer) bool {
	bin, err := stand.Build("davy", "davy-plant", stand.Faulty)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	for try := 1; ; try++ {
		g, err := hang(bin)
		if err != nil {
			return figure.Failed(w, name, err)
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		noisy := g.longest > mostGap && float64(g.control) > float64(control.Heartbeat)*(1+figure.Drift)
		if noisy && try < tries {
			continue
		}
		holds := true
		if noisy {
			fmt.Fprintf(w, "BENCH %s noisy ms %g\n", name, ms(mostGap))
		} else {
			holds = figure.Print(w, name, ms(g.longest), "ms", ms(mostGap))
		}
		fmt.Fprintf(w, "  %s: longest of %d turns; a thread beside it that sleeps %v was away for %v at most; %d TLS handshakes failed; the journal took %v to open\n",
			name, g.turns, control.Heartbeat, g.control.Round(time.Microsecond), g.shakes, g.open.Round(time.Millisecond))
		return holds
	}
}

// hang runs the agent for lasts on one processor, with everything in its
// keeper's way, and makes it act meanwhile.
func hang(bin string) (g gap, err error) {
	r, err := rig.New(bin)
	if err != nil {
		return g, err
	}
	defer r.Close()
	b := &rig.Bench{Rig: r}
	refusing, err := newRefuser()
	if err != nil {
		return g, err
	}
	defer refusing.close()
	if err := b.StartPlant(); err != nil {
		return g, err
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return g, err
	}
	b.Key = "ed25519:" + base64.StdEncoding.EncodeToString(public)
	b.Broker = refusing.addr()
	if err := errors.Join(b.WriteSite(many), b.Apply("bench")); err != nil {
		return g, err
	}
	cpu, err := oneProcessor()
	if err != nil {
		return g, err
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return g, err
	}
	b.Env = append(b.Env, "DAVY_FAULT_DISK=delay:"+diskDelay.String(), "GOMAXPROCS=1")
	beside := newSleeper(cpu)
	began := time.Now()
	b.Davy, err = b.Start(taskset, "-c", strconv.Itoa(cpu), filepath.Join(bin, stand.Faulty), "run", "--state", b.State(), "--log-level", "warn")
	if err != nil {
		return g, err
	}
	if err := b.See(settled, "watching", rig.Watching); err != nil {
		return g, err
	}
	for _, tag := range []string{"nh3-1.gas", "nh3-2.gas"} {
		if err := b.Send("hold " + tag + " 180"); err != nil {
			return g, err
		}
	}
	if err := b.See(settled, "tripped and driven", func(v *operate.View) bool {
		return rig.Interlock(v, tripped).State == operate.Tripped && rig.Output(v, "fan1").Confirmed
	}); err != nil {
		return g, err
	}
	if err := b.See(lasts, "the journal is open", func(v *operate.View) bool { return v.Keeper.State == operate.KeeperRunning }); err != nil {
		return g, err
	}
	g.open = time.Since(began)
	<-time.After(lasts - time.Since(began))
	v, err := b.View(operate.Status)
	if err != nil {
		return g, err
	}
	g.control, g.shakes, g.turns = beside.stop(), refusing.failed.Load(), v.Turns
	g.longest = time.Duration(v.Longest * float64(time.Millisecond))
	switch {
	case g.open < 2*diskDelay:
		err = fmt.Errorf("the journal was open after %v: its disk is not slow", g.open)
	case g.shakes < leastShakes:
		err = fmt.Errorf("%d TLS handshakes in %v: too few", g.shakes, lasts)
	}
	return g, err
}

// many replaces the site's uplink by uplinks of them, encrypted.
func many(file, text string) string {
	from, to := strings.Index(text, "\nuplinks:"), strings.Index(text, "\njournal:")
	if file != "site.yaml" || from < 0 || to < from {
		return text
	}
	broker := text[strings.Index(text[from:], "tcp://")+from:]
	broker, _, _ = strings.Cut(broker, "\n")
	broker = strings.Replace(strings.Fields(broker)[0], "tcp://", "tls://", 1)
	var all strings.Builder
	all.WriteString("\nuplinks:\n")
	for i := range uplinks {
		fmt.Fprintf(&all, "  u%d: {mqtt: %q, receipts: key receiver.pub, must_confirm: true}\n", i+1, broker)
	}
	return text[:from] + all.String() + text[to:]
}

// oneProcessor returns the last processor that this process may use.
func oneProcessor() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("ask for processors: %w", err)
	}
	for cpu := len(set)*64 - 1; cpu >= 0; cpu-- {
		if set.IsSet(cpu) {
			return cpu, nil
		}
	}
	return 0, errors.New("no processor may be used")
}

// sleeper is a thread on one processor that sleeps a heartbeat at a time.
type sleeper struct {
	over  atomic.Bool
	worst chan time.Duration
}

func newSleeper(cpu int) *sleeper {
	s := &sleeper{worst: make(chan time.Duration, 1)}
	go func() { // ends within a heartbeat of stop; its thread ends with it
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		var worst time.Duration
		for last := time.Now(); err == nil && !s.over.Load(); {
			beat := unix.NsecToTimespec(int64(control.Heartbeat))
			if err := unix.Nanosleep(&beat, nil); err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
			now := time.Now()
			worst = max(worst, now.Sub(last))
			last = now
		}
		s.worst <- worst
	}()
	return s
}

// stop returns the longest time between two wake-ups.
func (s *sleeper) stop() time.Duration {
	s.over.Store(true)
	return <-s.worst
}

// refuser is a TLS server whose certificate nobody trusts: a client does all
// the work of a handshake and then has to give it up.
type refuser struct {
	l      net.Listener
	failed atomic.Int64
	wg     sync.WaitGroup
}

func newRefuser() (*refuser, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &refuser{l: l}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() {
				_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // fails only where the connection has
				s := tls.Server(c, conf)
				err := s.Handshake()
				if err == nil { // with TLS 1.3 the client's refusal comes after it
					_, err = s.Read(make([]byte, 1))
				}
				if err != nil {
					r.failed.Add(1)
				}
				_ = c.Close()
			})
		}
	})
	return r, nil
}

func (r *refuser) addr() string { return r.l.Addr().String() }

func (r *refuser) close() {
	_ = r.l.Close()
	r.wg.Wait()
}
