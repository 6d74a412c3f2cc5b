// Command rawdevice is what the clients of modbus.* ask: a Modbus TCP device
// whose holding registers hold their addresses. It answers FC3, several requests
// at once if they come at once, and believes everyone.
//
//	rawdevice --thinking 5ms
//
// Each answer comes that long after its request. It prints its address and ends
// with its standard input.
//
// Imports: the standard library.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	thinking := flag.Duration("thinking", 0, "how long an answer takes")
	flag.Parse()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "rawdevice:", err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, it is over
		os.Exit(0)
	}()
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "rawdevice:", err)
			os.Exit(1)
		}
		if *thinking > 0 {
			go think(c, *thinking)
		} else {
			go serve(c)
		}
	}
}

// answer writes what answers request to out and returns it.
func answer(out *[260]byte, request []byte) []byte {
	first, count := binary.BigEndian.Uint16(request[8:]), int(binary.BigEndian.Uint16(request[10:]))
	copy(out[:], request[:8])
	binary.BigEndian.PutUint16(out[4:], uint16(3+2*count))
	out[8] = byte(2 * count)
	for i := range count {
		binary.BigEndian.PutUint16(out[9+2*i:], first+uint16(i))
	}
	return out[:9+2*count]
}

// serve answers one after the other, at once.
func serve(c net.Conn) {
	defer c.Close()
	var request [12]byte
	var out [260]byte
	for {
		if _, err := io.ReadFull(c, request[:]); err != nil {
			return
		}
		if _, err := c.Write(answer(&out, request[:])); err != nil {
			return
		}
	}
}

// think answers each request so long after it came.
func think(c net.Conn, thinking time.Duration) {
	type asked struct {
		request [12]byte
		at      time.Time
	}
	queue := make(chan asked, 64)
	go func() {
		defer close(queue)
		in := bufio.NewReader(c)
		for {
			var a asked
			if _, err := io.ReadFull(in, a.request[:]); err != nil {
				return
			}
			a.at = time.Now().Add(thinking)
			queue <- a
		}
	}()
	defer c.Close()
	var out [260]byte
	for a := range queue {
		time.Sleep(time.Until(a.at))
		if _, err := c.Write(answer(&out, a.request[:])); err != nil {
			return
		}
	}
}
