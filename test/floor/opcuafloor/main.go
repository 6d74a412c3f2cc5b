// Command opcuafloor is the least that somebody needs who takes 10,000 values
// off an OPC UA server with gopcua's own client: one subscription, monitored
// items by the few hundred, and a loop that looks at the value and the status
// of each notification. It notices no silence, judges nothing and hands nothing on.
//
//	opcuafloor --server opc.tcp://127.0.0.1:4840 --nodes 10000
//
// It prints one line of JSON, the address of a listener that tells everyone who
// connects what came so far.
//
// Imports: cmd/davy-plant/opcua (the name of the namespace), gopcua.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	plant "davy/cmd/davy-plant/opcua"
)

var (
	url        = flag.String("server", "", "opc.tcp://host:port")
	nodes      = flag.Int("nodes", 10000, "how many")
	publishing = flag.Duration("publishing", time.Second, "interval")
)

// batch is how many items are asked for at once.
const batch = 500

// count is what came so far.
type count struct{ Good, Came atomic.Uint64 }

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "opcuafloor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c, err := opcua.NewClient(*url, opcua.SecurityMode(ua.MessageSecurityModeNone))
	if err != nil {
		return err
	}
	if err := c.Connect(ctx); err != nil {
		return err
	}
	spaces, err := c.NamespaceArray(ctx)
	if err != nil {
		return err
	}
	ns := slices.Index(spaces, plant.URI)
	if ns < 0 {
		return errors.New("the server has another namespace")
	}
	came := make(chan *opcua.PublishNotificationData, 16)
	sub, err := c.Subscribe(ctx, &opcua.SubscriptionParameters{Interval: *publishing}, came)
	if err != nil {
		return err
	}
	for first := 0; first < *nodes; first += batch {
		var items []*ua.MonitoredItemCreateRequest
		for i := first; i < min(first+batch, *nodes); i++ {
			r := opcua.NewMonitoredItemCreateRequestWithDefaults(ua.NewStringNodeID(uint16(ns), "plant.n"+strconv.Itoa(i)), ua.AttributeIDValue, uint32(i))
			r.RequestedParameters.SamplingInterval = float64(*publishing / time.Millisecond)
			items = append(items, r)
		}
		if _, err := sub.Monitor(ctx, ua.TimestampsToReturnBoth, items...); err != nil {
			return err
		}
	}
	var n count
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go tell(l, &n)
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"Count": l.Addr().String()}); err != nil {
		return err
	}
	values := make([]float64, *nodes)
	for data := range came {
		if data.Error != nil {
			return data.Error
		}
		change, ok := data.Value.(*ua.DataChangeNotification)
		if !ok {
			continue
		}
		good := uint64(0)
		for _, x := range change.MonitoredItems {
			if v := x.Value; v.Status == ua.StatusOK && v.Value != nil {
				values[x.ClientHandle] = v.Value.Float()
				good++
			}
		}
		n.Good.Add(good)
		n.Came.Add(uint64(len(change.MonitoredItems)))
	}
	return nil
}

func tell(l net.Listener, n *count) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(c, `{"Good":%d,"Came":%d}`+"\n", n.Good.Load(), n.Came.Load())
		_ = c.Close() // it has its answer
	}
}
