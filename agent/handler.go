package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"davy/agent/accept"
	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/operate"
	"davy/agent/output"
	"davy/agent/scan"
	"davy/drivers/tag"
	"davy/rules"
)

var errStarting = &operate.Error{Code: "davy.starting"}

// View returns what people see of the agent.
func (p *process) View(ctx context.Context) (*operate.View, error) {
	g := p.current.Load()
	if g == nil {
		return nil, errStarting
	}
	v, err := g.view(ctx)
	if errors.Is(err, control.ErrStopped) { // between two plans
		return nil, errStarting
	}
	return v, err
}

// Do carries out a person's command.
func (p *process) Do(ctx context.Context, c operate.Command) (*operate.Result, error) {
	g := p.current.Load()
	if g == nil {
		return nil, errStarting
	}
	var err error
	switch c.Do {
	case operate.Arm, operate.Disarm:
		err = g.loop.Arm(ctx, c.Do == operate.Arm, c.Who.Name, c.Who.Proved, c.Note)
	case operate.Reload:
		return p.swap(ctx, g, c)
	default:
		var said rules.Command
		if said, err = c.Say(tagNamed(g.a.Plan)); err == nil {
			err = g.loop.Do(ctx, said)
		}
	}
	switch {
	case errors.Is(err, control.ErrStopped): // between two plans: it was not done
		return nil, errStarting
	case errors.Is(err, control.ErrNotSaved):
		return nil, &operate.Error{Code: "davy.not-saved"}
	case err != nil:
		return nil, err
	}
	return &operate.Result{}, nil
}

