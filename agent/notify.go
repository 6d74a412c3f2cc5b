package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells systemd one line ("READY=1"); without systemd it does nothing.
func notify(line string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(line))
	return err
}

// watchdog feeds systemd's watchdog while alive says that the control loop
// beats; never from a timer alone. It returns when ctx ends: a systemd that
// cannot be told is told again at the next tick, before it takes us for dead.
func watchdog(ctx context.Context, alive func() bool, log *slog.Logger) error {
	every := time.Second
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		every = min(every, time.Duration(us)*time.Microsecond/4)
	}
	failing := false
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			if !alive() {
				continue
			}
			err := notify("WATCHDOG=1")
			if err != nil && !failing {
				log.Warn("watchdog not fed", "err", err)
			}
			failing = err != nil
		}
	}
}
