package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/secret"
)

// secretCommand keeps passwords and keys by name. What is secret comes from the
// terminal or from standard input, never from the command line, where every
// user of the machine could read it.
func secretCommand(c *cli.Call) error {
	what, state := c.Args[0], c.Flag("state")
	if what != "list" && what != "set" && what != "remove" || (what == "list") != (len(c.Args) == 1) {
		return cli.Usage("davy.secret.what", i18n.Args{})
	}
	var err error
	switch what {
	case "list":
		return listSecrets(c)
	case "set":
		err = setSecret(c, c.Args[1])
	default:
		if err = secret.Remove(state, c.Args[1]); err == nil {
			c.Say("davy.secret.removed", i18n.Args{"name": c.Args[1]})
		}
	}
	name := c.Args[1]
	switch {
	case errors.Is(err, secret.ErrName):
		return cli.Usage("davy.secret.name", i18n.Args{"name": name, "limit": secret.MaxName})
	case errors.Is(err, secret.ErrNone):
		return &cli.Error{Exit: cli.Failed, Key: "davy.secret.none", Args: i18n.Args{"name": name, "state": state}}
	case errors.Is(err, secret.ErrEmpty):
		return &cli.Error{Exit: cli.Failed, Key: "davy.secret.empty"}
	case errors.Is(err, secret.ErrLong):
		return &cli.Error{Exit: cli.Failed, Key: "davy.secret.long-value", Args: i18n.Args{"limit": secret.MaxValue}}
	case err != nil && !errors.As(err, new(*cli.Error)):
		return &cli.Error{Exit: cli.Failed, Key: "davy.state", Args: i18n.Args{"state": state}, Cause: err, Hint: "davy.hint.state"}
	}
	return err
}

func listSecrets(c *cli.Call) error {
	list, err := secret.List(c.Flag("state"))
	switch {
	case err != nil:
		return &cli.Error{Exit: cli.Failed, Key: "davy.state", Args: i18n.Args{"state": c.Flag("state")}, Cause: err, Hint: "davy.hint.state"}
	case c.JSON && list == nil:
		list = []secret.Info{}
		fallthrough
	case c.JSON:
		return encode(c, list)
	case len(list) == 0:
		c.Say("davy.secret.nothing", i18n.Args{"state": c.Flag("state")})
	}
	for _, x := range list {
		c.Say("davy.secret.row", i18n.Args{"name": x.Name, "at": x.At.Local().Format("2006-01-02 15:04:05")})
	}
	return nil
}

func setSecret(c *cli.Call, name string) error {
	if !secret.Name(name) { // before anybody types anything
		return secret.ErrName
	}
	value, err := readSecret(c, os.Stdin, name)
	if err != nil {
		return err
	}
	state := c.Flag("state")
	if err := os.MkdirAll(state, 0o750); err != nil {
		return err
	}
	if err := secret.Set(state, name, value); err != nil {
		return err
	}
	if err := giveToOwner(state); err != nil {
		return err
	}
	c.Say("davy.secret.set", i18n.Args{"name": name})
	return nil
}

// readSecret takes a secret from the terminal, twice and without showing it, or
// else all of it but for one line ending.
func readSecret(c *cli.Call, from *os.File, name string) (string, error) {
	restore, terminal, err := quietly(from)
	if err != nil {
		return "", err
	}
	defer restore()
	if !terminal {
		raw, err := io.ReadAll(io.LimitReader(from, secret.MaxValue+3))
		return strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r"), err
	}
	lines := bufio.NewReader(io.LimitReader(from, 2*secret.MaxValue+4))
	ask := func(key string) (string, error) {
		_, _ = io.WriteString(c.Err, c.Lang.Text(key, i18n.Args{"name": name}))
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(c.Err, "\n")
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	first, err := ask("davy.secret.ask")
	if err != nil || first == "" {
		return "", err
	}
	again, err := ask("davy.secret.again")
	if err == nil && again != first {
		err = &cli.Error{Exit: cli.Failed, Key: "davy.secret.differ"}
	}
	return first, err
}

// missingSecrets are warnings of the secrets that a plan names and a state
// directory does not hold: its links would not log in.
func missingSecrets(plan *config.Plan, state string) (p config.Problems) {
	if plan == nil {
		return nil
	}
	list, err := secret.List(state)
	if err != nil {
		return nil // somebody else's: who may read it will be told
	}
	have := map[string]bool{}
	for _, x := range list {
		have[x.Name] = true
	}
	for _, x := range plan.Secrets {
		if !have[x.Name] {
			p = append(p, config.MissingSecret(x))
		}
	}
	return p
}
