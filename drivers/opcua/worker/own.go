package worker

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Identity is a certificate with its key.
type Identity struct {
	DER []byte
	Key *rsa.PrivateKey
	URI string // its application URI
}

// ownFile holds our certificate and key, PEM, in one file, so that no half of
// it can be there alone.
const ownFile = "own.pem"

// Own returns the certificate with which every OPC UA link of this gateway
// presents itself, kept under dir/opcua. The first call makes it, valid for
// twenty years, from 2020 where the clock says an earlier day. A file that is
// there and cannot be used is an error: a new certificate would be a stranger to
// every server that trusts the old one, so only a person may remove it.
//
// uri is its application URI; "" leaves it as it is, or "urn:davy:" and the host
// name. There is one certificate for all links, so a site that wants another
// name for one of them is told.
func Own(dir, uri string) (id *Identity, made bool, err error) {
	if dir == "" {
		return nil, false, errors.New("own certificate: no directory to keep it in")
	}
	dir = filepath.Join(dir, "opcua")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("own certificate: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("own certificate: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // several links, several processes, one certificate
		return nil, false, fmt.Errorf("own certificate: lock: %w", err)
	}
	name := filepath.Join(dir, ownFile)
	raw, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if raw, err = makeOwn(uri); err == nil {
			err = keep(name, raw)
		}
		made = true
	case err == nil:
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, false, fmt.Errorf("own certificate %s: readable by others (mode %v): its key must be taken for known; remove it, and let the servers trust the new one", name, info.Mode().Perm())
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("own certificate: %w", err)
	}
	if id, err = parseIdentity(raw); err != nil {
		return nil, false, fmt.Errorf("own certificate %s: %w; restore it, or remove it and let the servers trust the new one", name, err)
	}
	if uri != "" && id.URI != uri {
		return nil, false, fmt.Errorf("own certificate %s is made for %s and the site says %s: leave application_uri out, or remove the file and let the servers trust the new one", name, id.URI, uri)
	}
	return id, made, nil
}

// userIdentity joins the certificate of a login, DER, with its key, PEM.
func userIdentity(der []byte, key string) (*Identity, error) {
	id, err := parseIdentity(append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key...))
	if err != nil {
		return nil, fmt.Errorf("user certificate: %w", err)
	}
	return id, nil
}

// parseIdentity reads a certificate and its key from PEM.
func parseIdentity(raw []byte) (*Identity, error) {
	id := &Identity{}
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			if id.DER == nil {
				id.DER = slices.Clip(block.Bytes)
			}
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("the key cannot be read")
			}
			id.Key, _ = key.(*rsa.PrivateKey)
		case "RSA PRIVATE KEY":
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("the key cannot be read")
			}
			id.Key = key
		}
	}
	cert, err := x509.ParseCertificate(id.DER)
	if err != nil || id.Key == nil {
		return nil, errors.New("not a certificate with an RSA key, PEM")
	}
	if pub, ok := cert.PublicKey.(*rsa.PublicKey); !ok || !pub.Equal(&id.Key.PublicKey) {
		return nil, errors.New("its key belongs to another certificate")
	}
	if err := id.Key.Validate(); err != nil {
		return nil, errors.New("the key is damaged")
	}
	if len(cert.URIs) > 0 {
		id.URI = cert.URIs[0].String()
	}
	return id, nil
}

// makeOwn makes a certificate and its key.
func makeOwn(name string) ([]byte, error) {
	host, err := os.Hostname()
	if host = hostWord(host); err != nil || host == "" {
		host = "gateway"
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	uri := &url.URL{Scheme: "urn", Opaque: "davy:" + host}
	if name != "" {
		if uri, err = url.Parse(name); err != nil {
			return nil, err
		}
	}
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if now := time.Now(); now.After(from) {
		from = now.Add(-24 * time.Hour)
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "davy " + host, Organization: []string{"davy"}},
		NotBefore:             from,
		NotAfter:              from.AddDate(20, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri},
		DNSNames:              []string{host},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// hostWord makes of a host name what may stand in a URN and a DNS name.
func hostWord(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, s)
}

// keep writes a file so that it is there whole or not at all, also after a power cut.
func keep(name string, raw []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".own-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
