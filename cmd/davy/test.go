package main

import (
	"davy/agent"
	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/rules/ruletest"
)

// test runs the stories that stand with the rules.
func test(c *cli.Call) error {
	_, plan, err := compiled(c, "davy.check.problems")
	if err != nil {
		return err
	}
	report := agent.RunStories(plan)
	writeStories(c, report, false)
	if !report.OK() {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

// writeStories says how each story went, what was expected and what came, and
// which rules no story moves. In brief it names what failed and counts the rest.
func writeStories(c *cli.Call, r ruletest.Report, brief bool) {
	for i := range r.Results {
		s := &r.Results[i]
		key := "davy.test.passed"
		switch {
		case !s.OK():
			key = "davy.test.failed"
		case brief:
			continue
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
	tripped, quiet := r.NeverTripped, r.NeverQuiet
	if brief && len(tripped)+len(quiet) > 0 {
		c.Say("davy.test.untested", i18n.Args{"tripped": len(tripped), "quiet": len(quiet), "site": c.Args[0]})
		tripped, quiet = nil, nil
	}
	for _, rule := range tripped {
		c.Say("davy.test.never-tripped", i18n.Args{"rule": rule.Name})
	}
	for _, rule := range quiet {
		c.Say("davy.test.never-quiet", i18n.Args{"rule": rule.Name})
	}
	c.Say("davy.test.total", i18n.Args{"passed": len(r.Results) - r.Failed(), "failed": r.Failed()})
}