// swap makes the plan that was just accepted live, unless it would drop a
// rule that stands and was not named: then what runs is the accepted one again,
// so that no restart takes what was refused.
func (p *process) swap(ctx context.Context, g *generation, c operate.Command) (*operate.Result, error) {
	next, err := LoadAccepted(p.o.StateDir, p.o.Drivers)
	if err != nil {
		return nil, err
	}
	if next.Hash == g.a.Hash {
		return &operate.Result{}, nil
	}
	if c.Plan != "" && c.Plan != next.Hash { // somebody else applied another one meanwhile
		return nil, &operate.Error{Code: "operate.busy"}
	}
	if _, err := rules.New(next.Plan.Rules); err != nil {
		return nil, errors.Join(err, accept.Revert(p.o.StateDir, g.a.Acceptance))
	}
	if err := mayApply(g, &c); err != nil {
		return nil, p.refuseSwap(g, err)
	}
	v, err := g.view(ctx)
	if err != nil {
		return nil, err
	}
	standing := slices.DeleteFunc(Standing(v, config.DroppedRules(g.a.Plan, next.Plan)), func(name string) bool { return slices.Contains(c.Names, name) })
	if len(standing) > 0 {
		if err := accept.Revert(p.o.StateDir, g.a.Acceptance); err != nil {
			return nil, err
		}
		return nil, &operate.Error{Code: "davy.apply.standing", Args: map[string]any{"rules": strings.Join(standing, ",")}}
	}
	select {
	case p.reload <- next:
	default:
		return nil, errStarting // another one is about to live
	}
	for p.current.Load() == g || !p.current.Load().loop.Alive() {
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
	return &operate.Result{}, nil
}

// Standing returns those of names of which v says that they are tripped, bypassed,
// tested or in alarm, or that a person shelved them or took them out of service.
func Standing(v *operate.View, names []string) []string {
	var out []string
	for i := range v.Interlocks {
		k := &v.Interlocks[i]
		if n := k.Name; (k.State == operate.Tripped || k.Bypass != nil || k.Test) && slices.Contains(names, n) {
			out = append(out, n)
		}
	}
	for i := range v.Alarms {
		a := &v.Alarms[i]
		if n := a.Name; (a.Standing || a.State != operate.Normal && a.State != operate.Suppressed) && slices.Contains(names, n) {
			out = append(out, n)
		}
	}
	return out
}

// view is one consistent copy, made between two turns.
func (g *generation) view(ctx context.Context) (*operate.View, error) {
	plan := g.a.Plan
	names := func(id tag.ID) *config.Tag {
		if int(id) >= len(plan.Tags) {
			return nil
		}
		return &plan.Tags[id]
	}
	s, err := g.loop.View(ctx)
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	v := &operate.View{
		Gateway: operate.Gateway{ID: plan.Gateway.ID, Name: operate.TextOf(plan.Gateway.Name), TimeZone: plan.Gateway.TimeZone},
		Version: g.p.o.Version,
		At:      operate.Wall(s.At), Since: operate.Wall(g.started),
		Plan:  operate.Plan{Hash: g.a.Hash, Differs: g.differs.Load(), Failing: g.red.Load()},
		Armed: s.Armed, Turns: s.Turns, Longest: ms(s.Longest),
		Clock: operate.Clock{Trusted: s.ClockTrusted, Error: ms(s.ClockError)},
		Links: []operate.Link{}, Alarms: []operate.Alarm{}, Interlocks: []operate.Interlock{}, Outputs: []operate.Output{}, // of nothing [], never null
	}
	latch := g.p.latch.State()
	v.Latch.Durable = latch.Durable == latch.Asked
	if latch.Err != nil {
		v.Latch.Error = latch.Err.Error()
	}
	v.Tags = countTags(plan.Tags, s.Image)
	for _, w := range g.workers {
		v.Links = append(v.Links, linkOf(w.Link, w.Stats(), s.At))
	}
	for i := range s.Alarms {
		if s.Alarms[i].State != rules.Normal {
			v.Alarms = append(v.Alarms, operate.AlarmOf(&s.Alarms[i], names))
		}
	}
	for i := range s.Interlocks {
		v.Interlocks = append(v.Interlocks, operate.InterlockOf(&s.Interlocks[i]))
	}
	for i := range s.Devices {
		v.Devices = append(v.Devices, operate.DeviceOf(&s.Devices[i]))
	}
	for i := range s.Forces {
		v.Forces = append(v.Forces, operate.ForceOf(&s.Forces[i], names))
	}
	outs := g.out.View()
	for i := range outs {
		o := outputOf(&plan.Outputs[i], &outs[i])
		if i < len(s.Demands) {
			o.By = s.Demands[i].By
		}
		v.Outputs = append(v.Outputs, o)
		v.Reaction = max(v.Reaction, ms(outs[i].Worst))
	}
	v.Keeper = operate.KeeperOf(g.p.keep)
	v.Keeper.Texts = conditionTexts(plan, v.Keeper.Conditions)
	for i := range s.Log {
		e := operate.EventOf(&s.Log[i], names)
		if e.Output != "" {
			e.ValueName = stateName(plan, e.Output, s.Log[i].Value)
		}
		v.Log = append(v.Log, e)
	}
	v.Load = operate.LoadOf(&s.Load)
	v.Units(channelUnits(plan))
	return v, nil
}

// tagNamed finds the tags of a plan by their names.
func tagNamed(p *config.Plan) func(string) *config.Tag {
	return func(name string) *config.Tag {
		if i := slices.IndexFunc(p.Tags, func(t config.Tag) bool { return t.ID != 0 && string(t.Name) == name }); i >= 0 {
			return &p.Tags[i]
		}
		return nil
	}
}

// stateName returns what the site calls a value of an output.
func stateName(p *config.Plan, output string, v tag.Value) string {
	i := slices.IndexFunc(p.Outputs, func(o config.Output) bool { return o.Name == output })
	switch {
	case i < 0 || v.Kind() == tag.None:
	case v == p.Outputs[i].Idle:
		return p.Outputs[i].IdleName
	case v == p.Outputs[i].Protective:
		return p.Outputs[i].ProtectiveName
	}
	return ""
}

// conditionTexts returns the words of those conditions that the plan knows.
func conditionTexts(p *config.Plan, codes []string) []operate.Condition {
	var out []operate.Condition
	for _, code := range codes {
		if id, ok := p.Conditions[code]; ok {
			out = append(out, operate.Condition{Code: code, Text: operate.TextOf(p.Tags[id].Text)})
		}
	}
	return out
}

// channelUnits returns the units of the interlocks' channels by their names.
func channelUnits(p *config.Plan) map[string]string {
	units := map[string]string{}
	for i := range p.Rules.Interlocks {
		for _, c := range p.Rules.Interlocks[i].Channels {
			units[c.Name] = p.Tags[c.Cond.Tag].Unit
		}
	}
	return units
}

func linkOf(l *config.Link, s scan.Stats, now tag.Stamp) operate.Link {
	o := operate.Link{
		Name: l.Name, Target: l.Target, State: operate.LinkStarting, Requests: s.Answers + s.Failures, Timeouts: s.Failures,
		Overruns: s.Overruns, Longest: ms(s.Longest), Problem: s.Problem, Notes: l.Notes, ReadOnly: l.ReadOnly,
	}
	switch {
	case s.Silent:
		o.State = operate.LinkSilent
	case s.LastAnswer != 0:
		o.State = operate.LinkAnswering
	}
	if s.LastAnswer != 0 {
		o.LastAnswer = time.Unix(0, now.Wall-(now.Mono-s.LastAnswer)).UTC()
	}
	return o
}

func outputOf(c *config.Output, s *output.View) operate.Output {
	o := operate.Output{Name: c.Name, Text: operate.TextOf(c.Text), Demand: operate.Idling, Wanted: c.IdleName, State: s.SeenState, Problem: s.Error}
	if s.Demanded {
		o.Demand, o.Wanted = operate.Protective, c.ProtectiveName
	}
	o.Confirmed = !s.Pending && (s.Driven == "leave" || s.Seen == s.Driven)
	return o
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var _ operate.Handler = (*process)(nil)

// countTags counts what is read and what is computed: one that is bad is a tag
// that nobody can judge by. The agent's own conditions are no tags to a person.
func countTags(tags []config.Tag, image []tag.Reading) (n operate.Tags) {
	for i := range image {
		if t := &tags[i]; i == 0 || t.Link < 0 && len(t.Of) == 0 {
			continue
		}
		n.Total++
		switch q := image[i].Quality; {
		case q.Good():
			n.Good++
		case !q.Bad():
			n.Uncertain++
		default:
			n.Bad++
			if q.Reason() == tag.NeverRead {
				n.NeverRead++
			}
		}
	}
	return n
}
