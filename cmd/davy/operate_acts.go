package main

import (
	"strconv"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/operate"
)

// What the commands share that are a person's word to a rule, a device or a tag.

// because returns the reason, which is recorded.
func because(c *cli.Call, name string) (string, error) {
	if c.Flag("because") == "" {
		return "", cli.Usage("davy.needs-because", i18n.Args{"command": name})
	}
	return c.Flag("because"), nil
}

// span returns the time that was named, in seconds.
func span(c *cli.Call, name string) (float64, error) {
	d, err := time.ParseDuration(c.Flag("for"))
	if err != nil || d <= 0 || d > operate.MaxFor {
		return 0, cli.Usage("davy.needs-for", i18n.Args{"command": name, "value": c.Flag("for")})
	}
	return d.Seconds(), nil
}

// needed returns the value of a flag that must be there.
func needed(c *cli.Call, name, flag string) (string, error) {
	if c.Flag(flag) == "" {
		return "", cli.Usage("davy.needs-flag", i18n.Args{"command": name, "flag": flag})
	}
	return c.Flag(flag), nil
}

// occurrence returns the number of an occurrence as a person saw it.
func occurrence(c *cli.Call, name string) (uint64, error) {
	n, err := strconv.ParseUint(c.Args[1], 10, 64)
	if err != nil || n == 0 {
		return 0, cli.Usage("davy.occurrence", i18n.Args{"value": c.Args[1], "command": name, "rule": c.Args[0]})
	}
	return n, nil
}

// permit carries out a command that takes a reason and a time.
func permit(c *cli.Call, name string, cmd operate.Command) error {
	var err error
	if cmd.Note, err = because(c, name); err != nil {
		return err
	}
	if cmd.For, err = span(c, name); err != nil {
		return err
	}
	return command(c, cmd)
}
