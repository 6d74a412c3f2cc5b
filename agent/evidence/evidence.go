// Package evidence is what makes a record more than a row: the key of the
// device, its fingerprint as people compare it, and the check of a receipt.
//
// It promises: a private key is made once, with the system's random numbers,
// is readable by its owner only, and is on the disk (file and directory
// synced) before anyone sees its public half. A key file that is there and
// cannot be read is an error and is never replaced: a new key would be another
// device to the receiver.
//
// It does not prove that one key is one box, nor that a register was true.
// The chain over the records itself is agent/wire's Root; the journal carries it.
//
// Imports: agent/wire. The receiver uses the verification only.
package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"davy/agent/wire"
)

// KeyFile is the name of the key within its directory.
const KeyFile = "device.key"

// maxKeyFile is the size above which a key file is not one.
const maxKeyFile = 4096

// ErrKey says that a key file is there and holds no key.
var ErrKey = errors.New("key file is damaged")

const pemType = "PRIVATE KEY"

// LoadOrCreateKey returns the key in dir (PEM, PKCS #8, mode 0600), making it
// if there is none.
func LoadOrCreateKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, KeyFile)
	key, err := LoadKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err == nil {
		err = storeKey(path, key)
	}
	if errors.Is(err, os.ErrExist) { // another process was first
		return LoadKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", path, err)
	}
	return key, nil
}

// LoadKey reads a key file.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("read key %s: %w", path, ErrKey)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: others may read it (mode %04o, must be 0600)", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("read key %s: %w", path, ErrKey)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w: %w", path, ErrKey, err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: %w: not ed25519", path, ErrKey)
	}
	return key, nil
}

// storeKey writes under another name and links it into place, which fails
// where a key is already.
func storeKey(path string, key ed25519.PrivateKey) (err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, KeyFile+".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Fingerprint is the form of a public key that people read to each other:
// SHA-256 of the 32 bytes, in base32 (A-Z, 2-7), thirteen groups of four.
func Fingerprint(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	s := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	var groups []string
	for len(s) > 0 {
		n := min(4, len(s))
		groups = append(groups, s[:n])
		s = s[n:]
	}
	return strings.Join(groups, "-")
}

// SameFingerprint compares what a person typed with a fingerprint; case,
// blanks and hyphens do not matter.
func SameFingerprint(typed string, pub ed25519.PublicKey) bool {
	norm := func(s string) string {
		return strings.ToUpper(strings.NewReplacer("-", "", " ", "", "\t", "").Replace(s))
	}
	return norm(typed) == norm(Fingerprint(pub))
}

// RefusedError says why a receipt is not believed. Code is stable: "malformed",
// "key", "signature", "version", "gateway", "destination".
type RefusedError struct{ Code string }

func (e *RefusedError) Error() string { return "receipt refused: " + e.Code }

// CheckReceipt returns the receipt in a signed message, if the receiver's key
// signed it and it is for this gateway and destination. Whether its numbers
// and roots fit is for journal.Cursor.Confirm to say.
func CheckReceipt(signed []byte, receiver ed25519.PublicKey, gateway, destination string) (*wire.Receipt, error) {
	s, err := wire.DecodeSigned(signed)
	if err != nil {
		return nil, errors.Join(&RefusedError{"malformed"}, err)
	}
	switch {
	case len(receiver) != ed25519.PublicKeySize || !bytes.Equal(s.Key, receiver):
		return nil, &RefusedError{"key"}
	case !s.Verify(wire.ReceiptKind):
		return nil, &RefusedError{"signature"}
	}
	r, err := wire.DecodeReceipt(s.Body)
	switch {
	case err != nil:
		return nil, errors.Join(&RefusedError{"malformed"}, err)
	case r.Version != wire.Version:
		return nil, &RefusedError{"version"}
	case r.Gateway != gateway:
		return nil, &RefusedError{"gateway"}
	case r.Destination != "" && r.Destination != destination:
		return nil, &RefusedError{"destination"}
	}
	return r, nil
}
