package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/operate"
)

// The commands that talk to the running agent over its local socket.

const (
	viewWait    = 5 * time.Second
	commandWait = 15 * time.Second
)

func client(c *cli.Call) *operate.Client { return &operate.Client{Path: socketPath(c)} }

// socketError gives an error of the socket its words and exit code.
func socketError(c *cli.Call, err error) error {
	var said *operate.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, operate.ErrNotRunning):
		return &cli.Error{Exit: cli.NotRunning, Key: "davy.not-running", Args: i18n.Args{"state": c.Flag("state")}, Hint: "davy.hint.not-running"}
	case errors.Is(err, operate.ErrForbidden):
		return &cli.Error{Exit: cli.Failed, Key: "davy.forbidden", Args: i18n.Args{"socket": socketPath(c)}, Hint: "davy.hint.forbidden"}
	case errors.As(err, &said):
		return &cli.Error{Exit: cli.Failed, Key: "davy.refused", Args: i18n.Args{"why": said}}
	}
	return err
}

func view(c *cli.Call, what string) (*operate.View, error) {
	if err := shortEnough(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), viewWait)
	defer cancel()
	v, err := client(c).View(ctx, what)
	return v, socketError(c, err)
}

func status(c *cli.Call) error {
	v, err := view(c, operate.Status)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return encode(c, v)
	}
	return v.WriteStatus(c.Out, c.Lang)
}

func alarms(c *cli.Call) error {
	list, err := only(c)
	if err != nil {
		return err
	}
	v, err := view(c, operate.Alarms)
	switch {
	case err != nil:
		return err
	case c.Set("load") && c.JSON:
		return encode(c, v.Load)
	case c.Set("load"):
		return operate.Paper{Lang: c.Lang}.Load(c.Out, v)
	case c.JSON:
		if list != "" {
			v.Alarms = slices.DeleteFunc(v.Alarms, func(a operate.Alarm) bool { return a.State != list })
		}
		return encode(c, append([]operate.Alarm{}, v.Alarms...)) // of nothing [], never null
	}
	return operate.Paper{Lang: c.Lang, All: c.Set("all"), Only: list}.Alarms(c.Out, v)
}

func logCommand(c *cli.Call) error {
	n, err := strconv.Atoi(c.Flag("last"))
	if err != nil || n < 1 {
		return cli.Usage("davy.log.last", i18n.Args{"value": c.Flag("last")})
	}
	v, err := view(c, operate.Log)
	if err != nil {
		return err
	}
	v.Log = v.Log[max(0, len(v.Log)-n):]
	if c.JSON {
		return encode(c, append([]operate.Event{}, v.Log...))
	}
	return v.WriteLog(c.Out, c.Lang)
}

func command(c *cli.Call, cmd operate.Command) error {
	if err := shortEnough(c); err != nil {
		return err
	}
	by, err := proof(c)
	if err != nil {
		return err
	}
	if err := tell(c, by, cmd); err != nil {
		return socketError(c, err)
	}
	c.Say("davy.done."+cmd.Do, whose(by, i18n.Args{
		"rule": cmd.Rule, "occurrence": cmd.Occurrence, "channel": cmd.Channel, "value": cmd.Value,
		"time": c.Lang.Span(time.Duration(cmd.For * float64(time.Second))), "result": i18n.Key("operate.result." + cmd.Result),
	}))
	return nil
}

// onRule carries out a command that names a rule and one occurrence of it.
func onRule(c *cli.Call, do string) error {
	n, err := occurrence(c, do)
	if err != nil {
		return err
	}
	return command(c, operate.Command{Do: do, Rule: c.Args[0], Occurrence: n, Note: c.Flag("note")})
}

func reset(c *cli.Call) error  { return onRule(c, operate.Reset) }
func arm(c *cli.Call) error    { return armed(c, operate.Arm) }
func disarm(c *cli.Call) error { return armed(c, operate.Disarm) }

func armed(c *cli.Call, do string) error {
	if c.Flag("reason") == "" {
		return cli.Usage("davy.needs-reason", i18n.Args{"command": do})
	}
	return command(c, operate.Command{Do: do, Note: c.Flag("reason")})
}
