package head

import "bytes"

// Request is the head of a request on its way to a backend. All of it stays the caller's.
type Request struct {
	// Method and Target stand in the request line as the client sent them.
	Method, Target []byte

	// Fields is the client's block of field lines, which Check has passed.
	Fields []byte

	// Host replaces the value of the client's Host field. Empty keeps it; a request without one,
	// which HTTP/1.0 allows, must have it set.
	Host string

	// ClientIP, Proto (http or https) and, unless empty, ClientHost become X-Forwarded-For, -Proto
	// and -Host.
	ClientIP, Proto, ClientHost string

	// ClientCert, unless nil, becomes X-Client-Cert-Subject, -San and -Fingerprint.
	ClientCert *ClientCert

	// Upgrade keeps the request an opening handshake: Connection and Upgrade, which are
	// hop-by-hop, stand again where the client had them. A handshake has no body and no fields
	// that frame one.
	Upgrade bool
}

// Append appends the head to dst: the request line of HTTP/1.1, the client's fields in their order
// and spelling, then the X-Forwarded fields and the empty line. Left out are
//   - hop-by-hop fields and those that Connection names (RFC 9110 §7.6.1), but for
//     Transfer-Encoding, since a body is passed on in the framing it came in;
//   - Expect, which the server in front has already answered;
//   - what is Reserved, which nobody has reason to believe of the client.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)

	named := ConnectionNames(r.Fields)
	host := false
	var u upgradeFields
	for f := range Fields(r.Fields) {
		switch {
		case r.Upgrade && u.append(&dst, f):
		case f.Is("Transfer-Encoding"), f.Is("Content-Length"):
			if !r.Upgrade {
				dst = AppendField(dst, f.Name, f.Value)
			}
		case f.Is("Host"):
			if host = true; r.Host != "" {
				f.Value = []byte(r.Host)
			}
			dst = AppendField(dst, f.Name, f.Value)
		case HopByHop(f.Name), f.Is("Expect"), Reserved(f.Name), named.Has(f.Name):
		default:
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	if !host {
		// HTTP/1.0 knows requests without; HTTP/1.1 does not (RFC 9112 §3.2).
		dst = AppendField(dst, "Host", r.Host)
	}
	dst = AppendField(dst, "X-Forwarded-For", r.ClientIP)
	dst = AppendField(dst, "X-Forwarded-Proto", r.Proto)
	if r.ClientHost != "" {
		dst = AppendField(dst, "X-Forwarded-Host", r.ClientHost)
	}
	if r.ClientCert != nil {
		dst = r.ClientCert.append(dst)
	}
	return append(dst, crlf...)
}

// upgradeFields writes Connection and Upgrade of a handshake, each once: several Connection fields
// are one list (RFC 9110 §5.3), and the proxy's own has one member.
type upgradeFields struct{ connection, upgrade bool }

// append appends f to dst in the proxy's words when it is one of the two, and reports whether it is.
func (u *upgradeFields) append(dst *[]byte, f Field) bool {
	switch {
	case f.Is("Connection"):
		if !u.connection {
			*dst = AppendField(*dst, f.Name, "Upgrade")
		}
		u.connection = true
		return true
	case f.Is("Upgrade"):
		if !u.upgrade {
			*dst = AppendField(*dst, f.Name, "websocket")
		}
		u.upgrade = true
		return true
	}
	return false
}

// Names are the field names that the Connection fields of a block list.
type Names [][]byte

// ConnectionNames collects them; the block must have passed Check.
func ConnectionNames(block []byte) Names {
	var names Names
	for f := range Fields(block) {
		if f.Is("Connection") {
			for e := range Elements(f.Value) {
				names = append(names, e)
			}
		}
	}
	return names
}

// Has reports whether name is among them, in any case.
func (n Names) Has(name []byte) bool {
	for _, e := range n {
		if EqualFold(e, string(name)) {
			return true
		}
	}
	return false
}

// Reserved reports whether a field is the proxy's to set, here or in a trailer section: X-Forwarded-*
// and Forwarded, X-Client-Cert-*, and Client-Cert and Client-Cert-Chain of RFC 9440.
func Reserved(name []byte) bool {
	if bytes.IndexByte(name, '_') >= 0 {
		// CGI and its heirs read X_Forwarded_For as X-Forwarded-For.
		name = bytes.ReplaceAll(name, []byte("_"), []byte("-"))
	}
	for _, prefix := range [...]string{"X-Forwarded-", "X-Client-Cert-"} {
		if len(name) > len(prefix) && EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	for _, known := range [...]string{"Forwarded", "X-Client-Cert", "Client-Cert", "Client-Cert-Chain"} {
		if EqualFold(name, known) {
			return true
		}
	}
	return false
}

// AppendField appends one field line.
func AppendField[N, V []byte | string](dst []byte, name N, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}
