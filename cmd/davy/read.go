package main

import (
	"context"

	"davy/agent/cli"
	"davy/agent/operate"
)

// read asks the running agent to read one tag from its device now.
func read(c *cli.Call) error {
	if err := shortEnough(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), operate.ReadWait+viewWait)
	defer cancel()
	f, err := client(c).ReadNow(ctx, c.Args[0])
	if err != nil {
		return socketError(c, err)
	}
	if c.JSON {
		err = encode(c, f)
	} else {
		err = f.Write(c.Out, c.Lang)
	}
	if err == nil && f.Quality == "bad" { // it was said: a script must not take it for a value
		return cli.Quiet(cli.Failed)
	}
	return err
}
