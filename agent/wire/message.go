package wire

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The kinds of what is signed.
const (
	EnvelopeKind    = "envelope"
	ReceiptKind     = "receipt"
	ResumeKind      = "resume"
	CertificateKind = "certificate"
)

func signedBytes(kind string, body []byte) []byte {
	b := make([]byte, 0, len("davy/1/")+len(kind)+1+len(body))
	b = append(b, "davy/1/"...)
	b = append(b, kind...)
	b = append(b, '\n')
	return append(b, body...)
}

// Sign returns body signed as kind. The body is not copied.
func Sign(kind string, body []byte, key ed25519.PrivateKey) Signed {
	return Signed{
		Body:      body,
		Key:       bytes.Clone(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, signedBytes(kind, body)),
	}
}

// Verify reports whether the signature is that of the key that s itself names.
// Whether that key is one to believe is for the caller to say.
func (s Signed) Verify(kind string) bool {
	return len(s.Key) == ed25519.PublicKeySize && len(s.Signature) == ed25519.SignatureSize &&
		ed25519.Verify(s.Key, signedBytes(kind, s.Body), s.Signature)
}

// Encode appends s to dst.
func (s *Signed) Encode(dst []byte) []byte {
	dst = putBytes(dst, 1, s.Body)
	dst = putBytes(dst, 2, s.Key)
	return putBytes(dst, 3, s.Signature)
}

// DecodeSigned reads a Signed; its slices are parts of b.
func DecodeSigned(b []byte) (*Signed, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode signed: %w", ErrTooLarge)
	}
	s := &Signed{}
	err := visit(b, func(key, _ uint64, p []byte) error {
		switch key {
		case 1<<3 | bt:
			s.Body = p
		case 2<<3 | bt:
			s.Key = p
		case 3<<3 | bt:
			s.Signature = p
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("decode signed: %w", err)
	}
	return s, nil
}

// Encode appends e to dst.
func (e *Envelope) Encode(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(e.Version))
	dst = putText(dst, 2, e.Gateway)
	dst = putBytes(dst, 3, e.Epoch[:])
	for i := range e.Blocks {
		dst = putMessage(dst, 4, e.Blocks[i].encode)
	}
	dst = putHeads(dst, 5, e.Heads)
	dst = putBytes(dst, 6, e.Plan)
	dst = putSint(dst, 7, e.Sent.Wall)
	dst = putSint(dst, 8, e.Sent.Mono)
	dst = putText(dst, 9, e.Boot)
	dst = putBool(dst, 10, e.ClockTrusted)
	dst = putUint(dst, 11, e.ClockError)
	dst = putBool(dst, 12, e.OutputsArmed)
	dst = putBytes(dst, 13, e.Checkpoint)
	if e.Proof != nil {
		dst = putMessage(dst, 14, e.Proof.encode)
	}
	return dst
}

// DecodeEnvelope reads an Envelope. The bodies of its blocks are parts of b.
// Version is for the caller to look at.
func DecodeEnvelope(b []byte) (*Envelope, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode envelope: %w", ErrTooLarge)
	}
	e := &Envelope{}
	epoch := false
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | vt:
			e.Version = uint32(v)
		case 2<<3 | bt:
			err = text(p, &e.Gateway)
		case 3<<3 | bt:
			epoch, err = true, fixed(p, e.Epoch[:])
		case 4<<3 | bt:
			if len(e.Blocks) == MaxList {
				return ErrTooLarge
			}
			e.Blocks = append(e.Blocks, Block{})
			err = e.Blocks[len(e.Blocks)-1].decode(p)
		case 5<<3 | bt:
			err = getHead(p, &e.Heads)
		case 6<<3 | bt:
			e.Plan = own(p)
		case 7<<3 | vt:
			e.Sent.Wall = zag(v)
		case 8<<3 | vt:
			e.Sent.Mono = zag(v)
		case 9<<3 | bt:
			err = text(p, &e.Boot)
		case 10<<3 | vt:
			e.ClockTrusted = v != 0
		case 11<<3 | vt:
			e.ClockError = v
		case 12<<3 | vt:
			e.OutputsArmed = v != 0
		case 13<<3 | bt:
			e.Checkpoint = own(p)
		case 14<<3 | bt:
			e.Proof = &Proof{}
			err = e.Proof.decode(p)
		}
		return err
	})
	if err == nil && !epoch {
		err = fmt.Errorf("%w: no epoch", ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("decode envelope: %w", err)
	}
	return e, nil
}

