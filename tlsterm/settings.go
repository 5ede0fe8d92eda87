package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// suites12 are what TLS 1.2 is spoken with: a key exchange with forward secrecy, and an AEAD. Those
// of TLS 1.3 are all of that kind. crypto/tls would still offer CBC.
var suites12 = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// newSettings is what handshakes go on with from the ClientHello on. clientCAs is nil unless
// clients show certificates.
//
// The ticket keys are not here: crypto/tls takes those of the Config that began the handshake, so
// that they outlive these settings.
func (l *Listener) newSettings(clientCAs *x509.CertPool) *tls.Config {
	cfg := &tls.Config{
		MinVersion:             l.cfg.MinVersion,
		CipherSuites:           suites12,
		CurvePreferences:       l.cfg.Curves,
		GetCertificate:         l.certificate,
		ClientAuth:             l.cfg.ClientAuth.mode(),
		ClientCAs:              clientCAs,
		SessionTicketsDisabled: l.cfg.NoTickets,
	}
	if !l.cfg.AnyProtocol {
		// A client that offers protocols and is given none of them is refused, and curl --http1.0
		// offers nothing but http/1.0.
		cfg.NextProtos = slices.Clone(l.cfg.Protocols)
	}
	return cfg
}

// challengeSettings are those for an ACME server with its question, which has no certificate to show
// and nothing to come back for. Its connection ends with the handshake.
func (l *Listener) challengeSettings() *tls.Config {
	return &tls.Config{
		MinVersion:             l.cfg.MinVersion,
		CipherSuites:           suites12,
		CurvePreferences:       l.cfg.Curves,
		GetCertificate:         l.cfg.ACME.challenge,
		NextProtos:             []string{challengeProtocol},
		SessionTicketsDisabled: true,
	}
}

// certificate is tls.Config.GetCertificate. The set may be another from one handshake to the next.
func (l *Listener) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if l.cfg.ACME != nil {
		return l.cfg.ACME.get(hello)
	}
	return l.certs.Load().Get(hello)
}
