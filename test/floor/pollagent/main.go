// Command pollagent is the least that an agent can do: the reference of poll.*.
//
// One goroutine per device reads its registers with requests that were made
// beforehand, FC3 of 125, over one connection; one closure per tag judges the
// value; what changed goes into a chunk (tag and value as varints). Once a
// second the chunk is one key of a bbolt file, committed with its fsync, and a
// QoS 1 publish; when the broker acknowledges it, the key is deleted with the
// next commit. There is no quality, no late answer, no latch, no second
// process, no evidence: what Davy costs above it is what these cost.
//
//	pollagent --devices HOST:PORT,… --tags 1000 --every 100ms --db FILE --broker HOST:PORT
//
// It runs until it is killed; how often it asked is the devices' word.
//
// Imports: bbolt.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const registers = 125 // of a request

func main() {
	devices := flag.String("devices", "", "addresses, separated by commas")
	tags := flag.Int("tags", 1000, "of each device")
	every := flag.Duration("every", 100*time.Millisecond, "scan period")
	db := flag.String("db", "", "file")
	broker := flag.String("broker", "", "address")
	flag.Parse()
	if err := run(strings.Split(*devices, ","), *tags, *every, *db, *broker); err != nil {
		fmt.Fprintln(os.Stderr, "pollagent:", err)
		os.Exit(1)
	}
}

type agent struct {
	mu    sync.Mutex
	chunk []byte // what changed since the last commit
}

func run(devices []string, tags int, every time.Duration, path, broker string) error {
	a := &agent{}
	errs := make(chan error, len(devices)+1)
	for n, addr := range devices {
		go func() { errs <- a.poll(addr, n*tags, tags, every) }()
	}
	go func() { errs <- a.keep(path, broker) }()
	return <-errs
}

// poll reads one device for ever.
func (a *agent) poll(addr string, first, tags int, every time.Duration) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var requests [][]byte
	for at := 0; at < tags; at += registers {
		n := min(registers, tags-at)
		q := []byte{0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(q[8:], uint16(at))
		binary.BigEndian.PutUint16(q[10:], uint16(n))
		requests = append(requests, q)
	}
	rules := make([]func(v uint16) bool, tags)
	for i := range rules {
		limit := uint16(60000 + i%1000)
		rules[i] = func(v uint16) bool { return v > limit }
	}
	last := make([]uint16, tags)
	in := make([]byte, 512)
	var changed []byte
	var id uint16
	due := time.Now()
	timer := time.NewTimer(0)
	for {
		for n, q := range requests {
			id++
			binary.BigEndian.PutUint16(q, id)
			if _, err := conn.Write(q); err != nil {
				return err
			}
			want := 9 + 2*int(binary.BigEndian.Uint16(q[10:]))
			got := 0
			for got < want {
				k, err := conn.Read(in[got:])
				if err != nil {
					return err
				}
				got += k
			}
			if binary.BigEndian.Uint16(in) != id || int(in[8]) != want-9 {
				return errors.New("not the answer")
			}
			changed = changed[:0]
			for i := range (want - 9) / 2 {
				tag := n*registers + i
				v := binary.BigEndian.Uint16(in[9+2*i:])
				if rules[tag](v) {
					return fmt.Errorf("tag %d: alarm at %d", tag, v) // none is meant to come
				}
				if v != last[tag] {
					last[tag] = v
					changed = binary.AppendUvarint(changed, uint64(first+tag))
					changed = binary.AppendUvarint(changed, uint64(v))
				}
			}
			if len(changed) > 0 {
				a.mu.Lock()
				a.chunk = append(a.chunk, changed...)
				a.mu.Unlock()
			}
		}
		due = due.Add(every)
		now := time.Now()
		for !due.After(now) {
			due = due.Add(every)
		}
		timer.Reset(due.Sub(now))
		<-timer.C
	}
}

// keep commits and publishes once a second.
func (a *agent) keep(path, broker string) error {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	bucket := []byte("chunks")
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err }); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// CONNECT, MQTT 3.1.1, clean session, keep-alive 60 s, client "floor".
	if _, err := conn.Write([]byte("\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05floor")); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil { // CONNACK
		return err
	}
	acked := make(chan uint16, 16)
	go func() {
		for {
			var b [4]byte // PUBACK
			if _, err := io.ReadFull(r, b[:]); err != nil {
				close(acked)
				return
			}
			acked <- binary.BigEndian.Uint16(b[2:])
		}
	}()
	var id uint16
	var done []uint16
	var out []byte
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case n, ok := <-acked:
			if !ok {
				return errors.New("broker gone")
			}
			done = append(done, n)
			continue
		case <-tick.C:
		}
		a.mu.Lock()
		chunk := append([]byte(nil), a.chunk...)
		a.chunk = a.chunk[:0]
		a.mu.Unlock()
		id = max(id+1, 1)
		err := db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			for _, n := range done {
				if err := b.Delete(binary.BigEndian.AppendUint16(nil, n)); err != nil {
					return err
				}
			}
			return b.Put(binary.BigEndian.AppendUint16(nil, id), chunk)
		})
		if err != nil {
			return err
		}
		done = done[:0]
		const topic = "floor/readings"
		out = append(out[:0], 0x32) // PUBLISH, QoS 1
		out = binary.AppendUvarint(out, uint64(2+len(topic)+2+len(chunk)))
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(topic))), topic...)
		out = append(binary.BigEndian.AppendUint16(out, id), chunk...)
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}
