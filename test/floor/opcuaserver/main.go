// Command opcuaserver is what the clients of opcua.* subscribe to: the server
// of davy-plant with so many numbers, every one of which is another at each
// sample.
//
//	opcuaserver --nodes 10000
//
// It prints one line of JSON: its endpoint, and the address of a listener that
// takes one word from everyone who connects and answers "done" when it is so:
// "silent" (subscriptions say nothing more, every other service answers),
// "hang" (the connections stand and nothing comes back), "heal" (both end).
//
// Imports: cmd/davy-plant/bench, cmd/davy-plant/opcua.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/opcua"
)

var nodes = flag.Int("nodes", 10000, "how many, at most opcua.MaxItems")

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "opcuaserver:", err)
		os.Exit(1)
	}
}

// source is numbers that say when they were sampled, and which they are.
type source struct {
	nodes []bench.Node
	at    map[string]int
	began time.Time
}

func (s *source) Nodes() []bench.Node { return s.nodes }

// Sample is exact in 24 bits for more than an hour of tenths of a second.
func (s *source) Sample(name string) bench.Sample {
	now := time.Now()
	return bench.Sample{Number: float32(now.Sub(s.began)/(100*time.Millisecond)*64) + float32(s.at[name]%64), At: now}
}

func run() error {
	src := &source{at: map[string]int{}, began: time.Now()}
	for i := range *nodes {
		name := "plant.n" + strconv.Itoa(i)
		src.nodes = append(src.nodes, bench.Node{Name: name})
		src.at[name] = i
	}
	s, err := opcua.Listen("127.0.0.1:0", src)
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	errs := make(chan error, 2)
	go func() { errs <- s.Run(context.Background()) }()
	go func() { errs <- obey(control, s) }()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"URL": s.URL(), "Control": control.Addr().String()}); err != nil {
		return err
	}
	return <-errs
}

// obey does what everyone who connects says.
func obey(l net.Listener, s *opcua.Server) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		word, err := bufio.NewReader(c).ReadString('\n')
		if err == nil {
			err = do(s, strings.TrimSpace(word))
		}
		answer := "done"
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(c, answer)
		_ = c.Close() // it has its answer
	}
}

func do(s *opcua.Server, word string) error {
	switch word {
	case "silent":
		s.Silent(true)
	case "hang":
		s.Hang(true)
	case "heal":
		s.Silent(false)
		s.Hang(false)
	default:
		return errors.New("silent, hang or heal")
	}
	return nil
}
