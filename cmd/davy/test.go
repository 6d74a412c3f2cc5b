package main

import (
	"cmp"
	"fmt"
	"strings"

	"davy/agent"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules/ruletest"
)

// test runs the stories that stand with the rules, or searches for new ones.
func test(c *cli.Call) error {
	if c.Set("watch") {
		return watchStories(c)
	}
	return testOnce(c)
}

func testOnce(c *cli.Call) error {
	_, plan, err := compiled(c, "davy.check.problems")
	if err != nil {
		return err
	}
	if c.Set("explore") {
		return explore(c, plan)
	}
	all := len(plan.Stories)
	if plan, err = selected(c, plan); err != nil {
		return err
	}
	report := agent.RunStories(plan)
	filter := c.Flag("filter")
	if filter != "" { // of a few stories it says nothing
		report.NeverTripped, report.NeverQuiet, report.NeverSeen = nil, nil, nil
	}
	if file := c.Flag("junit"); file != "" {
		if err := writeJUnit(c, file, plan, &report); err != nil {
			return err
		}
	}
	switch {
	case c.JSON:
		if err := encode(c, storiesJSON(c, &report)); err != nil {
			return err
		}
	default:
		writeStories(c, report, false)
		if filter != "" {
			c.Say("davy.test.selected", i18n.Args{"selected": len(plan.Stories), "all": all, "filter": filter})
		}
	}
	if !report.OK() {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

// selected returns the plan with those stories only that --filter names. None
// is an error: a check that runs nothing must not pass.
func selected(c *cli.Call, plan *config.Plan) (*config.Plan, error) {
	filter := c.Flag("filter")
	if filter == "" {
		return plan, nil
	}
	some := *plan
	some.Stories = nil
	for i := range plan.Stories {
		if plan.Stories[i].Names(filter) {
			some.Stories = append(some.Stories, plan.Stories[i])
		}
	}
	if len(some.Stories) == 0 {
		return nil, &cli.Error{Exit: cli.Wrong, Key: "davy.test.no-match", Args: i18n.Args{"filter": filter, "site": c.Args[0]}, Hint: "davy.hint.test-filter"}
	}
	return &some, nil
}

// writeStories says how each story went, what was expected and what came, and
// what no story shows. In brief it names what failed and counts the rest.
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
			if f.Code == "ruletest.expected" {
				c.Say("davy.test.expected", i18n.Args{"where": f.Where, "at": f.Args["at"], "key": f.Args["key"], "want": states(c, f.Args["want"]), "got": states(c, f.Args["got"])})
				continue
			}
			c.Say("davy.test.failure", i18n.Args{"where": f.Where, "what": failureText(c, &f)})
		}
	}
	if gaps := len(r.NeverTripped) + len(r.NeverQuiet) + len(r.NeverSeen); brief && gaps > 0 {
		c.Say("davy.test.untested", i18n.Args{"tripped": len(r.NeverTripped), "quiet": len(r.NeverQuiet), "unseen": len(r.NeverSeen), "site": c.Args[0]})
	} else {
		for _, line := range untested(c, &r) {
			fmt.Fprintln(c.Out, line)
		}
	}
	c.Say("davy.test.total", i18n.Args{"passed": len(r.Results) - r.Failed(), "failed": r.Failed()})
}

// untested is what no story shows, a line each.
func untested(c *cli.Call, r *ruletest.Report) (lines []string) {
	for _, rule := range r.NeverTripped {
		lines = append(lines, c.Lang.Text("davy.test.never-tripped", i18n.Args{"rule": rule.Name}))
	}
	for _, rule := range r.NeverQuiet {
		lines = append(lines, c.Lang.Text("davy.test.never-quiet", i18n.Args{"rule": rule.Name}))
	}
	for _, u := range r.NeverSeen {
		lines = append(lines, unseenText(c, u))
	}
	return lines
}

