package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The codes of an Error: why there is no connection. They are stable; words
// for people are made from them elsewhere.
const (
	CodeUnreachable = "unreachable" // no TCP connection
	CodeTLS         = "tls"         // our own certificates cannot be used, or TLS failed in another way
	CodeUntrusted   = "untrusted"   // the broker's certificate is of an authority that we do not believe
	CodeName        = "name"        // the broker's certificate is for another name
	CodeExpired     = "expired"     // the broker's certificate has run out, or is not valid yet
	CodeCertificate = "certificate" // the broker refused our certificate, or wants one; or hung up where it would
	CodeVersion     = "tls-version" // the broker speaks no TLS that we may speak
	CodePassword    = "password"    // the broker knows no such user with this password
	CodeNotAllowed  = "not-allowed" // the broker knows us, and does not let us in
	CodeBusy        = "busy"        // the broker is not available
	CodeSubscribe   = "subscribe"   // the broker refused a subscription
	CodeOwn         = "own"         // our own password, certificate or key cannot be read
	CodeHost        = "host"        // the primary host of Sparkplug is not online
	CodeRefused     = "refused"     // the broker refused in another way
)

// Error says in one word why a connection was not made or ended.
type Error struct {
	Code string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the code of an error, "" if it has none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return CodePassword
	case errors.Is(err, packets.ErrorRefusedNotAuthorised), errors.Is(err, packets.ErrorRefusedIDRejected):
		return CodeNotAllowed
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return CodeBusy
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return CodeRefused
	}
	if code := tlsCode(err); code != CodeTLS {
		return code
	}
	return ""
}

// afterHandshake gives a code to the end of a connection between the handshake
// and the broker's answer. In TLS 1.3 a client's certificate is looked at only
// then, and where the broker hangs up before we have written, its alert is lost.
func afterHandshake(err error) error {
	cut := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
	if cut && Code(err) == "" {
		return &Error{CodeCertificate, err}
	}
	return err
}

// tlsCode says why a handshake failed.
func tlsCode(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	switch {
	case errors.As(err, &name):
		return CodeName
	case errors.As(err, &unknown):
		return CodeUntrusted
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return CodeExpired
		}
		return CodeUntrusted
	case errors.As(err, &op) && op.Op == "remote error":
		return alertCode(op.Err.Error())
	}
	return CodeTLS
}

// alertCode reads the alert that the broker ended a handshake with (RFC 8446,
// section 6.2). The library tells alerts of others apart by their words only.
func alertCode(text string) string {
	for code, alerts := range map[string][]tls.AlertError{
		// bad, unsupported, revoked, expired, unknown certificate; unknown_ca, access_denied, certificate_required
		CodeCertificate: {42, 43, 44, 45, 46, 48, 49, 116},
		CodeVersion:     {40, 70}, // handshake_failure, protocol_version
	} {
		for _, a := range alerts {
			if text == a.Error() {
				return code
			}
		}
	}
	return CodeTLS
}