func (k *Block) encode(dst []byte) []byte {
	dst = putText(dst, 1, k.Stream)
	dst = putUint(dst, 2, k.First)
	dst = putUint(dst, 3, uint64(k.Count))
	dst = putBytes(dst, 4, k.Body)
	dst = putBytes(dst, 5, k.RootBefore[:])
	return putUint(dst, 6, k.Leaf)
}

func (k *Block) decode(b []byte) error {
	root := false
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &k.Stream)
		case 2<<3 | vt:
			k.First = v
		case 3<<3 | vt:
			k.Count = uint32(v)
		case 4<<3 | bt:
			k.Body = p
		case 5<<3 | bt:
			root, err = true, fixed(p, k.RootBefore[:])
		case 6<<3 | vt:
			k.Leaf = v
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("block: %w", err)
	case !root || k.First == 0 || k.Count == 0 || k.Count > MaxRecords || k.First > math.MaxUint64-uint64(k.Count):
		return fmt.Errorf("block: %w", ErrMalformed)
	}
	return nil
}

// Last returns the number of the last record of the block.
func (k *Block) Last() uint64 { return k.First + uint64(k.Count) - 1 }

// RootAfter returns the chain after the block.
func (k *Block) RootAfter() Root {
	return NextRoot(k.RootBefore, k.Stream, k.First, k.Count, k.Body)
}

func putHeads(dst []byte, num protowire.Number, heads []Head) []byte {
	for i := range heads {
		h := &heads[i]
		dst = putMessage(dst, num, func(b []byte) []byte {
			b = putText(b, 1, h.Stream)
			b = putUint(b, 2, h.Number)
			return putBytes(b, 3, h.Root[:])
		})
	}
	return dst
}

func getHead(b []byte, dst *[]Head) error {
	if len(*dst) == MaxList {
		return ErrTooLarge
	}
	var h Head
	root := false
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &h.Stream)
		case 2<<3 | vt:
			h.Number = v
		case 3<<3 | bt:
			root, err = true, fixed(p, h.Root[:])
		}
		return err
	})
	if err == nil && !root {
		err = ErrMalformed
	}
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	*dst = append(*dst, h)
	return nil
}

// Encode appends r to dst.
func (r *Receipt) Encode(dst []byte) []byte {
	dst = putUint(dst, 1, uint64(r.Version))
	dst = putText(dst, 2, r.Gateway)
	dst = putText(dst, 3, r.Destination)
	dst = putText(dst, 4, r.Store)
	dst = putBytes(dst, 5, r.Epoch[:])
	dst = putHeads(dst, 6, r.Upto)
	for i := range r.Refused {
		f := &r.Refused[i]
		dst = putMessage(dst, 7, func(b []byte) []byte {
			b = putText(b, 1, f.Stream)
			b = putUint(b, 2, f.From)
			b = putUint(b, 3, f.To)
			return putText(b, 4, f.Code)
		})
	}
	dst = putSint(dst, 8, r.Wall)
	dst = putBytes(dst, 9, r.Witness)
	dst = putText(dst, 10, r.Log)
	return putBytes(dst, 11, r.Certificate)
}

// DecodeReceipt reads a Receipt. Version is for the caller to look at.
func DecodeReceipt(b []byte) (*Receipt, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode receipt: %w", ErrTooLarge)
	}
	r := &Receipt{}
	epoch := false
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
		case 5<<3 | bt:
			epoch, err = true, fixed(p, r.Epoch[:])
		case 6<<3 | bt:
			err = getHead(p, &r.Upto)
		case 7<<3 | bt:
			err = getRefused(p, &r.Refused)
		case 8<<3 | vt:
			r.Wall = zag(v)
		case 9<<3 | bt:
			r.Witness = own(p)
		case 10<<3 | bt:
			err = text(p, &r.Log)
		case 11<<3 | bt:
			r.Certificate = own(p)
		}
		return err
	})
	if err == nil && !epoch {
		err = fmt.Errorf("%w: no epoch", ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("decode receipt: %w", err)
	}
	return r, nil
}

func getRefused(b []byte, dst *[]Refused) error {
	if len(*dst) == MaxList {
		return ErrTooLarge
	}
	var f Refused
	err := visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &f.Stream)
		case 2<<3 | vt:
			f.From = v
		case 3<<3 | vt:
			f.To = v
		case 4<<3 | bt:
			err = text(p, &f.Code)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	*dst = append(*dst, f)
	return nil
}
