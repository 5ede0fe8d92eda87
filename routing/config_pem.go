package routing

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxPEMSize bounds a file of certificates or keys.
const maxPEMSize = 1 << 20

const pemWant = "write the name of a PEM file, e.g. chain.pem"

// path is the name of a file or folder, joined with the config's folder unless it is absolute. It is
// empty after a fault.
func (d *decoder) path(v value, want string) string {
	name := parsed(d, v, want, func(text string) (string, error) {
		if strings.Contains(text, "-----BEGIN") || strings.ContainsAny(text, "\n\x00") {
			return "", errors.New("the PEM itself stands here; write the name of a file that holds it")
		}
		return text, nil
	})
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

// authorities is the name of a PEM file of CA certificates, read and checked. It is empty after a
// fault.
func (d *decoder) authorities(v value) string {
	name := d.path(v, "write the name of a PEM file of CA certificates, e.g. ca.pem")
	if name == "" {
		return ""
	}
	if data := d.pemFile(v, name); data == nil || d.leaf(v, name, data) == nil {
		return ""
	}
	return name
}

// ticketKeys is the name of a file with keys for session tickets, read and checked: a line each,
// 32 bytes in base64; empty lines and those that begin with # mean nothing. It is empty after a fault.
func (d *decoder) ticketKeys(v value) string {
	name := d.path(v, "write the name of a file with a key a line, each 32 bytes in base64")
	if name == "" {
		return ""
	}
	data := d.pemFile(v, name)
	if data == nil {
		return ""
	}
	const most = 64
	number, keys := 0, 0
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if key, err := base64.StdEncoding.AppendDecode(nil, line); err != nil || len(key) != 32 {
			d.fault(v, "%s: line %d is no key; a key is 32 bytes in base64, e.g. from openssl rand -base64 32", quote(name), number)
			return ""
		}
		keys++
	}
	if keys == 0 || keys > most {
		d.fault(v, "%s holds %d keys; 1 to %d are allowed", quote(name), keys, most)
		return ""
	}
	return name
}

// certificate is one pair of certificates, its files read and checked.
func (d *decoder) certificate(v value) (CertificateFiles, bool) {
	var files CertificateFiles
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; a mapping is needed, e.g. {cert: chain.pem, key: key.pem}", standing(v.node))
		return files, false
	}
	found := certificateKeys.mapping(d, v, "", &files)
	d.need(v, found, "cert", "write the name of a PEM file with the certificate and its chain")
	d.need(v, found, "key", "write the name of a PEM file with the private key")

	leaf := d.keyPair(found["cert"], files.Cert, found["key"], files.Key)
	if leaf == nil {
		return files, false
	}
	files.Names, files.NotAfter = leaf.DNSNames, leaf.NotAfter
	for _, ip := range leaf.IPAddresses {
		files.Names = append(files.Names, ip.String())
	}
	problem := soonOver(leaf, time.Now())
	if problem == "" && len(files.Names) == 0 {
		problem = "is for no host name and no IP address"
	}
	d.warn(found["cert"], files.Cert, problem)
	return files, true
}

// keyPair reads and checks a chain and its key, and gives the chain's first certificate. It is nil
// after a fault, or when one of the files has no name for a fault that has been noted.
func (d *decoder) keyPair(certAt value, cert string, keyAt value, keyFile string) *x509.Certificate {
	// No error of a parser is shown from here on: some quote what they were given, and it may be a key.
	var chain, key []byte
	var leaf *x509.Certificate
	if cert != "" {
		chain = d.pemFile(certAt, cert)
	}
	if keyFile != "" {
		key = d.pemFile(keyAt, keyFile)
	}
	if chain != nil {
		leaf = d.leaf(certAt, cert, chain)
	}
	if key != nil && !d.checkKey(keyAt, keyFile, key) || key == nil || leaf == nil {
		return nil
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		d.fault(keyAt, "%s is not the key of the certificate in %s", quote(keyFile), quote(cert))
		return nil
	}
	return leaf
}

// pemFile reads a file; nil after a fault.
func (d *decoder) pemFile(v value, name string) []byte {
	// Opening what is no file, such as a named pipe, might wait for ever.
	info, err := os.Stat(name)
	if err != nil {
		d.fault(v, "%s: %v", quote(name), cause(err))
		return nil
	}
	if !info.Mode().IsRegular() {
		d.fault(v, "%s is not a file", quote(name))
		return nil
	}
	data, err := readFile(name, maxPEMSize)
	if err != nil {
		d.fault(v, "%s: %v", quote(name), err)
		return nil
	}
	return data
}

// leaf parses a chain and gives its first certificate, nil after a fault.
func (d *decoder) leaf(v value, name string, chain []byte) *x509.Certificate {
	var leaf *x509.Certificate
	for rest := chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			d.fault(v, "%s holds a certificate that cannot be read; a PEM file of X.509 certificates is needed", quote(name))
			return nil
		}
		if leaf == nil {
			leaf = c
		}
	}
	if leaf == nil {
		d.fault(v, "%s holds no certificate; a PEM file with BEGIN CERTIFICATE is needed", quote(name))
	}
	return leaf
}

// checkKey reports whether a file holds a private key that can be read, else notes a fault.
func (d *decoder) checkKey(v value, name string, data []byte) bool {
	var block *pem.Block
	for rest := data; ; {
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			break
		}
	}
	switch {
	case block == nil && bytes.Contains(data, []byte("BEGIN CERTIFICATE")):
		d.fault(v, "%s holds a certificate and no private key", quote(name))
	case block == nil:
		d.fault(v, "%s holds no private key; a PEM file with BEGIN PRIVATE KEY is needed", quote(name))
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		d.fault(v, "%s holds an encrypted key; a key without passphrase is needed", quote(name))
	case !readableKey(block.Bytes):
		d.fault(v, "%s holds a key that cannot be read; RSA, ECDSA and Ed25519 are supported", quote(name))
	default:
		return true
	}
	return false
}

// readableKey reports whether crypto/tls can read a private key in one of the forms it knows.
func readableKey(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

// soonOver says what is wrong with a certificate's time, or soon will be; empty for nothing.
func soonOver(leaf *x509.Certificate, now time.Time) string {
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		return "expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		return "is not valid before " + leaf.NotBefore.UTC().Format(time.DateOnly)
	case left < expiresSoon:
		days := int(math.Ceil(left.Hours() / 24))
		if days == 1 {
			return "expires within a day"
		}
		return fmt.Sprintf("expires on %s, in %d days", leaf.NotAfter.UTC().Format(time.DateOnly), days)
	}
	return ""
}

// warn notes a problem with a certificate, unless there is none.
func (d *decoder) warn(v value, file, problem string) {
	if problem != "" {
		d.warning(v, quote(file)+" "+problem)
	}
}

func (d *decoder) warning(v value, problem string) {
	if len(d.warnings) < keptFaults {
		d.warnings = append(d.warnings, Fault{File: d.file, Line: v.node.Line, Column: v.node.Column, Key: v.key, Problem: d.hide(v.node, problem)})
	}
}
