package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules"
	"davy/rules/ruletest"
)

const (
	// tagNoise is how far readings of a steady value are taken to lie on either
	// side of it, as a part of the tag's range; a tag without a range is not
	// searched for chatter.
	tagNoise    = 0.001
	exploreMost = 24 * time.Hour // of --for
)

// exploration is what `davy test --explore --json` prints.
type exploration struct {
	Seed     uint64    `json:"seed"`
	Trials   int       `json:"trials"`
	Steps    int       `json:"steps"`
	Findings []finding `json:"findings"`
}

type finding struct {
	What     string `json:"what"`
	Rule     string `json:"rule"`
	Declared bool   `json:"declared"`
	Text     string `json:"text"`
	Story    string `json:"story"` // as it stands in rules.yaml
}

// explore searches for a time, and prints what it has found as YAML: what is
// said of it stands in comments.
func explore(c *cli.Call, plan *config.Plan) error {
	seed, err := strconv.ParseUint(c.Flag("seed"), 10, 64)
	if err != nil {
		return cli.Usage("davy.test.seed", i18n.Args{"value": c.Flag("seed"), "help": "davy help test"})
	}
	span, err := time.ParseDuration(strings.Replace(c.Flag("for"), "min", "m", 1))
	if err != nil || span <= 0 || span > exploreMost {
		return cli.Usage("davy.test.for", i18n.Args{"value": c.Flag("for"), "most": exploreMost, "help": "davy help test"})
	}
	o := ruletest.Options{Seed: seed, Steps: math.MaxInt32, Known: plan.Stories, Word: func(i int, protective bool) string {
		if protective {
			return plan.Outputs[i].ProtectiveName
		}
		return plan.Outputs[i].IdleName
	}}
	for i := range plan.Tags {
		t := ruletest.ExploredTag{Kind: plan.Tags[i].Kind}
		if plan.Tags[i].Ranged {
			t.Noise = tagNoise * (plan.Tags[i].High - plan.Tags[i].Low)
		}
		o.Tags = append(o.Tags, t)
	}
	end := time.Now().Add(span)
	o.Stop = func() bool { return !time.Now().Before(end) }
	r := ruletest.Explore(plan.Rules, o)

	out := exploration{Seed: seed, Trials: r.Trials, Steps: r.Steps, Findings: []finding{}}
	for i := range r.Findings {
		f := &r.Findings[i]
		key, args := "davy.test.found."+f.What.String(), i18n.Args{"rule": f.Rule}
		f.Story.Name = rules.Text{Zh: i18n.Zh.Text(key, args), En: i18n.En.Text(key, args)}
		why := "davy.test.found.declared"
		switch {
		case f.What == ruletest.Chatters:
			why = "davy.test.found.noise"
		case !f.Declared:
			why = "davy.test.found.contradicts"
		}
		out.Findings = append(out.Findings, finding{
			What: f.What.String(), Rule: f.Rule, Declared: f.Declared, Story: plan.StoryText(&f.Story),
			Text: c.Lang.Text(key, args) + ": " + c.Lang.Text(why, nil),
		})
	}
	if c.JSON {
		err = encode(c, out)
	} else {
		for _, f := range out.Findings {
			fmt.Fprintf(c.Out, "# %s\n%s\n", f.Text, f.Story)
		}
		c.Say("davy.test.explored", i18n.Args{"trials": r.Trials, "seed": seed, "found": len(r.Findings)})
	}
	if err == nil && len(r.Findings) > 0 {
		return cli.Quiet(cli.Failed)
	}
	return err
}
