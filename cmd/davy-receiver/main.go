// Command davy-receiver is the regulator's side: it takes in what gateways
// send to a broker, stores it by name, says what is missing, and answers with
// signed receipts. It is the reference: one process, one SQLite file, and a
// broker of its own for a desk (run --listen) where there is no other.
//
// main is a table of commands. run is the only one that needs a broker; the
// others read the database beside it, and enroll writes one row; restored wants
// it stopped, and authority knows no database. Everything that a command prints
// comes from the database.
//
// Imports: the packages below it, agent/cli, agent/i18n, agent/wire,
// agent/evidence (checks, and what a receiver signs), agent/uplink/mqtt (the same rules for a
// connection as the gateway's), rules (numbers of event kinds).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"davy/agent/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// Main is the whole command with its context handed in.
func Main(ctx context.Context, args []string) int {
	return program(ctx).Main(args, os.Stdout, os.Stderr)
}

func program(ctx context.Context) *cli.Program {
	db := cli.Flag{Name: "db", Value: "DIR", Default: "davy-receiver-db"}
	key := cli.Flag{Name: "key", Value: "FILE"}
	with := func(f func(context.Context, *cli.Call) error) func(*cli.Call) error {
		return func(c *cli.Call) error { return f(ctx, c) }
	}
	return &cli.Program{Name: "davy-receiver", Commands: []cli.Command{
		{Name: "run", JSON: true, Run: with(run), Flags: []cli.Flag{
			db, key,
			{Name: "broker", Value: "URL"},
			{Name: "listen", Value: "ADDRESS"},
			{Name: "name", Value: "NAME", Default: "receiver"},
			{Name: "key-cert", Value: "FILE"},
			{Name: "silent", Value: "DURATION", Default: "15m"},
			{Name: "withheld", Value: "DURATION", Default: "10m"},
			{Name: "ca", Value: "FILE"},
			{Name: "cert", Value: "FILE"},
			{Name: "cert-key", Value: "FILE"},
			{Name: "user", Value: "NAME"},
			{Name: "password-file", Value: "FILE"},
			{Name: "ready-fd", Value: "N"},
			{Name: "log-level", Value: "LEVEL", Default: "info"},
			{Name: "fault", Value: "FAULT"},
		}},
		{Name: "enroll", Min: 2, Max: 2, Run: with(enroll), Flags: []cli.Flag{db, {Name: "destination", Value: "NAME"}}},
		{Name: "gateways", JSON: true, Run: with(gateways), Flags: []cli.Flag{db}},
		{Name: "gaps", Max: 1, JSON: true, Run: with(gaps), Flags: []cli.Flag{db, {Name: "check"}}},
		{Name: "verify", Max: 1, JSON: true, Run: with(verify), Flags: []cli.Flag{db, {Name: "check"}}},
		{Name: "alarms", Max: 1, JSON: true, Run: with(alarms), Flags: []cli.Flag{db}},
		{Name: "events", Max: 1, JSON: true, Run: with(events), Flags: []cli.Flag{db, {Name: "last", Value: "N", Default: "100"}}},
		{Name: "totals", Max: 1, JSON: true, Run: with(totals), Flags: []cli.Flag{db, {Name: "after", Value: "TIME"}, {Name: "pause", Value: "DURATION", Default: "3s"}}},
		{Name: "export", Min: 1, Max: 1, JSON: true, Run: with(export), Flags: []cli.Flag{db}},
		{Name: "restored", JSON: true, Run: with(restored), Flags: []cli.Flag{db}},
		{Name: "authority", Min: 2, Max: 3, JSON: true, Run: with(authority), Flags: []cli.Flag{
			{Name: "name", Value: "NAME"},
			{Name: "until", Value: "DATE"},
			{Name: "least", Value: "N"},
			{Name: "out", Value: "FILE"},
		}},
		{Name: "key", Min: 1, Max: 1, JSON: true, Run: with(showKey), Flags: []cli.Flag{db, key}},
	}}
}
