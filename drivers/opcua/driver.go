package opcua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/tag"
)

// Limits of a child, each with what happens at it.
const (
	MemLimit = 64 << 20        // GOMEMLIMIT: its garbage collector works harder from here
	MaxPSS   = 160 << 20       // it is replaced
	Grace    = 5 * time.Second // from the end of the stream to the kill: it closes its session meanwhile
)

// Command is the hidden command of cmd/davy that is a child.
const Command = "opcua-worker"

// Driver is "opcua" in a site file. The zero Driver starts its children from
// our own binary.
type Driver struct {
	// Child runs one child: it calls serve with the parent's end of the stream and
	// returns when serve has returned and the child has ended. nil: a process.
	Child func(ctx context.Context, log *slog.Logger, serve func(context.Context, net.Conn) error) error
}

func process(ctx context.Context, log *slog.Logger, serve func(context.Context, net.Conn) error) error {
	p := child.Process{Args: []string{Command}, MemLimit: MemLimit, MaxPSS: MaxPSS, Grace: Grace, Log: log}
	return p.Run(ctx, serve)
}

// Subscribes reports whether a link subscribes: unless its site says `mode: poll`.
func (Driver) Subscribes(link drivers.Settings) bool {
	o, ok := link.Options.(*Options)
	return ok && !o.Poll
}

// DeviceFields returns none.
func (Driver) DeviceFields() []drivers.Field { return nil }

// ParseDevice has nothing to check.
func (Driver) ParseDevice(drivers.Fields) (any, error) { return nil, nil }

var types = map[string]drivers.Type{
	"bool":    {Kind: tag.Bool, Bits: 1},
	"int":     {Kind: tag.Int, Bits: 64, Sign: true},
	"float32": {Kind: tag.Float32, Bits: 32, Sign: true},
	"float64": {Kind: tag.Float64, Bits: 64, Sign: true},
	"enum":    {Kind: tag.Enum, Bits: 64, Sign: true},
	"text":    {Kind: tag.Text, Bits: 64},
}

const typeNames = "bool, int, float32, float64, enum, text"

// ParseType reads the type that readings have; Convert says which of the
// server's types each one takes. The natural type is float64, which takes every
// number that it can hold exactly; of `conditions of …` it is int, and nothing else.
func (Driver) ParseType(at drivers.Address, s string) (drivers.Type, error) {
	a, ok := at.(Address)
	if !ok {
		panic("BUG: opcua: address of another driver")
	}
	if s == "" {
		if s = "float64"; a.What == Conditions {
			s = "int"
		}
	}
	t, ok := types[s]
	if !ok {
		return drivers.Type{}, hint("opcua.type", "opcua.type", map[string]any{"text": s, "list": typeNames})
	}
	if a.What == Conditions && t.Kind != tag.Int {
		return drivers.Type{}, hint("opcua.type-of-conditions", "opcua.type-of-conditions", map[string]any{"text": s, "at": a.String()})
	}
	return t, nil
}

// Open makes a link; the child is started by the first call that needs it.
func (d Driver) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	o, ok := cfg.Options.(*Options)
	if !ok {
		return nil, fmt.Errorf("open link %s: %w", cfg.Name, errors.New("no security settings"))
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	run := d.Child
	if run == nil {
		run = process
	}
	return newLink(cfg, o, run), nil
}

// DefaultTimeout is LinkConfig.Timeout where that is 0.
const DefaultTimeout = 5 * time.Second
