// Command goburrow is davy's `run` and `keep` with one thing changed: Modbus is
// read through goburrow's own client. The truth test must catch it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"davy/agent"
	"davy/agent/keep"
	"davy/drivers"
	"davy/drivers/child"
	firmware "davy/firmware-configs"
	"davy/test/device"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(what, state string) error {
	set := drivers.Set{"modbus-tcp": device.Goburrow{}}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if what == "keep" {
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
		conn, err := child.Parent()
		if err != nil {
			return err
		}
		return keep.Serve(context.Background(), conn, keep.Options{Drivers: set, Log: log})
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return agent.Run(ctx, agent.Options{
		StateDir: state, Drivers: set, Templates: firmware.Library, Version: "goburrow",
		KeepArgs: []string{"keep", state}, Log: log,
	})
}