func unseenText(c *cli.Call, u ruletest.Unseen) string {
	return c.Lang.Text("davy.test.unseen."+u.What.String(), i18n.Args{"rule": u.Rule, "channel": u.Channel})
}

// failureText is one failure in words, without its place.
func failureText(c *cli.Call, f *ruletest.Failure) string {
	args := i18n.Args{}
	for k, v := range f.Args {
		args[k] = v
	}
	if reason, ok := f.Args["reason"].(string); ok {
		args["reason"] = c.Lang.Text(reason, args)
	}
	for _, k := range []string{"want", "got"} {
		if v, ok := args[k]; ok && f.Code == "ruletest.expected" {
			args[k] = states(c, v)
		}
	}
	return c.Lang.Text(f.Code, args)
}

// states explains the words of a state to those who read another language.
func states(c *cli.Call, of any) string {
	s, _ := of.(string)
	parts := strings.Fields(s)
	for i, w := range parts {
		if key := "story." + w; i18n.Has(key) {
			parts[i] = c.Lang.Text(key, nil)
		}
	}
	return strings.Join(parts, " ")
}

// storyReport is what `davy test --json` prints. Where --filter was given there
// is no coverage.
type storyReport struct {
	Stories  []storyResult  `json:"stories"`
	Passed   int            `json:"passed"`
	Failed   int            `json:"failed"`
	Coverage *storyCoverage `json:"coverage,omitempty"`
}

type storyResult struct {
	Name     storyName      `json:"name"`
	Where    string         `json:"where"`
	OK       bool           `json:"ok"`
	LengthS  float64        `json:"length_s"`
	Failures []storyFailure `json:"failures"`
}

type storyName struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

type storyFailure struct {
	Where string `json:"where"`
	Code  string `json:"code"`
	At    string `json:"at,omitempty"`
	Key   string `json:"key,omitempty"`
	Want  string `json:"want,omitempty"`
	Got   string `json:"got,omitempty"`
	Text  string `json:"text"`
}

type storyCoverage struct {
	NeverTripped []string      `json:"never_tripped"`
	NeverQuiet   []string      `json:"never_quiet"`
	NeverSeen    []storyUnseen `json:"never_seen"`
}

type storyUnseen struct {
	Rule    string `json:"rule"`
	What    string `json:"what"`
	Channel string `json:"channel,omitempty"`
	Text    string `json:"text"`
}

func storiesJSON(c *cli.Call, r *ruletest.Report) storyReport {
	out := storyReport{Stories: []storyResult{}, Passed: len(r.Results) - r.Failed(), Failed: r.Failed()}
	for i := range r.Results {
		s := &r.Results[i]
		one := storyResult{Name: storyName(s.Name), Where: s.Where, OK: s.OK(), LengthS: s.Length.Seconds(), Failures: []storyFailure{}}
		for k := range s.Failures {
			f := &s.Failures[k]
			arg := func(name string) string { v, _ := f.Args[name].(string); return v }
			one.Failures = append(one.Failures, storyFailure{
				Where: f.Where, Code: f.Code, At: arg("at"), Key: cmp.Or(arg("key"), arg("rule")), Want: arg("want"), Got: cmp.Or(arg("got"), arg("reason")), Text: failureText(c, f),
			})
		}
		out.Stories = append(out.Stories, one)
	}
	if c.Flag("filter") != "" {
		return out
	}
	cover := storyCoverage{NeverTripped: []string{}, NeverQuiet: []string{}, NeverSeen: []storyUnseen{}}
	for _, rule := range r.NeverTripped {
		cover.NeverTripped = append(cover.NeverTripped, rule.Name)
	}
	for _, rule := range r.NeverQuiet {
		cover.NeverQuiet = append(cover.NeverQuiet, rule.Name)
	}
	for _, u := range r.NeverSeen {
		cover.NeverSeen = append(cover.NeverSeen, storyUnseen{u.Rule, u.What.String(), u.Channel, unseenText(c, u)})
	}
	out.Coverage = &cover
	return out
}
