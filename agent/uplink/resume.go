package uplink

import (
	"errors"
	"fmt"
	"time"

	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/wire"
)

// receipt returns a receipt of somebody whose word counts here.
func (u *Uplink) receipt(b []byte) (*wire.Receipt, error) {
	r, err := u.from.Receipt(b, u.o.Gateway, u.o.Name, u.o.Moment())
	u.withdraw()
	if store := u.o.Known.Store; err == nil && store != "" && r.Store != store { // of before it was restored, or of a stolen backup
		return nil, &evidence.RefusedError{Code: "store"}
	}
	return r, err
}

// withdraw keeps what a certificate withdrew. What a receiver said of a restored
// store before that is forgotten: it may have been the thief of the key that is
// withdrawn now, and the true receiver's own older words no longer count either.
func (u *Uplink) withdraw() {
	if u.from.Least > u.o.Known.Least {
		if err := u.know(Known{Least: u.from.Least}); err != nil {
			u.o.Log.Error("withdrawal of a receiver's certificate not kept", "destination", u.o.Name, "error", err)
		}
	}
}

func (u *Uplink) know(k Known) error {
	if u.o.KeepKnown != nil {
		if err := u.o.KeepKnown(k); err != nil {
			return err
		}
	}
	u.o.Known = k
	return nil
}

// resume returns what a restored receiver says, nil if b is not signed as that.
func (u *Uplink) resume(b []byte) (*wire.Resume, error) {
	s, err := wire.DecodeSigned(b)
	if err != nil || !s.Verify(wire.ResumeKind) {
		return nil, nil
	}
	m, err := u.from.Resume(b, u.o.Gateway, u.o.Name, u.o.Moment())
	u.withdraw()
	switch last := u.o.Known; {
	case err != nil:
		return nil, err
	case m.Store == last.Store && m.Number <= last.Number, m.Wall <= last.Wall: // one that was acted on, or an older one
		return nil, &evidence.RefusedError{Code: "resume-old"}
	}
	if now := time.Now(); !u.resumed.IsZero() && now.Sub(u.resumed) < ResumeEvery && !now.Before(u.resumed) {
		return nil, &evidence.RefusedError{Code: "resume-often"}
	}
	return m, nil
}

// resumed goes back to what a restored receiver still has.
func (s *session) resumed(m *wire.Resume) error {
	u := s.u
	u.resumed = time.Now()
	// The cursor first: it is durable when Resume returns. A kill before the
	// number is kept sends again twice; the other way round it would never.
	again, err := u.o.Cursor.Resume(m.Have)
	var unfit *journal.ReceiptError
	if err != nil && !errors.As(err, &unfit) {
		return fmt.Errorf("resume: %w", err)
	}
	known := u.o.Known
	known.Store, known.Number, known.Wall = m.Store, m.Number, m.Wall
	if err := u.know(known); err != nil { // then it counts again, but not before ResumeEvery
		return fmt.Errorf("keep number of resume: %w", err)
	}
	if unfit != nil {
		u.refuse("resume-" + unfit.Code)
		return nil
	}
	u.now.Resumes++
	u.o.Log.Warn("receiver was restored, sending again what it lacks", "destination", u.o.Name, "store", m.Store, "records", again)
	clear(u.logs) // what it has witnessed it says itself
	s.rewind()
	s.status()
	return nil
}
