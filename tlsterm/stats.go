package tlsterm

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Result is how a handshake ended, or a connection that never came to one.
type Result string

// All there are.
const (
	// ResultOK is a connection that carries data.
	ResultOK Result = "ok"

	// ResultChallenge is an ACME server that has seen what it came for.
	ResultChallenge Result = "challenge"

	// ResultSilent is a client that sent nothing before it left or its time was up.
	ResultSilent Result = "silent"

	// ResultTimeout is a client that began and was too slow.
	ResultTimeout Result = "timeout"

	// ResultGone is a client that began and left.
	ResultGone Result = "gone"

	// ResultBusy is a client that was turned away because too many others waited.
	ResultBusy Result = "busy"

	// ResultHTTP is plain HTTP on a TLS port, answered with 400.
	ResultHTTP Result = "http"

	// ResultTLSOnPlain is TLS on a plain port.
	ResultTLSOnPlain Result = "tls_on_plain"

	// ResultProxyHeader is a connection that had to begin with a PROXY protocol header and began with
	// something else.
	ResultProxyHeader Result = "proxy_header"

	// ResultVersion is a client that offers no version of TLS that is spoken.
	ResultVersion Result = "version"

	// ResultSuite is one without a cipher suite or key exchange that is spoken.
	ResultSuite Result = "suite"

	// ResultProtocol is one that offers protocols with ALPN, none of which is spoken.
	ResultProtocol Result = "protocol"

	// ResultClientCert is one without a certificate where it needs one, or whose certificate does
	// not verify.
	ResultClientCert Result = "client_cert"

	// ResultNoCert is one that asks for a name for which there is no certificate.
	ResultNoCert Result = "no_cert"

	// ResultAlert is one that ended the handshake itself, for example because it does not trust the
	// certificate.
	ResultAlert Result = "alert"

	// ResultMalformed is what is not TLS, or breaks its rules.
	ResultMalformed Result = "malformed"
)

var results = [...]Result{
	ResultOK, ResultChallenge, ResultSilent, ResultTimeout, ResultGone, ResultBusy, ResultHTTP, ResultTLSOnPlain,
	ResultProxyHeader, ResultVersion, ResultSuite, ResultProtocol, ResultClientCert, ResultNoCert, ResultAlert,
	ResultMalformed,
}

// Stats is what a listener has counted since its start, and what it has at the moment.
type Stats struct {
	// Handshakes are those that ended, by how; every Result is there.
	Handshakes map[Result]uint64

	// Resumed are those of ResultOK that resumed a session; TLS12 and TLS13 are all of ResultOK by
	// version.
	Resumed, TLS12, TLS13 uint64

	// InFlight are the handshakes that have begun and not ended, those whose client is silent
	// included; Queued are those of them whose ClientHello waits for a slot of the budget.
	InFlight, Queued int64

	// Certificates are those in use. With ACME they are those that have been obtained.
	Certificates []CertificateStats
}

// CertificateStats is one certificate in use.
type CertificateStats struct {
	// File is where its chain was read; empty for one that was made or obtained.
	File string

	// Names are the host names it is for.
	Names []string

	// NotAfter is when it expires.
	NotAfter time.Time
}

// DaysLeft is how many days it is valid from now on, negative once it has expired.
func (c *CertificateStats) DaysLeft(now time.Time) float64 {
	return c.NotAfter.Sub(now).Hours() / 24
}

// counts is what Stats is made of.
type counts struct {
	results               [len(results)]atomic.Uint64
	resumed, tls12, tls13 atomic.Uint64
	inFlight, queued      atomic.Int64
}

// ended counts one that ended.
func (c *counts) ended(result Result) {
	for i, r := range results {
		if r == result {
			c.results[i].Add(1)
		}
	}
}

// shaken counts one that ended well.
func (c *counts) shaken(state *tls.ConnectionState) {
	c.ended(ResultOK)
	if state.DidResume {
		c.resumed.Add(1)
	}
	if state.Version == tls.VersionTLS13 {
		c.tls13.Add(1)
	} else {
		c.tls12.Add(1)
	}
}

// Stats are the listener's so far.
func (l *Listener) Stats() Stats {
	s := Stats{
		Handshakes: make(map[Result]uint64, len(results)),
		Resumed:    l.counts.resumed.Load(),
		TLS12:      l.counts.tls12.Load(),
		TLS13:      l.counts.tls13.Load(),
		InFlight:   l.counts.inFlight.Load(),
		Queued:     l.counts.queued.Load(),
	}
	for i, r := range results {
		s.Handshakes[r] = l.counts.results[i].Load()
	}
	switch certs := l.certs.Load(); {
	case l.cfg.ACME != nil:
		s.Certificates = l.cfg.ACME.stats()
	case certs != nil:
		s.Certificates = certs.stats()
	}
	return s
}

// resultOf is how a handshake ended that ended with err.
func resultOf(err error) Result {
	var network net.Error
	var op *net.OpError
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errBusy):
		return ResultBusy
	case errors.Is(err, errGone), errors.Is(err, net.ErrClosed): // the latter by a shutdown of ours
		return ResultGone
	case errors.Is(err, errProxyHeader):
		return ResultProxyHeader
	case errors.Is(err, errNoCert):
		return ResultNoCert
	case errors.As(err, &verification):
		return ResultClientCert
	case errors.As(err, &record):
		if isPlainHTTP(err) {
			return ResultHTTP
		}
		return ResultMalformed
	case errors.As(err, &network) && network.Timeout():
		return ResultTimeout
	case errors.As(err, &op) && op.Op == "remote error":
		return ResultAlert
	case left(err):
		return ResultGone
	}
	// Of the rest crypto/tls has only words.
	for _, known := range [...]struct {
		words  string
		result Result
	}{
		{"client offered only unsupported versions", ResultVersion},
		{"no cipher suite supported by both", ResultSuite},
		{"no key exchanges supported by both", ResultSuite},
		{"unsupported application protocols", ResultProtocol},
		{"client didn't provide a certificate", ResultClientCert},
	} {
		if strings.Contains(err.Error(), known.words) {
			return known.result
		}
	}
	return ResultMalformed
}
