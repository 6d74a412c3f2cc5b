package worker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uasc"

	"davy/drivers/opcua"
)

// The limits of one session.
const (
	channelLife = time.Hour // of its keys, asked of the server; the library renews them at three quarters
	// A server ends a session that says nothing for so long; a child that was
	// killed leaves one behind, and a PLC has five.
	sessionLife = 60 * time.Second
	farewell    = 2 * time.Second // for all of closing a session
	maxNonce    = 128
	maxOffers   = 100 // endpoints of a server that are looked at
)

// failure is why there is no session, or why it ended.
type failure struct {
	Code string // opcua.CodeConnect …
	Err  error
}

func (f *failure) Error() string { return f.Err.Error() }
func (f *failure) Unwrap() error { return f.Err }

// fail wraps an error with what it means for the link.
func fail(code string, err error) error {
	var u *untrusted
	var f *failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &u):
		return &failure{opcua.CodeUntrusted, err}
	case errors.As(err, &f):
		return err
	}
	return &failure{code, err}
}

// site is what a session is made of.
type site struct {
	target       string // as configured; the server's own idea of its address is not used
	addr         string // host:port
	host         string // of addr
	policy       policy
	mode         ua.MessageSecurityMode
	trust        Trust
	login        opcua.Login
	user, secret string
	userKey      *Identity
	own          *Identity // nil without security
	uri          string    // our application URI
	name         string    // of the link
	dir          string
	timeout      time.Duration
	life         time.Duration // of a channel's keys; 0: channelLife
	opened       *atomic.Uint64
	now          func() time.Time
	clockTrusted func() bool
	log          *slog.Logger
}

// address splits "opc.tcp://host:port/path".
func address(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "opc.tcp" || u.Hostname() == "" {
		return "", fmt.Errorf("target %q is not opc.tcp://host:port", target)
	}
	port := u.Port()
	if port == "" {
		port = "4840"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// channel is a secure channel through a gate. A new one is made for every
// attempt: the library's objects cannot be used twice.
type channel struct {
	gate    *gate
	sc      *uasc.SecureChannel
	conn    *uacp.Conn
	cfg     *uasc.Config
	token   *ua.NodeID // of the session; nil before
	timeout time.Duration
	calls   sync.WaitGroup // that the library has not ended yet, see callFor
}

// open connects, shakes hands and opens a secure channel. pinned is the
// certificate that the server must show; nil without security.
func (s *site) open(ctx context.Context, p policy, mode ua.MessageSecurityMode, pinned []byte) (c *channel, err error) {
	want := expect{policy: p, encrypt: mode == ua.MessageSecurityModeSignAndEncrypt}
	cfg := &uasc.Config{
		SecurityPolicyURI: p.URI, SecurityMode: mode,
		Lifetime: uint32(cmp.Or(s.life, channelLife) / time.Millisecond), RequestTimeout: s.timeout,
	}
	if pinned != nil {
		want.server, want.own, want.ownKeyLen = pinned, s.own.DER, s.own.Key.Size()
		cfg.Certificate, cfg.LocalKey = slices.Clip(s.own.DER), s.own.Key
		cfg.RemoteCertificate = bytes.Clone(pinned)
		sum := sha1.Sum(pinned)
		cfg.Thumbprint = sum[:]
		if s.userKey != nil {
			cfg.UserKey = s.userKey.Key
		}
	}
	gate, library, err := openGate(ctx, s.addr, want, s.opened)
	if err != nil {
		return nil, fail(opcua.CodeConnect, err)
	}
	c = &channel{gate: gate, cfg: cfg, timeout: s.timeout}
	defer func() {
		if r := recover(); r != nil {
			err = fail(opcua.CodeInternal, fmt.Errorf("open channel: panic: %v", r))
		}
		if err != nil {
			if why := gate.why(); why != nil {
				err = fail(opcua.CodeConnect, why)
			}
			c.close(ctx)
			c = nil
		}
	}()
	// The channel's cancellation reaches the library through the connection.
	stop := context.AfterFunc(ctx, func() { gate.shut(context.Cause(ctx)) })
	defer stop()
	c.conn, err = uacp.NewConn(library, &uacp.Acknowledge{
		ReceiveBufSize: maxChunk, SendBufSize: maxChunk, MaxMessageSize: maxMessage, MaxChunkCount: maxChunks,
	})
	if err != nil {
		library.Close()
		return c, fail(opcua.CodeConnect, err)
	}
	if err := c.conn.Handshake(ctx, s.target); err != nil {
		return c, fail(opcua.CodeConnect, fmt.Errorf("hello: %w", err))
	}
	if c.sc, err = uasc.NewSecureChannel(s.target, c.conn, cfg, make(chan error, 1)); err != nil {
		return c, fail(opcua.CodeInternal, err)
	}
	if err := c.sc.Open(ctx); err != nil {
		return c, fail(opcua.CodeConnect, fmt.Errorf("open channel: %w", err))
	}
	// The gate compared this on the wire; a library that found another way is seen here.
	if pinned != nil && (!bytes.Equal(leafOf(cfg.RemoteCertificate), pinned) || cfg.SecurityPolicyURI != p.URI) || cfg.SecurityMode != mode {
		return c, &failure{opcua.CodeUntrusted, &untrusted{Why: "changed", Detail: "the channel is not the one that was asked for"}}
	}
	return c, nil
}

// close ends the session, the channel and the connection, best effort and
// within farewell, and waits for the gate and for calls that were left. No new
// call may begin meanwhile.
func (c *channel) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.gate.shut(nil) })
	defer stop()
	func() {
		defer func() { _ = recover() }() // of the library's; what matters is that the connection closes
		if c.token != nil && c.gate.why() == nil {
			_, _ = c.call(ctx, &ua.CloseSessionRequest{DeleteSubscriptions: true})
		}
		if c.sc != nil {
			_ = c.sc.Close()
		}
	}()
	if c.conn != nil {
		_ = c.conn.Close()
	} else {
		c.gate.shut(nil)
	}
	c.gate.wait.Wait()
	c.calls.Wait() // without a connection the library ends them
}

