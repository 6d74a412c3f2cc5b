package worker_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uasc"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
)

const asChild = "DAVY_TEST_OPCUA_WORKER"

// The test binary is its own child process.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	conn, err := child.Parent()
	if err == nil {
		err = worker.Serve(context.Background(), conn, worker.Options{ClockTrusted: func() bool { return true }})
	}
	if err != nil {
		os.Exit(1)
	}
}

// poison is what a hostile server puts into an answer.
type poison []byte

func (p poison) Encode() ([]byte, error) { return p, nil }

// hostile is a server that answers the first request of every connection with
// poison in the header of the answer, where every client decodes it.
type hostile struct {
	target string
	asked  atomic.Int64
}

func newHostile(t *testing.T, body []byte) *hostile {
	t.Helper()
	l, err := uacp.Listen(context.Background(), "opc.tcp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{target: "opc.tcp://" + l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			c, err := l.Accept(ctx)
			if err != nil {
				continue
			}
			group.Go(func() { h.answer(ctx, c, body) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		group.Wait()
	})
	return h
}

func (h *hostile) answer(ctx context.Context, c *uacp.Conn, body []byte) {
	defer c.Close()
	cfg := &uasc.Config{SecurityPolicyURI: ua.SecurityPolicyURINone, SecurityMode: ua.MessageSecurityModeNone}
	sc, err := uasc.NewServerSecureChannel("", c, cfg, make(chan error, 1), 1, 1, 1)
	if err != nil {
		return
	}
	context.AfterFunc(ctx, func() { c.Close() })
	for {
		m := sc.Receive(ctx)
		if m.Err != nil {
			return
		}
		if _, ok := m.Request().(*ua.GetEndpointsRequest); !ok {
			continue
		}
		h.asked.Add(1)
		_ = sc.SendResponseWithContext(ctx, m.RequestID, &ua.GetEndpointsResponse{ResponseHeader: &ua.ResponseHeader{
			Timestamp: time.Now(), RequestHandle: m.RequestID, ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{},
			AdditionalHeader: &ua.ExtensionObject{
				TypeID:       ua.NewFourByteExpandedNodeID(0, id.DataChangeNotification_Encoding_DefaultBinary),
				EncodingMask: ua.ExtensionObjectBinary, Value: poison(body),
			},
		}})
	}
}

// notification is a data change with one value, of which variant is the encoding.
func notification(variant ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1) // one item
	b = binary.LittleEndian.AppendUint32(b, 7)    // its handle
	return append(append(b, ua.DataValueValue), variant...)
}

// A server whose answers make the library panic, in a goroutine of its own
// where nothing recovers, costs the child process. The decider's link sees bad
// quality and starts another; it does not die and does not hang.
func TestHostileServer(t *testing.T) {
	le := binary.LittleEndian
	for name, variant := range map[string][]byte{
		// Panics on every architecture: make a slice of -2 elements.
		"array of -2": le.AppendUint32([]byte{byte(ua.TypeIDInt32) | ua.VariantArrayValues}, 0xfffffffe),
		// Panics where int has 32 bits (GOARCH=arm): a length below 0.
		"string of 0x80000001": le.AppendUint32([]byte{byte(ua.TypeIDString)}, 0x80000001),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, notification(variant...))
			var out strings.Builder
			var mu sync.Mutex
			log := slog.New(slog.NewTextHandler(locked{&mu, &out}, nil))
			d := opcua.Driver{Child: func(ctx context.Context, log *slog.Logger, serve func(context.Context, net.Conn) error) error {
				p := child.Process{Args: []string{"-test.run=^$"}, Env: []string{asChild + "=1"}, MemLimit: opcua.MemLimit, Log: log}
				return p.Run(ctx, serve)
			}}
			settings, err := d.ParseLink(h.target, drivers.Fields{"security": "none", "mode": "poll"})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			link, err := d.Open(t.Context(), drivers.LinkConfig{
				Name: "plc", Settings: settings, Timeout: 2 * time.Second, Log: log,
				Now: func() tag.Stamp {
					return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start)) + 1}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer link.Close()
			at, _ := d.ParseAddress("ns=2;s=A")
			kind, _ := d.ParseType(at, "")
			reqs, err := d.Plan(settings, []drivers.Point{{Tag: 1, Name: "a", Address: at, Type: kind, Period: time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(40 * time.Second)
			for h.asked.Load() < 2 && time.Now().Before(deadline) {
				got, err := link.Read(t.Context(), reqs[0], nil)
				if err == nil || len(got) != 1 || !got[0].Quality.Bad() {
					t.Fatalf("read %+v, %v", got, err)
				}
				wait := time.NewTimer(100 * time.Millisecond)
				<-wait.C
			}
			if h.asked.Load() < 2 {
				t.Errorf("the server was asked %d times", h.asked.Load())
			}
			mu.Lock()
			defer mu.Unlock()
			died := strings.Contains(out.String(), "opc ua child ended")
			if panics := name == "array of -2" || strconv.IntSize == 32; died != panics {
				t.Errorf("child died: %v, want %v; log:\n%s", died, panics, out.String())
			}
		})
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	b  *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
