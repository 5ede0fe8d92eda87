package routing

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxPEMSize bounds a certificate or key file.
const maxPEMSize = 1 << 20

const tlsWant = "write certificates: [{cert: chain.pem, key: key.pem}] or self_signed: [localhost]"

// tls is the tls of a listener.
func (d *decoder) tls(v value, into *Listener) {
	into.TLS = new(TLS)
	if v.node.Kind != yaml.MappingNode {
		d.fault(v, "%s; %s", standing(v.node), tlsWant)
		return
	}
	faults := len(d.faults)
	found := tlsKeys.mapping(d, v, "", into.TLS)
	_, files := found["certificates"]
	_, selfSigned := found["self_signed"]
	switch {
	case files && selfSigned:
		d.faultUse(v, "has both certificates and self_signed; leave one of them out")
	case !files && !selfSigned && len(d.faults) == faults:
		d.faultUse(v, "has no certificate; %s", tlsWant)
	}
}

// selfSigned is one name or address of a certificate to be made.
func (d *decoder) selfSigned(v value) (string, bool) {
	name := parsed(d, v, "write a host name or an IP address, e.g. localhost", func(text string) (string, error) {
		if text == "*" {
			return "", errors.New(`"*" is no name for a certificate; write host names, e.g. localhost, or "*.example.com"`)
		}
		return parseHost(text)
	})
	return name, name != ""
}

// path is the name of a file, joined with the config's folder unless it is absolute. It is empty
// after a fault.
func (d *decoder) path(v value) string {
	name := parsed(d, v, "write the name of a PEM file, e.g. chain.pem", func(text string) (string, error) {
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

	// No error of a parser is shown from here on: some quote what they were given, and it may be a key.
	var chain, key []byte
	var leaf *x509.Certificate
	if files.Cert != "" {
		chain = d.pemFile(found["cert"], files.Cert)
	}
	if files.Key != "" {
		key = d.pemFile(found["key"], files.Key)
	}
	if chain != nil {
		leaf = d.leaf(found["cert"], files.Cert, chain)
	}
	if key != nil && !d.checkKey(found["key"], files.Key, key) || key == nil || leaf == nil {
		return files, false
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		d.fault(found["key"], "%s is not the key of the certificate in %s", quote(files.Key), quote(files.Cert))
		return files, false
	}
	files.Names, files.NotAfter = leaf.DNSNames, leaf.NotAfter
	for _, ip := range leaf.IPAddresses {
		files.Names = append(files.Names, ip.String())
	}
	d.warn(found["cert"], files, leaf)
	return files, true
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

// warn notes what clients will hold against a certificate.
func (d *decoder) warn(v value, files CertificateFiles, leaf *x509.Certificate) {
	problem := ""
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		problem = quote(files.Cert) + " expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		problem = quote(files.Cert) + " is not valid before " + leaf.NotBefore.UTC().Format(time.DateOnly)
	case len(files.Names) == 0:
		problem = quote(files.Cert) + " is for no host name and no IP address"
	}
	if problem != "" && len(d.warnings) < keptFaults {
		d.warnings = append(d.warnings, Fault{File: d.file, Line: v.node.Line, Column: v.node.Column, Key: v.key, Problem: problem})
	}
}
