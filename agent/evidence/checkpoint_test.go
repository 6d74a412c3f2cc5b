package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

func seeded(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

// A checkpoint of a gateway with any name goes there and back, and counts as
// witnessed only with the cosignature of the very key that is asked for.
func TestCheckpoint(t *testing.T) {
	device, receiver, other := seeded(1), seeded(2), seeded(3)
	pub := func(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
	for _, gateway := range []string{"gw-1", "a/b c+d#é", "冷库 #3", "%2F", ""} {
		c := &Checkpoint{Gateway: gateway, Epoch: wire.Epoch{1, 2, 15: 9}, Size: 77, Root: merkle.Hash{5}, At: tag.Stamp{Wall: -3, Mono: 8}, Trusted: true}
		plain, err := c.Sign(device)
		if err != nil {
			t.Fatalf("%q: %v", gateway, err)
		}
		got, err := ReadCheckpoint(plain)
		if err != nil || got.text() != c.text() || got.Gateway != gateway || !got.Trusted || got.Size != 77 || got.At != c.At {
			t.Fatalf("%q: %+v, %v", gateway, got, err)
		}
		if _, _, err := Witnessed(plain, pub(receiver)); !errors.Is(err, ErrNotWitnessed) {
			t.Errorf("%q: without a cosignature: %v", gateway, err)
		}
		both, err := Cosign(plain, "province +1", receiver, 1_700_000_000_500_000_000)
		if err != nil {
			t.Fatal(err)
		}
		got, wall, err := Witnessed(both, pub(receiver))
		if err != nil || wall != 1_700_000_000 || got.Size != 77 {
			t.Fatalf("%q: %+v at %d, %v", gateway, got, wall, err)
		}
		if _, _, err := Witnessed(both, pub(other)); !errors.Is(err, ErrNotWitnessed) {
			t.Errorf("%q: another receiver: %v", gateway, err)
		}
		for i := range both {
			bad := bytes.Clone(both)
			bad[i] ^= 1
			if got, _, err := Witnessed(bad, pub(receiver)); err == nil && got.text() != c.text() {
				t.Errorf("%q: byte %d changed and another checkpoint is believed", gateway, i)
			}
		}
	}
}
