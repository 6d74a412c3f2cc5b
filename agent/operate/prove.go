package operate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
)

// Proof is a person's id and PIN. It prints and logs without the PIN.
type Proof struct {
	Person string `json:"person"`
	PIN    string `json:"pin"`
}

func (p Proof) String() string { return p.Person }

// GoString implements fmt.GoStringer.
func (p Proof) GoString() string { return "operate.Proof{" + p.Person + "}" }

// LogValue implements slog.LogValuer.
func (p Proof) LogValue() slog.Value { return slog.StringValue(p.Person) }

// Prover is a Handler that can prove persons. Prove returns the roles of the
// person whose PIN this is; user is who asks, as the kernel knows it. A refusal
// is an *Error: one of the codes below, with the argument "rule" (the person).
// It is called from several goroutines and may take seconds.
type Prover interface {
	Prove(ctx context.Context, user, person, pin string) (roles []string, err error)
}

// Codes of what a Prover refuses.
const (
	NoPeople      = "refused.no-people"      // the running plan names nobody
	UnknownPerson = "refused.unknown-person" // of the running plan
	WrongPIN      = "refused.wrong-pin"
	NoPIN         = "refused.no-pin"
	PINWait       = "refused.pin-wait" // with "seconds": nothing was looked at, for wrong tries came before
)

// session is one connection.
type session struct {
	id     string
	person string // the only one who is proved in it
	wrong  int
}

func newSession() *session {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return &session{id: hex.EncodeToString(id[:])}
}

// commands reports whether a request is somebody's word, which may be proved.
func commands(do string) bool {
	switch do {
	case Arm, Disarm, Reload, Prove:
		return true
	}
	return Acts(do)
}

// prove makes the proved person of a request's proof the one whose word it is.
// Without a proof, and in what only shows, it does nothing.
func (s *Server) prove(ctx context.Context, r *request, own *session) *Error {
	switch {
	case !commands(r.Do):
		return nil
	case r.Proof == nil && r.Do == Prove:
		return &Error{Code: "refused.needs-person"}
	case r.Proof == nil:
		return nil
	}
	p := *r.Proof
	r.Proof = nil
	if err := check(&r.Command); err != nil {
		return err
	}
	if len(p.Person) > MaxName || len(p.PIN) > MaxName {
		return &Error{Code: "operate.too-long"}
	}
	if p.Person != clean(p.Person) {
		return &Error{Code: "operate.bad-text"}
	}
	prover, can := s.Handler.(Prover)
	switch {
	case !can:
		return &Error{Code: NoPeople, Args: map[string]any{"rule": p.Person}}
	case own.person != "" && own.person != p.Person:
		return &Error{Code: "refused.other-person", Args: map[string]any{"rule": p.Person, "person": own.person}}
	}
	limited, cancel := context.WithTimeout(ctx, ProofWait)
	defer cancel()
	roles, err := prover.Prove(limited, r.Who.Name, p.Person, p.PIN)
	var said *Error
	switch {
	case errors.As(err, &said):
		if said.Code == WrongPIN || said.Code == UnknownPerson {
			own.wrong++
		}
		return said
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Code: busy} // nothing was done
	case err != nil:
		return trouble(err)
	}
	own.person, own.wrong = p.Person, 0
	r.Who, r.Roles = Who{Name: p.Person, Proved: true}, roles
	return nil
}

// proofOf is what goes with a request: nothing with what only shows.
func (c *Client) proofOf(do string) *Proof {
	if !commands(do) {
		return nil
	}
	return c.Proof
}
