package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Checkpoint says how far the log of one epoch is: Size leaves under Root. It
// travels as a signed note (golang.org/x/mod/sumdb/note), whose text is that of
// a C2SP tlog-checkpoint:
//
//	davy/<gateway, escaped>/<epoch, hex>
//	<size>
//	<root, base64>
//	key ed25519:<public key of the gateway, base64>
//	at <wall ns> <mono ns> <trusted | untrusted>
//
// The key stands in the text, so that whoever cosigns it vouches for the key
// too. A receiver that has seen that the log only grew adds its cosignature
// (C2SP tlog-cosignature, "cosignature/v1"): from then on the checkpoint is
// witnessed, and nothing before it can change without being found.
type Checkpoint struct {
	Gateway string
	Epoch   wire.Epoch
	Size    uint64
	Root    merkle.Hash
	Key     ed25519.PublicKey
	At      tag.Stamp // of the gateway
	Trusted bool      // its wall clock then
}

// What is wrong with a checkpoint.
var (
	ErrCheckpoint   = errors.New("malformed checkpoint")
	ErrSignature    = errors.New("checkpoint without a valid signature")
	ErrNotWitnessed = errors.New("checkpoint without the receiver's cosignature")
)

// maxNote is the length above which a note is no checkpoint.
const maxNote = 16 << 10

// Origin is the name of the log of one epoch of a gateway; it holds neither a
// blank nor a plus sign, whatever the gateway is called.
func Origin(gateway string, epoch wire.Epoch) string {
	return logName(gateway) + "/" + hex.EncodeToString(epoch[:])
}

// logName is the name of a gateway's key within notes.
func logName(gateway string) string {
	return "davy/" + strings.ReplaceAll(url.PathEscape(gateway), "+", "%2B")
}

const keyLine = "key ed25519:"

// text is what is signed.
func (c *Checkpoint) text() string {
	trusted := "untrusted"
	if c.Trusted {
		trusted = "trusted"
	}
	return fmt.Sprintf("%s\n%d\n%s\n%s%s\nat %d %d %s\n", Origin(c.Gateway, c.Epoch), c.Size, base64.StdEncoding.EncodeToString(c.Root[:]),
		keyLine, base64.StdEncoding.EncodeToString(c.Key), c.At.Wall, c.At.Mono, trusted)
}

// Sign returns the note of a checkpoint. Key is filled in.
func (c *Checkpoint) Sign(key ed25519.PrivateKey) ([]byte, error) {
	c.Key = key.Public().(ed25519.PublicKey)
	b, err := note.Sign(&note.Note{Text: c.text()}, &signer{logName(c.Gateway), key, algEd25519, 0})
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return b, nil
}

// ReadCheckpoint returns the checkpoint of a note that the gateway's key, which
// the note itself names, has signed. Whether that key is one to believe is for
// the caller to say.
func ReadCheckpoint(b []byte) (*Checkpoint, error) {
	c, err := parseCheckpoint(b)
	if err != nil {
		return nil, err
	}
	if _, err := note.Open(b, note.VerifierList(&verifier{logName(c.Gateway), c.Key, algEd25519, nil})); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return c, nil
}

// parseCheckpoint reads a note without a look at its signatures. A text that is
// not exactly what text makes is malformed: it has one form.
func parseCheckpoint(b []byte) (*Checkpoint, error) {
	end := bytes.Index(b, []byte("\n\n"))
	if len(b) > maxNote || end < 0 {
		return nil, ErrCheckpoint
	}
	body := string(b[:end+1])
	lines := strings.Split(body, "\n")
	if len(lines) != 6 {
		return nil, ErrCheckpoint
	}
	c := &Checkpoint{}
	rest, ok := strings.CutPrefix(lines[0], "davy/")
	cut := strings.LastIndexByte(rest, '/')
	if !ok || cut < 0 {
		return nil, ErrCheckpoint
	}
	var err, err2, err3 error
	c.Gateway, err = url.PathUnescape(rest[:cut])
	epoch, err2 := hex.DecodeString(rest[cut+1:])
	c.Size, err3 = strconv.ParseUint(lines[1], 10, 63)
	if err != nil || err2 != nil || err3 != nil || copy(c.Epoch[:], epoch) != len(c.Epoch) {
		return nil, ErrCheckpoint
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || copy(c.Root[:], root) != len(c.Root) {
		return nil, ErrCheckpoint
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(lines[3], keyLine))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, ErrCheckpoint
	}
	c.Key = key
	at := strings.Fields(lines[4])
	if len(at) != 4 {
		return nil, ErrCheckpoint
	}
	c.At.Wall, err = strconv.ParseInt(at[1], 10, 64)
	c.At.Mono, err2 = strconv.ParseInt(at[2], 10, 64)
	c.Trusted = at[3] == "trusted"
	if err != nil || err2 != nil || c.text() != body {
		return nil, ErrCheckpoint
	}
	return c, nil
}

