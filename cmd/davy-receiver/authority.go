package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/evidence"
	"davy/agent/i18n"
	"davy/agent/wire"
)

// The authority is a key that is kept offline. Gateways know it, and it says
// which keys receivers have: a receiver's key is replaced without a visit.
const (
	keyForm      = "ed25519:"
	pemType      = "DAVY RECEIVER CERTIFICATE"
	registerName = ".register"              // beside the authority's key: a line of JSON per certificate
	certName     = "key.cert"               // in the directory of the database
	validFor     = 2 * 365 * 24 * time.Hour // of a certificate without --until
	maxCert      = 64 << 10                 // bytes of a file above which it is no certificate, or no register of a thousand
	maxRegister  = 16 << 20
	soon         = 30 * 24 * time.Hour // before its end a certificate is warned of, at start and each day
	backdated    = 24 * time.Hour      // that a certificate begins before now: the authority's machine is offline, its clock set by hand
)

// issued is a line of the register.
type issued struct {
	Number uint64 `json:"number"`
	Least  uint64 `json:"least"`
	Key    string `json:"key"`
	Name   string `json:"name"`
	From   string `json:"from"`
	Until  string `json:"until"`
}

// authority makes the authority's key, or a certificate with it.
func authority(_ context.Context, c *cli.Call) error {
	switch {
	case c.Args[0] == "init" && len(c.Args) == 2:
		return initAuthority(c)
	case c.Args[0] == "certify" && len(c.Args) == 3:
		return certify(c)
	}
	return cli.Usage("cli.arguments", i18n.Args{"command": "davy-receiver authority", "args": i18n.Key("davy-receiver.authority.args")})
}

func initAuthority(c *cli.Call) error {
	path := c.Args[1]
	key, err := makeKey(path)
	if errors.Is(err, fs.ErrExist) {
		return &cli.Error{Exit: cli.Failed, Key: "davy-receiver.authority-there", Args: i18n.Args{"file": path}, Hint: "davy-receiver.authority-there.hint"}
	}
	if err != nil {
		return err
	}
	if err := appendSync(path+registerName, nil); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"key": publicKey(key), "file": path})
	}
	c.Say("davy-receiver.authority-made", i18n.Args{"file": path, "register": path + registerName, "key": publicKey(key)})
	return nil
}

// certify signs that a key is a receiver's.
func certify(c *cli.Call) error {
	path, receiver := c.Args[1], parseKey(c.Args[2])
	if receiver == nil {
		return cli.Usage("davy-receiver.bad-key", i18n.Args{"value": c.Args[2]})
	}
	if c.Flag("name") == "" {
		return cli.Usage("cli.flag-needs", i18n.Args{"flag": "--name", "value": "NAME"})
	}
	now := time.Now()
	until := now.Add(validFor)
	if s := c.Flag("until"); s != "" {
		t, err := time.ParseInLocation(time.DateOnly, s, time.Local)
		if err != nil || !t.After(now) {
			return cli.Usage("davy-receiver.bad-until", i18n.Args{"value": s})
		}
		until = t
	}
	key, err := evidence.LoadKey(path)
	if err != nil {
		return err
	}
	last, err := lastIssued(path + registerName)
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Error{Exit: cli.Failed, Key: "davy-receiver.no-register", Args: i18n.Args{"file": path + registerName}, Hint: "davy-receiver.no-register.hint"}
	}
	if err != nil {
		return err
	}
	cert := &wire.Certificate{Key: receiver, Name: c.Flag("name"), NotBefore: now.Add(-backdated).UnixNano(), NotAfter: until.UnixNano(), Number: last.Number + 1, Least: last.Least}
	if s := c.Flag("least"); s != "" {
		if cert.Least, err = strconv.ParseUint(s, 10, 63); err != nil || cert.Least > cert.Number || cert.Least < last.Least {
			return cli.Usage("davy-receiver.bad-least", i18n.Args{"value": s, "from": last.Least, "to": cert.Number})
		}
	}
	line, err := json.Marshal(issued{
		cert.Number, cert.Least, keyForm + base64.StdEncoding.EncodeToString(receiver), cert.Name, now.Add(-backdated).Format(time.RFC3339), until.Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	// The number is on the disk before anybody has a certificate of it.
	if err := appendSync(path+registerName, append(line, '\n')); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: evidence.SignCertificate(cert, key)})
	out := c.Flag("out")
	if out != "" {
		if err := os.WriteFile(out, text, 0o644); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"number": cert.Number, "least": cert.Least, "name": cert.Name, "until": cert.NotAfter, "authority": publicKey(key), "certificate": string(text)})
	}
	if out == "" {
		_, err := c.Out.Write(text)
		return err
	}
	c.Say("davy-receiver.certified", i18n.Args{"number": cert.Number, "least": cert.Least, "name": cert.Name, "until": when(cert.NotAfter), "file": out})
	return nil
}

