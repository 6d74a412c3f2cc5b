// Command opcuaside is our side of opcua.*: a worker of agent/scan that
// subscribes to 10,000 nodes through drivers/opcua and hands what comes to the
// process image, up to the judged reading and no further; its child is the same
// binary, as davy's is.
//
//	opcuaside --server opc.tcp://127.0.0.1:4840 --nodes 10000
//
// It prints one line of JSON, the address of a listener that tells everyone who
// connects how many points are good now and how many readings came so far.
//
// Imports: agent/clock, agent/config, agent/output, agent/scan, cmd/davy-plant/opcua
// (the name of the namespace), drivers, drivers/child, drivers/opcua,
// drivers/opcua/worker, drivers/tag, rules.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/agent/output"
	"davy/agent/scan"
	plant "davy/cmd/davy-plant/opcua"
	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
	"davy/rules"
)

var (
	url        = flag.String("server", "", "opc.tcp://host:port")
	nodes      = flag.Int("nodes", 10000, "how many")
	publishing = flag.Duration("publishing", time.Second, "interval")
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == opcua.Command {
		err = serve()
	} else {
		flag.Parse()
		err = run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "opcuaside:", err)
		os.Exit(1)
	}
}

// serve is the child.
func serve() error {
	conn, err := child.Parent()
	if err != nil {
		return err
	}
	return worker.Serve(context.Background(), conn, worker.Options{})
}

// image is where readings end.
type image struct {
	mu   sync.Mutex
	at   *rules.Image
	came uint64
}

// offer takes a batch as the control loop does.
func (m *image) offer(_ context.Context, b scan.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range b.Readings {
		m.at.Put(r)
	}
	m.came += uint64(len(b.Readings))
	m.at.TakeChanged()
	b.Free()
	return nil
}

// state is how many points are good and how many readings came.
func (m *image) state() (good int, came uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.at.Readings() {
		if r.Quality.Good() && r.Tag != 0 {
			good++
		}
	}
	return good, m.came
}

func run(ctx context.Context) error {
	var d opcua.Driver
	settings, err := d.ParseLink(*url, drivers.Fields{"security": "none", "publishing": publishing.String()})
	if err != nil {
		return err
	}
	set := rules.Set{Tags: make([]rules.Tag, *nodes+1)}
	link := &config.Link{Name: "plant", Driver: "opcua", Settings: settings, Timeout: 5 * time.Second}
	for i := range *nodes {
		name := tag.Name("plant.n" + strconv.Itoa(i))
		set.Tags[i+1] = rules.Tag{Name: name}
		at, err := d.ParseAddress("nsu=" + plant.URI + ";s=" + string(name))
		if err != nil {
			return err
		}
		t, err := d.ParseType(at, "")
		if err != nil {
			return err
		}
		link.Subscribe = append(link.Subscribe, drivers.Point{Tag: tag.ID(i + 1), Name: name, Address: at, Type: t, Period: *publishing, Ranged: true, High: 1e9})
	}
	m := &image{at: rules.NewImage(set)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go m.tell(l)
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"Count": l.Addr().String()}); err != nil {
		return err
	}
	for {
		w := &scan.Worker{
			Link: link, Driver: d, Lane: &output.Lane{}, Offer: m.offer, Alive: func() bool { return true },
			Condition: func(string, bool) {}, Now: clock.Now, Log: slog.Default(),
		}
		if err := w.Run(ctx); ctx.Err() == nil { // as the supervisor does
			slog.Warn("link ended", "err", err)
		}
		<-time.After(time.Second)
	}
}

func (m *image) tell(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		good, came := m.state()
		fmt.Fprintf(c, `{"Good":%d,"Came":%d}`+"\n", good, came)
		_ = c.Close() // it has its answer
	}
}