// Cosign adds the cosignature of a receiver to a checkpoint's note; name is
// the receiver's, wall its time. It says that the log was seen to have only
// grown since the checkpoint that was cosigned before; see Witness.
func Cosign(b []byte, name string, key ed25519.PrivateKey, wall int64) ([]byte, error) {
	c, err := parseCheckpoint(b)
	if err != nil {
		return nil, err
	}
	// Opened without verifiers a note is refused, so with that of its own gateway.
	n, err := note.Open(b, note.VerifierList(&verifier{logName(c.Gateway), c.Key, algEd25519, nil}))
	if err != nil {
		return nil, fmt.Errorf("cosign checkpoint: %w: %w", ErrSignature, err)
	}
	n.UnverifiedSigs = nil // of others: they stay in their own notes
	out, err := note.Sign(n, &signer{witnessName(name), key, algCosign, wall / 1e9})
	if err != nil {
		return nil, fmt.Errorf("cosign checkpoint: %w", err)
	}
	return out, nil
}

// Witnessed returns the checkpoint of a note that both its gateway and the
// receiver's key signed, and when the receiver did, in seconds since 1970.
func Witnessed(b []byte, receiver ed25519.PublicKey) (c *Checkpoint, wall int64, err error) {
	if c, err = ReadCheckpoint(b); err != nil {
		return nil, 0, err
	}
	for _, line := range strings.Split(string(b[bytes.Index(b, []byte("\n\n"))+2:]), "\n") {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "— "), " ")
		if !ok || !strings.HasPrefix(name, witnessPrefix) {
			continue
		}
		v := &verifier{name, receiver, algCosign, &wall}
		if _, err := note.Open(b, note.VerifierList(v)); err == nil {
			return c, wall, nil
		}
	}
	return nil, 0, ErrNotWitnessed
}

const witnessPrefix = "davy-receiver/"

func witnessName(name string) string {
	return witnessPrefix + strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}

// The algorithms of a note's signatures: ed25519 as x/mod has it, and a
// witness's as C2SP has it.
const (
	algEd25519 = 1
	algCosign  = 4
)

func keyHash(name string, alg byte, pub ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{alg})
	h.Write(pub)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

func cosigned(seconds int64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", seconds), text...)
}

// signer signs as a gateway or as a witness, which says when, in seconds.
type signer struct {
	name string
	key  ed25519.PrivateKey
	alg  byte
	time int64
}

func (s *signer) Name() string { return s.name }

func (s *signer) KeyHash() uint32 {
	return keyHash(s.name, s.alg, s.key.Public().(ed25519.PublicKey))
}

func (s *signer) Sign(text []byte) ([]byte, error) {
	if s.alg == algEd25519 {
		return ed25519.Sign(s.key, text), nil
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(s.time))
	return append(sig, ed25519.Sign(s.key, cosigned(s.time, text))...), nil
}

// verifier checks one key's signature. Of a witness it gives the time away.
type verifier struct {
	name string
	key  ed25519.PublicKey
	alg  byte
	time *int64
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return keyHash(v.name, v.alg, v.key) }

func (v *verifier) Verify(text, sig []byte) bool {
	if len(v.key) != ed25519.PublicKeySize {
		return false
	}
	if v.alg == algEd25519 {
		return ed25519.Verify(v.key, text, sig)
	}
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := int64(binary.BigEndian.Uint64(sig))
	if !ed25519.Verify(v.key, cosigned(seconds, text), sig[8:]) {
		return false
	}
	*v.time = seconds
	return true
}
