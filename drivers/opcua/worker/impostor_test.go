package worker

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uasc"

	"davy/drivers/opcua"
)

// impostor is a server that holds the trusted key and lies within its channel:
// what a thief of a key could do, or a server that is broken. lie changes what
// it answers to a CreateSession.
type impostor struct {
	target   string
	der      []byte
	key      *rsa.PrivateKey
	offer    func() *ua.EndpointDescription
	lie      func(*ua.CreateSessionResponse)
	entered  atomic.Int64 // sessions that somebody wanted to activate: what carries the password
	sessions atomic.Int64
}

func newImpostor(t *testing.T, der []byte, key *rsa.PrivateKey) *impostor {
	t.Helper()
	l, err := uacp.Listen(context.Background(), "opc.tcp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &impostor{target: "opc.tcp://" + l.Addr().String(), der: der, key: key}
	h.offer = func() *ua.EndpointDescription {
		return &ua.EndpointDescription{
			EndpointURL: h.target, SecurityPolicyURI: ua.SecurityPolicyURIBasic256Sha256, SecurityMode: ua.MessageSecurityModeSignAndEncrypt,
			Server:             &ua.ApplicationDescription{ApplicationURI: "urn:server", ApplicationName: ua.NewLocalizedText("x"), DiscoveryURLs: []string{}},
			ServerCertificate:  h.der,
			UserIdentityTokens: []*ua.UserTokenPolicy{{PolicyID: "user", TokenType: ua.UserTokenTypeUserName, SecurityPolicyURI: ua.SecurityPolicyURIBasic256Sha256}},
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for n := uint32(1); ctx.Err() == nil; n++ {
			c, err := l.Accept(ctx)
			if err != nil {
				continue
			}
			group.Go(func() { h.serve(ctx, c, n) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		group.Wait()
	})
	return h
}

func (h *impostor) serve(ctx context.Context, c *uacp.Conn, n uint32) {
	defer c.Close()
	cfg := &uasc.Config{SecurityPolicyURI: ua.SecurityPolicyURINone, SecurityMode: ua.MessageSecurityModeNone, Certificate: h.der, LocalKey: h.key}
	sc, err := uasc.NewServerSecureChannel("", c, cfg, make(chan error, 1), 100+n, 1, 200+n)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for {
		m := sc.Receive(ctx)
		if m.Err != nil {
			return
		}
		head := &ua.ResponseHeader{
			Timestamp: time.Now(), RequestHandle: m.RequestID, ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{}, AdditionalHeader: ua.NewExtensionObject(nil),
		}
		var res ua.Response
		switch req := m.Request().(type) {
		case *ua.GetEndpointsRequest:
			res = &ua.GetEndpointsResponse{ResponseHeader: head, Endpoints: []*ua.EndpointDescription{h.offer()}}
		case *ua.CreateSessionRequest:
			h.sessions.Add(1)
			signature, algorithm, err := sc.NewSessionSignature(req.ClientCertificate, req.ClientNonce)
			if err != nil {
				return
			}
			nonce := make([]byte, 32)
			_, _ = rand.Read(nonce)
			made := &ua.CreateSessionResponse{
				ResponseHeader: head, SessionID: ua.NewNumericNodeID(1, 1), AuthenticationToken: ua.NewNumericNodeID(0, 7),
				ServerSignature: &ua.SignatureData{Signature: signature, Algorithm: algorithm}, ServerCertificate: h.der, ServerNonce: nonce,
				ServerEndpoints: []*ua.EndpointDescription{h.offer()},
			}
			h.lie(made)
			res = made
		case *ua.ActivateSessionRequest:
			h.entered.Add(1)
			res = &ua.ActivateSessionResponse{ResponseHeader: head, ServerNonce: make([]byte, 32)}
		case *ua.CloseSessionRequest:
			return
		default: // the library has answered the opening
			continue
		}
		if sc.SendResponseWithContext(ctx, m.RequestID, res) != nil {
			return
		}
	}
}

// A server that has the key and says within its channel what does not fit what
// it said without one, or what proves nothing, gets no session and no password.
func TestImpostors(t *testing.T) {
	key, thief := rsaKey(t, 0), rsaKey(t, 1)
	now := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, other := selfSigned(t, key, now), selfSigned(t, thief, now)
	own := ownIdentity(t)
	basic, _ := policyOf("Basic256Sha256")
	f := func(name, code, why string, lie func(*ua.CreateSessionResponse)) {
		t.Run(name, func(t *testing.T) {
			h := newImpostor(t, der, key)
			h.lie = lie
			addr, err := address(h.target)
			if err != nil {
				t.Fatal(err)
			}
			s := &site{
				target: h.target, addr: addr, host: "127.0.0.1", policy: basic, mode: ua.MessageSecurityModeSignAndEncrypt,
				trust: Trust{Pins: []Pin{sha256.Sum256(der)}}, login: opcua.Login{Kind: opcua.Password}, user: "operator", secret: "pa:ss",
				own: own, uri: own.URI, name: "plc", timeout: 30 * time.Second, now: time.Now, clockTrusted: func() bool { return true }, log: slog.New(slog.DiscardHandler),
			}
			c, err := s.connect(t.Context())
			if err == nil {
				c.close(t.Context())
			}
			if h.sessions.Load() != 1 {
				t.Fatalf("%d sessions asked for: %v", h.sessions.Load(), err)
			}
			if why == "" {
				if err != nil || h.entered.Load() != 1 {
					t.Fatalf("an honest server is refused: %v", err)
				}
				return
			}
			var x *failure
			var u *untrusted
			if !errors.As(err, &x) || x.Code != code || code == opcua.CodeUntrusted && (!errors.As(err, &u) || u.Why != why) {
				t.Errorf("%v, want %s %q", err, code, why)
			}
			if n := h.entered.Load(); n != 0 {
				t.Errorf("the password was sent %d times", n)
			}
		})
	}
	f("honest", "", "", func(*ua.CreateSessionResponse) {})
	f("another certificate", opcua.CodeUntrusted, "changed", func(r *ua.CreateSessionResponse) { r.ServerCertificate = other })
	f("no certificate", opcua.CodeUntrusted, "changed", func(r *ua.CreateSessionResponse) { r.ServerCertificate = nil })
	f("no signature", opcua.CodeUntrusted, "signature", func(r *ua.CreateSessionResponse) { r.ServerSignature = &ua.SignatureData{} })
	f("a signature of something else", opcua.CodeUntrusted, "signature", func(r *ua.CreateSessionResponse) { r.ServerSignature.Signature[5] ^= 1 })
	f("a short nonce", opcua.CodeSession, "nonce", func(r *ua.CreateSessionResponse) { r.ServerNonce = r.ServerNonce[:8] })
	f("no nonce", opcua.CodeSession, "nonce", func(r *ua.CreateSessionResponse) { r.ServerNonce = nil })
	f("no endpoints", opcua.CodeUntrusted, "endpoints", func(r *ua.CreateSessionResponse) { r.ServerEndpoints = nil })
	f("a login in clear was announced", opcua.CodeUntrusted, "endpoints", func(r *ua.CreateSessionResponse) {
		r.ServerEndpoints[0].UserIdentityTokens[0].SecurityPolicyURI = ua.SecurityPolicyURIAes256Sha256RsaPss
	})
	f("a lesser mode", opcua.CodeUntrusted, "endpoints", func(r *ua.CreateSessionResponse) { r.ServerEndpoints[0].SecurityMode = ua.MessageSecurityModeSign })
	f("another server's endpoints", opcua.CodeUntrusted, "endpoints", func(r *ua.CreateSessionResponse) { r.ServerEndpoints[0].ServerCertificate = other })
}

// ownIdentity is a certificate of ours, without a directory.
func ownIdentity(t *testing.T) *Identity {
	t.Helper()
	key := rsaKey(t, 2)
	uri, _ := url.Parse("urn:davy:test")
	c := &x509.Certificate{
		SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "davy"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{uri}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{DER: der, Key: key, URI: uri.String()}
}
