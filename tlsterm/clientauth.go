package tlsterm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
)

// ClientAuth says whether clients show certificates.
type ClientAuth uint8

const (
	// NoClientCert does not ask for one.
	NoClientCert ClientAuth = iota
	// RequestClientCert asks for one, and does without. One that does not verify is refused.
	RequestClientCert
	// RequireClientCert refuses who has none that verifies.
	RequireClientCert
)

func (a ClientAuth) mode() tls.ClientAuthType {
	switch a {
	case RequestClientCert:
		return tls.VerifyClientCertIfGiven
	case RequireClientCert:
		return tls.RequireAndVerifyClientCert
	}
	return tls.NoClientCert
}

// parsePool reads CA certificates in PEM, one or more.
func parsePool(data []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a certificate that cannot be read")
		}
		pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, errors.New("holds no certificate")
	}
	return pool, nil
}

// maxFileSize bounds a file of certificates or keys.
const maxFileSize = 1 << 20

// readFile reads a file of certificates or keys. Its errors name no file.
func readFile(name string) ([]byte, error) {
	// Opening what is no file, such as a named pipe, might wait for ever.
	info, err := os.Stat(name)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(f, maxFileSize+1)); err != nil {
		return nil, cause(err)
	}
	if data.Len() > maxFileSize {
		return nil, errors.New("is larger than 1 MiB")
	}
	return data.Bytes(), nil
}

// cause is what the system said, without operation and path.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
