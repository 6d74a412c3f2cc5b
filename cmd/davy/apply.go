package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/i18n"
	"davy/agent/latch"
	"davy/agent/operate"
	"davy/rules"
)

// apply makes a site live: everything compiled, the difference shown, the
// stories run, a person and a reason named. It is the only way.
func apply(c *cli.Call) error {
	if strings.TrimSpace(c.Flag("reason")) == "" {
		return cli.Usage("davy.needs-reason", i18n.Args{"command": "apply"})
	}
	state := c.Flag("state")
	if err := shortEnough(c); err != nil {
		return err
	}
	bundle, plan, err := compiled(c, "davy.apply.problems")
	if err != nil {
		return err
	}
	if err := missingSecrets(plan, state).Join(openPeople(plan, c.Args[0])).Write(c.Err, c.Lang, bundle); err != nil {
		return err
	}
	report := agent.RunStories(plan)
	writeStories(c, report, true)
	if !report.OK() {
		return &cli.Error{Exit: cli.Failed, Key: "davy.apply.red"}
	}
	if _, err := rules.New(plan.Rules); err != nil { // without stories nobody has tried
		return err
	}
	old, first, err := previous(c, state)
	if err != nil {
		return err
	}
	by, err := applicant(c, state, old)
	if err != nil {
		return err
	}
	if old != nil && !old.Damaged && old.Bundle.Hash() == bundle.Hash() {
		if v, err := view(c, operate.Status); err == nil && v.Plan.Hash != old.Hash { // accepted, and not live
			if err := by.prove(c); err != nil {
				return err
			}
			return live(c, old.Acceptance, strings.Split(c.Flag("drop"), ","), by.proof)
		}
		c.Say("davy.apply.same", i18n.Args{"hash": old.Hash[:12]})
		return nil
	}
	allowed := strings.Split(c.Flag("drop"), ",")
	if err := mayDrop(c, old, plan, allowed); err != nil {
		return err
	}
	if err := by.mayEnd(plan, allowed); err != nil {
		return err
	}
	if first {
		c.Say("davy.apply.first", nil)
	} else if err := showDifference(c, old, bundle); err != nil {
		return err
	}
	sayUnapproved(c, plan)
	by.say(c, plan)
	if !c.Set("yes") && !confirmed(c, by.name()) {
		return &cli.Error{Exit: cli.Failed, Key: "davy.apply.not-confirmed"}
	}
	if err := by.prove(c); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Args[0])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o750); err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.state", Args: i18n.Args{"state": state}, Cause: err, Hint: "davy.hint.state"}
	}
	if err := firstLatch(state, plan, first); err != nil {
		return err
	}
	a := &accept.Acceptance{
		Bundle: bundle.Encode(), Dir: dir, Who: by.name(), Proved: by.proof != nil, Reason: c.Flag("reason"), At: time.Now().UTC(),
		Version: version, Verdict: fmt.Sprintf("passed %d", len(plan.Stories)),
	}
	if err := accept.Save(state, a); err != nil {
		return err
	}
	if err := giveToOwner(state); err != nil {
		return err
	}
	return live(c, a, allowed, by.proof)
}

// previous returns the accepted site, and whether there never was one. One that
// is damaged, or that this version cannot compile, cannot be compared with: that
// is said, and it is replaced.
func previous(c *cli.Call, state string) (old *agent.Accepted, first bool, err error) {
	old, err = agent.LoadAccepted(state, driverSet())
	switch {
	case errors.Is(err, accept.ErrNone):
		return nil, true, nil
	case errors.Is(err, fs.ErrPermission): // it may be whole: somebody who may read it is to look
		return nil, false, &cli.Error{Exit: cli.Failed, Key: "davy.state", Args: i18n.Args{"state": state}, Cause: err, Hint: "davy.hint.state"}
	case errors.Is(err, agent.ErrNotCompiled), errors.Is(err, accept.ErrDamaged):
		c.Say("davy.apply.replaces", i18n.Args{"cause": err})
		return nil, false, nil
	}
	return old, false, err
}

