package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"davy/agent"
	"davy/agent/cli"
	"davy/agent/clock"
	"davy/agent/evidence"
	"davy/agent/export"
	"davy/agent/i18n"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// exportEvidence writes an evidence file of the journal in the state directory.
func exportEvidence(c *cli.Call, r *journal.Reader) error {
	claim, keys, err := evidenceClaim(c)
	if err != nil {
		return err
	}
	g := &gathering{r: r, claim: claim}
	key, err := evidence.LoadKey(filepath.Join(keyDir(c.Flag("state")), evidence.KeyFile))
	if err == nil {
		now, trusted := clock.Now(), false
		trusted, _ = clock.Trusted()
		g.sign = func(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error) {
			p := &evidence.Checkpoint{Gateway: claim.Gateway, Epoch: id, Size: size, Root: root, At: now, Trusted: trusted}
			return p.Sign(key)
		}
		keys = append(keys, export.Key{Role: "device", Name: claim.Gateway, Key: key.Public().(ed25519.PublicKey)})
	}
	if err := writeEvidence(c, c.Flag("evidence"), g, keys, g.gather); err != nil {
		return err
	}
	if g.claim.From != claim.From {
		fmt.Fprintln(c.Err, c.Lang.Text("davy.evidence.from", i18n.Args{"from": time.Unix(0, g.claim.From).Format(time.RFC3339)}))
	}
	if g.sign == nil {
		fmt.Fprintln(c.Err, c.Lang.Text("davy.evidence.unsigned", i18n.Args{"keys": keyDir(c.Flag("state"))}))
	}
	return nil
}

// writeEvidence makes the file, which must not be there yet, and says what is
// in it. It is synced: it may be on a stick that is pulled out next.
func writeEvidence(c *cli.Call, path string, g *gathering, keys []export.Key, gather func() error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.evidence.exists", Args: i18n.Args{"path": path}}
	}
	if err != nil {
		return err
	}
	g.begin = func() { g.w = export.NewWriter(f, g.claim, keys) }
	err = gather()
	if err == nil {
		err = g.w.Close(g.lost)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		os.Remove(path)
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	args := i18n.Args{"path": path, "epochs": g.w.Epochs(), "records": g.records, "readings": g.readings, "bytes": info.Size(), "lost": len(g.lost)}
	if c.JSON {
		return encode(c, args)
	}
	c.Say("davy.evidence.written", args)
	return nil
}

// evidenceClaim is what was asked for, and the keys of receivers as the live
// site has them.
func evidenceClaim(c *cli.Call) (claim export.Claim, keys []export.Key, err error) {
	claim = export.Claim{Gateway: c.Flag("gateway"), Made: madeNow(), Maker: "davy " + version}
	zone := time.Local
	a, err := agent.LoadAccepted(c.Flag("state"), driverSet())
	if err == nil {
		if claim.Gateway == "" {
			claim.Gateway = a.Plan.Gateway.ID
		}
		if z, err := time.LoadLocation(a.Plan.Gateway.TimeZone); err == nil {
			zone = z
		}
		for _, u := range a.Plan.Uplinks {
			if len(u.ReceiverKey) > 0 {
				keys = append(keys, export.Key{Role: "receiver", Name: u.Name, Key: u.ReceiverKey})
			}
		}
	}
	more, err2 := certificates(c)
	if err2 != nil {
		return claim, nil, err2
	}
	keys = append(keys, more...)
	if claim.Gateway == "" {
		return claim, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.evidence.gateway", Cause: err}
	}
	if claim.From, err = siteTime(c, "from", zone); err != nil {
		return claim, nil, err
	}
	if claim.To, err = siteTime(c, "to", zone); err != nil {
		return claim, nil, err
	}
	if claim.From != 0 && claim.To != 0 && claim.To <= claim.From {
		return claim, nil, cli.Usage("davy.replay.backwards", i18n.Args{"from": c.Flag("from"), "to": c.Flag("to")})
	}
	for id := range listed(c.Flag("epoch")) {
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != len(wire.Epoch{}) {
			return claim, nil, cli.Usage("davy.evidence.epoch", i18n.Args{"value": id})
		}
		claim.Epochs = append(claim.Epochs, strings.ToLower(id))
	}
	for name := range listed(c.Flag("streams")) {
		if !slices.Contains(allStreams[:], name) {
			return claim, nil, cli.Usage("davy.evidence.stream", i18n.Args{"value": name, "streams": strings.Join(allStreams[:], ", ")})
		}
		claim.Streams = append(claim.Streams, name)
	}
	return claim, keys, nil
}

func madeNow() int64 { return clock.Now().Wall }

// certificateType is what a certificate's PEM says, as `davy-receiver authority` writes it.
const certificateType = "DAVY RECEIVER CERTIFICATE"

// certificates reads the certificates of receivers in the files of --certificate.
func certificates(c *cli.Call) (out []export.Key, err error) {
	for path := range listed(c.Flag("certificate")) {
		rest, err := os.ReadFile(path)
		if err != nil {
			return nil, &cli.Error{Exit: cli.Wrong, Key: "davy.verify.key-file", Args: i18n.Args{"flag": "--certificate", "value": path}, Cause: err}
		}
		n := len(out)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			s, err := wire.DecodeSigned(block.Bytes)
			if block.Type != certificateType || err != nil {
				continue
			}
			if cert, err := wire.DecodeCertificate(s.Body); err == nil {
				out = append(out, export.Key{Role: "receiver", Name: cert.Name, Key: cert.Key, Certificate: block.Bytes})
			}
		}
		if len(out) == n {
			return nil, cli.Usage("davy.verify.certificate", i18n.Args{"value": path})
		}
	}
	return out, nil
}

// listed gives the parts of a list with commas.
func listed(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one != "" && !yield(one) {
				return
			}
		}
	}
}

// publicKey reads a public key as `keys show` prints it, or the file that holds it.
func publicKey(c *cli.Call, flag string) (ed25519.PublicKey, error) {
	s := c.Flag(flag)
	if s == "" {
		return nil, nil
	}
	text := s
	if !strings.HasPrefix(s, "ed25519:") {
		b, err := os.ReadFile(s)
		if err != nil {
			return nil, &cli.Error{Exit: cli.Wrong, Key: "davy.verify.key-file", Args: i18n.Args{"flag": "--" + flag, "value": s}, Cause: err}
		}
		text = strings.TrimSpace(string(b))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(text, "ed25519:"))
	if err != nil || len(raw) != ed25519.PublicKeySize || !strings.HasPrefix(text, "ed25519:") {
		return nil, cli.Usage("davy.verify.key", i18n.Args{"flag": "--" + flag, "value": s})
	}
	return raw, nil
}
