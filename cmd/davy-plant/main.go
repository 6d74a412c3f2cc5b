// Command davy-plant is a plant to talk to: a small ammonia cold store behind
// Modbus (TCP; RTU and ASCII on serial lines of its own making; both over TCP,
// listening or dialling in) and an OPC UA server. It leaks and breaks when it is
// told to, and keeps its own log of what happened and of every write it received.
//
//	davy-plant run  --listen 127.0.0.1:0 --control 127.0.0.1:0 --log plant.jsonl --script leak.txt --seed 1
//	davy-plant run  --rtu ./ttyPLC:9600,8E1 --opcua 127.0.0.1:4840
//	davy-plant send --control 127.0.0.1:41234 "leak start 40"
//
// run prints one line of JSON on standard output when it is ready: the
// addresses it got, under the names of type ready. Exit codes are those of
// agent/cli; a script with mistakes, and a command that the plant refuses, are
// wrong usage. It is a tool for a bench: its Modbus port believes everyone who
// reaches it, as Modbus does, and its OPC UA server has no security whatever.
//
// Imports: the packages below it, agent/cli, agent/clock, agent/i18n.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"davy/agent/cli"
	"davy/agent/clock"
	"davy/agent/i18n"
	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/control"
	"davy/cmd/davy-plant/logbook"
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
				{Name: "rtu", Value: "PATH:BAUD,8E1"},
				{Name: "ascii", Value: "PATH:BAUD,7E1"},
				{Name: "rtu-tcp", Value: "HOST:PORT"},
				{Name: "ascii-tcp", Value: "HOST:PORT"},
				{Name: "dial", Value: "HOST:PORT,rtu|ascii|tcp,HELLO"},
				{Name: "opcua", Value: "HOST:PORT"},
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
	if c.Flag("opcua") != "" {
		stdlog.SetOutput(io.Discard) // the library narrates there
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
