package opcua

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/drivertest"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
)

const (
	timeout = 400 * time.Millisecond
	lateBy  = timeout * 3 / 2
	shares  = 5 // of the contract, each with a server, a proxy and a child of its own
)

var epoch = time.Now()

func now() tag.Stamp {
	return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(epoch)) + 1}
}

// serverRole is the argument of this binary as a server.
const serverRole = "cells-server"

// TestMain is also the child process of a link, and a server.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case opcua.Command:
			os.Exit(exit(serveChild()))
		case serverRole:
			os.Exit(exit(serveCells()))
		}
	}
	os.Exit(m.Run())
}

func exit(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveChild() error {
	signal.Ignore(syscall.SIGINT)
	conn, err := child.Parent()
	if err != nil {
		return err
	}
	return worker.Serve(context.Background(), conn, worker.Options{Log: slog.New(slog.DiscardHandler), FirstPause: 50 * time.Millisecond, LastPause: 200 * time.Millisecond})
}

// serveCells serves until standard input ends. Each line of it cuts every
// connection, and is answered when that is done, with how many there were so far.
func serveCells() error {
	_, p, end, err := listen(context.Background(), now)
	if err != nil {
		return err
	}
	fmt.Println(p.addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		p.cut()
		fmt.Println(p.accepted())
	}
	return end()
}

// point is a cell as the site has it.
func point(t *testing.T, i int) drivers.Point {
	t.Helper()
	var d opcua.Driver
	at, err := d.ParseAddress("nsu=" + uri + ";s=" + names[i])
	if err != nil {
		t.Fatal(err)
	}
	typ, err := d.ParseType(at, "")
	if err != nil {
		t.Fatal(err)
	}
	p := drivers.Point{Tag: tag.ID(i + 1), Name: tag.Name(names[i]), Address: at, Type: typ, Period: time.Second}
	if strings.HasPrefix(names[i], "b") { // two requests of one shape: one could pass for the other
		p.Period = 2 * time.Second
	}
	return p
}

// Every service result that part 4 gives to Read, and such of the common ones
// as a server gives on a bad day.
var codes = []ua.StatusCode{
	ua.StatusBadNothingToDo, ua.StatusBadTooManyOperations, ua.StatusBadMaxAgeInvalid, ua.StatusBadTimestampsToReturnInvalid,
	ua.StatusBadCommunicationError, ua.StatusBadEncodingLimitsExceeded, ua.StatusBadInternalError, ua.StatusBadOutOfMemory,
	ua.StatusBadResourceUnavailable, ua.StatusBadSecureChannelIDInvalid, ua.StatusBadSecurityChecksFailed, ua.StatusBadServerHalted,
	ua.StatusBadServiceUnsupported, ua.StatusBadSessionClosed, ua.StatusBadSessionIDInvalid, ua.StatusBadSessionNotActivated,
	ua.StatusBadShutdown, ua.StatusBadTimeout, ua.StatusBadTooManyPublishRequests, ua.StatusBadUnknownResponse,
	ua.StatusBadUserAccessDenied, ua.StatusUncertain, ua.StatusCode(0x80fe0000), ua.StatusCode(0xc0000000),
}

// What a node may say of its value.
var statuses = []ua.StatusCode{
	ua.StatusBad, ua.StatusBadNoCommunication, ua.StatusBadSensorFailure, ua.StatusBadWaitingForInitialData, ua.StatusBadNotConnected,
	ua.StatusBadNodeIDUnknown, ua.StatusBadUserAccessDenied, ua.StatusBadOutOfService, ua.StatusCode(0x80fe0000), ua.StatusCode(0xc0000000),
}

func rig(t *testing.T) *drivertest.Rig {
	c, p, end, err := listen(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	var d opcua.Driver
	settings, err := d.ParseLink("opc.tcp://"+p.addr, drivers.Fields{"security": "none", "mode": "poll", "keep_alive": "500ms"})
	if err != nil {
		t.Fatal(err)
	}
	at, err := d.ParseAddress("nsu=" + uri + ";s=" + flag)
	if err != nil {
		t.Fatal(err)
	}
	r := &drivertest.Rig{
		Driver: d, Config: drivers.LinkConfig{Name: "plc", Settings: settings, Timeout: timeout, Now: now},
		Change: func(i int) { c.change(i, now()) },
		Heal: func() {
			p.heal()
			c.behave(nil)
			c.without(nil)
		},
		Held: c.held,
		Lack: []func(i int){
			func(i int) { c.without(status(ua.StatusBadNodeIDUnknown), names[i]) },
			func(i int) { c.without(good("12.5"), names[i]) },
			func(i int) { c.without(good([]float64{12.5}), names[i]) },
			func(i int) { c.without(status(ua.StatusOK), names[i]) }, // no value at all
		},
		Silence: func(done bool) {
			if done {
				p.behave(swallow)
			} else {
				p.behave(deaf)
			}
		},
		Write: drivers.Point{
			Tag: 99, Name: flag, Address: at, Type: drivers.Type{Kind: tag.Bool, Bits: 1}, Write: true,
		},
		Written: func() tag.Value { return tag.BoolValue(c.written()) },
		Chaos:   p.chaos,
		Recover: time.Minute,
	}
	for i := range names {
		r.Points = append(r.Points, point(t, i))
	}
	for _, code := range codes {
		r.Faults = append(r.Faults, drivertest.Fault{Kind: drivertest.Refused, Name: "service " + code.Error(), Begin: func() { c.behave(refuse(code)) }})
	}
	for _, code := range statuses {
		r.Faults = append(r.Faults, drivertest.Fault{Kind: drivertest.Refused, Name: "items " + code.Error(), Begin: func() { c.behave(items(code)) }})
	}
	for _, f := range []struct {
		kind drivertest.Kind
		name string
		s    spoil
	}{
		{drivertest.Short, "a value is missing", short},
		{drivertest.Long, "a value too many", long},
		{drivertest.WrongStation, "the answer to another read", another},
		{drivertest.WrongFunction, "the answer to a write", write},
	} {
		r.Faults = append(r.Faults, drivertest.Fault{Kind: f.kind, Name: f.name, Begin: func() { c.behave(f.s) }})
	}
	for _, f := range []struct {
		kind  drivertest.Kind
		name  string
		begin func()
		good  bool
		pause time.Duration
	}{
		{drivertest.Silent, "nothing comes back", func() { p.behave(swallow) }, false, 0},
		{drivertest.Silent, "nothing arrives", func() { p.behave(deaf) }, false, 0},
		{drivertest.Garbled, "garbled answers", func() { p.behave(garbled) }, false, 0},
		{drivertest.Garbled, "noise", func() { p.behave(noise) }, false, 0},
		{drivertest.WrongStation, "the answer of another channel", func() { p.behave(stranger) }, false, 0},
		{drivertest.WrongStation, "the answer to another request", func() { p.behave(nobody) }, false, 0},
		{drivertest.LateBefore, "late, while nothing is asked", func() { p.behave(late) }, false, 2 * lateBy},
		{drivertest.LateDuring, "late, within the next request", func() { p.behave(late) }, false, 0},
		{drivertest.Duplicate, "every answer twice", func() { p.behave(double) }, false, 0},
		{drivertest.Bytewise, "byte by byte", func() { p.behave(bytewise) }, true, 0},
		{drivertest.Reset, "cut instead of an answer", func() { p.behave(reset) }, false, 0},
		{drivertest.HalfOpen, "half-open", p.stale, true, 0},
		{drivertest.Speechless, "accepts and is mute", p.speechless, false, 0},
		{drivertest.Reconnected, "cut while nothing is asked", p.cut, true, 0},
	} {
		r.Faults = append(r.Faults, drivertest.Fault{Kind: f.kind, Name: f.name, Begin: f.begin, Good: f.good, Pause: f.pause})
	}
	var second []string
	for _, n := range names {
		if strings.HasPrefix(n, "b") {
			second = append(second, n)
		}
	}
	r.Faults = append(r.Faults, drivertest.Fault{
		Kind: drivertest.TwoDevices, Name: "the server lost one of its devices",
		Begin:  func() { c.without(status(ua.StatusBadNoCommunication), second...) },
		Spares: func(i int) bool { return strings.HasPrefix(names[i], "a") },
	})
	return r
}

func TestPollingKeepsTheContract(t *testing.T) {
	t.Parallel() // after the test that counts what this process holds
	for _, v := range drivertest.Apart(t.Context(), shares, func() *drivertest.Rig { return rig(t) }, 1) {
		t.Error(v)
	}
}
