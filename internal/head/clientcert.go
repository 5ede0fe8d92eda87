package head

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// ClientCert is what a backend is told of a client's certificate, which has been verified.
type ClientCert struct {
	// Subject is its name as RFC 4514 writes it: CN=alice,O=Example.
	Subject string

	// San are the names it is for, kind by kind: DNS:a.example, IP:192.0.2.1, URI:spiffe://…, and
	// email:…, with ", " between them.
	San string

	// Fingerprint is the SHA-256 of the certificate in lower-case hexadecimal digits.
	Fingerprint string
}

// maxSan bounds San: a backend has a limit for its headers. Names that would go beyond are left out.
const maxSan = 4 << 10

// ClientCertOf reads a certificate. Whoever issued it may have put anything into it: what could end a
// field, or pass for another name, is escaped.
func ClientCertOf(cert *x509.Certificate) *ClientCert {
	var san strings.Builder
	add := func(kind, name, alsoEscaped string) {
		entry := kind + ":" + escape(name, "%%%02X", alsoEscaped)
		if san.Len() > 0 {
			entry = ", " + entry
		}
		if san.Len()+len(entry) <= maxSan {
			san.WriteString(entry)
		}
	}
	for _, name := range cert.DNSNames {
		add("DNS", name, " ,%")
	}
	for _, ip := range cert.IPAddresses {
		add("IP", ip.String(), "")
	}
	for _, uri := range cert.URIs {
		add("URI", uri.String(), " ,") // its own escapes stay
	}
	for _, address := range cert.EmailAddresses {
		add("email", address, " ,%")
	}
	sum := sha256.Sum256(cert.Raw)
	return &ClientCert{
		Subject:     escape(cert.Subject.String(), `\%02X`, ""),
		San:         san.String(),
		Fingerprint: hex.EncodeToString(sum[:]),
	}
}

// escape writes every byte outside of printable ASCII, and those of more, with a format.
func escape(text, format, more string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || strings.IndexByte(more, c) >= 0 {
			fmt.Fprintf(&b, format, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (c *ClientCert) append(dst []byte) []byte {
	dst = AppendField(dst, "X-Client-Cert-Subject", c.Subject)
	if c.San != "" {
		dst = AppendField(dst, "X-Client-Cert-San", c.San)
	}
	return AppendField(dst, "X-Client-Cert-Fingerprint", c.Fingerprint)
}
