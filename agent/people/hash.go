package people

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The parameters of a new hash: what OWASP's Password Storage Cheat Sheet
// names as the least for argon2id.
const (
	memory  = 19 << 10 // KiB
	passes  = 2
	saltLen = 16
	keyLen  = 32
)

// What a hash that was read may ask for. A weaker one is refused as one that
// could be guessed; a dearer one because a file must not take the gateway's
// memory or minutes of its processor.
const (
	MinMemory = 7 << 10  // KiB
	MaxMemory = 46 << 10 // KiB
	MaxPasses = 5        // over the memory
	MinCost   = 35 << 10 // memory times passes
	MaxCost   = 76 << 10 // … twice that of a new one
	minSalt   = saltLen  // bytes
	maxSalt   = 2 * minSalt
	minKey    = keyLen / 2
	maxKey    = 2 * keyLen
	maxHash   = 256 // bytes of the text
)

// Errors of ParseHash.
var (
	ErrForm = errors.New("not an argon2id hash: $argon2id$v=19$m=…,t=…,p=1$salt$hash")
	ErrCost = errors.New("the parameters of the hash are out of bounds")
)

// Hash is an argon2id hash of a PIN with its salt and parameters. The zero Hash
// is none: no PIN fits it.
type Hash struct {
	memory, passes uint32
	salt, key      []byte
}

// Set reports whether there is a hash.
func (h Hash) Set() bool { return len(h.key) > 0 }

// NewHash hashes a PIN with a salt of its own. It takes MaxMemory at most, and as long
// as one try at the gate.
func NewHash(pin string) Hash { return newHash(pin, memory, passes) }

func newHash(pin string, memory, passes uint32) Hash {
	h := Hash{memory: memory, passes: passes, salt: make([]byte, saltLen)}
	_, _ = rand.Read(h.salt) // never fails
	h.key = h.of(pin, keyLen)
	return h
}

func (h Hash) of(pin string, size int) []byte {
	return argon2.IDKey([]byte(pin), h.salt, h.passes, h.memory, 1, uint32(size))
}

// fits reports whether the hash is of this PIN; how long it takes says nothing
// of how much of it is right.
func (h Hash) fits(pin string) bool {
	return h.Set() && subtle.ConstantTimeCompare(h.of(pin, len(h.key)), h.key) == 1
}

// String is the hash in the form of the Password Hashing Competition.
func (h Hash) String() string {
	if !h.Set() {
		return ""
	}
	b := base64.RawStdEncoding
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=1$%s$%s", Prefix, argon2.Version, h.memory, h.passes, b.EncodeToString(h.salt), b.EncodeToString(h.key))
}

// Prefix begins every hash.
const Prefix = "$argon2id$"

// ParseHash reads what String wrote, or another program's hash within the
// bounds. The same hash has one text. The errors are ErrForm and ErrCost.
func ParseHash(s string) (Hash, error) {
	rest, ok := strings.CutPrefix(s, Prefix)
	parts := strings.Split(rest, "$")
	if !ok || len(s) > maxHash || len(parts) != 4 || parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return Hash{}, ErrForm
	}
	var h Hash
	var threads uint32
	params := strings.Split(parts[1], ",")
	if len(params) != 3 {
		return Hash{}, ErrForm
	}
	for i, to := range []*uint32{&h.memory, &h.passes, &threads} {
		if !number(params[i], "mtp"[i:i+1]+"=", to) {
			return Hash{}, ErrForm
		}
	}
	var ok1, ok2 bool
	h.salt, ok1 = field(parts[2])
	h.key, ok2 = field(parts[3])
	if !ok1 || !ok2 {
		return Hash{}, ErrForm
	}
	// Nothing was computed yet, and nothing is beyond this.
	cost := uint64(h.memory) * uint64(h.passes)
	if h.memory < MinMemory || h.memory > MaxMemory || h.passes < 1 || h.passes > MaxPasses || threads != 1 || cost < MinCost || cost > MaxCost ||
		len(h.salt) < minSalt || len(h.salt) > maxSalt || len(h.key) < minKey || len(h.key) > maxKey {
		return Hash{}, ErrCost
	}
	return h, nil
}

// number reads "m=19456"; no signs, no leading zeros. What passes 32 bits is
// read as the most, which is out of every bound.
func number(s, name string, to *uint32) bool {
	digits, ok := strings.CutPrefix(s, name)
	if !ok || digits == "" || digits[0] == '0' && digits != "0" || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		n = 1<<32 - 1
	}
	*to = uint32(n)
	return true
}

// field reads unpadded base64 in its one form.
func field(s string) ([]byte, bool) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) > 0 && base64.RawStdEncoding.EncodedLen(len(b)) == len(s)
}

// Masked returns a line with every hash in it hidden, as long as it was: for
// screens, which are photographed and sent around.
func Masked(line string) string {
	for from := 0; ; {
		i := strings.Index(line[from:], Prefix)
		if i < 0 {
			return line
		}
		start := from + i + len(Prefix)
		end := start
		for end < len(line) && strings.IndexByte("$=,+/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", line[end]) >= 0 {
			end++
		}
		line = line[:start] + strings.Repeat("*", end-start) + line[end:]
		from = end
	}
}
