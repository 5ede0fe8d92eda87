package tlsterm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// errNoCert is a name for which there is no certificate.
var errNoCert = errors.New("no certificate")

// Certs is an immutable set of certificates, chosen by the server name that a client asks for.
type Certs struct {
	all    []loaded
	byName map[string][]*tls.Certificate // exact, or "*.example.com"
}

// loaded is one of them.
type loaded struct {
	pair KeyPair           // empty for one that was made
	sum  [sha256.Size]byte // of what the files held
	cert *tls.Certificate
}

// KeyPair names the files of a certificate chain and its key, both PEM.
type KeyPair struct {
	Cert, Key string
}

// LoadCerts reads key pairs. Their order matters: the first one that a client can use answers for
// names that none of them has. No error shows what a file holds.
func LoadCerts(pairs []KeyPair) (*Certs, error) {
	var all []loaded
	for _, pair := range pairs {
		one, err := load(pair)
		if err != nil {
			return nil, fmt.Errorf("load certificate %s: %w", pair.Cert, err)
		}
		all = append(all, one)
	}
	return newCerts(all), nil
}

// load reads one pair. Its errors do not name the certificate's file, and show nothing of what the
// files hold, as those of crypto/tls may.
func load(pair KeyPair) (loaded, error) {
	chain, err := readFile(pair.Cert)
	if err != nil {
		return loaded{}, err
	}
	key, err := readFile(pair.Key)
	if err != nil {
		return loaded{}, fmt.Errorf("key %s: %w", pair.Key, err)
	}
	if _, err := parsePool(chain); err != nil {
		return loaded{}, err
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return loaded{}, fmt.Errorf("key %s cannot be read or belongs to another certificate", pair.Key)
	}
	return loaded{pair: pair, sum: sha256.Sum256(append(chain, key...)), cert: &cert}, nil
}

func newCerts(all []loaded) *Certs {
	c := &Certs{all: all, byName: make(map[string][]*tls.Certificate)}
	for _, one := range all {
		for _, name := range one.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			c.byName[name] = append(c.byName[name], one.cert)
		}
	}
	return c
}

// stats are the certificates of the set, in order.
func (c *Certs) stats() []CertificateStats {
	var stats []CertificateStats
	for _, one := range c.all {
		stats = append(stats, CertificateStats{one.pair.Cert, names(one.cert.Leaf), one.cert.Leaf.NotAfter})
	}
	return stats
}

// names are the host names and addresses that a certificate is for.
func names(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
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
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return newCerts([]loaded{{cert: cert}}), nil
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
	for _, one := range c.all {
		if anyName.SupportsCertificate(one.cert) == nil {
			return one.cert, nil
		}
	}
	if len(c.all) == 0 {
		return nil, errNoCert
	}
	return c.all[0].cert, nil
}

// wildcard is the name with its first label replaced, or "" when it has only one.
func wildcard(name string) string {
	if _, parent, found := strings.Cut(name, "."); found {
		return "*." + parent
	}
	return ""
}
