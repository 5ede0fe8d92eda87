package tlsterm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// Certs is an immutable set of certificates, chosen by the server name that a client asks for.
type Certs struct {
	byName   map[string][]*tls.Certificate // exact, or "*.example.com"
	fallback []*tls.Certificate            // all, for a name nobody has and for no name at all
}

// KeyPair names the files of a certificate chain and its key, both PEM.
type KeyPair struct {
	Cert, Key string
}

// LoadCerts reads key pairs. Their order matters: the first one that a client can use answers for
// names that none of them has.
func LoadCerts(pairs []KeyPair) (*Certs, error) {
	certs := &Certs{byName: make(map[string][]*tls.Certificate)}
	for _, pair := range pairs {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return nil, fmt.Errorf("load certificate %s: %w", pair.Cert, err)
		}
		certs.add(&cert)
	}
	return certs, nil
}

// SelfSigned makes a certificate for names, which may be IP addresses, valid for a year from now.
// Nobody trusts it: it is for development. localhost stands for the loopback addresses as well.
func SelfSigned(names []string) (*Certs, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0], Organization: []string{"wsproxy self-signed"}},
		// An hour back, for clients whose clocks are a little slow.
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
		if strings.EqualFold(name, "localhost") {
			template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 0, 0, 1), net.IPv6loopback)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	certs := &Certs{byName: make(map[string][]*tls.Certificate)}
	certs.add(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf})
	return certs, nil
}

func (c *Certs) add(cert *tls.Certificate) {
	c.fallback = append(c.fallback, cert)
	for _, name := range cert.Leaf.DNSNames {
		name = strings.ToLower(name)
		c.byName[name] = append(c.byName[name], cert)
	}
}

// Get is tls.Config.GetCertificate: an exact name before a wildcard (which stands for one label,
// RFC 6125 §6.4.3) before the first certificate of all, and of several the first that the client
// can use, so that RSA and ECDSA may stand side by side.
func (c *Certs) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	for _, candidates := range [...][]*tls.Certificate{c.byName[name], c.byName[wildcard(name)]} {
		for _, cert := range candidates {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	// SupportsCertificate checks the name as well, and that is known not to fit.
	anyName := *hello
	anyName.ServerName = ""
	for _, cert := range c.fallback {
		if anyName.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	if len(c.fallback) == 0 {
		return nil, errors.New("no certificate")
	}
	return c.fallback[0], nil
}

// wildcard is the name with its first label replaced, or "" when it has only one.
func wildcard(name string) string {
	if _, parent, found := strings.Cut(name, "."); found {
		return "*." + parent
	}
	return ""
}
