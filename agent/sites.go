package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"davy/agent/accept"
	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/latch"
	"davy/drivers"
	"davy/rules"
	"davy/rules/ruletest"
)

// Accepted is the accepted site, compiled.
type Accepted struct {
	*accept.Acceptance
	Bundle *config.Bundle
	Plan   *config.Plan
	// Damaged: a damaged copy had to be passed over to find this one.
	Damaged bool
}

// ErrNotCompiled says that this version of davy refuses a site that another accepted.
var ErrNotCompiled = errors.New("the accepted site does not compile with this version of davy")

// LoadAccepted loads and compiles the accepted site of a state directory.
func LoadAccepted(dir string, set drivers.Set) (*Accepted, error) {
	a, damaged, err := accept.Load(dir)
	if err != nil {
		return nil, err
	}
	return compiled(a, damaged, set)
}

// ranBefore loads the site that an agent with a plan's hash ran before the
// accepted one; nil where it is not there any more.
func ranBefore(dir string, plan [32]byte, set drivers.Set) *Accepted {
	a, err := accept.Before(dir)
	if err != nil {
		return nil
	}
	old, err := compiled(a, false, set)
	if err != nil || old.Plan.Hash != plan {
		return nil
	}
	return old
}

func compiled(a *accept.Acceptance, damaged bool, set drivers.Set) (*Accepted, error) {
	b, err := config.DecodeBundle(a.Bundle)
	if err != nil {
		return nil, fmt.Errorf("load accepted site %.12s: %w", a.Hash, err)
	}
	plan, problems := config.Compile(b, set)
	if plan == nil {
		return nil, fmt.Errorf("load accepted site %.12s: %w: %d problems, the first at %s: %s", a.Hash, ErrNotCompiled, len(problems), problems[0].Place, problems[0].Code)
	}
	a.Bundle = nil // once is enough: b says the same
	return &Accepted{Acceptance: a, Bundle: b, Plan: plan, Damaged: damaged}, nil
}

// differs reports whether dir says something else than what was accepted, or is gone.
func (a *Accepted) differs(dir string, templates fs.FS) bool {
	if a.Bundle.Same(os.DirFS(dir), ".", templates) {
		return false
	}
	b, problems := config.ReadSite(os.DirFS(dir), ".", templates)
	return b == nil || !problems.OK() || b.Hash() != a.Bundle.Hash()
}

// RunStories runs a plan's stories on engines of their own.
func RunStories(p *config.Plan) ruletest.Report {
	return ruletest.RunAll(p.Rules, p.Stories, func(i int, protective bool) string {
		if protective {
			return p.Outputs[i].ProtectiveName
		}
		return p.Outputs[i].IdleName
	})
}

// Latched returns those of names that stand in the latch file of a state
// directory whose agent does not run: tripped, or in alarm.
func Latched(dir string, plan *config.Plan, names []string) ([]string, error) {
	_, payload, err := latch.Open(filepath.Join(dir, LatchName))
	if errors.Is(err, latch.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := control.DecodeMemory(payload)
	if err != nil || len(m.Engine) == 0 {
		return nil, err
	}
	e, err := rules.New(plan.Rules)
	if err != nil {
		return nil, err
	}
	if err := e.Restore(m.Engine, 0); err != nil {
		return nil, err
	}
	var standing []string
	in := rules.Input{Now: m.Saved, Image: rules.NewImage(plan.Rules).Readings()}
	for _, i := range e.Interlocks(nil, &in) {
		if i.State == rules.Tripped && slices.Contains(names, i.Name) {
			standing = append(standing, i.Name)
		}
	}
	for _, a := range e.Alarms(nil, m.Saved) {
		if a.State != rules.Normal && slices.Contains(names, a.Name) {
			standing = append(standing, a.Name)
		}
	}
	return standing, nil
}
