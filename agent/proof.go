package agent

import (
	"context"
	"errors"
	"math"
	"time"

	"davy/agent/accept"
	"davy/agent/clock"
	"davy/agent/operate"
	"davy/agent/people"
	"davy/agent/ring"
	"davy/rules"
)

// Prove proves a person of the running plan, in the goroutine of the
// connection. A wrong PIN and an unknown person are events: Who is who asked,
// as the kernel knows it, and Rule the person, where there is one.
func (p *process) Prove(ctx context.Context, user, id, pin string) ([]string, error) {
	g := p.current.Load()
	if g == nil {
		return nil, errStarting
	}
	roll := &g.a.Plan.People.Roll
	refuse := func(code string) error { return &operate.Error{Code: code, Args: map[string]any{"rule": id}} }
	if roll.Empty() {
		return nil, refuse(operate.NoPeople)
	}
	who, err := p.gate.Prove(ctx, roll, user, id, pin)
	var wait *people.WaitError
	switch {
	case err == nil:
		return who.RoleNames(), nil
	case errors.Is(err, people.ErrWrong):
		p.note(ctx, rules.Event{Kind: ring.PersonRefused, At: clock.Now(), Rule: id, Who: user, Note: "wrong-pin"})
		return nil, refuse(operate.WrongPIN)
	case errors.Is(err, people.ErrUnknown): // what was given for an id is not recorded: it may be a PIN
		p.note(ctx, rules.Event{Kind: ring.PersonRefused, At: clock.Now(), Who: user, Note: "unknown-person"})
		return nil, refuse(operate.UnknownPerson)
	case errors.Is(err, people.ErrNoPIN):
		return nil, refuse(operate.NoPIN)
	case errors.Is(err, people.ErrBusy):
		return nil, &operate.Error{Code: "operate.busy"}
	case errors.As(err, &wait):
		return nil, &operate.Error{Code: operate.PINWait, Args: map[string]any{"rule": id, "seconds": int64(math.Ceil(wait.For.Seconds()))}}
	}
	return nil, err
}

// note records an event, also where one plan takes over from another meanwhile.
func (p *process) note(ctx context.Context, e rules.Event) {
	for {
		if err := p.current.Load().loop.Record(ctx, e); err == nil || ctx.Err() != nil {
			return
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// mayApply refuses a reload that a plan with persons does not let c command.
func mayApply(g *generation, c *operate.Command) error {
	roll := &g.a.Plan.People.Roll
	who := roll.Find(c.Who.Name)
	switch {
	case roll.Empty():
		return nil
	case !c.Who.Proved || who == nil:
		return &operate.Error{Code: "refused.needs-person"}
	case !roll.MayApply(who):
		return &operate.Error{Code: "refused.may-not-apply", Args: map[string]any{"rule": who.ID}}
	}
	return nil
}

// refuseSwap makes what g runs the accepted site again, and returns why.
func (p *process) refuseSwap(g *generation, why error) error {
	return errors.Join(why, accept.Revert(p.o.StateDir, g.a.Acceptance))
}

func newGate() *people.Gate {
	return people.NewGate(func() int64 { return clock.Now().Mono })
}

var _ operate.Prover = (*process)(nil)
