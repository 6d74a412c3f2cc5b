package ingest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// Why a checkpoint is not witnessed, as it stands in receipts.
const (
	LogMalformed = "malformed" // no checkpoint, or one of another gateway or epoch
	LogSignature = "signature" // not signed by the gateway's enrolled key
	LogSmaller   = "smaller"   // than one that was witnessed
	LogFork      = "fork"      // of another log than the one that was witnessed
	LogProof     = "proof"     // it came without a proof from what was witnessed last
)

// witness cosigns the checkpoint of an envelope if the log only grew, and
// enters why not for the receipt. An error is one of the database.
//
// A proof from another size than the largest that was witnessed is no fork: a
// gateway learns of that size by the receipt, and may have sent before it came.
func (i *Ingest) witness(b *store.Batch, e *wire.Envelope, key ed25519.PublicKey) error {
	if len(e.Checkpoint) == 0 {
		return nil
	}
	c, err := evidence.ReadCheckpoint(e.Checkpoint)
	code := ""
	switch {
	case errors.Is(err, evidence.ErrSignature):
		code = LogSignature
	case err != nil, c.Gateway != e.Gateway, c.Epoch != e.Epoch, c.Size == 0, c.Size > store.MaxNumber:
		code = LogMalformed
	case !bytes.Equal(c.Key, key):
		code = LogSignature
	}
	if code == "" {
		code, err = i.grown(b, e, c)
		if err != nil {
			return fmt.Errorf("witness checkpoint: %w", err)
		}
	}
	b.Log(e.Gateway, e.Epoch, code)
	return nil
}

// begin opens a batch that cosigns with the receiver's key.
func (i *Ingest) begin(ctx context.Context) (*store.Batch, error) {
	b, err := i.o.Store.Begin(ctx, i.o.Now().UnixNano())
	if err != nil {
		return nil, err
	}
	b.Cosigner = store.Cosigner{
		Key:  i.o.Key.Public().(ed25519.PublicKey),
		Sign: func(note []byte) ([]byte, error) { return evidence.Cosign(note, i.o.Name, i.o.Key, b.Wall()) },
	}
	return b, nil
}

// grown holds a checkpoint of the gateway against those that were witnessed.
func (i *Ingest) grown(b *store.Batch, e *wire.Envelope, c *evidence.Checkpoint) (code string, err error) {
	was, err := b.Witnessed(e.Gateway, e.Epoch)
	if err != nil {
		return "", err
	}
	if was != nil && c.Size <= was.Size {
		root, err := b.WitnessedRoot(e.Gateway, e.Epoch, c.Size)
		switch {
		case err != nil:
			return "", err
		case root == nil:
			return LogSmaller, nil
		case *root == c.Root:
			return "", nil // it came again
		}
		return LogFork, b.Find(logFork(e, c.Size, c))
	}
	if was != nil {
		if e.Proof == nil || e.Proof.Size != was.Size {
			return LogProof, nil
		}
		proof := make([]merkle.Hash, len(e.Proof.Hashes))
		for n, h := range e.Proof.Hashes {
			proof[n] = merkle.Hash(h)
		}
		if (merkle.Tree{}).CheckGrowth(proof, int64(c.Size), c.Root, int64(was.Size), was.Root) != nil {
			return LogFork, b.Find(logFork(e, was.Size, c))
		}
	}
	return "", b.Witness(e.Gateway, e.Epoch, &store.Witness{Size: c.Size, Root: c.Root, Note: e.Checkpoint})
}

func logFork(e *wire.Envelope, witnessed uint64, c *evidence.Checkpoint) *store.Finding {
	return &store.Finding{Gateway: e.Gateway, Kind: store.LogFork, Epoch: e.Epoch, First: int64(witnessed), Last: int64(c.Size), Bytes: e.Checkpoint}
}