// parseKey reads a public key as a site file has it; nil if it is none.
func parseKey(s string) ed25519.PublicKey {
	text, ok := strings.CutPrefix(s, keyForm)
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != ed25519.PublicKeySize {
		return nil
	}
	return b
}

// lastIssued returns the last line of the register.
func lastIssued(path string) (last issued, err error) {
	b, err := readSmall(path, maxRegister)
	if err != nil {
		return last, err
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		was := last
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil || last.Number <= was.Number || last.Least < was.Least {
			return last, &cli.Error{
				Exit: cli.Failed, Key: "davy-receiver.bad-register", Args: i18n.Args{"file": path, "line": n}, Hint: "davy-receiver.bad-register.hint",
				Cause: errors.Join(err, wire.ErrMalformed),
			}
		}
	}
	return last, lines.Err()
}

// readSmall reads a file of at most so many bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes, more than %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

// appendSync appends to a file, made for its owner only, and to the disk.
func appendSync(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// loadCertificate reads the certificate of the receiver's key, as it goes into
// every receipt; nil where there is none. Whose it is nobody here can say: the
// gateways know the authority.
func loadCertificate(c *cli.Call, key ed25519.PrivateKey, log *slog.Logger) ([]byte, error) {
	path := c.Flag("key-cert")
	given := path != ""
	if !given {
		path = filepath.Join(c.Flag("db"), certName)
	}
	text, err := readSmall(path, maxCert)
	if !given && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	wrong := func(why string) error {
		return &cli.Error{Exit: cli.Wrong, Key: "davy-receiver.bad-certificate." + why, Args: i18n.Args{"file": path}, Hint: "davy-receiver.bad-certificate.hint"}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, wrong("form")
	}
	signed, err := wire.DecodeSigned(block.Bytes)
	if err != nil {
		return nil, wrong("form")
	}
	now := time.Now()
	cert, err := evidence.CheckCertificate(block.Bytes, signed.Key, key.Public().(ed25519.PublicKey), evidence.Moment{Wall: now.UnixNano(), Trusted: true}, 0)
	var refused *evidence.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Code == "key":
		return nil, wrong("key")
	case errors.As(err, &refused) && refused.Code == "expired":
		return nil, wrong("expired")
	case errors.As(err, &refused) && refused.Code == "early":
		log.Warn("certificate of the receiver's key is not valid yet: is the clock right?", "file", path)
	case err != nil:
		return nil, wrong("form")
	default:
		log.Info("certificate of the receiver's key", "number", cert.Number, "name", cert.Name, "until", time.Unix(0, cert.NotAfter))
	}
	return block.Bytes, nil
}

// warnOfEnd says at once and each day, until ctx ends, that a certificate ends
// soon or is over: a receiver may run for longer than its certificate.
func warnOfEnd(ctx context.Context, log *slog.Logger, certificate []byte) {
	signed, err := wire.DecodeSigned(certificate)
	if err != nil {
		return // cannot be: it was read
	}
	cert, err := wire.DecodeCertificate(signed.Body)
	if err != nil {
		return // likewise
	}
	until := time.Unix(0, cert.NotAfter)
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		switch left := time.Until(until); {
		case left <= 0:
			log.Error("certificate of the receiver's key is over: gateways do not believe receipts, and keep their records", "until", until)
		case left < soon:
			log.Warn("certificate of the receiver's key ends soon: gateways will not believe receipts after it", "until", until)
		}
		select {
		case <-ctx.Done():
			return
		case <-day.C:
		}
	}
}