// call sends a request and waits for its answer. An error is a status code of
// the server (ua.StatusCode) or says that there was no answer.
func (c *channel) call(ctx context.Context, req ua.Request) (ua.Response, error) {
	return c.callFor(ctx, req, c.timeout)
}

// callFor is call with a time of its own.
func (c *channel) callFor(ctx context.Context, req ua.Request, timeout time.Duration) (ua.Response, error) {
	return c.callUntil(ctx, req, timeout, func() {})
}

// callUntil is callFor that says when the library is done with the request,
// which may be later than it returns. The library never sees ctx: it numbers a
// message first and looks at its context then, so that a request given up in
// between leaves a hole in the numbers, and the server ends the connection at the
// next message. A call that is given up is left to the library; it may yet be sent
// (while keys are renewed all wait), and ends a little after timeout or with the
// connection.
func (c *channel) callUntil(ctx context.Context, req ua.Request, timeout time.Duration, ended func()) (ua.Response, error) {
	if err := ctx.Err(); err != nil {
		ended()
		return nil, err
	}
	type answer struct {
		ua.Response
		error
	}
	done := make(chan answer, 1)
	c.calls.Go(func() {
		defer ended()
		res, err := c.send(context.WithoutCancel(ctx), req, timeout)
		done <- answer{res, err}
	})
	select {
	case a := <-done:
		return a.Response, a.error
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send sends a request and waits for its answer, without a way to end it sooner.
func (c *channel) send(ctx context.Context, req ua.Request, timeout time.Duration) (res ua.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			res, err = nil, fail(opcua.CodeInternal, fmt.Errorf("%T: panic: %v", req, r))
		}
	}()
	err = c.sc.SendRequestWithTimeout(ctx, req, c.token, timeout, func(v ua.Response) error {
		if res = v; v == nil {
			return errors.New("an answer that is none")
		}
		return nil
	})
	if err == nil && res.Header().ServiceResult != ua.StatusOK {
		err = res.Header().ServiceResult
	}
	// The library goes by the number of the message alone. A server that mixes up
	// its own answers says so here; one that says 0 says nothing.
	if err == nil && res.Header().RequestHandle != 0 && res.Header().RequestHandle != req.Header().RequestHandle {
		err = fmt.Errorf("%T: the server answered request %d with the answer to request %d", req, req.Header().RequestHandle, res.Header().RequestHandle)
	}
	if err != nil {
		if why := c.gate.why(); why != nil && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)) {
			err = why
		}
		return nil, err
	}
	return res, nil
}

// call is a typed call.
func call[T ua.Response](ctx context.Context, c *channel, req ua.Request) (T, error) {
	var none T
	res, err := c.call(ctx, req)
	if err != nil {
		return none, err
	}
	t, ok := res.(T)
	if !ok {
		return none, fmt.Errorf("the server answered a %T with a %T", req, res)
	}
	return t, nil
}

// endpoints asks the server, without security, how it may be spoken to.
func (s *site) endpoints(ctx context.Context) ([]*ua.EndpointDescription, error) {
	none, _ := policyOf("None")
	c, err := s.open(ctx, none, ua.MessageSecurityModeNone, nil)
	if err != nil {
		return nil, err
	}
	defer c.close(ctx)
	res, err := call[*ua.GetEndpointsResponse](ctx, c, &ua.GetEndpointsRequest{EndpointURL: s.target})
	if err != nil {
		return nil, fail(opcua.CodeConnect, fmt.Errorf("get endpoints: %w", err))
	}
	return res.Endpoints[:min(len(res.Endpoints), maxOffers)], nil
}

