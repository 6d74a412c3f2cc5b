package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"davy/agent/cli"
	"davy/drivers/child"
	"davy/drivers/opcua/worker"
)

// opcuaWorker is the process of one OPC UA link. It is started by the process
// that decides with a socket on fd 3 and ends when that does; a Ctrl-C at the
// terminal is for the decider, which ends it in order. What it writes to
// standard error goes to the decider's log, line by line.
func opcuaWorker(c *cli.Call) error {
	log := slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log)
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	// A server decides how much memory this process takes until somebody looks:
	// where the machine has none left, it is this one that goes and not the decider
	// (where /proc is not to be written, it is whichever the kernel chooses).
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	conn, err := child.Parent()
	if err != nil {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.opcua.child"}
	}
	return worker.Serve(context.Background(), conn, worker.Options{Log: log})
}