// mayDrop refuses to drop a rule that stands, unless it was named.
func mayDrop(c *cli.Call, old *agent.Accepted, plan *config.Plan, allowed []string) error {
	if old == nil {
		return nil
	}
	dropped := config.DroppedRules(old.Plan, plan)
	if len(dropped) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), viewWait)
	defer cancel()
	var standing []string
	v, err := client(c).View(ctx, operate.Status)
	switch {
	case err == nil:
		standing = agent.Standing(v, dropped)
	case errors.Is(err, operate.ErrNotRunning):
		if standing, err = agent.Latched(c.Flag("state"), old.Plan, dropped); err != nil {
			return err
		}
	default:
		return socketError(c, err)
	}
	standing = slices.DeleteFunc(standing, func(name string) bool { return slices.Contains(allowed, name) })
	if len(standing) > 0 {
		return &cli.Error{Exit: cli.Failed, Key: "davy.apply.standing", Args: i18n.Args{"rules": strings.Join(standing, ",")}, Hint: "davy.hint.standing"}
	}
	return nil
}

func showDifference(c *cli.Call, old *agent.Accepted, bundle *config.Bundle) error {
	if old == nil {
		return nil
	}
	c.Say("davy.apply.difference", i18n.Args{"hash": old.Hash[:12], "person": old.Who, "at": old.At.Local().Format("2006-01-02 15:04:05"), "reason": old.Reason})
	return config.WriteDiff(c.Out, config.Diff(old.Bundle, bundle))
}

// sayUnapproved says which limits become live that a profile proposes and
// nobody has approved. It is no refusal: an alarm by a standard's figure is safer
// than none, and an approval that is written to get past one is worth nothing.
// What stands from then on is the alarm plan.not-approved.
func sayUnapproved(c *cli.Call, plan *config.Plan) {
	list := plan.Unapproved()
	if len(list) == 0 {
		return
	}
	var names []string
	for _, b := range list[:min(len(list), maxNamed)] {
		names = append(names, b.Alarm)
	}
	c.Say("davy.apply.not-approved", i18n.Args{"n": len(list), "names": strings.Join(names, ", ")})
}

// maxNamed is how many alarms are named of those that nobody approved.
const maxNamed = 20

// confirmed asks the person at the keyboard.
func confirmed(c *cli.Call, as string) bool {
	fmt.Fprint(c.Out, c.Lang.Text("davy.apply.confirm", i18n.Args{"person": as})+" ")
	line, err := typedLine(os.Stdin) // no more of it: a PIN may follow
	if err != nil || line == "" {
		fmt.Fprintln(c.Out)
		return false
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes" || answer == "是"
}

// firstLatch makes the latch file of a first installation, so that a missing
// one is always a loss from then on.
func firstLatch(state string, plan *config.Plan, first bool) error {
	if !first {
		return nil
	}
	m := control.Memory{Lineage: agent.NewLineage(), Armed: plan.Gateway.Armed}
	err := latch.Create(filepath.Join(state, agent.LatchName), m.Append(nil))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// live tells the running agent, if there is one.
func live(c *cli.Call, a *accept.Acceptance, allowed []string, by *operate.Proof) error {
	ctx, cancel := context.WithTimeout(context.Background(), operate.ReloadWait+operate.ProofWait)
	defer cancel()
	args := i18n.Args{"hash": a.Hash[:12], "person": a.Who, "how": i18n.Key("davy.claimed")}
	if a.Proved {
		args["how"] = i18n.Key("davy.proved")
	}
	to := client(c)
	to.Proof = by
	reload := operate.Command{Do: operate.Reload, Plan: a.Hash, Names: allowed}
	_, err := to.Do(ctx, reload)
	var said *operate.Error
	if errors.As(err, &said) && said.Code == operate.NoPeople { // what runs is from before there were persons, and asks for no proof
		to.Proof, said = nil, nil
		_, err = to.Do(ctx, reload)
	}
	if errors.Is(err, operate.ErrNotRunning) {
		c.Say("davy.apply.next-start", args)
		return nil
	}
	if errors.As(err, &said) && said.Code == "davy.apply.standing" { // it stood up meanwhile; the old one is the accepted one again
		return &cli.Error{Exit: cli.Failed, Key: said.Code, Args: said.Args, Hint: "davy.hint.standing"}
	}
	// Not this person: the old one is the accepted one again. Where the proof itself
	// was refused, nobody took anything back.
	if errors.As(err, &said) && strings.HasPrefix(said.Code, "refused.") && !notProved(said) {
		return notApplied(said)
	}
	if errors.As(err, &said) { // accepted it is: say so, and what runs now
		args["why"] = said
		return &cli.Error{Exit: cli.Failed, Key: "davy.apply.not-live", Args: args, Hint: "davy.hint.not-live"}
	}
	if err != nil {
		return socketError(c, err)
	}
	c.Say("davy.apply.live", args)
	return nil
}
