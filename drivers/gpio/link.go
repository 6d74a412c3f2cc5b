package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"

	"davy/drivers"
	"davy/drivers/tag"
)

// link is a chip and the lines that were taken from it.
type link struct {
	drivers.LinkConfig
	held *held
	guard
	lines                    // touched only by what guard.do runs
	faults map[tag.ID]string // what was said of a point that is not well
}

// lines is what a link has of its chip; the zero lines: nothing yet.
type lines struct {
	chip   *Chip
	names  map[string][]int
	inputs map[int]*input
	edges  bool // inputs are taken with edges
}

// input is a line that this link took as an input.
type input struct {
	*Line
	lineOptions
}

// reset gives back what the link has, to begin anew.
func (s *lines) reset(edges bool) {
	for _, in := range s.inputs {
		in.Close()
	}
	if s.chip != nil {
		s.chip.Close()
	}
	*s = lines{edges: edges}
}

// find returns the number of a line.
func (s *lines) find(a Address) (int, error) {
	if a.Name == "" {
		if a.Offset >= s.chip.Lines {
			return 0, fmt.Errorf("%s: %w: it has %d, from 0", a, ErrNoLine, s.chip.Lines)
		}
		return a.Offset, nil
	}
	switch at := s.names[a.Name]; len(at) {
	case 0:
		return 0, fmt.Errorf("%s: %w", a, ErrNoLine)
	case 1:
		return at[0], nil
	}
	return 0, fmt.Errorf("%s: %w", a, ErrAmbiguous)
}

// open opens the chip and looks at its lines.
func (l *link) open() error {
	if l.chip != nil {
		return nil
	}
	chip, err := OpenChip(l.Target)
	if err != nil {
		return err
	}
	names, err := chip.Names()
	if err != nil {
		chip.Close()
		return err
	}
	l.chip, l.names, l.inputs = chip, names, map[int]*input{}
	return nil
}

// Why a line is not taken.
var (
	errIsOutput = errors.New("the line is an output now, and is not made an input (to read it as it is, write output)")
	errHeld     = errors.New("this process holds the line as an output, of this plan or one before, and lets no relay go: restart davy to make it an input")
	errTwoWays  = errors.New("the line was taken with another debounce or bias")
)

// take returns the line of a point: an output as it is, held; everything
// else as an input, if it is not an output now.
func (l *link) take(p *drivers.Point) (*Line, *input, error) {
	a := address(p)
	offset, err := l.find(a)
	if err != nil {
		return nil, nil, err
	}
	if a.Output {
		line, err := l.held.take(l.chip, offset)
		return line, nil, err
	}
	o := optionsOf(p)
	if in := l.inputs[offset]; in != nil {
		if o != in.lineOptions {
			return nil, nil, fmt.Errorf("%s: %w", a, errTwoWays)
		}
		return in.Line, in, nil
	}
	info, err := l.chip.Info(offset)
	switch {
	case err != nil:
		return nil, nil, err
	case info.Used && l.held.has(l.chip, offset):
		return nil, nil, fmt.Errorf("%s: %w", a, errHeld)
	case info.Used:
		return nil, nil, fmt.Errorf("%s: %w: %q has it", a, unix.EBUSY, info.Consumer)
	case info.Output:
		return nil, nil, fmt.Errorf("%s: %w", a, errIsOutput)
	}
	if a.Name == "" && info.Name != "" {
		l.Log.Warn("line has a name: a number may be another line after the next update", "link", l.Name, "line", a.String(), "name", info.Name)
	}
	line, err := l.chip.Input(offset, InputConfig{Pull: o.pull, Debounce: o.debounce, Edges: l.edges})
	if err != nil {
		return nil, nil, explain(err, o, l.edges)
	}
	in := &input{line, o}
	l.inputs[offset] = in
	return line, in, nil
}

// explain says which wish a chip has probably refused.
func explain(err error, o lineOptions, edges bool) error {
	if !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	switch {
	case edges && o.debounce > 0:
		return fmt.Errorf("%w (edges and debounce need a line with interrupts; mode: poll needs no edges)", err)
	case edges:
		return fmt.Errorf("%w (edges need a line with interrupts; mode: poll does not)", err)
	case o.debounce > 0:
		return fmt.Errorf("%w (the kernel's debounce needs a line with interrupts)", err)
	}
	return err
}

// level is what came of one point.
type level struct {
	level periph.Level
	in    *input // nil: not an input, or not taken
	err   error
}

// look reads every point. An error means that the chip is gone; all of it is
// given back then.
func (l *link) look(points []drivers.Point) ([]level, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	out := make([]level, len(points))
	for i := range points {
		g := &out[i]
		var line *Line
		if line, g.in, g.err = l.take(&points[i]); g.err == nil {
			g.level, g.err = line.Level()
		}
		if gone(g.err) {
			l.leave(line)
			return nil, g.err
		}
	}
	return out, nil
}

// leave gives back what is of a chip that is gone.
func (l *link) leave(line *Line) {
	if line != nil {
		l.held.drop(line)
	}
	l.reset(l.edges)
}

