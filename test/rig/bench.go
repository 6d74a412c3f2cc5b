package rig

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"davy/agent/operate"
	"davy/cmd/davy-plant/logbook"
	firmware "davy/firmware-configs"
)

// Gateway is the id of the bench plant's gateway.
const Gateway = "JY-0231-GW1"

// What firmware-configs/plants/bench says where a test puts its own.
const (
	sitePlant  = "127.0.0.1:5020"
	siteOPCUA  = "opc.tcp://127.0.0.1:4840"
	siteBroker = "tcp://127.0.0.1:1883"
	siteKey    = "receiver.pub"
)

// Bench is a bench plant, a receiver and an agent in one rig.
type Bench struct {
	*Rig
	Plant    *Proc
	Receiver *Proc
	Davy     *Proc

	PlantAddr string // Modbus TCP
	PlantUA   string // OPC UA: "opc.tcp://127.0.0.1:4840"
	PlantRTU  string // a device file, where StartPlant was given --rtu
	Control   string // of the plant
	Broker    string // host:port that receiver and agent use; see Uplink
	Uplink    string // host:port in the agent's site; a proxy before Broker, say
	Key       string // of the receiver, as a site file takes it
}

// PlantLog is the plant's own log.
func (b *Bench) PlantLog() string { return b.Path("plant.jsonl") }

// State is the agent's state directory.
func (b *Bench) State() string { return b.Path("state") }

// DB is the receiver's database directory.
func (b *Bench) DB() string { return b.Path("db") }

// Site is the agent's site directory.
func (b *Bench) Site() string { return b.Path("site") }

// StartPlant starts the bench plant and waits until it answers.
func (b *Bench) StartPlant(args ...string) (err error) {
	args = append([]string{"run", "--listen", "127.0.0.1:0", "--opcua", "127.0.0.1:0", "--control", "127.0.0.1:0", "--log", b.PlantLog()}, args...)
	if b.Plant, err = b.Start("davy-plant", args...); err != nil {
		return err
	}
	var ready struct{ Modbus, OPCUA, RTU, Control string }
	if err := b.Plant.Ready(&ready); err != nil {
		return err
	}
	b.PlantAddr, b.PlantUA, b.PlantRTU, b.Control = ready.Modbus, ready.OPCUA, ready.RTU, ready.Control
	return nil
}

// Send gives the plant a command of its control line.
func (b *Bench) Send(command string) error {
	_, err := b.Output("davy-plant", append([]string{"send", "--control", b.Control}, strings.Fields(command)...)...)
	return err
}

// StartReceiver starts the receiver. With an empty broker it embeds its own.
func (b *Bench) StartReceiver(broker string, args ...string) (err error) {
	line := []string{"run", "--db", b.DB(), "--json"}
	if broker == "" {
		if b.Broker == "" {
			port, err := FreePort()
			if err != nil {
				return err
			}
			b.Broker = fmt.Sprintf("127.0.0.1:%d", port)
		}
		line = append(line, "--listen", b.Broker)
	} else {
		b.Broker = broker
		line = append(line, "--broker", "tcp://"+broker)
	}
	if b.Receiver, err = b.Start("davy-receiver", append(line, args...)...); err != nil {
		return err
	}
	var ready struct{ Key string }
	if err := b.Receiver.Ready(&ready); err != nil {
		return err
	}
	b.Key = ready.Key
	return nil
}

// WriteSite writes the bench plant's site with the addresses of this bench.
// edit, if not nil, may change each file.
func (b *Bench) WriteSite(edit func(name, text string) string) error {
	sub, err := fs.Sub(firmware.Plants(), "bench")
	if err != nil {
		return err
	}
	uplink := b.Uplink
	if uplink == "" {
		uplink = b.Broker
	}
	put := strings.NewReplacer(siteOPCUA, cmp.Or(b.PlantUA, siteOPCUA), sitePlant, b.PlantAddr, siteBroker, "tcp://"+uplink)
	err = fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(sub, name)
		if err != nil {
			return err
		}
		text := put.Replace(string(raw))
		if edit != nil {
			text = edit(name, text)
		}
		path := filepath.Join(b.Site(), filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o644)
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Site(), siteKey), []byte(b.Key+"\n"), 0o644)
}

// Enroll makes the agent's key, if there is none, and enrols it at the receiver.
func (b *Bench) Enroll() error {
	if err := os.MkdirAll(b.State(), 0o750); err != nil {
		return err
	}
	var key struct{ Fingerprint string }
	if err := b.JSON(&key, "davy", "keys", "show", "--json", "--state", b.State()); err != nil {
		return err
	}
	_, err := b.Output("davy-receiver", "enroll", Gateway, key.Fingerprint, "--db", b.DB())
	return err
}

