package main

import (
	"encoding/json"

	"davy/agent/cli"
)

// check compiles a site and says what is wrong with it, or what it will do.
func check(c *cli.Call) error {
	bundle, plan, problems, err := site(c, c.Args[0])
	if err != nil {
		return err
	}
	if c.Set("state") {
		problems = problems.Join(missingSecrets(plan, c.Flag("state")))
	}
	problems = problems.Join(openPeople(plan, c.Args[0]))
	if c.JSON {
		if err := problems.WriteJSON(c.Out, c.Lang); err != nil {
			return err
		}
	} else if err := problems.Write(c.Err, c.Lang, bundle); err != nil {
		return err
	}
	switch {
	case plan == nil && c.JSON:
		return cli.Quiet(cli.Wrong)
	case plan == nil:
		return wrongSite("davy.check.problems", c.Args[0], problems)
	case c.JSON:
		return nil
	}
	return plan.Report().Write(c.Out, c.Lang)
}

// encode prints v as JSON for programs.
func encode(c *cli.Call, v any) error {
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
