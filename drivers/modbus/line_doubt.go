package modbus

import (
	"context"
	"encoding/binary"
	"time"
)

// asked notes what is asked of a station.
func (s *station) asked(sh shape) {
	s.last[sh.function] = sh.size + 1
	for i := range s.past[:min(s.pasts, maxPast)] {
		if s.past[i] == sh {
			return
		}
	}
	s.past[s.pasts%maxPast] = sh
	s.pasts++
}

// knows reports whether an answer of this shape may be to something that was
// asked: one that was not answered, or one before, doubled.
func (s *station) knows(got shape) bool {
	for i := range s.open {
		if s.open[i].covers(got) {
			return true
		}
	}
	for i := range s.past[:min(s.pasts, maxPast)] {
		if s.past[i].covers(got) {
			return true
		}
	}
	return false
}

// late counts an answer that nobody waits for.
func (l *line) late(s *station, got shape) {
	l.count.Dropped++
	for i := range s.open {
		if o := &s.open[i]; o.covers(got) {
			s.longest = max(s.longest, time.Since(o.sent))
		}
	}
}

// lateMax is how late an answer of s may come.
func (l *line) lateMax(s *station) time.Duration {
	switch {
	case l.unit != nil && l.unit.lateMax > 0:
		return l.unit.lateMax
	case l.lineOptions.lateMax > 0:
		return l.lineOptions.lateMax
	}
	return min(max(LateLeast, lateFactor*s.longest), MaxLateMax)
}

// unanswered puts a station in doubt. A wait that was cut short counts as if it
// had lasted: late is what comes after a whole one.
func (l *line) unanswered(s *station, sh shape, sent time.Time) {
	s.since = l.now().Mono + int64(max(0, l.timeout-time.Since(l.began)))
	s.until = s.since + int64(l.lateMax(s))
	s.owes(sh, sent)
}

func (s *station) owes(sh shape, sent time.Time) {
	for i := range s.open {
		if s.open[i].shape == sh {
			return // with the time of the first
		}
	}
	if len(s.open) < MaxOpen {
		s.open = append(s.open, owed{sh, sent})
	}
}

// clashes reports whether the answer to a request could be to an open one.
func (s *station) clashes(sh shape) bool {
	if len(s.open) == MaxOpen {
		return true // not all are known
	}
	for i := range s.open {
		if s.open[i].shape == sh {
			return true
		}
	}
	return false
}

// proved ends the doubt.
func (s *station) proved() {
	s.open = s.open[:0]
	s.until, s.thrown = 0, false
}

// askInDoubt asks a station that owes answers; see the top of line.go.
func (l *line) askInDoubt(ctx context.Context, s *station, adu []byte, sh shape, deadline time.Time) ([]byte, error) {
	now := l.now().Mono
	if now < s.until {
		if l.urgent(s, sh.function) {
			return l.ask(ctx, s, adu, sh, deadline)
		}
		return nil, doubted(now, s.until, errDoubt)
	}
	sure := !s.clashes(sh)
	if !sure && !s.deaf {
		if now < s.proof {
			return nil, doubted(now, s.proof, errDoubt)
		}
		if err := l.prove(ctx, s, deadline); err != nil {
			return nil, err
		}
		return l.ask(ctx, s, adu, sh, deadline)
	}
	if !sure && !s.thrown {
		if until := s.since + 2*int64(l.lateMax(s)); now < until {
			return nil, doubted(now, until, errDoubt)
		}
	}
	data, err := l.ask(ctx, s, adu, sh, deadline)
	if _, refused := err.(exception); err != nil && !refused {
		if !sure {
			s.deaf, s.thrown = false, false // it may be that nobody was there
		}
		return nil, err
	}
	switch {
	case !sure && !s.thrown:
		l.count.Dropped++
		s.thrown = true
		now = l.now().Mono
		s.until = now + int64(l.lateMax(s))
		return nil, doubted(now, s.until, errThrown)
	case sure && err != nil && s.refuses(sh.function):
		// The refusal may be an open request's: then this one is open too.
		s.owes(sh, time.Now())
	default:
		s.proved()
	}
	return data, err
}

// urgent reports whether a request may go out although its station owes
// answers: a write that none of them can confirm.
func (l *line) urgent(s *station, function byte) bool {
	return writes(function) && len(s.open) < MaxOpen && !s.refuses(function)
}

// refuses reports whether a refusal of this function may be to an open request.
func (s *station) refuses(function byte) bool {
	for i := range s.open {
		if s.open[i].function == function {
			return true
		}
	}
	return false
}

// prove has the station give back a number. Its answer, and its refusal, can
// be to nothing else, and come after all that it owed.
func (l *line) prove(ctx context.Context, s *station, deadline time.Time) error {
	s.nonce += 0x6d2b // odd: all 65,536 come before one returns
	var adu [header + 5]byte
	adu[5], adu[6], adu[7] = 6, s.number, funcDiagnose
	binary.BigEndian.PutUint16(adu[10:], s.nonce)
	owed := len(s.open)
	_, err := l.ask(ctx, s, adu[:], shapeOf(nil, adu[:]), deadline)
	if _, refused := err.(exception); err == nil || refused {
		s.proved()
		s.speaks, s.mutes = true, 0
		return nil
	}
	// Its own answer deceives nobody, should it come.
	s.open = s.open[:min(owed, len(s.open))]
	// Its refusal might, one day: of two refusals nobody knows which is which.
	s.proof = s.since + 3*int64(l.lateMax(s))
	if silent(err) && inFull(err, l.timeout) {
		s.mutes++
		s.deaf = !s.speaks || s.mutes >= MaxMutes
	}
	return err
}
