package main

import (
	"context"
	"errors"
	"slices"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/agent/people"
)

// endPeople is what --drop names where a site is to have no persons any more.
const endPeople = "people"

// applying is who makes a site live: a proved person where the accepted site
// names persons, else who is logged in.
type applying struct {
	roll  people.Roll // of the accepted site
	id    string
	proof *operate.Proof // nil until prove
}

// applicant refuses who cannot apply, before anybody reads a difference. No
// PIN is asked for yet.
func applicant(c *cli.Call, state string, old *agent.Accepted) (*applying, error) {
	a := &applying{id: c.Flag("person")}
	if old != nil {
		a.roll = old.Plan.People.Roll
	} else {
		a.roll = rollOfUncompiled(state)
	}
	switch who := a.roll.Find(a.id); {
	case a.roll.Empty() && a.id != "":
		return nil, notApplied(&operate.Error{Code: operate.NoPeople, Args: map[string]any{"rule": a.id}})
	case a.roll.Empty():
	case a.id == "":
		return nil, &cli.Error{Exit: cli.Failed, Key: "davy.apply.refused", Args: i18n.Args{"why": i18n.Key("refused.needs-person")}, Hint: "davy.hint.person"}
	case who == nil:
		return nil, notApplied(&operate.Error{Code: operate.UnknownPerson})
	case !a.roll.MayApply(who):
		return nil, notApplied(&operate.Error{Code: "refused.may-not-apply", Args: map[string]any{"rule": a.id}})
	}
	return a, nil
}

// rollOfUncompiled is the persons of an accepted site that this version cannot
// compile any more: they still decide who may replace it.
func rollOfUncompiled(state string) people.Roll {
	a, _, err := accept.Load(state)
	if err != nil {
		return people.Roll{}
	}
	b, err := config.DecodeBundle(a.Bundle)
	if err != nil {
		return people.Roll{}
	}
	p, _ := config.ReadPeople(b, "")
	return p.Roll
}

// name is as whom the site is applied.
func (a *applying) name() string {
	if a.roll.Empty() {
		return person()
	}
	return a.id
}

// say tells what is not proved, and what will have to be.
func (a *applying) say(c *cli.Call, plan *config.Plan) {
	switch {
	case a.roll.Empty() && plan.People.Empty():
	case a.roll.Empty():
		c.Say("davy.apply.claimed", i18n.Args{"person": person()})
	case plan.People.Empty():
		c.Say("davy.apply.ends-people", nil)
	}
}

// mayEnd refuses a site without persons after one with them, unless that was named.
func (a *applying) mayEnd(plan *config.Plan, allowed []string) error {
	if a.roll.Empty() || !plan.People.Empty() || slices.Contains(allowed, endPeople) {
		return nil
	}
	return &cli.Error{Exit: cli.Failed, Key: "davy.apply.no-people", Hint: "davy.hint.no-people"}
}

// prove asks for the PIN: the running agent is asked whether it is right, which
// records wrong tries and lets nobody guess fast; without one it is looked at here.
func (a *applying) prove(c *cli.Call) error {
	if a.roll.Empty() {
		return nil
	}
	by, err := proof(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandWait+operate.ProofWait)
	defer cancel()
	to := client(c)
	to.Proof = by
	_, err = to.Do(ctx, operate.Command{Do: operate.Prove})
	var said *operate.Error
	if errors.Is(err, operate.ErrNotRunning) || errors.As(err, &said) && (said.Code == operate.NoPeople || said.Code == "operate.unknown-request") { // it runs a site from before there were persons
		err = proveHere(&a.roll, by)
	}
	switch {
	case errors.As(err, &said):
		return notApplied(said)
	case err != nil:
		return socketError(c, err)
	}
	a.proof = by
	return nil
}

// notApplied says why somebody may not apply.
func notApplied(why *operate.Error) error {
	return &cli.Error{Exit: cli.Failed, Key: "davy.apply.refused", Args: i18n.Args{"why": why}}
}
