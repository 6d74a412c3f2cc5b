package main

import (
	"davy/agent"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules/ruletest"
)

// test runs the stories that stand with the rules.
func test(c *cli.Call) error {
	bundle, plan, problems, err := site(c, c.Args[0])
	if err != nil {
		return err
	}
	if err := problems.Write(c.Err, c.Lang, bundle); err != nil {
		return err
	}
	if plan == nil {
		return cli.Quiet(cli.Wrong)
	}
	report := agent.RunStories(plan)
	if err := writeStories(c, plan, report); err != nil {
		return err
	}
	if !report.OK() {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

// writeStories says how each story went, what was expected and what came, and
// which rules no story moves.
func writeStories(c *cli.Call, plan *config.Plan, r ruletest.Report) error {
	for i := range r.Results {
		s := &r.Results[i]
		key := "davy.test.passed"
		if !s.OK() {
			key = "davy.test.failed"
		}
		c.Say(key, i18n.Args{"name": text(s.Name), "length": s.Length})
		for _, f := range s.Failures {
			args := i18n.Args{}
			for k, v := range f.Args {
				args[k] = v
			}
			if reason, ok := f.Args["reason"].(string); ok {
				args["reason"] = i18n.Key(reason)
			}
			c.Say("davy.test.failure", i18n.Args{"where": f.Where, "what": c.Lang.Text(f.Code, args)})
		}
	}
	for _, rule := range r.NeverTripped {
		c.Say("davy.test.never-tripped", i18n.Args{"rule": rule.Name})
	}
	for _, rule := range r.NeverQuiet {
		c.Say("davy.test.never-quiet", i18n.Args{"rule": rule.Name})
	}
	c.Say("davy.test.total", i18n.Args{"passed": len(r.Results) - r.Failed(), "failed": r.Failed()})
	return nil
}
