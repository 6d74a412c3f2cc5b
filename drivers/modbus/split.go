package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// split is what a link has learnt about a block that was refused or silent:
// the parts it is asked in. A device that lacks a register refuses the whole
// block, or answers it short, or (some) not at all; halves are asked until the
// points it lacks stand alone. Those are left alone for RefusedRetry, and one
// of them is tried in a Read; the block is tried whole after RemergeAfter.
type split struct {
	parts []piece
	whole int64 // when to try the whole block, Mono
	dark  bool  // split for silence alone, with no sign of life from the station
}

// piece is a part and what became of it.
type piece struct {
	part
	refused error  // the last answer was this refusal
	retry   int64  // a refused point: not before, Mono; 0 at once
	quiet   int    // silences in a row
	heard   uint32 // answers of its station at the first of them
}

// next says how a Read goes on after a part.
type next uint8

const (
	proceed next = iota // with the following part
	halves              // with the halves that the part became
	finish              // not at all: the others would be as silent
)

// Read asks for the block, or for its parts where the device refused it. The
// error is of the link: silence, nonsense, connection. A device that answers
// with an exception has a good link; its points say what it refused.
func (l *link) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	r, ok := req.(*request)
	if !ok {
		panic("BUG: modbus: request of another driver")
	}
	l.limit(ctx)
	base := len(dst)
	now := l.now()
	dst = slices.Grow(dst, len(r.quick))[:base+len(r.quick)]
	out := dst[base:]
	for i := range r.quick {
		out[i] = tag.Reading{Tag: r.quick[i].tag, Quality: tag.BadNoComm, Received: now}
	}
	s := l.splits[r]
	if s == nil {
		err := l.ask(ctx, r, &r.whole, out)
		if err == nil || !refuses(err) && !silent(err) {
			return dst, l.report("read", r, &r.whole, err)
		}
		if len(l.splits) >= MaxSplits {
			clear(l.splits)
		}
		s = &split{parts: []piece{{part: r.whole}}, whole: l.now().Mono + int64(RemergeAfter)}
		l.splits[r] = s
		if l.learn(r, s, 0, err) != halves {
			return dst, l.report("read", r, &r.whole, err)
		}
	}
	return dst, l.readParts(ctx, r, s, out)
}

// readParts asks for the parts of a block.
func (l *link) readParts(ctx context.Context, r *request, s *split, out []tag.Reading) error {
	now := l.now().Mono
	if len(s.parts) > 1 && now >= s.whole {
		s.whole = now + int64(RemergeAfter)
		if err := l.ask(ctx, r, &r.whole, out); err == nil {
			delete(l.splits, r)
			l.log.Info("block whole again", "request", r.String())
			return nil
		} else if !refuses(err) && !silent(err) {
			return l.report("read", r, &r.whole, err)
		}
	}
	for i := range s.parts {
		if s.parts[i].refused != nil {
			mark(&s.parts[i].part, quality(s.parts[i].refused), out)
		}
	}
	retried, refusals := false, 0
	for i := 0; i < len(s.parts); {
		p := &s.parts[i]
		if p.retry != 0 && (retried || now < p.retry) {
			i++
			continue
		}
		if refusals >= MaxRefused {
			mark(&p.part, tag.BadDeviceFault, out)
			i++
			continue
		}
		retried = retried || p.retry != 0
		err := l.ask(ctx, r, &p.part, out)
		if err == nil {
			refusals = 0
			*p = piece{part: p.part}
			if s.dark { // the station was away, and perhaps nothing is wrong with the block
				s.dark, s.whole = false, now
			}
			i++
			continue
		}
		asked := p.part
		if refuses(err) {
			refusals++
		}
		switch l.learn(r, s, i, err) {
		case proceed:
			i++
		case finish:
			return l.report("read", r, &asked, err)
		}
	}
	if len(s.parts) == 1 && s.parts[0].refused == nil {
		delete(l.splits, r)
	}
	return nil
}

