package wire

import "fmt"

// MaxProof is the number of hashes of a proof above which it is none: a log of
// 2^63 leaves needs fewer.
const MaxProof = 128

func (p *Proof) encode(dst []byte) []byte {
	dst = putUint(dst, 1, p.Size)
	for i := range p.Hashes {
		dst = putBytes(dst, 2, p.Hashes[i][:])
	}
	return dst
}

func (p *Proof) decode(b []byte) error {
	err := visit(b, func(key, v uint64, b []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			p.Size = v
		case 2<<3 | bt:
			if len(p.Hashes) == MaxProof {
				return ErrTooLarge
			}
			var h Root
			err = fixed(b, h[:])
			p.Hashes = append(p.Hashes, h)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	return nil
}

// Encode appends r to dst.
func (r *Resume) Encode(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(r.Version))
	dst = putText(dst, 2, r.Gateway)
	dst = putText(dst, 3, r.Destination)
	dst = putText(dst, 4, r.Store)
	dst = putUint(dst, 5, r.Number)
	dst = putSint(dst, 6, r.Wall)
	for i := range r.Have {
		dst = putMessage(dst, 7, r.Have[i].encode)
	}
	return putBytes(dst, 8, r.Certificate)
}

// DecodeResume reads a Resume. Version is for the caller to look at.
func DecodeResume(b []byte) (*Resume, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode resume: %w", ErrTooLarge)
	}
	r := &Resume{}
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			r.Version = uint32(v)
		case 2<<3 | bt:
			err = text(p, &r.Gateway)
		case 3<<3 | bt:
			err = text(p, &r.Destination)
		case 4<<3 | bt:
			err = text(p, &r.Store)
		case 5<<3 | vt:
			r.Number = v
		case 6<<3 | vt:
			r.Wall = zag(v)
		case 7<<3 | bt:
			if len(r.Have) == MaxList {
				return ErrTooLarge
			}
			r.Have = append(r.Have, Have{})
			err = r.Have[len(r.Have)-1].decode(p)
		case 8<<3 | bt:
			r.Certificate = own(p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decode resume: %w", err)
	}
	return r, nil
}

func (h *Have) encode(dst []byte) []byte {
	dst = putBytes(dst, 1, h.Epoch[:])
	dst = putHeads(dst, 2, h.Upto)
	return putBytes(dst, 3, h.Witness)
}

func (h *Have) decode(b []byte) error {
	epoch := false
	err := visit(b, func(key, _ uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			epoch, err = true, fixed(p, h.Epoch[:])
		case 2<<3 | bt:
			err = getHead(p, &h.Upto)
		case 3<<3 | bt:
			h.Witness = own(p)
		}
		return err
	})
	if err == nil && !epoch {
		err = fmt.Errorf("%w: no epoch", ErrMalformed)
	}
	return err
}

// Encode appends c to dst.
func (c *Certificate) Encode(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(c.Version))
	dst = putBytes(dst, 2, c.Key)
	dst = putText(dst, 3, c.Name)
	dst = putSint(dst, 4, c.NotBefore)
	dst = putSint(dst, 5, c.NotAfter)
	dst = putUint(dst, 6, c.Number)
	return putUint(dst, 7, c.Least)
}

// DecodeCertificate reads a Certificate. Version is for the caller to look at.
func DecodeCertificate(b []byte) (*Certificate, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode certificate: %w", ErrTooLarge)
	}
	c := &Certificate{}
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			c.Version = uint32(v)
		case 2<<3 | bt:
			c.Key = own(p)
		case 3<<3 | bt:
			err = text(p, &c.Name)
		case 4<<3 | vt:
			c.NotBefore = zag(v)
		case 5<<3 | vt:
			c.NotAfter = zag(v)
		case 6<<3 | vt:
			c.Number = v
		case 7<<3 | vt:
			c.Least = v
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decode certificate: %w", err)
	}
	return c, nil
}
