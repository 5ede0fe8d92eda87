package head

// Request is the head of a request on its way to a backend. All of it stays the caller's.
type Request struct {
	// Method and Target stand in the request line as the client sent them.
	Method, Target []byte

	// Fields is the client's block of field lines, which Check has passed.
	Fields []byte

	// Host replaces the value of the client's Host field. Empty keeps it; a request without one,
	// which HTTP/1.0 allows, must have it set.
	Host string

	// Origin becomes the X-Forwarded fields, and Forwarded.
	Origin Origin

	// ClientCert, unless nil, becomes X-Client-Cert-Subject, -San and -Fingerprint.
	ClientCert *ClientCert

	// Upgrade keeps the request an opening handshake: Connection and Upgrade, which are
	// hop-by-hop, stand again where the client had them. A handshake has no body and no fields
	// that frame or expect one.
	Upgrade bool

	// Edit changes what the backend gets. Nil changes nothing.
	Edit *Edit
}

// Append appends the head to dst: the request line of HTTP/1.1, the client's fields in their order
// and spelling, then those that tell of the origin and of the client's certificate, and the empty
// line. Left out are
//   - hop-by-hop fields and those that Connection names (RFC 9110 §7.6.1), but for
//     Transfer-Encoding, since a body is passed on in the framing it came in;
//   - what is Reserved, which nobody has reason to believe of the client. What a trusted proxy says
//     of the origin goes into our own fields; X-Forwarded fields that we have none of stay its own.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	start := len(dst)

	named := ConnectionNames(r.Fields)
	host := false
	var u upgradeFields
	for f := range Fields(r.Fields) {
		switch k := kindOf(f.Name); {
		case r.Upgrade && u.append(&dst, f, k):
		case k == kindTransferEncoding, k == kindContentLength:
			if !r.Upgrade {
				dst = AppendField(dst, f.Name, f.Value)
			}
		case k == kindHost:
			if host = true; r.Host != "" {
				dst = AppendField(dst, f.Name, r.Host)
			} else {
				dst = AppendField(dst, f.Name, f.Value)
			}
		case k.hopByHop(), k == kindExpect && r.Upgrade, named.Has(f.Name),
			k.reserved() && !(k == kindForwardedMore && r.Origin.Trusted):
		default:
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	if !host {
		// HTTP/1.0 knows requests without; HTTP/1.1 does not (RFC 9112 §3.2).
		dst = AppendField(dst, "Host", r.Host)
	}
	dst = r.Origin.append(dst, r.Fields)
	if r.ClientCert != nil {
		dst = r.ClientCert.append(dst)
	}
	return append(r.Edit.apply(dst, start), crlf...)
}

// upgradeFields writes Connection and Upgrade of a handshake, each once: several Connection fields
// are one list (RFC 9110 §5.3), and the proxy's own has one member.
type upgradeFields struct{ connection, upgrade bool }

// append appends f to dst in the proxy's words when it is one of the two, and reports whether it is.
func (u *upgradeFields) append(dst *[]byte, f Field, k kind) bool {
	switch k {
	case kindConnection:
		if !u.connection {
			*dst = AppendField(*dst, f.Name, "Upgrade")
		}
		u.connection = true
		return true
	case kindUpgrade:
		if !u.upgrade {
			*dst = AppendField(*dst, f.Name, "websocket")
		}
		u.upgrade = true
		return true
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
