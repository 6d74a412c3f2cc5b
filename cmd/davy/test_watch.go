package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"davy/agent/cli"
	"davy/agent/i18n"
)

const (
	watchEvery = time.Second // a change is seen within it
	watchFiles = 10_000      // of a site; what is beyond is not looked at
)

// watchStories tests now and whenever a file of the site changes, until the
// person ends it. The exit status is that of the last run, 0 or 1.
func watchStories(c *cli.Call) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	terminal := err == nil
	look := func() string { return fingerprint(os.DirFS(c.Args[0])) }
	ok := watch(ctx, tick.C, look, func() bool {
		if terminal {
			fmt.Fprint(c.Out, "\x1b[H\x1b[2J")
		}
		err := testOnce(c)
		sayError(c, err)
		c.Say("davy.test.watching", i18n.Args{"dir": c.Args[0], "every": watchEvery})
		return err == nil
	})
	if !ok {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

// watch runs now, and at a tick at which what look returns has changed. It
// returns what the last run did, once ctx ends.
func watch(ctx context.Context, tick <-chan time.Time, look func() string, run func() bool) (ok bool) {
	seen := look()
	ok = run()
	for {
		select {
		case <-ctx.Done():
			return ok
		case <-tick:
			if now := look(); now != seen {
				seen = now
				ok = run()
			}
		}
	}
}

// sayError prints what the program would have ended with.
func sayError(c *cli.Call, err error) {
	var e *cli.Error
	switch {
	case err == nil:
	case !errors.As(err, &e):
		fmt.Fprintln(c.Err, err)
	case !e.Quiet:
		said := c.Lang.Text(e.Key, e.Args)
		if e.Cause != nil {
			said += ": " + e.Cause.Error()
		}
		fmt.Fprintln(c.Err, said)
	}
}

// fingerprint changes when a file of a site is written, comes or goes. What
// cannot be read is part of it as such.
func fingerprint(site fs.FS) string {
	var b strings.Builder
	n := 0
	_ = fs.WalkDir(site, ".", func(path string, d fs.DirEntry, err error) error {
		if n++; n > watchFiles {
			return fs.SkipAll
		}
		if err != nil {
			fmt.Fprintln(&b, path, err)
			return nil
		}
		if path != "." && strings.HasPrefix(d.Name(), ".") { // an editor's, git's
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}
