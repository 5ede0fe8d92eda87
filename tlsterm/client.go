package tlsterm

import (
	"crypto/tls"
	"fmt"
)

// ClientConfig is how a TLS backend is spoken to.
type ClientConfig struct {
	// ServerName is the name that the backend's certificate must be for.
	ServerName string

	// CA is a PEM file of the certificates that vouch for the backend's. Empty means the system's.
	CA string

	// Cert and Key, both or neither, are PEM files of what is shown to a backend that asks for a
	// certificate.
	Cert, Key string

	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool
}

// TLS makes the configuration for Client to shake hands with. It may be shared by all connections to the
// backend. No error shows what a file holds.
func (c *ClientConfig) TLS() (*tls.Config, error) {
	cfg := &tls.Config{
		ServerName:         c.ServerName,
		MinVersion:         tls.VersionTLS12,
		CipherSuites:       suites12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: c.InsecureSkipVerify,
	}
	if c.CA != "" {
		data, err := readFile(c.CA)
		if err == nil {
			cfg.RootCAs, err = parsePool(data)
		}
		if err != nil {
			return nil, fmt.Errorf("load CA %s: %w", c.CA, err)
		}
	}
	if c.Cert != "" {
		one, err := load(KeyPair{c.Cert, c.Key})
		if err != nil {
			return nil, fmt.Errorf("load certificate %s: %w", c.Cert, err)
		}
		cfg.Certificates = []tls.Certificate{*one.cert}
	}
	return cfg, nil
}
