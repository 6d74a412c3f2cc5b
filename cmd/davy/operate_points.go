package main

import (
	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/rules"
)

// The commands that change what a rule looks at: bypass, force, test.

func bypass(c *cli.Call) error {
	channel, err := needed(c, operate.Bypass, "channel")
	if err != nil {
		return err
	}
	if c.Set("end") {
		return command(c, operate.Command{Do: operate.EndBypass, Rule: c.Args[0], Channel: channel, Note: c.Flag("because")})
	}
	return permit(c, operate.Bypass, operate.Command{Do: operate.Bypass, Rule: c.Args[0], Channel: channel})
}

func confirm(c *cli.Call) error {
	channel, err := needed(c, operate.Confirm, "channel")
	if err != nil {
		return err
	}
	return command(c, operate.Command{Do: operate.Confirm, Rule: c.Args[0], Channel: channel, Note: c.Flag("because")})
}

func force(c *cli.Call) error {
	if c.Set("end") {
		return command(c, operate.Command{Do: operate.EndForce, Rule: c.Args[0], Note: c.Flag("because")})
	}
	value, err := needed(c, operate.Force, "value")
	if err != nil {
		return err
	}
	return permit(c, operate.Force, operate.Command{Do: operate.Force, Rule: c.Args[0], Value: value})
}

func testMode(c *cli.Call) error {
	const name = "test-mode"
	if !c.Set("end") {
		return permit(c, name, operate.Command{Do: operate.BeginTest, Rule: c.Args[0]})
	}
	result, err := needed(c, name, "result")
	if err != nil {
		return err
	}
	for r := rules.Passed; r <= rules.Aborted; r++ {
		if operate.ResultName(r) == result {
			return command(c, operate.Command{Do: operate.EndTest, Rule: c.Args[0], Result: result, Note: c.Flag("because")})
		}
	}
	return cli.Usage("davy.result", i18n.Args{"value": result})
}
