package main

import (
	"context"
	"errors"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/operate"
)

// The commands about alarms: what sounds, what is shelved, what is out of service.

// only returns the list of alarms that was asked for.
func only(c *cli.Call) (operate.AlarmState, error) {
	state, n := operate.AlarmState(""), 0
	for _, s := range []operate.AlarmState{operate.Shelved, operate.Suppressed, operate.OutOfService} {
		if c.Set(string(s)) {
			state = s
			n++
		}
	}
	if c.Set("load") {
		n++
	}
	if n > 1 || n == 1 && c.Set("all") {
		return "", cli.Usage("davy.one-list", nil)
	}
	return state, nil
}

func shelve(c *cli.Call) error {
	n, err := occurrence(c, operate.Shelve)
	if err != nil {
		return err
	}
	return permit(c, operate.Shelve, operate.Command{Do: operate.Shelve, Rule: c.Args[0], Occurrence: n})
}

func unshelve(c *cli.Call) error {
	return command(c, operate.Command{Do: operate.Unshelve, Rule: c.Args[0]})
}

func silence(c *cli.Call) error { return command(c, operate.Command{Do: operate.Silence}) }

func remove(c *cli.Call) error {
	why, err := because(c, operate.Remove)
	if err != nil {
		return err
	}
	return command(c, operate.Command{Do: operate.Remove, Rule: c.Args[0], Note: why})
}

func restore(c *cli.Call) error {
	return command(c, operate.Command{Do: operate.Restore, Rule: c.Args[0]})
}

// ack acknowledges one occurrence of one alarm, or with --all every alarm that
// waits for it but the critical ones: each of these is a decision of its own.
func ack(c *cli.Call) error {
	switch {
	case c.Set("all") && len(c.Args) == 0:
		return ackAll(c)
	case c.Set("all") || len(c.Args) != 2:
		return cli.Usage("cli.arguments", i18n.Args{"command": "davy ack", "args": i18n.Key("davy.ack.args")})
	}
	return onRule(c, operate.Ack)
}

func ackAll(c *cli.Call) error {
	v, err := view(c, operate.Alarms)
	if err != nil {
		return err
	}
	by, err := proof(c) // asked for once; each acknowledgement is proved by itself
	if err != nil {
		return err
	}
	done, failed := 0, false
	var critical []operate.Alarm
	for i := range v.Alarms {
		a := &v.Alarms[i]
		if !a.State.Wanted() {
			continue
		}
		if a.Priority == operate.Critical {
			critical = append(critical, *a)
			continue
		}
		err := tell(c, by, operate.Command{Do: operate.Ack, Rule: a.Name, Occurrence: a.Occurrence, Note: c.Flag("note")})
		var said *operate.Error
		switch {
		case err == nil:
			done++
		case errors.As(err, &said) && notProved(said): // the next one would be a wrong try more
			if done > 0 {
				c.Say("davy.ack.all", i18n.Args{"n": done})
			}
			return socketError(c, err)
		case errors.As(err, &said): // it changed meanwhile: the others are acknowledged all the same
			failed = true
			c.Say("davy.ack.failed", i18n.Args{"rule": a.Name, "occurrence": a.Occurrence, "why": said})
		default:
			return socketError(c, err)
		}
	}
	c.Say("davy.ack.all", i18n.Args{"n": done})
	for i := range critical {
		c.Say("davy.ack.critical", i18n.Args{"rule": critical[i].Name, "occurrence": critical[i].Occurrence})
	}
	if failed {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

// tell hands a command over, with a proof or nil, and says nothing.
func tell(c *cli.Call, by *operate.Proof, cmd operate.Command) error {
	to, wait := client(c), commandWait
	if to.Proof = by; by != nil {
		wait += operate.ProofWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, err := to.Do(ctx, cmd)
	return err
}
