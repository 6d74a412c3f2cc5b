package main

import (
	"context"
	"log/slog"
	"os/signal"
	"runtime/debug"
	"syscall"

	"davy/agent/cli"
	"davy/agent/keep"
	"davy/drivers/child"
)

// keepCommand is the recording process. It is started by `davy run` with a
// socket on fd 3 and ends when that does; a Ctrl-C at the terminal is for the
// decider, which ends it in order.
func keepCommand(c *cli.Call) error {
	log, err := logger(c, c.Err)
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	debug.SetGCPercent(collectAt)
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	conn, err := child.Parent()
	if err != nil {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.keep.child"}
	}
	return keep.Serve(context.Background(), conn, keep.Options{Drivers: driverSet(), Log: log.With("process", "keep")})
}
