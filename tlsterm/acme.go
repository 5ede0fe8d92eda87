package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEConfig is an ACME's.
type ACMEConfig struct {
	// Hosts are the names to have certificates for, at least one, without wildcards.
	Hosts []string

	// Email is where the CA can write to. It may be empty.
	Email string

	// Directory is the CA's URL. Empty means Let's Encrypt.
	Directory string

	// Cache is the folder for keys and certificates. It is made if it is not there.
	Cache string

	// CA is a PEM file of the certificates that vouch for the directory's. Empty means the system's.
	CA string

	// HTTP allows HTTP-01, for when TLS-ALPN-01 has failed: Challenge is asked on port 80.
	HTTP bool

	// Log gets a line for each certificate obtained, and for each that could not be. Nil means slog's
	// default.
	Log *slog.Logger
}

// challengeProtocol is what an ACME server asks for with ALPN (RFC 8737).
const challengeProtocol = acme.ALPNProto

// ACME obtains certificates from a CA and renews them a month before they expire. Using it accepts
// the CA's terms.
type ACME struct {
	cfg     ACMEConfig
	manager *autocert.Manager
	http    http.Handler // nil without HTTP-01

	mu    sync.Mutex // guards hosts
	hosts map[string]*acmeHost
}

// acmeHost is a name and its certificate.
type acmeHost struct {
	cert   *tls.Certificate // nil until it is there
	asked  time.Time        // when the manager last gave it
	asking chan struct{}    // closed when the manager has answered; nil while it is not asked
	fault  string           // why there is none, as logged
	err    error
}

// NewACME makes an ACME. It asks for nothing before Obtain, or the first handshake. No error shows
// what a file holds.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Directory == "" {
		cfg.Directory = autocert.DefaultACMEDirectory
	}
	if err := os.MkdirAll(cfg.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("acme cache %s: %w", cfg.Cache, cause(err))
	}
	if info, err := os.Stat(cfg.Cache); err == nil && readableByOthers(info.Mode()) {
		cfg.Log.Warn("acme cache can be read by others", "folder", cfg.Cache, "mode", info.Mode().Perm().String())
	}
	a := &ACME{cfg: cfg, hosts: make(map[string]*acmeHost)}
	for _, host := range cfg.Hosts {
		a.hosts[strings.ToLower(host)] = new(acmeHost)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CA != "" {
		data, err := readFile(cfg.CA)
		var pool *x509.CertPool
		if err == nil {
			pool, err = parsePool(data)
		}
		if err != nil {
			return nil, fmt.Errorf("load acme CA %s: %w", cfg.CA, err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(cfg.Cache),
		HostPolicy: autocert.HostWhitelist(cfg.Hosts...),
		Email:      cfg.Email,
		Client: &acme.Client{
			DirectoryURL: cfg.Directory,
			HTTPClient:   &http.Client{Transport: transport, Timeout: time.Minute},
			UserAgent:    "wsproxy",
		},
	}
	if cfg.HTTP {
		a.http = a.manager.HTTPHandler(nil)
	}
	return a, nil
}

// Obtain asks for all certificates, without waiting for those that are not there, so that the first
// client need not and faults show in the log.
func (a *ACME) Obtain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, host := range a.hosts {
		a.askLocked(name, host)
	}
}

// challenge is tls.Config.GetCertificate for the CA's TLS-ALPN-01.
func (a *ACME) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := a.manager.GetCertificate(hello)
	if err != nil {
		return nil, fmt.Errorf("%w for a challenge: %w", errNoCert, err)
	}
	return cert, nil
}

// get is tls.Config.GetCertificate for everybody else.
func (a *ACME) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := hello.Conn.(interface{ shaking() *shakingConn }).shaking()
	return a.certificate(strings.ToLower(strings.TrimSuffix(hello.ServerName, ".")), c)
}

// freshly is how long a certificate is handed out without asking the manager for a newer.
const freshly = time.Minute

// certificate gives the one for a name, that of the first host for any other. While the handshake of
// c waits for one it has no slot: what it waits for is a handshake, too.
func (a *ACME) certificate(name string, c *shakingConn) (*tls.Certificate, error) {
	a.mu.Lock()
	host := a.hosts[name]
	if host == nil {
		name = strings.ToLower(a.cfg.Hosts[0])
		host = a.hosts[name]
	}
	if host.cert != nil && time.Now().Before(host.cert.Leaf.NotAfter) {
		defer a.mu.Unlock()
		if time.Since(host.asked) > freshly {
			a.askLocked(name, host)
		}
		return host.cert, nil
	}
	a.askLocked(name, host)
	asking := host.asking
	a.mu.Unlock()

	c.pause()
	timer := time.NewTimer(time.Until(c.deadline))
	defer timer.Stop()
	select {
	case <-asking:
	case <-timer.C:
		return nil, fmt.Errorf("%w for %s yet", errNoCert, name)
	}
	if err := c.resume(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if host.cert == nil {
		return nil, fmt.Errorf("%w for %s: %w", errNoCert, name, host.err)
	}
	return host.cert, nil
}

// askLocked has the manager asked for a certificate, unless it is being asked. It answers at once or
// after a conversation with the CA, which it ends itself after five minutes.
func (a *ACME) askLocked(name string, host *acmeHost) {
	if host.asking == nil {
		host.asking = make(chan struct{})
		go a.ask(name, host)
	}
}

func (a *ACME) ask(name string, host *acmeHost) {
	// The manager has a certificate for each kind of key that clients can use; one is enough here.
	cert, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:        name,
		SupportedVersions: []uint16{tls.VersionTLS13},
		CipherSuites:      []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves:   []tls.CurveID{tls.CurveP256},
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	close(host.asking)
	host.asking = nil
	if err != nil {
		host.err = err
		if host.fault != err.Error() {
			host.fault = err.Error()
			a.cfg.Log.Warn("acme certificate", "host", name, "directory", a.cfg.Directory, "err", err)
		}
		return
	}
	host.fault, host.asked = "", time.Now()
	if host.cert == nil || !slices.Equal(host.cert.Certificate[0], cert.Certificate[0]) {
		a.cfg.Log.Info("acme certificate", "host", name, "not_after", cert.Leaf.NotAfter.UTC())
	}
	host.cert = cert
}

// stats are the certificates that are there, in the order of the hosts.
func (a *ACME) stats() []CertificateStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	var stats []CertificateStats
	for _, name := range a.cfg.Hosts {
		if host := a.hosts[strings.ToLower(name)]; host.cert != nil {
			stats = append(stats, CertificateStats{Names: names(host.cert.Leaf), NotAfter: host.cert.Leaf.NotAfter})
		}
	}
	return stats
}

// ChallengePath is where the path of every HTTP-01 challenge begins (RFC 8555 §8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// Challenge answers an HTTP-01 challenge. It reports false for what is none of this ACME's, which may
// be that of a backend.
func (a *ACME) Challenge(host, path string) (body []byte, ok bool) {
	if a.http == nil || !strings.HasPrefix(path, ChallengePath) {
		return nil, false
	}
	answer := answer{header: make(http.Header)}
	a.http.ServeHTTP(&answer, &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}})
	return answer.body, answer.status == 0 && len(answer.body) > 0
}

// answer takes what autocert's handler says.
type answer struct {
	header http.Header
	status int // 0 unless it is an error
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}
