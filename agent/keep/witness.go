package keep

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/uplink"
	"davy/agent/wire"
)

// sign makes the signer of the checkpoints, and returns what signs the last one
// of the epoch before. Without a key the journal opens all the same.
func (k *keeper) sign() func(wire.Epoch, uint64, merkle.Hash) ([]byte, error) {
	key, err := evidence.LoadOrCreateKey(filepath.Join(k.hello.StateDir, KeyDir))
	if err != nil {
		k.o.Log.Error("no checkpoints without the device's key", "error", err)
		return nil
	}
	k.signer = &uplink.Signer{
		Gateway: k.plan.Gateway.ID, Key: key, Now: k.o.Now,
		Trusted: func() bool { trusted, _ := k.o.Trusted(); return trusted },
	}
	return k.signer.Sign
}

// witnessOf says how far a destination's receiver has witnessed the record.
func witnessOf(w journal.WitnessLag, log string) ring.Witness {
	return ring.Witness{Asked: true, Wall: w.Wall, Blocks: w.Blocks, Records: w.Records, Oldest: w.Oldest, Refused: log}
}

// maxKnown is the length above which a file holds no uplink.Known.
const maxKnown = 4096

// knownPath is where that is kept of a destination's receiver which must not
// be forgotten.
func (k *keeper) knownPath(destination string) string {
	return filepath.Join(k.hello.StateDir, KeyDir, url.PathEscape(destination)+".receiver")
}

// known returns what keepKnown kept; a file that says nothing is an error in
// the log, and then older words of the receiver count once more.
func (k *keeper) known(destination string) (n uplink.Known) {
	path := k.knownPath(destination)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return n
	}
	if err == nil && info.Size() > maxKnown {
		err = errors.New("too long")
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		k.o.Log.Error("what was known of a receiver is lost", "destination", destination, "error", err)
		return uplink.Known{}
	}
	return n
}

// keepKnown makes it durable: it changes when an authority withdraws a key, or
// when a receiver was restored.
func (k *keeper) keepKnown(destination string, n uplink.Known) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := k.knownPath(destination)
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // or a power cut brings a withdrawn key back
}