// Apply makes the site live.
func (b *Bench) Apply(reason string, args ...string) error {
	_, err := b.Output("davy", append([]string{"apply", b.Site(), "--state", b.State(), "--reason", reason, "--yes"}, args...)...)
	return err
}

// StartDavy starts the agent; WaitWatching waits until it judges.
func (b *Bench) StartDavy() (err error) {
	b.Davy, err = b.Start("davy", "run", "--state", b.State())
	return err
}

// View asks the running agent what (operate.Status, Alarms, Log).
func (b *Bench) View(what string) (*operate.View, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c := operate.Client{Path: filepath.Join(b.State(), "davy.sock")}
	return c.View(ctx, what)
}

// See waits until the agent's view satisfies cond.
func (b *Bench) See(limit time.Duration, what string, cond func(v *operate.View) bool) error {
	var last *operate.View
	err := WaitFor(limit, what, func() bool {
		v, err := b.View(operate.Status)
		if err != nil {
			return false
		}
		last = v
		return cond(v)
	})
	if err != nil && last != nil {
		var text bytes.Buffer
		_ = last.WriteStatus(&text, "en") // only to explain
		return fmt.Errorf("%w\n%s%s", err, text.String(), b.Davy.Tail())
	}
	if err != nil && b.Davy != nil {
		return errors.Join(err, errors.New(b.Davy.Tail()))
	}
	return err
}

// Watching reports whether every tag was read and every interlock is armed or tripped.
func Watching(v *operate.View) bool {
	for _, i := range v.Interlocks {
		if i.State == operate.Starting {
			return false
		}
	}
	return v.Tags.NeverRead == 0 && v.Tags.Total > 0
}

// Interlock returns an interlock of a view; the zero one if it is not there.
func Interlock(v *operate.View, name string) operate.Interlock {
	for _, i := range v.Interlocks {
		if i.Name == name {
			return i
		}
	}
	return operate.Interlock{}
}

// Output of a view.
func Output(v *operate.View, name string) operate.Output {
	for _, o := range v.Outputs {
		if o.Name == name {
			return o
		}
	}
	return operate.Output{}
}

// PlantBook reads the plant's own log.
func (b *Bench) PlantBook() ([]logbook.Entry, error) { return logbook.Read(b.PlantLog()) }

// Totals is what `davy-receiver totals --json` says of one gateway.
type Totals struct {
	Streams map[string]struct {
		Received, Head, Refused, Explained, Unexplained, Waiting uint64
	} `json:"streams"`
	Missing    []map[string]any `json:"missing"`
	Receipts   int64            `json:"receipts"`
	GapRecords int64            `json:"gap_records"`
	Alarms     int64            `json:"alarms"`
	Trips      int64            `json:"trips"`
	FirstOut   string           `json:"first_out"`
	Forks      int              `json:"forks"`
	Losses     int              `json:"losses"`
	Pauses     []struct {
		Seconds float64 `json:"seconds"`
		First   struct {
			Stream string `json:"stream"`
		} `json:"first"`
		Backlog map[string]uint64 `json:"backlog"`
	} `json:"pauses"`
	Complete bool `json:"complete"`
}

// Totals asks the receiver's store.
func (b *Bench) Totals(args ...string) (*Totals, error) {
	var all struct{ Gateways []*Totals }
	if err := b.JSON(&all, "davy-receiver", append([]string{"totals", Gateway, "--json", "--db", b.DB()}, args...)...); err != nil {
		return nil, err
	}
	if len(all.Gateways) == 0 {
		return &Totals{}, nil
	}
	return all.Gateways[0], nil
}

// Journal is what `davy journal stat --json` says; the agent must have ended.
type Journal struct {
	Recorded map[string]uint64 `json:"recorded"` // by stream, all epochs
	GivenUp  map[string]uint64 `json:"given_up"` // numbers that gap records name
	Gaps     uint64            `json:"gaps"`     // gap records
	Epochs   int               `json:"epochs"`
	Hash     string            `json:"hash"` // of all records, as the receiver's export
	Records  uint64            `json:"records"`
}

// Journal reads the agent's journal.
func (b *Bench) Journal() (*Journal, error) {
	j := new(Journal)
	return j, b.JSON(j, "davy", "journal", "stat", "--json", "--state", b.State())
}
