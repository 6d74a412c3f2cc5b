package ring

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"davy/drivers/tag"
	"davy/rules"
)

var epoch = [16]byte{1}

// keeper is a model of the keeper: what it has committed survives, what it has
// only taken in does not.
type keeper struct {
	mu     sync.Mutex
	last   map[[16]byte]uint64 // durable: the last serial by lineage
	events []Event             // durable
	gaps   uint64              // durable: lost events that were told
	fresh  []Turn              // taken in, not durable
	line   [16]byte
	reader *Reader
	err    error
	done   chan struct{}
}

// serve takes turns in until the conversation ends; it says how it is at once
// and after every turn.
func (k *keeper) serve(conn io.ReadWriteCloser) {
	k.done = make(chan struct{})
	go func() {
		defer close(k.done)
		r, h, err := Accept(context.Background(), conn)
		if err != nil {
			k.err = err
			return
		}
		defer func() { _ = r.Close() }()
		k.mu.Lock()
		k.line, k.reader = h.Lineage, r
		k.mu.Unlock()
		for {
			if k.err = r.Send(k.status()); k.err != nil {
				return
			}
			var t Turn
			if k.err = r.Next(&t); k.err != nil {
				return
			}
			k.mu.Lock()
			k.fresh = append(k.fresh, t)
			k.mu.Unlock()
		}
	}()
}

func (k *keeper) status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Status{Epoch: epoch, Durable: k.last[k.line]}
}

// commit makes durable what was taken in: events and their gaps together.
func (k *keeper) commit() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.fresh {
		for _, e := range t.Events {
			if e.Serial > k.last[k.line] {
				k.last[k.line] = e.Serial
				k.events = append(k.events, e)
			}
		}
		k.gaps += t.Lost.Events
	}
	k.fresh = nil
}

// cutConn is a connection that breaks after left more bytes were written.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Write(b)
	}
	if len(b) > c.left {
		n, _ := c.Conn.Write(b[:c.left])
		_ = c.Conn.Close()
		return n, errors.New("cut")
	}
	c.left -= len(b)
	return c.Conn.Write(b)
}

// Whatever is cut, killed and connected again: the keeper has each event that
// happened once, in order, and has been told exactly how many are missing. An
// event that the latch had forgotten is never there.
func TestEachEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // without Deadline, which a bubble forbids
			type snapshot struct {
				serial uint64
				outbox []byte
			}
			var (
				k       = &keeper{last: map[[16]byte]uint64{}}
				lineage = [16]byte{7}
				w       = NewWriter(WriterOptions{MaxEvents: 20})
				serial  uint64
				unsaved []string // happened since the snapshot: a kill of the decider undoes them
				truth   []string
				disk    snapshot
				id      int
				end     context.CancelFunc
				served  chan error
				conn    *cutConn
			)
			hangUp := func() {
				if end != nil {
					_ = conn.Close()
					<-served
					<-k.done
					end()
					end = nil
				}
			}
			connect := func(cut int) {
				hangUp()
				ours, theirs := net.Pipe()
				ctx, cancel := context.WithCancel(context.Background())
				end, served, conn = cancel, make(chan error, 1), &cutConn{ours, cut}
				k.fresh = nil
				k.serve(theirs)
				go func() { served <- w.Serve(ctx, conn, Hello{Lineage: lineage}) }()
				synctest.Wait()
			}
			offer := func(n, priority int) {
				turn := Turn{Readings: make([]tag.Reading, 3)}
				for range n {
					id++
					serial++
					note := strconv.Itoa(id)
					unsaved = append(unsaved, note)
					turn.Events = append(turn.Events, Event{Serial: serial, Event: rules.Event{Note: note, Priority: rules.Priority(priority)}})
				}
				w.Offer(&turn)
			}
			save := func() {
				disk = snapshot{serial, AppendEvents(nil, w.Outbox(nil))}
				truth = append(truth, unsaved...)
				unsaved = nil
				w.Permit(serial)
				synctest.Wait()
			}
			disk.outbox = AppendEvents(nil, nil)

			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				switch rapid.IntRange(0, 9).Draw(t, "step") {
				case 0, 1, 2:
					offer(rapid.IntRange(0, 12).Draw(t, "events"), rapid.IntRange(0, 2).Draw(t, "priority"))
				case 3, 4:
					save()
				case 5:
					connect(-1)
				case 6:
					connect(rapid.IntRange(0, 3000).Draw(t, "cut"))
				case 7: // the keeper commits, and may be killed before it says so
					if end != nil {
						synctest.Wait()
						k.commit()
						if rapid.Bool().Draw(t, "killed") {
							hangUp()
						} else if k.reader != nil {
							_ = k.reader.Send(k.status())
							synctest.Wait()
						}
					}
				case 8: // the decider is killed
					hangUp()
					pending, err := DecodeEvents(disk.outbox)
					if err != nil {
						t.Fatal(err)
					}
					w = NewWriter(WriterOptions{MaxEvents: 20, Pending: pending})
					serial, unsaved = disk.serial, nil
				case 9:
					time.Sleep(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond)
				}
			}
			save()
			connect(-1)
			for range 5 { // each release makes room for nothing new: a few turns do
				time.Sleep(2 * Beat)
				synctest.Wait()
				k.commit()
			}
			time.Sleep(2 * Beat)
			if _, left := w.Waiting(); left != 0 {
				t.Fatalf("%d events left in the outbox", left)
			}
			hangUp()

			i := 0
			missing := uint64(0)
			for _, e := range k.events {
				for i < len(truth) && truth[i] != e.Note {
					missing++
					i++
				}
				if i == len(truth) {
					t.Fatalf("event %s (serial %d) is there twice, out of order, or never happened", e.Note, e.Serial)
				}
				i++
			}
			missing += uint64(len(truth) - i)
			if missing != k.gaps {
				t.Fatalf("%d events are missing, %d were told of %d", missing, k.gaps, len(truth))
			}
		})
	})
}