// choose takes exactly the configured policy and mode, or nothing.
func (s *site) choose(offers []*ua.EndpointDescription) (*ua.EndpointDescription, error) {
	var said []string
	for _, e := range offers {
		if e.SecurityPolicyURI == s.policy.URI && e.SecurityMode == s.mode && (e.TransportProfileURI == "" || strings.HasSuffix(e.TransportProfileURI, "/uatcp-uasc-uabinary")) {
			return e, nil
		}
		p, _ := policyOf(e.SecurityPolicyURI)
		said = append(said, strings.TrimSpace(p.Name+" "+strings.TrimPrefix(e.SecurityMode.String(), "MessageSecurityMode")))
	}
	return nil, &failure{opcua.CodePolicy, fmt.Errorf("the server does not offer %s %s; it offers %s",
		s.policy.Name, strings.TrimPrefix(s.mode.String(), "MessageSecurityMode"), strings.Join(said, ", "))}
}

// token finds the way of logging in that the site wants among those of an endpoint.
func (s *site) token(e *ua.EndpointDescription) (*ua.UserTokenPolicy, error) {
	kind := ua.UserTokenTypeAnonymous
	switch s.login.Kind {
	case opcua.Password:
		if s.mode != ua.MessageSecurityModeSignAndEncrypt || s.policy.Signature == 0 {
			return nil, &failure{opcua.CodeLogin, errors.New("a password is sent over sign-and-encrypt only")}
		}
		kind = ua.UserTokenTypeUserName
	case opcua.Certificate:
		if s.policy.Signature == 0 || s.userKey == nil {
			return nil, &failure{opcua.CodeLogin, errors.New("a user certificate needs a security policy and its key")}
		}
		kind = ua.UserTokenTypeCertificate
	}
	for _, t := range e.UserIdentityTokens {
		if t.TokenType != kind {
			continue
		}
		p := s.policy
		if t.SecurityPolicyURI != "" {
			var known bool
			if p, known = policyOf(t.SecurityPolicyURI); !known || p.Legacy && !s.trust.Legacy {
				continue
			}
		}
		if kind == ua.UserTokenTypeCertificate && p.Signature == 0 {
			continue
		}
		return t, nil
	}
	return nil, &failure{opcua.CodeLogin, fmt.Errorf("the server offers no login of this kind (%s) with this policy", strings.TrimPrefix(kind.String(), "UserTokenType"))}
}

// connect makes a session: endpoints, trust, channel, session, login. Whatever
// fails, nothing of it stays open.
func (s *site) connect(ctx context.Context) (*channel, error) {
	offers, err := s.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	e, err := s.choose(offers)
	if err != nil {
		return nil, err
	}
	token, err := s.token(e)
	if err != nil {
		return nil, err
	}
	var pinned []byte
	if s.policy.Signature > 0 {
		uri := ""
		if e.Server != nil {
			uri = e.Server.ApplicationURI
		}
		if pinned, err = s.trust.check(e.ServerCertificate, uri, s.host, s.policy, s.now(), s.clockTrusted()); err != nil {
			return nil, fail(opcua.CodeUntrusted, err)
		}
	}
	c, err := s.open(ctx, s.policy, s.mode, pinned)
	if err != nil {
		return nil, err
	}
	if err := s.enter(ctx, c, token, pinned); err != nil {
		c.close(ctx)
		return nil, err
	}
	return c, nil
}