// all looks at points within the link's timeout.
func (l *link) all(ctx context.Context, points []drivers.Point) ([]level, error) {
	var got []level
	err := l.do(ctx, time.Now().Add(l.Timeout), func() error {
		found, err := l.look(points)
		got = found
		return err
	})
	if err != nil {
		return nil, err // got may still be written to
	}
	return got, allDead(got)
}

// allDead is the error of a chip none of whose lines answers.
func allDead(got []level) error {
	for i := range got {
		if got[i].err == nil || quality(got[i].err) != tag.BadNoComm {
			return nil
		}
	}
	if len(got) == 0 {
		return nil
	}
	return got[0].err
}

// Read reads every line of req. A chip that is away makes all of them bad and
// is looked for again at the next Read.
func (l *link) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	r, ok := req.(*request)
	if !ok {
		panic("BUG: gpio: request of another driver")
	}
	got, err := l.all(ctx, r.points)
	now := l.Now()
	for i := range r.points {
		p := &r.points[i]
		out := tag.Reading{Tag: p.Tag, Quality: tag.BadNoComm, Received: now}
		if err == nil {
			out.Quality, out.Value = l.judge(p, got[i])
		}
		dst = append(dst, out)
	}
	if err != nil {
		return dst, fmt.Errorf("read %s %s: %w", l.Name, r, err)
	}
	return dst, nil
}

// judge makes of a level what the point says, and logs what begins and ends.
func (l *link) judge(p *drivers.Point, got level) (tag.Quality, tag.Value) {
	said := l.faults[p.Tag]
	if got.err == nil {
		if said != "" {
			delete(l.faults, p.Tag)
			l.Log.Info("line readable again", "link", l.Name, "tag", p.Name, "line", p.Address.String())
		}
		return tag.GoodQuality, value(p, got.level)
	}
	if now := got.err.Error(); said != now {
		if l.faults == nil {
			l.faults = map[tag.ID]string{}
		}
		l.faults[p.Tag] = now
		l.Log.Warn("line not readable", "link", l.Name, "tag", p.Name, "line", p.Address.String(), "err", got.err)
	}
	return quality(got.err), tag.Value{}
}

func value(p *drivers.Point, level periph.Level) tag.Value {
	return tag.BoolValue(bool(level) != address(p).Inverted)
}

// quality says what an error makes of a point: what is not as it is
// configured, what another has, and what does not answer.
func quality(err error) tag.Quality {
	for _, e := range []error{ErrNoLine, ErrAmbiguous, ErrOldKernel, errTwoWays, errIsOutput, errHeld, unix.EINVAL, unix.EOPNOTSUPP, unix.ENXIO} {
		if errors.Is(err, e) {
			return tag.BadConfig
		}
	}
	for _, e := range []error{unix.EBUSY, unix.EPERM, unix.EACCES} {
		if errors.Is(err, e) {
			return tag.BadDeviceFault
		}
	}
	return tag.BadNoComm
}

// ErrReadBack says that a line does not carry what it was driven to: it is
// shorted, or drives nothing.
var ErrReadBack = errors.New("the line reads otherwise")

// Write drives an output and reads it back. The first write makes the line an
// output, of that level at once; before, it is as it was found.
func (l *link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	where := fmt.Sprintf("write %s %s", l.Name, p.Address)
	a := address(&p)
	switch {
	case !p.Write || !a.Output || l.ReadOnly:
		return fmt.Errorf("%s: %w", where, drivers.ErrReadOnly)
	case v.Kind() != tag.Bool:
		return fmt.Errorf("%s: value %v is no bool", where, v)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", where, ctx.Err())
	}
	want := periph.Level(v.True() != a.Inverted)
	err := l.do(ctx, time.Now().Add(l.Timeout), func() error { return l.drive(&p, want) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStuck), ctx.Err() != nil: // it may be doing it
		err = fmt.Errorf("%w: %w", drivers.ErrUnknown, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

func (l *link) drive(p *drivers.Point, want periph.Level) error {
	if err := l.open(); err != nil {
		return err
	}
	line, _, err := l.take(p)
	if err == nil {
		if err = line.Drive(want); err != nil && !gone(err) {
			return fmt.Errorf("%w: %w", drivers.ErrUnknown, err) // a chip behind a bus may have done it all the same
		}
	}
	if err != nil {
		if gone(err) {
			l.leave(line)
		}
		return err
	}
	got, err := line.Level()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", drivers.ErrUnknown, err)
	case got != want:
		return fmt.Errorf("%w: driven %v, reads %v", ErrReadBack, want, got)
	}
	return nil
}

// Close gives the inputs back; outputs stay with the process. Where the kernel
// does not come back within the link's timeout, Close says so, and what the
// link has stays open.
func (l *link) Close() error {
	err := l.do(context.Background(), time.Now().Add(l.Timeout), func() error {
		l.reset(false)
		return nil
	})
	l.held.stuck.leave(l.Target, &l.guard)
	if err != nil {
		return fmt.Errorf("close %s: %w", l.Name, err)
	}
	return nil
}
