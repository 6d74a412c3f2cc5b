// Command davy-plant is a plant to talk to: a small ammonia cold store behind a
// Modbus TCP server, which leaks and breaks when it is told to, and keeps its
// own log of what happened and of every write it received.
//
//	davy-plant run  --listen 127.0.0.1:0 --control 127.0.0.1:0 --log plant.jsonl --script leak.txt --seed 1
//	davy-plant send --control 127.0.0.1:41234 "leak start 40"
//
// run prints one line of JSON on standard output when it is ready: the
// addresses it got, under the names of type ready. Exit codes are those of
// agent/cli; a script with mistakes, and a command that the plant refuses, are
// wrong usage. It is a tool for a bench: its Modbus port believes everyone who
// reaches it, as Modbus does.
//
// Imports: the packages below it, agent/cli, agent/clock, agent/i18n.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"davy/agent/cli"
	"davy/agent/clock"
	"davy/agent/i18n"
	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/control"
	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/process"
	"davy/cmd/davy-plant/script"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := program(ctx, os.Stdin).Main(os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// program is the command line; ctx ends what runs.
func program(ctx context.Context, in io.Reader) *cli.Program {
	return &cli.Program{Name: "davy-plant", Commands: []cli.Command{
		{
			Name: "run", Flags: []cli.Flag{
				{Name: "listen", Value: "HOST:PORT", Default: "127.0.0.1:5020"},
				{Name: "control", Value: "HOST:PORT|unix:PATH"},
				{Name: "log", Value: "FILE"},
				{Name: "script", Value: "FILE|-"},
				{Name: "seed", Value: "N", Default: "1"},
				{Name: "speed", Value: "FACTOR", Default: "1"},
				{Name: "for", Value: "DURATION"},
				{Name: "watch", Value: "TAG=L,L;TAG=L"},
			},
			Run: func(c *cli.Call) error { return run(ctx, c, in) },
		},
		{
			Name: "send", Min: 1, Max: -1, Flags: []cli.Flag{{Name: "control", Value: "HOST:PORT|unix:PATH"}},
			Run: func(c *cli.Call) error { return send(ctx, c) },
		},
	}}
}

// ready is the line on standard output that says that everything listens.
type ready struct {
	Modbus  string  `json:"modbus"`
	Control string  `json:"control,omitempty"` // as `send --control` takes it
	Log     string  `json:"log,omitempty"`
	Seed    uint64  `json:"seed"`
	Speed   float64 `json:"speed"`
	PID     int     `json:"pid"`
}

// wrong is an error of a flag's value.
func wrong(c *cli.Call, name string, cause error) error {
	return &cli.Error{
		Exit: cli.Wrong, Key: "davy-plant.wrong-value", Cause: cause,
		Args: i18n.Args{"flag": "--" + name, "value": c.Flag(name)},
	}
}

// run is `davy-plant run`.
func run(ctx context.Context, c *cli.Call, in io.Reader) error {
	seed, err := strconv.ParseUint(c.Flag("seed"), 10, 64)
	if err != nil {
		return wrong(c, "seed", errors.Unwrap(err))
	}
	speed, err := strconv.ParseFloat(c.Flag("speed"), 64)
	if err != nil || !(speed >= process.MinSpeed && speed <= process.MaxSpeed) {
		return wrong(c, "speed", fmt.Errorf("%v .. %v", process.MinSpeed, process.MaxSpeed))
	}
	watch, err := watchLevels(c.Flag("watch"))
	if err != nil {
		return wrong(c, "watch", err)
	}
	if text := c.Flag("for"); text != "" {
		length, err := time.ParseDuration(text)
		if err != nil || length <= 0 {
			return wrong(c, "for", errors.New("500ms, 12s, 1m30s"))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	lines, err := readScript(c, in)
	if err != nil {
		return err
	}
	book, err := logbook.Create(c.Flag("log"))
	if err != nil {
		return err
	}
	plant := bench.New(bench.Options{Seed: seed, Speed: speed, Script: lines, Watch: watch, Book: book, Now: clock.Now})
	err = serve(ctx, c, plant, ready{Log: c.Flag("log"), Seed: seed, Speed: speed, PID: os.Getpid()})
	if err == nil {
		err = plant.End()
	}
	return errors.Join(err, book.Close())
}

// watchLevels reads "nh3-1.gas=28,56;receiver1.level=80": for these tags the
// levels given, for the others the usual ones.
func watchLevels(s string) (map[string][]float64, error) {
	watch := bench.DefaultWatch()
	if s == "" {
		return watch, nil
	}
	for one := range strings.SplitSeq(s, ";") {
		name, list, ok := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		if !ok || !slices.Contains(bench.Names().Tags, name) {
			return nil, errors.New(strings.Join(bench.Names().Tags, ", "))
		}
		watch[name] = nil
		for w := range strings.SplitSeq(list, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(w), 64)
			if err != nil {
				return nil, err
			}
			watch[name] = append(watch[name], v)
		}
	}
	return watch, nil
}

// readScript reads the script, "-" from standard input, and says everything
// that is wrong with it.
func readScript(c *cli.Call, in io.Reader) ([]script.Line, error) {
	name := c.Flag("script")
	if name == "" {
		return nil, nil
	}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &cli.Error{Exit: cli.Wrong, Key: "davy-plant.no-script", Hint: "davy-plant.hint.script", Cause: err}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	lines, problems := script.Parse(in, bench.Names())
	for _, p := range problems {
		cause, remedy := p.In(c.Lang)
		fmt.Fprintf(c.Err, "davy-plant: %s: %s\n", c.Lang.Text("cli.error", nil), cause)
		fmt.Fprintf(c.Err, "davy-plant: %s: %s\n", c.Lang.Text("cli.hint", nil), remedy)
	}
	if len(problems) > 0 {
		return nil, cli.Quiet(cli.Wrong)
	}
	return lines, nil
}

// serve opens the plant's addresses, says so, and runs until ctx ends or a part fails.
func serve(ctx context.Context, c *cli.Call, plant *bench.Bench, line ready) error {
	fail := func(err error) error {
		return &cli.Error{Exit: cli.Failed, Hint: "davy-plant.hint.listen", Cause: err}
	}
	srv, err := modbus.Listen(c.Flag("listen"), plant, clock.Now)
	if err != nil {
		return fail(err)
	}
	plant.Wire(srv)
	line.Modbus = srv.Addr()
	parts := []func(context.Context) error{srv.Run, plant.Run}
	if addr := c.Flag("control"); addr != "" {
		ctl, err := control.Listen(addr, plant, bench.Names(), func(p script.Problem) string {
			cause, remedy := p.In(c.Lang)
			return cause + c.Lang.Text("davy-plant.then", nil) + remedy
		})
		if err != nil {
			srv.Refuse() // closes its listener
			return fail(err)
		}
		parts = append(parts, ctl.Run)
		line.Control = ctl.Addr()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() {
			defer cancel() // all end with the first
			errs[i] = part(ctx)
		})
	}
	if err := json.NewEncoder(c.Out).Encode(line); err != nil {
		cancel()
		errs = append(errs, fmt.Errorf("say ready: %w", err))
	}
	wg.Wait()
	return errors.Join(errs...)
}

// send is `davy-plant send`.
func send(ctx context.Context, c *cli.Call) error {
	if c.Flag("control") == "" {
		return &cli.Error{Exit: cli.Wrong, Key: "davy-plant.no-address", Hint: "davy-plant.hint.send"}
	}
	answer, err := control.Send(ctx, c.Flag("control"), strings.Join(c.Args, " "))
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		return &cli.Error{Exit: cli.Wrong, Cause: refused}
	case err != nil:
		return &cli.Error{Exit: cli.Failed, Hint: "davy-plant.hint.not-running", Cause: err}
	}
	if answer != "" {
		fmt.Fprintln(c.Out, answer)
	}
	return nil
}
