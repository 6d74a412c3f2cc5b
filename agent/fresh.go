package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/operate"
	"davy/agent/scan"
	"davy/drivers/tag"
)

// ReadNow reads one tag from its device before anything that is polled. What a
// device says by itself is not asked for: its newest word is the answer. So is
// that of the rules for a computed tag.
func (p *process) ReadNow(ctx context.Context, name string) (*operate.Fresh, error) {
	g := p.current.Load()
	if g == nil {
		return nil, errStarting
	}
	tags := g.a.Plan.Tags
	i := slices.IndexFunc(tags, func(t config.Tag) bool { return string(t.Name) == name })
	switch {
	case i < 1:
		return nil, &operate.Error{Code: operate.UnknownTag, Args: map[string]any{"tag": name}}
	case len(tags[i].Of) > 0:
		f, err := g.known(ctx, &tags[i])
		if err == nil {
			f.Computed = true
		}
		return f, err
	case tags[i].Link < 0:
		return nil, &operate.Error{Code: operate.NoDevice, Args: map[string]any{"tag": name}}
	}
	r, took, err := g.workers[tags[i].Link].ReadNow(ctx, tag.ID(i))
	switch {
	case errors.Is(err, scan.ErrNotRunning):
		return nil, errStarting
	case errors.Is(err, scan.ErrNotPolled):
		f, err := g.known(ctx, &tags[i])
		if err != nil {
			return nil, err
		}
		f.Pushed = true
		if silent := g.workers[tags[i].Link].Stats(); silent.Silent {
			f.Problem = cmp.Or(silent.Problem, "link silent")
		}
		return f, nil
	case err != nil && r.Tag == 0:
		return nil, err
	}
	return operate.FreshOf(&tags[i], r, took, err), nil
}

// known returns what the image holds of a tag, with its age.
func (g *generation) known(ctx context.Context, t *config.Tag) (*operate.Fresh, error) {
	s, err := g.loop.View(ctx)
	if errors.Is(err, control.ErrStopped) {
		return nil, errStarting
	}
	if err != nil {
		return nil, err
	}
	f := operate.FreshOf(t, s.Image[t.ID], 0, nil)
	if last := s.Image[t.ID].Received; last != (tag.Stamp{}) {
		f.Age = time.Duration(s.At.Mono - last.Mono).Seconds()
	}
	return f, nil
}

var _ operate.Reader = (*process)(nil)
