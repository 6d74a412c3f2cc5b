package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/latch"
	firmware "davy/firmware-configs"
)

// collectAt is by how many percent the heap grows between two collections. What
// lives is a plan and its image; hardly anything is allocated while the agent
// works, so collecting often costs little, and a gateway has little memory.
const collectAt = 15

// run is the agent: the last accepted plan of the state directory.
func run(c *cli.Call) error {
	lines := beside(c.Err)
	defer lines.close()
	log, err := logger(c, lines)
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	debug.SetMemoryLimit(64 << 20)
	debug.SetGCPercent(collectAt)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir := ""
	if len(c.Args) > 0 {
		if dir, err = filepath.Abs(c.Args[0]); err != nil {
			return err
		}
	}
	state := c.Flag("state")
	if err := shortEnough(c); err != nil {
		return err
	}
	err = agent.Run(ctx, agent.Options{
		StateDir:  state,
		Site:      dir,
		Drivers:   driverSet(),
		Templates: firmware.Library,
		Version:   version,
		KeepArgs:  []string{"keep", "--state", state, "--log-level", c.Flag("log-level")},
		Log:       log.With("process", "decide"),
	})
	switch {
	case errors.Is(err, accept.ErrNone):
		return &cli.Error{Exit: cli.Wrong, Key: "davy.run.none", Args: i18n.Args{"state": state}, Hint: "davy.hint.apply"}
	case errors.Is(err, accept.ErrDamaged), errors.Is(err, agent.ErrNotCompiled):
		return &cli.Error{Exit: cli.Wrong, Key: "davy.run.unusable", Cause: err, Hint: "davy.hint.apply"}
	case errors.Is(err, latch.ErrLocked):
		return &cli.Error{Exit: cli.Failed, Key: "davy.run.locked", Args: i18n.Args{"state": state}, Cause: err, Hint: "davy.hint.locked"}
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return &cli.Error{Exit: cli.Wrong, Key: "davy.state", Args: i18n.Args{"state": state}, Cause: err, Hint: "davy.hint.state"}
	}
	return err
}
