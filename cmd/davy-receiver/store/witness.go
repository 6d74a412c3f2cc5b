package store

import (
	"bytes"
	"crypto/ed25519"

	"davy/agent/merkle"
	"davy/agent/wire"
)

// MaxWitness is how many checkpoints are kept of an epoch: the largest. Each
// was proved to go on from the one before it, so the last stands for all.
const MaxWitness = 16

// Witness is a checkpoint of an epoch's log that was cosigned.
type Witness struct {
	Size uint64 // leaves
	Root merkle.Hash
	Note []byte // with both signatures
	Wall int64  // of this receiver, ns

	signer []byte // the receiver's key that cosigned it
}

// Cosigner is the receiver's signature on checkpoints.
type Cosigner struct {
	Key  ed25519.PublicKey
	Sign func(note []byte) ([]byte, error)
}

func scanWitness(scan func(...any) error) (w Witness, err error) {
	var size int64
	var root []byte
	err = scan(&size, &root, &w.Note, &w.Wall, &w.signer)
	w.Size = uint64(size)
	copy(w.Root[:], root)
	return w, err
}

const witnessColumns = `size, root, note, wall, signer`

// Witnessed returns the largest checkpoint that was witnessed of an epoch, nil
// if none was.
func (b *Batch) Witnessed(gateway string, epoch wire.Epoch) (*Witness, error) {
	all, err := rowsOf(b.ctx, b.tx, scanWitness, `SELECT `+witnessColumns+` FROM witness WHERE gateway = ? AND epoch = ? ORDER BY size DESC LIMIT 1`, gateway, epoch[:])
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// WitnessedRoot returns the root that was witnessed of a size, nil if none is kept.
func (b *Batch) WitnessedRoot(gateway string, epoch wire.Epoch, size uint64) (*merkle.Hash, error) {
	all, err := rowsOf(b.ctx, b.tx, scanWitness, `SELECT `+witnessColumns+` FROM witness WHERE gateway = ? AND epoch = ? AND size = ?`, gateway, epoch[:], int64(size))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0].Root, nil
}

// Witness cosigns a checkpoint and stores it. Its signature was checked.
func (b *Batch) Witness(gateway string, epoch wire.Epoch, w *Witness) error {
	var err error
	if w.Note, err = b.Cosigner.Sign(w.Note); err != nil {
		return err
	}
	if _, err := b.exec(`INSERT INTO witness (gateway, epoch, `+witnessColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (gateway, epoch, size) DO NOTHING`,
		gateway, epoch[:], int64(w.Size), w.Root[:], w.Note, b.wall, []byte(b.Cosigner.Key)); err != nil {
		return err
	}
	_, err = b.exec(`DELETE FROM witness WHERE gateway = ? AND epoch = ? AND size <=
		(SELECT size FROM witness WHERE gateway = ? AND epoch = ? ORDER BY size DESC LIMIT 1 OFFSET ?)`, gateway, epoch[:], gateway, epoch[:], MaxWitness)
	return err
}

// current returns the largest checkpoint that was witnessed of an epoch with
// the signature of the key of today: what was seen stays seen when a receiver's
// key is replaced.
func (b *Batch) current(gateway string, epoch wire.Epoch) (*Witness, error) {
	w, err := b.Witnessed(gateway, epoch)
	if err != nil || w == nil || bytes.Equal(w.signer, b.Cosigner.Key) {
		return w, err
	}
	if w.Note, err = b.Cosigner.Sign(w.Note); err != nil {
		return nil, nil // the stored note is damaged: verify says so
	}
	_, err = b.exec(`UPDATE witness SET note = ?, signer = ? WHERE gateway = ? AND epoch = ? AND size = ?`, w.Note, []byte(b.Cosigner.Key), gateway, epoch[:], int64(w.Size))
	return w, err
}

// Log enters why the newest checkpoint of an epoch is not witnessed, for its
// receipt; "" that it is.
func (b *Batch) Log(gateway string, epoch wire.Epoch, code string) {
	b.touch(gateway, epoch)
	b.logs[epochName{gateway, epoch}] = code
}
