package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"davy/agent/wire"
)

// Receivers says whose word counts at a destination: that of one pinned key, or
// of every key that an authority certifies. It belongs to one goroutine.
type Receivers struct {
	Pinned    ed25519.PublicKey // nil: whom Authority certifies
	Authority ed25519.PublicKey
	Least     uint64 // the largest Certificate.Least that was believed; to be kept, see CheckCertificate

	key ed25519.PublicKey // believed last
}

// Key returns the key that was believed last, nil for none.
func (r *Receivers) Key() ed25519.PublicKey {
	if r.Pinned != nil {
		return r.Pinned
	}
	return r.key
}

// Receipt is CheckReceipt for whoever may sign one. The error is a
// *RefusedError, also with the codes of CheckCertificate.
func (r *Receivers) Receipt(signed []byte, gateway, destination string, now Moment) (*wire.Receipt, error) {
	if r.Pinned != nil {
		return CheckReceipt(signed, r.Pinned, gateway, destination)
	}
	s, err := wire.DecodeSigned(signed)
	if err != nil {
		return nil, errors.Join(&RefusedError{"malformed"}, err)
	}
	rec, err := CheckReceipt(signed, s.Key, gateway, destination) // by the key that it names itself
	if err != nil {
		return nil, err
	}
	if err := r.believe(rec.Certificate, s.Key, now); err != nil {
		return nil, err
	}
	return rec, nil
}

// Resume returns what a restored receiver says, if it may say it to this
// gateway and destination. Whether its number is new is for the caller to say.
func (r *Receivers) Resume(signed []byte, gateway, destination string, now Moment) (*wire.Resume, error) {
	s, err := wire.DecodeSigned(signed)
	if err != nil {
		return nil, errors.Join(&RefusedError{"malformed"}, err)
	}
	if !s.Verify(wire.ResumeKind) {
		return nil, &RefusedError{"signature"}
	}
	if r.Pinned != nil && !bytes.Equal(s.Key, r.Pinned) {
		return nil, &RefusedError{"key"}
	}
	m, err := wire.DecodeResume(s.Body)
	switch {
	case err != nil:
		return nil, errors.Join(&RefusedError{"malformed"}, err)
	case m.Version != wire.Version:
		return nil, &RefusedError{"version"}
	case m.Gateway != gateway:
		return nil, &RefusedError{"gateway"}
	case m.Destination != "" && m.Destination != destination:
		return nil, &RefusedError{"destination"}
	}
	if r.Pinned == nil {
		if err := r.believe(m.Certificate, s.Key, now); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// believe checks the certificate of a key and takes over what it withdraws.
func (r *Receivers) believe(cert []byte, key ed25519.PublicKey, now Moment) error {
	c, err := CheckCertificate(cert, r.Authority, key, now, r.Least)
	if err != nil {
		return err
	}
	r.Least = max(r.Least, c.Least)
	r.key = bytes.Clone(key)
	return nil
}
