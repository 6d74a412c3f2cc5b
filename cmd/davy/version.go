package main

import (
	"fmt"
	"runtime"

	"davy/agent/cli"
)

func showVersion(c *cli.Call) error {
	if c.JSON {
		return encode(c, map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	fmt.Fprintf(c.Out, "davy %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
