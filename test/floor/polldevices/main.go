// Command polldevices is what the agents of poll.* ask: Modbus TCP devices with
// so many holding registers each, of which a hundredth moves by one every
// hundred milliseconds. It answers FC3 at once and believes everyone.
//
//	polldevices --devices 10 --tags 1000
//
// It prints one line of JSON: the devices' addresses, and that of a listener
// which tells everyone who connects how many requests were answered so far.
//
// Imports: the standard library.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	devices = flag.Int("devices", 10, "how many")
	tags    = flag.Int("tags", 1000, "registers of each")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "polldevices:", err)
		os.Exit(1)
	}
}

type device struct {
	mu    sync.RWMutex
	words []byte // big-endian
	asked atomic.Uint64
}

func run() error {
	errs := make(chan error)
	var ready struct {
		Devices []string `json:"devices"`
		Count   string   `json:"count"`
	}
	var all []*device
	for n := range *devices {
		d := &device{words: make([]byte, 2**tags)}
		r := rand.New(rand.NewPCG(1, uint64(n)))
		for i := range *tags {
			binary.BigEndian.PutUint16(d.words[2*i:], uint16(1000+r.IntN(10000)))
		}
		addr, err := listen(d.serve, errs)
		if err != nil {
			return err
		}
		ready.Devices = append(ready.Devices, addr)
		all = append(all, d)
		go d.live(r)
	}
	addr, err := listen(func(c net.Conn) error {
		var sum uint64
		for _, d := range all {
			sum += d.asked.Load()
		}
		_, err := fmt.Fprintln(c, sum)
		return err
	}, errs)
	if err != nil {
		return err
	}
	ready.Count = addr
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return <-errs
}

// listen serves every connection to an address of its own.
func listen(serve func(net.Conn) error, errs chan<- error) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				errs <- err
				return
			}
			go func() {
				if err := serve(c); err != nil && err != io.EOF {
					fmt.Fprintln(os.Stderr, "polldevices:", err)
				}
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String(), nil
}

func (d *device) live(r *rand.Rand) {
	for range time.Tick(100 * time.Millisecond) {
		d.mu.Lock()
		n := len(d.words) / 2
		for range n / 100 {
			at := 2 * r.IntN(n)
			v := binary.BigEndian.Uint16(d.words[at:])
			if r.IntN(2) == 0 {
				v-- // from 1,000 it needs days to get below 0
			} else {
				v++
			}
			binary.BigEndian.PutUint16(d.words[at:], v)
		}
		d.mu.Unlock()
	}
}

func (d *device) serve(c net.Conn) error {
	in, out := make([]byte, 12), make([]byte, 9+250)
	for {
		if _, err := io.ReadFull(c, in); err != nil {
			return err
		}
		first, count := int(binary.BigEndian.Uint16(in[8:])), int(binary.BigEndian.Uint16(in[10:]))
		if in[7] != 3 || count > 125 || 2*(first+count) > len(d.words) {
			return fmt.Errorf("asked for %d registers from %d with function %d", count, first, in[7])
		}
		copy(out, in[:8])
		binary.BigEndian.PutUint16(out[4:], uint16(3+2*count))
		out[8] = byte(2 * count)
		d.mu.RLock()
		copy(out[9:], d.words[2*first:2*(first+count)])
		d.mu.RUnlock()
		d.asked.Add(1)
		if _, err := c.Write(out[:9+2*count]); err != nil {
			return err
		}
	}
}