// enter creates and activates the session on an open channel.
func (s *site) enter(ctx context.Context, c *channel, token *ua.UserTokenPolicy, pinned []byte) error {
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return fail(opcua.CodeInternal, err)
	}
	created, err := call[*ua.CreateSessionResponse](ctx, c, &ua.CreateSessionRequest{
		ClientDescription: &ua.ApplicationDescription{
			ApplicationURI: s.uri, ProductURI: "urn:davy", ApplicationName: ua.NewLocalizedText("Davy"), ApplicationType: ua.ApplicationTypeClient,
		},
		EndpointURL:             s.target,
		SessionName:             "davy " + s.name,
		ClientNonce:             nonce,
		ClientCertificate:       c.cfg.Certificate,
		RequestedSessionTimeout: float64(sessionLife / time.Millisecond),
		MaxResponseMessageSize:  maxMessage,
	})
	if err != nil {
		return fail(opcua.CodeSession, fmt.Errorf("create session: %w", err))
	}
	c.token = created.AuthenticationToken
	certificate, serverNonce := bytes.Clone(created.ServerCertificate), bytes.Clone(created.ServerNonce)
	if pinned != nil {
		// Compared before anything secret is sent: the library would encrypt the
		// password for whatever certificate stands in this answer.
		if got := leafOf(certificate); !bytes.Equal(got, pinned) {
			return &failure{opcua.CodeUntrusted, &untrusted{Why: "changed", Fingerprint: fingerprint(got), DER: got, Detail: "the certificate of the session is not the one of the channel"}}
		}
		if created.ServerSignature == nil {
			return &failure{opcua.CodeUntrusted, &untrusted{Why: "signature", Detail: "the server did not sign the session"}}
		}
		if err := c.sc.VerifySessionSignature(pinned, nonce, created.ServerSignature.Signature); err != nil {
			return &failure{opcua.CodeUntrusted, &untrusted{Why: "signature", Fingerprint: fingerprint(pinned), Detail: "the server does not hold the key of its certificate"}}
		}
		if len(serverNonce) < 32 || len(serverNonce) > maxNonce {
			return &failure{opcua.CodeSession, fmt.Errorf("the server's nonce has %d bytes, the standard wants 32", len(serverNonce))}
		}
		if err := s.confirm(created.ServerEndpoints, token, pinned); err != nil {
			return err
		}
	}
	signature, algorithm, err := c.sc.NewSessionSignature(slices.Clip(certificate), serverNonce)
	if err != nil {
		return fail(opcua.CodeInternal, fmt.Errorf("sign session: %w", err))
	}
	req := &ua.ActivateSessionRequest{
		ClientSignature:    &ua.SignatureData{Algorithm: algorithm, Signature: signature},
		UserTokenSignature: &ua.SignatureData{},
	}
	switch s.login.Kind {
	case opcua.Password:
		secret, algorithm, err := c.sc.EncryptUserPassword(token.SecurityPolicyURI, s.secret, pinned, serverNonce)
		if err != nil {
			return fail(opcua.CodeLogin, fmt.Errorf("encrypt password: %w", err))
		}
		req.UserIdentityToken = ua.NewExtensionObject(&ua.UserNameIdentityToken{PolicyID: token.PolicyID, UserName: s.user, Password: secret, EncryptionAlgorithm: algorithm})
	case opcua.Certificate:
		signature, algorithm, err := c.sc.NewUserTokenSignature(token.SecurityPolicyURI, slices.Clip(certificate), serverNonce)
		if err != nil {
			return fail(opcua.CodeLogin, fmt.Errorf("sign login: %w", err))
		}
		req.UserIdentityToken = ua.NewExtensionObject(&ua.X509IdentityToken{PolicyID: token.PolicyID, CertificateData: s.userKey.DER})
		req.UserTokenSignature = &ua.SignatureData{Algorithm: algorithm, Signature: signature}
	default:
		req.UserIdentityToken = ua.NewExtensionObject(&ua.AnonymousIdentityToken{PolicyID: token.PolicyID})
	}
	if _, err := call[*ua.ActivateSessionResponse](ctx, c, req); err != nil {
		code := opcua.CodeSession
		var status ua.StatusCode
		if errors.As(err, &status) && (status == ua.StatusBadUserAccessDenied || status == ua.StatusBadIdentityTokenRejected || status == ua.StatusBadIdentityTokenInvalid || status == ua.StatusBadUserSignatureInvalid) {
			code = opcua.CodeLogin
		}
		return fail(code, fmt.Errorf("activate session: %w", err))
	}
	return nil
}

// confirm finds in the list that the server gave within the secure channel what
// it said without one: nobody on the way offered us a worse login.
func (s *site) confirm(offers []*ua.EndpointDescription, token *ua.UserTokenPolicy, pinned []byte) error {
	for _, e := range offers[:min(len(offers), maxOffers)] {
		if e.SecurityPolicyURI != s.policy.URI || e.SecurityMode != s.mode {
			continue
		}
		if len(e.ServerCertificate) > 0 && !bytes.Equal(leafOf(e.ServerCertificate), pinned) {
			continue
		}
		for _, t := range e.UserIdentityTokens {
			if t.PolicyID == token.PolicyID && t.TokenType == token.TokenType && t.SecurityPolicyURI == token.SecurityPolicyURI {
				return nil
			}
		}
	}
	return &failure{opcua.CodeUntrusted, &untrusted{Why: "endpoints", Fingerprint: fingerprint(pinned), Detail: "what the server offers within the channel is not what was announced without one"}}
}

// hexPrint is a fingerprint as messages carry it.
func hexPrint(f string) string { return strings.ToLower(strings.ReplaceAll(f, ":", "")) }