// learn notes what a part's failure says, and how the Read goes on.
func (l *link) learn(r *request, s *split, i int, err error) next {
	p := &s.parts[i]
	many := p.to-p.from > 1
	switch {
	case refuses(err) && many:
		s.halve(r, i)
		return halves
	case refuses(err):
		if p.refused == nil {
			l.log.Warn("address refused", "request", r.describe(&p.part), "error", err)
		}
		p.refused, p.retry = err, 0
		if quality(err) == tag.BadConfig {
			p.retry = l.now().Mono + int64(RefusedRetry)
		}
		return proceed
	case silent(err) && !inFull(err, l.timeout):
		// The Read's own time ran out in the middle: the next begins here.
		s.parts = slices.Concat(s.parts[i:], s.parts[:i])
		return finish
	case silent(err):
		heard := l.heard(r.station)
		if p.quiet == 0 {
			p.heard = heard
		}
		p.quiet++
		alive := heard != p.heard
		if p.quiet >= SilentSplit {
			if many {
				s.dark = s.dark || !alive
				s.halve(r, i)
				i++
			} else if alive && len(s.parts) > 1 {
				p.refused, p.retry = err, l.now().Mono+int64(RefusedRetry)
			}
		}
		s.parts = slices.Concat(s.parts[i+1:], s.parts[:i+1])
		return finish
	case errors.Is(err, errNonsense):
		return proceed
	}
	s.parts = slices.Concat(s.parts[i:], s.parts[:i])
	return finish
}

// halve puts two parts in the place of one. They meet where the most registers
// lie between them that no point uses, because those may be what was refused,
// but not so far from the middle that the way to a bad register becomes long.
func (s *split) halve(r *request, i int) {
	from, to := s.parts[i].from, s.parts[i].to
	middle, widest := (from+to)/2, 0
	quarter := (to - from) / 4
	end := 0
	for k := from; k < to; k++ {
		if k >= from+max(1, quarter) && k <= to-max(1, quarter) {
			gap := r.cells[k].first - end
			if gap > widest || gap == widest && gap > 0 && distance(k, from, to) < distance(middle, from, to) {
				middle, widest = k, gap
			}
		}
		end = max(end, r.cells[k].end)
	}
	s.parts = slices.Replace(s.parts, i, i+1, piece{part: r.part(from, middle)}, piece{part: r.part(middle, to)})
}

// distance is how far k is from the middle of from and to, doubled.
func distance(k, from, to int) int { return max(2*k-from-to, from+to-2*k) }

// mark gives all points of a part a quality.
func mark(p *part, q tag.Quality, out []tag.Reading) {
	for i := p.from; i < p.to; i++ {
		out[i].Value, out[i].Quality = tag.Value{}, q
	}
}

// ask sends the request of one part and takes its answer apart.
func (l *link) ask(ctx context.Context, r *request, p *part, out []tag.Reading) error {
	f, data, err := l.fetch(ctx, r, p)
	now := l.now()
	for i := p.from; i < p.to; i++ {
		out[i].Received = now
	}
	if err != nil {
		mark(p, quality(err), out)
		return err
	}
	return r.decode(p, f, data, out)
}

// refuses reports whether an error may come from one bad register in a block.
func refuses(err error) bool {
	if e, ok := err.(exception); ok {
		return e == 2 || e == 3 || e == 4
	}
	return errors.Is(err, errLength)
}

// silent reports whether an error is that no answer came.
func silent(err error) bool {
	_, ok := err.(silence)
	return ok
}

// inFull reports whether a silence lasted as long as the link waits, and was
// not cut short by the caller's deadline.
func inFull(err error, timeout time.Duration) bool {
	s, ok := err.(silence)
	return ok && time.Duration(s) >= timeout*9/10
}

// quality says what an error means for the points that were asked.
func quality(err error) tag.Quality {
	if e, ok := err.(exception); ok {
		switch e {
		case 1, 2, 3:
			return tag.BadConfig
		case 10, 11:
			return tag.BadNoComm
		}
		return tag.BadDeviceFault
	}
	if errors.Is(err, errNonsense) || errors.Is(err, errFraming) {
		return tag.BadDeviceFault
	}
	return tag.BadNoComm
}

// report makes an error of the link of what happened to a part; an exception is none.
func (l *link) report(verb string, r *request, p *part, err error) error {
	if _, ok := err.(exception); ok || err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %s: %w", verb, l.name, r.describe(p), err)
}
